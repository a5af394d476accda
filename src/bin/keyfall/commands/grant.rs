//! `keyfall grant`: what third parties may open.

use std::path::{Path, PathBuf};

use keyfall::engine::{Grant, Opened};
use serde_json::json;

use crate::args::GrantCommand;
use crate::shell::failure::Done;
use crate::shell::outfile::Replace;
use crate::shell::outside::out_file;
use crate::shell::places::{one, store_and};
use crate::shell::print::{bytes, counted, line};
use crate::shell::read::{read_limited, read_public_key};
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::rules::{grant_json, grant_words, number};

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: GrantCommand) -> Done {
    match command {
        GrantCommand::Add { places, to, name, user, class, until, purpose } => {
            let mut grant = Grant::new(&read_public_key(&to)?, name, purpose);
            if let Some(class) = class {
                grant = grant.class(class);
            }
            if let Some(until) = until {
                grant = grant.until(until);
            }
            let engine = open(session, &one(places)?)?;
            let ticket = engine.grants(&user).add(grant)?;
            if !session.json {
                return line(ticket);
            }
            let (id, ticket) = (ticket.grant().map(number), ticket.to_string());
            session.value(&json!({"user": user.as_str(), "id": id, "ticket": ticket}))
        }
        GrantCommand::Revoke { places, user, id } => {
            let engine = open(session, &one(places)?)?;
            engine.grants(&user).revoke(id)?;
            let id = number(id);
            if session.json {
                session.value(&json!({"id": id, "revoked": true}))
            } else {
                line(format_args!("revoked {id}"))
            }
        }
        GrantCommand::List { places, user } => {
            let engine = look(session, &one(places)?)?;
            let grants = engine.grants(&user).list()?;
            if session.json {
                let grants: Vec<_> =
                    grants.iter().map(|(id, grant)| grant_json(*id, grant)).collect();
                return session.value(&json!({"user": user.as_str(), "grants": grants}));
            }
            if grants.is_empty() {
                return line("no grants");
            }
            grants.iter().try_for_each(|(id, grant)| line(grant_words(*id, grant)))
        }
        GrantCommand::Open { places, output, force } => {
            let (store, [request]) = store_and(places, ["REQUEST"])?;
            answer(session, &store, &Asked { request, output, force })
        }
    }
}

/// A request to be answered, and where the answer goes.
pub(super) struct Asked {
    pub(super) request: PathBuf,
    pub(super) output: PathBuf,
    pub(super) force: bool,
}

/// Opens a request into a file. The file comes first, for what was opened is counted.
pub(super) fn answer(session: &Session, store: &Path, asked: &Asked) -> Done {
    let request = read_limited(&asked.request)?;
    let mut out = out_file(session, store, &asked.output, Replace::forced(asked.force))?;
    let silent = out.is_stdout();
    let engine = open(session, store)?;
    let opened = engine.open_request(&request, &mut out)?;
    out.finish()?;
    if silent { Ok(()) } else { tell(session, &opened) }
}

fn tell(session: &Session, opened: &Opened) -> Done {
    let Opened { records, bytes: length, fell, .. } = *opened;
    if session.json {
        return session.value(&json!({"records": records, "bytes": length, "fell": fell}));
    }
    let (records, length) = (counted(records, "record"), bytes(length));
    line(format_args!("{records} ({length}) sealed; {fell} fell out"))
}
