//! Two writers, and one cell or three keyholders of which one may lie or be lost: every order of
//! every step and of every message, delivered late, twice or never, with crashes anywhere. The
//! store takes a commit at once, or not at all. SPEC §6, §15.
//!
//! An answer has no step of its own: a writer that acts on it later is one that takes its own step
//! later. The model found that a late `retire` of an epoch destroyed the candidate of the next one,
//! which was published already: it names what it keeps, and takes only what is not newer.

mod rules;
mod state;

use keyfall::promise::{Fence, Quorum};
use stateright::{Model, Property};

use self::state::{CLAIMS, HOLDERS, Holder, Mask, Phase, ROOTS, State, epoch, goes_on, id};

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
    /// Pages are made durable after the publish.
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
    /// What stood ready when the writer crashed is used after the crash, though an attempt under it
    /// may be on the medium.
    ReadyReused,
    /// What stands ready is written over the key that is kept.
    ReadyOverKept,
    /// An erase publishes, and destroys the old key, as soon as as many hold the new one as give it
    /// back.
    MarginLeftOut,
    /// Every engine that opens the store gives up every newer key that it saw.
    GivesUpSeen,
    /// A claim that one keyholder has taken is enough.
    ClaimTooFew,
    /// After the claim nobody asks whether the key is still there.
    NotAskedAgain,
    /// Keyholders look at the owner when they are dealt a share, and not when they are told to
    /// destroy some.
    RetireUnfenced,
    /// A standby claims the store whatever its head is by then.
    ClaimsBlindly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Open(usize),
    Begin(usize),
    Sync(usize),
    Publish(usize),
    Keep(usize),
    GiveUp(usize),
    Return(usize),
    Crash(usize),
    Shut(usize),
    Own(usize),
    Lose(u8),
    Claim { claim: u8, holder: u8 },
    Deposit { root: u8, holder: u8 },
    Retire { root: u8, holder: u8, claim: u8 },
}

#[derive(Clone, Copy)]
struct Protocol {
    holders: usize,
    threshold: u8,
    /// The last keyholder keeps whatever it is told to destroy, and says that it did not.
    liar: bool,
    /// Most root keys that a run draws, the first included.
    roots: usize,
    /// One writer at a time, whose cell does what it is told at once: a file, under a lock.
    exclusive: bool,
    /// The second writer opens a backup, and takes over.
    takes_over: bool,
    /// The second writer is a standby of the first: it claims the store, and does not ask again
    /// what it was told before of who holds the key of the head.
    stands_by: bool,
    /// A writer may give an attempt up before it is published.
    gives_up: bool,
    losses: u8,
    crashes: u8,
    mistake: Mistake,
}

const ONE_CELL: Protocol = Protocol {
    holders: 1,
    threshold: 1,
    liar: false,
    roots: ROOTS,
    exclusive: true,
    takes_over: false,
    stands_by: false,
    gives_up: false,
    losses: 0,
    crashes: 3,
    mistake: Mistake::None,
};

const KEYHOLDERS: Protocol =
    Protocol { holders: HOLDERS, threshold: 2, roots: 3, exclusive: false, crashes: 1, ..ONE_CELL };

impl Protocol {
    /// The store of a writer.
    fn store(&self, writer: usize) -> usize {
        if self.takes_over { writer } else { 0 }
    }

    fn claim(&self, writer: usize) -> usize {
        if self.takes_over || self.stands_by { writer + 1 } else { 0 }
    }

    /// Tells all to keep a root alone, where enough hold it.
    fn keep(&self, state: &mut State, writer: usize, root: u8, mine: bool) {
        let acks = state.acks[usize::from(root)];
        let hold = if mine { acks.count_ones() } else { self.shares(state, root) };
        // A writer that takes a lost race for won asks nobody.
        let enough = hold >= self.hold() || self.mistake == Mistake::LoserRetires;
        state.writers[writer] = if !enough {
            Phase::Known(root, mine)
        } else if mine {
            Phase::Retiring(root)
        } else {
            Phase::Ready(root)
        };
        if enough {
            state.retires[usize::from(root)][self.claim(writer)] = self.all();
            state.given_up[usize::from(root)] |= state.given[writer];
        }
    }

    /// How many hold a key before it is the head's, and before any other is destroyed: among
    /// keyholders one to spare.
    fn hold(&self) -> u32 {
        let spare = !self.exclusive && self.mistake != Mistake::MarginLeftOut;
        u32::from(self.threshold) + u32::from(spare)
    }

    fn needed(&self) -> usize {
        let keyholders = (0..self.holders as u8).map(|n| [n; 32]).collect();
        let needed =
            Quorum { threshold: self.threshold, liars: u8::from(self.liar), keyholders }.needed();
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
        let given_up = state.given_up[usize::from(keep)] & 1 << root != 0;
        let newer = epoch(state, root) > epoch(state, keep) && !given_up;
        match self.mistake {
            Mistake::LosersKept => root != state.roots[usize::from(keep)].0 || root == keep,
            // Nobody else is there: what is newer was given up.
            Mistake::NewerDestroyed => root == keep,
            _ if self.exclusive => root == keep,
            _ => root == keep || newer,
        }
    }
}

/// The steps: each changes the state, or cannot be taken.
impl Protocol {
    fn on_open(&self, state: &mut State, writer: usize) -> Option<()> {
        // The head's key must be had; then every other is to be destroyed.
        let head = state.heads[self.store(writer)];
        if self.shares(state, head) < u32::from(self.threshold) || state.pages & 1 << head == 0 {
            return None;
        }
        if self.mistake == Mistake::GivesUpSeen {
            let newer = |root: &u8| {
                epoch(state, *root) > epoch(state, head) && self.shares(state, *root) > 0
            };
            state.given[writer] =
                (0..state.roots.len() as u8).filter(newer).map(|root| 1 << root).sum();
        }
        if self.stands_by {
            if writer == 0 || self.shares(state, head) < self.hold() {
                return None;
            }
            state.writers[writer] = Phase::Beside(head);
            return Some(());
        }
        if self.takes_over {
            state.claims[self.claim(writer)] = self.all();
            state.writers[writer] = Phase::Claiming(head);
            return Some(());
        }
        self.keep(state, writer, head, false);
        if self.mistake == Mistake::RecoveryTrusts {
            state.returned |= 1 << head;
        }
        if self.mistake == Mistake::ReadyReused {
            let mut left = 1..state.roots.len() as u8;
            state.ready =
                left.find(|n| state.roots[usize::from(*n)].0 == head && self.shares(state, *n) > 0);
        }
        Some(())
    }

    fn on_begin(&self, state: &mut State, writer: usize) -> Option<()> {
        let (Phase::Ready(parent) | Phase::Known(parent, _)) = state.writers[writer] else {
            return None;
        };
        if state.roots.len() == self.roots && state.ready.is_none() {
            return None;
        }
        if self.exclusive {
            // Its cell has done what recovery asked, and does it no more.
            if state.statements[usize::from(parent)] == 0 {
                return None;
            }
            state.retires = [[0; CLAIMS]; ROOTS];
        }
        if let Some(root) = state.ready.take() {
            state.writers[writer] = Phase::Depositing(root);
            return Some(());
        }
        let root = state.roots.len() as u8;
        state.roots.push((parent, writer as u8));
        state.deposits[usize::from(root)] = self.all();
        state.writers[writer] = Phase::Depositing(root);
        if self.mistake == Mistake::RetireBeforePublish {
            state.retires[usize::from(root)][self.claim(writer)] = self.all();
        }
        Some(())
    }

    fn on_keep(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Known(root, mine) = state.writers[writer] else { return None };
        self.keep(state, writer, root, mine);
        Some(())
    }

    fn on_give_up(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Depositing(root) = state.writers[writer] else { return None };
        if !self.gives_up || state.pages & 1 << root != 0 {
            return None;
        }
        state.given[writer] |= 1 << root;
        let parent = state.roots[usize::from(root)].0;
        self.keep(state, writer, parent, false);
        Some(())
    }

    /// A standby claims the store, over the head that it knows.
    fn on_shut(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Beside(head) = state.writers[writer] else { return None };
        if state.heads[0] != head && self.mistake != Mistake::ClaimsBlindly {
            state.writers[writer] = Phase::Closed;
            return Some(());
        }
        state.shut = true;
        state.heads[0] = head;
        state.claims[self.claim(writer)] = self.all();
        state.writers[writer] = Phase::Claiming(head);
        Some(())
    }

    fn on_own(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Claiming(head) = state.writers[writer] else { return None };
        let few = self.mistake == Mistake::ClaimTooFew;
        let enough = if few { 1 } else { usize::from(self.threshold).max(self.holders / 2 + 1) };
        if (state.claimed[self.claim(writer)].count_ones() as usize) < enough {
            return None;
        }
        if self.stands_by {
            state.retires[usize::from(head)][self.claim(writer)] = self.all();
            state.writers[writer] = Phase::Ready(head);
            return Some(());
        }
        // What it saw before its claim may be gone.
        self.keep(state, writer, head, false);
        if self.mistake == Mistake::NotAskedAgain {
            state.writers[writer] = Phase::Ready(head);
        } else if state.writers[writer] != Phase::Ready(head) {
            return None;
        }
        state.taken = true;
        Some(())
    }

    fn on_lose(&self, state: &mut State, holder: u8) -> Option<()> {
        if state.lost.count_ones() >= u32::from(self.losses) || state.lost & 1 << holder != 0 {
            return None;
        }
        state.lost |= 1 << holder;
        state.holders[usize::from(holder)].shares = 0;
        Some(())
    }

    fn on_claim(&self, state: &mut State, claim: u8, holder: u8) -> Option<()> {
        let there = &mut state.holders[usize::from(holder)];
        if state.claims[usize::from(claim)] & 1 << holder == 0 || there.owner > claim {
            return None;
        }
        there.owner = claim;
        state.claimed[usize::from(claim)] |= 1 << holder;
        Some(())
    }

    fn on_sync(&self, state: &mut State, writer: usize) -> Option<()> {
        let (Phase::Depositing(root) | Phase::Retiring(root)) = state.writers[writer] else {
            return None;
        };
        let late = matches!(state.writers[writer], Phase::Retiring(..));
        if late != (self.mistake == Mistake::PagesAfter) {
            return None;
        }
        state.pages |= 1 << root;
        Some(())
    }

    fn on_publish(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Depositing(root) = state.writers[writer] else { return None };
        let enough = state.acks[usize::from(root)].count_ones() >= self.hold()
            || self.mistake == Mistake::PublishEarly;
        let durable = state.pages & 1 << root != 0 || self.mistake == Mistake::PagesAfter;
        if !enough || !durable {
            return None;
        }
        let shut = state.shut && writer == 0;
        let head = &mut state.heads[self.store(writer)];
        if shut {
            state.writers[writer] = Phase::Lost;
            return Some(());
        }
        if *head == state.roots[usize::from(root)].0 || self.mistake == Mistake::PublishBlindly {
            *head = root;
        } else if self.mistake != Mistake::LoserRetires {
            state.writers[writer] = Phase::Lost;
            return Some(());
        }
        self.keep(state, writer, root, true);
        if self.exclusive && state.roots.len() < self.roots {
            state.ready = Some(state.roots.len() as u8);
            state.roots.push((root, writer as u8));
        }
        if self.mistake == Mistake::ReturnAtPublish {
            state.returned |= 1 << root;
        }
        Some(())
    }

    fn on_return(&self, state: &mut State, writer: usize) -> Option<()> {
        let Phase::Retiring(root) = state.writers[writer] else { return None };
        if (state.statements[usize::from(root)].count_ones() as usize) < self.needed() {
            return None;
        }
        state.returned |= 1 << root;
        state.writers[writer] = Phase::Ready(root);
        Some(())
    }

    fn on_crash(&self, state: &mut State, writer: usize) -> Option<()> {
        if let Phase::Depositing(root) = state.writers[writer] {
            state.tried |= 1 << root;
        }
        state.writers[writer] = Phase::Closed;
        state.crashes += 1;
        if self.exclusive {
            // A cell destroys nothing that its caller did not ask for; a deposit may still take
            // effect.
            state.retires = [[0; CLAIMS]; ROOTS];
            state.ready = None;
        }
        Some(())
    }

    fn on_deposit(&self, state: &mut State, root: u8, holder: u8) -> Option<()> {
        let (bit, id) = (1 << holder, id(state, root));
        if state.deposits[usize::from(root)] & bit == 0 {
            return None;
        }
        let lies = self.lies(usize::from(holder));
        let claim = self.claim(usize::from(state.roots[usize::from(root)].1)) as u8;
        let there = &mut state.holders[usize::from(holder)];
        if state.lost & bit != 0 || there.owner > claim {
            return None;
        }
        there.owner = claim;
        if !there.fence.takes(&id) && !lies && self.mistake != Mistake::NoFence {
            return None;
        }
        if self.mistake == Mistake::DepositOverwrites && there.shares & 1 << root == 0 {
            there.shares = 0;
        }
        there.shares |= 1 << root;
        state.acks[usize::from(root)] |= bit;
        Some(())
    }

    fn on_retire(&self, state: &mut State, root: u8, holder: u8, claim: u8) -> Option<()> {
        let (bit, keep) = (1 << holder, id(state, root));
        if state.retires[usize::from(root)][usize::from(claim)] & bit == 0 || state.lost & bit != 0
        {
            return None;
        }
        let owner = &mut state.holders[usize::from(holder)].owner;
        if *owner > claim && self.mistake != Mistake::RetireUnfenced {
            return None;
        }
        *owner = claim.max(*owner);
        let ends = state.holders[usize::from(holder)].fence.ends_at(&keep);
        if !ends && self.mistake != Mistake::EndsBackward {
            return None;
        }
        let kept = (0..ROOTS as u8).filter(|other| usize::from(*other) < state.roots.len());
        let kept: Mask =
            kept.filter(|other| self.keeps(state, *other, root)).map(|other| 1 << other).sum();
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
        Some(())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let two = self.takes_over || self.stands_by;
        let holder = Holder { shares: 1, fence: Fence::NONE, owner: u8::from(two) };
        let first = if two { Phase::Ready(0) } else { Phase::Closed };
        vec![State {
            roots: vec![(0, 0)],
            holders: vec![holder; self.holders],
            writers: [first, Phase::Closed],
            heads: [0; 2],
            taken: false,
            shut: false,
            lost: 0,
            given: [0; 2],
            claims: [0; CLAIMS],
            claimed: [0; CLAIMS],
            pages: 1,
            deposits: [0; ROOTS],
            acks: [0; ROOTS],
            retires: [[0; CLAIMS]; ROOTS],
            given_up: [0; ROOTS],
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
                Phase::Beside(_) => steps.push(Step::Shut(writer)),
                Phase::Claiming(_) => steps.push(Step::Own(writer)),
                Phase::Known(..) => steps.extend([Step::Keep(writer), Step::Begin(writer)]),
                Phase::Depositing(_) => {
                    steps.extend([Step::Sync(writer), Step::Publish(writer), Step::GiveUp(writer)]);
                }
                Phase::Retiring(_) => steps.extend([Step::Sync(writer), Step::Return(writer)]),
                Phase::Lost => {}
            }
            if state.crashes < self.crashes && *phase != Phase::Closed {
                steps.push(Step::Crash(writer));
            }
        }
        for root in 0..state.roots.len() as u8 {
            for holder in 0..self.holders as u8 {
                steps.push(Step::Deposit { root, holder });
                steps.extend((0..CLAIMS as u8).map(|claim| Step::Retire { root, holder, claim }));
            }
        }
        for holder in 0..self.holders as u8 {
            steps.push(Step::Lose(holder));
            steps.extend((0..CLAIMS as u8).map(|claim| Step::Claim { claim, holder }));
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Open(writer) => self.on_open(&mut state, writer)?,
            Step::Begin(writer) => self.on_begin(&mut state, writer)?,
            Step::Keep(writer) => self.on_keep(&mut state, writer)?,
            Step::GiveUp(writer) => self.on_give_up(&mut state, writer)?,
            Step::Shut(writer) => self.on_shut(&mut state, writer)?,
            Step::Own(writer) => self.on_own(&mut state, writer)?,
            Step::Lose(holder) => self.on_lose(&mut state, holder)?,
            Step::Claim { claim, holder } => self.on_claim(&mut state, claim, holder)?,
            Step::Sync(writer) => self.on_sync(&mut state, writer)?,
            Step::Publish(writer) => self.on_publish(&mut state, writer)?,
            Step::Return(writer) => self.on_return(&mut state, writer)?,
            Step::Crash(writer) => self.on_crash(&mut state, writer)?,
            Step::Deposit { root, holder } => self.on_deposit(&mut state, root, holder)?,
            Step::Retire { root, holder, claim } => {
                self.on_retire(&mut state, root, holder, claim)?
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ERASED, |model: &Protocol, state: &State| {
                let returned =
                    (0..state.roots.len() as u8).filter(|root| state.returned & 1 << root != 0);
                // Every tree that does not go on from it still reaches what it erased, and so does
                // another attempt's under its own root.
                let mut reaching = returned.flat_map(|erase| {
                    let reaches = move |root: &u8| {
                        !goes_on(state, *root, erase)
                            || *root == erase && state.tried & 1 << erase != 0
                    };
                    (0..state.roots.len() as u8).filter(reaches)
                });
                reaching.all(|root| model.shares(state, root) < u32::from(model.threshold))
            }),
            Property::always(LIVING, |model: &Protocol, state: &State| {
                let head = state.heads[usize::from(state.taken)];
                model.shares(state, head) >= u32::from(model.threshold)
                    && state.pages & 1 << head != 0
            }),
            Property::always(STAYS, |model: &Protocol, state: &State| {
                let mut returned =
                    (0..state.roots.len() as u8).filter(|root| state.returned & 1 << root != 0);
                returned.all(|root| {
                    let store = model.store(usize::from(state.roots[usize::from(root)].1));
                    model.takes_over && store != usize::from(state.taken)
                        || goes_on(state, state.heads[store], root)
                })
            }),
            Property::sometimes("an erase returns", |_: &Protocol, state: &State| {
                state.returned != 0
            }),
        ];
        if !self.takes_over && !self.stands_by {
            properties.push(Property::eventually(LIVE, |_: &Protocol, state: &State| {
                // A run ends when its root keys are used up, a writer crashed, or a keyholder is
                // lost.
                state.returned != 0 || state.crashes > 0 || state.lost != 0 || state.given != [0; 2]
            }));
        }
        if self.crashes > 0 {
            properties.push(Property::sometimes(
                "an erase returns after a crash",
                |_: &Protocol, state: &State| state.crashes > 0 && state.returned != 0,
            ));
        }
        if self.exclusive {
            properties.push(Property::sometimes(
                "an erase returns whose root key stood ready",
                |_: &Protocol, state: &State| {
                    (1..state.roots.len())
                        .any(|root| state.returned & 1 << root != 0 && state.deposits[root] == 0)
                },
            ));
        } else if !self.takes_over && !self.stands_by && self.roots > 2 {
            properties.push(Property::sometimes(
                "two writers race, and one loses",
                |_: &Protocol, state: &State| {
                    state.writers.contains(&Phase::Lost) && state.returned != 0
                },
            ));
        }
        if self.takes_over || self.stands_by {
            properties.push(Property::sometimes(
                "the second one takes over, and erases",
                |_: &Protocol, state: &State| {
                    (0..state.roots.len())
                        .any(|n| state.returned & 1 << n != 0 && state.roots[n].1 == 1)
                },
            ));
        }
        properties
    }
}

const ERASED: &str = "what was erased can be read by nobody, ever";

const LIVING: &str = "the living stay: the head has enough shares, and its pages";

const STAYS: &str = "an erase that returned is never undone";

const LIVE: &str = "a writer that goes on, and is heard, has its erase returned";
