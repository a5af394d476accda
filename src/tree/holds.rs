//! Legal holds on one user's records, and marks on the records that a held one depends on.
//!
//! ```text
//! holds: key = hold id 8 ‖ zeros 12   value = since 8 ‖ class name text, or empty
//!              ‖ interaction 16, or zeros
//!                                                ‖ reason text ‖ authority text
//! marks: key = class tag 6 ‖ interaction 16 ‖ ordinal 4 ‖ zero 1
//!              ‖ 36 bytes as a link's key, of the held record
//!        value = id of the held record 40
//! ```
//! A held record cannot be read without those that it was derived from: each of them bears a mark,
//! so that an erase sees it without following any link. A mark counts while its held record is
//! there and held.

use std::ops::ControlFlow;

use super::keys::{LINK_BYTES, LinkKey, OrderedKey, WHAT, link_key, record_key};
use super::lineage::add;
use super::link::{Editor, Pages};
use super::ordered::{Entries, Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::limits::{AUTHORITY_MAX_BYTES, CLASS_MAX_BYTES, REASON_MAX_BYTES};
use crate::secret::Secret;

const HOLD_MAX: usize =
    8 + 2 + CLASS_MAX_BYTES + 16 + 2 + REASON_MAX_BYTES + 2 + AUTHORITY_MAX_BYTES;

/// A hold: nothing of what it covers is erased until it is lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// Only records of this class; `None` covers all classes.
    pub class: Option<Class>,
    /// Only records of this interaction; `None` covers all interactions.
    pub interaction: Option<InteractionId>,
    /// Why the records are held.
    pub reason: String,
    /// The person or office that ordered it.
    pub authority: String,
    /// When the hold was added.
    pub since: Timestamp,
}

impl Hold {
    /// A hold on everything of a user; `authority` is the person or office that orders it.
    pub fn new(reason: impl Into<String>, authority: impl Into<String>) -> Self {
        let (reason, authority) = (reason.into(), authority.into());
        Hold { class: None, interaction: None, reason, authority, since: Timestamp(0) }
    }

    /// Limits the hold to records of this class.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Hold { class: Some(class), ..self }
    }

    /// Limits the hold to records of this interaction.
    #[must_use]
    pub fn interaction(self, id: InteractionId) -> Self {
        Hold { interaction: Some(id), ..self }
    }

    /// What it covers, in words.
    pub(crate) fn words(&self) -> String {
        let class =
            self.class.as_ref().map_or("everything".to_owned(), |class| format!("class {class}"));
        class + &self.interaction.map_or(String::new(), |id| format!(" of interaction {id}"))
    }

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(HOLD_MAX);
        self.write(&mut e);
        e.finish()
    }

    pub(crate) fn write(&self, e: &mut Encoder) {
        e.u64(self.since.0).text(self.class.as_ref().map_or("", Class::as_str));
        e.bytes(&self.interaction.map_or([0; 16], |i| i.0))
            .text(&self.reason)
            .text(&self.authority);
    }

    pub(crate) fn read(d: &mut Decoder<'_>) -> Result<Self> {
        let since = Timestamp(d.u64()?);
        let class = match d.text(CLASS_MAX_BYTES)? {
            "" => None,
            name => Some(Class::new(name).map_err(|_| d.bad())?),
        };
        let interaction = match d.array()? {
            zeros if zeros == [0; 16] => None,
            bytes => Some(InteractionId::from_bytes(bytes).map_err(|_| d.bad())?),
        };
        let reason = d.text(REASON_MAX_BYTES)?.to_owned();
        let authority = d.text(AUTHORITY_MAX_BYTES)?.to_owned();
        Ok(Hold { class, interaction, reason, authority, since })
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "hold");
        let hold = Hold::read(&mut d)?;
        d.end()?;
        Ok(hold)
    }
}

/// The holds on one user's records, and the marks.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub(crate) tree: Ordered,
    pub(crate) marks: Ordered<LINK_BYTES>,
}

fn hold_key(id: u64) -> OrderedKey {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key
}

fn mark_key(on: &RecordId, held: &RecordId) -> LinkKey {
    link_key(on.class, &record_key(on.interaction, on.ordinal), 0, Some(held))
}

/// The first and the last key that a mark on a record of a class in `low..=high` can have.
fn marks_of(class: ClassTag, low: &OrderedKey, high: &OrderedKey) -> [LinkKey; 2] {
    let (low, mut high) = (link_key(class, low, 0, None), link_key(class, high, 0, None));
    high[WHAT..].fill(0xFF);
    [low, high]
}

fn held_record(value: &[u8]) -> Result<RecordId> {
    let mut d = Decoder::new(value, "mark");
    RecordId::from_bytes(&d.array()?).map_err(|_| d.bad())
}

impl Holds {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Holds, owner: Some(owner) }
    }

    pub(crate) fn marks_place(owner: UserTag) -> Place {
        Place { kind: PageKind::Marks, owner: Some(owner) }
    }

    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        id: u64,
        hold: &Hold,
    ) -> Result<()> {
        self.tree.insert(editor, Self::place(owner), hold_key(id), hold.encode())
    }

    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        id: u64,
    ) -> Result<()> {
        let key = hold_key(id);
        self.tree.remove(editor, Self::place(owner), &key).map(drop)
    }

    /// Every hold, with its id.
    pub(crate) fn all(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<(u64, Hold)>> {
        let mut holds = Vec::new();
        self.tree.all(pages, Self::place(owner), &mut |key, value| {
            holds.push((Decoder::new(key, "hold").u64()?, Hold::decode(value)?));
            Ok(())
        })?;
        Ok(holds)
    }

    /// Marks a record of this user's as one that `held` depends on.
    pub(crate) fn mark(
        &mut self,
        editor: &mut Editor<'_>,
        on: &RecordId,
        held: &RecordId,
    ) -> Result<()> {
        add(&mut self.marks, editor, Self::marks_place(on.user), mark_key(on, held), held)
    }

    pub(crate) fn unmark(
        &mut self,
        editor: &mut Editor<'_>,
        on: &RecordId,
        held: &RecordId,
    ) -> Result<()> {
        let key = mark_key(on, held);
        self.marks.remove(editor, Self::marks_place(on.user), &key).map(drop)
    }

    /// Every mark on the user's records, with the held record that it is for.
    pub(crate) fn all_marks(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
    ) -> Result<Vec<(LinkKey, RecordId)>> {
        let mut marks = Vec::new();
        self.marks.all(pages, Self::marks_place(owner), &mut |key, value| {
            marks.push((*key, held_record(value)?));
            Ok(())
        })?;
        Ok(marks)
    }

    /// Removes a mark by its key.
    pub(crate) fn drop_mark(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        mark: &LinkKey,
    ) -> Result<()> {
        self.marks.remove(editor, Self::marks_place(owner), mark).map(drop)
    }

    /// Which held records a record of this user's bears a mark for.
    pub(crate) fn holders(&self, pages: &dyn Pages, on: &RecordId) -> Result<Vec<RecordId>> {
        let key = record_key(on.interaction, on.ordinal);
        let mut held = Vec::new();
        self.scan_marks(pages, on.user, &marks_of(on.class, &key, &key), &mut |_, value| {
            held.push(held_record(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(held)
    }

    /// Whether a record of a class in `low..=high` bears a mark.
    pub(crate) fn is_marked(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        class: ClassTag,
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<bool> {
        let mut marked = false;
        self.scan_marks(pages, owner, &marks_of(class, low, high), &mut |_, _| {
            marked = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(marked)
    }

    fn scan_marks(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        keys: &[LinkKey; 2],
        mark: &mut Entries<'_, LINK_BYTES>,
    ) -> Result<()> {
        let range = Range { low: &keys[0], high: &keys[1], descending: false };
        self.marks.scan(pages, Self::marks_place(owner), range, mark)
    }
}
