//! Root keys of a later epoch than the one that is kept, as keyholders tell of them.
//!
//! There are such where the store was copied and both copies went on: an epoch that ends here ends
//! none of the other's later ones, and these reach what was erased here since. A statement does not
//! speak of them.

use std::collections::BTreeSet;

use super::Held;
use crate::cell::Owner;
use crate::error::Result;
use crate::promise::RootId;

/// What the members of a circle tell of later root keys.
pub(super) struct Beyond {
    /// How many of the keyholders hold a share of one.
    tellers: usize,
    /// Members that hold none, and took the claim of this engine before they said so: no other
    /// engine has given them one since.
    clear: BTreeSet<usize>,
    /// How many keyholders there are: the members after them were replaced.
    n: usize,
}

impl Beyond {
    /// What these tell of root keys later than `keep`, but those that are `given_up`. `claimed`:
    /// they were told of the claim right before or after they were asked.
    pub(super) fn of(
        held: &[Result<Held>],
        n: usize,
        owner: &Owner,
        claimed: bool,
        keep: &RootId,
        given_up: &[RootId],
    ) -> Self {
        let is_beyond = |id: &RootId| id.epoch > keep.epoch && !given_up.contains(id);
        let holds = |held: &Held| held.shares.iter().any(|share| is_beyond(&share.id));
        let is_clear = |held: &Held| !holds(held) && (claimed || Beyond::took(held, owner));
        let which = |is: &dyn Fn(&Held) -> bool| -> BTreeSet<usize> {
            (0..held.len()).filter(|n| held[*n].as_ref().is_ok_and(is)).collect()
        };
        let tellers = which(&holds).into_iter().filter(|member| *member < n).count();
        Beyond { tellers, clear: which(&is_clear), n }
    }

    /// Whether a member had taken the claim of this owner before it answered.
    fn took(held: &Held, owner: &Owner) -> bool {
        held.owner.map_or(owner.claim == 0, |there| there == *owner)
    }

    /// Whether so many of those that answered did, or all.
    pub(super) fn is_claimed(held: &[Result<Held>], owner: &Owner, needed: usize) -> bool {
        let answered = || held.iter().flatten();
        let took = answered().filter(|held| Beyond::took(held, owner)).count();
        took >= needed.min(answered().count())
    }

    /// Whether a later root key was published: more tell of it than may lie.
    pub(super) fn is_told(&self, liars: usize) -> bool {
        self.tellers > liars
    }

    /// Whether there is none that can be given back: `needed` keyholders tell that they hold none,
    /// so that fewer than the threshold are left.
    pub(super) fn is_none(&self, needed: usize, liars: usize) -> bool {
        !self.is_told(liars) && self.clear.range(..self.n).count() >= needed
    }

    /// Whether this member holds none.
    pub(super) fn is_clear(&self, member: usize) -> bool {
        self.clear.contains(&member)
    }
}
