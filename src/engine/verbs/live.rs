//! How long what was read of a user may be shown.

use std::sync::Arc;

use crate::engine::paved::Engine;
use crate::ids::UserId;
use crate::sealed::Live;

impl Engine {
    /// Until when what is read of a user from now on may be shown to anyone: until something of the
    /// user is erased. For answers that take a while to go out, as [`Report::live`] is for reports.
    ///
    /// [`Report::live`]: crate::engine::Report::live
    pub fn live(&self, user: &UserId) -> Live {
        let core = &self.inner;
        let (state, pages) = (core.state(), core.pages());
        let tag = core.view(&state, &pages).tag(user);
        core.readers.live(tag, Arc::clone(&core.options.env))
    }
}
