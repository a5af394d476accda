//! A store, its cell, and what was put there and erased; and what it is after a process died.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::Geometry;
use keyfall::env::SharedEnv;
use keyfall::quorum::{Holder, Keyholder, QuorumCell};
use keyfall::store::{ObjectLog, StoreId};
use keyfall::testing::Seeded;
use keyfall::{Engine, ErrorKind, Options, Query, RecordId};
use keyfall_objects::{MemoryObjects, Objects, Patience};
use tempfile::TempDir;

use super::ending::{Dies, Ending, Mortal};
use crate::engines::{options, read};
use crate::paused::bring;

/// What was acknowledged.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) live: BTreeMap<RecordId, Vec<u8>>,
    pub(super) erased: Vec<RecordId>,
}

/// What an engine is at when it dies: all of it happens, or nothing.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) puts: Vec<Vec<u8>>,
    pub(super) erases: Vec<RecordId>,
}

impl Known {
    pub(super) fn fell(&mut self, id: RecordId) {
        self.live.remove(&id);
        self.erased.push(id);
    }

    /// Judges what an engine gives; says whether what was under way has happened. Of many records
    /// some are read, and all are listed.
    pub(super) fn judge(&self, engine: &Engine, flight: &Flight, when: &str) -> bool {
        let listed = list(engine);
        let in_flight = |id: &RecordId| flight.erases.contains(id);
        for (id, payload) in self.live.iter().step_by(1 + self.live.len() / 200) {
            match read(engine, id) {
                Ok(there) => assert!(there == *payload, "{when}: another payload"),
                Err(e) => assert!(in_flight(id) && e.kind() == ErrorKind::Erased, "{when}: {e}"),
            }
        }
        for id in &self.erased {
            let told = read(engine, id).map(drop).map_err(|e| e.kind());
            assert_eq!(told, Err(ErrorKind::Erased), "{when}: it was acknowledged as erased");
            assert!(!listed.contains(id), "{when}");
        }
        let gone = self.live.keys().filter(|id| !listed.contains(id));
        let gone: Vec<&RecordId> =
            gone.inspect(|id| assert!(in_flight(id), "{when}: lost")).collect();
        let mut new: Vec<Vec<u8>> = listed
            .iter()
            .filter(|id| !self.live.contains_key(id))
            .map(|id| read(engine, id).unwrap())
            .collect();
        let happened = !gone.is_empty() || !new.is_empty();
        let (all, none) = ((flight.erases.len(), flight.puts.len()), (0, 0));
        let is = (gone.len(), new.len());
        assert_eq!(is, if happened { all } else { none }, "{when}: half of it");
        if happened {
            new.sort();
            let mut puts = flight.puts.clone();
            puts.sort();
            assert!(new == puts, "{when}: another payload than was under way");
        }
        happened
    }
}

fn list(engine: &Engine) -> BTreeSet<RecordId> {
    let (mut query, mut all) = (Query::default(), BTreeSet::new());
    loop {
        let some = engine.list(&query).unwrap();
        all.extend(some.records.iter().map(|record| record.id));
        query.after = some.next;
        if query.after.is_none() {
            return all;
        }
    }
}

/// Where the root keys are.
pub(super) enum Keys {
    Memory(MemoryCell),
    Keyholders { holders: Vec<Arc<Holder>>, dir: TempDir, of: Option<StoreId> },
}

fn holders(dir: &Path, env: &SharedEnv) -> Vec<Arc<Holder>> {
    let holder = |n: u8| keyfall::testing::holder(&dir.join(format!("keyholder {n}")), n, env);
    (1..4).map(|n| Arc::new(holder(n))).collect()
}

impl Keys {
    pub(super) fn memory() -> Self {
        Keys::Memory(MemoryCell::new())
    }

    pub(super) fn keyholders() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env: SharedEnv = Arc::new(Seeded::new(0));
        Keys::Keyholders { holders: holders(dir.path(), &env), dir, of: None }
    }

    /// Others that hold the same.
    fn snapshot(&self, env: &SharedEnv) -> Self {
        match self {
            Keys::Memory(cell) => {
                let (there, copy) = (cell.load().unwrap(), MemoryCell::new());
                let store = there.store.unwrap();
                for root in &there.keys {
                    copy.deposit(store, &root.id, &root.key).unwrap();
                }
                copy.claim(store, &there.owner.unwrap(), there.mark).unwrap();
                Keys::Memory(copy.handle())
            }
            Keys::Keyholders { dir, of, .. } => {
                let copy = tempfile::tempdir().unwrap();
                for n in 1..4 {
                    let name = format!("keyholder {n}");
                    bring(&dir.path().join(&name), &copy.path().join(&name));
                }
                Keys::Keyholders { holders: holders(copy.path(), env), dir: copy, of: *of }
            }
        }
    }

    /// A handle for a process; with an ending for one that dies.
    fn handle(&self, ending: Option<&Arc<Ending>>, env: &SharedEnv) -> Arc<dyn RootCell> {
        match self {
            Keys::Memory(cell) => match ending {
                None => Arc::new(cell.handle()),
                Some(ending) => {
                    let (of, ending) = (Arc::new(cell.handle()), Arc::clone(ending));
                    Arc::new(Mortal { of, ending })
                }
            },
            Keys::Keyholders { holders, of, .. } => {
                let member = |holder: &Arc<Holder>| -> Arc<dyn Keyholder> {
                    let of = Arc::clone(holder);
                    match ending {
                        None => of,
                        Some(ending) => Arc::new(Mortal { of, ending: Arc::clone(ending) }),
                    }
                };
                let members = holders.iter().map(member).collect();
                let env = Arc::clone(env);
                Arc::new(QuorumCell::in_process(members, (2, 0), *of, env).unwrap())
            }
        }
    }
}

/// A store and its cell, by a clock for which nobody waits.
pub(super) struct World {
    env: Arc<Seeded>,
    pub(super) place: Arc<MemoryObjects>,
    keys: Keys,
    segment_bytes: usize,
}

impl World {
    pub(super) fn new(keys: Keys, segment_bytes: usize) -> (Self, Engine) {
        let (env, place) = (Arc::new(Seeded::new(1)), Arc::new(MemoryObjects::new()));
        let mut world = World { env, place, keys, segment_bytes };
        let log = ObjectLog::create_with(world.place.clone(), world.env.clone(), tries()).unwrap();
        let cell = world.keys.handle(None, &world.env());
        let engine = Engine::init(Arc::new(log), cell, world.options()).unwrap();
        if let Keys::Keyholders { of, .. } = &mut world.keys {
            *of = Some(engine.id());
        }
        (world, engine)
    }

    fn env(&self) -> SharedEnv {
        self.env.clone()
    }

    fn options(&self) -> Options {
        let geometry = Geometry { segment_bytes: self.segment_bytes, ..Geometry::DEFAULT };
        options().env(self.env()).geometry(geometry)
    }

    /// Another one in which the same has happened, and other things are drawn.
    pub(super) fn snapshot(&self, seed: u64) -> Self {
        let env = Arc::new(Seeded::new(seed));
        env.advance(1 << 30);
        let shared: SharedEnv = env.clone();
        World {
            place: Arc::new(self.place.snapshot()),
            keys: self.keys.snapshot(&shared),
            env,
            segment_bytes: self.segment_bytes,
        }
    }

    pub(super) fn open(&self) -> Engine {
        self.open_over(self.place.clone(), None)
    }

    /// An engine of a process that dies.
    pub(super) fn open_mortal(&self, dies: Dies, at_reads: bool) -> (Engine, Arc<Ending>) {
        let ending = Ending::new(dies, at_reads);
        let objects = Mortal { of: self.place.clone(), ending: ending.clone() };
        (self.open_over(Arc::new(objects), Some(&ending)), ending)
    }

    fn open_over(&self, objects: Arc<dyn Objects>, ending: Option<&Arc<Ending>>) -> Engine {
        let log = ObjectLog::open_with(objects, self.env.clone(), tries()).unwrap();
        let cell = self.keys.handle(ending, &self.env());
        Engine::open(Arc::new(log), cell, self.options()).unwrap()
    }

    /// Whether a candidate that was deposited and not published is destroyed by the next opening:
    /// keyholders destroy at the next erase what an engine has merely seen (SPEC.md 14).
    pub(super) fn opening_gives_up(&self) -> bool {
        matches!(self.keys, Keys::Memory(_))
    }

    /// How many root keys there are.
    pub(super) fn root_keys(&self) -> usize {
        self.keys.handle(None, &self.env()).load().unwrap().keys.len()
    }

    /// The objects of a folder.
    pub(super) fn folder(&self, folder: &str) -> Vec<String> {
        let listed = self.place.list(folder, "", 10_000).unwrap();
        listed.into_iter().map(|object| object.name).collect()
    }

    /// Objects of a commit that lie beside it.
    pub(super) fn packs(&self) -> Vec<String> {
        [self.folder("p"), self.folder("x")].concat()
    }

    /// Those of them that no commit names: in its place there is a claim, or one that ends before
    /// them (SPEC.md 9.8: kind and chunk are bytes 32 and 33 of an object).
    pub(super) fn orphans(&self) -> Vec<String> {
        let mut packs = self.packs();
        packs.retain(|pack| {
            let (number, rest) = pack[2..].split_once('-').unwrap();
            let commit = self.place.get_range(&format!("c/{number}"), 32, 2).unwrap();
            let ends_before = |chunk| match pack.starts_with("p/") {
                true => chunk <= u8::from_str_radix(rest, 16).unwrap(),
                false => false,
            };
            commit.is_some_and(|commit| commit[0] != 1 || ends_before(commit[1]))
        });
        packs
    }
}

/// What is refused is not tried again; what was not answered is, once.
fn tries() -> Patience {
    Patience::of_tries(2)
}
