//! One keyholder and its medium: slots that are written one after another, each whole, or torn by a
//! crash; after it, what was not synced may be there or not. Requests come in any order, often, and
//! late. Shares lie in three slots; the fence, which is all that the keyholder remembers of epochs
//! that it has ended, in two of its own. SPEC §7, §15.

use keyfall::promise::{Fence, RootId};
use stateright::{Model, Property};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The fence is the highest tombstone among the slots of shares: the next deposit takes its
    /// slot.
    FenceInTombstone,
    /// There is one slot for the fence.
    OneFenceSlot,
    /// The newer of the two is overwritten.
    NewerOverwritten,
    /// A retirement is signed before the fence is synced.
    SignedUnsynced,
    /// The fence is kept in memory.
    FenceInMemory,
    /// A share is destroyed in the page cache.
    DestroyedUnsynced,
    /// A torn slot of a share is taken for free.
    TornIsGone,
}

/// Root keys that there are: two attempts at the second epoch.
const KEYS: [(u64, u8); 4] = [(1, 0), (2, 1), (2, 2), (3, 3)];

fn id(key: u8) -> RootId {
    let (epoch, attempt) = KEYS[usize::from(key)];
    RootId { epoch, attempt: [attempt + 1; 16] }
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Slot {
    Empty,
    Share(u8),
    /// A share was destroyed; which key was kept.
    Tombstone(u8),
    /// The highest key that was kept.
    Fence(u8),
    /// A write of it was cut short: it reads as nothing, and the medium itself may still hold what
    /// it held before.
    Torn(Option<u8>),
}

const SHARES: usize = 3;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    /// As it reads now: two slots for the fence after those of the shares.
    slots: [Slot; SHARES + 2],
    /// What is on the medium in place of what reads there, until it is synced.
    beneath: [Option<Slot>; SHARES + 2],
    /// What is still to be written for the request at hand, and what is signed then.
    writing: Vec<(u8, Slot)>,
    signs: Option<u8>,
    /// What the keyholder has in memory, where it keeps its fence there.
    memory: Option<u8>,
    /// The highest key that it has signed to keep, and every key that it has signed not to have.
    signed: Option<u8>,
    deposited: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Step {
    Deposit(u8),
    Retire(u8),
    /// The next write, and its sync.
    Write,
    /// A crash: while the next slot is being written it is torn; what was not synced is as before.
    Crash,
}

struct Medium {
    mistake: Mistake,
}

impl Medium {
    fn fence(&self, state: &State) -> Option<u8> {
        let of = |slot: &Slot| match (slot, self.mistake) {
            (Slot::Tombstone(keep), Mistake::FenceInTombstone) | (Slot::Fence(keep), _) => {
                Some(*keep)
            }
            _ => None,
        };
        if self.mistake == Mistake::FenceInMemory {
            return state.memory;
        }
        state.slots.iter().filter_map(of).max_by_key(|keep| id(*keep))
    }

    fn known(&self, state: &State) -> Fence {
        self.fence(state).map_or(Fence::NONE, |keep| Fence(id(keep)))
    }

    /// Which slot takes a new fence: the torn or older one.
    fn fence_slot(&self, state: &State) -> usize {
        let rank = |n: &usize| match state.slots[*n] {
            Slot::Fence(keep) => Some(id(keep)),
            _ => None,
        };
        let both = [SHARES, SHARES + 1];
        match self.mistake {
            Mistake::OneFenceSlot => SHARES,
            Mistake::NewerOverwritten => both.into_iter().max_by_key(rank).unwrap_or(SHARES),
            _ => both.into_iter().min_by_key(rank).unwrap_or(SHARES),
        }
    }

    fn synced(&self, slot: Slot) -> bool {
        !matches!(
            (slot, self.mistake),
            (Slot::Fence(_), Mistake::SignedUnsynced)
                | (Slot::Tombstone(_), Mistake::DestroyedUnsynced)
        )
    }
}

/// The steps: each changes the state, or cannot be taken.
impl Medium {
    fn on_deposit(&self, state: &mut State, key: u8) -> Option<()> {
        if !self.known(state).takes(&id(key)) || state.slots.contains(&Slot::Share(key)) {
            return None;
        }
        let free = |slot: &Slot| !matches!(slot, Slot::Share(_));
        let n = state.slots[..SHARES].iter().position(free)?;
        state.writing = vec![(n as u8, Slot::Share(key))];
        Some(())
    }

    fn on_retire(&self, state: &mut State, keep: u8) -> Option<()> {
        if !self.known(state).ends_at(&id(keep)) {
            return None;
        }
        if self.mistake != Mistake::FenceInTombstone && self.fence(state) != Some(keep) {
            state.writing.push((self.fence_slot(state) as u8, Slot::Fence(keep)));
        }
        for (n, slot) in (0..).zip(&state.slots[..SHARES]) {
            let falls = match slot {
                Slot::Share(key) => *key != keep && id(*key).epoch <= id(keep).epoch,
                Slot::Torn(_) => self.mistake != Mistake::TornIsGone,
                _ => false,
            };
            if falls {
                state.writing.push((n, Slot::Tombstone(keep)));
            }
        }
        if self.mistake == Mistake::FenceInTombstone
            && state.writing.is_empty()
            && let Some(n) = state.slots[..SHARES].iter().position(|s| !matches!(s, Slot::Share(_)))
            && self.fence(state) != Some(keep)
        {
            state.writing.push((n as u8, Slot::Tombstone(keep)));
        }
        state.signs = Some(keep);
        if state.writing.is_empty() {
            state.signed = higher(state.signs.take(), state.signed);
        }
        Some(())
    }

    fn on_write(&self, state: &mut State) -> Option<()> {
        let (n, slot) = state.writing.remove(0);
        let n = usize::from(n);
        state.beneath[n] =
            if self.synced(slot) { None } else { Some(state.beneath[n].unwrap_or(state.slots[n])) };
        state.slots[n] = slot;
        match slot {
            Slot::Fence(keep) => state.memory = Some(keep),
            Slot::Share(key) => state.deposited |= 1 << key,
            _ => {}
        }
        if state.writing.is_empty() && state.signs.is_some() {
            state.signed = higher(state.signs.take(), state.signed);
        }
        Some(())
    }

    fn on_crash(&self, state: &mut State) -> Option<()> {
        if let Some((n, _)) = state.writing.first() {
            let n = usize::from(*n);
            let stood = match state.slots[n] {
                Slot::Share(key) => Some(key),
                Slot::Torn(stood) => stood,
                _ => None,
            };
            state.slots[n] = Slot::Torn(stood);
            state.beneath[n] = None;
        }
        for n in 0..state.slots.len() {
            if let Some(there) = state.beneath[n].take() {
                state.slots[n] = there;
            }
        }
        state.writing.clear();
        state.signs = None;
        state.memory = None;
        state.crashes += 1;
        Some(())
    }
}

impl Model for Medium {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            slots: [Slot::Share(0), Slot::Empty, Slot::Empty, Slot::Empty, Slot::Empty],
            beneath: [None; SHARES + 2],
            writing: Vec::new(),
            signs: None,
            memory: None,
            signed: None,
            deposited: 1,
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.writing.is_empty() {
            for key in 0..KEYS.len() as u8 {
                steps.extend([Step::Deposit(key), Step::Retire(key)]);
            }
        } else {
            steps.push(Step::Write);
        }
        if state.crashes < 3 {
            steps.push(Step::Crash);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Deposit(key) => self.on_deposit(&mut state, key)?,
            Step::Retire(keep) => self.on_retire(&mut state, keep)?,
            Step::Write => self.on_write(&mut state)?,
            Step::Crash => self.on_crash(&mut state)?,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(REMEMBERED, |model: &Medium, state: &State| {
                let after_a_crash = State {
                    slots: std::array::from_fn(|n| state.beneath[n].unwrap_or(state.slots[n])),
                    beneath: [None; SHARES + 2],
                    memory: None,
                    ..state.clone()
                };
                let signed = state.signed.map_or(Fence::NONE, |keep| Fence(id(keep)));
                [model.known(state), model.known(&after_a_crash)]
                    .iter()
                    .all(|known| known.0 >= signed.0)
            }),
            Property::always(GONE, |_: &Medium, state: &State| {
                let Some(keep) = state.signed else { return true };
                let gone = |slot: &Slot| match slot {
                    Slot::Share(key) | Slot::Torn(Some(key)) => {
                        *key == keep || id(*key).epoch > id(keep).epoch
                    }
                    _ => true,
                };
                state.slots.iter().all(gone) && state.beneath.iter().flatten().all(gone)
            }),
            Property::always(STAYS, |_: &Medium, state: &State| {
                // Unless it began to end that epoch.
                let told = |key: u8| {
                    let kept = |slot: &Slot| matches!(slot, Slot::Fence(k) | Slot::Tombstone(k) if id(*k).epoch >= id(key).epoch);
                    state.slots.iter().any(kept) || state.writing.iter().any(|(_, slot)| kept(slot))
                };
                (0..KEYS.len() as u8)
                    .filter(|key| {
                        state.deposited & 1 << key != 0
                            && state.signed.is_none_or(|s| id(s).epoch < id(*key).epoch)
                    })
                    .all(|key| told(key) || state.slots.contains(&Slot::Share(key)))
            }),
            Property::sometimes(
                "two epochs end, with crashes between",
                |_: &Medium, state: &State| state.signed == Some(3) && state.crashes == 3,
            ),
        ]
    }
}

/// The higher of two keys that were kept.
fn higher(one: Option<u8>, other: Option<u8>) -> Option<u8> {
    one.into_iter().chain(other).max_by_key(|keep| id(*keep))
}

const REMEMBERED: &str =
    "what was signed is remembered: no ended epoch is taken again, none is ended otherwise";
const GONE: &str = "what was signed to be gone is gone from the medium";
const STAYS: &str = "a share that was taken stays until its epoch, or a later one, ends";

#[test]
fn a_keyholder_remembers_what_it_signed_whatever_is_written_and_torn() {
    super::holds("a keyholder's medium", Medium { mistake: Mistake::None });
}

#[test]
fn every_mistake_on_the_medium_is_found() {
    for (mistake, broken) in [
        (Mistake::FenceInTombstone, REMEMBERED),
        (Mistake::OneFenceSlot, REMEMBERED),
        (Mistake::NewerOverwritten, REMEMBERED),
        (Mistake::SignedUnsynced, REMEMBERED),
        (Mistake::FenceInMemory, REMEMBERED),
        (Mistake::DestroyedUnsynced, GONE),
        (Mistake::TornIsGone, GONE),
    ] {
        super::breaks(&format!("a keyholder's medium, {mistake:?}"), Medium { mistake }, broken);
    }
}
