//! Running what is due: it is done, commit by commit, and what erases left to follow is followed.

use std::time::Duration;

use super::commit::{About, Commit, publish};
use super::core::{Core, State, Writer};
use super::due_drafts::{Asked, begin_certified};
use super::epoch::{next_epoch, rekey};
use super::observing::failed;
use super::own::Role;
use super::progress::Progress;
use super::ready::{ready_to_erase, take_up};
use super::retire::chase;
use super::two_cores::seal;
use crate::catalogue::defect::Defect;
use crate::catalogue::due::{attempts, due_now};
use crate::catalogue::due_for_user::Doing;
use crate::catalogue::due_outcome::{DueOutcome, Failures};
use crate::catalogue::edit::Start;
use crate::catalogue::follow::{Resumed, Stuck, follow_left};
use crate::catalogue::moment::{Moment, Reading, later};
use crate::catalogue::view::agenda_of;
use crate::error::{ErrorKind, Result};
use crate::limits::CLOCK_NOTED;
use crate::observer::{CommitKind, Event};
use crate::promise::Awaited;
use crate::sync::locked;

/// One call of [`run_due`].
#[derive(Default)]
struct Run {
    /// One look at the clock: what falls due meanwhile waits for the next call.
    clock: Option<Reading>,
    /// Whether a page of the user tree keeps a sweep from going on.
    sweep_stuck: bool,
    /// What cannot be followed.
    stuck: Stuck,
    outcome: DueOutcome,
}

/// Finishes what was left open, and does what is due, until `stop` says so.
pub(super) fn run_due(
    core: &Core,
    progress: Progress<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<DueOutcome> {
    core.check_owner()?;
    take_up(core)?;
    do_what_is_due(core, progress, stop)
}

fn do_what_is_due(
    core: &Core,
    progress: Progress<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<DueOutcome> {
    let (began, late) = (core.observing.begin(), overdue(core));
    let mut run = Run::default();
    let done = do_all(core, &mut run, progress, stop);
    let Run { stuck, sweep_stuck, mut outcome, .. } = run;
    outcome.damaged += stuck.users();
    outcome.stuck = sweep_stuck || !stuck.is_empty();
    let waiting = done.and_then(|()| is_waiting(core));
    outcome.waiting = *waiting.as_ref().unwrap_or(&false);
    note_due(core, &outcome, Noted { began, late, error: failed(&waiting) });
    core.observing.deliver();
    waiting.map(|_| outcome)
}

/// How many epochs a run begins at most: for the first one a keyholder that left counts as well.
const EPOCHS: usize = 2;

fn do_all(
    core: &Core,
    run: &mut Run,
    progress: Progress<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    core.check_owner()?;
    chase(core)?;
    for _ in 0..EPOCHS {
        if !core.cell.wants_epoch() {
            break;
        }
        rekey(core)?;
    }
    run.outcome.finalized = finalize(core, &mut core.writer(), run)?;
    // First follow what fell: a record that would block a planned erase may be gone by now.
    if !core.planted(Defect::PlanDropped) {
        follow_all(core, run, progress, stop)?;
    }
    while !stop() {
        let mut writer = core.writer();
        match do_due(core, &mut writer, run)? {
            Some(more) => run.outcome += more,
            None => break,
        }
        drop(writer);
        progress(run.outcome.derived + run.outcome.expired);
    }
    follow_all(core, run, progress, stop)
}

/// What is observed of a call that is over.
struct Noted {
    began: Option<Duration>,
    late: Duration,
    error: Option<ErrorKind>,
}

/// Notes what was done; nothing where nothing was due.
fn note_due(core: &Core, outcome: &DueOutcome, noted: Noted) {
    let Noted { began, late, error } = noted;
    if began.is_none() || late.is_zero() && error.is_none() && *outcome == DueOutcome::default() {
        return;
    }
    for trouble in &outcome.troubles {
        let (error, planned) = (trouble.kind, trouble.plan.is_some());
        core.observing.note(|| Event::Trouble { error, planned });
    }
    core.observing.note(|| Event::Due {
        late,
        overdue: overdue(core),
        planned: outcome.planned,
        expired: outcome.expired,
        derived: outcome.derived,
        inbox_keys: outcome.inbox_keys,
        finalized: outcome.finalized,
        refused: outcome.refused,
        failed: outcome.failed,
        damaged: outcome.damaged,
        waiting: outcome.waiting,
        error,
        took: core.observing.since(began),
    });
}

/// The same as [`overdue_now`], for an observer: zero where there is none.
fn overdue(core: &Core) -> Duration {
    match core.observing.begin() {
        Some(_) => overdue_now(core),
        None => Duration::ZERO,
    }
}

/// How long the oldest of what is due has been due, by the clocks that count for it; zero where
/// nothing is, and where that cannot be told.
pub(super) fn overdue_now(core: &Core) -> Duration {
    let state = core.state();
    let clock = core.reading(&state);
    let pending = state.head.pending.map(|at| clock.latest().0.saturating_sub(at.0));
    let next = agenda_of(&state.head).next(&core.pages()).ok().flatten();
    // Earlier ones stand for what is to be done at once.
    let next = next.filter(|at| at.0 > 1).map(|at| clock.due().0.saturating_sub(at.0));
    Duration::from_millis(pending.into_iter().chain(next).max().unwrap_or(0))
}

/// Does what is due before something is looked at, if this engine may.
pub(super) fn run_due_first(core: &Core) -> Result<()> {
    match core.looks_only() {
        None => do_what_is_due(core, &mut |_| {}, &|| false).map(drop),
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
fn clock_of(core: &Core, run: &mut Run) -> Reading {
    *run.clock.get_or_insert_with(|| core.reading(&core.state()))
}

/// Lets what is pending become final at its time: an epoch of its own, which waits for nothing else
/// that is due.
fn finalize(core: &Core, writer: &mut Writer, run: &mut Run) -> Result<bool> {
    if core.state().head.pending.is_none() {
        return Ok(false);
    }
    ready_to_erase(core, writer)?;
    let clock = clock_of(core, run);
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

/// Does some of what is due in one commit; `None` if nothing is.
fn do_due(core: &Core, writer: &mut Writer, run: &mut Run) -> Result<Option<DueOutcome>> {
    if core.state().head.roots.agenda.is_none() {
        return Ok(None);
    }
    ready_to_erase(core, writer)?;
    let clock = clock_of(core, run);
    let mut failures = Failures::default();
    let (commit, mut outcome) = loop {
        let state = core.state();
        let pages = core.pages();
        let start = core.start(&state, &pages);
        let start = Start { moment: Moment { clock, ..start.moment }, ..start };
        let due = due_now(&start.view, clock, run.sweep_stuck)?;
        // If nothing is due the time in the head may have to be written again.
        if due.is_empty() && !is_stale(&state, clock) {
            return Ok(None);
        }
        let (edit, doing) = attempts(start, &due, &mut failures, &mut run.sweep_stuck)?;
        let Doing { users_gone, erased, mut outcome, certified, .. } = doing;
        let mut commit = Commit::from(seal(edit, core.next_head(&state))?);
        commit.about = About::of(CommitKind::Due, 1);
        let head = &mut commit.change.head;
        head.users -= users_gone;
        if erased {
            head.floor = head.floor.max(clock.sure());
            outcome.finalized = head.pending.is_some();
            let asked = Asked { clock, derived: outcome.derived, certified };
            let unkept = begin_certified(core, &state, writer, &mut commit, asked)?;
            if !unkept.is_empty() {
                // Again, without those.
                for (user, setback) in unkept {
                    failures.learn(user, setback)?;
                }
                continue;
            }
        }
        break (commit, outcome);
    };
    let retired = publish(core, writer, commit)?;
    outcome.finalized &= retired.is_some_and(|retired| retired.is_final());
    Ok(Some(outcome))
}

/// Follows what erases left, but for what cannot be followed now.
fn follow_all(
    core: &Core,
    run: &mut Run,
    progress: &mut dyn FnMut(u64),
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    while core.is_falling() && !stop() {
        match follow_some(core, &mut core.writer(), &mut run.stuck)? {
            Some(derived) => run.outcome.derived += derived,
            None => break,
        }
        progress(run.outcome.derived + run.outcome.expired);
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
        let Some(Resumed { edit, derived }) = follow_left(core.start(&state, &pages), stuck)?
        else {
            return Ok(None);
        };
        let mut commit = Commit::from(seal(edit, core.next_head(&state))?);
        commit.about = About::of(CommitKind::Due, 1);
        next_epoch(core, &state, writer, &mut commit)?;
        (derived, commit)
    };
    publish(core, writer, commit)?;
    Ok(Some(derived))
}
