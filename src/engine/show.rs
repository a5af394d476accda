//! What readers see: the one place where a commit that the store holds becomes the state. Readers
//! of what it erased are closed here, and its pages leave the cache.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::core::{Core, State};
use super::readers::ClosedReaders;
use super::two_cores::{MANY_FORGOTTEN, halves};
use crate::catalogue::change::{Change, Cuts};
use crate::catalogue::defect::Defect;
use crate::catalogue::span::Span;
use crate::ids::{BlobName, UserTag};
use crate::observer::ClosedBy;
use crate::pages::Made;
use crate::sealed::outlet::wait_for_writes;
use crate::store::{Blob, Head};
use crate::tree::head::HeadPage;

/// Shows a commit that the store holds to readers; gives its blobs back, and about how many bytes
/// died with it.
pub(super) fn show(
    core: &Core,
    change: Change,
    stored: Head,
    staged: &[BlobName],
) -> (Vec<Blob>, u64) {
    let Change { head, blobs, made, replaced, put, erased, cuts } = change;
    let agenda = |head: &HeadPage| (head.roots.agenda.as_ref().map(|at| at.name), head.pending);
    let dying = core.cleaners.dying(&blobs, replaced.len(), &erased, head.users);
    let rings = head.roots.falling.is_some() || agenda(&head) != agenda(&core.state().head);
    let erases = core.state().erases + u64::from(!erased.is_empty());
    let id = stored.id;
    install(core, State { head, stored, erases }, made, &replaced, &erased, &cuts);
    core.changes.note(id, put, &erased);
    core.in_flight.release(blobs.iter().map(|(name, _)| *name).chain(staged.iter().copied()), true);
    if rings {
        core.bell.ring();
    }
    let replaced = tell_replaced(core, replaced);
    core.store().suspect(core.cleaners.keep_replaced(replaced, dying));
    core.cleaners.heard(dying.total());
    (blobs, dying.total())
}

/// What the cleaner is told that a commit replaced.
fn tell_replaced(core: &Core, mut replaced: Vec<BlobName>) -> Vec<BlobName> {
    if core.planted(Defect::ReplaceLive) {
        let state = core.state();
        replaced.push(state.head.roots.users.name);
    }
    replaced
}

/// Swaps what readers see. Look-ups that began before have ended; open readers of the erased are
/// closed; walks over the whole tree have let go of their pages.
fn install(
    core: &Core,
    next: State,
    made: VecDeque<Made>,
    replaced: &[BlobName],
    erased: &[Span],
    cuts: &Cuts,
) {
    if !erased.is_empty() {
        core.walks.stop();
    }
    let mut closed = ClosedReaders::default();
    {
        let mut state = core.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = next;
        core.readers.keep_open(cuts);
        if !core.planted(Defect::ForgetCache) {
            let owners: Vec<UserTag> = erased.iter().map(|span| span.user).collect();
            halves(replaced, MANY_FORGOTTEN, |some| core.cache.forget(some, &[]));
            core.cache.forget(&[], &owners);
            closed = core.readers.close(erased);
        }
        core.cache.add(made);
    }
    wait_for_writes(&closed.outlets);
    core.observing.readers_closed(closed.readers, ClosedBy::Erase);
    if !erased.is_empty() {
        core.walks.wait();
    }
}
