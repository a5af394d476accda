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
            tell(self.serve_waiting(inside, work));
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
        work: impl FnOnce(Vec<R>) -> Vec<O>,
    ) -> Answers<O> {
        inside.busy = true;
        let (waiters, requests) = std::mem::take(&mut inside.waiting).into_iter().unzip();
        drop(inside);
        let mut serving = Serving { queue: self, waiters };
        let outcomes = work(requests);
        serving.end(outcomes)
    }
}

/// For callers that do not block.
impl<R, O> Queue<R, O> {
    /// Leaves a request; whoever serves it calls `then` with its outcome. If this returns `true`,
    /// no server exists: the caller starts one, or [abandons](Self::abandon) the queue.
    pub(super) fn leave(&self, request: R, then: Then<O>) -> bool {
        let mut inside = self.inside();
        inside.waiting.push((Waiter::Left(then), request));
        !std::mem::replace(&mut inside.server, true)
    }

    /// Makes one turn of the server, once nobody else serves.
    pub(super) fn turn(&self, work: impl FnOnce(Vec<R>) -> Vec<O>) -> Turn<O> {
        let mut inside = self.inside();
        while inside.busy {
            inside = self.served.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        let mut answers = Vec::new();
        if !inside.waiting.is_empty() {
            answers = self.serve_waiting(inside, work);
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
