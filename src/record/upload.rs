//! An unfinished upload: a record of a class of its own, `+` before the name of what it is to
//! become, and a record of that class for each part of the payload.
//!
//! ```text
//! ordinal = 1 (1 bit) ‖ number (15 bits) ‖ part (16 bits); part 0 is the upload itself
//! upload  = media type and purpose of the record to come; made when the upload expires
//! payload = 1 ‖ created 8 ‖ (0 | 1 ‖ length 8) ‖ [mode ‖ label]     of the record to come
//! mode    = 0 replaces | 1 only if its name is nobody's | 2 ‖ id 40, the record that it replaces
//! label   = as in tree/labels.rs; neither if the record is to have none
//! part    = made as many milliseconds after its interaction began as bytes are before it
//! ```

use super::PutMode;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{RecordId, Timestamp};
use crate::secret::Secret;
use crate::tree::labels::{LABEL_MAX, Label};

const VERSION: u8 = 1;
/// What the ordinals of uploads and their parts begin with, and no other.
const OF_UPLOADS: u32 = 1 << 31;
const PART: u32 = 0xFFFF;
/// Numbers of uploads end before this: the ordinal after any part is one.
pub(crate) const NUMBERS: u16 = 0x7FFF;

/// Of the modes of a put.
const REPLACE: u8 = 0;
const IF_ABSENT: u8 = 1;
const IF_IS: u8 = 2;

/// What the entry of an upload has no place for, or what must not be in it: a name in the trees of
/// labels is that of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// When the record to come was made, as the application says.
    pub(crate) created: Timestamp,
    /// How long it is to be, if that was declared.
    pub(crate) length: Option<u64>,
    /// What it is to be called, and what is said of it.
    pub(crate) label: Label,
    /// What becomes of it if another record has its name then.
    pub(crate) mode: PutMode,
}

impl About {
    /// Most bytes of it.
    pub(crate) const MAX: usize = 1 + 8 + 9 + 41 + LABEL_MAX;

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(Self::MAX);
        e.u8(VERSION).u64(self.created.0).optional(self.length);
        if !self.label.is_empty() {
            match &self.mode {
                PutMode::Replace => e.u8(REPLACE),
                PutMode::IfAbsent => e.u8(IF_ABSENT),
                PutMode::IfIs(id) => e.u8(IF_IS).bytes(&id.to_bytes()),
            };
            e.bytes(&self.label.encode());
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "upload");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let (created, length) = (Timestamp(d.u64()?), d.optional()?);
        if d.left() == 0 {
            return Ok(About { created, length, label: Label::default(), mode: PutMode::Replace });
        }
        let mode = match d.u8()? {
            REPLACE => PutMode::Replace,
            IF_ABSENT => PutMode::IfAbsent,
            IF_IS => PutMode::IfIs(RecordId::from_bytes(&d.array()?)?),
            _ => return Err(d.bad()),
        };
        let label = Label::decode(d.bytes(d.left())?)?;
        Ok(About { created, length, label, mode })
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
