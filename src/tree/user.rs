//! What is kept of one user: the name, the classes with their trees, the fences, the links of
//! records, the history, the holds, the plans, the policies, the inbox, the grants.
//!
//! ```text
//! user page = 2 ‖ flags 1 ‖ incarnation v ‖ created v ‖ [due v] ‖ [openings v] ‖ name len v ‖ name
//!             ‖ fence key 32
//!             ‖ [trees 2 ‖ [fences: ref 48] ‖ [links: ref 48] ‖ [history: ref 48]
//!             ‖ [holds: ref 48] ‖ [marks: ref 48]
//!             ‖ [plans: ref 48] ‖ [policies: ref 48] ‖ [inbox: ref 48] ‖ [grants: ref 48]]
//!             ‖ classes 1
//!             ‖ (class tag 6 ‖ name len 1 ‖ name ‖ (records v ‖ ref 48 | 0 ‖ leaf) ‖ [labels])*
//!             flags: 1 due, 2 openings, 4 trees, 8 labels: what is missing is 0, or none
//! labels    = form 1 ‖ [names: ref 48 | leaf] ‖ [labels: ref 48 | leaf]
//!             form: 1 names, 2 they are a leaf, 4 labels, 8 they are a leaf
//!             trees: bits 1, 2, 4, 8, 16, 32, 64, 128, 256
//!             due: its entry in the agenda
//! ```
//! A class without records is not listed: its name falls with its last record. Unfinished uploads
//! are in classes of their own, `+` before the name (SPEC.md 5.6). A tree of a class
//! that is one short leaf is stored in the page, in place of a ref, as long as the page stays
//! short with it: most users have few records.

use std::sync::Arc;

use super::fences::Fences;
use super::geometry::Geometry;
use super::grants::Grants;
use super::history::History;
use super::holds::Holds;
use super::inbox::Inbox;
use super::labels::Labels;
use super::lineage::Lineage;
use super::link::{Editor, Node, Sink};
use super::names::Names;
use super::ordered::{Ordered, Place};
use super::page::{Page, PageKind, REF_BYTES, Ref, pad};
use super::plans::Plans;
use super::policies::Policies;
use super::spot::{ClassOf, Edge, Spot};
use crate::codec::{Decoder, Encoder, varint_len};
use crate::crypto::{self, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, Timestamp, UserId, UserTag};
use crate::limits::{
    CLASSES_MAX, SEAL_OVERHEAD, USER_MAX_BYTES, USER_PAGE_MAX_BYTES, USER_PAGE_SHORT_BYTES,
};

const VERSION: u8 = 2;
const DUE: u8 = 1;
const OPENINGS: u8 = 2;
const HAS_TREES: u8 = 4;
const HAS_LABELS: u8 = 8;
/// Of the labels of a class: which trees there are, and which of them are a leaf in the page.
const NAMES: u8 = 1;
const NAMES_WITHIN: u8 = 2;
const LABELS: u8 = 4;
const LABELS_WITHIN: u8 = 8;
const LABELS_WITHIN_PAGE: u8 = LABELS | LABELS_WITHIN;
/// Most plaintext bytes of a user page in which records stand.
const SHORT: usize = USER_PAGE_SHORT_BYTES - SEAL_OVERHEAD;
/// How many ordered trees may lie below a user page, besides those of its classes.
const TREES: usize = 9;

/// A user page, decoded.
#[derive(Debug)]
pub(crate) struct UserPage {
    pub(crate) user: UserId,
    pub(crate) incarnation: u16,
    pub(crate) created: Timestamp,
    /// When something is due for this user, at the earliest: its entry in the agenda.
    pub(crate) due: Option<Timestamp>,
    /// How many openings of records were recorded in this life, of erased ones too.
    pub(crate) openings: u64,
    pub(crate) fence_key: Key,
    pub(crate) fences: Fences,
    pub(crate) lineage: Lineage,
    pub(crate) history: History,
    pub(crate) holds: Holds,
    pub(crate) plans: Plans,
    pub(crate) policies: Policies,
    pub(crate) inbox: Inbox,
    pub(crate) grants: Grants,
    pub(crate) classes: Vec<ClassSlot>,
}

/// A class of a user.
#[derive(Debug)]
pub(crate) struct ClassSlot {
    pub(crate) tag: ClassTag,
    pub(crate) class: Class,
    pub(crate) records: u64,
    pub(crate) tree: Ordered,
    pub(crate) labels: Labels,
}

impl ClassSlot {
    /// Whether some tree of it is stored in the user page.
    fn has_leaf_within(&self) -> bool {
        let Labels { tree, names } = &self.labels;
        self.tree.leaf().is_some() || names.leaf().is_some() || tree.leaf().is_some()
    }

    fn new(tag: ClassTag, class: Class) -> Self {
        ClassSlot { tag, class, records: 0, tree: Ordered::default(), labels: Labels::default() }
    }
}

/// The place of a class's pages.
pub(crate) fn class_place(owner: UserTag) -> Place {
    Place { kind: PageKind::Class, owner: Some(owner) }
}

/// Where the trees below a user page are stored.
#[derive(Default)]
struct TreeRefs {
    fences: Option<Ref>,
    lineage: Option<Ref>,
    history: Option<Ref>,
    holds: Option<Ref>,
    marks: Option<Ref>,
    plans: Option<Ref>,
    policies: Option<Ref>,
    inbox: Option<Ref>,
    grants: Option<Ref>,
}

impl TreeRefs {
    /// Each of them, in the order of their bits: the one place that knows it.
    fn each(&mut self) -> [(PageKind, &mut Option<Ref>); TREES] {
        [
            (PageKind::Fences, &mut self.fences),
            (PageKind::Lineage, &mut self.lineage),
            (PageKind::History, &mut self.history),
            (PageKind::Holds, &mut self.holds),
            (PageKind::Marks, &mut self.marks),
            (PageKind::Plans, &mut self.plans),
            (PageKind::Policies, &mut self.policies),
            (PageKind::Inbox, &mut self.inbox),
            (PageKind::Grants, &mut self.grants),
        ]
    }

    fn is_empty(&mut self) -> bool {
        self.each().iter().all(|(_, at)| at.is_none())
    }

    fn encode(mut self, e: &mut Encoder) {
        let trees = self.each();
        e.u16(trees.iter().enumerate().map(|(n, (_, at))| u16::from(at.is_some()) << n).sum());
        trees.into_iter().filter_map(|(_, at)| at.as_ref()).for_each(|at| at.encode(e));
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let bits = d.u16()?;
        if bits >= 1 << TREES {
            return Err(d.bad());
        }
        let mut refs = TreeRefs::default();
        for (n, (_, at)) in refs.each().into_iter().enumerate() {
            *at = (bits & 1 << n != 0).then(|| Ref::decode(d)).transpose()?;
        }
        Ok(refs)
    }
}

/// A user page that was sealed.
pub(crate) struct SealedUser {
    pub(crate) at: Ref,
    /// What its slot says of it (see [`super::users::Slot::alone`]).
    pub(crate) alone: Option<u32>,
}

impl UserPage {
    pub(crate) fn new(user: UserId, incarnation: u16, created: Timestamp, fence_key: Key) -> Self {
        UserPage {
            user,
            incarnation,
            created,
            due: None,
            openings: 0,
            fence_key,
            fences: Fences::default(),
            lineage: Lineage::default(),
            history: History::default(),
            holds: Holds::default(),
            plans: Plans::default(),
            policies: Policies::default(),
            inbox: Inbox::default(),
            grants: Grants::default(),
            classes: Vec::new(),
        }
    }

    /// A user page without its classes, which are most of the work of reading it.
    pub(crate) fn decode_without_classes(page: &Page) -> Result<Self> {
        let (page, trees, _) = read_beginning(&mut Decoder::of_page(page, "user page"))?;
        Ok(page.with(trees))
    }

    /// The same page with its trees.
    fn with(mut self, trees: TreeRefs) -> Self {
        self.fences.tree = Ordered::stored(trees.fences);
        self.lineage.tree = Ordered::stored(trees.lineage);
        self.history.tree = Ordered::stored(trees.history);
        self.holds.tree = Ordered::stored(trees.holds);
        self.holds.marks = Ordered::stored(trees.marks);
        self.plans.tree = Ordered::stored(trees.plans);
        self.policies.tree = Ordered::stored(trees.policies);
        self.inbox.tree = Ordered::stored(trees.inbox);
        self.grants.tree = Ordered::stored(trees.grants);
        self
    }

    pub(crate) fn class_tag(&self, class: &Class) -> ClassTag {
        crypto::class_tag(&self.fence_key, class.as_str())
    }

    /// The slot of a class, by its tag, made if it is not there.
    pub(crate) fn class_mut(&mut self, tag: ClassTag, class: &Class) -> Result<&mut ClassSlot> {
        let at = match self.classes.binary_search_by_key(&tag, |c| c.tag) {
            Ok(at) => at,
            Err(_) if self.classes.len() == CLASSES_MAX => {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!(
                        "this user holds records in {CLASSES_MAX} classes already; use one of \
                        them or erase one"
                    ),
                ));
            }
            Err(at) => {
                self.classes.insert(at, ClassSlot::new(tag, class.clone()));
                at
            }
        };
        Ok(&mut self.classes[at])
    }

    /// Reads the root of a class's records, which are about to be changed.
    pub(crate) fn load_class(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        tag: ClassTag,
    ) -> Result<()> {
        match self.classes.binary_search_by_key(&tag, |c| c.tag) {
            Ok(at) => self.classes[at].tree.load(editor, class_place(owner)),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn class(&self, tag: ClassTag) -> Option<&ClassSlot> {
        self.classes.binary_search_by_key(&tag, |c| c.tag).ok().map(|at| &self.classes[at])
    }

    /// The number of records in each class, unfinished uploads not among them.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&Class, u64)> {
        self.classes.iter().filter(|c| !c.class.is_of_uploads()).map(|c| (&c.class, c.records))
    }

    /// What the class with this tag is called, as long as it holds records or unfinished uploads.
    pub(super) fn class_name(&self, tag: ClassTag) -> Option<Class> {
        let is_it = |slot: &&ClassSlot| slot.tag == tag || self.fenced_as(slot) == tag;
        let slot = self.classes.iter().find(is_it)?;
        Some(slot.class.to_become().unwrap_or_else(|| slot.class.clone()))
    }

    pub(crate) fn records(&self) -> u64 {
        self.counts().map(|(_, records)| records).sum()
    }

    /// The class under which fences name what is in a slot: unfinished uploads are fenced with the
    /// class of what they are to become.
    pub(crate) fn fenced_as(&self, slot: &ClassSlot) -> ClassTag {
        slot.class.to_become().map_or(slot.tag, |class| self.class_tag(&class))
    }

    /// Seals the page and its trees.
    pub(crate) fn seal(
        self,
        owner: UserTag,
        geometry: Geometry,
        sink: &mut dyn Sink,
    ) -> Result<SealedUser> {
        let records = u32::try_from(self.records()).ok().filter(|_| self.due.is_none());
        let capacity = USER_PAGE_MAX_BYTES - SEAL_OVERHEAD;
        let mut trees = TreeRefs {
            fences: self.fences.tree.seal(Fences::place(owner), geometry, sink)?,
            lineage: self.lineage.tree.seal(Lineage::place(owner), geometry, sink)?,
            history: self.history.tree.seal(History::place(owner), geometry, sink)?,
            holds: self.holds.tree.seal(Holds::place(owner), geometry, sink)?,
            marks: self.holds.marks.seal(Holds::marks_place(owner), geometry, sink)?,
            plans: self.plans.tree.seal(Plans::place(owner), geometry, sink)?,
            policies: self.policies.tree.seal(Policies::place(Some(owner)), geometry, sink)?,
            inbox: self.inbox.tree.seal(Inbox::place(owner), geometry, sink)?,
            grants: self.grants.tree.seal(Grants::place(owner), geometry, sink)?,
        };
        let followed = trees.lineage.is_some() || trees.holds.is_some() || trees.marks.is_some();
        let alone = records.filter(|_| !followed);
        let mut e = Encoder::new(capacity);
        let due = self.due.map_or(0, |due| due.0);
        let flag = |flag, is: bool| if is { flag } else { 0 };
        e.u8(VERSION).u8(flag(DUE, due > 0)
            | flag(OPENINGS, self.openings > 0)
            | flag(HAS_TREES, !trees.is_empty())
            | flag(HAS_LABELS, self.classes.iter().any(|slot| !slot.labels.is_empty())));
        e.varint(self.incarnation.into()).varint(self.created.0);
        for number in [due, self.openings].into_iter().filter(|number| *number > 0) {
            e.varint(number);
        }
        let name = self.user.as_str().as_bytes();
        e.varint(name.len() as u64).bytes(name).bytes(self.fence_key.bytes());
        if !trees.is_empty() {
            trees.encode(&mut e);
        }
        write_classes(self.classes, &mut e, owner, geometry, sink)?;
        pad(PageKind::User, &mut e, capacity);
        Ok(SealedUser { at: sink.seal(PageKind::User, Some(owner), e.finish())?, alone })
    }
}

/// Room for leaves in a user page, each in the place of a pointer.
struct Room {
    /// Bytes of the page so far: what is still to be written counts in its shorter form.
    len: usize,
    /// Whether it takes leaves at all.
    is_short: bool,
}

impl Room {
    /// In a page whose other parts have so many bytes, for trees by the lengths of their pointers
    /// and leaves.
    fn new(others: usize, trees: impl Iterator<Item = (usize, Option<usize>)>) -> Self {
        let shorter = |(at, leaf): (usize, Option<usize>)| leaf.map_or(at, |leaf| leaf.min(at));
        let len = others + trees.map(shorter).sum::<usize>();
        Room { len, is_short: len <= SHORT }
    }

    /// Whether a leaf comes in, in the place of a pointer of `at` bytes.
    fn takes(&mut self, leaf: usize, at: usize) -> bool {
        let longer = self.len + leaf.saturating_sub(at);
        let takes = self.is_short && longer <= SHORT;
        if takes {
            self.len = longer;
        }
        takes
    }
}

/// Bytes of the number of a class's records and the pointer to them.
fn records_len(slot: &ClassSlot) -> usize {
    varint_len(slot.records) + REF_BYTES
}

/// The trees that a class has: bytes of the pointer, and of the leaf if there is one that may be
/// short enough; those of the leaf of its records are known.
fn trees_of(
    slot: &ClassSlot,
    records: Option<usize>,
) -> impl Iterator<Item = (usize, Option<usize>)> {
    let Labels { tree, names } = &slot.labels;
    let records = (records_len(slot), records);
    let names = (!names.is_empty()).then(|| (REF_BYTES, names.leaf().map(|leaf| leaf.len())));
    let labels = tree.root.is_some().then(|| (REF_BYTES, tree.leaf().map(|leaf| leaf.len())));
    std::iter::once(records).chain(names).chain(labels)
}

/// Writes the classes, and seals the trees that are not stored in the page.
fn write_classes(
    mut classes: Vec<ClassSlot>,
    e: &mut Encoder,
    owner: UserTag,
    geometry: Geometry,
    sink: &mut dyn Sink,
) -> Result<()> {
    classes.retain(|slot| slot.tree.root.is_some());
    let labelled = classes.iter().any(|slot| !slot.labels.is_empty());
    let named = |slot: &ClassSlot| 7 + slot.class.as_str().len() + usize::from(labelled);
    let others = e.len() + 1 + classes.iter().map(named).sum::<usize>();
    let leaf_len = |slot: &ClassSlot| Some(1 + slot.tree.leaf()?.len_within(SHORT)?);
    let leaves: Vec<Option<usize>> = classes.iter().map(leaf_len).collect();
    let trees = classes.iter().zip(&leaves).flat_map(|(slot, leaf)| trees_of(slot, *leaf));
    let mut room = Room::new(others, trees);
    e.u8(classes.len() as u8);
    for (slot, leaf) in classes.into_iter().zip(leaves) {
        e.bytes(&slot.tag.0).short(slot.class.as_str().as_bytes());
        let is_within = leaf.is_some_and(|leaf| room.takes(leaf, records_len(&slot)));
        match slot.tree.leaf().filter(|_| is_within) {
            Some(leaf) => leaf.write(e.u8(0)),
            None => {
                if let Some(at) = slot.tree.seal(class_place(owner), geometry, sink)? {
                    at.encode(e.varint(slot.records));
                }
            }
        }
        if labelled {
            write_labels(slot.labels, e, &mut room, owner, geometry, sink)?;
        }
    }
    Ok(())
}

/// Writes the two trees of labels of a class.
fn write_labels(
    labels: Labels,
    e: &mut Encoder,
    room: &mut Room,
    owner: UserTag,
    geometry: Geometry,
    sink: &mut dyn Sink,
) -> Result<()> {
    let Labels { tree, names } = labels;
    let names_here = names.leaf().is_some_and(|leaf| room.takes(leaf.len(), REF_BYTES));
    let labels_here = tree.leaf().is_some_and(|leaf| room.takes(leaf.len(), REF_BYTES));
    let flag = |flag, is: bool| if is { flag } else { 0 };
    e.u8(flag(NAMES, !names.is_empty())
        | flag(NAMES_WITHIN, names_here)
        | flag(LABELS, tree.root.is_some())
        | flag(LABELS_WITHIN, labels_here));
    match names.leaf().filter(|_| names_here) {
        Some(leaf) => leaf.write(e),
        None => {
            if let Some(at) = names.seal(owner, geometry, sink)? {
                at.encode(e);
            }
        }
    }
    match tree.leaf().filter(|_| labels_here) {
        Some(leaf) => leaf.write(e),
        None => {
            if let Some(at) = tree.seal(Labels::place(owner), geometry, sink)? {
                at.encode(e);
            }
        }
    }
    Ok(())
}

impl Node for UserPage {
    fn decode(page: &Page) -> Result<Self> {
        let (page, trees) = read(page)?;
        Ok(page.with(trees))
    }
}

/// A stored user page up to its classes, where its trees are, and whether classes have labels.
fn read_beginning(d: &mut Decoder<'_>) -> Result<(UserPage, TreeRefs, bool)> {
    if d.u8()? != VERSION {
        return Err(d.bad());
    }
    let flags = d.u8()?;
    if flags & !(DUE | OPENINGS | HAS_TREES | HAS_LABELS) != 0 {
        return Err(d.bad());
    }
    let incarnation = u16::try_from(d.varint()?).map_err(|_| d.bad())?;
    let created = Timestamp(d.varint()?);
    let number = |d: &mut Decoder<'_>, flag| match flags & flag {
        0 => Ok(0),
        _ => d.varint().and_then(|n| if n > 0 { Ok(n) } else { Err(d.bad()) }),
    };
    let due = Some(Timestamp(number(d, DUE)?)).filter(|due| due.0 > 0);
    let openings = number(d, OPENINGS)?;
    let len = usize::try_from(d.varint()?).ok().filter(|len| *len <= USER_MAX_BYTES);
    let name = d.bytes(len.ok_or_else(|| d.bad())?)?;
    let user = UserId::new(as_text(name)?).map_err(|_| bad())?;
    let fence_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
    let mut trees = match flags & HAS_TREES {
        0 => TreeRefs::default(),
        _ => TreeRefs::decode(d)?,
    };
    if trees.is_empty() && flags & HAS_TREES != 0 {
        return Err(d.bad());
    }
    let page = UserPage { due, openings, ..UserPage::new(user, incarnation, created, fence_key) };
    Ok((page, trees, flags & HAS_LABELS != 0))
}

/// A stored user page without its trees, and where they are.
fn read(encoded: &Page) -> Result<(UserPage, TreeRefs)> {
    let mut d = Decoder::of_page(encoded, "user page");
    let (page, trees, labelled) = read_beginning(&mut d)?;
    let mut classes: Vec<ClassSlot> = Vec::new();
    let mut within = false;
    for _ in 0..d.u8()? {
        let slot = read_class(&mut d, labelled)?;
        within |= slot.has_leaf_within();
        if classes.last().is_some_and(|last| last.tag >= slot.tag) || classes.len() == CLASSES_MAX {
            return Err(d.bad());
        }
        classes.push(slot);
    }
    let unlabelled = labelled && classes.iter().all(|slot| slot.labels.is_empty());
    if within && encoded.len() - d.left() > SHORT || unlabelled {
        return Err(d.bad());
    }
    d.end_padding()?;
    Ok((UserPage { classes, ..page }, trees))
}

fn as_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| bad())
}

fn bad() -> Error {
    Decoder::new(&[], "user page").bad()
}

fn read_class(d: &mut Decoder<'_>, labelled: bool) -> Result<ClassSlot> {
    let tag = ClassTag(d.array()?);
    let class = Class::stored(as_text(d.short()?)?).map_err(|_| bad())?;
    let (records, tree) = match d.varint()? {
        0 => {
            let tree: Ordered = Ordered::read_within(d, PageKind::Class)?;
            (tree.leaf().map_or(0, |leaf| leaf.count()), tree)
        }
        records => (records, Ordered::stored(Some(Ref::decode(d)?))),
    };
    let labels = if labelled { read_labels(d)? } else { Labels::default() };
    Ok(ClassSlot { tag, class, records, tree, labels })
}

fn read_labels(d: &mut Decoder<'_>) -> Result<Labels> {
    let form = d.u8()?;
    let names = match form & (NAMES | NAMES_WITHIN) {
        0 => Names::default(),
        NAMES => Names::stored(Ref::decode(d)?),
        NAMES_WITHIN => return Err(d.bad()),
        _ => Names::read_within(d)?,
    };
    let tree = match form & !(NAMES | NAMES_WITHIN) {
        // A name is in a label.
        0 if form == 0 => Ordered::default(),
        LABELS => Ordered::stored(Some(Ref::decode(d)?)),
        LABELS_WITHIN_PAGE => Ordered::read_within(d, PageKind::Labels)?,
        _ => return Err(d.bad()),
    };
    Ok(Labels { tree, names })
}

/// What a stored user page points to.
pub(super) fn edges(owner: UserTag, page: &Page) -> Result<Vec<Edge>> {
    let (page, mut trees) = read(page)?;
    let mut edges = Vec::new();
    for slot in page.classes {
        let class = Arc::new(ClassOf {
            #[cfg(feature = "testing")]
            user: page.user.clone(),
            owner,
            incarnation: page.incarnation,
            class: slot.class,
            tag: slot.tag,
        });
        if let Some(leaf) = slot.tree.leaf() {
            let here = leaf.entries();
            edges.extend(here.map(|(key, entry)| Edge::Record {
                of: Arc::clone(&class),
                key,
                entry,
            }));
        }
        let spot = |kind, class| Spot { kind, owner: Some(owner), class };
        let Labels { tree: labels, names } = slot.labels;
        let trees = [
            (spot(PageKind::Class, Some(class)), slot.tree.into_stored()),
            (spot(PageKind::Names, None), names.into_stored()),
            (spot(PageKind::Labels, None), labels.into_stored()),
        ];
        let stored = trees.into_iter().filter_map(|(spot, at)| Some((spot, at?)));
        edges.extend(stored.map(|(spot, at)| Edge::Page { spot, at }));
    }
    for (kind, at) in trees.each() {
        let spot = Spot { kind, owner: Some(owner), class: None };
        edges.extend(at.take().map(|at| Edge::Page { spot, at }));
    }
    Ok(edges)
}
