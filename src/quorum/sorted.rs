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
    /// For each member of the circle the root keys of which it holds the share of its place.
    pub(super) holds: Vec<BTreeSet<RootId>>,
    /// The same of the share of any place: a list of another day may have had the member elsewhere.
    pub(super) gives: Vec<BTreeSet<RootId>>,
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
            gives: vec![BTreeSet::new(); held.len()],
            liars: BTreeSet::new(),
        };
        for (n, held) in held.iter().enumerate() {
            let shares = || held.iter().flat_map(|held| &held.shares);
            // One that hands in several of one root key could make up as many as give a key.
            let is_alone = |share: &Share| shares().filter(|it| it.id == share.id).count() == 1;
            for share in shares() {
                if is_alone(share) && share.is_proven() {
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
                if !same(share) {
                    sorted.liars.insert(n);
                    continue;
                }
                sorted.gives[n].insert(id);
                if share.x == points[n] {
                    sorted.holds[n].insert(id);
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

    const ID: RootId = RootId { epoch: 1, attempt: [1; 16] };

    /// What four members hold, by the indices of shares of one key.
    fn held(key: u8, which: [&[usize]; 4]) -> [Result<Held>; 4] {
        let shares = split(&System, ID, &Key::copied_from(&[key; 32]), 2, 4).unwrap();
        which.map(|there| {
            let shares = there.iter().map(|n| shares[*n].duplicate()).collect();
            Ok(Held { shares, committed: 0, owner: None, mark: 0 })
        })
    }

    fn with(which: &[BTreeSet<RootId>]) -> Vec<usize> {
        (0..which.len()).filter(|n| which[*n].contains(&ID)).collect()
    }

    /// A store that was taken over with a list of before, which has a keyholder at another place.
    #[test]
    fn a_share_at_another_place_gives_the_key_and_stands_for_no_place_here() {
        let all = held(7, [&[0], &[], &[], &[1]]);
        let sorted = Sorted::of(&all, &[1, 2, 3, 4], 2);
        assert!(sorted.has_key(&ID) && sorted.liars.is_empty());
        assert_eq!((with(&sorted.holds), with(&sorted.gives)), (vec![0], vec![0, 3]));
        // The same one twice is one.
        let twice = held(7, [&[0], &[], &[], &[0]]);
        assert!(!Sorted::of(&twice, &[1, 2, 3, 4], 2).has_key(&ID));
    }

    /// Nothing in a share shows which engine dealt it: who makes up a key has all its points.
    #[test]
    fn one_member_gives_no_key_alone_however_many_points_it_makes_up() {
        let made_up = held(9, [&[], &[], &[], &[0, 1, 2, 3]]);
        let alone = Sorted::of(&made_up, &[1, 2, 3, 4], 2);
        assert!(!alone.has_key(&ID));
        assert!(alone.liars.contains(&3));
        let [_, _, _, lie] = made_up;
        let [a, b, c, _] = held(7, [&[0], &[1], &[2], &[]]);
        let all = [a, b, c, lie];
        let sorted = Sorted::of(&all, &[1, 2, 3, 4], 2);
        assert_eq!(with(&sorted.holds), [0, 1, 2]);
        assert_eq!(sorted.keys[0].0.key.bytes(), &[7; 32]);
        assert_eq!(sorted.liars, BTreeSet::from([3]));
    }
}
