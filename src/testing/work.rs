//! Counts how many bytes are read to open a log, whatever the log holds.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock::locked;
use crate::disk::{Disk, DiskFile, How};
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::journal::{Index, JournalStore, Location, Sizes, Summary, Update};

/// A disk with one file; it counts the bytes that are read from it.
#[derive(Clone)]
struct Counted(Arc<(Mutex<Vec<u8>>, AtomicU64)>);

impl Disk for Counted {
    fn open(&self, _: &Path, _: How) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.clone()))
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(vec!["00000001.log".into()])
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn read_medium(&self, _: &Path, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl DiskFile for Counted {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.0.0).len() as u64)
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.1.fetch_add(into.len() as u64, Ordering::Relaxed);
        let (bytes, from) = (locked(&self.0.0), offset as usize);
        into.copy_from_slice(
            bytes.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }
    fn write_all_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let (mut bytes, from) = (locked(&self.0.0), offset as usize);
        let len = bytes.len().max(from + new.len());
        bytes.resize(len, 0);
        bytes[from..from + new.len()].copy_from_slice(new);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        locked(&self.0.0).resize(len as usize, 0);
        Ok(())
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

/// An index that was lost: it begins empty.
#[derive(Default)]
struct Lost(Mutex<BTreeMap<BlobName, Location>>);

impl Index for Lost {
    fn get(&self, name: &BlobName) -> Result<Option<Location>> {
        Ok(locked(&self.0).get(name).copied())
    }
    fn summary(&self) -> Result<Summary> {
        Ok(Summary::default())
    }
    fn change(&self, names: &[(BlobName, Option<Location>)]) -> Result<Vec<Option<Location>>> {
        let change = |(name, at): &(BlobName, Option<Location>)| match at {
            Some(at) => locked(&self.0).insert(*name, *at),
            None => locked(&self.0).remove(name),
        };
        Ok(names.iter().map(change).collect())
    }
    fn apply(&self, _: &Update) -> Result<()> {
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// Opens these bytes as the first file of a log whose index was lost; returns how many bytes were
/// read.
pub fn read_to_open(log: &[u8]) -> (u64, Result<()>) {
    let disk = Counted(Arc::new((Mutex::new(log.to_vec()), AtomicU64::new(0))));
    let sizes = Sizes { beside: false, ..Sizes::default() };
    let opened = JournalStore::open(
        Arc::new(disk.clone()),
        Path::new("log"),
        Arc::new(Lost::default()),
        &[0; 16],
        sizes,
    );
    let read = disk.0.1.load(Ordering::Relaxed);
    (read, opened.map(drop))
}
