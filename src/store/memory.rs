//! The reference store: a few fields under a lock. Adapters are compared with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Blob, Claimed, Cursor, Head, HeadId, Published, Removed, Store, Usage};
use crate::error::Result;
use crate::ids::BlobName;

/// A store in memory, for tests and as the plainest statement of the contract.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    blobs: BTreeMap<BlobName, Vec<u8>>,
    head: Option<Head>,
    claimed: Option<Claimed>,
}

impl MemoryStore {
    /// A store that nothing was put into.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A second store with the same bytes: what an operator's disk snapshot is.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        MemoryStore { state: Mutex::new(self.state().clone()) }
    }
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "memory".into()
    }

    fn claimed(&self) -> Result<Option<Claimed>> {
        Ok(self.state().claimed)
    }

    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        let mut state = self.state();
        if state.claimed.is_some_and(|there| there.claim > claimed.claim) {
            return Err(super::fenced("memory"));
        }
        state.claimed = Some(*claimed);
        Ok(state.head.clone())
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        Ok(self.state().blobs.get(name).cloned())
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(self.state().blobs.contains_key(name))
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.state().blobs.extend(blobs.iter().cloned());
        Ok(())
    }

    fn head(&self) -> Result<Option<Head>> {
        Ok(self.state().head.clone())
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let mut state = self.state();
        let there = state.head.as_ref().map(|h| h.id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        state.blobs.extend(blobs.iter().cloned());
        state.head = Some(head.clone());
        Ok(Published::Done)
    }

    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let state = self.state();
        let mut names = state.blobs.range(BlobName(from.0.to_be_bytes())..).map(|(name, _)| *name);
        let some = names.by_ref().take(limit).collect();
        Ok((some, names.next().map(|name| Cursor(u128::from_be_bytes(name.0)))))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        let mut state = self.state();
        let gone = names
            .iter()
            .filter_map(|name| state.blobs.remove(name))
            .map(|blob| blob.len() as u64)
            .sum();
        Ok(Removed { gone, ..Removed::default() })
    }

    fn usage(&self) -> Result<Usage> {
        let state = self.state();
        let bytes = state.blobs.values().map(|b| b.len() as u64).sum();
        Ok(Usage { blobs: state.blobs.len() as u64, bytes })
    }
}
