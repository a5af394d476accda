//! The time, as a rule takes it.

use std::time::Duration;

use crate::ids::Timestamp;
use crate::limits::{CLOCK_SKEW, CLOCK_TRUST};
use crate::policy::millis;

/// One look at the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The time that the clock shows.
    pub(crate) now: Timestamp,
    /// What the time is at least, as far as the clock was believed.
    pub(crate) known: Timestamp,
    /// What it is at least whatever the clock showed since the last commit.
    pub(crate) certain: Timestamp,
    /// Whether it is too far ahead to erase anything by it that nobody asked for now.
    pub(crate) doubted: bool,
    /// Whether the clock is as far behind the known time.
    pub(crate) behind: bool,
}

impl Reading {
    /// By which scheduled work is done.
    pub(crate) fn due(&self) -> Timestamp {
        if self.doubted { self.known } else { self.now }
    }

    /// For what may happen early and not late; and where a clock that was set back must not count.
    pub(crate) fn latest(&self) -> Timestamp {
        self.now.max(self.known)
    }

    /// Up to when an erase fences for good: a clock that was ahead must not refuse what comes when
    /// it is right again. It was ahead when the time that is known was written, too, where that
    /// lies ahead by more than clocks do.
    pub(crate) fn sure(&self) -> Timestamp {
        let was_ahead = self.known > later(self.now, CLOCK_TRUST);
        let shown = if was_ahead { self.now } else { self.latest() };
        shown.min(later(self.certain, CLOCK_TRUST))
    }

    /// The latest beginning of an interaction that is taken.
    pub(crate) fn horizon(&self) -> Timestamp {
        later(self.latest(), CLOCK_SKEW)
    }
}

/// When a change is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The epoch that begins with an erase in it, or when that is final.
    pub(crate) epoch: u64,
    /// The look at the clock that all of it goes by.
    pub(crate) clock: Reading,
}

/// The time `by` after `at`; saturates.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(millis(by)))
}
