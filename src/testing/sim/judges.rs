//! The judges at the end of a run: the model, and the archive adversary.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::checks::{check_cell, compare};
use super::judged_uploads::check_exposed;
use super::names::{STORE, record_meta, record_name, user_id};
use super::op::Trouble;
use super::opening::{open, restart};
use super::promises::tend;
use super::run::Run;
use super::tally::Tally;
use crate::certificate::{Ends, Grade, Leaf, Trust};
use crate::engine::Audit;
use crate::ids::RecordId;
use crate::log::{Checkpoint, Frontier, Hash};
use crate::record::upload::is_of_upload;
use crate::testing::conformance::listed;
use crate::testing::lock::locked;

/// Ends the run with both judges. `whole`: the second one also examines every key ever made.
pub(super) fn judge(mut run: Run, whole: bool) -> Tally {
    let run = &mut run;
    locked(&run.unreachable).clear();
    run.media.calm();
    restart(run, false);
    count_blobs(run);
    open(run, None);
    compare(run);
    settle(run);
    check_users(run);
    check_lineage(run);
    compare(run);
    check_cell(run);
    check_log(run);
    adversary(run);
    let audit = run.engine().audit(&[], &mut |_| {});
    assert!(audit.as_ref().is_ok_and(Audit::is_clean), "{audit:?}");
    if whole {
        every_key(run);
    }
    run.tally.count("runs");
    run.tally.add("records alive at the end", run.model.live().len() as u64);
    run.tally.faults = run.media.gate().faults();
    std::mem::take(&mut run.tally)
}

/// What is pending becomes final and whatever is due is done, and the model follows.
fn settle(run: &mut Run) {
    for _ in 0..2 {
        run.env.advance(30_000);
        tend(run, Trouble::default());
    }
    let pending = run.engine().status().map(|s| s.pending);
    assert!(matches!(pending, Ok(None)), "a pending erase does not become final: {pending:?}");
    compare(run);
    let unsettled = run.engine().status().map(|s| s.unsettled);
    assert!(matches!(unsettled, Ok(None)), "an erase does not become complete: {unsettled:?}");
}

/// The engine counts the records of each user as the model does.
fn check_users(run: &Run) {
    let counted = run
        .engine()
        .users(None, 100)
        .unwrap_or_else(|e| panic!("LOST: nothing can be counted: {e}"));
    for (n, user) in &run.model.users {
        let count = counted.iter().find(|(id, _)| *id == user_id(*n)).map(|(_, records)| *records);
        let live = !user.erased && !user.unborn;
        assert_eq!(count, live.then_some(user.records.len() as u64), "the count of user {n}");
    }
}

/// The engine knows the sources and the openings of each record as the model does.
fn check_lineage(run: &Run) {
    let live = run.model.live();
    for (id, (_, record)) in &live {
        let lineage = run.engine().lineage(id).unwrap_or_else(|e| panic!("LOST: {e}"));
        let opened = run.engine().accesses(id).map(|all| all.len());
        assert_eq!(opened.ok(), Some(record.opened), "LOST: who opened {id}");
        let sources: BTreeSet<_> = lineage.sources.into_iter().collect();
        assert_eq!(sources, record.sources.iter().copied().collect(), "the sources of {id}");
        for derived in &lineage.derived {
            assert!(
                live.get(derived).is_some_and(|(_, r)| r.sources.contains(id)),
                "{derived} is not from {id}"
            );
        }
    }
}

/// The log has the end of each epoch once and nothing else that is final, and it covers every
/// certificate that was issued.
fn check_log(run: &mut Run) {
    let mut ended = Vec::new();
    let mut frontier = Frontier::default();
    let read = run.engine().log().leaves(0, &mut |_, bytes| {
        let leaf: Leaf = String::from_utf8_lossy(bytes).parse()?;
        ended.extend(matches!(leaf.ends, Ends::Next { .. }).then_some(leaf.epoch));
        frontier.push(Hash::leaf(bytes));
        Ok(ControlFlow::Continue(()))
    });
    assert!(read.is_ok(), "LOST: the log: {read:?}");
    let epochs: Vec<u64> = (1..run.engine().head().epoch).collect();
    assert_eq!(ended, epochs, "LOST: the log misses an erase, or has one that did not happen");
    let key = run.engine().log().key().unwrap_or_else(|e| panic!("LOST: the log's key: {e}"));
    let signed = run.engine().log().checkpoint().and_then(|note| Checkpoint::verified(&note, &key));
    assert!(
        signed.as_ref().is_ok_and(|c| c.root == frontier.root()),
        "the checkpoint is of another log: {signed:?}"
    );
    for certificate in std::mem::take(&mut run.certificates) {
        let upgraded = run
            .engine()
            .certificates()
            .upgrade(&certificate, None)
            .and_then(|c| c.verify(&Trust::in_log(key.clone())));
        match upgraded {
            Ok(verified) => assert_ne!(verified.judged.grade, Grade::Pending, "it is final by now"),
            Err(e) => panic!("LOST: a certificate: {e}"),
        }
        run.tally.count("certificates looked at");
    }
}

/// A store counts what it lists: one that counts too few would give back space that blobs still
/// occupy.
fn count_blobs(run: &Run) {
    let store = run.media.store(STORE, false).unwrap_or_else(|e| panic!("LOST: the store: {e}"));
    let listed = listed(&*store, 7).map(|names| names.len() as u64);
    assert_eq!(
        store.usage().map(|usage| usage.blobs).ok(),
        listed.ok(),
        "a store's count of its blobs"
    );
}

/// The second judge: the archive adversary, who has every byte ever written and what the cell holds
/// now.
fn adversary(run: &mut Run) {
    let envelopes = std::mem::take(&mut run.envelopes);
    let live = run.model.live();
    let exposed =
        run.tape.exposed_to(&run.keys_on_medium()).unwrap_or_else(|e| panic!("the tape: {e}"));
    let abandoned = |id: &RecordId| {
        run.abandoned_epoch == run.engine().head().epoch && run.abandoned.contains(id)
    };
    check_exposed(run, &exposed);
    for (id, record) in exposed.iter().filter(|(id, _)| !is_of_upload(id.ordinal)) {
        if abandoned(id) {
            continue;
        }
        match live.get(id) {
            Some((_, expected)) => assert!(
                record.content.as_ref() == Some(&expected.content),
                "the adversary opens {id} as something else"
            ),
            None => {
                let undone =
                    run.undone_epoch == run.engine().head().epoch && !run.model.erased.contains(id);
                assert!(undone, "FOUND: the adversary opens {id}, which does not live");
            }
        }
    }
    assert!(live.keys().all(|id| exposed.contains_key(id)), "the adversary is blind");
    check_labels(run);
    let (envelopes, became): (Vec<_>, Vec<_>) = envelopes.into_iter().unzip();
    let opened = run.tape.opened(&run.keys_on_medium(), &envelopes);
    for (id, opened) in became.iter().zip(&opened) {
        let may = !opened || live.contains_key(id);
        assert!(may, "FOUND: the adversary opens the envelope of {id}, which was erased");
    }
}

/// The second judge, of names and of what is said of records: each is of a record that lives.
fn check_labels(run: &Run) {
    let (live, epoch) = (run.model.live(), run.engine().head().epoch);
    let labels = run.tape.labels(&run.keys_on_medium());
    for label in &labels {
        match live.get(&label.id) {
            Some((_, record)) => {
                let name = record.name.map(record_name);
                assert_eq!(label.name.as_deref(), name, "the adversary reads another name");
            }
            None => {
                // As with records: what was undone, or abandoned, opens until the epoch ends.
                let loose = run.undone_epoch == epoch && !run.model.erased.contains(&label.id)
                    || run.abandoned_epoch == epoch && run.abandoned.contains(&label.id);
                assert!(loose, "FOUND: the adversary reads the name of what does not live");
            }
        }
    }
    for (id, (_, record)) in &live {
        let Some(number) = record.name else { continue };
        let said: BTreeMap<_, _> = record_meta(number, &record.content).into_iter().collect();
        let is_there = labels.iter().any(|label| label.id == *id && label.meta == said);
        assert!(is_there, "the adversary is blind to the name of {id}");
    }
}

/// No key seals two plaintexts; and were no key destroyed, everything would open: the adversary can
/// see.
fn every_key(run: &mut Run) {
    let hoard = locked(&run.hoard);
    let twice = run.tape.key_used_twice(&hoard).unwrap_or_else(|e| panic!("the tape: {e}"));
    assert!(twice.is_none(), "a key seals two plaintexts, the second {twice:?}");
    let all = run.tape.exposed_to(&hoard).unwrap_or_else(|e| panic!("the tape: {e}"));
    assert!(run.model.erased.iter().all(|id| all.contains_key(id)), "the adversary is blind");
    let labels = run.tape.labels(&hoard);
    let had = |id| labels.iter().any(|label| label.id == id && label.name.is_some());
    let blind = run.model.once_named.iter().find(|id| !had(**id));
    assert!(blind.is_none(), "the adversary is blind to the name of {blind:?}");
    run.tally.add("erased names looked for", run.model.once_named.len() as u64);
    run.tally.count("runs with every key looked at");
}
