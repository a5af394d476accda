//! C2SP chunked-encryption with AEAD_AES_256_GCM: every sealed object, from a page to a recording
//! of hours.
//!
//! ```text
//! K' 32 ‖ N 12 ‖ C 32 = HKDF-Expand-SHA-512(K, LABEL ‖ 0x00 ‖ salt ‖ context, 76)
//! object  = salt 24 ‖ C 32 ‖ chunk 0 ‖ chunk 1 ‖ ...
//! chunk i = AES-256-GCM(K', N xor u96(i), plaintext i, no additional data) with its 16-byte tag
//! ```
//! Chunks carry 16,384 bytes; the last one is always shorter, maybe empty, so that a cut at a
//! chunk's border shows. The commitment is checked before any chunk: an object opens under one key
//! only.

use hkdf::Hkdf;
use sha2::Sha512;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Key;
use super::aead::{Cipher, Nonce};
use crate::error::{Error, Result};
use crate::limits::{
    CHUNK_BYTES, COMMITMENT_BYTES, HEADER_BYTES, SALT_BYTES, SEAL_OVERHEAD, TAG_BYTES,
};
use crate::secret::Secret;

/// The label of the suite in key derivations.
pub const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM";

/// One object's cipher: key and base nonce derived, commitment known.
pub struct Suite {
    cipher: Cipher,
    nonce: [u8; 12],
    header: [u8; HEADER_BYTES],
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Suite(..)")
    }
}

/// Stored bytes of an object with `length` bytes of plaintext.
pub fn sealed_len(length: u64) -> u64 {
    HEADER_BYTES as u64 + length + (length / CHUNK_BYTES as u64 + 1) * TAG_BYTES as u64
}

/// One error for every way in which an object does not open: it says nothing about why.
fn does_not_open() -> Error {
    Error::corrupt(
        "a stored object does not open: its bytes or its place have changed; restore it \
        from a copy",
    )
}

/// AES key 32 ‖ base nonce 12 ‖ commitment 32.
pub(crate) fn expand(
    key: &Key,
    salt: &[u8; SALT_BYTES],
    context: &[u8],
) -> Zeroizing<[u8; 32 + 12 + COMMITMENT_BYTES]> {
    // HMAC pads short keys with zeros, so this is HKDF-Expand under the 32 bytes themselves.
    let mut prk = Zeroizing::new([0u8; 64]);
    prk[..32].copy_from_slice(key.bytes());
    let mut okm = Zeroizing::new([0u8; 32 + 12 + COMMITMENT_BYTES]);
    #[expect(clippy::expect_used, reason = "the key is as long as SHA-512's output")]
    let hkdf = Hkdf::<Sha512>::from_prk(&*prk).expect("the key is as long as SHA-512's output");
    #[expect(clippy::expect_used, reason = "two blocks of output")]
    hkdf.expand_multi_info(&[LABEL, &[0], salt, context], &mut *okm).expect("two blocks of output");
    okm
}

impl Suite {
    /// Derives the cipher for an object. `salt` must be fresh when sealing.
    pub fn derive(key: &Key, salt: &[u8; SALT_BYTES], context: &[u8]) -> Self {
        let okm = expand(key, salt, context);
        let mut header = [0; HEADER_BYTES];
        header[..SALT_BYTES].copy_from_slice(salt);
        header[SALT_BYTES..].copy_from_slice(&okm[44..]);
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&okm[32..44]);
        let (keys, _) = okm.as_chunks();
        Suite { cipher: Cipher::new(&keys[0]), nonce, header }
    }

    /// Derives the cipher for a stored object from its header and checks the commitment.
    ///
    /// # Errors
    /// `Corrupt` if the header is short or commits to another key or context.
    pub fn from_header(key: &Key, header: &[u8], context: &[u8]) -> Result<Self> {
        let header: &[u8; HEADER_BYTES] =
            header.get(..HEADER_BYTES).and_then(|h| h.try_into().ok()).ok_or_else(does_not_open)?;
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&header[..SALT_BYTES]);
        let suite = Suite::derive(key, &salt, context);
        if bool::from(suite.header[SALT_BYTES..].ct_eq(&header[SALT_BYTES..])) {
            Ok(suite)
        } else {
            Err(does_not_open())
        }
    }

    /// Salt and commitment: the first bytes of the object.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.nonce;
        for (n, c) in nonce[4..].iter_mut().zip(counter.to_be_bytes()) {
            *n ^= c;
        }
        nonce
    }

    /// Appends chunk `counter` of the object to `out`.
    pub fn seal_chunk(&self, counter: u64, plaintext: &[u8], out: &mut Vec<u8>) {
        assert!(plaintext.len() <= CHUNK_BYTES, "a chunk holds at most 16,384 bytes");
        let start = out.len();
        out.extend_from_slice(plaintext);
        let Some(tag) = self.cipher.seal(&self.nonce(counter), &mut out[start..]) else {
            unreachable!("a chunk is far below AES-GCM's limit")
        };
        out.extend_from_slice(&tag);
    }

    /// Opens chunk `counter` into the front of `out` and returns its length.
    ///
    /// # Errors
    /// `Corrupt` if it is not this object's chunk `counter`; `out` holds zeros then.
    pub fn open_chunk(&self, counter: u64, sealed: &[u8], out: &mut [u8]) -> Result<usize> {
        let room = out.len().min(CHUNK_BYTES);
        let n =
            sealed.len().checked_sub(TAG_BYTES).filter(|&n| n <= room).ok_or_else(does_not_open)?;
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&sealed[n..]);
        if !self.cipher.open(&self.nonce(counter), &sealed[..n], &tag, &mut out[..n]) {
            out.fill(0);
            return Err(does_not_open());
        }
        Ok(n)
    }
}

/// Seals a short object (a page, a head): under one chunk's length.
pub fn seal(key: &Key, salt: &[u8; SALT_BYTES], context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    assert!(plaintext.len() < CHUNK_BYTES, "a short object is one chunk, the last");
    let suite = Suite::derive(key, salt, context);
    let mut out = Vec::with_capacity(plaintext.len() + SEAL_OVERHEAD);
    out.extend_from_slice(&suite.header);
    suite.seal_chunk(0, plaintext, &mut out);
    out
}

/// Opens what [`seal`] made.
///
/// # Errors
/// `Corrupt`, without a reason, if it does not open.
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Secret> {
    if sealed.len() < SEAL_OVERHEAD || sealed.len() >= CHUNK_BYTES + SEAL_OVERHEAD {
        return Err(does_not_open());
    }
    let suite = Suite::from_header(key, sealed, context)?;
    let mut opened = Secret::zeroed(sealed.len() - SEAL_OVERHEAD);
    let n = suite.open_chunk(0, &sealed[HEADER_BYTES..], &mut opened)?;
    opened.truncate(n);
    Ok(opened)
}
