//! How the index learns: blobs that the log has and the index has not, and the steps in which that changes.
//!
//! A step runs on a thread of its own, so that nobody waits for 65,536 insertions. Whatever it has not done when the
//! process ends is done again by the next open.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::frames::{Location, Position};
use super::index::{Index, Update};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::HeadId;
use crate::sync::RwLock;

/// Where blobs are.
pub(super) type Names = BTreeMap<BlobName, Location>;

/// In the log and not yet in the index.
#[derive(Default)]
pub(super) struct Recent {
    new: Names,
    /// Those that a step is about.
    learning: Arc<Names>,
}

impl Recent {
    pub(super) fn get(&self, name: &BlobName) -> Option<Location> {
        self.new.get(name).or_else(|| self.learning.get(name)).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.new.len() + self.learning.len()
    }

    /// Blobs that no step is about.
    pub(super) fn waiting(&self) -> usize {
        self.new.len()
    }

    pub(super) fn extend(&mut self, blobs: impl IntoIterator<Item = (BlobName, Location)>) {
        self.new.extend(blobs);
    }

    /// At most `limit` names from `from` on, of each of the two, in no order.
    pub(super) fn names(&self, from: &BlobName, limit: usize) -> Vec<BlobName> {
        let of = |names: &Names| names.range(from..).take(limit).map(|(name, _)| *name).collect::<Vec<_>>();
        [of(&self.new), of(&self.learning)].concat()
    }

    /// What the next step is about. What a step that failed leaves is older than what is new.
    pub(super) fn take(&mut self) -> Arc<Names> {
        let mut all = Arc::unwrap_or_clone(std::mem::take(&mut self.learning));
        all.append(&mut self.new);
        self.learning = Arc::new(all);
        Arc::clone(&self.learning)
    }
}

/// Tells the index of what the log holds between two marks.
pub(super) struct Step {
    pub(super) index: Arc<dyn Index>,
    pub(super) recent: Arc<RwLock<Recent>>,
    /// All blobs between the marks.
    pub(super) names: Arc<Names>,
    /// Up to where the index knew the log, and will know it.
    pub(super) marks: (Position, Position),
    pub(super) head: Option<(HeadId, Location)>,
    /// Live blobs in each file of the log, up to the first mark.
    pub(super) live: BTreeMap<u32, u64>,
}

/// How a step ended: its second mark, and the counts there.
pub(super) struct Learned {
    pub(super) mark: Position,
    pub(super) live: BTreeMap<u32, u64>,
}

impl Step {
    /// Counts move with the mark, so an entry from behind the first mark, of a step that was cut short, is in no count.
    pub(super) fn run(mut self) -> Result<Learned> {
        let (from, mark) = self.marks;
        let names: Vec<_> = self.names.iter().map(|(name, at)| (*name, *at)).collect();
        let before = self.index.insert(&names)?;
        let mut touched = BTreeMap::new();
        for ((_, at), before) in names.iter().zip(before) {
            if let Some(there) = before.filter(|there| there.position() < from) {
                *touched.entry(there.file).or_insert(0i64) -= 1;
            }
            *touched.entry(at.file).or_insert(0) += 1;
        }
        let live = counted(&mut self.live, touched);
        self.index.apply(&Update { live, head: self.head, mark: Some(mark), ..Update::default() })?;
        self.recent.write().unwrap_or_else(PoisonError::into_inner).learning = Arc::default();
        Ok(Learned { mark, live: self.live })
    }

    fn run_and_sync(self) -> Result<Learned> {
        let index = Arc::clone(&self.index);
        let learned = self.run()?;
        index.sync()?;
        Ok(learned)
    }

    /// Runs on a thread of its own; where there can be none, before this returns.
    pub(super) fn spawn(self) -> Running {
        let work = Arc::new(std::sync::Mutex::new(Some(self)));
        let theirs = Arc::clone(&work);
        let take = |work: &std::sync::Mutex<Option<Step>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = std::thread::Builder::new()
            .name("keyfall-index".into())
            .spawn(move || take(&theirs).map_or_else(|| Err(ended()), Step::run_and_sync));
        match thread {
            Ok(thread) => Running::Thread(thread),
            Err(_) => Running::Done(take(&work).map_or_else(|| Err(ended()), Step::run_and_sync)),
        }
    }
}

/// A step that was begun.
pub(super) enum Running {
    Thread(JoinHandle<Result<Learned>>),
    Done(Result<Learned>),
}

impl Running {
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Done(_) => true,
        }
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Result<Learned> {
        match self {
            Running::Thread(thread) => thread.join().unwrap_or_else(|_| Err(ended())),
            Running::Done(learned) => learned,
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Io, "the thread that tells the index of new blobs ended early; open the store anew")
}

/// Changes counts of live blobs; returns those that changed.
pub(super) fn counted(live: &mut BTreeMap<u32, u64>, touched: BTreeMap<u32, i64>) -> BTreeMap<u32, u64> {
    let mut changed = BTreeMap::new();
    for (file, by) in touched {
        let n = live.entry(file).or_insert(0);
        *n = n.saturating_add_signed(by);
        changed.insert(file, *n);
    }
    changed
}
