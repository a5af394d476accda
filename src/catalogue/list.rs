//! Listing records, a page at a time.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;

use super::by_name;
use super::info::{label_fits, listed};
use super::query::{Listing, Query, bounds, cut};
use super::resolve::{Resolver, resolver};
use super::view::View;
use crate::error::{ErrorKind, Result};
use crate::ids::{ClassTag, InteractionId, RecordId, UserTag};
use crate::record::{Entry, RecordInfo};
use crate::tree::keys::{record_key, split_record_key};
use crate::tree::labels::Label;
use crate::tree::or_go_on;
use crate::tree::ordered::{OrderedKey, Range};
use crate::tree::user::{ClassSlot, UserPage, class_place};
use crate::tree::users::Found;

/// Lists records of one user, or of all, user after user.
///
/// # Errors
/// `Erased` or `Absent` for a user that was erased or never was here; `Invalid` for a listing by
/// name of more than one user, or in another order; `Corrupt`, `Io`.
pub(crate) fn list(view: &View<'_>, query: &Query) -> Result<Listing> {
    if query.is_by_name() {
        return by_name::list(view, query);
    }
    let limit = query.most();
    let (records, _) = collect(view, query, Room { records: limit + 1, interactions: usize::MAX })?;
    let mut listing = Listing { records, ..Listing::default() };
    if listing.records.len() > limit {
        cut(&mut listing.records, limit);
        listing.next = listing.records.last().map(|record| record.id);
    }
    Ok(listing)
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
                let page = users.page(user, &page);
                let listed = page.and_then(|page| self.list_user(user, &page, &whole));
                if or_go_on(self.view.pages, listed)?.is_none() {
                    // It has one record, as far as is known.
                    self.room.records -= 1;
                    self.room.interactions -= 1;
                }
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
        for slot in page
            .classes
            .iter()
            .filter(|slot| wanted.is_none_or(|wanted| wanted == slot.tag))
            .filter(|slot| !slot.class.is_of_uploads())
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
        let mut entries = Vec::new();
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
            entries.push((*key, id, entry));
            left.records -= 1;
            left.interactions -= usize::from(last.replace(interaction) != Some(interaction));
            let full = left.records == 0 || left.interactions == 0;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let mut labels = self.labels(user, slot, &entries)?;
        for (key, id, entry) in entries {
            let label = labels.remove(&key);
            label_fits(&id, &entry, label.as_ref())?;
            let info = listed(&id, &page.user, &slot.class, &entry, label.as_ref())?;
            found.push(Row { at: (id.interaction, class, id.ordinal), info });
        }
        Ok(())
    }

    /// The labels of entries, if they have one.
    fn labels(
        &self,
        user: UserTag,
        slot: &ClassSlot,
        entries: &[(OrderedKey, RecordId, Entry)],
    ) -> Result<HashMap<OrderedKey, Label>> {
        let with = entries.iter().filter(|(_, _, entry)| entry.is_labelled());
        let mut records: Vec<OrderedKey> = with.map(|(key, ..)| *key).collect();
        records.sort_unstable();
        let mut labels = HashMap::new();
        slot.labels.of_records(self.view.pages, user, &records, &mut |key, label| {
            labels.insert(*key, label);
            Ok(())
        })?;
        Ok(labels)
    }
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
