//! Planned erases of a user, and when there is something to do for it.

use super::edit::Edit;
use super::hold_check::{part_is_held, record_is_held};
use super::part::Part;
use super::retention::next_due;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserTag;
use crate::policy::Rules;
use crate::scope::{Erase, Scope};
use crate::tree::Pages;
use crate::tree::plans::Plan;
use crate::tree::user::UserPage;

/// A user's planned erases, the next first.
pub(crate) fn plans_of(pages: &dyn Pages, user: UserTag, page: &UserPage) -> Result<Vec<Plan>> {
    let mut plans = page.plans.all(pages, user, &page.user)?;
    for plan in &mut plans {
        plan.held = is_held_now(pages, user, page, &plan.erase)?;
    }
    Ok(plans)
}

/// Whether an erase of some of what a user has would be refused as held now.
pub(crate) fn is_held_now(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    erase: &Erase,
) -> Result<bool> {
    match erase.scope() {
        Scope::Record(id) => record_is_held(pages, page, id),
        Scope::User { class, when, .. } => {
            let part = Part::of(page, user, class.as_ref(), erase.kept(), *when)?;
            part_is_held(pages, page, &part)
        }
    }
}

/// Works out when there is something to do for a user, whose plans or policies changed.
pub(crate) fn reckon(edit: &mut Edit<'_>, user: UserTag) -> Result<()> {
    let pages = edit.pages();
    let store = edit.policies.all(pages, None)?;
    let next = edit.user(user, |_, page| {
        next_due(pages, user, page, &Rules { own: page.policies.all(pages, Some(user))?, store })
    })?;
    edit.set_due(user, next)
}

/// The error for one more than there may be.
pub(crate) fn too_many(what: &str, most: usize) -> Error {
    Error::new(ErrorKind::Limit, format!("there are {most} {what} already; remove one"))
}
