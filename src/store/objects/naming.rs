//! Names that say where in the log their blobs lie, but only to a holder of the log's naming key.
//!
//! ```text
//! name = AES-128(naming key, 2 zeros ‖ number 5 ‖ chunk 1 ‖ offset of the label 3 ‖ length 1
//!        ‖ 4 drawn bytes)                                          FIPS 197, one block
//! length: (16 + the lower 4 bits) << the upper 4
//! ```
//! As in a journal a name is a hint: what lies at a place says its own name. The two zeros tell
//! names that say a place from nearly all others.

use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::ids::BlobName;

/// Bytes of a naming key.
pub(super) const NAMING_KEY_BYTES: usize = 16;

/// Makes and reads the names of one log.
#[derive(Clone)]
pub(super) struct Naming(Aes128);

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the commit.
    pub(super) number: u64,
    /// Which chunk of it, from 1 on.
    pub(super) chunk: u8,
    /// Where the label is in the object of that chunk.
    pub(super) offset: u32,
}

/// What a name says of its blob, if the log named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) at: Place,
    /// Its length, at most.
    pub(super) len: usize,
    /// Its length, at least.
    pub(super) least: usize,
    /// What tells it from every other blob of its object.
    pub(super) key: u64,
}

impl Naming {
    pub(super) fn new(key: &[u8; NAMING_KEY_BYTES]) -> Self {
        Naming(Aes128::new(&(*key).into()))
    }

    /// What tells this log from one with another naming key, to whom that is unknown too.
    pub(super) fn identity(&self) -> [u8; 16] {
        // No name: those begin with two zeros under the key.
        let mut block = [0xff; 16].into();
        self.0.encrypt_block(&mut block);
        block.into()
    }

    /// The name of a blob of `len` bytes at a place; `drawn` itself if a name cannot say that.
    pub(super) fn name(&self, at: Place, len: usize, drawn: BlobName) -> BlobName {
        let (Some(length), true) = (length_up(len), at.number < 1 << 40 && at.offset < 1 << 24)
        else {
            return drawn;
        };
        let mut block = drawn.0;
        block[..2].fill(0);
        block[2..7].copy_from_slice(&at.number.to_be_bytes()[3..]);
        block[7] = at.chunk;
        block[8..11].copy_from_slice(&at.offset.to_be_bytes()[1..]);
        block[11] = length;
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        BlobName(block.into())
    }

    /// What a name says; `None` of one that says no place.
    pub(super) fn hint(&self, name: &BlobName) -> Option<Hint> {
        let mut block = name.0.into();
        self.0.decrypt_block(&mut block);
        let block: [u8; 16] = block.into();
        if block[..2] != [0; 2] || block[7] == 0 {
            return None;
        }
        let number =
            u64::from_be_bytes([0, 0, 0, block[2], block[3], block[4], block[5], block[6]]);
        let offset = u32::from_be_bytes([0, block[8], block[9], block[10]]);
        let len = (16 + usize::from(block[11] & 15)) << (block[11] >> 4);
        let least = if block[11] == 0 { 0 } else { len + 1 - (1 << (block[11] >> 4)) };
        let rest = block[8..].iter().fold(0u64, |key, byte| key << 8 | u64::from(*byte));
        let at = Place { number, chunk: block[7], offset };
        (number > 0).then_some(Hint { at, len, least, key: rest })
    }
}

/// The least length that a name can say and that is `len` or more.
fn length_up(len: usize) -> Option<u8> {
    (0..16u8).find_map(|shift| {
        let top = len.div_ceil(1 << shift).max(16);
        (top < 32).then(|| shift << 4 | (top - 16) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_place() {
        let naming = Naming::new(&[7; 16]);
        for len in (0..3000).chain([65_536, 100_000]) {
            let at = Place { number: (1 << 40) - 1, chunk: 255, offset: (1 << 24) - 1 };
            let name = naming.name(at, len, BlobName([9; 16]));
            let hint = naming.hint(&name).unwrap();
            assert_eq!(hint.at, at);
            assert!(hint.len >= len && hint.len <= (len + len / 16).max(16), "{len}: {}", hint.len);
            assert!(hint.least <= len && hint.least + len / 16 + 16 >= len, "{len}: {hint:?}");
            assert_ne!(naming.name(at, len, BlobName([8; 16])), name, "what is drawn is in it");
        }
        let far = Place { number: 1 << 40, chunk: 1, offset: 0 };
        assert_eq!(naming.name(far, 1, BlobName([9; 16])), BlobName([9; 16]), "no place");
    }
}
