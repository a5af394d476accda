//! Making a store with its cell.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::quorum::net::{make_cell, open_cell};
use keyfall::quorum::{Member, QuorumCell, Rule, Standing};
use keyfall::store::SledStore;
use keyfall::{Engine, Error, ErrorKind, Options};

use crate::shell::blobs::take_away;
use crate::shell::cells::{env, pointer_to_write, write_pointer};
use crate::shell::guarded;
use crate::shell::held::check_unheld;
use crate::shell::session::Session;

/// How a store is made.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) accept_remnants: bool,
    pub(crate) log_origin: Option<String>,
    /// The keyholders of the root key; none where the cell is a file.
    pub(crate) spread: Option<Spread>,
}

/// Keyholders, and how many of them it takes to open and to destroy the root key.
pub(crate) struct Spread {
    pub(crate) members: Vec<Member>,
    pub(crate) rule: Rule,
}

/// Makes a store and a cell that does not lie inside it.
pub(crate) fn make(session: &Session, store: &Path, making: Making) -> Result<Engine, Error> {
    let place = session.cell_of(store)?;
    guarded::check_place(store)?;
    guarded::check_place(&place)?;
    let pointer = pointer_to_write(store, &place)?;
    check_unheld(store, &place)?;
    let was_there = store.is_dir();
    let blobs = SledStore::create(store)?;
    let spread = making.spread.is_some();
    let root = match make_root(&place, making.accept_remnants, making.spread) {
        Ok(root) => root,
        Err(e) => {
            // Nothing was put yet: remove the half-made store.
            drop(blobs);
            take_away(store, was_there);
            return Err(e);
        }
    };
    // The pointer comes before the store, so that whatever is there can be opened.
    if let Some(file) = &pointer {
        write_pointer(file, &place, None)?;
    }
    let log_origin = making.log_origin;
    let options = Options { keeper: Keeper::ByHand, log_origin, ..Options::default() };
    let engine = Engine::init(Arc::new(blobs), root, options).inspect_err(|_| {
        if spread {
            // Nothing was put yet. The engine's key stays, for the keyholders know it.
            take_away(store, was_there);
            let _ = std::fs::remove_file(place.join("quorum.json"));
            let _ = pointer.as_ref().map(std::fs::remove_file);
        }
    })?;
    if let Some(file) = &pointer {
        write_pointer(file, &place, Some(&engine.id().to_string()))?;
    }
    if let Some(Ok(Some(quorum))) = spread.then(|| open_cell(&place, &env())) {
        warn_of_absent(session, &quorum);
    }
    Ok(engine)
}

fn make_root(
    place: &Path,
    accept_remnants: bool,
    spread: Option<Spread>,
) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match spread {
        Some(Spread { members, rule }) => Arc::new(make_cell(place, members, rule, &env())?),
        None => Arc::new(FileCell::create(place, accept_remnants, Arc::new(System))?),
    })
}

/// Says which keyholders of a new store hold no share: an init succeeds as soon as enough do.
fn warn_of_absent(session: &Session, quorum: &QuorumCell) {
    let contents = quorum.load().ok();
    let newest = contents.and_then(|contents| contents.keys.iter().map(|key| key.id).max());
    for alive in newest.map(|newest| quorum.standing(&newest)).unwrap_or_default() {
        if let Standing::Refuses(why) | Standing::Away(why) = alive.standing {
            let text = format!(
                "{why}; it has no share yet: `keyfall tend STORE` deals it one once it is there"
            );
            session.warn(&Error::new(ErrorKind::Io, text));
        }
    }
}
