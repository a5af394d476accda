//! A name of which parts were erased before any user had it.

use super::fences::Fences;
use super::geometry::Geometry;
use super::link::{Node, Sink};
use super::ordered::Ordered;
use super::page::{Page, PageKind, Ref, pad};
use super::spot::{Edge, Spot};
use super::user::UserPage;
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{Timestamp, UserId, UserTag};

const VERSION: u8 = 1;
/// What errors call it.
const WHAT: &str = "page of fences of a user to come";

/// What is kept of a name of which parts were erased before any user had it: fences, and not the
/// name.
///
/// ```text
/// page = 1 ‖ fence key 32 ‖ fences: ref 48
/// ```
#[derive(Debug)]
pub(crate) struct Unborn {
    pub(crate) fence_key: Key,
    pub(crate) fences: Fences,
}

impl Unborn {
    /// The part of a page that it keeps.
    pub(crate) fn of(page: UserPage) -> Self {
        Unborn { fence_key: page.fence_key, fences: page.fences }
    }

    /// Takes it out, to be put back later.
    pub(crate) fn take(&mut self) -> Self {
        Unborn { fence_key: self.fence_key.duplicate(), fences: std::mem::take(&mut self.fences) }
    }

    /// The page of its user, who comes to life: the fences stay.
    pub(crate) fn born(self, user: UserId, created: Timestamp) -> UserPage {
        UserPage { fences: self.fences, ..UserPage::new(user, 1, created, self.fence_key) }
    }

    pub(crate) fn seal(
        self,
        owner: UserTag,
        geometry: Geometry,
        sink: &mut dyn Sink,
    ) -> Result<Ref> {
        let capacity = geometry.capacity();
        let mut e = Encoder::new(capacity);
        e.u8(VERSION).bytes(self.fence_key.bytes());
        let fences = self.fences.tree.seal(Fences::place(owner), geometry, sink)?;
        // The page exists for its fences alone.
        fences.ok_or_else(|| Decoder::new(&[], WHAT).bad())?.encode(&mut e);
        pad(PageKind::Unborn, &mut e, capacity);
        sink.seal(PageKind::Unborn, Some(owner), e.finish())
    }
}

impl Node for Unborn {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, WHAT);
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let fence_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let fences = Fences { tree: Ordered::stored(Some(Ref::decode(&mut d)?)) };
        d.end_padding()?;
        Ok(Unborn { fence_key, fences })
    }
}

/// What a stored page of fences of a user to come points to.
pub(super) fn edges(owner: UserTag, page: &Page) -> Result<Vec<Edge>> {
    let spot = Spot { kind: PageKind::Fences, owner: Some(owner), class: None };
    let at = Unborn::decode(page)?.fences.tree.into_stored();
    Ok(at.map(|at| Edge::Page { spot, at }).into_iter().collect())
}
