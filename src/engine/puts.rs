//! The second stage of a put: one commit makes the records of batches, whose payloads are staged,
//! part of the tree. Batches that wait at once share it.

use std::collections::{BTreeSet, HashSet};

use super::asked::Staging;
use super::commit::{About, Commit, publish};
use super::core::{Core, State, Writer};
use super::epoch::next_epoch;
use super::ready::ready;
use super::two_cores::seal;
use crate::catalogue::edit::{Edit, Start};
use crate::catalogue::follow::{Blocked, follow};
use crate::catalogue::name::{note_held, share_a_name};
use crate::catalogue::put::insert_all;
use crate::catalogue::staged::Inserted;
use crate::error::{ErrorKind, Result};
use crate::ids::{BlobName, RecordId, UserTag};
use crate::observer::CommitKind;

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
    if batches.len() > 1 && share_a_name(batches.iter().map(|batch| &batch.staged[..])) {
        return one_by_one(core, writer, batches);
    }
    if batches.len() > 1 && records > TOGETHER_MAX {
        let (some, others) = batches.split_at(batches.len() / 2);
        let mut outcomes = put_together(core, writer, some);
        outcomes.extend(put_together(core, writer, others));
        return outcomes;
    }
    let built = ready(core, writer).and_then(|()| put_commit(core, writer, batches));
    let Built { commit, ids, unused } = match built {
        Ok(built) => built,
        Err(_) if batches.len() > 1 => return one_by_one(core, writer, batches),
        Err(e) => {
            let written = match e.kind() {
                ErrorKind::Held => write_refusal(core, writer, batches),
                _ => Ok(()),
            };
            return vec![written.and(Err(e))];
        }
    };
    let published = match commit {
        Some(commit) => publish(core, writer, commit).map(drop),
        // What is there already is there as far as this engine owns the store.
        None => core.confirm(),
    };
    match published {
        Ok(()) => {
            core.in_flight.release(unused.into_iter(), false);
            ids.into_iter().map(Ok).collect()
        }
        Err(e) if batches.len() == 1 => vec![Err(e)],
        Err(e) => batches.iter().map(|_| Err(e.copy())).collect(),
    }
}

fn one_by_one(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    batches.iter().flat_map(|batch| put_together(core, writer, &[*batch])).collect()
}

/// A commit of batches.
struct Built {
    /// `None` if everything is there already.
    commit: Option<Commit>,
    /// Of the records of each batch.
    ids: Vec<Vec<RecordId>>,
    /// Segments in the store of what was there already.
    unused: HashSet<BlobName>,
}

/// Batches in the tree, not sealed yet.
struct Joined<'a> {
    edit: Edit<'a>,
    /// What became of each batch.
    all: Vec<Inserted>,
}

/// Seals a commit of batches. Where a name was taken from another record, that one is erased with
/// it, and an epoch begins.
fn put_commit(core: &Core, writer: &Writer, batches: &[&Staging]) -> Result<Built> {
    let state = core.state();
    let pages = core.pages();
    batches.iter().try_for_each(|batch| core.check_life(batch))?;
    let Joined { edit, all } = join(core.start(&state, &pages), &state, batches)?;
    let mut unused = HashSet::new();
    for (batch, inserted) in batches.iter().zip(&all) {
        let same = inserted.same.iter().map(|n| &batch.staged[*n].entry);
        unused.extend(same.flat_map(|entry| entry.segment_names(state.head.geometry)));
    }
    let is_new = batches.iter().zip(&all).any(|(b, i)| i.changes(&b.staged));
    let (users, replaced) =
        all.iter().fold((0, 0), |(users, n), i| (users + i.created, n + i.replaced));
    let about = about(batches, &all);
    let put = batches.iter().zip(&all).flat_map(|(b, i)| i.records(&b.staged)).collect();
    let ids = all.into_iter().map(|inserted| inserted.ids).collect();
    if !is_new {
        return Ok(Built { commit: None, ids, unused });
    }
    let clock = edit.moment.clock;
    let mut commit = Commit::from(seal(edit, core.next_head(&state))?);
    commit.change.head.users += users;
    let stored = batches.iter().flat_map(|batch| batch.stored.iter().copied());
    commit.staged = stored.filter(|name| !unused.contains(name)).collect();
    commit.about = about;
    commit.change.put = put;
    if replaced > 0 {
        let head = &mut commit.change.head;
        head.floor = head.floor.max(clock.sure());
        next_epoch(core, &state, writer, &mut commit)?;
    }
    Ok(Built { commit: Some(commit), ids, unused })
}

/// Makes batches part of the tree, and follows the links of what they replace. A user whose pages
/// cannot be read is passed over, as by an erase.
fn join<'a>(start: Start<'a>, state: &State, batches: &[&Staging]) -> Result<Joined<'a>> {
    let mut passed_over: BTreeSet<UserTag> = BTreeSet::new();
    loop {
        let mut edit = Edit::new(start);
        edit.passed_over.clone_from(&passed_over);
        let (mut all, mut links) = (Vec::with_capacity(batches.len()), Vec::new());
        for batch in batches {
            let look_again = batch.erases.is_some_and(|erases| erases < state.erases);
            let mut inserted = insert_all(&mut edit, &batch.staged, look_again)?;
            links.append(&mut inserted.links);
            all.push(inserted);
        }
        let most = edit.means.follow;
        match follow(&mut edit, links, most) {
            Ok(_) => return Ok(Joined { edit, all }),
            Err(Blocked { user, .. }) if passed_over.insert(user) => {}
            Err(Blocked { error, .. }) => return Err(error),
        }
    }
}

/// Writes into the history of a user that a hold refused to have a record replaced.
fn write_refusal(core: &Core, writer: &mut Writer, batches: &[&Staging]) -> Result<()> {
    let change = {
        let state = core.state();
        let pages = core.pages();
        let mut edit = Edit::new(core.start(&state, &pages));
        let mut noted = false;
        for batch in batches {
            noted |= note_held(&mut edit, &batch.staged)?;
        }
        if !noted {
            return Ok(());
        }
        seal(edit, core.next_head(&state))?
    };
    publish(core, writer, change).map(drop)
}

/// What an observer is told: of records that were there already nothing.
fn about(batches: &[&Staging], all: &[Inserted]) -> About {
    let mut about = About::of(CommitKind::Put, batches.len());
    for (batch, inserted) in batches.iter().zip(all) {
        let fresh = batch
            .staged
            .iter()
            .enumerate()
            .filter(|(n, _)| inserted.same.binary_search(n).is_err());
        for (_, staged) in fresh.filter(|(_, staged)| staged.joins.is_record()) {
            about.records += 1;
            about.bytes += staged.entry.length;
        }
    }
    about
}
