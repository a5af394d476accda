//! The certificates of a commit that is complete or pending: what the cell said is added to what
//! was drafted. They are signed when their caller asks for it.

use std::sync::Arc;

use super::core::Core;
use super::unsigned::Unsigned;
use crate::catalogue::leaf::Entered;
use crate::certificate::{self, Body, Facts, Leaf, Retired};
use crate::promise::Retirement;
use crate::sync::locked;

/// The certificates of a commit, to be signed, from what was drafted of them.
pub(super) fn issue(
    core: &Core,
    mut drafted: Vec<Facts>,
    mut entered: Entered,
    retirement: Option<&Retirement>,
) -> Vec<Unsigned> {
    entered.pending = locked(&core.awaiting).is_some();
    let heard = drafted
        .first()
        .map_or(Retired::Waiting, |facts| heard(core, &facts.body, &entered.leaf, retirement));
    let issued = core.options.env.now().to_string();
    for facts in &mut drafted {
        facts.outcome.retired = heard.clone();
        facts.outcome.issued.clone_from(&issued);
    }
    // Each has its own seat.
    entered.seats.clear();
    let entered = Arc::new(entered);
    drafted.into_iter().map(|facts| Unsigned { facts, entered: Arc::clone(&entered) }).collect()
}

/// What the cell says of the root key that `ended` ends, and said before.
pub(super) fn heard(
    core: &Core,
    body: &Body,
    ended: &Leaf,
    retirement: Option<&Retirement>,
) -> Retired {
    let heard = certificate::heard(&body.cell, &body.store, ended, retirement);
    if !matches!(heard, Retired::Stated(_)) {
        return heard;
    }
    let before = Retirement::Stated { statements: core.cell.remembered(), needed: 0 };
    heard.after(&certificate::heard(&body.cell, &body.store, ended, Some(&before)))
}
