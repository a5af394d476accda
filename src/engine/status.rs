//! What a store is like, and its copies.

use std::ops::ControlFlow;

use super::clock::doubts;
use super::commit::ready;
use super::own::check_not_ahead;
use super::{CopyStatus, Engine, Status};
use crate::catalogue::next::{kind_of_due, next_at};
use crate::catalogue::walk::{Step, Walked, walk};
use crate::cell::{Awaited, Finality};
use crate::error::Result;
use crate::secret::WipeStack;
use crate::tree::head::CopyEntry;

impl Engine {
    /// How each copy stands.
    pub fn copy_status(&self) -> Vec<CopyStatus> {
        let copies = self.inner.state().head.copies.clone();
        copies.into_iter().map(|entry| self.one_status(entry)).collect()
    }

    fn one_status(&self, entry: CopyEntry) -> CopyStatus {
        let mut status = CopyStatus { entry, head: None, restores: None, lacks_pages: None, error: None };
        if let Err(e) = self.look_at_copy(&mut status) {
            status.error = Some(e.to_string());
        }
        status
    }

    fn look_at_copy(&self, status: &mut CopyStatus) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.process.check()?;
        let store = self.reach(&status.entry)?;
        let stored = store.head()?;
        let head = stored.as_ref().map(|h| h.id);
        status.head = head;
        if let Some(there) = &stored {
            // After the copy's: a commit goes into the store first.
            let here = inner.state().stored.clone();
            check_not_ahead(&status.entry.place, there, &here)?;
        }
        status.restores = head.filter(|h| h.epoch == self.head().epoch);
        loop {
            let leave = inner.walks.begin();
            let roots = inner.state().head.roots.duplicate();
            let from = inner.uncached_pages();
            let mut lacks = 0;
            let walked = walk(&leave, &from, &roots, &mut |step| {
                Ok(match step {
                    Step::Enter { at, .. } if store.contains(&at.name)? => ControlFlow::Break(()),
                    Step::Enter { .. } => {
                        lacks += 1;
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Continue(()),
                })
            })?;
            if let Walked::Whole = walked {
                status.lacks_pages = Some(lacks);
                return Ok(());
            }
        }
    }

    /// Everything `status` says.
    ///
    /// # Errors
    /// `Io`.
    pub fn status(&self) -> Result<Status> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.process.check()?;
        inner.check_watched()?;
        let read_only = inner.looks_only().map(str::to_owned);
        let unsettled = if read_only.is_some() {
            None
        } else {
            let mut writer = inner.writer();
            ready(inner, &mut writer).err().map(|e| e.to_string())
        };
        let mut awaited = inner.finality().awaited().to_vec();
        if let Some(why) = unsettled {
            // What was awaited before is asked for when this is done.
            awaited.retain(|awaited| matches!(awaited, Awaited::Window(_)));
            awaited.push(Awaited::Engine(why));
        }
        let pending = |awaited: &&Awaited| !matches!(awaited, Awaited::Window(_));
        let unsettled = awaited.iter().find(pending).map(|awaited| match awaited {
            Awaited::Engine(why) => why.clone(),
            Awaited::Unasked => awaited.to_string(),
            awaited => format!("the destruction of older root keys is pending: {awaited}"),
        });
        let copies = self.copy_status();
        let clock = doubts(inner);
        let (next_due, next_due_is) = {
            let state = inner.state();
            let pages = inner.pages();
            let view = inner.view(&state, &pages);
            let next = next_at(&view)?;
            (next, next.map(|at| kind_of_due(&view, at)))
        };
        let lacks = inner.lacks();
        let state = inner.state();
        Ok(Status {
            store: inner.id,
            place: inner.store().place(),
            head: state.stored.id,
            users: state.head.users,
            usage: inner.store().usage()?,
            geometry: state.head.geometry,
            cell: inner.cell.describe(),
            unsettled,
            pending: state.head.pending,
            finality: Finality::of(awaited),
            clock,
            next_due,
            next_due_is,
            copies,
            read_only,
            lacks,
            memory: crate::secret::usage(),
        })
    }
}
