//! The verbs of a root cell, for one that is spread over keyholders.

use std::collections::BTreeSet;

use super::Held;
use super::ask::LOOK;
use super::beyond::Beyond;
use super::brand::{Lists, Tells};
use super::cell::QuorumCell;
use super::deposit::Begun;
use super::known::Answers;
use super::ledger::Ledger;
use super::order::RetireOrder;
use super::promised::promised;
use super::told::{came_back_older, owned_elsewhere};
use crate::cell::{Contents, Durable, Owner, RootCell};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, Dealt, Promise, Retirement, RootId, Statement};

impl RootCell for QuorumCell {
    fn describe(&self) -> Promise {
        let known = self.known();
        promised(known.ledger.concerned(&self.quorum), known.ledger.unnamed)
    }

    /// A keyholder that is back gets its share of the running key; where that cannot be, one of the
    /// next. One that left may hold a share of the running key, and so may many of a later one.
    fn wants_epoch(&self) -> bool {
        let (store, running) = {
            let known = self.known();
            (known.store, known.running.filter(|_| known.short))
        };
        if let Some((store, running)) = store.zip(running) {
            // One that is far away, and lost its share, is to be heard.
            let held = self.ask_for_within(LOOK, store, running);
            let _ = self.deal(store, &running, &held);
        }
        let known = self.known();
        let is_left = |running: &RootId| !known.short && known.ledger.has_left_one(running);
        known.short && known.waits || known.is_behind || known.running.as_ref().is_some_and(is_left)
    }

    fn take_over(&self) {
        self.known().takes_over = true;
    }

    fn brand(&self, id: &mut RootId) {
        Lists::of(&self.known().ledger, &self.quorum).brand(id);
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.hold(store)?;
        // The others learn it with the next request.
        if let Err(refused) = self.tell_most(store, *owner, mark, "took the claim of this engine") {
            self.known().answers = None;
            return Err(refused);
        }
        let mut known = self.known();
        known.owner = *owner;
        // One that takes the store over does so from an engine that may have destroyed the key.
        let stands = !known.takes_over;
        known.answers.iter_mut().for_each(|there| there.claimed = stands);
        Ok(())
    }

    /// A take-over goes on all the same, and records up to which epoch it cannot know all that
    /// hold shares.
    fn check_kept(&self, live: &RootId) -> Result<()> {
        let (unknown, elsewhere, takes_over, store) = {
            let known = self.known();
            let lists = Lists::of(&known.ledger, &self.quorum);
            let unknown = lists.unknown(live, &known.told, self.f(), known.takes_over);
            let elsewhere = lists.begun_elsewhere(live, &known.told, self.f());
            (unknown, elsewhere, known.takes_over, known.store)
        };
        if let Some(((list, id), store)) = elsewhere.zip(store) {
            self.hold(store)?;
            self.record(|ledger| ledger.catch_up(list, id, &self.quorum.keyholders))?;
        }
        match (unknown, store) {
            (Some(epoch), Some(store)) if takes_over => {
                self.hold(store)?;
                self.record(|ledger| ledger.come_back(epoch))
            }
            (Some(epoch), _) => Err(came_back_older(epoch)),
            (None, _) => Ok(()),
        }
    }

    /// The claim once more, with a higher mark.
    fn mark(&self, store: StoreId, commit: u64) -> Result<()> {
        let owner = self.known().owner;
        self.tell_most(store, owner, commit, "learned of the newest commit")
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.hold(store)?;
        self.deal_again(store, id)?;
        // Before the first share: a keyholder that is dealt one counts for this epoch, and no other
        // must.
        let (entered, is_ours) = {
            let known = self.known();
            let is_ours = known.running.is_none_or(|running| known.ledger.drew(&running));
            (known.ledger.entered(), is_ours)
        };
        let mut is_first = false;
        self.record(|ledger| {
            let list = Lists::of(ledger, &self.quorum).now(id.epoch);
            is_first = ledger.is_new(&list, &self.quorum.keyholders);
            ledger.begin(list, *id, &self.quorum.keyholders)
        })?;
        self.known().ledger.attempt(*id);
        self.deal_new(store, id, key, Begun { is_first, is_ours }).or_else(|e| {
            self.record(|ledger| ledger.call_off(*id, entered))?;
            Err(e)
        })
    }

    fn load(&self) -> Result<Contents> {
        let Some(store) = self.known().store else {
            return Ok(Contents::default());
        };
        let held = self.look(store);
        self.known().told = Tells::by(&held[..self.n()]);
        self.contents(store, &held)
    }

    fn load_for(&self, id: &RootId) -> Result<Contents> {
        let Some(store) = self.known().store else {
            return Ok(Contents::default());
        };
        let held = self.ask_for(store, *id);
        let contents = self.contents(store, &held)?;
        self.known().answers = Some(Answers { id: *id, held, claimed: false });
        Ok(contents)
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        let lost =
            || Error::corrupt("the root key to keep is not in the cell; nothing was destroyed");
        let store = self.known().store.ok_or_else(lost)?;
        self.hold(store)?;
        let (keep, owner) = (*keep, self.known().owner);
        let answers = self.known().answers.take();
        let answers = answers.filter(|there| there.id == keep && there.claimed);
        let (held, are_told) = match answers {
            Some(there) => (there.held, true),
            None => self.ask_claimed(store, keep, proof.commit()),
        };
        let others = held.iter().take(self.n()).flatten().filter_map(|held| held.owner);
        if others.filter(|other| *other != owner && other.claim >= owner.claim).count() > self.f() {
            return Err(owned_elsewhere());
        }
        let was_final = self.known().ledger.is_final(&keep);
        self.note_holders(&keep, &held)?;
        let concerned = self.known().ledger.concerned(&self.quorum);
        let needed = concerned.needed();
        let holders = self.deal(store, &keep, &held)?;
        self.known().keep(keep);
        let is_there =
            held.iter().flatten().any(|held| held.shares.iter().any(|share| share.id == keep));
        if !is_there && held.iter().all(Result::is_ok) {
            return Err(lost());
        }
        // Nothing older is left to those that kept this key: what failed since goes all the same.
        let kept = |held: &&Held| {
            held.committed >= keep.epoch && held.shares.iter().any(|share| share.id == keep)
        };
        let kept = held.iter().flatten().filter(kept).count();
        if !was_final && holders < self.wanted() && kept <= self.f() {
            // The old key is as safe as it was, and stays until the next is too.
            self.record(Ledger::put_off)?;
            return Ok(Retirement::Stated { statements: Vec::new(), needed });
        }
        let shares = held.iter().flatten().flat_map(|held| &held.shares);
        let seen: BTreeSet<RootId> = shares.map(|share| share.id).collect();
        let given_up = self.known().ledger.given_up(&keep, &seen);
        let beyond = Beyond::of(&held, self.n(), &owner, are_told, &keep, &given_up);
        let is_last = was_final || self.is_last(&beyond)?;
        let order = RetireOrder { store, owner, keep, given_up, mark: proof.commit() };
        let asked = self.ask_to_retire(order, needed);
        let mut said = match asked {
            // What is away owes nothing.
            Err(e) if was_final && e.kind() == ErrorKind::Io => Vec::new(),
            asked => asked?,
        };
        // Whoever has a later one does not show that what is erased here is out of reach.
        let places = |key: &[u8; 32]| self.circle.members.iter().position(|it| it.key() == *key);
        let is_clear = |key: &[u8; 32]| places(key).is_some_and(|n| beyond.is_clear(n));
        said.retain(|said| is_last || is_clear(&said.keyholder));
        let counts = |said: &&Statement| concerned.keyholders.contains(&said.keyholder);
        let statements: Vec<Statement> = said.iter().filter(counts).cloned().collect();
        let enough = was_final || statements.len() >= needed;
        let mut all_gone = false;
        self.record(|ledger| {
            let taken = ledger.take_down(&self.quorum, &keep, &said, enough);
            all_gone = taken.all_gone;
            taken.changed
        })?;
        // Not final before every epoch is: the words still lacking are more than there are.
        let needed = match all_gone {
            true if was_final => needed.min(statements.len()),
            true => needed,
            false => needed.max(statements.len() + 1),
        };
        Ok(Retirement::Stated { statements, needed })
    }

    fn unfinished(&self) -> Vec<Dealt> {
        let known = self.known();
        known.ledger.unfinished(&self.quorum, known.running.map(|id| id.epoch))
    }

    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        self.known().ledger.awaited(&self.quorum, keep)
    }

    fn remembered(&self) -> Vec<Statement> {
        self.known().ledger.said()
    }
}
