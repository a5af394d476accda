//! Keys of people and programs outside: they sign requests with them, and exports are sealed to
//! them.
//!
//! ```text
//! private = "keyfall-private-1:" base64url(Ed25519 seed 32 ‖ X-Wing private key 32)
//! public  = "keyfall-public-1:"  base64url(Ed25519 key 32 ‖ X-Wing public key 1216)
//! ticket  = "keyfall-ticket-1:" base64url(grant or set)
//! grant   = 1 ‖ store id 16 ‖ user tag 12 ‖ incarnation 2 ‖ number of the grant 8
//! set     = 2 ‖ store id 16 ‖ SHA-256(name of the training set), the first 20 bytes
//! request = "KFASKING" ‖ 1 ‖ length of the ticket 2 ‖ ticket ‖ made 8
//!           ‖ fresh X-Wing public key 1216
//!           ‖ Ed25519 signature of all before, after the label "keyfall/request/v1" 64
//! ```
//! What a grantee opens is sealed to the fresh key of its request, never to a key that it keeps:
//! a thief of the long-term key opens nothing later.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::codec::{Decoder, parsed, shown};
use crate::crypto::{Fresh, Key, hedge, kem};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{StoreId, Timestamp, UserTag};
use crate::secret::WipeStack;

const PRIVATE: &str = "keyfall-private-1:";
const PUBLIC: &str = "keyfall-public-1:";
const TICKET: &str = "keyfall-ticket-1:";
const MAGIC: &[u8; 8] = b"KFASKING";
const VERSION: u8 = 1;
const LABEL: &[u8] = b"keyfall/request/v1";

/// A person or program outside: a key to sign requests with, and one to which exports are sealed.
pub struct Identity {
    signing: Key,
    opening: Key,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Draws a fresh identity.
    ///
    /// # Errors
    /// `Io` if the generator fails.
    pub fn new(env: &dyn Env) -> Result<Self> {
        let fresh = Fresh::new(env, hedge(&[b"identity", &env.now().0.to_be_bytes()]));
        Ok(Identity { signing: fresh.key()?, opening: fresh.key()? })
    }

    /// The private text, to be kept secret; wiped when it is dropped.
    pub fn private(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.signing.bytes()[..], self.opening.bytes()].concat());
        Zeroizing::new(shown(PRIVATE, &bytes))
    }

    /// Reads what [`Identity::private`] gave.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn from_private(text: &str) -> Result<Self> {
        let bytes = Zeroizing::new(parsed(PRIVATE, text).unwrap_or_default());
        match (bytes.first_chunk::<32>(), bytes.last_chunk::<32>()) {
            (Some(signing), Some(opening)) if bytes.len() == 64 => Ok(Identity {
                signing: Key::copied_from(signing),
                opening: Key::copied_from(opening),
            }),
            _ => Err(Error::invalid("not a private key; `Identity::new` makes one")),
        }
    }

    /// The public keys of this identity.
    ///
    /// # Errors
    /// `Corrupt`, which the private key of an identity never is.
    pub fn public(&self) -> Result<PublicKey> {
        let _wiped = WipeStack;
        let signing = SigningKey::from_bytes(self.signing.bytes());
        Ok(PublicKey {
            signing: signing.verifying_key().to_bytes(),
            sealing: kem::public_key(&self.opening)?,
        })
    }

    /// The key that opens what was sealed to the public key.
    pub fn opening(&self) -> &Key {
        &self.opening
    }

    /// Asks for what a ticket lets be opened: the request, and the fresh key that opens the answer.
    /// Destroy that key afterwards.
    ///
    /// # Errors
    /// `Io` if the generator fails.
    pub fn ask(&self, ticket: &Ticket, env: &dyn Env) -> Result<(Vec<u8>, Key)> {
        let _wiped = WipeStack;
        let made = env.now();
        let ticket = ticket.encode();
        let fresh = Fresh::new(env, hedge(&[&ticket, &made.0.to_be_bytes()])).key()?;
        let length = u16::try_from(ticket.len()).unwrap_or(u16::MAX).to_be_bytes();
        let public = kem::public_key(&fresh)?;
        let mut request =
            [&MAGIC[..], &[VERSION], &length, &ticket, &made.0.to_be_bytes(), &public].concat();
        let signing = SigningKey::from_bytes(self.signing.bytes());
        let signature = signing.sign(&[LABEL, &request].concat());
        request.extend_from_slice(&signature.to_bytes());
        Ok((request, fresh))
    }
}

/// The public side of an [`Identity`].
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The Ed25519 key that verifies its requests.
    pub signing: [u8; 32],
    pub(crate) sealing: Vec<u8>,
}

/// The key that verifies requests: what a grant is given to.
impl From<&PublicKey> for [u8; 32] {
    fn from(key: &PublicKey) -> Self {
        key.signing
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", data_encoding::HEXLOWER.encode(&self.signing[..8]))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(PUBLIC, &[&self.signing[..], &self.sealing].concat()))
    }
}

impl FromStr for PublicKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad =
            || Error::invalid("not a public key; `Identity::new` makes one beside the private key");
        let bytes = parsed(PUBLIC, text).ok_or_else(bad)?;
        match bytes.split_first_chunk::<32>() {
            Some((signing, sealing)) if sealing.len() == kem::PUBLIC_BYTES => {
                VerifyingKey::from_bytes(signing).map_err(|_| bad())?;
                Ok(PublicKey { signing: *signing, sealing: sealing.to_vec() })
            }
            _ => Err(bad()),
        }
    }
}

/// Names what may be asked for: a grant, or a training set. It is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) store: StoreId,
    pub(crate) what: Asked,
}

/// What a ticket names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Grant { user: UserTag, incarnation: u16, number: u64 },
    Set([u8; 20]),
}

impl Ticket {
    fn encode(&self) -> Vec<u8> {
        match self.what {
            Asked::Grant { user, incarnation, number } => [
                &[1][..],
                &self.store.0,
                &user.0,
                &incarnation.to_be_bytes(),
                &number.to_be_bytes(),
            ]
            .concat(),
            Asked::Set(set) => [&[2][..], &self.store.0, &set].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::from_outside(bytes, "ticket");
        let kind = d.u8()?;
        let store = StoreId(d.array()?);
        let what = match kind {
            1 => {
                Asked::Grant { user: UserTag(d.array()?), incarnation: d.u16()?, number: d.u64()? }
            }
            2 => Asked::Set(d.array()?),
            _ => return Err(d.bad()),
        };
        d.end()?;
        Ok(Ticket { store, what })
    }

    /// The ticket that a grantee's request names. The signature is not looked at: whoever has the
    /// ticket can make such a request, and the engine refuses it when it is opened.
    ///
    /// # Errors
    /// `Corrupt` for what is no request.
    pub fn asked_by(request: &[u8]) -> Result<Self> {
        Ok(Request::decode(request)?.ticket)
    }

    /// The number of the grant; `None` for a training set.
    pub fn grant(&self) -> Option<u64> {
        match self.what {
            Asked::Grant { number, .. } => Some(number),
            Asked::Set(_) => None,
        }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(TICKET, &self.encode()))
    }
}

impl FromStr for Ticket {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid("not a ticket; `Grants::add` and `Training::make` give one");
        Ticket::decode(&parsed(TICKET, text).ok_or_else(bad)?).map_err(|_| bad())
    }
}

/// A request, read and not verified yet.
pub(crate) struct Request {
    pub(crate) ticket: Ticket,
    pub(crate) made: Timestamp,
    /// The fresh X-Wing key.
    pub(crate) to: Vec<u8>,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl Request {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::from_outside(bytes, "request");
        if d.bytes(8)? != MAGIC || d.u8()? != VERSION {
            return Err(d.bad());
        }
        let n = usize::from(d.u16()?);
        let ticket = Ticket::decode(d.bytes(n)?)?;
        let made = Timestamp(d.u64()?);
        let to = d.bytes(kem::PUBLIC_BYTES)?.to_vec();
        let signature = d.array()?;
        d.end()?;
        Ok(Request {
            ticket,
            made,
            to,
            signed: [LABEL, &bytes[..bytes.len() - 64]].concat(),
            signature,
        })
    }

    /// Whether the holder of this key made it.
    pub(crate) fn verify(&self, key: &[u8; 32]) -> Result<()> {
        let refused = |_| {
            Error::new(
                ErrorKind::Refused,
                "this request is not signed with the grantee's key; have the grantee sign it",
            )
        };
        let key = VerifyingKey::from_bytes(key).map_err(refused)?;
        key.verify_strict(&self.signed, &Signature::from_bytes(&self.signature)).map_err(refused)
    }
}
