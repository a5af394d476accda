//! What the model of late writes sees: objects in the logs of stores, the cell, and how far each
//! engine is.

use keyfall::promise::{Fence, RootId};

pub(super) type Mask = u16;

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Kind {
    First,
    Claim,
    Erase,
    Put,
}

/// One object of a log: a commit, or a claim, which repeats the head.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) parent: u8,
    pub(super) root: u8,
    pub(super) slot: u8,
    pub(super) kind: Kind,
    pub(super) store: u8,
    /// Of a claim: its number, and the owner that the cell recorded.
    pub(super) number: u8,
    pub(super) known: u8,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    /// Has read the cell, and then the newest head.
    Opened {
        head: u8,
        owner: (u8, u8),
        seen: Mask,
    },
    /// Has sent its claim to the store.
    Claiming {
        claim: u8,
        seen: Mask,
    },
    /// Its claim stands.
    Claimed {
        claim: u8,
        seen: Mask,
    },
    /// The cell knows it.
    Owner {
        claim: u8,
        seen: Mask,
    },
    Ready {
        claim: u8,
        head: u8,
    },
    /// Has the key of this erase in the cell.
    Deposited {
        claim: u8,
        erase: u8,
    },
    /// Has sent it, and not its key: a mistake.
    Sent {
        claim: u8,
        erase: u8,
    },
    Publishing {
        claim: u8,
        erase: u8,
    },
    Published {
        claim: u8,
        erase: u8,
    },
    Putting {
        claim: u8,
        put: u8,
    },
    /// This put and the next one.
    PuttingTwo {
        claim: u8,
        put: u8,
    },
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct State {
    pub(super) objects: Vec<Object>,
    /// What stands in each store.
    pub(super) logs: [Vec<Option<u8>>; 2],
    /// Objects that were sent: each may take effect at any time, as often as its number is free.
    pub(super) sent: Mask,
    pub(super) landed: Mask,
    /// Root keys in the cell.
    pub(super) alive: Mask,
    pub(super) fence: Option<u8>,
    /// Number and token of the claim that the cell records.
    pub(super) owner: (u8, u8),
    pub(super) engines: [Phase; 2],
    pub(super) returned: Mask,
    pub(super) acknowledged: Mask,
    pub(super) crashes: u8,
    /// The backup has taken over, because somebody said so.
    pub(super) taken: bool,
}

impl State {
    pub(super) fn epoch(&self, root: u8) -> u64 {
        let (mut epoch, mut root) = (1, root);
        while root != 0 {
            let Some(first) = self.objects.iter().find(|o| o.root == root) else {
                unreachable!("it was drawn")
            };
            root = self.objects[usize::from(first.parent)].root;
            epoch += 1;
        }
        epoch
    }

    pub(super) fn id(&self, root: u8) -> RootId {
        RootId { epoch: self.epoch(root), attempt: [root; 16] }
    }

    pub(super) fn fence(&self) -> Fence {
        self.fence.map_or(Fence::NONE, |root| Fence(self.id(root)))
    }

    pub(super) fn object(&self, n: u8) -> Object {
        self.objects[usize::from(n)]
    }

    pub(super) fn head(&self, store: usize) -> Option<u8> {
        self.logs[store].iter().rev().find_map(|at| *at)
    }

    pub(super) fn at(&self, object: Object) -> Option<u8> {
        self.logs[usize::from(object.store)].get(usize::from(object.slot)).copied().flatten()
    }

    /// Whether something stands above it.
    pub(super) fn above(&self, object: Object) -> bool {
        self.logs[usize::from(object.store)]
            .iter()
            .skip(usize::from(object.slot) + 1)
            .any(Option::is_some)
    }

    pub(super) fn goes_on(&self, object: u8, from: u8) -> bool {
        let mut at = object;
        while at != from && at != 0 {
            at = self.object(at).parent;
        }
        at == from
    }

    pub(super) fn add(&mut self, object: Object) -> u8 {
        self.objects.push(object);
        self.objects.len() as u8 - 1
    }

    pub(super) fn set(&mut self, n: u8) {
        let object = self.object(n);
        let log = &mut self.logs[usize::from(object.store)];
        log.resize(log.len().max(usize::from(object.slot) + 1), None);
        log[usize::from(object.slot)] = Some(n);
        self.landed |= 1 << n;
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = u8> + '_ {
        let most = self.objects.iter().map(|o| o.root).max().unwrap_or(0);
        (0..=most).filter(|root| self.objects.iter().any(|o| o.root == *root))
    }
}
