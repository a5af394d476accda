//! One turn of the writer: what callers asked for at the same time is done by one of them, one
//! commit for the puts and one for the erases.

use super::core::{Answer, Asked, Core};
use super::erases::erase_all;
use super::puts::put_all;
use crate::secret::WipeStack;
use crate::sync::atomic::Ordering;

/// A panic in a turn leaves unknown what was written.
struct PoisonedByPanic<'c>(&'c Core);

impl Drop for PoisonedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poisoned.store(true, Ordering::Release);
        }
    }
}

/// Serves requests under the writer's lock; gives an answer to each, in their order.
pub(super) fn serve(core: &Core, requests: Vec<Asked>) -> Vec<Answer> {
    // Before the callers that wait get their results: this stack served them.
    let _wiped = WipeStack;
    let _panics = PoisonedByPanic(core);
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
}
