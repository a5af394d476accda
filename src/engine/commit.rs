//! The one commit point: every change of the tree and every erase becomes durable here.
//!
//! Order of an erase: deposit, publish, copies in step, read back, retire; the last two are in
//! `retire`. A put is the middle of it alone. The point itself is `write`: a crash before it undoes
//! the change, one after it not.

use std::time::Duration;

use super::core::{Core, Writer};
use super::heads::seal_head;
use super::in_step::{Handed, beside, hand_on};
use super::replica::{self, Attached};
use super::retire::{complete, settle};
use super::show::show;
use crate::catalogue::change::Change;
use crate::catalogue::defect::Defect;
use crate::cell::{Durable, RootKey};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::observer::{CommitKind, Event};
use crate::promise::{Awaited, Retirement};
use crate::store::{Blob, Head, HeadId, Published};
use crate::sync::locked;
use crate::tree::head::HeadPage;

/// A change, and what the engine adds to it to publish it.
pub(super) struct Commit {
    pub(super) change: Change,
    /// Payload segments put before, which this commit makes live.
    pub(super) staged: Vec<BlobName>,
    /// The next epoch's root key, when something is erased.
    pub(super) root: Option<RootKey>,
    /// A copy that the head lists for the first time, open.
    pub(super) attached: Option<Attached>,
    pub(super) about: About,
}

/// What an observer is told of a commit.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) kind: CommitKind,
    /// Requests that share it.
    pub(super) requests: usize,
    /// Records that are put.
    pub(super) records: usize,
    /// Bytes of their payloads.
    pub(super) bytes: u64,
}

impl About {
    /// Of so many requests of one kind.
    pub(super) fn of(kind: CommitKind, requests: usize) -> Self {
        About { kind, requests, records: 0, bytes: 0 }
    }
}

impl From<Change> for Commit {
    fn from(change: Change) -> Self {
        let about = About::of(CommitKind::Change, 1);
        Commit { change, staged: Vec::new(), root: None, attached: None, about }
    }
}

impl Commit {
    /// Of the head alone.
    pub(super) fn of_head(head: HeadPage) -> Self {
        Change::of_head(head).into()
    }

    /// What an observer is told of it: what begins an epoch and says nothing else does just that.
    fn about(&self) -> About {
        match self.about.kind {
            CommitKind::Change if self.root.is_some() => About::of(CommitKind::Epoch, 1),
            _ => self.about,
        }
    }

    /// Bytes that go into the store with it.
    fn written(&self) -> u64 {
        self.change.blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
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
    let erases = commit.root.is_some() || !commit.change.erased.is_empty();
    let published = publish_commit(core, writer, commit);
    if erases {
        // Whatever became of it. Whoever tells of it keeps that back until these are over.
        let lending = core.state().head.lending;
        core.loan.call_in(&*core.options.env, lending);
    }
    if about.kind == CommitKind::Erase || matches!(published, Ok(Some(_))) {
        core.loan.wait(&*core.options.env);
    }
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
    core.store().reads_first(&change.head.roots.users.name);
    let erase = root.is_some();
    core.in_flight.keep(change.blobs.iter().map(|(name, _)| *name));
    let given = Handed { before, staged: &staged, blobs: &change.blobs, dead: 0, erase };
    let listed = &change.head.copies;
    beside(core, writer, listed, &given, || write(core, &change.blobs, before, &stored))?;
    let (blobs, dead) = show(core, change, stored, &staged);
    if let Some(root) = root {
        writer.root = root;
        core.note_unfinished(
            "the new epoch is published, and the old root key is not destroyed yet; `Engine::run_due` tries again",
        );
    }
    writer.settled = false;
    attach(core, writer, attached);
    let handed =
        hand_on(core, writer, &Handed { before, staged: &staged, blobs: &blobs, dead, erase });
    if erase {
        // Also if a copy failed: whatever completes this erase reads them back first.
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
    complete(core, writer).map(Some).map_err(Error::perhaps)
}

/// Has the cell hold the next epoch's root key: two keys, until `retire` has the
/// old one destroyed.
fn deposit(core: &Core, writer: &mut Writer, root: &RootKey) -> Result<()> {
    writer.settled = false;
    // The one that stood ready is used once, whatever becomes of it. To deposit it again is no
    // write.
    writer.next = None;
    core.heard(core.cell.deposit(core.id, &root.id, &root.key))?;
    if core.planted(Defect::RetireBeforePublish) {
        core.cell.retire(&root.id, Durable::verified(core.state().stored.id.commit))?;
    }
    Ok(())
}

/// Writes a commit, whose names are kept, to the store: from here on it counts.
fn write(core: &Core, blobs: &[Blob], before: HeadId, stored: &Head) -> Result<()> {
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
            core.in_flight.release(blobs.iter().map(|(name, _)| *name), false);
            Err(if e.changed_nothing() { e } else { e.perhaps() })
        }
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
