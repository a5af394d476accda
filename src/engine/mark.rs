//! Marking what lives, for a sweep of one or several stores at once: one walk over the tree.
//!
//! A page is marked after everything below it was. Pages never change, so what is below a marked
//! page is marked: a walk that an erase interrupted begins again in the newest state, passes over
//! every page that is marked, and so goes on where it was. The walk that comes to its end has seen
//! that everything below the head of its state is marked.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::core::Core;
use crate::catalogue::defect::Defect;
use crate::catalogue::descent::{Bounds, Descended, Descent, Visitor};
use crate::catalogue::walk::{Step, Walked, Walking, walk};
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::pages::PageSource;
use crate::record::Entry;
use crate::stock::Stock;
use crate::store::{HeadId, Sweep, Swept};
use crate::tree::Geometry;
use crate::tree::head::Roots;

/// Pointers to what is still to be read, at most, of a walk in the order of the store: 25 MB.
const MOST: usize = 1 << 17;
/// The same where erases come so often that it does not get to the end of more.
const LEAST: usize = 256;
/// Bytes that it keeps of pages below which it has not been everywhere, as they are stored.
const STOCK: usize = 32 << 20;

/// A sweep that began in a store.
pub(super) type Sweeping<'s> = Box<dyn Sweep + 's>;

/// The sweeps of a store and its copies, and what must be kept from them beside what the tree
/// reaches.
pub(super) struct Marking<'s> {
    pub(super) sweeps: Vec<Sweeping<'s>>,
    /// Blobs that no head reached when they began.
    in_flight: HashSet<BlobName>,
    /// Pages that came after the sweeps began, or were on their way, which they need not know: what
    /// is below them is marked. Of those that came after, only walks in the order of the store take
    /// note.
    new: HashSet<BlobName>,
}

impl<'s> Marking<'s> {
    /// With sweeps that have begun: what these stores held before was published by now, or is on
    /// its way into the tree, or dead.
    pub(super) fn of(core: &Core, mut sweeps: Vec<Sweeping<'s>>) -> Result<Self> {
        let in_flight = core.in_flight.names();
        for name in &in_flight {
            sweeps.iter_mut().try_for_each(|sweep| sweep.keep(name))?;
        }
        Ok(Marking { sweeps, in_flight, new: HashSet::new() })
    }

    /// Marks everything that the tree reaches, until `stop` says so; gives the head of the state
    /// that it saw to the end, or `None` if it was stopped.
    pub(super) fn mark(
        &mut self,
        core: &Core,
        progress: &mut dyn FnMut(u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<HeadId>> {
        let stock = Stock::of(STOCK);
        let mut most = MOST;
        let mut turn = Turn { marking: self, core, progress, stop, seen: 0, stopped: false };
        loop {
            core.check_usable()?;
            if stock.is_full() {
                stock.clear();
            }
            let (pass, roots, geometry, id) = core.walk_from_now();
            let pages = core.uncached_pages();
            let walked = match core.store().place_of(&roots.users.name) {
                None => turn.in_depth(&pass, &pages, &roots, geometry),
                Some(_) => {
                    let bounds = Bounds { from: 0, most, by_stock: false };
                    let pages = pages.into_stock(&stock);
                    let (fan_bits, store) = (geometry.fan_bits, &**core.store());
                    let descent = Descent {
                        pass: &pass,
                        pages: &pages,
                        stock: &stock,
                        store,
                        fan_bits,
                        bounds,
                    };
                    descent.walk(&roots, &mut Descending { turn: &mut turn, pass: &pass, geometry })
                }
            };
            drop((roots, pass));
            match walked {
                _ if turn.stopped => return Ok(None),
                Ok(Descended::Whole) => return Ok(Some(id)),
                // With less to do it comes to the end between two erases.
                Ok(Descended::Interrupted) => {
                    most = (most / 2).max(LEAST);
                    crate::sync::yield_now();
                }
                Ok(Descended::Upto(_)) => most = (most * 2).min(MOST),
                // A page that a commit replaced meanwhile may be gone.
                Err(e) if e.kind() == ErrorKind::Corrupt && core.state().stored.id != id => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether a page is marked, and so everything below it. What was on its way when the sweeps
    /// began is kept from them, and of what is below that nothing is known.
    fn is_marked(&self, name: &BlobName) -> Result<bool> {
        if self.new.contains(name) {
            return Ok(true);
        }
        if self.in_flight.contains(name) {
            return Ok(false);
        }
        self.sweeps.first().map_or(Ok(false), |sweep| sweep.is_marked(name))
    }

    fn keep(&mut self, core: &Core, name: &BlobName) -> Result<()> {
        // One live blob in 64 is forgotten.
        if core.planted(Defect::SweepLive) && name.0[0].is_multiple_of(64) {
            return Ok(());
        }
        self.sweeps.iter_mut().try_for_each(|sweep| sweep.mark(name))
    }

    /// Marks a page below which everything is marked.
    fn keep_page(&mut self, core: &Core, name: &BlobName) -> Result<()> {
        self.keep(core, name)?;
        let by_place = core.store().place_of(name).is_some();
        if (by_place || self.in_flight.contains(name)) && !self.is_marked(name)? {
            self.new.insert(*name);
        }
        Ok(())
    }

    /// Collects some of what is dead in one of the stores.
    pub(super) fn collect(
        &mut self,
        core: &Core,
        sweep: usize,
        most: usize,
    ) -> Result<Option<Swept>> {
        let kept = |name: &BlobName| {
            self.in_flight.contains(name) || core.in_flight.unkept(&[*name]).is_empty()
        };
        self.sweeps[sweep].collect(most, &kept)
    }
}

/// Marking, and how it goes on.
struct Turn<'t, 's> {
    marking: &'t mut Marking<'s>,
    core: &'t Core,
    progress: &'t mut dyn FnMut(u64),
    stop: &'t dyn Fn() -> bool,
    /// Pages that were marked.
    seen: u64,
    stopped: bool,
}

impl Turn<'_, '_> {
    fn stops(&mut self) -> bool {
        self.stopped = self.stopped || (self.stop)();
        self.stopped
    }

    /// The payload of a record; break where an erase wants to return: a recording of hours must not
    /// hold it up.
    fn record(
        &mut self,
        pass: &Walking<'_>,
        geometry: Geometry,
        entry: &Entry,
    ) -> Result<ControlFlow<()>> {
        for name in entry.segment_names(geometry) {
            if pass.must_stop() {
                return Ok(ControlFlow::Break(()));
            }
            self.marking.keep(self.core, &name)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn page(&mut self, name: &BlobName) -> Result<()> {
        self.marking.keep_page(self.core, name)?;
        self.seen += 1;
        (self.progress)(self.seen);
        Ok(())
    }

    /// Walks from user to user.
    fn in_depth(
        &mut self,
        pass: &Walking<'_>,
        pages: &PageSource<'_>,
        roots: &Roots,
        geometry: Geometry,
    ) -> Result<Descended> {
        let walked = walk(pass, pages, roots, &mut |step| {
            if self.stops() {
                return Ok(ControlFlow::Break(()));
            }
            match step {
                Step::Enter { at, .. } if self.marking.is_marked(&at.name)? => {
                    Ok(ControlFlow::Break(()))
                }
                Step::Enter { .. } => Ok(ControlFlow::Continue(())),
                Step::Record { entry, .. } => self.record(pass, geometry, entry),
                Step::Leave { at, .. } => self.page(&at.name).map(ControlFlow::Continue),
            }
        });
        Ok(match walked? {
            Walked::Whole => Descended::Whole,
            Walked::Interrupted => Descended::Interrupted,
        })
    }
}

/// The same in the order of the store.
struct Descending<'d, 't, 's> {
    turn: &'d mut Turn<'t, 's>,
    pass: &'d Walking<'d>,
    geometry: Geometry,
}

impl Visitor for Descending<'_, '_, '_> {
    fn stops(&mut self) -> bool {
        self.turn.stops()
    }

    fn passes(&mut self, name: &BlobName) -> Result<bool> {
        self.turn.marking.is_marked(name)
    }

    fn wants(&mut self, _: &BlobName) -> bool {
        false
    }

    fn record(&mut self, entry: &Entry) -> Result<ControlFlow<(), Option<BlobName>>> {
        Ok(match self.turn.record(self.pass, self.geometry, entry)? {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => ControlFlow::Continue(None),
        })
    }

    fn whole(&mut self, name: &BlobName, _: bool) -> Result<()> {
        self.turn.page(name)
    }
}
