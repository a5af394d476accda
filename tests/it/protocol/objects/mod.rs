//! Two engines over stores whose writes take effect late, even after their sender died, and over
//! one cell that both reach. SPEC §6, §6.8.
//!
//! A store is a log of numbered objects, each made by create-if-absent; it discards what is old.
//! The cell is a medium that answers at once. The second engine opens the same store (a standby),
//! or a backup of it with the same cell: to look, or to take over.

mod rules;
mod state;

use stateright::{Model, Property};

use self::state::{Kind, Mask, Object, Phase, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// An opener makes no claim.
    NoClaim,
    /// It destroys keys, and claims afterwards.
    RetireFirst,
    /// It gives up what it sees after its claim.
    ClaimThenLoad,
    /// A request that timed out has failed if the object is not there.
    NotThereIsFinal,
    /// A request that timed out has worked.
    TimeoutIsSuccess,
    /// Claims are discarded as all else is.
    ClaimsDiscarded,
    /// A claim stands, whatever stands above it.
    ClaimUnlooked,
    /// Claims are discarded; a commit looks whether anything stands above it, and a claim does not.
    OnlyCommitsLook,
    /// Puts take the place of what is there.
    Blind,
    /// The head is sent before its key is in the cell.
    PublishFirst,
    /// The next commit is sent before the one below it is decided.
    TwoInFlight,
    /// A look at a backup goes through recovery, as an opening did that knew no owner.
    LookRecovers,
    /// A store that does not own the cell is opened as if it did.
    OwnsSilently,
    /// A backup carries the claims of its store.
    BackupCarriesClaims,
    /// The cell destroys what anybody says.
    RetireUnfenced,
    /// The owner of the cell is neither checked nor recorded before keys are destroyed.
    NeverOwned,
    /// A store knows the owner by its newest claim alone.
    NewestClaimOnly,
    /// The cell is told of a claim that the store does not have yet.
    CellFirst,
    /// The cell takes any claim with a higher number, whatever its maker saw there.
    HigherNumberWins,
    /// An opener whom the cell refused claims again, also over a claim of another place.
    AgainOverOthers,
    /// A standby repeats the head that it saw, whatever came above it since.
    OldHeadRepeated,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Step {
    Land(u8),
    Overwrite(u8),
    Discard(u8),
    Backup,
    Look,
    Open(usize),
    Claim(usize),
    Load(usize),
    Own(usize),
    Settle(usize),
    Erase(usize),
    SendFirst(usize),
    Publish(usize),
    Put(usize),
    PutTwo(usize),
    Resolve(usize),
    GiveUp(usize),
    Assume(usize),
    Retire(usize),
    Crash(usize),
}

#[derive(Clone, Copy)]
struct Objects {
    /// Most objects that a run makes, the first included.
    most: usize,
    crashes: u8,
    /// Writes take effect when they are made, and one engine has a store at a time: a directory,
    /// under a lock.
    local: bool,
    /// The cell keeps one key: `retire` destroys every other.
    exclusive: bool,
    discards: bool,
    /// The cell records its owner, and obeys no other.
    owned: bool,
    /// An opener gives up what it saw in the cell before its claim. (Where it does not, `retire`
    /// takes it with its epoch.)
    gives_up_seen: bool,
    /// An opener is a standby: it has the key of the head read only once its claim is sent, and
    /// asks nobody again for it before it destroys the others.
    key_beside: bool,
    /// The second engine opens a backup.
    backup: bool,
    take_over: bool,
    mistake: Mistake,
}

const SMALL: Objects = Objects {
    most: 5,
    crashes: 2,
    local: false,
    exclusive: false,
    discards: true,
    owned: true,
    gives_up_seen: false,
    key_beside: false,
    backup: false,
    take_over: false,
    mistake: Mistake::None,
};

impl Objects {
    /// Whether a store is the one that the cell's owner has.
    fn owns(&self, state: &State, store: u8) -> bool {
        if !self.owned {
            return true;
        }
        let token = state.owner.1;
        let claims = |o: &Object| o.kind == Kind::Claim || o.kind == Kind::First;
        match self.mistake {
            Mistake::BackupCarriesClaims => true,
            Mistake::NewestClaimOnly => {
                let newest = state.logs[usize::from(store)].iter().rev().flatten();
                let newest = newest.copied().find(|n| claims(&state.object(*n)));
                newest.is_none_or(|n| n == token || state.object(n).known == token)
            }
            // Claims are never discarded.
            _ => {
                state.object(token).store == store
                    && state.landed & 1 << token != 0
                    && claims(&state.object(token))
            }
        }
    }

    fn heard(&self, state: &State, claim: u8) -> bool {
        !self.owned
            || state.owner == (state.object(claim).number, claim)
            || self.mistake == Mistake::NeverOwned
    }

    /// The cell's retire, for the owner of a claim, or for an engine that only looks.
    fn retire(&self, state: &mut State, claim: Option<u8>, keep: u8, given_up: Mask) -> bool {
        let heard = claim.is_none_or(|claim| self.heard(state, claim))
            || self.mistake == Mistake::RetireUnfenced;
        let ends = self.exclusive || state.fence().ends_at(&state.id(keep));
        let there = self.key_beside || state.alive & 1 << keep != 0;
        if !there || !ends || !heard {
            return false;
        }
        let epoch = state.epoch(keep);
        let spared = |root: &u8| {
            *root == keep
                || !self.exclusive && state.epoch(*root) > epoch && given_up & 1 << *root == 0
        };
        let kept: Mask = state.roots().filter(spared).map(|root| 1 << root).sum();
        state.alive &= kept;
        state.fence = Some(keep);
        true
    }

    fn store_of(&self, engine: usize) -> u8 {
        if self.backup { engine as u8 } else { 0 }
    }

    /// Sends an object; a local write takes effect at once, or never.
    fn send(&self, state: &mut State, object: u8) {
        state.sent |= 1 << object;
        if self.local && state.at(state.object(object)).is_none() {
            state.set(object);
        }
    }
}

/// The steps: each changes the state, or cannot be taken.
impl Objects {
    fn on_land(&self, state: &mut State, n: u8) -> Option<()> {
        if state.sent & 1 << n == 0 || state.at(state.object(n)).is_some() {
            return None;
        }
        state.set(n);
        Some(())
    }

    fn on_overwrite(&self, state: &mut State, n: u8) -> Option<()> {
        if state.sent & 1 << n == 0 || state.at(state.object(n)).is_none() {
            return None;
        }
        state.set(n);
        Some(())
    }

    fn on_discard(&self, state: &mut State, slot: u8) -> Option<()> {
        let there = state.logs[0][usize::from(slot)]?;
        let discards_claims =
            matches!(self.mistake, Mistake::ClaimsDiscarded | Mistake::OnlyCommitsLook);
        let claim = state.object(there).kind == Kind::Claim && !discards_claims;
        if claim || state.head(0) == Some(there) {
            return None;
        }
        state.logs[0][usize::from(slot)] = None;
        Some(())
    }

    fn on_backup(&self, state: &mut State) -> Option<()> {
        if !state.logs[1].is_empty() {
            return None;
        }
        let head = state.head(0)?;
        let slot = usize::from(state.object(head).slot);
        state.logs[1] = vec![None; slot + 1];
        state.logs[1][slot] = Some(head);
        Some(())
    }

    fn on_look(&self, state: &mut State) -> Option<()> {
        if self.mistake != Mistake::LookRecovers {
            return None;
        }
        let keep = state.object(state.head(1)?).root;
        let seen = state.alive;
        if !self.retire(state, None, keep, seen) {
            return None;
        }
        Some(())
    }

    fn on_open(&self, state: &mut State, n: usize) -> Option<()> {
        let store = self.store_of(n);
        let head = state.head(usize::from(store))?;
        let locked = self.local && !self.backup && state.engines[1 - n] != Phase::Closed;
        let silently = matches!(self.mistake, Mistake::OwnsSilently | Mistake::NeverOwned);
        let owns = self.owns(state, store) || silently || self.take_over && n == 1;
        let opens = self.key_beside || state.alive & 1 << state.object(head).root != 0;
        if locked || !owns || !opens {
            return None;
        }
        let seen = if self.gives_up_seen { state.alive } else { 0 };
        state.engines[n] = Phase::Opened { head, owner: state.owner, seen };
        Some(())
    }

    fn on_claim(&self, state: &mut State, n: usize) -> Option<()> {
        let Phase::Opened { head, owner, seen } = state.engines[n] else { return None };
        if self.mistake == Mistake::RetireFirst && seen != 0 || self.mistake == Mistake::NoClaim {
            return None;
        }
        if state.objects.len() == self.most {
            return None;
        }
        let store = self.store_of(n);
        let there = (0..state.objects.len() as u8).filter(|n| state.landed & 1 << n != 0);
        let there = there.map(|n| state.object(n)).filter(|o| o.store == store);
        let mine = there.map(|o| o.number).max().unwrap_or(0);
        let Object { root, mut slot, .. } = state.object(head);
        if self.mistake == Mistake::OldHeadRepeated {
            slot = slot.max(state.logs[usize::from(store)].len() as u8 - 1);
        }
        let number = owner.0.max(mine) + 1;
        let claim = Object {
            parent: head,
            root,
            slot: slot + 1,
            kind: Kind::Claim,
            store,
            number,
            known: owner.1,
        };
        let claim = state.add(claim);
        self.send(state, claim);
        state.engines[n] = Phase::Claiming { claim, seen };
        Some(())
    }

    /// A standby reads the key of the head that it claims over; `seen` is that key from then on.
    fn on_load(&self, state: &mut State, n: usize) -> Option<()> {
        let (Phase::Claiming { claim, seen } | Phase::Claimed { claim, seen }) =
            &mut state.engines[n]
        else {
            return None;
        };
        let key: Mask = 1 << state.objects[usize::from(*claim)].root;
        if !self.key_beside || *seen != 0 {
            return None;
        }
        *seen = key;
        if state.alive & key == 0 {
            state.engines[n] = Phase::Closed;
        }
        Some(())
    }

    fn on_own(&self, state: &mut State, n: usize) -> Option<()> {
        let (claim, seen) = match state.engines[n] {
            Phase::Claimed { claim, seen } => (claim, seen),
            // Its claim is not known to stand.
            Phase::Claiming { claim, seen } if self.mistake == Mistake::CellFirst => (claim, seen),
            _ => return None,
        };
        if self.key_beside && seen == 0 {
            return None;
        }
        let owner = (state.object(claim).number, claim);
        // Nobody else has claimed the cell since it was read.
        let known = state.object(claim).known;
        let unchanged = known == state.owner.1 || self.mistake == Mistake::HigherNumberWins;
        if !self.owned {
            state.engines[n] = Phase::Owner { claim, seen };
        } else if owner.0 > state.owner.0 && unchanged || owner == state.owner {
            state.owner = owner;
            state.engines[n] = match state.engines[n] {
                Phase::Claiming { .. } => state.engines[n],
                _ => Phase::Owner { claim, seen },
            };
        } else if self.owns(state, self.store_of(n)) || self.mistake == Mistake::AgainOverOthers {
            // Another one's claim of this store reached the cell in between: it stands below.
            let seen = if self.key_beside { 0 } else { seen };
            state.engines[n] = Phase::Opened { head: claim, owner: state.owner, seen };
        } else {
            state.engines[n] = Phase::Closed;
        }
        Some(())
    }

    fn on_settle(&self, state: &mut State, n: usize) -> Option<()> {
        match state.engines[n] {
            Phase::Owner { claim, seen } => {
                let keep = state.object(claim).root;
                let seen = match self.mistake {
                    Mistake::ClaimThenLoad => state.alive,
                    _ if self.key_beside => 0,
                    _ => seen,
                };
                let settled = self.retire(state, Some(claim), keep, seen);
                state.engines[n] =
                    if settled { Phase::Ready { claim, head: claim } } else { Phase::Closed };
                state.taken |= settled && self.take_over && n == 1;
            }
            Phase::Opened { head, owner, seen } => {
                if !matches!(self.mistake, Mistake::NoClaim | Mistake::RetireFirst) || seen == 0 {
                    return None;
                }
                let keep = state.object(head).root;
                let settled = self.retire(state, None, keep, seen);
                state.engines[n] = match (settled, self.mistake) {
                    (false, _) => Phase::Closed,
                    (true, Mistake::NoClaim) => Phase::Ready { claim: owner.1, head },
                    (true, _) => Phase::Opened { head, owner, seen: 0 },
                };
            }
            _ => return None,
        }
        Some(())
    }

    fn on_erase(&self, state: &mut State, n: usize, step: Step) -> Option<()> {
        let Phase::Ready { claim, head } = state.engines[n] else { return None };
        let first = matches!(step, Step::SendFirst(_));
        if state.objects.len() == self.most || first && self.mistake != Mistake::PublishFirst {
            return None;
        }
        let (store, slot) = (self.store_of(n), state.object(head).slot + 1);
        let root = state.roots().max().unwrap_or(0) + 1;
        let erase =
            Object { parent: head, root, slot, kind: Kind::Erase, store, number: 0, known: 0 };
        let erase = state.add(erase);
        if first {
            self.send(state, erase);
            state.engines[n] = Phase::Sent { claim, erase };
        } else if state.fence().takes(&state.id(root)) && self.heard(state, claim) {
            state.alive |= 1 << root;
            state.engines[n] = Phase::Deposited { claim, erase };
        } else {
            // It is refused, and learns that it is not the owner any more.
            state.objects.pop();
            state.engines[n] = Phase::Closed;
        }
        Some(())
    }

    fn on_publish(&self, state: &mut State, n: usize) -> Option<()> {
        match state.engines[n] {
            Phase::Deposited { claim, erase } => {
                self.send(state, erase);
                state.engines[n] = Phase::Publishing { claim, erase };
            }
            Phase::Sent { claim, erase } => {
                let root = state.object(erase).root;
                if !state.fence().takes(&state.id(root)) || !self.heard(state, claim) {
                    return None;
                }
                state.alive |= 1 << root;
                state.engines[n] = Phase::Publishing { claim, erase };
            }
            _ => return None,
        }
        Some(())
    }

    fn on_put(&self, state: &mut State, n: usize, step: Step) -> Option<()> {
        let Phase::Ready { claim, head } = state.engines[n] else { return None };
        let two = matches!(step, Step::PutTwo(_));
        if state.objects.len() + usize::from(two) >= self.most
            || two && self.mistake != Mistake::TwoInFlight
        {
            return None;
        }
        let Object { root, slot, .. } = state.object(head);
        let store = self.store_of(n);
        let put = |parent, slot| Object {
            parent,
            root,
            slot,
            kind: Kind::Put,
            store,
            number: 0,
            known: 0,
        };
        let n_put = state.add(put(head, slot + 1));
        self.send(state, n_put);
        state.engines[n] = Phase::Putting { claim, put: n_put };
        if two {
            let second = state.add(put(n_put, slot + 2));
            self.send(state, second);
            state.engines[n] = Phase::PuttingTwo { claim, put: n_put };
        }
        Some(())
    }

    fn on_resolve(&self, state: &mut State, n: usize) -> Option<()> {
        let (object, two) = match state.engines[n] {
            Phase::Claiming { claim, .. } => (claim, false),
            Phase::Publishing { erase, .. } => (erase, false),
            Phase::Putting { put, .. } => (put, false),
            Phase::PuttingTwo { put, .. } => (put, true),
            _ => return None,
        };
        let mut at = vec![(object, state.at(state.object(object)))];
        if two {
            at.push((object + 1, state.at(state.object(object + 1))));
        }
        if at.iter().any(|(mine, there)| there.is_some_and(|there| there != *mine)) {
            state.engines[n] = Phase::Closed;
            return Some(());
        }
        if at.iter().any(|(_, there)| there.is_none()) {
            return None;
        }
        state.engines[n] = match state.engines[n] {
            Phase::Claiming { claim, .. }
                if state.above(state.object(claim))
                    && !matches!(
                        self.mistake,
                        Mistake::ClaimUnlooked | Mistake::OnlyCommitsLook
                    ) =>
            {
                Phase::Closed
            }
            Phase::Publishing { .. } | Phase::Putting { .. }
                if state.above(state.object(object))
                    && self.mistake == Mistake::OnlyCommitsLook =>
            {
                Phase::Closed
            }
            Phase::Claiming { claim, seen } if self.mistake == Mistake::CellFirst => {
                if self.heard(state, claim) {
                    Phase::Owner { claim, seen }
                } else {
                    Phase::Claimed { claim, seen }
                }
            }
            // The medium is asked, and records nobody.
            Phase::Claiming { claim, seen } if self.mistake == Mistake::NeverOwned => {
                Phase::Owner { claim, seen }
            }
            Phase::Claiming { claim, seen } => Phase::Claimed { claim, seen },
            Phase::Publishing { claim, erase } => Phase::Published { claim, erase },
            Phase::Putting { claim, put } | Phase::PuttingTwo { claim, put } => {
                let last = put + u8::from(two);
                state.acknowledged |= 1 << put | 1 << last;
                Phase::Ready { claim, head: last }
            }
            _ => return None,
        };
        Some(())
    }

    fn on_give_up(&self, state: &mut State, n: usize) -> Option<()> {
        if self.mistake != Mistake::NotThereIsFinal {
            return None;
        }
        let Phase::Publishing { claim, erase } = state.engines[n] else { return None };
        if state.at(state.object(erase)).is_some() {
            return None;
        }
        let (parent, mine) = (state.object(erase).parent, state.object(erase).root);
        let keep = state.object(parent).root;
        if !self.retire(state, Some(claim), keep, 1 << mine) {
            return None;
        }
        state.engines[n] = Phase::Ready { claim, head: parent };
        Some(())
    }

    fn on_assume(&self, state: &mut State, n: usize) -> Option<()> {
        if self.mistake != Mistake::TimeoutIsSuccess {
            return None;
        }
        match state.engines[n] {
            Phase::Publishing { claim, erase } => {
                state.engines[n] = Phase::Published { claim, erase }
            }
            Phase::Putting { claim, put } => {
                state.acknowledged |= 1 << put;
                state.engines[n] = Phase::Ready { claim, head: put };
            }
            _ => return None,
        }
        Some(())
    }

    fn on_retire(&self, state: &mut State, n: usize) -> Option<()> {
        let Phase::Published { claim, erase } = state.engines[n] else { return None };
        let keep = state.object(erase).root;
        if self.retire(state, Some(claim), keep, 0) {
            state.returned |= 1 << erase;
            state.acknowledged |= 1 << erase;
            state.engines[n] = Phase::Ready { claim, head: erase };
        } else {
            state.engines[n] = Phase::Closed;
        }
        Some(())
    }

    fn on_crash(&self, state: &mut State, n: usize) -> Option<()> {
        state.engines[n] = Phase::Closed;
        state.crashes += 1;
        Some(())
    }
}

impl Model for Objects {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let first = Object {
            parent: 0,
            root: 0,
            slot: 0,
            kind: Kind::First,
            store: 0,
            number: 1,
            known: 0,
        };
        vec![State {
            objects: vec![first],
            logs: [vec![Some(0)], Vec::new()],
            sent: 1,
            landed: 1,
            alive: 1,
            fence: None,
            owner: (1, 0),
            engines: [Phase::Closed; 2],
            returned: 0,
            acknowledged: 0,
            crashes: 0,
            taken: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if !self.local {
            steps.extend((0..state.objects.len() as u8).map(Step::Land));
            if self.mistake == Mistake::Blind {
                steps.extend((0..state.objects.len() as u8).map(Step::Overwrite));
            }
        }
        if self.discards {
            steps.extend((0..state.logs[0].len() as u8).map(Step::Discard));
        }
        if self.backup {
            steps.extend([Step::Backup, Step::Look]);
        }
        for (n, phase) in state.engines.iter().enumerate() {
            match phase {
                Phase::Closed => steps.push(Step::Open(n)),
                Phase::Opened { .. } => steps.extend([Step::Claim(n), Step::Settle(n)]),
                Phase::Claiming { .. } => {
                    steps.extend([Step::Resolve(n), Step::Load(n), Step::Own(n)]);
                }
                Phase::Claimed { .. } => steps.extend([Step::Load(n), Step::Own(n)]),
                Phase::Owner { .. } => steps.push(Step::Settle(n)),
                Phase::Ready { .. } => {
                    steps.extend([
                        Step::Erase(n),
                        Step::SendFirst(n),
                        Step::Put(n),
                        Step::PutTwo(n),
                    ]);
                }
                Phase::Deposited { .. } | Phase::Sent { .. } => steps.push(Step::Publish(n)),
                Phase::Publishing { .. } | Phase::Putting { .. } => {
                    steps.extend([Step::Resolve(n), Step::GiveUp(n), Step::Assume(n)]);
                }
                Phase::PuttingTwo { .. } => steps.push(Step::Resolve(n)),
                Phase::Published { .. } => steps.push(Step::Retire(n)),
            }
            if *phase != Phase::Closed && state.crashes < self.crashes {
                steps.push(Step::Crash(n));
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Land(n) => self.on_land(&mut state, n)?,
            Step::Overwrite(n) => self.on_overwrite(&mut state, n)?,
            Step::Discard(slot) => self.on_discard(&mut state, slot)?,
            Step::Backup => self.on_backup(&mut state)?,
            Step::Look => self.on_look(&mut state)?,
            Step::Open(n) => self.on_open(&mut state, n)?,
            Step::Claim(n) => self.on_claim(&mut state, n)?,
            Step::Load(n) => self.on_load(&mut state, n)?,
            Step::Own(n) => self.on_own(&mut state, n)?,
            Step::Settle(n) => self.on_settle(&mut state, n)?,
            Step::Erase(n) | Step::SendFirst(n) => self.on_erase(&mut state, n, step)?,
            Step::Publish(n) => self.on_publish(&mut state, n)?,
            Step::Put(n) | Step::PutTwo(n) => self.on_put(&mut state, n, step)?,
            Step::Resolve(n) => self.on_resolve(&mut state, n)?,
            Step::GiveUp(n) => self.on_give_up(&mut state, n)?,
            Step::Assume(n) => self.on_assume(&mut state, n)?,
            Step::Retire(n) => self.on_retire(&mut state, n)?,
            Step::Crash(n) => self.on_crash(&mut state, n)?,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(LIVING, |_: &Objects, state: &State| {
                let store = usize::from(state.taken);
                let Some(mut at) = state.head(store) else { return false };
                if state.alive & 1 << state.object(at).root == 0 {
                    return false;
                }
                // Pages of what is below it were there once.
                while at != 0 && state.landed & 1 << at != 0 {
                    at = state.object(at).parent;
                }
                at == 0
            }),
            Property::always(ERASED, |_: &Objects, state: &State| {
                let returned =
                    (0..state.objects.len() as u8).filter(|n| state.returned & 1 << n != 0);
                let mut reaching = returned.flat_map(|erase| {
                    (0..state.objects.len() as u8)
                        .filter(move |n| state.sent & 1 << n != 0 && !state.goes_on(*n, erase))
                });
                reaching.all(|n| state.alive & 1 << state.object(n).root == 0)
            }),
            Property::always(ACKNOWLEDGED, |_: &Objects, state: &State| {
                let store = u8::from(state.taken);
                let Some(head) = state.head(usize::from(store)) else { return false };
                let done =
                    (0..state.objects.len() as u8).filter(|n| state.acknowledged & 1 << n != 0);
                done.filter(|n| state.object(*n).store == store).all(|n| state.goes_on(head, n))
            }),
            Property::always(SHUT_OUT, |model: &Objects, state: &State| {
                // A take-over that has begun is somebody's word.
                model.owns(state, 0) || model.take_over && model.owns(state, 1)
            }),
            Property::sometimes(CLAIMS_AGAIN, |model: &Objects, state: &State| {
                let shared = !model.local && !model.backup && model.owned;
                !shared
                    || state.engines.iter().any(|phase| {
                        let Phase::Ready { claim, .. } = *phase else { return false };
                        let Object { parent, known, .. } = state.object(claim);
                        let refused = state.object(parent);
                        refused.kind == Kind::Claim
                            && known != parent
                            && known != refused.known
                            && state.object(known).known == refused.known
                    })
            }),
            Property::sometimes("an erase returns", |_: &Objects, state: &State| {
                state.returned != 0
            }),
        ];
        if !self.local {
            properties.push(Property::sometimes(
                "what a dead engine sent takes effect, and the next one goes on from it",
                |_: &Objects, state: &State| {
                    state.crashes > 0
                        && state.objects.iter().any(|o| {
                            o.kind == Kind::Claim && state.object(o.parent).kind == Kind::Erase && {
                                state.returned & 1 << o.parent == 0
                            }
                        })
                },
            ));
        }
        if self.take_over {
            properties.push(Property::sometimes(
                "a backup takes over, and erases",
                |_: &Objects, state: &State| {
                    let by_backup =
                        |n: &u8| state.object(*n).store == 1 && state.returned & 1 << n != 0;
                    state.taken && (0..state.objects.len() as u8).any(|n| by_backup(&n))
                },
            ));
        }
        properties
    }
}

/// Two open at once, and the cell takes the claim that stands below.
const CLAIMS_AGAIN: &str = "an opener whom the cell refused claims again, and owns the store";

const LIVING: &str = "the newest head of the owner's store has its key, and its pages";

const ERASED: &str = "what was erased can be read by nobody, ever";

const ACKNOWLEDGED: &str = "what was acknowledged is below the newest head";

const SHUT_OUT: &str = "the store can be opened again by its owner, without anybody's word";
