//! What lies where a store is missing: the cell of one that is lost, or what was left by an init
//! or a restore that was cut short.

use std::path::Path;
use std::sync::Arc;

use super::location::{Location, is_long};
use super::roots::look_root;
use crate::cell::{Contents, FileCell};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{SledStore, Store};

/// What lies where a cell is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// No key: there is no cell, or the init that made it goes on when it is run again.
    Nothing,
    /// The key of an init that was cut short later.
    Unfinished,
    /// The root key of a store.
    Key,
    /// What cannot be read: a root key, or less than an init leaves that was cut short.
    Unread,
}

impl Held {
    /// Looks into a directory.
    pub(super) fn at(cell: &Path, env: &SharedEnv) -> Self {
        let there = |name: &str| cell.join(name).symlink_metadata().is_ok();
        if !["slot-a", "slot-b", "quorum.json"].into_iter().any(there) {
            return Held::Nothing;
        }
        match Held::of(look_root(cell, env).and_then(|root| root.load())) {
            // A cell that is spread has no such slots.
            Held::Unread
                if !there("quorum.json") && FileCell::was_never_used(cell, Arc::clone(env)) =>
            {
                Held::Nothing
            }
            held => held,
        }
    }

    /// Of what a cell tells.
    pub(super) fn of(told: Result<Contents>) -> Self {
        match told {
            Ok(held) if held.keys.is_empty() && held.epoch == 0 && held.unheard.is_none() => {
                Held::Nothing
            }
            Ok(held) if held.is_unfinished() => Held::Unfinished,
            Ok(_) => Held::Key,
            Err(_) => Held::Unread,
        }
    }
}

/// Adds the remedy if a store is missing: a user with a cell there must not make another store
/// and lose the cell.
pub(super) fn without_store(e: Error, at: &Location, held: Held) -> Error {
    if e.kind() != ErrorKind::Absent {
        return e;
    }
    let (s, c) = (at.store().display(), at.cell().display());
    let text = match held {
        Held::Nothing => {
            format!("no store at {s}; make one with `Builder::create`, or name another place")
        }
        Held::Unfinished => format!(
            "no store at {s}, and the root cell {c} holds the key of an init that was cut short \
             before anything could be put; move the cell away, and make one with \
             `Builder::create`"
        ),
        Held::Key | Held::Unread => format!(
            "no store at {s}, and its root cell {c} is there: name the place where the store is, if \
             this is not the one, or restore it from a copy with `Builder::restore`; do not remove \
             the cell, for without it no copy opens"
        ),
    };
    Error::new(ErrorKind::Absent, text)
}

/// Refuses a file where a store is to be: it is a slip in the command, and no store is lost.
pub(super) fn check_directory(store: &Path) -> Result<()> {
    if store.metadata().is_ok_and(|there| !there.is_dir()) {
        let store = store.display();
        let text = format!("{store} is a file, and a store is a directory: name another place");
        return Err(Error::invalid(text));
    }
    Ok(())
}

/// Names the store if this user may not open it: the system's error is about a file inside.
pub(super) fn without_permission(e: Error, store: &Path) -> Error {
    let source = std::error::Error::source(&e).and_then(|e| e.downcast_ref::<std::io::Error>());
    if source.is_none_or(|e| e.kind() != std::io::ErrorKind::PermissionDenied) {
        return e;
    }
    e.context(format!("this user may not open the store {}", store.display()))
}

/// Refuses what a restore, or a backup, that was cut short leaves: blobs, no head, and no claim. It
/// is no store yet, and nothing may be made over it.
pub(super) fn check_whole(blobs: &SledStore, at: &Location, held: Held) -> Result<()> {
    let store = at.store();
    if blobs.head()?.is_some() || SledStore::was_claimed(store)? {
        return Ok(());
    }
    if blobs.usage()?.blobs > 0 {
        let restore =
            if held == Held::Nothing { "`restore` with its cell" } else { "`Builder::restore`" };
        return Err(Error::corrupt(format!(
            "{} is incomplete: a restore or a backup into it \
             was cut short; run it again (a restore is {restore})",
            store.display()
        )));
    }
    if held != Held::Nothing {
        return Ok(());
    }
    let text = format!(
        "no store is in {} yet: an init, a restore or a backup was cut short before \
         anything was put into it; run it again",
        store.display()
    );
    Err(Error::new(ErrorKind::Absent, text))
}

/// Refuses to make a store with a cell that holds a key, before anything is changed. If a store
/// is there already, that is found out when one is to be made.
pub(super) fn check_unheld(at: &Location, held: Held) -> Result<()> {
    let (store, cell) = (at.store(), at.cell());
    if SledStore::was_claimed(store)? && is_long(store) {
        return Ok(());
    }
    match SledStore::look(store) {
        Ok(blobs) if blobs.usage().is_ok_and(|usage| usage.blobs > 0) => {
            let exists = |e: Error| {
                Error::new(ErrorKind::Exists, format!("{e}; for a new store name another place"))
            };
            return check_whole(&blobs, at, held).map_err(exists);
        }
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::Absent => {}
        Err(_) => return Ok(()),
    }
    let c = cell.display();
    let text = match held {
        Held::Nothing if cell.join("quorum.json").exists() => format!(
            "the root cell {c} is left of an init that was cut short, and no keyholder holds \
             anything for it; remove {c}/quorum.json, and init again"
        ),
        // Whether anything may be written over what cannot be read, is asked when the cell is made.
        Held::Nothing | Held::Unread => return Ok(()),
        Held::Unfinished => format!(
            "the root cell {c} holds the key of an init that was cut short before anything could \
             be put; move it and {} away, and init again",
            store.display()
        ),
        Held::Key => format!(
            "the root cell {c} holds the root key of a store, and without it all data of that \
             store is lost: do not remove it; if that store is gone, restore it from a copy \
             with `Builder::restore`, and for a new store name another place with \
             `Builder::cell_at`"
        ),
    };
    Err(Error::new(ErrorKind::Exists, text))
}
