//! Shares that keyholders handed in, sorted by what they prove.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::shares::agreed;
use super::{Held, Share};
use crate::cell::RootKey;
use crate::error::Result;
use crate::promise::RootId;

/// Where a member of a circle has its share.
pub(super) struct Point {
    pub(super) x: u8,
    /// Of one that left, the epochs of which it may give a share: from the last that more than may
    /// lie ended to before the first that was begun without it.
    pub(super) left: Option<Range<u64>>,
}

/// What keyholders handed in. Each share is checked alone: a wrong one spoils no other, and
/// its keyholder is known.
pub(super) struct Sorted<'h> {
    /// The keys that enough shares give, each with shares that do.
    pub(super) keys: Vec<(RootKey, Vec<&'h Share>)>,
    /// For each member of the circle the root keys of which it holds the share of its place.
    pub(super) holds: Vec<BTreeSet<RootId>>,
    /// The same of the share of any place: a list of another day may have had the member elsewhere.
    pub(super) gives: Vec<BTreeSet<RootId>>,
    /// The same of root keys that too few shares give, as most tell: of those that fit together.
    pub(super) believed: Vec<BTreeSet<RootId>>,
    /// Members whose shares are not what was dealt to them.
    pub(super) liars: BTreeSet<usize>,
}

impl<'h> Sorted<'h> {
    /// Sorts the answers of the members of a circle, which have these points; `threshold` shares
    /// give a key. Of one that was replaced it counts what it hands in at its own place, of epochs
    /// that are not over and were not begun without it.
    pub(super) fn of(held: &'h [Result<Held>], points: &[Point], threshold: usize) -> Self {
        // Each with where in the circle it is, and whether it gives the key.
        let mut by_id: BTreeMap<RootId, Vec<(usize, bool, &Share)>> = BTreeMap::new();
        let mut sorted = Sorted {
            keys: Vec::new(),
            holds: vec![BTreeSet::new(); held.len()],
            gives: vec![BTreeSet::new(); held.len()],
            believed: vec![BTreeSet::new(); held.len()],
            liars: BTreeSet::new(),
        };
        for (member, held) in held.iter().enumerate() {
            let shares = || held.iter().flat_map(|held| &held.shares);
            // One that hands in several of one root key could make up as many as give a key.
            let is_alone = |share: &Share| shares().filter(|it| it.id == share.id).count() == 1;
            let point = &points[member];
            let may_be = |share: &Share| point.left.is_none() || share.x == point.x;
            let gives = |share: &Share| {
                point.left.as_ref().is_none_or(|epochs| epochs.contains(&share.id.epoch))
            };
            for share in shares() {
                if is_alone(share) && may_be(share) && share.is_proven() {
                    by_id.entry(share.id).or_default().push((member, gives(share), share));
                } else {
                    sorted.liars.insert(member);
                }
            }
        }
        for (id, shares) in by_id {
            let giving = shares.iter().filter(|(_, gives, _)| *gives);
            let all: Vec<&Share> = giving.map(|(_, _, share)| *share).collect();
            let Some((key, set)) = agreed(&all, threshold) else {
                sorted.believe(id, &shares, points);
                continue;
            };
            let same =
                |share: &Share| (share.commitment, share.root) == (set[0].commitment, set[0].root);
            for (n, _, share) in shares {
                if !same(share) {
                    sorted.liars.insert(n);
                    continue;
                }
                sorted.gives[n].insert(id);
                if share.x == points[n].x {
                    sorted.holds[n].insert(id);
                }
            }
            sorted.keys.push((RootKey { id, key }, set));
        }
        sorted
    }

    /// Too few of these, all of one id, fit together: the most that do are taken at their word.
    fn believe(&mut self, id: RootId, shares: &[(usize, bool, &Share)], points: &[Point]) {
        let mut deals: BTreeMap<_, BTreeMap<u8, usize>> = BTreeMap::new();
        for (n, _, share) in shares.iter().filter(|(n, _, share)| share.x == points[*n].x) {
            deals.entry((share.commitment, share.root)).or_default().insert(share.x, *n);
        }
        let most = deals.into_values().max_by_key(BTreeMap::len).unwrap_or_default();
        for n in most.into_values() {
            self.believed[n].insert(id);
        }
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

    fn points(of: [u8; 4], left: Option<Range<u64>>) -> Vec<Point> {
        let point = |(n, x): (usize, u8)| Point { x, left: left.clone().filter(|_| n == 3) };
        of.into_iter().enumerate().map(point).collect()
    }

    fn has_key(sorted: &Sorted<'_>) -> bool {
        sorted.keys.iter().any(|(key, _)| key.id == ID)
    }

    fn with(which: &[BTreeSet<RootId>]) -> Vec<usize> {
        (0..which.len()).filter(|n| which[*n].contains(&ID)).collect()
    }

    /// A store that was taken over with a list of before, which has a keyholder at another place.
    #[test]
    fn a_share_at_another_place_gives_the_key_and_stands_for_no_place_here() {
        let all = held(7, [&[0], &[], &[], &[1]]);
        let sorted = Sorted::of(&all, &points([1, 2, 3, 4], None), 2);
        assert!(has_key(&sorted) && sorted.liars.is_empty());
        assert_eq!((with(&sorted.holds), with(&sorted.gives)), (vec![0], vec![0, 3]));
        // The same one twice is one.
        let twice = held(7, [&[0], &[], &[], &[0]]);
        assert!(!has_key(&Sorted::of(&twice, &points([1, 2, 3, 4], None), 2)));
        // One that was replaced has its own place alone,
        let replaced = Sorted::of(&all, &points([1, 2, 3, 3], Some(0..9)), 2);
        assert!(!has_key(&replaced) && replaced.liars.contains(&3));
        // and nothing of the epochs since, nor of one that the others ended: with one liar it would
        // make up the key of such a one.
        for (epochs, gives) in [(0..u64::MAX, true), (1..2, true), (0..1, false), (2..3, false)] {
            let since = Sorted::of(&all, &points([1, 3, 4, 2], Some(epochs.clone())), 2);
            assert_eq!(has_key(&since), gives, "{epochs:?}");
        }
    }

    /// What one made up is not counted beside what the others have.
    #[test]
    fn of_a_key_that_cannot_be_recovered_those_hold_shares_that_fit_together() {
        let [a, b, ..] = held(7, [&[0], &[1], &[], &[]]);
        let [.., c, d] = held(9, [&[], &[], &[2], &[]]);
        let all = [a, b, c, d];
        let sorted = Sorted::of(&all, &points([1, 2, 3, 4], None), 3);
        assert!(!has_key(&sorted));
        assert_eq!(with(&sorted.believed), [0, 1]);
    }

    /// Nothing in a share shows which engine dealt it: who makes up a key has all its points.
    #[test]
    fn one_member_gives_no_key_alone_however_many_points_it_makes_up() {
        let made_up = held(9, [&[], &[], &[], &[0, 1, 2, 3]]);
        let alone = Sorted::of(&made_up, &points([1, 2, 3, 4], None), 2);
        assert!(!has_key(&alone));
        assert!(alone.liars.contains(&3));
        let [_, _, _, lie] = made_up;
        let [a, b, c, _] = held(7, [&[0], &[1], &[2], &[]]);
        let all = [a, b, c, lie];
        let sorted = Sorted::of(&all, &points([1, 2, 3, 4], None), 2);
        assert_eq!(with(&sorted.holds), [0, 1, 2]);
        assert_eq!(sorted.keys[0].0.key.bytes(), &[7; 32]);
        assert_eq!(sorted.liars, BTreeSet::from([3]));
    }
}
