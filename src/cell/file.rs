//! The file cell: two slots of one sector each, overwritten in place.
//!
//! Invariants: at least one slot holds a whole live key at any moment after `create` and the first deposit; a slot
//! that holds the key to keep is never written; a destroyed slot is full of fresh random bytes behind its tombstone.
//!
//! ```text
//! slot 4096 = magic 8 ‖ state 1 ‖ store id 16 ‖ epoch 8 ‖ attempt 16 ‖ key 32 ‖ random fill ‖ SHA-256 of all before
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::filesystem::{self, Verdict};
use super::{Contents, Durable, Promise, Retirement, RootCell, RootId, RootKey};
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::dir::{DirLock, sync_dir};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::SLOT_BYTES;

const MAGIC: &[u8; 8] = b"KFSLOT01";
const SLOTS: [&str; 2] = ["slot-a", "slot-b"];
const ACCEPTED: &str = "remnants-accepted";
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
const CHECKED: usize = SLOT_BYTES - 32;

/// A sector in memory that O_DIRECT can read into.
#[repr(C, align(4096))]
struct Sector([u8; SLOT_BYTES]);

impl Zeroize for Sector {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

fn sector() -> Box<Zeroizing<Sector>> {
    Box::new(Zeroizing::new(Sector([0; SLOT_BYTES])))
}

enum Slot {
    Live { store: StoreId, key: RootKey },
    Destroyed { store: StoreId, id: RootId },
    Torn,
}

impl Slot {
    fn parse(bytes: &[u8; SLOT_BYTES]) -> Slot {
        let parse = || -> Result<Slot> {
            let mut d = Decoder::new(&bytes[..CHECKED], "cell slot");
            if d.bytes(8)? != MAGIC || Sha256::digest(&bytes[..CHECKED])[..] != bytes[CHECKED..] {
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
                DESTROYED => Ok(Slot::Destroyed { store, id }),
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

/// Parses the bytes of a slot; for fuzzing. Returns whether they hold a live key.
#[cfg(feature = "testing")]
pub(crate) fn slot_is_live(bytes: &[u8; SLOT_BYTES]) -> bool {
    Slot::parse(bytes).live().is_some()
}

/// A root cell in a directory of its own.
pub struct FileCell {
    dir: PathBuf,
    env: SharedEnv,
    verdict: Verdict,
    remnants: bool,
    _lock: DirLock,
}

impl std::fmt::Debug for FileCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCell({})", self.dir.display())
    }
}

impl FileCell {
    /// Makes an empty cell at `dir`. The file system must overwrite in place, or `accept_remnants` be set, which
    /// every later promise repeats.
    ///
    /// # Errors
    /// `Refused` for a file system that keeps old bytes; `Exists` where a cell with a key is there; `Locked`; `Io`.
    pub fn create(dir: &Path, accept_remnants: bool, env: SharedEnv) -> Result<Self> {
        let io = |e| Error::io(format!("making the cell {}", dir.display()), e);
        let parent = match dir.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(io)?;
        let verdict = filesystem::judge(parent)?;
        if let Some(objection) = verdict.objection.as_ref().filter(|_| !accept_remnants) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the cell {} would lie on {}, where a destroyed key may stay: {objection}; name another place with --cell, or accept that with --accept-remnants",
                    dir.display(),
                    verdict.name
                ),
            ));
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io(e)),
            _ => {}
        }
        let lock = DirLock::take(dir, "cell")?;
        for slot in SLOTS {
            if std::fs::metadata(dir.join(slot)).map_or(true, |m| m.len() == 0) {
                continue;
            }
            // An interrupted `create` leaves tombstones of epoch 0 only; anything else may be somebody's key.
            let mut bytes = sector();
            let there = read_slot(&dir.join(slot), &mut bytes);
            if !(there.is_ok() && matches!(Slot::parse(&bytes.0), Slot::Destroyed { id, .. } if id.epoch == 0)) {
                return Err(Error::new(
                    ErrorKind::Exists,
                    format!("{} holds a cell already; name another place with --cell", dir.display()),
                ));
            }
        }
        let cell = FileCell { dir: dir.to_owned(), env, verdict, remnants: accept_remnants, _lock: lock };
        if cell.remnants() {
            File::create(dir.join(ACCEPTED)).and_then(|f| f.sync_all()).map_err(io)?;
        }
        let nobody = RootId { epoch: 0, attempt: [0; 16] };
        for slot in SLOTS {
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(dir.join(slot)).map_err(io)?;
            cell.write(slot, DESTROYED, StoreId([0; 16]), &nobody, None)?;
            File::open(dir.join(slot)).and_then(|f| f.sync_all()).map_err(io)?;
        }
        sync_dir(dir)?;
        sync_dir(parent)?;
        Ok(cell)
    }

    /// Opens the cell at `dir`.
    ///
    /// # Errors
    /// `Absent` where there is none; `Locked`; `Refused` where its file system has come to keep old bytes; `Io`.
    pub fn open(dir: &Path, env: SharedEnv) -> Result<Self> {
        if !SLOTS.iter().any(|s| dir.join(s).exists()) {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "no root cell at {}; name its place with --cell (without it nothing in the store can be read)",
                    dir.display()
                ),
            ));
        }
        let remnants = dir.join(ACCEPTED).exists();
        let verdict = filesystem::judge(dir)?;
        if let Some(objection) = verdict.objection.as_ref().filter(|_| !remnants) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the cell {} now lies on {}, where a destroyed key may stay: {objection}; move it, or create the empty file {ACCEPTED} in it to accept that",
                    dir.display(),
                    verdict.name
                ),
            ));
        }
        let lock = DirLock::take(dir, "cell")?;
        Ok(FileCell { dir: dir.to_owned(), env, verdict, remnants, _lock: lock })
    }

    fn remnants(&self) -> bool {
        self.remnants && self.verdict.objection.is_some()
    }

    fn slot(&self, slot: &str) -> Result<Slot> {
        let path = self.dir.join(slot);
        let mut bytes = sector();
        // What this process wrote it has read back from the medium already.
        match File::open(&path).and_then(|f| f.read_exact_at(&mut bytes.0, 0)) {
            Ok(()) => Ok(Slot::parse(&bytes.0)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::NotFound => Ok(Slot::Torn),
            Err(e) => Err(Error::io(path.display(), e)),
        }
    }

    /// Overwrites one slot, syncs it and reads it back from the medium where the file system can.
    fn write(&self, slot: &str, state: u8, store: StoreId, id: &RootId, key: Option<&Key>) -> Result<()> {
        let path = self.dir.join(slot);
        let mut bytes = sector();
        self.env.fill(&mut bytes.0)?;
        bytes.0[..8].copy_from_slice(MAGIC);
        bytes.0[8] = state;
        bytes.0[9..25].copy_from_slice(&store.0);
        bytes.0[25..33].copy_from_slice(&id.epoch.to_be_bytes());
        bytes.0[33..49].copy_from_slice(&id.attempt);
        if let Some(key) = key {
            bytes.0[49..81].copy_from_slice(key.bytes());
        }
        let sum = Sha256::digest(&bytes.0[..CHECKED]);
        bytes.0[CHECKED..].copy_from_slice(&sum);
        let io = |e| Error::io(format!("writing the cell slot {}", path.display()), e);
        let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
        file.write_all_at(&bytes.0, 0).map_err(io)?;
        file.sync_data().map_err(io)?;
        let mut back = sector();
        read_slot(&path, &mut back).map_err(io)?;
        if back.0 != bytes.0 {
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
}

impl RootCell for FileCell {
    fn describe(&self) -> Promise {
        let overwritten = "a root key is destroyed by overwriting its sector, syncing it and reading it back";
        let limit = "flash that remaps sectors, and snapshots of the disk or of the machine taken below the file system, may keep the old sector";
        let statement = match self.verdict.objection.as_ref().filter(|_| self.remnants) {
            Some(objection) => format!(
                "REMNANTS ACCEPTED: {overwritten}, but on {} the old key may stay: {objection}; {limit}",
                self.verdict.name
            ),
            None => format!("{overwritten}; {} overwrites in place; {limit}", self.verdict.name),
        };
        Promise { kind: "file", place: self.dir.display().to_string(), statement, remnants: self.remnants() }
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
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

    fn load(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut torn = 0;
        for name in SLOTS {
            match self.slot(name)? {
                Slot::Live { store, key } => {
                    contents.store = Some(store);
                    contents.epoch = contents.epoch.max(key.id.epoch);
                    contents.keys.push(key);
                }
                Slot::Destroyed { store, id } => {
                    if id.epoch > 0 {
                        contents.store = contents.store.or(Some(store));
                    }
                    contents.epoch = contents.epoch.max(id.epoch);
                }
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

    fn retire(&self, keep: &RootId, _proof: Durable) -> Result<Retirement> {
        let slots = [self.slot(SLOTS[0])?, self.slot(SLOTS[1])?];
        let Some(kept) = slots.iter().position(|s| s.live().is_some_and(|k| k.id == *keep)) else {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        };
        let Slot::Live { store, .. } = &slots[kept] else { unreachable!("it is live") };
        let ended = match &slots[1 - kept] {
            Slot::Live { key, .. } => key.id,
            Slot::Torn => RootId { epoch: keep.epoch.saturating_sub(1), attempt: [0; 16] },
            Slot::Destroyed { .. } => return Ok(Retirement::Destroyed),
        };
        self.write(SLOTS[1 - kept], DESTROYED, *store, &ended, None)?;
        Ok(Retirement::Destroyed)
    }
}

/// Reads a slot past the page cache where the file system allows it.
fn read_slot(path: &Path, into: &mut Sector) -> io::Result<()> {
    let direct = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path);
    if let Ok(file) = direct {
        match file.read_exact_at(&mut into.0, 0) {
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
            done => return done,
        }
    }
    File::open(path)?.read_exact_at(&mut into.0, 0)
}
