//! Places for what waits for the network. Of each caller there are a few, so that one who is slow
//! does not keep others waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded number of places, and of each caller fewer.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    count: u32,
    each: usize,
    taken: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many places, and of each caller so many.
    pub(crate) fn new(count: u32, each: usize) -> Self {
        let all = Arc::new(Semaphore::new(count as usize));
        Places { all, count, each, taken: Mutex::default() }
    }

    /// Waits for a place: first for one of the caller's own, so that whoever has many requests
    /// waits for itself.
    pub(crate) async fn take(&self, whose: &str) -> Place {
        // Neither is ever closed.
        let own = self.of(whose).acquire_owned().await.ok();
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        Place { _own: own, _of_all: of_all }
    }

    /// Waits until none is taken.
    pub(crate) async fn idle(&self) {
        drop(self.all.acquire_many(self.count).await);
    }

    fn of(&self, whose: &str) -> Arc<Semaphore> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has a place, or waits for one, holds it too.
        taken.retain(|_, own| Arc::strong_count(own) > 1);
        let own = || Arc::new(Semaphore::new(self.each));
        Arc::clone(taken.entry(whose.to_owned()).or_insert_with(own))
    }
}
