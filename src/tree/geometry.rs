//! Sizes of pages and segments, and the fan-out of the user tree: fixed when a store is made.

use super::page::REF_BYTES;
use crate::error::{Error, Result};
use crate::limits::{
    CHUNK_BYTES, FAN_BITS, INLINE_MAX_BYTES, INLINE_PART, PAGE_MAX_BYTES, PAGE_MIN_BYTES,
    SEAL_OVERHEAD, SEGMENT_BYTES, SEGMENT_MAX_BYTES, SEGMENT_MIN_BYTES,
};

/// Size of pages and of segments, and fan-out of the user tree, fixed when a store is made (SPEC.md
/// 5 has the measurement).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Most bytes of a page as stored: a power of two from 1,024 to 16,384.
    pub page_bytes: usize,
    /// Bits of the user tag that one page of the user tree decides on: 2 to 8.
    pub fan_bits: u8,
    /// Plaintext bytes of a full segment of a payload: a power of two from 16,384 to 8,388,608.
    pub segment_bytes: usize,
}

impl Default for Geometry {
    fn default() -> Self {
        Geometry::DEFAULT
    }
}

impl Geometry {
    /// What a store has if nothing else is asked for.
    pub const DEFAULT: Geometry =
        Geometry { page_bytes: 4096, fan_bits: FAN_BITS, segment_bytes: SEGMENT_BYTES };

    /// Checks the bounds above and that a full page of the user tree fits.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(self) -> Result<Self> {
        let ok = self.page_bytes.is_power_of_two()
            && (PAGE_MIN_BYTES..=PAGE_MAX_BYTES).contains(&self.page_bytes)
            && (2..=8).contains(&self.fan_bits)
            && interior_len(1 << self.fan_bits) <= self.capacity();
        if !ok {
            return Err(Error::invalid(format!(
                "a page of {} bytes with fan-out 2^{} is not possible",
                self.page_bytes, self.fan_bits
            )));
        }
        if !self.segment_bytes.is_power_of_two()
            || !(SEGMENT_MIN_BYTES..=SEGMENT_MAX_BYTES).contains(&self.segment_bytes)
        {
            return Err(Error::invalid(format!(
                "a segment of {} bytes is not possible; it is a power of two from \
                 {SEGMENT_MIN_BYTES} to {SEGMENT_MAX_BYTES}",
                self.segment_bytes
            )));
        }
        Ok(self)
    }

    /// Full chunks in one segment of a payload.
    pub(crate) fn segment_chunks(self) -> usize {
        self.segment_bytes / CHUNK_BYTES
    }

    /// Most bytes of a payload that is stored in its record's entry: an eighth of a page.
    pub(crate) fn inline_max(self) -> usize {
        INLINE_MAX_BYTES.min(self.page_bytes / INLINE_PART)
    }

    /// Plaintext bytes of the largest page.
    pub(crate) fn capacity(self) -> usize {
        self.page_bytes - SEAL_OVERHEAD
    }
}

/// Encoded bytes of an interior page with `children` pointers.
const fn interior_len(children: usize) -> usize {
    3 + children * (2 + REF_BYTES)
}
