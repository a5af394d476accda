//! Listing records by name, a page at a time.

use std::ops::ControlFlow;

use zeroize::Zeroizing;

use super::info::{label_named, listed};
use super::query::{Listing, Query, bounds};
use super::resolve::{Resolver, resolver};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserTag};
use crate::record::{Entry, RecordInfo};
use crate::tree::keys::split_record_key;
use crate::tree::ordered::OrderedKey;
use crate::tree::user::{ClassSlot, UserPage, class_place};

/// Lists one user's records by name.
///
/// # Errors
/// `Invalid` for all users, or for another order than that of names; as [`super::list::list`].
pub(crate) fn list(view: &View<'_>, query: &Query) -> Result<Listing> {
    let Some(user) = &query.user else {
        return Err(Error::invalid("names are a user's own; say whose with `Query::user`"));
    };
    if query.newest_first || query.after.is_some() {
        return Err(Error::invalid(
            "a listing by name is in the order of names and goes on after a name: use \
             `Query::after_name`, and neither `after` nor `newest_first`",
        ));
    }
    let (tag, page) = view.user(user)?;
    let Some(range) = bounds(query) else {
        return Ok(Listing::default());
    };
    let fallen = view.is_falling().then(|| resolver(view));
    ByName { view, user: tag, page: &page, query, range, fallen }.page_of(query.most())
}

/// A listing by name in the making.
struct ByName<'a> {
    view: &'a View<'a>,
    user: UserTag,
    page: &'a UserPage,
    query: &'a Query,
    /// The first and the last key of a record that the query asks for.
    range: (OrderedKey, OrderedKey),
    fallen: Option<Resolver<'a>>,
}

/// A name, and the record that has it.
struct Named<'a> {
    name: Zeroizing<String>,
    slot: &'a ClassSlot,
    key: OrderedKey,
}

impl<'a> ByName<'a> {
    fn page_of(&mut self, limit: usize) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut after = self.query.after_name.clone().map(Zeroizing::new);
        loop {
            let named = self.next(after.as_ref().map(|name| &***name), limit + 1)?;
            let is_end = named.len() <= limit;
            for Named { name, slot, key } in named {
                if let Some(info) = self.info(slot, &key, &name)? {
                    if listing.records.len() == limit {
                        listing.next_name =
                            listing.records.last().and_then(|last| last.name.clone());
                        return Ok(listing);
                    }
                    listing.records.push(info);
                }
                after = Some(name);
            }
            if is_end {
                return Ok(listing);
            }
        }
    }

    /// The next names of all classes in their order, at most `most`.
    fn next(&self, after: Option<&str>, most: usize) -> Result<Vec<Named<'a>>> {
        let prefix = self.query.name_prefix.as_deref().unwrap_or_default();
        let from = after.unwrap_or_default().max(prefix);
        let wanted = self.query.class.as_ref().map(|class| self.page.class_tag(class));
        let (low, high) = self.range;
        let mut all = Vec::new();
        let slots = self.page.classes.iter();
        for slot in slots.filter(|slot| wanted.is_none_or(|wanted| wanted == slot.tag)) {
            let mut n = 0;
            slot.labels.names(self.view.pages, self.user, from, &mut |name, key| {
                if !name.starts_with(prefix) || n == most {
                    return Ok(ControlFlow::Break(()));
                }
                if after != Some(name) && (low..=high).contains(key) {
                    all.push(Named { name: name.to_owned().into(), slot, key: *key });
                    n += 1;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.truncate(most);
        Ok(all)
    }

    /// What a list shows of a record; `None` where it fell with a source and still stands in the
    /// tree.
    fn info(
        &mut self,
        slot: &ClassSlot,
        key: &OrderedKey,
        name: &str,
    ) -> Result<Option<RecordInfo>> {
        let (interaction, ordinal) = split_record_key(key)?;
        let (user, incarnation, class) = (self.user, self.page.incarnation, slot.tag);
        let id = RecordId { interaction, user, incarnation, class, ordinal };
        let Some(entry) = slot.tree.get(self.view.pages, class_place(user), key)? else {
            return Err(Error::corrupt(
                "a name is that of no record; restore the store from a copy",
            ));
        };
        let entry = Entry::decode(&entry)?;
        if let Some(resolver) = self.fallen.as_mut().filter(|_| entry.sources > 0) {
            match resolver.resolve(&id) {
                Err(e) if e.kind() == ErrorKind::Erased => return Ok(None),
                resolved => resolved.map(|_| ())?,
            }
        }
        let label = label_named(self.view.pages, slot, &id, &entry, name)?;
        listed(&id, &self.page.user, &slot.class, &entry, label.as_ref()).map(Some)
    }
}
