//! Copies: other stores that hold the same blobs. After an erase a copy needs nothing for the erased to be gone, and
//! the few rekeyed pages for the living to be restorable from it.
//!
//! Invariant of every copy: where a page is, everything below it is. Pages go in behind what they point to, so a
//! walk that brings a copy up to date passes over every page that is there already.

use std::sync::Arc;

use super::change::Commit;
use super::commit::{publish, ready};
use super::heads::open_head;
use super::lines::{self, Candidate};
use super::own::{self, is_ahead};
use super::replica::{Attached, Backup, Copied, copy_tree};
use super::sync::sync;
use super::Engine;
use crate::catalogue::walk::Walking;
use crate::cell::RootCell;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{COPIES_MAX, PLACE_MAX_BYTES};
use crate::pages::{PageSource, SharedStore};
use crate::secret::WipeStack;
use crate::store::{HeadId, Store};
use crate::tree::head::{CopyEntry, CopyMode};

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

impl Engine {
    /// Adds a copy at `place` and brings it up to date. A copy in step holds every later commit before that is
    /// acknowledged.
    ///
    /// # Errors
    /// `Exists` for a place that is a copy already; `Refused` where it holds another store; `Invalid`; `Io`, `Full`.
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
                ErrorKind::Refused,
                format!("a store has at most {COPIES_MAX} copies; remove one first"),
            ));
        }
        let store = (inner.options.open_copy)(place, true)?;
        // Most of the way without stopping the writers, the rest in the commit that makes it a copy.
        sync(inner, &*store, &mut progress)?;
        let mut id = [0; 8];
        inner.options.env.fill(&mut id)?;
        let entry = CopyEntry { id: u64::from_be_bytes(id), mode, place: place.to_owned() };
        let mut writer = inner.writer();
        ready(inner, &mut writer)?;
        let mut head = inner.next_head(&inner.state());
        head.copies.push(entry.clone());
        let attached = Attached { entry: entry.clone(), store: Some(Arc::clone(&store)) };
        publish(inner, &mut writer, Commit { attached: Some(attached), ..Commit::of_head(head) })?;
        if mode == CopyMode::Behind {
            drop(writer);
            sync(inner, &*store, &mut progress).inspect_err(|_| self.let_go(&entry))?;
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
                ready(inner, &mut writer)?;
                synced.push((entry, Backup { head: Some(self.head()), ..Backup::default() }));
            } else {
                let done = sync(inner, &*store, &mut progress).inspect_err(|_| self.let_go(&entry))?;
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
                format!("{place} is no copy of this store; `keyfall copy status STORE` lists them"),
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
            ready(inner, &mut writer)?;
        }
        // Before what an earlier commit left open: perhaps that waits for this very copy.
        publish(inner, &mut writer, Commit::of_head(head)).map(|_| ())
    }

    /// Copies what `to` lacks, and the head: an incremental backup. There is no key in it.
    ///
    /// # Errors
    /// `Refused` where `to` holds another store, a later state, or records or erases that this store never had: another place wrote to it after
    /// the two parted; `Fenced` where this store does not own its cell, and `to` holds another head than its own; `Io`, `Full`.
    pub fn backup(&self, to: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Backup> {
        sync(&self.inner, to, &mut progress)
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
/// `Refused` where every copy is of an older epoch than the cell, with the epochs named; `Corrupt` where a blob is in
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
            Err(e) if empty || e.kind() == ErrorKind::Refused => failed = Some(e),
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
    let what = Copied { roots: &page.roots, geometry: page.geometry, head: &head };
    let mut done = Backup::default();
    copy_tree(&Walking::unhindered(), &source, what, into, &mut done, &mut progress)?;
    let lacks = own::lacking(&into.place(), head.id.commit, mark);
    Ok(Restored { head: head.id, from: store.place(), others, lacks, blobs: done.blobs, bytes: done.bytes })
}
