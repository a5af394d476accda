//! The end of an engine.

use std::sync::Arc;

use super::core::Core;
use super::paved::Engine;
use super::ready::ready;
use crate::error::{Error, ErrorKind, Result};
use crate::promise::{Awaited, Finality};
use crate::sync::atomic::Ordering;

impl Engine {
    /// Whether an earlier write failed with an unknown outcome: every further call is `Poisoned`
    /// then, until [`Engine::reopen`] has found out what became of that write, and finished or
    /// undone it. If that fails, close this engine and open the store again.
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    /// Closes the store and its cell, so that they can be opened again at once, here or in another
    /// process, and says whether all is settled: `Final` if every erase is, else what is awaited
    /// (the end of a window, keyholders, a copy in step that is away, what the next engine to open
    /// the store finds out of a write that failed). What this engine had not finished it tries once
    /// more. Dropping the last handle closes too, and says nothing.
    ///
    /// # Errors
    /// `Locked` if something else still holds the engine, with what that is. This handle is gone
    /// all the same: the store is closed when the others are dropped.
    pub fn close(self) -> Result<Finality> {
        let Engine { inner, _keeper: keeper } = self;
        // Other engines keep the thread, and the thread keeps what it works on.
        let engines = keeper.as_ref().map(|keeper| (Arc::strong_count(keeper) - 1, keeper.holds()));
        drop(keeper);
        match Arc::try_unwrap(inner) {
            Ok(inner) => {
                let settled = last_word(&inner);
                inner.store().rest();
                drop(inner);
                Ok(settled)
            }
            Err(inner) => Err(still_held(&inner, engines)),
        }
    }
}

/// How far the erases of an engine are that ends.
fn last_word(core: &Core) -> Finality {
    if core.poisoned.load(Ordering::Acquire) {
        let why = "an earlier write failed with an unknown outcome; the next engine to open the \
                   store finds out, and finishes or undoes it";
        return Finality::of(vec![Awaited::Engine(why.to_owned())]);
    }
    if core.looks_only().is_none()
        && let Err(e) = ready(core, &mut core.writer())
    {
        core.note_unfinished(&e.to_string());
    }
    core.finality()
}

/// `engines`: how many other handles there are, and how many the keeper has with its threads, where
/// that is known.
fn still_held(inner: &Arc<Core>, engines: Option<(usize, usize)>) -> Error {
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let others = Arc::strong_count(inner) - 1;
    let by = match engines {
        Some(told) => {
            let engines = told.0;
            let kept = if engines > 0 { told.1 } else { 0 };
            let rest = others.saturating_sub(engines + kept);
            let parts = [(engines, "Engine"), (rest, "Reader, Opening or Batch")];
            let parts = parts.into_iter().filter(|part| part.0 > 0).map(|part| match part {
                (n, "Reader, Opening or Batch") if n > 1 => {
                    format!("{n} Readers, Openings or Batches")
                }
                (n, what) => counted(n, what),
            });
            parts.collect::<Vec<_>>().join(" and ")
        }
        None => format!("{} (an Engine, Reader, Opening or Batch)", counted(others, "handle")),
    };
    let by = if by.is_empty() { "a handle that is being dropped".to_owned() } else { by };
    let text = format!("{} is still open, held by {by}; drop what holds it", inner.store().place());
    Error::new(ErrorKind::Locked, text)
}
