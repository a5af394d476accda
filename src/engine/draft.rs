//! Drafts: before a commit is published it is seen that each of its certificates can be signed,
//! whatever the cell will say, and those who asked for a draft get it. A crash then loses none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use data_encoding::BASE64;

use super::bodies::WrittenBody;
use super::core::Core;
use crate::catalogue::leaf::{Entered, Seat};
use crate::certificate::{Certificate, Draft, Facts, Leaf, Outcome, Retired, Slot};
use crate::error::{Error, Result};
use crate::scope::Drafted;

/// What the certificates of a commit say before it; or the erases for which that failed: they must
/// not be done. (Of all bodies the drafts are handed out first.)
pub(super) fn draft(
    core: &Core,
    bodies: Vec<WrittenBody>,
    entered: &Entered,
) -> std::result::Result<Vec<Facts>, Vec<(usize, Error)>> {
    let outcome = unheard(core);
    let (mut drafted, mut failed) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (body, seat) in bodies.into_iter().zip(&entered.seats) {
        let (of, keep) = (body.of, body.drafted.clone());
        let draft =
            Draft { index: entered.index, facts: facts(body, seat, &entered.leaf, &outcome) };
        match check_and_hand_out(keep.as_ref(), &draft) {
            Ok(()) => drafted.push(draft.facts),
            Err(e) => failed.push((of, e)),
        }
    }
    if failed.is_empty() { Ok(drafted) } else { Err(failed) }
}

/// What a certificate says before the cell was asked.
pub(super) fn unheard(core: &Core) -> Outcome {
    Outcome {
        issued: core.options.env.now().to_string(),
        retired: Retired::Waiting,
        discarded: false,
        partly: false,
        copies_skipped: 0,
    }
}

pub(super) fn lines_of(leaf: &Leaf) -> Vec<String> {
    leaf.to_string().lines().map(str::to_owned).collect()
}

fn facts(body: WrittenBody, seat: &Seat, leaf: &Leaf, outcome: &Outcome) -> Facts {
    let path = seat.path.iter().map(ToString::to_string).collect();
    Facts {
        body: body.body,
        opening: BASE64.encode(&body.opening),
        slot: Slot { index: seat.index, of: leaf.slots, path },
        leaf: lines_of(leaf),
        outcome: outcome.clone(),
        final_leaf: None,
    }
}

fn check_and_hand_out(keep: Option<&Drafted>, draft: &Draft) -> Result<()> {
    Certificate::check(&draft.facts)
        .map_err(|e| e.context("no certificate could be written; nothing was erased"))?;
    let Some(keep) = keep else { return Ok(()) };
    hand_out(keep, draft).map_err(|e| {
        e.context("the draft of the certificate could not be kept; nothing was erased")
    })
}

/// Hands a draft out. The callback is one erase's, and others may share the commit: if it panics
/// they are done all the same.
fn hand_out(drafted: &Drafted, draft: &Draft) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| (drafted.0)(draft))).unwrap_or_else(|_| {
        Err(Error::invalid(
            "the callback that was to keep it panicked; correct that and erase again",
        ))
    })
}
