//! Pending cascades: link trees of erased records whose derived records are still to be removed
//! from lists.
//!
//! What they lead to cannot be read any more; its entries are still to be taken out of lists and
//! counts.
//!
//! ```text
//! key   = commit that left it 8 ‖ number 4 ‖ zeros 8
//! value = user tag 12 ‖ incarnation 2 ‖ ref of the links 48
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::keys::{KEY_MAX, KEY_MIN, OrderedKey};
use super::link::{Editor, Pages};
use super::ordered::{self, Ordered, Place, Range};
use super::page::{PageKind, REF_BYTES, Ref};
use super::spot::{Edge, Spot};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::UserTag;

/// One tree of links to follow.
#[derive(Debug)]
pub(crate) struct Fallen {
    pub(crate) owner: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) links: Ref,
}

/// Where a tree of links is filed: the commit that left it, and its number among those of that
/// commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filed {
    pub(crate) commit: u64,
    pub(crate) number: u32,
}

/// Every tree of links that is still to be followed.
#[derive(Debug, Default)]
pub(crate) struct Falling {
    pub(crate) tree: Ordered,
}

fn decode(value: &[u8]) -> Result<Fallen> {
    let mut d = Decoder::new(value, "links to follow");
    let fallen =
        Fallen { owner: UserTag(d.array()?), incarnation: d.u16()?, links: Ref::decode(&mut d)? };
    d.end()?;
    Ok(fallen)
}

impl Falling {
    pub(crate) const PLACE: Place = Place { kind: PageKind::Falling, owner: None };

    /// Adds a tree of links, or changes where it is.
    pub(crate) fn set(
        &mut self,
        editor: &mut Editor<'_>,
        at: Filed,
        fallen: &Fallen,
    ) -> Result<()> {
        let mut e = Encoder::new(14 + REF_BYTES);
        e.bytes(&fallen.owner.0).u16(fallen.incarnation);
        fallen.links.encode(&mut e);
        self.tree.insert(editor, Self::PLACE, key(at), e.finish())
    }

    pub(crate) fn remove(&mut self, editor: &mut Editor<'_>, at: Filed) -> Result<()> {
        self.tree.remove(editor, Self::PLACE, &key(at)).map(drop)
    }

    /// The oldest tree of links, but for those in `but`.
    pub(crate) fn first_but(
        &self,
        pages: &dyn Pages,
        but: &BTreeSet<Filed>,
    ) -> Result<Option<(Filed, Fallen)>> {
        let mut first = None;
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
        self.tree.scan(pages, Self::PLACE, all, &mut |key, value| {
            let mut d = Decoder::new(key, "links to follow");
            let at = Filed { commit: d.u64()?, number: d.u32()? };
            if but.contains(&at) {
                return Ok(ControlFlow::Continue(()));
            }
            first = Some((at, decode(value)?));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }
}

fn key(at: Filed) -> OrderedKey {
    let Filed { commit, number } = at;
    let mut key = [0; 20];
    key[..8].copy_from_slice(&commit.to_be_bytes());
    key[8..12].copy_from_slice(&number.to_be_bytes());
    key
}

/// What a stored page of this tree points to.
pub(super) fn edges(spot: &Spot, page: &[u8]) -> Result<Vec<Edge>> {
    ordered::edges::<20>(spot, page, |_, value| {
        let Fallen { owner, links, .. } = decode(value)?;
        Ok(Some(Edge::Page {
            spot: Spot { kind: PageKind::Lineage, owner: Some(owner), class: None },
            at: links,
        }))
    })
}
