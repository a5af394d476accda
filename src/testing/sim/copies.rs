//! Copies, backups and discards in a run.

use std::cell::Cell;

use super::attempt::{Done, attempt};
use super::names::{BACKUP, copy_place};
use super::op::Trouble;
use super::run::Run;
use crate::engine::CopyMode;

pub(super) fn copy_add(run: &mut Run, n: u8, in_step: bool, trouble: Trouble) {
    let mode = if in_step { CopyMode::InStep } else { CopyMode::Behind };
    let act = |run: &Run| {
        run.engine().copies().add(&copy_place(n), mode, &mut |_| {}).map(|_| Done::Nothing)
    };
    attempt(run, "copies added", trouble, &act, |run, _, _| {
        run.model.copies.insert(n, in_step);
    });
}

pub(super) fn copy_sync(run: &mut Run, trouble: Trouble) {
    let act = |run: &Run| {
        let synced = run.engine().copies().sync(None, &mut |_| {})?;
        assert_eq!(synced.len(), run.model.copies.len(), "every copy is brought up");
        let status = run.engine().copies().status();
        if run.media.gate().blown().is_none() {
            for copy in status {
                assert_eq!(copy.head, Some(run.engine().head()), "{copy:?}");
                assert_eq!(copy.lacks_pages, Some(0), "{copy:?}");
            }
        }
        Ok(Done::Nothing)
    };
    attempt(run, "copies synced", trouble, &act, |_, _, _| {});
}

pub(super) fn copy_remove(run: &mut Run, n: u8, trouble: Trouble) {
    let act = |run: &Run| run.engine().copies().remove(&copy_place(n)).map(|()| Done::Nothing);
    attempt(run, "copies removed", trouble, &act, |run, _, _| {
        run.model.copies.remove(&n);
    });
}

pub(super) fn backup(run: &mut Run, trouble: Trouble) {
    let act = |run: &Run| {
        let to = (run.options.open_copy)(BACKUP, true)?;
        run.engine().backup(&*to, &mut |_| {}).map(|_| Done::Nothing)
    };
    attempt(run, "backups", trouble, &act, |run, _, _| {
        let head = run.engine().head();
        let alone = run.model.copies.is_empty();
        if let Some(others) = &mut run.others {
            others.backup = alone.then_some(head);
        }
    });
}

pub(super) fn discard(run: &mut Run, trouble: Trouble) {
    let act = |run: &Run| run.engine().discard_in_windows(9).map(|_| Done::Nothing);
    attempt(run, "discards", trouble, &act, |_, _, _| {});
}

pub(super) fn clean(run: &mut Run, all: bool, trouble: Trouble) {
    let (moved, freed) = (Cell::new(0), Cell::new(0));
    let act = |run: &Run| {
        let engine = run.engine();
        let cleaned = if all { engine.clean_all() } else { engine.clean() }?;
        moved.set(cleaned.moved);
        freed.set(cleaned.freed);
        Ok(Done::Nothing)
    };
    attempt(run, "cleanings", trouble, &act, |_, _, _| {});
    run.tally.add("bytes moved by a cleaner", moved.get());
    run.tally.add("bytes freed by a cleaner", freed.get());
}
