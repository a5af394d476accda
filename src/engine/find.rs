//! What opening finds: the newest head and its root key, and what this engine may do. An owner has
//! claimed store and cell then.

use super::heads::{OpenHead, open_seen};
use super::options::{OpenAs, Options};
use super::own::{self, Claiming, Last, Role, Seen};
use crate::catalogue::defect::Defect;
use crate::cell::{Contents, RootCell};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::RootId;
use crate::secret::WipeStack;
use crate::store::{Claimed, Head, Newest, Store};
use crate::tree::head::{Prefix, Roots};

/// A store and a cell, looked at.
pub(super) struct Found {
    pub(super) head: OpenHead,
    pub(super) role: Role,
    /// The commit that the cell was told of.
    pub(super) mark: u64,
}

/// What an engine that is to take a writer's place found before it claims: all but the root key,
/// which the writer may destroy meanwhile, and which so is not kept.
pub(crate) struct Prepared {
    id: StoreId,
    /// Of the newest head.
    root: RootId,
    claimed: Option<Claimed>,
    last: Last,
    mark: u64,
}

/// Looks at cell and store as an opening does, and has the cell record once more what it shows.
///
/// # Errors
/// As [`Engine::open`](crate::Engine::open); `Fenced` if this place does not own the cell.
pub(crate) fn prepare(
    store: &dyn Store,
    cell: &dyn RootCell,
    options: &Options,
) -> Result<Prepared> {
    let _wiped = WipeStack;
    let contents = load(store, cell)?;
    let (last, mark) = (Last::of(&contents), contents.mark);
    let Newest { claimed, head: stored, .. } = store.newest()?;
    if let Role::Looker { why, .. } = own::role(options, store, cell, &contents, claimed)? {
        return Err(Error::new(ErrorKind::Fenced, why));
    }
    let head = open_seen(store, stored, contents)?;
    check_shard(store, options, &head)?;
    check_owner(store, options, &head, mark)?;
    cell.check_kept(&head.root.id)?;
    store.reads_first(&head.page.roots.users.name);
    let Roots { users, log, falling, agenda, policies, sets } = &head.page.roots;
    let trees = [falling, agenda, policies, sets].into_iter().filter_map(Option::as_ref);
    for tree in [users, log].into_iter().chain(trees) {
        // What comes first is to find it near by: as it is stored, which an erase need not end.
        let _ = store.get(&tree.name);
    }
    let Prefix { store: id, .. } = Prefix::decode(&head.stored.bytes)?;
    let last = last.told_again(cell, id)?;
    Ok(Prepared { id, root: head.root.id, claimed, last, mark })
}

/// Claims what was looked at. The key of the head is read at the same time as the store is claimed:
/// which claim the cell knew was read before.
///
/// # Errors
/// As [`find`].
pub(super) fn claim_prepared(
    store: &dyn Store,
    cell: &dyn RootCell,
    options: &Options,
    prepared: &Prepared,
) -> Result<Found> {
    let &Prepared { id, root, claimed, last, mark } = prepared;
    let mut contents = None;
    let mut how = |store: &dyn Store, next: &Claimed| {
        let (made, loaded) = std::thread::scope(|scope| {
            let made = scope.spawn(|| store.claim(next));
            let loaded = cell.load_for(&root);
            (made.join().unwrap_or_else(|e| std::panic::resume_unwind(e)), loaded)
        });
        let made = made?;
        contents = Some(loaded?);
        Ok(made)
    };
    let (env, how) = (&*options.env, &mut how);
    let mut claiming = Claiming { env, id, store, cell, takes_over: false, how };
    let newest = own::claim(&mut claiming, claimed, last)?;
    let contents = contents.map_or_else(|| cell.load(), Ok)?;
    // It may have been told of more since it was looked at.
    let mark = mark.max(contents.mark);
    let head = open_seen(store, newest, contents)?;
    check_shard(store, options, &head)?;
    check_owner(store, options, &head, mark)?;
    cell.check_kept(&head.root.id)?;
    Ok(Found { head, role: Role::Owner, mark })
}

/// Reads the cell, and then the newest head: once more where that is of an epoch which the cell did
/// not have yet. If another engine erased in between, the cell has it by now; an old copy of the
/// cell is what it was.
fn both(
    store: &dyn Store,
    cell: &dyn RootCell,
    newest: &mut dyn FnMut() -> Result<Newest>,
) -> Result<(Contents, Newest)> {
    let mut before = None;
    loop {
        let contents = load(store, cell)?;
        let newest = newest()?;
        let is_later = |head: &Head| head.id.epoch > contents.epoch;
        let is_behind = newest.head.as_ref().is_some_and(is_later);
        if !is_behind || before.replace(contents.epoch) == Some(contents.epoch) {
            return Ok((contents, newest));
        }
    }
}

/// Reads the cell.
fn load(store: &dyn Store, cell: &dyn RootCell) -> Result<Contents> {
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
    Ok(contents)
}

/// Before anything is claimed: another realm may have it open elsewhere.
fn check_shard(store: &dyn Store, options: &Options, head: &OpenHead) -> Result<()> {
    let Some(shard) = &options.shard else { return Ok(()) };
    let id = Prefix::decode(&head.stored.bytes)?.store;
    shard.check(id, &head.page, &store.place())
}

/// Whether this head may be gone on from.
fn check_owner(store: &dyn Store, options: &Options, head: &OpenHead, mark: u64) -> Result<()> {
    own::check_mark(options, store, &head.stored, mark)?;
    if head.page.lending == 0 || store.is_shared() {
        return Ok(());
    }
    // Its readers look for what was erased in the store that it was copied from.
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "{} lends its keys, for {} ms each, and no reader can reach it; restore it to a place on objects, as `file:///DIRECTORY` is",
            store.place(),
            head.page.lending
        ),
    ))
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
    let (contents, Newest { claimed, head: stored, .. }) = both(store, cell, newest)?;
    let (last, mark) = (Last::of(&contents), contents.mark);
    let mut role = own::role(options, store, cell, &contents, claimed)?;
    let seen = Seen::of(&contents);
    let mut head = open_seen(store, stored, contents)?;
    check_shard(store, options, &head)?;
    role.note(cell, &seen, &head.root.id);
    if options.planted().is(Defect::LookRecovers) && role != Role::Owner {
        return Ok(Found { head, role: Role::Owner, mark });
    }
    if role == Role::Owner {
        check_owner(store, options, &head, mark)?;
        let id = Prefix::decode(&head.stored.bytes)?.store;
        let takes_over = options.open_as == OpenAs::TakeOver;
        if takes_over {
            own::check_copies(options, store, &head.stored, &head.page)?;
            cell.take_over();
        }
        cell.check_kept(&head.root.id)?;
        store.reads_first(&head.page.roots.users.name);
        let (env, how) = (&*options.env, &mut own::alone);
        let mut claiming = Claiming { env, id, store, cell, takes_over, how };
        let newest = own::claim(&mut claiming, claimed, last)?;
        if newest.as_ref() != Some(&head.stored) {
            // Somebody published between the look and the claim; nobody can any more.
            head = open_seen(store, newest, cell.load()?)?;
            cell.check_kept(&head.root.id)?;
        }
    }
    Ok(Found { head, role, mark })
}
