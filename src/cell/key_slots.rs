//! A file cell's slots: two, for the root key in use and the next one, and what this process knows
//! of them.
//!
//! A note beside a key or a tombstone is claim 8 ‖ mark 8 ‖ zeros: the highest commit that the
//! owner with that claim told of.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::claims::{Claim, fenced};
use super::defect::CellDefect;
use super::sector::Source;
use super::slot::{NOTE_BYTES, Slot, SlotNote, Written, holds};
use super::slots::{Slots, Tombstones};
use super::{Contents, Owner, RootKey};
use crate::crypto::Key;
use crate::disk::Disk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Retirement, RootId};

/// Names of the slots' files.
pub(crate) const SLOTS: &[&str] = &["slot-a", "slot-b"];
/// How often a cell that another process may be writing is read until two reads in a row agree.
const LOOKS: usize = 16;
/// The time between two of these reads.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The slots of a file cell.
pub(crate) struct KeySlots {
    medium: Slots,
    handle: Mutex<Handle>,
}

/// What this process was told of its cell.
#[derive(Clone, Copy, Default)]
struct Handle {
    /// The engine that it acts for.
    owner: Option<Owner>,
    /// The root key that was kept last: the engine's, as far as it knows.
    kept: Option<RootId>,
    /// The key that the last write of all made ready.
    ready: Option<Ready>,
    /// The next key, if the medium was seen to hold it since the last retirement, and what else
    /// this process knows: then the page cache, which all processes of this machine share, tells
    /// the rest.
    seen: Option<RootId>,
}

/// A key that stands ready, if nothing was written after it.
#[derive(Clone, Copy)]
struct Ready {
    store: StoreId,
    id: RootId,
    /// [`Slots::writes`] once it was written.
    writes: u64,
}

impl KeySlots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, env: SharedEnv) -> Self {
        KeySlots { medium: Slots::new(disk, dir, env, SLOTS, false), handle: Mutex::default() }
    }

    /// Says whether it was accepted that old bytes may stay.
    pub(crate) fn accepting(self, remnants: bool) -> Self {
        KeySlots { medium: self.medium.accepting(remnants), ..self }
    }

    /// Writes the slots of a cell that never held a key; see [`Slots::make`].
    pub(crate) fn make(&self) -> Result<()> {
        self.medium.make()
    }

    /// Whether a slot holds nothing, or what an interrupted [`Slots::make`] leaves.
    pub(crate) fn is_unused(&self, slot: &str) -> bool {
        self.medium.is_unused(slot)
    }

    /// Whether no slot and no claim holds anything; see [`Slots::are_unused`].
    #[cfg(feature = "sled")]
    pub(crate) fn are_unused(&self) -> bool {
        self.medium.are_unused()
    }

    /// Why overwritten bytes may survive here; see [`Slots::objection`].
    pub(crate) fn objection(&self) -> Result<Option<String>> {
        self.medium.objection()
    }

    fn handle(&self) -> MutexGuard<'_, Handle> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `owner` the one for whom this cell changes. This handle acts for it from then on.
    pub(crate) fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let (there, slots) =
            (self.medium.claims.read(Source::Medium)?, self.medium.all(Source::Medium)?);
        let foreign = there.owner.is_some() && there.store != store;
        let used = slots.iter().filter_map(Slot::id).any(|id| id.epoch > 0);
        if foreign && used
            || slots.iter().any(|s| matches!(s, Slot::Live { store: there, .. } if *there != store))
        {
            return Err(of_another_store());
        }
        // Of a store that was never made nothing is left to own.
        let there = if foreign { Claim::NONE } else { there };
        if !there.takes(owner) {
            return Err(fenced(&self.medium.here(), there.owner.as_ref()));
        }
        let told = Claim { mark: mark_of(&there, &slots), ..there }.told(store, owner, Some(mark));
        self.medium.claims.record(told)?;
        let mut handle = self.handle();
        (handle.owner, handle.seen) = (Some(*owner), None);
        Ok(())
    }

    /// The claim, if this handle acts for the owner, or the cell was never claimed.
    fn owned(&self, source: Source) -> Result<Claim> {
        let claims = &self.medium.claims;
        let there = if source == Source::Cache { claims.glance()? } else { claims.read(source)? };
        if there.owner != self.handle().owner && !self.medium.has(CellDefect::AnyOwner) {
            return Err(fenced(&self.medium.here(), there.owner.as_ref()));
        }
        Ok(there)
    }

    pub(crate) fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        let handle = *self.handle();
        let last = self.medium.writes();
        let ready = handle.ready.is_some_and(|r| (r.store, r.id, r.writes) == (store, *id, last));
        if ready && handle.seen == Some(*id) {
            return Ok(());
        }
        let there = self.owned(Source::Medium)?;
        let slots = self.medium.all(Source::Medium)?;
        let foreign =
            |slot: &Slot| matches!(slot, Slot::Live { store: there, .. } if *there != store);
        if there.owner.is_some() && there.store != store || slots.iter().any(foreign) {
            return Err(of_another_store());
        }
        if ready && self.medium.has(CellDefect::ReadyFromMemory) {
            return Ok(());
        }
        let gone = |what: &str| {
            Error::new(
                ErrorKind::Refused,
                format!(
                    "{what} is not in {} any more; nothing was changed: open the store again",
                    self.medium.here()
                ),
            )
        };
        if handle.kept.is_some_and(|kept| !holds(&slots, &kept)) {
            return Err(gone("the root key that this engine works with"));
        }
        if ready && !holds(&slots, id) {
            self.handle().ready = None;
            return Err(gone("the root key that stood ready"));
        }
        self.medium.check_medium()?;
        let note = marked(&there, mark_of(&there, &slots));
        self.medium
            .put(&slots, &Written { store, id: *id, key: Some(key), note: note.as_ref() })?;
        self.handle().seen = Some(*id);
        Ok(())
    }

    /// The key that lives in a slot of the medium.
    pub(crate) fn live_in(&self, slot: usize) -> Result<Option<RootId>> {
        Ok(self.medium.slot(slot, Source::Medium)?.live().map(|key| key.id))
    }

    /// Takes what was just seen in the slots for the next deposit and retirement: whether both keys
    /// live there. Of the claim the page cache tells: one that a machine's snapshot brought back
    /// goes with slots that did not come back.
    pub(crate) fn saw(
        &self,
        live: &[Option<RootId>],
        keep: &RootId,
        next: &RootId,
    ) -> Result<bool> {
        let owns = self.medium.claims.glance()?.owner == self.handle().owner;
        let there = owns && live.contains(&Some(*keep)) && live.contains(&Some(*next));
        self.handle().seen = there.then_some(*next);
        Ok(there)
    }

    pub(crate) fn load(&self) -> Result<Contents> {
        self.read(Source::Medium).map(|read| read.contents)
    }

    /// As [`KeySlots::load`], if another process may be writing: what is torn, or changes, is
    /// read again.
    pub(crate) fn look(&self) -> Result<Contents> {
        let seen = |contents: &Contents| {
            let ids: Vec<RootId> = contents.keys.iter().map(|key| key.id).collect();
            (ids, contents.epoch, contents.owner, contents.mark)
        };
        for _ in 0..LOOKS {
            if let (Ok(before), Ok(now)) = (self.read(Source::Cache), self.read(Source::Cache))
                && now.whole
                && seen(&before.contents) == seen(&now.contents)
            {
                return Ok(now.contents);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.read(Source::Cache).map(|read| read.contents)
    }

    fn read(&self, source: Source) -> Result<Read> {
        let (claim, slots) = (self.medium.claims.read(source)?, self.medium.all(source)?);
        let mut contents =
            Contents { owner: claim.owner, mark: mark_of(&claim, &slots), ..Contents::default() };
        let mut torn = 0;
        for slot in slots {
            match slot {
                Slot::Live { store, key, .. } => {
                    contents.store = Some(store);
                    contents.epoch = contents.epoch.max(key.id.epoch);
                    contents.keys.push(key);
                }
                Slot::Destroyed { id, .. } => contents.epoch = contents.epoch.max(id.epoch),
                Slot::Torn => torn += 1,
            }
        }
        if contents.keys.is_empty() && torn > 0 {
            return Err(Error::corrupt(format!(
                "{} is damaged and holds no readable root key; put back the cell's own files if you have them \
                 unchanged (older ones open only copies of the store from their epoch)",
                self.medium.here()
            )));
        }
        Ok(Read { contents, whole: torn == 0 })
    }

    /// Destroys every key but `keep`, which must be there; one by writing `next` over it. `commit`
    /// is durable.
    pub(crate) fn retire(
        &self,
        keep: &RootId,
        next: Option<&RootKey>,
        commit: u64,
    ) -> Result<Retirement> {
        let seen = self.handle().seen.take() == Some(*keep);
        let source = if seen { Source::Cache } else { Source::Medium };
        let there = self.owned(source)?;
        let mut slots = self.medium.all(source)?;
        let kept = slots.iter().find_map(|slot| match slot {
            Slot::Live { store, key, .. } if key.id == *keep => Some(*store),
            _ => None,
        });
        let Some(store) = kept else {
            return Err(Error::corrupt(
                "the root key to keep is not in the cell; nothing was destroyed",
            ));
        };
        self.medium.check_medium()?;
        let known = mark_of(&there, &slots);
        let note = marked(&there, known.max(commit));
        let free = slots.iter().position(|slot| slot.live().is_none_or(|key| key.id != *keep));
        let written = next.zip(free);
        if let Some((next, n)) = written {
            self.medium.write(
                n,
                &Written { store, id: next.id, key: Some(&next.key), note: note.as_ref() },
            )?;
            slots[n] =
                Slot::Live { store, key: next.duplicate(), note: note.unwrap_or([0; NOTE_BYTES]) };
        }
        let spared = |id: &RootId| id == keep || next.is_some_and(|next| next.id == *id);
        let all = written.is_none() && commit > known;
        let tombstones = Tombstones { store, epoch: keep.epoch, note: note.as_ref(), all };
        self.medium.destroy_others(&slots, spared, &tombstones)?;
        let writes = self.medium.writes();
        let mut handle = self.handle();
        handle.kept = Some(*keep);
        handle.ready = written.map(|(next, _)| Ready { store, id: next.id, writes });
        Ok(Retirement::Destroyed)
    }
}

/// For tests and simulations.
#[cfg(feature = "testing")]
impl KeySlots {
    pub(crate) fn broken(self, defect: Option<CellDefect>) -> Self {
        KeySlots { medium: self.medium.broken(defect), ..self }
    }

    /// The same slots, with what this process remembers of them: what a snapshot of the machine
    /// keeps.
    pub(crate) fn twin(&self) -> Self {
        KeySlots { medium: self.medium.twin(false), handle: Mutex::new(*self.handle()) }
    }

    /// As [`super::RootCell::ready`], one slot after the other.
    pub(crate) fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        if self.medium.has(CellDefect::ReadyFromMemory) {
            return Ok(true);
        }
        let live = (0..SLOTS.len()).map(|slot| self.live_in(slot)).collect::<Result<Vec<_>>>()?;
        self.saw(&live, keep, next)
    }

    /// Whether this process acts for the owner that is recorded.
    pub(crate) fn is_owners(&self) -> bool {
        let recorded = self.medium.claims.read(Source::Medium).ok().and_then(|claim| claim.owner);
        recorded.is_some() && recorded == self.handle().owner
    }
}

/// What was read from the slots.
struct Read {
    contents: Contents,
    /// Whether nothing is torn.
    whole: bool,
}

/// The note of a mark; none if there is nothing to say.
fn marked(claim: &Claim, mark: u64) -> Option<SlotNote> {
    if claim.owner.is_none() && mark == 0 {
        return None;
    }
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&claim.owner.map_or(0, |owner| owner.claim).to_be_bytes());
    note[8..16].copy_from_slice(&mark.to_be_bytes());
    Some(note)
}

/// The mark in a note, if the owner of this claim wrote it.
fn mark_in(note: &SlotNote, claim: &Claim) -> Option<u64> {
    let mark = u64::from_be_bytes(*note[8..].first_chunk()?);
    (Some(*note) == marked(claim, mark)).then_some(mark)
}

/// The highest commit that the owner told of.
fn mark_of(claim: &Claim, slots: &[Slot]) -> u64 {
    slots
        .iter()
        .filter_map(Slot::note)
        .filter_map(|note| mark_in(note, claim))
        .fold(claim.mark, u64::max)
}

fn of_another_store() -> Error {
    Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own")
}
