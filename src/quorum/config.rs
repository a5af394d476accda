//! What the cell keeps on this machine: which keyholders it has, which of them were dealt shares of
//! which epochs, and what they have signed since. No secret is in it.
//!
//! Finality is a fact of each epoch. Its root key is gone when enough of the keyholders that were
//! dealt a share of it, or of an attempt that would have followed it, have signed since; it leaves
//! the [`Ledger`] by that rule alone. If the keyholders stay the same one entry covers all
//! epochs, for a signature for a later epoch covers those before.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;

use super::net::KeyholderId;
use crate::certificate::Said;
use crate::error::{Error, Result};
use crate::ids::StoreId;
use crate::promise::{self, Awaited, Quorum, RootId, Statement};

/// The Ed25519 key by which a keyholder signs.
type Signer = [u8; 32];

/// How many keyholders it takes, and how many of them may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Shares that give the key back.
    pub threshold: u8,
    /// How many keyholders may lie.
    pub liars: u8,
    /// How many more than `threshold` must hold the next root key before one is asked to destroy
    /// the old.
    pub margin: u8,
}

/// A margin of one: a keyholder may be lost between an erase and the next.
pub const MARGIN: u8 = 1;

impl From<(u8, u8)> for Rule {
    /// Out of threshold and liars.
    fn from(rule: (u8, u8)) -> Self {
        Rule { threshold: rule.0, liars: rule.1, margin: MARGIN }
    }
}

impl Rule {
    /// The rule that a configuration names.
    pub(super) fn of(config: &Config) -> Self {
        Rule { threshold: config.threshold, liars: config.liars, margin: config.margin }
    }
}

/// A keyholder of a store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its public keys, as `keyholder init` prints them.
    pub key: String,
    /// Network address of the keyholder, `HOST:PORT`.
    pub address: String,
}

impl Member {
    pub(super) fn signer(&self) -> Result<Signer> {
        self.key.parse::<KeyholderId>().map(|id| id.statements)
    }
}

/// What the cell keeps on this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Shares that give the key back.
    pub threshold: u8,
    /// How many keyholders may lie.
    pub liars: u8,
    /// How many more than `threshold` must hold a root key: see [`Rule::margin`].
    pub margin: u8,
    /// The store, hexadecimal, once it is made.
    pub store: Option<String>,
    /// The keyholders; the first has the share at 1.
    pub keyholders: Vec<Member>,
    /// Keyholders that were replaced.
    pub leaving: Vec<Left>,
    /// Which keyholders were dealt shares of the running epoch, and of those that are not known to
    /// be gone, the oldest first.
    pub dealt: Vec<Dealt>,
    /// Whether the last retirement was final.
    pub settled: bool,
    /// The last that each keyholder signed, as far as it may be needed again.
    pub statements: Vec<Said>,
    /// Root keys whose deposit failed: what some keyholder took of them is to be destroyed.
    pub failed: Vec<Failed>,
    /// The root key that was kept last from here.
    #[serde(default)]
    pub kept: Option<Failed>,
    /// Root keys of later epochs that were drawn here, and lists of before a replacement.
    #[serde(default)]
    pub drawn: Vec<Drawn>,
    /// In the place of these two, in files of earlier versions: the highest epoch that was kept or
    /// tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<u64>,
    /// The last epoch of which keyholders that are not named here may hold shares: what is kept
    /// here came back older than it was.
    pub unnamed: Option<u64>,
}

impl Config {
    /// Of a cell that nothing was dealt for yet.
    pub(crate) fn new(keyholders: Vec<Member>, rule: Rule) -> Self {
        let Rule { threshold, liars, margin } = rule;
        Config {
            threshold,
            liars,
            margin,
            store: None,
            keyholders,
            leaving: Vec::new(),
            dealt: Vec::new(),
            settled: true,
            statements: Vec::new(),
            failed: Vec::new(),
            kept: None,
            drawn: Vec::new(),
            highest: None,
            unnamed: None,
        }
    }

    /// Whether a keyholder may have been dealt a share of an epoch that is not known to be gone:
    /// that is recorded before the share goes out.
    pub(super) fn was_dealt(&self, member: &Member) -> Result<bool> {
        let key = BASE64.encode(&member.signer()?);
        // If nothing is known any of them may have one.
        Ok(self.dealt.is_empty() || self.dealt.iter().any(|dealt| dealt.keyholders.contains(&key)))
    }
}

/// A keyholder that was replaced, until it has said that it holds nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// The keyholder that left.
    pub member: Member,
    /// The point of its share.
    pub x: u8,
    /// The first epoch of which it was dealt none, once there is one.
    pub until: Option<u64>,
}

/// The keyholders that were dealt shares of the root keys of some epochs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dealt {
    /// The first of these epochs.
    pub from: u64,
    /// The first that is not of them any more; none for those that still run.
    pub until: Option<u64>,
    /// The keys by which they sign, base64.
    pub keyholders: Vec<String>,
}

/// The epoch and the attempt of a root key, as one whose deposit failed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Epoch of the root key.
    pub epoch: u64,
    /// Attempt of the root key, hexadecimal.
    pub attempt: String,
}

/// The last root key that was drawn here by a list of keyholders; of a list of before a replacement
/// made here, epoch 0.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// What of the list its brand was made of (SPEC 15.4), hexadecimal.
    pub list: String,
    /// Epoch of the root key.
    pub epoch: u64,
    /// Attempt of the root key, hexadecimal.
    pub attempt: String,
}

impl Drawn {
    /// No root key, and so of no epoch that is known by it.
    pub(super) fn by_a_list_of_before(list: &[u8; 32]) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Drawn { list: hex(list), epoch: 0, attempt: hex(&[0; 16]) }
    }
}

/// Most root keys of failed deposits that are remembered: a keyholder has room for fewer.
const FAILED_MAX: usize = 64;

/// A keyholder that was replaced.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) key: Signer,
    pub(super) x: u8,
    pub(super) until: Option<u64>,
    /// It has said that it holds nothing any more.
    pub(super) done: bool,
}

/// As [`Dealt`], with the keys decoded.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) from: u64,
    pub(super) until: Option<u64>,
    pub(super) keys: BTreeSet<Signer>,
}

impl Entry {
    fn covers(&self, epoch: u64) -> bool {
        self.from <= epoch && self.until.is_none_or(|until| until > epoch)
    }

    /// Whether enough of them have signed since. The end of the last of the epochs is what counts:
    /// a signature for it covers those before.
    fn is_gone(&self, quorum: &Quorum, keep: &RootId, said: &BTreeMap<Signer, Statement>) -> bool {
        let rule = Quorum { keyholders: self.keys.iter().copied().collect(), ..quorum.clone() };
        let covers = |statement: &&Statement| match self.until {
            Some(until) if until < keep.epoch => statement.keep.epoch >= until,
            _ => statement.keep == *keep,
        };
        self.keys.iter().filter_map(|key| said.get(key)).filter(covers).count() >= rule.needed()
    }
}

/// The part of the configuration that changes as epochs go by.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) left: Vec<Gone>,
    pub(super) dealt: Vec<Entry>,
    settled: bool,
    said: BTreeMap<Signer, Statement>,
    /// Root keys that this process tried to deposit.
    own: BTreeSet<RootId>,
    /// Root keys of this directory whose deposit failed, and which therefore no head bears.
    failed: BTreeSet<RootId>,
    pub(super) deals_to_all: bool,
    /// Whether what follows was ever recorded: not by a cell in this process alone.
    pub(super) is_kept: bool,
    /// The root key that was kept last from here ([`Config::kept`]).
    pub(super) kept: Option<RootId>,
    /// By each list the last root key after that which was drawn here by it ([`Config::drawn`]).
    pub(super) drawn: Vec<([u8; 32], RootId)>,
    /// As an earlier version kept it ([`Config::highest`]).
    highest: Option<u64>,
    /// The last epoch of which unnamed keyholders may hold shares ([`Config::unnamed`]).
    pub(super) unnamed: Option<u64>,
}

/// Keys of keyholders that nobody knows: it takes their statements as well, and they never come.
fn stranger(n: u8) -> Signer {
    let mut key = *b"a keyholder that is not named   ";
    key[30..].copy_from_slice(&[b'0' + n / 10, b'0' + n % 10]);
    key
}

fn unhex<const N: usize>(text: &str, what: &str) -> Result<[u8; N]> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| bad(what))
}

fn bad(what: &str) -> Error {
    Error::corrupt(format!("{what} in the cell's quorum.json does not parse; put the file back"))
}

impl Ledger {
    /// Reads the ledger out of a configuration.
    pub(super) fn read(config: &Config) -> Result<Self> {
        let key = |text: &String| {
            let key = BASE64.decode(text.as_bytes()).ok().and_then(|key| key.try_into().ok());
            key.ok_or_else(|| bad("a keyholder's key"))
        };
        let dealt = |dealt: &Dealt| {
            let keys = dealt.keyholders.iter().map(key).collect::<Result<_>>()?;
            Ok(Entry { from: dealt.from, until: dealt.until, keys })
        };
        let left = |left: &Left| {
            Ok(Gone { key: left.member.signer()?, x: left.x, until: left.until, done: false })
        };
        let store = config.store.clone().unwrap_or_default();
        let said = |said: &Said| {
            let statement = said.statement(&store).map_err(|_| bad("a statement"))?;
            statement.verify().map_err(|_| bad("a statement"))?;
            Ok((statement.keyholder, statement))
        };
        let failed = |failed: &Failed| {
            Ok(RootId { epoch: failed.epoch, attempt: unhex(&failed.attempt, "an attempt")? })
        };
        let drawn = |drawn: &Drawn| {
            let attempt = unhex(&drawn.attempt, "an attempt")?;
            Ok((unhex(&drawn.list, "a list")?, RootId { epoch: drawn.epoch, attempt }))
        };
        Ok(Ledger {
            left: config.leaving.iter().map(left).collect::<Result<_>>()?,
            dealt: config.dealt.iter().map(dealt).collect::<Result<_>>()?,
            settled: config.settled,
            said: config.statements.iter().map(said).collect::<Result<_>>()?,
            own: BTreeSet::new(),
            failed: config.failed.iter().map(failed).collect::<Result<_>>()?,
            deals_to_all: false,
            is_kept: true,
            kept: config.kept.as_ref().map(failed).transpose()?,
            highest: config.highest,
            drawn: config.drawn.iter().map(drawn).collect::<Result<_>>()?,
            unnamed: config.unnamed,
        })
    }

    /// Writes the ledger into the configuration.
    pub(super) fn write(&self, config: &mut Config) {
        config.leaving.retain_mut(|left| {
            let key = left.member.signer().ok();
            let gone = self.left.iter().find(|gone| Some(gone.key) == key && gone.x == left.x);
            left.until = gone.and_then(|gone| gone.until);
            !gone.is_some_and(|gone| gone.done)
        });
        let dealt = |entry: &Entry| Dealt {
            from: entry.from,
            until: entry.until,
            keyholders: entry.keys.iter().map(|key| BASE64.encode(key)).collect(),
        };
        config.dealt = self.dealt.iter().map(dealt).collect();
        config.settled = self.settled;
        config.statements = self.said.values().map(Said::new).collect();
        let failed = |id: &RootId| Failed {
            epoch: id.epoch,
            attempt: data_encoding::HEXLOWER.encode(&id.attempt),
        };
        config.failed = self.failed.iter().rev().take(FAILED_MAX).map(failed).collect();
        let drawn = |(list, id): &([u8; 32], RootId)| Drawn {
            list: data_encoding::HEXLOWER.encode(list),
            epoch: id.epoch,
            attempt: data_encoding::HEXLOWER.encode(&id.attempt),
        };
        // None is lost or goes down, whatever another process wrote meanwhile.
        let later = |there: &Failed| self.kept.is_none_or(|kept| kept.epoch < there.epoch);
        if !config.kept.as_ref().is_some_and(later) {
            config.kept = self.kept.as_ref().map(failed);
        }
        config.highest = self.highest;
        let kept = config.kept.as_ref().map_or(0, |kept| kept.epoch);
        let stands = |(_, id): &&([u8; 32], RootId)| id.epoch == 0 || id.epoch > kept;
        let here: Vec<Drawn> = self.drawn.iter().filter(stands).map(drawn).collect();
        let is_another = |there: &Drawn| here.iter().all(|drawn| drawn.list != there.list);
        config.drawn.retain(|there| there.epoch > kept && is_another(there));
        config.drawn.extend(here);
        config.unnamed = config.unnamed.max(self.unnamed);
    }

    /// Up to which epoch it is recorded that others may hold shares; or, in what an earlier version
    /// kept, which epochs pass for known.
    pub(super) fn told_up_to(&self) -> u64 {
        self.unnamed.max(self.highest).unwrap_or(0)
    }

    /// Whether a root key was kept or drawn here, by this very attempt.
    fn is_of_here(&self, id: &RootId) -> bool {
        !self.is_kept
            || id.epoch <= self.told_up_to()
            || self.kept == Some(*id)
            || self.drawn.iter().any(|(_, drawn)| drawn == id)
    }

    /// Takes into account that others may hold shares of the epochs up to this one. Says whether
    /// that must be kept first.
    pub(super) fn come_back(&mut self, epoch: u64) -> bool {
        let known = self.unnamed.is_some_and(|known| known >= epoch);
        self.unnamed = self.unnamed.max(Some(epoch));
        !known
    }

    /// A root key is about to be kept. Says whether that must be kept first.
    fn keep(&mut self, id: &RootId) -> bool {
        let known = self.is_of_here(id) && self.highest.is_none();
        if self.kept == Some(*id) {
            return !known;
        }
        let is_own = self.drawn.iter().any(|(_, drawn)| drawn == id);
        (self.kept, self.highest) = (Some(*id), None);
        // What others tried by a list of before is gone with an epoch that began by this one.
        self.drawn.retain(|(_, drawn)| drawn.epoch > id.epoch || drawn.epoch == 0 && !is_own);
        !known
    }

    /// A root key was drawn by that list. Says whether that must be kept before its shares are
    /// dealt.
    fn draw(&mut self, list: [u8; 32], id: RootId) -> bool {
        if self.drawn.iter().any(|(_, drawn)| *drawn == id) {
            return false;
        }
        // Of a list the last key stands for those before: they bear the same brand.
        self.drawn.retain(|(by, drawn)| *by != list || drawn.epoch > id.epoch);
        self.drawn.push((list, id));
        true
    }

    /// Which of `members`, by their places from 0, were dealt the root key that `id` is to follow;
    /// `None` if others drew it.
    pub(super) fn dealt_before(&self, id: &RootId, members: &[Signer]) -> Option<BTreeSet<usize>> {
        let running = id.epoch.saturating_sub(1);
        if self.unnamed.is_some_and(|unnamed| unnamed >= running) {
            return None;
        }
        let entry = self.dealt.iter().rev().find(|entry| entry.covers(running));
        let was_dealt = |n: &usize| entry.is_none_or(|it| it.keys.contains(&members[*n]));
        Some((0..members.len()).filter(was_dealt).collect())
    }

    /// Keyholders are about to be dealt a candidate, and none of the key before it.
    pub(super) fn count_for(&mut self, id: &RootId, members: &[Signer]) -> bool {
        let runs = |entry: &&mut Entry| entry.covers(id.epoch.saturating_sub(1));
        self.dealt.iter_mut().filter(runs).for_each(|entry| entry.keys.extend(members));
        true
    }

    /// Whether one of these was not there when an epoch was begun last.
    pub(super) fn is_new(&self, members: &[Signer]) -> bool {
        let is_new = |last: &Entry| members.iter().any(|key| !last.keys.contains(key));
        self.dealt.last().is_some_and(is_new)
    }

    /// Before the first share of a root key, which was drawn by that list, goes out to `members`.
    /// Says whether something changed that must be kept first.
    pub(super) fn begin(&mut self, list: [u8; 32], id: RootId, members: &[Signer]) -> bool {
        let epoch = id.epoch;
        let members: BTreeSet<Signer> = members.iter().copied().collect();
        let mut changed = self.draw(list, id);
        for gone in self.left.iter_mut().filter(|gone| gone.until.is_none()) {
            gone.until = Some(epoch);
            changed = true;
        }
        match self.dealt.last_mut() {
            Some(last) if last.keys == members => return changed,
            Some(last) if last.from == epoch => last.keys.extend(&members),
            Some(last) => {
                last.until = Some(epoch);
                self.dealt.push(Entry { from: epoch, until: None, keys: members });
            }
            None => self.dealt.push(Entry { from: epoch, until: None, keys: members }),
        }
        true
    }

    /// Before shares of the running root key go out to some that lack theirs. Says whether
    /// something changed that must be kept first.
    pub(super) fn deal(&mut self, running: &RootId, members: &[Signer], more: &[Signer]) -> bool {
        let epoch = running.epoch;
        if self.dealt.is_empty() {
            // Nothing is known: any of those that there are.
            let left = self.left.iter().map(|gone| gone.key);
            let keys = members.iter().copied().chain(left).collect();
            self.dealt.push(Entry { from: 0, until: None, keys });
        }
        let mut changed = self.keep(running);
        for entry in self.dealt.iter_mut().filter(|entry| entry.covers(epoch)) {
            let before = entry.keys.len();
            entry.keys.extend(more);
            changed |= entry.keys.len() > before;
        }
        changed
    }

    /// Every keyholder that may have a share of a root key that an erase now would have destroyed:
    /// the current ones, and any that was dealt one of an epoch that is not known to be gone.
    pub(super) fn concerned(&self, quorum: &Quorum) -> Quorum {
        let mut all = quorum.clone();
        for key in self.dealt.iter().flat_map(|entry| &entry.keys) {
            if !all.keyholders.contains(key) {
                all.keyholders.push(*key);
            }
        }
        all
    }

    /// The last epoch of each group that is over, before the running one, and not known to be gone,
    /// and the keyholders that were dealt shares of it.
    pub(super) fn unfinished(&self, quorum: &Quorum, running: Option<u64>) -> Vec<promise::Dealt> {
        let over = |entry: &Entry| {
            let keyholders = entry.keys.iter().copied().collect();
            let quorum = Quorum { keyholders, ..quorum.clone() };
            entry.until.map(|until| promise::Dealt { epoch: until - 1, quorum })
        };
        let is_before =
            |dealt: &promise::Dealt| running.is_none_or(|running| dealt.epoch < running);
        let strangers = self.unnamed.map(|epoch| {
            let last = running.map_or(epoch, |running| epoch.min(running.saturating_sub(1)));
            let keyholders = (1..=quorum.threshold).map(stranger).collect();
            promise::Dealt { epoch: last, quorum: Quorum { keyholders, ..quorum.clone() } }
        });
        self.dealt.iter().filter_map(over).filter(is_before).chain(strangers).collect()
    }

    /// What is missing before every epoch below `keep` is final, as it was recorded last.
    pub(super) fn awaited(&self, quorum: &Quorum, keep: &RootId) -> Option<Awaited> {
        let over = |entry: &Entry| entry.until.is_some_and(|until| until <= keep.epoch);
        if self.settled && !self.dealt.iter().any(over) {
            // Who signed what of an epoch that is not known here, another machine knows.
            return (!self.is_of_here(keep)).then_some(Awaited::Unasked);
        }
        let all = self.concerned(quorum);
        let signed = |key: &&Signer| self.said.get(*key).is_some_and(|said| said.keep == *keep);
        let stated = all.keyholders.iter().filter(signed).count();
        // Not final before every epoch is: the words still lacking are more than there are.
        Some(Awaited::Keyholders { stated, needed: all.needed().max(stated + 1) })
    }

    /// Nobody was asked to destroy anything. Says whether that must be kept.
    pub(super) fn put_off(&mut self) -> bool {
        std::mem::take(&mut self.settled)
    }

    /// What keyholders signed, in this process or before.
    pub(super) fn said(&self) -> Vec<Statement> {
        self.said.values().cloned().collect()
    }

    /// Records what was signed when all root keys but `keep` were to be destroyed; an epoch leaves
    /// once enough keyholders have signed. `enough` says whether those that signed now are.
    pub(super) fn take_down(
        &mut self,
        quorum: &Quorum,
        keep: &RootId,
        statements: &[Statement],
        enough: bool,
    ) -> Taken {
        let mut news = false;
        for statement in statements {
            let known = self.said.insert(statement.keyholder, statement.clone());
            news |= known.is_none_or(|known| known.keep != statement.keep);
        }
        let gone = |entry: &Entry| entry.is_gone(quorum, keep, &self.said);
        // What has not ended yet has nothing to be gone.
        let ended = |entry: &Entry| entry.from < keep.epoch;
        let all_gone =
            self.unnamed.is_none() && self.dealt.iter().all(|entry| !ended(entry) || gone(entry));
        let over = |entry: &Entry| entry.until.is_some_and(|until| until <= keep.epoch);
        let whether: Vec<bool> =
            self.dealt.iter().map(|entry| over(entry) && gone(entry)).collect();
        let before = (self.dealt.len(), self.failed.len(), self.settled);
        let mut whether = whether.into_iter();
        self.dealt.retain(|_| whether.next() != Some(true));
        // Of an epoch that is over there is nothing left to give up.
        self.own.retain(|id| id.epoch > keep.epoch);
        self.failed.retain(|id| id.epoch > keep.epoch);
        let mut changed = false;
        for gone in self.left.iter_mut().filter(|gone| !gone.done) {
            let said = self.said.get(&gone.key).map(|statement| statement.keep.epoch);
            gone.done = gone.until.zip(said).is_some_and(|(until, said)| said >= until);
            changed |= gone.done;
        }
        let was_settled = self.settled;
        self.settled = enough && all_gone;
        changed |= before != (self.dealt.len(), self.failed.len(), self.settled);
        // While something is pending each word may be the one that is needed later.
        changed |= news && !(self.settled && was_settled);
        Taken { all_gone, changed }
    }

    /// A root key that is about to be deposited.
    pub(super) fn attempt(&mut self, id: RootId) {
        self.own.insert(id);
    }

    /// Its deposit failed. Says whether that must be kept.
    pub(super) fn fail(&mut self, id: RootId) -> bool {
        self.failed.insert(id)
    }

    /// Root keys that this directory tried to deposit, as far as it remembers them.
    pub(super) fn tried(&self) -> BTreeSet<RootId> {
        self.own.union(&self.failed).copied().collect()
    }

    /// Attempts of this engine's own that failed: they are newer than what is kept. Those that a
    /// keyholder is seen to hold come first.
    pub(super) fn given_up(&self, keep: &RootId, held: &BTreeSet<RootId>) -> Vec<RootId> {
        let own = self.tried().into_iter();
        let mut newer: Vec<RootId> = own.filter(|id| id.epoch > keep.epoch).collect();
        newer.sort_by_key(|id| !held.contains(id));
        newer
    }
}

/// What came of a round of statements.
pub(super) struct Taken {
    /// Whether of every epoch before that may reach something erased enough have signed.
    pub(super) all_gone: bool,
    /// Whether something changed that must be kept.
    pub(super) changed: bool,
}

/// The store that a configuration names.
pub(super) fn store_of(config: &Config) -> Result<Option<StoreId>> {
    config.store.as_ref().map(|id| unhex(id, "the store's id").map(StoreId)).transpose()
}
