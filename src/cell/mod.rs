//! The root cell: the port behind which the root key lies. It must be able to forget, and must not be rolled back;
//! everything else in this crate leans on these two.
//!
//! Who can change a cell can destroy all data. Who can keep a copy of a root key can read what was alive in its
//! epoch, for ever. A cell says in [`Promise`] how far its medium prevents that.

mod file;
mod filesystem;
mod memory;
mod slots;

use std::fmt;

pub use file::FileCell;
pub use memory::MemoryCell;
#[cfg(feature = "testing")]
pub(crate) use slots::{Slots, live_key_in};

use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{StoreId, Timestamp};

/// Name of a root key: its epoch and the attempt that drew it. Two writers that race for one epoch draw two attempts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId {
    /// Generation of the root key; only grows.
    pub epoch: u64,
    /// 16 random bytes.
    pub attempt: [u8; 16],
}

impl fmt::Debug for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootId({}, {})", self.epoch, data_encoding::HEXLOWER.encode(&self.attempt[..4]))
    }
}

/// A root key as a cell gives it out.
#[derive(Debug)]
pub struct RootKey {
    /// Its name.
    pub id: RootId,
    /// The key.
    pub key: Key,
}

/// What a cell holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The store it belongs to; `None` in a cell that never held a key.
    pub store: Option<StoreId>,
    /// Every root key that is not destroyed: one, or two in the middle of an erase.
    pub keys: Vec<RootKey>,
    /// The highest epoch it ever held a key of.
    pub epoch: u64,
}

/// What a medium can promise of a destroyed key, in words that every report repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `memory`, `file`.
    pub kind: &'static str,
    /// Where the cell is.
    pub place: String,
    /// What destroying means here and what it does not.
    pub statement: String,
    /// Whether its owner accepted a medium that is known to keep old bytes.
    pub remnants: bool,
}

/// How a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It is gone, as far as [`Promise`] goes.
    Destroyed,
    /// The medium delays it until then.
    Scheduled(Timestamp),
}

/// Proof that the pages of a new epoch are durable on every copy that must be in step, and were read back and
/// opened. Only the engine makes one; without it no root key can be retired.
#[derive(Debug)]
pub struct Durable(());

impl Durable {
    pub(crate) fn verified() -> Self {
        Durable(())
    }

    /// For the conformance suite, which has no pages.
    #[cfg(feature = "testing")]
    pub fn assumed_for_a_test() -> Self {
        Durable(())
    }
}

/// The port: four verbs. `testing::cell_conformance` (feature `testing`) checks an adapter against this contract.
pub trait RootCell: Send + Sync {
    /// What this medium can promise.
    fn describe(&self) -> Promise;

    /// Keeps a further key, durably, beside the one that is there. Depositing the same key again is no change.
    ///
    /// # Errors
    /// `Refused` for another store's key or where two keys are there already; `Io`, `Full`.
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()>;

    /// Everything it holds.
    ///
    /// # Errors
    /// `Corrupt` where it holds nothing readable; `Io`.
    fn load(&self) -> Result<Contents>;

    /// Destroys every key but `keep`, and torn remains of one, and looks whether it did. Idempotent.
    ///
    /// # Errors
    /// `Corrupt` where `keep` is not there (nothing is destroyed then); `Io`.
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement>;
}
