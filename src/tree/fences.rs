//! Fences: what makes an erased record answer "erased" and refuses what arrives late, without
//! keeping what was erased.
//!
//! ```text
//! range = 1 ‖ class tag 6, or zeros for every class ‖ first ms 8 ‖ zeros 5   -> last ms 8
//!         ‖ epoch 8
//! point = 2 ‖ PRF(fence key, what) 16 ‖ zeros 3                              -> epoch 8
//! range of doubt = 3 ‖ as a range                                            -> as a range
//! ```
//! A range of doubt reaches from where the erase's clock was believed to what it showed. It refuses
//! nothing while the clock shows less than its end: the erase's clock was ahead then. A range holds
//! the span of time that the requester named, and says nothing of what was in it; ranges of one
//! class never touch or overlap. A point is a keyed hash of an interaction or a record.

use std::ops::{ControlFlow, RangeInclusive};

use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key};
use crate::error::Result;
use crate::ids::{ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::limits::CLOCK_TRUST;
use crate::secret::Secret;

const RANGE: u8 = 1;
const POINT: u8 = 2;
const DOUBTED: u8 = 3;

/// The fences of one user.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    pub(crate) tree: Ordered,
}

/// What a fence says of what was erased.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fenced {
    Span { class: Option<ClassTag>, from: Timestamp, until: Timestamp, epoch: u64 },
    Single { epoch: u64 },
}

/// What a point fence stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// An interaction, in every class.
    Interaction(InteractionId),
    /// An interaction in one class.
    ClassInteraction(ClassTag, InteractionId),
    /// One record, by class, interaction and ordinal.
    Record(ClassTag, InteractionId, u32),
}

/// What a fence is looked for over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) class: ClassTag,
    pub(crate) interaction: InteractionId,
    /// One record of the interaction in that class; `None` for all of them.
    pub(crate) ordinal: Option<u32>,
}

impl Target {
    pub(crate) fn record(id: &RecordId) -> Self {
        Target { class: id.class, interaction: id.interaction, ordinal: Some(id.ordinal) }
    }
}

impl Point {
    fn key(self, fence_key: &Key) -> OrderedKey {
        let tag = match self {
            Point::Interaction(i) => crypto::fence_tag(fence_key, &[&[1], &i.0]),
            Point::ClassInteraction(c, i) => crypto::fence_tag(fence_key, &[&[2], &c.0, &i.0]),
            Point::Record(c, i, o) => {
                crypto::fence_tag(fence_key, &[&[3], &c.0, &i.0, &o.to_be_bytes()])
            }
        };
        let mut key = [0; 20];
        key[0] = POINT;
        key[1..17].copy_from_slice(&tag);
        key
    }
}

/// Ranges that never touch or overlap: those of one kind and one class, or of every class.
#[derive(Clone, Copy)]
struct Line {
    kind: u8,
    class: Option<ClassTag>,
}

impl Line {
    /// The key of the range of this line that begins at `ms`.
    fn key(self, ms: u64) -> OrderedKey {
        let mut key = [0; 20];
        key[0] = self.kind;
        key[1..7].copy_from_slice(&self.class.map_or([0; 6], |c| c.0));
        key[7..15].copy_from_slice(&ms.to_be_bytes());
        key
    }
}

/// A range as it is stored.
struct StoredRange {
    key: OrderedKey,
    /// The last ms of it.
    end: u64,
}

fn start_of(key: &OrderedKey) -> u64 {
    let mut ms = [0; 8];
    ms.copy_from_slice(&key[7..15]);
    u64::from_be_bytes(ms)
}

impl Fences {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Fences, owner: Some(owner) }
    }

    /// Fences every interaction that began in `first..=last` ms, in one class or in all; nothing
    /// if that is not a span.
    pub(crate) fn add_range(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        class: Option<ClassTag>,
        span: RangeInclusive<u64>,
        epoch: u64,
    ) -> Result<()> {
        // What was in doubt is not, if it lies inside.
        let (doubted, last) = (Line { kind: DOUBTED, class }, *span.end());
        let (low, high) = (doubted.key(*span.start()), doubted.key(last));
        self.add_span(editor, owner, Line { kind: RANGE, class }, span, epoch)?;
        let mut inside = Vec::new();
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(editor.pages, Self::place(owner), range, &mut |key, value| {
            if Decoder::new(value, "fence").u64()? <= last {
                inside.push(*key);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for key in inside {
            self.tree.remove(editor, Self::place(owner), &key)?;
        }
        Ok(())
    }

    /// Fences what the erase's clock showed without being believed.
    pub(crate) fn add_doubted(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        class: Option<ClassTag>,
        span: RangeInclusive<u64>,
        epoch: u64,
    ) -> Result<()> {
        self.add_span(editor, owner, Line { kind: DOUBTED, class }, span, epoch)
    }

    fn add_span(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        line: Line,
        span: RangeInclusive<u64>,
        epoch: u64,
    ) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        let (first, last) = span.into_inner();
        let place = Fences::place(owner);
        let (mut start, mut end) = (first, last);
        // The one range that begins before ours may reach into it; those that begin inside are
        // swallowed.
        if let Some(theirs) = self.range_at(editor.pages, place, line, first)?
            && theirs.end.saturating_add(1) >= first
        {
            start = start_of(&theirs.key);
            end = end.max(theirs.end);
        }
        let high = line.key(last.saturating_add(1));
        self.tree.scan(
            editor.pages,
            place,
            Range { low: &line.key(first), high: &high, descending: false },
            &mut |_, value| {
                end = end.max(Decoder::new(value, "fence").u64()?);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        self.tree.remove_range(editor, place, &line.key(start), &high)?;
        let mut e = Encoder::new(16);
        e.u64(end).u64(epoch);
        self.tree.insert(editor, place, line.key(start), e.finish())
    }

    /// Fences one interaction or record.
    pub(crate) fn add_point(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        fence_key: &Key,
        point: Point,
        epoch: u64,
    ) -> Result<()> {
        let value = Secret::copied_from(&epoch.to_be_bytes());
        self.tree.insert(editor, Fences::place(owner), point.key(fence_key), value)
    }

    /// The last range of a kind and class that begins at `ms` or before.
    fn range_at(
        &self,
        pages: &dyn Pages,
        place: Place,
        line: Line,
        ms: u64,
    ) -> Result<Option<StoredRange>> {
        let mut found = None;
        let (low, high) = (line.key(0), line.key(ms));
        self.tree.scan(
            pages,
            place,
            Range { low: &low, high: &high, descending: true },
            &mut |key, value| {
                found = Some(StoredRange { key: *key, end: Decoder::new(value, "fence").u64()? });
                Ok(ControlFlow::Break(()))
            },
        )?;
        Ok(found)
    }

    /// Every fence of the user, in the order of keys.
    pub(crate) fn all(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<Fenced>> {
        let mut all = Vec::new();
        self.tree.all(pages, Fences::place(owner), &mut |key, value| {
            let mut d = Decoder::new(value, "fence");
            all.push(if key[0] == POINT {
                Fenced::Single { epoch: d.u64()? }
            } else {
                let tag: [u8; 6] = Decoder::new(&key[1..], "fence").array()?;
                let class = (tag != [0; 6]).then_some(ClassTag(tag));
                Fenced::Span {
                    class,
                    from: Timestamp(start_of(key)),
                    until: Timestamp(d.u64()?),
                    epoch: d.u64()?,
                }
            });
            Ok(())
        })?;
        Ok(all)
    }

    fn has_point(
        &self,
        pages: &dyn Pages,
        place: Place,
        fence_key: &Key,
        point: Point,
    ) -> Result<bool> {
        Ok(self.tree.get(pages, place, &point.key(fence_key))?.is_some())
    }

    /// Whether a class of an interaction, or one record of it, was erased.
    pub(crate) fn cover(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        fence_key: &Key,
        what: Target,
    ) -> Result<bool> {
        self.refuse(pages, owner, fence_key, what, Timestamp(u64::MAX))
    }

    /// As [`Fences::cover`], whatever a clock shows later: a span in doubt may let a put pass.
    pub(crate) fn cover_for_good(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        fence_key: &Key,
        what: Target,
    ) -> Result<bool> {
        self.refuse(pages, owner, fence_key, what, Timestamp(0))
    }

    /// Whether a put is refused by a clock that shows `now`.
    pub(crate) fn refuse(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        fence_key: &Key,
        what: Target,
        now: Timestamp,
    ) -> Result<bool> {
        let Target { class, interaction, ordinal } = what;
        if self.tree.root.is_none() {
            return Ok(false);
        }
        let place = Fences::place(owner);
        let ms = interaction.began().0;
        for class in [None, Some(class)] {
            for (kind, most) in [(RANGE, u64::MAX), (DOUBTED, now.0)] {
                let line = Line { kind, class };
                if self
                    .range_at(pages, place, line, ms)?
                    .is_some_and(|range| range.end >= ms && range.end <= most)
                {
                    return Ok(true);
                }
            }
        }
        let record = ordinal.map(|o| Point::Record(class, interaction, o));
        let points = [Point::Interaction(interaction), Point::ClassInteraction(class, interaction)];
        for point in points.into_iter().chain(record) {
            if self.has_point(pages, place, fence_key, point)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first time from `ms` on that no range of the class fences for good.
    pub(crate) fn free_from(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        class: ClassTag,
        mut ms: Timestamp,
    ) -> Result<Timestamp> {
        let place = Fences::place(owner);
        loop {
            let mut last = None;
            for class in [None, Some(class)] {
                let range = self.range_at(pages, place, Line { kind: RANGE, class }, ms.0)?;
                last = last.max(range.map(|range| range.end).filter(|end| *end >= ms.0));
            }
            match last.and_then(|last| last.checked_add(1)) {
                Some(next) => ms = Timestamp(next),
                None => return Ok(ms),
            }
        }
    }

    /// Takes back the ranges of doubt that a put goes into by a clock that shows `now`, where
    /// theirs was ahead by more than clocks are.
    pub(crate) fn clear_doubt(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        class: ClassTag,
        interaction: InteractionId,
        now: Timestamp,
    ) -> Result<()> {
        let (place, ms) = (Fences::place(owner), interaction.began().0);
        let most = now.0.saturating_add(CLOCK_TRUST.as_millis() as u64);
        for class in [None, Some(class)] {
            let doubted = Line { kind: DOUBTED, class };
            if let Some(range) = self.range_at(editor.pages, place, doubted, ms)?
                && range.end >= ms
                && range.end > most
            {
                self.tree.remove(editor, place, &range.key)?;
            }
        }
        Ok(())
    }

    /// Whether a whole interaction was erased, in every class, whatever a clock shows later.
    pub(crate) fn cover_interaction(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        fence_key: &Key,
        interaction: InteractionId,
    ) -> Result<bool> {
        let place = Fences::place(owner);
        let ms = interaction.began().0;
        if self
            .range_at(pages, place, Line { kind: RANGE, class: None }, ms)?
            .is_some_and(|range| range.end >= ms)
        {
            return Ok(true);
        }
        self.has_point(pages, place, fence_key, Point::Interaction(interaction))
    }
}
