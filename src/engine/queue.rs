//! The queue of `group`. Callers queue their requests; the first to find the writer idle serves the
//! whole queue and hands each caller its result. So callers that come at once share a commit, and
//! none waits for another's turn to find out.

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Requests that wait for the one writer.
pub(super) struct Queue<R, O> {
    inside: Mutex<Queued<R, O>>,
    served: Condvar,
}

struct Queued<R, O> {
    waiting: Vec<(u64, R)>,
    /// A caller is serving requests.
    busy: bool,
    /// `None`: the caller that served it panicked.
    outcomes: HashMap<u64, Option<O>>,
    next: u64,
}

impl<R, O> Default for Queue<R, O> {
    fn default() -> Self {
        let inside = Queued { waiting: Vec::new(), busy: false, outcomes: HashMap::new(), next: 0 };
        Queue { inside: Mutex::new(inside), served: Condvar::new() }
    }
}

/// Hands the callers whose requests were taken their results, also where the work panics.
struct Serving<'q, R, O> {
    queue: &'q Queue<R, O>,
    tickets: Vec<u64>,
    outcomes: Vec<O>,
}

impl<R, O> Drop for Serving<'_, R, O> {
    fn drop(&mut self) {
        let mut inside = self.queue.inside();
        inside.busy = false;
        let mut outcomes = std::mem::take(&mut self.outcomes).into_iter();
        inside.outcomes.extend(self.tickets.iter().map(|ticket| (*ticket, outcomes.next())));
        drop(inside);
        self.queue.served.notify_all();
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
        inside.waiting.push((mine, request));
        while inside.busy && !inside.outcomes.contains_key(&mine) {
            inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        if !inside.outcomes.contains_key(&mine) {
            inside.busy = true;
            let (tickets, requests) = std::mem::take(&mut inside.waiting).into_iter().unzip();
            drop(inside);
            let mut serving = Serving { queue: self, tickets, outcomes: Vec::new() };
            serving.outcomes = work(requests);
            drop(serving);
            inside = self.inside();
        }
        match inside.outcomes.remove(&mine).flatten() {
            Some(outcome) => outcome,
            None => panic!("the caller that served this request panicked; open the engine again"),
        }
    }
}
