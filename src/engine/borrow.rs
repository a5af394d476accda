//! A reader on another machine than the writer's: it borrows the root key, for as long at a time as
//! the store lends it (SPEC.md 9.9), and looks again after that.
//!
//! Invariants. A loan counts from before the store was asked for its newest head and the cell for
//! the key of that head: an erase that is not in what they showed was published after that, and
//! returns after the loan is over. What was read is let go of as soon as a head shows that
//! something was erased, and when store or cell do not answer in time. Nothing is claimed, written
//! or destroyed.

use std::sync::PoisonError;

use super::core::{Core, State};
use super::loan::{Borrowed, Clocks};
use super::observing::failed;
use super::readers::Closed;
use crate::cell::RootKey;
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::{ClosedBy, Event};
use crate::promise::RootId;
use crate::sealed::outlet::wait_for_writes;
use crate::secret::WipeStack;
use crate::store::{Head, Store};
use crate::sync::locked;
use crate::tree::head::{HeadPage, Prefix};

/// How often it looks again, while others publish.
const TRIES: usize = 16;

/// Refuses a store that lends nothing.
///
/// # Errors
/// `Refused`.
pub(super) fn check_lends(store: &dyn Store, lending: u32) -> Result<()> {
    if lending > 0 {
        return Ok(());
    }
    let text = format!(
        "{} lends no keys to readers on other machines: a store does that which is on objects or in \
         PostgreSQL, and was made with `Builder::lend`; `Builder::read_only` looks at it as it is now",
        store.place()
    );
    Err(Error::new(ErrorKind::Refused, text))
}

/// Before each verb: looks again if the loan is over.
///
/// # Errors
/// `Io` if the store or the cell does not answer; what went wrong with them.
pub(super) fn check(core: &Core) -> Result<()> {
    if core.loan.holds(&*core.options.env) {
        return Ok(());
    }
    let mut borrowed = locked(&core.loan.borrowed);
    // Another caller may have looked meanwhile.
    if core.loan.holds(&*core.options.env) { Ok(()) } else { renew(core, &mut borrowed) }
}

/// The thread of a reader: it looks twice in the time of a loan.
pub(super) fn keep(core: &Core) {
    let (every, mut fails) = (core.loan.term() / 2, false);
    while core.bell.wait(Some(every)).is_some() {
        let failed = failed(&renew(core, &mut locked(&core.loan.borrowed)));
        if let Some(error) = failed.filter(|_| !fails) {
            core.observing.note(|| Event::KeeperFailed { error, again: every });
        }
        fails = failed.is_some();
        core.observing.deliver();
    }
}

/// Looks at store and cell, and shows what is new. Where that fails, what was read stays as long as
/// the loan does.
fn renew(core: &Core, borrowed: &mut Borrowed) -> Result<()> {
    let _wiped = WipeStack;
    let looked = look(core, borrowed);
    if looked.is_err() && !core.loan.holds(&*core.options.env) {
        let_go(core, borrowed);
    }
    looked.map_err(|e| e.context("whether what is read was erased since"))
}

fn look(core: &Core, borrowed: &mut Borrowed) -> Result<()> {
    for _ in 0..TRIES {
        let began = Clocks::now(&*core.options.env);
        let newer = newer(core, borrowed)?;
        let wanted = match (&newer, &borrowed.root) {
            (Some(head), _) => Prefix::decode(&head.bytes)?.root_id(),
            (None, Some(root)) => root.id,
            (None, None) => return Err(lost(core)),
        };
        let contents = core.cell.load()?;
        // Another epoch may have begun between the two.
        let Some(root) = contents.keys.into_iter().find(|key| key.id == wanted) else { continue };
        if let Some(head) = newer {
            install(core, head, &root)?;
        }
        hand_root(core, borrowed, root);
        core.loan.renew(began);
        return Ok(());
    }
    Err(lost(core))
}

fn lost(core: &Core) -> Error {
    let text = format!("the root key of {} is not in its cell", core.store().place());
    Error::new(ErrorKind::Mismatch, text)
}

/// The newest head, if it is another one than what is shown.
fn newer(core: &Core, borrowed: &Borrowed) -> Result<Option<Head>> {
    let is_gone = borrowed.root.is_none();
    match core.store().confirm() {
        Ok(()) if !is_gone => return Ok(None),
        Err(e) if e.kind() != ErrorKind::Fenced => return Err(e),
        _ => {}
    }
    let Some(head) = core.store().head()? else { return Err(lost(core)) };
    let shown = core.state().stored.clone();
    let (there, here) = (Prefix::decode(&head.bytes)?, shown.id);
    if there.store != core.id || head.id < here || head.id == here && head.bytes != shown.bytes {
        let text = format!("{} shows {} after {here}", core.store().place(), head.id);
        return Err(Error::new(ErrorKind::Mismatch, text));
    }
    Ok(Some(head).filter(|head| is_gone || head.id != here))
}

/// Shows a head. Every commit that erases adds a leaf to the log: where there is none between, what
/// is open stays open.
fn install(core: &Core, stored: Head, root: &RootKey) -> Result<()> {
    let head = HeadPage::open(&stored.bytes, &root.key)?;
    check_lends(&**core.store(), head.lending)?;
    let log = core.state().head.roots.log.name;
    let (id, erased) = (stored.id, log != head.roots.log.name);
    if !erased {
        let mut state = core.state.write().unwrap_or_else(PoisonError::into_inner);
        let erases = state.erases;
        *state = State { head, stored, erases };
        drop(state);
        core.changes.reset(id);
        return Ok(());
    }
    core.walks.stop();
    let closed = {
        let mut state = core.state.write().unwrap_or_else(PoisonError::into_inner);
        let erases = state.erases + 1;
        *state = State { head, stored, erases };
        core.cache.clear();
        core.readers.close_all(Closed::Moved)
    };
    wait_for_writes(&closed.outlets);
    core.observing.readers_closed(closed.readers, ClosedBy::Erase);
    core.walks.wait();
    core.changes.reset(id);
    Ok(())
}

/// Keeps the key of what is shown, and no other. A caller that holds the writer's lock has one of
/// its own until the next look.
fn hand_root(core: &Core, borrowed: &mut Borrowed, root: RootKey) {
    let has = |id: &RootId| *id == root.id;
    if let Ok(mut writer) = core.writer.try_lock()
        && !has(&writer.root.id)
    {
        writer.root = root.duplicate();
    }
    if !borrowed.root.as_ref().is_some_and(|there| has(&there.id)) {
        borrowed.root = Some(root);
    }
}

/// Lets go of every key, and of what was read.
fn let_go(core: &Core, borrowed: &mut Borrowed) {
    let closed = core.readers.close_all(Closed::Lapsed);
    core.observing.readers_closed(closed.readers, ClosedBy::Owner);
    core.cache.clear();
    // What is held at this moment is let go of by the call that holds it, or at the next look.
    if let Ok(mut state) = core.state.try_write() {
        // What opens it again is a head that is read again.
        state.head.forget_keys();
        state.erases += 1;
        borrowed.root = None;
        if let Ok(mut writer) = core.writer.try_lock() {
            let none = RootId { epoch: 0, attempt: [0; 16] };
            writer.root = RootKey { id: none, key: Key::copied_from(&[0; 32]) };
        }
    }
    wait_for_writes(&closed.outlets);
}
