//! Emptying places of which little lives, in a store that cannot move blobs itself: what lives
//! there is written once more through the tree, in commits like any other, and a discard finds the
//! rest dead. Readers and writers go in between.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::commit::{About, Commit, publish};
use super::core::Core;
use super::ready::ready;
use crate::catalogue::defect::Defect;
use crate::catalogue::descent::{Bounds, Descended, Descent, Visitor};
use crate::catalogue::renew::{Payloads, Renewal, Renewed, gather, renew};
use crate::catalogue::view::View;
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::observer::CommitKind;
use crate::pages::Hand;
use crate::record::Entry;
use crate::secret::WipeStack;
use crate::stock::Stock;
use crate::store::{Sparse, Store};
use crate::tree::Geometry;

/// Bytes of a part of the tree, as they are stored: of what is written once more there, and of the
/// pages above it. Each part takes one way over the store.
const PART: usize = 120 << 20;
/// Pointers to what is still to be read of one, at most: 12 MB.
const MOST: usize = 1 << 16;
/// The same where erases come often.
const PART_LEAST: usize = 1 << 20;
const LEAST: usize = 256;
/// Pages that are noted of it below which nothing is wanted, at most.
const CLEAR: usize = 1 << 19;

/// A part of the tree in which something is to be written once more.
struct Sought<'s> {
    sparse: &'s dyn Sparse,
    store: &'s dyn Store,
    /// What is wanted, and every page above it.
    stock: Stock,
    /// The newest place of the state that was walked.
    newest: u128,
    /// Pages that came later, and below which nothing is wanted.
    done: HashSet<BlobName>,
}

impl Renewal for Sought<'_> {
    fn wants(&self, name: &BlobName) -> bool {
        self.sparse.holds(name) && self.stock.has(name)
    }

    fn leads_on(&self, name: &BlobName) -> bool {
        let is_later = || {
            self.sparse.is_later(name)
                && self.store.place_of(name).is_none_or(|place| place > self.newest)
        };
        self.stock.has(name) || (is_later() && !self.done.contains(name))
    }
}

/// Looks for what is wanted.
struct Seeking<'s> {
    sparse: &'s dyn Sparse,
    geometry: Geometry,
    /// Pages below which nothing is.
    clear: &'s mut HashSet<BlobName>,
}

impl Visitor for Seeking<'_> {
    fn stops(&mut self) -> bool {
        false
    }

    fn passes(&mut self, name: &BlobName) -> Result<bool> {
        Ok(self.clear.contains(name))
    }

    fn wants(&mut self, name: &BlobName) -> bool {
        self.sparse.holds(name)
    }

    fn record(&mut self, entry: &Entry) -> Result<ControlFlow<(), Option<BlobName>>> {
        let mut names = entry.segment_names(self.geometry);
        let only = names.next().filter(|_| names.next().is_none());
        Ok(ControlFlow::Continue(only.filter(|name| self.sparse.holds(name))))
    }

    fn whole(&mut self, name: &BlobName, leads: bool) -> Result<()> {
        if !leads && self.clear.len() < CLEAR {
            self.clear.insert(*name);
        }
        Ok(())
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
    let mut written = Written::default();
    let mut from = Some(0);
    while let Some(at) = from {
        let (sought, next) = seek(core, sparse, at)?;
        if empty_part(core, sought, at_once, &mut written, stop)?.is_break() {
            break;
        }
        from = next;
    }
    Ok(written.blobs)
}

/// What was written once more.
#[derive(Default)]
struct Written {
    blobs: u64,
    bytes: u64,
}

/// Writes once more what is wanted in a part of the tree. Breaks where `stop` says so.
fn empty_part(
    core: &Core,
    mut sought: Sought<'_>,
    at_once: usize,
    written: &mut Written,
    stop: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<ControlFlow<()>> {
    loop {
        // What it takes is read while no lock is held.
        let stock = Some(&sought.stock);
        let names = look_through(core, &sought.stock, |view| gather(view, &sought, at_once))?;
        let blob = |name: BlobName| Some((name, sought.stock.get(&name)?));
        let payloads: Payloads = names.into_iter().filter_map(blob).collect();
        let mut writer = core.writer_untold();
        ready(core, &mut writer)?;
        let renewed = {
            let state = core.state();
            let pages = core.pages().out_of(stock);
            let view = core.view(&state, &pages);
            renew(&view, core.means(), core.next_head(&state), (&sought, at_once), &payloads)?
        };
        let Some(Renewed { change, done, whole }) = renewed else {
            return Ok(ControlFlow::Continue(()));
        };
        written.blobs += change.blobs.len() as u64;
        written.bytes += change.blobs.iter().map(|(_, blob)| blob.len() as u64).sum::<u64>();
        let about = About::of(CommitKind::Change, 1);
        if core.planted(Defect::EmptyFirst) {
            // As if what comes were there already.
            core.store().count_dead(&change.replaced)?;
            while core.store().give_back()?.is_some() {}
        }
        publish(core, &mut writer, Commit { about, ..Commit::from(change) })?;
        drop(writer);
        core.observing.deliver();
        // Names of replaced blobs are kept up to a number only. What fails here is tried again.
        let _ = count_replaced(core);
        sought.done.extend(done);
        if stop(written.blobs, written.bytes) {
            return Ok(ControlFlow::Break(()));
        }
        if whole {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// Has the store count what commits replaced as given back, if no walk goes on that may still come
/// to it. (A look-up holds the state that it looks into, and no commit is shown meanwhile.)
pub(super) fn count_replaced(core: &Core) -> Result<()> {
    let replaced = core.cleaners.take_replaced();
    // After the names were taken: a walk that begins now begins at a state without them.
    if replaced.names.is_empty() || !core.walks.are_over() {
        core.cleaners.put_back(replaced);
        return Ok(());
    }
    let counted = core.store().count_dead(&replaced.names);
    counted.inspect_err(|_| core.cleaners.put_back(replaced))
}

/// As [`Core::look_at`]; pages that the stock has are taken from there.
fn look_through<T>(core: &Core, stock: &Stock, read: impl Fn(&View<'_>) -> Result<T>) -> Result<T> {
    Hand::look(core.store(), |hand| {
        let state = core.state();
        let pages = core.pages().through(&core.cache, hand).out_of(Some(stock));
        read(&core.view(&state, &pages))
    })
}

/// Reads what is wanted of a part of the tree, and the pages above it, from a place on in the order
/// of the tree; says where the next part begins, unless this one is the last.
fn seek<'s>(
    core: &'s Core,
    sparse: &'s dyn Sparse,
    from: u128,
) -> Result<(Sought<'s>, Option<u128>)> {
    let (stock, store) = (Stock::of(PART), &**core.store());
    let mut clear = HashSet::new();
    let mut bounds = Bounds { from, most: MOST, by_stock: true };
    loop {
        core.check_usable()?;
        let (pass, roots, geometry, id) = core.walk_from_now();
        let places = roots.each().filter_map(|(_, at)| store.place_of(&at.name));
        let newest = places.max().unwrap_or(0);
        let pages = core.uncached_pages().into_stock(&stock);
        let fan_bits = geometry.fan_bits;
        let descent =
            Descent { pass: &pass, pages: &pages, stock: &stock, store, fan_bits, bounds };
        let walked = descent.walk(&roots, &mut Seeking { sparse, geometry, clear: &mut clear });
        drop((roots, pass));
        let next = match walked {
            Ok(Descended::Whole) => None,
            Ok(Descended::Upto(next)) => Some(next),
            Ok(Descended::Interrupted) => {
                // With less to do it comes to the end between two erases.
                stock.halve(PART_LEAST);
                bounds.most = (bounds.most / 2).max(LEAST);
                crate::sync::yield_now();
                continue;
            }
            // A page that a commit replaced meanwhile may be gone.
            Err(e) if e.kind() == ErrorKind::Corrupt && core.state().stored.id != id => continue,
            Err(e) => return Err(e),
        };
        return Ok((Sought { sparse, store, stock, newest, done: HashSet::new() }, next));
    }
}
