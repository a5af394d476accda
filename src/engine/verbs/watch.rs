//! Watching: what changed since a head.

#[cfg(feature = "tokio")]
use std::sync::Weak;
use std::time::Duration;

use crate::engine::changes::Watched;
use crate::engine::core::Core;
use crate::error::Result;
use crate::store::HeadId;

/// Sees that changes are noted from now on, if this is the first caller that watches.
fn begin(inner: &Core) -> Result<()> {
    inner.check_owner()?;
    inner.check_readable()?;
    if !inner.changes.is_watched() {
        // No commit comes in between.
        let _writer = inner.writer();
        inner.changes.begin(inner.state().stored.id);
    }
    Ok(())
}

pub(super) fn watch(inner: &Core, since: HeadId, patience: Duration) -> Result<Watched> {
    begin(inner)?;
    Ok(inner.changes.since(since, patience))
}

/// What changed since a head; if nothing did, `wake` is called once something does.
#[cfg(feature = "tokio")]
pub(in crate::engine) fn watch_or_wake(
    inner: &Core,
    since: HeadId,
    wake: Weak<dyn Fn() + Send + Sync>,
) -> Result<Watched> {
    begin(inner)?;
    Ok(inner.changes.since_or_wake(since, wake))
}
