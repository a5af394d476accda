//! What a handle on a spread cell knows.

use std::sync::Arc;

use super::brand::Tells;
use super::config::Config;
use super::ledger::Ledger;
use super::{Held, Share};
use crate::cell::Owner;
use crate::dir::DirLock;
use crate::error::Result;
use crate::ids::StoreId;
use crate::promise::RootId;

/// Changes what is kept on this machine, durably.
pub(super) type ChangeConfig = Box<dyn Fn(&mut dyn FnMut(&mut Config)) -> Result<()> + Send + Sync>;
/// Takes the lock of the cell's directory, if it has one.
pub(super) type TakeLock = Box<dyn Fn() -> Result<Option<DirLock>> + Send + Sync>;

/// What is kept of a cell on this machine, as it was read, and how it is changed.
pub(super) struct Local {
    pub(super) store: Option<StoreId>,
    pub(super) ledger: Ledger,
    pub(super) change: ChangeConfig,
    pub(super) take_lock: TakeLock,
}

#[cfg(feature = "testing")]
impl Local {
    /// Of a cell of which nothing is kept.
    pub(super) fn unkept(store: Option<StoreId>) -> Self {
        let (change, take_lock): (ChangeConfig, TakeLock) =
            (Box::new(|_| Ok(())), Box::new(|| Ok(None)));
        Local { store, ledger: Ledger::default(), change, take_lock }
    }
}

/// The owner of a cell that was never claimed.
const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

/// What a handle knows of its cell.
pub(super) struct Known {
    pub(super) store: Option<StoreId>,
    pub(super) ledger: Ledger,
    /// The lock of the cell's directory, held from the first verb on that changes something.
    pub(super) lock: Option<DirLock>,
    /// The engine that this handle acts for.
    pub(super) owner: Owner,
    /// The root key that this handle kept last.
    pub(super) running: Option<RootId>,
    /// The shares that were dealt last, to be dealt again if the same key is deposited twice:
    /// shares of two polynomials do not fit together.
    pub(super) dealt: Option<(RootId, Arc<Vec<Share>>)>,
    /// Whether some reachable keyholder lacks a share of the current root key.
    pub(super) short: bool,
    /// Whether one of these waits for the next root key: the current one was not drawn for it.
    pub(super) waits: bool,
    /// Whether keyholders hold shares of a later root key than was kept last, by another engine.
    pub(super) is_behind: bool,
    /// What each keyholder told when all were asked last.
    pub(super) told: Vec<Tells>,
    /// Whether the claims to come take the store over.
    pub(super) takes_over: bool,
    /// What keyholders told last, if that was asked for one root key.
    pub(super) answers: Option<Answers>,
}

/// What keyholders told of a root key.
pub(super) struct Answers {
    pub(super) id: RootId,
    pub(super) held: Vec<Result<Held>>,
    /// Whether this handle has claimed the cell since: nobody else can have had the key destroyed
    /// between the two.
    pub(super) claimed: bool,
}

impl Known {
    /// A root key is kept from now on.
    pub(super) fn keep(&mut self, id: RootId) {
        (self.dealt, self.running) = (None, Some(id));
    }

    pub(super) fn new(store: Option<StoreId>, ledger: Ledger) -> Self {
        Known {
            store,
            ledger,
            lock: None,
            owner: NOBODY,
            running: None,
            dealt: None,
            short: false,
            waits: false,
            is_behind: false,
            told: Vec::new(),
            takes_over: false,
            answers: None,
        }
    }
}
