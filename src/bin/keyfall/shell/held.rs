//! What lies at a place where no store is: the cell of one that is lost, or what a command left
//! that was cut short.

use std::path::Path;

use keyfall::store::{SledStore, Store};
use keyfall::{Error, ErrorKind};

use crate::shell::blobs::LOOK_WHOLE_BYTES;
use crate::shell::cells::{default_cell, look_root};
use crate::shell::remedy::word;

/// What lies where a cell is looked for.
enum Held {
    /// No key: there is no cell, or the init that made it goes on when it is given again.
    Nothing,
    /// The key of an init that was cut short later.
    Unfinished,
    /// The root key of a store.
    Key,
    /// What cannot be read: a root key, or less than an init leaves that was cut short.
    Unread,
}

fn held_in(cell: &Path) -> Held {
    let there = |name: &str| cell.join(name).symlink_metadata().is_ok();
    if !["slot-a", "slot-b", "quorum.json"].into_iter().any(there) {
        return Held::Nothing;
    }
    match look_root(cell).and_then(|root| root.load()) {
        Ok(held) if held.keys.is_empty() && held.epoch == 0 && held.unheard.is_none() => {
            Held::Nothing
        }
        Ok(held) if held.is_unfinished() => Held::Unfinished,
        Ok(_) => Held::Key,
        Err(_) => Held::Unread,
    }
}

/// The command that builds a store from copies.
pub(crate) fn restoring(store: &Path, cell: &Path) -> String {
    format!("`keyfall restore --cell {} --into {} COPY...`", word(cell), word(store))
}

/// The command that makes a store.
pub(crate) fn making(store: &Path, cell: &Path) -> String {
    let named =
        if cell == default_cell(store) { String::new() } else { format!(" --cell {}", word(cell)) };
    format!("`keyfall init {}{named}`", word(store))
}

/// Says what helps where no store is: whose cell is there must not make another one, and lose the
/// cell.
pub(crate) fn without_store(e: Error, store: &Path, cell: &Path) -> Error {
    if e.kind() != ErrorKind::Absent {
        return e;
    }
    let (s, c, make) = (store.display(), cell.display(), making(store, cell));
    let text = match held_in(cell) {
        Held::Nothing => format!("no store at {s}; make one with {make}, or name another place"),
        Held::Unfinished => format!(
            "no store at {s}, and the root cell {c} holds the key of an init that was cut short \
             before anything could be put; move the cell away, and make one with {make}"
        ),
        Held::Key | Held::Unread => format!(
            "no store at {s}, and its root cell {c} is there: restore the store from a copy with \
             {}, or name the place where it lies now; do not remove the cell, for without it no \
             copy opens",
            restoring(store, cell)
        ),
    };
    Error::new(ErrorKind::Absent, text)
}

/// What a restore, or a backup, that was cut short leaves: blobs, no head, and no claim. It is no
/// store yet, and nothing may be made over it.
pub(crate) fn check_whole(blobs: &SledStore, store: &Path, cell: &Path) -> Result<(), Error> {
    if blobs.head()?.is_some() || SledStore::was_claimed(store)? {
        return Ok(());
    }
    let held = !matches!(held_in(cell), Held::Nothing);
    let restore = restoring(store, if held { cell } else { Path::new("PATH") });
    if blobs.usage()?.blobs > 0 {
        let text = format!(
            "{} is not whole: a restore or a backup into it was cut short; give that once more (a \
             restore is {restore})",
            store.display()
        );
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    if held {
        return Ok(());
    }
    let text = format!(
        "no store is in {} yet: an init, a restore or a backup was cut short before anything was \
         put into it; give that once more",
        store.display()
    );
    Err(Error::new(ErrorKind::Absent, text))
}

/// Refuses to make a store with a cell that holds a key, before anything is changed. Where a store
/// is there already, that is found out when one is to be made.
pub(crate) fn check_unheld(store: &Path, cell: &Path) -> Result<(), Error> {
    if SledStore::was_claimed(store)? && SledStore::log_bytes(store)? > LOOK_WHOLE_BYTES {
        return Ok(());
    }
    match SledStore::look(store) {
        Ok(blobs) if blobs.usage().is_ok_and(|usage| usage.blobs > 0) => {
            let exists = |e: Error| {
                Error::new(ErrorKind::Exists, format!("{e}; for a new store name another place"))
            };
            return check_whole(&blobs, store, cell).map_err(exists);
        }
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::Absent => {}
        Err(_) => return Ok(()),
    }
    let c = cell.display();
    let text = match held_in(cell) {
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
             store is lost: do not remove it; where that store is gone, restore it from a copy \
             with {}, and for a new store name another place with --cell",
            restoring(store, cell)
        ),
    };
    Err(Error::new(ErrorKind::Exists, text))
}
