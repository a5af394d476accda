//! Puts under a name in a run: the same put again, and one that replaces a record.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use super::attempt::{Done, attempt};
use super::checks::{check_cell, check_readers};
use super::choose::any_record;
use super::model::{Model, Named as Erased, Record};
use super::names::{record_meta, record_name, user_id};
use super::op::{Chosen, Mode, Named, Trouble};
use super::run::Run;
use crate::error::{ErrorKind, Result};
use crate::ids::RecordId;
use crate::{Put, PutMode};

/// What a put under a name comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there already.
    Same(RecordId),
    /// It is put; maybe in the place of another one.
    Put(Option<RecordId>),
    /// It is refused so.
    Refused(ErrorKind),
}

pub(super) fn fate(model: &Model, user: u8, name: u8, item: &Chosen, mode: PutMode) -> Fate {
    if model.refuses(user, std::slice::from_ref(item)) {
        return Fate::Refused(ErrorKind::Erased);
    }
    let Some(there) = model.named(user, name) else {
        return match mode {
            PutMode::IfIs(_) => Fate::Refused(ErrorKind::Changed),
            _ => Fate::Put(None),
        };
    };
    match mode {
        _ if there.is_put_by(item) => Fate::Same(there.id),
        PutMode::IfAbsent => Fate::Refused(ErrorKind::Exists),
        PutMode::IfIs(id) if id != there.id => Fate::Refused(ErrorKind::Changed),
        _ if model.depend_on(&item.sources, &there.id) => Fate::Refused(ErrorKind::Refused),
        _ if model.held(&Erased::Record(there.id)) => Fate::Refused(ErrorKind::Held),
        _ => Fate::Put(Some(there.id)),
    }
}

/// Puts under a name; if trouble met the put, it is tried again until it is done, and there is
/// one record.
pub(super) fn put_named(run: &mut Run, named: &Named, trouble: Trouble) {
    let Named { user, name, .. } = *named;
    if named.replaced {
        let first = Named { replaced: false, content: named.content + 1, ..named.clone() };
        put_named(run, &first, Trouble::default());
    }
    let item = Chosen {
        class: named.class.clone(),
        interaction: None,
        sources: named.source.and_then(|n| any_record(&run.model, n)).into_iter().collect(),
        from_last: false,
        content: vec![named.content + 1; named.len],
    };
    let mode = put_mode(&run.model, user, name, named.mode);
    once(run, user, name, &item, mode, trouble);
    if trouble.during.is_some() && run.settled() {
        once(run, user, name, &item, mode, Trouble::default());
        run.tally.count("named puts tried again");
    }
}

/// The mode of a put, with what its number picks.
pub(super) fn put_mode(model: &Model, user: u8, name: u8, mode: Mode) -> PutMode {
    let is = match mode {
        Mode::Replace => None,
        Mode::IfAbsent => return PutMode::IfAbsent,
        Mode::IfIs(n) => any_record(model, n),
        Mode::IfItIs => model.named(user, name).map(|record| record.id),
    };
    is.map_or(PutMode::Replace, PutMode::IfIs)
}

/// What a call made of a put under a name: a refusal that was due is no failure.
pub(super) fn made(fate: Fate, put: Result<RecordId>) -> Result<Done> {
    match put {
        Ok(id) => Ok(Done::Ids(vec![id])),
        Err(e) if Fate::Refused(e.kind()) == fate => Ok(Done::Nothing),
        Err(e) => {
            let told = [ErrorKind::Exists, ErrorKind::Changed, ErrorKind::Held];
            assert!(!told.contains(&e.kind()), "a put that is {fate:?} fails: {e}");
            Err(e)
        }
    }
}

fn once(run: &mut Run, user: u8, name: u8, item: &Chosen, mode: PutMode, trouble: Trouble) {
    let fate = fate(&run.model, user, name, item, mode);
    let act = |run: &Run| {
        let put = Put::new(user_id(user), item.class.clone()).name(record_name(name)).mode(mode);
        let put = item.sources.iter().fold(put, |put, id| put.derived_from(*id));
        let said = record_meta(name, &item.content);
        let put = said.into_iter().fold(put, |put, (key, value)| put.meta(key, value));
        made(fate, run.engine().put(put, &item.content[..]))
    };
    let under = Under { user, name, fate };
    attempt(run, "puts under a name", trouble, &act, |run, done, now| {
        let left = trouble.during.is_some();
        run.left |= under.follow(run, item, done.as_ref(), now) && left;
    });
}

/// A put under a name that was done, or refused.
pub(super) struct Under {
    pub(super) user: u8,
    pub(super) name: u8,
    pub(super) fate: Fate,
}

impl Under {
    /// The model follows; whether a record was replaced.
    pub(super) fn follow(
        &self,
        run: &mut Run,
        item: &Chosen,
        done: Option<&Done>,
        now: u64,
    ) -> bool {
        let Under { user, name, fate } = *self;
        let id = match (done, fate) {
            (Some(Done::Ids(ids)), _) => ids[0],
            // Only a put that a hold refused writes something.
            (_, Fate::Refused(_)) => return false,
            _ => match run.engine().find(&user_id(user), record_name(name)) {
                Ok(info) => info.id,
                Err(e) => panic!("LOST: a put under a name is there in part: {e}"),
            },
        };
        let replaced = match fate {
            Fate::Same(there) => {
                assert_eq!(id, there, "the same put was done twice");
                return false;
            }
            Fate::Refused(kind) => panic!("FOUND: a put was let in that is refused as {kind:?}"),
            Fate::Put(replaced) => replaced,
        };
        if let Some(old) = replaced {
            assert_ne!(id, old, "another put is done");
            run.model.erase(&Erased::Record(old), now);
            run.tally.count("records replaced");
        }
        assert!(!run.model.erased.contains(&id), "an erased record's id was given again");
        let Chosen { class, sources, content, .. } = item.clone();
        run.model.put(user, Record::new(id, class, content, sources));
        run.model.name(&id, name);
        if replaced.is_some() {
            check_cell(run);
            check_readers(run);
        }
        replaced.is_some()
    }
}
