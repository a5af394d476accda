//! The id of a record to come, and what became of it: for whoever notes what it is about to put,
//! and may never hear that it was.

use super::admit::{Admitted, admit, interaction_erased};
use super::moment::Reading;
use super::put::{free_ordinal, next_ordinal};
use super::view::View;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::ids::RecordId;
use crate::record::Put;
use crate::tree::fences::Target;
use crate::tree::user::class_place;

/// The id that a put would have if it came now.
///
/// # Errors
/// `Absent` for a user who is not here: the tags of its classes are under a key that is not drawn
/// yet; as [`admit`].
pub(crate) fn next_id(
    view: &View<'_>,
    env: &dyn Env,
    clock: Reading,
    put: &Put,
) -> Result<RecordId> {
    let Admitted { user, incarnation, interaction } = admit(view, env, clock, put)?;
    let (_, page) = view.user(&put.user)?;
    let class = page.class_tag(&put.class);
    let target = Target { class, interaction, ordinal: None };
    if page.fences.refuse(view.pages, user, &page.fence_key, target, clock.now)? {
        return Err(interaction_erased());
    }
    let ordinal = free_ordinal(view.pages, &page, class, target, user, clock.now)?;
    Ok(RecordId { interaction, user, incarnation, class, ordinal })
}

/// Whether the record with this id fell, or one of its class and interaction with a later one.
///
/// # Errors
/// `Absent` for a user, or a life, that never was here; `Corrupt`, `Io`.
pub(crate) fn fell_from(view: &View<'_>, id: &RecordId) -> Result<bool> {
    let page = match view.users().page_of(id) {
        Err(e) if e.kind() == ErrorKind::Erased => return Ok(true),
        page => page?,
    };
    let next = match page.class(id.class) {
        Some(slot) => next_ordinal(view.pages, class_place(id.user), &slot.tree, id.interaction)?,
        None => 0,
    };
    // Ordinals are assigned in order: if any record past the last one still there was put and then
    // fell, the next one was put and fell too.
    for ordinal in id.ordinal..=next.max(id.ordinal) {
        let what = Target { ordinal: Some(ordinal), ..Target::record(id) };
        // A span in doubt is of nothing that was here.
        if page.fences.cover_for_good(view.pages, id.user, &page.fence_key, what)? {
            return Ok(true);
        }
    }
    Ok(false)
}
