//! What the observer is told, and when. Events are noted while locks are held, in the order in
//! which things happen; they are delivered once no lock is: where the writer's lock is let go of,
//! at the end of a call that queued, after each turn of the thread that serves callers who do not
//! block, and in each turn of the keeper and of the cleaner.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::erasure::Erasure;
use super::options::Options;
use crate::catalogue::moment::{Reading, later};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Timestamp;
use crate::observer::{AwaitedBy, ClosedBy, Event, Observer, Outcome, ScopeKind};
use crate::promise::Awaited;
use crate::scope::Erase;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, locked};

/// Events that wait for an observer, at most.
const WAITING_MAX: usize = 1024;

/// An engine's observer, and the events that it was not told yet. Where there is none, nothing is
/// noted and no clock is read.
pub(super) struct Observing {
    observer: Option<Arc<dyn Observer>>,
    env: SharedEnv,
    clock_jump: Duration,
    inside: Mutex<Inside>,
    /// Whether the clock was doubted when it was last looked at.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Inside {
    events: VecDeque<Event>,
    /// Events that found no room.
    lost: u64,
    /// Whether a thread delivers: it goes on until nothing waits.
    delivering: bool,
    /// Whether the observer panicked.
    ended: bool,
    /// Since when the destruction of a root key is awaited.
    awaited_since: Option<Duration>,
    /// Ids of the copies in step that missed a commit.
    missed: Vec<u64>,
}

impl Observing {
    pub(super) fn new(options: &Options) -> Self {
        Observing {
            observer: options.observer.clone(),
            env: Arc::clone(&options.env),
            clock_jump: options.clock_jump,
            inside: Mutex::default(),
            doubted: AtomicBool::new(false),
        }
    }

    /// The time from which on something is measured; `None` where nobody observes.
    pub(super) fn begin(&self) -> Option<Duration> {
        self.observer.as_ref().map(|_| self.env.monotonic())
    }

    /// How long it is since then.
    pub(super) fn since(&self, began: Option<Duration>) -> Duration {
        began.map_or(Duration::ZERO, |began| self.env.monotonic().saturating_sub(began))
    }

    /// Notes what happened, for [`Observing::deliver`].
    pub(super) fn note(&self, event: impl FnOnce() -> Event) {
        if self.observer.is_some() {
            let event = event();
            locked(&self.inside).push(event);
        }
    }

    /// Tells the observer what was noted, unless another thread is at it. Hold no lock that a call
    /// of the engine takes.
    pub(super) fn deliver(&self) {
        let Some(observer) = &self.observer else { return };
        let mut mine = false;
        while let Some(event) = self.next(mine) {
            mine = true;
            if catch_unwind(AssertUnwindSafe(|| observer.event(&event))).is_err() {
                locked(&self.inside).end();
                return;
            }
        }
    }

    /// A call of its own, so that the lock ends with it.
    fn next(&self, mine: bool) -> Option<Event> {
        locked(&self.inside).next(mine)
    }

    /// Notes and delivers.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        self.note(event);
        self.deliver();
    }
}

impl Inside {
    fn push(&mut self, event: Event) {
        if self.ended {
            return;
        }
        if self.events.len() < WAITING_MAX {
            self.events.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    /// The next event, for a thread that delivers, or for one that begins to.
    fn next(&mut self, mine: bool) -> Option<Event> {
        if self.ended || self.delivering && !mine {
            return None;
        }
        let event = match self.events.pop_front() {
            None if self.lost > 0 => Some(Event::Lost { events: std::mem::take(&mut self.lost) }),
            event => event,
        };
        self.delivering = event.is_some();
        event
    }

    fn end(&mut self) {
        *self = Inside { ended: true, ..Inside::default() };
    }
}

/// What takes more than one look to see.
impl Observing {
    /// Notes how erases ended; each with since when its caller waited, and all with when the writer
    /// began with them.
    pub(super) fn erases<'e>(
        &self,
        erases: impl Iterator<Item = (&'e Erase, Option<Duration>)>,
        began: Option<Duration>,
        outcomes: &[Result<Erasure>],
    ) {
        for ((erase, since), outcome) in erases.zip(outcomes) {
            self.note(|| {
                let (records, outcome) = ended(outcome);
                let scope = ScopeKind::of(erase.scope());
                let waited = began.zip(since).map(|(began, since)| began.saturating_sub(since));
                let (took, waited) = (self.since(since), waited.unwrap_or_default());
                Event::Erase { scope, records, outcome, took, waited }
            });
        }
    }

    /// Begins to measure for how long the destruction of a root key is awaited.
    pub(super) fn owes(&self) {
        if let Some(now) = self.begin() {
            locked(&self.inside).awaited_since.get_or_insert(now);
        }
    }

    /// Notes what the cell answered when it was asked to destroy every root key but that of this
    /// epoch. Where none was owed, the answer that all are gone is no news.
    pub(super) fn retirement(&self, epoch: u64, awaited: Option<&Awaited>) {
        let Some(now) = self.begin() else { return };
        let mut inside = locked(&self.inside);
        match awaited.and_then(AwaitedBy::of) {
            Some(by) => {
                let since = now.saturating_sub(*inside.awaited_since.get_or_insert(now));
                inside.push(Event::RootKeyAwaited { epoch, by, since });
            }
            None => {
                if let Some(since) = inside.awaited_since.take() {
                    let after = now.saturating_sub(since);
                    inside.push(Event::RootKeyRetired { epoch, after });
                }
            }
        }
    }

    /// Notes that a copy in step does not hold a commit; `id` is its own, `copy` its number.
    pub(super) fn copy_missed(&self, id: u64, copy: u64, e: &Error, erase: bool) {
        if self.observer.is_some() {
            let mut inside = locked(&self.inside);
            if !inside.missed.contains(&id) {
                inside.missed.push(id);
                inside.push(Event::CopyMissed { copy, error: e.kind(), erase });
            }
        }
    }

    /// Notes that a copy in step holds every commit, where it missed one.
    pub(super) fn copy_in_step(&self, id: u64, copy: u64) {
        if self.observer.is_some() {
            let mut inside = locked(&self.inside);
            if let Some(at) = inside.missed.iter().position(|missed| *missed == id) {
                inside.missed.swap_remove(at);
                inside.push(Event::CopyInStep { copy });
            }
        }
    }

    /// Notes how many readers were closed.
    pub(super) fn readers_closed(&self, readers: u64, why: ClosedBy) {
        if readers > 0 {
            self.note(|| Event::ReadersClosed { readers, why });
        }
    }

    /// Notes where the clock begins to be doubted, or to be believed again; `time` is that of the
    /// last commit.
    pub(super) fn clock(&self, clock: Reading, time: Timestamp) {
        if self.observer.is_none() {
            return;
        }
        let back = later(clock.now, self.clock_jump) < time;
        let doubted = clock.doubted || back;
        if self.doubted.swap(doubted, Ordering::AcqRel) == doubted {
            return;
        }
        let known = if back { time } else { clock.known };
        let off = Duration::from_millis(clock.now.0.abs_diff(known.0));
        self.note(|| match doubted {
            true => Event::ClockDoubted { off, ahead: !back },
            false => Event::ClockBelieved {},
        });
    }
}

/// Records that an erase took, and how far it is.
fn ended(erasure: &Result<Erasure>) -> (Option<u64>, Outcome) {
    match erasure {
        Ok(erasure) if erasure.already => (erasure.records, Outcome::Already),
        Ok(erasure) if erasure.finality.is_final() => (erasure.records, Outcome::Final),
        Ok(erasure) => (erasure.records, Outcome::Pending),
        Err(e) => (None, Outcome::Failed { error: e.kind(), perhaps: e.may_have_happened() }),
    }
}

/// Delivers what was noted, when it is dropped: after the lock that stands before it.
pub(super) struct Delivery<'c>(pub(super) &'c Observing);

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.0.deliver();
    }
}

/// Tells, when it is dropped, that a thread of the engine's ends before the engine, also where it
/// panics.
pub(super) struct Stopped<'c> {
    observing: &'c Observing,
    event: fn(bool) -> Event,
    /// Whether it ends since the engine does: that is not told.
    pub(super) with_its_engine: bool,
}

impl<'c> Stopped<'c> {
    /// `event`: what is told; it takes whether the thread panicked.
    pub(super) fn new(observing: &'c Observing, event: fn(bool) -> Event) -> Self {
        Stopped { observing, event, with_its_engine: false }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if !self.with_its_engine {
            self.observing.tell(|| (self.event)(std::thread::panicking()));
        }
    }
}

/// Kind of the error of a call that may have failed.
pub(super) fn failed<T>(outcome: &Result<T>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(Error::kind)
}
