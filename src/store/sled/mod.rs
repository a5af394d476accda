//! The default store: blobs in an append-only log, indexed by sled.
//!
//! Why not blobs as sled's own values: measured with sled 0.34.7, 512 MiB of values took 300 to 500 MiB of resident
//! memory at any cache size, and removing nine tenths of them gave back nothing (SPEC.md 9).
//!
//! Invariants. The index learns of blobs in large steps, and only of those whose log was synced (`fdatasync`). What was
//! acknowledged and the index lacks is kept in memory, and found by replaying the log from the index's mark. So sled is never trusted with the only copy
//! of anything: an index that lost its newest entries is brought up, one that cannot be opened is built anew.
//!
//! ```text
//! STORE/keyfall      marker: format
//! STORE/lock         held while a process has the store open
//! STORE/log/N.log    frames (see log.rs)
//! STORE/index/       sled: name -> file, offset, length
//! ```

mod index;
mod log;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use self::index::Index;
use self::log::{Location, Log, Position};
use super::{Blob, Head, HeadId, Published, Store, Usage};
use crate::dir::{DirLock, sync_dir};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;

const MARKER: &str = "keyfall";
const MARKER_TEXT: &str = "keyfall store, format 1\n";
/// Bytes of log between two checkpoints of the index: the most that an open after a crash replays.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Blobs that the index has not learnt of, at most: some 4 MiB of memory.
const RECENT_MAX: usize = 1 << 16;

/// A store in a directory.
pub struct SledStore {
    dir: PathBuf,
    log: Log,
    index: Index,
    /// In the log and not yet in the index. Readers take no other lock, so that none waits for a sync.
    recent: RwLock<BTreeMap<BlobName, Location>>,
    tail: Mutex<Tail>,
    _lock: DirLock,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledStore({})", self.dir.display())
    }
}

/// What the one writer changes.
struct Tail {
    head: Option<(HeadId, Location)>,
    /// Live blobs in each file of the log.
    live: BTreeMap<u32, u64>,
    checkpoint: Position,
    /// A write failed with an unknown outcome.
    broken: bool,
}

impl SledStore {
    /// Makes an empty store in a directory that is empty or not there.
    ///
    /// # Errors
    /// `Exists` where the directory holds anything; `Io`, `Full`.
    pub fn create(dir: &Path) -> Result<Self> {
        let io = |e| Error::io(format!("making the store {}", dir.display()), e);
        std::fs::create_dir_all(dir).map_err(io)?;
        // What an interrupted `create` leaves: the lock and an unfinished marker.
        let odd = std::fs::read_dir(dir).map_err(io)?.filter_map(|e| e.ok()).any(|e| {
            let unfinished = e.file_name() == MARKER && e.metadata().is_ok_and(|m| m.len() == 0);
            e.file_name() != "lock" && !unfinished
        });
        if odd {
            let what = if dir.join(MARKER).exists() { "is a store already" } else { "is not empty" };
            return Err(Error::new(ErrorKind::Exists, format!("{} {what}; name an empty place", dir.display())));
        }
        let lock = DirLock::take(dir, "store")?;
        std::fs::create_dir(dir.join("log")).map_err(io)?;
        std::fs::create_dir(dir.join("index")).map_err(io)?;
        let store = Self::assemble(dir, lock)?;
        // The marker last: only a whole store has one.
        let marker = File::create(dir.join(MARKER)).map_err(io)?;
        std::io::Write::write_all(&mut &marker, MARKER_TEXT.as_bytes()).map_err(io)?;
        marker.sync_all().map_err(io)?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(store)
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// `Absent` where there is none; `Locked`; `Refused` for an unknown format; `Corrupt` where the log is damaged before
    /// its end; `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        match std::fs::read_to_string(dir.join(MARKER)) {
            Ok(text) if text == MARKER_TEXT => {}
            Ok(text) => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "{} has another format ({:?}); use the program that wrote it",
                        dir.display(),
                        text.trim_end()
                    ),
                ));
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Err(Error::new(
                    ErrorKind::Absent,
                    format!("no store at {}; make one with `keyfall init`, or name another place", dir.display()),
                ));
            }
            Err(e) => return Err(Error::io(dir.join(MARKER).display(), e)),
        }
        let lock = DirLock::take(dir, "store")?;
        Self::assemble(dir, lock)
    }

    /// Opens the store in a directory, or makes one where the directory is empty or not there.
    ///
    /// # Errors
    /// As [`SledStore::open`] and [`SledStore::create`].
    pub fn open_or_create(dir: &Path) -> Result<Self> {
        match Self::open(dir) {
            Err(e) if e.kind() == ErrorKind::Absent => Self::create(dir),
            opened => opened,
        }
    }

    fn assemble(dir: &Path, lock: DirLock) -> Result<Self> {
        let index_dir = dir.join("index");
        let (index, rebuild) = match Index::open(&index_dir) {
            Ok(index) => (index, false),
            Err(e) if is_surroundings(&e) => return Err(e),
            Err(_) => {
                // The log says everything the index said.
                let io = |e| Error::io(format!("building {} anew", index_dir.display()), e);
                if index_dir.exists() {
                    std::fs::remove_dir_all(&index_dir).map_err(io)?;
                }
                (Index::open(&index_dir)?, true)
            }
        };
        let mark = index.mark()?;
        let log = Log::open(&dir.join("log"))?;
        let mut tail = Tail { head: index.head()?, live: index.live()?, checkpoint: mark, broken: false };
        let mut recent = BTreeMap::new();
        let replayed = log.replay(mark, rebuild || mark == Position::default())?;
        for frame in replayed {
            recent.extend(frame.blobs);
            if let Some(head) = frame.head
                && tail.head.is_none_or(|(there, _)| there < head.0)
            {
                tail.head = Some(head);
            }
        }
        let recent = RwLock::new(recent);
        let store = SledStore { dir: dir.to_owned(), log, index, recent, tail: Mutex::new(tail), _lock: lock };
        // What was replayed may never have been synced.
        store.checkpoint(&mut store.tail())?;
        Ok(store)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> RwLockReadGuard<'_, BTreeMap<BlobName, Location>> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the log, tells the index of what is new in it, and makes the index durable.
    fn checkpoint(&self, tail: &mut Tail) -> Result<()> {
        let mark = self.log.sync()?;
        if mark != tail.checkpoint || !self.recent().is_empty() {
            self.index.learn(&self.recent(), tail.head, &mut tail.live, mark)?;
            self.recent.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.index.sync()?;
        tail.checkpoint = mark;
        Ok(())
    }

    /// A checkpoint, where one is due. It comes behind an append, where nothing can be taken back: any error of it says
    /// that the outcome is unknown, also a full disk.
    fn checkpoint_if_due(&self, tail: &mut Tail) -> Result<()> {
        let due = self.log.end().since(tail.checkpoint) >= CHECKPOINT_BYTES || self.recent().len() >= RECENT_MAX;
        if due { unknown_outcome(tail, |tail| self.checkpoint(tail)) } else { Ok(()) }
    }

    fn append(&self, tail: &mut Tail, blobs: &[Blob], head: Option<&Head>) -> Result<Option<Location>> {
        if tail.broken {
            return Err(Error::new(
                ErrorKind::Poisoned,
                format!("an earlier write to {} failed; open it anew", self.dir.display()),
            ));
        }
        let (locations, head) =
            self.log.append(blobs, head).inspect_err(|e| tail.broken = e.kind() != ErrorKind::Full)?;
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.extend(blobs.iter().map(|(name, _)| *name).zip(locations));
        Ok(head)
    }

    fn locate(&self, name: &BlobName) -> Result<Option<Location>> {
        let recent = self.recent().get(name).copied();
        // A name leaves `recent` only when the index has it.
        if recent.is_some() { Ok(recent) } else { self.index.get(name) }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let mut tail = self.tail();
        if !tail.broken {
            // Whatever fails here is replayed by the next open.
            let _ = self.checkpoint(&mut tail);
        }
    }
}

impl Store for SledStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.locate(name)?.map(|at| self.log.read(at)).transpose()
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(self.locate(name)?.is_some())
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        let mut tail = self.tail();
        self.append(&mut tail, blobs, None)?;
        self.checkpoint_if_due(&mut tail)
    }

    fn head(&self) -> Result<Option<Head>> {
        let Some((id, at)) = self.tail().head else {
            return Ok(None);
        };
        Ok(Some(Head { id, bytes: self.log.read(at)? }))
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let mut tail = self.tail();
        let there = tail.head.map(|(id, _)| id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        let at = self.append(&mut tail, blobs, Some(head))?;
        tail.head = at.map(|at| (head.id, at));
        unknown_outcome(&mut tail, |_| self.log.sync())?;
        self.checkpoint_if_due(&mut tail)?;
        Ok(Published::Done)
    }

    fn names(&self, from: &BlobName, limit: usize) -> Result<Vec<BlobName>> {
        let mut names: Vec<BlobName> = self.recent().range(from..).take(limit).map(|(name, _)| *name).collect();
        names.extend(self.index.names(from, limit)?);
        names.sort_unstable();
        names.dedup();
        names.truncate(limit);
        Ok(names)
    }

    fn remove(&self, names: &[BlobName]) -> Result<()> {
        let mut tail = self.tail();
        self.checkpoint(&mut tail)?;
        let removed = self.index.forget(names, &mut tail.live)?;
        // Only what the index durably forgot loses its bytes.
        self.index.sync()?;
        let keep = tail.head.map(|(_, at)| at.file);
        self.log.punch(removed)?;
        let empty: Vec<u32> =
            tail.live.iter().filter(|(f, n)| **n == 0 && Some(**f) != keep).map(|(f, _)| *f).collect();
        for file in empty {
            if self.log.remove_file(file)? {
                tail.live.remove(&file);
            }
        }
        Ok(())
    }

    fn usage(&self) -> Result<Usage> {
        let tail = self.tail();
        let blobs = tail.live.values().sum::<u64>() + self.recent().len() as u64;
        Ok(Usage { blobs, bytes: disk_bytes(&self.dir).map_err(|e| Error::io(self.dir.display(), e))? })
    }
}

/// Whether an error comes from around the index and not from its own bytes: then it must not be thrown away.
fn is_surroundings(e: &Error) -> bool {
    if e.to_string().contains("could not acquire lock") {
        return true;
    }
    let io = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, WouldBlock};
        matches!(io.kind(), PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded | WouldBlock)
    })
}

/// Runs what cannot be taken back: whatever fails in it, nobody knows what is durable.
fn unknown_outcome<T>(tail: &mut Tail, f: impl FnOnce(&mut Tail) -> Result<T>) -> Result<T> {
    f(tail).map_err(|e| {
        tail.broken = true;
        if e.kind() == ErrorKind::Full { Error::new(ErrorKind::Io, e.to_string()).with_source(e) } else { e }
    })
}

fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}
