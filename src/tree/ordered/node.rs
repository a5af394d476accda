//! A page of an ordered tree, decoded.

use std::collections::BTreeMap;

use super::value::{Length, Texts, Value, texts_of};
use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::ids::UserTag;
use crate::tree::geometry::Geometry;
use crate::tree::keys::OrderedKey;
use crate::tree::link::{Editor, Link, Node, Sink};
use crate::tree::page::{Page, PageKind, REF_BYTES, Ref, pad};

pub(super) const INTERIOR: u8 = 1;
pub(super) const LEAF: u8 = 2;
/// A leaf that lists texts.
pub(super) const LISTING: u8 = 3;

pub(super) const fn child_len(key: usize) -> usize {
    key + 8 + REF_BYTES
}

/// Which tree this is, for the seal and the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: PageKind,
    pub(crate) owner: Option<UserTag>,
}

pub(super) type Leaf<const K: usize> = BTreeMap<OrderedKey<K>, Value>;

/// A page of an ordered tree.
#[derive(Debug)]
pub(crate) enum OrderedNode<const K: usize = 20> {
    Interior(Vec<Child<K>>),
    Leaf(Leaf<K>),
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
        let node = OrderedNode::read(&mut d)?;
        d.end_padding()?;
        Ok(node)
    }
}

impl<const K: usize> OrderedNode<K> {
    /// Reads a page, without what comes after it.
    pub(super) fn read(d: &mut Decoder<'_>) -> Result<Self> {
        let kind = d.u8()?;
        let count = usize::from(d.u16()?);
        Ok(match kind {
            INTERIOR => {
                let mut children: Vec<Child<K>> = Vec::new();
                for _ in 0..count {
                    let child = decode_child(d)?;
                    if children.last().is_some_and(|last| last.first >= child.first) {
                        return Err(d.bad());
                    }
                    children.push(child);
                }
                OrderedNode::Interior(children)
            }
            LEAF => OrderedNode::Leaf(read_leaf(d, count, None)?),
            LISTING if count > 0 => {
                let mut texts = Texts::read(d, |d| {
                    let len = usize::from(d.u8()?);
                    d.part(len)
                })?;
                let entries = read_leaf(d, count, Some(&mut texts))?;
                if !texts.are_all_had() {
                    return Err(d.bad());
                }
                OrderedNode::Leaf(entries)
            }
            _ => return Err(d.bad()),
        })
    }
}

fn read_leaf<const K: usize>(
    d: &mut Decoder<'_>,
    count: usize,
    mut texts: Option<&mut Texts<Part>>,
) -> Result<Leaf<K>> {
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let key = d.array()?;
        let value = Value::read(d, texts.as_deref_mut())?;
        if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(d.bad());
        }
        entries.insert(key, value);
    }
    Ok(entries)
}

pub(super) fn decode_child<const K: usize>(d: &mut Decoder<'_>) -> Result<Child<K>> {
    Ok(Child { first: d.array()?, count: d.u64()?, link: Link::Stored(Ref::decode(d)?) })
}

/// The page of a link, to be changed. A leaf of another form than its tree's is refused.
pub(super) fn load_mut<'l, const K: usize>(
    link: &'l mut Link<OrderedNode<K>>,
    editor: &mut Editor<'_>,
    place: Place,
) -> Result<&'l mut OrderedNode<K>> {
    let node = link.load_mut(editor, place.kind, place.owner)?;
    if node.suits(place.kind) {
        Ok(node)
    } else {
        Err(Decoder::new(&[], "page of an ordered tree").bad())
    }
}

impl<const K: usize> OrderedNode<K> {
    fn len(&self) -> usize {
        match self {
            OrderedNode::Interior(children) => 3 + children.len() * child_len(K),
            OrderedNode::Leaf(entries) => leaf_len(entries),
        }
    }

    /// Whether trees of a kind have pages of this form.
    pub(super) fn suits(&self, kind: PageKind) -> bool {
        match self {
            OrderedNode::Interior(_) => true,
            OrderedNode::Leaf(entries) => {
                entries.values().all(|value| value.has_texts() == kind.lists_texts())
            }
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

    /// Inserts; a page that outgrew its size gives back its right parts.
    pub(super) fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        place: Place,
        key: OrderedKey<K>,
        value: Value,
    ) -> Result<Vec<OrderedNode<K>>> {
        let capacity = editor.geometry.capacity();
        match self {
            OrderedNode::Leaf(entries) => {
                let at_end = entries.last_key_value().is_none_or(|(last, _)| *last < key);
                entries.insert(key, value);
                if leaf_len(entries) <= capacity {
                    return Ok(Vec::new());
                }
                // Ids ascend with time: a full page at the end stays full.
                let right =
                    if at_end { vec![entries.split_off(&key)] } else { cut(entries, capacity) };
                Ok(right.into_iter().map(OrderedNode::Leaf).collect())
            }
            OrderedNode::Interior(children) => {
                let i = children.partition_point(|c| c.first <= key).saturating_sub(1);
                let last = i + 1 == children.len();
                let child = &mut children[i];
                child.first = child.first.min(key);
                let node = load_mut(&mut child.link, editor, place)?;
                let right = node.insert(editor, place, key, value)?;
                child.count = node.count();
                children.splice(i + 1..i + 1, right.into_iter().map(OrderedNode::into_child));
                let most = (capacity - 3) / child_len(K);
                if children.len() <= most {
                    return Ok(Vec::new());
                }
                let cut = if last { most } else { children.len() / 2 };
                Ok(vec![OrderedNode::Interior(children.split_off(cut))])
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
                        let node = load_mut(&mut child.link, editor, place)?;
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
            let node = load_mut(&mut to.link, editor, place)?;
            let right = load_mut(&mut from.link, editor, place)?;
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
            OrderedNode::Leaf(entries) => write_leaf(&entries, &mut e),
        }
        pad(place.kind, &mut e, geometry.capacity());
        sink.seal(place.kind, place.owner, e.finish())
    }
}

pub(super) fn leaf_len<const K: usize>(entries: &Leaf<K>) -> usize {
    lengths(entries.values(), K).last().unwrap_or(3)
}

/// The same if it is `most` or less.
pub(super) fn leaf_len_within<const K: usize>(entries: &Leaf<K>, most: usize) -> Option<usize> {
    lengths(entries.values(), K).try_fold(3, |_, len| (len <= most).then_some(len))
}

/// Bytes of a leaf of the first value, of the first two, and so on.
fn lengths<'v>(values: impl Iterator<Item = &'v Value>, key: usize) -> impl Iterator<Item = usize> {
    let mut length = Length::default();
    values.map(move |value| length.add(key, value))
}

pub(super) fn write_leaf<const K: usize>(entries: &Leaf<K>, e: &mut Encoder) {
    let texts = texts_of(entries.values());
    if texts.is_empty() {
        e.u8(LEAF).count(entries.len());
    } else {
        e.u8(LISTING).count(entries.len()).count(texts.len());
        for text in &texts {
            e.short(text);
        }
    }
    for (key, value) in entries {
        e.bytes(key);
        value.write(e, &texts);
    }
}

/// Cuts a leaf that is too long so that no part is; gives the parts after the first. Two parts do,
/// or three where a long entry came between others.
fn cut<const K: usize>(entries: &mut Leaf<K>, capacity: usize) -> Vec<Leaf<K>> {
    let mut right = Vec::new();
    let mut rest = vec![entries.split_off(&middle(entries))];
    while let Some(mut part) = rest.pop() {
        if part.len() > 1 && leaf_len(&part) > capacity {
            rest.extend([middle(&part)].map(|at| part.split_off(&at)));
            rest.push(part);
        } else {
            right.push(part);
        }
    }
    if leaf_len(entries) > capacity && entries.len() > 1 {
        right.splice(..0, cut(entries, capacity));
    }
    right
}

/// The key at which a leaf is cut so that its longer part is as short as can be.
fn middle<const K: usize>(entries: &Leaf<K>) -> OrderedKey<K> {
    let first: Vec<usize> = lengths(entries.values(), K).collect();
    let mut last: Vec<usize> = lengths(entries.values().rev(), K).collect();
    last.reverse();
    let cuts = entries.keys().skip(1).zip(first.iter().zip(&last[1..]));
    cuts.min_by_key(|(_, (left, right))| *left.max(right)).map_or([0xFF; K], |(key, _)| *key)
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
