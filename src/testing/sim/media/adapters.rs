//! Any adapters of the two ports, with faults at the ports.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};

use super::gate::{Gate, Touch};
use super::keyholders::{KeyholderEvent, Keyholders};
use super::port::Media;
use crate::cell::defect::CellDefect;
use crate::cell::{MemoryCell, RootCell, RootKey};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::quorum::Config;
use crate::store::{
    Ahead, Blob, Claimed, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage,
};
use crate::testing::lock::locked;
use crate::testing::seeded::Seeded;

type OpenStore = dyn Fn(&str, bool) -> Result<Arc<dyn Store>> + Send + Sync;
type LosePlace = dyn Fn(&str) + Send + Sync;
type OpenCell = dyn Fn() -> Result<Arc<dyn RootCell>> + Send + Sync;

/// Adapters of your own, with faults at their ports. What they do in a real power cut is not
/// simulated: `restart` only opens them again.
pub struct Adapters {
    stores: Box<OpenStore>,
    cell: Box<OpenCell>,
    lose: Option<Box<LosePlace>>,
    keyholders: Option<Arc<Keyholders>>,
    gate: Arc<Gate>,
}

impl std::fmt::Debug for Adapters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adapters")
    }
}

fn in_memory(
    stores: &Mutex<BTreeMap<String, Arc<MemoryStore>>>,
    place: &str,
    create: bool,
) -> Result<Arc<dyn Store>> {
    match (locked(stores).entry(place.to_owned()), create) {
        (Entry::Occupied(there), _) => Ok(there.get().clone()),
        (Entry::Vacant(empty), true) => Ok(empty.insert(Arc::default()).clone()),
        (Entry::Vacant(_), false) => {
            Err(Error::new(ErrorKind::Absent, format!("no store at {place}")))
        }
    }
}

impl Adapters {
    /// `stores` opens the store at a place, and makes one where it is told to and nothing is there;
    /// `cell` opens the root cell. Both are called again after every restart, when what they gave
    /// before is closed.
    pub fn new(
        stores: impl Fn(&str, bool) -> Result<Arc<dyn Store>> + Send + Sync + 'static,
        cell: impl Fn() -> Result<Arc<dyn RootCell>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Adapters {
            stores: Box::new(stores),
            cell: Box::new(cell),
            lose: None,
            keyholders: None,
            gate: Gate::new(),
        })
    }

    /// The reference adapters, in memory; several engines may share them.
    pub fn in_memory() -> Arc<Self> {
        let stores: Arc<Mutex<BTreeMap<String, Arc<MemoryStore>>>> = Arc::default();
        let cell: Arc<Mutex<Arc<MemoryCell>>> = Arc::default();
        let (known, kept) = (Arc::clone(&stores), Arc::clone(&cell));
        let open = move |place: &str, create: bool| in_memory(&known, place, create);
        let lose = move |place: &str| {
            locked(&stores).remove(place);
            if place == "cell" {
                *locked(&cell) = Arc::default();
            }
        };
        let open_cell =
            Box::new(move || -> Result<Arc<dyn RootCell>> { Ok(Arc::new(locked(&kept).handle())) });
        Arc::new(Adapters {
            stores: Box::new(open),
            cell: open_cell,
            lose: Some(Box::new(lose)),
            keyholders: None,
            gate: Gate::new(),
        })
    }

    /// Stores in memory, the root key spread over five keyholders.
    pub fn with_keyholders(seed: u64, env: &Arc<Seeded>) -> Arc<Self> {
        Self::spread(Keyholders::new(seed, &(env.clone() as SharedEnv)))
    }

    /// The same, with keyholders that are replaced, come back, and lose what they hold; `broken`
    /// plants a defect in them.
    pub fn with_changing_keyholders(
        seed: u64,
        env: &Arc<Seeded>,
        broken: Option<CellDefect>,
    ) -> Arc<Self> {
        Self::spread(Keyholders::changing(seed, &(env.clone() as SharedEnv), broken))
    }

    fn spread(keyholders: Arc<Keyholders>) -> Arc<Self> {
        let cells = Arc::clone(&keyholders);
        let stores: Arc<Mutex<BTreeMap<String, Arc<MemoryStore>>>> = Arc::default();
        Arc::new(Adapters {
            stores: Box::new(move |place, create| in_memory(&stores, place, create)),
            cell: Box::new(move || cells.cell()),
            lose: None,
            keyholders: Some(keyholders),
            gate: Gate::new(),
        })
    }
}

impl Media for Adapters {
    fn store(&self, place: &str, create: bool) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(FaultyStore {
            store: (self.stores)(place, create)?,
            gate: Arc::clone(&self.gate),
        }))
    }
    fn cell(&self) -> Result<Arc<dyn RootCell>> {
        (self.cell)()
    }
    fn restart(&self, _power: bool, _seed: u64) {
        self.keyholders.iter().for_each(|keyholders| keyholders.restart());
        self.gate.power_on();
    }
    fn has_keyholders(&self) -> bool {
        self.keyholders.is_some()
    }
    fn keyholders(&self, event: KeyholderEvent) -> bool {
        self.keyholders.as_ref().is_some_and(|keyholders| keyholders.befall(event))
    }
    fn keyholder_list(&self) -> Option<Config> {
        self.keyholders.as_ref()?.list()
    }
    fn go_on_with(&self, list: Config) {
        self.keyholders.iter().for_each(|keyholders| keyholders.go_on_with(list.clone()));
    }
    fn lose(&self, place: &str) -> bool {
        self.lose.as_ref().map(|lose| lose(place)).is_some()
    }
    fn shares_handles(&self) -> bool {
        self.lose.is_some()
    }
    fn stir(&self) {
        self.keyholders.iter().for_each(|keyholders| keyholders.stir());
    }
    fn calm(&self) {
        self.keyholders.iter().for_each(|keyholders| keyholders.calm());
    }
    fn keys_on_medium(&self, all_final: bool) -> Result<Vec<RootKey>> {
        if let Some(keyholders) = &self.keyholders {
            return Ok(keyholders.keys(all_final));
        }
        Ok((self.cell)()?.load()?.keys)
    }
    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

struct FaultyStore {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
}

impl Store for FaultyStore {
    fn place(&self) -> String {
        self.store.place()
    }
    fn segment_bytes(&self) -> usize {
        self.store.segment_bytes()
    }
    fn fan_bits(&self) -> u8 {
        self.store.fan_bits()
    }
    fn reads_first(&self, root: &BlobName) {
        self.store.reads_first(root);
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.gate.verb(Touch::Store, || self.store.claimed())
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.gate.verb(Touch::Store, || self.store.claim(claimed))
    }
    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
    fn stands(&self) -> Result<()> {
        self.gate.verb(Touch::Store, || self.store.stands())
    }
    fn confirm(&self) -> Result<()> {
        self.gate.verb(Touch::Store, || self.store.confirm())
    }
    fn reopen(&self) -> Result<()> {
        self.gate.verb(Touch::Store, || self.store.reopen())
    }
    fn damage(&self) -> Result<Vec<String>> {
        self.gate.verb(Touch::Store, || self.store.damage())
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.gate.verb(Touch::Store, || self.store.get(name))
    }
    fn place_of(&self, name: &BlobName) -> Option<u128> {
        self.store.place_of(name)
    }
    fn get_along(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.gate.verb(Touch::Store, || self.store.get_along(name))
    }
    fn get_again(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.gate.verb(Touch::Store, || self.store.get_again(name))
    }
    fn put_over(&self, blobs: &[Blob]) -> Result<()> {
        self.gate.verb(Touch::Store, || self.store.put_over(blobs))
    }
    fn ask_medium(&self, on: bool) {
        self.store.ask_medium(on);
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.gate.verb(Touch::Store, || self.store.contains(name))
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.gate.verb(Touch::Store, || self.store.put(blobs))
    }
    fn head(&self) -> Result<Option<Head>> {
        self.gate.verb(Touch::Store, || self.store.head())
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.gate.verb(Touch::Store, || self.store.commit(blobs, over, head))
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.gate.verb(Touch::Store, || self.store.names(from, limit))
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.gate.verb(Touch::Store, || self.store.remove(names))
    }
    fn usage(&self) -> Result<Usage> {
        self.gate.verb(Touch::Store, || self.store.usage())
    }
}
