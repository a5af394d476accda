//! Links between a user's records and what they were derived from, or what was derived from them:
//! one tree for each user, in the order of classes and records, so that the links of what is erased
//! are one range of it.
//!
//! ```text
//! key    = class tag 6 ‖ interaction 16 ‖ ordinal 4 ‖ what 1
//!          ‖ first 4 of the other's user tag ‖ SHA-256(the other's id), or zeros
//! what   = 1 the record was derived from the other      -> id of the other 40
//!          2 the other was derived from the record      -> id of the other 40
//!          3 the record was detached from some sources  -> its content root, wrapped
//!          4 the record was opened; then time 8 ‖ number 4 ‖ zeros 24 -> principal text
//!            ‖ purpose text
//!          5 the record is in a training set; then the set's key 20 (sets.rs) ‖ zeros 16
//!            -> nothing
//!          6 the record was detached; then time 8 ‖ number 4 ‖ zeros 24  -> sources cut 2
//!            ‖ reason text
//! ```
//! Ids are in part what callers choose: the hash is whole, so that no two with one key can be
//! found. So what is known of a record's readers, and that it was detached, falls with the record.

use std::ops::ControlFlow;

use super::keys::{
    LINK_BYTES, LinkKey, OrderedKey, SetTag, WHAT, link_key, record_key, split_record_key, whose,
};
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};

use crate::error::{Error, Result};
use crate::ids::{ClassTag, RecordId, Timestamp, UserTag};
use crate::limits::{PRINCIPAL_MAX_BYTES, PURPOSE_MAX_BYTES, REASON_MAX_BYTES};
use crate::secret::Secret;

const SOURCE: u8 = 1;
const DERIVED: u8 = 2;
const WRAPPED: u8 = 3;
const OPENED: u8 = 4;
const MEMBER: u8 = 5;
const DETACHED: u8 = 6;
/// Where the key of a training set ends.
const SET_END: usize = WHAT + 1 + 20;
const ACCESS_MAX: usize = 4 + PRINCIPAL_MAX_BYTES + PURPOSE_MAX_BYTES;

/// An opening of a record, as the application told it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The person or program that opened the record.
    pub principal: String,
    /// What it was opened for.
    pub purpose: String,
    /// When it was opened.
    pub at: Timestamp,
}

/// A record that was detached from some of its sources.
#[derive(Debug)]
pub(super) struct Detachment {
    pub(super) record: RecordId,
    pub(super) at: Timestamp,
    /// How many sources it was detached from.
    pub(super) sources: u16,
    pub(super) reason: String,
}

/// The other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// The record was derived from this one.
    Source(RecordId),
    /// This one was derived from the record.
    Derived(RecordId),
}

/// The links of one user's records, and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    pub(crate) tree: Ordered<LINK_BYTES>,
}

fn own(id: &RecordId) -> OrderedKey {
    record_key(id.interaction, id.ordinal)
}

fn member_key(id: &RecordId, set: &SetTag) -> LinkKey {
    let mut key = link_key(id.class, &own(id), MEMBER, None);
    key[WHAT + 1..SET_END].copy_from_slice(set);
    key
}

/// The first and the last key that a record's links of one kind can have.
fn all_of(id: &RecordId, what: u8) -> (LinkKey, LinkKey) {
    let low = link_key(id.class, &own(id), what, None);
    let mut high = low;
    high[WHAT + 1..].fill(0xFF);
    (low, high)
}

/// Adds what stands between a record and another; it never takes the place of what stands between
/// the record and a third.
pub(crate) fn add(
    tree: &mut Ordered<LINK_BYTES>,
    editor: &mut Editor<'_>,
    place: Place,
    key: LinkKey,
    other: &RecordId,
) -> Result<()> {
    let value = other.to_bytes();
    match tree.get(editor.pages, place, &key)? {
        None => tree.insert(editor, place, key, Secret::copied_from(&value)),
        Some(there) if there[..] == value => Ok(()),
        Some(_) => Err(Error::corrupt(format!(
            "what links a record to {other} links it to another; nothing was changed; restore the \
             store from a copy"
        ))),
    }
}

/// Reads a link; `None` for what is none.
pub(crate) fn read(key: &LinkKey, value: &[u8]) -> Result<Option<Other>> {
    if matches!(key[WHAT], WRAPPED | OPENED | MEMBER | DETACHED) {
        return Ok(None);
    }
    let bad = || Decoder::new(&[], "link of a record").bad();
    let id = RecordId::from_bytes(value.try_into().map_err(|_| bad())?).map_err(|_| bad())?;
    match key[WHAT] {
        SOURCE => Ok(Some(Other::Source(id))),
        DERIVED => Ok(Some(Other::Derived(id))),
        _ => Err(bad()),
    }
}

impl Lineage {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Lineage, owner: Some(owner) }
    }

    /// Links a record of this user's to one that it was derived from.
    pub(crate) fn add_source(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        source: &RecordId,
    ) -> Result<()> {
        let key = link_key(id.class, &own(id), SOURCE, Some(source));
        add(&mut self.tree, editor, Self::place(id.user), key, source)
    }

    /// Links a record of this user's to one that was derived from it.
    pub(crate) fn add_derived(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        derived: &RecordId,
    ) -> Result<()> {
        let key = link_key(id.class, &own(id), DERIVED, Some(derived));
        add(&mut self.tree, editor, Self::place(id.user), key, derived)
    }

    /// Cuts the link to a source; says whether there was one.
    pub(crate) fn cut_source(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        source: &RecordId,
    ) -> Result<bool> {
        let key = link_key(id.class, &own(id), SOURCE, Some(source));
        self.tree.remove(editor, Self::place(id.user), &key)
    }

    /// Cuts the link to a derived record.
    pub(crate) fn cut_derived(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        derived: &RecordId,
    ) -> Result<()> {
        let key = link_key(id.class, &own(id), DERIVED, Some(derived));
        self.tree.remove(editor, Self::place(id.user), &key).map(drop)
    }

    /// Keeps the wrapped content root of a record that was detached.
    pub(crate) fn set_wrapped(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        wrapped: &[u8],
    ) -> Result<()> {
        let key = link_key(id.class, &own(id), WRAPPED, None);
        self.tree.insert(editor, Self::place(id.user), key, Secret::copied_from(wrapped))
    }

    /// The wrapped content root of a record that was detached.
    pub(crate) fn wrapped(&self, pages: &dyn Pages, id: &RecordId) -> Result<Option<Secret>> {
        self.tree.get(pages, Self::place(id.user), &link_key(id.class, &own(id), WRAPPED, None))
    }

    /// Records that a record of this user's is opened.
    pub(crate) fn add_access(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        access: &Access,
    ) -> Result<()> {
        let mut e = Encoder::new(ACCESS_MAX);
        e.text(&access.principal).text(&access.purpose);
        self.add_at(editor, id, OPENED, access.at, e.finish())
    }

    /// Records that a record of this user's was detached, from how many sources and why.
    pub(crate) fn add_detachment(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        at: Timestamp,
        sources: u16,
        reason: &str,
    ) -> Result<()> {
        let mut e = Encoder::new(4 + reason.len());
        e.u16(sources).text(reason);
        self.add_at(editor, id, DETACHED, at, e.finish())
    }

    fn add_at(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        what: u8,
        time: Timestamp,
        value: Secret,
    ) -> Result<()> {
        let at = |number: u32| {
            let mut key = link_key(id.class, &own(id), what, None);
            key[WHAT + 1..WHAT + 9].copy_from_slice(&time.0.to_be_bytes());
            key[WHAT + 9..WHAT + 13].copy_from_slice(&number.to_be_bytes());
            key
        };
        let mut number = 0;
        let same_time = Range { low: &at(0), high: &at(u32::MAX), descending: true };
        self.tree.scan(editor.pages, Self::place(id.user), same_time, &mut |key, _| {
            number = Decoder::new(&key[WHAT + 9..], "opening of a record").u32()?.saturating_add(1);
            Ok(ControlFlow::Break(()))
        })?;
        self.tree.insert(editor, Self::place(id.user), at(number), value)
    }

    /// Which of the user's records were detached, when and why. All links are looked through.
    pub(super) fn detachments(
        &self,
        pages: &dyn Pages,
        user: UserTag,
        incarnation: u16,
    ) -> Result<Vec<Detachment>> {
        let mut found = Vec::new();
        self.tree.all(pages, Self::place(user), &mut |key, value| {
            if key[WHAT] == DETACHED {
                let (class, record) = whose(key);
                let (interaction, ordinal) = split_record_key(&record)?;
                let at =
                    Timestamp(Decoder::new(&key[WHAT + 1..], "record that was detached").u64()?);
                let mut d = Decoder::new(value, "record that was detached");
                let (sources, reason) = (d.u16()?, d.text(REASON_MAX_BYTES)?.to_owned());
                d.end()?;
                let record = RecordId { interaction, user, incarnation, class, ordinal };
                found.push(Detachment { record, at, sources, reason });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The openings of a record of this user's, oldest first.
    pub(crate) fn accesses(&self, pages: &dyn Pages, id: &RecordId) -> Result<Vec<Access>> {
        let (low, high) = all_of(id, OPENED);
        let mut accesses = Vec::new();
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(pages, Self::place(id.user), range, &mut |key, value| {
            let at = Timestamp(Decoder::new(&key[WHAT + 1..], "opening of a record").u64()?);
            let mut d = Decoder::new(value, "opening of a record");
            let principal = d.text(PRINCIPAL_MAX_BYTES)?.to_owned();
            let purpose = d.text(PURPOSE_MAX_BYTES)?.to_owned();
            d.end()?;
            accesses.push(Access { principal, purpose, at });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(accesses)
    }

    /// Puts a record of this user's into a training set; says whether it was not there.
    pub(crate) fn add_member(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        set: &SetTag,
    ) -> Result<bool> {
        let (place, key) = (Self::place(id.user), member_key(id, set));
        if self.tree.get(editor.pages, place, &key)?.is_some() {
            return Ok(false);
        }
        self.tree.insert(editor, place, key, Secret::copied_from(&[])).map(|()| true)
    }

    pub(crate) fn remove_member(
        &mut self,
        editor: &mut Editor<'_>,
        id: &RecordId,
        set: &SetTag,
    ) -> Result<()> {
        let key = member_key(id, set);
        self.tree.remove(editor, Self::place(id.user), &key).map(drop)
    }

    /// Whether a record of this user's is in a training set.
    pub(crate) fn is_member(&self, pages: &dyn Pages, id: &RecordId, set: &SetTag) -> Result<bool> {
        Ok(self.tree.get(pages, Self::place(id.user), &member_key(id, set))?.is_some())
    }

    /// The records of this user's in a training set.
    pub(crate) fn members(
        &self,
        pages: &dyn Pages,
        user: UserTag,
        incarnation: u16,
        set: &SetTag,
    ) -> Result<Vec<RecordId>> {
        let mut members = Vec::new();
        self.tree.all(pages, Self::place(user), &mut |key, _| {
            if key[WHAT] == MEMBER && key[WHAT + 1..SET_END] == *set {
                let (class, record) = whose(key);
                let (interaction, ordinal) = split_record_key(&record)?;
                members.push(RecordId { interaction, user, incarnation, class, ordinal });
            }
            Ok(())
        })?;
        Ok(members)
    }

    fn others(&self, pages: &dyn Pages, id: &RecordId, what: u8) -> Result<Vec<RecordId>> {
        let (low, high) = all_of(id, what);
        let mut others = Vec::new();
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(pages, Self::place(id.user), range, &mut |key, value| {
            match read(key, value)? {
                Some(Other::Source(other) | Other::Derived(other)) => others.push(other),
                None => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(others)
    }

    /// What a record of this user's was derived from.
    pub(crate) fn sources(&self, pages: &dyn Pages, id: &RecordId) -> Result<Vec<RecordId>> {
        self.others(pages, id, SOURCE)
    }

    /// What was derived from a record of this user's.
    pub(crate) fn derived(&self, pages: &dyn Pages, id: &RecordId) -> Result<Vec<RecordId>> {
        self.others(pages, id, DERIVED)
    }

    /// What was derived from the records of this user's in a class, from one key to another: each
    /// of these with each that was derived from it.
    pub(crate) fn derived_in(
        &self,
        pages: &dyn Pages,
        incarnation: u16,
        whose_records: (UserTag, ClassTag),
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<Vec<(RecordId, RecordId)>> {
        let (user, class) = whose_records;
        let (from, mut to) = (link_key(class, low, 0, None), link_key(class, high, 0xFF, None));
        to[WHAT + 1..].fill(0xFF);
        let mut pairs = Vec::new();
        let range = Range { low: &from, high: &to, descending: false };
        self.tree.scan(pages, Self::place(user), range, &mut |key, value| {
            if let Some(Other::Derived(derived)) = read(key, value)? {
                let (interaction, ordinal) = split_record_key(&whose(key).1)?;
                pairs.push((RecordId { interaction, user, incarnation, class, ordinal }, derived));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(pairs)
    }

    /// Takes the links of the records of a class in `low..=high` out, as a tree of their own, with
    /// their number.
    pub(crate) fn take(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        class: ClassTag,
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<(Ordered<LINK_BYTES>, u64)> {
        let (from, mut to) = (link_key(class, low, 0, None), link_key(class, high, 0xFF, None));
        to[WHAT + 1..].fill(0xFF);
        self.tree.take_range(editor, Self::place(owner), &from, &to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto;
    use crate::error::ErrorKind;
    use crate::ids::InteractionId;
    use crate::tree::{Geometry, Page, Ref};

    struct NoPages;

    impl Pages for NoPages {
        fn load(&self, _: PageKind, _: Option<UserTag>, _: &Ref) -> Result<Page> {
            Err(Error::corrupt("nothing is stored"))
        }
    }

    fn id(bytes: [u8; 40]) -> RecordId {
        RecordId {
            interaction: InteractionId(std::array::from_fn(|n| bytes[n])),
            user: UserTag(std::array::from_fn(|n| bytes[16 + n])),
            incarnation: u16::from_be_bytes([bytes[28], bytes[29]]),
            class: ClassTag(std::array::from_fn(|n| bytes[30 + n])),
            ordinal: u32::from_be_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]),
        }
    }

    #[test]
    fn the_key_of_a_link_depends_on_every_byte_of_both_ids_and_holds_a_whole_hash() {
        let of =
            |on: &RecordId, other: &RecordId| link_key(on.class, &own(on), SOURCE, Some(other));
        let (on, other) = ([7; 40], [9; 40]);
        let key = of(&id(on), &id(other));
        assert_eq!(key[WHAT + 5..], crypto::hedge(&[&other]));
        for at in 0..40 {
            let (mut changed, mut changed_other) = (on, other);
            changed[at] ^= 1;
            changed_other[at] ^= 1;
            // The user and its life are those of the tree.
            assert_eq!(of(&id(changed), &id(other)) == key, (16..30).contains(&at), "{at}");
            assert_ne!(of(&id(on), &id(changed_other)), key, "{at}");
        }
    }

    #[test]
    fn a_link_never_takes_the_place_of_another() {
        let mut editor =
            Editor { pages: &NoPages, geometry: Geometry::default(), replaced: Vec::new() };
        let (on, other, third) = (id([7; 40]), id([9; 40]), id([10; 40]));
        let place = Lineage::place(on.user);
        let key = link_key(on.class, &own(&on), DERIVED, Some(&other));
        let mut tree = Ordered::default();
        for _ in 0..2 {
            add(&mut tree, &mut editor, place, key, &other).unwrap();
        }
        let e = add(&mut tree, &mut editor, place, key, &third).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        let kept = tree.get(&NoPages, place, &key).unwrap().unwrap();
        assert_eq!(kept[..], other.to_bytes());
    }
}
