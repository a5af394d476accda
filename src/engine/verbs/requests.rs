//! What a grantee asks for: the records of a grant or of a training set, opened and sealed to a
//! fresh key.

use std::io::Write;
use std::sync::Arc;

use zeroize::Zeroize;

use super::records::open_in;
use crate::engine::edit::{Edit, page_of};
use crate::engine::grants::revoked;
use crate::engine::reader::Via;
use crate::engine::sets::{Members, granted, no_such_set};
use crate::engine::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserTag};
use crate::sealed::{Asked, Packing, Request};
use crate::secret::WipeStack;
use crate::tree::grants::Grant;
use crate::tree::lineage::Access;
use crate::tree::sets::{SetTag, TrainingSet};

/// What an opening delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Records delivered whole.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that fell out: of a training set since it was opened last, and those erased or
    /// revoked while this one ran.
    pub fell: u64,
}

pub(super) fn open_request(inner: &Arc<Inner>, request: &[u8], out: impl Write) -> Result<Opened> {
    let _wiped = WipeStack;
    let request = Request::decode(request)?;
    if request.ticket.store != inner.id {
        return Err(Error::new(ErrorKind::Refused, "this request is for another store"));
    }
    match request.ticket.what {
        Asked::Grant { user, incarnation, number } => {
            open_grant(inner, &request, (user, incarnation, number), out)
        }
        Asked::Set(set) => open_set(inner, &request, &set, out),
    }
}

fn open_grant(
    inner: &Arc<Inner>,
    request: &Request,
    (user, incarnation, number): (UserTag, u16, u64),
    out: impl Write,
) -> Result<Opened> {
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
        let access =
            Access { principal: grant.principal(number), purpose: grant.purpose.clone(), at: now };
        let opened = grant.opened + ids.len() as u64;
        page.grants.set(
            editor,
            user,
            number,
            &Grant { last: request.made, opened, pace, ..grant },
        )?;
        inner.write_down(edit, &ids, &access)?;
        Ok(ids)
    })?;
    let granted = |state: &State, id: &RecordId| {
        let pages = inner.pages();
        let Some(page) = inner.page_at(state, user)?.filter(|page| page.incarnation == incarnation)
        else {
            return Ok(None);
        };
        let (Some(grant), Some(slot)) =
            (page.grants.get(&pages, user, number)?, page.class(id.class))
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

/// Seals records to a fresh key, as long as each lives and is granted.
pub(super) fn deliver(
    inner: &Arc<Inner>,
    ids: &[RecordId],
    granted: &dyn Fn(&State, &RecordId) -> Result<Option<Via>>,
    to: &[u8],
    out: impl Write,
) -> Result<Opened> {
    let mut parcel = Packing::to_key(&*inner.options.env, to, out)?;
    let mut opened = Opened::default();
    for id in ids {
        // Grant and record as they stand in one state; the reader is known to an erase and a
        // revocation when that is let go.
        let reader = {
            let state = inner.state();
            granted(&state, id)?.map(|via| open_in(inner, &state, id, true, Some(via)))
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

pub(super) fn open_set(
    inner: &Arc<Inner>,
    request: &Request,
    tag: &SetTag,
    out: impl Write,
) -> Result<Opened> {
    let (ids, fell, set) = inner.commit_edit(|state, pages, edit| {
        let set = edit.sets.get(pages, tag)?.ok_or_else(no_such_set)?;
        let pace = inner.check_request(request, &set.to, (set.last, set.pace))?;
        let now = inner.options.env.now();
        let clock = inner.reading(state);
        let Members { live, dropped } = inner.members(state, edit, (tag, &set, clock.latest()))?;
        // By a clock that may be wrong nothing is given out, and nothing is taken out for good.
        let believed = !clock.doubted;
        for id in dropped.iter().filter(|_| believed) {
            let (editor, root) = edit.parts()?;
            if let Some(page) = page_of(editor, root, id.user)? {
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
        inner.write_down(
            edit,
            &ids,
            &Access { principal, purpose: set.purpose.clone(), at: now },
        )?;
        let fell = set.members.saturating_sub(members);
        let set = TrainingSet { last: request.made, runs: run, members, pace, ..set };
        edit.sets.set(&mut edit.editor, tag, &set)?;
        Ok((ids, fell, set))
    })?;
    let granted = |state: &State, id: &RecordId| {
        let (pages, clock) = (inner.pages(), inner.reading(state));
        let Some(page) =
            inner.page_at(state, id.user)?.filter(|page| page.incarnation == id.incarnation)
        else {
            return Ok(None);
        };
        // It may have been dropped, and another one made under its name.
        let is_it = |there: TrainingSet| {
            (there.made, there.to, &there.purpose) == (set.made, set.to, &set.purpose)
                && there.runs >= set.runs
        };
        if !Edit::sets_of(state).get(&pages, tag)?.is_some_and(is_it)
            || !page.lineage.is_member(&pages, id, tag)?
        {
            return Ok(None);
        }
        let grants = granted(&pages, id.user, &page, (&set.to, &set.purpose), id, clock.latest())?;
        let via =
            |grants| Via { user: id.user, grants, floor: inner.floor(clock), set: Some(*tag) };
        Ok(Some(grants).filter(|grants| !grants.is_empty()).map(via))
    };
    let opened = deliver(inner, &ids, &granted, &request.to, out)?;
    Ok(Opened { fell: opened.fell + fell, ..opened })
}
