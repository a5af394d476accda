//! What is kept of one user: the name, the classes with their trees, the fences, the links of records,
//! the history, the holds, the plans, the policies, the inbox,
//! the grants.
//!
//! ```text
//! user page = 1 ‖ incarnation 2 ‖ created 8 ‖ due 8 ‖ openings 8 ‖ name len 2 ‖ name ‖ fence key 32
//!             ‖ trees 2 ‖ [fences: ref 48] ‖ [links: ref 48] ‖ [history: ref 48] ‖ [holds: ref 48] ‖ [marks: ref 48]
//!             ‖ [plans: ref 48] ‖ [policies: ref 48] ‖ [inbox: ref 48] ‖ [grants: ref 48]
//!             trees: bits 1, 2, 4, 8, 16, 32, 64, 128, 256; due: its entry in the agenda, 0 for none
//!             ‖ classes 2 ‖ (class tag 6 ‖ name len 2 ‖ name ‖ records 8 ‖ ref 48)*
//! ```
//! A class without records is not listed: its name falls with its last record.

use std::sync::Arc;

use super::fences::Fences;
use super::grants::Grants;
use super::history::History;
use super::holds::Holds;
use super::inbox::Inbox;
use super::lineage::Lineage;
use super::ordered::{Ordered, OrderedKey, Place};
use super::plans::Plans;
use super::policies::Policies;
use super::{ClassOf, Edge, Geometry, Node, Page, PageKind, Ref, Sink, Spot, pad};
use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, Timestamp, UserId, UserTag};
use crate::limits::{CLASS_MAX_BYTES, CLASSES_MAX, SEAL_OVERHEAD, USER_MAX_BYTES, USER_PAGE_MAX_BYTES};

const VERSION: u8 = 1;
/// Trees below a user page, by their bits.
const TREES: u16 = 9;

/// One user, decoded.
#[derive(Debug)]
pub(crate) struct UserPage {
    pub(crate) user: UserId,
    pub(crate) incarnation: u16,
    pub(crate) created: Timestamp,
    /// When there is something to do for this user, at the earliest: its entry in the agenda.
    pub(crate) due: Option<Timestamp>,
    /// How many openings of records were written down in this life, of erased ones too.
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

/// What is kept of a name of which parts were erased before anybody had it: fences, and not the name.
///
/// ```text
/// page = 1 ‖ fence key 32 ‖ fences: ref 48
/// ```
#[derive(Debug)]
pub(crate) struct Unborn {
    pub(crate) fence_key: Key,
    pub(crate) fences: Fences,
}

impl Unborn {
    /// What of a page it keeps.
    pub(crate) fn of(page: UserPage) -> Self {
        Unborn { fence_key: page.fence_key, fences: page.fences }
    }

    /// The same, to be put back.
    pub(crate) fn take(&mut self) -> Self {
        Unborn { fence_key: self.fence_key.duplicate(), fences: std::mem::take(&mut self.fences) }
    }

    /// Its user comes to life: the fences stand.
    pub(crate) fn born(self, user: UserId, created: Timestamp) -> UserPage {
        UserPage { fences: self.fences, ..UserPage::new(user, 1, created, self.fence_key) }
    }

    pub(crate) fn seal(self, owner: UserTag, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
        let capacity = geometry.capacity();
        let mut e = Encoder::new(capacity);
        e.u8(VERSION).bytes(self.fence_key.bytes());
        match self.fences.tree.seal(Fences::place(owner), geometry, sink)? {
            Some(fences) => fences.encode(&mut e),
            None => unreachable!("there is a page for its fences only"),
        }
        pad(PageKind::Unborn, &mut e, capacity);
        sink.seal(PageKind::Unborn, Some(owner), e.finish())
    }
}

impl Node for Unborn {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "fences of a user to come");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let fence_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let fences = Fences { tree: Ordered::stored(Some(Ref::decode(&mut d)?)) };
        d.end_padding()?;
        Ok(Unborn { fence_key, fences })
    }
}

/// What a stored page of fences of a user to come points to.
pub(super) fn unborn_edges(owner: UserTag, page: &Page) -> Result<Vec<Edge>> {
    let spot = Spot { kind: PageKind::Fences, owner: Some(owner), class: None };
    let at = Unborn::decode(page)?.fences.tree.into_stored();
    Ok(at.map(|at| Edge::Page { spot, at }).into_iter().collect())
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

/// The key of a record in its class's tree.
pub(crate) fn record_key(interaction: InteractionId, ordinal: u32) -> OrderedKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&interaction.0);
    key[16..].copy_from_slice(&ordinal.to_be_bytes());
    key
}

/// Interaction and ordinal of a key in a class's tree.
pub(crate) fn split_record_key(key: &OrderedKey) -> Result<(InteractionId, u32)> {
    let mut d = Decoder::new(key, "record key");
    let interaction = InteractionId::from_bytes(d.array()?).map_err(|_| Decoder::new(&[], "record key").bad())?;
    Ok((interaction, d.u32()?))
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
                    format!("this user holds records in {CLASSES_MAX} classes already; use one of them or erase one"),
                ));
            }
            Err(at) => {
                let slot = ClassSlot { tag, class: class.clone(), records: 0, tree: Ordered::default() };
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

    /// Where it is now, and what its slot says of it (see [`super::users::Slot::alone`]).
    pub(crate) fn seal(self, owner: UserTag, geometry: Geometry, sink: &mut dyn Sink) -> Result<(Ref, Option<u32>)> {
        let records = u32::try_from(self.records()).ok().filter(|_| self.due.is_none());
        let capacity = USER_PAGE_MAX_BYTES - SEAL_OVERHEAD;
        let trees = [
            self.fences.tree.seal(Fences::place(owner), geometry, sink)?,
            self.lineage.tree.seal(Lineage::place(owner), geometry, sink)?,
            self.history.tree.seal(History::place(owner), geometry, sink)?,
            self.holds.tree.seal(Holds::place(owner), geometry, sink)?,
            self.holds.marks.seal(Holds::marks_place(owner), geometry, sink)?,
            self.plans.tree.seal(Plans::place(owner), geometry, sink)?,
            self.policies.tree.seal(Policies::place(Some(owner)), geometry, sink)?,
            self.inbox.tree.seal(Inbox::place(owner), geometry, sink)?,
            self.grants.tree.seal(Grants::place(owner), geometry, sink)?,
        ];
        let [_, lineage, _, holds, marks, ..] = &trees;
        let alone = records.filter(|_| lineage.is_none() && holds.is_none() && marks.is_none());
        let mut e = Encoder::new(capacity);
        e.u8(VERSION).u16(self.incarnation).u64(self.created.0).u64(self.due.unwrap_or_default().0).u64(self.openings);
        let there = trees.iter().enumerate().filter(|(_, tree)| tree.is_some());
        e.text(self.user.as_str()).bytes(self.fence_key.bytes()).u16(there.map(|(n, _)| 1 << n).sum());
        for tree in trees.iter().flatten() {
            tree.encode(&mut e);
        }
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
        Ok((sink.seal(PageKind::User, Some(owner), e.finish())?, alone))
    }
}

impl Node for UserPage {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "user page");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let incarnation = d.u16()?;
        let created = Timestamp(d.u64()?);
        let due = Some(Timestamp(d.u64()?)).filter(|due| due.0 > 0);
        let openings = d.u64()?;
        let user = UserId::new(d.text(USER_MAX_BYTES)?).map_err(|_| Decoder::new(&[], "user page").bad())?;
        let fence_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let there = d.u16()?;
        if there >= 1 << TREES {
            return Err(d.bad());
        }
        let mut trees = Vec::with_capacity(usize::from(TREES));
        for n in 0..TREES {
            trees.push((there & 1 << n != 0).then(|| Ref::decode(&mut d)).transpose()?);
        }
        let mut trees = trees.into_iter();
        let mut tree = || trees.next().flatten();
        let fences = Fences { tree: Ordered::stored(tree()) };
        let lineage = Lineage { tree: Ordered::stored(tree()) };
        let history = History { tree: Ordered::stored(tree()) };
        let holds = Holds { tree: Ordered::stored(tree()), marks: Ordered::stored(tree()) };
        let plans = Plans { tree: Ordered::stored(tree()) };
        let policies = Policies { tree: Ordered::stored(tree()) };
        let inbox = Inbox { tree: Ordered::stored(tree()) };
        let grants = Grants { tree: Ordered::stored(tree()) };
        let mut classes: Vec<ClassSlot> = Vec::new();
        for _ in 0..d.u16()? {
            let tag = ClassTag(d.array()?);
            let class = Class::new(d.text(CLASS_MAX_BYTES)?).map_err(|_| Decoder::new(&[], "user page").bad())?;
            let records = d.u64()?;
            let tree = Ordered::stored(Some(Ref::decode(&mut d)?));
            if classes.last().is_some_and(|last| last.tag >= tag) || classes.len() == CLASSES_MAX {
                return Err(d.bad());
            }
            classes.push(ClassSlot { tag, class, records, tree });
        }
        d.end_padding()?;
        Ok(UserPage {
            user,
            incarnation,
            created,
            due,
            openings,
            fence_key,
            fences,
            lineage,
            history,
            holds,
            plans,
            policies,
            inbox,
            grants,
            classes,
        })
    }
}

/// What a stored user page points to.
pub(super) fn edges(owner: UserTag, page: &Page) -> Result<Vec<Edge>> {
    let page = UserPage::decode(page)?;
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
            edges.push(Edge::Page { spot: Spot { kind: PageKind::Class, owner: Some(owner), class: Some(class) }, at });
        }
    }
    let trees = [
        (PageKind::Fences, page.fences.tree.into_stored()),
        (PageKind::Lineage, page.lineage.tree.into_stored()),
        (PageKind::History, page.history.tree.into_stored()),
        (PageKind::Holds, page.holds.tree.into_stored()),
        (PageKind::Marks, page.holds.marks.into_stored()),
        (PageKind::Plans, page.plans.tree.into_stored()),
        (PageKind::Policies, page.policies.tree.into_stored()),
        (PageKind::Inbox, page.inbox.tree.into_stored()),
        (PageKind::Grants, page.grants.tree.into_stored()),
    ];
    for (kind, at) in trees {
        edges.extend(at.map(|at| Edge::Page { spot: Spot { kind, owner: Some(owner), class: None }, at }));
    }
    Ok(edges)
}
