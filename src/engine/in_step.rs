//! Copies in step: each holds a commit before it is acknowledged.

use super::core::{Core, Writer};
use super::medium::AskedMedium;
use super::replica::{self, Attached, Backup, Copied, copy_tree};
use super::side_by_side::each;
use crate::catalogue::walk::Walking;
use crate::error::Result;
use crate::ids::BlobName;
use crate::pages::missing;
use crate::secret::WipeStack;
use crate::store::{Blob, HeadId, Published, Store};
use crate::tree::head::{CopyEntry, CopyMode};

/// What copies in step are handed.
pub(super) struct Handed<'a> {
    /// Id of the head that this commit replaces.
    pub(super) before: HeadId,
    pub(super) staged: &'a [BlobName],
    pub(super) blobs: &'a [Blob],
    /// About how many bytes died.
    pub(super) dead: u64,
    pub(super) erase: bool,
}

/// Commits to the store. Those of the copies `listed` that are far away are meanwhile given what
/// the commit holds: their head alone is left for afterwards, so that none is ever ahead.
pub(super) fn beside(
    core: &Core,
    writer: &mut Writer,
    listed: &[CopyEntry],
    what: &Handed<'_>,
    commit: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let stays = |copy: &&mut Attached| listed.iter().any(|entry| entry.id == copy.entry.id);
    let far: Vec<&mut Attached> = in_step(writer).filter(stays).filter(is_far).collect();
    if far.is_empty() {
        return commit();
    }
    let done = std::thread::scope(|scope| {
        for copy in far {
            scope.spawn(move || {
                let _wiped = WipeStack;
                let given = copy.store.as_ref().map(|store| give(core, &**store, what));
                copy.ahead = given.and_then(Result::transpose);
            });
        }
        commit()
    });
    if done.is_err() {
        in_step(writer).for_each(|copy| copy.ahead = None);
    }
    done
}

/// Gives a copy that holds the commit before what this one holds; `None` if it is to be given all
/// with the head.
fn give(core: &Core, copy: &dyn Store, what: &Handed<'_>) -> Result<Option<()>> {
    // One that is not in step must get no page: where one is, everything below it is.
    if copy.head()?.map(|head| head.id) != Some(what.before) {
        return Ok(None);
    }
    put_staged(core, copy, what)?;
    copy.for_an_erase(what.erase);
    let taken = copy.put_ahead(what.blobs);
    copy.for_an_erase(false);
    Ok(taken?.then_some(()))
}

fn put_staged(core: &Core, copy: &dyn Store, what: &Handed<'_>) -> Result<()> {
    for name in what.staged {
        let blob = core.store().get(name)?.ok_or_else(|| missing(*name, &core.store().place()))?;
        copy.put(&[(*name, blob)])?;
    }
    Ok(())
}

/// Hands one commit on to every copy in step.
pub(super) fn hand_on(core: &Core, writer: &mut Writer, what: &Handed<'_>) -> Result<()> {
    each(in_step(writer), is_far, |copy| {
        let taken = match copy.ahead.take() {
            Some(Err(e)) => Err(e),
            given => copy
                .open(&core.options)
                .and_then(|store| forward(core, &*store, what, given.is_some())),
        };
        taken.map_err(|e| {
            core.observing.copy_missed(copy.entry.id, number(core, copy), &e, what.erase);
            copy.let_go();
            replica::not_taken(&copy.entry.place, &e, what.erase).perhaps()
        })
    })
}

/// Hands one commit on to a copy that holds the one before; any other copy catches up. `given`: it
/// has all but the head.
fn forward(core: &Core, copy: &dyn Store, what: &Handed<'_>, given: bool) -> Result<()> {
    let blobs = if given { &[] } else { what.blobs };
    if !given {
        if copy.head()?.map(|h| h.id) != Some(what.before) {
            return bring(core, copy);
        }
        put_staged(core, copy, what)?;
    }
    let stored = core.state().stored.clone();
    match copy.commit(blobs, Some(what.before), &stored)? {
        Published::Done => {
            copy.suspect(what.dead);
            Ok(())
        }
        Published::Conflict(there) => Err(replica::foreign(&copy.place(), there)),
    }
}

/// Brings every copy in step to the head, under the writer's lock.
pub(super) fn bring_all(core: &Core, writer: &mut Writer) -> Result<()> {
    each(in_step(writer), is_far, |copy| {
        let brought = copy.open(&core.options).and_then(|store| bring(core, &*store));
        if let Err(e) = brought {
            core.observing.copy_missed(copy.entry.id, number(core, copy), &e, false);
            copy.let_go();
            return Err(replica::out_of_step(&copy.entry.place, &e));
        }
        core.observing.copy_in_step(copy.entry.id, number(core, copy));
        Ok(())
    })
}

/// Whether a copy is open at a place where a request takes long: it waits for no other one.
fn is_far(copy: &&mut Attached) -> bool {
    copy.store.as_ref().is_some_and(|store| store.is_far())
}

/// A copy's number in the list of them.
fn number(core: &Core, copy: &Attached) -> u64 {
    let id = copy.entry.id;
    core.state().head.copies.iter().take_while(|entry| entry.id != id).count() as u64
}

/// The copies that hold every commit before it is acknowledged.
pub(super) fn in_step(writer: &mut Writer) -> impl Iterator<Item = &mut Attached> {
    writer.copies.iter_mut().filter(|copy| copy.entry.mode == CopyMode::InStep)
}

/// Brings a copy to the current head, under the writer's lock.
fn bring(core: &Core, copy: &dyn Store) -> Result<()> {
    let (roots, geometry, head) = {
        let state = core.state();
        (state.head.roots.duplicate(), state.head.geometry, state.stored.clone())
    };
    let _asked = AskedMedium::new(&**core.store());
    let from = core.uncached_pages();
    let what = Copied { roots: &roots, geometry, head: &head };
    let mut done = Backup::default();
    copy_tree(&Walking::unhindered(), &from, what, copy, &mut done, &mut |_| {}).map(|_| ())
}
