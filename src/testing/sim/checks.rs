//! What the judges check during a run: after each erase, each recovery and each call.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use std::collections::{BTreeMap, BTreeSet};

use super::judged_uploads::check_uploads;
use super::names::{record_meta, record_name, user_id};
use super::run::Run;
use crate::Query;
use crate::engine::CopyMode;
use crate::error::ErrorKind;
use crate::testing::lock::locked;

/// The first judge: the engine says what the model says.
pub(super) fn compare(run: &Run) {
    let live = run.model.live();
    for (id, (user, record)) in &live {
        match run.read(id) {
            Ok(content) => assert!(content == record.content, "LOST: {id} has other bytes"),
            Err(e) => panic!("LOST: an acknowledged record: {e}"),
        }
        let info = run.engine().info(id).unwrap_or_else(|e| panic!("LOST: {e}"));
        assert_eq!(info.user, user_id(*user));
    }
    for id in &run.model.erased {
        match run.read(id) {
            Ok(_) => panic!("FOUND: an erased record is read: {id}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Erased, "{e}"),
        }
    }
    check_names(run);
    check_copies(run);
    check_uploads(run);
    let listed = run.listed();
    assert_eq!(listed.len(), live.len(), "the list holds something else");
    assert!(listed.iter().all(|r| live.contains_key(&r.id)), "the list holds something else");
}

/// Each name that lives finds its record, with what was said of it, and no other name is listed.
fn check_names(run: &Run) {
    for (n, user) in &run.model.users {
        let (mut names, id) = (BTreeSet::new(), user_id(*n));
        for record in &user.records {
            let Some(number) = record.name else { continue };
            let name = record_name(number);
            assert!(names.insert(name), "two records have the name {name:?}");
            let said: BTreeMap<_, _> = record_meta(number, &record.content).into_iter().collect();
            match run.engine().find(&id, name) {
                Ok(info) => {
                    assert_eq!(info.id, record.id, "{name:?} is another record's");
                    assert_eq!(info.meta, said, "LOST: what was said of {name:?}");
                }
                Err(e) => panic!("LOST: the name {name:?}: {e}"),
            }
        }
        match run.engine().list(&Query::default().user(id).name_prefix("")) {
            Ok(listed) => {
                let listed: Vec<_> = listed.records.into_iter().filter_map(|r| r.name).collect();
                assert!(names.into_iter().eq(listed.iter()), "FOUND: other names: {listed:?}");
            }
            Err(e) => assert!(matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent), "{e}"),
        }
    }
}

/// An acknowledged erase leaves one root key, the current one, wherever the cell wrote.
pub(super) fn check_cell(run: &Run) {
    let mut keys = run.keys_on_medium();
    let epoch = run.engine().head().epoch;
    // The key of the next epoch may stand ready. With keyholders, those of a process that crashed
    // go with it: no engine gives up what it has only seen.
    let next: BTreeSet<_> =
        keys.iter().map(|key| key.id).filter(|id| id.epoch == epoch + 1).collect();
    assert!(
        next.len() <= 1 || run.engine().promise().quorum.is_some(),
        "FOUND: keys stand ready: {next:?}"
    );
    keys.retain(|key| key.id.epoch != epoch + 1);
    let attempts: BTreeSet<_> = keys.iter().map(|k| k.id).collect();
    if !run.engine().is_final() {
        // It is pending, and says so.
        assert!(
            attempts.iter().any(|id| id.epoch == epoch),
            "LOST: the cell lacks the store's root key"
        );
        return;
    }
    assert_eq!(
        attempts.len(),
        1,
        "FOUND: after an acknowledged erase the cell's medium holds {attempts:?}"
    );
    assert!(
        keys.iter().all(|k| k.id.epoch == epoch),
        "the cell holds another epoch than the store"
    );
}

pub(super) fn check_readers(run: &mut Run) {
    let live = run.model.live();
    for (id, reader) in &mut run.readers {
        let mut byte = [0; 1];
        let read = std::io::Read::read(reader, &mut byte);
        assert!(live.contains_key(id) || read.is_err(), "FOUND: a reader delivers what was erased");
    }
    for opening in &run.openings {
        let gone = !live.contains_key(opening.id());
        let e = opening.reader().err().map(|e| e.kind());
        assert!(
            !gone || e == Some(ErrorKind::Erased),
            "FOUND: an opening of what was erased: {e:?}"
        );
    }
}

/// What counts is on every copy in step that can be reached.
pub(super) fn check_copies(run: &Run) {
    if run.others.is_none()
        || run.model.copies.is_empty()
        || !run.settled()
        || !locked(&run.unreachable).is_empty()
    {
        return;
    }
    for copy in
        run.engine().copies().status().iter().filter(|copy| copy.entry.mode == CopyMode::InStep)
    {
        assert_eq!(
            copy.head,
            Some(run.engine().head()),
            "LOST: a copy in step is not in step: {copy:?}"
        );
    }
}
