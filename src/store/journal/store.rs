//! The store over a journal: its doors.

use std::path::Path;
use std::sync::Arc;

use super::claims;
use super::clean::{clean, waste};
use super::frame::Position;
use super::give::remove;
use super::index::Index;
use super::naming::NAMING_KEY_BYTES;
use super::shelf::{Shelf, unknown_outcome};
use super::sizes::Sizes;
use super::sweep::JournalSweep;
use crate::disk::Disk;
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Published, Removed, Store, Sweep,
    Usage, Waste,
};
use crate::sync::atomic::Ordering;

/// The open journal with its index.
pub(crate) struct JournalStore(Shelf);

impl JournalStore {
    /// Opens the journal in `dir`, which is there and may be empty, and brings `index` up to it.
    /// The key is that of its names, always the same.
    ///
    /// # Errors
    /// `Corrupt` where the journal is damaged before its end; `Io`, `Full`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        index: Arc<dyn Index>,
        naming_key: &[u8; NAMING_KEY_BYTES],
        sizes: Sizes,
    ) -> Result<Self> {
        Shelf::open(disk, dir, index, naming_key, sizes).map(JournalStore)
    }
}

impl Store for JournalStore {
    fn place(&self) -> String {
        self.0.dir.display().to_string()
    }

    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.0.naming.name(self.0.journal.next(ahead), len, drawn)
    }

    fn claimed(&self) -> Result<Option<Claimed>> {
        claims::last(&*self.0.disk, &self.0.dir)
    }

    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        claims::make(&*self.0.disk, &self.0.dir, claimed)?;
        self.0.tail().claimed = Some(*claimed);
        self.head()
    }

    fn confirm(&self) -> Result<bool> {
        let made = self.0.tail().claimed;
        Ok(made.is_none() || claims::last(&*self.0.disk, &self.0.dir)? == made)
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        if let Some((_, bytes)) = self.0.placed(name, true)? {
            return Ok(Some(bytes));
        }
        let mut next = self.0.elsewhere(name)?;
        while let Some(at) = next {
            match self.0.journal.read(at) {
                // It was moved meanwhile; or an index that came back older than it was names bytes
                // that were discarded, with their file.
                Err(_) if self.0.journal.is_gone(at.file)? => {
                    next = self.0.elsewhere(name)?.filter(|now| *now != at);
                }
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(self.0.placed(name, false)?.is_some() || self.0.elsewhere(name)?.is_some())
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        let mut tail = self.0.tail();
        self.0.append(&mut tail, blobs, None)?;
        self.0.checkpoint_if_due(&mut tail)
    }

    fn head(&self) -> Result<Option<Head>> {
        // Held while it is read: its file may be emptied and removed.
        let tail = self.0.tail();
        let Some((id, at)) = tail.head else {
            return Ok(None);
        };
        Ok(Some(Head { id, bytes: self.0.journal.read(at)? }))
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let mut tail = self.0.tail();
        let there = tail.head.map(|(id, _)| id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        let at = self.0.append(&mut tail, blobs, Some(head))?;
        tail.head = at.map(|at| (head.id, at));
        unknown_outcome(&mut tail, |_| self.0.journal.sync())?;
        self.0.checkpoint_if_due(&mut tail)?;
        Ok(Published::Done)
    }

    /// In the order of the journal.
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let at = Position { file: (from.0 >> 64) as u32, offset: from.0 as u64 };
        let (blobs, next) = self.0.journal.list(at, limit)?;
        let tally = self.0.tally();
        let names =
            blobs.into_iter().filter(|(_, at)| !tally.is_dead(*at)).map(|(name, _)| name).collect();
        Ok((names, next.map(|at| Cursor(u128::from(at.file) << 64 | u128::from(at.offset)))))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        remove(&self.0, names)
    }

    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        Ok(Some(Box::new(JournalSweep::begin(&self.0, how)?)))
    }

    fn suspect(&self, bytes: u64) {
        let more = |there: u64| Some(there.saturating_add(bytes));
        let _ = self.0.suspected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn waste(&self) -> Result<Option<Waste>> {
        waste(&self.0).map(Some)
    }

    fn clean(&self, most: u64) -> Result<Cleaned> {
        clean(&self.0, most)
    }

    /// Its bytes are those of the journal's files.
    fn usage(&self) -> Result<Usage> {
        Ok(Usage { blobs: self.0.tally().live(), bytes: self.0.journal.bytes()? })
    }
}
