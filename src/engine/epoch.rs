//! Epochs: how the next one begins, under a root key of its own and with a leaf in the public log.

use super::change::Commit;
use super::core::{Core, State, Writer};
use super::heads::draw_root;
use crate::catalogue::defect::Defect;
use crate::catalogue::leaf::{self, Entered, Words};
use crate::cell::RootKey;
use crate::certificate::{CellFacts, Ends, key_commitment};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::log::Hash;
use crate::tree::head::HeadPage;

/// Lets the next epoch begin with a commit of which nobody asks a certificate.
pub(super) fn next_epoch(
    core: &Core,
    state: &State,
    writer: &Writer,
    commit: &mut Commit,
) -> Result<()> {
    begin_epoch(core, writer, commit)?;
    if !is_unused(core, writer, commit)? {
        commit.root = Some(next_root(core, writer, &commit.change.head)?);
    }
    let (now, cell) = (core.options.env.now(), core.cell_facts());
    enter(core, state, writer, commit, now, &cell, &[]).map(drop)
}

/// Lets the next epoch begin with a commit, under the root key that stands ready, or a fresh one:
/// what was pending becomes final with it. Ask [`is_unused`] before it is published.
pub(super) fn begin_epoch(core: &Core, writer: &Writer, commit: &mut Commit) -> Result<()> {
    commit.change.head.pending = None;
    commit.root = Some(match &writer.next {
        Some(next) => next.duplicate(),
        None => next_root(core, writer, &commit.change.head)?,
    });
    Ok(())
}

/// Whether the root key of a commit may seal its head: not one that stood ready and that the cell
/// has since made the current one, which a machine that was restored from a snapshot remembers.
pub(super) fn is_unused(core: &Core, writer: &Writer, commit: &Commit) -> Result<bool> {
    let Some(root) = &commit.root else { return Ok(true) };
    let stood_ready = writer.next.as_ref().is_some_and(|next| next.id == root.id);
    Ok(!stood_ready || core.cell.ready(&writer.root.id, &root.id)?)
}

/// Draws the root key of the epoch after the writer's.
pub(super) fn next_root(core: &Core, writer: &Writer, head: &HeadPage) -> Result<RootKey> {
    let drawn = draw_root(&*core.options.env, writer.root.id.epoch + 1, head)?;
    if core.planted(Defect::KeepRootKey) {
        return Ok(RootKey { id: drawn.id, key: writer.root.key.duplicate() });
    }
    Ok(drawn)
}

/// Adds a leaf for a commit that erases; where it begins an epoch, its root key is drawn. (`None`:
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
