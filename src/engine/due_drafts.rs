//! Certificates of what is due: their drafts go to the application before the commit, and the
//! certificates are made of these when it asks.

use super::bodies::write_bodies;
use super::commit::Commit;
use super::core::{Core, State, Writer};
use super::draft::draft;
use super::epoch::next_epoch_for;
use super::erases::common;
use crate::catalogue::due_for_user::Certified;
use crate::catalogue::due_outcome::Setback;
use crate::catalogue::moment::Reading;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserTag;
use crate::scope::{Drafted, Erase};

/// What a commit of what is due certifies.
pub(super) struct Asked {
    pub(super) clock: Reading,
    /// Derived records that it takes out.
    pub(super) derived: u64,
    pub(super) certified: Vec<Certified>,
}

/// Lets the next epoch begin with a commit of what is due, and hands the drafts of its certificates
/// out; gives back what must not be done, since its draft could not be kept.
pub(super) fn begin_certified(
    core: &Core,
    state: &State,
    writer: &Writer,
    commit: &mut Commit,
    asked: Asked,
) -> Result<Vec<(UserTag, Setback)>> {
    let Asked { clock, derived, certified } = asked;
    // What was pending becomes final with it.
    commit.change.head.pending = None;
    let common = common(core, writer, &commit.change.head, clock.now, derived);
    let keep = core.options.drafts.clone().unwrap_or_else(nobody);
    let (mut whose, mut erases, mut fell) = (Vec::new(), Vec::new(), Vec::new());
    for Certified { user, plan, mut erase, fell: took } in certified {
        erase.drafted = Some(keep.clone());
        whose.push((user, plan));
        erases.push(erase);
        fell.push(Ok(took));
    }
    let erases: Vec<&Erase> = erases.iter().collect();
    let bodies = write_bodies(core, state, &erases, &mut fell, &common)?;
    let commitments: Vec<_> = bodies.iter().map(|body| body.commitment).collect();
    let entered = next_epoch_for(core, state, writer, commit, &common.cell, &commitments)?;
    let failed = match &entered {
        Some(entered) if !bodies.is_empty() => draft(core, bodies, entered).err(),
        _ => None,
    };
    let setback = |(of, e): (usize, Error)| match whose[of] {
        (user, Some(plan)) => (user, Setback::Plan(plan, e)),
        (user, None) => (user, Setback::User(e)),
    };
    Ok(failed.unwrap_or_default().into_iter().map(setback).collect())
}

/// In the place of an application that takes drafts.
fn nobody() -> Drafted {
    Drafted::new(|_| {
        Err(Error::new(
            ErrorKind::Refused,
            "nobody takes it; open the engine with `Options::drafts`, or cancel the plan or replace \
             the policy that wants a certificate",
        ))
    })
}
