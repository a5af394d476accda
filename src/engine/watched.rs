//! An engine that only looks at a store: the owner, in another process, destroys root keys without asking it.
//!
//! It asks the cell whether its root key is still there: before each verb, before each piece of a record that it delivers, and, where it
//! has a keeper, every second. Once the key is gone it lets go of every key that it read under it.

use std::time::Duration;

use super::Inner;
use crate::cell::RootId;
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::LOOK_EVERY;
use crate::sealed::outlet::settle;
use crate::secret::WipeStack;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, locked};
use crate::tree::head::Prefix;

/// When an engine that only looks asked its cell last.
#[derive(Default)]
pub(super) struct Watched {
    asked: Mutex<Option<Duration>>,
    over: AtomicBool,
}

impl Inner {
    /// Of an engine that only looks: fails once its root key is gone from the cell.
    pub(super) fn check_watched(&self) -> Result<()> {
        if self.looks_only().is_none() {
            return Ok(());
        }
        if self.watched.over.load(Ordering::Acquire) {
            return Err(look_over(&self.store().place()));
        }
        let now = self.options.env.monotonic();
        {
            let mut asked = locked(&self.watched.asked);
            let every = self.cell.look_every();
            if asked.is_some_and(|at| now >= at && now - at < every) {
                return Ok(());
            }
            *asked = Some(now);
        }
        let _wiped = WipeStack;
        let root = self.root_id()?;
        let contents =
            self.cell.load().map_err(|e| e.context("whether the root key of what is looked at is still there"))?;
        // Where keyholders did not answer, nothing is known.
        if contents.unheard.is_some() || contents.keys.iter().any(|key| key.id == root) {
            return Ok(());
        }
        self.end_look();
        Err(look_over(&self.store().place()))
    }

    fn root_id(&self) -> Result<RootId> {
        Prefix::decode(&self.state().stored.bytes).map(|prefix| prefix.root_id())
    }

    /// Lets go of every key.
    fn end_look(&self) {
        self.watched.over.store(true, Ordering::Release);
        let outlets = self.close_all_readers();
        self.cache.clear();
        // What is held at this moment is let go of by the call that holds it, which fails at its next page.
        if let Ok(mut state) = self.state.try_write() {
            state.head.forget_keys();
        }
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.root.key = Key::copied_from(&[0; 32]);
        }
        settle(&outlets);
    }
}

pub(super) fn look_over(place: &str) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!(
            "the root key under which {place} was opened to look at it is destroyed: something was erased since; look at a copy that holds what lives now"
        ),
    )
}

/// Has an engine that only looks ask its cell, until it ends.
pub(super) fn watch(inner: &Inner) {
    // A cell that does not answer is asked again.
    while !matches!(inner.check_watched(), Err(e) if e.kind() == ErrorKind::Mismatch)
        && inner.bell.wait(Some(LOOK_EVERY))
    {}
}
