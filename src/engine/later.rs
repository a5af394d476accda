//! A request that waits in the queue without a thread: for callers that must not block.

use std::sync::Arc;

use super::core::{Answer, Asked, Core};
use super::turn::serve;

/// The duty to serve the queue, on a thread that may block: the caller that is handed one runs it.
/// Dropped before it ran to its end, it leaves the queue to the next caller.
pub(super) struct Server {
    core: Arc<Core>,
    ended: bool,
}

impl Server {
    /// Serves the queue until it is empty.
    pub(super) fn run(mut self) {
        self.core.queue.serve(|requests| serve(&self.core, requests));
        self.ended = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended {
            self.core.queue.no_server();
        }
    }
}

/// Leaves a request in the queue.
pub(super) fn leave(
    core: &Arc<Core>,
    request: Asked,
    then: impl FnOnce(Option<Answer>) + Send + 'static,
) -> Option<Server> {
    let none = core.queue.leave(request, Box::new(then));
    none.then(|| Server { core: Arc::clone(core), ended: false })
}
