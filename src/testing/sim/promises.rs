//! The promises beyond putting and erasing, in a run: detaching, holds, openings by name, plans,
//! limits, windows.

use crate::Policy;
use std::time::Duration;

use super::attempt::{Done, TENDS, attempt};
use super::choose::{named, pick};
use super::model::{Named, User};
use super::names::user_id;
use super::op::{Scoped, Trouble};
use super::records::asked;
use super::run::Run;
use crate::engine::Hold;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::ids::{Class, RecordId, Timestamp};
use crate::limits::RETRY;
use crate::policy::millis;

pub(super) fn create(run: &mut Run, user: u8, trouble: Trouble) {
    let act = |run: &Run| run.engine().create_user(&user_id(user)).map(|()| Done::Nothing);
    attempt(run, "creates", trouble, &act, |run, _, now| run.model.create(user, now));
}

pub(super) fn detach(run: &mut Run, n: u8, trouble: Trouble) {
    let live = run.model.live();
    let derived: Vec<RecordId> =
        live.values().filter(|(_, r)| !r.sources.is_empty()).map(|(_, r)| r.id).collect();
    if let Some(id) = derived.get(usize::from(n) % derived.len().max(1)).copied() {
        let act = |run: &Run| run.engine().detach(&id, "it stays").map(|()| Done::Nothing);
        attempt(run, "records detached", trouble, &act, |run, _, _| run.model.detach(&id));
    }
}

pub(super) fn legal_hold(
    run: &mut Run,
    user: u8,
    class: Option<Class>,
    interaction: Option<u8>,
    trouble: Trouble,
) {
    let interaction = interaction.and_then(|n| pick(&run.model, n));
    let mut hold = Hold::new("a court asks", "a court");
    if let Some(class) = &class {
        hold = hold.class(class.clone());
    }
    if let Some(interaction) = interaction {
        hold = hold.interaction(interaction);
    }
    let act = |run: &Run| {
        let held = run.engine().holds(&user_id(user)).add(hold.clone());
        held.map(Done::Number)
            .or_else(|e| if run.model.is_live(user) { Err(e) } else { Ok(Done::Nothing) })
    };
    attempt(run, "holds added", trouble, &act, |run, done, _| {
        let id = match done {
            Some(Done::Number(id)) => Some(id),
            Some(_) => None,
            // Not acknowledged, and it happened: the newest one that the model does not know.
            None => run.engine().holds(&user_id(user)).list().ok().and_then(|all| {
                let known = &run.model.users[&user].holds;
                all.into_iter().map(|(id, _)| id).find(|id| !known.iter().any(|(k, ..)| k == id))
            }),
        };
        if let (Some(id), Some(there)) = (id, run.model.users.get_mut(&user)) {
            there.holds.push((id, class, interaction));
        }
    });
}

pub(super) fn open_as(run: &mut Run, n: u8, trouble: Trouble) {
    let live: Vec<RecordId> = run.model.live().into_keys().collect();
    if let Some(id) = live.get(usize::from(n) % live.len().max(1)).copied() {
        let act = |run: &Run| run.engine().get_as(&id, "a judge", "to see").map(|_| Done::Nothing);
        attempt(run, "records opened by name", trouble, &act, |run, _, _| run.model.open_once(&id));
    }
}

pub(super) fn lift(run: &mut Run, n: u8, trouble: Trouble) {
    let all: Vec<(u8, u64)> =
        run.model.users.iter().flat_map(|(u, user)| user.holds.iter().map(|h| (*u, h.0))).collect();
    if let Some((user, id)) = all.get(usize::from(n) % all.len().max(1)).copied() {
        let act = |run: &Run| {
            run.engine()
                .holds(&user_id(user))
                .lift(id, "it is over", "a court")
                .map(|()| Done::Nothing)
        };
        attempt(run, "holds lifted", trouble, &act, |run, _, _| {
            run.model.users.entry(user).or_default().holds.retain(|(there, ..)| *there != id);
        });
    }
}

pub(super) fn plan(run: &mut Run, scoped: &Scoped, delay: u8, trouble: Trouble) {
    let Some(named) = named(&run.model, scoped) else {
        return;
    };
    let user = match &named {
        Named::User(user) | Named::Part { user, .. } => *user,
        Named::Record(id) => match run.model.live().get(id) {
            Some((user, _)) => *user,
            None => return,
        },
    };
    let due = run.env.now().0 + 50 + u64::from(delay) * 100;
    let act = |run: &Run| {
        run.engine().erase_at(asked(&named), Timestamp(due)).map(|plan| Done::Number(plan.id))
    };
    attempt(run, "erases planned", trouble, &act, |run, done, _| {
        let id = match done {
            Some(Done::Number(id)) => Some(id),
            _ => run.engine().plans(&user_id(user)).list().ok().and_then(|all| {
                let known = &run.model.users[&user].plans;
                all.into_iter().map(|plan| plan.id).find(|id| !known.iter().any(|(k, ..)| k == id))
            }),
        };
        if let (Some(id), Some(there)) = (id, run.model.users.get_mut(&user)) {
            there.plans.push((id, due, named.clone()));
        }
    });
}

pub(super) fn cancel(run: &mut Run, n: u8, trouble: Trouble) {
    let users = &run.model.users;
    let all: Vec<(u8, u64)> =
        users.iter().flat_map(|(u, user)| user.plans.iter().map(|p| (*u, p.0))).collect();
    if let Some((user, id)) = all.get(usize::from(n) % all.len().max(1)).copied() {
        let act = |run: &Run| run.engine().plans(&user_id(user)).cancel(id).map(|()| Done::Nothing);
        attempt(run, "plans cancelled", trouble, &act, |run, _, _| {
            run.model.users.entry(user).or_default().plans.retain(|(there, ..)| *there != id);
        });
    }
}

pub(super) fn limit(
    run: &mut Run,
    user: Option<u8>,
    class: &Class,
    age: Option<u8>,
    trouble: Trouble,
) {
    if user.is_some_and(|user| !run.model.is_live(user)) {
        return;
    }
    let of = user.map(user_id);
    let age = age.map(|age| u64::from(age) * 100);
    let act = |run: &Run| {
        let done = match age {
            Some(age) => {
                let policy = Policy::new(class.clone()).max_age(Duration::from_millis(age));
                run.engine().policies(of.as_ref()).set(&policy)
            }
            None => match run.engine().policies(of.as_ref()).unset(class, None) {
                Err(e) if e.kind() == ErrorKind::Absent => Ok(()),
                done => done,
            },
        };
        done.map(|()| Done::Nothing)
    };
    attempt(run, "limits set", trouble, &act, |run, _, _| {
        let limits = match user {
            Some(user) => &mut run.model.users.entry(user).or_default().limits,
            None => &mut run.model.limits,
        };
        match age {
            Some(age) => limits.insert(class.as_str().to_owned(), age),
            None => limits.remove(class.as_str()),
        };
    });
}

/// Has the engine do what is due. If that was cut short, what was done is told by what is gone.
pub(super) fn tend(run: &mut Run, trouble: Trouble) {
    let act = |run: &Run| run.engine().run_due(&mut |_| {}).map(|_| Done::Nothing);
    attempt(run, TENDS, trouble, &act, |run, done, now| {
        // In the order in which the engine serves them: what one takes another may keep.
        let first = |user: &User| user.plans.iter().map(|(_, due, _)| *due).min();
        let mut users: Vec<_> =
            run.model.users.iter().map(|(user, there)| (first(there), *user)).collect();
        users.sort_unstable();
        for (_, user) in users {
            let left = run.engine().plans(&user_id(user)).list().unwrap_or_default();
            // A plan may fall with its user, that of another plan's.
            let Some(there) = run.model.users.get(&user) else { continue };
            let mut plans = there.plans.clone();
            plans.sort_by_key(|(id, due, _)| (*due, *id));
            for (id, due, named) in plans {
                // If nothing is left to erase, nothing is held.
                let held = run.model.held(&named) && !run.model.would_do_nothing(&named);
                if left.iter().any(|plan| plan.id == id) {
                    // A hold also refuses what would only leave a fence. One that met a fault, in
                    // this call or in an earlier one, is tried again later.
                    let whole = done.is_some() && trouble.during.is_none();
                    let met = run.failed_at.is_some_and(|at| due <= at && now < at + millis(RETRY));
                    let late = due <= now && whole && !met && !run.model.held(&named);
                    assert!(!late, "a planned erase is late: {named:?}");
                } else {
                    // A plan that names only what fell goes with it.
                    let moot = !run.model.may_take_more(&named) && run.model.hits(&named) == 0;
                    // Others may have opened the store meanwhile, and read the clock.
                    assert!(
                        due <= run.env.now().0 || moot,
                        "LOST: an erase was done before its time: {named:?}"
                    );
                    assert!(!held, "FOUND: a planned erase took what is held: {named:?}");
                    run.model.drop_due(&named);
                    if let Some(there) = run.model.users.get_mut(&user) {
                        there.plans.retain(|(other, ..)| *other != id);
                    }
                    run.tally.count("planned erases done");
                }
            }
        }
        // What passed a limit since it began may be gone too: it looks at the clock for each
        // commit.
        let until = run.env.now().0;
        for (by, must) in [(now, done.is_some()), (until, false)] {
            for named in run.model.expired(by) {
                let hit: Vec<RecordId> = run.model.taken(&named);
                let gone =
                    |id: &RecordId| run.read(id).is_err_and(|e| e.kind() == ErrorKind::Erased);
                let all = hit.iter().all(gone);
                assert!(all || !must, "FOUND: what passed a limit is there: {named:?}");
                if all {
                    run.tally.add("records expired", hit.len() as u64);
                    run.model.drop_due(&named);
                }
            }
        }
    });
}
