//! How a candidate is dealt before its head is published.
//!
//! Invariant. It goes to nobody who was not dealt the key before it. A commit that is refused lies
//! in no store, but whoever saw it on its way has it, and its key reaches all that lived: whoever
//! may hold a share of it has to be one that every list which knows the key before asks for its
//! word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ask::Circle;
use super::order::did;
use super::told::later;
use super::{Keyholder, Share};
use crate::cell::Owner;
use crate::error::Result;
use crate::ids::StoreId;

/// Who may be dealt a candidate.
pub(super) struct Entitled {
    /// Places, from 0, of the keyholders that may.
    pub(super) members: BTreeSet<usize>,
    /// Of those that left since the epoch before, the place that each had, and where in the circle
    /// it is. Each may take the share of its place where the one that came takes none.
    pub(super) stand_ins: Vec<(usize, usize)>,
    /// Whether that was seen, for another machine drew the key before.
    pub(super) is_seen: bool,
}

/// How an epoch begins.
pub(super) struct Begun {
    /// Some keyholders are new, and were not tried out yet.
    pub(super) is_first: bool,
    /// The root key before was drawn here, or there is none.
    pub(super) is_ours: bool,
}

impl Entitled {
    /// Places of keyholders that are new: they get their shares once the head is published.
    pub(super) fn new_ones(&self, n: usize) -> BTreeSet<usize> {
        (0..n).filter(|n| !self.members.contains(n)).collect()
    }
}

/// Of all shares those at these places, from 0.
pub(super) fn at(places: &BTreeSet<usize>, all: Vec<Share>) -> BTreeMap<usize, Share> {
    all.into_iter().enumerate().filter(|(n, _)| places.contains(n)).collect()
}

/// Places at which a share was taken.
pub(super) fn taken(answers: &[Result<()>]) -> BTreeSet<usize> {
    (0..answers.len()).filter(|n| answers[*n].is_ok()).collect()
}

/// The shares of a candidate on their way to the members of a circle.
pub(super) struct Dealing<'c> {
    pub(super) circle: &'c Circle,
    pub(super) store: StoreId,
    pub(super) owner: Owner,
    /// One for each place.
    pub(super) shares: Arc<Vec<Share>>,
}

impl Dealing<'_> {
    /// Deals it to the keyholders that may have it; they are waited for until `enough` have taken
    /// it. What came of it at each place.
    pub(super) fn to_members(&self, entitled: &Entitled, enough: usize) -> Vec<Result<()>> {
        let (n, may) = (self.shares.len(), entitled.members.clone());
        let (store, owner, shares) = (self.store, self.owner, Arc::clone(&self.shares));
        let enough = enough.min(may.len());
        let deposit = move |n: usize, member: &dyn Keyholder| match shares.get(n) {
            Some(share) if may.contains(&n) => member.deposit(store, &owner, share),
            Some(_) => Err(later(member)),
            None => Ok(()),
        };
        let mut answers = self.circle.ask(n, did(n, enough), deposit);
        answers.truncate(n);
        answers
    }

    /// Deals the share of each place that took none to the one that left it.
    pub(super) fn to_stand_ins(&self, entitled: &Entitled, answers: &mut [Result<()>]) {
        let is_free = |(place, _): &&(usize, usize)| answers[*place].is_err();
        let free: Vec<(usize, usize)> =
            entitled.stand_ins.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            return;
        }
        let shares = free.iter().map(|(place, index)| (*index, self.shares[*place].duplicate()));
        let asked = self.circle.hand(self.store, self.owner, shares.collect());
        let took = |index: usize| asked.iter().any(|(there, it)| *there == index && it.is_ok());
        for (place, _) in free.iter().filter(|(_, index)| took(*index)) {
            answers[*place] = Ok(());
        }
    }
}
