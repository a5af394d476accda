//! One turn of the writer: what callers asked for at the same time is done by one of them, one
//! commit for the puts and one for the erases.

use std::time::Duration;

use super::asked::{Answer, Answered, Asked, Queued};
use super::core::Core;
use super::erases::erase_all;
use super::puts::put_all;
use crate::error::ErrorKind;
use crate::secret::WipeStack;

/// A panic in a turn leaves unknown what was written.
struct PoisonedByPanic<'c>(&'c Core);

impl Drop for PoisonedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(ErrorKind::Poisoned);
        }
    }
}

/// Serves requests under the writer's lock; gives an answer to each, in their order. Others wait
/// for it: what it notes for the observer its caller has delivered afterwards.
pub(super) fn serve(core: &Core, requests: Vec<Queued>) -> Vec<Answered> {
    // Before the callers that wait get their results: this stack served them.
    let _wiped = WipeStack;
    let _panics = PoisonedByPanic(core);
    let mut writer = core.writer_untold();
    writer.waited = waited(core, &requests);
    let (mut batches, mut erases, mut since) = (Vec::new(), Vec::new(), Vec::new());
    for request in &requests {
        match &request.asked {
            Asked::Put(batch) => batches.push(batch),
            Asked::Erase(erase) => {
                erases.push(erase);
                since.push(request.since);
            }
        }
    }
    let before = core.loan.called_in();
    let mut puts = put_all(core, &mut writer, &batches).into_iter();
    // A put that replaced a record erased it.
    let replaced = core.loan.called_in().filter(|_| core.loan.called_in() != before);
    let began = core.observing.begin();
    let erased = erase_all(core, &mut writer, &erases);
    writer.waited = None;
    core.observing.erases(erases.into_iter().zip(since), began, &erased);
    let mut erased = erased.into_iter();
    // Also one that finds nothing to do: what erased it may not have waited yet.
    let called_in = core.loan.called_in();
    let answer = |request: &Queued| {
        let (answer, until) = match request.asked {
            Asked::Put(_) => (puts.next().map(Answer::Put)?, replaced),
            Asked::Erase(_) => (erased.next().map(Answer::Erased)?, called_in),
        };
        Some(Answered { answer, until })
    };
    requests.iter().map_while(answer).collect()
}

/// How long the request that waited longest has waited, where somebody observes.
fn waited(core: &Core, requests: &[Queued]) -> Option<Duration> {
    let first = requests.iter().filter_map(|request| request.since).min()?;
    Some(core.observing.since(Some(first)))
}
