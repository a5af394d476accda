//! The cell `quorum`: deposits shares with every keyholder, gets the key back from enough of them, and collects their word that the old
//! one is gone.
//!
//! Invariants. The old key is given up when the next is as safe: nobody is told to destroy anything before `threshold` and the margin were
//! seen to hold the key to keep. What was merely seen at a load is never given up: only this engine's own attempts that failed are. A look
//! takes no lock and writes nothing; who deals, claims or destroys holds the lock of the cell's directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ask::Circle;
use super::config::{Config, Ledger, Rule};
use super::shares::{agreed, completed, split};
use super::told::{Told, came_back_older};
use super::{Held, Keyholder, Share};
use crate::cell::{
    Awaited, Contents, Dealt, Durable, Level, Owner, Promise, Quorum, Retirement, RootCell, RootId, RootKey, Statement,
};
use crate::crypto::Key;
use crate::dir::DirLock;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::sync::{Mutex, locked};

/// Of a cell that nobody claimed.
const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

/// Changes what is kept on this machine, durably.
pub(super) type Change = Box<dyn Fn(&mut dyn FnMut(&mut Config)) -> Result<()> + Send + Sync>;
/// Takes the lock of the cell's directory, if it has one.
pub(super) type TakeLock = Box<dyn Fn() -> Result<Option<DirLock>> + Send + Sync>;

/// How a keyholder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds its share of the root key, and nothing else.
    Whole,
    /// It holds no share of the root key: it was away, or is new. It is dealt one when the engine asks it next.
    Lacks,
    /// It holds a share of a newer root key: of an attempt that failed or is under way, or the store is older than it.
    Ahead,
    /// It holds older shares too, or only such: it was away when they were to be destroyed, or was restored from a backup of itself.
    Behind,
    /// Its share is wrong.
    Lies,
    /// It answers, and turns this engine away.
    Refuses(String),
    /// It does not answer, or with an error.
    Away(String),
}

/// A keyholder's standing, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Where it is.
    pub place: String,
    /// How it stands.
    pub standing: Standing,
    /// Whether it holds its share of the root key, whatever else it holds.
    pub holds: bool,
    /// The last epoch that it has ended.
    pub committed: u64,
}

/// A root cell that is spread over keyholders.
pub struct QuorumCell {
    /// The keyholders, and behind them those that were replaced.
    circle: Circle,
    quorum: Quorum,
    margin: u8,
    env: SharedEnv,
    store: Mutex<Option<StoreId>>,
    ledger: Mutex<Ledger>,
    change: Change,
    take_lock: TakeLock,
    /// Held from the first verb on that changes something.
    lock: Mutex<Option<DirLock>>,
    /// Whom this handle acts for.
    owner: Mutex<Owner>,
    /// The root key that was kept last, by this handle.
    running: Mutex<Option<RootId>>,
    /// What was dealt last: the same again where it is asked for twice, for shares of two polynomials do not fit together.
    last: Mutex<Option<(RootId, Arc<Vec<Share>>)>>,
    /// Whether a keyholder has no share of the root key.
    short: AtomicBool,
    /// Whether all were there when they were asked last.
    whole: AtomicBool,
    /// The epoch that keyholders told of, where what is kept here knows of none so late.
    newer: Mutex<Option<u64>>,
    /// Whether the store is taken over.
    takes_over: AtomicBool,
}

impl std::fmt::Debug for QuorumCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuorumCell({} of {})", self.quorum.threshold, self.quorum.keyholders.len())
    }
}

/// What keyholders handed in, sorted out.
struct Sorted<'h> {
    /// The keys that enough shares give, each with shares that do.
    keys: Vec<(RootKey, Vec<&'h Share>)>,
    /// For each member of the circle the root keys of which it holds the right share.
    holds: Vec<BTreeSet<RootId>>,
    /// Members whose shares are not what was dealt to them.
    liars: BTreeSet<usize>,
}

impl QuorumCell {
    /// `circle` is the keyholders, and behind them those that the ledger has as replaced.
    pub(super) fn new(
        circle: Circle,
        rule: Rule,
        (store, ledger): (Option<StoreId>, Ledger),
        (change, take_lock): (Change, TakeLock),
        env: SharedEnv,
    ) -> Result<Self> {
        let n = circle.members.len() - ledger.left.len();
        let keyholders = circle.members.iter().take(n).map(|member| member.key()).collect();
        let quorum = Quorum { threshold: rule.threshold, liars: rule.liars, keyholders }.check()?;
        Ok(QuorumCell {
            circle,
            quorum,
            margin: rule.margin,
            env,
            store: Mutex::new(store),
            ledger: Mutex::new(ledger),
            change,
            take_lock,
            lock: Mutex::default(),
            owner: Mutex::new(NOBODY),
            running: Mutex::default(),
            last: Mutex::default(),
            short: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            newer: Mutex::default(),
            takes_over: AtomicBool::new(false),
        })
    }

    /// How many keyholders there are, without those that were replaced.
    fn n(&self) -> usize {
        self.quorum.keyholders.len()
    }

    fn t(&self) -> usize {
        usize::from(self.quorum.threshold)
    }

    fn f(&self) -> usize {
        usize::from(self.quorum.liars)
    }

    /// How many must take a claim.
    fn most(&self) -> usize {
        self.t().max(self.n() / 2 + 1)
    }

    /// How many must hold the key to keep before another is destroyed.
    fn wanted(&self) -> usize {
        (self.t() + usize::from(self.margin)).min(self.n())
    }

    /// The point of each member of the circle.
    fn points(&self) -> Vec<u8> {
        (1..=self.n() as u8).chain(locked(&self.ledger).left.iter().map(|gone| gone.x)).collect()
    }

    fn few<T>(&self, what: &str, answers: &[Result<T>], needed: usize) -> Error {
        let lost: Vec<String> =
            answers.iter().filter_map(|answer| answer.as_ref().err().map(ToString::to_string)).collect();
        let n = answers.len() - lost.len();
        let left = !locked(&self.ledger).left.is_empty();
        let back =
            if left { ", or put back one that was replaced (`keyfall keyholder status` shows them)" } else { "" };
        Error::new(
            ErrorKind::Io,
            format!(
                "{n} of {} keyholders {what}, {needed} are needed; start the others, or replace what is lost with `keyfall keyholder replace STORE --number N --with KEY@HOST:PORT` while enough are there{back} ({})",
                answers.len(),
                lost.join("; ")
            ),
        )
    }

    /// Another engine owns the store where more say so than may lie.
    fn check_fenced<T>(&self, answers: &[Result<T>]) -> Result<()> {
        let errors = answers.iter().take(self.n()).filter_map(|answer| answer.as_ref().err());
        errors.filter(|e| e.kind() == ErrorKind::Fenced).nth(self.f()).map_or(Ok(()), |e| Err(same(e)))
    }

    /// Has the lock of the cell's directory from here on, and knows its store.
    fn hold(&self, store: StoreId) -> Result<()> {
        let mut lock = locked(&self.lock);
        if lock.is_none() {
            *lock = (self.take_lock)()?;
        }
        let mut there = locked(&self.store);
        match *there {
            Some(known) if known != store => {
                Err(Error::new(ErrorKind::Refused, "this cell belongs to another store; give each store its own"))
            }
            Some(_) => Ok(()),
            None => {
                (self.change)(&mut |config| config.store = Some(store.to_string()))?;
                *there = Some(store);
                Ok(())
            }
        }
    }

    /// Keeps the ledger as it is now.
    fn keep_ledger(&self) -> Result<()> {
        let ledger = locked(&self.ledger);
        (self.change)(&mut |config| ledger.write(config))
    }

    /// Whether what is kept here is what it was; who takes the store over goes on with it all the same, and puts down what it cannot know.
    fn check_kept(&self) -> Result<()> {
        let Some(newer) = *locked(&self.newer) else {
            return Ok(());
        };
        if !self.takes_over.load(Ordering::Acquire) {
            return Err(came_back_older(newer, locked(&self.ledger).highest));
        }
        if locked(&self.ledger).come_back(newer) {
            self.keep_ledger()?;
        }
        Ok(())
    }

    fn owner(&self) -> Owner {
        *locked(&self.owner)
    }

    fn held(&self, store: StoreId) -> Vec<Result<Held>> {
        self.circle.ask(self.n(), |_| false, move |_, member| member.load(store))
    }

    /// Asks who holds a root key; not all are waited for where enough do.
    fn ask_for(&self, store: StoreId, id: RootId) -> Vec<Result<Held>> {
        let (n, wanted) = (self.n(), self.wanted());
        let holds = move |held: &Held| held.shares.iter().any(|share| share.id == id && share.is_proven());
        let enough = |answers: &[Option<Result<Held>>]| {
            answers.iter().take(n).flatten().flatten().filter(|held| holds(held)).count() >= wanted
        };
        self.circle.ask(n, enough, move |_, member| member.load(store))
    }

    /// Each share is looked at by itself: a wrong one spoils no other, and its keyholder is known.
    fn sorted<'h>(&self, held: &'h [Result<Held>]) -> Sorted<'h> {
        let mut by_id: BTreeMap<RootId, Vec<(usize, &Share)>> = BTreeMap::new();
        let mut sorted = Sorted { keys: Vec::new(), holds: vec![BTreeSet::new(); held.len()], liars: BTreeSet::new() };
        for (n, (x, held)) in self.points().into_iter().zip(held).enumerate() {
            for share in held.iter().flat_map(|held| &held.shares) {
                // A share at another's point counts for nothing.
                if share.x == x && share.is_proven() {
                    by_id.entry(share.id).or_default().push((n, share));
                } else {
                    sorted.liars.insert(n);
                }
            }
        }
        for (id, shares) in by_id {
            let all: Vec<&Share> = shares.iter().map(|(_, share)| *share).collect();
            let Some((key, set)) = agreed(&all, self.t()) else { continue };
            let same = |share: &Share| (share.commitment, share.root) == (set[0].commitment, set[0].root);
            for (n, share) in shares {
                if same(share) {
                    sorted.holds[n].insert(id);
                } else {
                    sorted.liars.insert(n);
                }
            }
            sorted.keys.push((RootKey { id, key }, set));
        }
        sorted
    }

    /// Deals the running root key to keyholders that are there and lack their share of it. Gives how many of the others hold theirs now.
    fn deal(&self, store: StoreId, keep: &RootId, held: &[Result<Held>]) -> Result<usize> {
        let sorted = self.sorted(held);
        let n = self.n();
        let mut holders: BTreeSet<usize> = (0..n).filter(|n| sorted.holds[*n].contains(keep)).collect();
        // One that has something else under this name keeps it, and would say that it holds the share.
        let lacks = |held: &Held| held.committed <= keep.epoch && !held.shares.iter().any(|share| share.id == *keep);
        let lacking: BTreeSet<usize> = (0..n).filter(|n| held[*n].as_ref().is_ok_and(lacks)).collect();
        let set = sorted.keys.iter().find(|(key, _)| key.id == *keep).map(|(_, set)| set);
        if let Some(shares) = set.filter(|_| !lacking.is_empty()).and_then(|set| completed(set, n)) {
            let keys: Vec<[u8; 32]> = lacking.iter().map(|n| self.quorum.keyholders[*n]).collect();
            if locked(&self.ledger).deal(keep.epoch, &self.quorum.keyholders, &keys) {
                // Before the share: it counts for this epoch from then on.
                self.keep_ledger()?;
            }
            let (owner, dealt) = (self.owner(), lacking.clone());
            let enough = |answers: &[Option<Result<()>>]| lacking.iter().all(|n| answers[*n].is_some());
            let answers = self.circle.ask(self.n(), enough, move |n, member| {
                if dealt.contains(&n) { member.deposit(store, &owner, &shares[n]) } else { Ok(()) }
            });
            let asked: Vec<(usize, Result<()>)> =
                answers.into_iter().enumerate().filter(|(n, _)| lacking.contains(n)).collect();
            holders.extend(asked.iter().filter(|(_, answer)| answer.is_ok()).map(|(n, _)| *n));
            self.check_fenced(&asked.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>())?;
        }
        let short = |n: usize| held[n].is_err() || lacking.contains(&n) && !holders.contains(&n);
        self.short.store((0..n).any(short), Ordering::Release);
        Ok(holders.len())
    }

    fn shares_of(&self, id: &RootId, key: &Key) -> Result<Arc<Vec<Share>>> {
        let mut last = locked(&self.last);
        if let Some((_, shares)) = last.as_ref().filter(|(there, _)| there == id) {
            return Ok(Arc::clone(shares));
        }
        let shares = Arc::new(split(&*self.env, *id, key, (self.t(), self.n()))?);
        *last = Some((*id, Arc::clone(&shares)));
        Ok(shares)
    }

    /// How each keyholder stands towards the root key that `live` names. A look.
    pub fn standing(&self, live: &RootId) -> Vec<Alive> {
        self.standing_of_all(live).into_iter().take(self.n()).collect()
    }

    /// The same, and behind them those that were replaced and have not signed yet.
    pub fn standing_of_all(&self, live: &RootId) -> Vec<Alive> {
        let Some(store) = *locked(&self.store) else {
            return Vec::new();
        };
        let held = self.held(store);
        let sorted = self.sorted(&held);
        // Where too few have a share of it each is believed.
        let known = sorted.keys.iter().any(|(key, _)| key.id == *live);
        let standing = |(n, held): (usize, &Result<Held>)| {
            let place = self.circle.members[n].place();
            match held {
                Err(e) => {
                    let why = e.to_string();
                    let standing = match e.kind() {
                        ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Medium => Standing::Refuses(why),
                        _ => Standing::Away(why),
                    };
                    Alive { place, standing, holds: false, committed: 0 }
                }
                Ok(held) => {
                    let has = |which: &dyn Fn(&RootId) -> bool| held.shares.iter().any(|share| which(&share.id));
                    let lies = sorted.liars.contains(&n);
                    let holds = sorted.holds[n].contains(live) || !known && !lies && has(&|id| id == live);
                    let older = has(&|id| id != live && id.epoch <= live.epoch);
                    let newer = has(&|id| id.epoch > live.epoch) && (holds || held.committed > live.epoch);
                    let standing = match (holds, older, newer) {
                        _ if lies => Standing::Lies,
                        (_, true, _) => Standing::Behind,
                        (_, false, true) => Standing::Ahead,
                        (true, false, false) => Standing::Whole,
                        (false, false, false) => Standing::Lacks,
                    };
                    Alive { place, standing, holds, committed: held.committed }
                }
            }
        };
        held.iter().enumerate().map(standing).collect()
    }

    /// The rule of this cell: threshold, liars, margin.
    pub fn rule(&self) -> Rule {
        Rule { threshold: self.quorum.threshold, liars: self.quorum.liars, margin: self.margin }
    }
}

/// Whether so many of the first `n` did what they were asked.
fn did<T>(n: usize, needed: usize) -> impl Fn(&[Option<Result<T>>]) -> bool {
    move |answers| answers.iter().take(n).flatten().filter(|answer| answer.is_ok()).count() >= needed
}

fn same(e: &Error) -> Error {
    Error::new(e.kind(), e.to_string())
}

impl RootCell for QuorumCell {
    fn describe(&self) -> Promise {
        let quorum = locked(&self.ledger).concerned(&self.quorum);
        let (n, t, f) = (quorum.keyholders.len(), quorum.threshold, quorum.liars);
        let unnamed = locked(&self.ledger).unnamed.map_or(String::new(), |epoch| {
            format!("; of root keys up to epoch {epoch} keyholders that are not known any more may hold shares: these keys never count as destroyed")
        });
        Promise {
            kind: "quorum",
            place: format!("{n} keyholders"),
            level: Level::L3,
            statement: format!(
                "the root key is shared among {n} keyholders, {t} of whom can give it back; it counts as destroyed when {} of them have signed that their share is: then it is gone, if at most {f} of those lied and the others kept no copy of what was overwritten on their media{unnamed}",
                quorum.needed()
            ),
            remnants: false,
            quorum: Some(quorum),
        }
    }

    fn wants_epoch(&self) -> bool {
        if !self.short.load(Ordering::Acquire) {
            return false;
        }
        // A keyholder that is back gets its share of the running key; where it cannot be had, it gets one of the next.
        let (store, running) = (*locked(&self.store), *locked(&self.running));
        if let Some((store, running)) = store.zip(running) {
            let held = self.ask_for(store, running);
            self.whole.store(held.iter().take(self.n()).all(Result::is_ok), Ordering::Release);
            let _ = self.deal(store, &running, &held);
        }
        self.short.load(Ordering::Acquire) && self.whole.load(Ordering::Acquire)
    }

    fn take_over(&self) {
        self.takes_over.store(true, Ordering::Release);
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.hold(store)?;
        self.check_kept()?;
        let (n, needed, asked) = (self.n(), self.most(), *owner);
        // The others learn it with the next request.
        let mut answers = self.circle.ask(n, did(n, needed), move |_, member| member.claim(store, &asked, mark));
        answers.truncate(n);
        if answers.iter().flatten().count() < needed {
            self.check_fenced(&answers)?;
            return Err(self.few("took the claim of this engine", &answers, needed));
        }
        *locked(&self.owner) = *owner;
        Ok(())
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.hold(store)?;
        if locked(&self.ledger).begin(id.epoch, &self.quorum.keyholders) {
            // Before the first share: who is dealt one counts for this epoch, and who is dealt none must not.
            self.keep_ledger()?;
        }
        locked(&self.ledger).attempt(*id);
        let (n, owner) = (self.n(), self.owner());
        let shares = self.shares_of(id, key)?;
        let deposit = move |n: usize, member: &dyn Keyholder| {
            shares.get(n).map_or(Ok(()), |share| member.deposit(store, &owner, share))
        };
        let mut answers = self.circle.ask(n, did(n, self.quorum.needed().max(self.wanted())), deposit);
        answers.truncate(n);
        let taken = answers.iter().flatten().count();
        let fenced = self.check_fenced(&answers);
        // The head is sealed under this key alone once it is published: a keyholder may be lost from then on.
        if taken < self.wanted() || fenced.is_err() {
            if locked(&self.ledger).fail(*id) {
                self.keep_ledger()?;
            }
            fenced?;
            return Err(self
                .few("took their share of the new root key", &answers, self.wanted())
                .context("nothing was changed"));
        }
        self.short.store(taken < n, Ordering::Release);
        Ok(())
    }

    fn load(&self) -> Result<Contents> {
        let Some(store) = *locked(&self.store) else {
            return Ok(Contents::default());
        };
        let held = self.held(store);
        let answered = || held.iter().flatten();
        // A replaced keyholder has no say in which engine owns the store.
        let told = Told::by(&held[..self.n()], (self.most(), self.f()));
        let Told { owner, doubted, claims, mark, .. } = told;
        *locked(&self.newer) = Some(told.newest).filter(|newest| locked(&self.ledger).is_older(*newest));
        let epochs = answered().flat_map(|held| held.shares.iter().map(|share| share.id.epoch).chain([held.committed]));
        let epoch = epochs.max().unwrap_or_default();
        let sorted = self.sorted(&held);
        let keys: Vec<RootKey> = sorted.keys.into_iter().map(|(key, _)| key).collect();
        // Nobody has anything, and everybody says so: a store that is not made yet.
        if epoch == 0 && answered().count() == held.len() {
            return Ok(Contents { keys, epoch, owner, doubted, claims, mark, ..Contents::default() });
        }
        let silent: Vec<String> = held.iter().filter_map(|held| held.as_ref().err().map(ToString::to_string)).collect();
        if keys.is_empty() {
            let place = |n: &usize| self.circle.members[*n].place();
            let lies = |n| format!("the keyholder {} has a wrong share", place(n));
            let why: Vec<String> = sorted.liars.iter().map(lies).chain(silent).collect();
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "the root key cannot be had: {} of {} keyholders answered, and too few of their shares fit together: {} are needed; start the others, or replace what is lost with `keyfall keyholder replace STORE --number N --with KEY@HOST:PORT` while enough are there ({})",
                    answered().count(),
                    held.len(),
                    self.t(),
                    why.join("; ")
                ),
            ));
        }
        let unheard = (!silent.is_empty()).then(|| (silent.join("; "), told.ended));
        Ok(Contents { store: Some(store), keys, epoch, unheard, owner, doubted, claims, mark })
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        let lost = || Error::corrupt("the root key to keep is not in the cell; nothing was destroyed");
        let store = (*locked(&self.store)).ok_or_else(lost)?;
        self.hold(store)?;
        let (n, keep, owner, mark) = (self.n(), *keep, self.owner(), proof.commit());
        let held = self.ask_for(store, keep);
        let others = held.iter().take(n).flatten().filter_map(|held| held.owner);
        if others.filter(|other| *other != owner && other.claim >= owner.claim).count() > self.f() {
            return Err(Error::new(
                ErrorKind::Fenced,
                "another engine owns the store, keyholders say; nothing was destroyed",
            ));
        }
        if locked(&self.ledger).deal(keep.epoch, &self.quorum.keyholders, &[]) {
            self.keep_ledger()?;
        }
        let concerned = locked(&self.ledger).concerned(&self.quorum);
        let needed = concerned.needed();
        let holders = self.deal(store, &keep, &held)?;
        *locked(&self.last) = None;
        *locked(&self.running) = Some(keep);
        let is_there = held.iter().flatten().any(|held| held.shares.iter().any(|share| share.id == keep));
        if !is_there && held.iter().all(Result::is_ok) {
            return Err(lost());
        }
        if holders < self.wanted() {
            // The old key is as safe as it was, and stays until the next is too.
            self.whole.store(false, Ordering::Release);
            if locked(&self.ledger).put_off() {
                self.keep_ledger()?;
            }
            return Ok(Retirement::Stated { statements: Vec::new(), needed });
        }
        let seen: BTreeSet<RootId> =
            held.iter().flatten().flat_map(|held| held.shares.iter().map(|share| share.id)).collect();
        let given_up = locked(&self.ledger).given_up(&keep, &seen);
        let retire = move |_: usize, member: &dyn Keyholder| {
            let statement = member.retire(store, &owner, &keep, &given_up, mark)?;
            // Its word counts where it is its own, and about this.
            let about = (statement.store, statement.keep, statement.keyholder) == (store.0, keep, member.key());
            if !about {
                return Err(Error::corrupt(format!(
                    "the keyholder {} states something else than it was asked",
                    member.place()
                )));
            }
            statement.verify().map(|()| statement)
        };
        let answers = self.circle.ask(n, did(self.circle.members.len(), needed), retire);
        self.check_fenced(&answers)?;
        self.whole.store(answers.iter().take(n).all(Result::is_ok), Ordering::Release);
        if answers.iter().all(Result::is_err) {
            return Err(self
                .few("say that the old root key is gone", &answers, needed)
                .context("the new epoch is published, and older root keys are not destroyed yet"));
        }
        let mut statements: BTreeMap<[u8; 32], Statement> = BTreeMap::new();
        statements.extend(answers.into_iter().flatten().map(|said| (said.keyholder, said)));
        let said: Vec<Statement> = statements.values().cloned().collect();
        statements.retain(|keyholder, _| concerned.keyholders.contains(keyholder));
        let statements: Vec<Statement> = statements.into_values().collect();
        let enough = statements.len() >= needed;
        let taken = locked(&self.ledger).take_down(&self.quorum, &keep, &said, enough);
        if taken.changed {
            self.keep_ledger()?;
        }
        // Not final before every epoch is: the words still lacking are more than there are.
        let needed = if taken.all_gone { needed } else { needed.max(statements.len() + 1) };
        Ok(Retirement::Stated { statements, needed })
    }

    fn unfinished(&self) -> Vec<Dealt> {
        let running = locked(&self.running).map(|id| id.epoch);
        let over = locked(&self.ledger).unfinished(&self.quorum, running);
        over.into_iter().map(|(epoch, quorum)| Dealt { epoch, quorum }).collect()
    }

    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        locked(&self.ledger).awaited(&self.quorum, keep)
    }

    fn remembered(&self) -> Vec<Statement> {
        locked(&self.ledger).said()
    }
}
