//! A keyholder's slots for one store: eight, for the shares of candidates of writers that race,
//! with a fence.
//!
//! The note beside a share says more about it (`quorum/shares.rs`).

use std::path::Path;
use std::sync::Arc;

use super::claims::{Claim, fenced};
use super::defect::CellDefect;
use super::sector::Source;
use super::slot::{Slot, SlotNote, Written};
use super::slots::{Slots, Tombstones};
use super::{Owner, RootKey};
use crate::crypto::Key;
use crate::disk::Disk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Fence, RootId};

/// Names of the slots' files, for each store.
pub(crate) const SHARE_SLOTS: &[&str] =
    &["slot-a", "slot-b", "slot-c", "slot-d", "slot-e", "slot-f", "slot-g", "slot-h"];

/// What a keyholder has of one store.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Shares that are not destroyed, with their notes.
    pub(crate) live: Vec<(RootKey, SlotNote)>,
    /// The root key of the highest epoch that was kept when others were destroyed.
    pub(crate) fence: Fence,
    /// The engine that claimed the store last.
    pub(crate) owner: Option<Owner>,
    /// The highest commit that the owner told of.
    pub(crate) mark: u64,
}

/// The slots of a keyholder for one store.
pub(crate) struct ShareSlots(Slots);

impl ShareSlots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, env: SharedEnv) -> Self {
        // What a keyholder has ended must not be forgotten with a file: its claims must be there.
        ShareSlots(Slots::new(disk, dir, env, SHARE_SLOTS, true))
    }

    /// Says whether it was accepted that old bytes may stay.
    pub(crate) fn accepting(self, remnants: bool) -> Self {
        ShareSlots(self.0.accepting(remnants))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn broken(self, defect: Option<CellDefect>) -> Self {
        ShareSlots(self.0.broken(defect))
    }

    /// Writes the slots of a keyholder that never held a share; see [`Slots::make`].
    pub(crate) fn make(&self) -> Result<()> {
        self.0.make()
    }

    /// Whether [`Slots::make`] was cut short here.
    pub(crate) fn unfinished(&self) -> bool {
        self.0.unfinished()
    }

    /// The shares, and what is recorded beside them.
    pub(crate) fn shares(&self) -> Result<Shares> {
        let claim = self.0.claims.read(Source::Medium)?;
        let live = self.0.all(Source::Medium)?.into_iter().filter_map(|slot| match slot {
            Slot::Live { key, note, .. } => Some((key, note)),
            _ => None,
        });
        if self.0.has(CellDefect::FenceInTombstone) {
            let fence = self.newest_tombstone()?;
            return Ok(Shares { live: live.collect(), fence, owner: None, mark: 0 });
        }
        Ok(Shares {
            live: live.collect(),
            fence: claim.fence,
            owner: claim.owner,
            mark: claim.mark,
        })
    }

    /// Records what a request says, before it is carried out: its owner, a mark, and a root key to
    /// keep alone, if the fence lets it. Returns the fence that was there.
    pub(crate) fn admit(
        &self,
        store: StoreId,
        owner: &Owner,
        mark: Option<u64>,
        keep: Option<&RootId>,
    ) -> Result<Fence> {
        let there = self.0.claims.read(Source::Medium)?;
        if self.0.has(CellDefect::FenceInTombstone) {
            return self.newest_tombstone();
        }
        if !there.takes(owner) {
            return Err(fenced("the store", there.owner.as_ref()));
        }
        let fence =
            keep.filter(|keep| there.fence.ends_at(keep)).map_or(there.fence, |keep| Fence(*keep));
        self.0.claims.record(Claim { fence, ..there.told(store, owner, mark) })?;
        Ok(there.fence)
    }

    /// Keeps a share beside the others. One of another polynomial is not taken in its place: it
    /// would not fit what the others were dealt, and this one may.
    pub(crate) fn deposit(
        &self,
        store: StoreId,
        id: &RootId,
        value: &Key,
        note: &SlotNote,
    ) -> Result<()> {
        self.0.check_medium()?;
        let slots = self.0.all(Source::Medium)?;
        let is_another = |slot: &Slot| match slot {
            Slot::Live { key, note: there, .. } => key.id == *id && there != note,
            _ => false,
        };
        if slots.iter().any(is_another) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "it holds another share of the root key of epoch {}, which an earlier try \
                     dealt; have the other keyholders answer, and try again",
                    id.epoch
                ),
            ));
        }
        self.0.put(&slots, &Written { store, id: *id, key: Some(value), note: Some(note) })
    }

    /// Destroys every share up to the epoch of `keep` but its own, which need not be there, and
    /// those that were given up. What is newer stays: this may arrive when the next key is the
    /// head's already. The fence is recorded by then.
    pub(crate) fn retire(&self, store: StoreId, keep: &RootId, given_up: &[RootId]) -> Result<()> {
        self.0.check_medium()?;
        let spared = |id: &RootId| id == keep || id.epoch > keep.epoch && !given_up.contains(id);
        let tombstones = Tombstones { store, epoch: keep.epoch, note: None, all: false };
        self.0.destroy_others(&self.0.all(Source::Medium)?, spared, &tombstones)?;
        if self.0.has(CellDefect::FenceInTombstone)
            && let Some(free) =
                self.0.all(Source::Medium)?.iter().position(|slot| slot.live().is_none())
        {
            self.0.write(free, &Written { store, id: *keep, key: None, note: None })?;
        }
        Ok(())
    }

    /// The fence under the defect that forgets it.
    fn newest_tombstone(&self) -> Result<Fence> {
        let slots = self.0.all(Source::Medium)?;
        let ended = slots.iter().filter(|slot| slot.live().is_none()).filter_map(Slot::id).max();
        Ok(ended.map_or(Fence::NONE, Fence))
    }
}
