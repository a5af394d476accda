//! Planned erases of a user.

use std::sync::Arc;

use crate::catalogue::plan::{plans_of, reckon};
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserId;
use crate::tree::history::StoredFact;
use crate::tree::plans::Plan;

/// The planned erases of one user ([`Engine::plans`](crate::Engine::plans)); `Engine::erase_at`
/// adds one.
#[derive(Clone, Copy, Debug)]
pub struct Plans<'e> {
    pub(super) inner: &'e Arc<Core>,
    pub(super) user: &'e UserId,
}

impl Plans<'_> {
    /// Cancels the planned erase with this number.
    ///
    /// # Errors
    /// `Absent` if the user has no such plan, also if it was done meanwhile; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn cancel(&self, id: u64) -> Result<()> {
        commit_edit(self.inner, |edit| {
            let (user, _) = edit.view.user(self.user)?;
            let (pages, now) = (edit.pages(), edit.means.env.now());
            edit.user(user, |editor, page| {
                let plans = page.plans.all(pages, user, self.user)?;
                let Some(plan) = plans.iter().find(|plan| plan.id == id) else {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such planned erase; `Plans::list` shows all",
                    ));
                };
                page.plans.remove(editor, user, plan)?;
                page.history.add(editor, user, now, &StoredFact::Cancelled { id })
            })?;
            reckon(edit, user)
        })
    }

    /// The planned erases, the next first.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<Plan>> {
        self.inner.look(|view| {
            let (user, page) = view.user(self.user)?;
            plans_of(view.pages, user, &page)
        })
    }
}
