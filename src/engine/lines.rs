//! Whether one state of a store goes on from another. After a take-over two places of a store may
//! count on from one commit within one epoch: numbers alone do not tell then whether one has what
//! the other has. The records and the log do. `choose` picks the head that a restore brings back.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::core::Core;
use super::own::owns;
use super::replica::Copied;
use crate::catalogue::view::Users;
use crate::catalogue::walk::{Step, Walked, Walking, walk};
use crate::cell::{Owner, RootKey};
use crate::crypto::{self, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, UserTag};
use crate::log::root;
use crate::pages::{PageSource, SharedStore, missing};
use crate::record::Entry;
use crate::store::{Head, HeadId, Store};
use crate::tree::head::{HeadPage, Prefix, Roots};
use crate::tree::log::LogPage;
use crate::tree::ordered::OrderedKey;
use crate::tree::{ClassOf, Geometry, Node, Page, PageKind, Pages, Ref};

/// A state of a store, and where its pages come from.
pub(super) struct Line<'a> {
    pub(super) roots: &'a Roots,
    pub(super) geometry: Geometry,
    pub(super) pages: &'a dyn Pages,
}

impl Line<'_> {
    fn users(&self) -> Users<'_> {
        Users { pages: self.pages, root: &self.roots.users, geometry: self.geometry }
    }
}

/// The pages of a place that is not the engine's own.
struct PagesAt<'a> {
    realm: RealmId,
    store: &'a dyn Store,
}

impl Pages for PagesAt<'_> {
    fn load(&self, kind: PageKind, _: Option<UserTag>, at: &Ref) -> Result<Page> {
        let blob =
            self.store.get(&at.name)?.ok_or_else(|| missing(at.name, &self.store.place()))?;
        let context = crypto::page_context(self.realm, kind.byte(), at.name);
        Ok(Arc::new(chunked::open(&at.key(), &context, &blob)?))
    }
}

/// Whether the log of the one is the beginning of the other's.
fn begins_log(earlier: &Line<'_>, later: &Line<'_>) -> Result<bool> {
    if earlier.roots.log.name == later.roots.log.name {
        return Ok(true);
    }
    let page_of = |line: &Line<'_>| {
        LogPage::decode(&line.pages.load(PageKind::Log, None, &line.roots.log)?)
    };
    let (old, new) = (page_of(earlier)?, page_of(later)?);
    let size = old.frontier.size();
    Ok(size <= new.frontier.size()
        && root(&new.subtrees(later.pages), size)? == old.frontier.root())
}

/// Whether a record is in a state, or was erased there. An upload leaves no trace when it is
/// finished: that it is not there says nothing.
fn knows(line: &Line<'_>, of: &ClassOf, key: &OrderedKey, entry: &Entry) -> Result<bool> {
    if of.class.is_of_uploads() {
        return Ok(true);
    }
    match line.users().look_up(&of.record(key)?) {
        // An id may be given in each of two lines.
        Ok((_, there)) => Ok(there.is(entry)),
        Err(e) => match e.kind() {
            ErrorKind::Erased => Ok(true),
            ErrorKind::Absent => Ok(false),
            _ => Err(e),
        },
    }
}

/// Whether `later`, whose blobs are in `held`, has every record of `earlier` or erased it, and
/// every erase. `None` if an erase interrupted the look. What `held` has was written in its
/// line; so only pages are read that it never had, or discarded.
pub(super) fn goes_on(
    pass: &Walking<'_>,
    earlier: &Line<'_>,
    later: &Line<'_>,
    held: &dyn Store,
) -> Result<Option<bool>> {
    if !begins_log(earlier, later)? {
        return Ok(Some(false));
    }
    let mut whole = true;
    let walked = walk(pass, earlier.pages, earlier.roots, &mut |step| {
        match step {
            Step::Enter { at, .. } => {
                if !whole || held.contains(&at.name)? {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Step::Record { of, key, entry } => {
                let is_held = match entry.body.first() {
                    Some(first) => held.contains(&first)?,
                    None => false,
                };
                whole = whole && (is_held || knows(later, of, key, entry)?);
            }
            Step::Leave { .. } => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(match walked {
        Walked::Whole => Some(whole),
        Walked::Interrupted => None,
    })
}

/// Whether what `to` holds may give way to this state: to the owner's, which goes on from it. Any
/// other head must be the very same.
///
/// # Errors
/// `Fenced` if this place does not own the cell; `Refused` if another place wrote to `to`
/// after the two parted.
pub(super) fn may_replace(
    core: &Core,
    pass: &Walking<'_>,
    to: &dyn Store,
    what: Copied<'_>,
    root: &RootKey,
) -> Result<Walked> {
    let Copied { roots, geometry, head } = what;
    let Some(there) = to.head()?.filter(|there| there != head) else { return Ok(Walked::Whole) };
    let place = to.place();
    if !core.owns_now()? {
        return Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "{} does not own its root cell, and {place} holds {} already, perhaps its owner's: nothing was copied; name another directory, or, if this store is to be the owner, take it over (`Builder::take_over`)",
                core.store().place(),
                there.id
            ),
        ));
    }
    let (theirs, ours) = (Prefix::decode(&there.bytes)?, Prefix::decode(&head.bytes)?);
    // Of another store, a later state, or one that no key opens any more: that is told where it is
    // copied.
    if theirs.store != core.id || theirs.root_id() != ours.root_id() || there.id >= head.id {
        return Ok(Walked::Whole);
    }
    if root.id != theirs.root_id() {
        // An epoch began since the key was asked for.
        return Ok(Walked::Interrupted);
    }
    let unread = |e: Error| {
        let what = format!(
            "cannot tell whether this store continues what {place} holds; name another directory"
        );
        if e.kind() == ErrorKind::Corrupt { e.context(what) } else { e }
    };
    let page = HeadPage::open(&there.bytes, &root.key).map_err(unread)?;
    let pages = PagesAt { realm: core.realm, store: to };
    let earlier = Line { roots: &page.roots, geometry: page.geometry, pages: &pages };
    let from = core.uncached_pages();
    let later = Line { roots, geometry, pages: &from };
    match goes_on(pass, &earlier, &later, &**core.store()).map_err(unread)? {
        None => Ok(Walked::Interrupted),
        Some(true) => Ok(Walked::Whole),
        Some(false) => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{place} has diverged, to {}: it holds records or erases that {} never had, for another place of the store wrote to it after the two parted; nothing was copied; keep it, and name another directory",
                there.id,
                core.store().place()
            ),
        )),
    }
}

/// A head that the cell opens, of one of the copies to restore from.
pub(super) struct Candidate<'a> {
    pub(super) head: Head,
    pub(super) page: HeadPage,
    pub(super) store: &'a SharedStore,
}

/// A copy whose state the restored one is not seen to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted {
    /// The copy.
    pub place: String,
    /// Its head.
    pub head: HeadId,
}

/// The state to restore.
pub(super) struct Choice<'a> {
    pub(super) best: Candidate<'a>,
    /// Copies whose states it does not go on from.
    pub(super) others: Vec<Parted>,
}

/// How much a place's word counts when lines parted: the owner's most, least that of one that
/// owned the store before.
fn rank(store: &dyn Store, owner: Option<&Owner>) -> Result<u8> {
    Ok(match (store.claimed()?, owner) {
        (Some(claimed), Some(owner)) if owns(store, Some(&claimed), owner)? => 2,
        (Some(_), Some(_)) => 0,
        _ => 1,
    })
}

/// Of these the ones that `best` is not seen to go on from.
fn parted(all: &[Candidate<'_>], best: usize, copies: &[SharedStore]) -> Result<Vec<usize>> {
    let chosen = &all[best];
    let source = PageSource::over(chosen.page.realm, copies);
    let later = Line { roots: &chosen.page.roots, geometry: chosen.page.geometry, pages: &source };
    let mut parted = Vec::new();
    for (n, other) in all.iter().enumerate().filter(|(_, other)| other.head != chosen.head) {
        let earlier =
            Line { roots: &other.page.roots, geometry: other.page.geometry, pages: &source };
        let seen = other.head.id < chosen.head.id
            && match goes_on(&Walking::unhindered(), &earlier, &later, &**chosen.store) {
                Ok(seen) => seen == Some(true),
                // What cannot be read shows nothing.
                Err(e) if e.kind() == ErrorKind::Corrupt => false,
                Err(e) => return Err(e),
            };
        if !seen {
            parted.push(n);
        }
    }
    Ok(parted)
}

/// The state to restore: the newest of the newest epoch. If some of that epoch do not come
/// before it, the one of the place that owns the cell, or else of one that never did before one
/// that did.
pub(super) fn choose<'a>(
    mut all: Vec<Candidate<'a>>,
    copies: &[SharedStore],
    owner: Option<&Owner>,
) -> Result<Option<Choice<'a>>> {
    let newest = all.iter().map(|one| one.head.id.epoch).max();
    all.retain(|one| Some(one.head.id.epoch) == newest);
    let mut best = 0;
    for (n, one) in all.iter().enumerate() {
        if one.head.id > all[best].head.id {
            best = n;
        }
    }
    if all.is_empty() {
        return Ok(None);
    }
    let mut others = parted(&all, best, copies)?;
    let (first, mut highest) = (best, rank(&**all[best].store, owner)?);
    for n in &others {
        let rank = rank(&**all[*n].store, owner)?;
        if rank > highest || rank == highest && all[*n].head.id > all[best].head.id {
            (best, highest) = (*n, rank);
        }
    }
    if best != first {
        others = parted(&all, best, copies)?;
    }
    let other = |n: usize| Parted { place: all[n].store.place(), head: all[n].head.id };
    let others = others.into_iter().map(other).collect();
    Ok(Some(Choice { best: all.swap_remove(best), others }))
}
