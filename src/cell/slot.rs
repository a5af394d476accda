//! One slot: a live key, a tombstone, or neither.
//!
//! ```text
//! file 4096 = slot ‖ zeros
//! slot 512  = magic 8 ‖ state 1 ‖ store id 16 ‖ epoch 8 ‖ attempt 16 ‖ key 32 ‖ note 225
//!             ‖ random fill ‖ SHA-256 of all before
//! ```
//! A tombstone bears the epoch and attempt of the key that ended there. A note says more about the
//! key beside it; if there is nothing to note, it is random too.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::RootKey;
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::StoreId;
use crate::limits::SLOT_BYTES;
use crate::promise::RootId;

const MAGIC: &[u8; 8] = b"KFSLOT01";
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
/// Bytes of a note.
pub(crate) const NOTE_BYTES: usize = 225;
/// What is stored with a key.
pub(crate) type SlotNote = [u8; NOTE_BYTES];
const CHECKED: usize = SLOT_BYTES - 32;
const _: () = assert!(81 + NOTE_BYTES <= CHECKED, "a note fits into a slot");

/// A slot, as it was read.
pub(super) enum Slot {
    Live { store: StoreId, key: RootKey, note: SlotNote },
    Destroyed { id: RootId, note: SlotNote },
    Torn,
}

/// What is to be written into a slot.
pub(super) struct Written<'k> {
    pub(super) store: StoreId,
    pub(super) id: RootId,
    /// A tombstone has none.
    pub(super) key: Option<&'k Key>,
    pub(super) note: Option<&'k SlotNote>,
}

impl Written<'_> {
    /// Lays it out over the random bytes of a slot.
    pub(super) fn encode(&self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = if self.key.is_some() { LIVE } else { DESTROYED };
        bytes[9..25].copy_from_slice(&self.store.0);
        bytes[25..33].copy_from_slice(&self.id.epoch.to_be_bytes());
        bytes[33..49].copy_from_slice(&self.id.attempt);
        if let Some(key) = self.key {
            bytes[49..81].copy_from_slice(key.bytes());
        }
        if let Some(note) = self.note {
            bytes[81..81 + NOTE_BYTES].copy_from_slice(note);
        }
        let sum = Sha256::digest(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum);
    }
}

impl Slot {
    pub(super) fn parse(bytes: &[u8]) -> Slot {
        Self::decode(bytes).unwrap_or(Slot::Torn)
    }

    fn decode(bytes: &[u8]) -> Result<Slot> {
        let (checked, sum) = bytes
            .get(..SLOT_BYTES)
            .unwrap_or_default()
            .split_at_checked(CHECKED)
            .unwrap_or_default();
        let mut d = Decoder::new(checked, "cell slot");
        if Sha256::digest(checked)[..] != *sum {
            return Err(d.bad());
        }
        if d.bytes(8)? != MAGIC {
            return Err(d.bad());
        }
        let state = d.u8()?;
        let store = StoreId(d.array()?);
        let id = RootId { epoch: d.u64()?, attempt: d.array()? };
        match state {
            LIVE => {
                let bytes = Zeroizing::new(d.array::<32>()?);
                let key = RootKey { id, key: Key::copied_from(&bytes) };
                Ok(Slot::Live { store, key, note: d.array()? })
            }
            DESTROYED => {
                d.bytes(32)?;
                Ok(Slot::Destroyed { id, note: d.array()? })
            }
            _ => Err(d.bad()),
        }
    }

    pub(super) fn live(&self) -> Option<&RootKey> {
        match self {
            Slot::Live { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The id of the key that lives here, or ended here.
    pub(super) fn id(&self) -> Option<RootId> {
        match self {
            Slot::Live { key, .. } => Some(key.id),
            Slot::Destroyed { id, .. } => Some(*id),
            Slot::Torn => None,
        }
    }

    pub(super) fn note(&self) -> Option<&SlotNote> {
        match self {
            Slot::Live { note, .. } | Slot::Destroyed { note, .. } => Some(note),
            Slot::Torn => None,
        }
    }
}

/// Whether one of these slots holds a live key of this id.
pub(super) fn holds(slots: &[Slot], id: &RootId) -> bool {
    slots.iter().filter_map(Slot::live).any(|key| key.id == *id)
}

/// The live key in the bytes of a slot, if there is one.
#[cfg(feature = "testing")]
pub(crate) fn live_key_in(bytes: &[u8]) -> Option<RootKey> {
    live_share_in(bytes).map(|(key, _)| key)
}

/// The live share in the bytes of a keyholder's slot, with its note.
#[cfg(feature = "testing")]
pub(crate) fn live_share_in(bytes: &[u8]) -> Option<(RootKey, SlotNote)> {
    match Slot::parse(bytes) {
        Slot::Live { key, note, .. } => Some((key, note)),
        _ => None,
    }
}
