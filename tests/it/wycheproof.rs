//! The primitives as they are configured here against Wycheproof's vectors, and the sealing format
//! against C2SP's. SPEC §4.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use keyfall::crypto::{Key, chunked};
use keyfall::limits::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use sha2::{Digest, Sha256, Sha512};
use wycheproof::{TestResult, aead, chunked_encryption, hkdf as kdf, mac, xdh};
use x25519_dalek::{PublicKey, StaticSecret};

#[test]
fn aes_256_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut n = 0;
    // What this crate uses: 256-bit keys, 96-bit nonces, 128-bit tags.
    let groups =
        set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    for test in groups.flat_map(|g| &g.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
        let tag: [u8; 16] = test.tag[..].try_into().unwrap();
        let mut opened = test.ct.to_vec();
        let ok = cipher
            .decrypt_inout_detached(&nonce.into(), &test.aad, (&mut opened[..]).into(), &tag.into())
            .is_ok();
        assert_eq!(ok, test.result == TestResult::Valid, "test {}", test.tc_id);
        if ok {
            assert_eq!(opened, test.pt[..], "test {}", test.tc_id);
            let sealed = cipher
                .encrypt_inout_detached(&nonce.into(), &test.aad, (&mut opened[..]).into())
                .unwrap();
            assert_eq!(
                (&opened[..], &sealed[..]),
                (&test.ct[..], &test.tag[..]),
                "test {}",
                test.tc_id
            );
        }
        n += 1;
    }
    assert!(n > 50, "{n}");
}

macro_rules! hkdf_vectors {
    ($name:ident: $hash:ty, $set:ident) => {
        #[test]
        fn $name() {
            let set = kdf::TestSet::load(kdf::TestName::$set).unwrap();
            let mut n = 0;
            for test in set.test_groups.iter().flat_map(|g| &g.tests) {
                let mut okm = vec![0; test.size];
                let done =
                    Hkdf::<$hash>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
                assert_eq!(done.is_ok(), test.result != TestResult::Invalid, "test {}", test.tc_id);
                if done.is_ok() {
                    assert_eq!(okm, test.okm[..], "test {}", test.tc_id);
                }
                n += 1;
            }
            assert!(n > 50, "{n}");
        }
    };
}

hkdf_vectors!(hkdf_sha256: Sha256, HkdfSha256);
hkdf_vectors!(hkdf_sha512: Sha512, HkdfSha512);

#[test]
fn hmac_sha256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let mut n = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&test.key).unwrap();
            mac.update(&test.msg);
            let full = mac.finalize().into_bytes();
            let same = full[..group.tag_size / 8] == test.tag[..];
            assert_eq!(same, test.result == TestResult::Valid, "test {}", test.tc_id);
            n += 1;
        }
    }
    assert!(n > 100, "{n}");
}

#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut n = 0;
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let secret = StaticSecret::from(<[u8; 32]>::try_from(&test.private_key[..]).unwrap());
        let public = PublicKey::from(<[u8; 32]>::try_from(&test.public_key[..]).unwrap());
        let shared = secret.diffie_hellman(&public);
        assert_eq!(shared.as_bytes()[..], test.shared_secret[..], "test {}", test.tc_id);
        // A point of small order gives zeros, and is told.
        assert_eq!(
            shared.was_contributory(),
            test.shared_secret.iter().any(|b| *b != 0),
            "test {}",
            test.tc_id
        );
        n += 1;
    }
    assert!(n > 100, "{n}");
}

/// Opens a whole object; gives the plaintext and whether it was whole.
fn open(key: &[u8], context: &[u8], object: &[u8]) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    let Ok(key) = key.try_into() else { return (plain, false) };
    let Ok(suite) = chunked::Suite::from_header(&Key::copied_from(key), object, context) else {
        return (plain, false);
    };
    let mut chunk = [0; CHUNK_BYTES];
    let mut last = None;
    for (n, sealed) in object[HEADER_BYTES..].chunks(CHUNK_BYTES + TAG_BYTES).enumerate() {
        // Behind a short chunk nothing may follow.
        if last.is_some_and(|n| n < CHUNK_BYTES) {
            return (plain, false);
        }
        match suite.open_chunk(n as u64, sealed, &mut chunk) {
            Ok(n) => {
                plain.extend_from_slice(&chunk[..n]);
                last = Some(n);
            }
            Err(_) => return (plain, false),
        }
    }
    (plain, last.is_some_and(|n| n < CHUNK_BYTES))
}

#[test]
fn c2sp_chunked_encryption() {
    let set =
        chunked_encryption::TestSet::load(chunked_encryption::TestName::Cobblestone256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let object = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap();
        let (plain, whole) = open(&test.key, &test.ctx, &object);
        assert_eq!(
            whole,
            test.result == TestResult::Valid,
            "test {}: {}",
            test.tc_id,
            test.comment
        );
        if let Some(hash) = &test.msg_sha512 {
            assert_eq!(
                Sha512::digest(&plain)[..],
                hash[..],
                "test {}: {}",
                test.tc_id,
                test.comment
            );
        }
        if whole {
            // The same salt seals to the same bytes.
            let key = Key::copied_from(test.key[..].try_into().unwrap());
            let suite = chunked::Suite::derive(&key, object[..24].try_into().unwrap(), &test.ctx);
            let mut again = suite.header().to_vec();
            let full = plain.len() / CHUNK_BYTES * CHUNK_BYTES;
            for (n, piece) in plain[..full].chunks(CHUNK_BYTES).chain([&plain[full..]]).enumerate()
            {
                suite.seal_chunk(n as u64, piece, &mut again);
            }
            assert_eq!(again, object, "test {}", test.tc_id);
            valid += 1;
        } else {
            invalid += 1;
        }
    }
    assert!(valid >= 8 && invalid >= 15, "{valid} {invalid}");
}
