//! The loan of a store to the engine that owns it. No lock keeps other machines from a store that
//! they reach as well: whoever claims it next owns it, and the engine before may not know, paused
//! or cut off as it may be. So an owner reads for [`LOAN`] at most without asking the store whether
//! it still is, and no erase of its successor returns before that is over (SPEC.md 9.9).

use std::time::Duration;

use super::bell::Bell;
use crate::env::Env;
use crate::ids::Timestamp;
use crate::limits::LOAN;
use crate::store::Store;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, locked};

/// How much longer than [`LOAN`] a successor waits: two clocks that count seconds differ by less
/// than one part in fifty, and a look at a clock takes a moment.
const MARGIN: Duration = Duration::from_millis(90);
/// Pieces in which it waits.
const NAP: Duration = Duration::from_millis(100);

/// A moment, by two clocks. A virtual machine that was paused may have only one of them tell.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    monotonic: Duration,
    wall: Timestamp,
}

impl Clocks {
    /// Now, where the store is shared: elsewhere there is nothing to be measured.
    pub(super) fn over(store: &dyn Store, env: &dyn Env) -> Option<Self> {
        store.is_shared().then(|| Clocks::now(env))
    }

    fn now(env: &dyn Env) -> Self {
        Clocks { monotonic: env.monotonic(), wall: env.now() }
    }

    /// How long ago another moment was, by the clock that says more.
    fn since(self, before: Clocks) -> Duration {
        let monotonic = self.monotonic.saturating_sub(before.monotonic);
        monotonic.max(Duration::from_millis(self.wall.0.saturating_sub(before.wall.0)))
    }
}

/// What an engine knows of its loan.
#[derive(Default)]
pub(super) struct Loan {
    /// When the store was this engine's for certain, by the clocks before it was asked. `None`: it
    /// is to be asked.
    known: Mutex<Option<Clocks>>,
    /// Another engine has claimed the store.
    lost: AtomicBool,
    /// From when on no engine of before reads any more, by the clock that nobody sets.
    alone: Duration,
    /// Ends the thread that leaves signs of life.
    pub(super) bell: Bell,
}

impl Loan {
    /// Of an engine that has just claimed its store, and began to at this moment; before that
    /// another engine may have owned it.
    pub(super) fn of_an_heir(began: Clocks, env: &dyn Env) -> Self {
        let (known, alone) = (Mutex::new(Some(began)), env.monotonic() + LOAN + MARGIN);
        Loan { known, alone, ..Loan::default() }
    }

    /// A commit succeeded that began at this moment.
    pub(super) fn renew(&self, began: Clocks) {
        *locked(&self.known) = Some(began);
    }

    /// The engine is opened again: the store is to be asked before the next read.
    pub(super) fn begin_again(&self) {
        *locked(&self.known) = None;
        self.lost.store(false, Ordering::Release);
    }

    /// Notes that another engine owns the store.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Whether nothing need be asked now.
    pub(super) fn holds(&self, env: &dyn Env) -> bool {
        let known = *locked(&self.known);
        let now = Clocks::now(env);
        !self.is_lost() && known.is_some_and(|at| now.since(at) < LOAN)
    }

    /// Waits until no engine of before reads any more: an erase returns after it.
    pub(super) fn wait(&self, env: &dyn Env) {
        loop {
            let left = self.alone.saturating_sub(env.monotonic());
            if left.is_zero() {
                return;
            }
            env.sleep(left.min(NAP));
        }
    }
}
