//! The keys of an open record, and the one chunk that they have opened.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};

use zeroize::Zeroize;

use crate::crypto::{self, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use crate::pages::missing;
use crate::record::{Body, layout};
use crate::secret::Secret;
use crate::store::Store;
use crate::tree::Geometry;

/// What a look-up gives to open a record with.
pub(super) struct RecordKeys {
    pub(super) secret: Key,
    /// Where the payload is.
    pub(super) body: Body,
    /// The root from which the record's content key is derived.
    pub(super) root: Key,
    pub(super) context: Vec<u8>,
}

/// What opens a record, and what it has in hand of it.
pub(super) struct Keys {
    pub(super) secret: Key,
    /// Name of the first segment; `None` if the payload was in the entry, and is in hand.
    pub(super) first: Option<BlobName>,
    /// Bytes of the payload as it is sealed.
    padded: u64,
    pub(super) root: Key,
    suite: Option<chunked::Suite>,
    pub(super) context: Vec<u8>,
    pub(super) geometry: Geometry,
    segment: Option<Segment>,
    chunk: Option<Chunk>,
    /// The opened bytes of the chunk in hand.
    pub(super) plain: Secret,
}

/// The segment in hand, as stored.
struct Segment {
    number: u64,
    blob: Vec<u8>,
}

/// The chunk in hand, opened.
#[derive(Clone, Copy)]
struct Chunk {
    number: u64,
    length: usize,
}

/// Segments of a long record that are fetched while the one before is opened.
pub(super) const AHEAD: usize = 2;
/// Bytes from which on that pays for its thread.
pub(super) const AHEAD_MIN: u64 = 2 << 20;

/// Fetches segments as they are stored, in order, in a thread of its own.
pub(super) struct ReadAhead {
    pub(super) ask: SyncSender<BlobName>,
    pub(super) given: Receiver<Result<Option<Vec<u8>>>>,
    /// What was asked for and not taken yet.
    pub(super) next: VecDeque<u64>,
}

impl Keys {
    /// The keys of a record of this many bytes, with nothing in hand yet.
    pub(super) fn new(opened: RecordKeys, geometry: Geometry, length: u64) -> Self {
        let RecordKeys { secret, body, root, context } = opened;
        let first = body.first();
        let padded = if first.is_some() { layout::padded(length) } else { length };
        // Most records are short: a buffer costs its wiping.
        let room = || Secret::zeroed(padded.min(CHUNK_BYTES as u64) as usize);
        let (segment, chunk, plain) = match body {
            Body::Segments(_) => (None, None, room()),
            Body::Plain(plain) => (None, Some(Chunk { number: 0, length: plain.len() }), plain),
            Body::Sealed(object) => {
                (Some(Segment { number: 0, blob: object.to_vec() }), None, room())
            }
        };
        Keys { secret, first, padded, root, suite: None, context, geometry, segment, chunk, plain }
    }

    fn segment_name(&self, n: u64) -> Result<BlobName> {
        let first = self.first.ok_or_else(cut_short)?;
        Ok(layout::segment_name(&self.secret, first, n))
    }

    fn fetch(
        &mut self,
        store: &dyn Store,
        segment: u64,
        last: u64,
        ahead: &mut Option<ReadAhead>,
    ) -> Result<()> {
        if self.segment.as_ref().is_some_and(|there| there.number == segment) {
            return Ok(());
        }
        self.segment = None;
        let name = self.segment_name(segment)?;
        let blob = match ahead {
            Some(ahead) => ahead.fetch(|n| self.segment_name(n), segment, last),
            None => store.get(&name),
        };
        let blob = blob?.ok_or_else(|| missing(name, &store.place()))?;
        self.segment = Some(Segment { number: segment, blob });
        Ok(())
    }

    /// The length of chunk `chunk`, if that is the one in `plain`.
    pub(super) fn opened(&self, chunk: u64) -> Option<usize> {
        self.chunk.filter(|there| there.number == chunk).map(|there| there.length)
    }

    /// Has chunk `chunk` opened in `plain`, and returns its length.
    pub(super) fn open(
        &mut self,
        store: &dyn Store,
        length: u64,
        chunk: u64,
        ahead: &mut Option<ReadAhead>,
    ) -> Result<usize> {
        if let Some(filled) = self.opened(chunk) {
            return Ok(filled);
        }
        // Nothing is read of segments that hold padding alone.
        let last = layout::locate(length.saturating_sub(1) / CHUNK_BYTES as u64, self.geometry).0;
        if self.suite.is_none() {
            self.fetch(store, 0, last, ahead)?;
            let segment = self.segment.as_ref();
            let header = segment.and_then(|s| s.blob.get(..HEADER_BYTES)).unwrap_or_default();
            self.suite = Some(chunked::Suite::from_header(
                &crypto::content_key(&self.root),
                header,
                &self.context,
            )?);
        }
        let (segment, start) = layout::locate(chunk, self.geometry);
        self.fetch(store, segment, last, ahead)?;
        let expected = (self.padded - chunk * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64) as usize;
        let in_hand = self.segment.as_ref();
        let sealed = in_hand.and_then(|s| s.blob.get(start..start + expected + TAG_BYTES));
        let (Some(sealed), Some(suite)) = (sealed, &self.suite) else {
            return Err(cut_short());
        };
        self.chunk = None;
        let length = suite.open_chunk(chunk, sealed, &mut self.plain)?;
        self.chunk = Some(Chunk { number: chunk, length });
        Ok(length)
    }
}

fn cut_short() -> Error {
    Error::corrupt("a record's payload is shorter than its entry says; restore it from a copy")
}

impl ReadAhead {
    /// The blob of a segment, and asks for those after it.
    fn fetch(
        &mut self,
        name: impl Fn(u64) -> Result<BlobName>,
        segment: u64,
        last: u64,
    ) -> Result<Option<Vec<u8>>> {
        let gone = || Error::new(ErrorKind::Io, "the thread that reads ahead ended");
        if self.next.front().is_some_and(|front| *front != segment) {
            for _ in self.next.drain(..) {
                drop(self.given.recv());
            }
        }
        let next = self.next.back().map_or(segment, |back| back + 1);
        for n in (next..=last).take(AHEAD - self.next.len()) {
            self.ask.send(name(n)?).map_err(|_| gone())?;
            self.next.push_back(n);
        }
        self.next.pop_front();
        self.given.recv().map_err(|_| gone())?
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.context.zeroize();
    }
}
