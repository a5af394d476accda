//! Slots of one sector each, overwritten in place: the medium of the file cell, which has two, and of a keyholder, which has eight, for
//! candidates of writers that race.
//!
//! Invariants: a slot that holds the key to keep is never written, so that a cell has a whole live key at any moment after the first
//! deposit; a destroyed slot is full of fresh random bytes behind its tombstone. A slot that was not seen to be destroyed, by this
//! process and through a sync that succeeded, is destroyed again.
//!
//! ```text
//! file 4096 = slot ‖ zeros
//! slot 512  = magic 8 ‖ state 1 ‖ store id 16 ‖ epoch 8 ‖ attempt 16 ‖ key 32 ‖ note 225 ‖ random fill ‖ SHA-256 of all before
//! ```
//! A tombstone bears the epoch and attempt of the key that ended there; a keyholder's those of the key that was kept then. A note stands
//! beside a keyholder's share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Contents, Retirement, RootId, RootKey};
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::disk::{Disk, How};
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
const _: () = assert!(81 + NOTE_BYTES <= CHECKED, "a note fits into a slot");
/// Bytes of the file that a slot begins: a block of a disk with 4 KiB sectors, which O_DIRECT reads.
const SLOT_FILE_BYTES: usize = 4096;

/// A slot's file in memory, aligned so that O_DIRECT can read into it.
fn whole_file() -> Secret {
    Secret::zeroed(SLOT_FILE_BYTES)
}

pub(super) enum Slot {
    Live {
        store: StoreId,
        key: RootKey,
        #[cfg_attr(not(feature = "keyholders"), expect(dead_code, reason = "a keyholder's alone"))]
        note: Note,
    },
    Destroyed {
        id: RootId,
    },
    Torn,
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
                DESTROYED => Ok(Slot::Destroyed { id }),
                _ => Err(d.bad()),
            }
        };
        parse().unwrap_or(Slot::Torn)
    }

    fn live(&self) -> Option<&RootKey> {
        match self {
            Slot::Live { key, .. } => Some(key),
            _ => None,
        }
    }
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
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    env: SharedEnv,
    names: &'static [&'static str],
    /// Whether a slot without a live key is known to be destroyed on the medium, and not only in the page cache.
    destroyed: Vec<AtomicBool>,
    /// The key that the last write of all, by this process, made ready.
    ready: Mutex<Option<(StoreId, RootId)>>,
}

impl Slots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, env: SharedEnv, names: &'static [&'static str]) -> Self {
        let destroyed = names.iter().map(|_| AtomicBool::new(false)).collect();
        Slots { disk, dir: dir.to_owned(), env, names, destroyed, ready: Mutex::default() }
    }

    fn ready(&self) -> MutexGuard<'_, Option<(StoreId, RootId)>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes tombstones of epoch 0: a cell that never held a key.
    pub(crate) fn make(&self) -> Result<()> {
        let nobody = RootId { epoch: 0, attempt: [0; 16] };
        for slot in 0..self.names.len() {
            self.write(slot, DESTROYED, StoreId([0; 16]), &nobody, None)?;
        }
        self.disk.sync_dir(&self.dir).map_err(|e| Error::io(format!("syncing {}", self.dir.display()), e))
    }

    /// Whether a slot holds what an interrupted [`Slots::make`] leaves, or nothing.
    pub(crate) fn is_unused(&self, slot: &str) -> bool {
        let mut bytes = whole_file();
        match self.disk.open(&self.dir.join(slot), How::Read).and_then(|f| f.len()) {
            Ok(0) => return true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            _ => {}
        }
        let there = self.disk.read_medium(&self.dir.join(slot), &mut bytes);
        there.is_ok()
            && match Slot::parse(&bytes) {
                Slot::Destroyed { id } => id.epoch == 0,
                Slot::Live { .. } => false,
                Slot::Torn => bytes.iter().all(|&b| b == 0),
            }
    }

    fn slot(&self, slot: &str) -> Result<Slot> {
        let path = self.dir.join(slot);
        let mut bytes = Secret::zeroed(SLOT_BYTES);
        // What this process wrote it has read back from the medium already.
        match self.disk.open(&path, How::Read).and_then(|f| f.read_exact_at(&mut bytes, 0)) {
            Ok(()) => Ok(Slot::parse(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::NotFound => Ok(Slot::Torn),
            Err(e) => Err(Error::io(path.display(), e)),
        }
    }

    /// Overwrites one slot, syncs it and reads it back from the medium where the file system can.
    fn write(
        &self,
        slot: usize,
        state: u8,
        store: StoreId,
        id: &RootId,
        live: Option<(&Key, Option<&Note>)>,
    ) -> Result<()> {
        let path = self.dir.join(self.names[slot]);
        let mut bytes = Secret::zeroed(SLOT_BYTES);
        self.env.fill(&mut bytes)?;
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = state;
        bytes[9..25].copy_from_slice(&store.0);
        bytes[25..33].copy_from_slice(&id.epoch.to_be_bytes());
        bytes[33..49].copy_from_slice(&id.attempt);
        if let Some((key, note)) = live {
            bytes[49..81].copy_from_slice(key.bytes());
            if let Some(note) = note {
                bytes[81..81 + NOTE_BYTES].copy_from_slice(note);
            }
        }
        let sum = Sha256::digest(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum);
        let io = |e| Error::io(format!("writing the cell slot {}", path.display()), e);
        self.destroyed[slot].store(false, Ordering::Release);
        *self.ready() = None;
        let file = self.disk.open(&path, How::Create).map_err(io)?;
        file.write_all_at(&bytes, 0).map_err(io)?;
        file.sync_data().map_err(io)?;
        let mut back = whole_file();
        let read = match self.disk.read_medium(&path, &mut back) {
            // A file that is new, or was damaged. (To ask for its length each time makes some file systems write its times each time.)
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => file
                .set_len(SLOT_FILE_BYTES as u64)
                .and_then(|()| file.sync_data())
                .and_then(|()| self.disk.read_medium(&path, &mut back)),
            read => read,
        };
        read.map_err(io)?;
        if back[..SLOT_BYTES] != bytes[..] {
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "the cell slot {} reads back otherwise than written: the disk under the cell is failing",
                    path.display()
                ),
            ));
        }
        self.destroyed[slot].store(state == DESTROYED, Ordering::Release);
        Ok(())
    }

    fn all(&self) -> Result<Vec<Slot>> {
        self.names.iter().map(|name| self.slot(name)).collect()
    }

    /// Keeps a further key. Depositing the same again is no change.
    pub(crate) fn deposit(&self, store: StoreId, id: &RootId, key: &Key, note: Option<&Note>) -> Result<()> {
        if *self.ready() == Some((store, *id)) {
            return Ok(());
        }
        let slots = self.all()?;
        if slots.iter().any(|s| matches!(s, Slot::Live { store: there, .. } if *there != store)) {
            return Err(Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own"));
        }
        if slots.iter().filter_map(Slot::live).any(|k| k.id == *id) {
            return Ok(());
        }
        let Some(free) = slots.iter().position(|slot| slot.live().is_none()) else {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("this cell holds {} root keys; open the engine anew to finish the erase", slots.len()),
            ));
        };
        self.write(free, LIVE, store, id, Some((key, note)))
    }

    pub(crate) fn load(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut torn = 0;
        for slot in self.all()? {
            match slot {
                Slot::Live { store, key, .. } => {
                    contents.store = Some(store);
                    contents.epoch = contents.epoch.max(key.id.epoch);
                    contents.keys.push(key);
                }
                Slot::Destroyed { id } => contents.epoch = contents.epoch.max(id.epoch),
                Slot::Torn => torn += 1,
            }
        }
        if contents.keys.is_empty() && torn > 0 {
            return Err(Error::corrupt(format!(
                "the cell {} is damaged and holds no readable root key; put back the cell's own files if you have them unchanged (an older backup of them opens nothing)",
                self.dir.display()
            )));
        }
        Ok(contents)
    }

    /// Destroys every key but `keep`, which must be there; one by writing `next` over it.
    pub(crate) fn retire(&self, keep: &RootId, next: Option<&RootKey>) -> Result<Retirement> {
        let mut slots = self.all()?;
        let kept = slots.iter().find_map(|slot| match slot {
            Slot::Live { store, key, .. } if key.id == *keep => Some(*store),
            _ => None,
        });
        let Some(store) = kept else {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        };
        let bears = |slot: &Slot| match slot {
            Slot::Live { key, .. } => key.id,
            Slot::Destroyed { id } => *id,
            Slot::Torn => RootId { epoch: keep.epoch.saturating_sub(1), attempt: [0; 16] },
        };
        let free = slots.iter().position(|slot| slot.live().is_none_or(|key| key.id != *keep));
        let written = next.zip(free);
        if let Some((next, n)) = written {
            self.write(n, LIVE, store, &next.id, Some((&next.key, None)))?;
            slots[n] = Slot::Live { store, key: next.duplicate(), note: [0; NOTE_BYTES] };
        }
        self.destroy_others(&slots, store, |id| id == keep || next.is_some_and(|next| next.id == *id), bears)?;
        *self.ready() = written.map(|(next, _)| (store, next.id));
        Ok(Retirement::Destroyed)
    }

    /// Destroys every key that is not spared; a tombstone names what `bears` says.
    fn destroy_others(
        &self,
        slots: &[Slot],
        store: StoreId,
        spared: impl Fn(&RootId) -> bool,
        bears: impl Fn(&Slot) -> RootId,
    ) -> Result<()> {
        for (n, slot) in slots.iter().enumerate() {
            let done = match slot {
                Slot::Live { key, .. } => spared(&key.id),
                Slot::Torn => false,
                // A tombstone whose sync failed stands in the page cache, and the old key on the medium.
                Slot::Destroyed { .. } => self.destroyed[n].load(Ordering::Acquire),
            };
            if !done {
                self.write(n, DESTROYED, store, &bears(slot), None)?;
            }
        }
        Ok(())
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
}

#[cfg(feature = "keyholders")]
impl Slots {
    /// The shares.
    pub(crate) fn shares(&self) -> Result<Shares> {
        let mut shares = Shares { live: Vec::new(), fence: Fence::NONE };
        for slot in self.all()? {
            match slot {
                Slot::Live { key, note, .. } => shares.live.push((key, note)),
                Slot::Destroyed { id } => shares.fence = Fence(shares.fence.0.max(id)),
                Slot::Torn => {}
            }
        }
        Ok(shares)
    }

    /// Destroys every share up to the epoch of `keep` but its own, which need not be there, and those that were given up; remembers `keep`.
    /// What is newer stays: this may arrive when the next key is the head's already.
    pub(crate) fn retire_shares(&self, store: StoreId, keep: &RootId, given_up: &[RootId]) -> Result<()> {
        let spared = |id: &RootId| id == keep || id.epoch > keep.epoch && !given_up.contains(id);
        self.destroy_others(&self.all()?, store, spared, |_| *keep)?;
        let slots = self.all()?;
        let remembered = |slot: &Slot| matches!(slot, Slot::Destroyed { id } if id == keep);
        if !slots.iter().any(remembered)
            && let Some(n) = slots.iter().position(|slot| slot.live().is_none())
        {
            self.write(n, DESTROYED, store, keep, None)?;
        }
        Ok(())
    }
}
