//! The engine that callers hold.

use std::sync::Arc;

use crate::cell::Promise;
use crate::engine::{Inner, keeper};
use crate::error::Result;
use crate::ids::StoreId;
use crate::store::HeadId;

/// A store with its root cell, open. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    pub(in crate::engine) inner: Arc<Inner>,
    /// Its thread ends with the last handle.
    pub(in crate::engine) _keeper: Option<Arc<keeper::Kept>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.inner.stores[0].place())
    }
}

impl Engine {
    /// The identity of the store.
    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// Why this engine only looks at its store: [`Options::open_as`] said so, or the store does not own its root cell. `None` for the owner.
    /// Whatever would write is `Fenced` then.
    pub fn read_only(&self) -> Option<&str> {
        self.inner.looks_only()
    }

    /// What this place is known to lack, in words: the root cell was told of a later commit than its head's, so puts and erases are missing
    /// here, and erases that were pending do not become final. `None` where nothing is known to be missing. A take-over has the cell forget
    /// that commit: the engine that took the store over tells it until it is past it, a later one does not know.
    pub fn lacks(&self) -> Option<String> {
        self.inner.lacks()
    }

    /// Whether this place of the store owns the root cell, or could claim it without taking it over.
    pub fn may_own(&self) -> bool {
        self.inner.may_own()
    }

    /// Whether something is due or unfinished that only the owner may do, and this place of the store could be the owner: open it as such
    /// then.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn owes(&self) -> Result<bool> {
        let _wiped = crate::secret::WipeStack;
        self.inner.owes()
    }

    /// The head that readers see now.
    pub fn head(&self) -> HeadId {
        self.inner.state().stored.id
    }

    /// Whether the cell has said that every old root key is gone.
    #[cfg(feature = "testing")]
    pub(crate) fn is_final(&self) -> bool {
        self.inner.is_final()
    }

    /// Bytes of opened pages in memory.
    #[cfg(feature = "testing")]
    pub fn cached_bytes(&self) -> u64 {
        self.inner.cache.bytes()
    }

    /// What the cell promises of a destroyed key.
    pub fn promise(&self) -> Promise {
        self.inner.cell.describe()
    }
}
