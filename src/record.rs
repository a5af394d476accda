//! What a record is: its metadata in the class's tree, its payload in segments of the store.
//!
//! ```text
//! entry   = media type len 1 ‖ media type ‖ purpose len 1 ‖ purpose
//!           ‖ flags 1 ‖ record secret 32 ‖ [sources 2 ‖ depth 2] ‖ [lag v] ‖ [digest 32] ‖ body
//! flags   = the sum of 1 detached, 2 sources and depth follow, 4 the lag follows, 8 segments,
//!           16 it has a name, 32 it has metadata (tree/labels.rs has both), 64 the digest follows
//! digest  = SHA-256 of the payload; of a record that does not stand alone, XOR what its content
//!           root gives
//! body    = length v ‖ first segment's name 16          where the payload is in segments
//!         | payload                                     of a record that stands alone
//!         | payload, sealed under the content key       of any other
//! payload = one object of C2SP chunked-encryption, cut into segments: as many chunks each as the
//!           geometry says, the header before the first
//! ```
//! What is sealed in segments is padded with zeros: a store sees one of few lengths, and the entry
//! alone has the true one. A short payload stands in the entry, and no store sees it: the page
//! around it seals it, and hides its length. One that is derived is sealed under its content key
//! there too, so that it falls with its sources before any page is written again. So does its
//! digest, from which a short content could be guessed.

use std::collections::BTreeMap;

use zeroize::Zeroize;

use crate::codec::{Decoder, Encoder};
use crate::crypto::{self, Key, RECORD_CONTEXT, chunked};
use crate::error::{Error, Result};
use crate::ids::{BlobName, Class, InteractionId, RealmId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{
    CHUNK_BYTES, ENTRY_MAX_BYTES, HEADER_BYTES, INLINE_MAX_BYTES, MEDIA_TYPE_MAX_BYTES,
    PURPOSE_MAX_BYTES, RECORD_MAX_BYTES, SEAL_OVERHEAD, TAG_BYTES,
};
use crate::secret::Secret;
use crate::tree::Geometry;
use crate::tree::labels::Label;

const ENTRY_MAX: usize = ENTRY_MAX_BYTES + INLINE_MAX_BYTES;
const DETACHED: u8 = 1;
const DERIVED: u8 = 2;
const LAG: u8 = 4;
const SEGMENTS: u8 = 8;
const NAMED: u8 = 16;
const DESCRIBED: u8 = 32;
const DIGEST: u8 = 64;
const FLAGS: u8 = DETACHED | DERIVED | LAG | SEGMENTS | NAMED | DESCRIBED | DIGEST;

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
    /// The name that the application gave it.
    pub name: Option<String>,
    /// What the application said of it, by keys.
    pub meta: BTreeMap<String, String>,
    /// SHA-256 of its plaintext. `None` in a listing where the record is derived, or was:
    /// [`Engine::info`](crate::Engine::info) has that, too; and where a put of another program left
    /// it out.
    pub digest: Option<[u8; 32]>,
}

impl RecordInfo {
    /// Wipes the texts that are the application's own.
    pub(crate) fn wipe(&mut self) {
        self.purpose.zeroize();
        self.name.zeroize();
        for (mut key, mut value) in std::mem::take(&mut self.meta) {
            key.zeroize();
            value.zeroize();
        }
    }
}

/// A record's entry in its class's tree.
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
    /// That of a short payload: sealed by `suite`, where it does not stand alone.
    pub(crate) fn short(payload: &[u8], suite: Option<&chunked::Suite>) -> Self {
        let Some(suite) = suite else { return Body::Plain(Secret::copied_from(payload)) };
        let mut sealed = suite.header().to_vec();
        suite.seal_chunk(0, payload, &mut sealed);
        Body::Sealed(Secret::copied_from(&sealed))
    }

    /// The name of the first segment, where there are any.
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

    /// SHA-256 of the payload, where it is known. `context` is that of the payload's seal.
    ///
    /// # Errors
    /// `Corrupt` where a payload in the entry does not open.
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

    /// Names of the payload's segments, in order; none where it stands in the entry.
    pub(crate) fn segment_names(&self, geometry: Geometry) -> impl Iterator<Item = BlobName> + '_ {
        let named = move |first| {
            (0..segments(self.length, geometry)).map(move |n| segment_name(&self.secret, first, n))
        };
        self.body.first().into_iter().flat_map(named)
    }

    /// Whether this is the same record as another: two lines of a store may give one id twice.
    pub(crate) fn is(&self, other: &Entry) -> bool {
        self.body.first() == other.body.first()
            && crypto::hedge(&[self.secret.bytes()]) == crypto::hedge(&[other.secret.bytes()])
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
    pub(crate) label: Label,
    pub(crate) mode: PutMode,
}

/// What becomes of a put with a name that another record of the user has. In each mode a put of
/// what stands there already is the same put: it changes nothing, and gives the id of what stands
/// there. What stands there is the same where content, class, media type, purpose, metadata and
/// sources are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutMode {
    /// The other record is erased, in the same commit: the put is final as that erase is.
    #[default]
    Replace,
    /// The put fails as `Exists`.
    IfAbsent,
    /// Replaces this record alone: the put fails as `Exists` where another one has the name, and as
    /// `Absent` where none has.
    IfIs(RecordId),
}

/// What a record is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A record, of any user.
    Record(RecordId),
    /// One of the same batch, by the number that [`crate::Batch::add`] gave.
    Added(usize),
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
            label: Label::default(),
            mode: PutMode::Replace,
        }
    }

    /// Gives it a name, by which [`Engine::find`](crate::Engine::find) has it: any UTF-8 of 1 to
    /// 1,024 bytes, and at most a quarter of a page of the store; of two names only equal bytes are
    /// the same. Within a user a name is one record's: see [`PutMode`]. It falls with its record.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.label.set_name(name.into());
        self
    }

    /// Says something of it: a key and a value, at most 64 of them with 2,048 bytes in all.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.label.set_meta(key.into(), value.into());
        self
    }

    /// What becomes of it where another record has its name.
    #[must_use]
    pub fn mode(mut self, mode: PutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Puts it only where no other record has its name ([`PutMode::IfAbsent`]).
    #[must_use]
    pub fn if_absent(self) -> Self {
        self.mode(PutMode::IfAbsent)
    }

    /// Puts it only in the place of this record ([`PutMode::IfIs`]).
    #[must_use]
    pub fn if_is(self, id: RecordId) -> Self {
        self.mode(PutMode::IfIs(id))
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

    /// Says what it was derived from, once for each source: it cannot be read any more from the
    /// moment one of them is erased.
    #[must_use]
    pub fn derived_from(mut self, source: Source) -> Self {
        self.sources.push(source);
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
