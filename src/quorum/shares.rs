//! Shamir's secret sharing over GF(256), by vsss-rs (constant time, coefficients uniform over 0 to 255); a fresh polynomial for each key.

use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroize;

use crate::cell::{NOTE_BYTES, Note, RootId, RootKey};
use crate::certificate::key_commitment_bytes;
use crate::crypto::{Fresh, Key, POLYNOMIAL, hedge, polynomial};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Bytes of a share's value: as many as of a key.
const VALUE: usize = 32;

/// One keyholder's share of a root key. It does not print.
pub struct Share {
    /// Of which key.
    pub id: RootId,
    /// Where the polynomial was taken: 1 to n.
    pub x: u8,
    /// Its value there, byte by byte.
    pub value: Key,
    /// Commitment to the whole key, so that a wrong share is found out.
    pub commitment: [u8; 32],
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} of {:?})", self.x, self.id)
    }
}

impl Share {
    /// A share out of a slot: key and note.
    pub(crate) fn noted(key: RootKey, note: &Note) -> Option<Self> {
        let (x, commitment) = note.split_first()?;
        Some(Share { id: key.id, x: *x, value: key.key, commitment: commitment.try_into().ok()? })
    }

    /// What stands beside it in a slot.
    pub(super) fn note(&self) -> Note {
        let mut note = [self.x; NOTE_BYTES];
        note[1..].copy_from_slice(&self.commitment);
        note
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
    /// The PRF in counter mode, under a key hedged with the secret: a generator that repeats itself must not give two keys one polynomial.
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

fn failed(e: vsss_rs::Error) -> Error {
    Error::invalid(format!("the root key cannot be shared like this: {e}"))
}

/// Splits a key into `n` shares, any `threshold` of which give it back.
pub(super) fn split(env: &dyn Env, id: RootId, key: &Key, (threshold, n): (usize, usize)) -> Result<Vec<Share>> {
    let rng = Drawn::new(env, key, (threshold - 1) * VALUE)?;
    let points = (1..=n as u8).map(|x| IdentifierGf256(Gf256(x)));
    let shares =
        Gf256::split_bytes_with_participant_ids_iter(threshold, n, key.bytes(), rng, points).map_err(failed)?;
    let commitment = commitment(key);
    let share = |mut bytes: Vec<u8>| {
        let x = bytes[0];
        let value: Option<&[u8; VALUE]> = bytes[1..].first_chunk();
        let value = value.map(Key::copied_from).unwrap_or_else(|| unreachable!("a share is as long as a key"));
        bytes.zeroize();
        Share { id, x, value, commitment }
    };
    Ok(shares.into_iter().map(share).collect())
}

/// The key that these shares give; `None` where it is not the one that they commit to.
pub(super) fn combine(shares: &[&Share], expected: &[u8; 32]) -> Option<Key> {
    let mut bytes: Vec<Vec<u8>> = shares.iter().map(|share| share.bytes()).collect();
    let combined = Gf256::combine_bytes(&bytes);
    bytes.iter_mut().for_each(Zeroize::zeroize);
    let mut combined = combined.ok()?;
    let key = combined.first_chunk().map(Key::copied_from);
    combined.zeroize();
    key.filter(|key| subtle::ConstantTimeEq::ct_eq(&commitment(key)[..], &expected[..]).into())
}

/// The key of `threshold` of these, where some of them fit.
#[cfg(feature = "testing")]
pub(crate) fn recovered(shares: &[&Share], threshold: usize) -> Option<Key> {
    recover(shares, threshold).map(|(key, _)| key)
}

/// The key that all of these give together.
#[cfg(feature = "testing")]
pub(crate) fn combined(shares: &[&Share]) -> Option<Key> {
    combine(shares, &shares.first()?.commitment)
}

/// Most sets of shares that are tried where some are wrong.
const TRIES: usize = 20_000;

/// Finds the key of `threshold` shares out of those that name one id and one commitment, of which some may be wrong. Says also which are.
pub(super) fn recover(shares: &[&Share], threshold: usize) -> Option<(Key, Vec<u8>)> {
    let expected = shares.first()?.commitment;
    let mut tries = 0;
    let mut picked = Vec::with_capacity(threshold);
    let key = pick(shares, threshold, &mut picked, &mut |set| {
        tries += 1;
        (tries <= TRIES).then(|| combine(set, &expected))
    })?;
    let wrong = |share: &&&Share| {
        let mut set: Vec<&Share> =
            picked.iter().copied().filter(|other| other.x != share.x).take(threshold - 1).collect();
        set.push(share);
        combine(&set, &expected).is_none()
    };
    let liars = shares.iter().filter(wrong).map(|share| share.x).collect();
    Some((key, liars))
}

/// Tries every set of `n` shares; the one that succeeds stays in `picked`.
fn pick<'s>(
    rest: &[&'s Share],
    n: usize,
    picked: &mut Vec<&'s Share>,
    attempt: &mut dyn FnMut(&[&Share]) -> Option<Option<Key>>,
) -> Option<Key> {
    if picked.len() == n {
        return attempt(picked)?;
    }
    for (i, share) in rest.iter().enumerate() {
        picked.push(share);
        if let Some(key) = pick(&rest[i + 1..], n, picked, attempt) {
            return Some(key);
        }
        picked.pop();
    }
    None
}
