//! Listing records by name, a page at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use zeroize::Zeroizing;

use super::info::{label_fits, listed, nameless};
use super::query::{Listing, Query, bounds, cut};
use super::resolve::{Resolver, resolver};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserTag};
use crate::record::{Entry, RecordInfo};
use crate::tree::keys::split_record_key;
use crate::tree::labels::Label;
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
            listing.records.extend(self.infos(&named)?);
            if listing.records.len() > limit {
                cut(&mut listing.records, limit);
                listing.next_name = listing.records.last().and_then(|last| last.name.clone());
                return Ok(listing);
            }
            if is_end {
                return Ok(listing);
            }
            // Some fell with a source.
            after = named.into_iter().next_back().map(|named| named.name);
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

    /// What a list shows of the records that have these names, in their order, without those that
    /// fell with a source and are still in the tree.
    fn infos(&mut self, named: &[Named<'a>]) -> Result<Vec<RecordInfo>> {
        let mut infos = Vec::with_capacity(named.len());
        for slot in &self.page.classes {
            let of_class = named.iter().enumerate().filter(|(_, named)| named.slot.tag == slot.tag);
            // Names in the order of their records, which is that of the pages with the entries.
            let names: BTreeMap<OrderedKey, (usize, &str)> =
                of_class.map(|(n, named)| (named.key, (n, named.name.as_str()))).collect();
            for (key, entry, label) in self.entries(slot, &names)? {
                let (n, name) = names[&key];
                if let Some(info) = self.info(slot, &key, name, &entry, label)? {
                    infos.push((n, info));
                }
            }
        }
        infos.sort_unstable_by_key(|(n, _)| *n);
        Ok(infos.into_iter().map(|(_, info)| info).collect())
    }

    /// The entries of records of one class, with their labels if these have more than a name.
    fn entries(
        &self,
        slot: &ClassSlot,
        names: &BTreeMap<OrderedKey, (usize, &str)>,
    ) -> Result<Vec<(OrderedKey, Entry, Option<Label>)>> {
        let (pages, place) = (self.view.pages, class_place(self.user));
        let keys: Vec<_> = names.keys().map(|key| (*key, *key)).collect();
        let mut entries = Vec::with_capacity(keys.len());
        slot.tree.scan_ranges(pages, place, &keys, &mut |key, entry| {
            entries.push((*key, Entry::decode(entry)?, None));
            Ok(())
        })?;
        if entries.len() < keys.len() {
            return Err(nameless());
        }
        let described: Vec<OrderedKey> =
            entries.iter().filter(|(_, entry, _)| entry.described).map(|(key, ..)| *key).collect();
        let mut of = entries.iter_mut();
        slot.labels.of_records(pages, self.user, &described, &mut |key, label| {
            if let Some((_, _, place)) = of.find(|(of, ..)| of == key) {
                *place = Some(label);
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// What a list shows of a record; `None` if it fell with a source.
    fn info(
        &mut self,
        slot: &ClassSlot,
        key: &OrderedKey,
        name: &str,
        entry: &Entry,
        label: Option<Label>,
    ) -> Result<Option<RecordInfo>> {
        let (interaction, ordinal) = split_record_key(key)?;
        let (user, incarnation, class) = (self.user, self.page.incarnation, slot.tag);
        let id = RecordId { interaction, user, incarnation, class, ordinal };
        if let Some(resolver) = self.fallen.as_mut().filter(|_| entry.sources > 0) {
            match resolver.resolve(&id) {
                Err(e) if e.kind() == ErrorKind::Erased => return Ok(None),
                resolved => resolved.map(|_| ())?,
            }
        }
        let label = label.unwrap_or_else(|| Label::named(name));
        label_fits(&id, entry, Some(&label))?;
        listed(&id, &self.page.user, &slot.class, entry, Some(&label)).map(Some)
    }
}
