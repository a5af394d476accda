//! Slots of one sector each, overwritten in place: the medium of the file cell, which has two, and of a keyholder, which has eight, for
//! candidates of writers that race. Who may have them changed stands beside them (`claims.rs`).
//!
//! Invariants: a slot that holds the key to keep is never written, so that a cell has a whole live key at any moment after the first
//! deposit; a destroyed slot is full of fresh random bytes behind its tombstone. A slot that was not seen to be destroyed, by this
//! process and through a sync that succeeded, is destroyed again. Before anything is written the slots and the claim are read from the
//! medium: a machine that was restored from a snapshot remembers what is not so any more.
//!
//! ```text
//! file 4096 = slot ‖ zeros
//! slot 512  = magic 8 ‖ state 1 ‖ store id 16 ‖ epoch 8 ‖ attempt 16 ‖ key 32 ‖ note 225 ‖ random fill ‖ SHA-256 of all before
//! ```
//! A tombstone bears the epoch and attempt of the key that ended there. The note beside a keyholder's share says more about it. A file
//! cell's, beside a key or a tombstone, is claim 8 ‖ mark 8 ‖ zeros: the highest commit that the owner with that claim told of. Where there
//! is nothing to note, it is random too.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

#[cfg(feature = "testing")]
use super::broken::CellDefect;
use super::claims::{Claim, Claims, fenced};
use super::sector::{self, Sector, Source};
use super::{Contents, Owner, Retirement, RootId, RootKey};
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::disk::Disk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::SLOT_BYTES;
#[cfg(feature = "keyholders")]
use crate::promise::Fence;
use crate::secret::Secret;

const MAGIC: &[u8; 8] = b"KFSLOT01";
/// The file cell's.
pub(crate) const SLOTS: &[&str] = &["slot-a", "slot-b"];
/// A keyholder's, for each store.
#[cfg(feature = "keyholders")]
pub(crate) const SHARE_SLOTS: &[&str] =
    &["slot-a", "slot-b", "slot-c", "slot-d", "slot-e", "slot-f", "slot-g", "slot-h"];
/// Bytes of a note.
pub(crate) const NOTE_BYTES: usize = 225;
/// What stands beside a share.
pub(crate) type Note = [u8; NOTE_BYTES];
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
const CHECKED: usize = SLOT_BYTES - 32;
/// How often a cell that another process may be writing is read until it stands still.
const LOOKS: usize = 16;
/// The time between.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const _: () = assert!(81 + NOTE_BYTES <= CHECKED, "a note fits into a slot");

pub(super) enum Slot {
    Live { store: StoreId, key: RootKey, note: Note },
    Destroyed { id: RootId, note: Note },
    Torn,
}

/// A file cell's note; none where there is nothing to say.
fn marked(claim: &Claim, mark: u64) -> Option<Note> {
    if claim.owner.is_none() && mark == 0 {
        return None;
    }
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&claim.owner.map_or(0, |owner| owner.claim).to_be_bytes());
    note[8..16].copy_from_slice(&mark.to_be_bytes());
    Some(note)
}

impl Slot {
    fn parse(bytes: &[u8]) -> Slot {
        let parse = || -> Result<Slot> {
            let (checked, sum) =
                bytes.get(..SLOT_BYTES).unwrap_or_default().split_at_checked(CHECKED).unwrap_or_default();
            let mut d = Decoder::new(checked, "cell slot");
            if Sha256::digest(checked)[..] != *sum {
                return Err(d.bad());
            }
            if d.bytes(8)? != MAGIC {
                return Err(d.bad());
            }
            let state = d.u8()?;
            let store = StoreId(d.array()?);
            let id = RootId { epoch: d.u64()?, attempt: d.array()? };
            match state {
                LIVE => {
                    let bytes = Zeroizing::new(d.array::<32>()?);
                    let key = RootKey { id, key: Key::copied_from(&bytes) };
                    Ok(Slot::Live { store, key, note: d.array()? })
                }
                DESTROYED => {
                    d.bytes(32)?;
                    Ok(Slot::Destroyed { id, note: d.array()? })
                }
                _ => Err(d.bad()),
            }
        };
        parse().unwrap_or(Slot::Torn)
    }

    pub(super) fn live(&self) -> Option<&RootKey> {
        match self {
            Slot::Live { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Of the key that lives here, or ended here.
    pub(super) fn id(&self) -> Option<RootId> {
        match self {
            Slot::Live { key, .. } => Some(key.id),
            Slot::Destroyed { id, .. } => Some(*id),
            Slot::Torn => None,
        }
    }

    /// The mark in a file cell's note, where the owner of this claim wrote it.
    fn mark(&self, claim: &Claim) -> Option<u64> {
        let (Slot::Live { note, .. } | Slot::Destroyed { note, .. }) = self else { return None };
        let mark = u64::from_be_bytes(*note[8..].first_chunk()?);
        (Some(*note) == marked(claim, mark)).then_some(mark)
    }
}

/// The highest commit that the owner told of.
fn mark_of(claim: &Claim, slots: &[Slot]) -> u64 {
    slots.iter().filter_map(|slot| slot.mark(claim)).fold(claim.mark, u64::max)
}

fn holds(slots: &[Slot], id: &RootId) -> bool {
    slots.iter().filter_map(Slot::live).any(|key| key.id == *id)
}

/// The live key in the bytes of a slot, if there is one.
#[cfg(feature = "testing")]
pub(crate) fn live_key_in(bytes: &[u8]) -> Option<RootKey> {
    live_share_in(bytes).map(|(key, _)| key)
}

/// The live share in the bytes of a keyholder's slot, with its note.
#[cfg(feature = "testing")]
pub(crate) fn live_share_in(bytes: &[u8]) -> Option<(RootKey, Note)> {
    match Slot::parse(bytes) {
        Slot::Live { key, note, .. } => Some((key, note)),
        _ => None,
    }
}

/// The slots of a cell.
pub(crate) struct Slots {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) env: SharedEnv,
    pub(super) names: &'static [&'static str],
    /// Whether a slot without a live key is known to be destroyed on the medium, and not only in the page cache.
    destroyed: Vec<AtomicBool>,
    pub(super) claims: Claims,
    /// Whether it was accepted that old bytes may stay.
    remnants: bool,
    handle: Mutex<Handle>,
    #[cfg(feature = "testing")]
    pub(super) defect: Option<CellDefect>,
}

/// What this process was told of a file cell.
#[derive(Clone, Copy, Default)]
pub(super) struct Handle {
    /// For whom it acts.
    pub(super) owner: Option<Owner>,
    /// The root key that was kept last: the engine's, as far as it knows.
    kept: Option<RootId>,
    /// The key that the last write of all made ready.
    ready: Option<(StoreId, RootId)>,
    /// The next key, where the medium was seen to hold it since the last retirement, and what else this process knows: then the page
    /// cache, which all processes of this machine share, tells the rest.
    seen: Option<RootId>,
}

fn of_another_store() -> Error {
    Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own")
}

impl Slots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, env: SharedEnv, names: &'static [&'static str]) -> Self {
        let destroyed = names.iter().map(|_| AtomicBool::new(false)).collect();
        let claims = Claims::new(Arc::clone(&disk), dir, names != SLOTS);
        let (dir, handle) = (dir.to_owned(), Mutex::default());
        Slots {
            disk,
            dir,
            env,
            names,
            destroyed,
            claims,
            remnants: false,
            handle,
            #[cfg(feature = "testing")]
            defect: None,
        }
    }

    /// Where old bytes may stay, that was accepted.
    pub(crate) fn accepting(mut self, remnants: bool) -> Self {
        self.remnants = remnants;
        self
    }

    pub(super) fn handle(&self) -> MutexGuard<'_, Handle> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.dir.join(self.names[slot])
    }

    fn here(&self) -> String {
        format!("the cell {}", self.dir.display())
    }

    /// Writes claims of nobody, and tombstones of epoch 0: a cell that never held a key.
    pub(crate) fn make(&self) -> Result<()> {
        let sync =
            || self.disk.sync_dir(&self.dir).map_err(|e| Error::io(format!("syncing {}", self.dir.display()), e));
        // Before the first slot: where all slots are there, the claims were.
        self.claims.make()?;
        sync()?;
        let nobody = RootId { epoch: 0, attempt: [0; 16] };
        for slot in 0..self.names.len() {
            self.write(slot, DESTROYED, StoreId([0; 16]), &nobody, None, None)?;
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

    fn slot(&self, slot: usize, source: Source) -> Result<Slot> {
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

    /// Before anything is overwritten that must be gone then: files change, and copies are made of them, while a cell is open.
    fn check_medium(&self) -> Result<()> {
        match if self.remnants { None } else { self.objection()? } {
            None => Ok(()),
            Some(why) => Err(Error::new(
                ErrorKind::Medium,
                format!("{} cannot destroy a key now: {why}; undo that and call again", self.here()),
            )),
        }
    }

    /// Overwrites one slot, syncs it and reads it back from the medium where the file system can.
    fn write(
        &self,
        slot: usize,
        state: u8,
        store: StoreId,
        id: &RootId,
        key: Option<&Key>,
        note: Option<&Note>,
    ) -> Result<()> {
        let mut bytes = Secret::zeroed(SLOT_BYTES);
        self.env.fill(&mut bytes)?;
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = state;
        bytes[9..25].copy_from_slice(&store.0);
        bytes[25..33].copy_from_slice(&id.epoch.to_be_bytes());
        bytes[33..49].copy_from_slice(&id.attempt);
        if let Some(key) = key {
            bytes[49..81].copy_from_slice(key.bytes());
        }
        if let Some(note) = note {
            bytes[81..81 + NOTE_BYTES].copy_from_slice(note);
        }
        let sum = Sha256::digest(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum);
        self.destroyed[slot].store(false, Ordering::Release);
        self.handle().ready = None;
        sector::overwrite(&*self.disk, &self.path(slot), &bytes)?;
        self.destroyed[slot].store(state == DESTROYED, Ordering::Release);
        Ok(())
    }

    /// Keeps a further key in a slot that holds none. Depositing the same again is no change.
    fn put(&self, slots: &[Slot], store: StoreId, id: &RootId, key: &Key, note: Option<&Note>) -> Result<()> {
        if holds(slots, id) {
            return Ok(());
        }
        let Some(free) = slots.iter().position(|slot| slot.live().is_none()) else {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("this cell holds {} root keys; open the store again to finish the erase", slots.len()),
            ));
        };
        self.write(free, LIVE, store, id, Some(key), note)
    }

    /// Destroys every key that is not spared, and with `all` writes every tombstone once more.
    fn destroy_others(
        &self,
        slots: &[Slot],
        (store, keep): (StoreId, &RootId),
        spared: impl Fn(&RootId) -> bool,
        (note, all): (Option<&Note>, bool),
    ) -> Result<()> {
        for (n, slot) in slots.iter().enumerate() {
            let done = match slot {
                Slot::Live { key, .. } => spared(&key.id),
                Slot::Torn => false,
                // A tombstone whose sync failed stands in the page cache, and the old key on the medium.
                Slot::Destroyed { .. } => !all && self.destroyed[n].load(Ordering::Acquire),
            };
            if !done {
                let torn = RootId { epoch: keep.epoch.saturating_sub(1), attempt: [0; 16] };
                self.write(n, DESTROYED, store, &slot.id().unwrap_or(torn), None, note)?;
            }
        }
        Ok(())
    }
}

/// A file cell's.
impl Slots {
    /// Makes `owner` the one for whom this cell changes. This handle acts for it from then on.
    pub(crate) fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let (there, slots) = (self.claims.read(Source::Medium)?, self.all(Source::Medium)?);
        let foreign = there.owner.is_some() && there.store != store;
        let used = slots.iter().filter_map(Slot::id).any(|id| id.epoch > 0);
        if foreign && used || slots.iter().any(|s| matches!(s, Slot::Live { store: there, .. } if *there != store)) {
            return Err(of_another_store());
        }
        // Of a store that was never made nothing is left to own.
        let there = if foreign { Claim::NONE } else { there };
        if !there.takes(owner) {
            return Err(fenced(&self.here(), there.owner.as_ref()));
        }
        let told = Claim { mark: mark_of(&there, &slots), ..there }.told(store, owner, Some(mark));
        self.claims.record(told)?;
        let mut handle = self.handle();
        (handle.owner, handle.seen) = (Some(*owner), None);
        Ok(())
    }

    /// The claim, where this handle acts for the owner, or nobody claimed.
    fn owned(&self, source: Source) -> Result<Claim> {
        let there = if source == Source::Cache { self.claims.glance()? } else { self.claims.read(source)? };
        #[cfg(feature = "testing")]
        if self.has(CellDefect::AnyOwner) {
            return Ok(there);
        }
        if there.owner != self.handle().owner {
            return Err(fenced(&self.here(), there.owner.as_ref()));
        }
        Ok(there)
    }

    pub(crate) fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        let handle = *self.handle();
        if handle.seen == Some(*id) && handle.ready == Some((store, *id)) {
            return Ok(());
        }
        let there = self.owned(Source::Medium)?;
        let slots = self.all(Source::Medium)?;
        let foreign = |slot: &Slot| matches!(slot, Slot::Live { store: there, .. } if *there != store);
        if there.owner.is_some() && there.store != store || slots.iter().any(foreign) {
            return Err(of_another_store());
        }
        #[cfg(feature = "testing")]
        if self.has(CellDefect::ReadyFromMemory) && handle.ready == Some((store, *id)) {
            return Ok(());
        }
        let gone = |what: &str| {
            Error::new(
                ErrorKind::Refused,
                format!("{what} is not in {} any more; nothing was changed: open the store again", self.here()),
            )
        };
        if handle.kept.is_some_and(|kept| !holds(&slots, &kept)) {
            return Err(gone("the root key that this engine works with"));
        }
        if handle.ready == Some((store, *id)) && !holds(&slots, id) {
            self.handle().ready = None;
            return Err(gone("the root key that stood ready"));
        }
        self.check_medium()?;
        self.put(&slots, store, id, key, marked(&there, mark_of(&there, &slots)).as_ref())?;
        self.handle().seen = Some(*id);
        Ok(())
    }

    /// The key that lives in a slot of the medium.
    pub(crate) fn live_in(&self, slot: usize) -> Result<Option<RootId>> {
        Ok(self.slot(slot, Source::Medium)?.live().map(|key| key.id))
    }

    /// Takes what was just seen in the slots for the next deposit and retirement: whether both keys live there. Of the claim the page cache
    /// tells: one that a machine's snapshot brought back goes with slots that did not come back.
    pub(crate) fn saw(&self, live: &[Option<RootId>], keep: &RootId, next: &RootId) -> Result<bool> {
        let owns = self.claims.glance()?.owner == self.handle().owner;
        let there = owns && live.contains(&Some(*keep)) && live.contains(&Some(*next));
        self.handle().seen = there.then_some(*next);
        Ok(there)
    }

    pub(crate) fn load(&self) -> Result<Contents> {
        self.contents(Source::Medium).map(|(contents, _)| contents)
    }

    /// As [`Slots::load`], where another process may be writing: what is torn, or changes, is read again.
    pub(crate) fn look(&self) -> Result<Contents> {
        let seen = |contents: &Contents| {
            let ids: Vec<RootId> = contents.keys.iter().map(|key| key.id).collect();
            (ids, contents.epoch, contents.owner, contents.mark)
        };
        for _ in 0..LOOKS {
            if let (Ok((before, _)), Ok((now, true))) = (self.contents(Source::Cache), self.contents(Source::Cache))
                && seen(&before) == seen(&now)
            {
                return Ok(now);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.contents(Source::Cache).map(|(contents, _)| contents)
    }

    /// With whether nothing is torn.
    fn contents(&self, source: Source) -> Result<(Contents, bool)> {
        let (claim, slots) = (self.claims.read(source)?, self.all(source)?);
        let mut contents = Contents { owner: claim.owner, mark: mark_of(&claim, &slots), ..Contents::default() };
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
                "{} is damaged and holds no readable root key; put back the cell's own files if you have them unchanged (older ones do not open the store as it is now, but what lived at their epoch, in a copy of the store from then)",
                self.here()
            )));
        }
        Ok((contents, torn == 0))
    }

    /// Destroys every key but `keep`, which must be there; one by writing `next` over it. `commit` is durable.
    pub(crate) fn retire(&self, keep: &RootId, next: Option<&RootKey>, commit: u64) -> Result<Retirement> {
        let seen = self.handle().seen.take() == Some(*keep);
        let source = if seen { Source::Cache } else { Source::Medium };
        let there = self.owned(source)?;
        let mut slots = self.all(source)?;
        let kept = slots.iter().find_map(|slot| match slot {
            Slot::Live { store, key, .. } if key.id == *keep => Some(*store),
            _ => None,
        });
        let Some(store) = kept else {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        };
        self.check_medium()?;
        let known = mark_of(&there, &slots);
        let note = marked(&there, known.max(commit));
        let free = slots.iter().position(|slot| slot.live().is_none_or(|key| key.id != *keep));
        let written = next.zip(free);
        if let Some((next, n)) = written {
            self.write(n, LIVE, store, &next.id, Some(&next.key), note.as_ref())?;
            slots[n] = Slot::Live { store, key: next.duplicate(), note: note.unwrap_or([0; NOTE_BYTES]) };
        }
        let spared = |id: &RootId| id == keep || next.is_some_and(|next| next.id == *id);
        self.destroy_others(&slots, (store, keep), spared, (note.as_ref(), written.is_none() && commit > known))?;
        let mut handle = self.handle();
        (handle.kept, handle.ready) = (Some(*keep), written.map(|(next, _)| (store, next.id)));
        Ok(Retirement::Destroyed)
    }
}

/// What a keyholder has of one store.
#[cfg(feature = "keyholders")]
#[derive(Debug)]
pub(crate) struct Shares {
    /// Shares that are not destroyed, with their notes.
    pub(crate) live: Vec<(RootKey, Note)>,
    /// The root key of the highest epoch that was kept when others were destroyed.
    pub(crate) fence: Fence,
    /// Who claimed the store last.
    pub(crate) owner: Option<Owner>,
    /// The highest commit that the owner told of.
    pub(crate) mark: u64,
}

/// A keyholder's.
#[cfg(feature = "keyholders")]
impl Slots {
    /// Whether making these was cut short: they hold nothing, and are not all there.
    pub(crate) fn unfinished(&self) -> bool {
        !self.names.iter().all(|name| self.dir.join(name).exists())
            && self.names.iter().all(|slot| self.is_unused(slot))
            && self.claims.is_unused()
    }

    /// The shares, and what is recorded beside them.
    pub(crate) fn shares(&self) -> Result<Shares> {
        let claim = self.claims.read(Source::Medium)?;
        let live = self.all(Source::Medium)?.into_iter().filter_map(|slot| match slot {
            Slot::Live { key, note, .. } => Some((key, note)),
            _ => None,
        });
        #[cfg(feature = "testing")]
        if self.has(CellDefect::FenceInTombstone) {
            let fence = self.newest_tombstone()?;
            return Ok(Shares { live: live.collect(), fence, owner: None, mark: 0 });
        }
        Ok(Shares { live: live.collect(), fence: claim.fence, owner: claim.owner, mark: claim.mark })
    }

    /// Records what a request says, before it is done: its owner, a mark, and a root key to keep alone, where the fence lets it. Gives the
    /// fence that was there.
    pub(crate) fn admit(
        &self,
        store: StoreId,
        owner: &Owner,
        mark: Option<u64>,
        keep: Option<&RootId>,
    ) -> Result<Fence> {
        let there = self.claims.read(Source::Medium)?;
        #[cfg(feature = "testing")]
        if self.has(CellDefect::FenceInTombstone) {
            return self.newest_tombstone();
        }
        if !there.takes(owner) {
            return Err(fenced("the store", there.owner.as_ref()));
        }
        let fence = keep.filter(|keep| there.fence.ends_at(keep)).map_or(there.fence, |keep| Fence(*keep));
        self.claims.record(Claim { fence, ..there.told(store, owner, mark) })?;
        Ok(there.fence)
    }

    /// Keeps a share beside the others.
    pub(crate) fn deposit_share(&self, store: StoreId, id: &RootId, value: &Key, note: &Note) -> Result<()> {
        self.check_medium()?;
        self.put(&self.all(Source::Medium)?, store, id, value, Some(note))
    }

    /// Destroys every share up to the epoch of `keep` but its own, which need not be there, and those that were given up. What is newer
    /// stays: this may arrive when the next key is the head's already. The fence is recorded by then.
    pub(crate) fn retire_shares(&self, store: StoreId, keep: &RootId, given_up: &[RootId]) -> Result<()> {
        self.check_medium()?;
        let spared = |id: &RootId| id == keep || id.epoch > keep.epoch && !given_up.contains(id);
        self.destroy_others(&self.all(Source::Medium)?, (store, keep), spared, (None, false))?;
        #[cfg(feature = "testing")]
        if self.has(CellDefect::FenceInTombstone)
            && let Some(free) = self.all(Source::Medium)?.iter().position(|slot| slot.live().is_none())
        {
            self.write(free, DESTROYED, store, keep, None, None)?;
        }
        Ok(())
    }
}
