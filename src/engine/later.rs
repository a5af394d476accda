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
use crate::sync::{Mutex, locked};

/// Threads that serve the queue. Each holds the engine until it ends.
#[derive(Clone, Default)]
pub(super) struct Servers(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Servers {
    fn keep(&self, server: JoinHandle<()>) {
        let mut servers = locked(&self.0);
        servers.retain(|server| !server.is_finished());
        servers.push(server);
    }

    /// Waits until all have ended, also those that took over from one that panicked, which has told
    /// its callers.
    pub(super) fn join(&self) {
        loop {
            let servers = std::mem::take(&mut *locked(&self.0));
            if servers.is_empty() {
                return;
            }
            servers.into_iter().for_each(|server| drop(server.join()));
        }
    }
}

/// The thread's duty. Where it panics, another thread takes it over.
struct Server {
    core: Option<Arc<Core>>,
    servers: Servers,
}

impl Server {
    /// Serves the queue until it is empty.
    fn run(mut self) {
        while let Some(core) = self.core.clone() {
            let turn = make_turn(&core);
            drop(core);
            if turn.ended {
                // Before a caller has its answer, which may close the engine then.
                self.core = None;
            }
            turn.answer();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            start(&core, &self.servers);
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
fn start(core: &Arc<Core>, servers: &Servers) {
    let server = Server { core: Some(Arc::clone(core)), servers: servers.clone() };
    let thread = Builder::new().name("keyfall-writer".into());
    if let Ok(started) = thread.spawn(move || server.run()) {
        return servers.keep(started);
    }
    for (request, then) in core.queue.abandon() {
        if let Asked::Put(staging) = request.asked {
            core.in_flight.release(staging.stored.into_iter(), false);
        }
        then(Outcome::NotBegun);
    }
}

/// Leaves a request in the queue, and starts a thread for it if none serves.
pub(super) fn leave(
    core: &Arc<Core>,
    servers: &Servers,
    asked: Asked,
    then: impl FnOnce(Outcome<Answered>) + Send + 'static,
) {
    let request = Queued { asked, since: core.observing.begin() };
    if core.queue.leave(request, Box::new(then)) {
        start(core, servers);
    }
}
