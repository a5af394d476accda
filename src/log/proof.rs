//! Proofs that a leaf is in a tree (RFC 9162, 2.1.3), and that a tree goes on from another (2.1.4).

use super::hash::Hash;
use crate::error::{Error, Result};

/// Where hashes of a tree come from.
pub trait Subtrees {
    /// The hash over the `2^level` leaves from `index * 2^level` on. Only asked for if all of
    /// them are in the tree.
    ///
    /// # Errors
    /// Whatever the source fails with.
    fn subtree(&self, level: u8, index: u64) -> Result<Hash>;
}

impl<F: Fn(u8, u64) -> Result<Hash>> Subtrees for F {
    fn subtree(&self, level: u8, index: u64) -> Result<Hash> {
        self(level, index)
    }
}

/// The largest power of two smaller than `n`, for `n` of 2 or more.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The root over leaves `from..until`, of which `from` is a multiple of the largest power of two
/// that is not above their number.
fn range(source: &dyn Subtrees, from: u64, until: u64) -> Result<Hash> {
    let n = until - from;
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return source.subtree(level as u8, from >> level);
    }
    let left = split(n);
    Ok(Hash::node(&range(source, from, from + left)?, &range(source, from + left, until)?))
}

/// The root of the first `size` leaves.
///
/// # Errors
/// As `source`.
pub fn root(source: &dyn Subtrees, size: u64) -> Result<Hash> {
    if size == 0 { Ok(Hash::empty()) } else { range(source, 0, size) }
}

fn beyond(what: &str) -> Error {
    Error::invalid(format!("{what}; take a checkpoint that covers it"))
}

/// The proof that leaf `index` is among the first `size`, the hash next to the leaf first.
///
/// # Errors
/// `Invalid` if it is not; as `source`.
pub fn inclusion(source: &dyn Subtrees, index: u64, size: u64) -> Result<Vec<Hash>> {
    if index >= size {
        return Err(beyond(&format!("leaf {index} is not among the first {size} of the log")));
    }
    let (mut from, mut until, mut path) = (0, size, Vec::new());
    while until - from > 1 {
        let middle = from + split(until - from);
        if index < middle {
            path.push(range(source, middle, until)?);
            until = middle;
        } else {
            path.push(range(source, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the first `old` leaves of a tree of `new` are those of the tree of `old`.
///
/// # Errors
/// `Invalid` if `old` is larger; as `source`.
pub fn consistency(source: &dyn Subtrees, old: u64, new: u64) -> Result<Vec<Hash>> {
    if old > new {
        return Err(beyond(&format!("a log of {new} leaves is older than one of {old}")));
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    // RFC 9162, 2.1.4.1: SUBPROOF, without recursion.
    let (mut from, mut until, mut whole, mut proof) = (0, new, true, Vec::new());
    while old != until {
        let middle = from + split(until - from);
        if old <= middle {
            proof.push(range(source, middle, until)?);
            until = middle;
        } else {
            proof.push(range(source, from, middle)?);
            from = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range(source, from, until)?);
    }
    proof.reverse();
    Ok(proof)
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!("{what}; do not rely on it, and keep it as evidence"))
}

/// Checks an inclusion proof (RFC 9162, 2.1.3.2).
///
/// # Errors
/// `Corrupt` if it does not show that `leaf` is leaf `index` of the `size` under `root`.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<()> {
    let refused = || wrong("the proof does not lead from the leaf to the checkpoint");
    if index >= size {
        return Err(refused());
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for step in path {
        if last == 0 {
            return Err(refused());
        }
        if at & 1 == 1 || at == last {
            hash = Hash::node(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(refused()) }
}

/// How far a log has grown: its number of leaves, and the root over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Number of leaves.
    pub size: u64,
    /// The root over all of them.
    pub root: Hash,
}

/// Checks a consistency proof (RFC 9162, 2.1.4.2).
///
/// # Errors
/// `Corrupt` if it does not show that the tree of `new` goes on from the tree of `old`.
pub fn verify_consistency(old: Extent, new: Extent, proof: &[Hash]) -> Result<()> {
    let refused = || {
        wrong(
            "the log does not go on from the checkpoint that was kept: it was rolled back, or \
             shows others another history",
        )
    };
    if old.size > new.size {
        return Err(refused());
    }
    if old.size == 0 || old.size == new.size {
        let root = if old.size == 0 { Hash::empty() } else { new.root };
        let same = old.root == root;
        return if same && proof.is_empty() { Ok(()) } else { Err(refused()) };
    }
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    let skip = at.trailing_ones();
    at >>= skip;
    last >>= skip;
    let mut steps = proof.iter();
    let first = if at == 0 { old.root } else { *steps.next().ok_or_else(refused)? };
    let (mut from_old, mut from_new) = (first, first);
    for step in steps {
        if last == 0 {
            return Err(refused());
        }
        if at & 1 == 1 || at == last {
            from_old = Hash::node(step, &from_old);
            from_new = Hash::node(step, &from_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            from_new = Hash::node(&from_new, step);
        }
        at >>= 1;
        last >>= 1;
    }
    if last == 0 && from_old == old.root && from_new == new.root { Ok(()) } else { Err(refused()) }
}
