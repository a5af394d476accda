//! What an erase names, what of it stays, and when it is due.
//!
//! ```text
//! erase = scope ‖ kept classes 1 ‖ (class name text ‖ reason text, empty for the one before it)*
//!       | scope ‖ 255 ‖ reason text                            what was derived is kept
//! scope = 1 ‖ record id 40
//!         2 ‖ class name, empty for all ‖ when
//! when  = 0 ever  |  1 ‖ interaction 16  |  2 ‖ from 8 ‖ until 8, with 2^64-1 for none
//! ```
//! Where a certificate is wanted authority text ‖ ground text follow.

use std::sync::Arc;
use std::time::Duration;

use crate::certificate::Draft;
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::ids::{Class, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{AUTHORITY_MAX_BYTES, CLASS_MAX_BYTES, KEPT_MAX, REASON_MAX_BYTES, WINDOW_MAX};
use crate::time::Span;

/// Which of a user's interactions a scope takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every record, whatever its time.
    Ever,
    /// The records of one interaction.
    Interaction(InteractionId),
    /// Those that began at `from` or later, and before `until`. An interaction goes whole, by the
    /// time at which it began.
    Between {
        /// Inclusive start; `None` means the beginning.
        from: Option<Timestamp>,
        /// Exclusive end; `None` means now.
        until: Option<Timestamp>,
    },
}

/// The records that one erase names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A user, or one of their classes, or their interactions of some time.
    User {
        /// The user whose records are named.
        user: UserId,
        /// Only records of this class, if it is given.
        class: Option<Class>,
        /// Only records of these interactions.
        when: When,
    },
    /// One record, by its id.
    Record(RecordId),
}

impl Scope {
    /// All records of a user, and the user.
    pub fn user(user: UserId) -> Self {
        Scope::User { user, class: None, when: When::Ever }
    }

    /// A class of a user.
    pub fn class(user: UserId, class: Class) -> Self {
        Scope::User { user, class: Some(class), when: When::Ever }
    }

    /// One interaction of a user.
    pub fn interaction(user: UserId, id: InteractionId) -> Self {
        Scope::User { user, class: None, when: When::Interaction(id) }
    }

    /// The interactions of a user that began at `from` or later, and before `until`; `None` for
    /// `from` is the beginning, for `until` it is now.
    ///
    /// ```
    /// # fn main() -> keyfall::Result<()> {
    /// use keyfall::{Scope, UserId, When};
    ///
    /// let (from, until) = ("2026-01-01T00:00:00Z".parse()?, "2026-02-01T00:00:00Z".parse()?);
    /// let january = Scope::between(UserId::new("ada")?, Some(from), Some(until));
    /// assert!(matches!(january, Scope::User { when: When::Between { .. }, .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn between(user: UserId, from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Scope::User { user, class: None, when: When::Between { from, until } }
    }

    /// The interactions of a user that began within a span, such as a day: one that was read
    /// ([`crate::time::parse`]), or that a page of interactions is cut into ([`Day::span`]).
    ///
    /// ```
    /// # fn main() -> keyfall::Result<()> {
    /// use keyfall::{Scope, UserId, time};
    ///
    /// let day = time::parse("2026-03-01")?; // or "2026-03-01[Europe/Berlin]"
    /// let ada = UserId::new("ada")?;
    /// let scope = Scope::within(ada.clone(), day);
    /// assert_eq!(scope, Scope::between(ada, Some(day.from), Some(day.before)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Day::span`]: crate::time::Day::span
    pub fn within(user: UserId, span: Span) -> Self {
        Scope::between(user, Some(span.from), Some(span.before))
    }

    /// A single record, named by its id.
    pub fn record(id: RecordId) -> Self {
        Scope::Record(id)
    }
}

/// For whom and why an erase is certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The person or office that asked for it; may be empty.
    pub(crate) authority: String,
    /// The legal ground; may be empty.
    pub(crate) ground: String,
    /// When it was asked for, if that was not just now.
    pub(crate) asked: Option<Timestamp>,
}

type TakeDraft = dyn Fn(&Draft) -> Result<()> + Send + Sync;

/// Takes the draft of a certificate.
#[derive(Clone)]
pub(crate) struct Drafted(pub(crate) Arc<TakeDraft>);

impl Drafted {
    pub(crate) fn new(keep: impl Fn(&Draft) -> Result<()> + Send + Sync + 'static) -> Self {
        Drafted(Arc::new(keep))
    }
}

impl std::fmt::Debug for Drafted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Drafted")
    }
}

impl PartialEq for Drafted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Drafted {}

/// What an erase names, and what of it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    scope: Scope,
    keep: Vec<Class>,
    /// One for each of them.
    reasons: Vec<String>,
    /// Why what was derived stays, if it does.
    keep_derived: Option<String>,
    pub(crate) window: Option<Duration>,
    pub(crate) request: Option<Request>,
    pub(crate) drafted: Option<Drafted>,
}

impl Erase {
    /// Erases everything in `scope`.
    pub fn new(scope: Scope) -> Self {
        Erase {
            scope,
            keep: Vec::new(),
            reasons: Vec::new(),
            keep_derived: None,
            window: None,
            request: None,
            drafted: None,
        }
    }

    /// Keeps the records of `class` although they are in the scope, detached from what falls; class
    /// and `reason` are stored in the user's history and in the certificate. Each class has a
    /// reason of its own. A user of whom a class is kept remains. What is there stays; what arrives
    /// late in the scope is refused, of a kept class too.
    #[must_use]
    pub fn keep(mut self, class: Class, reason: impl Into<String>) -> Self {
        self.keep.push(class);
        self.reasons.push(reason.into());
        self
    }

    /// Keeps what was derived from the records of a class, or from one record, when these fall: it
    /// is detached from them, and the user's history says why. Without this all that was derived
    /// falls. What stays is the user's own still: later erases reach it. What was derived in the
    /// tree of another user falls, as ever, and so does what depends on that, or on anything else
    /// that falls.
    ///
    /// ```
    /// # use keyfall::{Class, Erase, Scope, UserId};
    /// let recordings = Scope::class(UserId::new("ada")?, Class::audio());
    /// let erase = Erase::new(recordings).keep_derived("she wants to keep what she said");
    /// assert!(erase.derived_kept().is_some());
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    #[must_use]
    pub fn keep_derived(mut self, reason: impl Into<String>) -> Self {
        self.keep_derived = Some(reason.into());
        self
    }

    /// Lets it wait for others: what it names cannot be read through the engine when the erase
    /// returns, and is *pending* until the old root key is destroyed, `window` later at most,
    /// together with all that waits then. A day is the longest; the default is at once.
    #[must_use]
    pub fn final_within(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Has a certificate of it issued when it is complete ([`crate::Erasure::certificate`]), which
    /// names the person or office that asked for the erase and its legal ground. Either may be
    /// empty, and then is not in it. The engine keeps nothing of what is in it. Of an erase that is
    /// planned, [`Options::drafts`](crate::Options::drafts) gets the draft when it is done.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, Erase, Options, Put, Scope, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// # let ada = UserId::new("ada")?;
    /// # engine.put(Put::new(ada.clone(), Class::audio()), &b"wake me at six"[..])?;
    /// let erase = Erase::new(Scope::user(ada)).certified("ada herself", "GDPR, article 17");
    /// if let Some(unsigned) = engine.erase(erase)?.certificate {
    ///     println!("{}", unsigned.sign()?);
    /// }
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    #[must_use]
    pub fn certified(mut self, authority: impl Into<String>, ground: impl Into<String>) -> Self {
        let (authority, ground) = (authority.into(), ground.into());
        self.request = Some(Request { authority, ground, asked: None });
        self
    }

    /// Hands out the draft of its certificate *before* anything is erased, for `keep` to keep:
    /// if the certificate itself is lost later, as in a crash,
    /// [`Certificates::get`](crate::engine::Certificates::get) makes it from the draft. If `keep`
    /// fails, or panics, nothing is erased. It is called while other writers wait, maybe more than
    /// once: then the last draft counts; it must not call the engine. Without [`Erase::certified`]
    /// there is no draft.
    #[must_use]
    pub fn drafted(mut self, keep: impl Fn(&Draft) -> Result<()> + Send + Sync + 'static) -> Self {
        self.drafted = Some(Drafted::new(keep));
        self
    }

    /// The records that the erase names.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The classes that stay.
    pub fn kept(&self) -> &[Class] {
        &self.keep
    }

    /// Why what was derived stays; `None` if it falls.
    pub fn derived_kept(&self) -> Option<&str> {
        self.keep_derived.as_deref()
    }

    /// For whom and on what ground it is certified; `None` if it is not.
    pub fn certified_for(&self) -> Option<(&str, &str)> {
        self.request.as_ref().map(|request| (&*request.authority, &*request.ground))
    }

    /// The classes that stay, each with the reason why.
    pub(crate) fn stays(&self) -> impl Iterator<Item = (&Class, &str)> {
        self.keep.iter().zip(self.reasons.iter().map(String::as_str))
    }

    pub(crate) fn user(&self, tag: impl FnOnce(&UserId) -> UserTag) -> UserTag {
        match &self.scope {
            Scope::User { user, .. } => tag(user),
            Scope::Record(id) => id.user,
        }
    }

    /// The scope in words, without the user's name.
    pub(crate) fn words(&self) -> String {
        match &self.scope {
            Scope::Record(id) => format!("record {id}"),
            Scope::User { class, when, .. } => {
                let class = class
                    .as_ref()
                    .map_or("everything".to_owned(), |class| format!("class {class}"));
                let when = match when {
                    When::Ever => String::new(),
                    When::Interaction(id) => format!(" of interaction {id}"),
                    When::Between { .. } => " of a span of time".to_owned(),
                };
                class + &when
            }
        }
    }

    /// The scope in words, with the times of a span.
    pub(crate) fn words_in_full(&self) -> String {
        match &self.scope {
            Scope::User { class, when: When::Between { from, until }, .. } => {
                let class = class
                    .as_ref()
                    .map_or("everything".to_owned(), |class| format!("class {class}"));
                let from = from.map_or(String::new(), |t| format!(" from {t}"));
                let until = until.map_or(String::new(), |t| format!(" before {t}"));
                format!("{class} of interactions that began{from}{until}")
            }
            _ => self.words(),
        }
    }

    /// Whether it can be done at all, for records of any user: a plan is refused now and not when
    /// it is due.
    pub(crate) fn check(&self) -> Result<()> {
        let too_long = |r: &Request| {
            r.authority.len() > AUTHORITY_MAX_BYTES || r.ground.len() > REASON_MAX_BYTES
        };
        if self.request.as_ref().is_some_and(too_long) {
            return Err(Error::invalid(format!(
                "the requester is named in at most {AUTHORITY_MAX_BYTES} bytes, the legal ground \
                 in {REASON_MAX_BYTES}"
            )));
        }
        if self.window.is_some_and(|window| window > WINDOW_MAX) {
            return Err(Error::invalid(
                "an erase waits for others for a day at most; give a shorter window",
            ));
        }
        if let Scope::User { when: When::Between { from, until }, .. } = &self.scope {
            check_span(*from, *until)?;
        }
        if let Some(reason) = &self.keep_derived {
            check_reason(reason)?;
            if !self.keep.is_empty() || matches!(self.scope, Scope::User { class: None, .. }) {
                return Err(Error::invalid(
                    "what was derived is kept by an erase of one class, or of one record; name one",
                ));
            }
        }
        if self.keep.is_empty() {
            return Ok(());
        }
        if self.keep.len() > KEPT_MAX {
            return Err(Error::invalid(format!("one erase keeps at most {KEPT_MAX} classes")));
        }
        match &self.scope {
            Scope::Record(_) => {
                Err(Error::invalid("a single record is erased or kept; leave one of the two out"))
            }
            Scope::User { class: Some(_), .. } => Err(Error::invalid(
                "an erase of one class can keep no other class; leave one of the two out",
            )),
            Scope::User { class: None, .. } => {
                let twice = |(n, class): (usize, &Class)| self.keep[..n].contains(class);
                if self.keep.iter().enumerate().any(twice) {
                    return Err(Error::invalid(
                        "a class that stays is named twice; give it once, with one reason",
                    ));
                }
                self.reasons.iter().try_for_each(|reason| check_reason(reason))
            }
        }
    }

    /// The same, for a certificate that says when it was asked for.
    pub(crate) fn asked_at(mut self, at: Timestamp) -> Self {
        if let Some(request) = &mut self.request {
            request.asked = Some(at);
        }
        self
    }

    /// Whether it fits among a user's plans; what comes back from there has no window, for it is
    /// final when it is done.
    pub(crate) fn into_plan(self) -> Result<Self> {
        let reasons = self.written().map(|(_, reason)| reason.len()).sum::<usize>();
        let derived = self.keep_derived.as_ref().map_or(0, String::len);
        let asked = self.request.as_ref().map_or(0, |r| r.authority.len() + r.ground.len());
        if reasons + derived + asked > REASON_MAX_BYTES {
            return Err(Error::invalid(format!(
                "the reasons of one planned erase, and for whom and on what ground it is certified, \
                 have at most {REASON_MAX_BYTES} bytes together; shorten them"
            )));
        }
        Ok(Erase { window: None, drafted: None, ..self })
    }

    /// What stays, as it is written: a reason like the one before it is left out.
    fn written(&self) -> impl Iterator<Item = (&Class, &str)> {
        let before = std::iter::once("").chain(self.reasons.iter().map(String::as_str));
        self.stays()
            .zip(before)
            .map(|((class, reason), before)| (class, if reason == before { "" } else { reason }))
    }
}

/// Interactions have ids with 48 bits of time.
fn check_span(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<()> {
    let most = 1 << 48;
    if until == Some(Timestamp(0)) {
        return Err(Error::invalid("nothing can have begun before the year 1970"));
    }
    if from.iter().chain(&until).any(|bound| bound.0 >= most) {
        return Err(Error::invalid(
            "no interaction begins in that time; leave a bound out to have none",
        ));
    }
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        return Err(Error::invalid("the time range is empty: its end is not after its beginning"));
    }
    Ok(())
}

impl From<Scope> for Erase {
    fn from(scope: Scope) -> Self {
        Erase::new(scope)
    }
}

pub(crate) fn check_reason(reason: &str) -> Result<()> {
    if reason.trim().is_empty() || reason.len() > REASON_MAX_BYTES {
        return Err(Error::invalid(format!(
            "a reason of 1 to {REASON_MAX_BYTES} bytes is needed: it is stored in the user's history"
        )));
    }
    Ok(())
}

const RECORD: u8 = 1;
const PART: u8 = 2;
const NONE: u64 = u64::MAX;
/// In the place of the number of kept classes: what was derived is kept.
const DERIVED: u8 = 255;

impl Erase {
    /// Writes it for the page of its user.
    pub(crate) fn write(&self, e: &mut Encoder) {
        match &self.scope {
            Scope::Record(id) => {
                e.u8(RECORD).bytes(&id.to_bytes());
            }
            Scope::User { class, when, .. } => {
                e.u8(PART).text(class.as_ref().map_or("", Class::as_str));
                match when {
                    When::Ever => e.u8(0),
                    When::Interaction(id) => e.u8(1).bytes(&id.0),
                    When::Between { from, until } => {
                        e.u8(2).u64(from.map_or(NONE, |t| t.0)).u64(until.map_or(NONE, |t| t.0))
                    }
                };
            }
        }
        match &self.keep_derived {
            Some(reason) => e.u8(DERIVED).text(reason),
            None => e.u8(self.keep.len() as u8),
        };
        for (class, reason) in self.written() {
            e.text(class.as_str()).text(reason);
        }
        if let Some(Request { authority, ground, .. }) = &self.request {
            e.text(authority).text(ground);
        }
    }

    /// Reads it from the page of `user`.
    pub(crate) fn read(d: &mut Decoder<'_>, user: &UserId) -> Result<Self> {
        let bad = |_| Decoder::new(&[], "planned erase").bad();
        let time = |t: u64| (t != NONE).then_some(Timestamp(t));
        let scope = match d.u8()? {
            RECORD => Scope::Record(RecordId::from_bytes(&d.array()?).map_err(bad)?),
            PART => {
                let class = match d.text(CLASS_MAX_BYTES)? {
                    "" => None,
                    name => Some(Class::new(name).map_err(bad)?),
                };
                let when = match d.u8()? {
                    0 => When::Ever,
                    1 => When::Interaction(InteractionId::from_bytes(d.array()?).map_err(bad)?),
                    2 => When::Between { from: time(d.u64()?), until: time(d.u64()?) },
                    _ => return Err(d.bad()),
                };
                Scope::User { user: user.clone(), class, when }
            }
            _ => return Err(d.bad()),
        };
        let mut erase = Erase::new(scope);
        let kept = match d.u8()? {
            DERIVED => {
                erase.keep_derived = Some(d.text(REASON_MAX_BYTES)?.to_owned());
                0
            }
            kept => kept,
        };
        for _ in 0..kept {
            erase.keep.push(Class::new(d.text(CLASS_MAX_BYTES)?).map_err(bad)?);
            let reason = d.text(REASON_MAX_BYTES)?;
            let before = erase.reasons.last().map(String::as_str);
            let reason = match reason {
                "" => before.ok_or_else(|| d.bad())?.to_owned(),
                reason if before == Some(reason) => return Err(d.bad()),
                reason => reason.to_owned(),
            };
            erase.reasons.push(reason);
        }
        if d.left() > 0 {
            let authority = d.text(AUTHORITY_MAX_BYTES)?.to_owned();
            let ground = d.text(REASON_MAX_BYTES)?.to_owned();
            erase.request = Some(Request { authority, ground, asked: None });
        }
        Ok(erase)
    }
}
