//! Erases that wait at once, done in one commit: dropped from the tree, published, and their old
//! root key destroyed.

use std::collections::BTreeMap;

use super::bodies::{Common, WrittenBody, write_bodies};
use super::commit::{About, Commit, publish};
use super::core::{Core, State, Writer};
use super::draft::draft;
use super::epoch::{begin_epoch, next_epoch};
use super::erasure::Erasure;
use super::issue::issue;
use super::leaf::enter;
use super::ready::ready_to_erase;
use super::ready_key::is_unused;
use super::two_cores::{reading_ahead, seal};
use crate::catalogue::defect::Defect;
use crate::catalogue::edit::{Edit, Start};
use crate::catalogue::fell::Fell;
use crate::catalogue::judge::{Judged, is_refusal, judge};
use crate::catalogue::leaf::Entered;
use crate::catalogue::moment::Reading;
use crate::certificate::Destroyed;
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::observer::CommitKind;
use crate::policy::millis;
use crate::scope::Erase;
use crate::tree::head::HeadPage;

/// Does many erases in one commit, each with an outcome of its own.
pub(super) fn erase_all(
    core: &Core,
    writer: &mut Writer,
    erases: &[&Erase],
) -> Vec<Result<Erasure>> {
    if erases.is_empty() {
        return Vec::new();
    }
    match erase_together(core, writer, erases) {
        Ok(outcomes) => outcomes,
        Err(e) => erases.iter().map(|_| Err(e.copy())).collect(),
    }
}

/// Erases that were judged, and the commit that does them.
struct Prepared {
    fell: Vec<Result<Fell>>,
    /// `None` if nothing is to be done.
    commit: Option<Commit>,
    derived: u64,
    bodies: Vec<WrittenBody>,
    /// The leaf of the commit, if it erases.
    entered: Option<Entered>,
}

fn erase_together(
    core: &Core,
    writer: &mut Writer,
    erases: &[&Erase],
) -> Result<Vec<Result<Erasure>>> {
    ready_to_erase(core, writer)?;
    let Prepared { fell, commit, derived, bodies, entered } = prepare(core, writer, erases)?;
    let drafted = match &entered {
        Some(entered) => match draft(core, bodies, entered) {
            Ok(drafted) => drafted,
            Err(failed) => return erase_without(core, writer, erases, failed),
        },
        None => Vec::new(),
    };
    let retirement = match commit {
        Some(commit) => {
            // Asked last: the cell looks while the commit is made.
            if !is_unused(core, writer, &commit)? {
                writer.next = None;
                return erase_together(core, writer, erases);
            }
            publish(core, writer, commit)?
        }
        // Nothing is written that would be refused if another engine owned the store now. And an
        // engine that erased it may have died before it waited.
        None => {
            core.confirm()?;
            core.loan.wait(&*core.options.env);
            None
        }
    };
    let certificates = match entered {
        Some(entered) => issue(core, drafted, entered, retirement.as_ref()),
        None => Vec::new(),
    };
    let mut certificates = certificates.into_iter();
    let completed = core.options.env.now();
    let finality = core.finality();
    let epoch = writer.root.id.epoch + u64::from(core.state().head.pending.is_some());
    let following = core.is_falling();
    let outcome = |(erase, fell): (&&Erase, Result<Fell>)| {
        let Fell { records, already, .. } = fell?;
        let certificate = if already || erase.request.is_none() {
            None
        } else {
            certificates.next().map(Box::new)
        };
        let retirement = if already { None } else { retirement.clone() };
        let finality = finality.clone();
        Ok(Erasure {
            epoch,
            records,
            derived,
            following,
            already,
            finality,
            retirement,
            completed,
            certificate,
        })
    };
    Ok(erases.iter().zip(fell).map(outcome).collect())
}

/// Whether an erase did something.
fn did(fell: &Result<Fell>) -> bool {
    fell.as_ref().is_ok_and(|fell| !fell.already)
}

/// Judges erases, and seals the commit that does what can be done.
fn prepare(core: &Core, writer: &Writer, erases: &[&Erase]) -> Result<Prepared> {
    let state = core.state();
    let pages = core.pages();
    let start = core.start(&state, &pages);
    let judged = reading_ahead(core, &state, erases, |coming| judge(start, erases, coming))?;
    if core.planted(Defect::FailTogether)
        && let Some(e) =
            judged.fell.iter().filter_map(|fell| fell.as_ref().err()).find(|e| !is_refusal(e))
    {
        return Err(e.copy());
    }
    let erased = judged.fell.iter().any(did);
    // An erase without a window, of what is pending or becomes so by another erase of this commit,
    // does not wait for it.
    let at_once = |(erase, fell): (&&Erase, &Result<Fell>)| {
        erase.window.is_none() && fell.as_ref().is_ok_and(|fell| fell.already)
    };
    let pends = state.head.pending.is_some() || erased;
    let hurry = pends && erases.iter().zip(&judged.fell).any(at_once);
    if erased {
        return prepare_erase(core, &state, writer, &start, erases, judged, hurry);
    }
    let Judged { edit, fell, derived, refused, .. } = judged;
    let commit = match (hurry, refused) {
        (true, _) => {
            let mut commit = seal_commit(core, &state, edit)?;
            next_epoch(core, &state, writer, &mut commit)?;
            Some(commit)
        }
        (false, true) => Some(seal_commit(core, &state, edit)?),
        (false, false) => None,
    };
    Ok(Prepared { fell, commit, derived, bodies: Vec::new(), entered: None })
}

fn seal_commit(core: &Core, state: &State, edit: Edit<'_>) -> Result<Commit> {
    seal(edit, core.next_head(state)).map(Commit::from)
}

/// Seals the commit of erases of which some did something, with its leaf and what it certifies.
fn prepare_erase(
    core: &Core,
    state: &State,
    writer: &Writer,
    start: &Start<'_>,
    erases: &[&Erase],
    judged: Judged<'_>,
    hurry: bool,
) -> Result<Prepared> {
    let clock = start.moment.clock;
    let Judged { edit, mut fell, gone, derived, .. } = judged;
    let mut commit = seal_commit(core, state, edit)?;
    commit.about = About::of(CommitKind::Erase, fell.iter().filter(|fell| did(fell)).count());
    let head = &mut commit.change.head;
    head.users -= gone;
    head.floor = head.floor.max(clock.sure());
    match pending_until(erases, &fell, clock).filter(|_| !hurry) {
        Some(at) => head.pending = Some(at).into_iter().chain(head.pending).min(),
        None => begin_epoch(core, writer, &mut commit)?,
    }
    let common = common(core, writer, &commit.change.head, clock.now, derived);
    let bodies = write_bodies(core, state, erases, &mut fell, &common)?;
    let commitments: Vec<_> = bodies.iter().map(|body| body.commitment).collect();
    let entered = enter(core, state, writer, &mut commit, clock.now, &common.cell, &commitments)?;
    Ok(Prepared { fell, commit: Some(commit), derived, bodies, entered })
}

/// Until when erases wait for others; `None` if one of them allows no window. No window is
/// longer than it was asked for because the clock is ahead: if that cannot be told, it is final
/// at once.
fn pending_until(erases: &[&Erase], fell: &[Result<Fell>], clock: Reading) -> Option<Timestamp> {
    let done = erases.iter().zip(fell).filter(|(_, fell)| did(fell));
    let windows: Option<Vec<_>> = done.map(|(erase, _)| erase.window).collect();
    let soonest =
        windows?.into_iter().map(|window| clock.sure().0.saturating_add(millis(window))).min();
    soonest.filter(|at| *at > clock.now.0).map(Timestamp)
}

/// What the certificates of a commit have in common.
pub(super) fn common(
    core: &Core,
    writer: &Writer,
    head: &HeadPage,
    asked: Timestamp,
    derived: u64,
) -> Common {
    Common {
        cell: core.cell_facts(),
        asked,
        epoch: writer.root.id.epoch,
        root: Destroyed::of("root key", writer.root.key.bytes()),
        pending: head.pending,
        derived,
        following: head.roots.falling.is_some(),
    }
}

/// Does the others alone: of those that `failed` names nothing is done.
fn erase_without(
    core: &Core,
    writer: &mut Writer,
    erases: &[&Erase],
    failed: Vec<(usize, Error)>,
) -> Result<Vec<Result<Erasure>>> {
    let mut failed: BTreeMap<usize, Error> = failed.into_iter().collect();
    let others: Vec<&Erase> = erases
        .iter()
        .enumerate()
        .filter(|(n, _)| !failed.contains_key(n))
        .map(|(_, erase)| *erase)
        .collect();
    let mut done = erase_together(core, writer, &others)?.into_iter();
    Ok((0..erases.len())
        .filter_map(|n| failed.remove(&n).map(Err).or_else(|| done.next()))
        .collect())
}

/// What an erase would come to.
pub(super) struct Outlook {
    pub(super) fell: Fell,
    /// Derived records that would fall with it.
    pub(super) derived: u64,
    /// Whether more would than it follows.
    pub(super) following: bool,
}

/// What an erase would come to if it were done now. Nothing is changed.
pub(super) fn foresee(core: &Core, state: &State, erase: &Erase) -> Result<Outlook> {
    let pages = core.pages();
    let Judged { edit, mut fell, derived, .. } =
        judge(core.start(state, &pages), &[erase], &|_| {})?;
    let fell = fell.pop().unwrap_or_else(|| Ok(Fell::already()))?;
    Ok(Outlook { fell, derived, following: !edit.left.is_empty() })
}
