//! A record's payload: the key that opens it, and its segments, or its place in the entry.

use super::resolve::Resolver;
use super::walk::Walking;
use crate::crypto::{self, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::{CHUNK_BYTES, TAG_BYTES};
use crate::pages::PageSource;
use crate::record::layout::{padded, payload_context};
use crate::record::{Body, Entry};
use crate::secret::Secret;
use crate::tree::ordered::OrderedKey;
use crate::tree::{ClassOf, Geometry};

/// What opens a record's payload.
pub(crate) struct Payload {
    pub(crate) key: Key,
    pub(crate) context: Vec<u8>,
    /// Name of the first segment, if there are any.
    first: Option<BlobName>,
    length: u64,
    geometry: Geometry,
    /// SHA-256 of a payload in segments, if its entry has it.
    digest: Option<[u8; 32]>,
}

impl Payload {
    /// `None` if the record fell with one that it was derived from; an adversary passes over
    /// what is damaged, too.
    pub(crate) fn of(
        resolver: &mut Resolver<'_>,
        pass: &Walking<'_>,
        of: &ClassOf,
        key: &OrderedKey,
        entry: &Entry,
    ) -> Result<Option<Self>> {
        let id = of.record(key)?;
        let root = if entry.stands_alone() {
            entry.secret.duplicate()
        } else {
            match resolver.resolve(&id) {
                Ok((root, _)) => root.duplicate(),
                Err(e) if pass.is_lenient() || e.kind() == ErrorKind::Erased => {
                    match resolver.elsewhere(&id) {
                        Some((root, _)) => root,
                        None => return Ok(None),
                    }
                }
                Err(e) => return Err(e),
            }
        };
        let context =
            payload_context(resolver.realm(), of.owner, of.incarnation, &of.class, id.interaction);
        let is_apart = entry.body.first().is_some();
        let digest = if is_apart { entry.digest(&root, &context)? } else { None };
        Ok(Some(Payload {
            key: crypto::content_key(&root),
            context,
            digest,
            first: entry.body.first(),
            length: padded(entry.length),
            geometry: resolver.geometry(),
        }))
    }

    /// A payload that is stored in its entry, opened; `None` if it is in segments.
    pub(crate) fn within(&self, entry: &Entry) -> Result<Option<Secret>> {
        Ok(match &entry.body {
            Body::Segments(_) => None,
            Body::Plain(bytes) => Some(Secret::copied_from(bytes)),
            Body::Sealed(bytes) => Some(chunked::open(&self.key, &self.context, bytes)?),
        })
    }

    /// Whether what was found in its segments may be it, by its digest.
    pub(crate) fn fits(&self, digest: [u8; 32]) -> bool {
        self.digest.is_none_or(|wanted| wanted == digest)
    }

    /// The cipher of a payload in segments: its header is in the first, wherever that is.
    pub(crate) fn suite(&self, source: &PageSource<'_>) -> Result<chunked::Suite> {
        let first = self.first.ok_or_else(|| Error::corrupt("this payload has no segments"))?;
        source.fetch(&first, |blob| chunked::Suite::from_header(&self.key, &blob, &self.context))
    }

    /// Segment `number` as it is stored, from the first of the stores that has it intact; if
    /// none does, as the first has it.
    pub(crate) fn sealed(
        &self,
        source: &PageSource<'_>,
        suite: &chunked::Suite,
        number: u64,
        name: &BlobName,
    ) -> Result<Vec<u8>> {
        let whole = |blob: Vec<u8>| self.open(suite, number, &blob).map(|_| blob);
        source.fetch(name, whole).or_else(|_| source.fetch(name, Ok))
    }

    /// Opens segment `number`, and returns its plaintext.
    pub(crate) fn open(&self, suite: &chunked::Suite, number: u64, blob: &[u8]) -> Result<Secret> {
        let full = self.geometry.segment_bytes;
        let mut plain = Secret::with_capacity(full);
        let mut chunk = Secret::zeroed(CHUNK_BYTES);
        let start = number * self.geometry.segment_chunks() as u64;
        let header = if number == 0 { &suite.header()[..] } else { &[] };
        let sealed = blob
            .strip_prefix(header)
            .ok_or_else(|| Error::corrupt("the header of a payload is another"))?;
        if sealed.len() > self.geometry.segment_chunks() * (CHUNK_BYTES + TAG_BYTES) {
            return Err(Error::corrupt("a segment is longer than any of its store"));
        }
        for (i, piece) in sealed.chunks(CHUNK_BYTES + TAG_BYTES).enumerate() {
            let n = suite.open_chunk(start + i as u64, piece, &mut chunk)?;
            plain.extend_from_slice(&chunk[..n]);
        }
        let left = self.length - (start * CHUNK_BYTES as u64).min(self.length);
        if plain.len() as u64 == left.min(full as u64) {
            Ok(plain)
        } else {
            Err(Error::corrupt("a segment is shorter than its record's entry says"))
        }
    }
}
