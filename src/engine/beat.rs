//! Signs of life for a standby: the writer leaves one now and then in a store that machines share.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::atomic::Ordering;

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
    let left = core.store().beat();
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
