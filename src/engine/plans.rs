//! Planned erases and retention policies: what [`Engine::run_due`](crate::Engine::run_due) will do, and when.

use super::Inner;
use super::edit::{Edit, change_page};
use super::holds::protected;
use super::part::Part;
use super::passing::next_due;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserTag;
use crate::policy::Rules;
use crate::scope::{Erase, Scope};
use crate::tree::Pages;
use crate::tree::plans::Plan;
use crate::tree::user::UserPage;

pub(super) fn too_many(what: &str, most: usize) -> Error {
    Error::new(ErrorKind::Refused, format!("there are {most} {what} already; take one back"))
}

/// Whether an erase of some of what a user has would be refused as held now.
pub(super) fn is_held_now(pages: &dyn Pages, user: UserTag, page: &UserPage, erase: &Erase) -> Result<bool> {
    match erase.scope() {
        Scope::Record(id) => protected(pages, page, id),
        Scope::User { class, when, .. } => {
            Part::of(page, (user, page.incarnation), (class.as_ref(), erase.kept()), *when)?.is_held(pages, page)
        }
    }
}

/// A user's planned erases, the next first.
pub(super) fn plans_of(pages: &dyn Pages, user: UserTag, page: &UserPage) -> Result<Vec<Plan>> {
    let mut plans = page.plans.all(pages, user, &page.user)?;
    for plan in &mut plans {
        plan.held = is_held_now(pages, user, page, &plan.erase)?;
    }
    Ok(plans)
}

impl Inner {
    /// The policies that hold for a user.
    pub(super) fn rules(
        &self,
        state: &super::State,
        pages: &dyn Pages,
        user: UserTag,
        page: &UserPage,
    ) -> Result<Rules> {
        let store = match &state.head.roots.policies {
            Some(_) => Edit::policies_of(state).all(pages, None)?,
            None => Vec::new(),
        };
        Ok(Rules { own: page.policies.all(pages, Some(user))?, store })
    }

    /// Looks anew when there is something to do for a user.
    pub(super) fn reckon(&self, edit: &mut Edit<'_>, user: UserTag) -> Result<()> {
        let pages = edit.editor.pages;
        let store = edit.policies.all(pages, None)?;
        let next = change_page(edit, user, |_, page| {
            next_due(pages, user, page, &Rules { own: page.policies.all(pages, Some(user))?, store })
        })?;
        edit.set_due(user, next)
    }
}
