//! A request that waits in the queue without a thread: for callers that must not block.
//!
//! One thread serves all of those, for as long as any waits. It is none of a runtime's: these may
//! all be taken by payloads that wait for their next bytes, and a runtime may end.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::asked::{Answered, Asked, Queued};
use super::core::Core;
use super::group::clock;
use super::observing::Delivery;
use super::queue::{Outcome, Turn};
use super::turn::serve;

/// The thread's duty. Where it panics, another thread takes it over.
struct Server(Option<Arc<Core>>);

impl Server {
    /// Serves the queue until it is empty.
    fn run(mut self) {
        while let Some(core) = self.0.clone() {
            let turn = make_turn(&core);
            drop(core);
            if turn.ended {
                // Before a caller has its answer, which may close the engine then.
                self.0 = None;
            }
            turn.answer();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(core) = self.0.take() {
            start(&core);
        }
    }
}

/// Serves what waits, and tells the observer, before anybody has an answer.
fn make_turn(core: &Core) -> Turn<Answered> {
    // Not in the turn: who calls the engine waits for its end.
    let _told = Delivery(&core.observing);
    core.queue.turn(clock(core), |requests| serve(core, requests))
}

/// Starts a thread that serves; where none can be started, nothing of what was left is begun.
fn start(core: &Arc<Core>) -> Option<JoinHandle<()>> {
    let held = Arc::clone(core);
    let thread = Builder::new().name("keyfall-writer".into());
    let started = thread.spawn(move || Server(Some(held)).run());
    if started.is_err() {
        for (request, then) in core.queue.abandon() {
            if let Asked::Put(staging) = request.asked {
                core.in_flight.release(staging.stored.into_iter(), false);
            }
            then(Outcome::NotBegun);
        }
    }
    started.ok()
}

/// Leaves a request in the queue; gives the thread that was started for it, if one was.
pub(super) fn leave(
    core: &Arc<Core>,
    asked: Asked,
    then: impl FnOnce(Outcome<Answered>) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let request = Queued { asked, since: core.observing.begin() };
    if core.queue.leave(request, Box::new(then)) { start(core) } else { None }
}
