//! What a simulation runs on: the default stack over a simulated disk, or any adapters behind their ports.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::disk::{Loss, Saved, SimDisk, SimIndex, Unsynced};
use super::gate::{Fault, Gate, Touch, Verdict};
use super::keyholders::{KeyholderEvent, Keyholders};
use super::rng::Rng;
use crate::cell::{
    CellDefect, Contents, Durable, KeySlots, Level, MemoryCell, Owner, Promise, Retirement, RootCell, RootId, RootKey,
    live_key_in,
};
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, StoreId};
use crate::store::journal::{JournalStore, Sizes};
use crate::store::{Ahead, Blob, Claimed, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage};
use crate::testing::{Seeded, locked};

/// Stores and a root cell that outlive the process and, as far as their contracts go, a power cut.
pub trait Media: Send + Sync {
    /// Opens the store at `place`; where `create` is set and nothing is there, makes an empty one.
    ///
    /// # Errors
    /// `Absent` where nothing is there.
    fn store(&self, place: &str, create: bool) -> Result<Arc<dyn Store>>;

    /// Opens the one root cell.
    ///
    /// # Errors
    /// What it says.
    fn cell(&self) -> Result<Arc<dyn RootCell>>;

    /// Called between two processes, when everything is closed; `power`: the machine lost power too.
    fn restart(&self, power: bool, seed: u64);

    /// Every root key that somebody finds who seizes the cell's medium now; `all_final`: every erase was said to be final.
    ///
    /// # Errors
    /// What the cell says.
    fn keys_on_medium(&self, all_final: bool) -> Result<Vec<RootKey>>;

    /// Loses everything at `place`; `false` where that is not simulated.
    fn lose(&self, _place: &str) -> bool {
        false
    }

    /// Changes a bit at `place`; `false` where that is not simulated.
    fn rot(&self, _place: &str, _seed: u64) -> bool {
        false
    }

    /// Keeps what is at `place` now; `None` where that is not simulated.
    fn save(&self, _place: &str) -> Option<Saved> {
        None
    }

    /// Makes `place` what it was.
    fn put_back(&self, _place: &str, _saved: &Saved) {}

    /// Makes a place what another is, byte for byte; `false` where that is not simulated.
    fn copy(&self, _from: &str, _to: &str) -> bool {
        false
    }

    /// From here on things go wrong by themselves, where they may.
    fn stir(&self) {}

    /// From here on nothing goes wrong by itself.
    fn calm(&self) {}

    /// The cell as the engine that owns it has it open, with what its process remembers; `None` where that is not simulated.
    fn twin_cell(&self) -> Option<Arc<dyn RootCell>> {
        None
    }

    /// Puts another keyholder in the place of one, or has one lose what it holds; `false` where there are none, or it may not be.
    fn keyholders(&self, _event: KeyholderEvent) -> bool {
        false
    }

    /// Whether the root key is spread over keyholders.
    fn has_keyholders(&self) -> bool {
        false
    }

    /// Whether two engines may hold one store open at once, each seeing what the other commits: true of adapters without
    /// a lock, whose only defence is that a commit names the head it saw.
    fn shares_handles(&self) -> bool {
        false
    }

    /// The gate that every operation passes.
    fn gate(&self) -> &Arc<Gate>;
}

/// The default stack, its blob log and its file cell, over a disk that loses, tears and reorders what was not synced.
/// The index is simulated at its port: sled itself is looked at on real files, in the tests of this crate.
pub struct SimulatedDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
    env: SharedEnv,
    made: Mutex<BTreeSet<String>>,
    /// Handles on the cell that are open.
    handles: Mutex<Vec<Weak<KeySlots>>>,
    broken: Option<CellDefect>,
    /// What power cuts do; `None`: something else each time.
    pub(super) loss: Mutex<Option<Loss>>,
}

impl std::fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

/// Small enough that a run reaches a second file and a checkpoint.
const SIZES: Sizes =
    Sizes { file_bytes: 96 << 10, ahead_bytes: 16 << 10, checkpoint_bytes: 24 << 10, recent_max: 40, beside: false };
const CELL: &str = "/cell";

fn dir_of(place: &str) -> PathBuf {
    Path::new("/").join(place)
}

impl SimulatedDisk {
    /// An empty disk; `unsynced` plants a defect.
    ///
    /// # Panics
    /// Never: an empty disk takes an empty cell.
    pub fn new(env: SharedEnv, unsynced: Option<Unsynced>) -> Arc<Self> {
        Self::broken(env, unsynced, None)
    }

    /// The same, with a defect in its cell.
    ///
    /// # Panics
    /// Never: an empty disk takes an empty cell.
    pub fn broken(env: SharedEnv, unsynced: Option<Unsynced>, broken: Option<CellDefect>) -> Arc<Self> {
        let gate = Gate::new();
        let disk = SimDisk::new(Arc::clone(&gate), unsynced);
        let (made, handles, loss) = Default::default();
        let media = SimulatedDisk { disk, gate, env, made, handles, broken, loss };
        media.make_cell();
        Arc::new(media)
    }

    fn make_cell(&self) {
        #[expect(clippy::expect_used, reason = "nothing goes wrong while the gate has no plan")]
        self.slots().make().expect("an empty disk takes an empty cell");
    }

    fn slots(&self) -> KeySlots {
        KeySlots::new(Arc::new(self.disk.clone()), Path::new(CELL), Arc::clone(&self.env)).broken(self.broken)
    }
}

impl Media for SimulatedDisk {
    fn store(&self, place: &str, create: bool) -> Result<Arc<dyn Store>> {
        {
            let mut made = locked(&self.made);
            if !made.contains(place) && !create {
                return Err(Error::new(ErrorKind::Absent, format!("no store at {place}")));
            }
            made.insert(place.to_owned());
        }
        let dir = dir_of(place);
        let index = Arc::new(SimIndex::open(&self.disk, &dir.join("index")));
        Ok(Arc::new(JournalStore::open(Arc::new(self.disk.clone()), &dir.join("log"), index, &[7; 16], SIZES)?))
    }

    fn cell(&self) -> Result<Arc<dyn RootCell>> {
        let slots = Arc::new(self.slots());
        let mut handles = locked(&self.handles);
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(&slots));
        Ok(Arc::new(DiskCell(slots)))
    }

    fn restart(&self, power: bool, seed: u64) {
        let mut rng = Rng::new(seed);
        if power {
            self.disk.lose(*locked(&self.loss), &mut rng);
        } else {
            self.disk.evict(&mut rng);
        }
        self.gate.power_on();
    }

    fn copy(&self, from: &str, to: &str) -> bool {
        locked(&self.made).insert(to.to_owned());
        self.disk.copy(&dir_of(from), &dir_of(to));
        true
    }

    fn twin_cell(&self) -> Option<Arc<dyn RootCell>> {
        let handles: Vec<Arc<KeySlots>> = locked(&self.handles).iter().filter_map(Weak::upgrade).collect();
        let owners = handles.iter().find(|slots| slots.is_owners())?;
        Some(Arc::new(DiskCell(Arc::new(owners.twin()))))
    }

    fn keys_on_medium(&self, _all_final: bool) -> Result<Vec<RootKey>> {
        let slots = ["slot-a", "slot-b"].iter().flat_map(|slot| self.disk.on_medium(&Path::new(CELL).join(slot)));
        Ok(slots.filter_map(|bytes| live_key_in(&bytes)).collect())
    }

    fn lose(&self, place: &str) -> bool {
        self.disk.put_back(&dir_of(place), &Saved::default());
        locked(&self.made).remove(place);
        if dir_of(place) == Path::new(CELL) {
            self.make_cell();
        }
        true
    }

    fn rot(&self, place: &str, seed: u64) -> bool {
        self.disk.rot(&dir_of(place), &mut Rng::new(seed))
    }

    fn save(&self, place: &str) -> Option<Saved> {
        let there = dir_of(place) == Path::new(CELL) || locked(&self.made).contains(place);
        there.then(|| self.disk.save(&dir_of(place)))
    }

    fn put_back(&self, place: &str, saved: &Saved) {
        locked(&self.made).insert(place.to_owned());
        self.disk.put_back(&dir_of(place), saved);
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

struct DiskCell(Arc<KeySlots>);

impl RootCell for DiskCell {
    fn describe(&self) -> Promise {
        Promise {
            kind: "file",
            place: CELL.into(),
            level: Level::L0,
            statement: "simulated".into(),
            remnants: false,
            quorum: None,
        }
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.0.claim(store, owner, mark)
    }
    fn awaited(&self, _keep: &RootId) -> Option<crate::cell::Awaited> {
        None
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.0.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        self.0.load()
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.0.retire(keep, None, proof.commit())
    }
    fn retire_for(&self, keep: &RootId, next: &RootKey, proof: Durable) -> Result<Option<Retirement>> {
        self.0.retire(keep, Some(next), proof.commit()).map(Some)
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.0.ready(keep, next)
    }
}

type OpenStore = dyn Fn(&str, bool) -> Result<Arc<dyn Store>> + Send + Sync;
type OpenCell = dyn Fn() -> Result<Arc<dyn RootCell>> + Send + Sync;

/// Adapters of your own, with faults at their ports. What they do in a real power cut is not simulated: `restart` only
/// opens them anew.
pub struct Adapters {
    stores: Box<OpenStore>,
    cell: Box<OpenCell>,
    lose: Option<Box<LosePlace>>,
    keyholders: Option<Arc<Keyholders>>,
    gate: Arc<Gate>,
}

type LosePlace = dyn Fn(&str) + Send + Sync;

impl std::fmt::Debug for Adapters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adapters")
    }
}

fn in_memory(stores: &Mutex<BTreeMap<String, Arc<MemoryStore>>>, place: &str, create: bool) -> Result<Arc<dyn Store>> {
    match (locked(stores).entry(place.to_owned()), create) {
        (Entry::Occupied(there), _) => Ok(there.get().clone()),
        (Entry::Vacant(empty), true) => Ok(empty.insert(Arc::default()).clone()),
        (Entry::Vacant(_), false) => Err(Error::new(ErrorKind::Absent, format!("no store at {place}"))),
    }
}

impl Adapters {
    /// `stores` opens the store at a place, and makes one where it is told to and nothing is there; `cell` opens the
    /// root cell. Both are called again after every restart, when what they gave before is closed.
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
        let open_cell = Box::new(move || -> Result<Arc<dyn RootCell>> { Ok(Arc::new(locked(&kept).handle())) });
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

    /// The same, where keyholders are replaced, come back, and lose what they hold; `broken` is a defect of theirs.
    pub fn with_changing_keyholders(seed: u64, env: &Arc<Seeded>, broken: Option<CellDefect>) -> Arc<Self> {
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
        Ok(Arc::new(FaultyStore { store: (self.stores)(place, create)?, gate: Arc::clone(&self.gate) }))
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
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.gate.verb(Touch::Store, || self.store.claimed())
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.gate.verb(Touch::Store, || self.store.claim(claimed))
    }
    fn confirm(&self) -> Result<bool> {
        self.gate.verb(Touch::Store, || self.store.confirm())
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.gate.verb(Touch::Store, || self.store.get(name))
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

/// Every root key that was ever deposited: what a cell that failed to forget would hold.
pub(super) type Hoard = Arc<Mutex<Vec<RootKey>>>;

/// A deposit on its way.
pub(super) type Late = Arc<Mutex<Option<(StoreId, RootId, Key)>>>;

/// A cell that answers late, twice or not at all.
pub(super) struct FaultyCell {
    pub(super) cell: Arc<dyn RootCell>,
    pub(super) gate: Arc<Gate>,
    pub(super) hoard: Hoard,
    pub(super) late: Late,
}

impl FaultyCell {
    /// A deposit that was told to have failed takes effect at last.
    fn arrive(&self) {
        if let Some((store, id, key)) = locked(&self.late).take() {
            // Nobody hears what the cell says to it.
            let _ = self.cell.deposit(store, &id, &key);
        }
    }
}

impl RootCell for FaultyCell {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.claim(store, owner, mark))
    }

    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.cell.ready(keep, next)
    }

    fn take_over(&self) {
        self.cell.take_over();
    }

    fn unfinished(&self) -> Vec<crate::cell::Dealt> {
        self.cell.unfinished()
    }

    fn awaited(&self, keep: &RootId) -> Option<crate::cell::Awaited> {
        self.cell.awaited(keep)
    }

    fn remembered(&self) -> Vec<crate::cell::Statement> {
        self.cell.remembered()
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.arrive();
        locked(&self.hoard).push(RootKey { id: *id, key: key.duplicate() });
        let lost = || Err(Error::new(ErrorKind::Io, "no answer came"));
        match self.gate.pass(Touch::Cell) {
            Some(Verdict::Fault(Fault::Late)) => {
                *locked(&self.late) = Some((store, *id, key.duplicate()));
                lost()
            }
            Some(Verdict::Go) => self.cell.deposit(store, id, key),
            Some(Verdict::Fault(Fault::Twice)) => {
                self.cell.deposit(store, id, key)?;
                self.cell.deposit(store, id, key)
            }
            Some(Verdict::Fault(Fault::FailsApplied | Fault::PowerAfter)) => {
                self.cell.deposit(store, id, key)?;
                lost()
            }
            _ => lost(),
        }
    }

    fn load(&self) -> Result<Contents> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.load())
    }

    fn wants_epoch(&self) -> bool {
        self.cell.wants_epoch()
    }

    fn retire_for(&self, keep: &RootId, next: &RootKey, proof: Durable) -> Result<Option<Retirement>> {
        self.arrive();
        locked(&self.hoard).push(next.duplicate());
        self.gate.verb(Touch::Cell, || self.cell.retire_for(keep, next, proof.again()))
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.retire(keep, proof.again()))
    }
}
