//! The second stage of a put: one commit makes the records of batches, whose payloads are staged,
//! part of the tree. Batches that wait at once share it.

use super::commit::{Commit, publish};
use super::core::{Core, Staging, Writer};
use super::ready::ready;
use crate::catalogue::edit::Edit;
use crate::catalogue::put::insert_all;
use crate::catalogue::seal_pages::seal;
use crate::error::Result;
use crate::ids::RecordId;

/// Most records that batches of several callers put in one commit.
const TOGETHER_MAX: usize = 16_384;

/// Commits batches together; if one of them cannot be, each alone. Of one that fails nothing is
/// kept.
pub(super) fn put_all(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    let outcomes = put_together(core, writer, batches);
    for (batch, outcome) in batches.iter().zip(&outcomes) {
        if outcome.is_err() {
            core.in_flight.release(batch.stored.iter().copied(), false);
        }
    }
    outcomes
}

fn put_together(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    if batches.is_empty() {
        return Vec::new();
    }
    let records: usize = batches.iter().map(|batch| batch.staged.len()).sum();
    if batches.len() > 1 && records > TOGETHER_MAX {
        let (some, others) = batches.split_at(batches.len() / 2);
        let mut outcomes = put_together(core, writer, some);
        outcomes.extend(put_together(core, writer, others));
        return outcomes;
    }
    let built = ready(core, writer).and_then(|()| put_commit(core, batches));
    let (commit, ids) = match built {
        Ok(built) => built,
        Err(_) if batches.len() > 1 => {
            return batches
                .iter()
                .flat_map(|batch| put_together(core, writer, &[*batch]))
                .collect();
        }
        Err(e) => return vec![Err(e)],
    };
    match publish(core, writer, commit) {
        Ok(_) => ids.into_iter().map(Ok).collect(),
        Err(e) if batches.len() == 1 => vec![Err(e)],
        Err(e) => batches.iter().map(|_| Err(e.copy())).collect(),
    }
}

/// Seals a commit of batches, with the ids of the records of each.
fn put_commit(core: &Core, batches: &[&Staging]) -> Result<(Commit, Vec<Vec<RecordId>>)> {
    let state = core.state();
    let pages = core.pages();
    let mut edit = Edit::new(core.start(&state, &pages));
    let (mut all, mut users) = (Vec::with_capacity(batches.len()), 0);
    for batch in batches {
        core.check_life(batch)?;
        let look_again = batch.erases.is_some_and(|erases| erases < state.erases);
        let inserted = insert_all(&mut edit, &batch.staged, look_again)?;
        all.push(inserted.ids);
        users += inserted.created;
    }
    let mut commit = Commit::from(seal(edit, core.next_head(&state))?);
    commit.change.head.users += users;
    commit.change.put = all.iter().flatten().copied().collect();
    commit.staged = batches.iter().flat_map(|batch| batch.stored.iter().copied()).collect();
    Ok((commit, all))
}
