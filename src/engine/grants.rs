//! Grants: a third party opens records through the engine, sealed to a fresh key that it sends for this one opening.
//!
//! What is opened is written down before the first byte goes out. No record key ever leaves, and nothing is sealed to a key that the
//! grantee keeps: whoever steals that key later opens nothing.

use std::ops::ControlFlow;

use super::edit::{Edit, user_of};
use super::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserTag};
use crate::limits::{NAME_MAX_BYTES, REQUEST_AGE, REQUESTS_MAX};
use crate::policy::millis;
use crate::record::check_purpose;
use crate::sealed::{PublicKey, Request};
use crate::tree::Pages;
use crate::tree::grants::{Grant, Pace};
use crate::tree::lineage::Access;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{UserPage, class_place, split_record_key};

impl Grant {
    /// A grant on all records of a user, without an end.
    pub fn new(to: &PublicKey, name: impl Into<String>, purpose: impl Into<String>) -> Self {
        Grant {
            to: to.signing,
            name: name.into(),
            class: None,
            purpose: purpose.into(),
            since: Timestamp(0),
            until: None,
            last: Timestamp(0),
            opened: 0,
            pace: Pace::default(),
        }
    }

    /// On this class only.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Grant { class: Some(class), ..self }
    }

    /// Until then.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Grant { until: Some(until), ..self }
    }

    pub(super) fn principal(&self, number: u64) -> String {
        format!("{}, grant {number:016x}", self.name)
    }
}

pub(super) fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("a name has 1 to {NAME_MAX_BYTES} bytes, none of them control characters")));
    }
    Ok(())
}

pub(super) fn check_why(purpose: &str) -> Result<()> {
    check_purpose(purpose)?;
    if purpose.trim().is_empty() {
        return Err(Error::invalid("say what for: it stands in the user's report"));
    }
    Ok(())
}

pub(super) fn revoked() -> Error {
    Error::new(ErrorKind::Refused, "this grant was revoked, is over, or was never given: it opens nothing")
}

impl Inner {
    /// Whether a request is fresh, newer than the last, and not one of too many; counts it.
    pub(super) fn check_request(
        &self,
        request: &Request,
        to: &[u8; 32],
        (last, pace): (Timestamp, Pace),
    ) -> Result<Pace> {
        request.verify(to)?;
        let (now, age) = (self.options.env.now().0, millis(REQUEST_AGE));
        if request.made.0.abs_diff(now) > age {
            return Err(Error::new(
                ErrorKind::Refused,
                "this request was made more than an hour ago, or by a clock that is wrong; ask anew",
            ));
        }
        // A last request from the future was made, and taken, by clocks that were ahead.
        if request.made <= last && last.0 <= now.saturating_add(age) {
            return Err(Error::new(ErrorKind::Refused, "a request opens once; ask anew"));
        }
        pace.next(Timestamp(now)).ok_or_else(|| {
            Error::new(
                ErrorKind::Refused,
                format!("{REQUESTS_MAX} requests were opened within the hour; ask again later"),
            )
        })
    }

    /// A user's records that can be read, of one class or of all.
    pub(super) fn readable(
        &self,
        state: &State,
        pages: &dyn Pages,
        user: UserTag,
        page: &UserPage,
        class: Option<&Class>,
    ) -> Result<Vec<RecordId>> {
        let mut ids = Vec::new();
        for slot in page.classes.iter().filter(|slot| class.is_none_or(|class| *class == slot.class)) {
            let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
            slot.tree.scan(pages, class_place(user), all, &mut |key, _| {
                let (interaction, ordinal) = split_record_key(key)?;
                ids.push(RecordId { interaction, user, incarnation: page.incarnation, class: slot.tag, ordinal });
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let mut readable = Vec::with_capacity(ids.len());
        for id in ids {
            match self.look_up_whole(state, &id) {
                Ok(_) => readable.push(id),
                Err(e) if e.kind() == ErrorKind::Erased => {}
                Err(e) => return Err(e),
            }
        }
        Ok(readable)
    }

    /// Writes down who opens records.
    pub(super) fn write_down(&self, edit: &mut Edit<'_>, ids: &[RecordId], access: &Access) -> Result<()> {
        for id in ids {
            let (editor, root) = edit.parts()?;
            if let Some(page) = user_of(editor, root, id)? {
                page.openings += 1;
                page.lineage.add_access(editor, id, access)?;
            }
        }
        Ok(())
    }
}
