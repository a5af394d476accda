//! What is due: planned erases, what passed a limit, root keys that were left pending, links still to be followed.

use super::tend::tend;
use super::{Engine, Tended};
use crate::error::Result;
use crate::secret::WipeStack;

impl Engine {
    /// Does what is due: erases that were planned for now, what passed a limit, root keys that wait to be destroyed; and takes
    /// derived records that fell with an erase out of lists and counts. An open engine does this by itself, unless
    /// [`super::Keeper::ByHand`] is set; what is due by a clock that is not believed waits ([`Engine::clock_doubts`]). [`Engine::users`] and [`Engine::report`] do it first. `progress` hears of records.
    ///
    /// # Errors
    /// As [`Engine::erase`], where nothing can be committed; `Fenced` where this engine only looks. What a hold refuses, and what fails of one user, is written down in the user's
    /// history, told in [`Tended`], and tried again an hour later; everybody else's is done.
    pub fn tend(&self, progress: super::Progress<'_>) -> Result<Tended> {
        let _wiped = WipeStack;
        self.inner.process.check()?;
        tend(&self.inner, progress, &|| false)
    }
}
