//! Whether the clock is believed.

use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::clock::Anchor;
use crate::engine::commit::Change;
use crate::error::Result;
use crate::secret::WipeStack;
use crate::sync::locked;

/// What the engine makes of its clock ([`Engine::clock`](crate::Engine::clock)).
#[derive(Clone, Copy, Debug)]
pub struct Clock<'e> {
    pub(super) inner: &'e Arc<Inner>,
}

impl Clock<'_> {
    /// Why the clock is not believed, where it is not: it is further from the time of the last
    /// commit than [`Options::clock_jump`](crate::Options::clock_jump). What is due by itself waits
    /// then; puts, reads and erases do not.
    pub fn doubts(&self) -> Option<String> {
        self.inner.doubts()
    }

    /// Says that the clock is right, however far it is from the last commit: what is due by it is
    /// done from now on, and interactions begin by it.
    ///
    /// # Errors
    /// As [`Engine::put`](crate::Engine::put).
    pub fn trust(&self) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
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
