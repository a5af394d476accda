//! Shares that keyholders handed in, sorted by what they prove.

use std::collections::{BTreeMap, BTreeSet};

use super::shares::agreed;
use super::{Held, Share};
use crate::cell::RootKey;
use crate::error::Result;
use crate::promise::RootId;

/// What keyholders handed in. Each share is checked alone: a wrong one spoils no other, and
/// its keyholder is known.
pub(super) struct Sorted<'h> {
    /// The keys that enough shares give, each with shares that do.
    pub(super) keys: Vec<(RootKey, Vec<&'h Share>)>,
    /// For each member of the circle the root keys of which it holds the right share.
    pub(super) holds: Vec<BTreeSet<RootId>>,
    /// Members whose shares are not what was dealt to them.
    pub(super) liars: BTreeSet<usize>,
}

impl<'h> Sorted<'h> {
    /// Sorts the answers of the members of a circle, which have these points; `threshold` shares
    /// give a key.
    pub(super) fn of(held: &'h [Result<Held>], points: &[u8], threshold: usize) -> Self {
        let mut by_id: BTreeMap<RootId, Vec<(usize, &Share)>> = BTreeMap::new();
        let mut sorted = Sorted {
            keys: Vec::new(),
            holds: vec![BTreeSet::new(); held.len()],
            liars: BTreeSet::new(),
        };
        for (n, (x, held)) in points.iter().zip(held).enumerate() {
            for share in held.iter().flat_map(|held| &held.shares) {
                // A share at another's point counts for nothing.
                if share.x == *x && share.is_proven() {
                    by_id.entry(share.id).or_default().push((n, share));
                } else {
                    sorted.liars.insert(n);
                }
            }
        }
        for (id, shares) in by_id {
            let all: Vec<&Share> = shares.iter().map(|(_, share)| *share).collect();
            let Some((key, set)) = agreed(&all, threshold) else { continue };
            let same =
                |share: &Share| (share.commitment, share.root) == (set[0].commitment, set[0].root);
            for (n, share) in shares {
                if same(share) {
                    sorted.holds[n].insert(id);
                } else {
                    sorted.liars.insert(n);
                }
            }
            sorted.keys.push((RootKey { id, key }, set));
        }
        sorted
    }

    /// Whether enough shares of this root key are there.
    pub(super) fn has_key(&self, id: &RootId) -> bool {
        self.keys.iter().any(|(key, _)| key.id == *id)
    }
}
