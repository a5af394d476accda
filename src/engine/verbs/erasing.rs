//! Erasing: now, at a time to come, or only seeing what it would take.

use std::sync::Arc;

use crate::cell::Retirement;
use crate::engine::edit::change_page;
use crate::engine::erase::Erasure;
use crate::engine::part::is_there;
use crate::engine::plans::{is_held_now, too_many};
use crate::engine::read::record_erased;
use crate::engine::tended::Tended;
use crate::engine::{Answer, Asked, Inner, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp};
use crate::limits::PLANS_MAX;
use crate::scope::{Erase, Request, Scope};
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::plans::Plan;

/// What an erase would take, as things are ([`Engine::would_erase`](crate::Engine::would_erase)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foreseen {
    /// Records of the scope that would fall, by class; `None` where damaged pages keep them from
    /// being counted.
    pub records: Option<Vec<(Class, u64)>>,
    /// Records derived from them, of any user, that would fall with it.
    pub derived: u64,
    /// Whether more derived records would fall, which were not looked for.
    pub following: bool,
    /// Whether the scope was erased before, and nothing is left to do.
    pub already: bool,
    /// Whether the user that it names is here.
    pub here: bool,
}

pub(super) fn erase(inner: &Inner, erase: Erase) -> Result<Erasure> {
    let _wiped = WipeStack;
    inner.process.check()?;
    inner.look_ahead(&erase);
    match inner.submit(Asked::Erase(erase)) {
        Answer::Erased(erased) => erased,
        Answer::Put(_) => unreachable!("an erase was asked for"),
    }
}

pub(super) fn rekey(inner: &Arc<Inner>) -> Result<Retirement> {
    let _wiped = WipeStack;
    inner.rekey()
}

pub(super) fn erase_all(inner: &Inner, erases: &[Erase]) -> Vec<Result<Erasure>> {
    let _wiped = WipeStack;
    if let Err(e) = inner.process.check() {
        return erases.iter().map(|_| Err(e.copy())).collect();
    }
    let mut writer = inner.writer();
    inner.erase_all(&mut writer, &erases.iter().collect::<Vec<_>>())
}

pub(super) fn erase_at(inner: &Arc<Inner>, erase: Erase, due: Timestamp) -> Result<Plan> {
    let _wiped = WipeStack;
    erase.check()?;
    let erase = erase.into_plan()?;
    if let Some(doubts) = inner.doubts() {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("nothing is planned by a clock that may be wrong: {doubts}"),
        ));
    }
    let now = inner.options.env.now();
    if due <= now {
        return Err(Error::invalid(
            "a planned erase is for a time to come; leave the time out to erase now",
        ));
    }
    let plan = Plan { id: inner.new_number()?, due, planned: now, erase, held: false };
    let held = inner.commit_edit(|state, pages, edit| {
        let user = match plan.erase.scope() {
            Scope::User { user, .. } => inner.user_page(state, user)?.0,
            Scope::Record(id) => {
                inner.look_up_whole(state, id)?;
                id.user
            }
        };
        let held = change_page(edit, user, |editor, page| {
            if let Scope::Record(id) = plan.erase.scope()
                && !is_there(editor, page, id)?
            {
                return Err(record_erased(id));
            }
            if page.plans.all(pages, user, &page.user)?.len() >= PLANS_MAX {
                return Err(too_many("planned erases for this user", PLANS_MAX));
            }
            page.plans.add(editor, user, &plan)?;
            page.history.add(editor, user, now, &Note::Planned { id: plan.id, due })?;
            is_held_now(pages, user, page, &plan.erase)
        })?;
        edit.due_by(user, due).map(|()| held)
    })?;
    Ok(Plan { held, ..plan })
}

pub(super) fn would_erase(inner: &Inner, erase: Erase) -> Result<Foreseen> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    // A certificate says how many there were of each class: they are counted for it.
    let erase = erase.certified(Request::default());
    let state = inner.state();
    let (applied, derived, following) = inner.foresee(&state, &erase)?;
    let here = match erase.scope() {
        Scope::User { user, .. } => {
            let gone = |e: &Error| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased);
            !inner.user_page(&state, user).is_err_and(|e| gone(&e))
        }
        Scope::Record(_) => true,
    };
    let counted =
        |counts: Vec<(Class, u64)>| counts.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
    let records = applied.records.map(|_| counted(applied.counts));
    Ok(Foreseen { records, derived, following, already: applied.already, here })
}

pub(super) fn run_due(inner: &Arc<Inner>, progress: Progress<'_>) -> Result<Tended> {
    let _wiped = WipeStack;
    inner.process.check()?;
    inner.tend(progress, &|| false)
}
