//! The cell `quorum`: deposits shares with every keyholder, recovers the key from enough of them,
//! and collects their signed statements that the old one is gone.
//!
//! Invariants. The old key is given up when the next is as safe: no keyholder is told to destroy
//! anything before `threshold` and the margin were seen to hold the key to keep. What was merely
//! seen at a load is never given up: only this engine's own attempts that failed are. A look takes
//! no lock and writes nothing; dealing, claiming and destroying hold the lock of the cell's
//! directory.
//!
//! All that a handle knows stands under one mutex ([`Known`]). It is held while what is kept on
//! this machine is written, so that the ledger and its file change in one order, and never while
//! keyholders are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Circle, GRACE, LOOK};
use super::beyond::Beyond;
use super::brand::{Lists, mark};
use super::config::Rule;
use super::contents::contents;
use super::deposit::{Begun, Dealing, Entitled, at, taken};
use super::known::{ChangeConfig, Known, Local, TakeLock};
use super::ledger::{Gone, Ledger};
use super::order::{RetireOrder, agree, did, same};
use super::shares::{completed, split};
use super::sorted::{Point, Sorted};
use super::standing::Alive;
use super::told::{Else, Told, ended, of_another_store, too_few, without_newcomer};
use super::{Held, Keyholder, Share};
use crate::cell::{Contents, Owner};
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Quorum, RootId, Statement};
use crate::sync::{Mutex, MutexGuard, locked};

/// A root cell that is spread over keyholders.
pub struct QuorumCell {
    /// The keyholders, and after them those that were replaced.
    pub(super) circle: Circle,
    pub(super) quorum: Quorum,
    margin: u8,
    env: SharedEnv,
    change: ChangeConfig,
    take_lock: TakeLock,
    known: Mutex<Known>,
}

impl std::fmt::Debug for QuorumCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuorumCell({} of {})", self.quorum.threshold, self.quorum.keyholders.len())
    }
}

impl QuorumCell {
    /// A cell over a circle: the keyholders, and after them those that the ledger has as replaced.
    pub(super) fn new(circle: Circle, rule: Rule, local: Local, env: SharedEnv) -> Result<Self> {
        let Local { store, ledger, change, take_lock } = local;
        let n = circle.members.len() - ledger.left.len();
        let keyholders = circle.members.iter().take(n).map(|member| member.key()).collect();
        let quorum = Quorum { threshold: rule.threshold, liars: rule.liars, keyholders }.check()?;
        let known = Mutex::new(Known::new(store, ledger));
        Ok(QuorumCell { circle, quorum, margin: rule.margin, env, change, take_lock, known })
    }

    /// A cell over keyholders in this process, asked in turn: for runs that are replayed.
    ///
    /// # Errors
    /// As [`Quorum::check`].
    #[cfg(feature = "testing")]
    pub fn in_process(
        members: Vec<Arc<dyn Keyholder>>,
        rule: impl Into<Rule>,
        store: Option<StoreId>,
        env: SharedEnv,
    ) -> Result<Self> {
        QuorumCell::new(Circle::in_turn(members), rule.into(), Local::unkept(store), env)
    }

    /// The same cell, whose keyholders are asked at the same time, as those of other processes are.
    ///
    /// # Errors
    /// `Io` if the system gives no thread.
    #[cfg(feature = "testing")]
    pub fn at_once(mut self) -> Result<Self> {
        self.circle = Circle::at_once(self.circle.members.clone())?;
        Ok(self)
    }

    /// The rule of this cell: threshold, liars, margin.
    pub fn rule(&self) -> Rule {
        Rule { threshold: self.quorum.threshold, liars: self.quorum.liars, margin: self.margin }
    }

    /// How each keyholder stands towards the root key `live`. A look.
    pub fn standing(&self, live: &RootId) -> Vec<Alive> {
        self.standing_of_all(live).into_iter().take(self.n()).collect()
    }

    /// As [`QuorumCell::standing`], followed by the keyholders that were replaced and have not
    /// signed yet.
    pub fn standing_of_all(&self, live: &RootId) -> Vec<Alive> {
        let Some(store) = self.known().store else {
            return Vec::new();
        };
        let held = self.held(store);
        let sorted = self.sorted(&held);
        let standing = |(n, held): (usize, &Result<Held>)| {
            Alive::of(self.circle.members[n].place(), n, held, &sorted, live)
        };
        held.iter().enumerate().map(standing).collect()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// How many keyholders there are, without those that were replaced.
    pub(super) fn n(&self) -> usize {
        self.quorum.keyholders.len()
    }

    fn t(&self) -> usize {
        usize::from(self.quorum.threshold)
    }

    pub(super) fn f(&self) -> usize {
        usize::from(self.quorum.liars)
    }

    /// How many must take a claim.
    fn most(&self) -> usize {
        self.t().max(self.n() / 2 + 1)
    }

    /// How many must hold the key to keep before another is destroyed.
    pub(super) fn wanted(&self) -> usize {
        (self.t() + usize::from(self.margin)).min(self.n())
    }

    /// Changes the ledger, and writes it if `change` says that it must be kept.
    pub(super) fn record(&self, change: impl FnOnce(&mut Ledger) -> bool) -> Result<()> {
        let ledger = &mut self.known().ledger;
        if change(ledger) {
            (self.change)(&mut |config| ledger.write(config))?;
        }
        Ok(())
    }

    /// The error if fewer than `needed` keyholders did `what`.
    fn too_few<T>(&self, what: &str, answers: &[Result<T>], needed: usize) -> Error {
        let (is_new, has_left) = {
            let ledger = &self.known().ledger;
            (ledger.is_kept && ledger.dealt.is_empty(), !ledger.left.is_empty())
        };
        let may_go = self.most() <= answers.iter().flatten().count() || needed != self.most();
        let other = match may_go {
            _ if is_new => Else::NameOthers,
            true => Else::Replace,
            false => Else::ReadOn,
        };
        too_few(what, answers, needed, &other, has_left)
    }

    /// Has as many keyholders as a claim needs learn an owner and a commit mark.
    pub(super) fn tell_most(
        &self,
        store: StoreId,
        owner: Owner,
        mark: u64,
        what: &str,
    ) -> Result<()> {
        let (n, needed) = (self.n(), self.most());
        let claim = move |_, member: &dyn Keyholder| member.claim(store, &owner, mark);
        let mut answers = self.circle.ask(n, did(n, needed), claim);
        answers.truncate(n);
        if answers.iter().flatten().count() >= needed {
            return Ok(());
        }
        self.check_fenced(&answers)?;
        Err(self.too_few(what, &answers, needed))
    }

    /// Fails if more keyholders than may lie say that another engine owns the store.
    fn check_fenced<T>(&self, answers: &[Result<T>]) -> Result<()> {
        let errors = answers.iter().take(self.n()).filter_map(|answer| answer.as_ref().err());
        errors
            .filter(|e| e.kind() == ErrorKind::Fenced)
            .nth(self.f())
            .map_or(Ok(()), |e| Err(same(e)))
    }

    /// Takes the lock of the cell's directory, which is held from here on, and notes its store.
    pub(super) fn hold(&self, store: StoreId) -> Result<()> {
        let mut known = self.known();
        if known.lock.is_none() {
            known.lock = (self.take_lock)()?;
        }
        match known.store {
            Some(there) if there != store => Err(of_another_store()),
            Some(_) => Ok(()),
            None => {
                (self.change)(&mut |config| config.store = Some(store.to_string()))?;
                known.store = Some(store);
                Ok(())
            }
        }
    }

    pub(super) fn held(&self, store: StoreId) -> Vec<Result<Held>> {
        self.circle.ask(self.n(), |_| false, move |_, member| member.load(store))
    }

    /// As [`QuorumCell::held`]; the others are not waited for long if so many agree that a mark
    /// which enough were told of is told by more of them than may lie.
    pub(super) fn look(&self, store: StoreId) -> Vec<Result<Held>> {
        let n = self.n();
        let needed = self.most().max(self.wanted()).max(n - self.most() + self.f() + 1);
        self.circle.ask_and_wait(n, LOOK, agree(n, needed), move |_, member| member.load(store))
    }

    /// Asks which keyholders hold a root key; not all are waited for if enough do.
    pub(super) fn ask_for(&self, store: StoreId, id: RootId) -> Vec<Result<Held>> {
        self.ask_for_within(GRACE, store, id)
    }

    /// The same; the others are waited for as long as `grace` then.
    pub(super) fn ask_for_within(
        &self,
        grace: Duration,
        store: StoreId,
        id: RootId,
    ) -> Vec<Result<Held>> {
        let (n, wanted) = (self.n(), self.wanted());
        let holds = |held: &&Held| held.shares.iter().any(|s| s.id == id && s.is_proven());
        let spare = self.quorum.needed();
        let enough = |answers: &[Option<Result<Held>>]| {
            let answered = || answers.iter().take(n).flatten().flatten();
            answered().filter(holds).count() >= wanted && answered().count() >= spare
        };
        self.circle.ask_and_wait(n, grace, enough, move |_, member| member.load(store))
    }

    /// As [`QuorumCell::ask_for`], once enough of them know of the claim of this engine; whether
    /// all were told of it right before, so that one that tells of another owner lies.
    pub(super) fn ask_claimed(
        &self,
        store: StoreId,
        id: RootId,
        mark: u64,
    ) -> (Vec<Result<Held>>, bool) {
        let (held, owner) = (self.ask_for(store, id), self.known().owner);
        if Beyond::is_claimed(&held[..self.n()], &owner, self.quorum.needed())
            || self.tell_most(store, owner, mark, "took the claim of this engine").is_err()
        {
            return (held, false);
        }
        (self.ask_for(store, id), true)
    }

    fn sorted<'h>(&self, held: &'h [Result<Held>]) -> Sorted<'h> {
        let here = |x| Point { x, left: None };
        let mut points: Vec<Point> = (1..=self.n() as u8).map(here).collect();
        let from = ended(&held[..self.n()], self.f());
        let left =
            |gone: &Gone| Point { x: gone.x, left: Some(from..gone.until.unwrap_or(u64::MAX)) };
        points.extend(self.known().ledger.left.iter().map(left));
        Sorted::of(held, &points, self.t())
    }

    /// Before a root key is kept: who counts for its epoch, also of those that were replaced and
    /// hand in a share of it.
    pub(super) fn note_holders(&self, keep: &RootId, held: &[Result<Held>]) -> Result<()> {
        let mut left: Vec<[u8; 32]> = Vec::new();
        if held.len() > self.n() {
            let sorted = self.sorted(held);
            let holds = (self.n()..held.len()).filter(|n| sorted.gives[*n].contains(keep));
            left.extend(holds.map(|n| self.circle.members[n].key()));
        }
        self.record(|ledger| {
            let is_dealt = ledger.deal(keep, &self.quorum.keyholders, &left);
            ledger.still_hold(keep, &left) || is_dealt
        })
    }

    /// Who may be dealt a candidate: whoever was dealt the root key that it is to follow. Of one
    /// that another machine drew those that are seen to hold it: `is_ours` says which.
    fn entitled(&self, store: StoreId, id: &RootId, is_ours: bool) -> Entitled {
        let running = self.known().running.filter(|_| !is_ours);
        let seen: Option<BTreeSet<usize>> = running.map(|running| {
            let gives = self.sorted(&self.ask_for(store, running)).gives;
            (0..gives.len()).filter(|n| gives[*n].contains(&running)).collect()
        });
        let known = self.known();
        let may = |index: usize, key: &[u8; 32]| match &seen {
            Some(seen) => seen.contains(&index),
            None => known.ledger.was_entered_before(id.epoch, key),
        };
        let keys = &self.quorum.keyholders;
        let left = known.ledger.just_left(id);
        let left = left.filter(|(n, gone)| may(self.n() + n, &gone.key));
        Entitled {
            members: (0..self.n()).filter(|n| may(*n, &keys[*n])).collect(),
            stand_ins: left.map(|(n, gone)| (usize::from(gone.x) - 1, self.n() + n)).collect(),
            is_seen: seen.is_some(),
        }
    }

    /// Has keyholders that were dealt nothing yet take a share of a key that seals nothing: the one
    /// whose place such a one has may be there, with its share, and the list of before is safer
    /// then.
    fn try_out(
        &self,
        store: StoreId,
        id: &RootId,
        new: &BTreeSet<usize>,
    ) -> Result<Vec<(usize, Result<()>)>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let mut trial = *id;
        self.env.fill(&mut trial.attempt)?;
        // As the candidate does, whose list may be taken back.
        let list = self.known().ledger.list_of(id);
        list.iter().for_each(|list| mark(list, &mut trial));
        self.record(|ledger| ledger.fail(trial))?;
        let key = Key::random(&*self.env)?;
        let shares: Vec<Share> = split(&*self.env, trial, &key, self.t(), self.n())?;
        let owner = self.known().owner;
        Ok(self.circle.hand(store, owner, at(new, shares)))
    }

    /// How many must take a candidate that fewer took than there should be, because some keyholders
    /// are new: as many as may hold the running key, if with those that take their shares
    /// afterwards there are enough. One that is away may be back with its share, unless it was
    /// replaced.
    fn least(
        &self,
        store: StoreId,
        id: &RootId,
        entitled: &Entitled,
        took: &BTreeSet<usize>,
    ) -> Result<usize> {
        let (wanted, new) = (self.wanted(), entitled.new_ones(self.n()));
        let tried = self.try_out(store, id, &new)?.into_iter();
        let ready = tried.filter_map(|(n, answer)| answer.is_ok().then_some(n)).collect();
        if took.union(&ready).count() < wanted {
            return Ok(wanted);
        }
        let hold = took.union(&self.may_hold(store, id, entitled)).count();
        Ok(wanted.min(hold).max(self.t()))
    }

    /// Which keyholders may hold the key that a candidate is to follow: all that count for its
    /// epoch, or, of one that another machine drew, all but those that are seen to lack it.
    fn may_hold(&self, store: StoreId, id: &RootId, entitled: &Entitled) -> BTreeSet<usize> {
        let running = self.known().running.filter(|_| entitled.is_seen);
        if let Some(running) = running {
            let held = self.held(store);
            let sorted = self.sorted(&held);
            let may = |n: &usize| {
                let lies = sorted.liars.contains(n);
                held[*n].is_err() || lies || sorted.gives[*n].contains(&running)
            };
            return (0..self.n()).filter(may).collect();
        }
        let known = self.known();
        let keys = &self.quorum.keyholders;
        (0..self.n()).filter(|n| known.ledger.was_entered_before(id.epoch, &keys[*n])).collect()
    }

    /// Deals a candidate.
    pub(super) fn deal_new(
        &self,
        store: StoreId,
        id: &RootId,
        key: &Key,
        begun: Begun,
    ) -> Result<()> {
        let entitled = self.entitled(store, id, begun.is_ours);
        if begun.is_first {
            let tried = self.try_out(store, id, &entitled.new_ones(self.n()))?;
            let tried: Vec<Result<()>> = tried.into_iter().map(|(_, answer)| answer).collect();
            self.check_fenced(&tried).and_then(|()| without_newcomer(&tried))?;
        }
        let shares = self.shares_of(id, key)?;
        let owner = self.known().owner;
        let dealing = Dealing { circle: &self.circle, store, owner, shares };
        let mut needed = self.wanted();
        let mut answers = dealing.to_members(&entitled, self.quorum.needed().max(needed));
        if taken(&answers).len() < needed && self.check_fenced(&answers).is_ok() {
            dealing.to_stand_ins(&entitled, &mut answers);
            if taken(&answers).len() < needed {
                needed = self.least(store, id, &entitled, &taken(&answers))?;
            }
        }
        let (took, fenced) = (taken(&answers).len(), self.check_fenced(&answers));
        // The head is sealed under this key alone once it is published: a keyholder may be lost
        // from then on.
        if took < needed || fenced.is_err() {
            let few = self.too_few("took their share of the new root key", &answers, needed);
            return fenced.and(Err(few.context("nothing was changed")));
        }
        let mut known = self.known();
        (known.short, known.waits) = (took < self.n(), false);
        Ok(())
    }

    /// Deals the running root key to keyholders that answer and lack their share of it, if it was
    /// drawn for them: a machine with the list of before a replacement does not ask the new one
    /// for its word. Returns how many hold theirs now.
    pub(super) fn deal(
        &self,
        store: StoreId,
        keep: &RootId,
        held: &[Result<Held>],
    ) -> Result<usize> {
        let sorted = self.sorted(held);
        let n = self.n();
        let mut holders: BTreeSet<usize> =
            (0..n).filter(|n| sorted.holds[*n].contains(keep)).collect();
        // One that has something else under this name keeps it, and would say that it holds the
        // share.
        let lacks = |held: &Held| {
            held.committed <= keep.epoch && !held.shares.iter().any(|share| share.id == *keep)
        };
        let lacking: BTreeSet<usize> =
            (0..n).filter(|n| held[*n].as_ref().is_ok_and(lacks)).collect();
        let set = sorted.keys.iter().find(|(key, _)| key.id == *keep).map(|(_, set)| set);
        let is_theirs = Lists::of(&self.known().ledger, &self.quorum).drew(keep);
        let set = set.filter(|_| is_theirs && !lacking.is_empty());
        let set = set.and_then(|set| completed(set, n));
        // One that has the share of another place keeps it, and is dealt its own of the next key.
        let elsewhere =
            |n: usize| sorted.gives[n].contains(keep) && !sorted.holds[n].contains(keep);
        let elsewhere = (0..n).any(elsewhere);
        // One that cannot take its share would not take one of the next key either.
        let waits = elsewhere || !lacking.is_empty() && set.is_none();
        if let Some(shares) = set {
            let keys: Vec<[u8; 32]> = lacking.iter().map(|n| self.quorum.keyholders[*n]).collect();
            // Before the share: it counts for this epoch from then on.
            self.record(|ledger| ledger.deal(keep, &self.quorum.keyholders, &keys))?;
            let owner = self.known().owner;
            let asked = self.circle.hand(store, owner, at(&lacking, shares));
            holders.extend(asked.iter().filter(|(_, answer)| answer.is_ok()).map(|(n, _)| *n));
            self.check_fenced(&asked.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>())?;
        }
        let short = |n: usize| held[n].is_err() || lacking.contains(&n) && !holders.contains(&n);
        let mut known = self.known();
        known.short = elsewhere || (0..n).any(short);
        known.waits = waits;
        Ok(holders.len())
    }

    /// Whether no root key later than the one that is kept is somebody's.
    pub(super) fn is_last(&self, beyond: &Beyond) -> Result<bool> {
        let is_last = beyond.is_none(self.quorum.needed(), self.f());
        self.known().is_behind = !is_last && beyond.is_told(self.f());
        if !is_last {
            self.record(Ledger::put_off)?;
        }
        Ok(is_last)
    }

    /// Before a root key is deposited once more that an earlier process tried, as that of an init
    /// that was cut short: what some have of it and what the others are dealt must fit together.
    ///
    /// # Errors
    /// `Io` if too few of those that have some of it answer.
    pub(super) fn deal_again(&self, store: StoreId, id: &RootId) -> Result<()> {
        let is_tried = {
            let known = self.known();
            let is_here = known.dealt.as_ref().is_some_and(|(there, _)| there == id);
            let ledger = &known.ledger;
            !is_here && (ledger.list_of(id).is_some() || ledger.tried().contains(id))
        };
        if !is_tried {
            return Ok(());
        }
        let held = self.ask_for(store, *id);
        let sorted = self.sorted(&held);
        let set = sorted.keys.iter().find(|(key, _)| key.id == *id).map(|(_, set)| set);
        if let Some(shares) = set.and_then(|set| completed(set, self.n())) {
            self.known().dealt = Some((*id, Arc::new(shares)));
            return Ok(());
        }
        let may_have = |held: &&Result<Held>| {
            held.as_ref().map_or(true, |held| held.shares.iter().any(|share| share.id == *id))
        };
        let those = held.iter().take(self.n()).filter(may_have);
        let those: Vec<Result<()>> =
            those.map(|held| held.as_ref().map(drop).map_err(same)).collect();
        if those.iter().all(Result::is_err) {
            return Ok(());
        }
        Err(self.too_few("give the root key that an earlier try dealt", &those, self.t()))
    }

    fn shares_of(&self, id: &RootId, key: &Key) -> Result<Arc<Vec<Share>>> {
        let there = |known: &Known| {
            known.dealt.as_ref().filter(|(there, _)| there == id).map(|(_, s)| Arc::clone(s))
        };
        if let Some(shares) = there(&self.known()) {
            return Ok(shares);
        }
        let fresh = Arc::new(split(&*self.env, *id, key, self.t(), self.n())?);
        let mut known = self.known();
        Ok(there(&known).unwrap_or_else(|| {
            known.dealt = Some((*id, Arc::clone(&fresh)));
            fresh
        }))
    }

    /// Asks every member to destroy what `keep` replaces, and returns the statements that count.
    pub(super) fn ask_to_retire(
        &self,
        order: RetireOrder,
        needed: usize,
    ) -> Result<Vec<Statement>> {
        let all = did(self.circle.members.len(), needed);
        let answers = self.circle.ask(self.n(), all, move |_, member| order.give(member));
        self.check_fenced(&answers)?;
        if answers.iter().all(Result::is_err) {
            return Err(self
                .too_few("say that the old root key is gone", &answers, needed)
                .context("the new epoch is published, and older root keys are not destroyed yet"));
        }
        let said = answers.into_iter().flatten().map(|said| (said.keyholder, said));
        Ok(said.collect::<BTreeMap<[u8; 32], Statement>>().into_values().collect())
    }

    /// What keyholders told, taken together.
    pub(super) fn contents(&self, store: StoreId, held: &[Result<Held>]) -> Result<Contents> {
        // A replaced keyholder has no say in which engine owns the store.
        let told = Told::by(&held[..self.n()], self.most(), self.f());
        let place = |n: usize| self.circle.members[n].place();
        let is_kept = self.known().ledger.kept.is_some();
        contents(store, held, told, self.sorted(held), self.t(), is_kept, &place)
    }
}
