//! Discard: gives back the space of blobs that the root no longer reaches. Erasure never waits for it.
//!
//! Bounded memory: the tree is walked once per window of names, a window holding at most `WINDOW` live names. Blobs
//! that are new or not yet published are left alone, so that writers need not stop.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::pages::SharedStore;
use super::walk::{Step, Walked, walk};
use super::{Engine, locked};
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::secret::WipeStack;

/// Live names in one window: 16 MiB of them, twice while a window is cut.
const WINDOW: usize = 1 << 20;
/// Names asked of a store at once.
const PAGE: usize = 4096;

/// What a discard gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// The commit whose tree it left: what died in it, or before, is gone from the store.
    pub commit: u64,
    /// Blobs that nothing reached.
    pub blobs: u64,
    /// Bytes on the medium before, in the store and its copies.
    pub bytes_before: u64,
    /// Bytes on the medium after.
    pub bytes_after: u64,
    /// Copies passed over, since they are out of reach or not at the store's state.
    pub copies_skipped: u64,
}

/// How far long work has come: blobs looked at.
pub type Progress<'p> = &'p mut dyn FnMut(u64);

impl Engine {
    /// Removes from the store, and from every copy that is at the store's state, each blob that the root does not
    /// reach. Stopped at any moment it has done a part of its work and no harm.
    ///
    /// # Errors
    /// `Io`, `Corrupt` where a live page cannot be read (nothing more is removed then).
    pub fn discard(&self, progress: Progress<'_>) -> Result<Discarded> {
        let _wiped = WipeStack;
        self.discard_in_windows(WINDOW, progress)
    }

    pub(crate) fn discard_in_windows(&self, window: usize, progress: Progress<'_>) -> Result<Discarded> {
        let inner = &self.inner;
        inner.check_usable()?;
        let _one_at_a_time = locked(&inner.discarding);
        let mut done = Discarded { commit: self.head().commit, ..Discarded::default() };
        let known = inner.state().head.copies.len() as u64;
        let mut places: Vec<SharedStore> = vec![inner.store().clone()];
        for copy in self.reachable_copies() {
            if copy.head().ok().flatten().map(|h| h.id) == Some(self.head()) {
                places.push(copy);
            }
        }
        done.copies_skipped = known + 1 - places.len() as u64;
        for place in &places {
            done.bytes_before += place.usage()?.bytes;
        }
        locked(&inner.names).since = Some(HashMap::new());
        let swept = self.sweep(window, &places, &mut done, progress);
        locked(&inner.names).since = None;
        if swept.is_err() {
            inner.writer().copies.iter_mut().for_each(super::copies::Attached::let_go);
        }
        swept?;
        for place in &places {
            done.bytes_after += place.usage()?.bytes;
        }
        Ok(done)
    }

    fn sweep(&self, window: usize, places: &[SharedStore], done: &mut Discarded, progress: Progress<'_>) -> Result<()> {
        let mut low = BlobName::FIRST;
        let mut looked = 0;
        loop {
            let (live, high) = self.live_names(low, window)?;
            for place in places {
                let mut from = low;
                loop {
                    let names = place.names(&from, PAGE)?;
                    let within: Vec<BlobName> = names.iter().copied().filter(|n| *n <= high).collect();
                    looked += within.len() as u64;
                    progress(looked);
                    let dead: Vec<BlobName> = {
                        let used = locked(&self.inner.names);
                        let kept = |n: &BlobName| {
                            live.binary_search(n).is_ok()
                                || used.in_flight.contains_key(n)
                                || used.since.as_ref().is_some_and(|s| s.contains_key(n))
                        };
                        within.iter().copied().filter(|n| !kept(n)).collect()
                    };
                    if !dead.is_empty() {
                        let removed = place.remove(&dead);
                        // A store that failed here may refuse every later write until it is opened anew.
                        if Arc::ptr_eq(place, self.inner.store()) {
                            self.inner.judged(removed)?
                        } else {
                            removed?
                        }
                        done.blobs += dead.len() as u64;
                    }
                    match (names.last(), within.len() == PAGE) {
                        (Some(last), true) => match last.next() {
                            Some(next) => from = next,
                            None => break,
                        },
                        _ => break,
                    }
                }
            }
            match high.next() {
                Some(next) => low = next,
                None => return Ok(()),
            }
        }
    }

    /// The smallest live names from `low` on, sorted, and the last name they speak for.
    fn live_names(&self, low: BlobName, window: usize) -> Result<(Vec<BlobName>, BlobName)> {
        const LAST: BlobName = BlobName([0xFF; 16]);
        let inner = &self.inner;
        loop {
            let leave = inner.walking();
            let (roots, id) = {
                let state = inner.state();
                (state.head.roots.duplicate(), state.stored.id)
            };
            let pages = inner.uncached_pages();
            let (mut names, mut high) = (Vec::new(), LAST);
            let mut take = |name: BlobName| {
                if !(low..=high).contains(&name) {
                    return;
                }
                names.push(name);
                if names.len() >= 2 * window {
                    names.select_nth_unstable(window - 1);
                    names.truncate(window);
                    high = names[window - 1];
                }
            };
            let walked = walk(&leave, &pages, &roots, &mut |step| {
                match step {
                    Step::Enter { at, .. } => take(at.name),
                    Step::Record { entry, .. } => entry.segment_names().for_each(&mut take),
                    Step::Leave { .. } => {}
                }
                Ok(ControlFlow::Continue(()))
            });
            drop((roots, leave));
            match walked {
                Ok(Walked::Whole) => {
                    names.sort_unstable();
                    if names.len() > window {
                        names.truncate(window);
                        high = names[window - 1];
                    }
                    return Ok((names, high));
                }
                Ok(Walked::Interrupted) => crate::sync::yield_now(),
                Err(e) if e.kind() == ErrorKind::Corrupt && inner.state().stored.id != id => {}
                Err(e) => return Err(e),
            }
        }
    }
}
