//! Walking the whole tree, one path in memory at a time. A walk stops when an erase wants to
//! return, lets go of its pages, and its owner begins again.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::ids::BlobName;
use crate::record::Entry;
use crate::tree::head::Roots;
use crate::tree::ordered::OrderedKey;
use crate::tree::{ClassOf, Edge, PageKind, Pages, Ref, Spot, edges};

/// What a walk meets.
pub(crate) enum Step<'s> {
    /// A page, before it is read; break to pass over what is below it.
    Enter { kind: PageKind, at: &'s Ref },
    /// A record's entry; break to stop the walk, as if interrupted.
    Record { of: &'s ClassOf, key: &'s OrderedKey, entry: &'s Entry },
    /// A page, after everything below it.
    Leave { kind: PageKind, at: &'s Ref },
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// It ended by itself, with nothing left to visit.
    Whole,
    /// An erase stopped it before the end.
    Interrupted,
}

type OnStep<'s> = dyn FnMut(Step<'_>) -> Result<ControlFlow<()>> + 's;

/// Permission to walk the tree; held while the walk holds pages.
pub(crate) struct Walking<'a> {
    pass: Option<Box<dyn Pass + 'a>>,
    lenient: bool,
}

/// What an erase waits for: it lets a walk go on, and tells it to stop.
pub(crate) trait Pass {
    /// Whether an erase waits for this walk.
    fn must_stop(&self) -> bool;
}

impl<'a> Walking<'a> {
    /// Until an erase wants to return.
    pub(crate) fn by(pass: impl Pass + 'a) -> Self {
        Walking { pass: Some(Box::new(pass)), lenient: false }
    }

    /// For stores that no engine writes to, and under the writer's lock.
    pub(crate) fn unhindered() -> Self {
        Walking { pass: None, lenient: false }
    }

    /// The adversary's: passes over pages that do not open, and takes the rest.
    pub(crate) fn lenient() -> Self {
        Walking { pass: None, lenient: true }
    }

    pub(crate) fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// Whether an erase waits for this walk.
    pub(crate) fn must_stop(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.must_stop())
    }
}

/// Says of a blob that a walk will come to whether it will be read: a page, or the only segment of
/// a payload.
type Wanted<'w> = dyn Fn(&BlobName, Coming) -> Result<bool> + 'w;

/// What a walk will come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coming {
    Page,
    Payload,
}

/// A payload of more bytes is not fetched before a walk comes to it.
const PAYLOAD_MAX: u64 = 64 << 10;

/// Walks everything that a head points to.
pub(crate) fn walk(
    pass: &Walking<'_>,
    pages: &dyn Pages,
    roots: &Roots,
    on_step: &mut OnStep<'_>,
) -> Result<Walked> {
    for (spot, at) in roots.each() {
        if let Walked::Interrupted = walk_at(pass, pages, &spot, at, on_step)? {
            return Ok(Walked::Interrupted);
        }
    }
    Ok(Walked::Whole)
}

/// The same; of a store where a request takes long it fetches together what it will come to and
/// what is wanted of that.
pub(crate) fn walk_ahead(
    pass: &Walking<'_>,
    pages: &dyn Pages,
    roots: &Roots,
    wanted: &Wanted<'_>,
    on_step: &mut OnStep<'_>,
) -> Result<Walked> {
    let walk = Walk { pass, pages, wanted };
    for (spot, at) in roots.each() {
        if let Walked::Interrupted = walk.at(&spot, at, on_step)? {
            return Ok(Walked::Interrupted);
        }
    }
    Ok(Walked::Whole)
}

/// Walks everything below a page.
pub(crate) fn walk_at(
    pass: &Walking<'_>,
    pages: &dyn Pages,
    spot: &Spot,
    at: &Ref,
    on_step: &mut OnStep<'_>,
) -> Result<Walked> {
    Walk { pass, pages, wanted: &|_, _| Ok(false) }.at(spot, at, on_step)
}

/// A walk under way.
struct Walk<'w> {
    pass: &'w Walking<'w>,
    pages: &'w dyn Pages,
    wanted: &'w Wanted<'w>,
}

impl Walk<'_> {
    fn at(&self, spot: &Spot, at: &Ref, on_step: &mut OnStep<'_>) -> Result<Walked> {
        if self.pass.must_stop() {
            return Ok(Walked::Interrupted);
        }
        if on_step(Step::Enter { kind: spot.kind, at })?.is_break() {
            return Ok(Walked::Whole);
        }
        let out = match self.pages.load(spot.kind, spot.owner, at) {
            Err(_) if self.pass.lenient => return Ok(Walked::Whole),
            page => edges(spot, &page?)?,
        };
        for (n, edge) in out.iter().enumerate() {
            self.look_ahead(&out[n..])?;
            match edge {
                Edge::Page { spot, at } => {
                    if let Walked::Interrupted = self.at(spot, at, on_step)? {
                        return Ok(Walked::Interrupted);
                    }
                }
                Edge::Record { of, key, entry } => {
                    let entry = Entry::decode(entry)?;
                    if on_step(Step::Record { of, key, entry: &entry })?.is_break() {
                        return Ok(Walked::Interrupted);
                    }
                }
            }
        }
        let _ = on_step(Step::Leave { kind: spot.kind, at })?;
        Ok(Walked::Whole)
    }

    /// Says which blobs come next.
    fn look_ahead(&self, next: &[Edge]) -> Result<()> {
        if !self.pages.reads_ahead() {
            return Ok(());
        }
        let mut failed = Ok(());
        let mut coming = next.iter().filter_map(|edge| match edge {
            Edge::Page { at, .. } => Some((at.name, Coming::Page)),
            Edge::Record { entry, .. } => {
                let entry = Entry::decode(entry).ok().filter(|e| e.length <= PAYLOAD_MAX)?;
                entry.body.first().map(|first| (first, Coming::Payload))
            }
        });
        let mut is_wanted = |(name, what): &(BlobName, Coming)| {
            (self.wanted)(name, *what).unwrap_or_else(|e| {
                failed = Err(e);
                false
            })
        };
        // Nothing is asked of what comes later before what is next is wanted.
        if let Some(first) = coming.next().filter(&mut is_wanted) {
            let mut names = std::iter::once(first).chain(coming.filter(is_wanted)).map(|(n, _)| n);
            self.pages.soon(&mut names);
        }
        failed
    }
}
