//! Training sets: which of their members can be read and are granted.

use std::collections::BTreeMap;

use super::edit::Edit;
use super::resolve::look_up_whole;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::tree::Pages;
use crate::tree::keys::SetTag;
use crate::tree::sets::TrainingSet;
use crate::tree::user::UserPage;

/// What is found of a set.
#[derive(Default)]
pub(crate) struct Members {
    /// By user, what can be read and is granted; a user may have nothing left.
    pub(crate) live: BTreeMap<UserTag, Vec<RecordId>>,
    /// What is there, and no more.
    pub(crate) dropped: Vec<RecordId>,
}

/// Which grants of a record's user let a set's grantee open it now, for what the set is for; and
/// their ends.
pub(crate) fn granted(
    pages: &dyn Pages,
    page: &UserPage,
    set: &TrainingSet,
    id: &RecordId,
    now: Timestamp,
) -> Result<Vec<(u64, Option<Timestamp>)>> {
    let Some(slot) = page.class(id.class) else {
        return Ok(Vec::new());
    };
    let mut grants = page.grants.all(pages, id.user)?;
    grants.retain(|(_, grant)| {
        grant.to == set.to && grant.purpose == set.purpose && grant.covers(&slot.class, now)
    });
    Ok(grants.into_iter().map(|(number, grant)| (number, grant.until)).collect())
}

/// Every member of a set that can be read and is granted, and those that are there and are not.
pub(crate) fn members(
    edit: &mut Edit<'_>,
    tag: &SetTag,
    set: &TrainingSet,
    now: Timestamp,
) -> Result<Members> {
    let (view, pages) = (edit.view, edit.pages());
    let Members { mut live, mut dropped } = Members::default();
    for user in edit.sets.users(pages, tag)? {
        let of_user: &mut Vec<RecordId> = live.entry(user).or_default();
        let Some((_, page)) = edit.page(user)? else {
            continue;
        };
        for id in page.lineage.members(pages, user, page.incarnation, tag)? {
            let whole = match look_up_whole(&view, &id) {
                Ok(_) => true,
                Err(e) if e.kind() == ErrorKind::Erased => false,
                Err(e) => return Err(e),
            };
            if whole && !granted(pages, page, set, &id, now)?.is_empty() {
                of_user.push(id);
            } else {
                dropped.push(id);
            }
        }
    }
    Ok(Members { live, dropped })
}

/// The error for a set that is not here.
pub(crate) fn no_such_set() -> Error {
    Error::new(ErrorKind::Absent, "there is no such training set; `Training::list` shows all")
}
