//! Where an open engine counts the time from, by a clock that nobody sets.

use std::time::Duration;

use super::options::Options;
use crate::catalogue::moment::{Reading, later};
use crate::env::Env;
use crate::ids::Timestamp;
use crate::tree::head::HeadPage;

/// What the clock that nobody sets showed when the engine was opened, or told that its clock is
/// right.
pub(super) struct Anchor {
    /// What the clock showed, if that was believed.
    at: Timestamp,
    /// The time of the last commit before that.
    time: Timestamp,
    since: Duration,
}

impl Anchor {
    pub(super) fn new(head: &HeadPage, options: &Options) -> Self {
        let (now, since) = (options.env.now(), options.env.monotonic());
        let believed = options.clock_is_right || now <= later(head.time, options.clock_jump);
        let at = if believed { now.max(head.time) } else { head.time };
        Anchor { at, time: if options.clock_is_right { at } else { head.time }, since }
    }

    /// From a time that somebody said is right.
    pub(super) fn believed(now: Timestamp, env: &dyn Env) -> Self {
        Anchor { at: now, time: now, since: env.monotonic() }
    }

    /// A look at the clock, while `head` is the newest.
    pub(super) fn reading(&self, head: &HeadPage, options: &Options) -> Reading {
        let now = options.env.now();
        let counted = options.env.monotonic().saturating_sub(self.since);
        let known = later(self.at, counted).max(head.time);
        let certain = later(self.time, counted).max(head.time);
        let jump = options.clock_jump;
        let (doubted, behind) = (now > later(known, jump), later(now, jump) < known);
        Reading { now, known, certain, doubted, behind }
    }
}

/// A time that was known at a moment, from which a clock that nobody sets counts on: it is later
/// now at least by that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    at: Timestamp,
    since: Duration,
}

impl Floor {
    /// The latest that is known now.
    pub(super) fn of(clock: Reading, env: &dyn Env) -> Self {
        Floor { at: clock.latest(), since: env.monotonic() }
    }

    /// What the time is: the clock may have been set back.
    pub(super) fn now(&self, env: &dyn Env) -> Timestamp {
        env.now().max(later(self.at, env.monotonic().saturating_sub(self.since)))
    }
}
