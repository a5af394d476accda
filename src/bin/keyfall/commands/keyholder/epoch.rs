//! The cell that keyholders make up, its live root key, and the epochs that begin without an erase.

use std::path::Path;

use keyfall::cell::RootCell;
use keyfall::engine::root_of;
use keyfall::promise::{Retirement, RootId};
use keyfall::quorum::QuorumCell;
use keyfall::quorum::net::open_cell;
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::shell::cells::env;
use crate::shell::failure::Done;
use crate::shell::print::{counted, line};
use crate::shell::session::Session;
use keyfall::opening::store_to_look;

/// Opens a cell with keyholders.
pub(super) fn quorum_of(cell: &Path) -> Result<QuorumCell, Error> {
    open_cell(cell, &env())?.ok_or_else(|| {
        let text = format!(
            "{} does not use keyholders; \
             `keyfall init NEW --keyholder KEY@HOST:PORT... --threshold T` makes one",
            cell.display()
        );
        Error::new(ErrorKind::Absent, text)
    })
}

/// The root key of the store's head; if the head cannot be read, the newest that keyholders report.
pub(super) fn live(session: &Session, store: &Path, quorum: &QuorumCell) -> Result<RootId, Error> {
    let none = || Error::new(ErrorKind::Absent, "the store has no root key yet");
    match store_to_look(store).and_then(|blobs| root_of(&*blobs)) {
        Ok(head) => head.ok_or_else(none),
        Err(e) => {
            session.warn(&e.context(
                "cannot read the store's head; using the newest root key that the keyholders \
                 report",
            ));
            quorum.load()?.keys.iter().map(|key| key.id).max().ok_or_else(none)
        }
    }
}

/// An epoch that began.
pub(super) struct Epoch {
    number: u64,
    /// What became of the root keys before it.
    retired: Retirement,
}

/// Begins a new epoch without erasing anything.
pub(super) fn begin(engine: &Engine) -> Result<Epoch, Error> {
    let retired = engine.rekey()?;
    Ok(Epoch { number: engine.head().epoch, retired })
}

/// Says which epoch began, and whether the root keys before it are destroyed.
pub(super) fn tell_epoch(session: &Session, epoch: &Epoch) -> Done {
    let Epoch { number, retired } = epoch;
    let (n, needed) = match retired {
        Retirement::Stated { statements, needed } => (statements.len(), *needed),
        _ => (0, 0),
    };
    if session.json {
        return session.value(&json!({
            "epoch": number, "final": retired.is_final(), "statements": n, "needed": needed,
        }));
    }
    let state = if retired.is_final() { "final" } else { "pending: `tend` asks the others again" };
    // Only keyholders make statements.
    let statements = match needed {
        0 => String::new(),
        _ => format!("{} of {needed} that are needed: ", counted(n as u64, "statement")),
    };
    line(format_args!("epoch {number} began; {statements}{state}"))
}
