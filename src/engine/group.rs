//! Group commit: a caller's request joins the queue, and one of those who wait does all of them in
//! one turn of the writer (`turn`).

use super::asked::{Answer, Asked, Queued, Staging};
use super::core::Core;
use super::erasure::Erasure;
use super::observing::Delivery;
use super::turn::serve;
use crate::catalogue::view::View;
use crate::env::Env;
use crate::error::Result;
use crate::ids::RecordId;
use crate::scope::Erase;

/// Has a batch committed, with all that wait at the same time.
pub(super) fn put(core: &Core, staging: Staging) -> Result<Vec<RecordId>> {
    submit(core, Asked::Put(staging)).put()
}

/// Has an erase done, with all that wait at the same time.
pub(super) fn erase(core: &Core, erase: Erase) -> Result<Erasure> {
    look_ahead(core, &erase);
    submit(core, Asked::Erase(erase)).erased()
}

fn submit(core: &Core, asked: Asked) -> Answer {
    let answered = {
        // Not in the turn: while one caller serves, the others wait.
        let _told = Delivery(&core.observing);
        let request = Queued { asked, since: core.observing.begin() };
        core.queue.submit(request, clock(core), |requests| serve(core, requests))
    };
    core.loan.keep_back(&*core.options.env, answered.until);
    answered.answer
}

/// By what a turn measures how long it may wait for others: in a store on a network a commit takes
/// many times as long.
pub(super) fn clock(core: &Core) -> Option<&dyn Env> {
    core.store().is_shared().then_some(&*core.options.env)
}

/// Warms the cache with the path to the erased user while another caller holds the writer, or if a
/// request takes long, so that the writer does not block on reads.
fn look_ahead(core: &Core, erase: &Erase) {
    if core.store().is_far() || core.queue.is_busy() {
        let find = |view: &View<'_>| view.users().find(erase.user(|user| view.tag(user)));
        // What fails here fails again, and is told then.
        let _ = core.look_at(|_, view| find(view));
    }
}
