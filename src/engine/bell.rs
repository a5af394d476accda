//! What runs the work that falls due, and what wakes the thread that runs it.

use std::sync::{Condvar, PoisonError};
use std::time::Duration;

/// What runs the work that falls due (see [`Engine::run_due`](crate::Engine::run_due)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeper {
    /// A thread of the engine's, from opening on. What fails is tried again a minute later.
    #[default]
    Thread,
    /// Nothing, until the application calls [`Engine::run_due`](crate::Engine::run_due).
    ByHand,
}

/// The signal on which the keeper's thread waits.
#[derive(Default)]
pub(super) struct Bell {
    state: std::sync::Mutex<Rung>,
    changed: Condvar,
}

/// What woke a thread that waits for a bell.
#[derive(Clone, Copy)]
pub(super) enum Woken {
    Rung,
    /// It did not ring for as long as the thread would wait.
    Quiet,
}

#[derive(Default)]
struct Rung {
    ended: bool,
    rung: bool,
}

impl Bell {
    /// Wakes the keeper, since the agenda changed.
    pub(super) fn ring(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rung = true;
        self.changed.notify_all();
    }

    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Waits for the bell or for this long; `None` waits for the bell alone. Gives `None` at the
    /// end.
    pub(super) fn wait(&self, most: Option<Duration>) -> Option<Woken> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |s: &mut Rung| !s.rung && !s.ended;
        match most {
            None => {
                state =
                    self.changed.wait_while(state, quiet).unwrap_or_else(PoisonError::into_inner)
            }
            Some(most) => {
                let waited = self.changed.wait_timeout_while(state, most, quiet);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let woken = if state.rung { Woken::Rung } else { Woken::Quiet };
        state.rung = false;
        (!state.ended).then_some(woken)
    }
}
