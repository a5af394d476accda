//! Keyholders over the network: TLS 1.3 between pinned Ed25519 keys (RFC 7250), with the hybrid
//! exchange X25519MLKEM768 and no other, no resumption and no early data: what was recorded opens
//! with no key that either side keeps.
//!
//! The keys that name a keyholder and an engine are written as text:
//!
//! ```text
//! keyholder = "keyfall-keyholder-1:" base64url(Ed25519 key of its channel 32
//!             ‖ Ed25519 key of its statements 32)
//! engine    = "keyfall-engine-1:"    base64url(Ed25519 key of its channel 32)
//! ```

mod cell_dir;
mod client;
mod engine_key;
mod keyholder_dir;
mod private;
mod server;
mod tls;
mod wire;

use std::fmt;
use std::str::FromStr;

pub use cell_dir::{
    Replaced, leaving, make_cell, move_keyholder, move_member, open_cell, put_back, replace_member,
};
pub use client::RemoteKeyholder;
pub use engine_key::EngineKey;
pub use keyholder_dir::KeyholderDir;
pub use server::Server;
#[cfg(feature = "testing")]
pub(crate) use wire::well_formed;

use crate::codec::{parsed, shown};
use crate::error::{Error, Result};

const KEYHOLDER: &str = "keyfall-keyholder-1:";
const ENGINE: &str = "keyfall-engine-1:";

/// The public keys of a keyholder, which name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyholderId {
    /// The key of its channel.
    pub channel: [u8; 32],
    /// The key by which it signs.
    pub statements: [u8; 32],
}

impl fmt::Display for KeyholderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(KEYHOLDER, &[self.channel, self.statements].concat()))
    }
}

impl FromStr for KeyholderId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let keys: [u8; 64] =
            parsed(KEYHOLDER, text).and_then(|keys| keys.try_into().ok()).ok_or_else(|| {
                Error::invalid("not a keyholder's key; `keyfall keyholder init DIR` prints it")
            })?;
        let (mut channel, mut statements) = ([0; 32], [0; 32]);
        channel.copy_from_slice(&keys[..32]);
        statements.copy_from_slice(&keys[32..]);
        Ok(KeyholderId { channel, statements })
    }
}

/// The public key of an engine, which names it to keyholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineId(pub [u8; 32]);

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(ENGINE, &self.0))
    }
}

impl FromStr for EngineId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let key = parsed(ENGINE, text).and_then(|key| key.try_into().ok());
        key.map(EngineId).ok_or_else(|| {
            Error::invalid("not an engine's key; `keyfall keyholder engine CELL` prints it")
        })
    }
}
