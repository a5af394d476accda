//! By which list of keyholders a root key is dealt can be told from its attempt, by whoever knows
//! that list. So a machine whose list is older by epochs alone goes on, and one whose list lacks
//! somebody is found out.
//!
//! Invariant. A key that bears the brand of what is kept here was drawn by an engine that knew of
//! the same keyholders, and of the same epochs as not known to be gone: every share of an epoch
//! before it that may be left is with one that is named here.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Held;
use super::config::{Entry, Ledger};
use crate::error::Result;
use crate::promise::{Quorum, RootId};

const LIST: &[u8] = b"keyfall/keyholders/v1\0";
const BRAND: &[u8] = b"keyfall/dealt-by/v1\0";
/// Bytes of an attempt that are drawn: the others are the brand.
const DRAWN: usize = 8;

/// The lists that a brand may stand for, from what is kept here about who was dealt shares.
pub(super) struct Lists {
    /// As it is kept.
    now: [u8; 32],
    /// As it is kept where every epoch before the present list's first is known to be gone: what
    /// is kept here knows less of what is gone, and asks more of them.
    settled: Option<[u8; 32]>,
    /// As it was kept when root keys were drawn here that are not kept yet, and the last epoch of
    /// these: who was dealt shares of them is kept here since.
    before: Vec<([u8; 32], u64)>,
    /// Root keys that were drawn here, by their attempts.
    own: BTreeSet<RootId>,
    /// The epoch up to which what is kept here tells who may hold shares.
    told_up_to: Option<u64>,
}

/// What a member tells of root keys.
pub(super) struct Tells {
    /// Root keys of which it holds shares.
    shares: Vec<RootId>,
    /// The last epoch that it ended.
    ended: u64,
}

impl Tells {
    /// What those tell that answered.
    pub(super) fn by(members: &[Result<Held>]) -> Vec<Self> {
        let tells = |held: &Held| Tells {
            shares: held.shares.iter().map(|share| share.id).collect(),
            ended: held.committed,
        };
        members.iter().flatten().map(tells).collect()
    }
}

impl Lists {
    pub(super) fn of(ledger: &Ledger, quorum: &Quorum) -> Self {
        let all: Vec<&Entry> = ledger.dealt.iter().collect();
        let members: BTreeSet<[u8; 32]> = quorum.keyholders.iter().copied().collect();
        let last =
            all.last().filter(|entry| entry.until.is_none() && entry.keys == members).copied();
        Lists {
            now: digest(quorum, &all, ledger.unnamed),
            settled: last.map(|last| digest(quorum, &[last], None)),
            before: ledger.drawn.iter().map(|(list, id)| (*list, id.epoch)).collect(),
            own: ledger.drawn.iter().map(|(_, id)| *id).chain(ledger.tried()).collect(),
            told_up_to: ledger.told_up_to(),
        }
    }

    /// Has an attempt bear the brand of this list.
    pub(super) fn brand(&self, id: &mut RootId) {
        let brand = brand(&self.now, id);
        id.attempt[DRAWN..].copy_from_slice(&brand);
    }

    /// What the brand of a root key that is drawn now is made of.
    pub(super) fn now(&self) -> [u8; 32] {
        self.now
    }

    /// Whether all that may hold shares of a root key are kept here: it was kept or drawn here, or
    /// by an engine that knew of the same.
    fn know(&self, id: &RootId) -> bool {
        let bears = |list: &[u8; 32]| brand(list, id) == id.attempt[DRAWN..];
        self.told_up_to.is_none_or(|epoch| id.epoch <= epoch)
            || self.own.contains(id)
            || bears(&self.now)
            || self.settled.as_ref().is_some_and(bears)
            || self.before.iter().any(|(list, last)| id.epoch <= *last && bears(list))
    }

    /// The last epoch whose shares may be with others than are named here, if there is one. `live`
    /// is the root key of the head: who drew it knew of all that were not gone then. Of later
    /// epochs that counts which more members tell of than may lie: their engines may have dealt
    /// shares of this one to others, too.
    pub(super) fn unknown(&self, live: &RootId, told: &[Tells], liars: usize) -> Option<u64> {
        let told_up_to = self.told_up_to?;
        let strange = |tells: &Tells| {
            let ids = tells.shares.iter().filter(|id| !self.know(id));
            let epochs = ids.map(|id| id.epoch).chain([tells.ended]);
            let beyond = |epoch: &u64| *epoch > live.epoch.max(told_up_to);
            epochs.filter(beyond).max().unwrap_or_default()
        };
        let mut told: Vec<u64> = told.iter().map(strange).collect();
        told.sort_unstable();
        let later = told.iter().rev().nth(liars).copied().filter(|epoch| *epoch > 0);
        later.or_else(|| (!self.know(live)).then_some(live.epoch))
    }
}

fn digest(quorum: &Quorum, entries: &[&Entry], unnamed: Option<u64>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(LIST);
    hash.update([quorum.threshold, quorum.liars, quorum.keyholders.len() as u8]);
    quorum.keyholders.iter().for_each(|key| hash.update(key));
    hash.update(unnamed.unwrap_or_default().to_be_bytes());
    for entry in entries {
        hash.update(entry.from.to_be_bytes());
        hash.update(entry.until.unwrap_or(u64::MAX).to_be_bytes());
        hash.update((entry.keys.len() as u64).to_be_bytes());
        entry.keys.iter().for_each(|key| hash.update(key));
    }
    hash.finalize().into()
}

fn brand(list: &[u8; 32], id: &RootId) -> [u8; DRAWN] {
    let mut hash = Sha256::new();
    hash.update(BRAND);
    hash.update(list);
    hash.update(id.epoch.to_be_bytes());
    hash.update(&id.attempt[..DRAWN]);
    let hash: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|n| hash[n])
}
