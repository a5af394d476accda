//! A record's entry in its class's tree.

use super::payload::{segment_name, segments};
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{BlobName, Timestamp};
use crate::limits::{MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES, RECORD_MAX_BYTES};
use crate::secret::Secret;
use crate::tree::Geometry;

const VERSION: u8 = 1;
const ENTRY_MAX: usize =
    1 + 32 + 16 + 1 + 2 + 2 + 8 + 8 + 2 + MEDIA_TYPE_MAX_BYTES + 2 + PURPOSE_MAX_BYTES;

/// A record's entry in its class's tree, the only place of its secret.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) secret: Key,
    /// Name of the payload's first segment; those of the others come from the secret.
    pub(crate) first: BlobName,
    /// Its content root stands wrapped among its links.
    pub(crate) detached: bool,
    /// How many records it depends on.
    pub(crate) sources: u16,
    /// One more than the depth of the deepest of them; 0 without any.
    pub(crate) depth: u16,
    pub(crate) length: u64,
    pub(crate) created: Timestamp,
    pub(crate) media_type: String,
    pub(crate) purpose: zeroize::Zeroizing<String>,
}

impl Entry {
    /// Whether its content root is its own secret: it depends on no other record, and never did.
    pub(crate) fn stands_alone(&self) -> bool {
        self.sources == 0 && !self.detached
    }

    /// Name of segment `n` of the payload.
    pub(crate) fn segment_name(&self, n: u64) -> BlobName {
        segment_name(&self.secret, self.first, n)
    }

    /// Names of the payload's segments, in order.
    pub(crate) fn segment_names(&self, geometry: Geometry) -> impl Iterator<Item = BlobName> + '_ {
        (0..segments(self.length, geometry)).map(|n| self.segment_name(n))
    }

    pub(crate) fn encode(&self) -> Secret {
        self.encode_with(self.first)
    }

    /// As `encode`, with another name for the first segment.
    pub(crate) fn encode_with(&self, first: BlobName) -> Secret {
        let mut e = Encoder::new(ENTRY_MAX);
        e.u8(VERSION)
            .bytes(self.secret.bytes())
            .bytes(&first.0)
            .u8(u8::from(self.detached))
            .u16(self.sources)
            .u16(self.depth);
        e.u64(self.length).u64(self.created.0);
        e.text(&self.media_type).text(&self.purpose);
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "record entry");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let secret = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let first = BlobName(d.array()?);
        let detached = match d.u8()? {
            0 => false,
            1 => true,
            _ => return Err(d.bad()),
        };
        let (sources, depth) = (d.u16()?, d.u16()?);
        let length = d.u64()?;
        let created = Timestamp(d.u64()?);
        let media_type = d.text(MEDIA_TYPE_MAX_BYTES)?.to_owned();
        let purpose = d.text(PURPOSE_MAX_BYTES)?.to_owned().into();
        if length > RECORD_MAX_BYTES {
            return Err(d.bad());
        }
        d.end()?;
        Ok(Entry { secret, first, detached, sources, depth, length, created, media_type, purpose })
    }
}
