//! A realm of stores in memory, whose shards can be away, exchanged and lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::realm::{Realm, RealmBuilder};
use keyfall::store::{
    Ahead, Blob, BlobName, Claimed, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store,
    Usage,
};
use keyfall::{Builder, Class, Engine, Error, ErrorKind, Put, RecordId, Result};

use crate::support::user;

/// A store that fails from its commit number `fails_at` on, as one that was cut off.
#[derive(Default)]
pub struct Cut {
    store: MemoryStore,
    state: Mutex<(u64, Option<u64>)>,
}

impl Cut {
    /// Fails from the commit on that comes after so many more.
    pub fn after(&self, more: Option<u64>) {
        let mut state = self.state.lock().unwrap();
        state.1 = more.map(|more| state.0 + more);
    }
}

impl Store for Cut {
    fn place(&self) -> String {
        "a store in memory".to_owned()
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.store.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.store.claim(claimed)
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.store.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.store.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.store.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.store.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        {
            let mut state = self.state.lock().unwrap();
            if state.1.is_some_and(|fails_at| state.0 >= fails_at) {
                return Err(Error::new(ErrorKind::Io, "the store is cut off"));
            }
            state.0 += 1;
        }
        self.store.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.store.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.store.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.store.usage()
    }
}

#[derive(Clone)]
pub struct Place {
    pub store: Arc<Cut>,
    pub cell: Arc<MemoryCell>,
}

impl Place {
    pub fn new() -> Self {
        Place { store: Arc::default(), cell: Arc::new(MemoryCell::new()) }
    }

    pub fn store_head(&self) -> Option<(Head, Option<Claimed>)> {
        Some((self.store.head().unwrap()?, self.store.claimed().unwrap()))
    }

    pub fn builder(&self) -> Builder {
        let (store, cell): (Arc<dyn Store>, Arc<_>) = (self.store.clone(), self.cell.clone());
        Builder::over(store, cell).keeper(Keeper::ByHand)
    }
}

#[derive(Default)]
pub struct Places {
    pub at: BTreeMap<usize, Place>,
    pub away: BTreeSet<usize>,
    /// A shard that does not answer as long as this is locked.
    pub silent: Option<(usize, Arc<Mutex<()>>)>,
    /// The shards that were opened, in order.
    pub opened: Vec<usize>,
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub places: Arc<Mutex<Places>>,
    pub shards: usize,
}

impl World {
    /// A world in which no realm was made yet.
    pub fn empty(shards: usize) -> Self {
        World { dir: tempfile::tempdir().unwrap(), places: Arc::default(), shards }
    }

    pub fn new(shards: usize) -> (Self, Realm) {
        let world = World::empty(shards);
        let realm = world.builder().init().unwrap();
        (world, realm)
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("realm")
    }

    pub fn builder(&self) -> RealmBuilder {
        let places = Arc::clone(&self.places);
        RealmBuilder::at(self.path()).shards(self.shards).open_shard(move |shard| {
            let silent = places.lock().unwrap().silent.clone();
            if let Some((_, gate)) = silent.filter(|(number, _)| *number == shard.number) {
                drop(gate.lock().unwrap());
            }
            let mut places = places.lock().unwrap();
            if places.away.contains(&shard.number) {
                let text = format!("{} is out of reach", shard.place);
                return Err(Error::new(ErrorKind::Io, text));
            }
            places.opened.push(shard.number);
            Ok(places.at.entry(shard.number).or_insert_with(Place::new).builder())
        })
    }

    pub fn open(&self) -> Realm {
        self.builder().open().unwrap()
    }

    pub fn place(&self, number: usize) -> Place {
        self.places.lock().unwrap().at[&number].clone()
    }

    pub fn set_place(&self, number: usize, place: Place) {
        self.places.lock().unwrap().at.insert(number, place);
    }

    pub fn away(&self, number: usize, is_away: bool) {
        let away = &mut self.places.lock().unwrap().away;
        let _ = if is_away { away.insert(number) } else { away.remove(&number) };
    }

    pub fn opened(&self) -> Vec<usize> {
        std::mem::take(&mut self.places.lock().unwrap().opened)
    }
}

pub fn put(realm: &Realm, name: &str) -> RecordId {
    realm.put(Put::new(user(name), Class::audio()), name.as_bytes()).unwrap()
}

/// A name of this shard's.
pub fn name_in(realm: &Realm, number: usize) -> String {
    (0..)
        .map(|n| format!("of shard {number} {n}"))
        .find(|name| realm.shard_of(&user(name)).unwrap().number == number)
        .unwrap()
}

/// The names of all users of an engine.
pub fn names_of(engine: &Engine) -> Vec<String> {
    let users = engine.users(None, 10_000).unwrap();
    users.into_iter().map(|(user, _)| user.as_str().to_owned()).collect()
}
