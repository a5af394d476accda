//! Signs of life: the writer leaves one now and then in a store that machines share, for a standby
//! and for whoever is about to open the store.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::options::{OpenAs, Options};
use crate::cell::RootCell;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BEAT_MAX, BEAT_MIN};
use crate::store::Store;
use crate::sync::atomic::Ordering;

/// For how long an opening looks whether a writer lives that leaves a sign this often.
fn look_for(every: Duration) -> Duration {
    every.min(BEAT_MAX) * 2 + Duration::from_secs(1)
}

/// Refuses signs of life that an opening could not wait for, and such as come without a pause.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_beat(options: &Options) -> Result<()> {
    match options.beat {
        Some(beat) if !(BEAT_MIN..=BEAT_MAX).contains(&beat) => {
            let text = "signs of life are left every";
            Err(Error::invalid(format!("{text} {BEAT_MIN:?} to {BEAT_MAX:?}, not {beat:?}")))
        }
        _ => Ok(()),
    }
}

/// Refuses to take a store from a writer that leaves signs of life. One that said that it leaves
/// them, and did not say that it ended, is given time for two more.
///
/// # Errors
/// `Locked` if it lives; `Io`, `Corrupt`.
pub(super) fn check_is_quiet(
    store: &dyn Store,
    cell: &dyn RootCell,
    options: &Options,
) -> Result<()> {
    let Some(every) = store.beats().filter(|_| options.open_as == OpenAs::Owner) else {
        return Ok(());
    };
    // A cell that does not answer is told at once.
    drop(cell.load()?);
    let env = &*options.env;
    let seen = store.pulse(None)?;
    let until = env.monotonic() + look_for(every);
    while env.monotonic() < until {
        env.sleep((every / 4).clamp(Duration::from_millis(50), Duration::from_secs(1)));
        if store.pulse(seen)? != seen {
            let text = format!(
                "{} is in use: the engine that has it open left a sign of life just now; stop that one, or take the store from it (`Builder::take_over`)",
                store.place()
            );
            return Err(Error::new(ErrorKind::Locked, text));
        }
    }
    Ok(())
}

/// Leaves a sign of life, where the store is shared and nothing was committed lately.
///
/// # Errors
/// `Fenced` once another engine owns the store; `Poisoned`: an engine that writes nothing more
/// leaves none; `Io`.
pub(super) fn beat(core: &Core) -> Result<()> {
    core.process.check()?;
    core.check_owner()?;
    if core.poisoned.load(Ordering::Acquire) {
        let text = "an earlier write failed with an unknown outcome; call `Engine::reopen`";
        return Err(Error::new(ErrorKind::Poisoned, text));
    }
    let left = core.store().beat(core.options.beat.unwrap_or_default());
    if left.as_ref().is_err_and(|e| e.kind() == ErrorKind::Fenced) {
        // It lets go of what was read.
        core.confirm()?;
    }
    left
}

/// Starts the thread that leaves them, where they were asked for.
///
/// # Errors
/// `Io` if the system gives no thread: a standby would take this writer for gone.
pub(super) fn start(inner: &Arc<Core>) -> Result<Option<JoinHandle<()>>> {
    let Some(every) = inner.options.beat else { return Ok(None) };
    if inner.looks_only().is_some() || !inner.store().is_shared() {
        return Ok(None);
    }
    let core = Arc::clone(inner);
    let keep = move || {
        // What fails is tried again; one that was replaced has nothing more to tell.
        let goes_on = || !beat(&core).is_err_and(|e| e.kind() == ErrorKind::Fenced);
        while goes_on() && core.loan.bell.wait(Some(every)).is_some() {}
    };
    let thread = std::thread::Builder::new().name("keyfall-beat".into()).spawn(keep);
    let none = "no thread can be started for signs of life; raise the limit of processes and threads, or call `Ownership::beat` yourself";
    thread.map(Some).map_err(|e| Error::io(none, e))
}
