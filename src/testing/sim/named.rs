//! Puts under a name in a run: the same put again, and one that replaces a record.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use super::attempt::{Done, attempt};
use super::checks::{check_cell, check_readers};
use super::choose::any_record;
use super::model::{Model, Named as Erased, Record};
use super::names::{record_meta, record_name, user_id};
use super::op::{Chosen, Mode, Named, Trouble};
use super::run::Run;
use crate::error::ErrorKind;
use crate::ids::RecordId;
use crate::{Put, PutMode};

/// What a put under a name comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is there already.
    Same(RecordId),
    /// It is put; maybe in the place of another one.
    Put(Option<RecordId>),
    /// It is refused so.
    Refused(ErrorKind),
}

fn fate(model: &Model, user: u8, name: u8, item: &Chosen, mode: PutMode) -> Fate {
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
    let item = Chosen {
        class: named.class.clone(),
        interaction: None,
        sources: named.source.and_then(|n| any_record(&run.model, n)).into_iter().collect(),
        from_last: false,
        content: vec![named.content + 1; named.len],
    };
    let there = run.model.named(user, name).map(|record| record.id);
    let mode = match named.mode {
        Mode::Replace => PutMode::Replace,
        Mode::IfAbsent => PutMode::IfAbsent,
        Mode::IfIs(n) => any_record(&run.model, n).map_or(PutMode::Replace, PutMode::IfIs),
        Mode::IfItIs => there.map_or(PutMode::Replace, PutMode::IfIs),
    };
    once(run, user, name, &item, mode, trouble);
    if trouble.during.is_some() && run.settled() {
        once(run, user, name, &item, mode, Trouble::default());
        run.tally.count("named puts tried again");
    }
}

fn once(run: &mut Run, user: u8, name: u8, item: &Chosen, mode: PutMode, trouble: Trouble) {
    let fate = fate(&run.model, user, name, item, mode);
    let act = |run: &Run| {
        let put = Put::new(user_id(user), item.class.clone()).name(record_name(name)).mode(mode);
        let put = item.sources.iter().fold(put, |put, id| put.derived_from(*id));
        let said = record_meta(name, &item.content);
        let put = said.into_iter().fold(put, |put, (key, value)| put.meta(key, value));
        match run.engine().put(put, &item.content[..]) {
            Ok(id) => Ok(Done::Ids(vec![id])),
            Err(e) if Fate::Refused(e.kind()) == fate => Ok(Done::Nothing),
            Err(e) => {
                let told = [ErrorKind::Exists, ErrorKind::Changed, ErrorKind::Held];
                assert!(!told.contains(&e.kind()), "a put that is {fate:?} fails: {e}");
                Err(e)
            }
        }
    };
    attempt(run, "puts under a name", trouble, &act, |run, done, now| {
        let id = match (done, fate) {
            (Some(Done::Ids(ids)), _) => ids[0],
            // Only a put that a hold refused writes something.
            (_, Fate::Refused(_)) => return,
            _ => match run.engine().find(&user_id(user), record_name(name)) {
                Ok(info) => info.id,
                Err(e) => panic!("LOST: a put under a name is there in part: {e}"),
            },
        };
        match fate {
            Fate::Same(there) => assert_eq!(id, there, "the same put was done twice"),
            Fate::Refused(kind) => panic!("FOUND: a put was let in that is refused as {kind:?}"),
            Fate::Put(replaced) => {
                let replaces = replaced.is_some();
                if let Some(old) = replaced {
                    assert_ne!(id, old, "another put is done");
                    run.model.erase(&Erased::Record(old), now);
                    run.left |= trouble.during.is_some();
                    run.tally.count("records replaced");
                }
                assert!(!run.model.erased.contains(&id), "an erased record's id was given again");
                let Chosen { class, sources, content, .. } = item.clone();
                run.model.put(user, Record::new(id, class, content, sources));
                run.model.name(&id, name);
                if replaces {
                    check_cell(run);
                    check_readers(run);
                }
            }
        }
    });
}
