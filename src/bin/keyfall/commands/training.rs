//! `keyfall training`: sets of records of many users.

use keyfall::{Engine, Error, Query, RecordId};
use serde_json::json;

use crate::args::TrainingCommand;
use crate::commands::grant::{Asked, answer};
use crate::shell::failure::Done;
use crate::shell::places::{one, store_and};
use crate::shell::print::{block, counted, line, table};
use crate::shell::read::read_public_key;
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::time::time;

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: TrainingCommand) -> Done {
    match command {
        TrainingCommand::Make { places, name, to, purpose } => {
            let engine = open(session, &one(places)?)?;
            let ticket = engine.training().make(&name, &read_public_key(&to)?, &purpose)?;
            if session.json {
                session.value(&json!({"name": name, "ticket": ticket.to_string()}))
            } else {
                line(ticket)
            }
        }
        TrainingCommand::Add { places, name, record, user, class } => {
            let engine = open(session, &one(places)?)?;
            let mut ids = record;
            if user.is_some() {
                ids = listed(&engine, Query::default().user(user).class(class))?;
            }
            let added = engine.training().add(&name, &ids)?;
            if session.json {
                session.value(&json!({"name": name, "added": added}))
            } else {
                line(format_args!("{} added", counted(added, "record")))
            }
        }
        TrainingCommand::List { places } => list(session, &look(session, &one(places)?)?),
        TrainingCommand::Open { places, output, force } => {
            let (store, [request]) = store_and(places, ["REQUEST"])?;
            answer(session, &store, &Asked { request, output, force })
        }
        TrainingCommand::Drop { places, name } => {
            let engine = open(session, &one(places)?)?;
            engine.training().drop(&name)?;
            if session.json {
                session.value(&json!({"name": name, "dropped": true}))
            } else {
                line(format_args!("dropped {name}"))
            }
        }
    }
}

fn list(session: &Session, engine: &Engine) -> Done {
    let sets = engine.training().list()?;
    if session.json {
        let sets: Vec<_> = sets
            .iter()
            .map(|s| {
                json!({
                    "name": s.name, "purpose": s.purpose, "members": s.members, "runs": s.runs,
                })
            })
            .collect();
        return session.value(&json!({"sets": sets}));
    }
    if sets.is_empty() {
        return line("no training sets");
    }
    let rows = sets.iter().map(|s| {
        let (members, runs) = (s.members.to_string(), s.runs.to_string());
        vec![s.name.clone(), s.purpose.clone(), members, runs, time(s.made)]
    });
    block(table(&["NAME", "PURPOSE", "RECORDS", "RUNS", "MADE"], rows))
}

fn listed(engine: &Engine, mut query: Query) -> Result<Vec<RecordId>, Error> {
    let mut ids = Vec::new();
    loop {
        let page = engine.list(&query)?;
        ids.extend(page.records.iter().map(|record| record.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(ids),
        }
    }
}
