//! The end of an erase: everything is read back, then the old root key is destroyed. Recovery is
//! the same, after the copies in step were brought to the head. `retire_old_root` makes the
//! `Durable` token, and is called only after `verify`.

use super::core::{Core, State, Writer};
use super::draw_root_key::next_root;
use super::in_step::bring_all;
use super::replica::{Attached, out_of_step};
use super::side_by_side::each;
use super::tell::was_told;
use super::two_cores::{MANY_PAGES, halves};
use crate::catalogue::defect::Defect;
use crate::cell::{Durable, RootKey};
use crate::crypto::{self, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::pages::SharedStore;
use crate::promise::{Awaited, Retirement};
use crate::store::{Head, Store};
use crate::sync::locked;
use crate::tree::PageKind;
use crate::tree::head::{CopyMode, HeadPage};

/// Completes an erase that is published and that every copy in step has: reads it back, then has
/// the old root key destroyed.
pub(super) fn complete(core: &Core, writer: &mut Writer) -> Result<Retirement> {
    verify(core, writer)?;
    // Prepare the next root key only from the second erase on: a process that erases once should
    // leave no unused key in the cell.
    let next =
        if writer.erases { Some(next_root(core, writer, &core.state().head)?) } else { None };
    writer.erases = true;
    retire_old_root(core, writer, next)
}

/// Brings every copy in step to the head, and retires every root key but the current one.
/// Idempotent: recovery is this, and an erase ends with it.
///
/// # Errors
/// `Fenced` for a read-only engine.
pub(super) fn settle(core: &Core, writer: &mut Writer) -> Result<Retirement> {
    core.check_owner()?;
    writer.settled = false;
    bring_all(core, writer)?;
    verify(core, writer)?;
    retire_old_root(core, writer, None)
}

/// Asks the cell again, if it could not say yet that the old root key is gone.
pub(super) fn chase(core: &Core) -> Result<()> {
    let awaited = locked(&core.awaiting).clone();
    let again = match awaited {
        // What the engine could not finish is finished before the next change, and by
        // `ready::take_up`.
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

/// Reads the head, the root page and what this process wrote for an erase back from the store and
/// from every copy in step, and opens or compares it. What a process before it wrote nobody can
/// name.
fn verify(core: &Core, writer: &Writer) -> Result<()> {
    let state = core.state();
    let in_step = writer.copies.iter().filter(|c| c.entry.mode == CopyMode::InStep);
    let copies = in_step.filter_map(|c| c.store.as_ref().map(|store| (store, Some(c))));
    let places = std::iter::once((core.store(), None)).chain(copies);
    let (state, writer): (&State, &Writer) = (&state, writer);
    let is_far = |place: &(&SharedStore, Option<&Attached>)| place.0.is_far();
    each(places, is_far, |(store, copy)| {
        verify_place(state, writer, &**store, copy.is_some()).map_err(|e| match copy {
            // A copy that lost something stops no look, nor what repairs it or gives it up.
            Some(copy) if e.kind() != ErrorKind::Fenced => out_of_step(&copy.entry.place, &e),
            _ => e,
        })
    })
}

/// Reads the head of a place. In a copy far away the root page lies in another object than the
/// head, and is read at the same time.
fn head_of(state: &State, store: &dyn Store, is_copy: bool) -> Result<Option<Head>> {
    if !(is_copy && store.is_far()) {
        return store.head();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Of what comes of it nothing is kept but in the store's memory of what it read.
            let _ = store.get(&state.head.roots.users.name);
        });
        store.head()
    })
}

/// Whether a store gives a blob that is accepted, past what is kept of it elsewhere if need be.
fn gives(store: &dyn Store, name: &BlobName, accept: impl Fn(&[u8]) -> bool) -> Result<bool> {
    let accepts = |there: Option<Vec<u8>>| there.is_some_and(|there| accept(&there));
    Ok(accepts(store.get(name)?) || accepts(store.get_again(name)?))
}

fn verify_place(state: &State, writer: &Writer, store: &dyn Store, is_copy: bool) -> Result<()> {
    let odd = || {
        Error::corrupt(format!(
            "{} does not return what was written there: it lost something, or its disk is failing",
            store.place()
        ))
    };
    let stored = head_of(state, store, is_copy)?.ok_or_else(odd)?;
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
    let root = &head.roots.users;
    let context = crypto::page_context(head.realm, PageKind::Users.byte(), root.name);
    let opens = |there: &[u8]| chunked::open(&root.key(), &context, there).is_ok();
    if !gives(store, &root.name, opens)? {
        return Err(odd());
    }
    halves(&writer.unread, MANY_PAGES, |some| {
        some.iter().try_for_each(|(name, bytes)| {
            match gives(store, name, |there| there == &bytes[..])? {
                true => Ok(()),
                false => Err(odd()),
            }
        })
    })
    .into_iter()
    .collect()
}

/// The last step: from here on the old root key is gone. `next` takes its place, if the cell has
/// it so.
fn retire_old_root(core: &Core, writer: &mut Writer, next: Option<RootKey>) -> Result<Retirement> {
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
    let retired = match core.heard(next.as_ref().map(for_next).transpose())?.flatten() {
        Some(retired) => {
            writer.next = next;
            retired
        }
        None => core.heard(core.cell.retire(keep, durable()))?,
    };
    writer.settled = true;
    let awaited = retired.awaited();
    // Where too few have the key nobody was asked.
    if awaited.is_none() {
        was_told(core, core.state().stored.id.commit);
    }
    core.observing.retirement(writer.root.id.epoch, awaited.as_ref());
    *locked(&core.awaiting) = awaited;
    Ok(retired)
}
