//! What the cell was told of the store's commits.

use std::time::Duration;

use crate::limits::TELL_EVERY;

#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    /// The highest commit that it was told of.
    pub(super) commit: u64,
    /// When it was last looked whether it is to be told of more, by the clock that nobody sets.
    pub(super) at: Duration,
}

impl Told {
    /// Whether it is time again.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.at + TELL_EVERY
    }
}
