//! A cell in memory: the reference, and the whole life of a store in tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Contents, Durable, Level, Promise, Retirement, RootCell, RootId, RootKey};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;

/// Forgets when it is told to, and when the process ends.
#[derive(Debug, Default)]
pub struct MemoryCell {
    contents: Mutex<Contents>,
}

impl MemoryCell {
    /// An empty cell.
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootCell for MemoryCell {
    fn describe(&self) -> Promise {
        Promise {
            kind: "memory",
            place: "memory".into(),
            statement:
                "the key is zeroized in this process's memory; it is lost, and all data with it, when the process ends"
                    .into(),
            level: Level::L0,
            remnants: false,
            quorum: None,
        }
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        let mut contents = self.contents();
        if contents.store.is_some_and(|there| there != store) {
            return Err(Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own"));
        }
        if contents.keys.iter().any(|k| k.id == *id) {
            return Ok(());
        }
        if contents.keys.len() == 2 {
            return Err(Error::new(
                ErrorKind::Refused,
                "this cell holds two root keys; open the engine anew to finish the erase",
            ));
        }
        contents.store = Some(store);
        contents.epoch = contents.epoch.max(id.epoch);
        contents.keys.push(RootKey { id: *id, key: key.duplicate() });
        Ok(())
    }

    fn load(&self) -> Result<Contents> {
        let contents = self.contents();
        let keys = contents.keys.iter().map(|k| RootKey { id: k.id, key: k.key.duplicate() }).collect();
        Ok(Contents { store: contents.store, keys, epoch: contents.epoch, unheard: None, owner: None, mark: 0 })
    }

    fn retire(&self, keep: &RootId, _proof: Durable) -> Result<Retirement> {
        let mut contents = self.contents();
        if !contents.keys.iter().any(|k| k.id == *keep) {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        }
        contents.keys.retain(|k| k.id == *keep);
        Ok(Retirement::Destroyed)
    }
}
