//! The default stack over a simulated disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::disk::{Saved, SimDisk, Unsynced};
use super::file::Loss;
use super::gate::Gate;
use super::index::SimIndex;
use super::port::Media;
use crate::cell::defect::CellDefect;
use crate::cell::{Contents, Durable, KeySlots, Owner, RootCell, RootKey, live_key_in};
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, Level, Promise, Retirement, RootId};
use crate::store::Store;
use crate::store::journal::{JournalStore, Sizes};
use crate::testing::lock::locked;
use crate::testing::sim::rng::Rng;

/// The default stack, its blob log and its file cell, over a disk that loses, tears and reorders
/// what was not synced. The index is simulated at its port; this crate tests sled itself on real
/// files.
pub struct SimulatedDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
    env: SharedEnv,
    made: Mutex<BTreeSet<String>>,
    /// The open handles on the cell.
    handles: Mutex<Vec<Weak<KeySlots>>>,
    broken: Option<CellDefect>,
    /// What power cuts lose; `None`: something different each time.
    pub(crate) loss: Mutex<Option<Loss>>,
}

impl std::fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

/// Small enough that a run reaches a second file and a checkpoint.
const SIZES: Sizes = Sizes {
    file_bytes: 96 << 10,
    ahead_bytes: 16 << 10,
    checkpoint_bytes: 24 << 10,
    recent_max: 40,
    beside: false,
};
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
    pub fn broken(
        env: SharedEnv,
        unsynced: Option<Unsynced>,
        broken: Option<CellDefect>,
    ) -> Arc<Self> {
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
        KeySlots::new(Arc::new(self.disk.clone()), Path::new(CELL), Arc::clone(&self.env))
            .broken(self.broken)
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
        Ok(Arc::new(JournalStore::open(
            Arc::new(self.disk.clone()),
            &dir.join("log"),
            index,
            &[7; 16],
            SIZES,
        )?))
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
        let handles: Vec<Arc<KeySlots>> =
            locked(&self.handles).iter().filter_map(Weak::upgrade).collect();
        let owners = handles.iter().find(|slots| slots.is_owners())?;
        Some(Arc::new(DiskCell(Arc::new(owners.twin()))))
    }

    fn keys_on_medium(&self, _all_final: bool) -> Result<Vec<RootKey>> {
        let slots = ["slot-a", "slot-b"]
            .iter()
            .flat_map(|slot| self.disk.on_medium(&Path::new(CELL).join(slot)));
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
    fn awaited(&self, _keep: &RootId) -> Option<Awaited> {
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
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        self.0.retire(keep, Some(next), proof.commit()).map(Some)
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.0.ready(keep, next)
    }
}
