//! Erasing: drop the pointers, rekey the path, have the cell destroy the old root key. Scopes that wait at once share
//! one commit.

use super::{Engine, Erasure, erases, group};
use crate::cell::Retirement;
use crate::error::Result;
use crate::scope::Erase;
use crate::secret::WipeStack;

impl Engine {
    /// Erases a scope and returns when it is complete: the new pages are durable on every copy in step, the old root
    /// key is destroyed as far as the cell promises, no reader delivers a byte of the scope any more.
    ///
    /// # Errors
    /// `Absent` for a record of a user who is not here, or of a life to come: its id is never given, so nothing can arrive under it. Anything
    /// else that is not here is erased all the same, with no records: what is on its way is refused. `Held` where a hold covers some of it, or a
    /// held record was derived from some of it; `Invalid` for an empty range, or for keeping without a reason; `Copy` where a copy in step is out of reach: the old root key stays until it is back or removed; `Io`,
    /// `Full`.
    pub fn erase(&self, erase: impl Into<Erase>) -> Result<Erasure> {
        let _wiped = WipeStack;
        self.inner.process.check()?;
        group::erase(&self.inner, erase.into())
    }

    /// Begins an epoch without erasing anything: a fresh root key, and every older one destroyed. What was pending becomes final, and a
    /// keyholder that had no share gets one.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub fn rekey(&self) -> Result<Retirement> {
        let _wiped = WipeStack;
        erases::rekey(&self.inner)
    }

    /// Does many erases in one commit, each with an outcome of its own.
    pub fn erase_all<E: Clone + Into<Erase>>(&self, erases: &[E]) -> Vec<Result<Erasure>> {
        let _wiped = WipeStack;
        if let Err(e) = self.inner.process.check() {
            return erases.iter().map(|_| Err(e.copy())).collect();
        }
        let erases: Vec<Erase> = erases.iter().cloned().map(Into::into).collect();
        let mut writer = self.inner.writer();
        erases::erase_all(&self.inner, &mut writer, &erases.iter().collect::<Vec<_>>())
    }
}

