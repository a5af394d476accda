//! A part of a user: which records an erase takes out of the user's trees, which it leaves, and the
//! fences in their place.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::fate::Takes;
use super::fell::{Fell, Links};
use super::moment::Moment;
use super::record::remove;
use super::span::Span;
use crate::crypto::{Key, class_tag};
use crate::error::{Error, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::scope::{Erase, Scope, When};
use crate::tree::fences::{Point, Target};
use crate::tree::inbox::Inbox;
use crate::tree::keys::{record_key, split_record_key};
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};
use crate::tree::user::{UserPage, class_place};
use crate::tree::{Editor, Link, Pages};

/// Some classes of a user, some interactions.
pub(crate) struct Part {
    /// Of one class, or of all that are not kept.
    span: Span,
    /// If it is of one class, that of its unfinished uploads.
    uploads: Option<ClassTag>,
    incarnation: u16,
    kept: Vec<ClassTag>,
    when: When,
}

impl Part {
    /// The part of a user's page that an erase names.
    ///
    /// # Errors
    /// `Invalid` for an empty range of time.
    pub(crate) fn of(
        page: &UserPage,
        user: UserTag,
        class: Option<&Class>,
        keep: &[Class],
        when: When,
    ) -> Result<Self> {
        let (low, high) = bounds(when)?;
        let kept = keep.iter().map(|class| page.class_tag(class)).collect();
        let span = Span { user, class: class.map(|class| page.class_tag(class)), low, high };
        let uploads = class.map(|class| page.class_tag(&class.of_uploads()));
        Ok(Part { span, uploads, incarnation: page.incarnation, kept, when })
    }

    pub(crate) fn user(&self) -> UserTag {
        self.span.user
    }

    /// The records between its two ends, of its class or of all.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The classes that stay.
    pub(crate) fn kept(&self) -> &[ClassTag] {
        &self.kept
    }

    /// The part without unfinished uploads: a defect.
    pub(crate) fn without_uploads(self) -> Self {
        Part { uploads: None, ..self }
    }

    /// The key of the part, if the part is one class, whole.
    pub(crate) fn whole_class<'p>(&self, page: &'p UserPage) -> Option<(&'p Class, Key)> {
        let ever = |_: &ClassTag| matches!(self.when, When::Ever);
        let slot = self.span.class.filter(ever).and_then(|tag| page.class(tag))?;
        match &slot.tree.root {
            Some(Link::Stored(at)) => Some((&slot.class, at.key())),
            _ => None,
        }
    }

    /// Whether a record lies in the span of the part, whatever its class.
    fn spans(&self, id: &RecordId) -> bool {
        (id.user, id.incarnation) == (self.span.user, self.incarnation)
            && self.span.spans(&record_key(id.interaction, id.ordinal))
    }

    /// Unfinished uploads of a class are taken with it, and of a class that is kept, too: what is
    /// fenced cannot be finished.
    pub(crate) fn takes_class(&self, class: &ClassTag) -> bool {
        let is = |c: ClassTag| c == *class || self.uploads == Some(*class);
        self.span.class.is_none_or(is) && !self.kept.contains(class)
    }

    /// Whether nothing is left of what another erase names, a record or an interaction.
    fn takes_all_of(&self, erase: &Erase, tag_of: &dyn Fn(&Class) -> ClassTag) -> bool {
        match erase.scope() {
            Scope::Record(id) => self.takes(id),
            Scope::User { class, when: When::Interaction(id), .. } => {
                let (first, last) = (record_key(*id, 0), record_key(*id, u32::MAX));
                let whole = first >= self.span.low && last <= self.span.high;
                whole
                    && match class {
                        None => self.span.class.is_none() && self.kept.is_empty(),
                        Some(class) => self.takes_class(&tag_of(class)),
                    }
            }
            Scope::User { .. } => false,
        }
    }

    /// Whether there is nothing to do, since a single interaction was erased before. One that was
    /// never here is not, nor one in a span in doubt: what is on its way must find a fence.
    pub(crate) fn is_erased(&self, pages: &dyn Pages, page: &UserPage) -> Result<bool> {
        let When::Interaction(id) = self.when else {
            return Ok(false);
        };
        let user = self.span.user;
        let mut there = false;
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            slot.tree.scan(pages, class_place(user), self.span.range(), &mut |_, _| {
                there = true;
                Ok(ControlFlow::Break(()))
            })?;
        }
        match self.span.class {
            _ if there => Ok(false),
            Some(class) => {
                let target = Target { class, interaction: id, ordinal: None };
                page.fences.cover_for_good(pages, user, &page.fence_key, target)
            }
            None => page.fences.cover_interaction(pages, user, &page.fence_key, id),
        }
    }

    /// The records of one class in the span of the part.
    pub(crate) fn records(
        &self,
        pages: &dyn Pages,
        page: &UserPage,
        class: ClassTag,
    ) -> Result<Vec<RecordId>> {
        let (user, incarnation) = (self.span.user, self.incarnation);
        let mut ids = Vec::new();
        if let Some(slot) = page.class(class) {
            slot.tree.scan(pages, class_place(user), self.span.range(), &mut |key, _| {
                let (interaction, ordinal) = split_record_key(key)?;
                ids.push(RecordId { interaction, user, incarnation, class, ordinal });
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(ids)
    }

    /// The interactions of the part that have records.
    pub(crate) fn interactions(
        &self,
        pages: &dyn Pages,
        page: &UserPage,
    ) -> Result<BTreeSet<InteractionId>> {
        let mut ids = BTreeSet::new();
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            slot.tree.scan(
                pages,
                class_place(self.span.user),
                self.span.range(),
                &mut |key, _| {
                    ids.insert(split_record_key(key)?.0);
                    Ok(ControlFlow::Continue(()))
                },
            )?;
        }
        Ok(ids)
    }

    /// Drops the part's records and leaves its fence.
    pub(crate) fn erase(
        &self,
        editor: &mut Editor<'_>,
        page: &mut UserPage,
        moment: &Moment,
    ) -> Result<Fell> {
        let Span { user, low, high, .. } = self.span;
        let classes: Vec<ClassTag> =
            page.classes.iter().map(|c| c.tag).filter(|c| self.takes_class(c)).collect();
        let ahead = match self.when {
            When::Interaction(_) => Vec::new(),
            _ => self.interactions_after(editor.pages, page, moment.clock.sure())?,
        };
        let mut links = Vec::with_capacity(classes.len());
        for class in &classes {
            let (tree, count) = page.lineage.take(editor, user, *class, &low, &high)?;
            links.push(Links { owner: user, incarnation: self.incarnation, tree, count });
        }
        let counts = remove(editor, page, &self.span, &classes)?;
        // Copies of what fell may lie in envelopes.
        page.inbox = Inbox::default();
        // Also of a class that is left empty, and went with its name.
        let fence_key = &page.fence_key;
        let tag_of = |class: &Class| class_tag(fence_key, class.as_str());
        page.plans.forget(editor, user, &page.user, &|erase| self.takes_all_of(erase, &tag_of))?;
        self.fence(editor, page, moment, ahead)?;
        let spans = if self.kept.is_empty() {
            let uploads = self.uploads.filter(|class| classes.contains(class));
            let of_uploads = uploads.map(|class| Span { class: Some(class), ..self.span });
            [self.span].into_iter().chain(of_uploads).collect()
        } else {
            classes.iter().map(|class| Span { class: Some(*class), ..self.span }).collect()
        };
        Ok(Fell { spans, links, ..Fell::of(counts) })
    }

    /// Leaves the fences of the part. A range fence ends now, as far as the clock is believed; what
    /// lies `ahead` of that gets fences of its own.
    fn fence(
        &self,
        editor: &mut Editor<'_>,
        page: &mut UserPage,
        moment: &Moment,
        ahead: Vec<(ClassTag, InteractionId)>,
    ) -> Result<()> {
        let (user, epoch) = (self.span.user, moment.epoch);
        let (fences, key) = (&mut page.fences, &page.fence_key);
        match (self.when, self.span.class) {
            (When::Interaction(id), Some(class)) => {
                fences.add_point(editor, user, key, Point::ClassInteraction(class, id), epoch)
            }
            (When::Interaction(id), None) => {
                fences.add_point(editor, user, key, Point::Interaction(id), epoch)
            }
            (_, class) => {
                let (latest, sure) = (moment.clock.latest().0, moment.clock.sure());
                let first = began(&self.span.low);
                // What this engine begins in this very moment is new.
                let last =
                    began(&self.span.high).min(if latest > sure.0 { latest - 1 } else { latest });
                fences.add_range(editor, user, class, first..=last.min(sure.0), epoch)?;
                fences.add_doubted(editor, user, class, first.max(sure.0 + 1)..=last, epoch)?;
                for (class, id) in ahead {
                    fences.add_point(
                        editor,
                        user,
                        key,
                        Point::ClassInteraction(class, id),
                        epoch,
                    )?;
                }
                Ok(())
            }
        }
    }

    fn interactions_after(
        &self,
        pages: &dyn Pages,
        page: &UserPage,
        now: Timestamp,
    ) -> Result<Vec<(ClassTag, InteractionId)>> {
        let low = self.span.low.max(first_of(Timestamp(now.0 + 1)));
        let range = Range { low: &low, ..self.span.range() };
        let mut ahead = Vec::new();
        for slot in page.classes.iter().filter(|slot| self.takes_class(&slot.tag)) {
            let class = page.fenced_as(slot);
            slot.tree.scan(pages, class_place(self.span.user), range, &mut |key, _| {
                let id = split_record_key(key)?.0;
                if ahead.last() != Some(&(class, id)) {
                    ahead.push((class, id));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(ahead)
    }
}

impl Takes for Part {
    fn takes(&self, id: &RecordId) -> bool {
        self.spans(id) && self.takes_class(&id.class)
    }

    fn keeps(&self, id: &RecordId) -> bool {
        self.spans(id) && self.kept.contains(&id.class)
    }
}

/// The first and the last key of a time.
fn bounds(when: When) -> Result<(OrderedKey, OrderedKey)> {
    let (from, until) = match when {
        When::Ever => return Ok((KEY_MIN, KEY_MAX)),
        When::Interaction(id) => return Ok((record_key(id, 0), record_key(id, u32::MAX))),
        When::Between { from, until } => (from, until),
    };
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
    Ok((low, high))
}

fn first_of(began: Timestamp) -> OrderedKey {
    let mut key = KEY_MIN;
    key[..6].copy_from_slice(&began.0.to_be_bytes()[2..]);
    key
}

fn began(key: &OrderedKey) -> u64 {
    u64::from_be_bytes([0, 0, key[0], key[1], key[2], key[3], key[4], key[5]])
}
