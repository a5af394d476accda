//! What a record is: its metadata in the class's tree, its payload in segments of the store.
//!
//! ```text
//! entry   = 1 ‖ record secret 32 ‖ first segment's name 16 ‖ detached 1 ‖ sources 2 ‖ depth 2
//!           ‖ length 8 ‖ created 8 ‖ media type len 2 ‖ media type ‖ purpose len 2 ‖ purpose
//! payload = one object of C2SP chunked-encryption, cut into segments: as many chunks each as the
//!           geometry says, the header before the first
//! ```
//! What is sealed is padded with zeros: a store sees one of few lengths, and the entry alone has
//! the true one.

use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key, RECORD_CONTEXT};
use crate::error::{Error, Result};
use crate::ids::{BlobName, Class, InteractionId, RealmId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{
    CHUNK_BYTES, HEADER_BYTES, MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES, RECORD_MAX_BYTES, TAG_BYTES,
};
use crate::secret::Secret;
use crate::tree::Geometry;

const VERSION: u8 = 1;
const ENTRY_MAX: usize =
    1 + 32 + 16 + 1 + 2 + 2 + 8 + 8 + 2 + MEDIA_TYPE_MAX_BYTES + 2 + PURPOSE_MAX_BYTES;

/// What the engine tells of a record without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordInfo {
    /// Id of the record.
    pub id: RecordId,
    /// The user it belongs to.
    pub user: UserId,
    /// The exchange it belongs to.
    pub interaction: InteractionId,
    /// Its class, such as `audio`.
    pub class: Class,
    /// Media type (RFC 6838).
    pub media_type: String,
    /// Why it is kept, in the application's words; may be empty.
    pub purpose: String,
    /// When it was made, as the application says.
    pub created: Timestamp,
    /// Bytes of its plaintext.
    pub length: u64,
    /// How many records it was derived from, and depends on: it falls with any of them.
    pub sources: u16,
    /// Whether it was detached from a record that it had been derived from.
    pub detached: bool,
}

/// A record's entry in its class's tree.
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

/// Checks a media type: printable ASCII with a slash, at most 127 bytes.
pub(crate) fn check_media_type(media_type: &str) -> Result<()> {
    let ok = media_type.len() <= MEDIA_TYPE_MAX_BYTES
        && media_type.contains('/')
        && media_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if ok {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "not a media type: {media_type:?}; write one like audio/wav, at most \
             {MEDIA_TYPE_MAX_BYTES} bytes"
        )))
    }
}

/// Checks a purpose: at most 255 bytes.
pub(crate) fn check_purpose(purpose: &str) -> Result<()> {
    if purpose.len() <= PURPOSE_MAX_BYTES {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "a purpose has at most {PURPOSE_MAX_BYTES} bytes, this one {}",
            purpose.len()
        )))
    }
}

/// Context of a payload's seal: it opens for this user, class and interaction only.
pub(crate) fn payload_context(
    realm: RealmId,
    user: UserTag,
    incarnation: u16,
    class: &Class,
    interaction: InteractionId,
) -> Vec<u8> {
    let class = class.as_str().as_bytes();
    [
        RECORD_CONTEXT,
        &realm.0,
        &user.0,
        &incarnation.to_be_bytes(),
        &interaction.0,
        &(class.len() as u16).to_be_bytes(),
        class,
    ]
    .concat()
}

/// Name of segment `n` of a record with this secret, whose first segment has the name `first`.
pub(crate) fn segment_name(secret: &Key, first: BlobName, n: u64) -> BlobName {
    if n == 0 { first } else { crypto::segment_name(secret, n) }
}

/// Multiples to which short payloads are padded, and up to where they are short.
const PAD_SHORT: u64 = 64;
const SHORT_MAX: u64 = 512;

/// Bytes of a payload of `length` bytes as it is sealed: 64 at least, in steps of 64 up to 512;
/// Padmé from there on, a sixteenth more at most.
pub fn padded(length: u64) -> u64 {
    if length <= SHORT_MAX {
        return length.max(1).next_multiple_of(PAD_SHORT);
    }
    let exponent = length.ilog2();
    let free = exponent - (exponent.ilog2() + 1);
    // The longest record there is stays within the counter of its chunks.
    length.next_multiple_of(1 << free).min(RECORD_MAX_BYTES)
}

/// Number of segments of a record of `length` bytes: the last chunk is always shorter, so a full
/// one has a successor.
pub(crate) fn segments(length: u64, geometry: Geometry) -> u64 {
    padded(length) / geometry.segment_bytes as u64 + 1
}

/// Segment of a chunk, and where the chunk begins in the segment.
pub(crate) fn locate(chunk: u64, geometry: Geometry) -> (u64, usize) {
    let chunks = geometry.segment_chunks() as u64;
    let segment = chunk / chunks;
    let within = (chunk % chunks) as usize * (CHUNK_BYTES + TAG_BYTES);
    (segment, if segment == 0 { HEADER_BYTES + within } else { within })
}

/// A record to be put. Built up from user and class; the rest has defaults.
#[derive(Clone, Debug)]
pub struct Put {
    pub(crate) user: UserId,
    pub(crate) class: Class,
    pub(crate) interaction: Option<InteractionId>,
    pub(crate) media_type: String,
    pub(crate) purpose: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) sources: Vec<Source>,
}

/// What a record is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A record, of any user.
    Record(RecordId),
    /// One of the same batch, by the number that [`crate::Batch::add`] gave.
    Added(usize),
}

impl From<RecordId> for Source {
    fn from(id: RecordId) -> Self {
        Source::Record(id)
    }
}

impl Put {
    /// A record of `user` in `class`, in an interaction of its own that begins now.
    pub fn new(user: UserId, class: Class) -> Self {
        Put {
            user,
            class,
            interaction: None,
            media_type: "application/octet-stream".into(),
            purpose: String::new(),
            created: None,
            sources: Vec::new(),
        }
    }

    /// Puts it into this interaction.
    #[must_use]
    pub fn interaction(mut self, id: InteractionId) -> Self {
        self.interaction = Some(id);
        self
    }

    /// Names its media type (RFC 6838); the default is `application/octet-stream`.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = media_type.into();
        self
    }

    /// Says why it is kept, in at most 255 bytes.
    #[must_use]
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = purpose.into();
        self
    }

    /// Says what it was derived from, once for each source: a record, by its id, or one of the same
    /// batch ([`Source::Added`]). It cannot be read any more from the moment one of them is erased.
    #[must_use]
    pub fn derived_from(mut self, source: impl Into<Source>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Says when it was made; the default is now. This is for people: limits of age, erases of a
    /// span of time, [`Query::from`](crate::Query) and the order of a listing go by when the
    /// interaction began. What was recorded earlier is put into an interaction of its time
    /// ([`InteractionId::from_parts`]).
    #[must_use]
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }
}
