//! A record's entry in its class's tree, and what of its payload is stored in it.

use super::layout::{segment_name, segments};
use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key, chunked};
use crate::error::Result;
use crate::ids::{BlobName, InteractionId, Timestamp};
use crate::limits::{
    ENTRY_MAX_BYTES, INLINE_MAX_BYTES, MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES, RECORD_MAX_BYTES,
    SEAL_OVERHEAD,
};
use crate::secret::Secret;
use crate::tree::Geometry;

const ENTRY_MAX: usize = ENTRY_MAX_BYTES + INLINE_MAX_BYTES;
const DETACHED: u8 = 1;
const DERIVED: u8 = 2;
const LAG: u8 = 4;
const SEGMENTS: u8 = 8;
const NAMED: u8 = 16;
const DESCRIBED: u8 = 32;
const DIGEST: u8 = 64;
const FLAGS: u8 = DETACHED | DERIVED | LAG | SEGMENTS | NAMED | DESCRIBED | DIGEST;

/// A record's entry in its class's tree, the only place of its secret.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) secret: Key,
    pub(crate) body: Body,
    /// Its content root stands wrapped among its links.
    pub(crate) detached: bool,
    /// How many records it depends on.
    pub(crate) sources: u16,
    /// One more than the depth of the deepest of them; 0 without any.
    pub(crate) depth: u16,
    pub(crate) length: u64,
    /// Milliseconds from when its interaction began to when it was made, as the application says.
    pub(crate) lag: i64,
    pub(crate) media_type: String,
    pub(crate) purpose: zeroize::Zeroizing<String>,
    /// Whether its label has a name.
    pub(crate) named: bool,
    /// Whether its label has metadata.
    pub(crate) described: bool,
    /// Of a payload in segments, as it is stored: of a record that does not stand alone it opens
    /// with the content root.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Where a payload is.
#[derive(Debug)]
pub(crate) enum Body {
    /// In segments: the name of the first; those of the others come from the secret.
    Segments(BlobName),
    /// In the entry, as it is: the record stands alone.
    Plain(Secret),
    /// In the entry, as one object sealed under the content key.
    Sealed(Secret),
}

impl Body {
    /// That of a short payload: sealed by `suite`, if it does not stand alone.
    pub(crate) fn short(payload: &[u8], suite: Option<&chunked::Suite>) -> Self {
        let Some(suite) = suite else { return Body::Plain(Secret::copied_from(payload)) };
        let mut sealed = suite.header().to_vec();
        suite.seal_chunk(0, payload, &mut sealed);
        Body::Sealed(Secret::copied_from(&sealed))
    }

    /// The name of the first segment, if there are any.
    pub(crate) fn first(&self) -> Option<BlobName> {
        match self {
            Body::Segments(first) => Some(*first),
            Body::Plain(_) | Body::Sealed(_) => None,
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Body::Segments(first) => Body::Segments(*first),
            Body::Plain(bytes) => Body::Plain(Secret::copied_from(bytes)),
            Body::Sealed(bytes) => Body::Sealed(Secret::copied_from(bytes)),
        }
    }

    fn read(d: &mut Decoder<'_>, alone: bool) -> Result<(Self, u64)> {
        let bytes = d.bytes(d.left())?;
        let around = if alone { 0 } else { SEAL_OVERHEAD };
        let length = bytes.len().checked_sub(around).filter(|n| *n <= INLINE_MAX_BYTES);
        let length = length.ok_or_else(|| d.bad())? as u64;
        let bytes = Secret::copied_from(bytes);
        Ok((if alone { Body::Plain(bytes) } else { Body::Sealed(bytes) }, length))
    }
}

impl Entry {
    /// When it was made, as the application says; `interaction` is the record's.
    pub(crate) fn created(&self, interaction: InteractionId) -> Timestamp {
        Timestamp(interaction.began().0.wrapping_add_signed(self.lag))
    }

    /// The lag of what was made then.
    pub(crate) fn lag(interaction: InteractionId, created: Timestamp) -> i64 {
        created.0.wrapping_sub(interaction.began().0) as i64
    }

    /// Whether its content root is its own secret: it depends on no other record, and never did.
    pub(crate) fn stands_alone(&self) -> bool {
        self.sources == 0 && !self.detached
    }

    /// Whether it has a label.
    pub(crate) fn is_labelled(&self) -> bool {
        self.named || self.described
    }

    /// Sets the digest of a payload in segments; the content root is the record's.
    pub(crate) fn set_digest(&mut self, digest: &[u8; 32], root: &Key) {
        if self.body.first().is_some() {
            self.digest = Some(self.masked(digest, root));
        }
    }

    /// SHA-256 of the payload, if it is known. `context` is that of the payload's seal.
    ///
    /// # Errors
    /// `Corrupt` if a payload in the entry does not open.
    // A frame of its own: what a cipher leaves in it is wiped with the stack below a verb.
    #[inline(never)]
    pub(crate) fn digest(&self, root: &Key, context: &[u8]) -> Result<Option<[u8; 32]>> {
        Ok(match &self.body {
            Body::Segments(_) => self.digest.map(|digest| self.masked(&digest, root)),
            Body::Plain(bytes) => Some(crypto::sha256(bytes)),
            Body::Sealed(bytes) => {
                let key = crypto::content_key(root);
                Some(crypto::sha256(&chunked::open(&key, context, bytes)?))
            }
        })
    }

    /// A digest as it is stored, and back.
    fn masked(&self, digest: &[u8; 32], root: &Key) -> [u8; 32] {
        if self.stands_alone() { *digest } else { crypto::mask_digest(root, digest) }
    }

    /// Names of the payload's segments, in order; none if it is stored in the entry.
    pub(crate) fn segment_names(&self, geometry: Geometry) -> impl Iterator<Item = BlobName> + '_ {
        let named = move |first| {
            (0..segments(self.length, geometry)).map(move |n| segment_name(&self.secret, first, n))
        };
        self.body.first().into_iter().flat_map(named)
    }

    /// Whether this is the same record as another: two lines of a store may give one id twice.
    pub(crate) fn is(&self, other: &Entry) -> bool {
        crypto::hedge(&[self.secret.bytes()]) == crypto::hedge(&[other.secret.bytes()])
    }

    pub(crate) fn encode(&self) -> Secret {
        self.encode_with(None)
    }

    /// As `encode`, with another name for the first segment of a payload that has any.
    pub(crate) fn encode_with(&self, first: Option<BlobName>) -> Secret {
        let flag = |flag, is: bool| if is { flag } else { 0 };
        let derived = self.sources > 0 || self.depth > 0;
        let mut e = Encoder::new(ENTRY_MAX);
        e.short(self.media_type.as_bytes()).short(self.purpose.as_bytes());
        e.u8(flag(DETACHED, self.detached)
            | flag(DERIVED, derived)
            | flag(LAG, self.lag != 0)
            | flag(SEGMENTS, self.body.first().is_some())
            | flag(NAMED, self.named)
            | flag(DESCRIBED, self.described)
            | flag(DIGEST, self.digest.is_some()));
        e.bytes(self.secret.bytes());
        if derived {
            e.u16(self.sources).u16(self.depth);
        }
        if self.lag != 0 {
            // The sign last, so that a short time before is as short as one after.
            e.varint((self.lag << 1 ^ self.lag >> 63) as u64);
        }
        if let Some(digest) = &self.digest {
            e.bytes(digest);
        }
        match &self.body {
            Body::Segments(drawn) => e.varint(self.length).bytes(&first.unwrap_or(*drawn).0),
            Body::Plain(bytes) | Body::Sealed(bytes) => e.bytes(bytes),
        };
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "record entry");
        let media_type = short_text(&mut d, MEDIA_TYPE_MAX_BYTES)?.to_owned();
        let purpose = short_text(&mut d, PURPOSE_MAX_BYTES)?.to_owned().into();
        let flags = d.u8()?;
        if flags & !FLAGS != 0 {
            return Err(d.bad());
        }
        let detached = flags & DETACHED != 0;
        let secret = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let (mut sources, mut depth, mut lag) = (0, 0, 0);
        if flags & DERIVED != 0 {
            (sources, depth) = (d.u16()?, d.u16()?);
            if (sources, depth) == (0, 0) {
                return Err(d.bad());
            }
        }
        if flags & LAG != 0 {
            let v = d.varint()?;
            lag = (v >> 1) as i64 ^ -((v & 1) as i64);
            if lag == 0 {
                return Err(d.bad());
            }
        }
        let digest = (flags & DIGEST != 0).then(|| d.array()).transpose()?;
        if digest.is_some() && flags & SEGMENTS == 0 {
            return Err(d.bad());
        }
        let (body, length) = if flags & SEGMENTS != 0 {
            let length = d.varint()?;
            (Body::Segments(BlobName(d.array()?)), length)
        } else {
            Body::read(&mut d, sources == 0 && !detached)?
        };
        if length > RECORD_MAX_BYTES {
            return Err(d.bad());
        }
        d.end()?;
        Ok(Entry {
            secret,
            body,
            detached,
            sources,
            depth,
            length,
            lag,
            media_type,
            purpose,
            named: flags & NAMED != 0,
            described: flags & DESCRIBED != 0,
            digest,
        })
    }
}

fn short_text<'b>(d: &mut Decoder<'b>, max: usize) -> Result<&'b str> {
    let bytes = d.short()?;
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= max);
    text.ok_or_else(|| d.bad())
}
