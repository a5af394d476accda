//! By which list of keyholders a root key is dealt can be told from its attempt, by whoever knows
//! that list. So a machine whose list is older by epochs alone goes on, and one whose list lacks
//! somebody is found out.
//!
//! Invariant. A key that bears the brand of what is kept here was drawn by an engine that knew of
//! the same keyholders, and of the same epochs as not known to be gone: every share of an epoch
//! before it that may be left is with one that is named here. It had the same of those that left
//! count for the epoch of that key, or none.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Held;
use super::config::{Config, Drawn, Member, Signer};
use super::ledger::{Entry, Ledger, OVER_MAX};
use crate::error::Result;
use crate::promise::{Quorum, RootId};

const LIST: &[u8] = b"keyfall/keyholders/v1\0";
const AND_LEFT: &[u8] = b"keyfall/keyholders-and-left/v1\0";
const BRAND: &[u8] = b"keyfall/dealt-by/v1\0";
/// Bytes of an attempt that are drawn: the others are the brand.
const DRAWN: usize = 8;

/// The lists that a brand may stand for, from what is kept here about who was dealt shares. Each is
/// that for a root key of one epoch: of those that left some may count for one epoch and not for
/// the next.
#[derive(Clone, Copy)]
pub(super) struct Lists<'l> {
    ledger: &'l Ledger,
    quorum: &'l Quorum,
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

impl<'l> Lists<'l> {
    pub(super) fn of(ledger: &'l Ledger, quorum: &'l Quorum) -> Self {
        Lists { ledger, quorum }
    }

    /// Has an attempt bear the brand of this list.
    pub(super) fn brand(&self, id: &mut RootId) {
        mark(&self.now(id.epoch), id);
    }

    /// The list as it is kept: what the brand of a root key that is drawn now is made of.
    pub(super) fn now(&self, epoch: u64) -> [u8; 32] {
        self.as_it_is(&self.ledger.counts_for(epoch))
    }

    fn as_it_is(&self, left: &BTreeSet<Signer>) -> [u8; 32] {
        let all: Vec<&Entry> = self.ledger.dealt.iter().collect();
        digest(self.quorum, &all, self.ledger.unnamed, left)
    }

    /// As it is kept where other epochs before the present list's first are known to be gone than
    /// here. Where more of them are, what is kept here asks more keyholders; where fewer are, more
    /// were asked there. And as it is where none that left counts for the epoch: here they count
    /// for that, too.
    fn settled(&self, epoch: u64) -> Vec<[u8; 32]> {
        let counting = self.ledger.counts_for(epoch);
        let (is_one, nobody) = (!counting.is_empty(), BTreeSet::new());
        let digests = |entries: Vec<&Entry>| {
            let with = |left| digest(self.quorum, &entries, None, left);
            std::iter::once(with(&counting)).chain(is_one.then(|| with(&nobody))).collect()
        };
        let mut lists: Vec<[u8; 32]> =
            self.choices().into_iter().flat_map(|it| -> Vec<[u8; 32]> { digests(it) }).collect();
        lists.extend(is_one.then(|| self.as_it_is(&nobody)));
        lists
    }

    /// The list as it is kept, and each that differs from it and is known here all the same.
    fn known(&self, epoch: u64) -> Vec<[u8; 32]> {
        [vec![self.now(epoch)], self.settled(epoch)].concat()
    }

    /// The first of these by which a root key was drawn; or, of an epoch that was tried here in
    /// vain, of these with that epoch entered: whoever saw its shares entered it there.
    fn drawn_by(&self, id: &RootId) -> Option<[u8; 32]> {
        let first = |lists: Vec<[u8; 32]>| lists.into_iter().find(|list| bears(list, id));
        first(self.known(id.epoch)).or_else(|| {
            let entered = self.ledger.with_tried(id.epoch, &self.quorum.keyholders)?;
            first(Lists::of(&entered, self.quorum).known(id.epoch))
        })
    }

    /// The last entry with each choice of those that are over, by its bits.
    fn choices(&self) -> Vec<Vec<&'l Entry>> {
        let members: BTreeSet<Signer> = self.quorum.keyholders.iter().copied().collect();
        let whole = |last: &Entry| last.until.is_none() && last.keys.is_superset(&members);
        let Some((last, over)) = self.ledger.dealt.split_last() else { return Vec::new() };
        if !whole(last) || over.len() > OVER_MAX {
            return Vec::new();
        }
        let gone = self.ledger.gone.iter().rev().take(OVER_MAX - over.len());
        let mut over: Vec<&Entry> = over.iter().chain(gone).collect();
        over.sort_by_key(|entry| entry.from);
        let chosen = |bits: usize| {
            let there = over.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
            there.map(|(_, entry)| *entry).chain([last]).collect()
        };
        (0..1 << over.len()).map(chosen).collect()
    }

    /// As it was kept before its last entry was made: before anything was dealt, or when the epoch
    /// of that entry was drawn.
    fn first(&self) -> [[u8; 32]; 2] {
        let before = digest(self.quorum, &[], None, &BTreeSet::new());
        [before, drawn_last(self.ledger, self.quorum)]
    }

    /// Whether a root key was drawn here, by its attempt.
    fn is_own(&self, id: &RootId) -> bool {
        let Ledger { drawn, kept, .. } = self.ledger;
        drawn.iter().any(|(_, own)| own == id)
            || *kept == Some(*id)
            || self.ledger.tried().contains(id)
    }

    /// A root key that was drawn elsewhere, by the list that is kept here or one that differs in
    /// what is gone, and that list: of `live`, and of those of the epoch after it that more members
    /// tell of than may lie.
    pub(super) fn begun_elsewhere(
        &self,
        live: &RootId,
        told: &[Tells],
        liars: usize,
    ) -> Option<([u8; 32], RootId)> {
        let is_next = |id: &&RootId| Some(id.epoch) == live.epoch.checked_add(1);
        let tell = |id: &RootId| told.iter().filter(|tells| tells.shares.contains(id)).count();
        let all = told.iter().flat_map(|tells| &tells.shares);
        let next = all.filter(is_next).filter(|id| tell(id) > liars);
        let mut ids = std::iter::once(live).chain(next);
        let drawn = ids.find_map(|id| Some((self.drawn_by(id)?, *id)));
        drawn.filter(|(_, id)| self.ledger.is_kept && !self.is_own(id))
    }

    /// Whether a root key was drawn for the keyholders that are named here, and no others: of each
    /// of them all that know the key know that it may hold a share.
    pub(super) fn drew(&self, id: &RootId) -> bool {
        self.ledger.deals_to_all
            || !self.ledger.is_kept
            || self.drawn_by(id).is_some()
            || self.first().iter().any(|list| bears(list, id))
    }

    /// Whether all that may hold shares of a root key are kept here: it was kept or drawn here, or
    /// by an engine that knew of the same.
    fn know(&self, id: &RootId) -> bool {
        let before = |(list, last): &([u8; 32], RootId)| id.epoch <= last.epoch && bears(list, id);
        id.epoch <= self.ledger.told_up_to()
            || self.is_own(id)
            || self.drawn_by(id).is_some()
            || self.ledger.drawn.iter().any(before)
    }

    /// The same of a root key that no head bears, which another engine may have tried by a list of
    /// before a replacement made here.
    fn know_attempt(&self, id: &RootId) -> bool {
        self.know(id) || self.ledger.drawn.iter().any(|(list, _)| bears(list, id))
    }

    /// The last epoch whose shares may be with others than are named here, if there is one. `live`
    /// is the root key of the head: who drew it knew of all that were not gone then. Of later
    /// epochs that counts which more members tell of than may lie: their engines may have dealt
    /// shares of this one to others, too. `takes_over`: the head of another copy of the store may
    /// bear what passes for an attempt otherwise.
    pub(super) fn unknown(
        &self,
        live: &RootId,
        told: &[Tells],
        liars: usize,
        takes_over: bool,
    ) -> Option<u64> {
        if !self.ledger.is_kept {
            return None;
        }
        let know = |id: &RootId| self.know(id) || !takes_over && self.know_attempt(id);
        let strange = |tells: &Tells| {
            let unknown = tells.shares.iter().filter(|id| !know(id));
            // Whoever ended an epoch has of it the share that it was told to keep, and no other.
            let unknown = unknown.map(|id| id.epoch);
            let is_kept = |id: &&RootId| id.epoch == tells.ended && self.know(id);
            let ended = tells.shares.iter().find(is_kept).is_none().then_some(tells.ended);
            let beyond = |epoch: &u64| *epoch > live.epoch.max(self.ledger.told_up_to());
            unknown.chain(ended).filter(beyond).max().unwrap_or_default()
        };
        let mut told: Vec<u64> = told.iter().map(strange).collect();
        told.sort_unstable();
        let later = told.iter().rev().nth(liars).copied().filter(|epoch| *epoch > 0);
        later.or_else(|| (!self.know(live)).then_some(live.epoch))
    }
}

/// Has what is kept know attempts by the list as it is, once that is changed.
pub(super) fn note_list(config: &mut Config) -> Result<()> {
    let keyholders = config.keyholders.iter().map(Member::signer).collect::<Result<_>>()?;
    let (threshold, liars) = (config.threshold, config.liars);
    let quorum = Quorum { threshold, liars, keyholders };
    let ledger = Ledger::read(config)?;
    let next = ledger.kept.map_or(0, |kept| kept.epoch) + 1;
    let lists = Lists::of(&ledger, &quorum);
    for list in lists.known(next) {
        let drawn = Drawn::by_a_list_of_before(&list);
        if !config.drawn.contains(&drawn) {
            config.drawn.push(drawn);
        }
    }
    Ok(())
}

/// A list as it was when the first key of its last entry was drawn.
fn drawn_last(ledger: &Ledger, quorum: &Quorum) -> [u8; 32] {
    let mut before: Vec<Entry> = ledger.dealt.clone();
    let last = before.pop();
    if let (Some(last), Some(one_before)) = (last, before.last_mut())
        && one_before.until == Some(last.from)
    {
        one_before.until = None;
    }
    let left = ledger.dealt.last().map(|last| ledger.counted_for(last.from)).unwrap_or_default();
    digest(quorum, &before.iter().collect::<Vec<_>>(), ledger.unnamed, &left)
}

/// `left`: those that left and count for the epoch.
fn digest(
    quorum: &Quorum,
    entries: &[&Entry],
    unnamed: Option<u64>,
    left: &BTreeSet<Signer>,
) -> [u8; 32] {
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
    let list: [u8; 32] = hash.finalize().into();
    if left.is_empty() {
        return list;
    }
    let mut hash = Sha256::new();
    hash.update(AND_LEFT);
    hash.update(list);
    left.iter().for_each(|key| hash.update(key));
    hash.finalize().into()
}

/// Has an attempt bear the brand of a list.
pub(super) fn mark(list: &[u8; 32], id: &mut RootId) {
    let brand = brand(list, id);
    id.attempt[DRAWN..].copy_from_slice(&brand);
}

fn bears(list: &[u8; 32], id: &RootId) -> bool {
    brand(list, id) == id.attempt[DRAWN..]
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

#[cfg(test)]
mod tests {
    use super::super::ledger::Gone;
    use super::*;

    fn quorum(keys: &[u8]) -> Quorum {
        let keyholders = keys.iter().map(|n| [*n; 32]).collect();
        Quorum { threshold: 2, liars: 0, keyholders }
    }

    fn entry(from: u64, until: Option<u64>, keys: &[u8]) -> Entry {
        Entry { from, until, keys: keys.iter().map(|n| [*n; 32]).collect() }
    }

    fn ledger(dealt: Vec<Entry>) -> Ledger {
        let mut ledger = Ledger::default();
        (ledger.is_kept, ledger.dealt) = (true, dealt);
        ledger
    }

    fn drawn(ledger: &Ledger, quorum: &Quorum, epoch: u64) -> RootId {
        let mut id = RootId { epoch, attempt: [epoch as u8; 16] };
        Lists::of(ledger, quorum).brand(&mut id);
        id
    }

    /// Two places of a store count the same epochs: that this one kept one of that number says
    /// nothing of the other's.
    #[test]
    fn what_was_kept_is_known_by_its_attempt() {
        let (here, there) = (quorum(&[1, 2, 3]), quorum(&[4, 2, 3]));
        let mut ours = ledger(vec![entry(1, None, &[1, 2, 3])]);
        let theirs = ledger(vec![entry(1, Some(3), &[1, 2, 3, 4]), entry(3, None, &[2, 3, 4])]);
        let (kept, other) = (drawn(&ours, &here, 3), drawn(&theirs, &there, 3));
        ours.kept = Some(kept);
        let unknown = |live: &RootId| Lists::of(&ours, &here).unknown(live, &[], 0, false);
        assert_eq!((unknown(&kept), unknown(&other)), (None, Some(3)));
    }

    /// What is over is known to be gone on one machine, in any order, and not on the other.
    #[test]
    fn a_list_knows_one_that_knows_more_to_be_gone() {
        let now = quorum(&[1, 4, 5]);
        let all = || {
            [
                entry(1, Some(2), &[1, 2, 3, 4]),
                entry(2, Some(3), &[1, 2, 4, 5]),
                entry(3, None, &[1, 4, 5]),
            ]
        };
        let ours = ledger(all().into());
        for gone in [&[0][..], &[1], &[0, 1]] {
            let kept = all().into_iter().enumerate().filter(|(n, _)| !gone.contains(n));
            let id = drawn(&ledger(kept.map(|(_, entry)| entry).collect()), &now, 4);
            assert_eq!(Lists::of(&ours, &now).unknown(&id, &[], 0, false), None, "{gone:?}");
        }
        let later = ledger(vec![entry(4, None, &[1, 4, 6])]);
        let id = drawn(&later, &quorum(&[1, 4, 6]), 4);
        assert_eq!(Lists::of(&ours, &now).unknown(&id, &[], 0, false), Some(4));
    }

    /// In the midst of a replacement the last entry has the one that left as well.
    #[test]
    fn a_list_in_the_midst_of_a_replacement_knows_one_that_knows_more_to_be_gone() {
        let now = quorum(&[1, 2, 4]);
        let last = || entry(2, None, &[1, 2, 3, 4]);
        let (ours, theirs) =
            (ledger(vec![entry(1, Some(2), &[1, 2, 3]), last()]), ledger(vec![last()]));
        let id = drawn(&theirs, &now, 3);
        assert_eq!(Lists::of(&ours, &now).unknown(&id, &[], 0, false), None);
        let mut ours = ledger(vec![last()]);
        ours.gone.push(entry(1, Some(2), &[1, 2, 3]));
        let theirs = ledger(vec![entry(1, Some(2), &[1, 2, 3]), last()]);
        let id = drawn(&theirs, &now, 3);
        assert_eq!(Lists::of(&ours, &now).unknown(&id, &[], 0, false), None);
    }

    /// Two files may differ in that alone. Where one that left counts for the next epoch, a key is
    /// known that was drawn where it does not; the other way round nobody would ask for its word.
    #[test]
    fn a_list_says_who_left_and_counts_for_the_next_epoch() {
        let now = quorum(&[1, 2, 4]);
        let gone = |until| Gone { key: [3; 32], x: 3, until, done: false };
        let there = |until| {
            let mut there =
                ledger(vec![entry(1, Some(2), &[1, 2, 3]), entry(2, None, &[1, 2, 3, 4])]);
            there.left.push(gone(until));
            there
        };
        let (counts, tried, counts_not) = (there(None), there(Some(4)), there(Some(3)));
        let unknown = |ours: &Ledger, theirs: &Ledger| {
            Lists::of(ours, &now).unknown(&drawn(theirs, &now, 3), &[], 0, false)
        };
        assert_eq!(unknown(&counts, &counts), None);
        assert_eq!((unknown(&counts, &tried), unknown(&tried, &counts)), (None, None));
        assert_eq!(unknown(&counts_not, &tried), Some(3));
        assert_eq!(unknown(&counts, &counts_not), None);
        assert_eq!(unknown(&counts_not, &counts), Some(3));
    }

    /// An attempt by a list of before shows no list that is newer; a head that bears it does.
    #[test]
    fn a_list_of_before_is_known_by_attempts_alone() {
        let (before, now) = (quorum(&[1, 2, 3]), quorum(&[1, 2, 4]));
        let mut ours = ledger(vec![entry(1, None, &[1, 2, 3])]);
        let list = Lists::of(&ours, &before).now(3);
        let (live, tried) = (drawn(&ours, &before, 2), drawn(&ours, &before, 3));
        ours.kept = Some(live);
        let told = || vec![Tells { shares: vec![live, tried], ended: 2 }];
        assert_eq!(Lists::of(&ours, &now).unknown(&live, &told(), 0, false), Some(3));
        ours.drawn.push((list, RootId { epoch: 0, attempt: [0; 16] }));
        assert_eq!(Lists::of(&ours, &now).unknown(&live, &told(), 0, false), None);
        assert_eq!(Lists::of(&ours, &now).unknown(&tried, &told(), 0, false), Some(3));
    }
}
