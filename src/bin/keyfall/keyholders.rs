//! `keyfall keyholder`, and cells that are spread over keyholders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{Retirement, RootCell};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, move_member, open_cell, replace_member};
use keyfall::quorum::{Alive, Rule, Standing};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::KeyholderCommand;
use crate::commands::{Done, one};
use crate::guarded;
use crate::output::{block, line, table, value, warn};
use crate::stores::{cell_of, open, open_as_it_is};

pub(crate) fn env() -> SharedEnv {
    Arc::new(System)
}

pub(crate) fn run(command: KeyholderCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        KeyholderCommand::Init { dir, accept_remnants } => {
            guarded::check_place(&dir)?;
            let id = KeyholderDir::create(&dir, accept_remnants, &System)?.id();
            if json { value(&json!({"keyholder": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Engine { cell } => {
            guarded::check_place(&cell)?;
            let id = EngineKey::in_dir(&cell, &System)?.id();
            if json { value(&json!({"engine": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Allow { dir, engine, store, stores } => {
            KeyholderDir::allow(&dir, engine, store.as_deref())?;
            stores.map_or(Ok(()), |stores| KeyholderDir::limit(&dir, engine, stores))?;
            if json { value(&json!({"engine": engine.to_string(), "allowed": true})) } else { Ok(()) }
        }
        KeyholderCommand::Serve { dir, listen } => {
            let dir = KeyholderDir::open(&dir)?;
            let id = dir.id();
            let server = Server::bind(dir, &listen, env())?;
            line(format_args!("{id}@{}", server.address()?))?;
            server.run(&|told| warn(&Error::new(ErrorKind::Io, told)));
            Ok(())
        }
        KeyholderCommand::Status { places } => {
            let store = one(places)?;
            let quorum = quorum_of(&cell_of(&store, cell)?)?;
            let contents = quorum.load()?;
            let newest = contents.keys.iter().map(|key| key.id).max();
            let newest = newest.ok_or_else(|| Error::new(ErrorKind::Absent, "the store has no root key yet"))?;
            status(&quorum.standing(&newest), (newest.epoch, quorum.rule()), json)
        }
        KeyholderCommand::Move { mut places, offline } => {
            let usage = |what: &str| {
                Error::new(ErrorKind::Invalid, format!("{what}; write `keyholder move [STORE] NUMBER HOST:PORT`"))
            };
            let (address, number) = (places.pop().unwrap_or_default(), places.pop().unwrap_or_default());
            let number = number.parse().map_err(|_| usage(&format!("{number:?} is no number")))?;
            let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
            if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
                return Err(usage(&format!("{address:?} is no HOST:PORT")).into());
            }
            let place = cell_of(&one(places.into_iter().map(PathBuf::from).collect())?, cell)?;
            drop(quorum_of(&place)?);
            move_member(&place, number, &address, !offline, &env())?;
            if json { value(&json!({"number": number, "address": address})) } else { Ok(()) }
        }
        KeyholderCommand::Replace { places, number, with } => {
            let store = one(places)?;
            let place = cell_of(&store, cell)?;
            drop(quorum_of(&place)?);
            // While the old one still counts: enough must be there, or nothing could be read behind it.
            drop(open(&store, cell)?);
            replace_member(&place, number, with)?;
            renew(&open_as_it_is(&store, cell)?, json)
        }
        KeyholderCommand::Renew { places } => renew(&open(&one(places)?, cell)?, json),
    }
}

fn quorum_of(cell: &Path) -> Result<keyfall::quorum::QuorumCell, Error> {
    open_cell(cell, &env())?.ok_or_else(|| {
        Error::new(
            ErrorKind::Absent,
            format!("{} is not a cell with keyholders; `init --keyholder` makes one", cell.display()),
        )
    })
}

fn renew(engine: &Engine, json: bool) -> Done {
    let retired = engine.rekey()?;
    let epoch = engine.head().epoch;
    let (n, needed) = match &retired {
        Retirement::Stated { statements, needed } => (statements.len(), *needed),
        _ => (0, 0),
    };
    if json {
        return value(&json!({"epoch": epoch, "final": retired.is_final(), "statements": n, "needed": needed}));
    }
    let state = if retired.is_final() { "final" } else { "pending: `tend` asks the others again" };
    line(format_args!("epoch {epoch} began; {n} statements of {needed} that are needed: {state}"))
}

fn words(standing: &Standing) -> (&'static str, String) {
    match standing {
        Standing::Whole => ("whole", String::new()),
        Standing::Lacks => ("lacks its share", "it was away, or is new: `tend` deals it one".into()),
        Standing::Behind => (
            "behind",
            "it holds older shares: it was away, or restored from a backup of itself; `tend` has it destroy them"
                .into(),
        ),
        Standing::Lies => ("lies", "its share is wrong: replace it".into()),
        Standing::Away(why) => ("away", why.clone()),
    }
}

fn status(all: &[Alive], (epoch, rule): (u64, Rule), json: bool) -> Done {
    let (n, holding) = (all.len(), all.iter().filter(|alive| alive.holds).count());
    let (threshold, wanted) = (usize::from(rule.threshold), usize::from(rule.threshold) + usize::from(rule.margin));
    if json {
        let each = all.iter().enumerate().map(|(n, alive)| {
            let (standing, why) = words(&alive.standing);
            json!({"number": n + 1, "place": alive.place, "standing": standing, "why": why, "holds": alive.holds, "ended": alive.committed})
        });
        return value(&json!({
            "epoch": epoch, "holding": holding, "threshold": rule.threshold, "margin": rule.margin,
            "keyholders": each.collect::<Vec<_>>(),
        }));
    }
    let rows = all.iter().enumerate().map(|(n, alive)| {
        let (standing, why) = words(&alive.standing);
        vec![(n + 1).to_string(), alive.place.clone(), standing.to_owned(), why]
    });
    let margin = match holding.checked_sub(threshold) {
        Some(0) => "none may be lost".to_owned(),
        Some(more) => format!("{more} may be lost"),
        None => "too few".to_owned(),
    };
    let waits = if holding < wanted.min(n) { "; nothing is destroyed before more hold it" } else { "" };
    line(format_args!("root key of epoch {epoch}: held by {holding} of {n}, {threshold} are needed, {margin}{waits}"))?;
    block(table(&["", "keyholder", "stands", ""], rows))
}
