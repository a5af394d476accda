//! What the engine makes of the clock. One reading may be wrong: it has nothing erased by itself then, and blocks no put once
//! the clock is right again.
//!
//! The head keeps the time of the last commit whose clock was believed. A clock further ahead of that than
//! [`super::Options::clock_jump`] is *doubted*: what is due by itself is done as of the time that is known, and the time in the head
//! stays, until the clock is right again or somebody says that it is ([`Engine::trust_clock`]). While an engine is open, a clock
//! that nobody sets counts on from there.

use super::Engine;
use super::anchor::Anchor;
use super::change::Commit;
use super::commit::{publish, ready};
use super::core::Core;
use crate::catalogue::moment::later;
use crate::error::Result;
use crate::secret::WipeStack;
use crate::sync::locked;

/// Why the clock is not believed, and what to do.
pub(super) fn doubts(core: &Core) -> Option<String> {
    let state = core.state();
    let clock = core.reading(&state);
    let (now, time) = (clock.now, state.head.time);
    let remedy = "if it is right, say so with `keyfall tend STORE --clock-is-right`";
    if clock.doubted {
        Some(format!(
            "the clock shows {now}, the last commit was at {time}: what is due since then waits; {remedy}"
        ))
    } else if later(now, core.options.clock_jump) < time {
        Some(format!(
            "the clock shows {now}, the last commit was at {time}: what is due waits for that time; {remedy}"
        ))
    } else {
        None
    }
}

impl Engine {
    /// Why the clock is not believed, where it is not: it is further from the time of the last commit than [`super::Options::clock_jump`]. What
    /// is due by itself waits then; puts, reads and erases do not.
    pub fn clock_doubts(&self) -> Option<String> {
        doubts(&self.inner)
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
        ready(inner, &mut writer)?;
        let now = inner.options.env.now();
        let mut head = inner.state().head.duplicate();
        head.time = now;
        head.floor = head.floor.min(now);
        *locked(&inner.clock) = Anchor::believed(now, &*inner.options.env);
        publish(inner, &mut writer, Commit::of_head(head))?;
        inner.bell.ring();
        Ok(())
    }
}
