//! The queue of `group`. Callers queue their requests; the first to find the writer idle serves the
//! whole queue and hands each caller its result. So callers that come at once share a commit, and
//! none waits for another's turn to find out. A caller that must not block leaves a callback, and
//! has one thread serve all of those ([`Queue::leave`]).
//!
//! Callers that were just served would miss the next turn, for it begins before they ask again: two
//! halves would take turns, each with half of the requests. Where a commit is a matter of
//! milliseconds, in a store on a network, a turn waits for them, for a small part of the time that
//! the last one took. (On a disk of one's own that cost more than it gave.)

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use crate::env::Env;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Requests that wait for the one writer.
pub(super) struct Queue<R, O> {
    inside: Mutex<Queued<R, O>>,
    served: Condvar,
    /// A request came while a turn waits for more.
    arrived: Condvar,
}

/// A turn waits for others at most for this part of the time that the last one took.
#[cfg(not(feature = "shuttle"))]
const PART: u32 = 8;
/// And at most so long.
#[cfg(not(feature = "shuttle"))]
const MOST: Duration = Duration::from_millis(20);
/// Where they did not come, so many turns do not wait.
#[cfg(not(feature = "shuttle"))]
const PASSED: u8 = 16;

/// What became of a request that its caller left.
pub(super) enum Outcome<O> {
    Answered(O),
    /// The caller that served it panicked: it may have been done, in part or whole.
    Panicked,
    /// Nobody serves it.
    NotBegun,
}

/// Takes an outcome.
pub(super) type Then<O> = Box<dyn FnOnce(Outcome<O>) + Send>;

/// Callers that left, and what became of their requests.
type Answers<O> = Vec<(Then<O>, Outcome<O>)>;

/// Tells the callers.
fn tell<O>(answers: Answers<O>) {
    answers.into_iter().for_each(|(then, outcome)| then(outcome));
}

/// How a caller gets its outcome.
enum Waiter<O> {
    /// It waits, and looks for its number among the outcomes.
    Blocked(u64),
    /// It left a callback.
    Left(Then<O>),
}

struct Queued<R, O> {
    waiting: Vec<(Waiter<O>, R)>,
    /// A caller is serving requests.
    busy: bool,
    /// A server for callers that do not block exists, or is about to.
    server: bool,
    /// `None`: the caller that served it panicked.
    outcomes: HashMap<u64, Option<O>>,
    next: u64,
    last: Last,
    /// A turn waits for more requests.
    gathers: bool,
}

/// The last turn.
#[derive(Clone, Copy, Default)]
struct Last {
    /// How many requests it served.
    served: usize,
    /// How long it took; nothing where it served one, or no clock was given.
    took: Duration,
    /// How many turns from it on do not wait.
    #[cfg_attr(
        feature = "shuttle",
        expect(dead_code, reason = "the explorer's locks know no time")
    )]
    passed: u8,
}

impl<R, O> Default for Queue<R, O> {
    fn default() -> Self {
        let inside = Queued {
            waiting: Vec::new(),
            busy: false,
            server: false,
            outcomes: HashMap::new(),
            next: 0,
            last: Last::default(),
            gathers: false,
        };
        Queue { inside: Mutex::new(inside), served: Condvar::new(), arrived: Condvar::new() }
    }
}

/// What a turn of a server came to.
pub(super) struct Turn<O> {
    answers: Answers<O>,
    /// None waited any more: the server that made this turn ends.
    pub(super) ended: bool,
}

impl<O> Turn<O> {
    /// Tells the callers.
    pub(super) fn answer(self) {
        tell(self.answers);
    }
}

/// Hands the callers whose requests were taken their results, also where the work panics.
struct Serving<'q, R, O> {
    queue: &'q Queue<R, O>,
    waiters: Vec<Waiter<O>>,
}

impl<R, O> Serving<'_, R, O> {
    /// Hands those that wait their outcomes; gives back whom else to tell.
    fn end(&mut self, outcomes: Vec<O>) -> Answers<O> {
        let mut inside = self.queue.inside();
        inside.busy = false;
        let mut outcomes = outcomes.into_iter();
        let mut answers = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let outcome = outcomes.next();
            match waiter {
                Waiter::Blocked(ticket) => {
                    inside.outcomes.insert(ticket, outcome);
                }
                Waiter::Left(then) => {
                    answers.push((then, outcome.map_or(Outcome::Panicked, Outcome::Answered)));
                }
            }
        }
        drop(inside);
        self.queue.served.notify_all();
        answers
    }
}

impl<R, O> Drop for Serving<'_, R, O> {
    fn drop(&mut self) {
        if !self.waiters.is_empty() {
            tell(self.end(Vec::new()));
        }
    }
}

impl<R, O> Queue<R, O> {
    fn inside(&self) -> MutexGuard<'_, Queued<R, O>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a caller is serving requests.
    pub(super) fn is_busy(&self) -> bool {
        self.inside().busy
    }

    fn add(&self, inside: &mut Queued<R, O>, waiter: Waiter<O>, request: R) {
        inside.waiting.push((waiter, request));
        if inside.gathers {
            self.arrived.notify_one();
        }
    }

    /// Has a request served by the next caller at work, which may be this one; `work` gives one
    /// outcome for each request, in order. With a clock it waits for others a little.
    pub(super) fn submit(
        &self,
        request: R,
        clock: Option<&dyn Env>,
        work: impl FnOnce(Vec<R>) -> Vec<O>,
    ) -> O {
        let mut inside = self.inside();
        let mine = inside.next;
        inside.next += 1;
        self.add(&mut inside, Waiter::Blocked(mine), request);
        while inside.busy && !inside.outcomes.contains_key(&mine) {
            inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        if !inside.outcomes.contains_key(&mine) {
            tell(self.serve_waiting(inside, clock, work));
            inside = self.inside();
        }
        match inside.outcomes.remove(&mine).flatten() {
            Some(outcome) => outcome,
            None => panic!("the caller that served this request panicked; open the engine again"),
        }
    }

    /// Serves all that wait now; gives back whom to tell.
    fn serve_waiting(
        &self,
        mut inside: MutexGuard<'_, Queued<R, O>>,
        clock: Option<&dyn Env>,
        work: impl FnOnce(Vec<R>) -> Vec<O>,
    ) -> Answers<O> {
        inside.busy = true;
        let mut inside = self.gather(inside);
        let (waiters, requests): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inside.waiting).into_iter().unzip();
        inside.last.served = requests.len();
        drop(inside);
        let clock = clock.filter(|_| waiters.len() > 1);
        let began = clock.map(|env| env.monotonic());
        let mut serving = Serving { queue: self, waiters };
        let outcomes = work(requests);
        let took = clock.zip(began).map(|(env, began)| env.monotonic().saturating_sub(began));
        self.inside().last.took = took.unwrap_or_default();
        serving.end(outcomes)
    }

    /// Waits a little for callers that the last turn served.
    #[cfg(not(feature = "shuttle"))]
    fn gather<'q>(
        &'q self,
        mut inside: MutexGuard<'q, Queued<R, O>>,
    ) -> MutexGuard<'q, Queued<R, O>> {
        let Last { served, took, passed } = inside.last;
        if took.is_zero() || passed > 0 {
            inside.last.passed = passed.saturating_sub(1);
            return inside;
        }
        let all = inside.waiting.len() + served;
        inside.gathers = true;
        let few = |inside: &mut Queued<R, O>| inside.waiting.len() < all;
        let waited = self.arrived.wait_timeout_while(inside, (took / PART).min(MOST), few);
        let (mut inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.gathers = false;
        if inside.waiting.len() < all - served / 2 {
            inside.last.passed = PASSED;
        }
        inside
    }

    /// The explorer's locks know no time.
    #[cfg(feature = "shuttle")]
    fn gather<'q>(&'q self, inside: MutexGuard<'q, Queued<R, O>>) -> MutexGuard<'q, Queued<R, O>> {
        inside
    }
}

/// For callers that do not block.
impl<R, O> Queue<R, O> {
    /// Leaves a request; whoever serves it calls `then` with its outcome. If this returns `true`,
    /// no server exists: the caller starts one, or [abandons](Self::abandon) the queue.
    pub(super) fn leave(&self, request: R, then: Then<O>) -> bool {
        let mut inside = self.inside();
        self.add(&mut inside, Waiter::Left(then), request);
        !std::mem::replace(&mut inside.server, true)
    }

    /// Makes one turn of the server, once nobody else serves.
    pub(super) fn turn(
        &self,
        clock: Option<&dyn Env>,
        work: impl FnOnce(Vec<R>) -> Vec<O>,
    ) -> Turn<O> {
        let mut inside = self.inside();
        while inside.busy {
            inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        let mut answers = Vec::new();
        if !inside.waiting.is_empty() {
            answers = self.serve_waiting(inside, clock, work);
            inside = self.inside();
        }
        let ended = inside.waiting.is_empty();
        inside.server = !ended;
        Turn { answers, ended }
    }

    /// Gives back what was left and not begun: there is no server for it.
    pub(super) fn abandon(&self) -> Vec<(R, Then<O>)> {
        let mut inside = self.inside();
        inside.server = false;
        let waiting = std::mem::take(&mut inside.waiting);
        let mut abandoned = Vec::new();
        for (waiter, request) in waiting {
            match waiter {
                Waiter::Left(then) => abandoned.push((request, then)),
                blocked @ Waiter::Blocked(_) => inside.waiting.push((blocked, request)),
            }
        }
        abandoned
    }
}
