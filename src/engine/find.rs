//! What opening finds: the newest head and its root key, and what this engine may do. An owner has
//! claimed store and cell then.

use super::heads::{OpenHead, open_seen};
use super::options::{OpenAs, Options};
use super::own::{self, Last, Role, Seen};
use crate::catalogue::defect::Defect;
use crate::cell::RootCell;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Newest, Store};
use crate::tree::head::Prefix;

/// A store and a cell, looked at.
pub(super) struct Found {
    pub(super) head: OpenHead,
    pub(super) role: Role,
    /// The commit that the cell was told of.
    pub(super) mark: u64,
}

/// Reads the cell, then the store, and claims both where this engine is the owner. No key is
/// destroyed.
///
/// # Errors
/// As [`Engine::open`](crate::Engine::open).
pub(super) fn find(store: &dyn Store, cell: &dyn RootCell, options: &Options) -> Result<Found> {
    let mut is_earlier = false;
    let found = find_in(store, cell, options, &mut || {
        let newest = store.newest()?;
        is_earlier = newest.is_earlier;
        Ok(newest)
    });
    match found {
        // It was of before somebody else claimed the store, or erased in it.
        Err(e) if is_earlier && matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Mismatch) => {
            find_in(store, cell, options, &mut || {
                let (claimed, head) = (store.claimed()?, store.head()?);
                Ok(Newest { claimed, head, is_earlier: false })
            })
        }
        found => found,
    }
}

fn find_in(
    store: &dyn Store,
    cell: &dyn RootCell,
    options: &Options,
    newest: &mut dyn FnMut() -> Result<Newest>,
) -> Result<Found> {
    let contents = cell.load()?;
    if contents.keys.is_empty() {
        return Err(Error::new(
            ErrorKind::Absent,
            format!(
                "the cell {} holds no root key; nothing in {} can be read with it",
                cell.describe().place,
                store.place()
            ),
        ));
    }
    let (last, mark) = (Last::of(&contents), contents.mark);
    let Newest { claimed, head: stored, .. } = newest()?;
    let mut role = own::role(options, store, cell, &contents, claimed)?;
    let seen = Seen::of(&contents);
    let mut head = open_seen(store, stored, contents)?;
    if let Some(shard) = &options.shard {
        // Before anything is claimed: another realm may have it open elsewhere.
        let id = Prefix::decode(&head.stored.bytes)?.store;
        shard.check(id, &head.page, &store.place())?;
    }
    role.note(cell, &seen, &head.root.id);
    if options.planted().is(Defect::LookRecovers) && role != Role::Owner {
        return Ok(Found { head, role: Role::Owner, mark });
    }
    if role == Role::Owner {
        own::check_mark(options, store, &head.stored, mark)?;
        if head.page.lending > 0 && !store.is_shared() {
            // Its readers look for what was erased in the store that it was copied from.
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{} lends its keys, for {} ms each, and no reader can reach it; restore it to a place on objects, as `file:///DIRECTORY` is",
                    store.place(),
                    head.page.lending
                ),
            ));
        }
        let id = Prefix::decode(&head.stored.bytes)?.store;
        let takes_over = options.open_as == OpenAs::TakeOver;
        if takes_over {
            own::check_copies(options, &head.stored, &head.page)?;
            cell.take_over();
        }
        let newest = own::claim(&*options.env, id, store, cell, claimed, last, takes_over)?;
        if newest.as_ref() != Some(&head.stored) {
            // Somebody published between the look and the claim; nobody can any more.
            head = open_seen(store, newest, cell.load()?)?;
        }
    }
    Ok(Found { head, role, mark })
}
