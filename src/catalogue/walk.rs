//! Walking the whole tree, one path in memory at a time. A walk stops when an erase wants to
//! return, lets go of its pages, and its owner begins again.

use std::ops::ControlFlow;

use crate::error::Result;
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

pub(crate) fn walk_at(
    pass: &Walking<'_>,
    pages: &dyn Pages,
    spot: &Spot,
    at: &Ref,
    on_step: &mut OnStep<'_>,
) -> Result<Walked> {
    if pass.must_stop() {
        return Ok(Walked::Interrupted);
    }
    if on_step(Step::Enter { kind: spot.kind, at })?.is_break() {
        return Ok(Walked::Whole);
    }
    let out = match pages.load(spot.kind, spot.owner, at) {
        Err(_) if pass.lenient => return Ok(Walked::Whole),
        page => edges(spot, &page?)?,
    };
    for edge in out {
        match edge {
            Edge::Page { spot, at } => {
                if let Walked::Interrupted = walk_at(pass, pages, &spot, &at, on_step)? {
                    return Ok(Walked::Interrupted);
                }
            }
            Edge::Record { of, key, entry } => {
                let entry = Entry::decode(&entry)?;
                if on_step(Step::Record { of: &of, key: &key, entry: &entry })?.is_break() {
                    return Ok(Walked::Interrupted);
                }
            }
        }
    }
    let _ = on_step(Step::Leave { kind: spot.kind, at })?;
    Ok(Walked::Whole)
}
