//! A cell on a medium of its own, whose next key stands ready, and a machine that is set back: the
//! engine's memory and its store are again as they were in a snapshot, the cell is not, and an
//! eavesdropper has kept every head. SPEC §6, §7.

use stateright::{Model, Property};

type Mask = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// That the key stands ready is believed from memory.
    ReadyFromMemory,
    /// The next key is deposited without checking that the cell still has the key of the head.
    CurrentNotLooked,
    /// What stands ready when a store is opened is used.
    ReadyReused,
    /// The machine is set back while an erase of the run that is given up has been handed to the
    /// store and is not complete. Here no rule of the cell helps: its key stands there, ready as it
    /// was in the snapshot.
    SetBackInBetween,
}

/// A head as it was stored: which erases it goes on from, and its key.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Head {
    erased: Mask,
    root: u8,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Engine {
    head: Head,
    ready: Option<u8>,
    /// What it has published, and not retired for.
    published: Option<u8>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    engine: Option<Engine>,
    /// The newest head in the store.
    stored: Head,
    tape: Vec<Head>,
    /// Keys in the cell, and how many were drawn.
    live: Mask,
    drawn: u8,
    erases: u8,
    returned: Mask,
    snapshot: Option<(Option<Engine>, Head)>,
    set_back: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Step {
    Open,
    Erase,
    /// An erase that comes to nothing: a crash when its pages and its head are with the store,
    /// which has not taken them.
    Attempt,
    /// With the key of the epoch to come in the place of the old one, or without.
    Retire(bool),
    Snapshot,
    SetBack,
    Crash,
}

struct Ready {
    mistake: Mistake,
}

const ERASES: u8 = 4;

fn live(state: &State, root: u8) -> bool {
    state.live & 1 << root != 0
}

/// The steps: each changes the state, or cannot be taken.
impl Ready {
    fn on_open(&self, state: &mut State) -> Option<()> {
        let head = state.stored;
        if !live(state, head.root) {
            return None;
        }
        let next = (head.root + 1..state.drawn).find(|root| live(state, *root));
        let ready = next.filter(|_| self.mistake == Mistake::ReadyReused);
        state.live = 1 << head.root | ready.map_or(0, |root| 1 << root);
        // Recovery completes what stands in the head.
        state.returned |= head.erased;
        state.engine = Some(Engine { head, ready, published: None });
        Some(())
    }

    fn on_erase(&self, state: &mut State, step: Step) -> Option<()> {
        let Some(Engine { head, ready, published: None }) = state.engine else { return None };
        if state.erases == ERASES || state.drawn > 6 {
            return None;
        }
        let known = ready.is_some_and(|_| self.mistake == Mistake::ReadyFromMemory);
        let looked = live(state, head.root) || self.mistake == Mistake::CurrentNotLooked;
        if !known && (!looked || ready.is_some_and(|root| !live(state, root))) {
            // The cell is ahead of this engine, or of another run: it stops.
            state.engine = None;
            return Some(());
        }
        let root = ready.unwrap_or(state.drawn);
        state.drawn += u8::from(ready.is_none());
        state.live |= 1 << root;
        let head = Head { erased: head.erased | 1 << state.erases, root };
        state.tape.push(head);
        if step == Step::Attempt {
            if state.crashes == 2 {
                return None;
            }
            state.engine = None;
            state.crashes += 1;
        } else {
            state.stored = head;
            state.engine = Some(Engine { head, ready: None, published: Some(state.erases) });
        }
        state.erases += 1;
        Some(())
    }

    fn on_retire(&self, state: &mut State, next: bool) -> Option<()> {
        let Some(Engine { head, published: Some(erase), .. }) = state.engine else { return None };
        if !live(state, head.root) {
            state.engine = None;
            return Some(());
        }
        if next && state.drawn > 6 {
            return None;
        }
        let ready = next.then_some(state.drawn);
        state.drawn += u8::from(next);
        state.live = 1 << head.root | ready.map_or(0, |root| 1 << root);
        state.returned |= 1 << erase;
        state.engine = Some(Engine { head, ready, published: None });
        Some(())
    }

    fn on_snapshot(&self, state: &mut State) -> Option<()> {
        if state.snapshot.is_some() {
            return None;
        }
        state.snapshot = Some((state.engine, state.stored));
        Some(())
    }

    fn on_set_back(&self, state: &mut State) -> Option<()> {
        // An erase of this run was handed to the store, and is not complete.
        let between = state
            .tape
            .iter()
            .any(|head| live(state, head.root) && head.erased & !state.returned != 0);
        if state.set_back == 2 || between && self.mistake != Mistake::SetBackInBetween {
            return None;
        }
        (state.engine, state.stored) = state.snapshot?;
        state.set_back += 1;
        Some(())
    }

    fn on_crash(&self, state: &mut State) -> Option<()> {
        if state.crashes == 2 || state.engine.is_none() {
            return None;
        }
        state.engine = None;
        state.crashes += 1;
        Some(())
    }
}

impl Model for Ready {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let head = Head { erased: 0, root: 0 };
        vec![State {
            engine: None,
            stored: head,
            tape: vec![head],
            live: 1,
            drawn: 1,
            erases: 0,
            returned: 0,
            snapshot: None,
            set_back: 0,
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        match state.engine {
            None => steps.push(Step::Open),
            Some(Engine { published: None, .. }) => steps.extend([Step::Erase, Step::Attempt]),
            Some(_) => steps.extend([Step::Retire(false), Step::Retire(true)]),
        }
        steps.extend([Step::Snapshot, Step::SetBack, Step::Crash]);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Open => self.on_open(&mut state)?,
            Step::Erase | Step::Attempt => self.on_erase(&mut state, step)?,
            Step::Retire(next) => self.on_retire(&mut state, next)?,
            Step::Snapshot => self.on_snapshot(&mut state)?,
            Step::SetBack => self.on_set_back(&mut state)?,
            Step::Crash => self.on_crash(&mut state)?,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ERASED, |_: &Ready, state: &State| {
                state.tape.iter().all(|head| {
                    state.live & 1 << head.root == 0
                        || head.erased & state.returned == state.returned
                })
            }),
            Property::always(LIVING, |_: &Ready, state: &State| {
                state.set_back > 0 || state.live & 1 << state.stored.root != 0
            }),
            Property::sometimes(
                "a machine that was set back goes on",
                |_: &Ready, state: &State| {
                    state.set_back > 0
                        && state.erases == ERASES
                        && state.engine.is_some_and(|e| e.published.is_none())
                },
            ),
            Property::sometimes(
                "a machine that was set back behind an erase is refused",
                |_: &Ready, state: &State| {
                    state.set_back > 0
                        && state.live & 1 << state.stored.root == 0
                        && state.engine.is_none()
                },
            ),
        ]
    }
}

const ERASED: &str =
    "no head that was ever stored opens, unless it goes on from every erase that returned";
const LIVING: &str = "the cell has the key of the newest head";

#[test]
fn a_key_that_stands_ready_seals_one_head_though_the_machine_is_set_back() {
    super::holds("a key that stands ready", Ready { mistake: Mistake::None });
}

#[test]
fn every_mistake_with_a_ready_key_is_found() {
    for mistake in [
        Mistake::ReadyFromMemory,
        Mistake::CurrentNotLooked,
        Mistake::ReadyReused,
        Mistake::SetBackInBetween,
    ] {
        super::breaks(&format!("a key that stands ready, {mistake:?}"), Ready { mistake }, ERASED);
    }
}
