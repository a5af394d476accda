//! A part of a user: which records an erase takes out of the user's trees, which it leaves, and the fences in their place.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::cascade::Links;
use super::clock::Reading;
use super::edit::{Edit, page_of};
use super::erase::Applied;
use super::lineage::Fate;
use super::read::Selector;
use super::{Inner, State};
use crate::crypto::{Key, class_tag};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::scope::{Erase, Scope, When};
use crate::tree::fences::Point;
use crate::tree::history::StoredFact;
use crate::tree::holds::Hold;
use crate::tree::inbox::Inbox;
use crate::tree::keys::{record_key, split_record_key};
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};
use crate::tree::user::{UserPage, class_place};
use crate::tree::{Editor, Link, Pages};

/// Some classes of a user, some interactions.
pub(super) struct Part {
    user: UserTag,
    incarnation: u16,
    /// Of one class, or of all that are not kept.
    class: Option<ClassTag>,
    kept: Vec<ClassTag>,
    when: When,
    low: OrderedKey,
    high: OrderedKey,
}

fn first_of(began: Timestamp) -> OrderedKey {
    let mut key = KEY_MIN;
    key[..6].copy_from_slice(&began.0.to_be_bytes()[2..]);
    key
}

impl Part {
    pub(super) fn of(
        page: &UserPage,
        (user, incarnation): (UserTag, u16),
        (class, keep): (Option<&Class>, &[Class]),
        when: When,
    ) -> Result<Self> {
        let (low, high) = match when {
            When::Ever => (KEY_MIN, KEY_MAX),
            When::Interaction(id) => (record_key(id, 0), record_key(id, u32::MAX)),
            When::Between { from, until } => {
                let low = first_of(from.unwrap_or_default());
                let high = match until {
                    None => KEY_MAX,
                    Some(Timestamp(0)) => {
                        return Err(Error::invalid("nothing can have begun before the year 1970"));
                    }
                    Some(until) => {
                        let mut key = first_of(Timestamp(until.0 - 1));
                        key[6..].fill(0xFF);
                        key
                    }
                };
                if low > high || from.is_some_and(|f| f.0 >= 1 << 48) || until.is_some_and(|u| u.0 >= 1 << 48) {
                    return Err(Error::invalid("the time range is empty: its end is not after its beginning"));
                }
                (low, high)
            }
        };
        let kept = keep.iter().map(|class| page.class_tag(class)).collect();
        Ok(Part { user, incarnation, class: class.map(|c| page.class_tag(c)), kept, when, low, high })
    }

    /// The key of the part, where the part is one class, whole.
    pub(super) fn whole_class<'p>(&self, page: &'p UserPage) -> Option<(&'p Class, Key)> {
        let slot = self.class.filter(|_| matches!(self.when, When::Ever)).and_then(|tag| page.class(tag))?;
        match &slot.tree.root {
            Some(Link::Stored(at)) => Some((&slot.class, at.key())),
            _ => None,
        }
    }

    /// Whether a record lies in the span of the part, whatever its class.
    fn spans(&self, id: &RecordId) -> bool {
        let key = record_key(id.interaction, id.ordinal);
        (id.user, id.incarnation) == (self.user, self.incarnation) && (self.low..=self.high).contains(&key)
    }

    fn takes(&self, id: &RecordId) -> bool {
        self.spans(id) && self.takes_class(&id.class)
    }

    fn takes_class(&self, class: &ClassTag) -> bool {
        self.class.is_none_or(|c| c == *class) && !self.kept.contains(class)
    }

    /// Whether nothing is left of what another erase names, a record or an interaction.
    fn takes_all_of(&self, erase: &Erase, tag_of: &dyn Fn(&Class) -> ClassTag) -> bool {
        match erase.scope() {
            Scope::Record(id) => self.takes(id),
            Scope::User { class, when: When::Interaction(id), .. } => {
                let whole = record_key(*id, 0) >= self.low && record_key(*id, u32::MAX) <= self.high;
                whole
                    && match class {
                        None => self.class.is_none() && self.kept.is_empty(),
                        Some(class) => self.takes_class(&tag_of(class)),
                    }
            }
            Scope::User { .. } => false,
        }
    }

    fn range(&self) -> Range<'_> {
        Range { low: &self.low, high: &self.high, descending: false }
    }

    /// Whether there is nothing to do, since a single interaction was erased before. One that was never here is not, nor one in a span in
    /// doubt: what is on its way must find a fence.
    pub(super) fn is_erased(&self, editor: &Editor<'_>, page: &UserPage) -> Result<bool> {
        let When::Interaction(id) = self.when else {
            return Ok(false);
        };
        let mut there = false;
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            slot.tree.scan(editor.pages, class_place(self.user), self.range(), &mut |_, _| {
                there = true;
                Ok(ControlFlow::Break(()))
            })?;
        }
        match self.class {
            _ if there => Ok(false),
            Some(class) => page.fences.cover_for_good(editor.pages, self.user, &page.fence_key, (class, id, None)),
            None => page.fences.cover_interaction(editor.pages, self.user, &page.fence_key, id),
        }
    }

    /// Whether a hold covers some of the part, or a held record depends on some of it.
    pub(super) fn is_held(&self, pages: &dyn Pages, page: &UserPage) -> Result<bool> {
        let touches = |hold: &Hold| {
            hold.class.as_ref().is_none_or(|class| self.takes_class(&page.class_tag(class)))
                && hold.interaction.is_none_or(|i| record_key(i, 0) <= self.high && record_key(i, u32::MAX) >= self.low)
        };
        if page.holds.all(pages, self.user)?.iter().any(|(_, hold)| touches(hold)) {
            return Ok(true);
        }
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            if page.holds.is_marked(pages, self.user, slot.tag, &self.low, &self.high)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The interactions of the part that have records.
    pub(super) fn interactions(&self, pages: &dyn Pages, page: &UserPage) -> Result<BTreeSet<InteractionId>> {
        let mut ids = BTreeSet::new();
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            slot.tree.scan(pages, class_place(self.user), self.range(), &mut |key, _| {
                ids.insert(split_record_key(key)?.0);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(ids)
    }

    /// Drops the part's records and leaves its fence.
    pub(super) fn erase(
        &self,
        editor: &mut Editor<'_>,
        page: &mut UserPage,
        (epoch, clock): (u64, Reading),
    ) -> Result<Applied> {
        let tag = self.user;
        let classes: Vec<ClassTag> = page.classes.iter().map(|c| c.tag).filter(|c| self.takes_class(c)).collect();
        // A range fence ends now, as far as the clock is believed; what lies ahead of that gets a fence of its own.
        let (latest, sure) = (clock.latest().0, clock.sure());
        let ahead = match self.when {
            When::Interaction(_) => Vec::new(),
            _ => self.interactions_after(editor, page, sure)?,
        };
        let mut links = Vec::with_capacity(classes.len());
        for class in &classes {
            let (tree, count) = page.lineage.take(editor, tag, *class, &self.low, &self.high)?;
            links.push(Links { owner: tag, incarnation: self.incarnation, tree, count });
        }
        let counts = remove(editor, tag, page, &classes, (&self.low, &self.high))?;
        // Copies of what fell may lie in envelopes.
        page.inbox = Inbox::default();
        // Also of a class that is left empty, and went with its name.
        let fence_key = &page.fence_key;
        let tag_of = |class: &Class| class_tag(fence_key, class.as_str());
        page.plans.forget(editor, tag, &page.user, &|erase| self.takes_all_of(erase, &tag_of))?;
        let fences = &mut page.fences;
        match (self.when, self.class) {
            (When::Interaction(id), Some(class)) => {
                fences.add_point(editor, tag, &page.fence_key, Point::ClassInteraction(class, id), epoch)?;
            }
            (When::Interaction(id), None) => {
                fences.add_point(editor, tag, &page.fence_key, Point::Interaction(id), epoch)?;
            }
            (_, class) => {
                let first = began(&self.low);
                // What this engine begins in this very moment is new.
                let last = began(&self.high).min(if latest > sure.0 { latest - 1 } else { latest });
                fences.add_range(editor, tag, class, (first, last.min(sure.0)), epoch)?;
                fences.add_doubted(editor, tag, class, (first.max(sure.0 + 1), last), epoch)?;
                for (class, id) in ahead {
                    fences.add_point(editor, tag, &page.fence_key, Point::ClassInteraction(class, id), epoch)?;
                }
            }
        }
        let selector = |class| Selector { user: tag, class, low: self.low, high: self.high };
        let selectors = if self.kept.is_empty() {
            vec![selector(self.class)]
        } else {
            classes.iter().map(|class| selector(Some(*class))).collect()
        };
        Ok(Applied { selectors, links, ..Applied::of(counts) })
    }

    fn interactions_after(
        &self,
        editor: &Editor<'_>,
        page: &UserPage,
        now: Timestamp,
    ) -> Result<Vec<(ClassTag, InteractionId)>> {
        let low = self.low.max(first_of(Timestamp(now.0 + 1)));
        let range = Range { low: &low, ..self.range() };
        let mut ahead = Vec::new();
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            slot.tree.scan(editor.pages, class_place(self.user), range, &mut |key, _| {
                let id = split_record_key(key)?.0;
                if ahead.last() != Some(&(slot.tag, id)) {
                    ahead.push((slot.tag, id));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(ahead)
    }
}

impl Inner {
    /// Detaches the records that stay from those that fall, and writes down that they stay. What is to be cut is known before the first
    /// cut. A record that fell with another one before stays no more than it did.
    pub(super) fn keep(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        part: &Part,
        (erase, now): (&Erase, Timestamp),
    ) -> Result<()> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let (user, incarnation) = (part.user, part.incarnation);
        let mut staying: Vec<(ClassTag, &str, Vec<RecordId>)> = Vec::new();
        if let Some(page) = page_of(editor, root, user)? {
            for ((_, reason), tag) in erase.stays().zip(&part.kept) {
                let mut ids = Vec::new();
                if let Some(slot) = page.class(*tag) {
                    slot.tree.scan(pages, class_place(user), part.range(), &mut |key, _| {
                        let (interaction, ordinal) = split_record_key(key)?;
                        ids.push(RecordId { interaction, user, incarnation, class: *tag, ordinal });
                        Ok(ControlFlow::Continue(()))
                    })?;
                }
                staying.push((*tag, reason, ids));
            }
        }
        let kept = |id: &RecordId| part.spans(id) && part.kept.contains(&id.class);
        let taken = |id: &RecordId| part.takes(id);
        let mut cuts = Vec::new();
        #[cfg(feature = "testing")]
        let as_one = self.defect(super::Defect::FailTogether);
        {
            let mut fate = Fate::new(state, pages, (&taken, &kept), (&edit.fell, &edit.cuts));
            for (.., ids) in &mut staying {
                let mut stay = Vec::with_capacity(ids.len());
                for id in std::mem::take(ids) {
                    #[cfg(feature = "testing")]
                    if as_one && fate.falling_sources(&id).is_ok_and(|falling| falling.is_none()) {
                        return Err(super::read::record_erased(&id));
                    }
                    if let Some(falling) = fate.falling_sources(&id).map_err(|e| cannot_stay(&id, &e))? {
                        stay.push(id);
                        if !falling.is_empty() {
                            cuts.push((id, falling));
                        }
                    }
                }
                *ids = stay;
            }
        }
        let mut resolver = self.resolver(pages, state);
        for (id, falling) in &cuts {
            self.cut(edit, &mut resolver, (id, falling)).map_err(|e| cannot_stay(id, &e))?;
        }
        let (editor, root) = edit.parts()?;
        for (class, reason, ids) in staying.into_iter().filter(|(.., ids)| !ids.is_empty()) {
            let note = StoredFact::Kept { class, records: ids.len() as u64, reason: reason.to_owned() };
            if let Some(page) = page_of(editor, root, user)? {
                page.history.add(editor, user, now, &note)?;
            }
        }
        Ok(())
    }
}

/// Why a record cannot be kept: what a look at another one says is not what becomes of the erase.
fn cannot_stay(id: &RecordId, e: &Error) -> Error {
    let kind = match e.kind() {
        ErrorKind::Erased | ErrorKind::Absent => ErrorKind::Corrupt,
        kind => kind,
    };
    Error::new(
        kind,
        format!(
            "record {id} is to stay, and what it was derived from cannot be read, so nothing was erased; restore the store from a copy, or keep nothing: {e}"
        ),
    )
}

fn began(key: &OrderedKey) -> u64 {
    u64::from_be_bytes([0, 0, key[0], key[1], key[2], key[3], key[4], key[5]])
}

/// Whether a user's page has a record.
pub(super) fn is_there(editor: &Editor<'_>, page: &UserPage, id: &RecordId) -> Result<bool> {
    let key = record_key(id.interaction, id.ordinal);
    match page.class(id.class).filter(|_| page.incarnation == id.incarnation) {
        Some(slot) => Ok(slot.tree.get(editor.pages, class_place(id.user), &key)?.is_some()),
        None => Ok(false),
    }
}

/// Leaves the fence of a record of a live user that is not there: its id is never given, and says erased.
pub(super) fn fence_record(editor: &mut Editor<'_>, page: &mut UserPage, id: &RecordId, epoch: u64) -> Result<Applied> {
    let what = (id.class, id.interaction, Some(id.ordinal));
    if page.fences.cover_for_good(editor.pages, id.user, &page.fence_key, what)? {
        return Ok(Applied::already());
    }
    let point = Point::Record(id.class, id.interaction, id.ordinal);
    page.fences.add_point(editor, id.user, &page.fence_key, point, epoch)?;
    Ok(Applied::of(Vec::new()))
}

/// Drops one record of a live user and leaves its fence; `None` where it is not there. Whether it is held was asked before, or it fell
/// before it was held.
pub(super) fn erase_record(
    editor: &mut Editor<'_>,
    page: &mut UserPage,
    id: &RecordId,
    epoch: u64,
) -> Result<Option<Applied>> {
    let (tag, incarnation) = (id.user, page.incarnation);
    let key = record_key(id.interaction, id.ordinal);
    if !is_there(editor, page, id)? {
        return Ok(None);
    }
    let counts = remove(editor, tag, page, &[id.class], (&key, &key))?;
    page.inbox = Inbox::default();
    let is_it = |erase: &Erase| matches!(erase.scope(), Scope::Record(there) if there == id);
    page.plans.forget(editor, tag, &page.user, &is_it)?;
    page.fences.add_point(editor, tag, &page.fence_key, Point::Record(id.class, id.interaction, id.ordinal), epoch)?;
    let (tree, count) = page.lineage.take(editor, tag, id.class, &key, &key)?;
    Ok(Some(Applied {
        selectors: vec![Selector { user: tag, class: Some(id.class), low: key, high: key }],
        links: vec![Links { owner: tag, incarnation, tree, count }],
        ..Applied::of(counts)
    }))
}

/// Drops the records of some classes in `low..=high`; a class that is left empty goes with its name.
fn remove(
    editor: &mut Editor<'_>,
    tag: UserTag,
    page: &mut UserPage,
    classes: &[ClassTag],
    (low, high): (&OrderedKey, &OrderedKey),
) -> Result<Vec<(Class, u64)>> {
    let mut counts = Vec::with_capacity(classes.len());
    for slot in page.classes.iter_mut().filter(|slot| classes.contains(&slot.tag)) {
        if *low == KEY_MIN && *high == KEY_MAX {
            // The whole class: one pointer, whatever is below it.
            slot.tree = Default::default();
            counts.push((slot.class.clone(), std::mem::take(&mut slot.records)));
        } else {
            let n = slot.tree.remove_range(editor, class_place(tag), low, high)?;
            slot.records -= n;
            counts.push((slot.class.clone(), n));
        }
    }
    page.classes.retain(|slot| slot.tree.root.is_some());
    Ok(counts)
}
