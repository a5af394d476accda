//! Planned erases of a user.

use crate::engine::Engine;
use crate::engine::edit::change_page;
use crate::engine::plans::plans_of;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserId;
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::plans::Plan;

impl Engine {
    /// Cancels a planned erase.
    ///
    /// # Errors
    /// `Absent` where the user has no such plan, also where it was done meanwhile; as [`Engine::put`].
    pub fn cancel(&self, user: &UserId, id: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.commit_edit(|state, pages, edit| {
            let (tag, _) = inner.user_page(state, user)?;
            change_page(edit, tag, |editor, page| {
                let plans = page.plans.all(pages, tag, user)?;
                let Some(plan) = plans.iter().find(|plan| plan.id == id) else {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such planned erase; `keyfall plan list STORE --user U` shows all",
                    ));
                };
                page.plans.remove(editor, tag, plan)?;
                page.history.add(editor, tag, inner.options.env.now(), &Note::Cancelled { id })
            })?;
            inner.reckon(edit, tag)
        })
    }

    /// The planned erases of a user, the next first.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn plans(&self, user: &UserId) -> Result<Vec<Plan>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (tag, page) = self.inner.user_page(&state, user)?;
        plans_of(&self.inner.pages(), tag, &page)
    }
}
