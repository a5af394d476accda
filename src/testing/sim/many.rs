//! What happens to a store that is not alone: others look at its copies with its cell, at any
//! moment; another takes it over and comes back too late; its machine is restored from a snapshot;
//! its clock is wrong; its keyholders change; a batch stays open while others erase.

use crate::{Engine, Put, Scope};
use std::cell::RefCell;
use std::sync::Arc;

use super::attempt::{Done, attempt};
use super::checks::compare;
use super::event::{Event, WrongClock};
use super::media::faulty::{FaultyCell, Late};
use super::media::keyholders::KeyholderEvent;
use super::names::{BACKUP, LIVE, STORE, TWIN, user_id};
use super::op::{Chosen, Item, Op, STEP_BYTES, Scoped, Trouble, class, decode, trouble};
use super::opening::{backup_is_closed, close, look_at, open, restart};
use super::others::OpenBatch;
use super::play::apply;
use super::promises::{plan, tend};
use super::records::{choose, follow_put};
use super::run::Run;
use crate::engine::OpenAs;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::limits::CLOCK_JUMP;
use crate::quorum::Config;

/// Takes one step of a run, in company or alone.
pub(super) fn step(run: &mut Run, bytes: &[u8; STEP_BYTES]) {
    if run.others.is_some()
        && let Some(event) = Event::decode(bytes)
    {
        run.env.advance(5);
        befall(run, event, trouble(bytes));
    } else {
        let (op, trouble) = decode(bytes);
        apply(run, op, trouble);
    }
    go_on(run);
}

/// After a step: the others that have the cell open go on.
fn go_on(run: &mut Run) {
    if run.others.as_ref().is_some_and(|others| others.stale.is_some()) && run.rng.below(3) == 0 {
        let user = run.rng.below(4) as u8;
        stale(run, user);
    }
    if run.others.as_ref().is_some_and(|others| others.snapshot.is_some()) && run.rng.below(4) == 0
    {
        let user = run.rng.below(4) as u8;
        set_back(run, user);
    }
}

fn befall(run: &mut Run, event: Event, trouble: Trouble) {
    match event {
        Event::Look { twin, owner } => {
            let open_as = if owner { OpenAs::Owner } else { OpenAs::ReadOnly };
            if twin {
                close(run);
                let copied = run.media.copy(STORE, TWIN);
                open(run, None);
                if copied {
                    look_at(run, TWIN, open_as);
                    run.media.lose(TWIN);
                }
            } else if backup_is_closed(run) {
                look_at(run, BACKUP, open_as);
            }
            compare(run);
        }
        Event::Spied { nth, op } => {
            run.others().spies = backup_is_closed(run).then_some(nth);
            apply(run, op, trouble);
            run.others().spies = None;
        }
        Event::Drill => drill(run),
        Event::Stale(user) => stale(run, user),
        Event::BatchAdd { user, item } => batch_add(run, user, item),
        Event::BatchCommit => batch_commit(run, trouble),
        Event::WrongClock(wrong) => wrong_clock(run, &wrong),
        Event::Keyholder(event) => keyholder(run, event, trouble),
        Event::Snapshot => snapshot(run),
        Event::FromSnapshot(user) => set_back(run, user),
        Event::Plan(scoped, delay) => plan(run, &scoped, delay, trouble),
        Event::Copy(op) => apply(run, op, trouble),
        Event::EraseWithin(scoped, window) => apply(run, Op::EraseWithin(scoped, window), trouble),
        Event::Erase(scopes) => apply(run, Op::Erase(scopes), trouble),
    }
}

/// A backup is taken over for a moment, as in a drill that went too far; then the store is taken
/// back.
fn drill(run: &mut Run) {
    let backup = run.others().backup;
    let same = backup.is_some_and(|backup| backup.epoch == run.engine().head().epoch);
    if !same || !run.model.copies.is_empty() || !run.settled() {
        return;
    }
    close(run);
    let options = run.options.clone().open_as(OpenAs::TakeOver);
    let opened = run
        .media
        .store(BACKUP, false)
        .and_then(|store| Engine::open(store, run.media.cell()?, options));
    if let Ok(engine) = opened {
        assert!(engine.read_only().is_none(), "LOST: a backup that is taken over is read-only");
        run.others().stale = Some(engine);
        run.tally.count("backups taken over");
    }
    run.options.open_as = OpenAs::TakeOver;
    open(run, None);
    compare(run);
}

/// An engine that lost the cell destroys nothing in it, whenever it tries.
fn stale(run: &mut Run, user: u8) {
    let Some(stale) = run.others().stale.take() else { return };
    let did = stale.erase(Scope::user(user_id(user))).is_ok_and(|done| !done.already);
    assert!(!did, "FOUND: an engine erases whose store was taken from it");
    drop(stale);
    run.tally.count("erases by an engine that lost the store");
    compare(run);
}

fn batch_add(run: &mut Run, user: u8, item: Item) {
    let mut chosen = choose(run, item);
    let live = run.model.live();
    chosen.sources.retain(|source| live.contains_key(source));
    let mut open = match run.others().batch.take() {
        Some(open) => open,
        None => OpenBatch { batch: run.engine().batch(), user, items: Vec::new() },
    };
    let mut put = Put::new(user_id(open.user), chosen.class.clone());
    if let Some(interaction) = chosen.interaction {
        put = put.interaction(interaction);
    }
    put = chosen.sources.iter().fold(put, |put, source| put.derived_from(*source));
    match open.batch.add(put, &chosen.content[..]) {
        Ok(_) => open.items.push(chosen),
        Err(e) => assert!(
            matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent),
            "an error out of nothing as a batch grows: {e:?}"
        ),
    }
    run.others().batch = Some(open);
}

fn batch_commit(run: &mut Run, trouble: Trouble) {
    let Some(OpenBatch { batch, user, items }) = run.others().batch.take() else { return };
    if items.is_empty() {
        return;
    }
    let refused = run.model.refuses(user, &items);
    let batch = RefCell::new(Some(batch));
    let act = |_: &Run| {
        let Some(batch) = batch.borrow_mut().take() else { return Ok(Done::Nothing) };
        let ids = batch.commit()?;
        assert!(
            !refused,
            "FOUND: a fenced batch, or one from what fell while it was open, was let in"
        );
        Ok(Done::Ids(ids))
    };
    attempt(run, "batches committed", trouble, &act, |run, done, _| {
        follow_put(run, user, items, done)
    });
    compare(run);
}

/// While the clock is wrong it erases nothing and puts are taken; nothing of it remains when it is
/// right again.
fn wrong_clock(run: &mut Run, wrong: &WrongClock) {
    tend(run, Trouble::default());
    // Also what falls due before the clock is right again.
    let now = run.env.now().0 + 1000;
    let late =
        run.model.users.values().any(|user| user.plans.iter().any(|(_, due, _)| *due <= now));
    let ending = run.model.uploads().into_iter().any(|(user, it)| run.model.ends(user, it) <= now);
    if late || ending || !run.model.expired(now).is_empty() {
        // Keyholders are away, or it is due in a moment: it is done by a call that the model does
        // not follow.
        return;
    }
    let jump = i64::try_from(CLOCK_JUMP.as_millis()).unwrap_or(i64::MAX);
    let by = if wrong.far { 10 * jump } else { jump + 3_600_000 };
    run.env.set_wrong(if wrong.ahead { by } else { -by });
    if wrong.reopen {
        restart(run, false);
        open(run, None);
    }
    let _ = run.engine().run_due(&mut |_| {});
    let known = run.model.interactions.len();
    put_now(run, wrong.user, "puts with a wrong clock");
    // What began at a wrong time is not picked as a border in time.
    run.model.interactions.truncate(known);
    run.env.set_wrong(0);
    put_now(run, wrong.user, "puts when it is right again");
    tend(run, Trouble::default());
    compare(run);
}

/// A put that is refused only where its user, or its class, was erased.
fn put_now(run: &mut Run, user: u8, event: &'static str) {
    let class = class(user + 1);
    let refused = run.model.fenced(user, &class, None);
    let content = run.content(20);
    let put = run.engine().put(Put::new(user_id(user), class.clone()), &content[..]);
    match put {
        Ok(id) => {
            assert!(!refused, "FOUND: a fenced put was let in");
            let chosen =
                Chosen { class, interaction: None, sources: Vec::new(), from_last: false, content };
            follow_put(run, user, vec![chosen], Some(Done::Ids(vec![id])));
            run.tally.count(event);
        }
        Err(e) if refused => assert_eq!(e.kind(), ErrorKind::Erased, "{e}"),
        // A copy or a keyholder that is away prevents the acknowledgement: then the store is opened
        // again.
        Err(e) => {
            assert!(
                matches!(e.kind(), ErrorKind::Copy | ErrorKind::Io),
                "LOST: {event} fail: {e:?}"
            );
            let before = run.engine().head();
            restart(run, false);
            open(run, None);
            if run.engine().head() > before {
                let chosen = Chosen {
                    class,
                    interaction: None,
                    sources: Vec::new(),
                    from_last: false,
                    content,
                };
                follow_put(run, user, vec![chosen], None);
            }
        }
    }
}

fn keyholder(run: &mut Run, event: KeyholderEvent, trouble: Trouble) {
    if !run.media.has_keyholders() {
        return;
    }
    restart(run, false);
    let before = run.media.keyholder_list();
    let befell = run.media.keyholders(event);
    open(run, None);
    if !befell {
        return;
    }
    run.tally.count(match event {
        KeyholderEvent::Replaced(_) => "keyholders replaced",
        KeyholderEvent::Lost(_) => "keyholders lost",
    });
    compare(run);
    if let KeyholderEvent::Replaced(n) = event {
        match (n % 4, before) {
            (3, Some(list)) => return cut_short(run, list, n, trouble),
            (1, _) => return copied(run, n, trouble),
            _ => {}
        }
        let act = |run: &Run| run.engine().rekey().map(|_| Done::Nothing);
        attempt(run, "epochs begun", trouble, &act, |_, _, _| {});
    }
}

/// A replacement is cut short before an epoch begins, and another machine goes on with its list of
/// before: nothing refuses that, and it asks nobody else for a word.
fn cut_short(run: &mut Run, list: Config, user: u8, trouble: Trouble) {
    restart(run, false);
    run.media.go_on_with(list);
    open(run, None);
    run.tally.count("replacements cut short");
    apply(run, Op::Erase(vec![Scoped::User(user / 4 % 4)]), trouble);
}

/// The list is copied in the middle of a replacement, and an epoch begins by it; then the machine
/// with the copy replaces the same place, and erases.
fn copied(run: &mut Run, n: u8, trouble: Trouble) {
    let list = run.media.keyholder_list();
    let has_begun = run.engine().rekey().is_ok();
    restart(run, false);
    list.filter(|_| has_begun).into_iter().for_each(|list| run.media.go_on_with(list));
    open(run, None);
    if !has_begun {
        return;
    }
    restart(run, false);
    let replaced = run.media.keyholders(KeyholderEvent::Replaced(n));
    open(run, None);
    run.tally.add("lists copied in the middle of a replacement", u64::from(replaced));
    apply(run, Op::Erase(vec![Scoped::User(n / 4 % 4)]), trouble);
}

/// A snapshot of store and memory, while the engine is open; its cell is elsewhere.
fn snapshot(run: &mut Run) {
    if !run.settled() || !run.model.copies.is_empty() {
        return;
    }
    let Some(cell) = run.media.twin_cell().filter(|_| run.media.copy(STORE, LIVE)) else { return };
    let cell = Arc::new(FaultyCell {
        cell,
        gate: Arc::clone(run.media.gate()),
        hoard: Arc::clone(&run.hoard),
        late: Late::default(),
    });
    let Ok(store) = run.recorded(LIVE, false) else { return };
    let (twin, head) = (run.engine().twin(store, cell), run.engine().head());
    run.tally.add("snapshots with a key that stands ready", u64::from(twin.has_ready_key()));
    if let Some((old, _)) = run.others().snapshot.replace((twin, head)) {
        old.unplug();
    }
}

/// The machine goes on from the snapshot, with the cell as it is: it would bring back what was
/// erased since.
fn set_back(run: &mut Run, user: u8) {
    let Some((twin, then)) = run.others().snapshot.take() else { return };
    if run.engine().head().epoch > then.epoch && run.settled() {
        let did = twin.erase(Scope::user(user_id(user))).is_ok_and(|done| !done.already);
        assert!(!did, "FOUND: a machine that was set back erases with a cell that went on");
        run.tally.count("machines set back");
    }
    twin.unplug();
    compare(run);
}
