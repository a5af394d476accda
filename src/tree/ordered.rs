//! An ordered copy-on-write tree (a B+tree): a class's records by interaction and ordinal, a user's fences.
//!
//! ```text
//! interior = 1 ‖ count 2 ‖ (first key 20 ‖ entries below 8 ‖ ref 48)*
//! leaf     = 2 ‖ count 2 ‖ (key 20 ‖ length 2 ‖ value)*
//! ```
//! Keys ascend; `first key` is at most the smallest key below. A range is removed without reading what lies wholly inside it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Edge, Editor, Geometry, Link, Node, PageKind, Pages, REF_BYTES, Ref, Sink, Spot, pad};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::UserTag;
use crate::secret::Secret;

/// A key: interaction 16 ‖ ordinal 4, or a fence.
pub(crate) type OrderedKey = [u8; 20];
/// The smallest key.
pub(crate) const KEY_MIN: OrderedKey = [0; 20];
/// The largest key.
pub(crate) const KEY_MAX: OrderedKey = [0xFF; 20];

const INTERIOR: u8 = 1;
const LEAF: u8 = 2;
const CHILD_LEN: usize = 20 + 8 + REF_BYTES;

/// Which tree this is, for the seal and the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: PageKind,
    pub(crate) owner: UserTag,
}

/// An ordered tree in the middle of a change, or at rest.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    pub(crate) root: Option<Link<OrderedNode>>,
}

type Value = Secret;

/// A page of an ordered tree.
#[derive(Debug)]
pub(crate) enum OrderedNode {
    Interior(Vec<Child>),
    Leaf(BTreeMap<OrderedKey, Value>),
}

/// A pointer with what is known of the page behind it.
#[derive(Debug)]
pub(crate) struct Child {
    first: OrderedKey,
    count: u64,
    link: Link<OrderedNode>,
}

impl Node for OrderedNode {
    fn decode(page: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(page, "page of an ordered tree");
        let kind = d.u8()?;
        let count = usize::from(d.u16()?);
        let node = match kind {
            INTERIOR => {
                let mut children: Vec<Child> = Vec::new();
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
                    let (key, value) = decode_entry(&mut d)?;
                    if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                        return Err(d.bad());
                    }
                    entries.insert(key, Secret::copied_from(value));
                }
                OrderedNode::Leaf(entries)
            }
            _ => return Err(d.bad()),
        };
        d.end_padding()?;
        Ok(node)
    }
}

fn decode_child(d: &mut Decoder<'_>) -> Result<Child> {
    Ok(Child { first: d.array()?, count: d.u64()?, link: Link::Stored(Ref::decode(d)?) })
}

fn decode_entry<'p>(d: &mut Decoder<'p>) -> Result<(OrderedKey, &'p [u8])> {
    let key = d.array()?;
    let len = usize::from(d.u16()?);
    Ok((key, d.bytes(len)?))
}

impl OrderedNode {
    fn len(&self) -> usize {
        3 + match self {
            OrderedNode::Interior(children) => children.len() * CHILD_LEN,
            OrderedNode::Leaf(entries) => entries.values().map(|v| 22 + v.len()).sum(),
        }
    }

    fn count(&self) -> u64 {
        match self {
            OrderedNode::Interior(children) => children.iter().map(|c| c.count).sum(),
            OrderedNode::Leaf(entries) => entries.len() as u64,
        }
    }

    fn first(&self) -> OrderedKey {
        match self {
            OrderedNode::Interior(children) => children.first().map_or(KEY_MIN, |c| c.first),
            OrderedNode::Leaf(entries) => entries.first_key_value().map_or(KEY_MIN, |(k, _)| *k),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            OrderedNode::Interior(children) => children.is_empty(),
            OrderedNode::Leaf(entries) => entries.is_empty(),
        }
    }

    fn into_child(self) -> Child {
        Child { first: self.first(), count: self.count(), link: Link::Loaded(Box::new(self)) }
    }

    /// Inserts; a page that outgrew its size gives back its right part.
    fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: OrderedKey,
        value: Value,
    ) -> Result<Option<OrderedNode>> {
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
                let node = child.link.load_mut(editor, place.kind, Some(place.owner))?;
                let right = node.insert(editor, place, key, value)?;
                child.count = node.count();
                if let Some(right) = right {
                    children.insert(i + 1, right.into_child());
                }
                if 3 + children.len() * CHILD_LEN <= capacity {
                    return Ok(None);
                }
                let cut = if last { children.len() - 1 } else { children.len() / 2 };
                Ok(Some(OrderedNode::Interior(children.split_off(cut))))
            }
        }
    }

    /// Removes every key in `low..=high` and returns how many there were.
    fn remove_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<u64> {
        match self {
            OrderedNode::Leaf(entries) => {
                let before = entries.len();
                entries.retain(|k, _| k < low || k > high);
                Ok((before - entries.len()) as u64)
            }
            OrderedNode::Interior(children) => {
                let before: u64 = children.iter().map(|c| c.count).sum();
                let mut kept: Vec<Child> = Vec::with_capacity(children.len());
                let mut rest = std::mem::take(children).into_iter().peekable();
                while let Some(mut child) = rest.next() {
                    let next = rest.peek().map(|c| c.first);
                    let outside = child.first > *high || next.is_some_and(|next| next <= *low);
                    let inside = child.first >= *low && next.is_some_and(|next| next <= *high);
                    if inside {
                        if let Link::Stored(at) = &child.link {
                            editor.replaced.push(at.name);
                        }
                        continue;
                    }
                    if !outside {
                        let node = child.link.load_mut(editor, place.kind, Some(place.owner))?;
                        node.remove_range(editor, place, low, high)?;
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
                Ok(before - self.count())
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
            let left = i.saturating_sub(1).min(children.len() - 2);
            let len = children[left].link.load_mut(editor, place.kind, Some(place.owner))?.len()
                + children[left + 1].link.load_mut(editor, place.kind, Some(place.owner))?.len();
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
        pad(&mut e, geometry.capacity());
        sink.seal(place.kind, Some(place.owner), &e.finish())
    }
}

/// The key at which a leaf is cut so that both parts are about as long.
fn middle(entries: &BTreeMap<OrderedKey, Value>, capacity: usize) -> OrderedKey {
    let mut len = 0;
    for (key, value) in entries.iter().skip(1) {
        len += 22 + value.len();
        if len >= capacity / 2 {
            return *key;
        }
    }
    entries.last_key_value().map_or(KEY_MAX, |(k, _)| *k)
}

fn seal_link(link: Link<OrderedNode>, place: Place, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
    match link {
        Link::Stored(at) => Ok(at),
        Link::Loaded(node) => node.seal(place, geometry, sink),
    }
}

impl Ordered {
    /// Adds or replaces an entry. The value must fit in half a page.
    pub(crate) fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: OrderedKey,
        value: Value,
    ) -> Result<()> {
        let link = self.root.get_or_insert_with(|| Link::Loaded(Box::new(OrderedNode::Leaf(BTreeMap::new()))));
        let right = link.load_mut(editor, place.kind, Some(place.owner))?.insert(editor, place, key, value)?;
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
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<u64> {
        let Some(link) = &mut self.root else {
            return Ok(0);
        };
        let node = link.load_mut(editor, place.kind, Some(place.owner))?;
        let removed = node.remove_range(editor, place, low, high)?;
        if node.is_empty() {
            self.root = None;
        }
        loop {
            match self.root.take() {
                Some(Link::Loaded(node)) => match *node {
                    OrderedNode::Interior(mut children) if children.len() == 1 => {
                        self.root = children.pop().map(|c| c.link);
                    }
                    node => {
                        self.root = Some(Link::Loaded(Box::new(node)));
                        return Ok(removed);
                    }
                },
                other => {
                    self.root = other;
                    return Ok(removed);
                }
            }
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
        range: Range<'_>,
        entry: &mut Entries<'_>,
    ) -> Result<()> {
        if let Some(link) = self.root.as_ref().filter(|_| range.low <= range.high) {
            let _ = scan_link(pages, place, link, &range, entry)?;
        }
        Ok(())
    }

    /// The value at `key`.
    pub(crate) fn get(&self, pages: &dyn Pages, place: Place, key: &OrderedKey) -> Result<Option<Value>> {
        let mut found = None;
        self.scan(pages, place, Range { low: key, high: key, descending: false }, &mut |_, value| {
            found = Some(Secret::copied_from(value));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

/// What to scan.
#[derive(Clone, Copy)]
pub(crate) struct Range<'k> {
    pub(crate) low: &'k OrderedKey,
    pub(crate) high: &'k OrderedKey,
    pub(crate) descending: bool,
}

/// Callback of [`Ordered::scan`].
pub(crate) type Entries<'e> = dyn FnMut(&OrderedKey, &[u8]) -> Result<ControlFlow<()>> + 'e;

fn scan_link(
    pages: &dyn Pages,
    place: Place,
    link: &Link<OrderedNode>,
    range: &Range<'_>,
    entry: &mut Entries<'_>,
) -> Result<ControlFlow<()>> {
    match link {
        Link::Stored(at) => {
            let page = pages.load(place.kind, Some(place.owner), at)?;
            if range.low == range.high && page.first() == Some(&INTERIOR) {
                return match child_of(&page, range.low)? {
                    Some(child) => scan_link(pages, place, &Link::Stored(child), range, entry),
                    None => Ok(ControlFlow::Continue(())),
                };
            }
            if page.first() == Some(&LEAF) {
                return scan_leaf(&page, range, entry);
            }
            scan_node(pages, place, &OrderedNode::decode(&page)?, range, entry)
        }
        Link::Loaded(node) => scan_node(pages, place, node, range, entry),
    }
}

/// The pointer behind which `key` lies, found without decoding the page.
fn child_of(page: &[u8], key: &OrderedKey) -> Result<Option<Ref>> {
    let mut d = Decoder::new(page, "page of an ordered tree");
    d.u8()?;
    let count = usize::from(d.u16()?);
    let entries = d.bytes(count * CHILD_LEN)?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if entries[middle * CHILD_LEN..][..20] <= key[..] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let Some(i) = low.checked_sub(1) else {
        return Ok(None);
    };
    let mut d = Decoder::new(&entries[i * CHILD_LEN + 28..(i + 1) * CHILD_LEN], "page of an ordered tree");
    Ref::decode(&mut d).map(Some)
}

fn scan_leaf(page: &[u8], range: &Range<'_>, entry: &mut Entries<'_>) -> Result<ControlFlow<()>> {
    let mut d = Decoder::new(page, "page of an ordered tree");
    d.u8()?;
    let count = d.u16()?;
    let mut within = Vec::new();
    for _ in 0..count {
        let (key, value) = decode_entry(&mut d)?;
        if key > *range.high {
            break;
        }
        if key >= *range.low {
            within.push((key, value));
        }
    }
    if range.descending {
        within.reverse();
    }
    for (key, value) in within {
        if entry(&key, value)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn scan_node(
    pages: &dyn Pages,
    place: Place,
    node: &OrderedNode,
    range: &Range<'_>,
    entry: &mut Entries<'_>,
) -> Result<ControlFlow<()>> {
    match node {
        OrderedNode::Leaf(entries) => {
            let within = entries.range(*range.low..=*range.high);
            let each = |(key, value): (&OrderedKey, &Value)| entry(key, value);
            if range.descending { first_break(within.rev().map(each)) } else { first_break(within.map(each)) }
        }
        OrderedNode::Interior(children) => {
            let from = children.partition_point(|c| c.first <= *range.low).saturating_sub(1);
            let to = children.partition_point(|c| c.first <= *range.high);
            let within = children[from.min(to)..to].iter();
            let each = |child: &Child| scan_link(pages, place, &child.link, range, entry);
            if range.descending { first_break(within.rev().map(each)) } else { first_break(within.map(each)) }
        }
    }
}

fn first_break(steps: impl Iterator<Item = Result<ControlFlow<()>>>) -> Result<ControlFlow<()>> {
    for step in steps {
        if step?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What a stored page of an ordered tree points to.
pub(super) fn edges(spot: &Spot, page: &[u8]) -> Result<Vec<Edge>> {
    let mut d = Decoder::new(page, "page of an ordered tree");
    let kind = d.u8()?;
    let mut edges = Vec::new();
    for _ in 0..d.u16()? {
        if kind == INTERIOR {
            if let Link::Stored(at) = decode_child(&mut d)?.link {
                edges.push(Edge::Page { spot: spot.clone(), at });
            }
        } else {
            let (key, value) = decode_entry(&mut d)?;
            if spot.kind == PageKind::Class {
                edges.push(Edge::Record { key, entry: Secret::copied_from(value) });
            }
        }
    }
    Ok(edges)
}
