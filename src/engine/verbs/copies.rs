//! Copies: other stores that hold the same blobs.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalogue::defect::Defect;
use crate::catalogue::walk::{Step, Walked, walk};
use crate::engine::catch_up::{catch_up, check_is_another, repair};
use crate::engine::check::{Checked, drill};
use crate::engine::commit::{Commit, publish};
use crate::engine::core::Core;
use crate::engine::own::{check_not_ahead, is_ahead};
use crate::engine::progress::Progress;
use crate::engine::ready::ready;
use crate::engine::replica::{Attached, Backup};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{COPIES_MAX, PLACE_MAX_BYTES};
use crate::pages::SharedStore;
use crate::secret::WipeStack;
use crate::store::{HeadId, Store};
use crate::sync::locked;
use crate::tree::head::{CopyEntry, CopyMode};

/// The state of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyStatus {
    /// The copy's id, mode and place.
    pub entry: CopyEntry,
    /// The head it holds; `None` if it holds none, or, with an error, is out of reach.
    pub head: Option<HeadId>,
    /// The state that can be restored from it with the cell as it is now; `None` if none
    /// can.
    pub restores: Option<HeadId>,
    /// Pages that it lacks of the store's state; `None` if it could not be read.
    pub lacks_pages: Option<u64>,
    /// Why it could not be reached, or how what it holds is not an earlier state of this store.
    pub error: Option<String>,
}

/// The copies of the store ([`Engine::copies`](crate::Engine::copies)).
#[derive(Clone, Copy, Debug)]
pub struct Copies<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Copies<'_> {
    /// The copies that the store knows of.
    pub fn list(&self) -> Vec<CopyEntry> {
        self.inner.state().head.copies.clone()
    }

    /// The store of the copy at `place`, if this engine has it open: nobody else can open it
    /// then. It is for [`Copies::check_restore`](crate::engine::Copies::check_restore); only the
    /// engine writes to it.
    pub fn attached(&self, place: &str) -> Option<SharedStore> {
        let writer = self.inner.writer();
        writer
            .copies
            .iter()
            .find(|copy| copy.entry.place == place)
            .and_then(|copy| copy.store.clone())
    }

    /// Finds out what a restore from these copies would bring back: reads and opens everything
    /// below their newest head that the root key opens, without a second cell and while reads and
    /// writes go on. An erase stops it, and it starts again from what the copies hold then. A copy
    /// in step is open here already: [`Copies::attached`](crate::engine::Copies::attached) gives
    /// it.
    ///
    /// # Errors
    /// `Refused` if no copy is of the store's epoch: nothing could be restored; or if one
    /// holds another store; `Changed` if this engine is read-only, and a copy is ahead of what it
    /// was opened at, or if a copy went on meanwhile, and lacks some of what was read; `Corrupt`,
    /// `Io`.
    pub fn check_restore(&self, copies: &[SharedStore], progress: Progress<'_>) -> Result<Checked> {
        let _wiped = WipeStack;
        if copies.is_empty() {
            return Err(Error::invalid("name at least one copy to restore from"));
        }
        // What dies meanwhile stays where it is, or it would be missed.
        let _nothing_goes = locked(&self.inner.discarding);
        loop {
            if let Some(checked) = drill(self.inner, copies, progress)? {
                return Ok(checked);
            }
            crate::sync::yield_now();
        }
    }

    /// Adds a copy at `place` and brings it up to date. A copy in step holds every later commit
    /// before that is acknowledged.
    ///
    /// # Errors
    /// `Exists` for a place that is a copy already; `Refused` if it holds another store;
    /// `Invalid`; `Io`, `Full`.
    pub fn add(&self, place: &str, mode: CopyMode, progress: Progress<'_>) -> Result<CopyEntry> {
        let _wiped = WipeStack;
        let inner = self.inner;
        if place.is_empty() || place.len() > PLACE_MAX_BYTES {
            return Err(Error::invalid(format!("a copy's place has 1 to {PLACE_MAX_BYTES} bytes")));
        }
        let known = inner.state().head.copies.clone();
        if known.iter().any(|c| c.place == place) {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("{place} is a copy of this store already"),
            ));
        }
        if known.len() == COPIES_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a store has at most {COPIES_MAX} copies; remove one first"),
            ));
        }
        let store = (inner.options.open_copy)(place, true)?;
        if store.claimed()?.is_some_and(|it| inner.store().claimed().ok().flatten() == Some(it)) {
            let text = format!("{place} is this very store; name another place for its copy");
            return Err(Error::new(ErrorKind::Refused, text));
        }
        // Most of the way without stopping the writers, the rest in the commit that makes it a
        // copy.
        catch_up(inner, &*store, progress)?;
        let mut id = [0; 8];
        inner.options.env.fill(&mut id)?;
        let entry = CopyEntry { id: u64::from_be_bytes(id), mode, place: place.to_owned() };
        let mut writer = inner.writer();
        ready(inner, &mut writer)?;
        let mut head = inner.next_head(&inner.state());
        head.copies.push(entry.clone());
        let attached =
            Attached { entry: entry.clone(), store: Some(Arc::clone(&store)), ahead: None };
        publish(inner, &mut writer, Commit { attached: Some(attached), ..Commit::of_head(head) })?;
        if mode == CopyMode::Behind {
            drop(writer);
            catch_up(inner, &*store, progress).inspect_err(|_| self.let_go(&entry))?;
        }
        Ok(entry)
    }

    /// Brings the copies of mode [`CopyMode::Behind`] up to date; `place` picks one.
    ///
    /// # Errors
    /// `Absent` if `place` is not a copy; `Copy`, `Io`, `Full`.
    pub fn sync(
        &self,
        place: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Vec<(CopyEntry, Backup)>> {
        let inner = self.inner;
        inner.process.check()?;
        let mut synced = Vec::new();
        for entry in self.chosen(place)? {
            let store = self.reach(&entry)?;
            if entry.mode == CopyMode::InStep {
                let mut writer = inner.writer();
                ready(inner, &mut writer)?;
                synced.push((
                    entry,
                    Backup { head: Some(inner.state().stored.id), ..Backup::default() },
                ));
            } else {
                let done =
                    catch_up(inner, &*store, progress).inspect_err(|_| self.let_go(&entry))?;
                synced.push((entry, done));
            }
        }
        Ok(synced)
    }

    /// Gives the copy at `place` all that it lacks, or has damaged, of the store's state, and says
    /// how much that was; the copy is brought up to date first. It reads everything, in the store
    /// and in the copy: for one that lost something, as an audit finds. [`Copies::sync`] looks only
    /// at what is newer than what the copy has. What does not open in the store is counted
    /// ([`Backup::shut`]), and never goes over what the copy has. `progress` is told how many blobs
    /// were compared.
    ///
    /// # Errors
    /// As [`Copies::sync`]; `Fenced` for a read-only engine.
    pub fn repair(&self, place: &str, progress: Progress<'_>) -> Result<Backup> {
        self.inner.check_owner()?;
        let mut total = Backup::default();
        for entry in self.chosen(Some(place))? {
            // One in step that lost something is in step once it is repaired.
            let synced = match entry.mode {
                CopyMode::InStep => Backup::default(),
                CopyMode::Behind => self.synced(place)?,
            };
            let store = self.reach(&entry)?;
            let failed = |_: &Error| self.let_go(&entry);
            let repaired = self.repair_store(&*store, progress).inspect_err(failed)?;
            total.head = match (repaired.blobs, entry.mode) {
                (0, CopyMode::Behind) => repaired.head,
                _ => self.synced(place)?.head,
            };
            total = Backup { head: total.head, ..synced.then(repaired) };
        }
        Ok(total)
    }

    fn synced(&self, place: &str) -> Result<Backup> {
        let synced = self.sync(Some(place), &mut |_| {})?;
        Ok(synced.into_iter().map(|(_, done)| done).next_back().unwrap_or_default())
    }

    /// As [`Engine::backup`](crate::Engine::backup), and then gives the backup all that it lacks,
    /// or has damaged, as [`Copies::repair`] does.
    ///
    /// # Errors
    /// As [`Engine::backup`](crate::Engine::backup); `Fenced` for a read-only engine.
    pub fn repair_backup(&self, to: &dyn Store, progress: Progress<'_>) -> Result<Backup> {
        let inner = self.inner;
        inner.check_owner()?;
        check_is_another(inner, to)?;
        let made = catch_up(inner, to, &mut |_| {})?;
        let repaired = self.repair_store(to, progress)?;
        let head = match repaired.blobs {
            0 => made.head,
            _ => catch_up(inner, to, &mut |_| {})?.head,
        };
        Ok(Backup { head, ..made.then(repaired) })
    }

    /// Repairs a store that holds a state of this one. If it was given something it is to be handed
    /// the next commit, which makes that durable there.
    fn repair_store(&self, to: &dyn Store, progress: Progress<'_>) -> Result<Backup> {
        let inner = self.inner;
        let repaired = {
            // What it is given must not be taken for dead before all is there.
            let _nothing_goes = locked(&inner.discarding);
            repair(inner, to, progress)?
        };
        if repaired.blobs > 0 {
            let mut writer = inner.writer();
            ready(inner, &mut writer)?;
            let head = inner.next_head(&inner.state());
            publish(inner, &mut writer, Commit::of_head(head))?;
        }
        Ok(repaired)
    }

    /// Forgets a copy. Its bytes stay where they are. What is erased from now on is gone from it
    /// too; what lives can no longer be restored from it after the next erase.
    ///
    /// # Errors
    /// `Absent` if `place` is not a copy; `Io`, `Full`.
    pub fn remove(&self, place: &str) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
        self.chosen(Some(place))?;
        let mut writer = inner.writer();
        inner.check_owner()?;
        inner.check_usable()?;
        let mut head = inner.next_head(&inner.state());
        head.copies.retain(|c| c.place != place);
        if inner.planted(Defect::TwoLists) {
            writer.copies.retain(|copy| copy.entry.place != place);
            ready(inner, &mut writer)?;
        }
        // Before what an earlier commit left open: perhaps that waits for this very copy.
        publish(inner, &mut writer, Commit::of_head(head)).map(|_| ())
    }

    /// The state of the copy at `place`, if it holds what this store lacks: removing the copy
    /// loses that.
    ///
    /// # Errors
    /// `Absent` if `place` is not a copy; `Copy`; `Io`, `Corrupt`.
    pub fn ahead(&self, place: &str) -> Result<Option<HeadId>> {
        for entry in self.chosen(Some(place))? {
            let there = self.reach(&entry)?.head();
            self.looked();
            let there = there?;
            let here = self.inner.state().stored.clone();
            if let Some(there) = there
                && is_ahead(&there, &here)
            {
                return Ok(Some(there.id));
            }
        }
        Ok(None)
    }

    /// The state of each copy, as the store's head lists them.
    pub fn status(&self) -> Vec<CopyStatus> {
        let copies = self.inner.state().head.copies.clone();
        let told = copies.into_iter().map(|entry| self.one_status(entry)).collect();
        self.looked();
        told
    }

    /// Lets go of the copies that an engine opened which only looks: a copy in a directory is kept
    /// from its owner as long as somebody looks at it.
    pub(super) fn looked(&self) {
        if self.inner.looks_only().is_some() {
            self.inner.writer_untold().copies.iter_mut().for_each(Attached::let_go);
        }
    }

    /// The store of a copy, for `audit` and `discard`.
    pub(super) fn reachable(&self) -> Vec<SharedStore> {
        let entries = self.inner.state().head.copies.clone();
        entries.iter().filter_map(|entry| self.reach(entry).ok()).collect()
    }

    pub(super) fn reach(&self, entry: &CopyEntry) -> Result<SharedStore> {
        let mut writer = self.inner.writer_untold();
        match writer.copies.iter_mut().find(|c| c.entry.id == entry.id) {
            Some(attached) => attached.reach(&self.inner.options),
            None => Err(Error::new(
                ErrorKind::Absent,
                format!("{} is not a copy of this store any more", entry.place),
            )),
        }
    }

    fn let_go(&self, entry: &CopyEntry) {
        let mut writer = self.inner.writer_untold();
        writer.copies.iter_mut().filter(|c| c.entry.id == entry.id).for_each(Attached::let_go);
    }

    fn chosen(&self, place: Option<&str>) -> Result<Vec<CopyEntry>> {
        let known = self.inner.state().head.copies.clone();
        let chosen: Vec<CopyEntry> =
            known.into_iter().filter(|c| place.is_none_or(|p| p == c.place)).collect();
        match place {
            Some(place) if chosen.is_empty() => Err(Error::new(
                ErrorKind::Absent,
                format!("{place} is not a copy of this store; `Copies::status` lists them"),
            )),
            _ => Ok(chosen),
        }
    }

    fn one_status(&self, entry: CopyEntry) -> CopyStatus {
        let mut status =
            CopyStatus { entry, head: None, restores: None, lacks_pages: None, error: None };
        if let Err(e) = self.look_at_copy(&mut status) {
            status.error = Some(e.to_string());
            if e.kind() == ErrorKind::Io {
                // Opened once more it is told of soon that it is away still.
                self.let_go(&status.entry);
            }
        }
        status
    }

    fn look_at_copy(&self, status: &mut CopyStatus) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
        inner.process.check()?;
        let store = self.reach(&status.entry)?;
        let stored = store.head()?;
        let head = stored.as_ref().map(|h| h.id);
        status.head = head;
        // After the copy's: a commit goes into the store first.
        let mut here = inner.state().stored.clone();
        if let Some(there) = &stored {
            if inner.looks_only().is_some() && is_ahead(there, &here) {
                // Its owner goes on meanwhile.
                here = inner.store().head()?.unwrap_or(here);
            }
            if there.id > here.id {
                // What is ahead is told, and can be restored.
                status.restores = head.filter(|h| h.epoch == here.id.epoch);
            }
            check_not_ahead(&status.entry.place, there, &here)?;
        }
        status.restores = head.filter(|h| h.epoch == here.id.epoch);
        loop {
            let pass = inner.walks.begin();
            let (roots, id) = {
                let state = inner.state();
                (state.head.roots.duplicate(), state.stored.id)
            };
            let from = inner.uncached_pages();
            let mut lacks = 0;
            let walked = walk(&pass, &from, &roots, &mut |step| {
                Ok(match step {
                    Step::Enter { at, .. } if store.contains(&at.name)? => ControlFlow::Break(()),
                    Step::Enter { .. } => {
                        lacks += 1;
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Continue(()),
                })
            });
            match walked {
                Ok(Walked::Whole) => {
                    status.lacks_pages = Some(lacks);
                    return Ok(());
                }
                Ok(Walked::Interrupted) => {}
                // A page that a commit replaced meanwhile may be gone.
                Err(e) if e.kind() == ErrorKind::Corrupt && inner.state().stored.id != id => {}
                Err(e) => return Err(e),
            }
        }
    }
}
