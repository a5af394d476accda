//! A store that is a log: blobs in an append-only log, found through an index.
//!
//! Invariants. The index learns of blobs in large steps, and only of those whose log was synced (`fdatasync`). What was
//! acknowledged and the index lacks is kept in memory, and found by replaying the log from the index's mark. So the index
//! is never trusted with the only copy of anything: one that lost its newest entries is brought up, one that cannot be
//! opened is built anew.

mod frames;
mod index;
mod learn;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use self::frames::Log;
#[cfg(feature = "testing")]
pub(crate) use self::frames::frame_in;
pub(crate) use self::frames::{Location, Position};
pub(crate) use self::index::{Index, Summary, Update};
use self::learn::{Learned, Recent, Running, Step, counted};
use super::{Blob, Head, HeadId, Published, Store, Usage};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// Sizes that a simulation makes small, so that it reaches what happens at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// A file of the log that has grown to this is followed by another.
    pub(crate) file_bytes: u64,
    /// Zeros that are written behind short frames at once; a frame of up to a quarter of it is short.
    pub(crate) ahead_bytes: u64,
    /// Bytes of log between two checkpoints of the index; an open after a crash replays twice as much at most.
    pub(crate) checkpoint_bytes: u64,
    /// Blobs that the index learns of in one step; it may not have learnt of twice as many.
    pub(crate) recent_max: usize,
    /// Whether the index learns on a thread of its own.
    pub(crate) beside: bool,
}

impl Default for Sizes {
    fn default() -> Self {
        // 131,072 recent blobs are some 8 MiB of memory.
        Sizes {
            file_bytes: 256 << 20,
            ahead_bytes: 256 << 10,
            checkpoint_bytes: 64 << 20,
            recent_max: 1 << 16,
            beside: true,
        }
    }
}

/// The open log with its index.
pub(crate) struct LogStore {
    dir: PathBuf,
    log: Log,
    index: Arc<dyn Index>,
    sizes: Sizes,
    /// In the log and not yet in the index. Readers take no other lock, so that none waits for a sync.
    recent: Arc<RwLock<Recent>>,
    tail: Mutex<Tail>,
}

/// What the one writer changes.
struct Tail {
    head: Option<(HeadId, Location)>,
    /// Live blobs in each file of the log.
    live: BTreeMap<u32, u64>,
    checkpoint: Position,
    /// What the index is being told.
    step: Option<Running>,
    /// A write failed with an unknown outcome.
    broken: bool,
}

impl LogStore {
    /// Opens the log in `dir`, which is there and may be empty, and brings `index` up to it.
    ///
    /// # Errors
    /// `Corrupt` where the log is damaged before its end; `Io`, `Full`.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, index: Arc<dyn Index>, sizes: Sizes) -> Result<Self> {
        let Summary { mark, head, live } = index.summary()?;
        let log = Log::open(disk, dir, sizes)?;
        let mut tail = Tail { head, live, checkpoint: mark, step: None, broken: false };
        let mut recent = Recent::default();
        for frame in log.replay(mark)? {
            recent.extend(frame.blobs);
            if let Some(head) = frame.head
                && tail.head.is_none_or(|(there, _)| there < head.0)
            {
                tail.head = Some(head);
            }
        }
        let recent = Arc::new(RwLock::new(recent));
        let store = LogStore { dir: dir.to_owned(), log, index, sizes, recent, tail: Mutex::new(tail) };
        // What was replayed may never have been synced.
        store.begin_step(&mut store.tail())?;
        Ok(store)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the log, tells the index of what is new in it, and makes the index durable.
    fn checkpoint(&self, tail: &mut Tail) -> Result<()> {
        Self::await_step(tail)?;
        let step = self.step(tail)?;
        if step.marks.0 != step.marks.1 || !step.names.is_empty() {
            tail.learn(step.run()?);
        }
        self.index.sync()
    }

    /// A checkpoint, beside where the index learns so and there is something to learn.
    fn begin_step(&self, tail: &mut Tail) -> Result<()> {
        if !self.sizes.beside || self.recent().len() == 0 {
            return self.checkpoint(tail);
        }
        Self::await_step(tail)?;
        tail.step = Some(self.step(tail)?.spawn());
        Ok(())
    }

    /// Syncs the log, and makes the next step of what the index lacks.
    fn step(&self, tail: &mut Tail) -> Result<Step> {
        // After a sync that failed the next one may succeed without having written anything.
        let mark = self.log.sync().inspect_err(|_| tail.broken = true)?;
        Ok(Step {
            index: Arc::clone(&self.index),
            recent: Arc::clone(&self.recent),
            names: self.recent.write().unwrap_or_else(PoisonError::into_inner).take(),
            marks: (tail.checkpoint, mark),
            head: tail.head,
            live: tail.live.clone(),
        })
    }

    /// Waits for the step that was begun, if there is one.
    fn await_step(tail: &mut Tail) -> Result<()> {
        if let Some(step) = tail.step.take() {
            let learned = step.wait().inspect_err(|_| tail.broken = true)?;
            tail.learn(learned);
        }
        Ok(())
    }

    /// Has the index forget names, and says where their bytes are.
    fn forget(&self, tail: &mut Tail, names: &[BlobName]) -> Result<Vec<Location>> {
        let mut update = Update::default();
        let (mut touched, mut removed) = (BTreeMap::new(), Vec::new());
        for name in names {
            if let Some(at) = self.index.get(name)? {
                update.remove.push(*name);
                *touched.entry(at.file).or_insert(0i64) -= 1;
                removed.push(at);
            }
        }
        let mut live = tail.live.clone();
        update.live = counted(&mut live, touched);
        self.index.apply(&update)?;
        tail.live = live;
        Ok(removed)
    }

    /// A checkpoint, where one is due. It comes behind an append, where nothing can be taken back: any error of it says
    /// that the outcome is unknown, also a full disk.
    fn checkpoint_if_due(&self, tail: &mut Tail) -> Result<()> {
        let Sizes { checkpoint_bytes, recent_max, file_bytes, .. } = self.sizes;
        if tail.step.as_ref().is_some_and(Running::is_finished) {
            unknown_outcome(tail, Self::await_step)?;
        }
        let steps = 1 + u64::from(tail.step.is_some());
        let since = self.log.end().since(tail.checkpoint, file_bytes);
        if since < steps * checkpoint_bytes && self.recent().waiting() < recent_max {
            return Ok(());
        }
        unknown_outcome(tail, |tail| self.begin_step(tail))
    }

    fn append(&self, tail: &mut Tail, blobs: &[Blob], head: Option<&Head>) -> Result<Option<Location>> {
        check_whole(tail, &self.dir)?;
        let (locations, head) =
            self.log.append(blobs, head).inspect_err(|e| tail.broken = e.kind() != ErrorKind::Full)?;
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.extend(blobs.iter().map(|(name, _)| *name).zip(locations));
        Ok(head)
    }

    fn locate(&self, name: &BlobName) -> Result<Option<Location>> {
        let recent = self.recent().get(name);
        // A name leaves `recent` only when the index has it.
        if recent.is_some() { Ok(recent) } else { self.index.get(name) }
    }
}

impl Store for LogStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        let Some(at) = self.locate(name)? else {
            return Ok(None);
        };
        match self.log.read(at) {
            // An index that came back older than it was names bytes that were discarded, with their file.
            Err(_) if self.log.is_gone(at.file)? => Ok(None),
            read => read.map(Some),
        }
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
        let mut names = self.recent().names(from, limit);
        names.extend(self.index.names(from, limit)?);
        names.sort_unstable();
        names.dedup();
        names.truncate(limit);
        Ok(names)
    }

    fn remove(&self, names: &[BlobName]) -> Result<()> {
        let mut tail = self.tail();
        check_whole(&tail, &self.dir)?;
        // An index that fails here may come back older, and names bytes that are gone: nothing reaches them.
        self.checkpoint(&mut tail)?;
        let removed = self.forget(&mut tail, names)?;
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

    /// Its bytes are those of the log, from its beginning to its end.
    fn usage(&self) -> Result<Usage> {
        let mut tail = self.tail();
        Self::await_step(&mut tail)?;
        let blobs = tail.live.values().sum::<u64>() + self.recent().len() as u64;
        let begin = Position { file: 1, offset: 0 };
        Ok(Usage { blobs, bytes: self.log.end().since(begin, self.sizes.file_bytes) })
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        let mut tail = self.tail();
        let _ = Self::await_step(&mut tail);
        if !tail.broken {
            let _ = self.log.trim();
            // Whatever fails here is replayed by the next open.
            let _ = self.checkpoint(&mut tail);
        }
    }
}

impl Tail {
    fn learn(&mut self, Learned { mark, live }: Learned) {
        (self.checkpoint, self.live) = (mark, live);
    }
}

fn check_whole(tail: &Tail, dir: &Path) -> Result<()> {
    if tail.broken {
        return Err(Error::new(
            ErrorKind::Poisoned,
            format!("an earlier write to {} failed; open it anew", dir.display()),
        ));
    }
    Ok(())
}

/// Runs what cannot be taken back: whatever fails in it, nobody knows what is durable.
fn unknown_outcome<T>(tail: &mut Tail, f: impl FnOnce(&mut Tail) -> Result<T>) -> Result<T> {
    f(tail).map_err(|e| {
        tail.broken = true;
        if e.kind() == ErrorKind::Full { Error::new(ErrorKind::Io, e.to_string()).with_source(e) } else { e }
    })
}
