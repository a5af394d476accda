//! The sealed tree, a machine without I/O: pages in, new pages out.
//!
//! Invariants. A `Ref` is stored in one place only, inside the page that points to it. A page is
//! sealed once, under a key used for nothing else: a changed page is a new blob with a new name and
//! a new key, and so is every page above it (the rekeyed path). No key is kept anywhere else: drop
//! a pointer and everything below is unreadable.

pub(crate) mod agenda;
mod entries;
pub(crate) mod facts;
pub(crate) mod falling;
pub(crate) mod fences;
mod geometry;
pub(crate) mod grants;
pub(crate) mod head;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod labels;
pub(crate) mod lineage;
mod link;
pub(crate) mod log;
mod names;
pub(crate) mod ordered;
mod page;
pub(crate) mod plans;
pub(crate) mod policies;
pub(crate) mod sets;
mod spot;
pub(crate) mod unborn;
pub(crate) mod user;
pub(crate) mod users;

use std::sync::Arc;

pub use self::geometry::Geometry;
pub(crate) use self::link::{Editor, Link, Node, Pages, Sink, or_go_on};
pub(crate) use self::page::{Page, PageKind, Ref};
pub(crate) use self::spot::{ClassOf, Edge, Spot};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Everything a stored page points to.
pub(crate) fn edges(spot: &Spot, page: &Page) -> Result<Vec<Edge>> {
    match (spot.kind, spot.owner) {
        (PageKind::User, Some(owner)) => user::edges(owner, page),
        (PageKind::Unborn, Some(owner)) => unborn::edges(owner, page),
        (PageKind::Users | PageKind::User | PageKind::Unborn, _) => users::edges(page),
        (PageKind::Class, _) => {
            let of = spot.class.as_ref().ok_or_else(|| {
                Error::corrupt("a class page has no class; restore the store from a copy")
            })?;
            ordered::edges(spot, page, |key, value| {
                let (of, entry) = (Arc::clone(of), Secret::copied_from(value));
                Ok(Some(Edge::Record { of, key, entry }))
            })
        }
        (
            PageKind::Fences
            | PageKind::History
            | PageKind::Holds
            | PageKind::Plans
            | PageKind::Policies
            | PageKind::Agenda
            | PageKind::Inbox
            | PageKind::Grants
            | PageKind::LogTree,
            _,
        ) => ordered::edges::<20>(spot, page, |_, _| Ok(None)),
        (PageKind::Lineage | PageKind::Marks, _) => {
            ordered::edges::<{ keys::LINK_BYTES }>(spot, page, |_, _| Ok(None))
        }
        (PageKind::Names, _) => names::edges(spot, page),
        (PageKind::Labels, _) => {
            ordered::edges::<{ labels::LABEL_BYTES }>(spot, page, |_, _| Ok(None))
        }
        (PageKind::Sets, _) => ordered::edges::<{ sets::SET_BYTES }>(spot, page, |_, _| Ok(None)),
        (PageKind::Falling, _) => falling::edges(spot, page),
        (PageKind::Log, _) => log::edges(page),
    }
}
