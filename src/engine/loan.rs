//! The loan of a store to the engine that owns it. No lock keeps other machines from a store that
//! they reach as well: whoever claims it next owns it, and the engine before may not know, paused
//! or cut off as it may be. So an owner reads for [`LOAN`] at most without asking the store whether
//! it still is, and no erase of its successor returns before that is over (SPEC.md 9.9).

use std::time::Duration;

use super::bell::Bell;
use crate::cell::RootKey;
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

    pub(super) fn now(env: &dyn Env) -> Self {
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
    /// Until when keys may be lent that open what was erased here last, by the clock that nobody
    /// sets. `None`: nothing was erased, or nothing is lent.
    called_in: Mutex<Option<Duration>>,
    /// For how long this engine borrows a key, if it is one on another machine that reads.
    term: Option<Duration>,
    /// What it borrows; held while it asks for more.
    pub(super) borrowed: Mutex<Borrowed>,
    /// Ends the thread that leaves signs of life.
    pub(super) bell: Bell,
}

/// The key that a reader borrows.
#[derive(Default)]
pub(super) struct Borrowed {
    /// `None`: it was let go of, and everything that was read with it.
    pub(super) root: Option<RootKey>,
}

impl Loan {
    /// Of an engine that has just claimed its store, and began to at this moment; before that
    /// another engine may have owned it, and erased something without waiting for keys that it
    /// lent for so many milliseconds each.
    pub(super) fn of_an_heir(began: Clocks, env: &dyn Env, lending: u32) -> Self {
        let lasts = (LOAN + MARGIN).max(lasts(lending));
        let (known, alone) = (Mutex::new(Some(began)), env.monotonic() + lasts);
        Loan { known, alone, ..Loan::default() }
    }

    /// Of a reader on another machine, which began to look at this moment.
    pub(super) fn of_a_reader(began: Clocks, root: &RootKey, lending: u32) -> Self {
        let term = Some(Duration::from_millis(u64::from(lending)));
        let borrowed = Mutex::new(Borrowed { root: Some(root.duplicate()) });
        Loan { known: Mutex::new(Some(began)), term, borrowed, ..Loan::default() }
    }

    /// Whether this engine reads with a key that another one lends.
    pub(super) fn is_borrowed(&self) -> bool {
        self.term.is_some()
    }

    /// For how long at a time.
    pub(super) fn term(&self) -> Duration {
        self.term.unwrap_or(LOAN)
    }

    /// Notes that something was erased, or may have been, in a store that lends keys for so many
    /// milliseconds.
    pub(super) fn call_in(&self, env: &dyn Env, lending: u32) {
        if lending > 0 {
            *locked(&self.called_in) = Some(env.monotonic() + lasts(lending));
        }
    }

    /// Until when readers on other machines may be at the state of now, or an earlier one, in a
    /// store that lends keys for so many milliseconds.
    pub(super) fn lent(&self, env: &dyn Env, lending: u32) -> Option<Duration> {
        (lending > 0).then(|| env.monotonic() + lasts(lending))
    }

    /// Until when keys may be lent that open what was erased up to now.
    pub(super) fn called_in(&self) -> Option<Duration> {
        *locked(&self.called_in)
    }

    /// Waits until then. The writer's lock is not held meanwhile: others go on.
    pub(super) fn keep_back(&self, env: &dyn Env, until: Option<Duration>) {
        if let Some(until) = until {
            wait_until(env, until);
        }
    }

    /// The store was asked at this moment, and is this engine's. A commit says less: in a place
    /// that was emptied it goes as well as where it belongs.
    pub(super) fn renew(&self, began: Clocks) {
        *locked(&self.known) = Some(began);
    }

    /// The engine is opened again: the store is to be asked before the next read, and what became
    /// of an erase is not known.
    pub(super) fn begin_again(&self, env: &dyn Env, lending: u32) {
        *locked(&self.known) = None;
        self.call_in(env, lending);
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
        !self.is_lost() && known.is_some_and(|at| now.since(at) < self.term())
    }

    /// Waits until no engine of before reads any more: an erase returns after it.
    pub(super) fn wait(&self, env: &dyn Env) {
        wait_until(env, self.alone);
    }
}

/// How long a key may be used that is lent for so many milliseconds, by another clock than its
/// borrower's.
fn lasts(lending: u32) -> Duration {
    if lending == 0 {
        return Duration::ZERO;
    }
    let term = Duration::from_millis(u64::from(lending));
    term + term / 50 + MARGIN / 2
}

fn wait_until(env: &dyn Env, until: Duration) {
    loop {
        let left = until.saturating_sub(env.monotonic());
        if left.is_zero() {
            return;
        }
        env.sleep(left.min(NAP));
    }
}
