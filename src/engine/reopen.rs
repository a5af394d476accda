//! Reopening in place: after a write whose outcome is unknown the engine does what a process does
//! that opens the store, and keeps its locks and its handles.
//!
//! Nothing of before goes on: readers end, walks stop, and what was staged is refused at its
//! commit, for the store may lack some of it. Requests that wait in the queue were not begun: while
//! the engine is poisoned they fail, and those that come after are done.

use std::sync::PoisonError;

use super::core::{Core, State, Writer};
use super::find::{Found, find};
use super::heads::OpenHead;
use super::options::{OpenAs, Options};
use super::own::Role;
use super::readers::Closed;
use super::replica::Attached;
use super::retire::settle;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::ClosedBy;
use crate::sealed::outlet::wait_for_writes;
use crate::secret::WipeStack;
use crate::sync::atomic::Ordering;
use crate::sync::locked;
use crate::tree::head::Prefix;

/// Finds out what became of the write that poisoned the engine, and finishes or undoes it; does
/// nothing if the engine is not poisoned.
pub(super) fn reopen(core: &Core) -> Result<()> {
    let reopened = reopen_locked(core);
    core.observing.deliver();
    reopened
}

fn reopen_locked(core: &Core) -> Result<()> {
    let _wiped = WipeStack;
    core.process.check()?;
    let _nothing_goes = locked(&core.discarding);
    let mut writer = core.writer_untold();
    if !core.poisoned.load(Ordering::Acquire) {
        return Ok(());
    }
    let closed = core.readers.close_all(Closed::Reopened);
    core.observing.readers_closed(closed.readers, ClosedBy::Owner);
    let found = look_again(core, &mut writer);
    wait_for_writes(&closed.outlets);
    *writer = begin_again(core, found?);
    let lending = core.state().head.lending;
    core.loan.begin_again(&*core.options.env, lending);
    core.life.fetch_add(1, Ordering::AcqRel);
    core.poisoned.store(false, Ordering::Release);
    match settle(core, &mut writer) {
        Err(e) if e.kind() != ErrorKind::Copy => {
            core.poison(e.kind());
            return Err(e);
        }
        Err(e) => core.note_unfinished(&e.to_string()),
        Ok(_) => {}
    }
    core.note_reopened();
    core.bell.ring();
    core.cleaners.bell.ring();
    Ok(())
}

/// Opens the store and looks at it and at the cell, while nobody reads.
fn look_again(core: &Core, writer: &mut Writer) -> Result<OpenHead> {
    writer.copies.iter_mut().for_each(Attached::let_go);
    let _halted = core.walks.halt();
    let _unread = core.state.write().unwrap_or_else(PoisonError::into_inner);
    core.store().reopen()?;
    // It took over once: that is not to be repeated against another that did since.
    let options = Options { open_as: OpenAs::Owner, ..core.options.clone() };
    let Found { head, role, .. } = find(&**core.store(), &*core.cell, &options)?;
    if let Role::Looker { why, .. } = role {
        return Err(Error::new(ErrorKind::Fenced, why));
    }
    if Prefix::decode(&head.stored.bytes)?.store != core.id {
        let text =
            format!("{} is another store than before; close this engine", core.store().place());
        return Err(Error::new(ErrorKind::Mismatch, text));
    }
    Ok(head)
}

/// Shows what was found, and gives what the one writer begins with.
fn begin_again(core: &Core, found: OpenHead) -> Writer {
    let OpenHead { stored, page: head, root } = found;
    let copies = head.copies.iter();
    let copies = copies.map(|entry| Attached::new(entry.clone(), &core.options, true)).collect();
    core.cache.clear();
    let mut state = core.state.write().unwrap_or_else(PoisonError::into_inner);
    let erases = state.erases + 1;
    let id = stored.id;
    *state = State { head, stored, erases };
    drop(state);
    core.changes.reset(id);
    Writer {
        root,
        settled: false,
        unread: Vec::new(),
        next: None,
        erases: false,
        copies,
        waited: None,
    }
}
