//! A user's history: what was done to the user's records beyond putting and erasing, when and why.
//! It falls with the user.
//!
//! It names nothing that can fall before the user does: classes by their tags, what an erase named
//! by a keyed hash, a planned erase by its number. What a class is called is looked up when it is
//! shown, and found only while the class has records. That a record was detached is stored among
//! its links (lineage.rs), and falls with it.
//!
//! ```text
//! key   = time 8 ‖ number 4 ‖ zeros 8
//! value = 2 kept:     class tag 6 ‖ records 8 ‖ reason text
//!         3 held:     hold id 8 ‖ class tag 6, or zeros for every class ‖ one interaction 1
//!                     ‖ reason text ‖ authority text
//!         4 lifted:   hold id 8 ‖ reason text ‖ authority text
//!         5 refused:  since it was held: about 23 ‖ times 8
//!         6 planned:  number 8 ‖ due 8
//!         7 cancelled: number of the planned erase 8
//!         8 granted:  number of the grant 8 ‖ grantee's name ‖ class tag 6, or zeros for all
//!                     ‖ ends 1 ‖ [until 8] ‖ purpose
//!         9 revoked:  number of the grant 8
//!        10 failed:   number of the planned erase 8 ‖ why, text
//! about = what 1 ‖ class tag 6, or zeros for all ‖ keyed hash 16, or zeros
//! what  = 1 all, 2 an interaction, 3 a span of time, 4 a record, 5 what passed a limit, 6 others
//!         than those before
//! ```

use std::ops::ControlFlow;

use super::keys::{KEY_MAX, KEY_MIN, OrderedKey};
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key};
use crate::error::Result;
use crate::ids::{ClassTag, Timestamp, UserTag};
use crate::limits::{
    AUTHORITY_MAX_BYTES, NAME_MAX_BYTES, PURPOSE_MAX_BYTES, REASON_MAX_BYTES, REFUSALS_MAX,
};
use crate::scope::{Erase, Scope, When};
use crate::secret::Secret;

const KEPT: u8 = 2;
const HELD: u8 = 3;
const LIFTED: u8 = 4;
const REFUSED: u8 = 5;
const PLANNED: u8 = 6;
const CANCELLED: u8 = 7;
const GRANTED: u8 = 8;
const REVOKED: u8 = 9;
const FAILED: u8 = 10;
const FACT_MAX: usize =
    1 + 8 + 6 + 1 + 1 + 8 + NAME_MAX_BYTES + 6 + REASON_MAX_BYTES + AUTHORITY_MAX_BYTES;

/// Facts that are read, the newest first, to see whether one is there already.
const LOOK_BACK: usize = 1024;

/// What an erase named, as a fact keeps it: enough to know it again, and to name its class while
/// that has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    pub(super) what: u8,
    pub(super) class: [u8; 6],
    tag: [u8; 16],
}

impl About {
    pub(super) const EVERYTHING: u8 = 1;
    pub(super) const INTERACTION: u8 = 2;
    pub(super) const SPAN: u8 = 3;
    pub(super) const RECORD: u8 = 4;
    pub(super) const LIMIT: u8 = 5;
    const OTHERS: About = About { what: 6, class: [0; 6], tag: [0; 16] };

    /// What `erase` names, by the fence key of its user's page.
    pub(crate) fn of(fence_key: &Key, erase: &Erase) -> Self {
        let tag = |parts: &[&[u8]]| crypto::fence_tag(fence_key, parts);
        match erase.scope() {
            Scope::Record(id) => {
                let tag = tag(&[&[3], &id.class.0, &id.interaction.0, &id.ordinal.to_be_bytes()]);
                About { what: Self::RECORD, class: id.class.0, tag }
            }
            Scope::User { class, when, .. } => {
                let class = class
                    .as_ref()
                    .map_or([0; 6], |class| crypto::class_tag(fence_key, class.as_str()).0);
                match when {
                    When::Ever => About { what: Self::EVERYTHING, class, tag: [0; 16] },
                    When::Interaction(id) => {
                        About { what: Self::INTERACTION, class, tag: tag(&[&[1], &id.0]) }
                    }
                    When::Between { from, until } => {
                        let time =
                            |at: &Option<Timestamp>| at.map_or(u64::MAX, |at| at.0).to_be_bytes();
                        About {
                            what: Self::SPAN,
                            class,
                            tag: tag(&[&[4], &time(from), &time(until)]),
                        }
                    }
                }
            }
        }
    }

    /// What passed a limit, of a class.
    pub(crate) fn limit(class: ClassTag) -> Self {
        About { what: Self::LIMIT, class: class.0, tag: [0; 16] }
    }

    fn encode(&self, e: &mut Encoder) {
        e.u8(self.what).bytes(&self.class).bytes(&self.tag);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let about = About { what: d.u8()?, class: d.array()?, tag: d.array()? };
        if (Self::EVERYTHING..=Self::OTHERS.what).contains(&about.what) {
            Ok(about)
        } else {
            Err(d.bad())
        }
    }
}

/// A fact as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredFact {
    Kept {
        class: ClassTag,
        records: u64,
        reason: String,
    },
    Held {
        id: u64,
        class: Option<ClassTag>,
        interaction: bool,
        reason: String,
        authority: String,
    },
    Lifted {
        id: u64,
        reason: String,
        authority: String,
    },
    Refused {
        about: About,
        times: u64,
    },
    Planned {
        id: u64,
        due: Timestamp,
    },
    Cancelled {
        id: u64,
    },
    Failed {
        id: u64,
        why: String,
    },
    Granted {
        id: u64,
        name: String,
        class: Option<ClassTag>,
        until: Option<Timestamp>,
        purpose: String,
    },
    Revoked {
        id: u64,
    },
}

fn tag_or_zeros(class: Option<ClassTag>) -> [u8; 6] {
    class.map_or([0; 6], |class| class.0)
}

impl StoredFact {
    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(FACT_MAX);
        match self {
            StoredFact::Kept { class, records, reason } => {
                e.u8(KEPT).bytes(&class.0).u64(*records).text(reason);
            }
            StoredFact::Held { id, class, interaction, reason, authority } => {
                e.u8(HELD).u64(*id).bytes(&tag_or_zeros(*class)).u8(u8::from(*interaction));
                e.text(reason).text(authority);
            }
            StoredFact::Lifted { id, reason, authority } => {
                e.u8(LIFTED).u64(*id).text(reason).text(authority);
            }
            StoredFact::Refused { about, times } => {
                e.u8(REFUSED);
                about.encode(&mut e);
                e.u64(*times);
            }
            StoredFact::Planned { id, due } => {
                e.u8(PLANNED).u64(*id).u64(due.0);
            }
            StoredFact::Cancelled { id } => {
                e.u8(CANCELLED).u64(*id);
            }
            StoredFact::Failed { id, why } => {
                e.u8(FAILED).u64(*id).text(why);
            }
            StoredFact::Granted { id, name, class, until, purpose } => {
                e.u8(GRANTED).u64(*id).text(name).bytes(&tag_or_zeros(*class));
                e.optional(until.map(|until| until.0)).text(purpose);
            }
            StoredFact::Revoked { id } => {
                e.u8(REVOKED).u64(*id);
            }
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "fact of a user");
        let class = |tag: [u8; 6]| (tag != [0; 6]).then_some(ClassTag(tag));
        let note = match d.u8()? {
            KEPT => StoredFact::Kept {
                class: ClassTag(d.array()?),
                records: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
            },
            HELD => StoredFact::Held {
                id: d.u64()?,
                class: class(d.array()?),
                interaction: match d.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(d.bad()),
                },
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
                authority: d.text(AUTHORITY_MAX_BYTES)?.to_owned(),
            },
            LIFTED => StoredFact::Lifted {
                id: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
                authority: d.text(AUTHORITY_MAX_BYTES)?.to_owned(),
            },
            REFUSED => StoredFact::Refused { about: About::decode(&mut d)?, times: d.u64()? },
            PLANNED => StoredFact::Planned { id: d.u64()?, due: Timestamp(d.u64()?) },
            CANCELLED => StoredFact::Cancelled { id: d.u64()? },
            FAILED => StoredFact::Failed { id: d.u64()?, why: d.text(NAME_MAX_BYTES)?.to_owned() },
            GRANTED => StoredFact::Granted {
                id: d.u64()?,
                name: d.text(NAME_MAX_BYTES)?.to_owned(),
                class: class(d.array()?),
                until: d.optional()?.map(Timestamp),
                purpose: d.text(PURPOSE_MAX_BYTES)?.to_owned(),
            },
            REVOKED => StoredFact::Revoked { id: d.u64()? },
            _ => return Err(d.bad()),
        };
        d.end()?;
        Ok(note)
    }
}

/// The history of one user.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) tree: Ordered,
}

fn key(at: Timestamp, number: u32) -> OrderedKey {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&at.0.to_be_bytes());
    key[8..12].copy_from_slice(&number.to_be_bytes());
    key
}

fn split(key: &OrderedKey) -> Result<(Timestamp, u32)> {
    let mut d = Decoder::new(key, "fact of a user");
    Ok((Timestamp(d.u64()?), d.u32()?))
}

impl History {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::History, owner: Some(owner) }
    }

    /// Adds a fact after those of the same time.
    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        note: &StoredFact,
    ) -> Result<()> {
        self.append(editor, owner, at, note).map(|_| ())
    }

    /// As [`History::add`]; returns the fact's key.
    fn append(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        note: &StoredFact,
    ) -> Result<OrderedKey> {
        let (low, high) = (key(at, 0), key(at, u32::MAX));
        let mut number = 0;
        let last = Range { low: &low, high: &high, descending: true };
        self.tree.scan(editor.pages, Self::place(owner), last, &mut |key, _| {
            number = split(key)?.1.saturating_add(1);
            Ok(ControlFlow::Break(()))
        })?;
        let key = key(at, number);
        self.tree.insert(editor, Self::place(owner), key, note.encode()).map(|()| key)
    }

    /// Records that a hold refused erases, each of these once until a hold is added or lifted. With
    /// `again` a repeated one is counted.
    pub(crate) fn refuse(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        abouts: &[About],
        again: bool,
    ) -> Result<()> {
        let mut told = Vec::new();
        self.back(editor.pages, owner, &mut |key, note| {
            match note {
                StoredFact::Held { .. } | StoredFact::Lifted { .. } => {
                    return ControlFlow::Break(());
                }
                StoredFact::Refused { about, times } => told.push((about, *key, times)),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        for about in abouts {
            let known = |about: &About| told.iter().position(|(there, ..)| there == about);
            let about = match known(about) {
                None if told.len() >= REFUSALS_MAX => About::OTHERS,
                _ => *about,
            };
            match known(&about) {
                Some(n) if again => {
                    let (_, key, times) = &mut told[n];
                    *times = times.saturating_add(1);
                    let note = StoredFact::Refused { about, times: *times };
                    self.tree.insert(editor, Self::place(owner), *key, note.encode())?;
                }
                Some(_) => {}
                None => {
                    let key =
                        self.append(editor, owner, at, &StoredFact::Refused { about, times: 1 })?;
                    told.push((about, key, 1));
                }
            }
        }
        Ok(())
    }

    /// Records that a planned erase failed, unless that is recorded already.
    pub(crate) fn fail(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        id: u64,
        why: String,
    ) -> Result<()> {
        let mut told = false;
        self.back(editor.pages, owner, &mut |_, note| {
            told = matches!(note, StoredFact::Failed { id: there, .. } if there == id);
            if told { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if told { Ok(()) } else { self.add(editor, owner, at, &StoredFact::Failed { id, why }) }
    }

    /// Shows facts, the newest first, not all of a long history.
    fn back(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        see: &mut dyn FnMut(&OrderedKey, StoredFact) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut left = LOOK_BACK;
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: true };
        self.tree.scan(pages, Self::place(owner), all, &mut |key, value| {
            left -= 1;
            let seen = see(key, StoredFact::decode(value)?);
            Ok(if left == 0 { ControlFlow::Break(()) } else { seen })
        })
    }

    /// Every fact with its time, oldest first.
    pub(super) fn all(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
    ) -> Result<Vec<(Timestamp, StoredFact)>> {
        let mut notes = Vec::new();
        self.tree.all(pages, Self::place(owner), &mut |key, value| {
            notes.push((split(key)?.0, StoredFact::decode(value)?));
            Ok(())
        })?;
        Ok(notes)
    }
}
