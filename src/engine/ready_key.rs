//! The ready key: the next epoch's root key, which is in the cell ahead of its use (`retire`
//! has it written there). Each is used once. Before a commit under it is published the cell is
//! asked whether it is still there.

use super::commit::Commit;
use super::core::{Core, Writer};
use crate::error::Result;

/// Whether the root key of a commit may seal its head: not a ready key that the cell
/// has since made the current one, which a machine that was restored from a snapshot remembers.
pub(super) fn is_unused(core: &Core, writer: &Writer, commit: &Commit) -> Result<bool> {
    let Some(root) = &commit.root else { return Ok(true) };
    let stood_ready = writer.next.as_ref().is_some_and(|next| next.id == root.id);
    Ok(!stood_ready || core.cell.ready(&writer.root.id, &root.id)?)
}
