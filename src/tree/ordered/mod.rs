//! An ordered copy-on-write tree (a B+tree): a class's records by interaction and ordinal, a user's
//! fences, links between records, facts. Its keys are of one length, `K` bytes.
//!
//! ```text
//! interior = 1 ‖ count 2 ‖ (first key K ‖ entries below 8 ‖ ref 48)*
//! leaf     = 2 ‖ count 2 ‖ (key K ‖ length 2 ‖ value)*
//!          | 3 ‖ count 2 ‖ texts 2 ‖ (length 1 ‖ text)*
//!            ‖ (key K ‖ first text's number v ‖ second text's number v ‖ length 2 ‖ rest)*
//! ```
//! The second form of a leaf is that of a class's tree (see `value.rs`).
//! Keys ascend; `first key` is at most the smallest key below. A range is removed, or taken out as
//! a tree of its own, without reading what lies wholly inside it.

mod node;
mod scan;
mod value;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use self::node::{Leaf, leaf_len, leaf_len_within, load_mut, seal_link, write_leaf};
pub(crate) use self::node::{OrderedNode, Place};
pub(super) use self::scan::edges;
pub(crate) use self::scan::{Entries, Range};
use self::scan::{scan_link, scan_ranges};
use self::value::Value;
use super::geometry::Geometry;
pub(crate) use super::keys::{KEY_MAX, KEY_MIN, OrderedKey};
use super::link::{Editor, Link, Pages, Sink};
use super::page::{PageKind, Ref};
use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::secret::Secret;

/// A leaf without pages above it.
pub(crate) struct OnlyLeaf<'t, const K: usize>(&'t Leaf<K>);

impl<const K: usize> OnlyLeaf<'_, K> {
    /// Bytes of it, at most.
    pub(crate) fn len(&self) -> usize {
        leaf_len(self.0)
    }

    /// The same if it is `most` or less: a long leaf is not counted to its end.
    pub(crate) fn len_within(&self, most: usize) -> Option<usize> {
        leaf_len_within(self.0, most)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn write(&self, e: &mut Encoder) {
        write_leaf(self.0, e);
    }

    /// Its entries, in order, each with the bytes of its value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (OrderedKey<K>, Secret)> {
        let alone = |value: &Value| Secret::copied_from(value.alone(&mut None));
        self.0.iter().map(move |(key, value)| (*key, alone(value)))
    }
}

/// An ordered tree in the middle of a change, or at rest.
#[derive(Debug)]
pub(crate) struct Ordered<const K: usize = 20> {
    pub(crate) root: Option<Link<OrderedNode<K>>>,
}

impl<const K: usize> Default for Ordered<K> {
    fn default() -> Self {
        Ordered { root: None }
    }
}

impl<const K: usize> Ordered<K> {
    /// The tree that a stored pointer leads to, or an empty one.
    pub(crate) fn stored(root: Option<Ref>) -> Self {
        Ordered { root: root.map(Link::Stored) }
    }

    /// A tree of one leaf, which is stored within another page.
    pub(crate) fn read_within(d: &mut Decoder<'_>, kind: PageKind) -> Result<Self> {
        match OrderedNode::read(d)? {
            node @ OrderedNode::Leaf(_) if node.count() > 0 && node.suits(kind) => {
                Ok(Ordered { root: Some(Link::Loaded(Box::new(node))) })
            }
            _ => Err(d.bad()),
        }
    }

    /// The leaf that is all of the tree and is to be written.
    pub(crate) fn leaf(&self) -> Option<OnlyLeaf<'_, K>> {
        match &self.root {
            Some(Link::Loaded(node)) => match &**node {
                OrderedNode::Leaf(entries) => Some(OnlyLeaf(entries)),
                OrderedNode::Interior(_) => None,
            },
            _ => None,
        }
    }

    /// The stored pointer, if nothing was changed.
    pub(crate) fn into_stored(self) -> Option<Ref> {
        match self.root {
            Some(Link::Stored(at)) => Some(at),
            _ => None,
        }
    }

    /// Reads the root, which is about to be changed.
    pub(crate) fn load(&mut self, editor: &mut Editor<'_>, place: Place) -> Result<()> {
        match &mut self.root {
            Some(link) => load_mut(link, editor, place).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Adds or replaces an entry. The value must fit in half a page.
    pub(crate) fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: OrderedKey<K>,
        value: impl Into<Part>,
    ) -> Result<()> {
        let value = Value::of(place.kind, value.into())?;
        let link = self
            .root
            .get_or_insert_with(|| Link::Loaded(Box::new(OrderedNode::Leaf(BTreeMap::new()))));
        let right = load_mut(link, editor, place)?.insert(editor, place, key, value)?;
        if !right.is_empty()
            && let Some(Link::Loaded(left)) = self.root.take()
        {
            let parts = std::iter::once(*left).chain(right);
            let root = OrderedNode::Interior(parts.map(OrderedNode::into_child).collect());
            self.root = Some(Link::Loaded(Box::new(root)));
        }
        Ok(())
    }

    /// Removes every key in `low..=high` and returns how many there were.
    pub(crate) fn remove_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<u64> {
        Ok(self.take(editor, place, low, high)?.map_or(0, |taken| taken.count()))
    }

    /// Removes a key, and says whether it was there.
    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: &OrderedKey<K>,
    ) -> Result<bool> {
        Ok(self.remove_range(editor, place, key, key)? > 0)
    }

    /// Takes every key in `low..=high` out, as a tree of its own, and returns it with the number of
    /// its entries.
    pub(crate) fn take_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<(Ordered<K>, u64)> {
        let Some(taken) = self.take(editor, place, low, high)?.filter(|taken| !taken.is_empty())
        else {
            return Ok((Ordered::default(), 0));
        };
        let count = taken.count();
        let mut tree = Ordered { root: Some(Link::Loaded(Box::new(taken))) };
        tree.collapse();
        Ok((tree, count))
    }

    fn take(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<Option<OrderedNode<K>>> {
        let Some(link) = self.root.as_mut().filter(|_| low <= high) else {
            return Ok(None);
        };
        let node = load_mut(link, editor, place)?;
        let taken = node.take_range(editor, place, low, high)?;
        if node.is_empty() {
            self.root = None;
        }
        self.collapse();
        Ok(Some(taken))
    }

    /// A root with one child is that child.
    fn collapse(&mut self) {
        while let Some(Link::Loaded(node)) = &mut self.root
            && let OrderedNode::Interior(children) = &mut **node
            && children.len() == 1
        {
            self.root = children.pop().map(|c| c.link);
        }
    }

    /// Takes every entry out; every page is read, and replaced.
    pub(crate) fn drain(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
    ) -> Result<Vec<(OrderedKey<K>, Part)>> {
        let mut out = Vec::new();
        let mut rest: Vec<Link<OrderedNode<K>>> = self.root.take().into_iter().collect();
        while let Some(mut link) = rest.pop() {
            match load_mut(&mut link, editor, place)? {
                OrderedNode::Leaf(entries) => out.extend(
                    std::mem::take(entries).into_iter().map(|(key, value)| (key, value.into())),
                ),
                OrderedNode::Interior(children) => {
                    rest.extend(children.drain(..).rev().map(|c| c.link))
                }
            }
        }
        Ok(out)
    }

    /// How many entries there are; the root page is read.
    pub(crate) fn count(&mut self, editor: &mut Editor<'_>, place: Place) -> Result<u64> {
        match &mut self.root {
            None => Ok(0),
            Some(link) => Ok(load_mut(link, editor, place)?.count()),
        }
    }

    /// Seals every changed page and returns where the tree is now; `None` when it is empty.
    pub(crate) fn seal(
        self,
        place: Place,
        geometry: Geometry,
        sink: &mut dyn Sink,
    ) -> Result<Option<Ref>> {
        self.root.map(|link| seal_link(link, place, geometry, sink)).transpose()
    }

    /// Shows the entries in `low..=high`, ascending or descending, until the callback breaks.
    pub(crate) fn scan(
        &self,
        pages: &dyn Pages,
        place: Place,
        range: Range<'_, K>,
        entry: &mut Entries<'_, K>,
    ) -> Result<()> {
        if let Some(link) = self.root.as_ref().filter(|_| range.low <= range.high) {
            let _ = scan_link(pages, place, link, &range, entry)?;
        }
        Ok(())
    }

    /// Shows every entry, ascending.
    pub(crate) fn all(
        &self,
        pages: &dyn Pages,
        place: Place,
        entry: &mut dyn FnMut(&OrderedKey<K>, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let range = Range { low: &[0; K], high: &[0xFF; K], descending: false };
        self.scan(pages, place, range, &mut |key, value| {
            entry(key, value).map(ControlFlow::Continue)
        })
    }

    /// Shows the entries in several ranges, which ascend and have nothing in common: each page is
    /// read once.
    pub(crate) fn scan_ranges(
        &self,
        pages: &dyn Pages,
        place: Place,
        ranges: &[(OrderedKey<K>, OrderedKey<K>)],
        entry: &mut dyn FnMut(&OrderedKey<K>, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.root.as_ref().filter(|_| !ranges.is_empty()) {
            Some(link) => scan_ranges(pages, place, link, ranges, entry),
            None => Ok(()),
        }
    }

    /// The value at `key`.
    pub(crate) fn get(
        &self,
        pages: &dyn Pages,
        place: Place,
        key: &OrderedKey<K>,
    ) -> Result<Option<Secret>> {
        let mut found = None;
        self.scan(
            pages,
            place,
            Range { low: key, high: key, descending: false },
            &mut |_, value| {
                found = Some(Secret::copied_from(value));
                Ok(ControlFlow::Break(()))
            },
        )?;
        Ok(found)
    }
}
