//! Group commit: what callers ask for at the same time is done by one of them, one commit for the
//! puts and one for the erases.

use super::core::{Answer, Asked, Core, Staging};
use super::erases::{erase_all, look_ahead};
use super::erasure::Erasure;
use super::puts::put_all;
use crate::error::Result;
use crate::ids::RecordId;
use crate::scope::Erase;
use crate::secret::WipeStack;

/// Has a batch committed, with all that wait at the same time.
pub(super) fn put(core: &Core, staging: Staging) -> Result<Vec<RecordId>> {
    match submit(core, Asked::Put(staging)) {
        Answer::Put(put) => put,
        Answer::Erased(_) => unreachable!("each request is answered in kind"),
    }
}

/// Has an erase done, with all that wait at the same time.
pub(super) fn erase(core: &Core, erase: Erase) -> Result<Erasure> {
    look_ahead(core, &erase);
    match submit(core, Asked::Erase(erase)) {
        Answer::Erased(erased) => erased,
        Answer::Put(_) => unreachable!("each request is answered in kind"),
    }
}

fn submit(core: &Core, request: Asked) -> Answer {
    core.queue.submit(request, |requests| serve(core, &requests))
}

/// One outcome for each request, in order.
fn serve(core: &Core, requests: &[Asked]) -> Vec<Answer> {
    // Before the callers that wait get their results: this stack served them.
    let _wiped = WipeStack;
    let mut writer = core.writer();
    let (mut batches, mut erases) = (Vec::new(), Vec::new());
    for request in requests {
        match request {
            Asked::Put(batch) => batches.push(batch),
            Asked::Erase(erase) => erases.push(erase),
        }
    }
    let mut puts = put_all(core, &mut writer, &batches).into_iter();
    let mut erased = erase_all(core, &mut writer, &erases).into_iter();
    let answer = |request: &Asked| match request {
        Asked::Put(_) => puts.next().map(Answer::Put),
        Asked::Erase(_) => erased.next().map(Answer::Erased),
    };
    requests.iter().map_while(answer).collect()
}

/// A request that waits in the queue without a thread.
#[cfg(feature = "tokio")]
pub(super) mod later {
    use std::sync::Arc;

    use super::{Answer, Asked, Core, serve};

    /// The duty to serve the queue, on a thread that may block: the caller that is handed one runs
    /// it. Dropped before it ran to its end, it leaves the queue to the next caller.
    pub(in crate::engine) struct Server {
        core: Arc<Core>,
        ended: bool,
    }

    impl Server {
        /// Serves the queue until it is empty.
        pub(in crate::engine) fn run(mut self) {
            self.core.queue.serve(|requests| serve(&self.core, &requests));
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
    pub(in crate::engine) fn leave(
        core: &Arc<Core>,
        request: Asked,
        then: impl FnOnce(Option<Answer>) + Send + 'static,
    ) -> Option<Server> {
        core.queue
            .leave(request, Box::new(then))
            .then(|| Server { core: Arc::clone(core), ended: false })
    }
}
