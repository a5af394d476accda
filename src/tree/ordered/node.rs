//! A page of an ordered tree, decoded.

use std::collections::BTreeMap;

use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::ids::UserTag;
use crate::tree::geometry::Geometry;
use crate::tree::keys::OrderedKey;
use crate::tree::link::{Editor, Link, Node, Sink};
use crate::tree::page::{Page, PageKind, REF_BYTES, Ref, pad};

pub(super) const INTERIOR: u8 = 1;
pub(super) const LEAF: u8 = 2;

pub(super) const fn child_len(key: usize) -> usize {
    key + 8 + REF_BYTES
}

/// Which tree this is, for the seal and the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: PageKind,
    pub(crate) owner: Option<UserTag>,
}

pub(super) type Value = Part;

/// A page of an ordered tree.
#[derive(Debug)]
pub(crate) enum OrderedNode<const K: usize = 20> {
    Interior(Vec<Child<K>>),
    Leaf(BTreeMap<OrderedKey<K>, Value>),
}

/// A pointer with what is known of its page.
#[derive(Debug)]
pub(crate) struct Child<const K: usize> {
    pub(super) first: OrderedKey<K>,
    count: u64,
    pub(super) link: Link<OrderedNode<K>>,
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

pub(super) fn decode_child<const K: usize>(d: &mut Decoder<'_>) -> Result<Child<K>> {
    Ok(Child { first: d.array()?, count: d.u64()?, link: Link::Stored(Ref::decode(d)?) })
}

pub(super) fn decode_entry<'p, const K: usize>(
    d: &mut Decoder<'p>,
) -> Result<(OrderedKey<K>, &'p [u8])> {
    let key = d.array()?;
    let len = usize::from(d.u16()?);
    Ok((key, d.bytes(len)?))
}

impl<const K: usize> OrderedNode<K> {
    fn len(&self) -> usize {
        match self {
            OrderedNode::Interior(children) => 3 + children.len() * child_len(K),
            OrderedNode::Leaf(entries) => leaf_len(entries),
        }
    }

    pub(super) fn count(&self) -> u64 {
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

    pub(super) fn is_empty(&self) -> bool {
        match self {
            OrderedNode::Interior(children) => children.is_empty(),
            OrderedNode::Leaf(entries) => entries.is_empty(),
        }
    }

    pub(super) fn into_child(self) -> Child<K> {
        Child { first: self.first(), count: self.count(), link: Link::Loaded(Box::new(self)) }
    }

    /// Inserts; a page that outgrew its size gives back its right part.
    pub(super) fn insert(
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
                if leaf_len(entries) <= capacity {
                    return Ok(None);
                }
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
    pub(super) fn take_range(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        low: &OrderedKey<K>,
        high: &OrderedKey<K>,
    ) -> Result<OrderedNode<K>> {
        match self {
            OrderedNode::Leaf(entries) => {
                let mut taken = entries.split_off(low);
                let mut after = taken.split_off(high);
                if let Some(at_high) = after.remove(high) {
                    taken.insert(*high, at_high);
                }
                entries.append(&mut after);
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
            let small =
                matches!(&children[i].link, Link::Loaded(node) if node.len() < capacity / 4);
            if !small {
                i += 1;
                continue;
            }
            let left = i.saturating_sub(1);
            let (to, from) = children.split_at_mut(left + 1);
            let (to, from) = (&mut to[left], &mut from[0]);
            let node = to.link.load_mut(editor, place.kind, place.owner)?;
            let right = from.link.load_mut(editor, place.kind, place.owner)?;
            if node.len() + right.len() > capacity * 3 / 4 {
                i += 1;
                continue;
            }
            match (&mut *node, right) {
                (OrderedNode::Leaf(a), OrderedNode::Leaf(b)) => a.append(b),
                (OrderedNode::Interior(a), OrderedNode::Interior(b)) => a.append(b),
                _ => return Err(Decoder::new(&[], "page of an ordered tree").bad()),
            }
            to.count = node.count();
            children.remove(left + 1);
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

/// Bytes of a leaf with these entries.
fn leaf_len<const K: usize>(entries: &BTreeMap<OrderedKey<K>, Value>) -> usize {
    3 + entries.values().map(|v| K + 2 + v.len()).sum::<usize>()
}

/// The key at which a leaf is cut so that both parts are about as long.
fn middle<const K: usize>(
    entries: &BTreeMap<OrderedKey<K>, Value>,
    capacity: usize,
) -> OrderedKey<K> {
    let mut len = 0;
    for (key, value) in entries.iter().skip(1) {
        len += K + 2 + value.len();
        if len >= capacity / 2 {
            return *key;
        }
    }
    entries.last_key_value().map_or([0xFF; K], |(k, _)| *k)
}

pub(super) fn seal_link<const K: usize>(
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
