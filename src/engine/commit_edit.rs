//! An edit and its commit: one edit of the state as it is, sealed and published within the epoch.

use super::commit::publish;
use super::core::Core;
use super::ready::ready;
use super::two_cores::seal;
use crate::catalogue::edit::Edit;
use crate::error::Result;
use crate::secret::WipeStack;

/// One commit within the epoch: `act` edits, or fails and leaves everything as it is.
pub(super) fn commit_edit<T>(
    core: &Core,
    act: impl FnOnce(&mut Edit<'_>) -> Result<T>,
) -> Result<T> {
    let _wiped = WipeStack;
    core.process.check()?;
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    let (done, change) = {
        let state = core.state();
        let pages = core.pages();
        let mut edit = Edit::new(core.start(&state, &pages));
        let done = act(&mut edit)?;
        (done, seal(edit, core.next_head(&state))?)
    };
    publish(core, &mut writer, change)?;
    Ok(done)
}
