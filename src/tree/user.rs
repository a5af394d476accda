//! What is kept of one user: the name, the classes with their trees, the fences, the links of
//! records, the history, the holds, the plans, the policies, the inbox, the grants.
//!
//! ```text
//! user page = 1 ‖ incarnation 2 ‖ created 8 ‖ due 8 ‖ openings 8 ‖ name len 2 ‖ name
//!             ‖ fence key 32
//!             ‖ trees 2 ‖ [fences: ref 48] ‖ [links: ref 48] ‖ [history: ref 48]
//!             ‖ [holds: ref 48] ‖ [marks: ref 48]
//!             ‖ [plans: ref 48] ‖ [policies: ref 48] ‖ [inbox: ref 48] ‖ [grants: ref 48]
//!             trees: bits 1, 2, 4, 8, 16, 32, 64, 128, 256
//!             due: its entry in the agenda, 0 for none
//!             ‖ classes 2 ‖ (class tag 6 ‖ name len 2 ‖ name ‖ records 8 ‖ ref 48)*
//! ```
//! A class without records is not listed: its name falls with its last record.

use std::sync::Arc;

use super::fences::Fences;
use super::geometry::Geometry;
use super::grants::Grants;
use super::history::History;
use super::holds::Holds;
use super::inbox::Inbox;
use super::lineage::Lineage;
use super::link::{Node, Sink};
use super::ordered::{Ordered, Place};
use super::page::{Page, PageKind, Ref, pad};
use super::plans::Plans;
use super::policies::Policies;
use super::spot::{ClassOf, Edge, Spot};
use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, Timestamp, UserId, UserTag};
use crate::limits::{
    CLASS_MAX_BYTES, CLASSES_MAX, SEAL_OVERHEAD, USER_MAX_BYTES, USER_PAGE_MAX_BYTES,
};

const VERSION: u8 = 1;
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

    pub(crate) fn class_tag(&self, class: &Class) -> ClassTag {
        crypto::class_tag(&self.fence_key, class.as_str())
    }

    /// The slot of a class, made if it is not there.
    pub(crate) fn class_mut(&mut self, class: &Class) -> Result<&mut ClassSlot> {
        let tag = self.class_tag(class);
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
                let slot =
                    ClassSlot { tag, class: class.clone(), records: 0, tree: Ordered::default() };
                self.classes.insert(at, slot);
                at
            }
        };
        Ok(&mut self.classes[at])
    }

    pub(crate) fn class(&self, tag: ClassTag) -> Option<&ClassSlot> {
        self.classes.binary_search_by_key(&tag, |c| c.tag).ok().map(|at| &self.classes[at])
    }

    pub(crate) fn records(&self) -> u64 {
        self.classes.iter().map(|c| c.records).sum()
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
        let trees = TreeRefs {
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
        e.u8(VERSION)
            .u16(self.incarnation)
            .u64(self.created.0)
            .u64(self.due.unwrap_or_default().0)
            .u64(self.openings);
        e.text(self.user.as_str()).bytes(self.fence_key.bytes());
        trees.encode(&mut e);
        let mut classes = Vec::with_capacity(self.classes.len());
        for slot in self.classes {
            if let Some(tree) = slot.tree.seal(class_place(owner), geometry, sink)? {
                classes.push((slot.tag, slot.class, slot.records, tree));
            }
        }
        e.count(classes.len());
        for (tag, class, records, tree) in classes {
            e.bytes(&tag.0).text(class.as_str()).u64(records);
            tree.encode(&mut e);
        }
        pad(PageKind::User, &mut e, capacity);
        Ok(SealedUser { at: sink.seal(PageKind::User, Some(owner), e.finish())?, alone })
    }
}

impl Node for UserPage {
    fn decode(page: &Page) -> Result<Self> {
        let (mut page, trees) = read(page)?;
        page.fences.tree = Ordered::stored(trees.fences);
        page.lineage.tree = Ordered::stored(trees.lineage);
        page.history.tree = Ordered::stored(trees.history);
        page.holds.tree = Ordered::stored(trees.holds);
        page.holds.marks = Ordered::stored(trees.marks);
        page.plans.tree = Ordered::stored(trees.plans);
        page.policies.tree = Ordered::stored(trees.policies);
        page.inbox.tree = Ordered::stored(trees.inbox);
        page.grants.tree = Ordered::stored(trees.grants);
        Ok(page)
    }
}

/// A stored user page without its trees, and where they are.
fn read(page: &Page) -> Result<(UserPage, TreeRefs)> {
    let mut d = Decoder::of_page(page, "user page");
    if d.u8()? != VERSION {
        return Err(d.bad());
    }
    let incarnation = d.u16()?;
    let created = Timestamp(d.u64()?);
    let due = Some(Timestamp(d.u64()?)).filter(|due| due.0 > 0);
    let openings = d.u64()?;
    let user =
        UserId::new(d.text(USER_MAX_BYTES)?).map_err(|_| Decoder::new(&[], "user page").bad())?;
    let fence_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
    let trees = TreeRefs::decode(&mut d)?;
    let mut classes: Vec<ClassSlot> = Vec::new();
    for _ in 0..d.u16()? {
        let tag = ClassTag(d.array()?);
        let class = Class::new(d.text(CLASS_MAX_BYTES)?)
            .map_err(|_| Decoder::new(&[], "user page").bad())?;
        let records = d.u64()?;
        let tree = Ordered::stored(Some(Ref::decode(&mut d)?));
        if classes.last().is_some_and(|last| last.tag >= tag) || classes.len() == CLASSES_MAX {
            return Err(d.bad());
        }
        classes.push(ClassSlot { tag, class, records, tree });
    }
    d.end_padding()?;
    let page =
        UserPage { due, openings, classes, ..UserPage::new(user, incarnation, created, fence_key) };
    Ok((page, trees))
}

/// What a stored user page points to.
pub(super) fn edges(owner: UserTag, page: &Page) -> Result<Vec<Edge>> {
    let (page, mut trees) = read(page)?;
    let mut edges = Vec::new();
    for slot in page.classes {
        if let Some(at) = slot.tree.into_stored() {
            let class = Arc::new(ClassOf {
                #[cfg(feature = "testing")]
                user: page.user.clone(),
                owner,
                incarnation: page.incarnation,
                class: slot.class,
                tag: slot.tag,
            });
            edges.push(Edge::Page {
                spot: Spot { kind: PageKind::Class, owner: Some(owner), class: Some(class) },
                at,
            });
        }
    }
    for (kind, at) in trees.each() {
        let spot = Spot { kind, owner: Some(owner), class: None };
        edges.extend(at.take().map(|at| Edge::Page { spot, at }));
    }
    Ok(edges)
}
