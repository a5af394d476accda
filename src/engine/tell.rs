//! Once a minute a cell that lies apart from the store is told how far the store is. A store that
//! went back, as a database does that failed over to a late replica, is then found out when it is
//! opened, even if nothing was erased in between; and an engine learns that another place of the
//! store, as one that was restored from a copy, has claimed the cell since. And a look at whether
//! the store is there at all: an emptied bucket takes commits like any other.

use super::core::Core;
use crate::error::{ErrorKind, Result};
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Notes what a claim or a retirement told the cell.
pub(super) fn was_told(core: &Core, commit: u64) {
    let mut told = locked(&core.told);
    told.commit = told.commit.max(commit);
}

/// Once a minute tells the cell of the newest commit; and looks before whether the medium has lost
/// what this engine goes on from.
///
/// # Errors
/// `Fenced` if another engine claimed the cell, `Corrupt` if the store is gone: then the engine is
/// poisoned. `Io`. All of it is tried again a minute later.
pub(super) fn tell(core: &Core) -> Result<()> {
    if core.looks_only().is_some() || core.poisoned.load(Ordering::Acquire) {
        return Ok(());
    }
    let (commit, now) = (core.state().stored.id.commit, core.options.env.monotonic());
    {
        let mut told = locked(&core.told);
        if !told.is_due(now) {
            return Ok(());
        }
        told.at = now;
    }
    match core.store().stands() {
        // What it acknowledged from now on would lie in a store that nobody can open.
        Err(e) if e.kind() == ErrorKind::Corrupt => {
            core.poison(e.kind());
            return Err(e);
        }
        stands => stands?,
    }
    // Also where nothing was put: another place may own the cell by now, and what it erased this
    // engine would go on to deliver.
    core.heard(core.cell.mark(core.id, commit))?;
    let mut told = locked(&core.told);
    told.commit = told.commit.max(commit);
    Ok(())
}
