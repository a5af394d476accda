//! One call of the engine: with trouble on the way, and the model that follows what became of it.

use super::checks::{check_copies, compare};
use super::op::Trouble;
use super::opening::{open, reopen, restart};
use super::run::Run;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::ids::RecordId;
use crate::store::HeadId;
use crate::testing::lock::locked;
use crate::{Opening, Query, UploadId};

/// The one verb that may commit more than once.
pub(super) const TENDS: &str = "what is due done";

/// What an erase reported.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// How many records fell, and whether there was nothing to do.
    Fell(u64, bool),
    Absent,
    Held,
    /// An error of the medium, while others of the same call succeeded.
    Failed,
}

/// What a verb returned.
pub(super) enum Done {
    Ids(Vec<RecordId>),
    /// One for each scope.
    Erased(Vec<Told>),
    /// The number of a hold.
    Number(u64),
    /// An upload that was begun.
    Upload(UploadId),
    /// An opening of a record.
    Opened(Opening),
    Nothing,
}

/// Runs a verb with its trouble, finds out what became of it, and updates the model. `follow` gets
/// what the verb returned, or `None` if it was not acknowledged and happened all the same, and
/// the time that it saw.
pub(super) fn attempt(
    run: &mut Run,
    event: &'static str,
    trouble: Trouble,
    act: &dyn Fn(&Run) -> Result<Done>,
    follow: impl FnOnce(&mut Run, Option<Done>, u64),
) {
    let before = run.engine().head();
    // The time that the verb's next look at the clock sees.
    let now = run.env.now().0 + 1;
    run.media.gate().plan(trouble.during);
    if let Some(others) = &mut run.others {
        others.let_in(&run.media, &run.options);
    }
    let result = act(run);
    let blown = run.media.gate().blown();
    run.media.gate().plan(None);
    if blown.is_some() {
        run.failed_at = Some(run.env.now().0);
    }
    if let Some(others) = &run.others {
        others.let_out(run.media.gate(), &mut run.tally);
    }
    if run.media.gate().is_off() {
        drop(result);
        restart(run, true);
        open(run, trouble.recovering);
        return resolve(run, event, before, now, follow);
    }
    match result {
        Ok(done) => {
            run.tally.count(event);
            let after = run.engine().head();
            assert!(after >= before, "a head went back");
            follow(run, Some(done), now);
            check_copies(run);
        }
        Err(e) => {
            let out_of_reach = !locked(&run.unreachable).is_empty()
                && matches!(e.kind(), ErrorKind::Copy | ErrorKind::Io)
                || e.kind() == ErrorKind::Refused && e.to_string().contains("has diverged")
                // Two keyholders are away: nothing was changed.
                || run.media.has_keyholders() && e.kind() == ErrorKind::Io;
            let told =
                matches!(e.kind(), ErrorKind::Absent | ErrorKind::Exists | ErrorKind::Erased);
            assert!(
                blown.is_some() || out_of_reach || told,
                "{event}: an error out of nothing: {e:?}"
            );
            run.tally.count("verbs failed");
            let poisoned = run.engine().list(&Query::default().limit(1));
            match trouble.after {
                0 if poisoned.is_ok() => {}
                _ if blown.is_none() => {}
                0 => reopen(run, trouble.recovering),
                after => {
                    restart(run, after == 2);
                    open(run, trouble.recovering);
                }
            }
            resolve(run, event, before, now, follow);
        }
    }
}

/// A verb that was not acknowledged happened whole or not at all; the head's number tells which.
fn resolve(
    run: &mut Run,
    event: &str,
    before: HeadId,
    now: u64,
    follow: impl FnOnce(&mut Run, Option<Done>, u64),
) {
    let after = run.engine().head();
    if after == before {
        run.tally.count("undone");
        run.undone_epoch = after.epoch;
    } else {
        let next = after.commit == before.commit + 1 || event == TENDS && after > before;
        assert!(next, "LOST: the store went from {before} to {after}");
        run.tally.count("done, not acknowledged");
        follow(run, None, now);
    }
    compare(run);
}
