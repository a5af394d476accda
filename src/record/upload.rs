//! An unfinished upload: a record of a class of its own, `+` before the name of what it is to
//! become, and a record of that class for each part of the payload.
//!
//! ```text
//! ordinal = 1 (1 bit) ‖ number (15 bits) ‖ part (16 bits); part 0 is the upload itself
//! upload  = media type and purpose of the record to come; made when the upload expires
//! payload = 1 ‖ created 8 ‖ (0 | 1 ‖ length 8)     of the record to come
//! part    = made as many milliseconds after its interaction began as bytes are before it
//! ```

use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::secret::Secret;

const VERSION: u8 = 1;
/// What the ordinals of uploads and their parts begin with, and no other.
const OF_UPLOADS: u32 = 1 << 31;
const PART: u32 = 0xFFFF;
/// Numbers of uploads end before this: the ordinal after any part is one.
pub(crate) const NUMBERS: u16 = 0x7FFF;

/// What the entry of an upload has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// When the record to come was made, as the application says.
    pub(crate) created: Timestamp,
    /// How long it is to be, if that was declared.
    pub(crate) length: Option<u64>,
}

impl About {
    /// Most bytes of it.
    pub(crate) const MAX: usize = 1 + 8 + 9;

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(Self::MAX);
        e.u8(VERSION).u64(self.created.0).optional(self.length);
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "upload");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let about = About { created: Timestamp(d.u64()?), length: d.optional()? };
        d.end()?;
        Ok(about)
    }
}

/// Whether a record is an upload, or a part of one.
pub(crate) fn is_of_upload(ordinal: u32) -> bool {
    ordinal & OF_UPLOADS != 0
}

/// The ordinal of an upload.
pub(crate) fn ordinal(number: u16) -> u32 {
    OF_UPLOADS | u32::from(number % NUMBERS) << 16
}

/// The upload of a part, or of itself, and the last ordinal that one of its parts can have.
pub(crate) fn whole(ordinal: u32) -> (u32, u32) {
    (ordinal & !PART, ordinal | PART)
}

/// The number of an upload and of a part of it; 0 is the upload itself.
pub(crate) fn split(ordinal: u32) -> (u16, u16) {
    ((ordinal >> 16) as u16 % (NUMBERS + 1), (ordinal & PART) as u16)
}
