//! The root cell: the port behind which the root key lies. It must be able to forget, and must not be rolled back;
//! everything else in this crate leans on these two.
//!
//! Who can change a cell can destroy all data. Who can keep a copy of a root key can read what was alive in its
//! epoch, for ever. A cell says in [`Promise`] how far its medium prevents that.

mod file;
mod filesystem;
mod memory;
mod slots;

pub use file::FileCell;
#[cfg(feature = "keyholders")]
pub(crate) use file::check_medium;
pub use memory::MemoryCell;
#[cfg(feature = "keyholders")]
#[cfg(not(feature = "testing"))]
pub(crate) use slots::Slots;
#[cfg(feature = "keyholders")]
pub(crate) use slots::{NOTE_BYTES, Note, SHARE_SLOTS};
#[cfg(feature = "testing")]
pub(crate) use slots::{SLOTS, Slots, live_key_in, live_share_in};

use crate::crypto::Key;
use crate::error::Result;
use crate::ids::StoreId;
pub use crate::promise::{Awaited, Dealt, Finality, Level, Promise, Quorum, Retirement, RootId, Statement};

/// A root key as a cell gives it out.
#[derive(Debug)]
pub struct RootKey {
    /// Its name.
    pub id: RootId,
    /// The key.
    pub key: Key,
}

impl RootKey {
    pub(crate) fn duplicate(&self) -> Self {
        RootKey { id: self.id, key: self.key.duplicate() }
    }
}

/// What a cell holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The store it belongs to; `None` in a cell that never held a key.
    pub store: Option<StoreId>,
    /// Every root key that is not destroyed: one, or two in the middle of an erase, or where the next epoch's stands ready.
    pub keys: Vec<RootKey>,
    /// The highest epoch it ever held a key of.
    pub epoch: u64,
    /// Where not all who hold parts of a key answered: who did not, and up to which epoch those that did have ended all. A key of that
    /// epoch or a later one that is not among `keys` may be there.
    pub unheard: Option<(String, u64)>,
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

    /// Whether a fresh root key would be safer than the one there is: a keyholder that was away is back, and has no share of it.
    fn wants_epoch(&self) -> bool {
        false
    }

    /// Root keys of earlier epochs that keyholders were dealt shares of, and that are not known to be destroyed: what an erase takes now
    /// can be read with them too.
    fn unfinished(&self) -> Vec<Dealt> {
        Vec::new()
    }

    /// What keyholders signed when they were last asked, also such as were replaced since: for certificates that still lack a statement.
    fn remembered(&self) -> Vec<Statement> {
        Vec::new()
    }

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

    /// As [`RootCell::retire`], and `next`, the key of the epoch to come, is written where a destroyed one was, in the same durable
    /// write: the next erase has nothing to deposit. For a cell that one process holds alone; `None` says that this is none, and that
    /// nothing was done.
    ///
    /// # Errors
    /// As [`RootCell::retire`].
    fn retire_for(&self, keep: &RootId, next: &RootKey, proof: Durable) -> Result<Option<Retirement>> {
        let _ = (keep, next, proof);
        Ok(None)
    }
}
