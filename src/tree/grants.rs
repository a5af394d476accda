//! Grants: permission for a third party to open some of a user's records, through the engine.
//!
//! ```text
//! key   = number 8 ‖ zeros 12
//! value = 1 ‖ grantee's Ed25519 key 32 ‖ since 8 ‖ 1 if it has an end, else 0 ‖ until 8
//!         ‖ time of the last request 8
//!         ‖ records opened 8 ‖ pace 12 ‖ class name, empty for all ‖ grantee's name ‖ purpose
//! pace  = when the hour began in which it is counted 8 ‖ requests since then 4
//! ```

use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{Class, Timestamp, UserTag};
use crate::limits::{
    CLASS_MAX_BYTES, NAME_MAX_BYTES, PURPOSE_MAX_BYTES, REQUEST_AGE, REQUESTS_MAX,
};
use crate::policy::millis;
use crate::secret::Secret;

const VERSION: u8 = 1;

/// What a third party may open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The key under which it signs requests (Ed25519, RFC 8032).
    pub to: [u8; 32],
    /// Name of the grantee, for the user's report.
    pub name: String,
    /// Only records of this class; `None` covers all classes.
    pub class: Option<Class>,
    /// What the grantee may use the records for.
    pub purpose: String,
    /// When the grant was given.
    pub since: Timestamp,
    /// When it ends, if it does.
    pub until: Option<Timestamp>,
    /// When its last request was made.
    pub last: Timestamp,
    /// How many records were opened by it, each time counted.
    pub opened: u64,
    /// How often its grantee asked lately.
    pub pace: Pace,
}

/// How often was asked in the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    since: Timestamp,
    asked: u32,
}

impl Pace {
    /// Counts a request; `None` if that is one too many.
    pub(crate) fn next(self, now: Timestamp) -> Option<Self> {
        if self.asked == 0 || now.0.abs_diff(self.since.0) >= millis(REQUEST_AGE) {
            return Some(Pace { since: now, asked: 1 });
        }
        (self.asked < REQUESTS_MAX).then_some(Pace { asked: self.asked + 1, ..self })
    }

    pub(crate) fn encode(self, e: &mut Encoder) {
        e.u64(self.since.0).bytes(&self.asked.to_be_bytes());
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Pace { since: Timestamp(d.u64()?), asked: d.u32()? })
    }
}

/// The grants on one user's records.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(crate) tree: Ordered,
}

fn key(number: u64) -> OrderedKey {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

impl Grant {
    /// A grant on all records of a user, without an end; `to` is the grantee's public key.
    pub fn new(
        to: impl Into<[u8; 32]>,
        name: impl Into<String>,
        purpose: impl Into<String>,
    ) -> Self {
        Grant {
            to: to.into(),
            name: name.into(),
            class: None,
            purpose: purpose.into(),
            since: Timestamp(0),
            until: None,
            last: Timestamp(0),
            opened: 0,
            pace: Pace::default(),
        }
    }

    /// Limits the grant to records of this class.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Grant { class: Some(class), ..self }
    }

    /// Ends the grant at this time.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Grant { until: Some(until), ..self }
    }

    /// The reader's name in the access log.
    pub(crate) fn principal(&self, number: u64) -> String {
        format!("{}, grant {number:016x}", self.name)
    }

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(96 + CLASS_MAX_BYTES + NAME_MAX_BYTES + PURPOSE_MAX_BYTES);
        e.u8(VERSION).bytes(&self.to).u64(self.since.0);
        e.u8(u8::from(self.until.is_some())).u64(self.until.unwrap_or_default().0);
        e.u64(self.last.0).u64(self.opened);
        self.pace.encode(&mut e);
        e.text(self.class.as_ref().map_or("", Class::as_str)).text(&self.name).text(&self.purpose);
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "grant");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let (to, since) = (d.array()?, Timestamp(d.u64()?));
        let until = match (d.u8()?, Timestamp(d.u64()?)) {
            (0, Timestamp(0)) => None,
            (1, until) => Some(until),
            _ => return Err(d.bad()),
        };
        let (last, opened) = (Timestamp(d.u64()?), d.u64()?);
        let pace = Pace::decode(&mut d)?;
        let class = match d.text(CLASS_MAX_BYTES)? {
            "" => None,
            name => Some(Class::new(name).map_err(|_| Decoder::new(&[], "grant").bad())?),
        };
        let name = d.text(NAME_MAX_BYTES)?.to_owned();
        let purpose = d.text(PURPOSE_MAX_BYTES)?.to_owned();
        d.end()?;
        Ok(Grant { to, name, class, purpose, since, until, last, opened, pace })
    }

    /// Whether it lets records of a class be opened now.
    pub(crate) fn covers(&self, class: &Class, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
            && self.class.as_ref().is_none_or(|of| of == class)
    }
}

impl Grants {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Grants, owner: Some(owner) }
    }

    pub(crate) fn set(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        number: u64,
        grant: &Grant,
    ) -> Result<()> {
        self.tree.insert(editor, Self::place(owner), key(number), grant.encode())
    }

    /// Removes a grant, and says whether it was there.
    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        number: u64,
    ) -> Result<bool> {
        self.tree.remove(editor, Self::place(owner), &key(number))
    }

    pub(crate) fn get(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        number: u64,
    ) -> Result<Option<Grant>> {
        self.tree
            .get(pages, Self::place(owner), &key(number))?
            .map(|value| Grant::decode(&value))
            .transpose()
    }

    /// Every grant, with its number.
    pub(crate) fn all(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<(u64, Grant)>> {
        let mut grants = Vec::new();
        self.tree.all(pages, Self::place(owner), &mut |key, value| {
            grants.push((Decoder::new(key, "grant").u64()?, Grant::decode(value)?));
            Ok(())
        })?;
        Ok(grants)
    }
}
