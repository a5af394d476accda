//! Hashes of a Merkle tree (RFC 9162, 2.1.1), and the right edge of one that grows.

use std::fmt;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// Reads base64 written the one way there is: the decoder alone takes padding in the middle too.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

/// A hash of a leaf or of a node: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// Of a leaf: SHA-256(00 ‖ data).
    pub fn leaf(data: &[u8]) -> Self {
        Hash(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
    }

    /// Of a node: SHA-256(01 ‖ left ‖ right).
    #[must_use]
    pub fn node(left: &Hash, right: &Hash) -> Self {
        Hash(
            Sha256::new()
                .chain_update([1])
                .chain_update(left.0)
                .chain_update(right.0)
                .finalize()
                .into(),
        )
    }

    /// Of a full subtree over these, a power of two of them; `None` of none.
    pub fn fold(mut row: Vec<Hash>) -> Option<Self> {
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        }
        row.first().copied()
    }

    /// Of a tree without leaves: SHA-256 of nothing.
    pub fn empty() -> Self {
        Hash(Sha256::digest([]).into())
    }

    /// Reads base64 (RFC 4648, 4).
    ///
    /// # Errors
    /// `Invalid` if it is not a hash, or not written in the one way.
    pub fn from_base64(text: &str) -> Result<Self> {
        let bytes = base64(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Hash).ok_or_else(|| Error::invalid("not a hash: 32 bytes in base64 are one"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Every hash of a tree with a power of two of leaves, or with none.
pub(crate) struct FullTree {
    /// From the leaves up.
    rows: Vec<Vec<Hash>>,
}

impl FullTree {
    /// The tree over these leaves.
    pub(crate) fn over(leaves: Vec<Hash>) -> Self {
        let mut rows = vec![leaves];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            rows.push(row.chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect());
        }
        FullTree { rows }
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        self.rows.last().and_then(|row| row.first()).copied().unwrap_or_else(Hash::empty)
    }

    /// What leads from a leaf of the tree to its root, the hash next to the leaf first.
    pub(crate) fn path(&self, leaf: usize) -> impl Iterator<Item = Hash> {
        let below = self.rows.iter().filter(|row| row.len() > 1).enumerate();
        below.map(move |(level, row)| row[(leaf >> level) ^ 1])
    }
}

/// The right edge of a tree: the roots of its largest full subtrees, from left to right. Enough to
/// append and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size` leaves, one peak for each bit that is set in it.
    ///
    /// # Errors
    /// `Corrupt` if the number of peaks does not fit.
    pub fn new(size: u64, peaks: Vec<Hash>) -> Result<Self> {
        if peaks.len() != size.count_ones() as usize {
            return Err(Error::corrupt(
                "the log's right edge does not fit its size; restore the store from a copy",
            ));
        }
        Ok(Frontier { size, peaks })
    }

    /// Number of leaves that the tree holds.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = Hash::node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let last = peaks.next().unwrap_or_else(Hash::empty);
        peaks.fold(last, |right, left| Hash::node(&left, &right))
    }
}
