//! Grants: whether a request of a third party may open records, and which.

use std::ops::ControlFlow;

use super::edit::Edit;
use super::resolve::look_up_whole;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserTag};
use crate::limits::{NAME_MAX_BYTES, REQUEST_AGE, REQUESTS_MAX};
use crate::policy::millis;
use crate::record::check_purpose;
use crate::sealed::Request;
use crate::tree::grants::Pace;
use crate::tree::keys::split_record_key;
use crate::tree::lineage::Access;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{ClassSlot, UserPage, class_place};

/// A third party as a grant or a training set knows it: its key, and what it asked before.
pub(crate) struct Grantee<'a> {
    /// Ed25519 public key that verifies the grantee's requests.
    pub(crate) key: &'a [u8; 32],
    /// When its last request was made.
    pub(crate) last: Timestamp,
    pub(crate) pace: Pace,
}

/// Checks the name of a grantee or of a training set.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "a name has 1 to {NAME_MAX_BYTES} bytes, none of them control characters"
        )));
    }
    Ok(())
}

/// Checks what records are granted for.
pub(crate) fn check_why(purpose: &str) -> Result<()> {
    check_purpose(purpose)?;
    if purpose.trim().is_empty() {
        return Err(Error::invalid("give a purpose; the user's report shows it"));
    }
    Ok(())
}

/// The error for a grant that opens nothing.
pub(crate) fn revoked() -> Error {
    Error::new(
        ErrorKind::Refused,
        "this grant was revoked, is over, or was never given: it opens nothing",
    )
}

/// Whether a request is fresh, newer than the last, and not one of too many; counts it.
pub(crate) fn check_request(
    request: &Request,
    grantee: &Grantee<'_>,
    now: Timestamp,
) -> Result<Pace> {
    request.verify(grantee.key)?;
    let age = millis(REQUEST_AGE);
    if request.made.0.abs_diff(now.0) > age {
        return Err(Error::new(
            ErrorKind::Refused,
            "this request was made more than an hour ago, or by a clock that is wrong; make a new one",
        ));
    }
    // A last request from the future was made, and taken, by clocks that were ahead.
    if request.made <= grantee.last && grantee.last.0 <= now.0.saturating_add(age) {
        return Err(Error::new(ErrorKind::Refused, "a request opens once; make a new one"));
    }
    grantee.pace.next(now).ok_or_else(|| {
        Error::new(
            ErrorKind::Limit,
            format!("{REQUESTS_MAX} requests were opened within the hour; ask again later"),
        )
    })
}

/// A user's records that can be read, of one class or of all.
pub(crate) fn readable(
    view: &View<'_>,
    user: UserTag,
    page: &UserPage,
    class: Option<&Class>,
) -> Result<Vec<RecordId>> {
    let mut ids = Vec::new();
    let granted = |slot: &&ClassSlot| class.is_none_or(|class| *class == slot.class);
    let records = page.classes.iter().filter(|slot| !slot.class.is_of_uploads());
    for slot in records.filter(granted) {
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
        slot.tree.scan(view.pages, class_place(user), all, &mut |key, _| {
            let (interaction, ordinal) = split_record_key(key)?;
            ids.push(RecordId {
                interaction,
                user,
                incarnation: page.incarnation,
                class: slot.tag,
                ordinal,
            });
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut readable = Vec::with_capacity(ids.len());
    for id in ids {
        match look_up_whole(view, &id) {
            Ok(_) => readable.push(id),
            Err(e) if e.kind() == ErrorKind::Erased => {}
            Err(e) => return Err(e),
        }
    }
    Ok(readable)
}

/// Writes an opening of these records into their access logs.
pub(crate) fn write_down(edit: &mut Edit<'_>, ids: &[RecordId], access: &Access) -> Result<()> {
    for id in ids {
        if let Some((editor, page)) = edit.page_for(id)? {
            page.openings += 1;
            page.lineage.add_access(editor, id, access)?;
        }
    }
    Ok(())
}
