//! Plays one operation of a run: what a step says, on the engine and on the model.

use std::time::Duration;

use super::choose::named;
use super::copies::{backup, clean, copy_add, copy_remove, copy_sync, discard};
use super::mishaps::{bring_back, keep, partition, restore, rot, second_writer};
use super::model::Named;
use super::named::put_named;
use super::op::{Chosen, Op, Trouble};
use super::opening::{open, restart};
use super::parties::{envelope, envelope_again, grant};
use super::promises::{cancel, create, detach, legal_hold, lift, limit, open_as, plan, tend};
use super::records::{choose, erase, hold_open, put};
use super::run::Run;
use super::uploads;

/// Plays an operation, with its trouble.
pub(super) fn apply(run: &mut Run, op: Op, trouble: Trouble) {
    run.env.advance(5);
    match op {
        Op::Put { user, items } => {
            let items: Vec<Chosen> = items.into_iter().map(|item| choose(run, item)).collect();
            put(run, user, items, trouble);
        }
        Op::PutNamed(named) => put_named(run, &named, trouble),
        Op::Create(user) => create(run, user, trouble),
        Op::Detach(n) => detach(run, n, trouble),
        Op::Tend => tend(run, trouble),
        Op::LegalHold { user, class, interaction } => {
            legal_hold(run, user, class, interaction, trouble)
        }
        Op::Upload { user, item, named } => {
            let item = choose(run, item);
            uploads::begin(run, user, &item, named, trouble);
        }
        Op::Append(n, len) => uploads::append(run, n, len, trouble),
        Op::Finish(n) => uploads::finish(run, n, trouble),
        Op::Abort(n) => uploads::abort(run, n, trouble),
        Op::OpenAs(n) => open_as(run, n, trouble),
        Op::Lift(n) => lift(run, n, trouble),
        Op::Erase(scopes) => {
            let named: Vec<Named> = scopes.iter().filter_map(|s| named(&run.model, s)).collect();
            if !named.is_empty() {
                erase(run, named, None, trouble);
            }
        }
        Op::EraseWithin(scoped, window) => {
            if let Some(named) = named(&run.model, &scoped) {
                erase(
                    run,
                    vec![named],
                    Some(Duration::from_millis(u64::from(window) * 100)),
                    trouble,
                );
            }
        }
        Op::Plan(scoped, delay) => plan(run, &scoped, delay, trouble),
        Op::Envelope(user, item) => envelope(run, user, &item, trouble),
        Op::EnvelopeAgain(n) => envelope_again(run, n, trouble),
        Op::Grant(granted) => grant(run, &granted, trouble),
        Op::Cancel(n) => cancel(run, n, trouble),
        Op::Limit { user, class, age } => limit(run, user, &class, age, trouble),
        Op::CopyAdd { place, in_step } => copy_add(run, place, in_step, trouble),
        Op::CopySync => copy_sync(run, trouble),
        Op::CopyRemove(place) => copy_remove(run, place, trouble),
        Op::Backup => backup(run, trouble),
        Op::Discard => discard(run, trouble),
        Op::Clean(all) => clean(run, all, trouble),
        Op::Restore => restore(run, trouble),
        Op::Reopen => {
            restart(run, trouble.after == 2);
            open(run, trouble.recovering);
        }
        Op::Hold(n) => hold_open(run, n),
        Op::Partition(n) => partition(run, n),
        Op::Keep(kept) => keep(run, kept),
        Op::Return(kept) => bring_back(run, kept),
        Op::Rot { cell } => rot(run, cell),
        Op::Wait(tenths) => run.env.advance(u64::from(tenths) * 100),
        Op::SecondWriter(n) => second_writer(run, n),
    }
}
