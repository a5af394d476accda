//! Certificates that are issued again: of a draft, or with what happened since.

use std::sync::Arc;

use crate::certificate::{Certificate, Draft, Ends, Facts, Leaf};
use crate::engine::certify::lines_of;
use crate::engine::log::signer;
use crate::engine::verbs::discard::Discarded;
use crate::engine::{Inner, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::WipeStack;

/// Certificates issued again ([`Engine::certificates`](crate::Engine::certificates)).
#[derive(Clone, Copy, Debug)]
pub struct Certificates<'e> {
    pub(super) inner: &'e Arc<Inner>,
}

impl Certificates<'_> {
    /// Issues a certificate of this store again, with what happened since: a pending erase that
    /// became final, statements of keyholders that came later, a checkpoint of the log as it is
    /// now. `discarded` is a discard that ran after the erase, if one did.
    ///
    /// # Errors
    /// `Invalid` for a certificate of another store; `Corrupt` for one that does not hold, or that
    /// this store's log has not; `Fenced` for an engine that only looks, which cannot ask the cell;
    /// as [`Engine::erase`](crate::Engine::erase), where an erase before is not complete.
    pub fn upgrade(
        &self,
        certificate: &Certificate,
        discarded: Option<Discarded>,
    ) -> Result<Certificate> {
        let indexes =
            (certificate.proof.index, certificate.final_proof.as_ref().map(|proof| proof.index));
        let missing = || {
            Error::new(
                ErrorKind::Corrupt,
                "this store's log has not the leaf of the certificate: the store was rolled back, \
                 or the certificate is forged; keep both",
            )
        };
        self.reissue(certificate.facts.clone(), indexes, discarded, (Some(certificate), &missing))
    }

    /// The certificate of a draft ([`Erase::drafted`]), where its erase was done: also after a
    /// crash, and as often as wanted.
    ///
    /// # Errors
    /// `Absent` where this store's log has no such erase; `Invalid` for a draft of another store;
    /// as [`Certificates::upgrade`](crate::engine::Certificates::upgrade).
    pub fn get(&self, draft: &Draft) -> Result<Certificate> {
        let missing = || {
            Error::new(
                ErrorKind::Absent,
                "this store's log has not the erase of the draft: it was not done, or the store \
                 was rolled back; erase again (`keyfall erase STORE -o CERT`, with what it named \
                 before, replaces the draft then)",
            )
        };
        let outcome = self.inner.unheard();
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
        let inner = self.inner;
        // Until it is signed: an erase that was published meanwhile would add a leaf of which the
        // cell said nothing yet.
        let mut writer = inner.writer();
        inner.check_usable()?;
        // The cell is asked again: what it says now covers every epoch before.
        let retirement = inner.settle(&mut writer)?;
        let pending = locked(&inner.awaiting).is_some();
        let state = inner.state();
        let pages = inner.pages();
        let page = inner.log_page(&state, &pages)?;
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
            let heard = inner.heard(&facts.body, &ended, Some(&retirement));
            facts.outcome.retired = heard.after(&facts.outcome.retired);
        }
        if let Some(discarded) = discarded.filter(|d| d.commit >= judged.leaf.commit) {
            let outcome = &mut facts.outcome;
            outcome.discarded |= discarded.complete();
            outcome.partly = !outcome.discarded;
            outcome.copies_skipped = if outcome.discarded { 0 } else { discarded.copies_skipped };
        }
        facts.outcome.issued = inner.options.env.now().to_string();
        let proof = inner.prove(&page, index, pending)?;
        let final_proof =
            final_index.map(|index| inner.prove(&page, index, pending)).transpose()?;
        Certificate::issue(facts, &signer(&page, &page.certificate_seed)?, proof, final_proof)
    }
}

fn is_end(leaf: &Leaf) -> bool {
    matches!(leaf.ends, Ends::Next { .. })
}
