//! How a candidate is dealt before its head is published.
//!
//! Invariant. It goes to nobody who was not dealt the key before it. A commit that is refused lies
//! in no store, but whoever saw it on its way has it, and its key reaches all that lived: whoever
//! may hold a share of it has to be one that every list which knows the key before asks for its
//! word.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ask::Circle;
use super::order::did;
use super::told::later;
use super::{Keyholder, Share};
use crate::cell::Owner;
use crate::error::Result;
use crate::ids::StoreId;

/// Who may be dealt a candidate.
#[derive(Debug, Default)]
pub(super) struct Entitled {
    /// Places, from 0, of the keyholders that may.
    pub(super) members: BTreeSet<usize>,
    /// Of those that left since the epoch before, the place that each had, and where in the circle
    /// it is. Each may take the share of its place where the one that came takes none.
    pub(super) stand_ins: Vec<(usize, usize)>,
    /// Whether that was seen, for another machine drew the key before.
    pub(super) is_seen: bool,
}

/// A keyholder that left since the epoch before.
pub(super) struct Left {
    /// The place that it had, from 0.
    pub(super) place: usize,
    /// Where in the circle it is.
    pub(super) index: usize,
    /// Whether it counts for the epoch before.
    pub(super) is_entered: bool,
}

/// How an epoch begins.
pub(super) struct Begun {
    /// Some keyholders are new, and were not tried out yet.
    pub(super) is_first: bool,
    /// The root key before was drawn here, or there is none.
    pub(super) is_ours: bool,
}

impl Entitled {
    /// Of the keyholders, each with whether it counts for the epoch before, and of those that left.
    /// `seen`: who holds a key that others drew, by where in the circle they are.
    pub(super) fn of(members: &[bool], left: &[Left], seen: Option<Vec<bool>>) -> Self {
        let may = |index: usize, is_entered: bool| match &seen {
            Some(seen) => seen.get(index).copied().unwrap_or(false),
            None => is_entered,
        };
        let stand_ins = left.iter().filter(|left| may(left.index, left.is_entered));
        Entitled {
            members: (0..members.len()).filter(|n| may(*n, members[*n])).collect(),
            stand_ins: stand_ins.map(|left| (left.place, left.index)).collect(),
            is_seen: seen.is_some(),
        }
    }

    /// Places of keyholders that are new: they get their shares once the head is published.
    pub(super) fn new_ones(&self, n: usize) -> BTreeSet<usize> {
        (0..n).filter(|n| !self.members.contains(n)).collect()
    }
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
        // By where each is in the circle.
        let mut shares: Vec<Share> = self.shares.iter().map(Share::duplicate).collect();
        for index in shares.len()..self.circle.members.len() {
            let place =
                free.iter().find(|(_, there)| *there == index).map_or(0, |(place, _)| *place);
            shares.push(self.shares[place].duplicate());
        }
        let to: BTreeSet<usize> = free.iter().map(|(_, index)| *index).collect();
        let asked = self.circle.hand(self.store, self.owner, &to, Arc::new(shares));
        for (index, answer) in asked {
            let place = free.iter().find(|(_, there)| *there == index).map(|(place, _)| *place);
            if let (Some(place), Ok(())) = (place, answer) {
                answers[place] = Ok(());
            }
        }
    }
}
