//! Walks over the whole tree, and the erases that wait for them.

use std::sync::PoisonError;

use crate::catalogue::walk::{Pass, Walking};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Held shared by walks over the whole tree; an erase waits for them.
pub(super) struct Walks {
    gate: RwLock<()>,
    /// Erases that want the walks to stop.
    erasing: AtomicUsize,
}

/// The permission of one walk: an erase waits until it is dropped.
struct Held<'a> {
    walks: &'a Walks,
    _gate: RwLockReadGuard<'a, ()>,
}

/// No walk goes on while this is there.
pub(super) struct Halted<'a> {
    _gate: RwLockWriteGuard<'a, ()>,
}

impl Pass for Held<'_> {
    fn must_stop(&self) -> bool {
        self.walks.erasing.load(Ordering::Acquire) > 0
    }
}

impl Default for Walks {
    fn default() -> Self {
        Walks { gate: RwLock::new(()), erasing: AtomicUsize::new(0) }
    }
}

impl Walks {
    /// Permission to walk, until an erase wants to return.
    pub(super) fn begin(&self) -> Walking<'_> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        Walking::by(Held { walks: self, _gate: gate })
    }

    /// Whether no walk goes on that began before. One that begins later does so at a state that is
    /// at least as new as whatever the caller saw before it asked.
    pub(super) fn are_over(&self) -> bool {
        self.gate.try_write().is_ok()
    }

    /// Has walks stop, now and until [`Walks::wait`].
    pub(super) fn stop(&self) {
        self.erasing.fetch_add(1, Ordering::AcqRel);
    }

    /// Has walks end, and keeps others from beginning until what this gives is dropped. Only the
    /// one writer calls it.
    pub(super) fn halt(&self) -> Halted<'_> {
        self.stop();
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        // Where a writer panicked it may have left this behind.
        self.erasing.store(0, Ordering::Release);
        Halted { _gate: gate }
    }

    /// Waits until no walk holds a page, and lets walks begin again.
    pub(super) fn wait(&self) {
        drop(self.gate.write());
        self.erasing.fetch_sub(1, Ordering::AcqRel);
    }
}
