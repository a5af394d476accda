//! Reading an ordered tree: a range of it, a pointer on the way to a key, what a page points to.

use std::ops::ControlFlow;

use super::node::{Child, INTERIOR, LEAF, LISTING, OrderedNode, Place, child_len, decode_child};
use super::value::{Texts, Value, joined};
use crate::codec::Decoder;
use crate::error::Result;
use crate::ids::BlobName;
use crate::secret::Secret;
use crate::tree::keys::OrderedKey;
use crate::tree::link::{Link, Node, Pages};
use crate::tree::page::Ref;
use crate::tree::spot::{Edge, Spot};

/// The keys to scan, and in which order.
#[derive(Clone, Copy)]
pub(crate) struct Range<'k, const K: usize = 20> {
    pub(crate) low: &'k OrderedKey<K>,
    pub(crate) high: &'k OrderedKey<K>,
    pub(crate) descending: bool,
}

/// Callback of [`Ordered::scan`]: sees each entry, and may end the scan.
pub(crate) type Entries<'e, const K: usize = 20> =
    dyn FnMut(&OrderedKey<K>, &[u8]) -> Result<ControlFlow<()>> + 'e;

/// Callback of [`Ordered::scan_ranges`]: sees each entry.
pub(crate) type EachEntry<'e, const K: usize = 20> =
    dyn FnMut(&OrderedKey<K>, &[u8]) -> Result<()> + 'e;

pub(super) fn scan_link<const K: usize>(
    pages: &dyn Pages,
    place: Place,
    link: &Link<OrderedNode<K>>,
    range: &Range<'_, K>,
    entry: &mut Entries<'_, K>,
) -> Result<ControlFlow<()>> {
    match link {
        Link::Stored(at) => {
            let page = pages.load(place.kind, place.owner, at)?;
            if range.low == range.high && page.first() == Some(&INTERIOR) {
                return match child_of(&page, range.low)? {
                    Some(child) => scan_link(pages, place, &Link::Stored(child), range, entry),
                    None => Ok(ControlFlow::Continue(())),
                };
            }
            if let Some(&kind @ (LEAF | LISTING)) = page.first() {
                if (kind == LISTING) != place.kind.lists_texts() {
                    return Err(Decoder::new(&page, "page of an ordered tree").bad());
                }
                return scan_leaf(&page, range, entry);
            }
            scan_node(pages, place, &OrderedNode::decode(&page)?, range, entry)
        }
        Link::Loaded(node) => scan_node(pages, place, node, range, entry),
    }
}

/// The pointer that leads to `key`, found without decoding the page.
fn child_of<const K: usize>(page: &[u8], key: &OrderedKey<K>) -> Result<Option<Ref>> {
    let mut d = Decoder::new(page, "page of an ordered tree");
    d.u8()?;
    let count = usize::from(d.u16()?);
    let len = child_len(K);
    let entries = d.bytes(count * len)?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if entries[middle * len..][..K] <= key[..] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let Some(i) = low.checked_sub(1) else {
        return Ok(None);
    };
    let mut d = Decoder::new(&entries[i * len + K + 8..(i + 1) * len], "page of an ordered tree");
    Ref::decode(&mut d).map(Some)
}

fn scan_leaf<const K: usize>(
    page: &[u8],
    range: &Range<'_, K>,
    entry: &mut Entries<'_, K>,
) -> Result<ControlFlow<()>> {
    let mut leaf = StoredLeaf::read(page)?;
    let mut within = Vec::new();
    while let Some((key, value)) = leaf.next()? {
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
        let mut room = None;
        if entry(&key, value.alone(&mut room))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// A stored leaf, read from its first entry to its last.
struct StoredLeaf<'p> {
    d: Decoder<'p>,
    texts: Option<Texts<&'p [u8]>>,
    left: u16,
}

/// A value where it is in a leaf.
struct StoredValue<'p> {
    texts: Option<[&'p [u8]; 2]>,
    rest: &'p [u8],
}

impl<'p> StoredLeaf<'p> {
    fn read(page: &'p [u8]) -> Result<Self> {
        let mut d = Decoder::new(page, "page of an ordered tree");
        let (kind, left) = (d.u8()?, d.u16()?);
        let texts = if kind == LISTING { Some(Texts::read(&mut d, Decoder::short)?) } else { None };
        Ok(StoredLeaf { d, texts, left })
    }

    fn next<const K: usize>(&mut self) -> Result<Option<(OrderedKey<K>, StoredValue<'p>)>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let key = self.d.array()?;
        let texts = match &mut self.texts {
            None => None,
            Some(texts) => Some([*texts.take(&mut self.d)?, *texts.take(&mut self.d)?]),
        };
        let len = usize::from(self.d.u16()?);
        Ok(Some((key, StoredValue { texts, rest: self.d.bytes(len)? })))
    }
}

impl<'p> StoredValue<'p> {
    /// See [`Value::alone`].
    fn alone<'v>(&self, room: &'v mut Option<Secret>) -> &'v [u8]
    where
        'p: 'v,
    {
        match self.texts {
            None => self.rest,
            Some(texts) => &*room.insert(joined(texts, self.rest)),
        }
    }
}

fn scan_node<const K: usize>(
    pages: &dyn Pages,
    place: Place,
    node: &OrderedNode<K>,
    range: &Range<'_, K>,
    entry: &mut Entries<'_, K>,
) -> Result<ControlFlow<()>> {
    match node {
        OrderedNode::Leaf(entries) => {
            let within = entries.range(*range.low..=*range.high);
            let each = |(key, value): (&OrderedKey<K>, &Value)| entry(key, value.alone(&mut None));
            if range.descending {
                first_break(within.rev().map(each))
            } else {
                first_break(within.map(each))
            }
        }
        OrderedNode::Interior(children) => {
            let from = children.partition_point(|c| c.first <= *range.low).saturating_sub(1);
            let to = children.partition_point(|c| c.first <= *range.high);
            let within = &children[from.min(to)..to];
            let mut each = |n: usize| {
                if range.descending {
                    pages.soon(&mut within[..=n].iter().rev().filter_map(stored_name));
                } else {
                    pages.soon(&mut within[n..].iter().filter_map(stored_name));
                }
                scan_link(pages, place, &within[n].link, range, entry)
            };
            if range.descending {
                first_break((0..within.len()).rev().map(&mut each))
            } else {
                first_break((0..within.len()).map(&mut each))
            }
        }
    }
}

/// The name of a child that is stored.
fn stored_name<const K: usize>(child: &Child<K>) -> Option<BlobName> {
    match &child.link {
        Link::Stored(at) => Some(at.name),
        Link::Loaded(_) => None,
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

/// Shows the entries in several ranges, which ascend and have nothing in common.
pub(super) fn scan_ranges<const K: usize>(
    pages: &dyn Pages,
    place: Place,
    link: &Link<OrderedNode<K>>,
    ranges: &[(OrderedKey<K>, OrderedKey<K>)],
    entry: &mut EachEntry<'_, K>,
) -> Result<()> {
    let at = match link {
        Link::Loaded(node) => return scan_node_ranges(pages, place, node, ranges, entry),
        Link::Stored(at) => at,
    };
    let page = pages.load(place.kind, place.owner, at)?;
    let Some(&kind @ (LEAF | LISTING)) = page.first() else {
        return scan_node_ranges(pages, place, &OrderedNode::decode(&page)?, ranges, entry);
    };
    if (kind == LISTING) != place.kind.lists_texts() {
        return Err(Decoder::new(&page, "page of an ordered tree").bad());
    }
    let (mut leaf, mut ranges) = (StoredLeaf::read(&page)?, ranges);
    while let Some((key, value)) = leaf.next()? {
        if is_in_first(&mut ranges, &key) {
            entry(&key, value.alone(&mut None))?;
        }
    }
    Ok(())
}

fn scan_node_ranges<const K: usize>(
    pages: &dyn Pages,
    place: Place,
    node: &OrderedNode<K>,
    mut ranges: &[(OrderedKey<K>, OrderedKey<K>)],
    entry: &mut EachEntry<'_, K>,
) -> Result<()> {
    let children = match node {
        OrderedNode::Interior(children) => children,
        OrderedNode::Leaf(entries) => {
            for (key, value) in entries.iter() {
                if is_in_first(&mut ranges, key) {
                    entry(key, value.alone(&mut None))?;
                }
            }
            return Ok(());
        }
    };
    let mut parts = Vec::new();
    for (n, child) in children.iter().enumerate() {
        let from = match n {
            0 => 0,
            _ => ranges.partition_point(|(_, high)| *high < child.first),
        };
        let to = match children.get(n + 1) {
            Some(next) => ranges.partition_point(|(low, _)| *low < next.first),
            None => ranges.len(),
        };
        if from < to {
            parts.push((child, &ranges[from..to]));
        }
    }
    for (n, (child, ranges)) in parts.iter().enumerate() {
        pages.soon(&mut parts[n..].iter().filter_map(|(child, _)| stored_name(child)));
        scan_ranges(pages, place, &child.link, ranges, entry)?;
    }
    Ok(())
}

/// Whether a key is in the first range that does not end before it; ranges that do are dropped.
fn is_in_first<const K: usize>(
    ranges: &mut &[(OrderedKey<K>, OrderedKey<K>)],
    key: &OrderedKey<K>,
) -> bool {
    while let [(_, high), rest @ ..] = *ranges
        && high < key
    {
        *ranges = rest;
    }
    ranges.first().is_some_and(|(low, _)| low <= key)
}

/// What a stored page of an ordered tree with keys of `K` bytes points to; `leaf` says what an
/// entry does.
pub(in crate::tree) fn edges<const K: usize>(
    spot: &Spot,
    page: &[u8],
    mut leaf: impl FnMut(OrderedKey<K>, &[u8]) -> Result<Option<Edge>>,
) -> Result<Vec<Edge>> {
    let mut edges = Vec::new();
    if page.first() != Some(&INTERIOR) {
        let mut stored = StoredLeaf::read(page)?;
        while let Some((key, value)) = stored.next()? {
            edges.extend(leaf(key, value.alone(&mut None))?);
        }
        return Ok(edges);
    }
    let mut d = Decoder::new(page, "page of an ordered tree");
    d.u8()?;
    for _ in 0..d.u16()? {
        if let Link::Stored(at) = decode_child::<K>(&mut d)?.link {
            edges.push(Edge::Page { spot: spot.clone(), at });
        }
    }
    Ok(edges)
}
