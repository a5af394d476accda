//! Slots of one sector each, overwritten in place: the medium of the file cell (`key_slots.rs`),
//! which has two, and of a keyholder (`share_slots.rs`), which has eight, for candidates of writers
//! that race. Which engine may have them changed is stored beside them (`claims.rs`).
//!
//! Invariants: a slot that holds the key to keep is never written, so that a cell has a whole live
//! key at any moment after the first deposit; a destroyed slot is full of fresh random bytes after
//! its tombstone. A slot that was not seen to be destroyed, by this process and through a sync that
//! succeeded, is destroyed again. Before anything is written the slots and the claim are read from
//! the medium: a machine that was restored from a snapshot remembers what is no longer so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::claims::Claims;
use super::defect::CellDefect;
use super::sector::{self, Sector, Source};
use super::slot::{Slot, SlotNote, Written, holds};
use crate::disk::Disk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::SLOT_BYTES;
use crate::promise::RootId;
use crate::secret::Secret;

/// The slots and the claims of a directory.
pub(crate) struct Slots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    env: SharedEnv,
    names: &'static [&'static str],
    /// Whether a slot without a live key is known to be destroyed on the medium, and not only in
    /// the page cache.
    destroyed: Vec<AtomicBool>,
    /// How many writes were begun.
    writes: AtomicU64,
    pub(super) claims: Claims,
    /// Whether it was accepted that old bytes may stay.
    remnants: bool,
    #[cfg(feature = "testing")]
    defect: Option<CellDefect>,
}

/// The tombstones that [`Slots::destroy_others`] writes.
pub(super) struct Tombstones<'n> {
    pub(super) store: StoreId,
    /// Epoch of the key to keep: what is torn ended before it.
    pub(super) epoch: u64,
    pub(super) note: Option<&'n SlotNote>,
    /// Whether those that are known to stand on the medium are written once more.
    pub(super) all: bool,
}

impl Slots {
    /// `claims_needed` says whether there must be claims where there are slots.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        env: SharedEnv,
        names: &'static [&'static str],
        claims_needed: bool,
    ) -> Self {
        Slots {
            claims: Claims::new(Arc::clone(&disk), dir, claims_needed),
            disk,
            dir: dir.to_owned(),
            env,
            names,
            destroyed: names.iter().map(|_| AtomicBool::new(false)).collect(),
            writes: AtomicU64::new(0),
            remnants: false,
            #[cfg(feature = "testing")]
            defect: None,
        }
    }

    /// Says whether it was accepted that old bytes may stay.
    pub(super) fn accepting(self, remnants: bool) -> Self {
        Slots { remnants, ..self }
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.dir.join(self.names[slot])
    }

    /// Names the cell in messages.
    pub(super) fn here(&self) -> String {
        format!("the cell {}", self.dir.display())
    }

    /// Writes claims of no engine, and tombstones of epoch 0: a cell that never held a key.
    pub(crate) fn make(&self) -> Result<()> {
        let sync = || {
            self.disk
                .sync_dir(&self.dir)
                .map_err(|e| Error::io(format!("syncing {}", self.dir.display()), e))
        };
        // Before the first slot: where all slots are there, the claims were.
        self.claims.make()?;
        sync()?;
        let id = RootId { epoch: 0, attempt: [0; 16] };
        for slot in 0..self.names.len() {
            self.write(slot, &Written { store: StoreId([0; 16]), id, key: None, note: None })?;
        }
        sync()
    }

    /// Whether a slot holds what an interrupted [`Slots::make`] leaves, or nothing.
    pub(crate) fn is_unused(&self, slot: &str) -> bool {
        match sector::read(&*self.disk, &self.dir.join(slot), Source::Medium) {
            Ok(Sector::Absent | Sector::Empty) => true,
            Ok(Sector::Read(bytes)) => match Slot::parse(&bytes) {
                Slot::Destroyed { id, .. } => id.epoch == 0,
                Slot::Live { .. } => false,
                Slot::Torn => bytes.iter().all(|&b| b == 0),
            },
            Ok(Sector::Short) | Err(_) => false,
        }
    }

    /// Whether these, with their claims, hold what an interrupted [`Slots::make`] leaves, or
    /// nothing.
    #[cfg(any(feature = "keyholders", feature = "sled"))]
    pub(super) fn are_unused(&self) -> bool {
        self.names.iter().all(|slot| self.is_unused(slot)) && self.claims.is_unused()
    }

    /// Whether making these was cut short: they hold nothing, and are not all there.
    #[cfg(feature = "keyholders")]
    pub(super) fn unfinished(&self) -> bool {
        !self.names.iter().all(|name| self.dir.join(name).exists()) && self.are_unused()
    }

    pub(super) fn slot(&self, slot: usize, source: Source) -> Result<Slot> {
        Ok(match sector::read(&*self.disk, &self.path(slot), source)? {
            Sector::Read(bytes) => Slot::parse(&bytes),
            Sector::Absent | Sector::Empty | Sector::Short => Slot::Torn,
        })
    }

    pub(super) fn all(&self, source: Source) -> Result<Vec<Slot>> {
        (0..self.names.len()).map(|slot| self.slot(slot, source)).collect()
    }

    /// Why what is overwritten here may stay, as far as the slots' files tell.
    pub(crate) fn objection(&self) -> Result<Option<String>> {
        for slot in 0..self.names.len() {
            let path = self.path(slot);
            if let Some(why) = self.disk.keeps(&path).map_err(|e| Error::io(path.display(), e))? {
                return Ok(Some(format!("the slot {} {why}", self.names[slot])));
            }
        }
        Ok(None)
    }

    /// Refuses to overwrite what must be gone then, if it may stay: files change, and copies are
    /// made of them, while a cell is open.
    pub(super) fn check_medium(&self) -> Result<()> {
        match if self.remnants { None } else { self.objection()? } {
            None => Ok(()),
            Some(why) => Err(Error::new(
                ErrorKind::Medium,
                format!(
                    "{} cannot destroy a key now: {why}; undo that and call again",
                    self.here()
                ),
            )),
        }
    }

    /// How many writes were begun: it changes with each.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Overwrites one slot, syncs it and reads it back from the medium if the file system can.
    pub(super) fn write(&self, slot: usize, written: &Written<'_>) -> Result<()> {
        let mut bytes = Secret::zeroed(SLOT_BYTES);
        self.env.fill(&mut bytes)?;
        written.encode(&mut bytes);
        self.destroyed[slot].store(false, Ordering::Release);
        self.writes.fetch_add(1, Ordering::AcqRel);
        sector::overwrite(&*self.disk, &self.path(slot), &bytes)?;
        self.destroyed[slot].store(written.key.is_none(), Ordering::Release);
        Ok(())
    }

    /// Keeps a further key in a slot that holds none. Depositing the same again is no change.
    pub(super) fn put(&self, slots: &[Slot], written: &Written<'_>) -> Result<()> {
        if holds(slots, &written.id) {
            return Ok(());
        }
        let Some(free) = slots.iter().position(|slot| slot.live().is_none()) else {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "this cell holds {} root keys; open the store again to finish the erase",
                    slots.len()
                ),
            ));
        };
        self.write(free, written)
    }

    /// Destroys every key that is not spared.
    pub(super) fn destroy_others(
        &self,
        slots: &[Slot],
        spared: impl Fn(&RootId) -> bool,
        tombstones: &Tombstones<'_>,
    ) -> Result<()> {
        for (n, slot) in slots.iter().enumerate() {
            let done = match slot {
                Slot::Live { key, .. } => spared(&key.id),
                Slot::Torn => false,
                // A tombstone whose sync failed stands in the page cache, and the old key on the
                // medium.
                Slot::Destroyed { .. } => {
                    !tombstones.all && self.destroyed[n].load(Ordering::Acquire)
                }
            };
            if !done {
                let torn = RootId { epoch: tombstones.epoch.saturating_sub(1), attempt: [0; 16] };
                let Tombstones { store, note, .. } = *tombstones;
                self.write(n, &Written { store, id: slot.id().unwrap_or(torn), key: None, note })?;
            }
        }
        Ok(())
    }

    /// Whether a defect is planted.
    #[cfg(feature = "testing")]
    pub(super) fn has(&self, defect: CellDefect) -> bool {
        self.defect == Some(defect)
    }

    #[cfg(not(feature = "testing"))]
    pub(super) const fn has(&self, _defect: CellDefect) -> bool {
        false
    }

    #[cfg(feature = "testing")]
    pub(super) fn broken(self, defect: Option<CellDefect>) -> Self {
        Slots { defect, ..self }
    }

    /// The same slots, as a snapshot of the machine keeps what this process knows of them.
    #[cfg(feature = "testing")]
    pub(super) fn twin(&self, claims_needed: bool) -> Self {
        let twin = Slots::new(
            Arc::clone(&self.disk),
            &self.dir,
            Arc::clone(&self.env),
            self.names,
            claims_needed,
        );
        twin.writes.store(self.writes(), Ordering::Release);
        twin.broken(self.defect)
    }
}
