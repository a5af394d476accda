//! `keyfall keyholder`, and cells that are spread over keyholders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{Retirement, RootCell, RootId};
use keyfall::engine::root_of;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{
    EngineKey, KeyholderDir, KeyholderId, Server, leaving, move_keyholder, move_member, open_cell, replace_member,
};
use keyfall::quorum::{Alive, Left, Member, QuorumCell, Standing};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::KeyholderCommand;
use crate::commands::{Done, one};
use crate::guarded;
use crate::output::{block, counted, line, table, value, warn};
use crate::remedy::fill;
use crate::stores::{blobs_to_look, cell_of, open, open_as_it_is};

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
            if json {
                value(&json!({"engine": engine.to_string(), "allowed": true}))
            } else {
                line(format_args!("allowed {engine}"))
            }
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
            let place = cell_of(&store, cell)?;
            let quorum = quorum_of(&place)?;
            status(&quorum, &live(&store, &quorum)?, &leaving(&place)?, json)
        }
        KeyholderCommand::Move { mut places, offline } => {
            let usage = |what: &str| {
                Error::new(ErrorKind::Invalid, format!("{what}; write `keyholder move [STORE] NUMBER|KEY HOST:PORT`"))
            };
            let (address, named) = (places.pop().unwrap_or_default(), places.pop().unwrap_or_default());
            let (key, number) = (named.parse::<KeyholderId>().ok(), named.parse::<usize>());
            if key.is_none() && number.is_err() {
                return Err(usage(&format!("{named:?} is no number, and no keyholder's key")).into());
            }
            let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
            if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
                return Err(usage(&format!("{address:?} is no HOST:PORT")).into());
            }
            let place = cell_of(&one(places.into_iter().map(PathBuf::from).collect())?, cell)?;
            drop(quorum_of(&place)?);
            let moved = key.as_ref().map(ToString::to_string);
            let number = number.as_ref().ok().copied();
            match key {
                Some(key) => move_keyholder(&place, key, &address, !offline, &env())?,
                None => move_member(&place, number.unwrap_or_default(), &address, !offline, &env())?,
            }
            if json {
                value(&json!({"number": number, "key": moved, "address": address}))
            } else {
                line(format_args!("keyholder {named} is at {address}"))
            }
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

/// The root key of the store's head. Where that cannot be looked at, the newest that keyholders show.
fn live(store: &Path, quorum: &QuorumCell) -> Result<RootId, Error> {
    let none = || Error::new(ErrorKind::Absent, "the store has no root key yet");
    match blobs_to_look(store).and_then(|blobs| root_of(&blobs)) {
        Ok(head) => head.ok_or_else(none),
        Err(e) => {
            warn(&e.context("the head cannot be looked at, so this is about the newest root key that keyholders show"));
            quorum.load()?.keys.iter().map(|key| key.id).max().ok_or_else(none)
        }
    }
}

fn quorum_of(cell: &Path) -> Result<QuorumCell, Error> {
    open_cell(cell, &env())?.ok_or_else(|| {
        Error::new(
            ErrorKind::Absent,
            format!("{} is not a cell with keyholders; `keyfall init NEW --keyholder KEY@HOST:PORT... --threshold T` makes one", cell.display()),
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
    let statements = counted(n as u64, "statement");
    line(format_args!("epoch {epoch} began; {statements} of {needed} that are needed: {state}"))
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

/// What is awaited of a keyholder that was replaced, and whether it can be asked.
fn awaited(left: &Left, alive: &Alive) -> String {
    let word = match left.until {
        Some(epoch) => format!("its word is awaited that it holds no share from before epoch {epoch}"),
        None => fill("it is asked when the next epoch has begun (`keyfall keyholder renew STORE`)"),
    };
    match &alive.standing {
        Standing::Away(why) => {
            let remedy = fill("`keyfall keyholder move STORE KEY HOST:PORT`");
            format!("{word}; it is away ({why}): where it moved, say so with {remedy}")
        }
        _ => format!("{word}; it is there, and `tend` asks it"),
    }
}

fn status(quorum: &QuorumCell, live: &RootId, leaving: &[Left], json: bool) -> Done {
    let (mut all, epoch, rule) = (quorum.standing_of_all(live), live.epoch, quorum.rule());
    let gone = all.split_off(all.len().saturating_sub(leaving.len()));
    let gone = || leaving.iter().zip(&gone);
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
            "leaving": gone().map(|(left, alive)| json!({
                "key": left.member.key, "place": left.member.address, "awaited": awaited(left, alive),
                "until": left.until, "standing": words(&alive.standing).0,
            })).collect::<Vec<_>>(),
        }));
    }
    let rows = all.iter().enumerate().map(|(n, alive)| {
        let (standing, why) = words(&alive.standing);
        vec![(n + 1).to_string(), alive.place.clone(), standing.to_owned(), why]
    });
    let margin = match holding.checked_sub(threshold) {
        Some(0) => "none may be lost".to_owned(),
        Some(more) => format!("{more} may be lost"),
        None => "so it cannot be had: start the others".to_owned(),
    };
    let waits = if holding < wanted.min(n) { "; nothing is destroyed before more hold it" } else { "" };
    line(format_args!("root key of epoch {epoch}: held by {holding} of {n}, {threshold} are needed, {margin}{waits}"))?;
    block(table(&["", "keyholder", "stands", ""], rows))?;
    gone().try_for_each(|(left, alive)| {
        let Member { key, address } = &left.member;
        line(format_args!("replaced: {key}@{address}: {}", awaited(left, alive)))
    })
}
