//! The keeper: a thread that does what is due while an engine is open.

use std::sync::{Arc, Condvar, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use crate::ids::Timestamp;
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Who does what is due (see [`super::Engine::tend`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeper {
    /// A thread of the engine's, from opening on. What fails is tried again a minute later.
    #[default]
    Thread,
    /// Nobody, until [`super::Engine::tend`] is called.
    ByHand,
}

/// Longest time without a look at the clock, which may have been set meanwhile.
const NAP: Duration = Duration::from_secs(30);
/// Time after a failure.
const PAUSE: Duration = Duration::from_secs(60);

/// Wakes the keeper.
#[derive(Default)]
pub(super) struct Bell {
    state: std::sync::Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    ended: bool,
    rung: bool,
}

impl Bell {
    /// The agenda changed.
    pub(super) fn ring(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rung = true;
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    fn is_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Waits for the bell or for this long; `None` waits for the bell alone. Says whether to go on.
    fn wait(&self, most: Option<Duration>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |s: &mut Rung| !s.rung && !s.ended;
        match most {
            None => state = self.changed.wait_while(state, quiet).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                let waited = self.changed.wait_timeout_while(state, most, quiet);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.rung = false;
        !state.ended
    }
}

/// The thread; it ends with the last handle of its engine.
pub(super) struct Kept {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Kept {
    /// `None` where the system gives no thread: what is due waits for a call then.
    pub(super) fn start(inner: &Arc<Inner>) -> Option<Arc<Self>> {
        let kept = Arc::clone(inner);
        let thread = std::thread::Builder::new().name("keyfall-keeper".into()).spawn(move || keep(&kept)).ok()?;
        Some(Arc::new(Kept { inner: Arc::clone(inner), thread: Some(thread) }))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.inner.bell.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(inner: &Inner) {
    loop {
        let _wiped = crate::secret::WipeStack;
        let nap = match inner.next_due() {
            Ok(None) => None,
            Ok(Some(Timestamp(due))) => {
                let left = due.saturating_sub(if due == 0 { 0 } else { inner.options.env.now().0 });
                match left {
                    0 => match inner.tend(&mut |_| {}, &|| inner.bell.is_ended()) {
                        Ok(tended) if tended.stuck => Some(PAUSE),
                        Ok(_) => Some(Duration::ZERO),
                        Err(_) => Some(PAUSE),
                    },
                    left => Some(NAP.min(Duration::from_millis(left))),
                }
            }
            Err(_) => Some(PAUSE),
        };
        // Keyholders that were away are asked until they have answered.
        let nap = if locked(&inner.awaiting).is_some() {
            let _ = inner.tend(&mut |_| {}, &|| inner.bell.is_ended());
            Some(nap.map_or(NAP, |nap| nap.min(NAP)))
        } else {
            nap
        };
        if inner.poisoned.load(Ordering::Acquire) || !inner.bell.wait(nap) {
            return;
        }
    }
}
