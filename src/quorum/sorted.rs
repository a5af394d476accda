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
        // Each with where in the circle it is, and whether it is that member's own.
        let mut by_id: BTreeMap<RootId, Vec<(usize, bool, &Share)>> = BTreeMap::new();
        let mut sorted = Sorted {
            keys: Vec::new(),
            holds: vec![BTreeSet::new(); held.len()],
            liars: BTreeSet::new(),
        };
        for (n, (x, held)) in points.iter().zip(held).enumerate() {
            for share in held.iter().flat_map(|held| &held.shares) {
                // One at another point was dealt by a list that has the keyholder elsewhere: it
                // helps to give the key, and stands for no place of this list.
                if share.is_proven() {
                    by_id.entry(share.id).or_default().push((n, share.x == *x, share));
                } else {
                    sorted.liars.insert(n);
                }
            }
        }
        for (id, shares) in by_id {
            let all: Vec<&Share> = shares.iter().map(|(_, _, share)| *share).collect();
            let Some((key, set)) = agreed(&all, threshold) else { continue };
            let same =
                |share: &Share| (share.commitment, share.root) == (set[0].commitment, set[0].root);
            for (n, is_own, share) in shares {
                match (same(share), is_own) {
                    (true, true) => _ = sorted.holds[n].insert(id),
                    (true, false) => {}
                    (false, _) => _ = sorted.liars.insert(n),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;
    use crate::env::System;
    use crate::quorum::shares::split;

    /// A store that was taken over with a list of before, which has a keyholder at another place:
    /// its share gives the key with others, and it does not lie.
    #[test]
    fn a_share_at_another_place_helps_to_give_the_key() {
        let (id, key) = (RootId { epoch: 1, attempt: [1; 16] }, Key::copied_from(&[7; 32]));
        let shares = split(&System, id, &key, 2, 3).unwrap();
        let held = |share: Option<&Share>| {
            let shares = share.map(Share::duplicate).into_iter().collect();
            Ok(Held { shares, committed: 0, owner: None, mark: 0 })
        };
        let all = [held(shares.first()), held(None), held(None), held(shares.get(1))];
        let sorted = Sorted::of(&all, &[1, 2, 3, 4], 2);
        assert!(sorted.has_key(&id) && sorted.liars.is_empty());
        let holds: Vec<bool> = sorted.holds.iter().map(|holds| holds.contains(&id)).collect();
        assert_eq!(holds, [true, false, false, false]);
        // The same one twice is one.
        let twice = [held(shares.first()), held(None), held(None), held(shares.first())];
        assert!(!Sorted::of(&twice, &[1, 2, 3, 4], 2).has_key(&id));
    }
}
