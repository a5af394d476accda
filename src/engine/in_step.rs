//! Copies in step: each holds a commit before it is acknowledged.

use super::core::{Core, Writer};
use super::medium::AskedMedium;
use super::replica::{self, Attached, Backup, Copied, copy_tree};
use super::side_by_side::each;
use crate::catalogue::walk::Walking;
use crate::error::Result;
use crate::ids::BlobName;
use crate::pages::missing;
use crate::store::{Blob, HeadId, Published, Store};
use crate::tree::head::CopyMode;

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

/// Hands one commit on to every copy in step.
pub(super) fn hand_on(core: &Core, writer: &mut Writer, what: &Handed<'_>) -> Result<()> {
    each(in_step(writer), is_far, |copy| {
        let opened = copy.open(&core.options);
        let taken = opened.and_then(|store| forward(core, &*store, what));
        taken.map_err(|e| {
            core.observing.copy_missed(copy.entry.id, number(core, copy), &e, what.erase);
            copy.let_go();
            replica::not_taken(&copy.entry.place, &e, what.erase).perhaps()
        })
    })
}

/// Hands one commit on to a copy that holds the one before; any other copy catches up.
fn forward(core: &Core, copy: &dyn Store, what: &Handed<'_>) -> Result<()> {
    if copy.head()?.map(|h| h.id) != Some(what.before) {
        return bring(core, copy);
    }
    for name in what.staged {
        let blob = core.store().get(name)?.ok_or_else(|| missing(*name, &core.store().place()))?;
        copy.put(&[(*name, blob)])?;
    }
    let stored = core.state().stored.clone();
    match copy.commit(what.blobs, Some(what.before), &stored)? {
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
