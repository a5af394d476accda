//! The key schedule, whole (SPEC.md 4). No key here is derived from a key above it in the tree:
//! page keys, root keys and record secrets are drawn fresh; what is derived hangs below one
//! record's secret or one user's fence key.
//!
//! | from | label | gives |
//! |---|---|---|
//! | system generator, hash of what it will protect | `FRESH_KEY`, `FRESH_NAME`, `FRESH_SALT` | page keys, root keys, record secrets; blob names, tokens of claims; salts |
//! | any sealing key, salt, context | [`chunked::LABEL`] | AES-256-GCM key, base nonce, key commitment |
//! | record secret, lineage secrets of its sources | HKDF-Extract | content root: the record secret itself without sources |
//! | content root | `CONTENT_KEY` | the record's sealing key |
//! | content root | `LINEAGE` | the record's lineage secret |
//! | content root without the sources it was detached from | `DETACHED` | what wraps its content root |
//! | record secret of an upload | `UPLOAD` | token in the upload's id |
//! | content root | `DIGEST_MASK` | what the digest of a derived record is XORed with |
//! | record secret, segment number | `SEGMENT_NAME` | names of the record's blobs |
//! | index key, user's name | `USER_TAG` | place in the user tree |
//! | fence key, class name | `CLASS_TAG` | class tag |
//! | fence key, what was erased | `FENCE_TAG` | point fence |
//! | fresh key, hedged with a root key | `POLYNOMIAL` | coefficients of the polynomial that shares it |
//! | mask of a connection to a keyholder | `SHARE_MASK` | what a share is XORed with on its way |
//! | share of a root key, its point | `SHARE_COMMITMENT` | commitment to the share |

mod aead;
pub mod chunked;
pub mod kem;
mod secret;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use secret::Key;

use crate::env::Env;
use crate::error::Result;
use crate::ids::{BlobName, ClassTag, RealmId, UserId, UserTag};
use crate::limits::SALT_BYTES;

/// Context of a page: label ‖ realm id ‖ kind ‖ blob name.
pub(crate) const PAGE_CONTEXT: &[u8] = b"keyfall/page/v1";
/// Context of a head: label ‖ the head's clear prefix.
pub(crate) const HEAD_CONTEXT: &[u8] = b"keyfall/head/v1";
/// Context of a record's payload: label ‖ realm id ‖ user tag ‖ incarnation ‖ interaction ‖ class
/// name.
pub(crate) const RECORD_CONTEXT: &[u8] = b"keyfall/record/v1";
/// Context of a wrapped content root: label ‖ realm id ‖ record id.
pub(crate) const DETACHED_CONTEXT: &[u8] = b"keyfall/wrapped-root/v1";
const FRESH_KEY: &[u8] = b"keyfall/fresh-key/v1";
const FRESH_NAME: &[u8] = b"keyfall/fresh-name/v1";
const FRESH_SALT: &[u8] = b"keyfall/fresh-salt/v1";
const LINEAGE: &[u8] = b"keyfall/lineage/v1";
const DETACHED: &[u8] = b"keyfall/detached/v1";
const CONTENT_KEY: &[u8] = b"keyfall/content-key/v1";
const DIGEST_MASK: &[u8] = b"keyfall/digest/v1";
const SEGMENT_NAME: &[u8] = b"keyfall/segment-name/v1";
const UPLOAD: &[u8] = b"keyfall/upload/v1";
const USER_TAG: &[u8] = b"keyfall/user-tag/v1";
const GROUP: &[u8] = b"keyfall/group/v1";
const REALM_INDEX: &[u8] = b"keyfall/realm-index/v1";
const CLASS_TAG: &[u8] = b"keyfall/class-tag/v1";
#[cfg(feature = "keyholders")]
const SHARE_MASK: &[u8] = b"keyfall/share-mask/v1";
#[cfg(feature = "keyholders")]
const SHARE_COMMITMENT: &[u8] = b"keyfall/share-commitment/v1";
/// Label of the coefficients, and of what their key is hedged with.
#[cfg(feature = "keyholders")]
pub(crate) const POLYNOMIAL: &[u8] = b"keyfall/polynomial/v1";
const FENCE_TAG: &[u8] = b"keyfall/fence-tag/v1";

/// HMAC-SHA-256 over label ‖ 0 ‖ each part after its length in four bytes (RFC 2104).
fn prf(key: &[u8; 32], label: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    prf_of(keyed(key), label, parts)
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The same with its key taken in, which is half of the work for a short text.
fn prf_of(mut mac: Hmac<Sha256>, label: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    mac.update(label);
    mac.update(&[0]);
    for part in parts {
        mac.update(&(part.len() as u32).to_be_bytes());
        mac.update(part);
    }
    let mut out = Zeroizing::new([0; 32]);
    let mut tag = mac.finalize().into_bytes();
    out.copy_from_slice(&tag);
    zeroize::Zeroize::zeroize(tag.as_mut_slice());
    out
}

fn truncated<const N: usize>(full: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&full[..N]);
    out
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of bytes that come in pieces.
#[derive(Default)]
pub(crate) struct Hashing(Sha256);

impl Hashing {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of what a fresh value will protect: the hedge.
pub(crate) fn hedge(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Fresh values: PRF(32 bytes of the system's generator, label ‖ hedge). If the generator
/// repeats itself (a restored virtual machine), two equal values mean equal plaintexts, so at most
/// equality leaks.
pub(crate) struct Fresh<'a> {
    env: &'a dyn Env,
    hedge: [u8; 32],
}

impl<'a> Fresh<'a> {
    pub(crate) fn new(env: &'a dyn Env, hedge: [u8; 32]) -> Self {
        Fresh { env, hedge }
    }

    fn seed(&self) -> Result<Zeroizing<[u8; 32]>> {
        let mut seed = Zeroizing::new([0; 32]);
        self.env.fill(&mut *seed)?;
        Ok(seed)
    }

    fn draw(&self, label: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        Ok(prf(&*self.seed()?, label, &[&self.hedge]))
    }

    /// Name, key and salt of one object, from one draw under their three labels.
    pub(crate) fn object(&self) -> Result<(BlobName, Key, [u8; SALT_BYTES])> {
        let mac = keyed(&*self.seed()?);
        let of = |label| prf_of(mac.clone(), label, &[&self.hedge]);
        Ok((
            BlobName(truncated(&of(FRESH_NAME))),
            Key::copied_from(&of(FRESH_KEY)),
            truncated(&of(FRESH_SALT)),
        ))
    }

    pub(crate) fn key(&self) -> Result<Key> {
        let drawn = self.draw(FRESH_KEY)?;
        Ok(Key::copied_from(&drawn))
    }

    pub(crate) fn name(&self) -> Result<BlobName> {
        Ok(BlobName(truncated(&*self.draw(FRESH_NAME)?)))
    }

    pub(crate) fn salt(&self) -> Result<[u8; SALT_BYTES]> {
        Ok(truncated(&*self.draw(FRESH_SALT)?))
    }

    /// A token, which is no secret.
    pub(crate) fn token(&self) -> Result<[u8; 16]> {
        Ok(self.name()?.0)
    }
}

fn expand(secret: &Key, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "a key is as long as SHA-256's output")]
    let hkdf =
        Hkdf::<Sha256>::from_prk(secret.bytes()).expect("a key is as long as SHA-256's output");
    #[expect(clippy::expect_used, reason = "one block of output")]
    hkdf.expand_multi_info(info, &mut *out).expect("one block of output");
    out
}

/// The content root of a record: its secret, or, if it has sources, HKDF-Extract-SHA-256(salt =
/// its secret, their lineage secrets in ascending order). If one of these is gone, so is the
/// root.
pub(crate) fn content_root(secret: &Key, mut sources: Vec<Key>) -> Key {
    if sources.is_empty() {
        return secret.duplicate();
    }
    sources.sort_unstable_by(|a, b| a.bytes().cmp(b.bytes()));
    let mut extract = hkdf::HkdfExtract::<Sha256>::new(Some(secret.bytes()));
    for source in &sources {
        extract.input_ikm(source.bytes());
    }
    let (mut root, _) = extract.finalize();
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&root);
    zeroize::Zeroize::zeroize(root.as_mut_slice());
    Key::copied_from(&bytes)
}

/// What a record gives to those derived from it: HKDF-Expand-SHA-256(content root, `LINEAGE`, 32).
pub(crate) fn lineage_secret(root: &Key) -> Key {
    Key::copied_from(&expand(root, &[LINEAGE]))
}

/// What wraps the content root of a record that was detached from some of its sources, by the root
/// that the others give.
pub(crate) fn detached_key(without: &Key) -> Key {
    Key::copied_from(&expand(without, &[DETACHED]))
}

/// The sealing key of a record's payload: HKDF-Expand-SHA-256(content root, `CONTENT_KEY`, 32).
pub(crate) fn content_key(root: &Key) -> Key {
    Key::copied_from(&expand(root, &[CONTENT_KEY]))
}

/// The digest of a record that does not stand alone as its entry has it, or back: XORed with
/// HKDF-Expand-SHA-256(content root, `DIGEST_MASK`, 32), which masks one digest.
pub(crate) fn mask_digest(root: &Key, digest: &[u8; 32]) -> [u8; 32] {
    let mut masked = *digest;
    for (byte, mask) in masked.iter_mut().zip(&*expand(root, &[DIGEST_MASK])) {
        *byte ^= mask;
    }
    masked
}

/// Name of segment `n`, from 1 on: the first 16 bytes of HKDF-Expand-SHA-256(record secret,
/// `SEGMENT_NAME` ‖ u64(n), 32). It can be computed while the record lives, and by nobody after.
pub(crate) fn segment_name(secret: &Key, n: u64) -> BlobName {
    BlobName(truncated(&expand(secret, &[SEGMENT_NAME, &n.to_be_bytes()])))
}

/// Token in an upload's id: the first 10 bytes of HKDF-Expand-SHA-256(its record secret, `UPLOAD`,
/// 32).
pub(crate) fn upload_token(secret: &Key) -> [u8; 10] {
    truncated(&expand(secret, &[UPLOAD]))
}

/// Place of a user in the user tree.
pub(crate) fn user_tag(index_key: &Key, user: &str) -> UserTag {
    UserTag(truncated(&prf(index_key.bytes(), USER_TAG, &[user.as_bytes()])))
}

/// Place of a user in the user trees of a realm: the first 12 bits of a user in a group are those
/// of PRF(index key, `GROUP`, name of the group).
pub(crate) fn placed_tag(index_key: &Key, user: &UserId) -> UserTag {
    let mut tag = user_tag(index_key, user.as_str());
    if let Some(group) = user.group() {
        let slot: [u8; 2] = truncated(&prf(index_key.bytes(), GROUP, &[group.as_bytes()]));
        tag.0[0] = slot[0];
        tag.0[1] = slot[1] & 0xF0 | tag.0[1] & 0x0F;
    }
    tag
}

/// What a realm's map says of the index key: PRF(index key, `REALM_INDEX`, realm id).
pub(crate) fn realm_index(index_key: &Key, realm: RealmId) -> [u8; 16] {
    truncated(&prf(index_key.bytes(), REALM_INDEX, &[&realm.0]))
}

/// Tag of a class of one user.
pub(crate) fn class_tag(fence_key: &Key, class: &str) -> ClassTag {
    ClassTag(truncated(&prf(fence_key.bytes(), CLASS_TAG, &[class.as_bytes()])))
}

/// Tag of a point fence over `what`.
pub(crate) fn fence_tag(fence_key: &Key, what: &[&[u8]]) -> [u8; 16] {
    truncated(&prf(fence_key.bytes(), FENCE_TAG, what))
}

/// What a share is XORed with on its way: PRF(the receiver's mask, `SHARE_MASK`, number of the
/// request ‖ place of the share).
#[cfg(feature = "keyholders")]
pub(crate) fn share_mask(mask: &Key, number: u64, place: u32) -> Key {
    Key::copied_from(&prf(mask.bytes(), SHARE_MASK, &[&number.to_be_bytes(), &place.to_be_bytes()]))
}

/// Commitment to a share: PRF(its value, `SHARE_COMMITMENT`, its point).
#[cfg(feature = "keyholders")]
pub(crate) fn share_commitment(value: &Key, x: u8) -> [u8; 32] {
    *prf(value.bytes(), SHARE_COMMITMENT, &[&[x]])
}

/// Coefficients number `n * 32` to `n * 32 + 31` of a polynomial: PRF(its key, `POLYNOMIAL`, n).
#[cfg(feature = "keyholders")]
pub(crate) fn polynomial(key: &Key, n: u32) -> Zeroizing<[u8; 32]> {
    prf(key.bytes(), POLYNOMIAL, &[&n.to_be_bytes()])
}

/// Context of a page's seal.
pub(crate) fn page_context(realm: RealmId, kind: u8, name: BlobName) -> PageContext {
    let mut context: PageContext = [0; PAGE_CONTEXT.len() + 33];
    let (label, rest) = context.split_at_mut(PAGE_CONTEXT.len());
    label.copy_from_slice(PAGE_CONTEXT);
    rest[..16].copy_from_slice(&realm.0);
    rest[16] = kind;
    rest[17..].copy_from_slice(&name.0);
    context
}

/// See [`page_context`].
pub(crate) type PageContext = [u8; PAGE_CONTEXT.len() + 33];
