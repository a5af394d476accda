//! An ordered copy-on-write tree (a B+tree): a class's records by interaction and ordinal, a user's fences, links
//! between records, facts. Its keys are of one length, `K` bytes.
//!
//! ```text
//! interior = 1 ‖ count 2 ‖ (first key K ‖ entries below 8 ‖ ref 48)*
//! leaf     = 2 ‖ count 2 ‖ (key K ‖ length 2 ‖ value)*
//! ```
//! Keys ascend; `first key` is at most the smallest key below. A range is removed, or taken out as a tree of its own,
//! without reading what lies wholly inside it.

mod scan;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub(super) use self::scan::edges;
use self::scan::scan_link;
pub(crate) use self::scan::{Entries, Range};
use super::{Editor, Geometry, Link, Node, Page, PageKind, Pages, REF_BYTES, Ref, Sink, pad};
use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::ids::UserTag;
use crate::secret::Secret;

/// A key: interaction 16 ‖ ordinal 4, or a fence.
pub(crate) type OrderedKey<const K: usize = 20> = [u8; K];
/// The smallest key.
pub(crate) const KEY_MIN: OrderedKey = [0; 20];
/// The largest key.
pub(crate) const KEY_MAX: OrderedKey = [0xFF; 20];

const INTERIOR: u8 = 1;
const LEAF: u8 = 2;

const fn child_len(key: usize) -> usize {
    key + 8 + REF_BYTES
}

/// Which tree this is, for the seal and the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: PageKind,
    pub(crate) owner: Option<UserTag>,
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

type Value = Part;

/// A page of an ordered tree.
#[derive(Debug)]
pub(crate) enum OrderedNode<const K: usize = 20> {
    Interior(Vec<Child<K>>),
    Leaf(BTreeMap<OrderedKey<K>, Value>),
}

/// A pointer with what is known of the page behind it.
#[derive(Debug)]
pub(crate) struct Child<const K: usize> {
    first: OrderedKey<K>,
    count: u64,
    link: Link<OrderedNode<K>>,
}

impl<const K: usize> Node for OrderedNode<K> {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "page of an ordered tree");
        let kind = d.u8()?;
        let count = usize::from(d.u16()?);
        let node = match kind {
            INTERIOR => {
                let mut children: Vec<Child<K>> = Vec::new();
                for _ in 0..count {
                    let child = decode_child(&mut d)?;
                    if children.last().is_some_and(|last| last.first >= child.first) {
                        return Err(d.bad());
                    }
                    children.push(child);
                }
                OrderedNode::Interior(children)
            }
            LEAF => {
                let mut entries = BTreeMap::new();
                for _ in 0..count {
                    let key = d.array()?;
                    let len = usize::from(d.u16()?);
                    let value = d.part(len)?;
                    if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                        return Err(d.bad());
                    }
                    entries.insert(key, value);
                }
                OrderedNode::Leaf(entries)
            }
            _ => return Err(d.bad()),
        };
        d.end_padding()?;
        Ok(node)
    }
}

fn decode_child<const K: usize>(d: &mut Decoder<'_>) -> Result<Child<K>> {
    Ok(Child { first: d.array()?, count: d.u64()?, link: Link::Stored(Ref::decode(d)?) })
}

fn decode_entry<'p, const K: usize>(d: &mut Decoder<'p>) -> Result<(OrderedKey<K>, &'p [u8])> {
    let key = d.array()?;
    let len = usize::from(d.u16()?);
    Ok((key, d.bytes(len)?))
}

impl<const K: usize> OrderedNode<K> {
    fn len(&self) -> usize {
        3 + match self {
            OrderedNode::Interior(children) => children.len() * child_len(K),
            OrderedNode::Leaf(entries) => entries.values().map(|v| K + 2 + v.len()).sum(),
        }
    }

    fn count(&self) -> u64 {
        match self {
            OrderedNode::Interior(children) => children.iter().map(|c| c.count).sum(),
            OrderedNode::Leaf(entries) => entries.len() as u64,
        }
    }

    fn first(&self) -> OrderedKey<K> {
        match self {
            OrderedNode::Interior(children) => children.first().map_or([0; K], |c| c.first),
            OrderedNode::Leaf(entries) => entries.first_key_value().map_or([0; K], |(k, _)| *k),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            OrderedNode::Interior(children) => children.is_empty(),
            OrderedNode::Leaf(entries) => entries.is_empty(),
        }
    }

    fn into_child(self) -> Child<K> {
        Child { first: self.first(), count: self.count(), link: Link::Loaded(Box::new(self)) }
    }

    /// Inserts; a page that outgrew its size gives back its right part.
    fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: OrderedKey<K>,
        value: Value,
    ) -> Result<Option<OrderedNode<K>>> {
        let capacity = editor.geometry.capacity();
        match self {
            OrderedNode::Leaf(entries) => {
                let at_end = entries.last_key_value().is_none_or(|(last, _)| *last < key);
                entries.insert(key, value);
                if self.len() <= capacity {
                    return Ok(None);
                }
                let OrderedNode::Leaf(entries) = self else { unreachable!("it is a leaf") };
                // Ids ascend with time: a full page at the end stays full.
                let cut = if at_end { key } else { middle(entries, capacity) };
                Ok(Some(OrderedNode::Leaf(entries.split_off(&cut))))
            }
            OrderedNode::Interior(children) => {
                let i = children.partition_point(|c| c.first <= key).saturating_sub(1);
                let last = i + 1 == children.len();
                let child = &mut children[i];
                child.first = child.first.min(key);
                let node = child.link.load_mut(editor, place.kind, place.owner)?;
                let right = node.insert(editor, place, key, value)?;
                child.count = node.count();
                if let Some(right) = right {
                    children.insert(i + 1, right.into_child());
                }
                if 3 + children.len() * child_len(K) <= capacity {
                    return Ok(None);
                }
                let cut = if last { children.len() - 1 } else { children.len() / 2 };
                Ok(Some(OrderedNode::Interior(children.split_off(cut))))
            }
        }
    }

    /// Takes every key in `low..=high` out, as a page of the same height.
    fn take_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<OrderedNode<K>> {
        match self {
            OrderedNode::Leaf(entries) => {
                let mut taken = entries.split_off(low);
                let mut behind = taken.split_off(high);
                if let Some(at_high) = behind.remove(high) {
                    taken.insert(*high, at_high);
                }
                entries.append(&mut behind);
                Ok(OrderedNode::Leaf(taken))
            }
            OrderedNode::Interior(children) => {
                let (mut kept, mut taken) = (Vec::with_capacity(children.len()), Vec::new());
                let mut rest = std::mem::take(children).into_iter().peekable();
                while let Some(mut child) = rest.next() {
                    let next = rest.peek().map(|c| c.first);
                    let outside = child.first > *high || next.is_some_and(|next| next <= *low);
                    let inside = child.first >= *low && next.is_some_and(|next| next <= *high);
                    if inside {
                        taken.push(child);
                        continue;
                    }
                    if !outside {
                        let node = child.link.load_mut(editor, place.kind, place.owner)?;
                        let part = node.take_range(editor, place, low, high)?;
                        if !part.is_empty() {
                            taken.push(part.into_child());
                        }
                        if node.is_empty() {
                            continue;
                        }
                        child.count = node.count();
                        child.first = node.first();
                    }
                    kept.push(child);
                }
                *children = kept;
                self.merge(editor, place)?;
                Ok(OrderedNode::Interior(taken))
            }
        }
    }

    /// Joins pages that a removal left nearly empty with a neighbour.
    fn merge(&mut self, editor: &mut Editor<'_>, place: Place) -> Result<()> {
        let capacity = editor.geometry.capacity();
        let OrderedNode::Interior(children) = self else {
            return Ok(());
        };
        let mut i = 0;
        while i < children.len() && children.len() > 1 {
            let small = matches!(&children[i].link, Link::Loaded(node) if node.len() < capacity / 4);
            if !small {
                i += 1;
                continue;
            }
            let left = i.saturating_sub(1);
            let len = children[left].link.load_mut(editor, place.kind, place.owner)?.len()
                + children[left + 1].link.load_mut(editor, place.kind, place.owner)?.len();
            if len > capacity * 3 / 4 {
                i += 1;
                continue;
            }
            let Link::Loaded(right) = children.remove(left + 1).link else { unreachable!("it was just loaded") };
            let Link::Loaded(node) = &mut children[left].link else { unreachable!("it was just loaded") };
            match (&mut **node, *right) {
                (OrderedNode::Leaf(a), OrderedNode::Leaf(mut b)) => a.append(&mut b),
                (OrderedNode::Interior(a), OrderedNode::Interior(mut b)) => a.append(&mut b),
                _ => return Err(Decoder::new(&[], "page of an ordered tree").bad()),
            }
            children[left].count = node.count();
            i = left;
        }
        Ok(())
    }

    fn seal(self, place: Place, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
        let mut e = Encoder::new(geometry.capacity());
        match self {
            OrderedNode::Interior(children) => {
                e.u8(INTERIOR).count(children.len());
                for child in children {
                    e.bytes(&child.first).u64(child.count);
                    seal_link(child.link, place, geometry, sink)?.encode(&mut e);
                }
            }
            OrderedNode::Leaf(entries) => {
                e.u8(LEAF).count(entries.len());
                for (key, value) in &entries {
                    e.bytes(key).count(value.len()).bytes(value);
                }
            }
        }
        pad(place.kind, &mut e, geometry.capacity());
        sink.seal(place.kind, place.owner, e.finish())
    }
}

/// The key at which a leaf is cut so that both parts are about as long.
fn middle<const K: usize>(entries: &BTreeMap<OrderedKey<K>, Value>, capacity: usize) -> OrderedKey<K> {
    let mut len = 0;
    for (key, value) in entries.iter().skip(1) {
        len += K + 2 + value.len();
        if len >= capacity / 2 {
            return *key;
        }
    }
    entries.last_key_value().map_or([0xFF; K], |(k, _)| *k)
}

fn seal_link<const K: usize>(
    link: Link<OrderedNode<K>>,
    place: Place,
    geometry: Geometry,
    sink: &mut dyn Sink,
) -> Result<Ref> {
    match link {
        Link::Stored(at) => Ok(at),
        Link::Loaded(node) => node.seal(place, geometry, sink),
    }
}

impl<const K: usize> Ordered<K> {
    /// The tree behind a stored pointer, if there is one.
    pub(crate) fn stored(root: Option<Ref>) -> Self {
        Ordered { root: root.map(Link::Stored) }
    }

    /// The stored pointer, where nothing was changed.
    pub(crate) fn into_stored(self) -> Option<Ref> {
        match self.root {
            Some(Link::Stored(at)) => Some(at),
            _ => None,
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
        let link = self.root.get_or_insert_with(|| Link::Loaded(Box::new(OrderedNode::Leaf(BTreeMap::new()))));
        let right = link.load_mut(editor, place.kind, place.owner)?.insert(editor, place, key, value.into())?;
        if let Some(right) = right
            && let Some(Link::Loaded(left)) = self.root.take()
        {
            let root = OrderedNode::Interior(vec![left.into_child(), right.into_child()]);
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

    /// Takes every key in `low..=high` out, as a tree of its own, and returns it with the number of its entries.
    pub(crate) fn take_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<(Ordered<K>, u64)> {
        let Some(taken) = self.take(editor, place, low, high)?.filter(|taken| !taken.is_empty()) else {
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
        let node = link.load_mut(editor, place.kind, place.owner)?;
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
    pub(crate) fn drain(&mut self, editor: &mut Editor<'_>, place: Place) -> Result<Vec<(OrderedKey<K>, Value)>> {
        let mut out = Vec::new();
        let mut rest: Vec<Link<OrderedNode<K>>> = self.root.take().into_iter().collect();
        while let Some(mut link) = rest.pop() {
            match link.load_mut(editor, place.kind, place.owner)? {
                OrderedNode::Leaf(entries) => out.extend(std::mem::take(entries)),
                OrderedNode::Interior(children) => rest.extend(children.drain(..).rev().map(|c| c.link)),
            }
        }
        Ok(out)
    }

    /// How many entries there are; the root page is read.
    pub(crate) fn count(&mut self, editor: &mut Editor<'_>, place: Place) -> Result<u64> {
        match &mut self.root {
            None => Ok(0),
            Some(link) => Ok(link.load_mut(editor, place.kind, place.owner)?.count()),
        }
    }

    /// Seals every changed page and returns where the tree is now; `None` when it is empty.
    pub(crate) fn seal(self, place: Place, geometry: Geometry, sink: &mut dyn Sink) -> Result<Option<Ref>> {
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

    /// The value at `key`.
    pub(crate) fn get(&self, pages: &dyn Pages, place: Place, key: &OrderedKey<K>) -> Result<Option<Secret>> {
        let mut found = None;
        self.scan(pages, place, Range { low: key, high: key, descending: false }, &mut |_, value| {
            found = Some(Secret::copied_from(value));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}
