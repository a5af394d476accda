//! The keys of an open record, and the one chunk that they have opened.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};

use zeroize::Zeroize;

use crate::crypto::{self, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES};
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
    piece: Option<Piece>,
    /// Chunks that were fetched at once, where segments are long.
    window: usize,
    chunk: Option<Chunk>,
    /// The opened bytes of the chunk in hand.
    pub(super) plain: Secret,
}

/// What is in hand of a segment, as stored.
struct Piece {
    segment: u64,
    /// Where in it this begins.
    from: usize,
    blob: Vec<u8>,
}

impl Piece {
    fn get(&self, segment: u64, from: usize, until: usize) -> Option<&[u8]> {
        let begin = from.checked_sub(self.from).filter(|_| segment == self.segment)?;
        self.blob.get(begin..until.checked_sub(self.from)?)
    }

    /// Whether that place comes just after it.
    fn is_before(&self, segment: u64, start: usize) -> bool {
        match segment.checked_sub(self.segment) {
            Some(0) => start == self.from + self.blob.len(),
            Some(1) => start == 0,
            _ => false,
        }
    }
}

/// What has to be fetched of a segment.
pub(super) struct Wanted {
    segment: u64,
    /// The name of the segment, and of those after it, if it is read ahead.
    names: Vec<BlobName>,
    /// The last segment that holds more than padding.
    last: u64,
    from: usize,
    /// Bytes of it; `None`: all.
    len: Option<usize>,
}

impl Wanted {
    /// Fetches it, as it is stored.
    pub(super) fn fetch(
        &self,
        store: &dyn Store,
        ahead: &mut Option<ReadAhead>,
    ) -> Result<Option<Vec<u8>>> {
        match (ahead, self.len) {
            (Some(ahead), _) => ahead.fetch(&self.names, self.segment, self.last),
            (None, Some(len)) => store.get_part(&self.names[0], self.from, len),
            (None, None) => store.get(&self.names[0]),
        }
    }
}

/// The chunk in hand, opened.
#[derive(Clone, Copy)]
struct Chunk {
    number: u64,
    length: usize,
}

/// Segments of a long record that are fetched while the one before is opened.
pub(super) const AHEAD: usize = 2;
/// Chunks of a long segment that are fetched at once, at most: 2 MiB.
const WINDOW_MAX: usize = 128;
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
        let (piece, chunk, plain) = match body {
            Body::Segments(_) => (None, None, room()),
            Body::Plain(plain) => (None, Some(Chunk { number: 0, length: plain.len() }), plain),
            Body::Sealed(object) => {
                (Some(Piece { segment: 0, from: 0, blob: object.to_vec() }), None, room())
            }
        };
        let (suite, window) = (None, 1);
        Keys { secret, first, padded, root, suite, context, geometry, piece, window, chunk, plain }
    }

    fn segment_name(&self, n: u64) -> Result<BlobName> {
        let first = self.first.ok_or_else(cut_short)?;
        Ok(layout::segment_name(&self.secret, first, n))
    }

    /// Whether these bytes of a segment are in hand.
    fn holds(&self, segment: u64, from: usize, until: usize) -> bool {
        self.piece.as_ref().is_some_and(|piece| piece.get(segment, from, until).is_some())
    }

    /// Bytes of a chunk.
    fn plain_len(&self, chunk: u64) -> usize {
        self.padded.saturating_sub(chunk * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64) as usize
    }

    /// What is to be fetched before a chunk can be opened, if it is not in hand. Segments of a
    /// usual length are fetched whole, and all where it is read ahead; of longer ones twice as much
    /// each time, as long as one chunk is read after the other.
    pub(super) fn wants(&mut self, length: u64, chunk: u64, ahead: bool) -> Result<Option<Wanted>> {
        if self.opened(chunk).is_some() {
            return Ok(None);
        }
        let (segment, start) = layout::locate(chunk, self.geometry);
        let until = start + self.plain_len(chunk) + TAG_BYTES;
        let whole = ahead || self.geometry.segment_bytes <= SEGMENT_BYTES;
        // Nothing is read of segments that hold padding alone.
        let last = layout::locate(length.saturating_sub(1) / CHUNK_BYTES as u64, self.geometry).0;
        let (segment, from, len) = if self.suite.is_none() && !self.holds(0, 0, HEADER_BYTES) {
            let is_first = segment == 0 && start == HEADER_BYTES;
            (0, 0, if is_first { until } else { HEADER_BYTES })
        } else if self.holds(segment, start, until) {
            return Ok(None);
        } else {
            let on = self.piece.as_ref().is_some_and(|piece| piece.is_before(segment, start));
            self.window = if on { (self.window * 2).min(WINDOW_MAX) } else { 1 };
            (segment, start, self.window * (CHUNK_BYTES + TAG_BYTES))
        };
        let (from, len) = if whole { (0, None) } else { (from, Some(len)) };
        let names = segment..=if ahead { last.min(segment + AHEAD as u64) } else { segment };
        let names = names.map(|n| self.segment_name(n)).collect::<Result<_>>()?;
        Ok(Some(Wanted { segment, names, last, from, len }))
    }

    /// Takes what was fetched.
    pub(super) fn give(
        &mut self,
        wanted: &Wanted,
        blob: Option<Vec<u8>>,
        store: &dyn Store,
    ) -> Result<()> {
        self.piece = None;
        let blob = blob.ok_or_else(|| missing(wanted.names[0], &store.place()))?;
        self.piece = Some(Piece { segment: wanted.segment, from: wanted.from, blob });
        // The next piece takes its header's place.
        self.derive()
    }

    /// Lets go of what is in hand and does not open; the name of the segment that it is of.
    pub(super) fn let_go(&mut self, chunk: u64) -> Option<BlobName> {
        self.first?;
        (self.piece, self.chunk) = (None, None);
        let has_header = self.suite.is_some();
        let segment = if has_header { layout::locate(chunk, self.geometry).0 } else { 0 };
        self.segment_name(segment).ok()
    }

    /// Derives the cipher from the header in hand, unless that was done.
    fn derive(&mut self) -> Result<()> {
        if self.suite.is_none() {
            let header = self.piece.as_ref().and_then(|piece| piece.get(0, 0, HEADER_BYTES));
            self.suite = Some(chunked::Suite::from_header(
                &crypto::content_key(&self.root),
                header.unwrap_or_default(),
                &self.context,
            )?);
        }
        Ok(())
    }

    /// The length of chunk `chunk`, if that is the one in `plain`.
    pub(super) fn opened(&self, chunk: u64) -> Option<usize> {
        self.chunk.filter(|there| there.number == chunk).map(|there| there.length)
    }

    /// Whether all of the record is opened already.
    pub(super) fn is_whole(&self) -> bool {
        self.padded <= CHUNK_BYTES as u64 && self.chunk.is_some()
    }

    /// Whether a chunk can be opened without anything being fetched.
    pub(super) fn has(&self, chunk: u64) -> bool {
        let (segment, start) = layout::locate(chunk, self.geometry);
        let until = start + self.plain_len(chunk) + TAG_BYTES;
        self.opened(chunk).is_some() || self.holds(segment, start, until)
    }

    /// Has chunk `chunk`, which is in hand, opened in `plain`, and returns its length.
    pub(super) fn open(&mut self, chunk: u64) -> Result<usize> {
        if let Some(filled) = self.opened(chunk) {
            return Ok(filled);
        }
        self.derive()?;
        let (segment, start) = layout::locate(chunk, self.geometry);
        let until = start + self.plain_len(chunk) + TAG_BYTES;
        let in_hand = self.piece.as_ref();
        let sealed = in_hand.and_then(|piece| piece.get(segment, start, until));
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
    fn fetch(&mut self, names: &[BlobName], segment: u64, last: u64) -> Result<Option<Vec<u8>>> {
        let gone = || Error::new(ErrorKind::Io, "the thread that reads ahead ended");
        if self.next.front().is_some_and(|front| *front != segment) {
            for _ in self.next.drain(..) {
                drop(self.given.recv());
            }
        }
        let next = self.next.back().map_or(segment, |back| back + 1);
        for n in (next..=last).take(AHEAD - self.next.len()) {
            let name = names.get((n - segment) as usize).ok_or_else(gone)?;
            self.ask.send(*name).map_err(|_| gone())?;
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
