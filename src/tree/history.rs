//! A user's history: what was done to the user's records beyond putting and erasing, when and why. It falls with the user.
//!
//! It names nothing that can fall before the user does: classes by their tags, what an erase named by a keyed hash, a planned erase by its
//! number. What a class is called is looked up when it is shown, and found only while the class has records. That a record was detached stands
//! among its links (lineage.rs), and falls with it.
//!
//! ```text
//! key   = time 8 ‖ number 4 ‖ zeros 8
//! value = 2 kept:     class tag 6 ‖ records 8 ‖ reason text
//!         3 held:     hold id 8 ‖ class tag 6, or zeros for every class ‖ one interaction 1 ‖ reason text ‖ authority text
//!         4 lifted:   hold id 8 ‖ reason text ‖ authority text
//!         5 refused:  since it was held: about 23 ‖ times 8
//!         6 planned:  number 8 ‖ due 8
//!         7 cancelled: number of the planned erase 8
//!         8 granted:  number of the grant 8 ‖ grantee's name ‖ class tag 6, or zeros for all ‖ ends 1 ‖ [until 8] ‖ purpose
//!         9 revoked:  number of the grant 8
//!        10 failed:   number of the planned erase 8 ‖ why, text
//! about = what 1 ‖ class tag 6, or zeros for all ‖ keyed hash 16, or zeros
//! what  = 1 all, 2 an interaction, 3 a span of time, 4 a record, 5 what passed a limit, 6 others than those before
//! ```

use std::ops::ControlFlow;

use super::ordered::{KEY_MAX, KEY_MIN, Ordered, OrderedKey, Place, Range};
use super::user::UserPage;
use super::{Editor, PageKind, Pages};
use crate::codec::{Decoder, Encoder};
use crate::crypto;
use crate::error::Result;
use crate::ids::{Class, ClassTag, RecordId, Timestamp, UserTag};
use crate::limits::{AUTHORITY_MAX_BYTES, NAME_MAX_BYTES, PURPOSE_MAX_BYTES, REASON_MAX_BYTES, REFUSALS_MAX};
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
const FACT_MAX: usize = 1 + 8 + 6 + 1 + 1 + 8 + NAME_MAX_BYTES + 6 + REASON_MAX_BYTES + AUTHORITY_MAX_BYTES;

/// Facts that are looked at, the newest first, to see whether one stands there already.
const LOOK_BACK: usize = 1024;

/// What was done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// A derived record was made to stand without some of its sources.
    Detached {
        /// Which.
        record: RecordId,
        /// From how many sources; which they were is not kept.
        sources: u16,
        /// Why, as the requester said.
        reason: String,
    },
    /// An erase left the records of a class.
    Kept {
        /// Which class; `None` where it holds nothing now: its name fell.
        class: Option<Class>,
        /// How many records.
        records: u64,
        /// Why, as the requester said.
        reason: String,
    },
    /// A hold was added.
    Held {
        /// Its number.
        id: u64,
        /// What it covers, in words, without what fell meanwhile.
        scope: String,
        /// Why.
        reason: String,
        /// By whose order.
        authority: String,
    },
    /// A hold was lifted.
    Lifted {
        /// Its number.
        id: u64,
        /// Why.
        reason: String,
        /// By whose order.
        authority: String,
    },
    /// An erase was refused, since it would have touched what is held.
    Refused {
        /// What was to be erased, in words, without ids and without what fell meanwhile.
        scope: String,
        /// How often, until a hold was added or lifted.
        times: u64,
    },
    /// An erase was planned for a time to come.
    Planned {
        /// Its number.
        id: u64,
        /// When it is done.
        due: Timestamp,
        /// What is to be erased, in words; `None` once it was done or cancelled.
        scope: Option<String>,
    },
    /// A planned erase was cancelled.
    Cancelled {
        /// Its number.
        id: u64,
    },
    /// A planned erase could not be done when it was due; it is tried again each hour.
    Failed {
        /// Its number.
        id: u64,
        /// Why, in a word: the kind of the error.
        why: String,
    },
    /// A third party was let open records.
    Granted {
        /// The number of the grant.
        id: u64,
        /// To whom.
        name: String,
        /// Of what, in words, without what fell meanwhile.
        scope: String,
        /// Until when.
        until: Option<Timestamp>,
        /// What for.
        purpose: String,
    },
    /// A grant was taken back.
    Revoked {
        /// Its number.
        id: u64,
    },
}

/// What an erase named, as a fact keeps it: enough to know it again, and to name its class while that has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    what: u8,
    class: [u8; 6],
    tag: [u8; 16],
}

impl About {
    const EVERYTHING: u8 = 1;
    const INTERACTION: u8 = 2;
    const SPAN: u8 = 3;
    const RECORD: u8 = 4;
    const LIMIT: u8 = 5;
    const OTHERS: About = About { what: 6, class: [0; 6], tag: [0; 16] };

    pub(crate) fn of(page: &UserPage, erase: &Erase) -> Self {
        let tag = |parts: &[&[u8]]| crypto::fence_tag(&page.fence_key, parts);
        match erase.scope() {
            Scope::Record(id) => {
                let tag = tag(&[&[3], &id.class.0, &id.interaction.0, &id.ordinal.to_be_bytes()]);
                About { what: Self::RECORD, class: id.class.0, tag }
            }
            Scope::User { class, when, .. } => {
                let class = class.as_ref().map_or([0; 6], |class| page.class_tag(class).0);
                match when {
                    When::Ever => About { what: Self::EVERYTHING, class, tag: [0; 16] },
                    When::Interaction(id) => About { what: Self::INTERACTION, class, tag: tag(&[&[1], &id.0]) },
                    When::Between { from, until } => {
                        let time = |at: &Option<Timestamp>| at.map_or(u64::MAX, |at| at.0).to_be_bytes();
                        About { what: Self::SPAN, class, tag: tag(&[&[4], &time(from), &time(until)]) }
                    }
                }
            }
        }
    }

    /// What passed a limit, of a class.
    pub(crate) fn limit(class: ClassTag) -> Self {
        About { what: Self::LIMIT, class: class.0, tag: [0; 16] }
    }

    fn words(&self, page: &UserPage) -> String {
        let of = scope_words(page, (self.class != [0; 6]).then_some(ClassTag(self.class)));
        match self.what {
            Self::INTERACTION => of + " of an interaction",
            Self::SPAN => of + " of a span of time",
            Self::RECORD => format!("a record of {of}"),
            Self::LIMIT => of + ", whose time has come",
            Self::EVERYTHING => of,
            _ => "more than that".to_owned(),
        }
    }

    fn encode(&self, e: &mut Encoder) {
        e.u8(self.what).bytes(&self.class).bytes(&self.tag);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let about = About { what: d.u8()?, class: d.array()?, tag: d.array()? };
        if (Self::EVERYTHING..=Self::OTHERS.what).contains(&about.what) { Ok(about) } else { Err(d.bad()) }
    }
}

fn scope_words(page: &UserPage, class: Option<ClassTag>) -> String {
    match class {
        None => "everything".to_owned(),
        Some(tag) => match page.class(tag) {
            Some(slot) => format!("class {}", slot.class),
            None => "a class that holds nothing now".to_owned(),
        },
    }
}

/// A fact as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Kept { class: ClassTag, records: u64, reason: String },
    Held { id: u64, class: Option<ClassTag>, interaction: bool, reason: String, authority: String },
    Lifted { id: u64, reason: String, authority: String },
    Refused { about: About, times: u64 },
    Planned { id: u64, due: Timestamp },
    Cancelled { id: u64 },
    Failed { id: u64, why: String },
    Granted { id: u64, name: String, class: Option<ClassTag>, until: Option<Timestamp>, purpose: String },
    Revoked { id: u64 },
}

fn tag_or_zeros(class: Option<ClassTag>) -> [u8; 6] {
    class.map_or([0; 6], |class| class.0)
}

impl Note {
    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(FACT_MAX);
        match self {
            Note::Kept { class, records, reason } => {
                e.u8(KEPT).bytes(&class.0).u64(*records).text(reason);
            }
            Note::Held { id, class, interaction, reason, authority } => {
                e.u8(HELD).u64(*id).bytes(&tag_or_zeros(*class)).u8(u8::from(*interaction));
                e.text(reason).text(authority);
            }
            Note::Lifted { id, reason, authority } => {
                e.u8(LIFTED).u64(*id).text(reason).text(authority);
            }
            Note::Refused { about, times } => {
                e.u8(REFUSED);
                about.encode(&mut e);
                e.u64(*times);
            }
            Note::Planned { id, due } => {
                e.u8(PLANNED).u64(*id).u64(due.0);
            }
            Note::Cancelled { id } => {
                e.u8(CANCELLED).u64(*id);
            }
            Note::Failed { id, why } => {
                e.u8(FAILED).u64(*id).text(why);
            }
            Note::Granted { id, name, class, until, purpose } => {
                e.u8(GRANTED).u64(*id).text(name).bytes(&tag_or_zeros(*class));
                e.optional(until.map(|until| until.0)).text(purpose);
            }
            Note::Revoked { id } => {
                e.u8(REVOKED).u64(*id);
            }
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "fact of a user");
        let class = |tag: [u8; 6]| (tag != [0; 6]).then_some(ClassTag(tag));
        let note = match d.u8()? {
            KEPT => Note::Kept {
                class: ClassTag(d.array()?),
                records: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
            },
            HELD => Note::Held {
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
            LIFTED => Note::Lifted {
                id: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
                authority: d.text(AUTHORITY_MAX_BYTES)?.to_owned(),
            },
            REFUSED => Note::Refused { about: About::decode(&mut d)?, times: d.u64()? },
            PLANNED => Note::Planned { id: d.u64()?, due: Timestamp(d.u64()?) },
            CANCELLED => Note::Cancelled { id: d.u64()? },
            FAILED => Note::Failed { id: d.u64()?, why: d.text(NAME_MAX_BYTES)?.to_owned() },
            GRANTED => Note::Granted {
                id: d.u64()?,
                name: d.text(NAME_MAX_BYTES)?.to_owned(),
                class: class(d.array()?),
                until: d.optional()?.map(Timestamp),
                purpose: d.text(PURPOSE_MAX_BYTES)?.to_owned(),
            },
            REVOKED => Note::Revoked { id: d.u64()? },
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

    /// Adds a fact behind those of the same time.
    pub(crate) fn add(&mut self, editor: &mut Editor<'_>, owner: UserTag, at: Timestamp, note: &Note) -> Result<()> {
        self.append(editor, owner, at, note).map(|_| ())
    }

    /// The same; says under which key.
    fn append(&mut self, editor: &mut Editor<'_>, owner: UserTag, at: Timestamp, note: &Note) -> Result<OrderedKey> {
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

    /// Writes down that a hold refused erases: each of these once until a hold is added or lifted. The same one `again` is counted.
    pub(crate) fn refuse(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        (abouts, again): (&[About], bool),
    ) -> Result<()> {
        let mut told = Vec::new();
        self.back(editor.pages, owner, &mut |key, note| {
            match note {
                Note::Held { .. } | Note::Lifted { .. } => return ControlFlow::Break(()),
                Note::Refused { about, times } => told.push((about, *key, times)),
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
                    let note = Note::Refused { about, times: *times };
                    self.tree.insert(editor, Self::place(owner), *key, note.encode())?;
                }
                Some(_) => {}
                None => {
                    let key = self.append(editor, owner, at, &Note::Refused { about, times: 1 })?;
                    told.push((about, key, 1));
                }
            }
        }
        Ok(())
    }

    /// Writes down that a planned erase failed, unless that stands there.
    pub(crate) fn fail(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        at: Timestamp,
        (id, why): (u64, String),
    ) -> Result<()> {
        let mut told = false;
        self.back(editor.pages, owner, &mut |_, note| {
            told = matches!(note, Note::Failed { id: there, .. } if there == id);
            if told { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if told { Ok(()) } else { self.add(editor, owner, at, &Note::Failed { id, why }) }
    }

    /// Shows facts, the newest first, not all of a long history.
    fn back(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        see: &mut dyn FnMut(&OrderedKey, Note) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut left = LOOK_BACK;
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: true };
        self.tree.scan(pages, Self::place(owner), all, &mut |key, value| {
            left -= 1;
            let seen = see(key, Note::decode(value)?);
            Ok(if left == 0 { ControlFlow::Break(()) } else { seen })
        })
    }

    fn notes(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<(Timestamp, Note)>> {
        let mut notes = Vec::new();
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
        self.tree.scan(pages, Self::place(owner), all, &mut |key, value| {
            notes.push((split(key)?.0, Note::decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(notes)
    }
}

impl UserPage {
    /// Every fact, oldest first, with the names of what lives.
    pub(crate) fn facts(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<(Timestamp, Fact)>> {
        let holds = self.holds.all(pages, owner)?;
        let plans = self.plans.all(pages, owner, &self.user)?;
        let mut facts = self.lineage.detachments(pages, owner, self.incarnation)?;
        facts.extend(self.history.notes(pages, owner)?.into_iter().map(|(at, note)| {
            let fact = match note {
                Note::Kept { class, records, reason } => {
                    Fact::Kept { class: self.class(class).map(|slot| slot.class.clone()), records, reason }
                }
                Note::Held { id, class, interaction, reason, authority } => {
                    // One that is in force says itself what it covers.
                    let scope = match holds.iter().find(|(there, _)| *there == id) {
                        Some((_, hold)) => hold.words(),
                        None if interaction => scope_words(self, class) + " of an interaction",
                        None => scope_words(self, class),
                    };
                    Fact::Held { id, scope, reason, authority }
                }
                Note::Lifted { id, reason, authority } => Fact::Lifted { id, reason, authority },
                Note::Refused { about, times } => Fact::Refused { scope: about.words(self), times },
                Note::Planned { id, due } => {
                    let plan = plans.iter().find(|plan| plan.id == id);
                    Fact::Planned { id, due, scope: plan.map(|plan| plan.erase.words()) }
                }
                Note::Cancelled { id } => Fact::Cancelled { id },
                Note::Failed { id, why } => Fact::Failed { id, why },
                Note::Granted { id, name, class, until, purpose } => {
                    Fact::Granted { id, name, scope: scope_words(self, class), until, purpose }
                }
                Note::Revoked { id } => Fact::Revoked { id },
            };
            (at, fact)
        }));
        facts.sort_by_key(|(at, _)| *at);
        Ok(facts)
    }
}
