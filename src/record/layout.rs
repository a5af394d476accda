//! How a payload is laid out: padded, cut into segments, each under a name of its own.

use crate::crypto::{self, Key, RECORD_CONTEXT};
use crate::ids::{BlobName, Class, InteractionId, RealmId, UserTag};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, RECORD_MAX_BYTES, TAG_BYTES};
use crate::tree::Geometry;

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
