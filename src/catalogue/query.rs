//! What to list, and what a listing gives.

use crate::ids::{Class, InteractionId, RecordId, Timestamp, UserId};
use crate::limits::LIST_MAX;
use crate::record::RecordInfo;
use crate::time::Span;
use crate::tree::keys::record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey};

/// What to list; [`Query::default`] lists everything.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, Query, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let ada = UserId::new("ada")?;
/// # for _ in 0..3 {
/// #     engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
/// # }
/// let mut query = Query::default().user(ada).class(Class::audio()).limit(2);
/// let mut seen = 0;
/// loop {
///     let page = engine.list(&query)?;
///     seen += page.records.len();
///     query = match page.next {
///         Some(next) => query.after(next),
///         None => break,
///     };
/// }
/// assert_eq!(seen, 3);
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Query {
    /// Only records of this user; `None` lists all users, one after another in no meaningful order.
    pub user: Option<UserId>,
    /// Only records of this class; `None` lists all classes.
    pub class: Option<Class>,
    /// Only records of this interaction; `None` lists all interactions.
    pub interaction: Option<InteractionId>,
    /// Only records of interactions that began at this time or later;
    /// [`Put::created`](crate::Put::created) does not count.
    pub from: Option<Timestamp>,
    /// Only records of interactions that began before this time.
    pub until: Option<Timestamp>,
    /// Newest interaction first; the default is oldest first.
    pub newest_first: bool,
    /// The most records of one page, or interactions of one ([`Engine::interactions`]); 0 stands
    /// for the highest limit, 10,000.
    ///
    /// [`Engine::interactions`]: crate::Engine::interactions
    pub limit: usize,
    /// After this record, which the page before gave as `next`.
    pub after: Option<RecordId>,
    /// Only records with a name that begins so, in the order of the bytes of their names; `None`
    /// lists records with and without a name, in the order of interactions.
    pub name_prefix: Option<String>,
    /// In a listing by name, after this name, whether a record has it or not: the page before gave
    /// it as `next_name`.
    pub after_name: Option<String>,
}

impl Query {
    /// Restricts the listing to one user; `None` lifts the restriction.
    #[must_use]
    pub fn user(self, user: impl Into<Option<UserId>>) -> Self {
        Query { user: user.into(), ..self }
    }

    /// Restricts the listing to one class; `None` lifts the restriction.
    #[must_use]
    pub fn class(self, class: impl Into<Option<Class>>) -> Self {
        Query { class: class.into(), ..self }
    }

    /// Restricts the listing to one interaction; `None` lifts the restriction.
    #[must_use]
    pub fn interaction(self, id: impl Into<Option<InteractionId>>) -> Self {
        Query { interaction: id.into(), ..self }
    }

    /// Restricts the listing to interactions that began at this time or later.
    #[must_use]
    pub fn from(self, time: impl Into<Option<Timestamp>>) -> Self {
        Query { from: time.into(), ..self }
    }

    /// Restricts the listing to interactions that began before this time.
    #[must_use]
    pub fn until(self, time: impl Into<Option<Timestamp>>) -> Self {
        Query { until: time.into(), ..self }
    }

    /// Restricts the listing to interactions that began within a span, such as a day
    /// ([`crate::time::parse`]).
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        self.from(span.from).until(span.before)
    }

    /// Sets whether the newest interaction comes first.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Query { newest_first, ..self }
    }

    /// The most records, or interactions, of one page; 0 stands for 10,000.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Query { limit, ..self }
    }

    /// Begins the page after this record, or its interaction: what the page before gave as `next`.
    /// It says a place in the order, so the record itself may be erased meanwhile.
    #[must_use]
    pub fn after(self, id: impl Into<Option<RecordId>>) -> Self {
        Query { after: id.into(), ..self }
    }

    /// Lists one user's records by name: those with a name that begins so, in the order of its
    /// bytes. An empty prefix lists all that have a name.
    #[must_use]
    pub fn name_prefix(self, prefix: impl Into<String>) -> Self {
        Query { name_prefix: Some(prefix.into()), ..self }
    }

    /// Begins the page of a listing by name after this name: [`Listing::next_name`] of the page
    /// before, or any other.
    #[must_use]
    pub fn after_name(self, name: impl Into<Option<String>>) -> Self {
        Query { after_name: name.into(), ..self }
    }

    /// The limit of a page, where 0 stands for the highest.
    pub(super) fn most(&self) -> usize {
        if self.limit == 0 { LIST_MAX } else { self.limit.min(LIST_MAX) }
    }

    /// Whether the listing is one by name.
    pub(crate) fn is_by_name(&self) -> bool {
        self.name_prefix.is_some() || self.after_name.is_some()
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Records of this page, in the order that the query asks for.
    pub records: Vec<RecordInfo>,
    /// Where the next page begins; `None` at the end, and in a listing by name.
    pub next: Option<RecordId>,
    /// Where the next page of a listing by name begins, whatever becomes of the record that has the
    /// name now; `None` at the end.
    pub next_name: Option<String>,
}

/// Leaves so many records, and wipes the others.
pub(super) fn cut(records: &mut Vec<RecordInfo>, len: usize) {
    records.drain(len.min(records.len())..).for_each(|mut record| record.wipe());
}

/// The first and the last key that a query asks for; `None` if no key is between them.
pub(crate) fn bounds(query: &Query) -> Option<(OrderedKey, OrderedKey)> {
    let (mut low, mut high) = (KEY_MIN, KEY_MAX);
    if let Some(id) = query.interaction {
        (low, high) = (record_key(id, 0), record_key(id, u32::MAX));
    }
    if let Some(from) = query.from {
        let mut bound = KEY_MIN;
        bound[..6].copy_from_slice(&ms(from));
        low = low.max(bound);
    }
    if let Some(until) = query.until {
        let mut bound = KEY_MAX;
        bound[..6].copy_from_slice(&ms(Timestamp(until.0.checked_sub(1)?)));
        high = high.min(bound);
    }
    Some((low, high))
}

fn ms(time: Timestamp) -> [u8; 6] {
    let [_, _, ms @ ..] = time.0.min((1 << 48) - 1).to_be_bytes();
    ms
}
