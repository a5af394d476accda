//! Which place of a store owns the root cell.

use std::sync::Arc;

use crate::engine::beat::beat;
use crate::engine::core::Core;
use crate::engine::run_due::owes;
use crate::error::Result;
use crate::secret::WipeStack;

/// Whether this place of the store owns the root cell
/// ([`Engine::ownership`](crate::Engine::ownership)).
#[derive(Clone, Copy, Debug)]
pub struct Ownership<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Ownership<'_> {
    /// What this place is known to lack, in words: the root cell was told of a later commit than
    /// its head's, so puts and erases are missing here, and erases that were pending do not become
    /// final. `None` if nothing is known to be missing. A take-over has the cell forget that
    /// commit: the engine that took the store over tells it until it is past it, a later one does
    /// not know.
    pub fn lacks(&self) -> Option<String> {
        self.inner.lacks()
    }

    /// Whether this place of the store owns the root cell, or could claim it without taking it
    /// over.
    pub fn may_own(&self) -> bool {
        self.inner.may_own()
    }

    /// Leaves a sign of life in a store that machines share, if nothing was committed since this
    /// was called last: with [`Options::beat`](crate::Options::beat) and a keeper of its own
    /// ([`Keeper::Thread`](crate::engine::Keeper::Thread)) the engine does it itself. Elsewhere it
    /// does nothing.
    ///
    /// # Errors
    /// `Fenced` once another engine owns the store; `Poisoned`; `Io`.
    pub fn beat(&self) -> Result<()> {
        beat(self.inner)
    }

    /// Whether something is due or unfinished that only the owner may do, and this place of the
    /// store could be the owner: open it as such then.
    ///
    /// # Errors
    /// As [`Engine::list`](crate::Engine::list).
    pub fn owes(&self) -> Result<bool> {
        let _wiped = WipeStack;
        owes(self.inner)
    }
}
