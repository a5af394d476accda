//! Writing: what waits, the objects of a commit, and the commit.

use super::bucket::Bucket;
use super::claim::refresh;
use super::frame::{Content, End, HEADER, Kind, LABEL, Spot, bytes_of, encode, end_len};
use super::hints::hint_if_due;
use super::named::Object;
use super::naming::Naming;
use super::state::{CHUNK, LAST_CHUNK, Root, State, Stream};
use super::tables::made;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::{Blob, Head, HeadId, Published, fenced};
use crate::sync::{Mutex, locked};

/// A blob of more bytes than this is an object of its own.
pub(super) const SHORT_MAX: usize = 128 << 10;

/// What writes to a log; the caller holds the lock of writers.
pub(super) struct Writing<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) naming: &'a Naming,
    pub(super) state: &'a Mutex<State>,
}

/// A part of a commit.
#[derive(Default)]
struct Part {
    stream: Stream,
    blobs: Vec<Blob>,
}

/// A head that is to become the newest.
struct Newest<'a> {
    head: &'a Head,
    root: Option<Root>,
}

impl Writing<'_> {
    /// Refuses to write after a write with an unknown outcome, or after another engine's claim.
    pub(super) fn check(&self) -> Result<()> {
        let state = locked(self.state);
        if state.broken {
            return Err(Error::new(
                ErrorKind::Poisoned,
                format!("an earlier write to {} failed; open it again", self.bucket.place()),
            ));
        }
        if state.fenced { Err(fenced(&self.bucket.place())) } else { Ok(()) }
    }

    /// Does what cannot be taken back: if it fails, nobody knows what is there. What had no room,
    /// or was refused, is not there.
    pub(super) fn unknown_if_failed<T>(&self, done: Result<T>) -> Result<T> {
        if done.as_ref().is_err_and(|e| !e.changed_nothing()) {
            locked(self.state).broken = true;
        }
        done
    }

    /// Takes blobs: long ones become objects at once, after all that came before. If there is no
    /// room, none of these waits.
    pub(super) fn put(&self, blobs: &[Blob]) -> Result<()> {
        let mut before = self.waits();
        let taken = self.take(blobs, &mut before);
        if taken.as_ref().is_err_and(Error::changed_nothing) {
            let mut state = locked(self.state);
            state.stream = before.0;
            state.waiting.truncate(before.1);
        }
        taken
    }

    /// What waits: where it ends, and how many blobs.
    fn waits(&self) -> (Stream, usize) {
        let state = locked(self.state);
        (state.stream, state.waiting.len())
    }

    fn take(&self, blobs: &[Blob], before: &mut (Stream, usize)) -> Result<()> {
        for (name, blob) in blobs {
            if blob.len() > SHORT_MAX {
                self.flush()?;
                *before = self.waits();
                self.segment(name, blob)?;
                continue;
            }
            let full = {
                let mut state = locked(self.state);
                state.waiting.push((*name, blob.clone()));
                state.stream.take(blob.len())
            };
            if full {
                self.flush()?;
                *before = self.waits();
            }
        }
        Ok(())
    }

    /// Makes the objects of long blobs once more, whatever they hold. A short one is found in the
    /// object that it was put into last.
    pub(super) fn put_over(&self, blobs: &[Blob]) -> Result<()> {
        for (name, blob) in blobs.iter().filter(|(_, blob)| blob.len() > SHORT_MAX) {
            self.bucket.make_way(&Object::Segment(*name).name())?;
            self.segment(name, blob)?;
        }
        Ok(())
    }

    /// Creates the object of a long blob. One that is there has the same bytes.
    fn segment(&self, name: &BlobName, blob: &[u8]) -> Result<()> {
        let object = Object::Segment(*name);
        self.bucket.create(&object.name(), blob)?;
        let spot = Spot { offset: 0, len: blob.len() as u32 };
        made(&mut locked(self.state), self.naming, object, &[(*name, spot)], blob.len());
        Ok(())
    }

    /// Makes what waits durable, as an object of its own; if it fails, it waits on.
    pub(super) fn flush(&self) -> Result<()> {
        let (part, number) = {
            let mut state = locked(self.state);
            if state.waiting.is_empty() {
                return Ok(());
            }
            (
                Part { stream: state.stream, blobs: std::mem::take(&mut state.waiting) },
                state.last + 1,
            )
        };
        let packed = self.pack(&part, number);
        let mut state = locked(self.state);
        match &packed {
            Ok(()) => state.stream = state.stream.next_chunk(),
            Err(_) => state.waiting = part.blobs,
        }
        packed
    }

    /// Whether all blobs of a part have names that speak of it.
    fn is_native(&self, part: &Part, number: u64) -> bool {
        let chunk = part.stream.chunk;
        let speaks = |name: &BlobName| {
            self.naming.hint(name).is_some_and(|h| h.at.number == number && h.at.chunk == chunk)
        };
        chunk < LAST_CHUNK && part.blobs.iter().all(|(name, _)| speaks(name))
    }

    /// Creates the object of a part: where its names say, or else with what lies elsewhere.
    fn pack(&self, part: &Part, number: u64) -> Result<()> {
        if self.is_native(part, number) {
            let Stream { chunk, lead, .. } = part.stream;
            let object = Object::Pack { number, chunk };
            let attempt = self.bucket.drawn()?;
            let (kind, lead, blobs) = (Kind::Pack, lead as u32, &part.blobs);
            let bytes = encode(&Content { kind, number, chunk, attempt, lead, blobs, end: None });
            if self.bucket.create(&object.name(), &bytes)? {
                made(
                    &mut locked(self.state),
                    self.naming,
                    object,
                    &spots(lead, blobs),
                    bytes.len(),
                );
                return Ok(());
            }
            // A writer that was cut short left one.
        }
        self.stray(&part.blobs, number)
    }

    /// Creates an object of blobs that are found by its table alone.
    fn stray(&self, blobs: &[Blob], number: u64) -> Result<()> {
        let attempt = self.bucket.drawn()?;
        let object = Object::Stray { number, drawn: attempt };
        let content =
            Content { kind: Kind::Stray, number, chunk: 0, attempt, lead: 0, blobs, end: None };
        let bytes = encode(&content);
        if !self.bucket.create(&object.name(), &bytes)? {
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "{}: {} is there already",
                    self.bucket.place(),
                    self.bucket.there(&object.name())
                ),
            ));
        }
        let mut state = locked(self.state);
        // They are looked up from now on, also those of other objects that are not known yet.
        made(&mut state, self.naming, object, &spots(0, blobs), bytes.len());
        Ok(())
    }

    /// Publishes a head, with all that waits and these blobs.
    pub(super) fn commit(
        &self,
        blobs: &[Blob],
        over: Option<HeadId>,
        head: &Head,
    ) -> Result<Published> {
        let there = locked(self.state).head.as_ref().map(|head| head.id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        if blobs.iter().any(|(_, blob)| blob.len() > SHORT_MAX) {
            self.flush()?;
            for (name, blob) in blobs.iter().filter(|(_, blob)| blob.len() > SHORT_MAX) {
                self.segment(name, blob)?;
            }
        }
        let short = blobs.iter().filter(|(_, blob)| blob.len() <= SHORT_MAX);
        let waiting = locked(self.state).waiting.len();
        let (mut parts, number) = self.parts(short);
        let newest = Newest { head, root: self.root(&parts) };
        let mut made = 0;
        let mut published = self.publish_all(&parts, number, &newest, &mut made);
        if matches!(published, Ok(Published::Conflict(there)) if there == over)
            && self.check().is_ok()
        {
            // A claim of this handle has the number, of which it did not hear in time.
            let number = locked(self.state).last + 1;
            published = self.publish_all(&parts, number, &newest, &mut made);
        }
        if published.is_err() {
            let at = made.min(parts.len() - 1);
            let Part { stream, mut blobs } = parts.swap_remove(at);
            let mut state = locked(self.state);
            if made == 0 {
                // What was put before may be of another commit: it waits on.
                blobs.truncate(waiting);
                state.waiting = blobs;
            } else {
                state.stream = Stream { at: stream.lead, ..stream };
            }
        }
        published
    }

    /// Publishes a head with these parts; counts those that became objects before the last one.
    fn publish_all(
        &self,
        parts: &[Part],
        number: u64,
        newest: &Newest<'_>,
        made: &mut usize,
    ) -> Result<Published> {
        let Some((last, before)) = parts.split_last() else {
            return self.publish(&Part::default(), number, newest);
        };
        if parts.iter().all(|part| self.is_native(part, number)) {
            for part in before {
                self.pack(part, number)?;
                *made += 1;
            }
            return self.publish(last, number, newest);
        }
        // In order, so that a crash takes a suffix.
        for part in parts.iter().filter(|part| !part.blobs.is_empty()) {
            self.stray(&part.blobs, number)?;
            *made += 1;
        }
        let stream = Stream { lead: 0, ..last.stream };
        self.publish(&Part { stream, blobs: Vec::new() }, number, newest)
    }

    /// The root page of a head to come: one of these blobs, or the one of before.
    fn root(&self, parts: &[Part]) -> Option<Root> {
        let state = locked(self.state);
        let name = state.reads_first?;
        let mut blobs = parts.iter().rev().flat_map(|part| part.blobs.iter().rev());
        let before = || state.root.as_ref().map(|root| &root.blob).filter(|(of, _)| *of == name);
        let blob = blobs.find(|(there, _)| *there == name).or_else(before)?;
        Root::of(blob.clone(), false)
    }

    /// What waits and these blobs, cut into chunks.
    fn parts<'b>(&self, blobs: impl Iterator<Item = &'b Blob>) -> (Vec<Part>, u64) {
        let mut state = locked(self.state);
        let mut stream = state.stream;
        let mut part = Part { stream, blobs: std::mem::take(&mut state.waiting) };
        let mut parts = Vec::new();
        for (name, blob) in blobs {
            part.blobs.push((*name, blob.clone()));
            if stream.take(blob.len()) {
                stream = stream.next_chunk();
                parts.push(std::mem::replace(&mut part, Part { stream, blobs: Vec::new() }));
            }
        }
        parts.push(part);
        (parts, state.last + 1)
    }

    /// Creates the object of a number: the commit itself.
    fn publish(&self, part: &Part, number: u64, newest: &Newest<'_>) -> Result<Published> {
        let Newest { head, root } = newest;
        let Stream { chunk, lead, .. } = part.stream;
        let (lead, blobs) = (lead as u32, &part.blobs);
        let (claimed, usage) = {
            let state = locked(self.state);
            (state.claimed, state.usage)
        };
        let is_elsewhere = |(name, _): &&Blob| blobs.iter().all(|(there, _)| there != name);
        let page = root.as_ref().map(|root| &root.blob).filter(is_elsewhere).cloned();
        let mut end = End { usage, claimed, head: Some((*head).clone()), root: page };
        end.usage.blobs += blobs.len() as u64;
        end.usage.bytes += (bytes_of(lead, blobs) + end_len(&end)) as u64;
        let (kind, attempt) = (Kind::Commit, self.bucket.drawn()?);
        let content = Content { kind, number, chunk, attempt, lead, blobs, end: Some(&end) };
        let bytes = encode(&content);
        let object = Object::Numbered(number);
        if !self.bucket.create(&object.name(), &bytes)? {
            return self.lost();
        }
        let mut state = locked(self.state);
        made(&mut state, self.naming, object, &spots(lead, blobs), bytes.len());
        (state.usage, state.end_len) = (end.usage, end_len(&end) as u64);
        state.packs.published(number);
        state.witnesses.made(number, self.bucket.monotonic());
        (state.last, state.head, state.is_mine) = (number, Some((*head).clone()), true);
        (state.stream, state.read_back, state.shown) = (Stream::default(), None, false);
        state.root.clone_from(root);
        drop(state);
        hint_if_due(self.bucket, self.state, number);
        Ok(Published::Done)
    }

    /// The number was won by another: a claim fences this handle for good.
    fn lost(&self) -> Result<Published> {
        let before = locked(self.state).claimed;
        refresh(self.bucket, self.state)?;
        let mut state = locked(self.state);
        state.is_mine = false;
        state.fenced |= state.claimed != before;
        Ok(Published::Conflict(state.head.as_ref().map(|head| head.id)))
    }
}

/// Where blobs lie one after another.
pub(super) fn spots(lead: u32, blobs: &[Blob]) -> Vec<(BlobName, Spot)> {
    let mut offset = HEADER as u32 + lead;
    blobs
        .iter()
        .map(|(name, blob)| {
            let spot = Spot { offset, len: blob.len() as u32 };
            offset += (LABEL + blob.len()) as u32;
            (*name, spot)
        })
        .collect()
}

/// A chunk, with what its last blob adds, fits a name's three bytes of offset.
const _: () = assert!(CHUNK + SHORT_MAX + HEADER + LABEL < 1 << 24);
