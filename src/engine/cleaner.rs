//! The cleaner: gives the space of dead blobs back while an engine is open. It is never needed for
//! security, no erase waits for it longer than for any walk, and no commit fails because of it.
//!
//! Commits tell the stores about how much died with them. If that is more than half of what
//! lives, one walk marks what lives, in the store and in each copy in step, and the rest counts as
//! given back. Then the stores remove the files of which nothing lives and empty those of which
//! little does, in small steps, so that writers go in between.

use std::sync::Arc;
use std::time::Duration;

use super::bell::Woken;
use super::core::{Core, Writer};
use super::empty::{Emptying, count_replaced, empty};
use super::mark::Marking;
use super::medium::AskedMedium;
use super::observing::{Stopped, failed};
use super::replica::Attached;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::Event;
use crate::pages::SharedStore;
use crate::secret::WipeStack;
use crate::store::{Collect, Packing};
use crate::sync::atomic::Ordering;
use crate::tree::head::CopyMode;

/// What one call of [`Engine::clean`](crate::Engine::clean) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaning {
    /// Whether live blobs were marked, because enough had died.
    pub swept: bool,
    /// Blobs that were found to be dead.
    pub blobs: u64,
    /// Bytes given back to the medium, in the store and its copies in step.
    pub freed: u64,
    /// Bytes of live blobs that were written once more for that.
    pub moved: u64,
    /// What keeps some space from being given back.
    pub stuck: Option<String>,
}

/// Bytes of live blobs that are moved at once.
pub(super) const STEP: u64 = 256 << 10;
/// Blobs that are collected at once.
const SOME: usize = 4096;
/// Pause between two steps of the thread: a commit that comes after one syncs what it wrote.
const BETWEEN: Duration = Duration::from_millis(5);
/// The same where writers leave dead blobs faster than it comes along.
const BEHIND: Duration = Duration::from_millis(1);
/// Time from the opening to its first look.
const FIRST: Duration = Duration::from_secs(1);
/// Longest time without a look at what died.
const NAP: Duration = Duration::from_secs(30);
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// How a call of [`clean`] goes about it.
pub(super) struct How<'a> {
    /// Marks what lives however little is believed to have died.
    pub(super) sweep: bool,
    pub(super) packing: Packing,
    pub(super) stop: &'a dyn Fn() -> bool,
    /// Comes between two steps; a short one where much waits.
    pub(super) pause: &'a dyn Fn(Duration),
}

/// Gives space back, if enough is dead; nothing while a discard runs.
pub(super) fn clean(core: &Core, how: &How<'_>) -> Result<Cleaning> {
    let _wiped = WipeStack;
    let began = core.observing.begin();
    let mut done = Cleaning::default();
    let cleaned = clean_some(core, how, &mut done);
    core.cleaners.count(done.swept, done.freed, done.moved);
    note(core, &done, failed(&cleaned), began);
    core.observing.deliver();
    cleaned.map(|()| done)
}

/// Notes what was done; nothing where nothing was, and nothing keeps it from being done.
fn note(core: &Core, done: &Cleaning, error: Option<ErrorKind>, began: Option<Duration>) {
    if error.is_none() && *done == Cleaning::default() {
        return;
    }
    let Cleaning { swept, blobs, freed, moved, ref stuck } = *done;
    let (stuck, took) = (stuck.is_some(), core.observing.since(began));
    core.observing.note(|| Event::Clean { swept, blobs, freed, moved, stuck, error, took });
}

fn clean_some(core: &Core, how: &How<'_>, done: &mut Cleaning) -> Result<()> {
    core.check_owner()?;
    core.check_usable()?;
    let Ok(_one_at_a_time) = core.discarding.try_lock() else {
        return Ok(());
    };
    // What lives is written once more, unopened.
    let _asked = AskedMedium::new(&**core.store());
    let places = places(core);
    // A copy that the writer has let go of can be opened again only when nobody else holds it.
    let let_go = || places.iter().any(|place| Arc::strong_count(place) == 1);
    let how = &How { stop: &|| (how.stop)() || let_go(), ..*how };
    // A copy that fails keeps the store from nothing.
    let mut failed = None;
    let counted = count_replaced(core);
    take(core, core.store(), counted, &mut failed)?;
    sweep(core, &places, how, done, &mut failed)?;
    if !(how.stop)() {
        let emptied = empty_sparse(core, how, done);
        take(core, core.store(), emptied, &mut failed)?;
    }
    for place in &places {
        let answer = give_back(core, place, how, done);
        take(core, place, answer, &mut failed)?;
    }
    failed.map_or(Ok(()), Err)
}

/// The cleaner's thread, until the engine ends.
pub(super) fn keep(core: &Core) {
    let ended = || core.cleaners.bell.is_ended();
    let mut stopped = Stopped::new(&core.observing, |panicked| Event::CleanerStopped { panicked });
    let mut nap = FIRST;
    while let Some(woken) = core.cleaners.bell.wait(Some(nap)) {
        if core.poisoned.load(Ordering::Acquire) {
            continue;
        }
        let pause = std::thread::sleep;
        let packing = match woken {
            Woken::Rung => Packing::Loose,
            Woken::Quiet => Packing::Dense,
        };
        let outcome = clean(core, &How { sweep: false, packing, stop: &ended, pause: &pause });
        nap = if outcome.is_ok() { NAP } else { PAUSE };
        if let Some(error) = failed(&outcome) {
            core.observing.tell(|| Event::CleanerFailed { error, again: nap });
        }
        let failed = match outcome {
            Ok(done) => done.stuck,
            Err(e) => Some(e.to_string()),
        };
        core.cleaners.note(failed);
    }
    stopped.with_its_engine = true;
}

/// The store, and its copies in step that are open here and hold its state.
fn places(core: &Core) -> Vec<SharedStore> {
    let writer = core.writer_untold();
    let Writer { copies, .. } = &*writer;
    let in_step = copies.iter().filter(|copy| copy.entry.mode == CopyMode::InStep);
    let head = core.state().stored.id;
    let at_head = |store: &&SharedStore| store.head().ok().flatten().map(|h| h.id) == Some(head);
    let copies = in_step.filter_map(|copy| copy.store.as_ref()).filter(at_head);
    std::iter::once(core.store()).chain(copies).cloned().collect()
}

/// Passes the answer of a store on, and notes that of a copy, which is opened again when it is
/// needed.
fn take<T>(
    core: &Core,
    place: &SharedStore,
    answer: Result<T>,
    failed: &mut Option<Error>,
) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(e) if Arc::ptr_eq(place, core.store()) => {
            // If it takes no write any more, nobody knows what is durable. Anything else is
            // tried again.
            match core.store().put(&[]) {
                Err(refused) if !refused.changed_nothing() => {
                    core.poison(refused.kind());
                    Err(e)
                }
                _ => Err(e),
            }
        }
        Err(e) => {
            let same = |copy: &&mut Attached| {
                copy.store.as_ref().is_some_and(|store| Arc::ptr_eq(store, place))
            };
            core.writer_untold().copies.iter_mut().filter(same).for_each(Attached::let_go);
            *failed = Some(e);
            Ok(None)
        }
    }
}

/// Waits until no reader on another machine is at a state from before now: what it reads is not
/// removed before.
pub(super) fn wait_for_readers(core: &Core) {
    let env = &*core.options.env;
    let lent = core.loan.lent(env, core.state().head.lending);
    core.loan.keep_back(env, lent);
}

/// Has what lives in sparse places of the store written once more, if the store cannot move it: one
/// commit at a time, and writers go in between.
fn empty_sparse(core: &Core, how: &How<'_>, done: &mut Cleaning) -> Result<()> {
    let Some(sparse) = core.store().sparse(Some(how.packing))?.filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    let moved = done.moved;
    let mut stop = |_: u64, bytes: u64| {
        done.moved = moved + bytes;
        (how.pause)(BETWEEN);
        (how.stop)()
    };
    let how = Emptying { sparse: &*sparse, at_once: STEP as usize, stop: &mut stop };
    match empty(core, how) {
        Err(e) if e.kind() == ErrorKind::Full => Ok(()),
        emptied => emptied.map(|_| ()),
    }
}

/// Counts what is dead, in the stores where that is worth a walk.
fn sweep(
    core: &Core,
    places: &[SharedStore],
    how: &How<'_>,
    done: &mut Cleaning,
    failed: &mut Option<Error>,
) -> Result<()> {
    let (mut swept, mut sweeps) = (Vec::new(), Vec::new());
    for place in places {
        if take(core, place, place.recall(), failed)?.is_none() {
            continue;
        }
        let Some(waste) = take(core, place, place.waste(), failed)?.flatten() else { continue };
        if Arc::ptr_eq(place, core.store()) {
            core.cleaners.look(&waste);
        }
        if !(how.sweep || waste.wants_sweep(how.packing)) {
            continue;
        }
        let begun = match take(core, place, place.sweep(Collect::Count), failed)? {
            Some(None) => take(core, place, place.survey(Collect::Count), failed)?.flatten(),
            begun => begun.flatten(),
        };
        if let Some(sweep) = begun {
            swept.push(place);
            sweeps.push(sweep);
        }
    }
    if sweeps.is_empty() {
        return Ok(());
    }
    let mut marking = Marking::of(core, sweeps)?;
    let Some(seen) = marking.mark(core, &mut |_| {}, how.stop)? else { return Ok(()) };
    for (n, place) in swept.into_iter().enumerate() {
        let head = take(core, place, place.head(), failed)?.flatten();
        // A copy that did not come along to the state that was walked needs what died until then.
        if head.is_none_or(|head| head.id < seen) {
            continue;
        }
        while !(how.stop)() {
            let answer = marking.collect(core, n, SOME);
            let Some(some) = take(core, place, answer, failed)?.flatten() else {
                done.swept = true;
                break;
            };
            done.blobs += some.blobs;
            (how.pause)(BETWEEN);
        }
    }
    Ok(())
}

fn give_back(core: &Core, place: &SharedStore, how: &How<'_>, done: &mut Cleaning) -> Result<()> {
    while !(how.stop)() {
        core.check_usable()?;
        if Arc::ptr_eq(place, core.store()) {
            // What commits replaced meanwhile: files of which little lives by now are emptied.
            count_replaced(core)?;
        }
        wait_for_readers(core);
        let step = place.clean(STEP, how.packing)?;
        done.freed += step.freed;
        done.moved += step.moved;
        done.stuck = step.stuck.or(done.stuck.take());
        if !step.more {
            break;
        }
        let behind = place.waste()?.is_some_and(|waste| waste.is_behind());
        (how.pause)(if behind { BEHIND } else { BETWEEN });
    }
    Ok(())
}
