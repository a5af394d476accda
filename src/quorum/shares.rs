//! Shamir's secret sharing over GF(256), by vsss-rs (constant time, coefficients uniform over 0 to
//! 255); a fresh polynomial for each key.
//!
//! Every share comes with the root of a Merkle tree (RFC 9162, 2.1) over the commitments to all of
//! them, and its path in it: a wrong one is found alone, whatever the others are. A share that
//! is missing follows from `threshold` others, with its path.

use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroize;

use crate::cell::{NOTE_BYTES, RootKey, SlotNote};
use crate::certificate::key_commitment_bytes;
use crate::crypto::{Fresh, Key, POLYNOMIAL, hedge, polynomial, share_commitment};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::log::{FullTree, Hash, verify_inclusion};
use crate::promise::RootId;
use crate::secret::Secret;

/// Bytes of a share's value: as many as of a key.
const VALUE: usize = 32;
/// Leaves of the tree over the commitments: one for each point that there can be.
const LEAVES: usize = 32;
/// Hashes of a path in it.
pub(super) const PATH: usize = 5;

const _: () =
    assert!(1 << PATH == LEAVES && NOTE_BYTES == 1 + 32 + 32 + 32 * PATH, "a note holds a path");

/// One keyholder's share of a root key. It does not print.
pub struct Share {
    /// The root key that this is a share of.
    pub id: RootId,
    /// Where the polynomial was taken: 1 to n.
    pub x: u8,
    /// Its value there, byte by byte.
    pub value: Key,
    /// Commitment to the whole key.
    pub commitment: [u8; 32],
    /// Root of the tree over the commitments to all shares of this key.
    pub root: [u8; 32],
    /// What leads from this share to `root`, the hash next to it first.
    pub path: [[u8; 32]; PATH],
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} of {:?})", self.x, self.id)
    }
}

impl Share {
    /// A share out of a slot: key and note.
    pub(crate) fn noted(key: RootKey, note: &SlotNote) -> Option<Self> {
        let (x, hashes) = note.split_first()?;
        let mut hashes = hashes.chunks_exact(32).filter_map(|hash| hash.try_into().ok());
        let (commitment, root) = (hashes.next()?, hashes.next()?);
        let mut path = [[0; 32]; PATH];
        path.iter_mut().zip(hashes).for_each(|(to, from)| *to = from);
        Some(Share { id: key.id, x: *x, value: key.key, commitment, root, path })
    }

    /// What is stored with it in a slot.
    pub(super) fn note(&self) -> SlotNote {
        let mut note = [self.x; NOTE_BYTES];
        let hashes = [self.commitment, self.root].into_iter().chain(self.path);
        note[1..].chunks_exact_mut(32).zip(hashes).for_each(|(to, from)| to.copy_from_slice(&from));
        note
    }

    /// Whether it is the one that was dealt at its point, as far as `root` is the right one.
    pub(super) fn is_proven(&self) -> bool {
        let leaf = Hash::leaf(&share_commitment(&self.value, self.x));
        let index = u64::from(self.x).wrapping_sub(1);
        verify_inclusion(leaf, index, LEAVES as u64, &self.path.map(Hash), &Hash(self.root)).is_ok()
    }

    pub(crate) fn duplicate(&self) -> Self {
        Share { value: self.value.duplicate(), ..*self }
    }

    fn bytes(&self) -> Vec<u8> {
        [&[self.x][..], self.value.bytes()].concat()
    }
}

/// The commitment that shares carry.
pub(super) fn commitment(key: &Key) -> [u8; 32] {
    key_commitment_bytes(key.bytes())
}

/// Random bytes drawn before: the crate asks for one at a time, and must not fail in between.
struct Drawn {
    bytes: Secret,
    at: usize,
}

impl Drawn {
    /// The PRF in counter mode, under a key hedged with the secret: a generator that repeats itself
    /// must not give two keys one polynomial.
    fn new(env: &dyn Env, secret: &Key, len: usize) -> Result<Self> {
        let seed = Fresh::new(env, hedge(&[POLYNOMIAL, secret.bytes()])).key()?;
        let mut bytes = Secret::zeroed(len);
        for (n, block) in (0_u32..).zip(bytes.chunks_mut(32)) {
            block.copy_from_slice(&polynomial(&seed, n)[..block.len()]);
        }
        Ok(Drawn { bytes, at: 0 })
    }

    fn next(&mut self) -> u8 {
        let byte = self.bytes[self.at];
        self.at += 1;
        byte
    }
}

impl rand::TryRng for Drawn {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from(self.next()))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.next()))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill_with(|| self.next());
        Ok(())
    }
}

impl rand::TryCryptoRng for Drawn {}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the root key cannot be shared like this: {why}"))
}

/// The value of a polynomial at a point.
struct Value {
    x: u8,
    value: Key,
}

impl Value {
    /// A share as the crate has it: its point, and its value there.
    fn read(share: &[u8]) -> Option<Self> {
        let (x, value) = share.split_first()?;
        Some(Value { x: *x, value: Key::copied_from(value.first_chunk()?) })
    }
}

/// The leaf of a point.
fn leaf_of(x: u8) -> usize {
    usize::from(x) - 1
}

/// Shares of a key, with what proves each. A point without a share has the leaf of nothing.
fn proven(id: RootId, commitment: [u8; 32], values: Vec<Value>) -> Vec<Share> {
    let mut leaves = vec![Hash::leaf(&[]); LEAVES];
    for Value { x, value } in &values {
        leaves[leaf_of(*x)] = Hash::leaf(&share_commitment(value, *x));
    }
    let tree = FullTree::over(leaves);
    let root = tree.root().0;
    let share = |Value { x, value }| {
        let mut path = [[0; 32]; PATH];
        path.iter_mut().zip(tree.path(leaf_of(x))).for_each(|(to, from)| *to = from.0);
        Share { id, x, value, commitment, root, path }
    };
    values.into_iter().map(share).collect()
}

/// Splits a key into `n` shares, any `threshold` of which give it back.
pub(super) fn split(
    env: &dyn Env,
    id: RootId,
    key: &Key,
    threshold: usize,
    n: usize,
) -> Result<Vec<Share>> {
    let rng = Drawn::new(env, key, (threshold - 1) * VALUE)?;
    let points = (1..=n as u8).map(|x| IdentifierGf256(Gf256(x)));
    let mut shares =
        Gf256::split_bytes_with_participant_ids_iter(threshold, n, key.bytes(), rng, points)
            .map_err(failed)?;
    let values: Option<Vec<Value>> = shares.iter().map(|share| Value::read(share)).collect();
    shares.iter_mut().for_each(Zeroize::zeroize);
    let values = values.ok_or_else(|| failed("a share is shorter than the key"))?;
    Ok(proven(id, commitment(key), values))
}

/// The value at `x` of the polynomial through these, which are of other points; at 0 it is the key.
fn at(x: u8, shares: &[&Share]) -> Option<Key> {
    let mut bytes: Vec<Vec<u8>> = shares.iter().map(|share| share.bytes()).collect();
    // Moved by x: the value there is the one at 0, which is what the crate works out. Minus is plus
    // in this field.
    bytes.iter_mut().for_each(|share| share[0] ^= x);
    let combined = Gf256::combine_bytes(&bytes);
    bytes.iter_mut().for_each(Zeroize::zeroize);
    let mut combined = combined.ok()?;
    let value = combined.first_chunk().map(Key::copied_from);
    combined.zeroize();
    value
}

/// The key that these shares give; `None` if it is not the one that they commit to.
pub(super) fn combine(shares: &[&Share], expected: &[u8; 32]) -> Option<Key> {
    at(0, shares)
        .filter(|key| subtle::ConstantTimeEq::ct_eq(&commitment(key)[..], &expected[..]).into())
}

/// All `n` shares of the key of which these are `threshold`, each with its path; `None` if they
/// are not what was dealt.
pub(super) fn completed(set: &[&Share], n: usize) -> Option<Vec<Share>> {
    let first = *set.first()?;
    let value = |x: u8| match set.iter().find(|share| share.x == x) {
        Some(there) => Some(Value { x, value: there.value.duplicate() }),
        None => Some(Value { x, value: at(x, set)? }),
    };
    let shares =
        proven(first.id, first.commitment, (1..=n as u8).map(value).collect::<Option<_>>()?);
    shares.first().is_some_and(|share| share.root == first.root).then_some(shares)
}

/// The key of `threshold` of these, if some of them fit.
#[cfg(feature = "testing")]
pub(crate) fn recovered(shares: &[&Share], threshold: usize) -> Option<Key> {
    agreed(shares, threshold).map(|(key, _)| key)
}

/// The key that all of these give together.
#[cfg(feature = "testing")]
pub(crate) fn combined(shares: &[&Share]) -> Option<Key> {
    combine(shares, &shares.first()?.commitment)
}

/// The key that most of these shares, all of one id, give, and the shares that gave it: `threshold`
/// of them. A share that its own path does not prove counts for nothing, nor does one of another
/// deal: each is checked once, however many are wrong.
pub(super) fn agreed<'s>(shares: &[&'s Share], threshold: usize) -> Option<(Key, Vec<&'s Share>)> {
    let mut proven: Vec<&Share> =
        shares.iter().copied().filter(|share| share.is_proven()).collect();
    let deal = |share: &Share| (share.commitment, share.root);
    proven.sort_by_key(|share| (deal(share), share.x));
    // A keyholder that left and one that came may have been dealt the same one.
    proven.dedup_by_key(|share| (deal(share), share.x));
    let mut deals: Vec<&[&Share]> = proven.chunk_by(|a, b| deal(a) == deal(b)).collect();
    deals.sort_by_key(|same| std::cmp::Reverse(same.len()));
    let key = |same: &[&'s Share]| {
        let set = same.get(..threshold)?;
        Some((combine(set, &set[0].commitment)?, set.to_vec()))
    };
    deals.into_iter().find_map(key)
}
