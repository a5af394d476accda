//! Discard: gives back the space of blobs that the root no longer reaches. Erasure never waits for
//! it.
//!
//! A store that sweeps has what lives marked, in one walk for it and its copies. Of any other the
//! names are listed a window at a time, and the tree is walked once for each window, to strike the
//! live ones out. Blobs that are new or not yet published are left alone, so that writers need not
//! stop.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::copies::Copies;
use crate::catalogue::walk::{Coming, Step, Walked, walk_ahead};
use crate::engine::cleaner::{STEP, wait_for_readers};
use crate::engine::core::Core;
use crate::engine::empty::{Emptying, count_replaced, empty};
use crate::engine::mark::Marking;
use crate::engine::medium::AskedMedium;
use crate::engine::observing::failed;
use crate::engine::progress::Progress;
use crate::engine::replica::Attached;
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::observer::Event;
use crate::pages::SharedStore;
use crate::secret::WipeStack;
use crate::store::{Collect, Cursor, Packing, Removed};
use crate::sync::locked;

/// Names in one window: 21 MiB with what is noted of them.
const WINDOW: usize = 1 << 20;

/// Names asked of a store, and taken out of it, at once.
const PAGE: usize = 4096;

/// Bytes that one commit writes once more, about: other writers wait for that long.
const AT_ONCE: usize = 1 << 20;

/// What a discard did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discarded {
    /// The commit whose tree it left: what died in it, or before, is gone from the store.
    pub commit: u64,
    /// Blobs that nothing reached; of a store on objects, objects of which nothing was reached.
    pub blobs: u64,
    /// Bytes on the medium before, in the store and its copies.
    pub bytes_before: u64,
    /// Bytes on the medium after.
    pub bytes_after: u64,
    /// Copies that were skipped because they are out of reach or not at the store's state.
    pub copies_skipped: u64,
    /// Bytes of those blobs that were overwritten or given back, in the store and its copies.
    pub bytes_gone: u64,
    /// Bytes of those blobs that may still be there, as far as is known.
    pub bytes_left: u64,
    /// Bytes of those that a place refused to delete: it is locked, or its rights forbid it. They
    /// are among `bytes_left`.
    pub bytes_refused: u64,
    /// Whether a place keeps versions of what is deleted, and so more than that may be there: what
    /// was removed from it before is not known.
    pub keeps_versions: bool,
}

impl Discarded {
    /// Whether nothing is left of what died in that commit or before, neither in the store nor in
    /// any of its copies: all of it was overwritten or given back. Claims of an object log, which
    /// are never deleted, hold the head and the root page that were the newest when they were made.
    pub fn complete(&self) -> bool {
        self.copies_skipped == 0 && self.bytes_left == 0 && !self.keeps_versions
    }

    fn add(&mut self, blobs: u64, removed: Removed) {
        self.blobs += blobs;
        self.bytes_gone += removed.gone;
        self.bytes_left += removed.left;
        self.bytes_refused += removed.refused;
    }
}

pub(super) fn discard(inner: &Arc<Core>, progress: Progress<'_>) -> Result<Discarded> {
    let _wiped = WipeStack;
    let began = inner.observing.begin();
    let done = discard_in_windows(inner, WINDOW, progress);
    let error = failed(&done);
    let Discarded { blobs, bytes_gone, bytes_left, copies_skipped, .. } =
        *done.as_ref().unwrap_or(&Discarded::default());
    let took = inner.observing.since(began);
    inner.observing.tell(|| Event::Discard {
        blobs,
        bytes_gone,
        bytes_left,
        copies_skipped,
        error,
        took,
    });
    done
}

pub(in crate::engine) fn discard_in_windows(
    inner: &Arc<Core>,
    window: usize,
    progress: Progress<'_>,
) -> Result<Discarded> {
    inner.check_owner()?;
    inner.check_usable()?;
    let _one_at_a_time = locked(&inner.discarding);
    let _asked = AskedMedium::new(&**inner.store());
    let mut done = Discarded { commit: inner.state().stored.id.commit, ..Discarded::default() };
    let known = inner.state().head.copies.len() as u64;
    let mut places: Vec<SharedStore> = vec![inner.store().clone()];
    for copy in (Copies { inner }).reachable() {
        if copy.head().ok().flatten().map(|h| h.id) == Some(inner.state().stored.id) {
            places.push(copy);
        }
    }
    // One may have been added between the two looks.
    done.copies_skipped = (known + 1).saturating_sub(places.len() as u64);
    for place in &places {
        done.bytes_before += place.usage()?.bytes;
        done.keeps_versions |= place.keeps_versions();
    }
    let swept = sweep(inner, window, &places, &mut done, progress)
        .and_then(|()| empty_sparse(inner, progress))
        .and_then(|()| places.iter().try_for_each(|place| pack(inner, place, &mut done)));
    if swept.is_err() {
        inner.writer_untold().copies.iter_mut().for_each(Attached::let_go);
    }
    swept?;
    for place in &places {
        done.bytes_after += place.usage()?.bytes;
        // Of what any discard removed, for the next one does not come to it again.
        done.bytes_left += place.sparse(None)?.map_or(0, |sparse| sparse.dead());
    }
    Ok(done)
}

fn sweep(
    inner: &Arc<Core>,
    window: usize,
    places: &[SharedStore],
    done: &mut Discarded,
    progress: Progress<'_>,
) -> Result<()> {
    let (mut swept, mut sweeps, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let sweep = match judged(inner, place, place.sweep(Collect::Wipe))? {
            None => judged(inner, place, place.survey(Collect::Wipe))?,
            sweep => sweep,
        };
        match sweep {
            Some(sweep) => {
                swept.push(place);
                sweeps.push(sweep);
            }
            None => listed.push(place),
        }
    }
    let mut looked = 0;
    if !swept.is_empty() {
        let marking = Marking::of(inner, sweeps)?;
        sweep_marked(inner, PAGE.min(window), &swept, marking, done, &mut looked, progress)?;
    }
    if !listed.is_empty() {
        inner.in_flight.begin_discard();
        let swept = sweep_listed(inner, window, &listed, done, &mut looked, progress);
        inner.in_flight.end_discard();
        swept?;
    }
    // Blobs that an interrupted discard did not get to remove.
    places.iter().try_for_each(|place| remove_from(inner, place, &[], done))
}

/// Has what lives in sparse places of the store written once more, if the store cannot move it, as
/// far as there is room.
fn empty_sparse(inner: &Arc<Core>, progress: Progress<'_>) -> Result<()> {
    let Some(sparse) = inner.store().sparse(None)? else { return Ok(()) };
    if sparse.is_empty() {
        return Ok(());
    }
    let mut told = |written: u64, _: u64| {
        progress(written);
        false
    };
    let how = Emptying { sparse: &*sparse, at_once: AT_ONCE, stop: &mut told };
    match empty(inner, how) {
        Err(e) if e.kind() == ErrorKind::Full => {}
        emptied => _ = emptied?,
    }
    count_replaced(inner)?;
    wait_for_readers(inner);
    Ok(())
}

/// Empties files of which little lives, as far as there is room; of a store that cannot do that,
/// removes what is dead by now.
fn pack(inner: &Core, place: &SharedStore, done: &mut Discarded) -> Result<()> {
    while let Some(some) = judged(inner, place, place.give_back())? {
        done.add(some.blobs, some.removed);
    }
    loop {
        match place.clean(STEP, Packing::Dense) {
            Ok(step) if step.more => {}
            Err(e) if e.kind() != ErrorKind::Full => return judged(inner, place, Err(e)),
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

/// Sweeps stores that mark what lives.
fn sweep_marked(
    inner: &Arc<Core>,
    most: usize,
    places: &[&SharedStore],
    mut marking: Marking<'_>,
    done: &mut Discarded,
    looked: &mut u64,
    progress: Progress<'_>,
) -> Result<()> {
    let Some(seen) = marking.mark(inner, &mut |seen| progress(seen), &|| false)? else {
        return Ok(());
    };
    wait_for_readers(inner);
    for (n, place) in places.iter().enumerate() {
        // A copy that did not come along to the state that was walked needs what died until then.
        if place.head()?.is_none_or(|head| head.id < seen) {
            done.copies_skipped += 1;
            continue;
        }
        while let Some(some) = judged(inner, place, marking.collect(inner, n, most))? {
            *looked += some.looked;
            done.add(some.blobs, some.removed);
            progress(*looked);
        }
    }
    Ok(())
}

/// Sweeps stores that list their names.
fn sweep_listed(
    inner: &Arc<Core>,
    window: usize,
    places: &[&SharedStore],
    done: &mut Discarded,
    looked: &mut u64,
    progress: Progress<'_>,
) -> Result<()> {
    for place in places {
        let mut from = Some(Cursor::default());
        while from.is_some() {
            let mut names = Vec::new();
            while let Some(at) = from.filter(|_| names.len() < window) {
                let (some, next) = place.names(at, PAGE.min(window))?;
                names.extend(some);
                from = next;
            }
            *looked += names.len() as u64;
            let dead = without_live(inner, names)?;
            for dead in dead.chunks(PAGE) {
                give_back(inner, place, dead, done)?;
                progress(*looked);
            }
            progress(*looked);
        }
    }
    Ok(())
}

fn give_back(
    inner: &Arc<Core>,
    place: &SharedStore,
    names: &[BlobName],
    done: &mut Discarded,
) -> Result<()> {
    let dead = inner.in_flight.unkept(names);
    if dead.is_empty() { Ok(()) } else { remove_from(inner, place, &dead, done) }
}

fn remove_from(
    inner: &Arc<Core>,
    place: &SharedStore,
    dead: &[BlobName],
    done: &mut Discarded,
) -> Result<()> {
    let removed = judged(inner, place, place.remove(dead))?;
    done.add(dead.len() as u64, removed);
    Ok(())
}

/// What a store answered. One that failed may refuse every later write until it is opened again.
fn judged<T>(inner: &Core, place: &SharedStore, answer: Result<T>) -> Result<T> {
    if Arc::ptr_eq(place, inner.store()) { inner.judged(answer) } else { answer }
}

/// Those of the names that the tree does not reach, in their order.
fn without_live(inner: &Arc<Core>, names: Vec<BlobName>) -> Result<Vec<BlobName>> {
    if names.is_empty() {
        return Ok(names);
    }
    // In the order of the names, for these are what the tree tells; removed they are in the
    // store's.
    let mut sorted: Vec<u32> = (0..names.len() as u32).collect();
    let name_of = |n: u32| names[n as usize];
    sorted.sort_unstable_by_key(|n| name_of(*n));
    let mut live = vec![false; names.len()];
    loop {
        let pass = inner.walks.begin();
        let (roots, geometry, id, lent) = {
            let state = inner.state();
            let lent = inner.loan.lent(&*inner.options.env, state.head.lending);
            (state.head.roots.duplicate(), state.head.geometry, state.stored.id, lent)
        };
        let pages = inner.uncached_pages();
        let mut strike = |name: BlobName| {
            let from = sorted.partition_point(|n| name_of(*n) < name);
            // A store may list a name twice.
            for n in sorted[from..].iter().take_while(|n| name_of(**n) == name) {
                live[*n as usize] = true;
            }
        };
        let wanted = |_: &BlobName, what: Coming| Ok(what == Coming::Page);
        let walked = walk_ahead(&pass, &pages, &roots, &wanted, &mut |step| {
            match step {
                Step::Enter { at, .. } => strike(at.name),
                Step::Record { entry, .. } => entry.segment_names(geometry).for_each(&mut strike),
                Step::Leave { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        });
        drop((roots, pass));
        match walked {
            Ok(Walked::Whole) => {
                // A reader on another machine may still be at an earlier state.
                inner.loan.keep_back(&*inner.options.env, lent);
                return Ok(names
                    .into_iter()
                    .zip(live)
                    .filter(|(_, live)| !live)
                    .map(|(name, _)| name)
                    .collect());
            }
            // What it struck out may have died meanwhile: the next discard takes that.
            Ok(Walked::Interrupted) => crate::sync::yield_now(),
            Err(e) if e.kind() == ErrorKind::Corrupt && inner.state().stored.id != id => {}
            Err(e) => return Err(e),
        }
    }
}
