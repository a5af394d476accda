//! The keeper: a thread that does what is due while an engine is open.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::beat;
use super::borrow;
use super::cleaner;
use super::core::Core;
use super::dying::Cleaner;
use super::observing::{Stopped, failed};
use super::run_due::{left, run_due};
use super::tell::tell;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LOOK_EVERY, TELL_EVERY};
use crate::observer::Event;
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Longest time without a look at the clock, which may have been set meanwhile.
const NAP: Duration = Duration::from_secs(30);
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// The thread; it ends with the last handle of its engine.
pub(super) struct KeeperThread {
    inner: Arc<Core>,
    thread: Option<JoinHandle<()>>,
    /// The thread that gives space back, if the store can.
    cleaner: Option<JoinHandle<()>>,
    /// The thread that leaves signs of life, if they were asked for.
    beats: Option<JoinHandle<()>>,
}

impl KeeperThread {
    /// Starts it.
    ///
    /// # Errors
    /// `Io` if the system gives no thread: nobody would do what is due then.
    pub(super) fn start(inner: &Arc<Core>) -> Result<Arc<Self>> {
        let core = Arc::clone(inner);
        let thread =
            std::thread::Builder::new().name("keyfall-keeper".into()).spawn(move || keep(&core));
        let none = "no thread can be started for what is due; raise the limit of processes and threads, or call `Engine::run_due` yourself";
        let thread = Some(thread.map_err(|e| Error::io(none, e))?);
        let cleaner =
            if inner.options.cleaner == Cleaner::On { start_cleaner(inner) } else { None };
        let inner = Arc::clone(inner);
        let mut keeper = KeeperThread { inner, thread, cleaner, beats: None };
        keeper.beats = beat::start(&keeper.inner)?;
        Ok(Arc::new(keeper))
    }

    /// How many of the engine's own handles it and its threads hold.
    pub(super) fn holds(&self) -> usize {
        2 + usize::from(self.cleaner.is_some()) + usize::from(self.beats.is_some())
    }
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        if !self.inner.process.is_this() {
            // The thread is not in a fork.
            std::mem::forget((self.thread.take(), self.cleaner.take(), self.beats.take()));
            return;
        }
        self.inner.bell.end();
        self.inner.cleaners.bell.end();
        self.inner.loan.bell.end();
        for thread in [self.thread.take(), self.cleaner.take(), self.beats.take()] {
            let _ = thread.map(JoinHandle::join);
        }
        // After the last sign.
        self.inner.store().rest();
    }
}

/// The cleaner's thread. If the system gives none, space is not given back, and all else goes on.
fn start_cleaner(inner: &Arc<Core>) -> Option<JoinHandle<()>> {
    if inner.looks_only().is_some() || !matches!(inner.store().waste(), Ok(Some(_))) {
        return None;
    }
    let kept = Arc::clone(inner);
    let thread = std::thread::Builder::new().name("keyfall-cleaner".into());
    let started = thread.spawn(move || cleaner::keep(&kept));
    if started.is_err() {
        inner.observing.tell(|| Event::CleanerStopped { panicked: false });
    }
    started.ok()
}

fn keep(inner: &Core) {
    if inner.loan.is_borrowed() {
        return borrow::keep(inner);
    }
    if inner.looks_only().is_some() {
        return watch(inner);
    }
    let mut stopped = Stopped::new(&inner.observing, |panicked| Event::KeeperStopped { panicked });
    loop {
        // Before it sleeps: an erase meanwhile leaves nothing on this stack either.
        let wiped = crate::secret::WipeStack;
        let turned = turn(inner);
        let nap = *turned.as_ref().unwrap_or(&Some(PAUSE));
        // Keyholders that were away are asked until they have answered.
        let (nap, asked) = if locked(&inner.awaiting).is_some() {
            let asked = run_due(inner, &mut |_| {}, &|| inner.bell.is_ended());
            (Some(nap.map_or(NAP, |nap| nap.min(NAP))), failed(&asked))
        } else {
            (nap, None)
        };
        let told = failed(&tell(inner));
        if let (Some(error), Some(again)) = (failed(&turned).or(asked), nap) {
            inner.observing.note(|| Event::KeeperFailed { error, again });
        } else if let Some(error) = told {
            inner.observing.note(|| Event::KeeperFailed { error, again: TELL_EVERY });
        }
        let nap = Some(nap.map_or(TELL_EVERY, |nap| nap.min(TELL_EVERY)));
        drop(wiped);
        inner.observing.deliver();
        // Poisoned, it waits until the engine is reopened, which rings.
        let nap = nap.filter(|_| !inner.poisoned.load(Ordering::Acquire));
        if inner.bell.wait(nap).is_none() {
            stopped.with_its_engine = true;
            return;
        }
    }
}

/// Does what is due, if anything is; says how long nothing is, `None` where no time is known.
fn turn(inner: &Core) -> Result<Option<Duration>> {
    Ok(match left(inner)? {
        None => None,
        Some(Duration::ZERO) => {
            let outcome = run_due(inner, &mut |_| {}, &|| inner.bell.is_ended())?;
            Some(if outcome.stuck { PAUSE } else { Duration::ZERO })
        }
        Some(left) => Some(NAP.min(left)),
    })
}

/// Has a read-only engine ask its cell, until it ends.
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
        if over || inner.bell.wait(Some(LOOK_EVERY)).is_none() {
            return;
        }
    }
}
