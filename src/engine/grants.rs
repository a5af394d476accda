//! Grants: a third party opens records through the engine, sealed to a fresh key that it sends for this one opening.
//!
//! What is opened is written down before the first byte goes out. No record key ever leaves, and nothing is sealed to a key that the
//! grantee keeps: whoever steals that key later opens nothing.

use std::io::Write;
use std::ops::ControlFlow;

use zeroize::Zeroize;

use super::edit::{Edit, change_page, page_of, user_of};
use super::reader::Via;
use super::{Engine, Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{GRANTS_MAX, NAME_MAX_BYTES, REQUEST_AGE, REQUESTS_MAX};
use crate::policy::millis;
use crate::record::check_purpose;
use crate::sealed::{Asked, Packing, PublicKey, Request, Ticket};
use crate::secret::WipeStack;
use crate::tree::Pages;
use crate::tree::grants::{Grant, Pace};
use crate::tree::history::Note;
use crate::tree::lineage::Access;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{UserPage, class_place, split_record_key};

/// What an opening delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Records delivered whole.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that fell out: of a training set since it was opened last, and those erased or revoked while this one ran.
    pub fell: u64,
}

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

    fn principal(&self, number: u64) -> String {
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
                ErrorKind::Limit,
                format!("{REQUESTS_MAX} requests were opened within the hour; ask again later"),
            )
        })
    }

    /// A user's records that can be read, of one class or of all.
    fn readable(
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

impl Engine {
    /// Lets a third party open a user's records, and returns the ticket that it asks with. The ticket is no secret; requests are signed.
    ///
    /// # Errors
    /// `Invalid` without a name or a purpose; `Limit` beyond 64 for one user; `Erased`, `Absent` for the user; as
    /// [`Engine::put`].
    pub fn grant(&self, user: &UserId, grant: Grant) -> Result<Ticket> {
        let _wiped = WipeStack;
        check_name(&grant.name)?;
        check_why(&grant.purpose)?;
        let inner = &self.inner;
        let number = inner.new_number()?;
        inner.commit_edit(|state, pages, edit| {
            let (tag, _) = inner.user_page(state, user)?;
            let now = inner.options.env.now();
            let grant = Grant { since: now, last: Timestamp(0), opened: 0, pace: Pace::default(), ..grant };
            change_page(edit, tag, |editor, page| {
                if page.grants.all(pages, tag)?.len() >= GRANTS_MAX {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("a user has at most {GRANTS_MAX} grants; revoke one"),
                    ));
                }
                page.grants.set(editor, tag, number, &grant)?;
                let Grant { name, class, purpose, until, .. } = grant;
                let class = class.map(|class| page.class_tag(&class));
                page.history.add(editor, tag, now, &Note::Granted { id: number, name, class, until, purpose })?;
                Ok(Ticket { store: inner.id, what: Asked::Grant { user: tag, incarnation: page.incarnation, number } })
            })
        })
    }

    /// Takes a grant back: it opens nothing more, also where it is being opened. What was opened before is out of reach.
    ///
    /// # Errors
    /// `Absent` where the user has no such grant; as [`Engine::grant`].
    pub fn revoke(&self, user: &UserId, number: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let revoked = inner.commit_edit(|state, _, edit| {
            let (tag, _) = inner.user_page(state, user)?;
            change_page(edit, tag, |editor, page| {
                if !page.grants.remove(editor, tag, number)? {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such grant; `Engine::grants` shows all",
                    ));
                }
                page.history.add(editor, tag, inner.options.env.now(), &Note::Revoked { id: number })
            })
        });
        // Also where a copy did not take the commit: readers see it.
        let (tag, there) = {
            let state = inner.state();
            let tag = inner.user_tag(&state, user);
            let page = inner.page_at(&state, tag);
            (tag, page.and_then(|page| page.map_or(Ok(None), |page| page.grants.get(&inner.pages(), tag, number))))
        };
        if !matches!(there, Ok(Some(_))) {
            let hit = |(n, _): &(u64, Option<Timestamp>)| *n == number;
            inner.close_granted(|via| {
                if via.user == tag {
                    via.grants.retain(|grant| !hit(grant));
                }
            });
        }
        revoked
    }

    /// The grants on a user's records, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn grants(&self, user: &UserId) -> Result<Vec<(u64, Grant)>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (tag, page) = self.inner.user_page(&state, user)?;
        page.grants.all(&self.inner.pages(), tag)
    }

    /// Opens what a request asks for: the records of a grant or of a training set, as a parcel sealed to the fresh key in the
    /// request. Each opening stands in the records' users' reports, durably, before the first byte is written.
    ///
    /// # Errors
    /// `Corrupt` for what is no request; `Refused` where it is not signed by the grantee, is old or was used, or where the grant
    /// was revoked; `Erased` where its user was erased; `Io`. Where it fails in the middle, `out` holds no whole parcel.
    pub fn open_request(&self, request: &[u8], out: impl Write) -> Result<Opened> {
        let _wiped = WipeStack;
        let request = Request::decode(request)?;
        if request.ticket.store != self.inner.id {
            return Err(Error::new(ErrorKind::Refused, "this request is for another store"));
        }
        match request.ticket.what {
            Asked::Grant { user, incarnation, number } => self.open_grant(&request, (user, incarnation, number), out),
            Asked::Set(set) => self.open_set(&request, &set, out),
        }
    }

    fn open_grant(
        &self,
        request: &Request,
        (user, incarnation, number): (UserTag, u16, u64),
        out: impl Write,
    ) -> Result<Opened> {
        let inner = &self.inner;
        let ids = inner.commit_edit(|state, pages, edit| {
            let (editor, root) = edit.parts()?;
            let page = match page_of(editor, root, user)? {
                Some(page) if page.incarnation == incarnation => page,
                _ => return Err(Error::new(ErrorKind::Erased, "the user of this grant was erased")),
            };
            let Some(grant) = page.grants.get(pages, user, number)? else {
                return Err(revoked());
            };
            let pace = inner.check_request(request, &grant.to, (grant.last, grant.pace))?;
            let now = inner.options.env.now();
            if grant.until.is_some_and(|until| until <= inner.reading(state).latest()) {
                return Err(revoked());
            }
            let ids = inner.readable(state, pages, user, page, grant.class.as_ref())?;
            let access = Access { principal: grant.principal(number), purpose: grant.purpose.clone(), at: now };
            let opened = grant.opened + ids.len() as u64;
            page.grants.set(editor, user, number, &Grant { last: request.made, opened, pace, ..grant })?;
            inner.write_down(edit, &ids, &access)?;
            Ok(ids)
        })?;
        let granted = |state: &State, id: &RecordId| {
            let pages = inner.pages();
            let Some(page) = inner.page_at(state, user)?.filter(|page| page.incarnation == incarnation) else {
                return Ok(None);
            };
            let (Some(grant), Some(slot)) = (page.grants.get(&pages, user, number)?, page.class(id.class)) else {
                return Ok(None);
            };
            let clock = inner.reading(state);
            let via = || Via { user, grants: vec![(number, grant.until)], floor: inner.floor(clock), set: None };
            Ok(grant.covers(&slot.class, clock.latest()).then(via))
        };
        self.deliver(&ids, &granted, &request.to, out)
    }

    /// Seals records to a fresh key, as long as each lives and is granted.
    pub(super) fn deliver(
        &self,
        ids: &[RecordId],
        granted: &dyn Fn(&State, &RecordId) -> Result<Option<Via>>,
        to: &[u8],
        out: impl Write,
    ) -> Result<Opened> {
        let mut parcel = Packing::to_key(&*self.inner.options.env, to, out)?;
        let mut opened = Opened::default();
        for id in ids {
            // Grant and record as they stand in one state; the reader is known to an erase and a revocation when that is let go.
            let reader = {
                let state = self.inner.state();
                granted(&state, id)?.map(|via| self.open_in(&state, id, true, Some(via)))
            };
            let reader = match reader {
                Some(Ok(reader)) => reader,
                Some(Err(e)) if e.kind() != ErrorKind::Erased => return Err(e),
                _ => {
                    opened.fell += 1;
                    continue;
                }
            };
            let mut info = reader.info().clone();
            let packed = parcel.record(&info, reader);
            info.purpose.zeroize();
            match packed? {
                Some(length) => {
                    opened.records += 1;
                    opened.bytes += length;
                }
                None => opened.fell += 1,
            }
        }
        let (_, late, bytes) = parcel.finish_counted()?;
        opened.records -= late;
        opened.bytes -= bytes;
        opened.fell += late;
        Ok(opened)
    }
}
