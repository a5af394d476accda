//! Copies: other stores that hold the same blobs. After an erase a copy needs nothing for the erased to be gone, and
//! the few rekeyed pages for the living to be restorable from it.
//!
//! Invariant of every copy: where a page is, everything below it is. Pages go in behind what they point to, so a
//! walk that brings a copy up to date passes over every page that is there already.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::lines::{self, Candidate};
use super::open::open_head;
use super::own::{self, is_ahead};
use super::pages::{PageSource, SharedStore};
use super::walk::{Step, Walked, Walking, walk};
use super::{Engine, Inner, Options, commit};
use crate::cell::RootCell;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::{COPIES_MAX, PLACE_MAX_BYTES};
use crate::secret::WipeStack;
use crate::store::{Blob, Head, HeadId, Published, Store};
use crate::tree::Geometry;
use crate::tree::head::{CopyEntry, CopyMode, Prefix, Roots};

/// Bytes of blobs from which on a copy's `put` is called.
const BUFFER_BYTES: usize = 1 << 20;

/// A copy the engine knows of, with its store once it is reached.
pub(super) struct Attached {
    pub(super) entry: CopyEntry,
    pub(super) store: Option<SharedStore>,
}

impl Attached {
    /// Only an engine that writes opens the copies in step at once: what merely looks would keep others from them.
    pub(super) fn new(entry: CopyEntry, options: &Options, writes: bool) -> Self {
        let mut attached = Attached { entry, store: None };
        if writes && attached.entry.mode == CopyMode::InStep {
            // Out of reach is found out again, and told, when it matters.
            let _ = attached.reach(options);
        }
        attached
    }

    /// Closes the store behind a failed copy: the next try opens it anew, which finds out what it holds.
    pub(super) fn let_go(&mut self) {
        self.store = None;
    }

    /// The copy's store, opened if it is not open, before anything is changed.
    pub(super) fn reach(&mut self, options: &Options) -> Result<SharedStore> {
        self.open(options).map_err(|e| out_of_step(&self.entry.place, &e))
    }

    /// The same, with the error of whatever opens it.
    pub(super) fn open(&mut self, options: &Options) -> Result<SharedStore> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let store = (options.open_copy)(&self.entry.place, false)?;
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }
}

pub(super) fn out_of_step(place: &str, e: &Error) -> Error {
    if e.kind() == ErrorKind::Locked {
        return Error::new(
            ErrorKind::Copy,
            format!(
                "the copy {place} must be in step and is not: it is open already, in another process or as this very store; stop the process, or, where this store is that copy, give it up with `Engine::copy_remove('{place}')`, and call again"
            ),
        );
    }
    Error::new(
        ErrorKind::Copy,
        format!(
            "the copy {place} must be in step and is not: {}; bring it back, or give it up with `Engine::copy_remove('{place}')`, and call again",
            why(e)
        ),
    )
}

/// What is wrong with a copy, without what helps a store of one's own.
fn why(e: &Error) -> String {
    match e.kind() {
        ErrorKind::Full => "no space is left there".to_owned(),
        ErrorKind::Absent => "no store is there".to_owned(),
        _ => e.to_string(),
    }
}

/// Of a commit that the store holds and a copy in step did not take: what to do then is not to do it again.
pub(super) fn not_taken(place: &str, e: &Error, erase: bool) -> Error {
    let what = if erase {
        "the new epoch is published and reads go by it, but the old root key is not destroyed yet"
    } else {
        "what was written is in the store and must not be put again; it counts once every copy in step has it"
    };
    let text = format!(
        "{what}: the copy {place} must be in step and is not: {}; bring it back, or give it up with `Engine::copy_remove('{place}')`",
        why(e)
    );
    Error::new(ErrorKind::Copy, text)
}

/// A head's number, for a person.
pub(super) fn shown(head: Option<HeadId>) -> String {
    head.map_or_else(|| "no head".into(), |h| h.to_string())
}

pub(super) fn foreign(place: &str, there: Option<HeadId>) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!(
            "{place} moved on by itself, to {}: another engine wrote to it; restore from it to go on from there",
            shown(there)
        ),
    )
}

pub(super) fn another_store(place: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("{place} holds another store; {remedy}"))
}

/// How a copy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStatus {
    /// The copy.
    pub entry: CopyEntry,
    /// The head it holds; `None` where it holds none or is out of reach.
    pub head: Option<HeadId>,
    /// The state that can be restored from it with the cell as it is now; `None` where that is none.
    pub restores: Option<HeadId>,
    /// Pages that it lacks of the store's state; `None` where it could not be looked at.
    pub lacks_pages: Option<u64>,
    /// Why it could not be reached, or how what it holds is no earlier state of this store.
    pub error: Option<String>,
}

/// What a backup or a sync copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The state that it now holds.
    pub head: Option<HeadId>,
    /// Blobs copied.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a restore brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The state restored.
    pub head: HeadId,
    /// The copy whose head it was.
    pub from: String,
    /// Copies with heads of the same epoch that this state is not seen to go on from: what only they hold was not restored.
    pub others: Vec<(String, HeadId)>,
    /// What the state is known to lack: the cell was told of a later commit ([`Engine::lacks`]).
    pub lacks: Option<String>,
    /// Blobs written.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blobs on their way into a copy.
struct Outbox<'a> {
    to: &'a dyn Store,
    blobs: Vec<Blob>,
    held: usize,
    done: &'a mut Backup,
    progress: &'a mut dyn FnMut(u64),
}

impl Outbox<'_> {
    fn push(&mut self, name: BlobName, bytes: Vec<u8>) -> Result<()> {
        self.held += bytes.len();
        self.blobs.push((name, bytes));
        if self.held >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Counts what it holds as copied.
    fn count(&mut self) {
        self.done.blobs += self.blobs.len() as u64;
        self.done.bytes += self.held as u64;
    }

    fn flush(&mut self) -> Result<()> {
        self.to.put(&self.blobs)?;
        self.count();
        self.blobs.clear();
        self.held = 0;
        (self.progress)(self.done.blobs);
        Ok(())
    }
}

/// Copies everything below `roots` that `to` lacks, from the first of `from`'s stores that has it, then the head. Adds what
/// it copied to `done`, also where it was interrupted and the head is still to come.
fn copy_tree(
    leave: &Walking<'_>,
    from: &PageSource<'_>,
    (roots, geometry, head): (&Roots, Geometry, &Head),
    (to, done): (&dyn Store, &mut Backup),
    progress: &mut dyn FnMut(u64),
) -> Result<Walked> {
    let over = to.head()?;
    if let Some(there) = &over {
        if Prefix::decode(&there.bytes)?.store != Prefix::decode(&head.bytes)?.store {
            return Err(another_store(&to.place(), "name an empty place, or a copy of this one"));
        }
        if there.id == head.id && there.bytes != head.bytes {
            return Err(foreign(&to.place(), Some(there.id)));
        }
        if there.id == head.id {
            done.head = Some(head.id);
            return Ok(Walked::Whole);
        }
        if there.id > head.id {
            return Err(foreign(&to.place(), Some(there.id)));
        }
    }
    let mut out = Outbox { to, blobs: Vec::new(), held: 0, done, progress };
    let walked = walk(leave, from, roots, &mut |step| {
        match step {
            Step::Enter { at, .. } => {
                if to.contains(&at.name)? {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Step::Record { entry, .. } => {
                for name in entry.segment_names(geometry) {
                    // A recording of hours must not hold an erase up.
                    if leave.must_stop() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if !to.contains(&name)? {
                        out.push(name, from.fetch(&name, Ok)?)?;
                    }
                }
            }
            Step::Leave { name } => out.push(name, from.fetch(&name, Ok)?)?,
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Walked::Interrupted = walked {
        out.flush()?;
        return Ok(Walked::Interrupted);
    }
    match to.commit(&out.blobs, over.map(|h| h.id), head)? {
        Published::Done => {
            out.count();
            out.done.head = Some(head.id);
            Ok(Walked::Whole)
        }
        Published::Conflict(there) => Err(foreign(&to.place(), there)),
    }
}

impl Inner {
    /// Brings a copy to the current head, under the writer's lock.
    pub(super) fn catch_up_in_step(&self, copy: &dyn Store) -> Result<()> {
        let (roots, geometry, head) = {
            let state = self.state();
            (state.head.roots.duplicate(), state.head.geometry, state.stored.clone())
        };
        let from = self.uncached_pages();
        copy_tree(&Walking::unhindered(), &from, (&roots, geometry, &head), (copy, &mut Backup::default()), &mut |_| {})
            .map(|_| ())
    }

    /// Brings a store to a recent head while writers go on; begins anew after an erase, keeping what it has.
    fn sync(&self, to: &dyn Store, progress: &mut dyn FnMut(u64)) -> Result<Backup> {
        let _wiped = WipeStack;
        let mut total = Backup::default();
        loop {
            self.check_usable()?;
            // Before the walk: an erase that has the writer's lock waits for walks.
            let root = self.writer().root.duplicate();
            let leave = self.walking();
            let (roots, geometry, head) = {
                let state = self.state();
                (state.head.roots.duplicate(), state.head.geometry, state.stored.clone())
            };
            let from = self.uncached_pages();
            let what = (&roots, geometry, &head);
            let copied = match self.may_replace(&leave, to, what, &root) {
                Ok(Walked::Whole) => copy_tree(&leave, &from, what, (to, &mut total), progress),
                not_yet => not_yet,
            };
            drop((roots, leave));
            let moved_on = self.state().stored.id != head.id;
            match copied {
                Ok(Walked::Whole) => return Ok(total),
                Ok(Walked::Interrupted) => crate::sync::yield_now(),
                // A page that a commit replaced meanwhile may have been discarded under the walk.
                Err(e) if moved_on && e.kind() == ErrorKind::Corrupt => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Engine {
    /// Adds a copy at `place` and brings it up to date. A copy in step holds every later commit before that is
    /// acknowledged.
    ///
    /// # Errors
    /// `Exists` for a place that is a copy already; `Refused` where it holds another store; `Limit`; `Invalid`; `Io`, `Full`.
    pub fn copy_add(&self, place: &str, mode: CopyMode, mut progress: impl FnMut(u64)) -> Result<CopyEntry> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        if place.is_empty() || place.len() > PLACE_MAX_BYTES {
            return Err(Error::invalid(format!("a copy's place has 1 to {PLACE_MAX_BYTES} bytes")));
        }
        let known = inner.state().head.copies.clone();
        if known.iter().any(|c| c.place == place) {
            return Err(Error::new(ErrorKind::Exists, format!("{place} is a copy of this store already")));
        }
        if known.len() == COPIES_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a store has at most {COPIES_MAX} copies; remove one first"),
            ));
        }
        let store = (inner.options.open_copy)(place, true)?;
        // Most of the way without stopping the writers, the rest in the commit that makes it a copy.
        inner.sync(&*store, &mut progress)?;
        let mut id = [0; 8];
        inner.options.env.fill(&mut id)?;
        let entry = CopyEntry { id: u64::from_be_bytes(id), mode, place: place.to_owned() };
        let mut writer = inner.writer();
        inner.ready(&mut writer)?;
        let mut head = inner.next_head(&inner.state());
        head.copies.push(entry.clone());
        let attached = Attached { entry: entry.clone(), store: Some(Arc::clone(&store)) };
        inner.publish(&mut writer, commit::Change { attached: Some(attached), ..commit::Change::of_head(head) })?;
        if mode == CopyMode::Behind {
            drop(writer);
            inner.sync(&*store, &mut progress).inspect_err(|_| self.let_go(&entry))?;
        }
        Ok(entry)
    }

    /// Brings the copies that are behind up to date; `place` picks one.
    ///
    /// # Errors
    /// `Absent` where `place` is no copy; `Copy`, `Io`, `Full`.
    pub fn copy_sync(&self, place: Option<&str>, mut progress: impl FnMut(u64)) -> Result<Vec<(CopyEntry, Backup)>> {
        let inner = &self.inner;
        inner.process.check()?;
        let mut synced = Vec::new();
        for entry in self.chosen(place)? {
            let store = self.reach(&entry)?;
            if entry.mode == CopyMode::InStep {
                let mut writer = inner.writer();
                inner.ready(&mut writer)?;
                synced.push((entry, Backup { head: Some(self.head()), ..Backup::default() }));
            } else {
                let done = inner.sync(&*store, &mut progress).inspect_err(|_| self.let_go(&entry))?;
                synced.push((entry, done));
            }
        }
        Ok(synced)
    }

    fn chosen(&self, place: Option<&str>) -> Result<Vec<CopyEntry>> {
        let known = self.inner.state().head.copies.clone();
        let chosen: Vec<CopyEntry> = known.into_iter().filter(|c| place.is_none_or(|p| p == c.place)).collect();
        match place {
            Some(place) if chosen.is_empty() => Err(Error::new(
                ErrorKind::Absent,
                format!("{place} is no copy of this store; `Engine::copies` lists them"),
            )),
            _ => Ok(chosen),
        }
    }

    pub(super) fn let_go(&self, entry: &CopyEntry) {
        let mut writer = self.inner.writer();
        writer.copies.iter_mut().filter(|c| c.entry.id == entry.id).for_each(Attached::let_go);
    }

    pub(super) fn reach(&self, entry: &CopyEntry) -> Result<SharedStore> {
        let mut writer = self.inner.writer();
        match writer.copies.iter_mut().find(|c| c.entry.id == entry.id) {
            Some(attached) => attached.reach(&self.inner.options),
            None => Err(Error::new(ErrorKind::Absent, format!("{} is no copy of this store any more", entry.place))),
        }
    }

    /// Forgets a copy. Its bytes stay where they are; what is erased from now on is gone from it too, what lives
    /// can no longer be restored from it after the next erase.
    ///
    /// # Errors
    /// `Absent` where `place` is no copy; `Io`, `Full`.
    pub fn copy_remove(&self, place: &str) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        self.chosen(Some(place))?;
        let mut writer = inner.writer();
        inner.check_owner()?;
        inner.check_usable()?;
        let mut head = inner.next_head(&inner.state());
        head.copies.retain(|c| c.place != place);
        #[cfg(feature = "testing")]
        if inner.defect(super::Defect::TwoLists) {
            writer.copies.retain(|copy| copy.entry.place != place);
            inner.ready(&mut writer)?;
        }
        // Before what an earlier commit left open: perhaps that waits for this very copy.
        inner.publish(&mut writer, commit::Change::of_head(head)).map(|_| ())
    }

    /// Copies what `to` lacks, and the head: an incremental backup. There is no key in it.
    ///
    /// # Errors
    /// `Refused` where `to` holds another store, a later state, or records or erases that this store never had: another place wrote to it after
    /// the two parted; `Fenced` where this store does not own its cell, and `to` holds another head than its own; `Io`, `Full`.
    pub fn backup(&self, to: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Backup> {
        self.inner.sync(to, &mut progress)
    }

    /// The state of the copy at `place`, where it holds what this store lacks: with [`Engine::copy_remove`] that is lost.
    ///
    /// # Errors
    /// `Absent` where `place` is no copy; `Copy`; `Io`, `Corrupt`.
    pub fn copy_ahead(&self, place: &str) -> Result<Option<HeadId>> {
        for entry in self.chosen(Some(place))? {
            let there = self.reach(&entry)?.head()?;
            let here = self.inner.state().stored.clone();
            if let Some(there) = there
                && is_ahead(&there, &here)
            {
                return Ok(Some(there.id));
            }
        }
        Ok(None)
    }

    /// The store of a copy, for `audit` and `discard`.
    pub(super) fn reachable_copies(&self) -> Vec<SharedStore> {
        let entries = self.inner.state().head.copies.clone();
        entries.iter().filter_map(|entry| self.reach(entry).ok()).collect()
    }
}

/// Builds a store anew from copies and a cell: the newest head that the cell opens, and every blob below it from
/// whichever copy has it. Where heads of one epoch do not come one after the other, that of the place that owns the cell, or else of one that
/// never owned it before one that did.
///
/// # Errors
/// `Mismatch` where every copy is of an older epoch than the cell, with the epochs named; `Corrupt` where a blob is in
/// none of them; `Exists` where `into` holds a store; `Io`, `Full`.
pub fn restore(
    cell: &dyn RootCell,
    copies: &[Arc<dyn Store>],
    into: &dyn Store,
    mut progress: impl FnMut(u64),
) -> Result<Restored> {
    let _wiped = WipeStack;
    if into.head()?.is_some() {
        return Err(Error::new(
            ErrorKind::Exists,
            format!("{} holds a store already; name an empty place", into.place()),
        ));
    }
    let mut found = Vec::new();
    let mut failed = None;
    for copy in copies {
        let contents = cell.load()?;
        let empty = copy.head().is_ok_and(|head| head.is_none());
        match open_head(&**copy, contents) {
            Ok((head, page, _)) => found.push(Candidate { head, page, store: copy }),
            // An old copy, or one that was never finished, may still have blobs to give.
            Err(e) if empty || matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::Refused) => failed = Some(e),
            // Perhaps it is the newest: passing over it could lose what it holds.
            Err(e) => {
                let leave_out = format!("{} cannot be read; leave it out to restore from the others", copy.place());
                return Err(e.context(leave_out));
            }
        }
    }
    let (owner, mark) = {
        let told = cell.load()?;
        (told.owner.filter(|_| !told.doubted), told.mark)
    };
    let Some((Candidate { head, page, store }, others)) = lines::choose(found, copies, owner.as_ref())? else {
        return Err(failed.unwrap_or_else(|| Error::invalid("name at least one copy to restore from")));
    };
    let source = PageSource { realm: page.realm, stores: copies, cache: None };
    let what = (&page.roots, page.geometry, &head);
    let mut done = Backup::default();
    copy_tree(&Walking::unhindered(), &source, what, (into, &mut done), &mut progress)?;
    let lacks = own::lacking(&into.place(), head.id.commit, mark);
    Ok(Restored { head: head.id, from: store.place(), others, lacks, blobs: done.blobs, bytes: done.bytes })
}
