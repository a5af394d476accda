//! Objects whose requests are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::port::{Created, Listed, Objects, Result};

/// How many requests of each kind were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests to create.
    pub creates: u64,
    /// Requests to read an object or a part of one.
    pub gets: u64,
    /// Requests to list.
    pub lists: u64,
    /// Requests for a length.
    pub heads: u64,
    /// Requests to delete.
    pub deletes: u64,
}

impl Counted {
    /// All requests.
    pub fn all(&self) -> u64 {
        self.creates + self.gets + self.lists + self.heads + self.deletes
    }
}

/// Counts the requests to another place.
pub struct CountedObjects {
    inner: Arc<dyn Objects>,
    counts: [AtomicU64; 5],
}

impl CountedObjects {
    /// Counts the requests to `inner`.
    pub fn over(inner: Arc<dyn Objects>) -> Self {
        CountedObjects { inner, counts: Default::default() }
    }

    /// The requests since the last call, or since it was made.
    pub fn take(&self) -> Counted {
        let [creates, gets, lists, heads, deletes] =
            [0, 1, 2, 3, 4].map(|n: usize| self.counts[n].swap(0, Ordering::Relaxed));
        Counted { creates, gets, lists, heads, deletes }
    }

    fn count(&self, kind: usize) {
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
    }
}

impl Objects for CountedObjects {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn is_far(&self) -> bool {
        self.inner.is_far()
    }
    fn keeps_deleted(&self) -> bool {
        self.inner.keeps_deleted()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        self.count(0);
        self.inner.create(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.count(1);
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.count(1);
        self.inner.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.count(2);
        self.inner.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.count(3);
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.count(4);
        self.inner.delete(name)
    }
    fn delete_all(&self, names: &[String]) -> Result<()> {
        self.count(4);
        self.inner.delete_all(names)
    }
    fn give_room(&self) -> bool {
        self.inner.give_room()
    }
    fn keep_room(&self) -> bool {
        self.inner.keep_room()
    }
}
