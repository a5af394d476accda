//! The bodies of the certificates of a commit, written before it is published: one for each erase
//! that asked for a certificate and did something, with a commitment for the leaf. What it names is
//! kept nowhere else.

use super::core::{Core, State};
use crate::catalogue::docket::Docket;
use crate::catalogue::fell::Fell;
use crate::certificate::{
    ALGORITHMS, Body, CellFacts, Copies, Destroyed, Kept, METHOD, VERIFICATION,
};
use crate::error::Result;
use crate::ids::{Class, Timestamp};
use crate::limits::FORMAT;
use crate::log::Hash;
use crate::scope::{Drafted, Erase, Request};
use crate::tree::head::CopyMode;

/// What is the same for all erases of a commit.
pub(super) struct Common {
    pub(super) cell: CellFacts,
    pub(super) asked: Timestamp,
    pub(super) epoch: u64,
    pub(super) root: Destroyed,
    pub(super) pending: Option<Timestamp>,
    pub(super) derived: u64,
    pub(super) following: bool,
}

/// The body of a certificate in the making.
pub(super) struct WrittenBody {
    pub(super) body: Body,
    pub(super) opening: [u8; 32],
    /// The commitment that its opening opens.
    pub(super) commitment: Hash,
    pub(super) drafted: Option<Drafted>,
    /// Which of the erases of the commit it is for.
    pub(super) of: usize,
}

/// Writes the bodies of the certificates of a commit, and takes the dockets of its erases for them.
pub(super) fn write_bodies(
    core: &Core,
    state: &State,
    erases: &[&Erase],
    fell: &mut [Result<Fell>],
    common: &Common,
) -> Result<Vec<WrittenBody>> {
    let mut bodies = Vec::new();
    for (of, (erase, fell)) in erases.iter().zip(fell).enumerate() {
        let Ok(fell) = fell else { continue };
        if let (Some(request), Some(mut docket)) = (&erase.request, fell.docket.take()) {
            docket.add_records(&fell.counts);
            let mut opening = [0; 32];
            core.options.env.fill(&mut opening)?;
            let body = body(core, state, erase, request, docket, common);
            let (commitment, drafted) = (body.commitment(&opening), erase.drafted.clone());
            bodies.push(WrittenBody { body, opening, commitment, drafted, of });
        }
    }
    Ok(bodies)
}

fn body(
    core: &Core,
    state: &State,
    erase: &Erase,
    request: &Request,
    docket: Docket,
    common: &Common,
) -> Body {
    let copies = |mode| state.head.copies.iter().filter(|copy| copy.mode == mode).count() as u64;
    let kept = |(class, reason): (&Class, &str)| Kept {
        class: class.as_str().to_owned(),
        reason: reason.to_owned(),
    };
    let why = erase.derived_kept().unwrap_or_default();
    let derived = docket.derived_kept.iter().map(|class| (class, why));
    Body {
        engine: concat!("keyfall ", env!("CARGO_PKG_VERSION")).to_owned(),
        format: FORMAT,
        store: core.id.to_string(),
        user: docket.user,
        scope: erase.words_in_full(),
        requested: request.asked.unwrap_or(common.asked).to_string(),
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
        kept: erase.stays().chain(derived).map(kept).collect(),
        holds: docket.holds,
        openings: docket.openings,
        grants: docket.grants,
        copies: Copies { in_step: copies(CopyMode::InStep), behind: copies(CopyMode::Behind) },
        cell: common.cell.clone(),
    }
}
