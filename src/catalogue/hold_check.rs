//! Where a legal hold is checked: every erase asks here before it drops a pointer, of a user whole,
//! of a part, of one record. `erase` fails with what is answered; `due_for_user` passes over what
//! is held, and `plan` only tells of it. A user whose slot in the user tree says `alone` has no
//! hold and no mark: such a one is erased whole without a look at its page. How holds are added and
//! lifted, and what marks are, is in `hold`.

use super::part::Part;
use super::span::Span;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RecordId;
use crate::tree::Pages;
use crate::tree::holds::Hold;
use crate::tree::keys::record_key;
use crate::tree::user::UserPage;

/// Fails if something of a user is held, or a held record depends on it.
///
/// # Errors
/// `Held`.
pub(crate) fn check_user(page: &UserPage) -> Result<()> {
    let is_held = page.holds.tree.root.is_some() || page.holds.marks.root.is_some();
    refuse(is_held, "some of this user's records, or what was derived from them,")
}

/// Fails if some of a part is held, or a held record depends on it.
///
/// # Errors
/// `Held`, `Corrupt`.
pub(crate) fn check_part(pages: &dyn Pages, page: &UserPage, part: &Part) -> Result<()> {
    let is_held = part_is_held(pages, page, part)?;
    refuse(is_held, "some of this, or what was derived from it,")
}

/// Fails if a record is held, or a held one depends on it.
///
/// # Errors
/// `Held`, `Corrupt`.
pub(crate) fn check_record(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<()> {
    let is_held = record_is_held(pages, page, id)?;
    refuse(is_held, "this record, or one derived from it,")
}

/// Whether a hold covers some of a part, or a held record depends on some of it.
pub(crate) fn part_is_held(pages: &dyn Pages, page: &UserPage, part: &Part) -> Result<bool> {
    let Span { user, low, high, .. } = part.span();
    let touches = |hold: &Hold| {
        hold.class.as_ref().is_none_or(|class| part.takes_class(&page.class_tag(class)))
            && hold
                .interaction
                .is_none_or(|i| record_key(i, 0) <= *high && record_key(i, u32::MAX) >= *low)
    };
    if page.holds.all(pages, *user)?.iter().any(|(_, hold)| touches(hold)) {
        return Ok(true);
    }
    for slot in page.classes.iter().filter(|slot| part.takes_class(&slot.tag)) {
        if page.holds.is_marked(pages, *user, slot.tag, low, high)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a hold covers a record, or a held record depends on it.
pub(crate) fn record_is_held(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let key = record_key(id.interaction, id.ordinal);
    Ok(is_covered(pages, page, id)?
        || page.holds.is_marked(pages, id.user, id.class, &key, &key)?)
}

/// Whether a hold covers a record of this user's.
pub(crate) fn is_covered(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let any = page.holds.tree.root.is_some();
    Ok(any && page.holds.all(pages, id.user)?.iter().any(|(_, hold)| covers(hold, page, id)))
}

/// Whether one hold covers a record.
pub(crate) fn covers(hold: &Hold, page: &UserPage, id: &RecordId) -> bool {
    hold.class.as_ref().is_none_or(|class| page.class_tag(class) == id.class)
        && hold.interaction.is_none_or(|interaction| interaction == id.interaction)
}

/// Fails for what is held.
fn refuse(is_held: bool, what: &str) -> Result<()> {
    if !is_held {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Held,
        format!(
            "{what} is under a legal hold; nothing was erased; `Holds::list` shows the holds of a user (if this one has none, it is on a record of another user that was derived); only lifting it helps"
        ),
    ))
}
