//! What the model of keyholders sees: root keys, messages on their way, what each keyholder holds,
//! and how far each writer is.

use keyfall::promise::{Fence, RootId};

/// Most root keys that a run may draw, the first included.
pub(super) const ROOTS: usize = 4;

pub(super) const HOLDERS: usize = 3;

/// The first writer's claim has number 1 where claims are made, and the second one's 2.
pub(super) const CLAIMS: usize = 3;

pub(super) type Mask = u8;

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Phase {
    /// Crashed, or not started.
    Closed,
    /// Stands beside the store: knows this head, and that enough hold its key.
    Beside(u8),
    /// Knows this head, and has claimed the store.
    Claiming(u8),
    /// Knows this head, which its own erase made or not; too few hold its key for the old one to
    /// go.
    Known(u8, bool),
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
pub(super) struct Holder {
    /// Roots of which it has a share.
    pub(super) shares: Mask,
    pub(super) fence: Fence,
    /// The highest claim that it was told of.
    pub(super) owner: u8,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct State {
    /// For each root its parent and its writer; the first has none.
    pub(super) roots: Vec<(u8, u8)>,
    pub(super) holders: Vec<Holder>,
    pub(super) writers: [Phase; 2],
    /// The head of the store, and of a backup of it that the second writer opens.
    pub(super) heads: [u8; 2],
    /// The backup has taken over.
    pub(super) taken: bool,
    /// A standby has claimed the store: the first writer publishes no more.
    pub(super) shut: bool,
    /// Keyholders whose disks are lost.
    pub(super) lost: Mask,
    /// What each writer has given up: attempts of its own.
    pub(super) given: [Mask; 2],
    pub(super) claims: [Mask; CLAIMS],
    pub(super) claimed: [Mask; CLAIMS],
    /// Roots whose pages are durable.
    pub(super) pages: Mask,
    /// Every message ever sent, by root and by the one it goes to or comes from: each may arrive at
    /// any time, often or never.
    pub(super) deposits: [Mask; ROOTS],
    pub(super) acks: [Mask; ROOTS],
    pub(super) retires: [[Mask; CLAIMS]; ROOTS],
    /// The roots that a message names as given up, where it says to keep one alone.
    pub(super) given_up: [Mask; ROOTS],
    pub(super) statements: [Mask; ROOTS],
    /// Roots whose erase was told to be final.
    pub(super) returned: Mask,
    /// Of one cell: the root key of the next epoch, which its retire writes where a destroyed one
    /// was.
    pub(super) ready: Option<u8>,
    /// Roots under which the pages of an attempt that came to nothing were handed to the store.
    pub(super) tried: Mask,
    pub(super) crashes: u8,
}

pub(super) fn id(state: &State, root: u8) -> RootId {
    RootId { epoch: epoch(state, root), attempt: [root; 16] }
}

pub(super) fn epoch(state: &State, root: u8) -> u64 {
    let (mut epoch, mut at) = (1, root);
    while at != 0 {
        at = state.roots[usize::from(at)].0;
        epoch += 1;
    }
    epoch
}

/// Whether the tree of `root` goes on from that of `from`, or is it.
pub(super) fn goes_on(state: &State, root: u8, from: u8) -> bool {
    let mut at = root;
    while at != from && at != 0 {
        at = state.roots[usize::from(at)].0;
    }
    at == from
}
