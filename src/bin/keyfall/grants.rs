//! `keyfall grant` and `keyfall training`: what third parties open.

use std::path::Path;

use keyfall::engine::{Grant, Opened};
use keyfall::sealed::PublicKey;
use keyfall::{Engine, Error, Query, RecordId};
use serde_json::json;

use crate::args::{GrantCommand, TrainingCommand, store_and};
use crate::commands::{Done, one, out_file};
use crate::output::{self, block, counted, line, table, value};
use crate::small::{read_limited, read_text};
use crate::stores::{look, open};

/// Reads a public key's file.
pub(crate) fn public_key(file: &Path) -> Result<PublicKey, Error> {
    read_text(file)?.parse()
}

/// Opens a request into a file; what was opened is counted, so the file comes first.
fn answer((store, cell): (&Path, Option<&Path>), request: &Path, (output, force): (&Path, bool), json: bool) -> Done {
    let request = read_limited(request)?;
    let mut out = out_file(store, cell, output, force)?;
    let silent = out.is_stdout();
    let opened = open(store, cell)?.open_request(&request, &mut out)?;
    out.finish()?;
    if silent { Ok(()) } else { told(&opened, json) }
}

fn told(opened: &Opened, json: bool) -> Done {
    if json {
        return value(&json!({"records": opened.records, "bytes": opened.bytes, "fell": opened.fell}));
    }
    let (records, bytes) = (counted(opened.records, "record"), output::bytes(opened.bytes));
    line(format_args!("{records} ({bytes}) sealed; {} fell out", opened.fell))
}

/// Runs one of `keyfall grant`.
pub(crate) fn run(command: GrantCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        GrantCommand::Add { places, to, name, user, class, until, purpose } => {
            let mut grant = Grant::new(&public_key(&to)?, name, purpose);
            if let Some(class) = class {
                grant = grant.class(class);
            }
            if let Some(until) = until {
                grant = grant.until(until);
            }
            let ticket = open(&one(places)?, cell)?.grants(&user).add(grant)?;
            if !json {
                return line(ticket);
            }
            let id = ticket.grant().map(output::hold_id);
            value(&json!({"user": user.as_str(), "id": id, "ticket": ticket.to_string()}))
        }
        GrantCommand::Revoke { places, user, id } => {
            open(&one(places)?, cell)?.grants(&user).revoke(id)?;
            let id = output::hold_id(id);
            if json { value(&json!({"id": id, "revoked": true})) } else { line(format_args!("revoked {id}")) }
        }
        GrantCommand::List { places, user } => {
            let grants = look(&one(places)?, cell)?.grants(&user).list()?;
            if json {
                let grants: Vec<_> = grants.iter().map(|(id, grant)| output::grant(*id, grant)).collect();
                return value(&json!({"user": user.as_str(), "grants": grants}));
            }
            if grants.is_empty() {
                return line("no grants");
            }
            grants.iter().try_for_each(|(id, grant)| line(output::granted(*id, grant)))
        }
        GrantCommand::Open { places, output, force } => {
            let (store, [request]) = store_and(places, ["REQUEST"])?;
            answer((&store, cell), &request, (&output, force), json)
        }
    }
}

/// Runs one of `keyfall training`.
pub(crate) fn training(command: TrainingCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        TrainingCommand::Make { places, name, to, purpose } => {
            let ticket = open(&one(places)?, cell)?.training().make(&name, &public_key(&to)?, &purpose)?;
            if json { value(&json!({"name": name, "ticket": ticket.to_string()})) } else { line(ticket) }
        }
        TrainingCommand::Add { places, name, record, user, class } => {
            let engine = open(&one(places)?, cell)?;
            let mut ids = record;
            if user.is_some() {
                ids = listed(&engine, Query::default().user(user).class(class))?;
            }
            let added = engine.training().add(&name, &ids)?;
            if json {
                value(&json!({"name": name, "added": added}))
            } else {
                line(format_args!("{} added", counted(added, "record")))
            }
        }
        TrainingCommand::List { places } => {
            let sets = look(&one(places)?, cell)?.training().list()?;
            if json {
                let sets: Vec<_> = sets
                    .iter()
                    .map(|s| json!({"name": s.name, "purpose": s.purpose, "members": s.members, "runs": s.runs}))
                    .collect();
                return value(&json!({"sets": sets}));
            }
            if sets.is_empty() {
                return line("no training sets");
            }
            let rows = sets.iter().map(|s| {
                let made = output::time(s.made);
                vec![s.name.clone(), s.purpose.clone(), s.members.to_string(), s.runs.to_string(), made]
            });
            block(table(&["NAME", "PURPOSE", "RECORDS", "RUNS", "MADE"], rows))
        }
        TrainingCommand::Open { places, output, force } => {
            let (store, [request]) = store_and(places, ["REQUEST"])?;
            answer((&store, cell), &request, (&output, force), json)
        }
        TrainingCommand::Drop { places, name } => {
            open(&one(places)?, cell)?.training().drop(&name)?;
            if json { value(&json!({"name": name, "dropped": true})) } else { line(format_args!("dropped {name}")) }
        }
    }
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
