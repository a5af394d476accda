//! Erasing: now, at a time to come, or only seeing what it would take.

use std::sync::Arc;

use crate::catalogue::due_outcome::DueOutcome;
use crate::catalogue::plan::{is_held_now, too_many};
use crate::catalogue::record::is_there;
use crate::catalogue::resolve::look_up_whole;
use crate::catalogue::view::record_erased;
use crate::engine::clock::doubts;
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::engine::epoch;
use crate::engine::erases::{self, Outlook, foresee};
use crate::engine::erasure::Erasure;
use crate::engine::group;
use crate::engine::progress::Progress;
use crate::engine::tell::tell;
use crate::engine::{run_due, warm};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp};
use crate::limits::PLANS_MAX;
use crate::promise::Retirement;
use crate::scope::{Erase, Scope};
use crate::secret::WipeStack;
use crate::tree::history::StoredFact;
use crate::tree::plans::Plan;

/// What an erase would take now ([`Engine::would_erase`](crate::Engine::would_erase)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foreseen {
    /// Records of the scope that would fall, by class; `None` if damaged pages keep them from
    /// being counted.
    pub records: Option<Vec<(Class, u64)>>,
    /// Records derived from them, of any user, that would fall with it.
    pub derived: u64,
    /// Whether more derived records would fall, which were not looked for.
    pub following: bool,
    /// Whether the scope was erased before, and nothing is left to do.
    pub already: bool,
    /// Whether the user whom it names exists.
    pub here: bool,
}

pub(super) fn erase(inner: &Core, erase: Erase) -> Result<Erasure> {
    let _wiped = WipeStack;
    inner.process.check()?;
    group::erase(inner, erase)
}

pub(super) fn rekey(inner: &Arc<Core>) -> Result<Retirement> {
    let _wiped = WipeStack;
    epoch::rekey(inner)
}

pub(super) fn erase_all(inner: &Core, erases: &[Erase]) -> Vec<Result<Erasure>> {
    let _wiped = WipeStack;
    if let Err(e) = inner.process.check() {
        return erases.iter().map(|_| Err(e.copy())).collect();
    }
    let called = inner.observing.begin();
    let tags: Vec<_> = {
        let (state, pages) = (inner.state(), inner.pages());
        let view = inner.view(&state, &pages);
        erases.iter().map(|erase| erase.user(|user| view.tag(user))).collect()
    };
    // The writer does not wait for one page after another. What fails here is told below.
    let _ = warm::paths(inner, &tags);
    let mut writer = inner.writer();
    let began = inner.observing.begin();
    let erased = erases::erase_all(inner, &mut writer, &erases.iter().collect::<Vec<_>>());
    drop(writer);
    inner.loan.keep_back(&*inner.options.env, inner.loan.called_in());
    inner.observing.erases(erases.iter().map(|erase| (erase, called)), began, &erased);
    erased
}

pub(super) fn erase_at(inner: &Arc<Core>, erase: Erase, due: Timestamp) -> Result<Plan> {
    let _wiped = WipeStack;
    erase.check()?;
    let erase = erase.into_plan()?;
    if erase.request.is_some() && inner.options.drafts.is_none() {
        return Err(Error::invalid(
            "nobody would take the draft of this certificate when the erase is done; open the \
             engine with `Options::drafts`, or plan the erase without one",
        ));
    }
    if let Some(doubts) = doubts(inner) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("nothing is planned by a clock that may be wrong: {doubts}"),
        ));
    }
    let now = inner.options.env.now();
    if due <= now {
        return Err(Error::invalid("a planned erase needs a future time; omit it to erase now"));
    }
    let plan = Plan { id: inner.means().number()?, due, planned: now, erase, held: false };
    let held = commit_edit(inner, |edit| {
        let (view, pages) = (edit.view, edit.pages());
        let user = match plan.erase.scope() {
            Scope::User { user, .. } => view.user(user)?.0,
            Scope::Record(id) => {
                look_up_whole(&view, id)?;
                id.user
            }
        };
        let held = edit.user(user, |editor, page| {
            if let Scope::Record(id) = plan.erase.scope()
                && !is_there(pages, page, id)?
            {
                return Err(record_erased(id));
            }
            if page.plans.all(pages, user, &page.user)?.len() >= PLANS_MAX {
                return Err(too_many("planned erases for this user", PLANS_MAX));
            }
            page.plans.add(editor, user, &plan)?;
            page.history.add(editor, user, now, &StoredFact::Planned { id: plan.id, due })?;
            is_held_now(pages, user, page, &plan.erase)
        })?;
        edit.due_by(user, due).map(|()| held)
    })?;
    Ok(Plan { held, ..plan })
}

pub(super) fn would_erase(inner: &Core, erase: Erase) -> Result<Foreseen> {
    let _wiped = WipeStack;
    inner.check_readable()?;
    // A certificate says how many there were of each class: they are counted for it.
    let erase = erase.certified("", "");
    let state = inner.state();
    let Outlook { fell, derived, following } = foresee(inner, &state, &erase)?;
    let pages = inner.pages();
    let here = match erase.scope() {
        Scope::User { user, .. } => {
            let gone = |e: &Error| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased);
            !inner.view(&state, &pages).user(user).is_err_and(|e| gone(&e))
        }
        Scope::Record(_) => true,
    };
    let counted =
        |counts: Vec<(Class, u64)>| counts.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
    let records = fell.records.map(|_| counted(fell.counts));
    Ok(Foreseen { records, derived, following, already: fell.already, here })
}

pub(super) fn run_due(inner: &Arc<Core>, progress: Progress<'_>) -> Result<DueOutcome> {
    let _wiped = WipeStack;
    inner.process.check()?;
    let before = inner.loan.called_in();
    let done = run_due::run_due(inner, progress, &|| false);
    // Nobody waits for it: a cell that is away is told the next time.
    let _ = tell(inner);
    let since = inner.loan.called_in().filter(|at| Some(*at) != before);
    inner.loan.keep_back(&*inner.options.env, since);
    done
}
