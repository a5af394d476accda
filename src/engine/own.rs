//! Ownership: which engine may change a store and destroy its keys.
//!
//! A store remembers the claims of its place, and the root cell the last claim of all. They agree
//! in one directory only: a backup and a restored store have never been claimed, and a copy of the
//! directory, byte for byte, has a claim that is not the last as soon as the other one is opened.
//! An engine that is not the owner may read everything that the cell's keys open, and destroys
//! nothing.

use super::options::{OpenAs, Options};
use crate::cell::{Contents, Owner, RootCell, Unheard};
use crate::crypto::{Fresh, hedge};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, RootId};
use crate::store::{Claimed, Head, Store};
use crate::tree::head::{CopyMode, HeadPage, Prefix};

/// What an opened engine may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Owner,
    /// It reads, and neither writes nor destroys anything.
    Looker {
        /// Why it is not the owner, in words for a person.
        why: String,
        /// Whether it might be the owner if it asked to.
        may_own: bool,
        /// How many root keys the cell held beside the head's.
        others: usize,
        /// What keeps erases from being final, as far as a look tells.
        awaited: Option<Awaited>,
    },
}

/// What a look at a cell shows of its root keys: their names, and, if not all keyholders
/// answered, up to which epoch those that did have ended all.
pub(super) struct Seen {
    keys: Vec<RootId>,
    ended: Option<u64>,
}

impl Seen {
    pub(super) fn of(contents: &Contents) -> Self {
        let ended = contents.unheard.as_ref().map(|unheard| unheard.ended);
        Seen { keys: contents.keys.iter().map(|key| key.id).collect(), ended }
    }
}

impl Role {
    /// Records what a look at the cell tells of erases: an engine that only reads has the cell
    /// destroy nothing, and must not call final what may be pending.
    pub(super) fn note(&mut self, cell: &dyn RootCell, seen: &Seen, root: &RootId) {
        let Role::Looker { others, awaited, .. } = self else { return };
        *others = seen.keys.iter().filter(|id| *id != root).count();
        // A shared cell keeps what a crashed attempt left until the next erase: it opens no head
        // that was ever published.
        let shared = || cell.describe().quorum.is_some();
        let reaches =
            seen.keys.iter().any(|id| id != root && (id.epoch <= root.epoch || !shared()));
        let never_asked = seen.ended.is_some_and(|ended| ended < root.epoch);
        *awaited = if reaches || never_asked {
            let why = "an older root key may be there still: its destruction is pending; `Engine::run_due` completes it";
            Some(Awaited::Engine(why.into()))
        } else {
            cell.awaited(root)
        };
    }
}

const NOBODY: [u8; 16] = [0; 16];

/// Whether this place made the claim that the cell knows as the last one. A crash may have come
/// between the two halves of a claim.
fn is_last(claimed: Option<&Claimed>, owner: &Owner) -> bool {
    match claimed {
        None => owner.instance == NOBODY,
        Some(claimed) => {
            claimed.instance == owner.instance
                && [claimed.known, claimed.next].contains(&owner.token)
        }
    }
}

/// Whether a place owns its cell: the last claim that the cell knows was made here. It may be one
/// before the newest that the place knows, where two engines opened the store at the same time and
/// the cell refused the second one.
pub(super) fn owns(store: &dyn Store, claimed: Option<&Claimed>, owner: &Owner) -> Result<bool> {
    match claimed {
        Some(there) if there.instance == owner.instance && !is_last(claimed, owner) => {
            store.has_claim(&owner.instance, &owner.token)
        }
        _ => Ok(is_last(claimed, owner)),
    }
}

/// Why a place is not the owner. Neither store nor cell knows a path: which place is cannot be
/// said.
fn why_not(
    store: &dyn Store,
    cell: &dyn RootCell,
    claimed: Option<&Claimed>,
    contents: &Contents,
) -> String {
    let (place, cell) = (store.place(), cell.describe().place);
    let what = match claimed {
        None => format!(
            "{place} never owned its root cell {cell}: it is a backup, a restored store or another copy of the store that does, under another path"
        ),
        Some(_) => format!(
            "{place} no longer owns its root cell {cell}: the store was opened to write under another path since, or an older state of this directory was put back"
        ),
    };
    // One that is away may know better than one that lies.
    let first = match &contents.unheard {
        Some(Unheard { silent, .. }) if contents.doubted => {
            format!("; but not all keyholders answered, so start the others first ({silent})")
        }
        _ => String::new(),
    };
    format!(
        "{what}{first}; it can be read as it is; write to the store under its other path, or take this place over (`Builder::take_over`), which makes the other one read-only until it takes over in turn; after the next erase that one no longer opens"
    )
}

/// Decides what an engine may do, from what store and cell remember. Writes nothing.
pub(super) fn role(
    options: &Options,
    store: &dyn Store,
    cell: &dyn RootCell,
    contents: &Contents,
    claimed: Option<Claimed>,
) -> Result<Role> {
    if options.open_as == OpenAs::TakeOver {
        return Ok(Role::Owner);
    }
    let owns_it = |owner: &Owner| owns(store, claimed.as_ref(), owner);
    let may_own = contents.owner.as_ref().map_or(Ok(true), owns_it)?;
    let why = match options.open_as {
        OpenAs::Owner if may_own => return Ok(Role::Owner),
        OpenAs::ReadOnly if may_own => {
            format!("{} was opened read-only; open it to write", store.place())
        }
        _ => why_not(store, cell, claimed.as_ref(), contents),
    };
    Ok(Role::Looker { why, may_own, others: 0, awaited: None })
}

/// What a cell tells of the claims on it.
#[derive(Clone, Copy)]
pub(super) struct Last {
    owner: Option<Owner>,
    /// Whether keyholders that lie may have made up the owner ([`Contents::doubted`]).
    doubted: bool,
    /// The highest number that counts.
    number: u64,
    mark: u64,
    /// Whether the cell recorded its owner once more since.
    told: bool,
}

impl Last {
    pub(super) fn of(contents: &Contents) -> Self {
        let &Contents { owner, doubted, claims, mark, .. } = contents;
        let of_owner = owner.filter(|_| !doubted).map_or(0, |owner| owner.claim);
        Last { owner, doubted, number: of_owner.max(claims), mark, told: false }
    }

    /// Has the cell record once more what it shows.
    ///
    /// # Errors
    /// `Fenced` if another claim came in between; `Io`.
    pub(super) fn told_again(self, cell: &dyn RootCell, id: StoreId) -> Result<Self> {
        let Some(owner) = self.owner.filter(|_| !self.doubted) else { return Ok(self) };
        cell.claim(id, &owner, 0)?;
        Ok(Last { told: true, ..self })
    }
}

/// The number of the next claim.
fn above(number: u64) -> Result<u64> {
    let ended = "the root cell tells of a claim with the highest number that there is, which no engine made; put the cell back, or another keyholder in the place of one that lies";
    number.checked_add(1).ok_or_else(|| Error::corrupt(ended))
}

/// How often a claim is made again that the cell refused.
const CLAIMS: usize = 8;

/// A store and a cell that are to be claimed.
pub(super) struct Claiming<'a> {
    pub(super) env: &'a dyn Env,
    pub(super) id: StoreId,
    pub(super) store: &'a dyn Store,
    pub(super) cell: &'a dyn RootCell,
    pub(super) takes_over: bool,
    pub(super) how: How<'a>,
}

/// How the store is claimed: as it is, or with something done beside it.
pub(super) type How<'a> = &'a mut dyn FnMut(&dyn Store, &Claimed) -> Result<Option<Head>>;

/// As it is.
pub(super) fn alone(store: &dyn Store, next: &Claimed) -> Result<Option<Head>> {
    store.claim(next)
}

/// A claim that the store has, and the cell has not yet.
struct Made {
    claimed: Claimed,
    owner: Owner,
    head: Option<Head>,
}

/// Claims a store and its cell, in this order: once the store has the claim, no writer that came
/// before can publish any more, and only then may a key be destroyed that it might have published
/// under. Gives the newest head.
///
/// The cell refuses a claim where another one reached it in between. If this very store took that
/// one too, it stands below the claim that was just made, and whoever made it can publish nothing:
/// then the store is claimed again, over what the cell knows now.
pub(super) fn claim(
    claiming: &mut Claiming<'_>,
    mut claimed: Option<Claimed>,
    mut last: Last,
) -> Result<Option<Head>> {
    let Claiming { id, store, cell, .. } = *claiming;
    let mut tries = 1;
    loop {
        let made = claim_store(claiming, claimed, last)?;
        let mark = made.head.as_ref().map_or(0, |head| head.id.commit);
        let refused = match cell.claim(id, &made.owner, mark) {
            Err(e) if e.kind() == ErrorKind::Fenced && tries < CLAIMS => e,
            told => return told.map(|()| made.head),
        };
        let now = Last::of(&cell.load()?);
        let below = match now.owner.filter(|_| !now.doubted) {
            Some(owner) if owner.instance == made.claimed.instance => {
                store.has_claim(&owner.instance, &owner.token)?
            }
            _ => false,
        };
        if !below {
            return Err(refused);
        }
        (claimed, last) = (Some(made.claimed), now);
        tries += 1;
    }
}

/// Whether the last claim that a cell tells of was made by this place: one that it told of before
/// may have been older, where the keyholder that knew better was not heard.
fn made_here(claimed: Option<&Claimed>, now: &Last) -> bool {
    let owner = now.owner.filter(|_| !now.doubted);
    claimed.is_some() && owner.is_some_and(|owner| is_last(claimed, &owner))
}

/// Sixteen bytes that nobody drew before for these.
fn drawn(env: &dyn Env, of: &[&[u8]]) -> Result<[u8; 16]> {
    Fresh::new(env, hedge(of)).token()
}

/// The first half of a claim: the store has it.
fn claim_store(
    claiming: &mut Claiming<'_>,
    claimed: Option<Claimed>,
    mut last: Last,
) -> Result<Made> {
    let Claiming { env, id, store, cell, takes_over, .. } = *claiming;
    let instance = match &claimed {
        Some(claimed) => claimed.instance,
        None => drawn(env, &[])?,
    };
    // Numbers of a place count its claims; the cell's count all that it took, so that a claim over
    // an owner who is no longer the last one fails.
    let here = 1 + claimed.map_or(0, |claimed| claimed.claim);
    let mut told = last.told;
    if let Some(owner) = last.owner.filter(|_| !last.doubted && !told) {
        // What the cell shows may never have reached its medium: a power cut would bring back a
        // token that this place no longer knows.
        match cell.claim(id, &owner, 0) {
            Ok(()) => told = true,
            Err(e) if e.kind() == ErrorKind::Fenced => {
                // Claims that died in the middle may have left higher numbers with some; or another
                // owner came in between.
                let now = Last::of(&cell.load()?);
                if now.owner != last.owner && !takes_over && !made_here(claimed.as_ref(), &now) {
                    return Err(e);
                }
                last = now;
            }
            Err(e) => return Err(e),
        }
    }
    let mut number = above(last.number)?;
    if let Some(owner) = last.owner.filter(|_| !told && !takes_over) {
        // By a number that each takes. It passes no lie on: this place knows the token.
        cell.claim(id, &Owner { claim: number, ..owner }, last.mark)?;
        number = above(number)?;
    }
    let shown = last.owner.map_or(NOBODY, |owner| owner.token);
    let cut_short = claimed.filter(|claimed| claimed.known == shown && claimed.next != shown);
    if let Some(Claimed { instance, next: token, .. }) = cut_short {
        // The last claim died between its halves. Keyholders that are silent now may have taken it,
        // with the number that the new one would get: then nobody could tell which of the two most
        // of them have.
        let finished = Owner { instance, claim: number, token };
        cell.claim(id, &finished, last.mark)?;
        last.owner = Some(finished);
        number = above(number)?;
    }
    let known = match (last.owner, &claimed) {
        // Of what may be a lie nothing is kept: after a crash this place is what it was.
        (Some(_), Some(claimed)) if takes_over && last.doubted => claimed.next,
        (owner, _) => owner.map_or(NOBODY, |owner| owner.token),
    };
    // The cell's numbers only rise: a machine that went back, with its generator, draws no token
    // that it drew before.
    let next = drawn(env, &[&instance, &number.to_be_bytes(), &known])?;
    let next = Claimed { instance, claim: here, known, next };
    let head = (claiming.how)(store, &next)?;
    // A store that keeps no claim has none now either.
    let instance = if store.claimed()?.is_some() { instance } else { NOBODY };
    let owner = Owner { instance, claim: number, token: next.next };
    Ok(Made { claimed: next, owner, head })
}

/// Refuses a store that lacks commits which the cell was told of: its medium went back.
pub(super) fn check_mark(
    options: &Options,
    store: &dyn Store,
    head: &Head,
    mark: u64,
) -> Result<()> {
    if head.id.commit >= mark || options.open_as != OpenAs::Owner {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Mismatch,
        format!(
            "{} is at commit {}, and commit {mark} was acknowledged: it was rolled back; restore it from a copy that holds that commit (`restore`), or take it over as it is (`Builder::take_over`), which gives up what it lacks",
            store.place(),
            head.id.commit
        ),
    ))
}

/// Whether a copy holds what the store lacks: another place of the store wrote to it.
pub(super) fn is_ahead(there: &Head, here: &Head) -> bool {
    let store = |head: &Head| Prefix::decode(&head.bytes).ok().map(|prefix| prefix.store);
    (there.id > here.id || there.id == here.id && there.bytes != here.bytes)
        && store(there) == store(here)
}

/// # Errors
/// `Refused` if the copy at `place` is ahead.
pub(super) fn check_not_ahead(place: &str, there: &Head, here: &Head) -> Result<()> {
    if !is_ahead(there, here) {
        return Ok(());
    }
    let ours = if there.id == here.id {
        "another state of that number".to_owned()
    } else {
        here.id.to_string()
    };
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "{place} holds {} and this store {ours}; restore from it, or give up what this store lacks of it with `Builder::give_up('{place}')`",
            there.id
        ),
    ))
}

/// Refuses to take a store over that lacks what a copy in step holds: it would own the cell, and
/// could not write.
pub(super) fn check_copies(
    options: &Options,
    store: &dyn Store,
    here: &Head,
    head: &HeadPage,
) -> Result<()> {
    let in_step = head.copies.iter().filter(|copy| copy.mode == CopyMode::InStep);
    for copy in in_step.filter(|copy| !options.give_up.contains(&copy.place)) {
        // One that is out of reach, or is this very store, is told of when something is written.
        let Ok(Some(there)) =
            (options.open_copy)(&copy.place, false).and_then(|store| store.head())
        else {
            continue;
        };
        if is_ahead(&there, here) {
            // Its writer goes on meanwhile: a commit goes into the store first.
            let now = store.head()?;
            check_not_ahead(&copy.place, &there, now.as_ref().unwrap_or(here))?;
        }
    }
    Ok(())
}

/// What a place is known to lack, if the cell was told of a later commit than its head's.
pub(super) fn lacking(place: &str, commit: u64, mark: u64) -> Option<String> {
    (commit < mark).then(|| {
        format!(
            "{place} is at commit {commit}, and the cell was told of commit {mark}: what was put and erased in between is missing here, erases that were pending included; restore from a newer copy if there is one"
        )
    })
}
