//! What the engine makes of the clock. One reading may be wrong: then nothing is erased
//! automatically, and no put is blocked once the clock is right again.
//!
//! The head keeps the time of the last commit whose clock was believed. A clock further ahead of
//! that than [`super::Options::clock_jump`] is *doubted*: scheduled work is done as of the
//! time that is known, and the time in the head stays, until the clock is right again or somebody
//! says that it is ([`Clock::trust`](crate::engine::Clock::trust)). While an engine is open, a
//! clock that nobody sets counts on from there.

use super::core::Core;
use crate::catalogue::moment::later;

/// Why the clock is not believed, and what to do.
pub(super) fn doubts(core: &Core) -> Option<String> {
    let state = core.state();
    let clock = core.reading(&state);
    let (now, time) = (clock.now, state.head.time);
    let remedy = "if it is right, say so with `Clock::trust`";
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
