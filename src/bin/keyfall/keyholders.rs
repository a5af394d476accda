//! `keyfall keyholder`, and cells that are spread over keyholders.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::{Retirement, RootCell};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, open_cell, replace_member};
use keyfall::quorum::{Alive, Standing};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::KeyholderCommand;
use crate::commands::{Done, one};
use crate::output::{line, table, value, warn};
use crate::stores::{cell_of, open, open_as_it_is};

pub(crate) fn env() -> SharedEnv {
    Arc::new(System)
}

pub(crate) fn run(command: KeyholderCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        KeyholderCommand::Init { dir, accept_remnants } => {
            let id = KeyholderDir::create(&dir, accept_remnants, &System)?.id();
            if json { value(&json!({"keyholder": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Engine { cell } => {
            let id = EngineKey::in_dir(&cell, &System)?.id();
            if json { value(&json!({"engine": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Allow { dir, engine, store } => Ok(KeyholderDir::allow(&dir, engine, store.as_deref())?),
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
            status(&quorum.standing(&newest), newest.epoch, json)
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
        Standing::Lacks => {
            ("lacks its share", "it was away, or is new: the next epoch gives it one (`keyholder renew`)".into())
        }
        Standing::Behind => (
            "behind",
            "it holds older shares: it was away, or restored from a backup of itself; `tend` has it destroy them"
                .into(),
        ),
        Standing::Lies => ("lies", "its share is wrong: replace it".into()),
        Standing::Away(why) => ("away", why.clone()),
    }
}

fn status(all: &[Alive], epoch: u64, json: bool) -> Done {
    if json {
        let each = all.iter().enumerate().map(|(n, alive)| {
            let (standing, why) = words(&alive.standing);
            json!({"number": n + 1, "place": alive.place, "standing": standing, "why": why, "ended": alive.committed})
        });
        return value(&json!({"epoch": epoch, "keyholders": each.collect::<Vec<_>>()}));
    }
    let rows = all.iter().enumerate().map(|(n, alive)| {
        let (standing, why) = words(&alive.standing);
        vec![(n + 1).to_string(), alive.place.clone(), standing.to_owned(), why]
    });
    line(format_args!("root key of epoch {epoch}"))?;
    line(table(&["", "keyholder", "stands", ""], rows))
}
