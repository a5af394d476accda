//! Certificates: who asks for one says so with the erase, and gets it when that is complete. What it names is kept nowhere else.

use std::sync::Arc;

use super::claims::{Claim, Common, Unsigned, hand_out, lines_of};
use super::commit::settle;
use super::core::{Core, State};
use super::{Discarded, Engine, locked};
use crate::catalogue::docket::Docket;
use crate::catalogue::leaf::{Entered, Seat, log_page, prove, signer};
use crate::certificate::{
    ALGORITHMS, Body, Certificate, Copies, Draft, Ends, Facts, Kept, Leaf, METHOD, Outcome, Retired, VERIFICATION,
};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Class;
use crate::limits::FORMAT;
use crate::promise::Retirement;
use crate::scope::{Erase, Request};
use crate::secret::WipeStack;
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
    let kept =
        |(class, reason): (&Class, &str)| Kept { class: class.as_str().to_owned(), reason: reason.to_owned() };
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
pub(super) fn heard(core: &Core, body: &Body, ended: &Leaf, retirement: Option<&Retirement>) -> Retired {
    let heard = body.cell.heard(&body.store, ended, retirement);
    if !matches!(heard, Retired::Stated(_)) {
        return heard;
    }
    let before = Retirement::Stated { statements: core.cell.remembered(), needed: 0 };
    heard.after(&body.cell.heard(&body.store, ended, Some(&before)))
}

/// Before a commit is published: sees that each of its certificates can be signed whatever the cell says, and hands drafts out. Gives the
/// erases for which that failed: they must not be done.
pub(super) fn draft(core: &Core, claims: &[Claim], entered: &Entered) -> Vec<(usize, Error)> {
    let outcome = unheard(core);
    let draft = |(claim, seat): (&Claim, &Seat)| {
        let facts = claim.facts(seat, &entered.leaf, outcome.clone());
        let checked = facts.check().map_err(|e| e.context("no certificate could be written; nothing was erased"));
        let kept = checked.and_then(|()| match &claim.drafted {
            Some(keep) => hand_out(keep, &Draft { index: entered.index, facts })
                .map_err(|e| e.context("the draft of the certificate could not be kept; nothing was erased")),
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
    let heard = claims.first().map_or(Retired::Waiting, |claim| heard(core, &claim.body, &entered.leaf, retirement));
    let outcome = Outcome { retired: heard, ..unheard(core) };
    let seats = std::mem::take(&mut entered.seats);
    let entered = Arc::new(entered);
    let issue = |(claim, seat): (Claim, Seat)| Unsigned {
        facts: claim.facts(&seat, &entered.leaf, outcome.clone()),
        entered: Arc::clone(&entered),
    };
    claims.into_iter().zip(seats).map(issue).collect()
}

impl Engine {
    /// Issues a certificate of this store anew, with what happened since: a pending erase that became final, statements of keyholders that
    /// came later, a checkpoint of the log as it is now. `discarded` is a discard that ran behind the erase, if one did.
    ///
    /// # Errors
    /// `Invalid` for a certificate of another store; `Corrupt` for one that does not hold, or that this store's log has not; `Fenced` for
    /// an engine that only looks, which cannot ask the cell; as [`Engine::erase`], where an erase before is not complete.
    pub fn upgrade(&self, certificate: &Certificate, discarded: Option<Discarded>) -> Result<Certificate> {
        let indexes = (certificate.proof.index, certificate.final_proof.as_ref().map(|proof| proof.index));
        let missing = || {
            Error::new(
                ErrorKind::Corrupt,
                "this store's log has not the leaf of the certificate: the store was rolled back, or the certificate is forged; keep both",
            )
        };
        self.reissue(certificate.facts.clone(), indexes, discarded, (Some(certificate), &missing))
    }

    /// The certificate of a draft ([`Erase::drafted`]), where its erase was done: also after a crash, and as often as it is asked for.
    ///
    /// # Errors
    /// `Absent` where this store's log has no such erase; `Invalid` for a draft of another store; as [`Engine::upgrade`].
    pub fn certificate(&self, draft: &Draft) -> Result<Certificate> {
        let missing = || {
            Error::new(
                ErrorKind::Absent,
                "this store's log has not the erase of the draft: it was not done, or the store was rolled back; erase again (`keyfall erase STORE -o CERT`, with what it named before, replaces the draft then)",
            )
        };
        let outcome = unheard(&self.inner);
        let facts = Facts { outcome, final_leaf: None, ..draft.facts.clone() };
        self.reissue(facts, (draft.index, None), None, (None, &missing))
    }

    fn reissue(
        &self,
        mut facts: Facts,
        (index, mut final_index): (u64, Option<u64>),
        discarded: Option<Discarded>,
        (signed, missing): (Option<&Certificate>, &dyn Fn() -> Error),
    ) -> Result<Certificate> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        // Until it is signed: an erase that was published meanwhile would add a leaf of which the cell said nothing yet.
        let mut writer = inner.writer();
        inner.check_usable()?;
        // The cell is asked again: what it says now covers every epoch before.
        let retirement = settle(inner, &mut writer)?;
        let pending = locked(&inner.awaiting).is_some();
        let state = inner.state();
        let pages = inner.pages();
        let page = log_page(&inner.view(&state, &pages))?;
        if facts.body.store != inner.id.to_string() {
            return Err(Error::invalid("this certificate is of another store; take that one"));
        }
        let judged = facts.judge()?;
        // What it says was seen must have been said by this store.
        signed.map(|signed| signed.check_signed(&judged, &page.origin)).transpose()?;
        let mut found = None;
        page.leaves(&pages, index, &mut |at, leaf| {
            if at == index {
                found = Some(leaf == judged.leaf.to_string().as_bytes());
            }
            Ok(std::ops::ControlFlow::Break(()))
        })?;
        if found != Some(true) {
            return Err(missing());
        }
        let mut ended = judged.final_leaf.or_else(|| Some(judged.leaf.clone()).filter(is_end));
        if ended.is_none() {
            page.leaves(&pages, index + 1, &mut |at, bytes| {
                let leaf: Leaf = String::from_utf8_lossy(bytes).parse()?;
                Ok(if leaf.epoch == judged.leaf.epoch && is_end(&leaf) {
                    facts.final_leaf = Some(lines_of(&leaf));
                    final_index = Some(at);
                    ended = Some(leaf);
                    std::ops::ControlFlow::Break(())
                } else {
                    std::ops::ControlFlow::Continue(())
                })
            })?;
        }
        if let Some(ended) = ended {
            let heard = heard(inner, &facts.body, &ended, Some(&retirement));
            facts.outcome.retired = heard.after(&facts.outcome.retired);
        }
        if let Some(discarded) = discarded.filter(|d| d.commit >= judged.leaf.commit) {
            let outcome = &mut facts.outcome;
            outcome.discarded |= discarded.complete();
            outcome.partly = !outcome.discarded;
            outcome.copies_skipped = if outcome.discarded { 0 } else { discarded.copies_skipped };
        }
        facts.outcome.issued = inner.options.env.now().to_string();
        let proof = prove(&page, &pages, index, pending)?;
        let final_proof = final_index.map(|index| prove(&page, &pages, index, pending)).transpose()?;
        Certificate::issue(facts, &signer(&page, &page.certificate_seed)?, proof, final_proof)
    }
}

fn is_end(leaf: &Leaf) -> bool {
    matches!(leaf.ends, Ends::Next { .. })
}
