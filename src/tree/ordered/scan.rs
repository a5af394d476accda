//! Reading an ordered tree: a range of it, a pointer on the way to a key, what a page points to.

use std::ops::ControlFlow;

use super::node::{
    Child, INTERIOR, LEAF, OrderedNode, Place, Value, child_len, decode_child, decode_entry,
};
use crate::codec::Decoder;
use crate::error::Result;
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
            if page.first() == Some(&LEAF) {
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
            let each = |(key, value): (&OrderedKey<K>, &Value)| entry(key, value);
            if range.descending {
                first_break(within.rev().map(each))
            } else {
                first_break(within.map(each))
            }
        }
        OrderedNode::Interior(children) => {
            let from = children.partition_point(|c| c.first <= *range.low).saturating_sub(1);
            let to = children.partition_point(|c| c.first <= *range.high);
            let within = children[from.min(to)..to].iter();
            let each = |child: &Child<K>| scan_link(pages, place, &child.link, range, entry);
            if range.descending {
                first_break(within.rev().map(each))
            } else {
                first_break(within.map(each))
            }
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

/// What a stored page of an ordered tree with keys of `K` bytes points to; `leaf` says what an
/// entry does.
pub(in crate::tree) fn edges<const K: usize>(
    spot: &Spot,
    page: &[u8],
    mut leaf: impl FnMut(OrderedKey<K>, &[u8]) -> Result<Option<Edge>>,
) -> Result<Vec<Edge>> {
    let mut d = Decoder::new(page, "page of an ordered tree");
    let kind = d.u8()?;
    let mut edges = Vec::new();
    for _ in 0..d.u16()? {
        if kind == INTERIOR {
            if let Link::Stored(at) = decode_child::<K>(&mut d)?.link {
                edges.push(Edge::Page { spot: spot.clone(), at });
            }
        } else {
            let (key, value) = decode_entry(&mut d)?;
            edges.extend(leaf(key, value)?);
        }
    }
    Ok(edges)
}
