//! What is due: for which users, and in one edit for all of them; after a change of policies too.
//! What is done for one user is in `due_for_user`, and which records passed a limit in `retention`.
//!
//! The agenda in the head says for which user there is something to do, and when at the earliest.
//! One edit serves all users whose time has come; what it erases is erased as on a caller's
//! request, with lineage, holds and fences.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::due_for_user::{Doing, serve};
use super::due_outcome::{Failing, Failures, Setback, Trouble};
use super::edit::{Edit, Start};
use super::moment::Reading;
use super::retention::next_due;
use super::view::{View, agenda_of};
use crate::error::{Error, Result};
use crate::ids::{Timestamp, UserTag};
use crate::limits::{DUE_MAX, SWEEP};
use crate::tree::agenda::Agenda;
use crate::tree::users::Found;

/// An entry of the agenda: a user, and when there is something to do for it.
pub(crate) type DueFor = (Timestamp, UserTag);

/// What is due now, at most what one commit does. A change of policies comes first: what it makes
/// due joins what is due, and all of that is erased together.
pub(crate) fn due_now(view: &View<'_>, clock: Reading, sweep_stuck: bool) -> Result<Vec<DueFor>> {
    let due = agenda_of(view.head).due(view.pages, clock.due(), DUE_MAX)?;
    let (mut sweeps, due): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|(at, _)| *at == Agenda::SWEEP);
    if sweep_stuck {
        sweeps.clear();
    }
    Ok(if sweeps.is_empty() { due } else { sweeps })
}

/// Attempts to do what is due, but for what is known to fail, until nothing in it fails; nothing of
/// a failed attempt is kept.
pub(crate) fn attempts<'a>(
    start: Start<'a>,
    due: &[DueFor],
    failures: &mut Failures,
    sweep_stuck: &mut bool,
) -> Result<(Edit<'a>, Doing)> {
    let doing = || Ok::<_, Error>(Doing::new(start.moment.clock.due(), start.view.policies()?));
    let mut tried = false;
    loop {
        let mut edit = Edit::new(start);
        edit.passed_over.clone_from(&failures.passed_over);
        let mut doing_all = doing()?;
        match attempt(&mut edit, due, failures, &mut doing_all, sweep_stuck)? {
            None => return Ok((edit, doing_all)),
            Some((user, setback)) => {
                failures.learn(user, setback)?;
                if std::mem::replace(&mut tried, true) {
                    continue;
                }
                // Once each user is served alone, and nothing kept: however many fail, all are
                // looked at three times.
                for (_, user) in due.iter().filter(|(at, _)| *at != Agenda::SWEEP) {
                    try_alone(start, *user, failures, &doing)?;
                }
            }
        }
    }
}

/// Serves one user in an edit of its own, until what fails of it is known.
fn try_alone(
    start: Start<'_>,
    user: UserTag,
    failures: &mut Failures,
    doing: &dyn Fn() -> Result<Doing>,
) -> Result<()> {
    while failures.users.get(&user).is_none_or(|failing| failing.all.is_none()) {
        let mut alone = Edit::new(start);
        alone.passed_over.clone_from(&failures.passed_over);
        match serve(&mut alone, user, failures.users.get(&user), &mut doing()?) {
            Ok(()) => break,
            Err(setback) => failures.learn(user, setback)?,
        }
    }
    Ok(())
}

/// Does what is due in one edit; returns the user for whom something failed, if any.
fn attempt(
    edit: &mut Edit<'_>,
    due: &[DueFor],
    failures: &Failures,
    doing: &mut Doing,
    sweep_stuck: &mut bool,
) -> Result<Option<(UserTag, Setback)>> {
    let mut served = BTreeSet::new();
    for (at, user) in due.iter().copied() {
        edit.agenda.remove(&mut edit.editor, at, user)?;
        if at == Agenda::SWEEP {
            *sweep_stuck |= !sweep(edit, user, doing)?;
            continue;
        }
        // One may have an entry that came too early beside its own.
        if !served.insert(user) {
            continue;
        }
        let failing = failures.users.get(&user);
        if let Some(Failing { all: Some(e), .. }) = failing {
            edit.agenda.add(&mut edit.editor, doing.later(), user)?;
            doing.outcome.damaged += 1;
            let name = edit.view.users().live(user).ok().flatten().map(|page| page.user);
            doing.outcome.note(Trouble {
                user: name,
                plan: None,
                kind: e.kind(),
                why: e.to_string(),
            });
        } else if let Err(setback) = serve(edit, user, failing, doing) {
            return Ok(Some((user, setback)));
        }
    }
    Ok(None)
}

/// The store's policies changed: looks when something is due for some users, from a tag on. Says
/// whether it could.
fn sweep(edit: &mut Edit<'_>, from: UserTag, doing: &mut Doing) -> Result<bool> {
    let (pages, users) = (edit.pages(), edit.view.users());
    let mut dues = Vec::new();
    // `visit` begins after a tag: the tag itself was looked at, or is the first of all, which
    // belongs to nobody.
    let after = (from != UserTag([0; 12])).then_some(from);
    let swept = users.visit(after, &mut |user, found| {
        if let Found::Live { page, .. } = found {
            let look = || {
                let page = users.page(user, &page)?;
                let next = next_due(pages, user, &page, &doing.rules(pages, user, &page)?)?;
                Ok::<_, Error>((next, next != page.due))
            };
            dues.push((user, look()));
        }
        Ok(if dues.len() < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    let last = dues.last().map_or(from, |(user, _)| *user);
    if dues.len() >= SWEEP || swept.is_err() {
        edit.agenda.add(&mut edit.editor, Agenda::SWEEP, last)?;
    }
    for (user, looked) in dues {
        match looked {
            Ok((next, true)) => edit.set_due(user, next)?,
            Ok((_, false)) => {}
            // Its pages are looked at again until somebody restored them: what the policies make
            // due is found then.
            Err(_) => {
                edit.agenda.add(&mut edit.editor, doing.later(), user)?;
                doing.outcome.damaged += 1;
            }
        }
    }
    doing.outcome.damaged += u64::from(swept.is_err());
    Ok(swept.is_ok())
}
