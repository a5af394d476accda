//! The one commit point. Every change of the tree, every erase and every recovery ends here.
//!
//! Order of an erase: deposit, publish, copies in step, read back, retire. A put is the middle of
//! it alone. The point itself is `write`: a crash before it undoes the change, one after it not.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

use super::change::{About, Commit};
use super::core::{Core, State, Writer};
use super::epoch::next_root;
use super::heads::seal_head;
use super::readers::ClosedReaders;
use super::replica::{self, Attached, Backup, Copied, copy_tree};
use crate::catalogue::change::{Change, Cuts};
use crate::catalogue::defect::Defect;
use crate::catalogue::edit::Edit;
use crate::catalogue::span::Span;
use crate::catalogue::walk::Walking;
use crate::cell::{Awaited, Durable, Retirement, RootKey};
use crate::crypto::{self, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, UserTag};
use crate::observer::{ClosedBy, Event};
use crate::pages::{Made, PageSource, missing};
use crate::sealed::outlet::settle as settle_outlets;
use crate::secret::WipeStack;
use crate::store::{Blob, Head, HeadId, Published, Store};
use crate::sync::locked;
use crate::tree::PageKind;
use crate::tree::head::{CopyMode, HeadPage};

/// One commit within the epoch: `act` edits, or fails and leaves everything as it is.
pub(super) fn change<T>(core: &Core, act: impl FnOnce(&mut Edit<'_>) -> Result<T>) -> Result<T> {
    let _wiped = WipeStack;
    commit_edit(core, |_, _, edit| act(edit))
}

/// The same, for an act that looks at the state itself.
pub(super) fn commit_edit<T>(
    core: &Core,
    act: impl FnOnce(&State, &PageSource<'_>, &mut Edit<'_>) -> Result<T>,
) -> Result<T> {
    core.process.check()?;
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    let (done, change) = {
        let state = core.state();
        let pages = core.pages();
        let mut edit = Edit::new(core.start(&state, &pages));
        let done = act(&state, &pages, &mut edit)?;
        (done, edit.seal(core.next_head(&state))?)
    };
    publish(core, &mut writer, change)?;
    Ok(done)
}

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

/// The copies that hold every commit before it is acknowledged.
fn in_step(writer: &mut Writer) -> impl Iterator<Item = &mut Attached> {
    writer.copies.iter_mut().filter(|copy| copy.entry.mode == CopyMode::InStep)
}

/// Brings every copy in step to the head, and retires every root key but the current one.
/// Idempotent: recovery is this, and an erase ends with it.
///
/// # Errors
/// `Fenced` for an engine that only looks.
pub(super) fn settle(core: &Core, writer: &mut Writer) -> Result<Retirement> {
    core.check_owner()?;
    writer.settled = false;
    for copy in in_step(writer) {
        let caught_up = copy.open(&core.options).and_then(|store| catch_up_in_step(core, &*store));
        if let Err(e) = caught_up {
            core.observing.copy_missed(copy.entry.id, number(core, copy), &e, false);
            copy.let_go();
            return Err(replica::out_of_step(&copy.entry.place, &e));
        }
        core.observing.copy_in_step(copy.entry.id, number(core, copy));
    }
    verify(core, writer)?;
    finish(core, writer, None)
}

/// A copy's number in the list of them.
fn number(core: &Core, copy: &Attached) -> u64 {
    let id = copy.entry.id;
    core.state().head.copies.iter().take_while(|entry| entry.id != id).count() as u64
}

/// Brings a copy to the current head, under the writer's lock.
fn catch_up_in_step(core: &Core, copy: &dyn Store) -> Result<()> {
    let (roots, geometry, head) = {
        let state = core.state();
        (state.head.roots.duplicate(), state.head.geometry, state.stored.clone())
    };
    let from = core.uncached_pages();
    let what = Copied { roots: &roots, geometry, head: &head };
    let mut done = Backup::default();
    copy_tree(&Walking::unhindered(), &from, what, copy, &mut done, &mut |_| {}).map(|_| ())
}

/// Asks the cell again, where it could not say yet that the old root key is gone.
pub(super) fn chase(core: &Core) -> Result<()> {
    let awaited = locked(&core.awaiting).clone();
    let again = match awaited {
        // What the engine could not finish is finished before the next change.
        None | Some(Awaited::Engine(_)) => false,
        Some(Awaited::Medium(until)) => until <= core.reading(&core.state()).latest(),
        Some(_) => true,
    };
    if again {
        let mut writer = core.writer();
        core.check_usable()?;
        settle(core, &mut writer)?;
    }
    Ok(())
}

/// The last step: from here on the old root key is gone. `next` takes its place, where the cell has
/// it so.
fn finish(core: &Core, writer: &mut Writer, next: Option<RootKey>) -> Result<Retirement> {
    writer.next = None;
    // It was read back.
    writer.unread = Vec::new();
    if core.planted(Defect::SkipRetire) {
        writer.settled = true;
        *locked(&core.awaiting) = None;
        return Ok(Retirement::Destroyed);
    }
    let keep = &writer.root.id;
    let durable = || Durable::verified(core.state().stored.id.commit);
    let for_next = |next: &RootKey| core.cell.retire_for(keep, next, durable());
    let retired = match next.as_ref().map(for_next).transpose()?.flatten() {
        Some(retired) => {
            writer.next = next;
            retired
        }
        None => core.cell.retire(keep, durable())?,
    };
    writer.settled = true;
    let awaited = retired.awaited();
    core.observing.retirement(writer.root.id.epoch, awaited.as_ref());
    *locked(&core.awaiting) = awaited;
    Ok(retired)
}

/// Reads the head, the root page and what this process wrote for an erase back from the store and
/// from every copy in step, and opens or compares it. What a process before it wrote nobody can
/// name.
fn verify(core: &Core, writer: &Writer) -> Result<()> {
    let state = core.state();
    let in_step = writer.copies.iter().filter(|c| c.entry.mode == CopyMode::InStep);
    let copies = in_step.filter_map(|c| c.store.as_ref());
    for store in std::iter::once(core.store()).chain(copies) {
        verify_place(&state, writer, &**store)?;
    }
    Ok(())
}

fn verify_place(state: &State, writer: &Writer, store: &dyn Store) -> Result<()> {
    let odd = || {
        Error::corrupt(format!(
            "{} does not give back what was just written; its disk is failing",
            store.place()
        ))
    };
    let stored = store.head()?.ok_or_else(odd)?;
    if stored.id > state.stored.id {
        return Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "another engine published {} of {} meanwhile; open it again",
                stored.id,
                store.place()
            ),
        ));
    }
    if stored != state.stored {
        return Err(odd());
    }
    let head = HeadPage::open(&stored.bytes, &writer.root.key)?;
    let root = store.get(&head.roots.users.name)?.ok_or_else(odd)?;
    let context = crypto::page_context(head.realm, PageKind::Users.byte(), head.roots.users.name);
    chunked::open(&head.roots.users.key(), &context, &root)?;
    for (name, bytes) in &writer.unread {
        if store.get(name)?.as_ref() != Some(bytes) {
            return Err(odd());
        }
    }
    Ok(())
}

/// Publishes a change. With a root key in it this is an erase, and it returns when the old root key
/// is retired.
pub(super) fn publish(
    core: &Core,
    writer: &mut Writer,
    commit: impl Into<Commit>,
) -> Result<Option<Retirement>> {
    let commit = commit.into();
    let began = core.observing.begin();
    let (about, written) = (commit.about(), began.map_or(0, |_| commit.written()));
    let published = publish_commit(core, writer, commit);
    note_commit(core, writer, Tried { about, written, began }, &published);
    published
}

/// A commit that was tried, as an observer is told of it.
struct Tried {
    about: About,
    written: u64,
    began: Option<Duration>,
}

fn note_commit<T>(core: &Core, writer: &Writer, tried: Tried, published: &Result<T>) {
    let Tried { about: About { kind, requests, records, bytes }, written, began } = tried;
    let took = core.observing.since(began);
    if let Err(e) = published {
        let (error, perhaps) = (e.kind(), e.may_have_happened());
        core.observing.note(|| Event::CommitFailed { kind, error, perhaps, took });
        let awaited = locked(&core.awaiting).clone();
        if matches!(awaited, Some(Awaited::Engine(_))) {
            core.observing.retirement(writer.root.id.epoch, awaited.as_ref());
        }
        return;
    }
    core.observing.note(|| {
        let (head, users) = {
            let state = core.state();
            (state.stored.id, state.head.users)
        };
        let (requests, records, waited) = (requests as u64, records as u64, writer.waited);
        Event::Commit { kind, head, requests, records, bytes, written, users, took, waited }
    });
}

fn publish_commit(core: &Core, writer: &mut Writer, commit: Commit) -> Result<Option<Retirement>> {
    core.check_owner()?;
    let Commit { change, staged, root, attached, .. } = commit;
    let before = core.state().stored.id;
    // What an earlier commit left open stays open until it is settled.
    let was_settled = writer.settled;
    let under = root.as_ref().unwrap_or(&writer.root);
    let stored = seal_head(&*core.options.env, core.id, before.commit + 1, &change.head, under)?;
    if let Some(root) = &root {
        deposit(core, writer, root)?;
    }
    write(core, &change.blobs, before, &stored)?;
    let blobs = show(core, change, stored, &staged);
    let erase = root.is_some();
    if let Some(root) = root {
        writer.root = root;
        core.note_unfinished(
            "the new epoch is published, and the old root key is not destroyed yet; `Engine::run_due` tries again",
        );
    }
    writer.settled = false;
    attach(core, writer, attached);
    let handed = hand_on(core, writer, &Handed { before, staged: &staged, blobs: &blobs, erase });
    if erase {
        // Also where a copy failed: whatever completes this erase reads them back first.
        writer.unread.extend(blobs);
    }
    handed?;
    if !erase {
        if !was_settled {
            return settle(core, writer).map(|_| None).map_err(Error::perhaps);
        }
        writer.settled = true;
        return Ok(None);
    }
    verify(core, writer).map_err(Error::perhaps)?;
    // Prepare the next root key only from the second erase on: a process that erases once should
    // leave no unused key in the cell.
    let next =
        if writer.erases { Some(next_root(core, writer, &core.state().head)?) } else { None };
    writer.erases = true;
    finish(core, writer, next).map(Some).map_err(Error::perhaps)
}

/// Has the cell hold the next epoch's root key: two keys, until [`finish`].
fn deposit(core: &Core, writer: &mut Writer, root: &RootKey) -> Result<()> {
    writer.settled = false;
    // The one that stood ready is used once, whatever becomes of it. To deposit it again is no
    // write.
    writer.next = None;
    core.cell.deposit(core.id, &root.id, &root.key)?;
    if core.planted(Defect::RetireBeforePublish) {
        core.cell.retire(&root.id, Durable::verified(core.state().stored.id.commit))?;
    }
    Ok(())
}

/// Writes a commit to the store: from here on it counts.
fn write(core: &Core, blobs: &[Blob], before: HeadId, stored: &Head) -> Result<()> {
    core.names.keep(blobs.iter().map(|(name, _)| *name));
    match core.judged(core.store().commit(blobs, Some(before), stored)) {
        Ok(Published::Done) => Ok(()),
        Ok(Published::Conflict(there)) => {
            core.poison(ErrorKind::Fenced);
            Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "another writer published {} first; open the store again; nothing of this change was kept",
                    replica::shown(there)
                ),
            ))
        }
        Err(e) => {
            core.names.release(blobs.iter().map(|(name, _)| *name), false);
            Err(if e.kind() == ErrorKind::Full { e } else { e.perhaps() })
        }
    }
}

/// Shows a commit that the store holds to readers; gives its blobs back.
fn show(core: &Core, change: Change, stored: Head, staged: &[BlobName]) -> Vec<Blob> {
    let Change { head, blobs, made, replaced, erased, cuts } = change;
    let agenda = |head: &HeadPage| (head.roots.agenda.as_ref().map(|at| at.name), head.pending);
    let rings = head.roots.falling.is_some() || agenda(&head) != agenda(&core.state().head);
    let erases = core.state().erases + u64::from(!erased.is_empty());
    install(core, State { head, stored, erases }, made, &replaced, &erased, &cuts);
    core.names.release(blobs.iter().map(|(name, _)| *name).chain(staged.iter().copied()), true);
    if rings {
        core.bell.ring();
    }
    blobs
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
        core.readers.cut(cuts);
        if !core.planted(Defect::ForgetCache) {
            let owners: Vec<UserTag> = erased.iter().map(|span| span.user).collect();
            core.cache.forget(replaced, &owners);
            closed = core.readers.close(erased);
        }
        core.cache.add(made);
    }
    settle_outlets(&closed.outlets);
    core.observing.readers_closed(closed.readers, ClosedBy::Erase);
    if !erased.is_empty() {
        core.walks.wait();
    }
}

/// Has the writer know the copies that the published head lists, and no other: there is one list of
/// them.
fn attach(core: &Core, writer: &mut Writer, new: Option<Attached>) {
    let listed = core.state().head.copies.clone();
    writer.copies.extend(new);
    if core.planted(Defect::TwoLists) {
        return;
    }
    writer.copies.retain(|copy| listed.iter().any(|entry| entry.id == copy.entry.id));
}

/// What copies in step are handed.
struct Handed<'a> {
    /// Id of the head that this commit replaces.
    before: HeadId,
    staged: &'a [BlobName],
    blobs: &'a [Blob],
    erase: bool,
}

/// Hands one commit on to every copy in step.
fn hand_on(core: &Core, writer: &mut Writer, what: &Handed<'_>) -> Result<()> {
    in_step(writer).try_for_each(|copy| {
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
        return catch_up_in_step(core, copy);
    }
    for name in what.staged {
        let blob = core.store().get(name)?.ok_or_else(|| missing(*name, &core.store().place()))?;
        copy.put(&[(*name, blob)])?;
    }
    let stored = core.state().stored.clone();
    match copy.commit(what.blobs, Some(what.before), &stored)? {
        Published::Done => Ok(()),
        Published::Conflict(there) => Err(replica::foreign(&copy.place(), there)),
    }
}
