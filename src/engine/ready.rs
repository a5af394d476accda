//! Before a change: this engine may make one, and every earlier one is complete.

use super::core::{Core, Writer};
use super::in_step::in_step;
use super::retire::settle;
use crate::error::Result;
use crate::promise::Awaited;
use crate::sync::locked;

/// Before any change: usable, and every earlier one complete.
pub(super) fn ready(core: &Core, writer: &mut Writer) -> Result<()> {
    core.check_owner()?;
    core.check_usable()?;
    if writer.settled { Ok(()) } else { settle(core, writer).map(|_| ()) }
}

/// The same before an erase: what a copy in step lacks may take the room that it keeps for erases.
pub(super) fn ready_to_erase(core: &Core, writer: &mut Writer) -> Result<()> {
    core.check_owner()?;
    core.check_usable()?;
    if writer.settled {
        if writer.next.is_some() {
            core.cell.prepare();
        }
        return Ok(());
    }
    for copy in in_step(writer) {
        // One that is out of reach is told when it is brought in step.
        if let Ok(store) = copy.reach(&core.options) {
            store.for_an_erase(true);
        }
    }
    let settled = settle(core, writer);
    writer
        .copies
        .iter()
        .filter_map(|c| c.store.as_ref())
        .for_each(|store| store.for_an_erase(false));
    settled.map(|_| ())
}

/// Finishes what the engine could not, as where a copy in step went away in the middle of an erase:
/// if nothing is due and nobody changes anything, nothing else does. A look that has what is due
/// done first does not wait for it.
pub(super) fn take_up(core: &Core) -> Result<()> {
    if !matches!(*locked(&core.awaiting), Some(Awaited::Engine(_))) {
        return Ok(());
    }
    let mut writer = core.writer();
    core.check_usable()?;
    // What still keeps it open is what the status says; what is due may be done all the same.
    let _ = ready_to_erase(core, &mut writer);
    Ok(())
}
