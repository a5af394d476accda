//! What tests ask of an engine: what it has in memory; and its twin, an engine as a snapshot of its
//! machine keeps it, over media as they were then or are now.

use std::sync::Arc;

use super::cleaner::{Cleaning, How, clean};
use super::heads::OpenHead;
use super::loan::Loan;
use super::open::{Ports, assembled};
use super::own::Role;
use super::paved::Engine;
use super::verbs::discard::{Discarded, discard_in_windows};
use crate::cell::{RootCell, RootKey};
use crate::error::Result;
use crate::pages::{PageSource, SharedStore};
use crate::store::{HeadId, Packing};
use crate::sync::atomic::Ordering;
use crate::tree::head::HeadPage;

impl Engine {
    /// Another engine with this one's memory: what a machine goes on with that was restored from a
    /// snapshot of it. It has no copies.
    pub fn twin(&self, store: SharedStore, cell: Arc<dyn RootCell>) -> Engine {
        let mine = &self.inner;
        let (head, stored, erases) = {
            let state = mine.state();
            (state.head.duplicate(), state.stored.clone(), state.erases)
        };
        let writer = mine.writer_untold();
        let next = writer.next.as_ref().map(RootKey::duplicate);
        let root = writer.root.duplicate();
        let ports = Ports { store, cell, options: mine.options.clone(), loan: Loan::default() };
        let found = OpenHead { stored, page: head, root };
        let twin = assembled(mine.id, ports, found, Role::Owner);
        {
            let mut theirs = twin.writer_untold();
            theirs.settled = writer.settled;
            theirs.erases = writer.erases;
            theirs.next = next;
            theirs.copies.clear();
        }
        twin.state.write().unwrap_or_else(std::sync::PoisonError::into_inner).erases = erases;
        Engine { inner: Arc::new(twin), _keeper: None }
    }

    /// Whether the cell has said that every old root key is gone.
    pub(crate) fn is_final(&self) -> bool {
        self.inner.is_final()
    }

    /// Bytes of opened pages in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.inner.cache.bytes()
    }

    /// The head that readers see now, opened.
    pub(crate) fn opened_head(&self) -> (HeadPage, HeadId) {
        let state = self.inner.state();
        (state.head.duplicate(), state.stored.id)
    }

    /// Pages of the store, past the cache.
    pub(crate) fn past_the_cache(&self) -> PageSource<'_> {
        self.inner.uncached_pages()
    }

    /// The root keys in the cell.
    pub(crate) fn root_keys(&self) -> Result<Vec<RootKey>> {
        Ok(self.inner.cell.load()?.keys)
    }

    /// A discard that looks at about this many names at a time.
    pub(crate) fn discard_in_windows(&self, names: usize) -> Result<Discarded> {
        discard_in_windows(&self.inner, names, &mut |_| {})
    }

    /// A call of the cleaner that marks what lives, however little is believed to have died.
    pub(crate) fn clean_all(&self) -> Result<Cleaning> {
        let pause = |_| crate::sync::yield_now();
        clean(
            &self.inner,
            &How { sweep: true, packing: Packing::Loose, stop: &|| false, pause: &pause },
        )
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
