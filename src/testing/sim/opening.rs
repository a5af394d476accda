//! Beginning, ending and beginning again: the engine of a run is opened over the same media each
//! time.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Engine, Put, Query, Scope};
use std::sync::Arc;

use super::media::gate::Fault;
use super::media::port::Media;
use super::names::{BACKUP, CELL, STORE, user_id};
use super::others::look;
use super::run::Run;
use crate::engine::{Defect, OpenAs};
use crate::env::Env;
use crate::error::ErrorKind;
use crate::ids::Class;
use crate::testing::seeded::Seeded;

/// Makes a store on empty media; `trouble` meets the making.
pub(super) fn start(
    media: Arc<dyn Media>,
    env: Arc<Seeded>,
    seed: u64,
    defect: Option<Defect>,
    trouble: Option<(u64, Fault)>,
) -> Run {
    let mut run = Run::new(media, env, seed, defect);
    init(&mut run, trouble);
    run.media.stir();
    run
}

/// An `init` that is cut short is done again on empty places, or opened where it was done after
/// all.
pub(super) fn init(run: &mut Run, trouble: Option<(u64, Fault)>) {
    run.media.gate().plan(trouble);
    let made = run.with_media(true, Engine::init);
    let blown = run.media.gate().blown().is_some();
    run.media.gate().plan(None);
    match made {
        Ok(engine) if !run.media.gate().is_off() => {
            run.engine = Some(engine);
            return;
        }
        Err(e) if !blown => panic!("an empty place takes no store: {e}"),
        _ => {}
    }
    drop(made);
    let power = run.media.gate().is_off() || run.rng.coin();
    restart(run, power);
    match run.with_media(false, Engine::open) {
        Ok(engine) => run.engine = Some(engine),
        Err(e) => {
            assert!(
                matches!(e.kind(), ErrorKind::Absent | ErrorKind::Corrupt),
                "an init cut short: {e:?}"
            );
            run.media.lose(STORE);
            run.media.lose(CELL);
            init(run, None);
        }
    }
}

/// Opens the engine, with trouble on the way.
pub(super) fn open(run: &mut Run, trouble: Option<(u64, Fault)>) {
    let mut trouble = trouble;
    look_first(run);
    for _ in 0..8 {
        run.media.gate().plan(trouble.take());
        let opened = run.with_media(false, Engine::open);
        let blown = run.media.gate().blown().is_some();
        run.media.gate().plan(None);
        if blown {
            run.failed_at = Some(run.env.now().0);
        }
        if run.media.gate().is_off() {
            drop(opened);
            restart(run, true);
            continue;
        }
        match opened {
            Ok(engine) => {
                let taken_over = run.options.open_as == OpenAs::TakeOver;
                let read_only = engine.read_only();
                assert!(taken_over || run.restored || read_only.is_none(), "LOST: {read_only:?}");
                assert!(
                    taken_over || !run.restored || read_only.is_some(),
                    "FOUND: a store that was restored owns the cell by itself"
                );
                if engine.read_only().is_some() {
                    look_only(run, engine);
                    run.options.open_as = OpenAs::TakeOver;
                    continue;
                }
                run.options.open_as = OpenAs::Owner;
                run.restored = false;
                run.engine = Some(engine);
                return;
            }
            Err(_) if blown => {
                let power = run.rng.coin();
                restart(run, power);
            }
            Err(e) => panic!("LOST: the store does not open again: {e}"),
        }
    }
    panic!("LOST: the store does not open again, and nothing goes wrong any more");
}

/// Reopens a poisoned engine in place, with trouble on the way; one that cannot be is ended, and
/// opened by another process.
pub(super) fn reopen(run: &mut Run, trouble: Option<(u64, Fault)>) {
    run.media.gate().plan(trouble);
    let reopened = run.engine().reopen();
    let blown = run.media.gate().blown().is_some();
    run.media.gate().plan(None);
    if blown {
        run.failed_at = Some(run.env.now().0);
    }
    if run.media.gate().is_off() {
        restart(run, true);
        return open(run, None);
    }
    match reopened {
        Ok(()) => {
            assert!(!run.engine().is_poisoned(), "an engine is poisoned after it was reopened");
            for (id, mut reader) in run.readers.drain(..) {
                let read = reader.read_some(&mut [0; 1]).map_err(|e| e.kind());
                assert!(
                    matches!(read, Err(ErrorKind::Poisoned | ErrorKind::Erased)),
                    "FOUND: a reader of before reads {id}: {read:?}"
                );
            }
            if let Some(others) = &mut run.others {
                others.batch = None;
            }
            run.tally.count("reopened in place");
        }
        Err(e) => {
            // Another engine may have claimed the store, or its media went back.
            let other = matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Mismatch);
            assert!(blown || other, "LOST: the store does not open again in place: {e:?}");
            restart(run, false);
            open(run, None);
        }
    }
}

pub(super) fn close(run: &mut Run) {
    run.readers.clear();
    run.openings.clear();
    if let Some(others) = &mut run.others {
        others.batch = None;
    }
    run.engine = None;
}

/// Ends the process, or cuts the power of its machine.
pub(super) fn restart(run: &mut Run, power: bool) {
    close(run);
    if power
        && !run.media.has_keyholders()
        && let Some(others) = &mut run.others
    {
        others.switch_off();
    }
    let seed = run.rng.next();
    run.media.restart(power, seed);
    run.tally.count(if power { "power cuts" } else { "restarts" });
}

/// Looks at a store that was restored, or went back: that changes nothing in it or in the cell.
fn look_only(run: &Run, engine: Engine) {
    let keys = |run: &Run| {
        run.media.cell().and_then(|cell| cell.load()).map(|contents| contents.keys.len()).ok()
    };
    let before = keys(run);
    let refused = engine.erase(Scope::user(user_id(0))).err().map(|e| e.kind());
    assert_eq!(
        refused,
        Some(ErrorKind::Fenced),
        "FOUND: a store erases that does not own its cell"
    );
    let refused =
        engine.put(Put::new(user_id(0), Class::audio()), &b"x"[..]).err().map(|e| e.kind());
    assert_eq!(
        refused,
        Some(ErrorKind::Fenced),
        "FOUND: a store takes a put that does not own its cell"
    );
    let _ = (engine.run_due(&mut |_| {}), engine.status(), engine.list(&Query::default()));
    drop(engine);
    assert_eq!(keys(run), before, "FOUND: a look destroys a root key");
}

/// Before the store is opened: somebody may have opened the backup first.
fn look_first(run: &mut Run) {
    if backup_is_closed(run) && run.rng.coin() {
        look_at(run, BACKUP, OpenAs::Owner);
    }
}

/// Whether no other engine has the backup open: its lock would keep others out.
pub(super) fn backup_is_closed(run: &Run) -> bool {
    run.others.as_ref().is_some_and(|others| others.stale.is_none())
}

/// Looks at a copy of the store, with the store's cell.
pub(super) fn look_at(run: &mut Run, place: &str, open_as: OpenAs) {
    let open_as = run.others().open_as(open_as);
    if let Some(wrong) = look(&*run.media, &run.options, place, open_as) {
        panic!("{wrong}");
    }
    run.tally.count("looks at a copy");
}
