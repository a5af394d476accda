//! Retention: how long records of a class are kept, and whether their readers must be named.
//!
//! ```text
//! policy = 1 ‖ class name ‖ purpose text ‖ flags 1 ‖ [age ms 8] ‖ [number 8] ‖ [until 8]
//!          ‖ [reason text] ‖ [authority text ‖ ground text]
//!          flags: 1 age, 2 number, 4 until, 8 readers are named, 16 only this purpose,
//!          32 what was derived stays, for this reason, 64 a certificate is wanted
//! ```

use std::time::Duration;

use crate::codec::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::ids::{Class, Timestamp};
use crate::limits::{AUTHORITY_MAX_BYTES, CLASS_MAX_BYTES, PURPOSE_MAX_BYTES, REASON_MAX_BYTES};
use crate::scope::{Erase, Scope, check_reason};
use crate::secret::Secret;

const VERSION: u8 = 1;
const AGE: u8 = 1;
const NUMBER: u8 = 2;
const UNTIL: u8 = 4;
const NAMED: u8 = 8;
const PURPOSE: u8 = 16;
const DERIVED: u8 = 32;
const CERTIFIED: u8 = 64;

/// How long records of one class are kept: of the store, or of one user instead. What passed a
/// limit is erased like anything else, with what was derived from it, by
/// [`Engine::run_due`](crate::Engine::run_due): a limit for recordings takes the transcripts and
/// the alarms that were made of them, unless the policy says [`Policy::keep_derived`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The class whose records it limits.
    pub class: Class,
    /// Only of records that were put for this purpose.
    pub purpose: Option<String>,
    /// Records are kept at most this long after their interaction began.
    pub max_age: Option<Duration>,
    /// At most this many of those for which it holds; the oldest interactions go first, whole.
    pub max_records: Option<u64>,
    /// Records are kept until this time at the latest.
    pub until: Option<Timestamp>,
    /// Whether an opening must name its reader and a purpose.
    pub readers_named: bool,
    /// Why what was derived from a record outlasts it; `None` if it falls with it.
    pub keep_derived: Option<String>,
    /// For whom and on what ground what passed a limit is certified; `None` if it is not.
    pub certified: Option<(String, String)>,
}

impl Policy {
    /// Whether it limits anything. One that does not only takes the place of one that does.
    #[must_use]
    pub fn has_limit(&self) -> bool {
        let Policy { max_age, max_records, until, readers_named, .. } = self;
        max_age.is_some() || max_records.is_some() || until.is_some() || *readers_named
    }

    /// Keeps records of `class` without a limit, to begin with.
    pub fn new(class: Class) -> Self {
        Policy {
            class,
            purpose: None,
            max_age: None,
            max_records: None,
            until: None,
            readers_named: false,
            keep_derived: None,
            certified: None,
        }
    }

    /// Limits only records that were put for this purpose.
    #[must_use]
    pub fn purpose(self, purpose: impl Into<String>) -> Self {
        Policy { purpose: Some(purpose.into()), ..self }
    }

    /// Keeps records at most this long after their interaction began.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        Policy { max_age: Some(age), ..self }
    }

    /// Keeps at most this many records of each user.
    #[must_use]
    pub fn max_records(self, records: u64) -> Self {
        Policy { max_records: Some(records), ..self }
    }

    /// Keeps records until this time at the latest.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Policy { until: Some(until), ..self }
    }

    /// Only openings that name a reader and a purpose are allowed.
    #[must_use]
    pub fn readers_named(self) -> Self {
        Policy { readers_named: true, ..self }
    }

    /// What was derived from a record that passed a limit stays, detached from it, as with
    /// [`Erase::keep_derived`](crate::Erase::keep_derived); the user's history says why.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use keyfall::{Class, Policy};
    /// let month = Duration::from_secs(30 * 24 * 3600);
    /// let policy = Policy::new(Class::audio()).max_age(month).keep_derived("alarms go on ringing");
    /// assert_eq!(policy.keep_derived.as_deref(), Some("alarms go on ringing"));
    /// ```
    #[must_use]
    pub fn keep_derived(self, reason: impl Into<String>) -> Self {
        Policy { keep_derived: Some(reason.into()), ..self }
    }

    /// Has a certificate made of what passed a limit, for each user of whom something did, that
    /// names the person or office that wants it and its ground; either may be empty. The engine
    /// that erases gives the draft to [`Options::drafts`](crate::Options::drafts).
    #[must_use]
    pub fn certified(self, authority: impl Into<String>, ground: impl Into<String>) -> Self {
        Policy { certified: Some((authority.into(), ground.into())), ..self }
    }

    /// The bytes of its texts, which must be few enough together.
    fn text_bytes(&self) -> usize {
        let certified = self.certified.as_ref().map_or(0, |(who, why)| who.len() + why.len());
        let texts = [&self.purpose, &self.keep_derived].into_iter().flatten();
        certified + texts.map(String::len).sum::<usize>()
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.check_texts()?;
        let purpose = self.purpose.as_deref().unwrap_or("-");
        if purpose.is_empty() || purpose.len() > PURPOSE_MAX_BYTES {
            return Err(Error::invalid(format!("a purpose has 1 to {PURPOSE_MAX_BYTES} bytes")));
        }
        if self.purpose.is_some() && self.max_records.is_some() {
            return Err(Error::invalid(
                "a number limits a class, not the records of one purpose; leave one of the two out",
            ));
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<()> {
        let limits = self.max_age.is_some() || self.max_records.is_some() || self.until.is_some();
        if !limits && (self.keep_derived.is_some() || self.certified.is_some()) {
            return Err(Error::invalid(
                "a policy without a limit takes nothing: nothing derived is kept, and nothing \
                 certified; add a limit, or leave that out",
            ));
        }
        if let Some(reason) = &self.keep_derived {
            check_reason(reason)?;
        }
        if self.certified.as_ref().is_some_and(|(who, _)| who.len() > AUTHORITY_MAX_BYTES) {
            return Err(Error::invalid(format!(
                "the requester is named in at most {AUTHORITY_MAX_BYTES} bytes"
            )));
        }
        if self.text_bytes() > PURPOSE_MAX_BYTES {
            return Err(Error::invalid(format!(
                "purpose and reason of a policy, and for whom and on what ground it certifies, have \
                 at most {PURPOSE_MAX_BYTES} bytes together; shorten them"
            )));
        }
        Ok(())
    }

    /// The erase of what passed a limit, as a certificate names it; `None` if none is wanted.
    pub(crate) fn erase(&self, scope: Scope) -> Option<Erase> {
        let (authority, ground) = self.certified.as_ref()?;
        let erase = Erase::new(scope).certified(authority, ground);
        Some(match &self.keep_derived {
            Some(reason) => erase.keep_derived(reason),
            None => erase,
        })
    }

    /// When a record falls whose interaction began at `began`, by age and date alone.
    pub(crate) fn expiry(&self, began: Timestamp) -> Option<Timestamp> {
        let by_age = self.max_age.map(|age| Timestamp(began.0.saturating_add(millis(age))));
        by_age.into_iter().chain(self.until).min()
    }

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(48 + CLASS_MAX_BYTES + PURPOSE_MAX_BYTES);
        let flag = |there: bool, bit: u8| if there { bit } else { 0 };
        let flags = flag(self.max_age.is_some(), AGE)
            | flag(self.max_records.is_some(), NUMBER)
            | flag(self.until.is_some(), UNTIL)
            | flag(self.readers_named, NAMED)
            | flag(self.purpose.is_some(), PURPOSE)
            | flag(self.keep_derived.is_some(), DERIVED)
            | flag(self.certified.is_some(), CERTIFIED);
        e.u8(VERSION)
            .text(self.class.as_str())
            .text(self.purpose.as_deref().unwrap_or_default())
            .u8(flags);
        let numbers = [self.max_age.map(millis), self.max_records, self.until.map(|t| t.0)];
        for number in numbers.into_iter().flatten() {
            e.u64(number);
        }
        if let Some(reason) = &self.keep_derived {
            e.text(reason);
        }
        if let Some((authority, ground)) = &self.certified {
            e.text(authority).text(ground);
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "policy");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let class =
            Class::new(d.text(CLASS_MAX_BYTES)?).map_err(|_| Decoder::new(&[], "policy").bad())?;
        let purpose = d.text(PURPOSE_MAX_BYTES)?.to_owned();
        let flags = d.u8()?;
        if flags > (AGE | NUMBER | UNTIL | NAMED | PURPOSE | DERIVED | CERTIFIED)
            || (flags & PURPOSE == 0) != purpose.is_empty()
        {
            return Err(d.bad());
        }
        let mut number = |bit| (flags & bit != 0).then(|| d.u64()).transpose();
        let policy = Policy {
            class,
            max_age: number(AGE)?.map(Duration::from_millis),
            max_records: number(NUMBER)?,
            until: number(UNTIL)?.map(Timestamp),
            readers_named: flags & NAMED != 0,
            purpose: (flags & PURPOSE != 0).then_some(purpose),
            keep_derived: match flags & DERIVED {
                0 => None,
                _ => Some(d.text(REASON_MAX_BYTES)?.to_owned()),
            },
            certified: match flags & CERTIFIED {
                0 => None,
                _ => Some((
                    d.text(AUTHORITY_MAX_BYTES)?.to_owned(),
                    d.text(REASON_MAX_BYTES)?.to_owned(),
                )),
            },
        };
        d.end()?;
        Ok(policy)
    }
}

/// A span of time in whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The policies that hold for one user: their own, instead of the store's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) own: Vec<Policy>,
    pub(crate) store: Vec<Policy>,
}

impl Rules {
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.store.is_empty()
    }

    /// The policy for a record: the user's own before the store's, and of each the one for its
    /// purpose before the one for its class.
    pub(crate) fn of(&self, class: &Class, purpose: &str) -> Option<&Policy> {
        [&self.own, &self.store].into_iter().find_map(|policies| {
            let of_class = || policies.iter().filter(|p| p.class == *class);
            of_class()
                .find(|p| p.purpose.as_deref() == Some(purpose))
                .or_else(|| of_class().find(|p| p.purpose.is_none()))
        })
    }

    /// The policy for records of a class without a purpose of its own.
    pub(crate) fn of_class(&self, class: &Class) -> Option<&Policy> {
        // No purpose is empty if a policy names one.
        self.of(class, "")
    }

    /// Whether it takes a look at each record to know how long it is kept.
    pub(crate) fn by_purpose(&self, class: &Class) -> bool {
        self.own.iter().chain(&self.store).any(|p| p.class == *class && p.purpose.is_some())
    }
}
