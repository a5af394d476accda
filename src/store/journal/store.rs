//! What a store over a journal is made of: blobs in files that only grow, found by what their names
//! say, or else through an index.
//!
//! Invariants. A blob at the place that its name says needs no entry in the index. The index learns
//! of the others in steps, and only of those whose journal was synced (`fdatasync`). What was
//! acknowledged and the index lacks is kept in memory, and found by replaying the journal from the
//! index's mark. So the index is never trusted with the only copy of anything: one that lost its
//! newest entries is brought up, one that cannot be opened is rebuilt.

use std::collections::BTreeSet;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::files::Journal;
use super::frame::{LABEL, Location, Position};
use super::index::{Index, Summary, Update};
use super::learn::{Recent, Running, Step, leads_to};
use super::naming::{NAMING_KEY_BYTES, Naming};
use super::sizes::Sizes;
use super::tally::Tally;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::process::Process;
use crate::store::{Blob, Head, HeadId};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// How long a step of the index is waited for before the next look at it.
const PAUSE: Duration = Duration::from_millis(2);

/// The open journal with its index.
pub(crate) struct JournalStore {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) journal: Journal,
    pub(super) naming: Naming,
    pub(super) index: Arc<dyn Index>,
    pub(super) sizes: Sizes,
    /// Readers take these locks and no other, so that none waits for a sync.
    recent: Arc<RwLock<Recent>>,
    tally: Arc<RwLock<Tally>>,
    tail: Mutex<Tail>,
    /// Which file is being emptied. Taken before the tail.
    pub(super) moving: Mutex<Moving>,
    /// About how many bytes of the journal died that no sweep has counted.
    pub(super) suspected: AtomicU64,
    process: Process,
}

/// What the one writer changes.
pub(super) struct Tail {
    pub(super) head: Option<(HeadId, Location)>,
    checkpoint: Position,
    /// How much was written when the index was told last.
    told: u64,
    /// What the index is being told.
    step: Option<Running>,
    /// Files that were removed and that the index was not told of.
    pub(super) gone: Vec<u32>,
    /// A write failed with an unknown outcome.
    pub(super) broken: bool,
}

/// The file that is being emptied.
#[derive(Default)]
pub(super) struct Moving {
    /// The file, and from where on its blobs still lie in it.
    pub(super) from: Option<Position>,
    /// Files that cannot be emptied: something in them cannot be read.
    pub(super) stuck: BTreeSet<u32>,
}

impl JournalStore {
    /// Opens the journal in `dir`, which is there and may be empty, and brings `index` up to it.
    /// The key is that of its names, always the same.
    ///
    /// # Errors
    /// `Corrupt` if the journal is damaged before its end; `Io`, `Full`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        index: Arc<dyn Index>,
        naming_key: &[u8; NAMING_KEY_BYTES],
        sizes: Sizes,
    ) -> Result<Self> {
        let Summary { mark, head, files, synced, suspected } = index.summary()?;
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
                told: 0,
                step: None,
                gone: Vec::new(),
                broken: true,
            }),
            moving: Mutex::default(),
            // Of what an index does not tell nothing is known to live.
            suspected: AtomicU64::new(suspected.unwrap_or(u64::MAX)),
            process: Process::this(),
        };
        store.bring_up(&mut store.tail(), mark, synced)?;
        if suspected.is_none() && store.journal.end() == Position::FIRST {
            store.suspected.store(0, Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Finds out what the journal has beyond the index's mark, and has the index learn of it.
    fn bring_up(&self, tail: &mut Tail, mark: Position, synced: Position) -> Result<()> {
        // An index that lost its newest updates may still list files that were removed.
        let there: BTreeSet<u32> = self.journal.numbers()?.into_iter().collect();
        let listed = self.tally().numbers();
        tail.gone = listed.into_iter().filter(|file| !there.contains(file)).collect();
        tail.gone.iter().for_each(|file| self.tally_mut().forget(*file));
        for frame in self.journal.replay(mark, synced.max(mark))? {
            self.note(&frame.blobs);
            if !frame.whole {
                self.note_holes(&frame.blobs)?;
            }
            if let Some(head) = frame.head
                // The same head may stand twice: its file is removed where it stood first.
                && tail.head.is_none_or(|(there, _)| there <= head.0)
            {
                tail.head = Some(head);
            }
        }
        self.journal.set_number(|file| self.tally().count(file));
        tail.broken = false;
        // What was replayed may never have been synced.
        self.begin_step(tail)
    }

    /// Does what opening does, in place. The index goes on as it is: one that does not answer fails
    /// here.
    pub(super) fn open_again(&self) -> Result<()> {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tail = self.tail();
        tail.broken = true;
        if let Some(step) = tail.step.take() {
            // Whatever it came to: what the index says now counts.
            let _ = step.wait();
        }
        let Summary { mark, head, files, synced, .. } = self.index.summary()?;
        self.journal.open_again()?;
        *self.recent_mut() = Recent::default();
        *self.tally_mut() = Tally::new(files);
        *moving = Moving::default();
        let checkpoint = mark.max(Position::FIRST);
        *tail = Tail { head, checkpoint, told: 0, step: None, gone: Vec::new(), broken: true };
        self.bring_up(&mut tail, mark, synced).inspect_err(|_| tail.broken = true)
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent_mut(&self) -> impl DerefMut<Target = Recent> + '_ {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tally(&self) -> RwLockReadGuard<'_, Tally> {
        self.tally.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tally_mut(&self) -> impl DerefMut<Target = Tally> + '_ {
        self.tally.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes blobs in that the journal has.
    fn note(&self, blobs: &[(BlobName, Location)]) {
        let mut tally = self.tally_mut();
        tally.wrote(blobs.iter().map(|(_, at)| at));
        let mut elsewhere = blobs.iter().filter(|(name, at)| !self.says(name, *at)).peekable();
        if elsewhere.peek().is_none() {
            return;
        }
        let mut recent = self.recent_mut();
        for (name, at) in elsewhere {
            // Written twice: the later one is found, and nobody finds the other.
            if let Some(there) = recent.add(*name, *at) {
                tally.kill(there);
            }
        }
    }

    /// Whether a name says that its blob is there.
    pub(super) fn says(&self, name: &BlobName, at: Location) -> bool {
        let label = Position { file: at.file, offset: at.offset - LABEL as u64 };
        self.naming.hint(name).at == label
    }

    /// Whether the index says so, or that it is in a file that is gone.
    pub(super) fn is_indexed(&self, name: &BlobName, at: Location) -> Result<bool> {
        leads_to(&*self.index, &self.tally, name, at)
    }

    /// Finds out which of a frame's blobs were given back: nothing is left of their labels.
    fn note_holes(&self, blobs: &[(BlobName, Location)]) -> Result<()> {
        for (name, at) in blobs {
            if !self.journal.is_labelled(name, *at)? {
                self.tally_mut().kill(*at);
                self.recent_mut().forget(name, *at);
            }
        }
        Ok(())
    }

    /// Syncs the journal, tells the index of what is new in it, and makes the index durable.
    pub(super) fn checkpoint(&self, tail: &mut Tail) -> Result<()> {
        Self::await_step(tail)?;
        if self.is_behind(tail) {
            tail.checkpoint = self.step(tail)?.run()?;
        } else {
            self.sync(tail)?;
        }
        self.index.sync()
    }

    /// Whether there is what the index was never told.
    fn is_behind(&self, tail: &Tail) -> bool {
        tail.checkpoint != self.journal.end()
            || self.recent().waiting() > 0
            || self.tally().is_changed()
    }

    /// Begins a checkpoint, on a thread of its own if the index learns so and has something to
    /// learn.
    fn begin_step(&self, tail: &mut Tail) -> Result<()> {
        if !self.sizes.beside || !self.is_behind(tail) {
            return self.checkpoint(tail);
        }
        Self::await_step(tail)?;
        tail.step = Some(self.step(tail)?.spawn());
        Ok(())
    }

    pub(super) fn sync(&self, tail: &mut Tail) -> Result<Position> {
        // After a sync that failed the next one may succeed without having written anything.
        unknown_outcome(tail, |_| self.journal.sync())
    }

    /// Syncs the journal, and makes the next step of what the index lacks.
    fn step(&self, tail: &mut Tail) -> Result<Step> {
        let mark = self.sync(tail)?;
        let (names, dead) = self.recent_mut().take();
        tail.told = self.journal.written();
        let changed = self.tally().changed();
        let gone = std::mem::take(&mut tail.gone);
        Ok(Step {
            index: Arc::clone(&self.index),
            recent: Arc::clone(&self.recent),
            tally: Arc::clone(&self.tally),
            names,
            dead,
            mark,
            head: tail.head,
            changed,
            gone,
            suspected: self.suspected.load(Ordering::Relaxed),
        })
    }

    /// Waits for the step that is running, if any.
    fn await_step(tail: &mut Tail) -> Result<()> {
        if let Some(step) = tail.step.take() {
            tail.checkpoint = step.wait().inspect_err(|_| tail.broken = true)?;
        }
        Ok(())
    }

    /// Tells the index of a change, and of what files hold since.
    pub(super) fn tell(&self, update: Update) -> Result<()> {
        let update = Update { files: self.tally().changed(), ..update };
        self.index.apply(&update)?;
        self.tally_mut().told(&update.files);
        Ok(())
    }

    pub(super) fn is_there(&self, name: &BlobName, at: Location) -> Result<bool> {
        match self.journal.is_labelled(name, at) {
            Err(e) if e.kind() == ErrorKind::Corrupt => Ok(false),
            there => there,
        }
    }

    /// Makes a checkpoint if one is due. It comes after an append, where nothing can be taken
    /// back: any error of it says that the outcome is unknown, also a full disk.
    pub(super) fn checkpoint_if_due(&self, tail: &mut Tail) -> Result<()> {
        let Sizes { checkpoint_bytes, recent_max, .. } = self.sizes;
        if tail.step.as_ref().is_some_and(Running::is_finished) {
            unknown_outcome(tail, Self::await_step)?;
        }
        let since = self.journal.written() - tail.told;
        if since < checkpoint_bytes && self.recent().waiting() < recent_max {
            return Ok(());
        }
        unknown_outcome(tail, |tail| self.begin_step(tail))
    }

    /// The same for a caller that is in no hurry: writers go on while it waits for the step that
    /// is running.
    pub(super) fn checkpoint_patiently(&self) -> Result<()> {
        loop {
            {
                let mut tail = self.tail();
                check_whole(&tail, &self.dir)?;
                if tail.step.as_ref().is_none_or(Running::is_finished) {
                    return self.checkpoint_if_due(&mut tail);
                }
                if self.recent().waiting() < self.sizes.recent_max {
                    return Ok(());
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub(super) fn append(
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

    /// Ends the last file before it is full. `Full` changes nothing.
    pub(super) fn roll(&self, tail: &mut Tail) -> Result<()> {
        check_whole(tail, &self.dir)?;
        self.journal.roll().inspect_err(|e| tail.broken = e.kind() != ErrorKind::Full)
    }

    /// Where a blob lies that has the place of its name, with its bytes where they are `wanted`.
    pub(super) fn placed(
        &self,
        name: &BlobName,
        wanted: bool,
    ) -> Result<Option<(Location, Vec<u8>)>> {
        let hint = self.naming.hint(name);
        match self.journal.look(name, hint, wanted) {
            // It was emptied meanwhile, and removed.
            Err(e) if e.kind() == ErrorKind::Corrupt && self.journal.is_gone(hint.at.file)? => {
                Ok(None)
            }
            found => Ok(found?.filter(|(at, _)| !self.tally().is_dead(*at))),
        }
    }

    /// Where a blob lies that has another.
    pub(super) fn elsewhere(&self, name: &BlobName) -> Result<Option<Location>> {
        let recent = self.recent().get(name);
        // A name leaves `recent` only when the index has it.
        if recent.is_some() { Ok(recent) } else { self.index.get(name) }
    }

    /// Where a reader of a name finds its blob; `None` if its label is not there.
    pub(super) fn locate(&self, name: &BlobName) -> Result<Option<Location>> {
        if let Some((at, _)) = self.placed(name, false)? {
            return Ok(Some(at));
        }
        match self.elsewhere(name)? {
            Some(at) if self.is_there(name, at)? => Ok(Some(at)),
            _ => Ok(None),
        }
    }

    /// Has the index learn of all that the journal has, and lets writers go on meanwhile; says up
    /// to where it knows the journal then.
    pub(super) fn learn(&self) -> Result<Position> {
        let mut begun = false;
        loop {
            {
                let mut tail = self.tail();
                check_whole(&tail, &self.dir)?;
                if tail.step.as_ref().is_none_or(Running::is_finished) {
                    unknown_outcome(&mut tail, Self::await_step)?;
                    if begun {
                        return Ok(tail.checkpoint);
                    }
                    unknown_outcome(&mut tail, |tail| self.begin_step(tail))?;
                    begun = true;
                    continue;
                }
            }
            std::thread::sleep(PAUSE);
        }
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

pub(super) fn check_whole(tail: &Tail, dir: &Path) -> Result<()> {
    if tail.broken {
        return Err(Error::new(
            ErrorKind::Poisoned,
            format!("an earlier write to {} failed; open it again", dir.display()),
        ));
    }
    Ok(())
}

/// Runs what cannot be taken back: whatever fails in it, nobody knows what is durable.
pub(super) fn unknown_outcome<T>(
    tail: &mut Tail,
    f: impl FnOnce(&mut Tail) -> Result<T>,
) -> Result<T> {
    f(tail).map_err(|e| {
        tail.broken = true;
        if e.kind() == ErrorKind::Full {
            Error::new(ErrorKind::Io, e.to_string()).with_source(e)
        } else {
            e
        }
    })
}
