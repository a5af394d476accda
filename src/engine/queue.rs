//! Requests that wait for the one writer. Who finds nobody at work does all that wait, and tells each its outcome; they wake together.
//! So callers that come at once share a commit, and none waits for another's turn to find out.

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The queue.
pub(super) struct Queue<R, O> {
    inside: Mutex<Inside<R, O>>,
    served: Condvar,
}

struct Inside<R, O> {
    waiting: Vec<(u64, R)>,
    /// Somebody is at work.
    busy: bool,
    /// `None`: who was at work panicked.
    outcomes: HashMap<u64, Option<O>>,
    next: u64,
}

impl<R, O> Default for Queue<R, O> {
    fn default() -> Self {
        let inside = Inside { waiting: Vec::new(), busy: false, outcomes: HashMap::new(), next: 0 };
        Queue { inside: Mutex::new(inside), served: Condvar::new() }
    }
}

/// Tells those whose requests were taken, also where the work panics.
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
    fn inside(&self) -> MutexGuard<'_, Inside<R, O>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.inside().busy
    }

    /// Has a request served, by whoever is the next at work; `work` gives one outcome for each request, in order.
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
            None => panic!("who served this request panicked; open the engine anew"),
        }
    }
}
