//! An engine as a snapshot of its machine keeps it: what it has in memory, over media as they were then or are now. For tests.

use std::sync::Arc;

use super::Engine;
use super::open::assembled;
use super::own::Role;
use crate::cell::RootCell;
use crate::pages::SharedStore;
use crate::sync::atomic::Ordering;

impl Engine {
    /// Another engine with this one's memory: what a machine goes on with that was restored from a snapshot of it. It has no copies.
    pub fn twin(&self, store: SharedStore, cell: Arc<dyn RootCell>) -> Engine {
        let mine = &self.inner;
        let (head, stored, erases) = {
            let state = mine.state();
            (state.head.duplicate(), state.stored.clone(), state.erases)
        };
        let writer = mine.writer();
        let next = writer.next.as_ref().map(crate::cell::RootKey::duplicate);
        let root = writer.root.duplicate();
        let twin = assembled(mine.id, (store, cell, mine.options.clone()), (stored, head, root), Role::Owner);
        {
            let mut theirs = twin.writer();
            theirs.settled = writer.settled;
            theirs.erases = writer.erases;
            theirs.next = next;
            theirs.copies.clear();
        }
        twin.state.write().unwrap_or_else(std::sync::PoisonError::into_inner).erases = erases;
        Engine { inner: Arc::new(twin), _keeper: None }
    }

    /// Whether the root key of the next epoch stands ready.
    pub fn has_ready_key(&self) -> bool {
        self.inner.writer().next.is_some()
    }

    /// Ends a twin without a last word to its cell, as a machine ends that is switched off.
    pub fn unplug(self) {
        self.inner.poisoned.store(true, Ordering::Release);
    }
}
