//! The default store: a directory with a journal of blobs, and in sled what their names do not say.
//!
//! Why not blobs as sled's own values: measured with sled 0.34.7, 512 MiB of values took 300 to 500
//! MiB of resident memory at any cache size, and removing nine tenths of them gave back nothing
//! (SPEC.md 9).
//!
//! ```text
//! STORE/keyfall      marker: format, and the key of the journal's names in hex; written last,
//!                    under another name first, so that only a whole store has it
//! STORE/lock         held while a process has the store open
//! STORE/log/N.log    frames (see journal/files.rs)
//! STORE/synced       how far the journal was synced, for an open without the index (synced.rs)
//! STORE/restoring    there while a restore builds the store (opening/restoring.rs)
//! STORE/reserve      room on the disk, given up when it is full, so that an erase goes through
//! STORE/index/       sled: what each file holds; where blobs lie whose names do not say it
//! ```

mod index;
mod marker;
mod places;
mod reserve;
mod synced;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::index::SledIndex;
use self::marker::{MARKER, UNFINISHED};
use self::reserve::{RESERVE, Reserve};
use self::synced::SYNCED;
use super::journal::look::{MemoryIndex, ReadOnlyDisk};
use super::journal::{Index, JournalStore, NAMING_KEY_BYTES, Sizes, claims};
use super::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Packing, Published, Removed,
    Store, Sweep, Usage, Waste,
};
use crate::dir::{DirLock, check_file, check_subdir, check_tree, sync_dir};
use crate::disk::OsDisk;
use crate::env::{Env, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;

/// The directory of the journal.
const JOURNAL: &str = "log";
const INDEX: &str = "index";
/// How many bytes an index has at most: so many, and so many for each byte of its journal. sled
/// reads all of them.
const INDEX_BYTES: u64 = 64 << 20;
const INDEX_PER_JOURNAL: u64 = 4;

/// The naming key of the store in a directory.
fn naming_key(dir: &Path) -> Result<[u8; NAMING_KEY_BYTES]> {
    marker::read(dir, || journal_is_empty(dir).unwrap_or(true))
}

/// A store in a directory.
pub struct SledStore {
    dir: PathBuf,
    // Fields are dropped in this order: the journal is closed before the lock is let go.
    journal: JournalStore,
    /// Whether it was opened to look at.
    look: bool,
    reserve: Reserve,
    /// Whether what is put now is needed by an erase.
    erasing: AtomicBool,
    /// Whether the index is in memory, for there was no room to open the one on the disk, which is
    /// older.
    unindexed: bool,
    lock: Option<DirLock>,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledStore({})", self.dir.display())
    }
}

impl SledStore {
    /// Makes an empty store in a directory that is empty or not there, or that holds what an
    /// interrupted `create` left.
    ///
    /// # Errors
    /// `Exists` if the directory holds anything else; `Refused` if a link has the name of one
    /// of its files; `Locked`; `Io`, `Full`.
    pub fn create(dir: &Path) -> Result<Self> {
        let io = |e| Error::io(format!("making the store {}", dir.display()), e);
        std::fs::create_dir_all(dir).map_err(io)?;
        check_empty(dir)?;
        let lock = DirLock::take(dir, "store")?;
        // Another process may have made one until now.
        check_empty(dir)?;
        // An old one would speak of another journal.
        let _ = std::fs::remove_file(dir.join(SYNCED));
        for part in [JOURNAL, INDEX] {
            check_subdir(&dir.join(part))?;
            std::fs::create_dir_all(dir.join(part)).map_err(io)?;
        }
        let mut naming_key = [0; NAMING_KEY_BYTES];
        System.fill(&mut naming_key)?;
        let store = Self::assemble(dir, &naming_key, lock)?;
        // The marker last, and at once: only a whole store has one.
        marker::write(dir, &naming_key).map_err(io)?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(store)
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// `Absent` if there is none; `Locked`; `Refused` for an unknown format, and if one of
    /// its files is a link or has another name; `Corrupt` if the journal is damaged before its
    /// end; `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        let naming_key = naming_key(dir)?;
        let lock = DirLock::take(dir, "store")?;
        Self::assemble(dir, &naming_key, lock)
    }

    /// Opens the store in a directory to look at: nothing in it is changed, so that it may lie on a
    /// read-only medium or a full disk. It reads the journal from its beginning, since it leaves
    /// the index alone. What writes is `Refused`.
    ///
    /// # Errors
    /// As [`SledStore::open`]; `Locked` if an engine has it open to write.
    pub fn look(dir: &Path) -> Result<Self> {
        let naming_key = naming_key(dir)?;
        check_subdir(&dir.join(JOURNAL))?;
        let lock = DirLock::share(dir, "store")?;
        let disk = Arc::new(ReadOnlyDisk(Arc::new(OsDisk)));
        let index = Arc::new(MemoryIndex::over(synced::read(dir)));
        let journal = JournalStore::open(
            disk,
            &dir.join(JOURNAL),
            index,
            &naming_key,
            Sizes { beside: false, ..Sizes::default() },
        )?;
        let (reserve, erasing) = (Reserve::of(dir), AtomicBool::new(false));
        Ok(SledStore {
            dir: dir.to_owned(),
            journal,
            look: true,
            reserve,
            erasing,
            unindexed: false,
            lock,
        })
    }

    /// Whether the store in a directory was ever opened as the owner of a root cell: a backup was
    /// not.
    ///
    /// # Errors
    /// `Io`.
    pub fn was_claimed(dir: &Path) -> Result<bool> {
        claims::last(&OsDisk, &dir.join(JOURNAL)).map(|claimed| claimed.is_some())
    }

    /// Bytes of the journal in a directory.
    ///
    /// # Errors
    /// `Io`.
    pub fn journal_bytes(dir: &Path) -> Result<u64> {
        let journal = dir.join(JOURNAL);
        let bytes = std::fs::read_dir(&journal).and_then(|files| {
            files.map(|file| Ok(file?.metadata()?.len())).sum::<std::io::Result<u64>>()
        });
        bytes.map_err(|e| Error::io(journal.display(), e))
    }

    fn check(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), DirLock::check)
    }

    /// Prepares for space to be given back, which takes some.
    fn make_room(&self) -> Result<()> {
        self.check_writable()?;
        if self.unindexed {
            // The index on disk would not know which blobs were removed. A missing index is rebuilt
            // from the journal.
            let index = self.dir.join(INDEX);
            if index.exists() {
                std::fs::remove_dir_all(&index).map_err(|e| Error::io(index.display(), e))?;
                sync_dir(&self.dir)?;
            }
        }
        if !self.reserve.has_room() {
            // The index writes what it forgets.
            self.reserve.hand_out();
        }
        Ok(())
    }

    /// Fails if there is no room but the reserve: that is for erases, and for a discard.
    fn check_free(&self) -> Result<()> {
        self.reserve.check_room()?;
        if self.reserve.has_room() {
            return Ok(());
        }
        let text = format!("{}: no space left to sort out what is dead", self.dir.display());
        Err(Error::new(ErrorKind::Full, format!("{text}; `discard` does it in the reserve")))
    }

    fn check_writable(&self) -> Result<()> {
        self.check()?;
        if self.look {
            let text = format!("{} was opened read-only; open it to write", self.dir.display());
            return Err(Error::new(ErrorKind::Refused, text));
        }
        Ok(())
    }

    /// Opens the store in a directory, or makes one if the directory is empty or not there.
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
        let most =
            Self::journal_bytes(dir)?.saturating_mul(INDEX_PER_JOURNAL).saturating_add(INDEX_BYTES);
        let mut opened = if length(&index_dir).is_ok_and(|length| length > most) {
            Err(Error::corrupt(format!(
                "the index {} is larger than its journal explains",
                index_dir.display()
            )))
        } else {
            SledIndex::open(&index_dir, naming_key)
        };
        if opened.as_ref().is_err_and(|e| !is_surroundings(e)) {
            // The journal says everything the index said.
            let io = |e| Error::io(format!("rebuilding {}", index_dir.display()), e);
            if index_dir.exists() {
                std::fs::remove_dir_all(&index_dir).map_err(io)?;
            }
            opened = SledIndex::open(&index_dir, naming_key);
        }
        let (index, unindexed): (Arc<dyn Index>, bool) = match opened {
            Ok(index) => (Arc::new(index), false),
            // Without room for it memory serves as well: the reserve is for erases.
            Err(e) if e.kind() == ErrorKind::Full => {
                (Arc::new(MemoryIndex::over(synced::read(dir))), true)
            }
            Err(e) => return Err(e),
        };
        let journal = JournalStore::open(
            Arc::new(OsDisk),
            &dir.join(JOURNAL),
            index,
            naming_key,
            Sizes::default(),
        )?;
        let (reserve, erasing) = (Reserve::of(dir), AtomicBool::new(false));
        let store = SledStore {
            dir: dir.to_owned(),
            journal,
            look: false,
            reserve,
            erasing,
            unindexed,
            lock: Some(lock),
        };
        store.reserve.lay_in();
        Ok(store)
    }
}

/// Refuses a store to write in which a link, or anything else that is not its own, has the name of
/// something of it. sled opens its files by their names, so that those are looked at before.
fn check_own(dir: &Path) -> Result<()> {
    for name in [SYNCED, RESERVE] {
        check_file(&dir.join(name))?;
    }
    let journal = dir.join(JOURNAL);
    check_subdir(&journal)?;
    claims::FILES.iter().try_for_each(|claim| check_file(&journal.join(claim)))?;
    check_tree(&dir.join(INDEX))
}

/// Whether nothing was ever put into the journal, if one is there. An init that was cut short may
/// have claimed it.
fn journal_is_empty(dir: &Path) -> io::Result<bool> {
    let journal = dir.join(JOURNAL);
    check_subdir(&journal)?;
    if !journal.exists() {
        return Ok(true);
    }
    for file in names(&journal)?
        .into_iter()
        .filter(|file| !claims::FILES.iter().any(|claim| file == *claim))
    {
        if journal.join(file).metadata()?.len() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a directory that holds more than a store in which nothing was ever written, or a part of
/// one.
fn check_empty(dir: &Path) -> Result<()> {
    let io = |e| Error::io(dir.display(), e);
    let whole = dir.join(MARKER).exists();
    let known = |name: &OsStr| {
        ["lock", UNFINISHED, JOURNAL, INDEX, RESERVE, SYNCED].iter().any(|n| name == *n)
    };
    let empty = whole || names(dir).map_err(io)?.iter().all(|name| known(name));
    let journal = dir.join(JOURNAL).exists() || !whole;
    if empty && journal && journal_is_empty(dir).map_err(io)? {
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
        self.journal.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.check_writable()?;
        self.journal.claim(claimed)
    }
    fn reopen(&self) -> Result<()> {
        self.check_writable()?;
        self.journal.reopen()
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.journal.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.check()?;
        self.journal.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.check()?;
        self.journal.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.check_writable()?;
        let erasing = self.erasing.load(Ordering::Relaxed);
        if !erasing {
            self.reserve.check_room()?;
        }
        match self.journal.put(blobs) {
            Err(e) if erasing && e.kind() == ErrorKind::Full && self.reserve.hand_out() => {
                self.journal.put(blobs)
            }
            done => done,
        }
    }
    fn for_an_erase(&self, on: bool) {
        self.erasing.store(on, Ordering::Relaxed);
    }
    fn head(&self) -> Result<Option<Head>> {
        self.check()?;
        self.journal.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.check_writable()?;
        let begins_epoch = over.is_some_and(|over| over.epoch < head.id.epoch);
        let erases = begins_epoch || self.erasing.load(Ordering::Relaxed);
        if !erases {
            self.reserve.check_room()?;
        }
        match self.journal.commit(blobs, over, head) {
            // Nothing was changed. An erase may have the reserve; the next one finds it laid in
            // again, if there is room.
            Err(e) if erases && e.kind() == ErrorKind::Full && self.reserve.hand_out() => {
                self.journal.commit(blobs, over, head)
            }
            done => done,
        }
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.check()?;
        self.journal.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.make_room()?;
        let removed = self.journal.remove(names);
        if self.reserve.is_squeezed() {
            self.reserve.lay_in();
        }
        removed
    }
    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        match how {
            Collect::Wipe => self.make_room()?,
            Collect::Count => {
                self.check_writable()?;
                self.check_free()?;
            }
        }
        self.journal.sweep(how)
    }
    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        self.check_writable()?;
        self.journal.count_dead(names)
    }
    fn suspect(&self, bytes: u64) {
        self.journal.suspect(bytes);
    }
    fn waste(&self) -> Result<Option<Waste>> {
        self.check()?;
        if self.look { Ok(None) } else { self.journal.waste() }
    }
    /// On a full disk nothing is moved: files without live blobs go, and the reserve is for erases.
    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        self.check_writable()?;
        let most = if self.check_free().is_ok() { most } else { 0 };
        let cleaned = self.journal.clean(most, packing);
        if self.reserve.is_squeezed() {
            self.reserve.lay_in();
        }
        cleaned
    }
    fn usage(&self) -> Result<Usage> {
        let bytes = disk_bytes(&self.dir).map_err(|e| Error::io(self.dir.display(), e))?;
        Ok(Usage { bytes, ..self.journal.usage()? })
    }
}

/// Whether an error comes from around the index and not from its own bytes: then it must not be
/// thrown away.
fn is_surroundings(e: &Error) -> bool {
    if e.to_string().contains("could not acquire lock") {
        return true;
    }
    let io = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, WouldBlock,
        };
        matches!(
            io.kind(),
            PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded | WouldBlock
        )
    })
}

/// Lengths of the files below a directory, whether or not the disk has all of their bytes.
fn length(dir: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes =
            bytes.saturating_add(if meta.is_dir() { length(&entry.path())? } else { meta.len() });
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
