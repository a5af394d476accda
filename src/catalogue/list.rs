//! Listing records, a page at a time.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::resolve::{Resolver, resolver};
use super::view::View;
use crate::error::{ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::LIST_MAX;
use crate::record::{Entry, RecordInfo};
use crate::time::Span;
use crate::tree::keys::{record_key, split_record_key};
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};
use crate::tree::user::{ClassSlot, UserPage, class_place};
use crate::tree::users::Found;

/// What to list; [`Query::default`] lists everything.
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

    /// The limit of a page, where 0 stands for the highest.
    pub(super) fn most(&self) -> usize {
        if self.limit == 0 { LIST_MAX } else { self.limit.min(LIST_MAX) }
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Records of this page, in the order that the query asks for.
    pub records: Vec<RecordInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<RecordId>,
}

/// Lists records of one user, or of all, user after user.
///
/// # Errors
/// `Erased` or `Absent` for a user that was erased or never was here; `Corrupt`, `Io`.
pub(crate) fn list(view: &View<'_>, query: &Query) -> Result<Listing> {
    let limit = query.most();
    let (records, _) = collect(view, query, Room { records: limit + 1, interactions: usize::MAX })?;
    let mut listing = Listing { records, next: None };
    if listing.records.len() > limit {
        cut(&mut listing.records, limit);
        listing.next = listing.records.last().map(|record| record.id);
    }
    Ok(listing)
}

/// Leaves so many records, and wipes the others.
pub(super) fn cut(records: &mut Vec<RecordInfo>, len: usize) {
    records.drain(len.min(records.len())..).for_each(|mut record| record.wipe());
}

/// Records that a page has room for, and the room that they leave. Of the last interaction that
/// there was room for not all records need be among them.
pub(super) fn collect(
    view: &View<'_>,
    query: &Query,
    room: Room,
) -> Result<(Vec<RecordInfo>, Room)> {
    let mut lister = Lister {
        view,
        // While an erase is still being followed, what it made unreadable is still in the tree.
        fallen: view.is_falling().then(|| resolver(view)),
        room,
        records: Vec::new(),
    };
    match &query.user {
        Some(user) => {
            let (tag, page) = view.user(user)?;
            lister.list_user(tag, &page, query)?;
        }
        None => lister.list_all(query)?,
    }
    Ok((lister.records, lister.room))
}

/// How much a page may still hold.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) interactions: usize,
}

/// A record's metadata, from its entry.
pub(crate) fn info(id: &RecordId, user: &UserId, class: &Class, entry: &Entry) -> RecordInfo {
    RecordInfo {
        id: *id,
        user: user.clone(),
        interaction: id.interaction,
        class: class.clone(),
        media_type: entry.media_type.clone(),
        purpose: (*entry.purpose).clone(),
        created: entry.created(id.interaction),
        length: entry.length,
        sources: entry.sources,
        detached: entry.detached,
    }
}

/// A listing in the making.
struct Lister<'a> {
    view: &'a View<'a>,
    fallen: Option<Resolver<'a>>,
    room: Room,
    records: Vec<RecordInfo>,
}

/// A record that was found, by what it is sorted by.
struct Row {
    at: (InteractionId, ClassTag, u32),
    info: RecordInfo,
}

impl Row {
    fn is_of_one(&self, other: &Row) -> bool {
        self.at.0 == other.at.0
    }
}

impl Room {
    /// Leaves of rows in order what there is room for.
    fn cut(self, rows: &mut Vec<Row>) {
        let fit = &rows[..rows.len().min(self.records)];
        let of_some: usize =
            fit.chunk_by(Row::is_of_one).take(self.interactions).map(<[Row]>::len).sum();
        rows.drain(of_some..).for_each(|mut row| row.info.wipe());
    }
}

impl Lister<'_> {
    fn list_all(&mut self, query: &Query) -> Result<()> {
        let users = self.view.users();
        if let Some(after) = &query.after
            && let Some(page) = users.live(after.user)?
        {
            self.list_user(after.user, &page, query)?;
        }
        let whole = Query { after: None, ..query.clone() };
        users.visit(query.after.map(|after| after.user), &mut |user, found| {
            if self.room.records == 0 || self.room.interactions == 0 {
                return Ok(ControlFlow::Break(()));
            }
            if let Found::Live { page, .. } = found {
                self.list_user(user, &users.page(user, &page)?, &whole)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Appends records of one user in order of interaction, class, ordinal.
    fn list_user(&mut self, user: UserTag, page: &UserPage, query: &Query) -> Result<()> {
        let Some((low, high)) = bounds(query) else {
            return Ok(());
        };
        let wanted = query.class.as_ref().map(|class| page.class_tag(class));
        let mut found = Vec::new();
        for slot in
            page.classes.iter().filter(|slot| wanted.is_none_or(|wanted| wanted == slot.tag))
        {
            let Some((low, high)) = after(query, slot, user, low, high) else {
                continue;
            };
            let range = Range { low: &low, high: &high, descending: query.newest_first };
            self.list_class(user, page, slot, range, &mut found)?;
            found.sort_by(|a, b| {
                let order = a.at.cmp(&b.at);
                if query.newest_first { order.reverse() } else { order }
            });
            self.room.cut(&mut found);
        }
        self.room.records -= found.len();
        self.room.interactions -= found.chunk_by(Row::is_of_one).count();
        self.records.extend(found.into_iter().map(|row| row.info));
        Ok(())
    }

    /// Finds records of one class, as many as there is room for: of each interaction but the last
    /// all.
    fn list_class(
        &mut self,
        user: UserTag,
        page: &UserPage,
        slot: &ClassSlot,
        range: Range<'_>,
        found: &mut Vec<Row>,
    ) -> Result<()> {
        let (mut left, mut last) = (self.room, None);
        let (incarnation, class) = (page.incarnation, slot.tag);
        let fallen = &mut self.fallen;
        slot.tree.scan(self.view.pages, class_place(user), range, &mut |key, value| {
            let (interaction, ordinal) = split_record_key(key)?;
            let id = RecordId { interaction, user, incarnation, class, ordinal };
            let entry = Entry::decode(value)?;
            if let Some(resolver) = fallen.as_mut().filter(|_| entry.sources > 0) {
                match resolver.resolve(&id) {
                    Err(e) if e.kind() == ErrorKind::Erased => {
                        return Ok(ControlFlow::Continue(()));
                    }
                    resolved => resolved.map(|_| ())?,
                }
            }
            let info = info(&id, &page.user, &slot.class, &entry);
            found.push(Row { at: (interaction, class, ordinal), info });
            left.records -= 1;
            left.interactions -= usize::from(last.replace(interaction) != Some(interaction));
            let full = left.records == 0 || left.interactions == 0;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}

/// The first and the last key that a query asks for; `None` if no key is between them.
fn bounds(query: &Query) -> Option<(OrderedKey, OrderedKey)> {
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

/// Narrows a class's range to what comes after the cursor.
fn after(
    query: &Query,
    slot: &ClassSlot,
    user: UserTag,
    low: OrderedKey,
    high: OrderedKey,
) -> Option<(OrderedKey, OrderedKey)> {
    let Some(after) = query.after.filter(|after| after.user == user) else {
        return Some((low, high));
    };
    let at = record_key(after.interaction, after.ordinal);
    let (first, last) = (record_key(after.interaction, 0), record_key(after.interaction, u32::MAX));
    let (mut low, mut high) = (low, high);
    if query.newest_first {
        // Descending: classes before the cursor's come later within the interaction.
        let bound = match slot.tag.cmp(&after.class) {
            Ordering::Less => last,
            Ordering::Equal => below(at)?,
            Ordering::Greater => below(first)?,
        };
        high = high.min(bound);
    } else {
        let bound = match slot.tag.cmp(&after.class) {
            Ordering::Less => above(last)?,
            Ordering::Equal => above(at)?,
            Ordering::Greater => first,
        };
        low = low.max(bound);
    }
    (low <= high).then_some((low, high))
}

/// The key after `key`.
fn above(mut key: OrderedKey) -> Option<OrderedKey> {
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(key);
        }
    }
    None
}

/// The key before `key`.
fn below(mut key: OrderedKey) -> Option<OrderedKey> {
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != 0xFF {
            return Some(key);
        }
    }
    None
}
