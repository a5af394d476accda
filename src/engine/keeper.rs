//! The keeper: a thread that does what is due while an engine is open.

use std::sync::{Arc, Condvar, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use super::watched::watch;
use crate::error::{Error, Result};
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Who does what is due (see [`Engine::run_due`](crate::Engine::run_due)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeper {
    /// A thread of the engine's, from opening on. What fails is tried again a minute later.
    #[default]
    Thread,
    /// Nobody, until [`Engine::run_due`](crate::Engine::run_due) is called.
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
    pub(super) fn wait(&self, most: Option<Duration>) -> bool {
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
    /// Starts it.
    ///
    /// # Errors
    /// `Io` where the system gives no thread: nobody would do what is due then.
    pub(super) fn start(inner: &Arc<Inner>) -> Result<Arc<Self>> {
        let kept = Arc::clone(inner);
        let thread = std::thread::Builder::new().name("keyfall-keeper".into()).spawn(move || keep(&kept));
        let none = "no thread can be started for what is due; raise the limit of processes and threads, or call `tend` yourself";
        let thread = Some(thread.map_err(|e| Error::io(none, e))?);
        Ok(Arc::new(Kept { inner: Arc::clone(inner), thread }))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.inner.process.is_this() {
            // The thread is not in a fork.
            std::mem::forget(self.thread.take());
            return;
        }
        self.inner.bell.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(inner: &Inner) {
    if inner.looks_only().is_some() {
        return watch(inner);
    }
    loop {
        // Before it sleeps: who erases meanwhile leaves nothing on this stack either.
        let wiped = crate::secret::WipeStack;
        let nap = match inner.left() {
            Ok(None) => None,
            Ok(Some(Duration::ZERO)) => match inner.tend(&mut |_| {}, &|| inner.bell.is_ended()) {
                Ok(tended) if tended.stuck => Some(PAUSE),
                Ok(_) => Some(Duration::ZERO),
                Err(_) => Some(PAUSE),
            },
            Ok(Some(left)) => Some(NAP.min(left)),
            Err(_) => Some(PAUSE),
        };
        // Keyholders that were away are asked until they have answered.
        let nap = if locked(&inner.awaiting).is_some() {
            let _ = inner.tend(&mut |_| {}, &|| inner.bell.is_ended());
            Some(nap.map_or(NAP, |nap| nap.min(NAP)))
        } else {
            nap
        };
        drop(wiped);
        if inner.poisoned.load(Ordering::Acquire) || !inner.bell.wait(nap) {
            return;
        }
    }
}
