//! Emptying places of which little lives, in a store that cannot move blobs itself: what lives
//! there is written once more through the tree, in commits like any other, and a discard finds the
//! rest dead. Readers and writers go in between.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::commit::{About, Commit, publish};
use super::core::Core;
use super::ready::ready;
use crate::catalogue::defect::Defect;
use crate::catalogue::renew::{Payloads, Renewal, Renewed, gather, renew};
use crate::catalogue::walk::{Coming, Step, Walked, walk_ahead};
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::observer::CommitKind;
use crate::secret::WipeStack;
use crate::store::Sparse;

/// What is to be written once more, and the way there.
struct Sought<'s> {
    sparse: &'s dyn Sparse,
    /// Pages below which some lies, as one walk saw it.
    above: HashSet<BlobName>,
    /// New pages below which none does.
    done: HashSet<BlobName>,
}

impl Renewal for Sought<'_> {
    fn wants(&self, name: &BlobName) -> bool {
        self.sparse.holds(name)
    }

    fn leads_on(&self, name: &BlobName) -> bool {
        self.above.contains(name) || (self.sparse.is_later(name) && !self.done.contains(name))
    }
}

/// How an emptying goes about it.
pub(super) struct Emptying<'a> {
    pub(super) sparse: &'a dyn Sparse,
    /// Bytes that one commit writes once more, about: other writers wait for that long.
    pub(super) at_once: usize,
    /// Is told after each commit how many blobs were written so far, and how many bytes; says
    /// whether to stop.
    pub(super) stop: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// Writes once more what lives in sparse places of the store; says how many blobs that were. Their
/// old places count as dead.
pub(super) fn empty(core: &Core, how: Emptying<'_>) -> Result<u64> {
    let _wiped = WipeStack;
    let Emptying { sparse, at_once, stop } = how;
    let mut sought = Sought { sparse, above: above(core, sparse)?, done: HashSet::new() };
    let (mut written, mut bytes) = (0, 0);
    loop {
        // What it takes is read while no lock is held.
        let names = core.look_at(|_, view| gather(view, &sought, at_once))?;
        let payloads = fetch(core, names)?;
        let mut writer = core.writer_untold();
        ready(core, &mut writer)?;
        let renewed = {
            let state = core.state();
            let pages = core.pages();
            let view = core.view(&state, &pages);
            renew(&view, core.means(), core.next_head(&state), (&sought, at_once), &payloads)?
        };
        let Some(Renewed { change, done, whole }) = renewed else { return Ok(written) };
        written += change.blobs.len() as u64;
        bytes += change.blobs.iter().map(|(_, blob)| blob.len() as u64).sum::<u64>();
        let about = About::of(CommitKind::Change, 1);
        if core.planted(Defect::EmptyFirst) {
            // As if what comes were there already.
            core.store().count_dead(&change.replaced)?;
            while core.store().give_back()?.is_some() {}
        }
        publish(core, &mut writer, Commit { about, ..Commit::from(change) })?;
        drop(writer);
        core.observing.deliver();
        sought.done.extend(done);
        if stop(written, bytes) || whole {
            return Ok(written);
        }
    }
}

/// Payloads as they are stored; without those that fell meanwhile.
fn fetch(core: &Core, names: Vec<BlobName>) -> Result<Payloads> {
    let mut payloads = Payloads::new();
    for name in names {
        if let Some(sealed) = core.store().get(&name)? {
            payloads.insert(name, sealed);
        }
    }
    Ok(payloads)
}

/// The pages above what lives in sparse places.
fn above(core: &Core, sparse: &dyn Sparse) -> Result<HashSet<BlobName>> {
    let mut above = HashSet::new();
    loop {
        core.check_usable()?;
        let (pass, roots, geometry, id) = core.walk_from_now();
        let pages = core.uncached_pages();
        let mut way: Vec<BlobName> = Vec::new();
        let wanted = |_: &BlobName, what: Coming| Ok(what == Coming::Page);
        let walked = walk_ahead(&pass, &pages, &roots, &wanted, &mut |step| {
            match step {
                Step::Enter { at, .. } => {
                    if sparse.holds(&at.name) {
                        above.extend(&way);
                    }
                    way.push(at.name);
                }
                Step::Record { entry, .. } => {
                    if entry.segment_names(geometry).any(|name| sparse.holds(&name)) {
                        above.extend(&way);
                    }
                }
                Step::Leave { .. } => drop(way.pop()),
            }
            Ok(ControlFlow::Continue(()))
        });
        drop((roots, pass));
        match walked {
            Ok(Walked::Whole) => return Ok(above),
            Ok(Walked::Interrupted) => crate::sync::yield_now(),
            // A page that a commit replaced meanwhile may be gone.
            Err(e) if e.kind() == ErrorKind::Corrupt && core.state().stored.id != id => {}
            Err(e) => return Err(e),
        }
    }
}
