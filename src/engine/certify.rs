//! Certificates: a caller asks for one with the erase, and gets it when the erase is complete. What
//! it names is kept nowhere else.

use std::sync::Arc;

use super::claims::{Claim, Common, Unsigned, hand_out};
use super::core::{Core, State};
use crate::catalogue::docket::Docket;
use crate::catalogue::leaf::{Entered, Seat};
use crate::certificate::{
    self, ALGORITHMS, Body, Certificate, Copies, Draft, Kept, Leaf, METHOD, Outcome, Retired,
    VERIFICATION,
};
use crate::error::{Error, Result};
use crate::ids::Class;
use crate::limits::FORMAT;
use crate::promise::Retirement;
use crate::scope::{Erase, Request};
use crate::sync::locked;
use crate::tree::head::CopyMode;

/// An erase that asks for a certificate, and which of its commit it is.
pub(super) struct Asker<'a> {
    pub(super) of: usize,
    pub(super) erase: &'a Erase,
    pub(super) request: &'a Request,
}

pub(super) fn claim(
    core: &Core,
    state: &State,
    asker: Asker<'_>,
    docket: Docket,
    common: &Common,
) -> Result<Claim> {
    let Asker { of, erase, request } = asker;
    let mut opening = [0; 32];
    core.options.env.fill(&mut opening)?;
    let copies = |mode| state.head.copies.iter().filter(|copy| copy.mode == mode).count() as u64;
    let kept = |(class, reason): (&Class, &str)| Kept {
        class: class.as_str().to_owned(),
        reason: reason.to_owned(),
    };
    let body = Body {
        engine: concat!("keyfall ", env!("CARGO_PKG_VERSION")).to_owned(),
        format: FORMAT,
        store: core.id.to_string(),
        user: docket.user,
        scope: erase.words_in_full(),
        requested: common.asked.to_string(),
        authority: request.authority.clone(),
        ground: request.ground.clone(),
        method: METHOD.to_owned(),
        algorithms: ALGORITHMS.to_owned(),
        verification: VERIFICATION.to_owned(),
        epoch: common.epoch,
        commit: state.stored.id.commit + 1,
        pending_until: common.pending.map(|at| at.to_string()),
        destroyed: std::iter::once(common.root.clone()).chain(docket.destroyed).collect(),
        records: docket.records,
        derived: common.derived,
        following: common.following,
        kept: erase.stays().map(kept).collect(),
        holds: docket.holds,
        openings: docket.openings,
        grants: docket.grants,
        copies: Copies { in_step: copies(CopyMode::InStep), behind: copies(CopyMode::Behind) },
        cell: common.cell.clone(),
    };
    Ok(Claim { body, opening, drafted: erase.drafted.clone(), of })
}

/// What a certificate says before its commit.
pub(super) fn unheard(core: &Core) -> Outcome {
    Outcome {
        issued: core.options.env.now().to_string(),
        retired: Retired::Waiting,
        discarded: false,
        partly: false,
        copies_skipped: 0,
    }
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

/// Before a commit is published: sees that each of its certificates can be signed whatever the cell
/// says, and hands drafts out. Gives the erases for which that failed: they must not be done.
pub(super) fn draft(core: &Core, claims: &[Claim], entered: &Entered) -> Vec<(usize, Error)> {
    let outcome = unheard(core);
    let draft = |(claim, seat): (&Claim, &Seat)| {
        let facts = claim.facts(seat, &entered.leaf, outcome.clone());
        let checked = Certificate::check(&facts)
            .map_err(|e| e.context("no certificate could be written; nothing was erased"));
        let kept = checked.and_then(|()| match &claim.drafted {
            Some(keep) => hand_out(keep, &Draft { index: entered.index, facts }).map_err(|e| {
                e.context("the draft of the certificate could not be kept; nothing was erased")
            }),
            None => Ok(()),
        });
        kept.err().map(|e| (claim.of, e))
    };
    claims.iter().zip(&entered.seats).filter_map(draft).collect()
}

/// The certificates of a commit that is complete or pending, to be signed.
pub(super) fn issue(
    core: &Core,
    claims: Vec<Claim>,
    mut entered: Entered,
    retirement: Option<&Retirement>,
) -> Vec<Unsigned> {
    entered.pending = locked(&core.awaiting).is_some();
    let heard = claims
        .first()
        .map_or(Retired::Waiting, |claim| heard(core, &claim.body, &entered.leaf, retirement));
    let outcome = Outcome { retired: heard, ..unheard(core) };
    let seats = std::mem::take(&mut entered.seats);
    let entered = Arc::new(entered);
    let issue = |(claim, seat): (Claim, Seat)| Unsigned {
        facts: claim.facts(&seat, &entered.leaf, outcome.clone()),
        entered: Arc::clone(&entered),
    };
    claims.into_iter().zip(seats).map(issue).collect()
}
