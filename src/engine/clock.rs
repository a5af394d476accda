//! What the engine makes of the clock. One reading may be wrong: it has nothing erased by itself then, and blocks no put once
//! the clock is right again.
//!
//! The head keeps the time of the last commit whose clock was believed. A clock further ahead of that than
//! [`Options::clock_jump`] is *doubted*: what is due by itself is done as of the time that is known, and the time in the head
//! stays, until the clock is right again or somebody says that it is ([`Engine::trust_clock`]). While an engine is open, a clock
//! that nobody sets counts on from there.

use std::time::Duration;

use super::commit::Change;
use super::{Engine, Inner, Options, State};
use crate::env::Env;
use crate::error::Result;
use crate::ids::Timestamp;
use crate::limits::{CLOCK_NOTED, CLOCK_SKEW, CLOCK_TRUST};
use crate::policy::millis;
use crate::secret::WipeStack;
use crate::sync::locked;
use crate::tree::head::HeadPage;

/// Where an open engine counts from: what the clock that nobody sets showed then.
pub(super) struct Anchor {
    /// What the clock showed, if that was believed.
    at: Timestamp,
    /// The last commit before.
    time: Timestamp,
    since: Duration,
}

/// One look at the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// What it shows.
    pub(super) now: Timestamp,
    /// What the time is at least, as far as the clock was believed.
    known: Timestamp,
    /// What it is at least whatever the clock showed since the last commit.
    certain: Timestamp,
    /// Whether it is too far ahead to erase anything by it that nobody asked for now.
    pub(super) doubted: bool,
}

/// A time that was known at a moment, from which a clock that nobody sets counts on: it is later now at least by that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    at: Timestamp,
    since: Duration,
}

impl Floor {
    /// What the time is: the clock may have been set back.
    pub(super) fn now(&self, env: &dyn Env) -> Timestamp {
        env.now().max(later(self.at, env.monotonic().saturating_sub(self.since)))
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(millis(by)))
}

impl Reading {
    /// By which what is due by itself is done.
    pub(super) fn due(&self) -> Timestamp {
        if self.doubted { self.known } else { self.now }
    }

    /// For what may happen early and not late; and where a clock that was set back must not count.
    pub(super) fn latest(&self) -> Timestamp {
        self.now.max(self.known)
    }

    /// Up to when an erase fences for good: a clock that was ahead must not refuse what comes when it is right again. It was ahead when the
    /// time that is known was written, too, where that lies ahead by more than clocks do.
    pub(super) fn sure(&self) -> Timestamp {
        let was_ahead = self.known > later(self.now, CLOCK_TRUST);
        let shown = if was_ahead { self.now } else { self.latest() };
        shown.min(later(self.certain, CLOCK_TRUST))
    }

    /// The latest beginning of an interaction that is taken.
    pub(super) fn horizon(&self) -> Timestamp {
        later(self.latest(), CLOCK_SKEW)
    }
}

impl Anchor {
    pub(super) fn new(head: &HeadPage, options: &Options) -> Self {
        let (now, since) = (options.env.now(), options.env.monotonic());
        let believed = options.clock_is_right || now <= later(head.time, options.clock_jump);
        let at = if believed { now.max(head.time) } else { head.time };
        Anchor { at, time: if options.clock_is_right { at } else { head.time }, since }
    }
}

impl Inner {
    pub(super) fn reading(&self, state: &State) -> Reading {
        let env = &self.options.env;
        let now = env.now();
        let (known, certain) = {
            let anchor = locked(&self.clock);
            let counted = env.monotonic().saturating_sub(anchor.since);
            (later(anchor.at, counted).max(state.head.time), later(anchor.time, counted).max(state.head.time))
        };
        Reading { now, known, certain, doubted: now > later(known, self.options.clock_jump) }
    }

    /// The latest that is known now, for a look at the clock later, without a state.
    pub(super) fn floor(&self, clock: Reading) -> Floor {
        Floor { at: clock.latest(), since: self.options.env.monotonic() }
    }

    /// The head for the next commit, as it is but for its time.
    pub(super) fn next_head(&self, state: &State) -> HeadPage {
        let mut head = state.head.duplicate();
        let clock = self.reading(state);
        if !clock.doubted {
            head.time = head.time.max(clock.now);
        }
        head
    }

    /// Whether the time in the head is to be written again, so that a jump of the clock is told from a time in which nothing was put.
    pub(super) fn is_stale(&self, state: &State, clock: Reading) -> bool {
        state.head.roots.agenda.is_some() && !clock.doubted && clock.now > later(state.head.time, CLOCK_NOTED)
    }

    /// Why the clock is not believed, and what to do.
    pub(super) fn doubts(&self) -> Option<String> {
        let state = self.state();
        let clock = self.reading(&state);
        let (now, time) = (clock.now, state.head.time);
        let remedy = "if it is right, say so with `Engine::trust_clock`";
        if clock.doubted {
            Some(format!(
                "the clock shows {now}, the last commit was at {time}: what is due since then waits; {remedy}"
            ))
        } else if later(now, self.options.clock_jump) < time {
            Some(format!(
                "the clock shows {now}, the last commit was at {time}: what is due waits for that time; {remedy}"
            ))
        } else {
            None
        }
    }
}

impl Engine {
    /// Why the clock is not believed, where it is not: it is further from the time of the last commit than [`Options::clock_jump`]. What
    /// is due by itself waits then; puts, reads and erases do not.
    pub fn clock_doubts(&self) -> Option<String> {
        self.inner.doubts()
    }

    /// Says that the clock is right, however long ago the last commit was, or ahead of it: what is due by it is done from now on, and
    /// interactions begin by it.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn trust_clock(&self) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let mut writer = inner.writer();
        inner.ready(&mut writer)?;
        let now = inner.options.env.now();
        let mut head = inner.state().head.duplicate();
        head.time = now;
        head.floor = head.floor.min(now);
        *locked(&inner.clock) = Anchor { at: now, time: now, since: inner.options.env.monotonic() };
        inner.publish(&mut writer, Change::of_head(head))?;
        inner.bell.ring();
        Ok(())
    }
}
