//! Uploads in a run: begun, appended to, finished, aborted; and how the model follows.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use std::slice::from_ref;

use super::attempt::{Done, Told, attempt};
use super::checks::{check_cell, check_readers};
use super::judged_uploads::listed;
use super::model::{Record, Upload, stand_in};
use super::named::{Fate, Under, fate, made, put_mode};
use super::names::{UNSAID, record_name, user_id};
use super::op::{Chosen, NamedUpload, Trouble};
use super::records::find;
use super::run::Run;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::ids::UploadId;
use crate::limits::RETRY;
use crate::policy::millis;
use crate::{Put, PutMode};

pub(super) fn begin(
    run: &mut Run,
    user: u8,
    item: &Chosen,
    to_be: Option<NamedUpload>,
    trouble: Trouble,
) {
    let refused = run.model.refuses(user, from_ref(item));
    let named = to_be.map(|to_be| {
        let taken = run.model.names(user).find(|name| UNSAID.contains(name));
        let name = taken.unwrap_or(to_be.name);
        (name, put_mode(&run.model, user, name, to_be.mode))
    });
    let act = |run: &Run| {
        let mut put = Put::new(user_id(user), item.class.clone());
        if let Some(interaction) = item.interaction {
            put = put.interaction(interaction);
        }
        put = item.sources.iter().fold(put, |put, source| put.derived_from(*source));
        put = named.iter().fold(put, |put, (name, mode)| put.name(record_name(*name)).mode(*mode));
        let id = run.engine().uploads().begin(put)?;
        assert!(!refused, "FOUND: an upload was begun of what is fenced, or from what was erased");
        Ok(Done::Upload(id))
    };
    attempt(run, "uploads begun", trouble, &act, |run, done, _| {
        let known = run.model.uploads();
        let listed = run.engine().uploads().list(&user_id(user)).unwrap_or_default();
        let is_it = |id: &UploadId| match &done {
            Some(Done::Upload(begun)) => begun == id,
            // Not acknowledged, and it happened: the one that the model does not know.
            _ => !known.iter().any(|(_, there)| there.id == *id),
        };
        let Some(state) = listed.into_iter().find(|state| is_it(&state.id)) else {
            panic!("LOST: an upload that was begun");
        };
        let (class, sources) = (item.class.clone(), item.sources.clone());
        let record = Record::new(stand_in(&state.id), class, Vec::new(), sources);
        assert_eq!(state.name.as_deref(), named.map(|(name, _)| record_name(name)));
        let upload = Upload { id: state.id, record, named, expires: state.expires.0 };
        run.model.interactions.push(state.interaction);
        let there = run.model.users.entry(user).or_default();
        there.unborn = false;
        there.uploads.push(upload);
    });
    let newest = |run: &Run| run.model.users.get(&user)?.uploads.last().cloned();
    if let Some(upload) = newest(run).filter(|it| it.record.content.is_empty()) {
        go_on(run, user, &upload, item.content.clone(), Trouble::default());
    }
    if to_be.is_some_and(|to_be| to_be.at_once)
        && let Some(upload) = newest(run)
    {
        finish_one(run, user, &upload, trouble);
    }
}

/// The upload that a number picks.
fn picked(run: &Run, n: u8) -> Option<(u8, Upload)> {
    let all = run.model.uploads();
    all.get(usize::from(n) % all.len().max(1)).map(|(user, upload)| (*user, (*upload).clone()))
}

pub(super) fn append(run: &mut Run, n: u8, len: usize, trouble: Trouble) {
    let Some((user, upload)) = picked(run, n) else { return };
    let content = run.content(len);
    go_on(run, user, &upload, content, trouble);
}

fn go_on(run: &mut Run, user: u8, upload: &Upload, content: Vec<u8>, trouble: Trouble) {
    let at = upload.record.content.len() as u64;
    let act = |run: &Run| {
        let there = run.engine().uploads().append(&upload.id, at, &content[..])?;
        assert_eq!(there, at + content.len() as u64, "an append says what is there");
        Ok(Done::Nothing)
    };
    attempt(run, "uploads gone on with", trouble, &act, |run, _, _| {
        let there = run.model.users.entry(user).or_default();
        let it = there.uploads.iter_mut().filter(|it| it.id == upload.id);
        it.for_each(|it| it.record.content.extend_from_slice(&content));
    });
}

pub(super) fn finish(run: &mut Run, n: u8, trouble: Trouble) {
    if let Some((user, upload)) = picked(run, n) {
        finish_one(run, user, &upload, trouble);
    }
}

fn finish_one(run: &mut Run, user: u8, upload: &Upload, trouble: Trouble) {
    if let Some((name, mode)) = upload.named {
        return finish_named(run, user, upload, name, mode, trouble);
    }
    let act = |run: &Run| run.engine().uploads().finish(&upload.id).map(|id| Done::Ids(vec![id]));
    attempt(run, "uploads finished", trouble, &act, |run, done, _| {
        let Record { class, content, sources, .. } = upload.record.clone();
        let ids = match done {
            Some(Done::Ids(ids)) => ids,
            _ => {
                let (interaction, from_last) = (Some(upload.id.interaction()), false);
                let (class, content) = (class.clone(), content.clone());
                let put = Chosen { class, interaction, sources: Vec::new(), from_last, content };
                find(run, user, from_ref(&put))
            }
        };
        end(run, user, upload);
        for id in ids {
            let (class, content, sources) = (class.clone(), content.clone(), sources.clone());
            run.model.put(user, Record::new(id, class, content, sources));
        }
    });
}

/// An upload that became a record is none any more.
fn end(run: &mut Run, user: u8, upload: &Upload) {
    // Until the epoch ends, old pages lead to its parts.
    run.finished.push((upload.record.id, run.engine().head().epoch));
    let there = run.model.users.entry(user).or_default();
    there.uploads.retain(|it| it.id != upload.id);
}

/// Its name is taken now, as its mode says.
fn finish_named(
    run: &mut Run,
    user: u8,
    upload: &Upload,
    name: u8,
    mode: PutMode,
    trouble: Trouble,
) {
    let Record { class, content, sources, .. } = upload.record.clone();
    let interaction = Some(upload.id.interaction());
    let item = Chosen { class, interaction, sources, from_last: false, content };
    let fate = fate(&run.model, user, name, &item, mode);
    let act = |run: &Run| made(fate, run.engine().uploads().finish(&upload.id));
    let under = Under { user, name, fate };
    attempt(run, "named uploads finished", trouble, &act, |run, done, now| {
        if matches!(fate, Fate::Refused(_)) {
            assert!(!matches!(done, Some(Done::Ids(_))), "FOUND: what is {fate:?} was finished");
            run.tally.count("named uploads refused");
            return;
        }
        end(run, user, upload);
        let left = trouble.during.is_some();
        run.left |= under.follow(run, &item, done.as_ref(), now) && left;
    });
}

pub(super) fn abort(run: &mut Run, n: u8, trouble: Trouble) {
    let Some((user, upload)) = picked(run, n) else { return };
    let held = run.model.is_held(user, &upload.record);
    let act = |run: &Run| match run.engine().uploads().abort(&upload.id) {
        Ok(()) => Ok(Done::Erased(vec![Told::Fell(0, false)])),
        Err(e) if e.kind() == ErrorKind::Held => Ok(Done::Erased(vec![Told::Held])),
        Err(e) => Err(e),
    };
    attempt(run, "uploads aborted", trouble, &act, |run, done, _| {
        let Some(Done::Erased(told)) = done else {
            // A refusal is recorded, too.
            if !held {
                run.model.drop_upload(&upload.id);
            }
            return;
        };
        assert_eq!(matches!(told[..], [Told::Held]), held, "FOUND or LOST: a hold on an upload");
        if !held {
            run.model.drop_upload(&upload.id);
            check_cell(run);
            check_readers(run);
        }
    });
}

/// After what was due was done: uploads that ended are gone, and no other.
pub(super) fn follow_ends(run: &mut Run, whole: bool, now: u64) {
    let until = run.env.now().0;
    let all: Vec<(u8, Upload)> =
        run.model.uploads().into_iter().map(|(user, it)| (user, it.clone())).collect();
    for (user, upload) in all {
        let ends = run.model.ends(user, &upload);
        if listed(run, user).iter().any(|(id, _)| *id == upload.id) {
            // What a hold or a fault kept is tried again an hour later.
            let kept = run.model.is_held(user, &upload.record)
                || run.tally.events.contains_key("holds lifted")
                || run.failed_at.is_some_and(|at| ends <= at && now < at + millis(RETRY));
            assert!(ends > now || kept || !whole, "FOUND: an upload that has ended is there");
        } else {
            let early = ends > until && run.others.is_none();
            assert!(!early, "LOST: an upload ended before its time");
            run.model.drop_upload(&upload.id);
            run.tally.count("uploads expired");
        }
    }
}
