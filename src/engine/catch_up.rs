//! Bringing a copy or a backup up to date, while writers go on.

use super::core::Core;
use super::lines::may_replace;
use super::medium::AskedMedium;
use super::replica::{Backup, Copied, copy_tree, fill_up};
use crate::catalogue::walk::{Walked, Walking};
use crate::cell::RootKey;
use crate::error::{Error, ErrorKind, Result};
use crate::pages::PageSource;
use crate::secret::WipeStack;
use crate::store::Store;

/// Refuses a place of objects that is the store itself, by whichever name: what is there tells.
pub(super) fn check_is_another(core: &Core, to: &dyn Store) -> Result<()> {
    // A directory is open once, and a copy of one, byte for byte, is as good as another backup.
    if !to.is_shared() {
        return Ok(());
    }
    let Some(there) = to.claimed()? else { return Ok(()) };
    if core.store().claimed()? != Some(there) {
        return Ok(());
    }
    let text = format!(
        "{} is this very store, or a copy of it byte for byte; name another place for a backup",
        to.place()
    );
    Err(Error::new(ErrorKind::Refused, text))
}

/// Brings a store to a recent head; begins again after an erase, keeping what it has.
pub(super) fn catch_up(
    core: &Core,
    to: &dyn Store,
    progress: &mut dyn FnMut(u64),
) -> Result<Backup> {
    let mut total = Backup::default();
    of_a_state(
        core,
        &mut |pass, from, what, root| match may_replace(core, pass, to, what, root)? {
            Walked::Whole => copy_tree(pass, from, what, to, &mut total, progress),
            Walked::Interrupted => Ok(Walked::Interrupted),
        },
    )?;
    Ok(total)
}

/// Gives a store that holds a recent head what it does not give as it is, wherever that is: copying
/// passes over what has its page there.
pub(super) fn repair(core: &Core, to: &dyn Store, progress: &mut dyn FnMut(u64)) -> Result<Backup> {
    let mut total = Backup { head: to.head()?.map(|head| head.id), ..Backup::default() };
    of_a_state(core, &mut |pass, from, what, _| {
        fill_up(pass, from, what, to, &mut total, progress)
    })?;
    Ok(total)
}

/// What is done with the state that a store is in, and the root key of that state.
type WithState<'a> =
    dyn FnMut(&Walking<'_>, &PageSource<'_>, Copied<'_>, &RootKey) -> Result<Walked> + 'a;

/// Does something with a recent state, once more after an erase.
fn of_a_state(core: &Core, work: &mut WithState<'_>) -> Result<()> {
    let _wiped = WipeStack;
    // Payloads are copied unopened.
    let _asked = AskedMedium::new(&**core.store());
    loop {
        core.check_usable()?;
        let (pass, root) = core.walk_with_root();
        let (roots, geometry, head) = {
            let state = core.state();
            (state.head.roots.duplicate(), state.head.geometry, state.stored.clone())
        };
        let from = core.uncached_pages();
        let done = work(&pass, &from, Copied { roots: &roots, geometry, head: &head }, &root);
        drop((root, roots, pass));
        let moved_on = core.state().stored.id != head.id;
        match done {
            Ok(Walked::Whole) => return Ok(()),
            Ok(Walked::Interrupted) => crate::sync::yield_now(),
            // A page that a commit replaced meanwhile may have been discarded under the walk.
            Err(e) if moved_on && e.kind() == ErrorKind::Corrupt => {}
            Err(e) => return Err(e),
        }
    }
}
