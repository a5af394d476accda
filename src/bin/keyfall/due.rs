//! `keyfall tend`, `plan` and `policy`: what is erased when its time has come.

use std::path::Path;
use std::time::Duration;

use keyfall::engine::{Erase, Policy};
use keyfall::env::{Env, System};
use keyfall::{Engine, Scope, Timestamp};
use serde_json::json;

use crate::args::{PlanCommand, PolicyCommand};
use crate::commands::{Done, one};
use crate::erasing::{ask, described};
use crate::output::{self, hold_id, line, progress, table, value};
use crate::stores::{open, open_as_it_is};

/// Does what is due.
pub(crate) fn tend(store: &Path, cell: Option<&Path>, json: bool) -> Done {
    let engine = open_as_it_is(store, cell)?;
    let bar = progress("records taken out", None);
    let done = engine.tend(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    let next = engine.status()?.next_due.map(output::time);
    if json {
        return value(&json!({
            "planned": done.planned, "expired": done.expired, "derived": done.derived, "refused": done.refused,
            "inbox_keys": done.inbox_keys, "damaged": done.damaged, "finalized": done.finalized, "next_due": next,
            "failed": done.failed, "troubles": done.troubles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
    }
    line(format_args!(
        "{} planned erases done; {} records passed a limit; {} derived records fell; {} refused, since they are held",
        done.planned, done.expired, done.derived, done.refused
    ))?;
    if done.damaged > 0 {
        line(format_args!(
            "{} users passed over: their pages are damaged; restore the store from a copy",
            done.damaged
        ))?;
    }
    for trouble in &done.troubles {
        line(trouble)?;
    }
    if done.inbox_keys > 0 {
        line(format_args!("{} old inbox keys destroyed", done.inbox_keys))?;
    }
    if done.finalized {
        line("what was pending is final")?;
    }
    line(next.map_or("nothing is due later".to_owned(), |at| format!("next due {at}")))
}

/// Plans an erase.
pub(crate) fn plan(engine: &Engine, erase: Erase, delay: Duration, (yes, json): (bool, bool)) -> Done {
    let what = described(&erase);
    ask(yes, &format!("Erase {what} in {}, unless it is cancelled?", output::span(delay)), &what)?;
    let user = match erase.scope() {
        Scope::User { user, .. } => user.clone(),
        Scope::Record(id) => engine.info(id)?.user,
    };
    let due = Timestamp(System.now().0.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)));
    let plan = engine.erase_at(erase, due)?;
    if json {
        let mut told = output::plan(&plan);
        told["user"] = json!(user.as_str());
        return value(&told);
    }
    let id = hold_id(plan.id);
    line(format_args!(
        "{what} is erased at {}, by whichever keyfall has the store open then, or next",
        output::time(due)
    ))?;
    line(format_args!("to cancel: keyfall plan cancel --user {user} --id {id}"))
}

/// Lists and cancels plans.
pub(crate) fn plans(command: PlanCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        PlanCommand::Cancel { places, user, id } => {
            open(&one(places)?, cell)?.cancel(&user, id)?;
            let id = hold_id(id);
            if json { value(&json!({"id": id, "cancelled": true})) } else { line(format_args!("cancelled {id}")) }
        }
        PlanCommand::List { places, user } => {
            let plans = open(&one(places)?, cell)?.plans(&user)?;
            if json {
                let plans: Vec<_> = plans.iter().map(output::plan).collect();
                return value(&json!({"user": user.as_str(), "plans": plans}));
            }
            if plans.is_empty() {
                return line("nothing is planned");
            }
            let rows = plans.iter().map(|plan| {
                let (due, planned) = (output::time(plan.due), output::time(plan.planned));
                vec![hold_id(plan.id), due, described(&plan.erase), planned]
            });
            line(table(&["ID", "DUE", "WHAT", "PLANNED"], rows))
        }
    }
}

/// Sets, takes back and lists policies.
pub(crate) fn policies(command: PolicyCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        PolicyCommand::Set { places, class, user, purpose, max_age, max_records, until, readers_named } => {
            let policy = Policy { class, purpose, max_age, max_records, until, readers_named };
            let engine = open(&one(places)?, cell)?;
            engine.set_policy(user.as_ref(), &policy)?;
            let done = engine.tend(&mut |_| {})?;
            if json {
                let mut told = output::policy(&policy);
                told["user"] = json!(user.as_ref().map(keyfall::UserId::as_str));
                told["expired"] = json!(done.expired);
                return value(&told);
            }
            line(output::limits(&policy))?;
            if done.expired > 0 {
                line(format_args!("{} records passed it, and were erased", done.expired))
            } else {
                Ok(())
            }
        }
        PolicyCommand::Unset { places, class, user, purpose } => {
            open(&one(places)?, cell)?.unset_policy(user.as_ref(), &class, purpose.as_deref())?;
            if json { value(&json!({"class": class.as_str(), "unset": true})) } else { line("taken back") }
        }
        PolicyCommand::List { places, user } => {
            let policies = open(&one(places)?, cell)?.policies(user.as_ref())?;
            if json {
                return value(&json!({"policies": policies.iter().map(output::policy).collect::<Vec<_>>()}));
            }
            if policies.is_empty() {
                return line("no policies");
            }
            policies.iter().try_for_each(|policy| line(output::limits(policy)))
        }
    }
}
