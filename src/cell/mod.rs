//! The root cell: the port to the medium that keeps the root key. It must be able to forget, and
//! must not be rolled back; everything else in this crate depends on these two.
//!
//! Anyone who can change a cell can destroy all data. Anyone who keeps a copy of a root key can
//! read what was alive in its epoch, for ever. A cell says in [`Promise`] how far its
//! medium prevents that.

mod claims;
pub(crate) mod defect;
mod file;
mod filesystem;
mod key_slots;
mod memory;
mod sector;
#[cfg(feature = "keyholders")]
mod share_slots;
mod slot;
mod slots;

#[cfg(feature = "testing")]
pub(crate) use claims::is_claim;
pub use file::FileCell;
#[cfg(feature = "keyholders")]
pub(crate) use file::check_medium;
#[cfg(feature = "testing")]
pub(crate) use key_slots::KeySlots;
pub use memory::MemoryCell;
#[cfg(feature = "keyholders")]
pub(crate) use share_slots::{SHARE_SLOTS, ShareSlots};
#[cfg(feature = "keyholders")]
pub(crate) use slot::{NOTE_BYTES, SlotNote};
#[cfg(feature = "testing")]
pub(crate) use slot::{live_key_in, live_share_in};

use std::time::Duration;

use crate::crypto::Key;
use crate::error::Result;
use crate::ids::StoreId;
use crate::promise::{Awaited, Dealt, Promise, Retirement, RootId, Statement};

/// A root key as a cell gives it out.
#[derive(Debug)]
pub struct RootKey {
    /// Name of the key.
    pub id: RootId,
    /// The 32 secret bytes under which the heads of the epoch are sealed.
    pub key: Key,
}

impl RootKey {
    pub(crate) fn duplicate(&self) -> Self {
        RootKey { id: self.id, key: self.key.duplicate() }
    }
}

/// Which engine may change a store and destroy its keys: the place that it has open, and by which
/// claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Drawn once for each directory of a store: a copy, a backup and a restored directory have
    /// others. Zeros for an adapter that keeps no claim.
    pub instance: [u8; 16],
    /// Number of the claim; it only grows.
    pub claim: u64,
    /// Drawn for each claim: it tells two claims of one number apart.
    pub token: [u8; 16],
}

/// What a cell holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The store it belongs to; `None` in a cell that never held a key.
    pub store: Option<StoreId>,
    /// Every root key that is not destroyed: one, or two in the middle of an erase, or if the
    /// next epoch's is ready.
    pub keys: Vec<RootKey>,
    /// The highest epoch it ever held a key of.
    pub epoch: u64,
    /// If not all holders of parts of a key answered.
    pub unheard: Option<Unheard>,
    /// The owner by the last claim; `None` if the cell was never claimed.
    pub owner: Option<Owner>,
    /// Whether that owner may be made up by keyholders that lie: then nobody else is told of it.
    pub doubted: bool,
    /// The highest number of a claim that is told, if that may be above the owner's: claims that
    /// died in the middle leave such. 0 in a cell of which one place alone tells.
    pub claims: u64,
    /// The highest commit that the cell was told of; 0 for none.
    pub mark: u64,
    /// Whether it is known here, or somebody who holds a part tells, that the store was whole once.
    pub was_whole: bool,
}

/// Holders of parts of a key that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// Which they are, and what went wrong with each.
    pub silent: String,
    /// The others have ended every key of an earlier epoch. A key of this epoch or a later one that
    /// is not among [`Contents::keys`] may still exist.
    pub ended: u64,
    /// Whether the others can say nothing of whether a store was ever whole.
    pub may_hide: bool,
}

impl Contents {
    /// Whether a root key may still be there: it is, or not all that may hold a part of it
    /// answered, and those that did have not ended its epoch.
    pub(crate) fn may_have(&self, root: &RootId) -> bool {
        let is_unheard = |unheard: &Unheard| root.epoch >= unheard.ended;
        self.keys.iter().any(|key| key.id == *root) || self.unheard.as_ref().is_some_and(is_unheard)
    }

    /// Whether this is what an init leaves that was cut short: a key, claimed for a store that the
    /// cell was told of no commit of. A store that was ever whole told of its first one.
    pub fn is_unfinished(&self) -> bool {
        let first = self.keys.len() == 1 && self.epoch == 1;
        let is_heard = self.unheard.as_ref().is_none_or(|unheard| !unheard.may_hide);
        let is_new = first && self.mark == 0 && !self.was_whole;
        is_new && self.owner.is_some() && !self.doubted && is_heard
    }
}

/// Says up to which commit pages are durable on every copy that must be in step. Only the engine
/// makes one: after it read back what a new epoch published, or when an engine ends that has
/// nothing unfinished. Without it no root key can be retired.
#[derive(Debug)]
pub struct Durable {
    commit: u64,
}

impl Durable {
    /// For the pages up to this commit.
    pub(crate) fn verified(commit: u64) -> Self {
        Durable { commit }
    }

    /// The number of the commit that is durable: the cell remembers the highest.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// This proof once more, for a cell that is asked twice.
    #[cfg(feature = "testing")]
    pub(crate) fn again(&self) -> Self {
        Durable { commit: self.commit }
    }

    /// For the conformance suite, which has no pages.
    #[cfg(feature = "testing")]
    pub fn assumed_for_a_test() -> Self {
        Durable { commit: 0 }
    }

    /// As [`Durable::assumed_for_a_test`], of a commit.
    #[cfg(feature = "testing")]
    pub fn assumed_at(commit: u64) -> Self {
        Durable { commit }
    }
}

/// The port. A handle on a cell acts for the engine that claimed the cell through it.
///
/// *Ownership.* A cell records the claim that it took last, durably. `deposit`, `retire` and
/// `retire_for` are done if the recorded owner is the one that this handle acts for, or if
/// nobody ever claimed; else they are `Fenced`, and change nothing. A handle that never claimed is
/// fenced wherever somebody did. `load` is a look: anybody may, at any time; it takes no lock,
/// claims nothing and writes nothing.
///
/// How `retire` goes on is one of two contracts:
/// * *exclusive* (the file cell, the memory cell): one engine at a time has the cell, and `retire`
///   destroys every key but the one to keep; `testing::cell_conformance` and
///   `testing::owned_cell_conformance` check it;
/// * *shared* (the cell spread over keyholders): others may be depositing. `retire` destroys what
///   is of the epoch to keep or below, but not what is kept, and of newer keys only those that this
///   very handle deposited: attempts of its own that failed. A key that a handle has merely seen
///   may be the head of an engine it knows nothing of; `testing::shared_cell_conformance` checks
///   it.
///
/// The checks are with the feature `testing`.
pub trait RootCell: Send + Sync {
    /// What this medium can promise.
    fn describe(&self) -> Promise;

    /// What this medium can promise of a key that is about to be destroyed. What makes the medium
    /// keep one since the cell was opened need not be asked again, for the destruction fails then.
    fn destroys(&self) -> Promise {
        self.describe()
    }

    /// Whether a fresh root key would be safer than the current one: a keyholder that was away is
    /// back, and has no share of it.
    fn wants_epoch(&self) -> bool {
        false
    }

    /// How often a read-only engine asks whether its root key is still there: what an erase
    /// takes can be read by such an engine for that much longer, and by no means for long if
    /// asking costs nothing.
    fn look_every(&self) -> Duration {
        crate::limits::LOOK_EVERY
    }

    /// Has the attempt of a root key that was just drawn say by which list of keyholders its shares
    /// are going to be dealt, for whoever knows that list: what is drawn of it is its first half.
    fn brand(&self, id: &mut RootId) {
        let _ = id;
    }

    /// The claims to come take the store over, on purpose: what an owner would be refused for,
    /// because this machine was rolled back, is recorded instead.
    fn take_over(&self) {}

    /// Makes `owner` the one engine for which this cell destroys keys, durably; `mark` is the
    /// commit that it found. A cell takes a claim whose number is above that of the last one, and
    /// the last one again. From then on this handle acts for `owner`. A new claim sets the mark,
    /// also to less: a take-over says what counts. The same claim again, and a retirement, only
    /// raise it.
    ///
    /// # Errors
    /// `Fenced` if another claim came first, `Refused` for another store; nothing is changed
    /// then. `Io`.
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let _ = (store, owner, mark);
        Ok(())
    }

    /// Tells a cell that lies apart from the store how far the store is, between claims and
    /// retirements: it raises the mark of the claim that this handle acts for. The default does
    /// nothing.
    ///
    /// # Errors
    /// `Fenced` if another claim came first; `Io`.
    fn mark(&self, store: StoreId, commit: u64) -> Result<()> {
        let _ = (store, commit);
        Ok(())
    }

    /// Whether this machine may own a store whose head is sealed under `live`, by what it keeps
    /// beside the keys. An engine asks before it claims, and a standby before it waits. The cell is
    /// loaded before. The default keeps nothing else.
    ///
    /// # Errors
    /// `Mismatch` for what came back older than it was; `Io`.
    fn check_kept(&self, live: &RootId) -> Result<()> {
        let _ = live;
        Ok(())
    }

    /// Root keys of earlier epochs that keyholders were dealt shares of, and that are not known to
    /// be destroyed: what an erase takes now can be read with them too.
    fn unfinished(&self) -> Vec<Dealt> {
        Vec::new()
    }

    /// What this cell remembers to be missing before every root key below `keep` is known to be
    /// destroyed, for an engine that only reads: it asks nobody, and changes nothing. Root keys
    /// that it still holds are shown by [`RootCell::load`]. A cell that cannot say is not taken to
    /// have said that they are gone.
    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        let _ = keep;
        Some(Awaited::Unasked)
    }

    /// What keyholders signed when they were last asked, also such as were replaced since: for
    /// certificates that still lack a statement.
    fn remembered(&self) -> Vec<Statement> {
        Vec::new()
    }

    /// Keeps a further key, durably, beside the present one. Depositing the same key again is no
    /// change.
    ///
    /// # Errors
    /// `Refused` for another store's key, if two keys are there already, if the root key that
    /// this handle kept last is not there any more, or the one to be deposited was ready and is
    /// gone; `Fenced`; `Io`, `Full`.
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()>;

    /// Returns every key that the cell holds, and what is recorded beside them. A look: see above.
    ///
    /// # Errors
    /// `Corrupt` if it holds nothing readable; `Io`.
    fn load(&self) -> Result<Contents>;

    /// As [`RootCell::load`], for this key alone: a holder need not be waited for if its part is
    /// needed neither for this key nor to destroy another. If this handle claims the cell next and
    /// then retires every other key, it need not ask again which holders have this one: until then
    /// nobody else can have it destroyed.
    ///
    /// # Errors
    /// As [`RootCell::load`].
    fn load_for(&self, id: &RootId) -> Result<Contents> {
        let _ = id;
        self.load()
    }

    /// Destroys every key but `keep`, and torn remains of one, and looks whether it did; remembers
    /// the commit of the proof as its mark. Idempotent. (Of a shared cell: see above.)
    ///
    /// # Errors
    /// `Corrupt` if `keep` is not there, `Refused` if the medium cannot destroy a key now
    /// (nothing is destroyed then); `Fenced`; `Io`.
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement>;

    /// As [`RootCell::retire`], and `next`, the key of the epoch to come, is written where a
    /// destroyed one was, in the same durable write: the next erase has nothing to deposit. For a
    /// cell that one process holds alone; `None` says that this is not such a cell, and that
    /// nothing was done.
    ///
    /// # Errors
    /// As [`RootCell::retire`].
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        let _ = (keep, next, proof);
        Ok(None)
    }

    /// Told that [`RootCell::ready`] is about to be asked, so that the medium is read during
    /// other work.
    fn prepare(&self) {}

    /// Whether the medium holds both `keep` and `next`, which [`RootCell::retire_for`] wrote, and
    /// still belongs to the owner this handle acts for: asked of the medium, not of memory, which a
    /// snapshot of the machine may have brought back. Only then may `next` seal a head.
    ///
    /// # Errors
    /// `Io`.
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        let _ = (keep, next);
        Ok(false)
    }
}
