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
    core.queue.submit(request, |requests| {
        // Before the callers that wait get their results: this stack served them.
        let _wiped = WipeStack;
        let mut writer = core.writer();
        let (mut batches, mut erases) = (Vec::new(), Vec::new());
        for request in &requests {
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
    })
}
