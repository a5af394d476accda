//! Blobs as they are stored, kept while a walk goes on, so that none is asked for twice: they are
//! ciphertext, and stay when the walk lets go of its keys.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::ids::BlobName;

/// What a blob takes in memory beside its bytes, about.
const BESIDE: usize = 100;

/// Blobs by their names.
pub(crate) struct Stock {
    inside: RefCell<Inside>,
    /// Bytes of it, about; beyond that it takes nothing, or says that it is full.
    most: Cell<usize>,
}

#[derive(Default)]
struct Inside {
    kept: HashMap<BlobName, Kept>,
    bytes: usize,
}

struct Kept {
    blob: Vec<u8>,
    /// Where it is in the order of the tree.
    at: u128,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.blob.len() + BESIDE
    }
}

impl Stock {
    /// A stock of about so many bytes.
    pub(crate) fn of(most: usize) -> Self {
        Stock { inside: RefCell::default(), most: Cell::new(most) }
    }

    pub(crate) fn get(&self, name: &BlobName) -> Option<Vec<u8>> {
        self.inside.borrow().kept.get(name).map(|kept| kept.blob.clone())
    }

    pub(crate) fn has(&self, name: &BlobName) -> bool {
        self.inside.borrow().kept.contains_key(name)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.inside.borrow().bytes > self.most.get()
    }

    /// Has it take half as much, if that is no less than this.
    pub(crate) fn halve(&self, least: usize) {
        self.most.set((self.most.get() / 2).max(least));
    }

    /// Keeps a blob.
    pub(crate) fn keep(&self, name: BlobName, blob: Vec<u8>) {
        let mut inside = self.inside.borrow_mut();
        let kept = Kept { blob, at: 0 };
        inside.bytes += kept.bytes();
        let before = inside.kept.insert(name, kept);
        inside.bytes -= before.map_or(0, |kept| kept.bytes());
    }

    /// Says where a blob is in the order of the tree.
    pub(crate) fn place(&self, name: &BlobName, at: u128) {
        if let Some(kept) = self.inside.borrow_mut().kept.get_mut(name) {
            kept.at = at;
        }
    }

    /// Lets go of all of it.
    pub(crate) fn clear(&self) {
        *self.inside.borrow_mut() = Inside::default();
    }

    /// Lets go of a blob.
    pub(crate) fn drop(&self, name: &BlobName) {
        let mut inside = self.inside.borrow_mut();
        let gone = inside.kept.remove(name);
        inside.bytes -= gone.map_or(0, |kept| kept.bytes());
    }

    /// Lets go of about a quarter of it, what is last in the order of the tree, and of nothing up
    /// to `from`; says from where on. `None` if all is up to there.
    pub(crate) fn cut(&self, from: u128) -> Option<u128> {
        let mut inside = self.inside.borrow_mut();
        let mut all: Vec<(u128, usize)> =
            inside.kept.values().map(|kept| (kept.at, kept.bytes())).collect();
        all.sort_unstable();
        let (mut bytes, enough) = (0, self.most.get() / 4 * 3);
        let least = from.max(all.first()?.0);
        let limit = all.iter().find_map(|(at, more)| {
            bytes += more;
            (bytes > enough && *at > least).then_some(*at)
        })?;
        inside.kept.retain(|_, kept| kept.at < limit);
        inside.bytes = inside.kept.values().map(Kept::bytes).sum();
        Some(limit)
    }
}
