//! What a grantee asks for: the records of a grant or of a training set, opened and sealed to a
//! fresh key.

use std::io::Write;
use std::sync::Arc;

use zeroize::Zeroize;

use super::records::open_in;
use crate::catalogue::grant::{Grantee, check_request, readable, revoked, write_down};
use crate::catalogue::set::{Members, granted, members, no_such_set};
use crate::catalogue::view::{View, sets_of};
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::{Core, State};
use crate::engine::readers::{By, Via};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserTag};
use crate::sealed::{Asked, Finished, Packing, Request};
use crate::secret::WipeStack;
use crate::tree::grants::Grant;
use crate::tree::keys::SetTag;
use crate::tree::lineage::Access;
use crate::tree::sets::TrainingSet;

/// What an opening delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Number of records delivered whole.
    pub records: u64,
    /// Total size of their content in bytes.
    pub bytes: u64,
    /// Records that fell out: of a training set since it was opened last, and those erased or
    /// revoked while this one ran.
    pub fell: u64,
}

pub(super) fn open_request(inner: &Arc<Core>, request: &[u8], out: impl Write) -> Result<Opened> {
    let _wiped = WipeStack;
    let request = Request::decode(request)?;
    if request.ticket.store != inner.id {
        return Err(Error::new(ErrorKind::Refused, "this request is for another store"));
    }
    match request.ticket.what {
        Asked::Grant { user, incarnation, number } => {
            open_grant(inner, &request, GrantId { user, incarnation, number }, out)
        }
        Asked::Set(set) => open_set(inner, &request, &set, out),
    }
}

/// Which grant a request asks for.
#[derive(Clone, Copy)]
struct GrantId {
    user: UserTag,
    incarnation: u16,
    number: u64,
}

fn open_grant(
    inner: &Arc<Core>,
    request: &Request,
    asked: GrantId,
    out: impl Write,
) -> Result<Opened> {
    let GrantId { user, incarnation, number } = asked;
    let ids = commit_edit(inner, |edit| {
        let (view, pages, clock) = (edit.view, edit.pages(), edit.moment.clock);
        let now = edit.means.env.now();
        let page = edit.page(user)?.filter(|(_, page)| page.incarnation == incarnation);
        let Some((editor, page)) = page else {
            return Err(Error::new(ErrorKind::Erased, "the user of this grant was erased"));
        };
        let Some(grant) = page.grants.get(pages, user, number)? else {
            return Err(revoked());
        };
        let grantee = Grantee { key: &grant.to, last: grant.last, pace: grant.pace };
        let pace = check_request(request, &grantee, now)?;
        if grant.until.is_some_and(|until| until <= clock.latest()) {
            return Err(revoked());
        }
        let ids = readable(&view, user, page, grant.class.as_ref())?;
        let access =
            Access { principal: grant.principal(number), purpose: grant.purpose.clone(), at: now };
        let opened = grant.opened + ids.len() as u64;
        let grant = Grant { last: request.made, opened, pace, ..grant };
        page.grants.set(editor, user, number, &grant)?;
        write_down(edit, &ids, &access)?;
        Ok(ids)
    })?;
    let granted = |state: &State, view: &View<'_>, id: &RecordId| {
        let pages = view.pages;
        let live = view.users().live(user)?;
        let Some(page) = live.filter(|page| page.incarnation == incarnation) else {
            return Ok(None);
        };
        let (Some(grant), Some(slot)) =
            (page.grants.get(pages, user, number)?, page.class(id.class))
        else {
            return Ok(None);
        };
        let clock = inner.reading(state);
        let via = || Via {
            user,
            grants: vec![(number, grant.until)],
            floor: inner.floor(clock),
            set: None,
        };
        Ok(grant.covers(&slot.class, clock.latest()).then(via))
    };
    deliver(inner, &ids, &granted, &request.to, out)
}

/// By what a record may be read in one state, if it may.
type Granted<'g> = dyn Fn(&State, &View<'_>, &RecordId) -> Result<Option<Via>> + 'g;

/// Seals records to a fresh key, as long as each lives and is granted.
pub(super) fn deliver(
    inner: &Arc<Core>,
    ids: &[RecordId],
    granted: &Granted<'_>,
    to: &[u8],
    out: impl Write,
) -> Result<Opened> {
    let mut parcel = Packing::to_key(&*inner.options.env, to, out)?;
    let mut opened = Opened::default();
    for id in ids {
        // Grant and record as they stand in one state; the reader is known to an erase and a
        // revocation when that is let go.
        let reader = inner.look_at(|state, view| match granted(state, view, id)? {
            Some(via) => open_in(inner, view, id, true, By::Grants(via)).map(Some),
            None => Ok(None),
        });
        let reader = match reader {
            Ok(Some(reader)) => reader,
            Err(e) if e.kind() != ErrorKind::Erased => return Err(e),
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
    let Finished { late, late_bytes, .. } = parcel.finish_counted()?;
    opened.records -= late;
    opened.bytes -= late_bytes;
    opened.fell += late;
    Ok(opened)
}

pub(super) fn open_set(
    inner: &Arc<Core>,
    request: &Request,
    tag: &SetTag,
    out: impl Write,
) -> Result<Opened> {
    let (ids, fell, set) = commit_edit(inner, |edit| {
        let (pages, clock) = (edit.pages(), edit.moment.clock);
        let now = edit.means.env.now();
        let set = edit.sets.get(pages, tag)?.ok_or_else(no_such_set)?;
        let grantee = Grantee { key: &set.to, last: set.last, pace: set.pace };
        let pace = check_request(request, &grantee, now)?;
        let Members { live, dropped } = members(edit, tag, &set, clock.latest())?;
        // By a clock that may be wrong nothing is given out, and nothing is taken out for good.
        let believed = !clock.doubted;
        for id in dropped.iter().filter(|_| believed) {
            if let Some((editor, page)) = edit.page(id.user)? {
                page.lineage.remove_member(editor, id, tag)?;
            }
        }
        for (user, _) in live.iter().filter(|(_, ids)| believed && ids.is_empty()) {
            edit.sets.remove_user(&mut edit.editor, tag, *user)?;
        }
        let ids: Vec<RecordId> = live.into_values().flatten().collect();
        let members = ids.len() as u64;
        let run = set.runs + 1;
        let principal = format!("training set {}, run {run}", set.name);
        write_down(edit, &ids, &Access { principal, purpose: set.purpose.clone(), at: now })?;
        let fell = set.members.saturating_sub(members);
        let set = TrainingSet { last: request.made, runs: run, members, pace, ..set };
        edit.sets.set(&mut edit.editor, tag, &set)?;
        Ok((ids, fell, set))
    })?;
    let granted = |state: &State, view: &View<'_>, id: &RecordId| {
        let (pages, clock) = (view.pages, inner.reading(state));
        let live = view.users().live(id.user)?;
        let Some(page) = live.filter(|page| page.incarnation == id.incarnation) else {
            return Ok(None);
        };
        // It may have been dropped, and another one made under its name.
        let is_it = |there: TrainingSet| {
            (there.made, there.to, &there.purpose) == (set.made, set.to, &set.purpose)
                && there.runs >= set.runs
        };
        if !sets_of(&state.head).get(pages, tag)?.is_some_and(is_it)
            || !page.lineage.is_member(pages, id, tag)?
        {
            return Ok(None);
        }
        let grants = granted(pages, &page, &set, id, clock.latest())?;
        let via =
            |grants| Via { user: id.user, grants, floor: inner.floor(clock), set: Some(*tag) };
        Ok(Some(grants).filter(|grants| !grants.is_empty()).map(via))
    };
    let opened = deliver(inner, &ids, &granted, &request.to, out)?;
    Ok(Opened { fell: opened.fell + fell, ..opened })
}
