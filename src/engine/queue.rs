//! The queue of `group`. Callers queue their requests; the first to find the writer idle serves the
//! whole queue and hands each caller its result. So callers that come at once share a commit, and
//! none waits for another's turn to find out. A caller that must not block leaves a callback, and
//! has one thread serve all of those ([`Queue::leave`]).

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Requests that wait for the one writer.
pub(super) struct Queue<R, O> {
    inside: Mutex<Queued<R, O>>,
    served: Condvar,
}

/// Takes an outcome; `None`: the caller that served the request panicked.
pub(super) type Then<O> = Box<dyn FnOnce(Option<O>) + Send>;

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
}

impl<R, O> Default for Queue<R, O> {
    fn default() -> Self {
        let inside = Queued {
            waiting: Vec::new(),
            busy: false,
            server: false,
            outcomes: HashMap::new(),
            next: 0,
        };
        Queue { inside: Mutex::new(inside), served: Condvar::new() }
    }
}

/// Hands the callers whose requests were taken their results, also if the work panics.
struct Serving<'q, R, O> {
    queue: &'q Queue<R, O>,
    waiters: Vec<Waiter<O>>,
    outcomes: Vec<O>,
}

impl<R, O> Drop for Serving<'_, R, O> {
    fn drop(&mut self) {
        let mut inside = self.queue.inside();
        inside.busy = false;
        let mut outcomes = std::mem::take(&mut self.outcomes).into_iter();
        let mut left = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let outcome = outcomes.next();
            match waiter {
                Waiter::Blocked(ticket) => {
                    inside.outcomes.insert(ticket, outcome);
                }
                Waiter::Left(then) => left.push((then, outcome)),
            }
        }
        drop(inside);
        self.queue.served.notify_all();
        left.into_iter().for_each(|(then, outcome)| then(outcome));
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

    /// Has a request served by the next caller at work, which may be this one; `work` gives one
    /// outcome for each request, in order.
    pub(super) fn submit(&self, request: R, work: impl FnOnce(Vec<R>) -> Vec<O>) -> O {
        let mut inside = self.inside();
        let mine = inside.next;
        inside.next += 1;
        inside.waiting.push((Waiter::Blocked(mine), request));
        while inside.busy && !inside.outcomes.contains_key(&mine) {
            inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        if !inside.outcomes.contains_key(&mine) {
            self.serve_waiting(inside, work);
            inside = self.inside();
        }
        match inside.outcomes.remove(&mine).flatten() {
            Some(outcome) => outcome,
            None => panic!("the caller that served this request panicked; open the engine again"),
        }
    }
    /// Serves all that wait now.
    fn serve_waiting(
        &self,
        mut inside: MutexGuard<'_, Queued<R, O>>,
        work: impl FnOnce(Vec<R>) -> Vec<O>,
    ) {
        inside.busy = true;
        let (waiters, requests) = std::mem::take(&mut inside.waiting).into_iter().unzip();
        drop(inside);
        let mut serving = Serving { queue: self, waiters, outcomes: Vec::new() };
        serving.outcomes = work(requests);
    }

    /// Leaves a request; `then` is called with its outcome by whoever serves it. If this says
    /// `true` no server exists, and the caller must see to it that one [serves](Queue::serve), or
    /// [say](Queue::no_server) that none does.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "serves the async facade"))]
    pub(super) fn leave(&self, request: R, then: Then<O>) -> bool {
        let mut inside = self.inside();
        inside.waiting.push((Waiter::Left(then), request));
        !std::mem::replace(&mut inside.server, true)
    }

    /// Serves requests until none waits.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "serves the async facade"))]
    pub(super) fn serve(&self, work: impl Fn(Vec<R>) -> Vec<O>) {
        let mut inside = self.inside();
        loop {
            while inside.busy {
                inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
            }
            if inside.waiting.is_empty() {
                inside.server = false;
                return;
            }
            self.serve_waiting(inside, &work);
            inside = self.inside();
        }
    }

    /// Says that the server ended, or never began: the next caller that leaves a request has to
    /// find another.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "serves the async facade"))]
    pub(super) fn no_server(&self) {
        self.inside().server = false;
    }
}
