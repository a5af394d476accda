//! The store over a journal: blobs in files that only grow, found by what their names say, or else
//! through an index.
//!
//! Invariants. A blob at the place that its name says needs no entry in the index. The index learns
//! of the others in steps, and only of those whose journal was synced (`fdatasync`). What was
//! acknowledged and the index lacks is kept in memory, and found by replaying the journal from the
//! index's mark. So the index is never trusted with the only copy of anything: one that lost its
//! newest entries is brought up, one that cannot be opened is rebuilt.

use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::claims;
use super::files::Journal;
use super::frame::{LABEL, Location, Position};
use super::index::{Index, Summary, Update};
use super::learn::{Recent, Running, Step};
use super::naming::{NAMING_KEY_BYTES, Naming};
use super::sizes::Sizes;
use super::tally::Tally;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::process::Process;
use crate::store::{Ahead, Blob, Claimed, Cursor, Head, HeadId, Published, Removed, Store, Usage};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// Names listed at once.
const LIST: usize = 4096;

/// The open journal with its index.
pub(crate) struct JournalStore {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    journal: Journal,
    naming: Naming,
    index: Arc<dyn Index>,
    sizes: Sizes,
    /// Readers take these locks and no other, so that none waits for a sync.
    recent: Arc<RwLock<Recent>>,
    tally: Arc<RwLock<Tally>>,
    tail: Mutex<Tail>,
    process: Process,
}

/// What the one writer changes.
struct Tail {
    head: Option<(HeadId, Location)>,
    checkpoint: Position,
    /// What the index is being told.
    step: Option<Running>,
    /// A write failed with an unknown outcome.
    broken: bool,
    /// The claim made through this handle.
    claimed: Option<Claimed>,
}

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
        let Summary { mark, head, files, synced } = index.summary()?;
        let store = JournalStore {
            dir: dir.to_owned(),
            journal: Journal::open(Arc::clone(&disk), dir, sizes)?,
            disk,
            naming: Naming::new(naming_key),
            index,
            sizes,
            recent: Arc::default(),
            tally: Arc::new(RwLock::new(Tally::new(files))),
            // Until it knows what the journal has, nothing of it may reach the index.
            tail: Mutex::new(Tail {
                head,
                checkpoint: mark.max(Position::FIRST),
                step: None,
                broken: true,
                claimed: None,
            }),
            process: Process::this(),
        };
        {
            let mut tail = store.tail();
            // An index that lost its newest updates may still list files that were removed.
            let numbers = store.tally().numbers();
            for file in numbers {
                if store.journal.is_gone(file)? {
                    store.tally_mut().forget(file);
                }
            }
            for frame in store.journal.replay(mark, synced.max(mark))? {
                store.note(&frame.blobs);
                if !frame.whole {
                    store.note_holes(&frame.blobs)?;
                }
                if let Some(head) = frame.head
                    && tail.head.is_none_or(|(there, _)| there < head.0)
                {
                    tail.head = Some(head);
                }
            }
            store.journal.set_number(|file| store.tally().count(file));
            tail.broken = false;
            // What was replayed may never have been synced.
            store.begin_step(&mut tail)?;
        }
        Ok(store)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> RwLockReadGuard<'_, Tally> {
        self.tally.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally_mut(&self) -> impl DerefMut<Target = Tally> + '_ {
        self.tally.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes blobs in that the journal has.
    fn note(&self, blobs: &[(BlobName, Location)]) {
        let mut tally = self.tally_mut();
        tally.wrote(blobs.iter().map(|(_, at)| at));
        let says = |name: &BlobName, at: &Location| {
            self.naming.hint(name).at
                == Position { file: at.file, offset: at.offset - LABEL as u64 }
        };
        let mut elsewhere = blobs.iter().filter(|(name, at)| !says(name, at)).peekable();
        if elsewhere.peek().is_none() {
            return;
        }
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        for (name, at) in elsewhere {
            // Written twice: the later one is found, and nobody finds the other.
            if let Some(there) = recent.add(*name, *at) {
                tally.kill(there);
            }
        }
    }

    /// Finds out which of a frame's blobs were given back: nothing is left of their labels.
    fn note_holes(&self, blobs: &[(BlobName, Location)]) -> Result<()> {
        for (name, at) in blobs {
            if !self.journal.is_labelled(name, *at)? {
                self.tally_mut().kill(*at);
                self.recent.write().unwrap_or_else(PoisonError::into_inner).forget(name, *at);
            }
        }
        Ok(())
    }

    /// Syncs the journal, tells the index of what is new in it, and makes the index durable.
    fn checkpoint(&self, tail: &mut Tail) -> Result<()> {
        Self::await_step(tail)?;
        if self.is_behind(tail) {
            tail.checkpoint = self.step(tail)?.run()?;
        } else {
            self.sync(tail)?;
        }
        self.index.sync()
    }

    /// Whether the journal has what the index was never told.
    fn is_behind(&self, tail: &Tail) -> bool {
        tail.checkpoint != self.journal.end() || self.recent().waiting() > 0
    }

    /// Begins a checkpoint, on a thread of its own where the index learns so and has something to
    /// learn.
    fn begin_step(&self, tail: &mut Tail) -> Result<()> {
        if !self.sizes.beside || !self.is_behind(tail) {
            return self.checkpoint(tail);
        }
        Self::await_step(tail)?;
        tail.step = Some(self.step(tail)?.spawn());
        Ok(())
    }

    fn sync(&self, tail: &mut Tail) -> Result<Position> {
        // After a sync that failed the next one may succeed without having written anything.
        self.journal.sync().inspect_err(|_| tail.broken = true)
    }

    /// Syncs the journal, and makes the next step of what the index lacks.
    fn step(&self, tail: &mut Tail) -> Result<Step> {
        let mark = self.sync(tail)?;
        let names = self.recent.write().unwrap_or_else(PoisonError::into_inner).take();
        let changed = self.tally().changed();
        Ok(Step {
            index: Arc::clone(&self.index),
            recent: Arc::clone(&self.recent),
            tally: Arc::clone(&self.tally),
            names,
            mark,
            head: tail.head,
            changed,
        })
    }

    /// Waits for the step that is running, if any.
    fn await_step(tail: &mut Tail) -> Result<()> {
        if let Some(step) = tail.step.take() {
            tail.checkpoint = step.wait().inspect_err(|_| tail.broken = true)?;
        }
        Ok(())
    }

    /// Has the index forget names, and says where their bytes are. The index is at the end of the
    /// journal.
    fn forget(&self, names: &[BlobName]) -> Result<Vec<Location>> {
        let (mut update, mut removed) = (Update::default(), Vec::new());
        for name in names {
            let indexed = self.index.get(name)?;
            update.remove.extend(indexed.map(|_| *name));
            // An index may point beside: bytes are overwritten only where the blob's own name
            // stands.
            let indexed = match indexed {
                Some(at) if self.is_there(name, at)? => Some(at),
                _ => None,
            };
            let placed = self.journal.look(name, self.naming.hint(name), false)?.map(|(at, _)| at);
            let mut tally = self.tally_mut();
            for at in indexed.into_iter().chain(placed) {
                if !tally.is_dead(at) {
                    tally.kill(at);
                    removed.push(at);
                }
            }
        }
        self.tell(update)?;
        Ok(removed)
    }

    /// Tells the index of a change, and of what files hold since.
    fn tell(&self, update: Update) -> Result<()> {
        let update = Update { files: self.tally().changed(), ..update };
        self.index.apply(&update)?;
        self.tally_mut().told(&update.files);
        Ok(())
    }

    fn is_there(&self, name: &BlobName, at: Location) -> Result<bool> {
        match self.journal.is_labelled(name, at) {
            Err(e) if e.kind() == ErrorKind::Corrupt => Ok(false),
            there => there,
        }
    }

    /// Blobs of a file that were given back.
    fn dead_in(&self, file: u32) -> Result<Vec<Location>> {
        let (mut dead, mut from) = (Vec::new(), Some(Position { file, offset: 0 }));
        while let Some(at) = from.filter(|at| at.file == file) {
            let (blobs, next) = self.journal.list(at, LIST)?;
            let tally = self.tally();
            dead.extend(
                blobs
                    .into_iter()
                    .map(|(_, at)| at)
                    .filter(|at| at.file == file && tally.is_dead(*at)),
            );
            from = next;
        }
        Ok(dead)
    }

    /// Overwrites what was given back, and gives what it could not.
    fn wipe(&self, tail: &mut Tail, mut blobs: Vec<Location>) -> Result<Vec<Location>> {
        let mut left = Vec::new();
        if blobs.iter().any(|at| !self.journal.is_vouched(*at)) {
            match self.append(tail, &[], None) {
                Ok(_) => _ = self.sync(tail)?,
                // Without room for the frame that vouches for them they stay until there is.
                Err(e) if e.kind() == ErrorKind::Full => {
                    (blobs, left) = blobs.into_iter().partition(|at| self.journal.is_vouched(*at));
                }
                Err(e) => return Err(e),
            }
        }
        self.journal.wipe(blobs)?;
        let mut tally = self.tally_mut();
        let stay: Vec<u32> = left.iter().map(|at| at.file).collect();
        tally
            .unclean()
            .into_iter()
            .filter(|file| !stay.contains(file))
            .for_each(|file| tally.cleaned(file));
        Ok(left)
    }

    /// Makes a checkpoint where one is due. It comes after an append, where nothing can be taken
    /// back: any error of it says that the outcome is unknown, also a full disk.
    fn checkpoint_if_due(&self, tail: &mut Tail) -> Result<()> {
        let Sizes { checkpoint_bytes, recent_max, file_bytes, .. } = self.sizes;
        if tail.step.as_ref().is_some_and(Running::is_finished) {
            unknown_outcome(tail, Self::await_step)?;
        }
        let steps = 1 + u64::from(tail.step.is_some());
        let since = self.journal.end().since(tail.checkpoint, file_bytes);
        if since < steps * checkpoint_bytes && self.recent().waiting() < recent_max {
            return Ok(());
        }
        unknown_outcome(tail, |tail| self.begin_step(tail))
    }

    fn append(
        &self,
        tail: &mut Tail,
        blobs: &[Blob],
        head: Option<&Head>,
    ) -> Result<Option<Location>> {
        check_whole(tail, &self.dir)?;
        let (blobs, head) = self
            .journal
            .append(blobs, head)
            .inspect_err(|e| tail.broken = e.kind() != ErrorKind::Full)?;
        self.note(&blobs);
        Ok(head)
    }

    /// Where a blob lies that has the place of its name, with its bytes where they are `wanted`.
    fn placed(&self, name: &BlobName, wanted: bool) -> Result<Option<(Location, Vec<u8>)>> {
        let found = self.journal.look(name, self.naming.hint(name), wanted)?;
        Ok(found.filter(|(at, _)| !self.tally().is_dead(*at)))
    }

    /// Where a blob lies that has another.
    fn elsewhere(&self, name: &BlobName) -> Result<Option<Location>> {
        let recent = self.recent().get(name);
        // A name leaves `recent` only when the index has it.
        if recent.is_some() { Ok(recent) } else { self.index.get(name) }
    }
}

impl Store for JournalStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.naming.name(self.journal.next(ahead), len, drawn)
    }

    fn claimed(&self) -> Result<Option<Claimed>> {
        claims::last(&*self.disk, &self.dir)
    }

    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        claims::make(&*self.disk, &self.dir, claimed)?;
        self.tail().claimed = Some(*claimed);
        self.head()
    }

    fn confirm(&self) -> Result<bool> {
        let made = self.tail().claimed;
        Ok(made.is_none() || claims::last(&*self.disk, &self.dir)? == made)
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        if let Some((_, bytes)) = self.placed(name, true)? {
            return Ok(Some(bytes));
        }
        let Some(at) = self.elsewhere(name)? else {
            return Ok(None);
        };
        match self.journal.read(at) {
            // An index that came back older than it was names bytes that were discarded, with their
            // file.
            Err(_) if self.journal.is_gone(at.file)? => Ok(None),
            read => read.map(Some),
        }
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(self.placed(name, false)?.is_some() || self.elsewhere(name)?.is_some())
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
        Ok(Some(Head { id, bytes: self.journal.read(at)? }))
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let mut tail = self.tail();
        let there = tail.head.map(|(id, _)| id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        let at = self.append(&mut tail, blobs, Some(head))?;
        tail.head = at.map(|at| (head.id, at));
        unknown_outcome(&mut tail, |_| self.journal.sync())?;
        self.checkpoint_if_due(&mut tail)?;
        Ok(Published::Done)
    }

    /// In the order of the journal.
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let at = Position { file: (from.0 >> 64) as u32, offset: from.0 as u64 };
        let (blobs, next) = self.journal.list(at, limit)?;
        let tally = self.tally();
        let names =
            blobs.into_iter().filter(|(_, at)| !tally.is_dead(*at)).map(|(name, _)| name).collect();
        Ok((names, next.map(|at| Cursor(u128::from(at.file) << 64 | u128::from(at.offset)))))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        let mut tail = self.tail();
        check_whole(&tail, &self.dir)?;
        // An index that fails here may come back older, and names bytes that are gone: nothing
        // reaches them.
        self.checkpoint(&mut tail)?;
        // What a crash kept from being overwritten, and blobs that were put twice.
        let unclean = self.tally().unclean();
        let mut removed = self.forget(names)?;
        // Only what the index durably forgot loses its bytes.
        self.index.sync()?;
        let keep = tail.head.map(|(_, at)| at.file);
        for file in unclean {
            removed.extend(self.dead_in(file)?);
        }
        let left = self.wipe(&mut tail, removed.clone())?;
        let mut update = Update::default();
        for file in self.tally().empty().into_iter().filter(|file| Some(*file) != keep) {
            if self.journal.remove_file(file)? {
                update.gone.push(file);
            }
        }
        let bytes = |blobs: &[Location]| blobs.iter().map(|at| u64::from(at.len)).sum::<u64>();
        let left: Vec<Location> =
            left.into_iter().filter(|at| !update.gone.contains(&at.file)).collect();
        let done = Removed { gone: bytes(&removed) - bytes(&left), left: bytes(&left) };
        if !update.gone.is_empty() {
            // A file that a crash brings back must still be known to hold nothing.
            self.journal.sync_names()?;
            update.gone.iter().for_each(|file| self.tally_mut().forget(*file));
        }
        self.tell(update)?;
        Ok(done)
    }

    /// Its bytes are those of the journal, from its beginning to its end.
    fn usage(&self) -> Result<Usage> {
        let blobs = self.tally().live();
        Ok(Usage { blobs, bytes: self.journal.end().since(Position::FIRST, self.sizes.file_bytes) })
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        if !self.process.is_this() {
            // The journal goes on in another process. The thread of a step is not here.
            if let Ok(mut tail) = self.tail.try_lock() {
                std::mem::forget(tail.step.take());
            }
            return;
        }
        let mut tail = self.tail();
        let _ = Self::await_step(&mut tail);
        if !tail.broken {
            let _ = self.journal.trim();
            // Whatever fails here is replayed by the next open.
            let _ = self.checkpoint(&mut tail);
        }
    }
}

fn check_whole(tail: &Tail, dir: &Path) -> Result<()> {
    if tail.broken {
        return Err(Error::new(
            ErrorKind::Poisoned,
            format!("an earlier write to {} failed; open it again", dir.display()),
        ));
    }
    Ok(())
}

/// Runs what cannot be taken back: whatever fails in it, nobody knows what is durable.
fn unknown_outcome<T>(tail: &mut Tail, f: impl FnOnce(&mut Tail) -> Result<T>) -> Result<T> {
    f(tail).map_err(|e| {
        tail.broken = true;
        if e.kind() == ErrorKind::Full {
            Error::new(ErrorKind::Io, e.to_string()).with_source(e)
        } else {
            e
        }
    })
}
