//! What the cell was told of the store's commits.

use std::time::Duration;

use crate::limits::TELL_EVERY;

#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    /// The highest commit that it was told of.
    pub(super) commit: u64,
    /// When, or when that was tried, by the clock that nobody sets.
    pub(super) at: Duration,
}

impl Told {
    /// Whether it is to be told of this commit now.
    pub(super) fn lacks(&self, commit: u64, now: Duration) -> bool {
        commit > self.commit && now >= self.at + TELL_EVERY
    }
}
