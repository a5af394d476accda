//! Telling a cell that lies apart from the store how far the store is: once a minute, if anything
//! was put. A store that went back, as a database does that failed over to a late replica, is then
//! found out when it is opened, even if nothing was erased in between.

use super::core::Core;
use super::told::Told;
use crate::error::Result;
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Notes what a claim or a retirement told the cell.
pub(super) fn was_told(core: &Core, commit: u64) {
    *locked(&core.told) = Told { commit, at: core.options.env.monotonic() };
}

/// Tells the cell of the newest commit, if it is not known there and a minute is over.
///
/// # Errors
/// `Fenced` if another engine claimed the cell; `Io`. It is tried again a minute later.
pub(super) fn tell(core: &Core) -> Result<()> {
    if core.looks_only().is_some() || core.poisoned.load(Ordering::Acquire) {
        return Ok(());
    }
    let (commit, now) = (core.state().stored.id.commit, core.options.env.monotonic());
    {
        let mut told = locked(&core.told);
        if !told.lacks(commit, now) {
            return Ok(());
        }
        told.at = now;
    }
    core.cell.mark(core.id, commit)?;
    let mut told = locked(&core.told);
    told.commit = told.commit.max(commit);
    Ok(())
}
