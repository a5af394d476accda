//! Openings: a record that somebody opens once, on record, and reads any number of times.

use std::sync::Arc;
use std::time::Duration;

use super::lineage::note_access;
use super::records::open_in;
use crate::catalogue::defect::Defect;
use crate::engine::core::Core;
use crate::engine::reader::Reader;
use crate::engine::readers::By;
use crate::engine::term::Term;
use crate::error::Result;
use crate::ids::RecordId;
use crate::observer::ClosedBy;
use crate::secret::WipeStack;

/// A record that was opened by name ([`Engine::open_as`](crate::Engine::open_as)): one line in the
/// report, however many readers and seeks follow.
///
/// It ends when it is closed, when it expires, ten minutes after it began unless
/// [`Opening::lasting`] says otherwise, or when the record falls. From then on each read of its
/// readers fails, also of those that are in the middle: with `Erased` if the record fell, with
/// `Refused` otherwise. A clock that is set back does not lengthen it. It is kept in memory alone,
/// and ends with the engine; the line stays.
///
/// Cheap to clone; all clones are one opening. Dropping the last of them closes nothing: readers
/// go on until it expires.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// # let put = Put::new(UserId::new("ada")?, Class::audio());
/// # let id = engine.put(put, &b"RIFF...."[..])?;
/// let opening = engine.open_as(&id, "support", "a complaint")?;
/// for _request in 0..3 {
///     opening.reader()?.write_to(&mut std::io::sink())?;
/// }
/// opening.close();
/// assert_eq!(engine.accesses(&id)?.len(), 1);
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone)]
pub struct Opening {
    inner: Arc<Core>,
    id: RecordId,
    term: Arc<Term>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening({})", self.id)
    }
}

impl Opening {
    /// The record.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// Opens a reader of the record. Nothing is recorded for it.
    ///
    /// # Errors
    /// `Refused` if the opening expired or was closed; as [`Engine::get`](crate::Engine::get).
    pub fn reader(&self) -> Result<Reader> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_readable()?;
        let by = || By::Opening(Arc::clone(&self.term));
        let reader = inner.look_at(|_, view| open_in(inner, view, &self.id, true, by()))?;
        self.left()?;
        Ok(reader)
    }

    /// Has it last for so long from when it began: a day at most. It does not bring back one that
    /// is over.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        self.term.set(time, &*self.inner.options.env);
        self
    }

    /// How long it still lasts, unless the record falls before.
    ///
    /// # Errors
    /// `Refused` if it expired or was closed.
    pub fn left(&self) -> Result<Duration> {
        self.term.left(&*self.inner.options.env)
    }

    /// Closes it: no reader of it delivers a byte once this has returned. As an erase does, it
    /// waits a twentieth of a second at most for a writer that is being written to.
    pub fn close(&self) {
        self.term.close();
        let closed = self.inner.readers.close_opening(&self.term);
        self.inner.observing.readers_closed(closed, ClosedBy::Opening);
        self.inner.observing.deliver();
    }
}

pub(super) fn open_as(
    inner: &Arc<Core>,
    id: &RecordId,
    principal: &str,
    purpose: &str,
) -> Result<Opening> {
    if !inner.planted(Defect::OpenUnrecorded) {
        note_access(inner, id, principal, purpose)?;
    }
    let clock = inner.reading(&inner.state());
    let term = Arc::new(Term::begin(*id, clock, &*inner.options.env));
    Ok(Opening { inner: Arc::clone(inner), id: *id, term })
}
