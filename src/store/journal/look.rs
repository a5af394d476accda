//! A journal that is looked at and left as it is: on a read-only medium, on a full disk, in a
//! backup.
//!
//! The journal's own code runs, over a disk that takes no change and an index in memory, which the
//! journal fills as it is replayed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::frame::{Location, Position};
use super::index::{Index, Summary, Update};
use crate::disk::{Disk, DiskFile, How};
use crate::error::Result;
use crate::ids::BlobName;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, locked};

/// Files of a disk, as they are: what the journal does to bring itself in order happens in memory.
pub(crate) struct ReadOnlyDisk(pub(crate) Arc<dyn Disk>);

struct ReadOnlyFile {
    file: Arc<dyn DiskFile>,
    /// Where the journal cut off a write that was never finished.
    end: AtomicU64,
}

fn refused() -> io::Error {
    io::Error::new(
        io::ErrorKind::ReadOnlyFilesystem,
        "the store was opened read-only; nothing was changed",
    )
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        match self.0.open(path, How::Read) {
            Ok(file) => Ok(Arc::new(ReadOnlyFile { file, end: AtomicU64::new(u64::MAX) })),
            // The first file of an empty journal.
            Err(e) if e.kind() == io::ErrorKind::NotFound && how == How::Create => {
                Ok(Arc::new(NoFile))
            }
            Err(e) => Err(e),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(refused())
    }

    /// Nothing was written that could be lost.
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read_medium(&self, path: &Path, into: &mut [u8]) -> io::Result<()> {
        self.0.read_medium(path, into)
    }
}

impl DiskFile for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.min(self.end.load(Ordering::Acquire)))
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    /// Only what is there already is ever written by a journal that is opened and closed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut there = vec![0; bytes.len()];
        self.file.read_exact_at(&mut there, offset)?;
        if there == bytes { Ok(()) } else { Err(refused()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.end.fetch_min(len, Ordering::AcqRel);
        Ok(())
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<bool> {
        Err(refused())
    }
}

/// In place of a file that is not there.
struct NoFile;

impl DiskFile for NoFile {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_exact_at(&self, into: &mut [u8], _offset: u64) -> io::Result<()> {
        if into.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(refused())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn punch(&self, _offset: u64, _len: u64) -> io::Result<bool> {
        Err(refused())
    }
}

/// An index that begins empty and ends with the process.
pub(crate) struct MemoryIndex(Mutex<(BTreeMap<BlobName, Location>, Summary)>);

impl MemoryIndex {
    /// Of a journal that was synced up to here, as far as is known.
    pub(crate) fn over(synced: Position) -> Self {
        MemoryIndex(Mutex::new((BTreeMap::new(), Summary { synced, ..Summary::default() })))
    }

    /// How many names it has.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        locked(&self.0).0.len()
    }
}

impl Index for MemoryIndex {
    fn get(&self, name: &BlobName) -> Result<Option<Location>> {
        Ok(locked(&self.0).0.get(name).copied())
    }

    fn summary(&self) -> Result<Summary> {
        Ok(locked(&self.0).1.clone())
    }

    fn change(&self, names: &[(BlobName, Option<Location>)]) -> Result<Vec<Option<Location>>> {
        let there = &mut locked(&self.0).0;
        let change = |(name, at): &(BlobName, Option<Location>)| match at {
            Some(at) => there.insert(*name, *at),
            None => there.remove(name),
        };
        Ok(names.iter().map(change).collect())
    }

    fn apply(&self, update: &Update) -> Result<()> {
        let (names, summary) = &mut *locked(&self.0);
        for name in &update.remove {
            names.remove(name);
        }
        summary.files.extend(update.files.iter().map(|(file, blobs)| (*file, blobs.clone())));
        for file in &update.gone {
            summary.files.remove(file);
        }
        summary.head = update.head.or(summary.head);
        summary.mark = update.mark.unwrap_or(summary.mark);
        summary.suspected = update.suspected.or(summary.suspected);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
