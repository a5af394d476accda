//! Which keyholders the cell has, which of them were dealt shares of which epochs, and what they
//! have signed since.
//!
//! Finality is a fact of each epoch. Its root key is gone when enough of the keyholders that were
//! dealt a share of it, or of an attempt that would have followed it, have signed since; it leaves
//! the [`Ledger`] by that rule alone. If the keyholders stay the same one entry covers all
//! epochs, for a signature for a later epoch covers those before.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;

use super::config::{Config, Dealt, Drawn, Failed, Left, Signer, bad, unhex};
use crate::certificate::Said;
use crate::error::Result;
use crate::promise::{self, Awaited, Quorum, RootId, Statement};

/// Most root keys of failed deposits that are remembered: a keyholder has room for fewer.
const FAILED_MAX: usize = 64;

/// Of so many epochs that are over, whichever may be known to be gone elsewhere.
pub(super) const OVER_MAX: usize = 6;

/// A keyholder that was replaced.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) key: Signer,
    pub(super) x: u8,
    pub(super) until: Option<u64>,
    /// It has said that it holds nothing any more.
    pub(super) done: bool,
}

impl Gone {
    /// Whether it counts for an epoch, if it was dealt the one before it.
    fn counts_for(&self, epoch: u64) -> bool {
        self.until.is_none_or(|until| until > epoch)
    }
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
    /// Entries that left `dealt` ([`Config::gone`]).
    pub(super) gone: Vec<Entry>,
    settled: bool,
    /// The root key whose retirement was the last that was final, if that is known.
    final_for: Option<RootId>,
    /// Whether what was written meanwhile does not say that the last retirement was final.
    is_midway: bool,
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
        let kept = config.kept.as_ref().map(failed).transpose()?;
        Ok(Ledger {
            left: config.leaving.iter().map(left).collect::<Result<_>>()?,
            dealt: config.dealt.iter().map(dealt).collect::<Result<_>>()?,
            gone: config.gone.iter().map(dealt).collect::<Result<_>>()?,
            settled: config.settled,
            final_for: kept.filter(|_| config.settled),
            is_midway: false,
            said: config.statements.iter().map(said).collect::<Result<_>>()?,
            own: BTreeSet::new(),
            failed: config.failed.iter().map(failed).collect::<Result<_>>()?,
            deals_to_all: false,
            is_kept: true,
            kept,
            highest: config.highest,
            drawn: config.drawn.iter().map(drawn).collect::<Result<_>>()?,
            unnamed: config.unnamed,
        })
    }

    /// Writes the ledger into the configuration.
    pub(super) fn write(&mut self, config: &mut Config) {
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
        config.gone = self.gone.iter().map(dealt).collect();
        // Of the root key that is about to be kept, or to be published, nothing is known yet.
        let last = self.final_for.map_or(0, |id| id.epoch);
        let is_next = self.drawn.iter().any(|(_, drawn)| drawn.epoch > last);
        self.is_midway = self.settled && (self.final_for != self.kept || is_next);
        config.settled = self.settled && !self.is_midway;
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
        let stands = |(_, id): &&([u8; 32], RootId)| id.epoch == 0 || id.epoch >= kept;
        let here: Vec<Drawn> = self.drawn.iter().filter(stands).map(drawn).collect();
        let is_another = |there: &Drawn| here.iter().all(|drawn| drawn.list != there.list);
        config.drawn.retain(|there| there.epoch >= kept && is_another(there));
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
            || self.list_of(id).is_some()
    }

    /// Takes into account that others may hold shares of the epochs up to this one. Says whether
    /// that must be kept first.
    pub(super) fn come_back(&mut self, epoch: u64) -> bool {
        let known = self.unnamed.is_some_and(|known| known >= epoch);
        self.final_for = None;
        self.unnamed = self.unnamed.max(Some(epoch));
        !known
    }

    /// A root key is about to be kept. Says whether that must be kept first.
    fn keep(&mut self, id: &RootId) -> bool {
        let known = self.is_of_here(id) && self.highest.is_none();
        if self.kept == Some(*id) {
            return !known;
        }
        let is_own = self.list_of(id).is_some();
        (self.kept, self.highest) = (Some(*id), None);
        // What others tried by a list of before is gone with an epoch that began by this one.
        self.drawn.retain(|(_, drawn)| drawn.epoch >= id.epoch || drawn.epoch == 0 && !is_own);
        !known
    }

    /// A root key was drawn by that list. Says whether that must be kept before its shares are
    /// dealt.
    fn draw(&mut self, list: [u8; 32], id: RootId) -> bool {
        if self.list_of(&id).is_some() {
            return false;
        }
        // Of a list the last key stands for those before: they bear the same brand.
        self.drawn.retain(|(by, drawn)| *by != list || drawn.epoch > id.epoch);
        self.drawn.push((list, id));
        true
    }

    /// Whether who was dealt a root key is what is entered for its epoch. If another machine drew
    /// it by a list of its own, whom this one entered says nothing.
    pub(super) fn drew(&self, id: &RootId) -> bool {
        let unnamed = self.unnamed.is_some_and(|unnamed| unnamed >= id.epoch);
        !unnamed && (!self.is_kept || self.list_of(id).is_some())
    }

    /// Whether a keyholder counts for the epoch before this one.
    pub(super) fn was_entered_before(&self, epoch: u64, key: &Signer) -> bool {
        let before = epoch.saturating_sub(1);
        let entry = self.dealt.iter().rev().find(|entry| entry.covers(before));
        entry.is_none_or(|entry| entry.keys.contains(key))
    }

    /// Keyholders that left since the epoch before that of `id`, with their places among those that
    /// left: they count for this one as well.
    pub(super) fn just_left(&self, id: &RootId) -> impl Iterator<Item = (usize, &Gone)> {
        let after = id.epoch.checked_add(1);
        self.left.iter().enumerate().filter(move |(_, gone)| !gone.done && gone.until == after)
    }

    /// Those that left and count for an epoch that begins, if they were dealt the one before it.
    pub(super) fn counts_for(&self, epoch: u64) -> BTreeSet<Signer> {
        self.left.iter().filter(|gone| gone.counts_for(epoch)).map(|gone| gone.key).collect()
    }

    /// Those that left and counted for an epoch for which they would not have counted later.
    pub(super) fn counted_for(&self, epoch: u64) -> BTreeSet<Signer> {
        let counted = |gone: &&Gone| gone.until == epoch.checked_add(1);
        self.left.iter().filter(counted).map(|gone| gone.key).collect()
    }

    /// Whether one that left may hold a share of the running root key.
    pub(super) fn has_left_one(&self, running: &RootId) -> bool {
        let holds = |gone: &Gone| !gone.done && gone.counts_for(running.epoch);
        self.left.iter().any(holds)
    }

    /// Whether one of these was not there when an epoch was begun last, and none was tried by this
    /// list yet.
    pub(super) fn is_new(&self, list: &[u8; 32], members: &[Signer]) -> bool {
        let is_new = |last: &Entry| members.iter().any(|key| !last.keys.contains(key));
        self.dealt.last().is_some_and(is_new) && !self.has_drawn_by(list)
    }

    /// Whether anything was drawn by this list.
    fn has_drawn_by(&self, list: &[u8; 32]) -> bool {
        self.drawn.iter().any(|(by, _)| by == list)
    }

    /// The list by which a root key was drawn here.
    pub(super) fn list_of(&self, id: &RootId) -> Option<[u8; 32]> {
        self.drawn.iter().find(|(_, drawn)| drawn == id).map(|(list, _)| *list)
    }

    /// Who counts for which epochs, to be put back where nobody else was dealt anything.
    pub(super) fn entered(&self) -> Entered {
        let until = self.left.iter().map(|gone| gone.until).collect();
        Entered { dealt: self.dealt.clone(), until, drawn: self.drawn.clone() }
    }

    /// The deposit of a root key failed: those that would have been dealt it later count for
    /// nothing.
    pub(super) fn call_off(&mut self, id: RootId, entered: Entered) -> bool {
        let Entered { dealt, until, drawn } = entered;
        let list = self.list_of(&id);
        self.drawn = drawn;
        // What was entered for that list is not any more, and it was tried out.
        if let Some(list) = list.filter(|list| !self.has_drawn_by(list)) {
            self.drawn.push((list, RootId { epoch: 0, attempt: [0; 16] }));
        }
        self.left.iter_mut().zip(until).for_each(|(gone, until)| gone.until = until);
        // At the very first nothing is known: see `deal`.
        if !dealt.is_empty() {
            self.dealt = dealt;
        }
        self.fail(id);
        true
    }

    /// Before the first share of a root key, which was drawn by that list, goes out to `members`.
    /// Those that left since the epoch before count for it as well: where too few others take the
    /// key they are dealt it too. Says whether something changed that must be kept first.
    pub(super) fn begin(&mut self, list: [u8; 32], id: RootId, members: &[Signer]) -> bool {
        let is_drawn = self.draw(list, id);
        self.enter(id.epoch, members) || is_drawn
    }

    /// Enters who counts for an epoch that begins. Says whether something changed.
    fn enter(&mut self, epoch: u64, members: &[Signer]) -> bool {
        let mut keys: BTreeSet<Signer> = members.iter().copied().collect();
        let mut changed = false;
        // Whoever was not dealt the key before is not dealt this one.
        let count: Vec<bool> =
            self.left.iter().map(|gone| self.was_entered_before(epoch, &gone.key)).collect();
        let left = self.left.iter_mut().zip(count);
        for (gone, counts) in left.filter(|(gone, _)| gone.until.is_none()) {
            gone.until = if counts { epoch.checked_add(1) } else { Some(epoch) };
            changed = true;
        }
        // Also those that an earlier try of this epoch entered.
        keys.extend(self.counts_for(epoch));
        match self.dealt.last_mut() {
            Some(last) if last.keys == keys => return changed,
            Some(last) if last.from == epoch => {
                let before = last.keys.len();
                last.keys.extend(&keys);
                return changed || last.keys.len() > before;
            }
            Some(last) => last.until = Some(epoch),
            None => {}
        }
        self.dealt.push(Entry { from: epoch, until: None, keys });
        true
    }

    /// The same with an epoch entered that was tried here, of which shares may have gone out;
    /// `None` if it was not tried.
    pub(super) fn with_tried(&self, epoch: u64, members: &[Signer]) -> Option<Ledger> {
        let mut entered = Ledger {
            left: self.left.clone(),
            dealt: self.dealt.clone(),
            gone: self.gone.clone(),
            unnamed: self.unnamed,
            ..Ledger::default()
        };
        let is_tried = self.failed.iter().any(|id| id.epoch == epoch);
        (is_tried && entered.enter(epoch, members)).then_some(entered)
    }

    /// An epoch was begun elsewhere, by the very list that is kept here: what that recorded there
    /// is recorded here. Says whether something changed that must be kept.
    pub(super) fn catch_up(&mut self, list: [u8; 32], id: RootId, members: &[Signer]) -> bool {
        // Where nothing is known all count anyhow: see `deal`.
        let changed = !self.dealt.is_empty() && self.enter(id.epoch, members);
        if changed {
            self.draw(list, id);
            self.final_for = None;
        }
        changed
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

    /// Some of those that left are seen to hold shares of the running root key: they leave after
    /// its epoch, whatever was entered here. Says whether something changed that must be kept.
    pub(super) fn still_hold(&mut self, running: &RootId, some: &[Signer]) -> bool {
        let mut changed = false;
        let is_over = |gone: &&mut Gone| !gone.counts_for(running.epoch);
        let held = self.left.iter_mut().filter(|gone| some.contains(&gone.key));
        for gone in held.filter(is_over) {
            (gone.until, gone.done) = (running.epoch.checked_add(1), false);
            changed = true;
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
        self.final_for = None;
        std::mem::take(&mut self.settled)
    }

    /// Whether the retirement that kept this root key was final.
    pub(super) fn is_final(&self, keep: &RootId) -> bool {
        self.settled && self.final_for == Some(*keep)
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
        let was_final = self.is_final(keep);
        let gone = |entry: &Entry| entry.is_gone(quorum, keep, &self.said);
        // What has not ended yet has nothing to be gone.
        let ended = |entry: &Entry| entry.from < keep.epoch;
        let all_gone =
            self.unnamed.is_none() && self.dealt.iter().all(|entry| !ended(entry) || gone(entry));
        let all_gone = was_final || all_gone;
        let over = |entry: &Entry| entry.until.is_some_and(|until| until <= keep.epoch);
        let whether: Vec<bool> =
            self.dealt.iter().map(|entry| over(entry) && gone(entry)).collect();
        let before = (self.dealt.len(), self.failed.len(), self.settled);
        let mut whether = whether.into_iter();
        self.gone.extend(self.dealt.extract_if(.., |_| whether.next() == Some(true)));
        self.gone.drain(..self.gone.len().saturating_sub(OVER_MAX));
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
        self.final_for = self.settled.then_some(*keep);
        changed |= std::mem::take(&mut self.is_midway);
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

/// Who counts for which epochs: the entries, for each that left the first epoch without it, and
/// what was drawn.
pub(super) struct Entered {
    dealt: Vec<Entry>,
    until: Vec<Option<u64>>,
    drawn: Vec<([u8; 32], RootId)>,
}

/// What came of a round of statements.
pub(super) struct Taken {
    /// Whether of every epoch before that may reach something erased enough have signed.
    pub(super) all_gone: bool,
    /// Whether something changed that must be kept.
    pub(super) changed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that an earlier version drew do not say who left and counts.
    #[test]
    fn one_that_left_and_hands_in_a_share_leaves_after_that_epoch() {
        let gone = Gone { key: [5; 32], x: 5, until: Some(3), done: true };
        let mut ledger = Ledger { left: vec![gone], ..Ledger::default() };
        let running = RootId { epoch: 3, attempt: [3; 16] };
        assert!(!ledger.still_hold(&running, &[[4; 32]]));
        assert!(ledger.still_hold(&running, &[[5; 32]]));
        assert_eq!((ledger.left[0].until, ledger.left[0].done), (Some(4), false));
        assert!(!ledger.still_hold(&running, &[[5; 32]]));
    }

    /// The first try had entered it: at the second it counted for nothing, and took a share.
    #[test]
    fn one_that_left_counts_at_each_try_of_an_epoch() {
        let all = |keys: &[u8]| keys.iter().map(|n| [*n; 32]).collect::<Vec<Signer>>();
        let keys = all(&[1, 2, 3, 4]).into_iter().collect();
        let gone = Gone { key: [4; 32], x: 4, until: None, done: false };
        let dealt = vec![Entry { from: 2, until: None, keys }];
        let mut ledger = Ledger { left: vec![gone], dealt, is_kept: true, ..Ledger::default() };
        for attempt in [1, 2] {
            let id = RootId { epoch: 3, attempt: [attempt; 16] };
            ledger.begin([9; 32], id, &all(&[1, 2, 3]));
            assert_eq!(ledger.just_left(&id).count(), 1);
            assert!(ledger.was_entered_before(4, &[4; 32]), "attempt {attempt}");
        }
    }
}
