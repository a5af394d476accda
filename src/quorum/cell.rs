//! The cell `quorum`: deposits shares with every keyholder, gets the key back from enough of them, and collects their word that the old
//! one is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ask::Circle;
use super::shares::{recover, split};
use super::{Held, Keyholder, Share};
use crate::cell::{Contents, Durable, Level, Owner, Promise, Quorum, Retirement, RootCell, RootId, RootKey, Statement};
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::sync::{Mutex, locked};

/// Until the cell has claimed.
const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

/// A keyholder of a store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its public keys, as `keyholder init` prints them.
    pub key: String,
    /// `HOST:PORT`.
    pub address: String,
}

/// What the cell keeps on this machine: who the keyholders are. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Shares that give the key back.
    pub threshold: u8,
    /// Liars allowed for.
    pub liars: u8,
    /// The store, hexadecimal, once it is made.
    pub store: Option<String>,
    /// The keyholders; the first has the share at 1.
    pub keyholders: Vec<Member>,
    /// Keyholders that were replaced.
    pub leaving: Vec<Left>,
}

/// A keyholder that was replaced, until it has said that it holds nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// Who.
    pub member: Member,
    /// The point of its share.
    pub x: u8,
    /// The first epoch of which it was dealt none, once there is one.
    pub until: Option<u64>,
}

/// Changes what is kept on this machine, durably.
pub(super) type Change = Box<dyn Fn(&mut dyn FnMut(&mut Config)) -> Result<()> + Send + Sync>;

/// How a keyholder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds its share of the root key, and nothing else.
    Whole,
    /// It holds no share of the root key: it was away, or is new. The next epoch gives it one.
    Lacks,
    /// It holds older shares too, or only such: it was away when they were to be destroyed, or was restored from a backup of itself.
    Behind,
    /// Its share is wrong.
    Lies,
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
    /// The last epoch that it has ended.
    pub committed: u64,
}

/// A root cell that is spread over keyholders.
pub struct QuorumCell {
    /// The keyholders, and behind them those that were replaced.
    circle: Circle,
    quorum: Quorum,
    env: SharedEnv,
    store: Mutex<Option<StoreId>>,
    /// The points of those that were replaced, and until when they were dealt shares.
    left: Mutex<Vec<(u8, Option<u64>)>>,
    change: Change,
    /// The epoch of the root key that is kept.
    kept: Mutex<u64>,
    /// Root keys that were seen or drawn. Those newer than what is kept were given up, since one engine at a time has the store: an attempt
    /// that failed, or the last thing of an engine that crashed.
    seen: Mutex<BTreeSet<RootId>>,
    /// What was dealt last: the same again where it is asked for twice, for shares of two polynomials do not fit together.
    last: Mutex<Option<(RootId, Arc<Vec<Share>>)>>,
    /// Whether a keyholder that is there has no share of the root key.
    short: AtomicBool,
    /// Whether all were there when they were asked last.
    whole: AtomicBool,
    /// Points of shares that were wrong when they were loaded last.
    liars: Mutex<Vec<u8>>,
}

impl std::fmt::Debug for QuorumCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuorumCell({} of {})", self.quorum.threshold, self.quorum.keyholders.len())
    }
}

impl QuorumCell {
    /// `circle` is the keyholders, and behind them those that `left` names.
    pub(super) fn new(
        circle: Circle,
        (threshold, liars): (u8, u8),
        store: Option<StoreId>,
        (left, change): (Vec<(u8, Option<u64>)>, Change),
        env: SharedEnv,
    ) -> Result<Self> {
        let keyholders =
            circle.members.iter().take(circle.members.len() - left.len()).map(|member| member.key()).collect();
        let quorum = Quorum { threshold, liars, keyholders }.check()?;
        let (store, left, liars) = (Mutex::new(store), Mutex::new(left), Mutex::default());
        Ok(QuorumCell {
            circle,
            quorum,
            env,
            store,
            left,
            change,
            kept: Mutex::new(0),
            seen: Mutex::default(),
            last: Mutex::default(),
            short: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            liars,
        })
    }

    /// A cell over keyholders in this process, asked in turn: for runs that are replayed.
    ///
    /// # Errors
    /// As [`Quorum::check`].
    #[cfg(feature = "testing")]
    pub fn in_process(
        members: Vec<Arc<dyn Keyholder>>,
        rule: (u8, u8),
        store: Option<StoreId>,
        env: SharedEnv,
    ) -> Result<Self> {
        QuorumCell::new(Circle::in_turn(members), rule, store, (Vec::new(), Box::new(|_| Ok(()))), env)
    }

    /// How many keyholders there are, without those that were replaced.
    fn n(&self) -> usize {
        self.quorum.keyholders.len()
    }

    /// The point of each member of the circle.
    fn points(&self) -> Vec<u8> {
        (1..=self.n() as u8).chain(locked(&self.left).iter().map(|(x, _)| *x)).collect()
    }

    /// Who may have been dealt a share of the root key of an epoch: those that were replaced since count with the others, so that what is
    /// needed then holds for whoever of them was.
    fn dealt(&self, epoch: u64) -> Quorum {
        let mut quorum = self.quorum.clone();
        for (n, (_, until)) in (self.n()..).zip(locked(&self.left).iter()) {
            if until.is_none_or(|until| until > epoch) {
                quorum.keyholders.push(self.circle.members[n].key());
            }
        }
        quorum
    }

    fn t(&self) -> usize {
        usize::from(self.quorum.threshold)
    }

    fn few(&self, what: &str, answers: &[Option<String>]) -> Error {
        let lost: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
        let n = answers.len() - lost.len();
        Error::new(
            ErrorKind::Io,
            format!(
                "{n} of {} keyholders {what}, {} are needed; start the others, or replace what is lost with `keyfall keyholder replace` while enough are there ({})",
                answers.len(),
                self.quorum.threshold,
                lost.join("; ")
            ),
        )
    }

    fn held(&self, store: StoreId) -> Vec<Result<Held>> {
        self.circle.ask(self.circle.members.len(), move |_, member| member.load(store))
    }

    /// The keys that enough shares give, of those that were handed in.
    fn keys(&self, held: &[Result<Held>]) -> Vec<RootKey> {
        let mut shares: Vec<&Share> = Vec::new();
        for (x, held) in self.points().into_iter().zip(held) {
            // A share at another's point counts for nothing.
            shares.extend(held.iter().flat_map(|held| &held.shares).filter(|share| share.x == x));
        }
        shares.sort_by_key(|share| (share.id, share.commitment, share.x));
        let (mut keys, mut liars) = (Vec::new(), Vec::new());
        for same in shares.chunk_by(|a, b| (a.id, a.commitment) == (b.id, b.commitment)) {
            if let Some((key, wrong)) = recover(same, self.t()) {
                keys.push(RootKey { id: same[0].id, key });
                liars.extend(wrong);
            }
        }
        *locked(&self.liars) = liars;
        keys
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

    /// Those that were replaced, were dealt no share of this epoch, and have said that they hold no older one, are done.
    fn let_go(&self, answers: &[Result<Statement>], epoch: u64) -> Result<()> {
        let left = locked(&self.left).clone();
        let done = |n: usize| {
            let ended = left[n].1.is_some_and(|until| until != GONE && until <= epoch);
            ended && answers[self.n() + n].is_ok()
        };
        let gone: Vec<u8> = (0..left.len()).filter(|n| done(*n)).map(|n| left[n].0).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // The circle keeps asking them until the cell is opened anew; it does no harm.
        locked(&self.left).iter_mut().filter(|(x, _)| gone.contains(x)).for_each(|(_, until)| *until = Some(GONE));
        (self.change)(&mut |config| config.leaving.retain(|left| left.until.is_none() || !gone.contains(&left.x)))
    }

    /// How each keyholder stands towards the root key that `live` names.
    pub fn standing(&self, live: &RootId) -> Vec<Alive> {
        let Some(store) = *locked(&self.store) else {
            return Vec::new();
        };
        let held = self.held(store);
        let _ = self.keys(&held);
        let liars = locked(&self.liars).clone();
        let standing = |(n, held): (usize, Result<Held>)| {
            let place = self.circle.members[n].place();
            let (standing, committed) = match held {
                Err(e) => (Standing::Away(e.to_string()), 0),
                Ok(held) => {
                    let has = held.shares.iter().any(|share| share.id == *live);
                    let others = held.shares.iter().any(|share| share.id != *live);
                    let standing = match (has, others) {
                        _ if liars.contains(&(n as u8 + 1)) => Standing::Lies,
                        (_, true) => Standing::Behind,
                        (true, false) => Standing::Whole,
                        (false, false) => Standing::Lacks,
                    };
                    (standing, held.committed)
                }
            };
            Alive { place, standing, committed }
        };
        held.into_iter().take(self.n()).enumerate().map(standing).collect()
    }
}

/// In place of an epoch: it has said that it holds nothing.
const GONE: u64 = 0;

/// What went wrong, where something did.
fn trouble<T>(answers: &[Result<T>]) -> Vec<Option<String>> {
    answers.iter().map(|answer| answer.as_ref().err().map(ToString::to_string)).collect()
}

impl RootCell for QuorumCell {
    fn describe(&self) -> Promise {
        let quorum = self.dealt(*locked(&self.kept));
        let (n, t, f) = (quorum.keyholders.len(), quorum.threshold, quorum.liars);
        Promise {
            kind: "quorum",
            place: format!("{n} keyholders"),
            level: Level::L3,
            statement: format!(
                "the root key is shared among {n} keyholders, {t} of whom can give it back; it counts as destroyed when {} of them have signed that their share is: then it is gone, if at most {f} of those lied and the others kept no copy of what was overwritten on their media",
                quorum.needed()
            ),
            remnants: false,
            quorum: Some(quorum),
        }
    }

    fn wants_epoch(&self) -> bool {
        self.short.load(Ordering::Acquire) && self.whole.load(Ordering::Acquire)
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        {
            let mut there = locked(&self.store);
            match *there {
                Some(known) if known != store => {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        "this cell belongs to another store; give each store its own",
                    ));
                }
                Some(_) => {}
                None => {
                    (self.change)(&mut |config| config.store = Some(store.to_string()))?;
                    *there = Some(store);
                }
            }
        }
        if locked(&self.left).iter().any(|(_, until)| until.is_none()) {
            // Before the first share: who is dealt none must not count for this epoch.
            (self.change)(&mut |config| {
                config.leaving.iter_mut().for_each(|left| left.until = left.until.or(Some(id.epoch)))
            })?;
            locked(&self.left).iter_mut().for_each(|(_, until)| *until = until.or(Some(id.epoch)));
        }
        locked(&self.seen).insert(*id);
        let n = self.n();
        let shares = self.shares_of(id, key)?;
        let deposit = move |n: usize, member: &dyn Keyholder| {
            shares.get(n).map_or(Ok(()), |share| member.deposit(store, &NOBODY, share))
        };
        let mut answers = self.circle.ask(self.quorum.needed() + self.circle.members.len() - n, deposit);
        answers.truncate(n);
        let trouble = trouble(&answers);
        if trouble.iter().filter(|trouble| trouble.is_none()).count() < self.t() {
            return Err(self.few("took their share of the new root key", &trouble).context("nothing was changed"));
        }
        self.short.store(trouble.iter().any(Option::is_some), Ordering::Release);
        Ok(())
    }

    fn load(&self) -> Result<Contents> {
        let Some(store) = *locked(&self.store) else {
            return Ok(Contents::default());
        };
        let held = self.held(store);
        let keys = self.keys(&held);
        let answered = || held.iter().flatten();
        locked(&self.seen).extend(answered().flat_map(|held| held.shares.iter().map(|share| share.id)));
        let newest = keys.iter().map(|key| key.id).max();
        let lacks = |held: &Held| newest.is_some_and(|newest| !held.shares.iter().any(|share| share.id == newest));
        self.short.store(held.iter().take(self.n()).flatten().any(lacks), Ordering::Release);
        let epochs = answered().flat_map(|held| held.shares.iter().map(|share| share.id.epoch).chain([held.committed]));
        let epoch = epochs.max().unwrap_or_default();
        *locked(&self.kept) = keys.iter().map(|key| key.id.epoch).min().unwrap_or_default();
        // Nobody has anything, and everybody says so: a store that is not made yet.
        if epoch == 0 && answered().count() == held.len() {
            return Ok(Contents { keys, epoch, ..Contents::default() });
        }
        if keys.is_empty() {
            return Err(self
                .few("answered, and too few of their shares fit together:", &trouble(&held))
                .context("the root key cannot be had"));
        }
        let silent: Vec<String> = trouble(&held).into_iter().flatten().collect();
        let unheard = (!silent.is_empty())
            .then(|| (silent.join("; "), answered().map(|held| held.committed).max().unwrap_or_default()));
        Ok(Contents { store: Some(store), keys, epoch, unheard, owner: None, mark: 0 })
    }

    fn retire(&self, keep: &RootId, _proof: Durable) -> Result<Retirement> {
        let Some(store) = *locked(&self.store) else {
            return Err(Error::corrupt("the root key to keep is not in the cell; nothing was destroyed"));
        };
        let (dealt, keep) = (self.dealt(keep.epoch.saturating_sub(1)), *keep);
        let needed = dealt.needed();
        let given_up: Vec<RootId> = locked(&self.seen).iter().filter(|id| id.epoch > keep.epoch).copied().collect();
        let retire = move |_: usize, member: &dyn Keyholder| {
            let statement = member.retire(store, &NOBODY, &keep, &given_up, 0)?;
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
        let answers = self.circle.ask(needed, retire);
        *locked(&self.last) = None;
        *locked(&self.kept) = keep.epoch;
        // What was given up, and not heard by all, is named again.
        locked(&self.seen).retain(|id| id.epoch > keep.epoch);
        self.whole.store(answers.iter().take(self.n()).all(Result::is_ok), Ordering::Release);
        self.let_go(&answers, keep.epoch)?;
        let trouble = trouble(&answers);
        let statements: Vec<_> =
            answers.into_iter().flatten().filter(|said| dealt.keyholders.contains(&said.keyholder)).collect();
        if statements.is_empty() {
            return Err(self
                .few("say that the old root key is gone", &trouble)
                .context("the erase is published, and not final"));
        }
        Ok(Retirement::Stated { statements, needed })
    }
}
