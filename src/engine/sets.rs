//! Training sets: named sets of records of many users, opened together under the users' grants to one grantee.

use std::collections::BTreeMap;

use super::edit::{Edit, page_of};
use super::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::tree::Pages;
use crate::tree::sets::{SetTag, TrainingSet};
use crate::tree::user::UserPage;

pub(super) fn no_such_set() -> Error {
    Error::new(ErrorKind::Absent, "there is no such training set; `keyfall training list STORE` shows all")
}

/// Which of a user's grants let a set's grantee open a record now, for what the set is for; and their ends.
pub(super) fn granted(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    (to, purpose): (&[u8; 32], &str),
    id: &RecordId,
    now: Timestamp,
) -> Result<Vec<(u64, Option<Timestamp>)>> {
    let Some(slot) = page.class(id.class) else {
        return Ok(Vec::new());
    };
    let mut grants = page.grants.all(pages, user)?;
    grants.retain(|(_, grant)| grant.to == *to && grant.purpose == purpose && grant.covers(&slot.class, now));
    Ok(grants.into_iter().map(|(number, grant)| (number, grant.until)).collect())
}

/// What is found of a set.
#[derive(Default)]
pub(super) struct Members {
    /// By user, what can be read and is granted; a user may have nothing left.
    pub(super) live: BTreeMap<UserTag, Vec<RecordId>>,
    /// What is there, and no more.
    pub(super) dropped: Vec<RecordId>,
}

impl Inner {
    /// Every member of a set that can be read and is granted, and those that are there and are not.
    pub(super) fn members(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        (tag, set, now): (&SetTag, &TrainingSet, Timestamp),
    ) -> Result<Members> {
        let pages = edit.editor.pages;
        let Members { mut live, mut dropped } = Members::default();
        for user in edit.sets.users(pages, tag)? {
            let of_user: &mut Vec<RecordId> = live.entry(user).or_default();
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                continue;
            };
            for id in page.lineage.members(pages, user, page.incarnation, tag)? {
                let whole = match self.look_up_whole(state, &id) {
                    Ok(_) => true,
                    Err(e) if e.kind() == ErrorKind::Erased => false,
                    Err(e) => return Err(e),
                };
                if whole && !granted(pages, user, page, (&set.to, &set.purpose), &id, now)?.is_empty() {
                    of_user.push(id);
                } else {
                    dropped.push(id);
                }
            }
        }
        Ok(Members { live, dropped })
    }
}
