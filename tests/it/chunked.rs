//! The sealing format against the rules of C2SP chunked-encryption, computed here a second way from
//! the primitives. SPEC §4.4.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use hmac::{Hmac, Mac};
use keyfall::crypto::Key;
use keyfall::crypto::chunked::{self, LABEL, Suite};
use keyfall::limits::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use sha2::Sha512;

use crate::common::bytes;

const SALT: [u8; 24] = [9; 24];
const CONTEXT: &[u8] = b"a context";

fn key(n: u8) -> Key {
    Key::copied_from(&[n; 32])
}

fn seal(key: &Key, plain: &[u8]) -> Vec<u8> {
    let suite = Suite::derive(key, &SALT, CONTEXT);
    let mut out = suite.header().to_vec();
    let mut chunk = 0;
    let mut rest = plain;
    loop {
        let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES));
        suite.seal_chunk(chunk, now, &mut out);
        if now.len() < CHUNK_BYTES {
            return out;
        }
        rest = later;
        chunk += 1;
    }
}

fn open(key: &Key, context: &[u8], sealed: &[u8]) -> keyfall::Result<Vec<u8>> {
    let suite = Suite::from_header(key, sealed, context)?;
    let (mut out, mut chunk, mut rest) = (Vec::new(), 0, &sealed[HEADER_BYTES..]);
    loop {
        let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES + TAG_BYTES));
        let mut plain = [0; CHUNK_BYTES];
        let n = suite.open_chunk(chunk, now, &mut plain)?;
        out.extend_from_slice(&plain[..n]);
        if n < CHUNK_BYTES {
            assert!(later.is_empty(), "nothing may follow the last chunk");
            return Ok(out);
        }
        (rest, chunk) = (later, chunk + 1);
    }
}

/// HKDF-Expand-SHA-512 by hand (RFC 5869, 2.3), under a 32-byte key.
fn expand(key: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let (mut out, mut last) = (Vec::new(), Vec::new());
    for i in 1u8.. {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
        mac.update(&last);
        mac.update(info);
        mac.update(&[i]);
        last = mac.finalize().into_bytes().to_vec();
        out.extend_from_slice(&last);
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

#[test]
fn matches_the_specification_computed_by_hand() {
    let info = [LABEL, &[0], &SALT[..], CONTEXT].concat();
    let okm = expand(&[7; 32], &info, 76);
    let plain = bytes(1, CHUNK_BYTES + 100);
    let sealed = seal(&key(7), &plain);
    assert_eq!(sealed[..24], SALT);
    assert_eq!(sealed[24..56], okm[44..76], "the commitment is the last 32 bytes of the expansion");
    let aes = Aes256Gcm::new_from_slice(&okm[..32]).unwrap();
    for (i, (chunk, plain)) in
        sealed[56..].chunks(CHUNK_BYTES + 16).zip(plain.chunks(CHUNK_BYTES)).enumerate()
    {
        let mut nonce: [u8; 12] = okm[32..44].try_into().unwrap();
        nonce[11] ^= i as u8;
        assert_eq!(aes.encrypt(&nonce.into(), plain).unwrap(), chunk, "chunk {i}");
    }
}

#[test]
fn the_worked_example_of_the_specification() {
    let example = "090909090909090909090909090909090909090909090909c9da3186fca041c4a25f844b5dbdd3a0fbc91f137e005fbe\
                   6f14d7833f94577c48949b96aa4621f5ec35fc9c78b5095107c914b7609774";
    let sealed: String = seal(&key(7), b"keyfall").iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(sealed, example);
}

#[test]
fn every_length_around_a_chunk() {
    for len in [0, 1, 16_383, 16_384, 16_385, 32_768, 50_000] {
        let plain = bytes(2, len);
        let sealed = seal(&key(1), &plain);
        assert_eq!(sealed.len() as u64, chunked::sealed_len(len as u64), "{len}");
        assert_eq!(open(&key(1), CONTEXT, &sealed).unwrap(), plain, "{len}");
    }
}

#[test]
fn any_change_shows() {
    let sealed = seal(&key(1), &bytes(3, 2 * CHUNK_BYTES + 5));
    assert!(open(&key(2), CONTEXT, &sealed).is_err(), "another key");
    assert!(open(&key(1), b"another context", &sealed).is_err(), "another context");
    for at in [0, 23, 24, 55, 56, 57, 16_455, 16_456, sealed.len() - 1] {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(open(&key(1), CONTEXT, &bad).is_err(), "a flipped bit at {at}");
    }
    let chunk = CHUNK_BYTES + TAG_BYTES;
    assert!(
        open(&key(1), CONTEXT, &sealed[..56 + 2 * chunk]).is_err(),
        "a cut at a chunk's border"
    );
    assert!(open(&key(1), CONTEXT, &sealed[..56 + chunk]).is_err(), "a cut at a chunk's border");
    assert!(open(&key(1), CONTEXT, &sealed[..30]).is_err(), "a cut in the header");
    let mut swapped = sealed.clone();
    swapped[56..56 + 2 * chunk].rotate_left(chunk);
    assert!(open(&key(1), CONTEXT, &swapped).is_err(), "two chunks swapped");
}

#[test]
fn a_ciphertext_commits_to_one_key() {
    // The invisible salamander needs a ciphertext that two keys accept; the commitment forbids the
    // second.
    let sealed = seal(&key(1), b"one plaintext");
    let mut forged = sealed.clone();
    forged[24..56].copy_from_slice(&Suite::derive(&key(2), &SALT, CONTEXT).header()[24..]);
    assert!(open(&key(1), CONTEXT, &forged).is_err());
    assert!(open(&key(2), CONTEXT, &forged).is_err());
}
