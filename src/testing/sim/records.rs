//! Putting and erasing in a run, and how the model follows.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Erase, Erasure, Put, RecordInfo, Scope, Source};
use std::cell::RefCell;
use std::time::Duration;

use super::attempt::{Done, Told, attempt};
use super::checks::{check_cell, check_readers};
use super::choose::{any_record, pick};
use super::model::{Named, Record};
use super::names::user_id;
use super::op::{Chosen, Item, Trouble};
use super::run::Run;
use crate::certificate::Certificate;
use crate::error::{ErrorKind, Result};
use crate::ids::RecordId;

/// An erase in the engine's terms.
pub(super) fn asked(named: &Named) -> Erase {
    match named {
        Named::User(user) => Scope::user(user_id(*user)).into(),
        Named::Record(id) => Scope::Record(*id).into(),
        Named::Part { user, class, when, keep, alone } => {
            let mut erase =
                Erase::new(Scope::User { user: user_id(*user), class: class.clone(), when: *when });
            if *alone {
                erase = erase.keep_derived("it stays");
            }
            keep.iter().fold(erase, |erase, class| erase.keep(class.clone(), "it stays"))
        }
    }
}

pub(super) fn put(run: &mut Run, user: u8, items: Vec<Chosen>, trouble: Trouble) {
    let refused = run.model.refuses(user, &items);
    let act = |run: &Run| {
        let mut batch = run.engine().batch();
        let mut last = None;
        for item in &items {
            let mut put = Put::new(user_id(user), item.class.clone());
            if let Some(interaction) = item.interaction {
                put = put.interaction(interaction);
            }
            for source in &item.sources {
                put = put.derived_from(*source);
            }
            if let Some(last) = last.filter(|_| item.from_last) {
                put = put.derived_from(Source::Added(last));
            }
            last = Some(batch.add(put, &item.content[..])?);
        }
        let ids = batch.commit()?;
        assert!(!refused, "FOUND: a fenced put, or one from an erased source, was let in");
        Ok(Done::Ids(ids))
    };
    let items_back = items.clone();
    attempt(run, "puts", trouble, &act, move |run, done, _| {
        follow_put(run, user, items_back, done);
    });
}

/// Updates the model after a put.
pub(super) fn follow_put(run: &mut Run, user: u8, items: Vec<Chosen>, done: Option<Done>) {
    let ids = match done {
        Some(Done::Ids(ids)) => ids,
        _ => find(run, user, &items),
    };
    assert_eq!(ids.len(), items.len(), "LOST: a put is wholly there or not at all");
    let mut last = None;
    for (item, id) in items.into_iter().zip(ids) {
        assert!(!run.model.erased.contains(&id), "an erased record's id was given again");
        let Chosen { class, mut sources, from_last, content, .. } = item;
        sources.extend(last.filter(|_| from_last));
        last = Some(id);
        run.tally.add("records derived", u64::from(!sources.is_empty()));
        run.model.put(user, Record::new(id, class, content, sources));
    }
}

/// Picks what the numbers of an item stand for.
pub(super) fn choose(run: &mut Run, item: Item) -> Chosen {
    Chosen {
        interaction: item.interaction.and_then(|n| pick(&run.model, n)),
        sources: item.sources.iter().filter_map(|n| any_record(&run.model, *n)).collect(),
        from_last: item.from_last,
        content: run.content(item.len),
        class: item.class,
    }
}

/// The ids of what was put and not acknowledged, in the order of the items.
pub(super) fn find(run: &Run, user: u8, items: &[Chosen]) -> Vec<RecordId> {
    let live = run.model.live();
    let mut new: Vec<_> = run.listed().into_iter().filter(|r| !live.contains_key(&r.id)).collect();
    let mut ids = Vec::new();
    for item in items {
        let is = |r: &RecordInfo| {
            r.class == item.class
                && r.user == user_id(user)
                && run.read(&r.id).is_ok_and(|c| c == item.content)
        };
        match new.iter().position(is) {
            Some(at) => ids.push(new.remove(at).id),
            None => panic!("LOST: a put is there in part"),
        }
    }
    ids
}

pub(super) fn erase(run: &mut Run, named: Vec<Named>, window: Option<Duration>, trouble: Trouble) {
    let within = |erase: Erase| match window {
        Some(window) => erase.final_within(window),
        None => erase,
    };
    // A few ask for certificates; one of each commit is kept, to be checked at the end.
    let certified = run.engine().head().commit.is_multiple_of(16);
    let ask = |erase: Erase| if certified { erase.certified("", "") } else { erase };
    let scopes: Vec<Erase> = named.iter().map(|n| ask(within(asked(n)))).collect();
    let issued = RefCell::new(None);
    let act = |run: &Run| {
        let results = run.engine().erase_all(&scopes);
        // Each is judged alone: that one fails does not undo the others.
        let some = results.iter().any(Result::is_ok);
        let mut all = Vec::new();
        for result in results {
            if let Ok(done) = &result {
                let due = certified && !done.already;
                assert_eq!(done.certificate.is_some(), due, "a certificate for what fell");
            }
            let result = result.map(|mut done| {
                *issued.borrow_mut() = done.certificate.take();
                done
            });
            all.push(told(result, some)?);
        }
        Ok(Done::Erased(all))
    };
    attempt(run, "erases", trouble, &act, |run, done, now| {
        let acknowledged = match done {
            Some(Done::Erased(all)) => Some(all),
            _ => None,
        };
        for (n, named) in named.iter().enumerate() {
            match &acknowledged {
                Some(all) => follow_told(run, named, all[n], trouble, now),
                None => follow_untold(run, named, trouble, now),
            }
        }
        let pending = run.engine().status().is_ok_and(|s| s.pending.is_some());
        run.tally.add("erases pending", u64::from(pending));
        if acknowledged.is_some() {
            if let Some(unsigned) = issued.borrow_mut().take() {
                let signed: Certificate =
                    unsigned.sign().unwrap_or_else(|e| panic!("LOST: a certificate: {e}"));
                run.certificates.push(signed);
            }
            check_cell(run);
            check_readers(run);
        }
    });
}

/// What one erase of a call reported; `some`: another one of the call succeeded.
fn told(result: Result<Erasure>, some: bool) -> Result<Told> {
    match result {
        Ok(done) => Ok(Told::Fell(done.records.unwrap_or(u64::MAX), done.already)),
        Err(e) if e.kind() == ErrorKind::Absent => Ok(Told::Absent),
        Err(e) if e.kind() == ErrorKind::Held => Ok(Told::Held),
        // A caller takes this answer for success.
        Err(e) if e.kind() == ErrorKind::Erased => panic!("LOST: an erase fails as erased: {e}"),
        Err(_) if some => Ok(Told::Failed),
        Err(e) => Err(e),
    }
}

/// Updates the model for an erase that was acknowledged or refused.
fn follow_told(run: &mut Run, named: &Named, told: Told, trouble: Trouble, now: u64) {
    match told {
        Told::Held => {
            assert!(run.model.held(named), "an erase was refused, and nothing is held: {named:?}");
            run.tally.count("erases refused");
        }
        Told::Failed => run.tally.count("erases that failed alone"),
        Told::Absent => assert_eq!(run.model.hits(named), 0, "an erase missed a record: {named:?}"),
        Told::Fell(records, already) => {
            let held = run.model.held(named) && !run.model.would_do_nothing(named);
            assert!(!held, "FOUND: an erase took what is held: {named:?}");
            let (fell, nothing) = run.model.erase(named, now);
            // What fell before and is still to be followed counts with its scope. So it does where
            // a page could not be read on the way to it, now or by an erase before.
            run.left |= trouble.during.is_some();
            let followed = run.options.follow.links > 100 && !run.left;
            assert!(
                records == fell || !followed && records > fell,
                "{named:?}: {records} of {fell}"
            );
            if followed && !matches!(named, Named::Part { .. }) {
                assert_eq!(already, nothing, "{named:?}");
            }
            run.tally.add("records erased", fell);
        }
    }
}

/// Updates the model for an erase that was not acknowledged, though a commit happened.
fn follow_untold(run: &mut Run, named: &Named, trouble: Trouble, now: u64) {
    // What was erased before leaves no fence.
    let acts = run.model.hits(named) > 0 || run.model.leaves_fence(named);
    // One that met the fault failed alone.
    let hit = run.model.taken(named);
    let failed =
        trouble.during.is_some() && !hit.is_empty() && hit.iter().all(|id| run.read(id).is_ok());
    if acts && !failed && !run.model.held(named) {
        run.model.erase(named, now);
    }
}

/// Opens a reader, which is read from again after each erase.
pub(super) fn hold_open(run: &mut Run, n: u8) {
    let live: Vec<RecordId> = run.model.live().into_keys().collect();
    if let Some(id) = live.get(usize::from(n) % live.len().max(1)) {
        let reader = run.engine().get(id).unwrap_or_else(|e| panic!("LOST: {e}"));
        run.readers.push((*id, reader));
    }
}
