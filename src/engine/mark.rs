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
use crate::catalogue::walk::{Step, Walked, walk};
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::{HeadId, Sweep, Swept};

/// A sweep that began in a store.
pub(super) type Sweeping<'s> = Box<dyn Sweep + 's>;

/// The sweeps of a store and its copies, and what must be kept from them beside what the tree
/// reaches.
pub(super) struct Marking<'s> {
    pub(super) sweeps: Vec<Sweeping<'s>>,
    /// Blobs that no head reached when they began.
    in_flight: HashSet<BlobName>,
}

impl<'s> Marking<'s> {
    /// With sweeps that have begun: what these stores held before was published by now, or is on
    /// its way into the tree, or dead.
    pub(super) fn of(core: &Core, mut sweeps: Vec<Sweeping<'s>>) -> Result<Self> {
        let in_flight = core.in_flight.names();
        for name in &in_flight {
            sweeps.iter_mut().try_for_each(|sweep| sweep.keep(name))?;
        }
        Ok(Marking { sweeps, in_flight })
    }

    /// Marks everything that the tree reaches, until `stop` says so; gives the head of the state
    /// that it saw to the end, or `None` if it was stopped.
    pub(super) fn mark(
        &mut self,
        core: &Core,
        progress: &mut dyn FnMut(u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<HeadId>> {
        let mut seen = 0;
        loop {
            core.check_usable()?;
            let (pass, roots, geometry, id) = core.walk_from_now();
            let pages = core.uncached_pages();
            let mut stopped = false;
            let walked = walk(&pass, &pages, &roots, &mut |step| {
                stopped = stopped || stop();
                if stopped {
                    return Ok(ControlFlow::Break(()));
                }
                match step {
                    Step::Enter { at, .. } if self.is_marked(&at.name)? => {
                        return Ok(ControlFlow::Break(()));
                    }
                    Step::Enter { .. } => {}
                    Step::Record { entry, .. } => {
                        for name in entry.segment_names(geometry) {
                            // A recording of hours must not hold an erase up.
                            if pass.must_stop() {
                                return Ok(ControlFlow::Break(()));
                            }
                            self.keep(core, &name)?;
                        }
                    }
                    Step::Leave { at, .. } => {
                        self.keep(core, &at.name)?;
                        seen += 1;
                        progress(seen);
                    }
                }
                Ok(ControlFlow::Continue(()))
            });
            drop((roots, pass));
            match walked {
                _ if stopped => return Ok(None),
                Ok(Walked::Whole) => return Ok(Some(id)),
                Ok(Walked::Interrupted) => crate::sync::yield_now(),
                // A page that a commit replaced meanwhile may be gone.
                Err(e) if e.kind() == ErrorKind::Corrupt && core.state().stored.id != id => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn is_marked(&self, name: &BlobName) -> Result<bool> {
        self.sweeps.first().map_or(Ok(false), |sweep| sweep.is_marked(name))
    }

    fn keep(&mut self, core: &Core, name: &BlobName) -> Result<()> {
        // One live blob in 64 is forgotten.
        if core.planted(Defect::SweepLive) && name.0[0].is_multiple_of(64) {
            return Ok(());
        }
        self.sweeps.iter_mut().try_for_each(|sweep| sweep.mark(name))
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
