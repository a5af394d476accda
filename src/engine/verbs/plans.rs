//! Planned erases of a user.

use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::edit::change_page;
use crate::engine::plans::plans_of;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserId;
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::plans::Plan;

/// The planned erases of one user ([`Engine::plans`](crate::Engine::plans)); `Engine::erase_at`
/// adds one.
#[derive(Clone, Copy, Debug)]
pub struct Plans<'e> {
    pub(super) inner: &'e Arc<Inner>,
    pub(super) user: &'e UserId,
}

impl Plans<'_> {
    /// Cancels the planned erase with this number.
    ///
    /// # Errors
    /// `Absent` where the user has no such plan, also where it was done meanwhile; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn cancel(&self, id: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
        inner.commit_edit(|state, pages, edit| {
            let (tag, _) = inner.user_page(state, self.user)?;
            change_page(edit, tag, |editor, page| {
                let plans = page.plans.all(pages, tag, self.user)?;
                let Some(plan) = plans.iter().find(|plan| plan.id == id) else {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such planned erase; `keyfall plan list STORE --user U` \
                         shows all",
                    ));
                };
                page.plans.remove(editor, tag, plan)?;
                page.history.add(editor, tag, inner.options.env.now(), &Note::Cancelled { id })
            })?;
            inner.reckon(edit, tag)
        })
    }

    /// The planned erases, the next first.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<Plan>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (tag, page) = self.inner.user_page(&state, self.user)?;
        plans_of(&self.inner.pages(), tag, &page)
    }
}
