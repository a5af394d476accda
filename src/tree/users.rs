//! The user tree: a wide radix tree over user tags. Its shape is a function of the set of tags in
//! it.
//!
//! ```text
//! interior = 1 ‖ count 2 ‖ (digit 2 ‖ ref 48)*          digits ascending
//! leaf     = 2 ‖ count 2 ‖ (tag 12 ‖ incarnation 2 ‖ state 1 ‖ ref 48 ‖ records 4, or epoch 8
//!            ‖ zeros 44)*   tags ascending
//! ```
//! A slot says how many records its user has, and by its state whether an erase must look at
//! anything below it; so most users are erased without reading their page. A slot of an erased user
//! is a fence: its tag, which is keyed, and the epoch of the erase; the name is gone. So is that of
//! a name that was erased before any user had it. If only a part of such a name was erased, the
//! slot points to the fences of its life to come.

use std::ops::ControlFlow;

use super::entries::{Entries, Entry, search};
use super::geometry::Geometry;
use super::link::{Editor, Link, Node, Pages, Sink};
use super::page::{Page, PageKind, REF_BYTES, Ref, pad};
use super::spot::{Edge, Spot};
use super::unborn::Unborn;
use super::user::{SealedUser, UserPage};
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, UserTag};

const INTERIOR: u8 = 1;
const LEAF: u8 = 2;
const LIVE: u8 = 1;
const ERASED: u8 = 2;
/// Live, without holds, links or a due date: an erase need not read the user's page.
const ALONE: u8 = 3;
/// No user yet, and parts of the life to come were erased.
const UNBORN: u8 = 4;
/// Bytes after the state.
const BODY_LEN: usize = REF_BYTES + 4;
const SLOT_LEN: usize = 12 + 2 + 1 + BODY_LEN;
const TAG_BITS: u32 = 96;

fn leaf_capacity(geometry: Geometry) -> usize {
    (geometry.capacity() - 3) / SLOT_LEN
}

/// The depth of a leaf that no digit of a tag splits any more.
fn deepest(geometry: Geometry) -> u32 {
    TAG_BITS / u32::from(geometry.fan_bits)
}

fn digit(tag: UserTag, depth: u32, geometry: Geometry) -> u16 {
    let mut bits = [0; 16];
    bits[..12].copy_from_slice(&tag.0);
    let bits_per = u32::from(geometry.fan_bits);
    let all = u128::from_be_bytes(bits);
    ((all << (depth * bits_per)) >> (128 - bits_per)) as u16
}

/// A page of the user tree.
#[derive(Debug)]
pub(crate) struct UsersNode(NodeBody);

#[derive(Debug)]
enum NodeBody {
    /// By the tag's next digit.
    Interior(Entries<2, Link<UsersNode>>),
    Leaf(Entries<12, Slot>),
}

/// What a leaf of the user tree holds of one user.
#[derive(Debug)]
pub(crate) struct Slot {
    /// How many times this name was created, from 1.
    pub(crate) incarnation: u16,
    pub(crate) state: SlotState,
    /// Number of records of a stored user without holds, without links to or from other records and
    /// without an entry in the agenda.
    pub(crate) alone: Option<u32>,
}

impl Slot {
    /// The slot of a user who comes to life.
    pub(crate) fn new(incarnation: u16, page: UserPage) -> Self {
        Slot { incarnation, state: SlotState::Live(Link::Loaded(Box::new(page))), alone: None }
    }

    /// The slot of a name that was erased before any user had it: its first life is over.
    pub(crate) fn never_here(epoch: u64) -> Self {
        Slot { incarnation: 1, state: SlotState::Erased { epoch }, alone: None }
    }

    /// The slot of a name that no user had yet, parts of whose first life were erased.
    pub(crate) fn unborn(unborn: Unborn) -> Self {
        Slot {
            incarnation: 1,
            state: SlotState::Unborn(Link::Loaded(Box::new(unborn))),
            alone: None,
        }
    }
}

/// What became of the user of a slot.
#[derive(Debug)]
pub(crate) enum SlotState {
    Live(Link<UserPage>),
    Unborn(Link<Unborn>),
    Erased { epoch: u64 },
}

/// What a reader finds in a slot. *Unborn*: no user yet, and fences for a life to come.
#[derive(Debug)]
pub(crate) enum Found {
    Live { incarnation: u16, page: Ref },
    Unborn { page: Ref },
    Erased { incarnation: u16, epoch: u64 },
    Absent,
}

impl Entry for Link<UsersNode> {
    const LEN: usize = REF_BYTES;

    fn check(d: &mut Decoder<'_>) -> Result<()> {
        d.bytes(REF_BYTES).map(|_| ())
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ref::decode(d).map(Link::Stored)
    }
}

fn zeros(d: &mut Decoder<'_>, n: usize) -> Result<()> {
    if d.bytes(n)?.iter().all(|&b| b == 0) { Ok(()) } else { Err(d.bad()) }
}

/// A slot as a page holds it: its pointer leads to a stored page.
struct StoredSlot {
    incarnation: u16,
    state: StoredState,
    alone: Option<u32>,
}

enum StoredState {
    Live(Ref),
    Unborn(Ref),
    Erased { epoch: u64 },
}

impl StoredSlot {
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let incarnation = d.u16()?;
        let (state, alone) = match d.u8()? {
            ALONE => (StoredState::Live(Ref::decode(d)?), Some(d.u32()?)),
            LIVE => {
                let page = Ref::decode(d)?;
                zeros(d, 4)?;
                (StoredState::Live(page), None)
            }
            UNBORN => {
                let page = Ref::decode(d)?;
                zeros(d, 4)?;
                (StoredState::Unborn(page), None)
            }
            ERASED => {
                let epoch = d.u64()?;
                zeros(d, BODY_LEN - 8)?;
                (StoredState::Erased { epoch }, None)
            }
            _ => return Err(d.bad()),
        };
        Ok(StoredSlot { incarnation, state, alone })
    }
}

impl Entry for Slot {
    const LEN: usize = SLOT_LEN - 12;

    fn check(d: &mut Decoder<'_>) -> Result<()> {
        d.u16()?;
        match d.u8()? {
            ALONE => d.bytes(BODY_LEN).map(|_| ()),
            LIVE | UNBORN => {
                d.bytes(REF_BYTES)?;
                zeros(d, 4)
            }
            ERASED => {
                d.u64()?;
                zeros(d, BODY_LEN - 8)
            }
            _ => Err(d.bad()),
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let StoredSlot { incarnation, state, alone } = StoredSlot::decode(d)?;
        let state = match state {
            StoredState::Live(page) => SlotState::Live(Link::Stored(page)),
            StoredState::Unborn(page) => SlotState::Unborn(Link::Stored(page)),
            StoredState::Erased { epoch } => SlotState::Erased { epoch },
        };
        Ok(Slot { incarnation, state, alone })
    }
}

/// Reads a stored slot and its tag.
fn decode_slot(d: &mut Decoder<'_>) -> Result<(UserTag, Found)> {
    let tag = UserTag(d.array()?);
    let StoredSlot { incarnation, state, .. } = StoredSlot::decode(d)?;
    let found = match state {
        StoredState::Live(page) => Found::Live { incarnation, page },
        StoredState::Unborn(page) => Found::Unborn { page },
        StoredState::Erased { epoch } => Found::Erased { incarnation, epoch },
    };
    Ok((tag, found))
}

impl Node for UsersNode {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "page of the user tree");
        let kind = d.u8()?;
        let count = usize::from(d.u16()?);
        let node = match kind {
            INTERIOR => NodeBody::Interior(Entries::read(page, &mut d, count)?),
            LEAF => NodeBody::Leaf(Entries::read(page, &mut d, count)?),
            _ => return Err(d.bad()),
        };
        d.end_padding()?;
        Ok(UsersNode(node))
    }
}

impl UsersNode {
    /// The tree without users.
    pub(crate) fn empty() -> Self {
        UsersNode(NodeBody::Leaf(Entries::default()))
    }

    /// The slot of `tag`, to be changed; the path to it will be rekeyed.
    pub(crate) fn slot_mut<'n>(
        &'n mut self,
        editor: &mut Editor<'_>,
        tag: UserTag,
    ) -> Result<Option<&'n mut Slot>> {
        self.slot_at(editor, tag, 0)
    }

    fn slot_at<'n>(
        &'n mut self,
        editor: &mut Editor<'_>,
        tag: UserTag,
        depth: u32,
    ) -> Result<Option<&'n mut Slot>> {
        match &mut self.0 {
            NodeBody::Leaf(slots) => slots.take(&tag.0),
            NodeBody::Interior(children) => match children
                .take(&digit(tag, depth, editor.geometry).to_be_bytes())?
            {
                None => Ok(None),
                Some(child) => {
                    child.load_mut(editor, PageKind::Users, None)?.slot_at(editor, tag, depth + 1)
                }
            },
        }
    }

    /// Adds a slot for a tag that has none.
    pub(crate) fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        tag: UserTag,
        slot: Slot,
    ) -> Result<()> {
        self.insert_at(editor, tag, slot, 0)
    }

    fn insert_at(
        &mut self,
        editor: &mut Editor<'_>,
        tag: UserTag,
        slot: Slot,
        depth: u32,
    ) -> Result<()> {
        match &mut self.0 {
            NodeBody::Interior(children) => {
                let digit = digit(tag, depth, editor.geometry).to_be_bytes();
                let child =
                    children.take_or_add(digit, || Link::Loaded(Box::new(UsersNode::empty())))?;
                child.load_mut(editor, PageKind::Users, None)?.insert_at(
                    editor,
                    tag,
                    slot,
                    depth + 1,
                )
            }
            NodeBody::Leaf(slots) => {
                slots.take_or_add(tag.0, || slot)?;
                if slots.len() <= leaf_capacity(editor.geometry) {
                    return Ok(());
                }
                if depth >= deepest(editor.geometry) {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        "too many users share 96 bits of their tags; this does not happen by chance",
                    ));
                }
                let slots = std::mem::take(slots);
                self.0 = NodeBody::Interior(Entries::default());
                for (tag, slot) in slots.into_all()? {
                    self.insert_at(editor, UserTag(tag), slot, depth)?;
                }
                Ok(())
            }
        }
    }

    fn seal(self, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
        let mut e = Encoder::new(geometry.capacity());
        match self.0 {
            NodeBody::Interior(children) => {
                e.u8(INTERIOR).count(children.len());
                children.encode(&mut e, |e, _, child| {
                    seal_users(child, geometry, sink)?.encode(e);
                    Ok(())
                })?;
            }
            NodeBody::Leaf(slots) => {
                e.u8(LEAF).count(slots.len());
                slots.encode(&mut e, |e, tag, slot| {
                    e.u16(slot.incarnation);
                    match slot.state {
                        SlotState::Live(page) => {
                            let SealedUser { at, alone } = match page {
                                Link::Stored(at) => SealedUser { at, alone: slot.alone },
                                Link::Loaded(page) => page.seal(UserTag(tag), geometry, sink)?,
                            };
                            e.u8(if alone.is_some() { ALONE } else { LIVE });
                            at.encode(e);
                            e.u32(alone.unwrap_or(0));
                        }
                        SlotState::Unborn(page) => {
                            let page = match page {
                                Link::Stored(at) => at,
                                Link::Loaded(page) => page.seal(UserTag(tag), geometry, sink)?,
                            };
                            e.u8(UNBORN);
                            page.encode(e);
                            e.u32(0);
                        }
                        SlotState::Erased { epoch } => {
                            e.u8(ERASED).u64(epoch).bytes(&[0; BODY_LEN - 8]);
                        }
                    }
                    Ok(())
                })?;
            }
        }
        pad(PageKind::Users, &mut e, geometry.capacity());
        sink.seal(PageKind::Users, None, e.finish())
    }
}

/// Seals every changed page below `link`, children first, and returns where it is now.
pub(crate) fn seal_users(
    link: Link<UsersNode>,
    geometry: Geometry,
    sink: &mut dyn Sink,
) -> Result<Ref> {
    match link {
        Link::Stored(at) => Ok(at),
        Link::Loaded(node) => node.seal(geometry, sink),
    }
}

/// What is in the slot of `tag`, below the stored page `root`.
pub(crate) fn find(
    pages: &dyn Pages,
    root: &Ref,
    geometry: Geometry,
    tag: UserTag,
) -> Result<Found> {
    let mut at: Option<Ref> = None;
    for depth in 0..=deepest(geometry) {
        let page = pages.load(PageKind::Users, None, at.as_ref().unwrap_or(root))?;
        let mut d = Decoder::new(&page, "page of the user tree");
        let kind = d.u8()?;
        let count = usize::from(d.u16()?);
        let (len, wanted): (usize, &[u8]) = if kind == INTERIOR {
            (2 + REF_BYTES, &digit(tag, depth, geometry).to_be_bytes())
        } else {
            (SLOT_LEN, &tag.0)
        };
        let entries = d.bytes(count * len)?;
        let Some(entry) = search(entries, len, wanted) else {
            return Ok(Found::Absent);
        };
        let mut d = Decoder::new(entry, "page of the user tree");
        if kind != INTERIOR {
            return Ok(decode_slot(&mut d)?.1);
        }
        d.u16()?;
        at = Some(Ref::decode(&mut d)?);
    }
    // No page that was written lies so deep.
    Err(Decoder::new(&[], "page of the user tree").bad())
}

/// Callback of [`visit`]: sees each slot, and may end the walk.
pub(crate) type Visitor<'v> = dyn FnMut(UserTag, Found) -> Result<ControlFlow<()>> + 'v;

/// Shows every slot after `after`, in the order of tags, one path in memory at a time.
pub(crate) fn visit(
    pages: &dyn Pages,
    root: &Ref,
    geometry: Geometry,
    after: Option<UserTag>,
    slot: &mut Visitor<'_>,
) -> Result<()> {
    visit_at(pages, root, geometry, after, 0, slot).map(|_| ())
}

fn visit_at(
    pages: &dyn Pages,
    at: &Ref,
    geometry: Geometry,
    after: Option<UserTag>,
    depth: u32,
    on_slot: &mut Visitor<'_>,
) -> Result<ControlFlow<()>> {
    let page = pages.load(PageKind::Users, None, at)?;
    let mut d = Decoder::new(&page, "page of the user tree");
    let kind = d.u8()?;
    for n in 0..d.u16()? {
        if kind == INTERIOR {
            let here = d.u16()?;
            let child = Ref::decode(&mut d)?;
            let first = after.map(|a| digit(a, depth, geometry));
            if first.is_some_and(|first| here < first) {
                continue;
            }
            let after = after.filter(|_| first == Some(here));
            pages.soon(&mut names_from(&page, n.into()));
            if visit_at(pages, &child, geometry, after, depth + 1, on_slot)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        } else {
            let (tag, found) = decode_slot(&mut d)?;
            if after.is_some_and(|a| tag <= a) {
                continue;
            }
            pages.soon(&mut names_from(&page, n.into()));
            if on_slot(tag, found)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The names of the pages that a page points to from its `n`th entry on.
fn names_from(page: &[u8], n: usize) -> impl Iterator<Item = BlobName> {
    let is_leaf = page.first() == Some(&LEAF);
    let (len, at) = if is_leaf { (SLOT_LEN, SLOT_LEN - BODY_LEN) } else { (2 + REF_BYTES, 2) };
    let count = page.get(1..3).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let entries = page.get(3..3 + usize::from(count) * len).unwrap_or_default();
    let points = move |entry: &&[u8]| !is_leaf || matches!(entry[at - 1], LIVE | ALONE);
    let name = move |entry: &[u8]| {
        let mut name = [0; 16];
        name.copy_from_slice(&entry[at..at + 16]);
        BlobName(name)
    };
    entries.chunks_exact(len).skip(n).filter(points).map(name)
}

/// The digits of tags by which a stored interior page parts what it points to; none of a leaf.
pub(crate) fn digits(page: &[u8]) -> Vec<u16> {
    let count = page.get(1..3).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let entries = match page.first() {
        Some(&INTERIOR) => page.get(3..3 + usize::from(count) * (2 + REF_BYTES)),
        _ => None,
    };
    let digit = |entry: &[u8]| u16::from_be_bytes([entry[0], entry[1]]);
    entries.unwrap_or_default().chunks_exact(2 + REF_BYTES).map(digit).collect()
}

/// What a stored page of the user tree points to.
pub(super) fn edges(page: &[u8]) -> Result<Vec<Edge>> {
    let mut d = Decoder::new(page, "page of the user tree");
    let kind = d.u8()?;
    let mut edges = Vec::new();
    for _ in 0..d.u16()? {
        if kind == INTERIOR {
            d.u16()?;
            edges.push(Edge::Page { spot: Spot::ROOT, at: Ref::decode(&mut d)? });
        } else {
            let (tag, found) = decode_slot(&mut d)?;
            let (kind, at) = match found {
                Found::Live { page, .. } => (PageKind::User, page),
                Found::Unborn { page } => (PageKind::Unborn, page),
                Found::Erased { .. } | Found::Absent => continue,
            };
            edges.push(Edge::Page { spot: Spot { kind, owner: Some(tag), class: None }, at });
        }
    }
    Ok(edges)
}
