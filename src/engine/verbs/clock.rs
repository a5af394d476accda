//! Whether the clock is believed.

use std::sync::Arc;

use crate::engine::anchor::Anchor;
use crate::engine::clock::doubts;
use crate::engine::commit::{Commit, publish};
use crate::engine::core::Core;
use crate::engine::ready::ready;
use crate::error::Result;
use crate::secret::WipeStack;
use crate::sync::locked;

/// Whether the engine believes its clock ([`Engine::clock`](crate::Engine::clock)).
#[derive(Clone, Copy, Debug)]
pub struct Clock<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Clock<'_> {
    /// Why the clock is not believed, if it is not: it is further from the time of the last
    /// commit than [`Options::clock_jump`](crate::Options::clock_jump). Scheduled work waits
    /// then; puts, reads and erases do not.
    pub fn doubts(&self) -> Option<String> {
        doubts(self.inner)
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
