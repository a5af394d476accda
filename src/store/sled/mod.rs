//! The default store: a directory with a blob log; sled has what the log's names do not say.
//!
//! Why not blobs as sled's own values: measured with sled 0.34.7, 512 MiB of values took 300 to 500 MiB of resident
//! memory at any cache size, and removing nine tenths of them gave back nothing (SPEC.md 9).
//!
//! ```text
//! STORE/keyfall      marker: format, and the key of the log's names in hex; written last, under another name first, so that only a
//!                    whole store has it
//! STORE/lock         held while a process has the store open
//! STORE/log/N.log    frames (see log/frames.rs)
//! STORE/synced       how far the log was synced, for whoever opens it without the index (see synced.rs)
//! STORE/reserve      room on the disk, given up when there is no other, so that an erase goes through
//! STORE/index/       sled: what each file holds; where blobs are that lie elsewhere than their names say
//! ```

mod index;
mod synced;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use self::index::SledIndex;
use self::synced::SYNCED;
use super::log::look::{MemoryIndex, ReadOnlyDisk};
use super::log::{Index, LogStore, NAMING_KEY_BYTES, Sizes, claims};
use super::{Ahead, Blob, Claimed, Cursor, Head, HeadId, Published, Removed, Store, Usage};
use crate::dir::{DirLock, check_file, check_subdir, check_tree, open_to_read, open_to_write, sync_dir};
use crate::disk::OsDisk;
use crate::env::{Env, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;

const MARKER: &str = "keyfall";
/// The marker before it is whole.
const UNFINISHED: &str = "keyfall.new";
const LOG: &str = "log";
const INDEX: &str = "index";
const RESERVE: &str = "reserve";
/// Bytes of the reserve: what opening the index, one erase of many scopes and closing write.
const RESERVE_BYTES: u64 = 2 << 20;
/// As far as a marker is read.
const MARKER_MAX: u64 = 4096;
/// How many bytes an index has at most: so many, and so many for each byte of its log. sled reads all of them.
const INDEX_BYTES: u64 = 64 << 20;
const INDEX_PER_LOG: u64 = 4;
/// How the marker of any format begins.
const FORMATS: &str = "keyfall store, format ";
const FORMAT: &str = "keyfall store, format 1\n";
const NAMING: &str = "naming key ";

fn marker(naming_key: &[u8; NAMING_KEY_BYTES]) -> String {
    let sum = crc32fast::hash(naming_key).to_be_bytes();
    format!("{FORMAT}{NAMING}{}\n", data_encoding::HEXLOWER.encode(&[&naming_key[..], &sum].concat()))
}

/// The naming key in a marker.
fn naming_key(dir: &Path, text: &str) -> Result<[u8; NAMING_KEY_BYTES]> {
    let Some(rest) = text.strip_prefix(FORMAT) else {
        if !text.starts_with(FORMATS) {
            return Err(bad_marker(dir, "is damaged"));
        }
        let first = text.lines().next().unwrap_or_default();
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} has another format ({first:?}); use the program that wrote it", dir.display()),
        ));
    };
    let bytes =
        rest.strip_prefix(NAMING).and_then(|hex| data_encoding::HEXLOWER.decode(hex.trim_end().as_bytes()).ok());
    let key = bytes.as_deref().and_then(|bytes| bytes.first_chunk().copied());
    key.filter(|key| marker(key) == text).ok_or_else(|| bad_marker(dir, "is damaged"))
}

fn bad_marker(dir: &Path, what: &str) -> Error {
    let place = dir.join(MARKER);
    Error::corrupt(format!("the marker {} {what}; restore the store from a copy with `restore`", place.display()))
}

/// A store in a directory.
pub struct SledStore {
    dir: PathBuf,
    // Fields are dropped in this order: the log is closed before the lock is let go.
    log: LogStore,
    /// Whether it was opened to look at.
    look: bool,
    /// Whether the reserve is not whole and the disk has no room for it: what there is, is for erases alone.
    squeezed: AtomicBool,
    /// Whether what is put now is needed by an erase.
    erasing: AtomicBool,
    /// Whether the index is in memory, for there was no room to open the one on the disk, which is older.
    unindexed: bool,
    lock: Option<DirLock>,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledStore({})", self.dir.display())
    }
}

impl SledStore {
    /// Makes an empty store in a directory that is empty or not there, or that holds what an interrupted `create` left.
    ///
    /// # Errors
    /// `Exists` where the directory holds anything else; `Medium` where a link has the name of one of its files; `Locked`; `Io`, `Full`.
    pub fn create(dir: &Path) -> Result<Self> {
        let io = |e| Error::io(format!("making the store {}", dir.display()), e);
        std::fs::create_dir_all(dir).map_err(io)?;
        check_empty(dir)?;
        let lock = DirLock::take(dir, "store")?;
        // Another process may have made one until now.
        check_empty(dir)?;
        // It would speak of another log.
        let _ = std::fs::remove_file(dir.join(SYNCED));
        for part in [LOG, INDEX] {
            check_subdir(&dir.join(part))?;
            std::fs::create_dir_all(dir.join(part)).map_err(io)?;
        }
        let mut naming_key = [0; NAMING_KEY_BYTES];
        System.fill(&mut naming_key)?;
        let store = Self::assemble(dir, &naming_key, lock)?;
        // The marker last, and at once: only a whole store has one.
        let _ = std::fs::remove_file(dir.join(UNFINISHED));
        let file = File::create_new(dir.join(UNFINISHED)).map_err(io)?;
        std::io::Write::write_all(&mut &file, marker(&naming_key).as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::rename(dir.join(UNFINISHED), dir.join(MARKER)).map_err(io)?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(store)
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// `Absent` where there is none; `Locked`; `Refused` for an unknown format; `Medium` where one of its files is a link or has another name;
    /// `Corrupt` where the log is damaged before its end; `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        let naming_key = naming_key(dir, &read_marker(dir)?)?;
        let lock = DirLock::take(dir, "store")?;
        Self::assemble(dir, &naming_key, lock)
    }

    /// Opens the store in a directory to look at: nothing in it is changed, so that it may lie on a read-only medium or a full disk. It reads
    /// the log from its beginning, since it leaves the index alone. What writes is `Refused`.
    ///
    /// # Errors
    /// As [`SledStore::open`]; `Locked` where an engine has it open to write.
    pub fn look(dir: &Path) -> Result<Self> {
        let naming_key = naming_key(dir, &read_marker(dir)?)?;
        check_subdir(&dir.join(LOG))?;
        let lock = DirLock::share(dir, "store")?;
        let disk = Arc::new(ReadOnlyDisk(Arc::new(OsDisk)));
        let index = Arc::new(MemoryIndex::over(synced::read(dir)));
        let log =
            LogStore::open(disk, &dir.join(LOG), index, &naming_key, Sizes { beside: false, ..Sizes::default() })?;
        let (squeezed, erasing) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(SledStore { dir: dir.to_owned(), log, look: true, squeezed, erasing, unindexed: false, lock })
    }

    /// Whether the store in a directory was ever opened as the owner of a root cell: a backup was not.
    ///
    /// # Errors
    /// `Io`.
    pub fn was_claimed(dir: &Path) -> Result<bool> {
        claims::last(&OsDisk, &dir.join(LOG)).map(|claimed| claimed.is_some())
    }

    /// Bytes of the log in a directory.
    ///
    /// # Errors
    /// `Io`.
    pub fn log_bytes(dir: &Path) -> Result<u64> {
        let log = dir.join(LOG);
        let bytes = std::fs::read_dir(&log)
            .and_then(|files| files.map(|file| Ok(file?.metadata()?.len())).sum::<std::io::Result<u64>>());
        bytes.map_err(|e| Error::io(log.display(), e))
    }

    /// Takes room for the erases of a time when there is none; a part of it where there is no more.
    fn lay_in(&self) {
        let file = open_to_write(&self.dir.join(RESERVE), File::options().create(true).truncate(false));
        let laid = file.and_then(|file| {
            if file.metadata()?.blocks() * 512 >= RESERVE_BYTES {
                return Ok(());
            }
            let take = |bytes| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
            let whole = take(RESERVE_BYTES);
            if whole.is_err() {
                let _ = (1..4).any(|n| take(RESERVE_BYTES >> n).is_ok());
            }
            Ok(whole?)
        });
        match laid {
            Ok(()) => self.squeezed.store(false, Ordering::Relaxed),
            Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                self.squeezed.store(true, Ordering::Relaxed);
            }
            // A file system on which no room can be kept.
            Err(_) => {}
        }
    }

    /// Hands the reserve out, where there is any; whether there was.
    fn hand_out(&self) -> bool {
        let had = give_up_reserve(&self.dir);
        if had {
            self.squeezed.store(true, Ordering::Relaxed);
        }
        had
    }

    /// Of a disk that is full: only erases write to it until there is room again.
    fn check_room(&self) -> Result<()> {
        if !self.squeezed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.lay_in();
        if self.squeezed.load(Ordering::Relaxed) {
            let text = format!("{}: no space left but for erases; free some space and call again", self.dir.display());
            return Err(Error::new(ErrorKind::Full, text));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), DirLock::check)
    }

    fn check_writable(&self) -> Result<()> {
        self.check()?;
        if self.look {
            let text = format!("{} was opened to look at; open it to write", self.dir.display());
            return Err(Error::new(ErrorKind::Refused, text));
        }
        Ok(())
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

    fn assemble(dir: &Path, naming_key: &[u8; NAMING_KEY_BYTES], lock: DirLock) -> Result<Self> {
        check_own(dir)?;
        let index_dir = dir.join(INDEX);
        let most = Self::log_bytes(dir)?.saturating_mul(INDEX_PER_LOG).saturating_add(INDEX_BYTES);
        let mut opened = if length(&index_dir).is_ok_and(|length| length > most) {
            Err(Error::corrupt(format!("the index {} is larger than its log explains", index_dir.display())))
        } else {
            SledIndex::open(&index_dir)
        };
        if opened.as_ref().is_err_and(|e| !is_surroundings(e)) {
            // The log says everything the index said.
            let io = |e| Error::io(format!("building {} anew", index_dir.display()), e);
            if index_dir.exists() {
                std::fs::remove_dir_all(&index_dir).map_err(io)?;
            }
            opened = SledIndex::open(&index_dir);
        }
        let (index, unindexed): (Arc<dyn Index>, bool) = match opened {
            Ok(index) => (Arc::new(index), false),
            // Without room for it memory serves as well: the reserve is for erases.
            Err(e) if e.kind() == ErrorKind::Full => (Arc::new(MemoryIndex::over(synced::read(dir))), true),
            Err(e) => return Err(e),
        };
        let log = LogStore::open(Arc::new(OsDisk), &dir.join(LOG), index, naming_key, Sizes::default())?;
        let (squeezed, erasing) = (AtomicBool::new(false), AtomicBool::new(false));
        let store = SledStore { dir: dir.to_owned(), log, look: false, squeezed, erasing, unindexed, lock: Some(lock) };
        store.lay_in();
        Ok(store)
    }
}

/// Refuses a store to write in which a link, or anything else that is not its own, has the name of something of it. sled opens its files
/// by their names, so that those are looked at before.
fn check_own(dir: &Path) -> Result<()> {
    for name in [SYNCED, RESERVE] {
        check_file(&dir.join(name))?;
    }
    let log = dir.join(LOG);
    check_subdir(&log)?;
    claims::FILES.iter().try_for_each(|claim| check_file(&log.join(claim)))?;
    check_tree(&dir.join(INDEX))
}

/// Gives the reserve's room back to the disk; whether there was any.
fn give_up_reserve(dir: &Path) -> bool {
    let path = dir.join(RESERVE);
    let held = path.symlink_metadata().is_ok_and(|meta| meta.blocks() > 0);
    held && std::fs::remove_file(path).is_ok()
}

/// Whether the disk has as much room as the reserve; true where it does not say.
fn has_room(dir: &Path) -> bool {
    !rustix::fs::statvfs(dir).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < RESERVE_BYTES)
}

fn read_marker(dir: &Path) -> Result<String> {
    let mut text = Vec::new();
    let read = open_to_read(&dir.join(MARKER)).and_then(|file| file.take(MARKER_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8(text).map_err(|_| bad_marker(dir, "is damaged")),
        // What an interrupted `create` leaves has none, and nothing in its log.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !log_is_empty(dir).unwrap_or(true) => {
            Err(bad_marker(dir, "is missing"))
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(Error::new(ErrorKind::Absent, format!("no store at {}; name another place", dir.display())))
        }
        Err(e) => Err(Error::io(dir.join(MARKER).display(), e)),
    }
}

/// Whether nothing was ever put into the log, if there is one. An init that was cut short may have claimed it.
fn log_is_empty(dir: &Path) -> io::Result<bool> {
    let log = dir.join(LOG);
    check_subdir(&log)?;
    if !log.exists() {
        return Ok(true);
    }
    for file in names(&log)?.into_iter().filter(|file| !claims::FILES.iter().any(|claim| file == *claim)) {
        if log.join(file).metadata()?.len() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a directory that holds more than a store in which nothing was ever written, or a part of one.
fn check_empty(dir: &Path) -> Result<()> {
    let io = |e| Error::io(dir.display(), e);
    let whole = dir.join(MARKER).exists();
    let known = |name: &OsStr| ["lock", UNFINISHED, LOG, INDEX, RESERVE, SYNCED].iter().any(|n| name == *n);
    let empty = whole || names(dir).map_err(io)?.iter().all(|name| known(name));
    let log = dir.join(LOG).exists() || !whole;
    if empty && log && log_is_empty(dir).map_err(io)? {
        return Ok(());
    }
    let what = if whole { "is a store already" } else { "is not empty" };
    Err(Error::new(ErrorKind::Exists, format!("{} {what}; name an empty place", dir.display())))
}

fn names(dir: &Path) -> std::io::Result<Vec<OsString>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

impl Store for SledStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.log.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.check_writable()?;
        self.log.claim(claimed)
    }
    fn confirm(&self) -> Result<bool> {
        self.log.confirm()
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.log.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.check()?;
        self.log.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.check()?;
        self.log.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.check_writable()?;
        let erasing = self.erasing.load(Ordering::Relaxed);
        if !erasing {
            self.check_room()?;
        }
        match self.log.put(blobs) {
            Err(e) if erasing && e.kind() == ErrorKind::Full && self.hand_out() => self.log.put(blobs),
            done => done,
        }
    }
    fn for_an_erase(&self, on: bool) {
        self.erasing.store(on, Ordering::Relaxed);
    }
    fn head(&self) -> Result<Option<Head>> {
        self.check()?;
        self.log.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.check_writable()?;
        let begins_epoch = over.is_some_and(|over| over.epoch < head.id.epoch);
        let erases = begins_epoch || self.erasing.load(Ordering::Relaxed);
        if !erases {
            self.check_room()?;
        }
        match self.log.commit(blobs, over, head) {
            // Nothing was changed. An erase may have the reserve; the next one finds it laid in again, if there is room.
            Err(e) if erases && e.kind() == ErrorKind::Full && self.hand_out() => self.log.commit(blobs, over, head),
            done => done,
        }
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.check()?;
        self.log.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.check_writable()?;
        if self.unindexed {
            // The index on disk would not know which blobs were removed. A missing index is rebuilt from the log.
            let index = self.dir.join(INDEX);
            if index.exists() {
                std::fs::remove_dir_all(&index).map_err(|e| Error::io(index.display(), e))?;
                sync_dir(&self.dir)?;
            }
        }
        if !has_room(&self.dir) {
            // To give space back takes some: the index writes what it forgets.
            self.hand_out();
        }
        let removed = self.log.remove(names);
        if self.squeezed.load(Ordering::Relaxed) {
            self.lay_in();
        }
        removed
    }
    fn usage(&self) -> Result<Usage> {
        let bytes = disk_bytes(&self.dir).map_err(|e| Error::io(self.dir.display(), e))?;
        Ok(Usage { bytes, ..self.log.usage()? })
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

/// Lengths of the files below a directory, whether or not the disk has all of their bytes.
fn length(dir: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes = bytes.saturating_add(if meta.is_dir() { length(&entry.path())? } else { meta.len() });
    }
    Ok(bytes)
}

fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        if entry.file_name() == RESERVE {
            continue;
        }
        bytes += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}
