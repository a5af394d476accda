//! The erase protocol, checked exhaustively with stateright: every order of every step of two writers, of every message, delivered late,
//! twice or never, with crashes anywhere; one cell, and three keyholders of whom one may lie. The rules that the code and the model
//! share are the code's: [`Fence`], [`Quorum::needed`].
//!
//! An answer has no step of its own: a writer that acts on it later is one that takes its own step later. The model found that a `retire`
//! of an epoch, late, destroyed the candidate of the next one, which was published already: it names what it keeps, and takes
//! only what is not newer.
//!
//! Each seeded mistake, one for each rule, must give a counterexample.

use keyfall::cell::{Quorum, RootId};
use keyfall::promise::Fence;
use stateright::{Checker, Model, Property};

/// Most root keys that a run may draw, the first included.
const ROOTS: usize = 4;
const HOLDERS: usize = 3;

type Mask = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Publishes before enough shares were taken.
    PublishEarly,
    /// Publishes whatever the head is.
    PublishBlindly,
    /// A writer that lost the race tells keyholders to keep its own key.
    LoserRetires,
    /// A deposit takes the place of the older share.
    DepositOverwrites,
    /// Pages are made durable behind the publish.
    PagesAfter,
    /// One statement too few counts as final.
    OneTooFew,
    /// Only the old root key is destroyed, candidates that lost are not.
    LosersKept,
    /// Whatever is newer is destroyed too.
    NewerDestroyed,
    /// A keyholder takes shares of epochs that it has ended.
    NoFence,
    /// An erase returns when it is published.
    ReturnAtPublish,
    /// The old root key is destroyed before the head is published.
    RetireBeforePublish,
    /// Recovery takes a published erase for complete.
    RecoveryTrusts,
    /// A keyholder lets itself be told to keep an older key.
    EndsBackward,
    /// What stood ready when the writer crashed is used behind the crash, though an attempt under it may be on the medium.
    ReadyReused,
    /// What stands ready is written over the key that is kept.
    ReadyOverKept,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Phase {
    /// Crashed, or not started.
    Closed,
    /// Knows this head, and has told keyholders to keep it alone.
    Ready(u8),
    /// Has drawn this root key.
    Depositing(u8),
    /// It is the head.
    Retiring(u8),
    /// It lost the race.
    Lost,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Holder {
    /// Roots of which it has a share.
    shares: Mask,
    fence: Fence,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    /// For each root its parent and its writer; the first has none.
    roots: Vec<(u8, u8)>,
    holders: Vec<Holder>,
    writers: [Phase; 2],
    head: u8,
    /// Roots whose pages are durable.
    pages: Mask,
    /// Messages that were ever sent, for each root who they are to, or from: each may arrive at any time, often or never.
    deposits: [Mask; ROOTS],
    acks: [Mask; ROOTS],
    retires: [Mask; ROOTS],
    statements: [Mask; ROOTS],
    /// Roots whose erase was told to be final.
    returned: Mask,
    /// Of one cell: the root key of the next epoch, which its retire writes where a destroyed one was.
    ready: Option<u8>,
    /// Roots under which the pages of an attempt that came to nothing were handed to the store.
    tried: Mask,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Open(usize),
    Begin(usize),
    Sync(usize),
    Publish(usize),
    Return(usize),
    Crash(usize),
    Deposit { root: u8, holder: u8 },
    Retire { root: u8, holder: u8 },
}

struct Protocol {
    holders: usize,
    threshold: u8,
    /// The last keyholder keeps whatever it is told to destroy, and says that it did not.
    liar: bool,
    /// Most root keys that a run draws, the first included.
    roots: usize,
    /// One writer at a time, whose cell does what it is told at once: a file, under a lock.
    exclusive: bool,
    crashes: u8,
    mistake: Mistake,
}

impl Protocol {
    fn one_cell(mistake: Mistake) -> Self {
        Protocol { holders: 1, threshold: 1, liar: false, roots: ROOTS, exclusive: true, crashes: 3, mistake }
    }

    fn keyholders(liar: bool, roots: usize, crashes: u8, mistake: Mistake) -> Self {
        Protocol { holders: HOLDERS, threshold: 2, liar, roots, exclusive: false, crashes, mistake }
    }

    fn needed(&self) -> usize {
        let keyholders = (0..self.holders as u8).map(|n| [n; 32]).collect();
        let needed = Quorum { threshold: self.threshold, liars: u8::from(self.liar), keyholders }.needed();
        needed - usize::from(self.mistake == Mistake::OneTooFew)
    }

    fn all(&self) -> Mask {
        (1 << self.holders) - 1
    }

    fn lies(&self, holder: usize) -> bool {
        self.liar && holder + 1 == self.holders
    }

    /// How many keyholders have a share of a root.
    fn shares(&self, state: &State, root: u8) -> u32 {
        state.holders.iter().filter(|h| h.shares & 1 << root != 0).count() as u32
    }

    fn keeps(&self, state: &State, root: u8, keep: u8) -> bool {
        let newer = epoch(state, root) > epoch(state, keep);
        match self.mistake {
            Mistake::LosersKept => root != state.roots[usize::from(keep)].0 || root == keep,
            // Nobody else is there: what is newer was given up.
            Mistake::NewerDestroyed => root == keep,
            _ if self.exclusive => root == keep,
            _ => root == keep || newer,
        }
    }
}

fn id(state: &State, root: u8) -> RootId {
    RootId { epoch: epoch(state, root), attempt: [root; 16] }
}

fn epoch(state: &State, root: u8) -> u64 {
    let (mut epoch, mut at) = (1, root);
    while at != 0 {
        at = state.roots[usize::from(at)].0;
        epoch += 1;
    }
    epoch
}

/// Whether the tree of `root` goes on from that of `from`, or is it.
fn goes_on(state: &State, root: u8, from: u8) -> bool {
    let mut at = root;
    while at != from && at != 0 {
        at = state.roots[usize::from(at)].0;
    }
    at == from
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let holder = Holder { shares: 1, fence: Fence::NONE };
        vec![State {
            roots: vec![(0, 0)],
            holders: vec![holder; self.holders],
            writers: [Phase::Closed; 2],
            head: 0,
            pages: 1,
            deposits: [0; ROOTS],
            acks: [0; ROOTS],
            retires: [0; ROOTS],
            statements: [0; ROOTS],
            returned: 0,
            ready: None,
            tried: 0,
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (writer, phase) in state.writers.iter().enumerate() {
            match phase {
                Phase::Closed if self.exclusive && state.writers[1 - writer] != Phase::Closed => {}
                Phase::Closed => steps.push(Step::Open(writer)),
                Phase::Ready(_) => steps.push(Step::Begin(writer)),
                Phase::Depositing(_) => steps.extend([Step::Sync(writer), Step::Publish(writer)]),
                Phase::Retiring(_) => steps.extend([Step::Sync(writer), Step::Return(writer)]),
                Phase::Lost => {}
            }
            if state.crashes < self.crashes && *phase != Phase::Closed {
                steps.push(Step::Crash(writer));
            }
        }
        for root in 0..state.roots.len() as u8 {
            for holder in 0..self.holders as u8 {
                steps.extend([Step::Deposit { root, holder }, Step::Retire { root, holder }]);
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Open(writer) => {
                // The head's key must be had; then every other is to be destroyed.
                let head = state.head;
                if self.shares(&state, head) < u32::from(self.threshold) || state.pages & 1 << head == 0 {
                    return None;
                }
                state.retires[usize::from(head)] = self.all();
                state.writers[writer] = Phase::Ready(head);
                if self.mistake == Mistake::RecoveryTrusts {
                    state.returned |= 1 << head;
                }
                if self.mistake == Mistake::ReadyReused {
                    let mut left = 1..state.roots.len() as u8;
                    state.ready = left.find(|n| state.roots[usize::from(*n)].0 == head && self.shares(&state, *n) > 0);
                }
            }
            Step::Begin(writer) => {
                let Phase::Ready(parent) = state.writers[writer] else { return None };
                if state.roots.len() == self.roots && state.ready.is_none() {
                    return None;
                }
                if self.exclusive {
                    // Its cell has done what recovery asked, and does it no more.
                    if state.statements[usize::from(parent)] == 0 {
                        return None;
                    }
                    state.retires = [0; ROOTS];
                }
                if let Some(root) = state.ready.take() {
                    state.writers[writer] = Phase::Depositing(root);
                    return Some(state);
                }
                let root = state.roots.len() as u8;
                state.roots.push((parent, writer as u8));
                state.deposits[usize::from(root)] = self.all();
                state.writers[writer] = Phase::Depositing(root);
                if self.mistake == Mistake::RetireBeforePublish {
                    state.retires[usize::from(root)] = self.all();
                }
            }
            Step::Sync(writer) => {
                let (Phase::Depositing(root) | Phase::Retiring(root)) = state.writers[writer] else { return None };
                let late = matches!(state.writers[writer], Phase::Retiring(..));
                if late != (self.mistake == Mistake::PagesAfter) {
                    return None;
                }
                state.pages |= 1 << root;
            }
            Step::Publish(writer) => {
                let Phase::Depositing(root) = state.writers[writer] else { return None };
                let enough = state.acks[usize::from(root)].count_ones() >= u32::from(self.threshold)
                    || self.mistake == Mistake::PublishEarly;
                let durable = state.pages & 1 << root != 0 || self.mistake == Mistake::PagesAfter;
                if !enough || !durable {
                    return None;
                }
                if state.head == state.roots[usize::from(root)].0 || self.mistake == Mistake::PublishBlindly {
                    state.head = root;
                } else if self.mistake != Mistake::LoserRetires {
                    state.writers[writer] = Phase::Lost;
                    return Some(state);
                }
                state.retires[usize::from(root)] = self.all();
                state.writers[writer] = Phase::Retiring(root);
                if self.exclusive && state.roots.len() < self.roots {
                    state.ready = Some(state.roots.len() as u8);
                    state.roots.push((root, writer as u8));
                }
                if self.mistake == Mistake::ReturnAtPublish {
                    state.returned |= 1 << root;
                }
            }
            Step::Return(writer) => {
                let Phase::Retiring(root) = state.writers[writer] else { return None };
                if (state.statements[usize::from(root)].count_ones() as usize) < self.needed() {
                    return None;
                }
                state.returned |= 1 << root;
                state.writers[writer] = Phase::Ready(root);
            }
            Step::Crash(writer) => {
                if let Phase::Depositing(root) = state.writers[writer] {
                    state.tried |= 1 << root;
                }
                state.writers[writer] = Phase::Closed;
                state.crashes += 1;
                if self.exclusive {
                    // A cell destroys nothing behind the back of who asked; a deposit may still take effect.
                    state.retires = [0; ROOTS];
                    state.ready = None;
                }
            }
            Step::Deposit { root, holder } => {
                let (bit, id) = (1 << holder, id(&state, root));
                if state.deposits[usize::from(root)] & bit == 0 {
                    return None;
                }
                let lies = self.lies(usize::from(holder));
                let there = &mut state.holders[usize::from(holder)];
                if !there.fence.takes(&id) && !lies && self.mistake != Mistake::NoFence {
                    return None;
                }
                if self.mistake == Mistake::DepositOverwrites && there.shares & 1 << root == 0 {
                    there.shares = 0;
                }
                there.shares |= 1 << root;
                state.acks[usize::from(root)] |= bit;
            }
            Step::Retire { root, holder } => {
                let (bit, keep) = (1 << holder, id(&state, root));
                if state.retires[usize::from(root)] & bit == 0 {
                    return None;
                }
                let ends = state.holders[usize::from(holder)].fence.ends_at(&keep);
                if !ends && self.mistake != Mistake::EndsBackward {
                    return None;
                }
                let kept = (0..ROOTS as u8).filter(|other| usize::from(*other) < state.roots.len());
                let kept: Mask = kept.filter(|other| self.keeps(&state, *other, root)).map(|other| 1 << other).sum();
                if !self.lies(usize::from(holder)) {
                    state.holders[usize::from(holder)].shares &= kept;
                }
                if let Some(next) = state.ready {
                    let there = &mut state.holders[usize::from(holder)];
                    there.shares |= 1 << next;
                    state.acks[usize::from(next)] |= bit;
                    if self.mistake == Mistake::ReadyOverKept {
                        there.shares = 1 << next;
                    }
                }
                state.holders[usize::from(holder)].fence = Fence(keep);
                state.statements[usize::from(root)] |= bit;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was erased can be read by nobody, ever", |model: &Protocol, state: &State| {
                let returned = (0..state.roots.len() as u8).filter(|root| state.returned & 1 << root != 0);
                // Every tree that does not go on from it still reaches what it erased, and so does another attempt's under its own root.
                let mut reaching = returned.flat_map(|erase| {
                    let reaches = move |root: &u8| {
                        !goes_on(state, *root, erase) || *root == erase && state.tried & 1 << erase != 0
                    };
                    (0..state.roots.len() as u8).filter(reaches)
                });
                reaching.all(|root| model.shares(state, root) < u32::from(model.threshold))
            }),
            Property::always(
                "the living stay: the head has enough shares, and its pages",
                |model: &Protocol, state: &State| {
                    let durable = state.pages & 1 << state.head != 0;
                    model.shares(state, state.head) >= u32::from(model.threshold) && durable
                },
            ),
            Property::always("an erase that returned is never undone", |_: &Protocol, state: &State| {
                (0..state.roots.len() as u8)
                    .filter(|root| state.returned & 1 << root != 0)
                    .all(|root| goes_on(state, state.head, root))
            }),
            Property::eventually(
                "a writer that goes on, and is heard, has its erase returned",
                |_: &Protocol, state: &State| {
                    // A run ends when its root keys are used up, or a writer crashed.
                    state.returned != 0 || state.crashes > 0
                },
            ),
            Property::sometimes("two writers race, and one loses", |_: &Protocol, state: &State| {
                state.writers.contains(&Phase::Lost) && state.returned != 0
            }),
            Property::sometimes("an erase returns whose root key stood ready", |_: &Protocol, state: &State| {
                (1..state.roots.len()).any(|root| state.returned & 1 << root != 0 && state.deposits[root] == 0)
            }),
            Property::sometimes("an erase returns behind a crash", |_: &Protocol, state: &State| {
                state.crashes > 0 && state.returned != 0
            }),
        ]
    }
}

/// Checks all of it; gives the states, and the names of what failed.
fn checked(protocol: Protocol) -> (usize, Vec<&'static str>) {
    let (mistaken, exclusive) = (protocol.mistake != Mistake::None, protocol.exclusive);
    let checker = protocol.checker().threads(2);
    let checker = if mistaken { checker.finish_when(stateright::HasDiscoveries::AnyFailures) } else { checker };
    let checker = checker.spawn_bfs().join();
    let mut failed: Vec<&'static str> = checker.discoveries().into_keys().collect();
    failed.retain(|name| !name.starts_with("two writers") && !name.starts_with("an erase returns"));
    if !mistaken {
        assert!(exclusive || checker.discovery("two writers race, and one loses").is_some());
        assert_eq!(exclusive, checker.discovery("an erase returns whose root key stood ready").is_some());
        assert!(checker.discovery("an erase returns behind a crash").is_some());
    }
    (checker.unique_state_count(), failed)
}

#[test]
fn one_cell_is_safe_and_live_in_every_order() {
    let (states, failed) = checked(Protocol::one_cell(Mistake::None));
    println!("one cell: {states} states");
    assert!(failed.is_empty() && states > 1_000, "{failed:?} in {states} states");
}

#[test]
fn three_keyholders_are_safe_and_live_in_every_order() {
    let (states, failed) = checked(Protocol::keyholders(false, 3, 1, Mistake::None));
    println!("three keyholders: {states} states");
    assert!(failed.is_empty() && states > 10_000, "{failed:?} in {states} states");
}

#[test]
fn three_keyholders_of_whom_one_lies_are_safe_and_live_in_every_order() {
    let (states, failed) = checked(Protocol::keyholders(true, 3, 1, Mistake::None));
    println!("three keyholders, one of whom lies: {states} states");
    assert!(failed.is_empty() && states > 10_000, "{failed:?} in {states} states");
}

#[test]
fn every_mistake_is_found() {
    const ERASED: &str = "what was erased can be read by nobody, ever";
    const LIVING: &str = "the living stay: the head has enough shares, and its pages";
    for (mistake, breaks) in [
        (Mistake::PublishEarly, LIVING),
        (Mistake::PublishBlindly, LIVING),
        (Mistake::LoserRetires, LIVING),
        (Mistake::DepositOverwrites, LIVING),
        (Mistake::PagesAfter, LIVING),
        (Mistake::OneTooFew, ERASED),
        (Mistake::LosersKept, ERASED),
        (Mistake::NewerDestroyed, LIVING),
        (Mistake::NoFence, ERASED),
        (Mistake::ReturnAtPublish, ERASED),
        (Mistake::RetireBeforePublish, LIVING),
        (Mistake::RecoveryTrusts, ERASED),
        (Mistake::EndsBackward, ERASED),
    ] {
        let (states, failed) = checked(Protocol::keyholders(true, 3, 1, mistake));
        println!("{mistake:?}: found after {states} states: {failed:?}");
        assert!(failed.contains(&breaks), "{mistake:?} must break {breaks:?}, and breaks {failed:?}");
    }
    for mistake in [
        Mistake::ReturnAtPublish,
        Mistake::RetireBeforePublish,
        Mistake::PagesAfter,
        Mistake::RecoveryTrusts,
        Mistake::ReadyReused,
        Mistake::ReadyOverKept,
    ] {
        let (states, failed) = checked(Protocol::one_cell(mistake));
        println!("one cell, {mistake:?}: found after {states} states: {failed:?}");
        assert!(!failed.is_empty(), "{mistake:?} is not found");
    }
}
