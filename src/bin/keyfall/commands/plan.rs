//! `keyfall plan`, and the plan that `keyfall erase --in` makes.

use std::time::Duration;

use keyfall::env::{Env, System};
use keyfall::{Engine, Erase, Scope, Timestamp};
use serde_json::json;

use crate::args::PlanCommand;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{block, line, table};
use crate::shell::remedy::word;
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::erase::erase_words;
use crate::show::rules::{number, plan_json};
use crate::show::time::time;

/// Lists and cancels plans.
pub(super) fn run(session: &Session, command: PlanCommand) -> Done {
    match command {
        PlanCommand::Cancel { places, user, id } => {
            let engine = open(session, &one(places)?)?;
            engine.plans(&user).cancel(id)?;
            let id = number(id);
            if session.json {
                session.value(&json!({"id": id, "cancelled": true}))
            } else {
                line(format_args!("cancelled {id}"))
            }
        }
        PlanCommand::List { places, user } => {
            let engine = look(session, &one(places)?)?;
            let plans = engine.plans(&user).list()?;
            if session.json {
                let plans: Vec<_> = plans.iter().map(plan_json).collect();
                return session.value(&json!({"user": user.as_str(), "plans": plans}));
            }
            if plans.is_empty() {
                return line("nothing is planned");
            }
            let rows = plans.iter().map(|plan| {
                let held = if plan.held { "yes" } else { "no" };
                let (due, planned) = (time(plan.due), time(plan.planned));
                vec![number(plan.id), due, erase_words(&plan.erase), planned, held.to_owned()]
            });
            block(table(&["ID", "DUE", "WHAT", "PLANNED", "HELD"], rows))
        }
    }
}

/// Plans an erase that falls due after `delay`.
pub(super) fn add(session: &Session, engine: &Engine, erase: Erase, delay: Duration) -> Done {
    let what = erase_words(&erase);
    let user = match erase.scope() {
        Scope::User { user, .. } => user.clone(),
        Scope::Record(id) => engine.info(id)?.user.clone(),
    };
    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let plan = engine.erase_at(erase, Timestamp(System.now().0.saturating_add(delay)))?;
    if session.json {
        let mut told = plan_json(&plan);
        told["user"] = json!(user.as_str());
        return session.value(&told);
    }
    line(format_args!(
        "{what} is erased at {}, by whichever keyfall has the store open then, or next",
        time(plan.due)
    ))?;
    let user = word(user.as_str());
    if plan.held {
        let held = session.fill(&format!("`keyfall hold list STORE --user {user}`"));
        line(format_args!(
            "some of it is under a legal hold now ({held}): unless that is lifted by then, it is \
             refused"
        ))?;
    }
    if plan.erase.certified_for().is_some() {
        let collect = session.typed("keyfall certificate collect STORE");
        line(format_args!("once that is done, its certificate: {collect}"))?;
    }
    let id = number(plan.id);
    let cancel = format!("keyfall plan cancel STORE --user {user} --id {id}");
    line(format_args!("to cancel: {}", session.typed(&cancel)))
}
