//! What lives in each object of a log, by the names of what lives: a name says its place, and about
//! how long its blob is. So no table is read for it, and it takes eight bytes for each live blob.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::frame::{ENTRY, HEADER, Header, LABEL, Spot};
use super::named::Object;
use super::naming::{Hint, Naming};
use crate::ids::BlobName;

/// Where a blob lies whose name does not say it.
pub(super) type Elsewhere = HashMap<BlobName, (Object, Spot)>;

/// The claims of a log.
#[derive(Default)]
pub(super) struct Claims {
    /// Their numbers, and those of a few objects that count as claims because nobody knows.
    pub(super) numbers: BTreeSet<u64>,
    /// Those among them that were found damaged.
    pub(super) doubtful: BTreeSet<u64>,
    /// All up to this number are known.
    pub(super) upto: u64,
}

/// Bytes that a blob takes in its object beside its own.
const BESIDE: u64 = (LABEL + ENTRY) as u64;

/// A blob that lives, as its object counts it.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) object: Object,
    /// What tells it from every other blob of the object.
    key: u64,
    /// Bytes that it takes there, at least and at most.
    least: u64,
    most: u64,
}

impl Mark {
    fn at(object: Object, spot: Spot) -> Self {
        let bytes = u64::from(spot.len) + BESIDE;
        Mark { object, key: u64::from(spot.offset), least: bytes, most: bytes }
    }

    fn hinted(object: Object, hint: &Hint) -> Self {
        let bytes = |len: usize| len as u64 + BESIDE;
        Mark { object, key: hint.key, least: bytes(hint.least), most: bytes(hint.len) }
    }
}

/// Where a live blob is, as far as its name says.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) mark: Option<Mark>,
    /// Another place where it may be instead.
    pub(super) other: Option<Mark>,
}

/// One object.
#[derive(Default)]
pub(super) struct Held {
    size: u64,
    /// How many blobs it has, and the bytes that these take, if that was read.
    known: Option<(u32, u64)>,
    /// Keys of the blobs that live, sorted.
    lives: Vec<u64>,
    /// Bytes that they take, at least and at most.
    least: u64,
    most: u64,
    /// Whether one of them may lie elsewhere.
    doubtful: bool,
    /// When it was first seen that nothing lives in it, by the clock that nobody sets.
    died: Option<Duration>,
}

impl Held {
    /// An object of so many bytes of which nothing lives.
    pub(super) fn of(object: Object, size: u64) -> Self {
        let known = matches!(object, Object::Segment(_)).then_some((1, size));
        Held { size, known, ..Held::default() }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lives.is_empty()
    }

    /// Whether that was so at this moment, as far as anybody looked.
    pub(super) fn was_dead(&self, at: Duration) -> bool {
        self.is_dead() && self.died.is_some_and(|died| died <= at)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of what lives in it, at most.
    pub(super) fn lives(&self) -> u64 {
        self.most
    }

    /// Learns what its header says.
    pub(super) fn know(&mut self, header: &Header) {
        self.known.get_or_insert((header.blobs(), header.filled()));
    }

    /// Learns of one blob of it, by its table.
    fn count(&mut self, spot: Spot) {
        let (blobs, bytes) = self.known.unwrap_or_default();
        self.known = Some((blobs + 1, bytes + u64::from(spot.len) + BESIDE));
    }

    fn is_whole(&self) -> bool {
        !self.doubtful && self.known.is_some_and(|(blobs, _)| blobs as usize == self.lives.len())
    }

    /// Bytes of dead blobs that are in it, at most.
    pub(super) fn dead(&self) -> u64 {
        if self.is_whole() {
            return 0;
        }
        let filled = self.known.map_or(self.size.saturating_sub(HEADER as u64), |known| known.1);
        filled.saturating_sub(self.least)
    }

    /// Whether something lives in it, and less than this part of it; `end` is what an object says
    /// after its blobs, about.
    pub(super) fn is_sparse(&self, end: u64, (live, of): (u64, u64)) -> bool {
        let filled = self.known.map_or(self.size.saturating_sub(HEADER as u64 + end), |k| k.1);
        !self.is_dead() && !self.is_whole() && self.most * of < filled * live
    }

    fn has(&self, key: u64) -> bool {
        self.lives.binary_search(&key).is_ok()
    }
}

/// All objects that were looked at, or made since.
#[derive(Default)]
pub(super) struct Live {
    objects: BTreeMap<Object, Held>,
    /// Which chunk a commit holds itself that has packs beside it.
    chunks: HashMap<u64, u8>,
}

impl Live {
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Object, &Held)> {
        self.objects.iter()
    }

    pub(super) fn held_mut(&mut self, object: Object) -> Option<&mut Held> {
        self.objects.get_mut(&object)
    }

    pub(super) fn enter(&mut self, object: Object, held: Held) {
        self.objects.insert(object, held);
    }

    pub(super) fn remove(&mut self, object: Object) -> Option<Held> {
        self.objects.remove(&object)
    }

    /// Numbers of commits beside which packs stand.
    pub(super) fn with_packs(&self) -> Vec<u64> {
        let packed = self.objects.keys().filter_map(|object| match object {
            Object::Pack { number, .. } => Some(*number),
            _ => None,
        });
        let mut numbers: Vec<u64> = packed.collect();
        numbers.dedup();
        numbers.retain(|number| self.objects.contains_key(&Object::Numbered(*number)));
        numbers
    }

    pub(super) fn holds_chunk(&mut self, number: u64, chunk: u8) {
        self.chunks.insert(number, chunk);
    }

    /// Which chunk a commit holds itself, if packs stand beside it.
    pub(super) fn chunk_of(&self, number: u64) -> Option<u8> {
        self.chunks.get(&number).copied()
    }

    /// The object that a place speaks of.
    pub(super) fn object_of(&self, number: u64, chunk: u8) -> Object {
        let pack = Object::Pack { number, chunk };
        let in_commit = match self.chunks.get(&number) {
            Some(there) => *there == chunk,
            None => !self.objects.contains_key(&pack),
        };
        if in_commit { Object::Numbered(number) } else { pack }
    }

    /// Where a blob of a name is.
    pub(super) fn find(
        &self,
        naming: &Naming,
        elsewhere: Option<&Elsewhere>,
        name: &BlobName,
    ) -> Found {
        let segment = Object::Segment(*name);
        if let Some(held) = self.objects.get(&segment) {
            let (least, most) = (held.size, held.size);
            let mark = Some(Mark { object: segment, key: 0, least, most });
            return Found { mark, other: None };
        }
        let is_there = |mark: &Mark| self.objects.contains_key(&mark.object);
        let hinted = naming
            .hint(name)
            .map(|hint| Mark::hinted(self.object_of(hint.at.number, hint.at.chunk), &hint));
        let strayed = elsewhere.and_then(|all| all.get(name));
        let strayed = strayed.map(|(object, spot)| Mark::at(*object, *spot));
        match (hinted.filter(is_there), strayed.filter(is_there)) {
            (None, other) => Found { mark: other, other: None },
            (mark, other) => Found { mark, other },
        }
    }

    /// Whether a blob counts as live where it is.
    pub(super) fn has(&self, found: &Found) -> bool {
        let has = |mark: &Mark| self.objects.get(&mark.object).is_some_and(|h| h.has(mark.key));
        found.mark.as_ref().is_some_and(has)
    }

    /// Has a blob count as live.
    pub(super) fn mark(&mut self, found: &Found) {
        let doubtful = found.other.is_some();
        for mark in [found.mark, found.other].into_iter().flatten() {
            let Some(held) = self.objects.get_mut(&mark.object) else { continue };
            held.doubtful |= doubtful;
            if let Err(at) = held.lives.binary_search(&mark.key) {
                held.lives.insert(at, mark.key);
                held.least += mark.least;
                held.most += mark.most;
            }
        }
    }

    /// Has a blob count as dead.
    pub(super) fn unmark(&mut self, found: &Found) {
        for mark in [found.mark, found.other].into_iter().flatten() {
            let Some(held) = self.objects.get_mut(&mark.object) else { continue };
            if let Ok(at) = held.lives.binary_search(&mark.key) {
                held.lives.remove(at);
                held.least = held.least.saturating_sub(mark.least);
                held.most = held.most.saturating_sub(mark.most);
            }
        }
    }

    /// Whether a blob counts as live that lies there.
    pub(super) fn has_at(&self, object: Object, spot: Spot) -> bool {
        self.has(&Found { mark: Some(Mark::at(object, spot)), other: None })
    }

    /// Has a blob count as dead that lies there.
    pub(super) fn unmark_at(&mut self, object: Object, spot: Spot) {
        self.unmark(&Found { mark: Some(Mark::at(object, spot)), other: None });
    }

    /// Enters an object that was just made: all of it lives, until something else is known.
    pub(super) fn made(
        &mut self,
        naming: &Naming,
        object: Object,
        blobs: &[(BlobName, Spot)],
        size: u64,
    ) {
        let mut held = Held::of(object, size);
        if !matches!(object, Object::Segment(_)) {
            held.known = Some((0, 0));
            blobs.iter().for_each(|(_, spot)| held.count(*spot));
        }
        self.objects.insert(object, held);
        for (name, spot) in blobs {
            let hint = naming.hint(name);
            if let (Object::Numbered(number), Some(hint)) = (object, hint)
                && hint.at.chunk > 1
            {
                self.chunks.insert(number, hint.at.chunk);
            }
            let mark = match (object, hint) {
                (Object::Segment(_), _) => Mark { object, key: 0, least: size, most: size },
                (Object::Numbered(_) | Object::Pack { .. }, Some(hint)) => {
                    Mark::hinted(object, &hint)
                }
                _ => Mark::at(object, *spot),
            };
            self.mark(&Found { mark: Some(mark), other: None });
        }
    }

    /// Takes over what another one knows.
    pub(super) fn absorb(&mut self, other: Live) {
        self.objects.extend(other.objects);
        self.chunks.extend(other.chunks);
    }

    /// Notes of what nothing lives in by now.
    pub(super) fn note_dead(&mut self, now: Duration) {
        for held in self.objects.values_mut() {
            held.died = if held.is_dead() { held.died.or(Some(now)) } else { None };
        }
    }

    /// What it comes to.
    pub(super) fn weigh(&self, except: Object) -> Weight {
        let mut weight = Weight::default();
        for (object, held) in &self.objects {
            weight.bytes += held.size;
            weight.lives += held.most;
            weight.blobs += held.lives.len() as u64;
            match held.is_dead() && *object != except {
                true => weight.over += held.size,
                false => weight.dead += held.dead(),
            }
        }
        weight
    }
}

/// How much of what was looked at lives.
#[derive(Clone, Copy, Default)]
pub(super) struct Weight {
    /// Bytes of all objects.
    pub(super) bytes: u64,
    /// Blobs that live, and the bytes that they take, at most.
    pub(super) blobs: u64,
    pub(super) lives: u64,
    /// Bytes of objects of which nothing lives.
    pub(super) over: u64,
    /// Bytes of dead blobs in the others, at most.
    pub(super) dead: u64,
}
