//! Group commit: what callers ask for at the same time is done by one of them, one commit for the
//! puts and one for the erases.

use std::time::Duration;

use super::core::{Answer, Asked, Core, Queued, Staging};
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
        Answer::Erased(_) => unreachable!("a put was asked for"),
    }
}

/// Has an erase done, with all that wait at the same time.
pub(super) fn erase(core: &Core, erase: Erase) -> Result<Erasure> {
    look_ahead(core, &erase);
    match submit(core, Asked::Erase(erase)) {
        Answer::Erased(erased) => erased,
        Answer::Put(_) => unreachable!("an erase was asked for"),
    }
}

fn submit(core: &Core, request: Asked) -> Answer {
    let request = Queued { asked: request, since: core.observing.begin() };
    let answer = core.queue.submit(request, |requests| serve(core, &requests));
    // Not before: while one caller serves, the others wait.
    core.observing.deliver();
    answer
}

fn serve(core: &Core, requests: &[Queued]) -> Vec<Answer> {
    // Before the callers that wait get their results: this stack served them.
    let _wiped = WipeStack;
    let mut writer = core.writer_untold();
    writer.waited = waited(core, requests);
    let (mut batches, mut erases, mut since) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        match &request.asked {
            Asked::Put(batch) => batches.push(batch),
            Asked::Erase(erase) => {
                erases.push(erase);
                since.push(request.since);
            }
        }
    }
    let mut puts = put_all(core, &mut writer, &batches).into_iter();
    let erased = erase_all(core, &mut writer, &erases);
    writer.waited = None;
    core.observing.erases(erases.into_iter().zip(since), &erased);
    let mut erased = erased.into_iter();
    let answer = |request: &Queued| match request.asked {
        Asked::Put(_) => puts.next().map(Answer::Put),
        Asked::Erase(_) => erased.next().map(Answer::Erased),
    };
    requests.iter().map_while(answer).collect()
}

/// How long the request that waited longest has waited, where somebody observes.
fn waited(core: &Core, requests: &[Queued]) -> Option<Duration> {
    let first = requests.iter().filter_map(|request| request.since).min()?;
    Some(core.observing.since(Some(first)))
}
