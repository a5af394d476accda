//! Two slots of one sector each, overwritten in place: the file cell's medium.
//!
//! Invariants: at least one slot holds a whole live key at any moment after the first deposit; a slot
//! that holds the key to keep is never written; a destroyed slot is full of fresh random bytes behind its tombstone.
//! A slot that was not seen to be destroyed, by this process and through a sync that succeeded, is destroyed again.
//!
//! ```text
//! slot 4096 = magic 8 ‖ state 1 ‖ store id 16 ‖ epoch 8 ‖ attempt 16 ‖ key 32 ‖ random fill ‖ SHA-256 of all before
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
use crate::secret::Secret;

const MAGIC: &[u8; 8] = b"KFSLOT01";
pub(super) const SLOTS: [&str; 2] = ["slot-a", "slot-b"];
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
const CHECKED: usize = SLOT_BYTES - 32;

/// A sector in memory, aligned so that O_DIRECT can read into it.
fn sector() -> Secret {
    Secret::zeroed(SLOT_BYTES)
}

pub(super) enum Slot {
    Live { store: StoreId, key: RootKey },
    Destroyed { id: RootId },
    Torn,
}

impl Slot {
    fn parse(bytes: &[u8]) -> Slot {
        let parse = || -> Result<Slot> {
            let (checked, sum) = bytes.split_at_checked(CHECKED).unwrap_or_default();
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
                    Ok(Slot::Live { store, key: RootKey { id, key: Key::copied_from(&bytes) } })
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
    match Slot::parse(bytes) {
        Slot::Live { key, .. } => Some(key),
        _ => None,
    }
}

/// The two slots of a cell.
pub(crate) struct Slots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    env: SharedEnv,
    /// Whether the slot that holds no live key is known to be destroyed on the medium, and not only in the page cache.
    destroyed: AtomicBool,
}

impl Slots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, env: SharedEnv) -> Self {
        Slots { disk, dir: dir.to_owned(), env, destroyed: AtomicBool::new(false) }
    }

    /// Writes two tombstones of epoch 0: a cell that never held a key.
    pub(crate) fn make(&self) -> Result<()> {
        let nobody = RootId { epoch: 0, attempt: [0; 16] };
        for slot in SLOTS {
            self.write(slot, DESTROYED, StoreId([0; 16]), &nobody, None)?;
        }
        self.disk.sync_dir(&self.dir).map_err(|e| Error::io(format!("syncing {}", self.dir.display()), e))
    }

    /// Whether a slot holds what an interrupted [`Slots::make`] leaves, or nothing.
    pub(super) fn is_unused(&self, slot: &str) -> bool {
        let mut bytes = sector();
        match self.disk.open(&self.dir.join(slot), How::Read).and_then(|f| f.len()) {
            Ok(0) => return true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            _ => {}
        }
        let there = self.disk.read_medium(&self.dir.join(slot), &mut bytes);
        there.is_ok() && matches!(Slot::parse(&bytes), Slot::Destroyed { id } if id.epoch == 0)
    }

    fn slot(&self, slot: &str) -> Result<Slot> {
        let path = self.dir.join(slot);
        let mut bytes = sector();
        // What this process wrote it has read back from the medium already.
        match self.disk.open(&path, How::Read).and_then(|f| f.read_exact_at(&mut bytes, 0)) {
            Ok(()) => Ok(Slot::parse(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::NotFound => Ok(Slot::Torn),
            Err(e) => Err(Error::io(path.display(), e)),
        }
    }

    /// Overwrites one slot, syncs it and reads it back from the medium where the file system can.
    fn write(&self, slot: &str, state: u8, store: StoreId, id: &RootId, key: Option<&Key>) -> Result<()> {
        let path = self.dir.join(slot);
        let mut bytes = sector();
        self.env.fill(&mut bytes)?;
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = state;
        bytes[9..25].copy_from_slice(&store.0);
        bytes[25..33].copy_from_slice(&id.epoch.to_be_bytes());
        bytes[33..49].copy_from_slice(&id.attempt);
        if let Some(key) = key {
            bytes[49..81].copy_from_slice(key.bytes());
        }
        let sum = Sha256::digest(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum);
        let io = |e| Error::io(format!("writing the cell slot {}", path.display()), e);
        self.destroyed.store(false, Ordering::Release);
        let file = self.disk.open(&path, How::Create).map_err(io)?;
        file.write_all_at(&bytes, 0).map_err(io)?;
        file.sync_data().map_err(io)?;
        let mut back = sector();
        self.disk.read_medium(&path, &mut back).map_err(io)?;
        if back[..] != bytes[..] {
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "the cell slot {} reads back otherwise than written: the disk under the cell is failing",
                    path.display()
                ),
            ));
        }
        Ok(())
    }

    pub(crate) fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        let slots = [self.slot(SLOTS[0])?, self.slot(SLOTS[1])?];
        if slots.iter().any(|s| matches!(s, Slot::Live { store: there, .. } if *there != store)) {
            return Err(Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own"));
        }
        if slots.iter().filter_map(Slot::live).any(|k| k.id == *id) {
            return Ok(());
        }
        let free = match [slots[0].live().is_some(), slots[1].live().is_some()] {
            [true, true] => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "this cell holds two root keys; open the engine anew to finish the erase",
                ));
            }
            [true, false] => SLOTS[1],
            _ => SLOTS[0],
        };
        self.write(free, LIVE, store, id, Some(key))
    }

    pub(crate) fn load(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut torn = 0;
        for name in SLOTS {
            match self.slot(name)? {
                Slot::Live { store, key } => {
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

    pub(crate) fn retire(&self, keep: &RootId) -> Result<Retirement> {
        let slots = [self.slot(SLOTS[0])?, self.slot(SLOTS[1])?];
        let Some(kept) = slots.iter().position(|s| s.live().is_some_and(|k| k.id == *keep)) else {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        };
        let Slot::Live { store, .. } = &slots[kept] else { unreachable!("it is live") };
        let ended = match &slots[1 - kept] {
            Slot::Live { key, .. } => key.id,
            Slot::Torn => RootId { epoch: keep.epoch.saturating_sub(1), attempt: [0; 16] },
            // A tombstone whose sync failed stands in the page cache, and the old key on the medium.
            Slot::Destroyed { id } => {
                if self.destroyed.load(Ordering::Acquire) {
                    return Ok(Retirement::Destroyed);
                }
                *id
            }
        };
        self.write(SLOTS[1 - kept], DESTROYED, *store, &ended, None)?;
        self.destroyed.store(true, Ordering::Release);
        Ok(Retirement::Destroyed)
    }
}
