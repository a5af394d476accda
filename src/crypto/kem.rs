//! Sealing to a public key: HPKE (RFC 9180) in base mode with X-Wing (X25519 and ML-KEM-768,
//! draft-ietf-hpke-pq), KDF HKDF-SHA-256, export only. What is recorded today does not open when
//! either of the two is broken. The exported secret is the key of one object of C2SP
//! chunked-encryption, so that recordings of any length stream through it.

use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use rand::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use super::{Fresh, Key, hedge};
use crate::env::Env;
use crate::error::{Error, Result};

/// Bytes of an X-Wing public key.
pub const PUBLIC_BYTES: usize = 1216;
/// Bytes of what X-Wing sends along: the encapsulated key.
pub const ENCAPSULATED_BYTES: usize = 1120;
const EXPORT: &[u8] = b"keyfall/sealed-content/v1";

type PrivateKey = <XWing as hpke::Kem>::PrivateKey;

/// 64 bytes that were drawn, as a generator: the library draws exactly as many.
struct Drawn {
    bytes: Zeroizing<[u8; 64]>,
    at: usize,
}

impl TryRng for Drawn {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> std::result::Result<(), Self::Error> {
        let end = self.at + out.len();
        assert!(end <= self.bytes.len(), "an encapsulation draws 64 bytes, each once");
        out.copy_from_slice(&self.bytes[self.at..end]);
        self.at = end;
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

fn private(secret: &Key) -> Result<PrivateKey> {
    PrivateKey::from_bytes(secret.bytes())
        .map_err(|_| Error::corrupt("a private key does not decode"))
}

/// The public key of a private one.
///
/// # Errors
/// `Corrupt`, which 32 bytes never are.
pub(crate) fn public_key(secret: &Key) -> Result<Vec<u8>> {
    Ok(XWing::sk_to_pk(&private(secret)?).to_bytes().to_vec())
}

/// A key that only the holder of the private key can compute, and what tells it to them. `info` is
/// bound into it.
///
/// # Errors
/// `Invalid` for what is not a public key; `Io` if the generator fails.
pub(crate) fn encapsulate(env: &dyn Env, to: &[u8], info: &[u8]) -> Result<(Vec<u8>, Key)> {
    let bad = |_| Error::invalid("not a public key of this kind");
    let to = <XWing as hpke::Kem>::PublicKey::from_bytes(to).map_err(bad)?;
    let fresh = Fresh::new(env, hedge(&[&to.to_bytes(), info, &env.now().0.to_be_bytes()]));
    let mut drawn = Drawn { bytes: Zeroizing::new([0; 64]), at: 0 };
    drawn.bytes[..32].copy_from_slice(fresh.key()?.bytes());
    drawn.bytes[32..].copy_from_slice(fresh.key()?.bytes());
    let (sent, context) = hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeS::Base,
        &to,
        info,
        &mut drawn,
    )
    .map_err(bad)?;
    let mut key = Zeroizing::new([0; 32]);
    context.export(EXPORT, &mut *key).map_err(bad)?;
    Ok((sent.to_bytes().to_vec(), Key::copied_from(&key)))
}

/// The key that [`encapsulate`] gave. If `sent` or `info` changed it is another one, which the
/// commitment of what was sealed shows.
///
/// # Errors
/// `Corrupt` if `sent` has another length.
pub(crate) fn decapsulate(secret: &Key, sent: &[u8], info: &[u8]) -> Result<Key> {
    let bad = |_| {
        Error::corrupt(
            "what was sealed does not open: its bytes have changed, or it is for another key",
        )
    };
    let sent = <XWing as hpke::Kem>::EncappedKey::from_bytes(sent).map_err(bad)?;
    let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeR::Base,
        &private(secret)?,
        &sent,
        info,
    )
    .map_err(bad)?;
    let mut key = Zeroizing::new([0; 32]);
    context.export(EXPORT, &mut *key).map_err(bad)?;
    Ok(Key::copied_from(&key))
}
