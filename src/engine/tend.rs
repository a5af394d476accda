//! Tending: what is due is done, commit by commit, and what erases left to be followed is followed.

use std::time::Duration;

use super::change::{About, Commit};
use super::commit::{chase, publish, ready_to_erase};
use super::core::{Core, State, Writer};
use super::epoch::next_epoch;
use super::erases::rekey;
use super::observing::failed;
use super::own::Role;
use super::progress::Progress;
use crate::catalogue::defect::Defect;
use crate::catalogue::due::{attempts, due_now};
use crate::catalogue::edit::Start;
use crate::catalogue::follow::{Stuck, follow_left};
use crate::catalogue::moment::{Moment, Reading, later};
use crate::catalogue::serve::Doing;
use crate::catalogue::tended::Tended;
use crate::catalogue::view::agenda_of;
use crate::cell::Awaited;
use crate::error::{ErrorKind, Result};
use crate::limits::CLOCK_NOTED;
use crate::observer::{CommitKind, Event};
use crate::sync::locked;

/// One call of [`tend`].
#[derive(Default)]
struct Tending {
    /// One look at the clock: what falls due meanwhile waits for the next call.
    clock: Option<Reading>,
    /// Whether a page of the user tree keeps a sweep from going on.
    sweep_stuck: bool,
    /// What cannot be followed.
    stuck: Stuck,
    tended: Tended,
}

/// Does what is due, until `stop` says so.
pub(super) fn tend(core: &Core, progress: Progress<'_>, stop: &dyn Fn() -> bool) -> Result<Tended> {
    let (began, late) = (core.observing.begin(), overdue(core));
    let mut tending = Tending::default();
    let done = do_all(core, &mut tending, progress, stop);
    let Tending { stuck, sweep_stuck, mut tended, .. } = tending;
    tended.damaged += stuck.users();
    tended.stuck = sweep_stuck || !stuck.is_empty();
    let waiting = done.and_then(|()| is_waiting(core));
    tended.waiting = *waiting.as_ref().unwrap_or(&false);
    note_due(core, &tended, Noted { began, late, error: failed(&waiting) });
    core.observing.deliver();
    waiting.map(|_| tended)
}

/// What is observed of a call that is over.
struct Noted {
    began: Option<Duration>,
    late: Duration,
    error: Option<ErrorKind>,
}

/// Notes what was done; nothing where nothing was due.
fn note_due(core: &Core, tended: &Tended, noted: Noted) {
    let Noted { began, late, error } = noted;
    if began.is_none() || late.is_zero() && error.is_none() && *tended == Tended::default() {
        return;
    }
    for trouble in &tended.troubles {
        let (error, planned) = (trouble.kind, trouble.plan.is_some());
        core.observing.note(|| Event::Trouble { error, planned });
    }
    core.observing.note(|| Event::Due {
        late,
        overdue: overdue(core),
        planned: tended.planned,
        expired: tended.expired,
        derived: tended.derived,
        inbox_keys: tended.inbox_keys,
        finalized: tended.finalized,
        refused: tended.refused,
        failed: tended.failed,
        damaged: tended.damaged,
        waiting: tended.waiting,
        error,
        took: core.observing.since(began),
    });
}

/// How long the oldest of what is due has been due, for an observer: zero where nothing is, where
/// that cannot be told, and where there is none.
fn overdue(core: &Core) -> Duration {
    if core.observing.begin().is_none() {
        return Duration::ZERO;
    }
    let state = core.state();
    let clock = core.reading(&state);
    let pending = state.head.pending.map(|at| clock.latest().0.saturating_sub(at.0));
    let next = agenda_of(&state.head).next(&core.pages()).ok().flatten();
    // Earlier ones stand for what is to be done at once.
    let next = next.filter(|at| at.0 > 1).map(|at| clock.due().0.saturating_sub(at.0));
    Duration::from_millis(pending.into_iter().chain(next).max().unwrap_or(0))
}

fn do_all(
    core: &Core,
    tending: &mut Tending,
    progress: Progress<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    core.check_owner()?;
    chase(core)?;
    if core.cell.wants_epoch() {
        rekey(core)?;
    }
    tending.tended.finalized = finalize(core, &mut core.writer(), tending)?;
    // First follow what fell: a record that would block a planned erase may be gone by now.
    if !core.planted(Defect::PlanDropped) {
        follow_all(core, tending, progress, stop)?;
    }
    while !stop() {
        let mut writer = core.writer();
        match do_due(core, &mut writer, tending)? {
            Some(more) => tending.tended += more,
            None => break,
        }
        drop(writer);
        progress(tending.tended.derived + tending.tended.expired);
    }
    follow_all(core, tending, progress, stop)
}

/// Does what is due before something is looked at, where this engine may.
pub(super) fn tend_first(core: &Core) -> Result<()> {
    match core.looks_only() {
        None => tend(core, &mut |_| {}, &|| false).map(drop),
        Some(_) => Ok(()),
    }
}

/// How long it is until there is something to do, by the clocks that count for it.
pub(super) fn left(core: &Core) -> Result<Option<Duration>> {
    let state = core.state();
    let clock = core.reading(&state);
    if state.head.roots.falling.is_some() || is_stale(&state, clock) {
        return Ok(Some(Duration::ZERO));
    }
    let pending = state.head.pending.map(|at| at.0.saturating_sub(clock.latest().0));
    let next = agenda_of(&state.head).next(&core.pages())?;
    let next = next.map(|at| at.0.saturating_sub(clock.due().0));
    Ok(pending.into_iter().chain(next).min().map(Duration::from_millis))
}

/// Whether something waits to be done by the owner, which this engine might be: what is due, a root
/// key that is to be destroyed, or keyholders that are to be asked again.
pub(super) fn owes(core: &Core) -> Result<bool> {
    let unfinished = match &core.role {
        Role::Looker { may_own: false, .. } => return Ok(false),
        // A cell that cannot say is no reason to open the store each time.
        Role::Looker { others, awaited, .. } => {
            *others > 0 || awaited.as_ref().is_some_and(|awaited| *awaited != Awaited::Unasked)
        }
        Role::Owner => locked(&core.awaiting).is_some() || core.cell.load()?.keys.len() > 1,
    };
    Ok(unfinished || is_due(core)?)
}

/// Whether the time of something has come: by the clock, or, for what is pending, by the time that
/// is known. What waits since the clock is doubted is the owner's to tell.
fn is_due(core: &Core) -> Result<bool> {
    let state = core.state();
    let clock = core.reading(&state);
    let pending = state.head.pending.is_some_and(|at| at <= clock.latest());
    let next = agenda_of(&state.head).next(&core.pages())?;
    Ok(pending || state.head.roots.falling.is_some() || next.is_some_and(|at| at <= clock.now))
}

/// Whether something is due by a clock that is not believed.
fn is_waiting(core: &Core) -> Result<bool> {
    let state = core.state();
    let clock = core.reading(&state);
    Ok(clock.doubted && !agenda_of(&state.head).due(&core.pages(), clock.now, 1)?.is_empty())
}

/// Whether the time in the head is to be written again, so that a jump of the clock is told from a
/// time in which nothing was put.
fn is_stale(state: &State, clock: Reading) -> bool {
    state.head.roots.agenda.is_some()
        && !clock.doubted
        && clock.now > later(state.head.time, CLOCK_NOTED)
}

/// The one look at the clock of a call.
fn clock_of(core: &Core, tending: &mut Tending) -> Reading {
    *tending.clock.get_or_insert_with(|| core.reading(&core.state()))
}

/// Lets what is pending become final at its time: an epoch of its own, which waits for nothing else
/// that is due.
fn finalize(core: &Core, writer: &mut Writer, tending: &mut Tending) -> Result<bool> {
    if core.state().head.pending.is_none() {
        return Ok(false);
    }
    ready_to_erase(core, writer)?;
    let clock = clock_of(core, tending);
    let commit = {
        let state = core.state();
        if state.head.pending.is_none_or(|at| at > clock.latest()) {
            return Ok(false);
        }
        let mut commit = Commit::of_head(core.next_head(&state));
        next_epoch(core, &state, writer, &mut commit)?;
        commit
    };
    let retired = publish(core, writer, commit)?;
    Ok(retired.is_some_and(|retired| retired.is_final()))
}

/// Does some of what is due in one commit; `None` where nothing is.
fn do_due(core: &Core, writer: &mut Writer, tending: &mut Tending) -> Result<Option<Tended>> {
    if core.state().head.roots.agenda.is_none() {
        return Ok(None);
    }
    ready_to_erase(core, writer)?;
    let clock = clock_of(core, tending);
    let (commit, mut tended) = {
        let state = core.state();
        let pages = core.pages();
        let start = core.start(&state, &pages);
        let start = Start { moment: Moment { clock, ..start.moment }, ..start };
        let due = due_now(&start.view, clock, tending.sweep_stuck)?;
        // Where nothing is due the time in the head may have to be written again.
        if due.is_empty() && !is_stale(&state, clock) {
            return Ok(None);
        }
        let (edit, doing) = attempts(start, &due, &mut tending.sweep_stuck)?;
        let Doing { users_gone, erased, mut tended, .. } = doing;
        let mut commit = Commit::from(edit.seal(core.next_head(&state))?);
        commit.about = About::of(CommitKind::Due, 1);
        let head = &mut commit.change.head;
        head.users -= users_gone;
        if erased {
            head.floor = head.floor.max(clock.sure());
            tended.finalized = head.pending.is_some();
            next_epoch(core, &state, writer, &mut commit)?;
        }
        (commit, tended)
    };
    let retired = publish(core, writer, commit)?;
    tended.finalized &= retired.is_some_and(|retired| retired.is_final());
    Ok(Some(tended))
}

/// Follows what erases left, but for what cannot be followed now.
fn follow_all(
    core: &Core,
    tending: &mut Tending,
    progress: &mut dyn FnMut(u64),
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    while core.is_falling() && !stop() {
        match follow_some(core, &mut core.writer(), &mut tending.stuck)? {
            Some(derived) => tending.tended.derived += derived,
            None => break,
        }
        progress(tending.tended.derived + tending.tended.expired);
    }
    Ok(())
}

/// Follows some of the links that an erase left; says how many derived records were taken out, or
/// `None` at the end.
fn follow_some(core: &Core, writer: &mut Writer, stuck: &mut Stuck) -> Result<Option<u64>> {
    ready_to_erase(core, writer)?;
    let (derived, commit) = {
        let state = core.state();
        let pages = core.pages();
        let Some((edit, derived)) = follow_left(core.start(&state, &pages), stuck)? else {
            return Ok(None);
        };
        let mut commit = Commit::from(edit.seal(core.next_head(&state))?);
        commit.about = About::of(CommitKind::Due, 1);
        next_epoch(core, &state, writer, &mut commit)?;
        (derived, commit)
    };
    publish(core, writer, commit)?;
    Ok(Some(derived))
}
