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
use super::sorted::Sorted;
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
        }
    }

    /// Has an attempt bear the brand of this list.
    pub(super) fn brand(&self, id: &mut RootId) {
        let brand = brand(&self.now, id);
        id.attempt[DRAWN..].copy_from_slice(&brand);
    }

    /// Whether a root key was drawn by an engine that knew of the same.
    fn know(&self, id: &RootId) -> bool {
        let bears = |list: &[u8; 32]| brand(list, id) == id.attempt[DRAWN..];
        bears(&self.now) || self.settled.as_ref().is_some_and(bears)
    }

    /// The last epoch that more members tell of than may lie, and whose shares may be with others
    /// than are named here; 0 if there is none.
    pub(super) fn unknown(
        &self,
        members: &[Result<Held>],
        sorted: &Sorted<'_>,
        liars: usize,
    ) -> u64 {
        let known = sorted.keys.iter().map(|(key, _)| key.id).filter(|id| self.know(id));
        // Whoever drew that key knew of all that were not gone then.
        let covered = known.map(|id| id.epoch).max().unwrap_or_default();
        let strange = |held: &Held| {
            let ids = held.shares.iter().map(|share| share.id).filter(|id| !self.know(id));
            let epochs = ids.map(|id| id.epoch).chain([held.committed]);
            epochs.filter(|epoch| *epoch > covered).max().unwrap_or_default()
        };
        let mut told: Vec<u64> = members.iter().flatten().map(strange).collect();
        told.sort_unstable();
        told.iter().rev().nth(liars).copied().unwrap_or_default()
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
