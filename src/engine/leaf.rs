//! The leaf of the public log for a commit that erases: it goes in with the commit.

use super::commit::Commit;
use super::core::{Core, State, Writer};
use crate::catalogue::leaf::{self, Entered, Words};
use crate::certificate::{CellFacts, Ends, key_commitment};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::log::Hash;

/// Adds a leaf for a commit that erases; if it begins an epoch, its root key is drawn. (`None`:
/// a planted defect.)
pub(super) fn enter(
    core: &Core,
    state: &State,
    writer: &Writer,
    commit: &mut Commit,
    now: Timestamp,
    cell: &CellFacts,
    commitments: &[Hash],
) -> Result<Option<Entered>> {
    let ends = match &commit.root {
        Some(root) => Ends::Next {
            attempt: data_encoding::HEXLOWER.encode(&root.id.attempt),
            commitment: key_commitment(root.key.bytes()),
        },
        None => Ends::Until(commit.change.head.pending.unwrap_or(now).to_string()),
    };
    let destroys = key_commitment(writer.root.key.bytes());
    let pages = core.pages();
    let view = core.view(state, &pages);
    leaf::enter(
        &view,
        &core.means(),
        &mut commit.change,
        Words { now, cell, destroys, ends },
        commitments,
    )
}
