//! Names that say where their blobs lie, but only to a holder of the journal's naming key.
//!
//! ```text
//! name  = AES-128(naming key, place 8 ‖ 8 drawn bytes)              FIPS 197, one block
//! place = file 3 ‖ offset of the label in it 4 ‖ length 1
//!         length: (16 + the lower 4 bits) << the upper 4
//! ```
//! Such a blob needs no entry in the index, so that the index of a store of many users stays small.
//! A block cipher maps different blocks to different names, and without its key they look drawn: a
//! copy elsewhere learns nothing from them. The key is no secret from a holder of the journal: the
//! journal shows its order itself. A name is a hint, and never trusted: what lies at a place says
//! its own name, and a blob that lies elsewhere, since another came first or since this is a copy,
//! is found through the index.

use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::frame::Position;
use crate::ids::BlobName;

/// Bytes of a naming key.
pub(crate) const NAMING_KEY_BYTES: usize = 16;

/// Makes and reads the names of one journal.
pub(crate) struct Naming(Aes128);

/// What a name says of its blob, if the journal named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// Where its label is.
    pub(super) at: Position,
    /// Its length, at most.
    pub(super) len: usize,
}

impl Naming {
    pub(crate) fn new(key: &[u8; NAMING_KEY_BYTES]) -> Self {
        Naming(Aes128::new(&(*key).into()))
    }

    /// The name of a blob of `len` bytes whose label will be at `at`; `drawn` itself if a place
    /// cannot say that.
    pub(super) fn name(&self, at: Position, len: usize, drawn: BlobName) -> BlobName {
        let (Ok(offset), Some(length), true) =
            (u32::try_from(at.offset), length_up(len), at.file < 1 << 24)
        else {
            return drawn;
        };
        let mut block = drawn.0;
        block[..3].copy_from_slice(&at.file.to_be_bytes()[1..]);
        block[3..7].copy_from_slice(&offset.to_be_bytes());
        block[7] = length;
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        BlobName(block.into())
    }

    /// The block that a name is made of: those of neighbours in the journal are neighbours.
    pub(crate) fn block(&self, name: &BlobName) -> [u8; 16] {
        let mut block = name.0.into();
        self.0.decrypt_block(&mut block);
        block.into()
    }

    /// What a name says; of one that the journal did not make, anything.
    pub(super) fn hint(&self, name: &BlobName) -> Hint {
        let block = self.block(name);
        let file = u32::from_be_bytes([0, block[0], block[1], block[2]]);
        let offset = u32::from_be_bytes([block[3], block[4], block[5], block[6]]).into();
        let len = (16 + usize::from(block[7] & 15)) << (block[7] >> 4);
        Hint { at: Position { file, offset }, len }
    }
}

/// The least length that a place can say and that is `len` or more.
fn length_up(len: usize) -> Option<u8> {
    (0..16u8).find_map(|shift| {
        let top = len.div_ceil(1 << shift).max(16);
        (top < 32).then(|| shift << 4 | (top - 16) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest blob whose place a name can say: of a longer one the drawn name stays.
    const LONGEST: usize = 31 << 15;

    #[test]
    fn a_name_says_the_place_and_a_length_that_is_hardly_more() {
        let naming = Naming::new(&[7; 16]);
        for len in (0..5000).chain([65_536, 262_400, LONGEST]) {
            let at = Position { file: 70_000, offset: 1 << 31 };
            let name = naming.name(at, len, BlobName([9; 16]));
            let place = naming.hint(&name);
            assert_eq!(place.at, at);
            assert!(
                place.len >= len && place.len <= (len + len / 16).max(16),
                "{len}: {}",
                place.len
            );
            assert_ne!(naming.name(at, len, BlobName([8; 16])), name, "what is drawn is in it");
        }
        for len in [512, 1024, 1088, 3328, 4096] {
            assert_eq!(
                naming.hint(&naming.name(Position::FIRST, len, BlobName([0; 16]))).len,
                len,
                "no byte more for a page"
            );
        }
        assert_eq!(naming.name(Position::FIRST, LONGEST + 1, BlobName([9; 16])), BlobName([9; 16]));
        let far = Position { file: 1 << 24, offset: 0 };
        assert_eq!(
            naming.name(far, 1, BlobName([9; 16])),
            BlobName([9; 16]),
            "no place: the name that was drawn"
        );
    }
}
