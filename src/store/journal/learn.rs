//! How the index learns: blobs that the journal has and the index lacks, and the steps in which
//! that changes.
//!
//! A step runs on a thread of its own, so that no writer waits for 65,536 insertions. Whatever it
//! has not done when the process ends is done again by the next open.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::frame::{Location, Position};
use super::index::{Index, Update};
use super::tally::{Blobs, Tally};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::HeadId;
use crate::sync::RwLock;

/// Places of blobs by their names.
pub(super) type Names = BTreeMap<BlobName, Location>;

/// Blobs in the journal and not yet in the index whose names do not say where they are.
#[derive(Default)]
pub(super) struct Recent {
    new: Names,
    /// Blobs that the running step is about.
    learning: Arc<Names>,
    /// Blobs that nothing leads to any more and that the index may have.
    dead: Vec<Dead>,
}

/// A name that an index lets go of: wherever it says that the blob is, or only if it says this
/// place, since the name may lead to another.
pub(super) type Dead = (BlobName, Option<Location>);

impl Recent {
    pub(super) fn get(&self, name: &BlobName) -> Option<Location> {
        self.new.get(name).or_else(|| self.learning.get(name)).copied()
    }

    /// Names that no step is about.
    pub(super) fn waiting(&self) -> usize {
        self.new.len() + self.dead.len()
    }

    /// Takes a blob in; gives where it was before, if no step is about that.
    pub(super) fn add(&mut self, name: BlobName, at: Location) -> Option<Location> {
        self.new.insert(name, at)
    }

    /// Forgets a blob that is not there any more.
    pub(super) fn forget(&mut self, name: &BlobName, at: Location) {
        if self.new.get(name) == Some(&at) {
            self.new.remove(name);
        }
    }

    /// Forgets a blob that nothing leads to any more, and has the next step take it out of the
    /// index. A step that goes on may be putting it in.
    pub(super) fn bury(&mut self, (name, at): Dead) {
        match at {
            Some(at) => self.forget(&name, at),
            None => _ = self.new.remove(&name),
        }
        self.dead.push((name, at));
    }

    /// What the next step is about. What a step that failed leaves is older than what is new.
    pub(super) fn take(&mut self) -> (Arc<Names>, Vec<Dead>) {
        let mut all = Arc::unwrap_or_clone(std::mem::take(&mut self.learning));
        all.append(&mut self.new);
        self.learning = Arc::new(all);
        (Arc::clone(&self.learning), std::mem::take(&mut self.dead))
    }
}

/// Tells the index of what the journal holds between two marks.
pub(super) struct Step {
    pub(super) index: Arc<dyn Index>,
    pub(super) recent: Arc<RwLock<Recent>>,
    pub(super) tally: Arc<RwLock<Tally>>,
    /// Blobs up to the mark that the index lacks.
    pub(super) names: Arc<Names>,
    /// Blobs that it is to let go of.
    pub(super) dead: Vec<Dead>,
    /// Up to where the index will know the journal.
    pub(super) mark: Position,
    pub(super) head: Option<(HeadId, Location)>,
    /// What files hold at the mark, if that changed.
    pub(super) changed: BTreeMap<u32, Blobs>,
    /// Files that were removed.
    pub(super) gone: Vec<u32>,
    /// What is believed to have died.
    pub(super) suspected: u64,
}

impl Step {
    /// Tells the index, and returns the mark up to which it knows the journal then.
    pub(super) fn run(mut self) -> Result<Position> {
        let names = self.changes()?;
        let before = self.index.change(&names)?;
        {
            let mut tally = self.tally.write().unwrap_or_else(PoisonError::into_inner);
            for ((_, at), before) in names.iter().zip(before) {
                // Written twice: the index finds the later one, and nothing finds the other.
                if let (Some(at), Some(there)) = (at, before)
                    && there != *at
                {
                    tally.kill_in(&mut self.changed, there);
                }
            }
        }
        let update = Update {
            files: self.changed,
            gone: self.gone,
            head: self.head,
            mark: Some(self.mark),
            suspected: Some(self.suspected),
            ..Update::default()
        };
        self.index.apply(&update)?;
        self.tally.write().unwrap_or_else(PoisonError::into_inner).told(&update.files);
        self.recent.write().unwrap_or_else(PoisonError::into_inner).learning = Arc::default();
        Ok(self.mark)
    }

    /// Where names lead to from now on. One that died and was put again since leads there.
    fn changes(&self) -> Result<Vec<(BlobName, Option<Location>)>> {
        let mut changes = BTreeMap::new();
        for (name, at) in &self.dead {
            let goes = match at {
                Some(at) => leads_to(&*self.index, &self.tally, name, *at)?,
                None => true,
            };
            if goes {
                changes.insert(*name, None);
            }
        }
        changes.extend(self.names.iter().map(|(name, at)| (*name, Some(*at))));
        Ok(changes.into_iter().collect())
    }

    fn run_and_sync(self) -> Result<Position> {
        let index = Arc::clone(&self.index);
        let mark = self.run()?;
        index.sync()?;
        Ok(mark)
    }

    /// Runs on a thread of its own; if there can be none, before this returns.
    pub(super) fn spawn(self) -> Running {
        let work = Arc::new(std::sync::Mutex::new(Some(self)));
        let theirs = Arc::clone(&work);
        let take = |work: &std::sync::Mutex<Option<Step>>| {
            work.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let thread = std::thread::Builder::new()
            .name("keyfall-index".into())
            .spawn(move || take(&theirs).map_or_else(|| Err(ended()), Step::run_and_sync));
        match thread {
            Ok(thread) => Running::Thread(thread),
            Err(_) => Running::Done(take(&work).map_or_else(|| Err(ended()), Step::run_and_sync)),
        }
    }
}

/// Whether an index has this place of a name, or one in a file that is gone.
pub(super) fn leads_to(
    index: &dyn Index,
    tally: &RwLock<Tally>,
    name: &BlobName,
    at: Location,
) -> Result<bool> {
    let Some(there) = index.get(name)? else { return Ok(false) };
    let tally = tally.read().unwrap_or_else(PoisonError::into_inner);
    Ok(there == at || !tally.has(there.file))
}

/// A step that was begun.
pub(super) enum Running {
    Thread(JoinHandle<Result<Position>>),
    Done(Result<Position>),
}

impl Running {
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Done(_) => true,
        }
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Result<Position> {
        match self {
            Running::Thread(thread) => thread.join().unwrap_or_else(|_| Err(ended())),
            Running::Done(mark) => mark,
        }
    }
}

fn ended() -> Error {
    Error::new(
        ErrorKind::Io,
        "the thread that tells the index of new blobs ended early; open the store again",
    )
}
