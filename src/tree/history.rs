//! A user's history: what was done to the user's records beyond putting and erasing, when and why. It falls with the user.
//!
//! ```text
//! key   = time 8 ‖ number 4 ‖ zeros 8
//! value = 1 detached: id of the record 40 ‖ sources cut 2 ‖ reason text
//!         2 kept:     class name text ‖ records 8 ‖ reason text
//!         3 held:     hold id 8 ‖ hold (holds.rs)
//!         4 lifted:   hold id 8 ‖ reason text ‖ authority text
//!         5 refused:  since it was held: what was to be erased, text
//!         6 planned:  number 8 ‖ due 8 ‖ what is to be erased, text
//!         7 cancelled: number of the planned erase 8
//!         8 granted:  number of the grant 8 ‖ grantee's name ‖ class name, empty for all ‖ ends 1 ‖ [until 8] ‖ purpose
//!         9 revoked:  number of the grant 8
//! ```

use std::ops::ControlFlow;

use super::holds::Hold;
use super::ordered::{KEY_MAX, KEY_MIN, Ordered, OrderedKey, Place, Range};
use super::{Editor, PageKind, Pages};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{Class, RecordId, Timestamp, UserTag};
use crate::limits::{AUTHORITY_MAX_BYTES, CLASS_MAX_BYTES, NAME_MAX_BYTES, PURPOSE_MAX_BYTES, REASON_MAX_BYTES};
use crate::secret::Secret;

const DETACHED: u8 = 1;
const KEPT: u8 = 2;
const HELD: u8 = 3;
const LIFTED: u8 = 4;
const REFUSED: u8 = 5;
const PLANNED: u8 = 6;
const CANCELLED: u8 = 7;
const GRANTED: u8 = 8;
const REVOKED: u8 = 9;
const FACT_MAX: usize = 1 + 40 + CLASS_MAX_BYTES + 8 + 8 + REASON_MAX_BYTES + AUTHORITY_MAX_BYTES;

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
        /// Which class.
        class: Class,
        /// How many records.
        records: u64,
        /// Why, as the requester said.
        reason: String,
    },
    /// A hold was added.
    Held {
        /// Its number.
        id: u64,
        /// What it covers, why, and by whose order.
        hold: Hold,
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
        /// What was to be erased, in words.
        scope: String,
    },
    /// An erase was planned for a time to come.
    Planned {
        /// Its number.
        id: u64,
        /// When it is done.
        due: Timestamp,
        /// What is to be erased, in words.
        scope: String,
    },
    /// A planned erase was cancelled.
    Cancelled {
        /// Its number.
        id: u64,
    },
    /// A third party was let open records.
    Granted {
        /// The number of the grant.
        id: u64,
        /// To whom.
        name: String,
        /// Of this class only.
        class: Option<Class>,
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

impl Fact {
    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(FACT_MAX);
        match self {
            Fact::Detached { record, sources, reason } => {
                e.u8(DETACHED).bytes(&record.to_bytes()).u16(*sources).text(reason);
            }
            Fact::Kept { class, records, reason } => {
                e.u8(KEPT).text(class.as_str()).u64(*records).text(reason);
            }
            Fact::Held { id, hold } => {
                e.u8(HELD).u64(*id);
                hold.write(&mut e);
            }
            Fact::Lifted { id, reason, authority } => {
                e.u8(LIFTED).u64(*id).text(reason).text(authority);
            }
            Fact::Refused { scope } => {
                e.u8(REFUSED).text(scope);
            }
            Fact::Planned { id, due, scope } => {
                e.u8(PLANNED).u64(*id).u64(due.0).text(scope);
            }
            Fact::Cancelled { id } => {
                e.u8(CANCELLED).u64(*id);
            }
            Fact::Granted { id, name, class, until, purpose } => {
                e.u8(GRANTED).u64(*id).text(name).text(class.as_ref().map_or("", Class::as_str));
                e.optional(until.map(|until| until.0)).text(purpose);
            }
            Fact::Revoked { id } => {
                e.u8(REVOKED).u64(*id);
            }
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "fact of a user");
        let bad = || Decoder::new(&[], "fact of a user").bad();
        let fact = match d.u8()? {
            DETACHED => Fact::Detached {
                record: RecordId::from_bytes(&d.array()?).map_err(|_| bad())?,
                sources: d.u16()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
            },
            KEPT => Fact::Kept {
                class: Class::new(d.text(CLASS_MAX_BYTES)?).map_err(|_| bad())?,
                records: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
            },
            HELD => Fact::Held { id: d.u64()?, hold: Hold::read(&mut d)? },
            LIFTED => Fact::Lifted {
                id: d.u64()?,
                reason: d.text(REASON_MAX_BYTES)?.to_owned(),
                authority: d.text(AUTHORITY_MAX_BYTES)?.to_owned(),
            },
            REFUSED => Fact::Refused { scope: d.text(REASON_MAX_BYTES)?.to_owned() },
            PLANNED => {
                Fact::Planned { id: d.u64()?, due: Timestamp(d.u64()?), scope: d.text(REASON_MAX_BYTES)?.to_owned() }
            }
            CANCELLED => Fact::Cancelled { id: d.u64()? },
            GRANTED => Fact::Granted {
                id: d.u64()?,
                name: d.text(NAME_MAX_BYTES)?.to_owned(),
                class: match d.text(CLASS_MAX_BYTES)? {
                    "" => None,
                    name => Some(Class::new(name).map_err(|_| bad())?),
                },
                until: d.optional()?.map(Timestamp),
                purpose: d.text(PURPOSE_MAX_BYTES)?.to_owned(),
            },
            REVOKED => Fact::Revoked { id: d.u64()? },
            _ => return Err(d.bad()),
        };
        d.end()?;
        Ok(fact)
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
    pub(crate) fn add(&mut self, editor: &mut Editor<'_>, owner: UserTag, at: Timestamp, fact: &Fact) -> Result<()> {
        let (low, high) = (key(at, 0), key(at, u32::MAX));
        let mut number = 0;
        let last = Range { low: &low, high: &high, descending: true };
        self.tree.scan(editor.pages, Self::place(owner), last, &mut |key, _| {
            number = split(key)?.1.saturating_add(1);
            Ok(ControlFlow::Break(()))
        })?;
        self.tree.insert(editor, Self::place(owner), key(at, number), fact.encode())
    }

    /// Every fact, oldest first.
    pub(crate) fn facts(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<(Timestamp, Fact)>> {
        let mut facts = Vec::new();
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
        self.tree.scan(pages, Self::place(owner), all, &mut |key, value| {
            facts.push((split(key)?.0, Fact::decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(facts)
    }
}
