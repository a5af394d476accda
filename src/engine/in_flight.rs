//! Names of blobs that are being written: no published head reaches them yet, and a discard must
//! not take them. They are not made here; `catalogue::blob_names` says how a blob gets its name.

use std::collections::{HashMap, HashSet};

use crate::ids::BlobName;
use crate::sync::{Mutex, locked};

/// Blobs on their way into the tree.
#[derive(Default)]
pub(super) struct InFlight {
    inside: Mutex<Tracked>,
}

#[derive(Default)]
struct Tracked {
    in_flight: HashMap<BlobName, ()>,
    /// While a discard runs: everything published since it looked.
    since: Option<HashMap<BlobName, ()>>,
}

impl InFlight {
    /// Keeps names from a discard until a head reaches them.
    pub(super) fn keep(&self, names: impl Iterator<Item = BlobName>) {
        locked(&self.inside).in_flight.extend(names.map(|name| (name, ())));
    }

    /// Ends that: `published` names stay out of a discard that looked before.
    pub(super) fn release(&self, names: impl Iterator<Item = BlobName>, published: bool) {
        let mut inside = locked(&self.inside);
        for name in names {
            inside.in_flight.remove(&name);
            if published && let Some(since) = &mut inside.since {
                since.insert(name, ());
            }
        }
    }

    /// Those that no head reaches yet.
    pub(super) fn names(&self) -> HashSet<BlobName> {
        locked(&self.inside).in_flight.keys().copied().collect()
    }

    /// A discard begins to look: what is published from now on is kept from it.
    pub(super) fn begin_discard(&self) {
        locked(&self.inside).since = Some(HashMap::new());
    }

    /// Ends a discard: published names need not be remembered any more.
    pub(super) fn end_discard(&self) {
        locked(&self.inside).since = None;
    }

    /// Those of the names that are not kept.
    pub(super) fn unkept(&self, names: &[BlobName]) -> Vec<BlobName> {
        let inside = locked(&self.inside);
        let since =
            |name: &BlobName| inside.since.as_ref().is_some_and(|since| since.contains_key(name));
        let kept = |name: &&BlobName| inside.in_flight.contains_key(*name) || since(name);
        names.iter().filter(|name| !kept(name)).copied().collect()
    }
}
