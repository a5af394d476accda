//! The keeper: a thread that does what is due while an engine is open.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::observing::failed;
use super::tend::{left, tend};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::LOOK_EVERY;
use crate::observer::Event;
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Longest time without a look at the clock, which may have been set meanwhile.
const NAP: Duration = Duration::from_secs(30);
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// The thread; it ends with the last handle of its engine.
pub(super) struct Kept {
    inner: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl Kept {
    /// Starts it.
    ///
    /// # Errors
    /// `Io` where the system gives no thread: nobody would do what is due then.
    pub(super) fn start(inner: &Arc<Core>) -> Result<Arc<Self>> {
        let kept = Arc::clone(inner);
        let thread =
            std::thread::Builder::new().name("keyfall-keeper".into()).spawn(move || keep(&kept));
        let none = "no thread can be started for what is due; raise the limit of processes and threads, or call `Engine::run_due` yourself";
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

fn keep(inner: &Core) {
    if inner.looks_only().is_some() {
        return watch(inner);
    }
    let mut stopped = Stopped { inner, at_its_end: false };
    loop {
        // Before it sleeps: an erase meanwhile leaves nothing on this stack either.
        let wiped = crate::secret::WipeStack;
        let turned = turn(inner);
        let nap = *turned.as_ref().unwrap_or(&Some(PAUSE));
        // Keyholders that were away are asked until they have answered.
        let (nap, asked) = if locked(&inner.awaiting).is_some() {
            let asked = tend(inner, &mut |_| {}, &|| inner.bell.is_ended());
            (Some(nap.map_or(NAP, |nap| nap.min(NAP))), failed(&asked))
        } else {
            (nap, None)
        };
        if let (Some(error), Some(again)) = (failed(&turned).or(asked), nap) {
            inner.observing.note(|| Event::KeeperFailed { error, again });
        }
        drop(wiped);
        inner.observing.deliver();
        if inner.poisoned.load(Ordering::Acquire) {
            return;
        }
        if !inner.bell.wait(nap) {
            stopped.at_its_end = true;
            return;
        }
    }
}

/// Does what is due, if anything is; says how long nothing is, `None` where no time is known.
fn turn(inner: &Core) -> Result<Option<Duration>> {
    Ok(match left(inner)? {
        None => None,
        Some(Duration::ZERO) => {
            let tended = tend(inner, &mut |_| {}, &|| inner.bell.is_ended())?;
            Some(if tended.stuck { PAUSE } else { Duration::ZERO })
        }
        Some(left) => Some(NAP.min(left)),
    })
}

/// Tells that the thread ends before its engine, also where it panics.
struct Stopped<'c> {
    inner: &'c Core,
    at_its_end: bool,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if !self.at_its_end {
            let panicked = std::thread::panicking();
            self.inner.observing.tell(|| Event::KeeperStopped { panicked });
        }
    }
}

/// Has an engine that only looks ask its cell, until it ends.
fn watch(inner: &Core) {
    let mut fails = false;
    loop {
        let failed = failed(&inner.check_watched());
        let over = failed == Some(ErrorKind::Mismatch);
        if let Some(error) = failed.filter(|_| !fails && !over) {
            inner.observing.note(|| Event::KeeperFailed { error, again: LOOK_EVERY });
        }
        fails = failed.is_some();
        inner.observing.deliver();
        // A cell that does not answer is asked again.
        if over || !inner.bell.wait(Some(LOOK_EVERY)) {
            return;
        }
    }
}
