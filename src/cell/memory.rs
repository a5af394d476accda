//! A cell in memory: the reference, and the whole life of a store in tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::claims::{Claim, fenced};
use super::{Contents, Durable, Owner, RootCell, RootKey};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, Level, Promise, Retirement, RootId};

/// Forgets when it is told to, and when the last handle on it is dropped.
#[derive(Debug, Default)]
pub struct MemoryCell {
    held: Arc<Mutex<Held>>,
    /// For whom this handle acts.
    owner: Mutex<Option<Owner>>,
}

#[derive(Debug)]
struct Held {
    contents: Contents,
    claim: Claim,
}

impl Default for Held {
    fn default() -> Self {
        Held { contents: Contents::default(), claim: Claim::NONE }
    }
}

impl MemoryCell {
    /// A cell that never held a key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another handle on this cell, as another process would have it: it has not claimed.
    #[must_use]
    pub fn handle(&self) -> Self {
        MemoryCell { held: Arc::clone(&self.held), owner: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self) -> MutexGuard<'_, Option<Owner>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell, if this handle acts for its owner, or nobody claimed it.
    fn owned(&self) -> Result<MutexGuard<'_, Held>> {
        let held = self.held();
        if held.claim.owner != *self.owner() {
            return Err(fenced("the cell in memory", held.claim.owner.as_ref()));
        }
        Ok(held)
    }
}

fn of_another_store() -> Error {
    Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own")
}

impl RootCell for MemoryCell {
    fn describe(&self) -> Promise {
        Promise {
            kind: "memory",
            place: "memory".into(),
            statement:
                "the key is zeroized in this process's memory; it is lost, and all data with it, \
                 when the process ends"
                    .into(),
            level: Level::L0,
            remnants: false,
            quorum: None,
        }
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let mut held = self.held();
        if held.contents.store.is_some_and(|there| there != store) {
            return Err(of_another_store());
        }
        // Of a store that was never made nothing is left to own.
        let there = if held.claim.store == store { held.claim } else { Claim::NONE };
        if !there.takes(owner) {
            return Err(fenced("the cell in memory", there.owner.as_ref()));
        }
        held.claim = there.told(store, owner, Some(mark));
        *self.owner() = Some(*owner);
        Ok(())
    }

    /// A key is destroyed when `retire` returns.
    fn awaited(&self, _keep: &RootId) -> Option<Awaited> {
        None
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        let mut held = self.owned()?;
        let claimed = held.claim.owner.map(|_| held.claim.store);
        if held.contents.store.or(claimed).is_some_and(|there| there != store) {
            return Err(of_another_store());
        }
        let contents = &mut held.contents;
        if contents.keys.iter().any(|k| k.id == *id) {
            return Ok(());
        }
        if contents.keys.len() == 2 {
            return Err(Error::new(
                ErrorKind::Refused,
                "this cell holds two root keys; open the store again to finish the erase",
            ));
        }
        contents.store = Some(store);
        contents.epoch = contents.epoch.max(id.epoch);
        contents.keys.push(RootKey { id: *id, key: key.duplicate() });
        Ok(())
    }

    fn load(&self) -> Result<Contents> {
        let held = self.held();
        let Held { contents, claim } = &*held;
        let keys = contents.keys.iter().map(RootKey::duplicate).collect();
        let (owner, mark) = (claim.owner, claim.mark);
        Ok(Contents {
            store: contents.store,
            keys,
            epoch: contents.epoch,
            owner,
            mark,
            ..Contents::default()
        })
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        let mut held = self.owned()?;
        if !held.contents.keys.iter().any(|k| k.id == *keep) {
            return Err(Error::corrupt(
                "the root key to keep is not in the cell; nothing was destroyed",
            ));
        }
        held.contents.keys.retain(|k| k.id == *keep);
        held.claim.mark = held.claim.mark.max(proof.commit());
        Ok(Retirement::Destroyed)
    }
}
