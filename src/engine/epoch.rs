//! Epochs: how the next one begins, under a root key of its own and with a leaf in the public log.

use super::commit::{Commit, publish};
use super::core::{Core, State, Writer};
use super::draw_root_key::next_root;
use super::leaf::enter;
use super::ready::ready_to_erase;
use super::ready_key::is_unused;
use super::retire::settle;
use crate::catalogue::leaf::Entered;
use crate::certificate::CellFacts;
use crate::error::Result;
use crate::log::Hash;
use crate::promise::Retirement;

/// Begins an epoch without erasing anything.
pub(super) fn rekey(core: &Core) -> Result<Retirement> {
    core.process.check()?;
    let mut writer = core.writer();
    ready_to_erase(core, &mut writer)?;
    if writer.next.is_some() {
        // Discard the prepared key: `rekey` must not use one that a copy of the cell may hold.
        settle(core, &mut writer)?;
    }
    let commit = {
        let state = core.state();
        let mut commit = Commit::of_head(core.next_head(&state));
        next_epoch(core, &state, &writer, &mut commit)?;
        commit
    };
    Ok(publish(core, &mut writer, commit)?.unwrap_or(Retirement::Destroyed))
}

/// Lets the next epoch begin with a commit of which nobody asks a certificate.
pub(super) fn next_epoch(
    core: &Core,
    state: &State,
    writer: &Writer,
    commit: &mut Commit,
) -> Result<()> {
    next_epoch_for(core, state, writer, commit, &core.cell_facts(), &[]).map(drop)
}

/// Lets the next epoch begin with a commit of which certificates are asked, those of these
/// commitments.
pub(super) fn next_epoch_for(
    core: &Core,
    state: &State,
    writer: &Writer,
    commit: &mut Commit,
    cell: &CellFacts,
    commitments: &[Hash],
) -> Result<Option<Entered>> {
    begin_epoch(core, writer, commit)?;
    if !is_unused(core, writer, commit)? {
        commit.root = Some(next_root(core, writer, &commit.change.head)?);
    }
    enter(core, state, writer, commit, core.options.env.now(), cell, commitments)
}

/// Lets the next epoch begin with a commit, under the ready key, or a fresh one:
/// what was pending becomes final with it. Ask [`is_unused`] before it is published.
pub(super) fn begin_epoch(core: &Core, writer: &Writer, commit: &mut Commit) -> Result<()> {
    commit.change.head.pending = None;
    commit.root = Some(match &writer.next {
        Some(next) => next.duplicate(),
        None => next_root(core, writer, &commit.change.head)?,
    });
    Ok(())
}
