//! `keyfall keyholder`.

mod epoch;
mod replace;
pub(super) mod status;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use keyfall::env::System;
use keyfall::quorum::net::{
    EngineId, EngineKey, KeyholderDir, KeyholderId, Server, move_keyholder, move_member,
};
use keyfall::{Error, ErrorKind};
use serde_json::json;

use crate::args::KeyholderCommand;
use crate::commands::keyholder::epoch::{begin, quorum_of, tell_epoch};
use crate::commands::keyholder::replace::Replacement;
use crate::shell::cells::env;
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::shell::stores::open;

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: KeyholderCommand) -> Done {
    match command {
        KeyholderCommand::Init { dir, accept_remnants } => {
            guarded::check_place(&dir)?;
            let id = KeyholderDir::create(&dir, accept_remnants, &System)?.id();
            tell_key(session, "keyholder", &id.to_string())
        }
        KeyholderCommand::Engine { cell } => engines(session, &cell),
        KeyholderCommand::Allow { dir, engines, store, stores } => {
            let limits = Limits { store, stores };
            if limits.store.is_some() && engines.len() > 1 {
                let text = "one engine has a store; name one with --store";
                return Err(Error::new(ErrorKind::Invalid, text).into());
            }
            engines.iter().try_for_each(|engine| allow(session, &dir, *engine, &limits))
        }
        KeyholderCommand::Serve { dir, allow, accept_remnants, listen } => {
            if !dir.exists() {
                // Else a directory would be left behind that holds nothing yet.
                Server::check(&listen)?;
            }
            let dir = made_for(session, &dir, &allow, accept_remnants)?;
            serve(session, dir, &listen)
        }
        KeyholderCommand::Status { places } => status::run(session, &one(places)?),
        KeyholderCommand::Move { places, offline } => Move::read(places)?.run(session, offline),
        KeyholderCommand::Replace { places, number, with } => {
            Replacement::new(session, one(places)?, number, with)?.run()
        }
        KeyholderCommand::Renew { places } => {
            let engine = open(session, &one(places)?)?;
            tell_epoch(session, &begin(&engine)?)
        }
    }
}

/// Opens a keyholder's directory and lets these engines use it. With engines to allow, a missing
/// directory is made, and that is said. An existing empty directory is refused, and so is a missing
/// parent: the disk may not be mounted.
fn made_for(
    session: &Session,
    place: &Path,
    engines: &[EngineId],
    accept_remnants: bool,
) -> Result<KeyholderDir, Error> {
    let dir = if engines.is_empty() || place.exists() {
        KeyholderDir::open(place)?
    } else {
        guarded::check_place(place)?;
        let dir = made(place, accept_remnants)?;
        session.note(&format!("made the keyholder {}", place.display()));
        dir
    };
    engines.iter().try_for_each(|engine| KeyholderDir::allow(place, *engine, None).map(drop))?;
    Ok(dir)
}

fn made(place: &Path, accept_remnants: bool) -> Result<KeyholderDir, Error> {
    let mut dir = DirBuilder::new();
    dir.mode(0o700).create(place).map_err(|e| Error::io(place.display(), e))?;
    KeyholderDir::create(place, accept_remnants, &System).inspect_err(|_| {
        // So that the same command can be given again; what holds something stays.
        let _ = std::fs::remove_dir(place);
    })
}

fn serve(session: &Session, dir: KeyholderDir, listen: &str) -> Done {
    let id = dir.id();
    let server = Server::bind(dir, listen, env())?;
    if server.address()?.ip().is_unspecified() {
        session.note(
            "it listens at all addresses of this machine: give engines the one by which they reach \
             it, as KEY@HOST:PORT",
        );
    }
    line(format_args!("{id}@{}", server.address()?))?;
    server.run(&|told| session.warn(&Error::new(ErrorKind::Io, told)));
    Ok(())
}

fn tell_key(session: &Session, whose: &str, id: &str) -> Done {
    if session.json { session.value(&json!({whose: id})) } else { line(id) }
}

/// An engine's limits at a keyholder, if they are not the defaults.
struct Limits {
    store: Option<String>,
    stores: Option<usize>,
}

/// Prints the keys of the engines of these cells.
fn engines(session: &Session, cells: &[PathBuf]) -> Done {
    cells.iter().try_for_each(|cell| {
        if cell.to_string_lossy().contains("://") {
            let text =
                format!("{} is a place of a store: name the directory of its cell", cell.display());
            return Err(Error::new(ErrorKind::Invalid, text).into());
        }
        guarded::check_place(cell)?;
        let id = EngineKey::in_dir(cell, &System)?.id();
        tell_key(session, "engine", &id.to_string())
    })
}

fn allow(session: &Session, dir: &Path, engine: EngineId, limits: &Limits) -> Done {
    let store = limits.store.as_deref();
    let before = KeyholderDir::allow(dir, engine, store)?;
    limits.stores.map_or(Ok(()), |stores| KeyholderDir::limit(dir, engine, stores))?;
    if session.json {
        let told = json!({"engine": engine.to_string(), "allowed": true, "store_was_of": before});
        return session.value(&told);
    }
    let stores = limits.stores.map(|stores| format!("; it may have {stores} stores there"));
    let stores = stores.unwrap_or_default();
    let before = before.map_or_else(String::new, |one| format!(", which was of {one}"));
    let store = store.map(|store| format!("; it owns store {store} there{before}"));
    let store = store.unwrap_or_default();
    let dir = dir.display();
    line(format_args!("{engine} may use the keyholder in {dir}{store}{stores}"))
}

/// A keyholder that has another address now.
struct Move {
    store: PathBuf,
    which: Which,
    address: String,
}

enum Which {
    Number(usize),
    Key(KeyholderId),
}

impl Move {
    /// Reads `[STORE] NUMBER|KEY HOST:PORT`.
    fn read(mut places: Vec<String>) -> Result<Self, Error> {
        let usage = |what: &str| {
            let text = format!("{what}; write `keyholder move [STORE] NUMBER|KEY HOST:PORT`");
            Error::new(ErrorKind::Invalid, text)
        };
        if !(2..=3).contains(&places.len()) {
            return Err(usage(&format!("{} arguments are not two or three", places.len())));
        }
        let address = places.pop().unwrap_or_default();
        let named = places.pop().unwrap_or_default();
        let which = match (named.parse(), named.parse()) {
            (Ok(key), _) => Which::Key(key),
            (_, Ok(number)) => Which::Number(number),
            _ => {
                return Err(usage(&format!("{named:?} is neither a number nor a keyholder's key")));
            }
        };
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let parts = address.rsplit_once(':');
        if !parts.is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
            return Err(usage(&format!("{address:?} is not HOST:PORT")));
        }
        let store = one(places.into_iter().map(PathBuf::from).collect())?;
        Ok(Move { store, which, address })
    }

    fn run(self, session: &Session, offline: bool) -> Done {
        let address = self.address.as_str();
        let place = session.cell_of(&self.store)?;
        drop(quorum_of(&place)?);
        let (number, key) = match self.which {
            Which::Key(key) => {
                let named = key.to_string();
                move_keyholder(&place, key, address, !offline, &env())?;
                (None, Some(named))
            }
            Which::Number(number) => {
                move_member(&place, number, address, !offline, &env())?;
                (Some(number), None)
            }
        };
        if session.json {
            return session.value(&json!({"number": number, "key": key, "address": address}));
        }
        let which = key.or_else(|| number.map(|n| n.to_string())).unwrap_or_default();
        let there = if offline { "not checked" } else { "it answers there" };
        line(format_args!("keyholder {which} is now at {address}; {there}"))
    }
}
