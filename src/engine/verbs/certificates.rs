//! Certificates that are issued again: of a draft, or with what happened since.

use std::sync::Arc;

use crate::catalogue::leaf::{log_page, prove, signer};
use crate::certificate::{Certificate, Draft, Ends, Facts, Leaf};
use crate::engine::core::Core;
use crate::engine::draft::{lines_of, unheard};
use crate::engine::issue::heard;
use crate::engine::retire::settle;
use crate::engine::verbs::discard::Discarded;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::WipeStack;
use crate::sync::locked;

/// Certificates issued again ([`Engine::certificates`](crate::Engine::certificates)).
#[derive(Clone, Copy, Debug)]
pub struct Certificates<'e> {
    pub(super) inner: &'e Arc<Core>,
}

/// A certificate, or a draft of one, that is issued again.
struct Reissue<'a> {
    facts: Facts,
    /// Index of its leaf in the log.
    index: u64,
    /// Index of the leaf that made its erase final, if another leaf did.
    final_index: Option<u64>,
    /// The certificate as it was signed.
    signed: Option<&'a Certificate>,
}

impl Certificates<'_> {
    /// Issues a certificate of this store again, with what happened since: a pending erase that
    /// became final, statements of keyholders that came later, a checkpoint of the log as it is
    /// now. `discarded` is a discard that ran after the erase, if one did.
    ///
    /// # Errors
    /// `Invalid` for a certificate of another store; `Corrupt` for one that does not hold, or that
    /// this store's log has not; `Fenced` for a read-only engine, which cannot ask the cell;
    /// as [`Engine::erase`](crate::Engine::erase), if an erase before is not complete.
    pub fn upgrade(
        &self,
        certificate: &Certificate,
        discarded: Option<Discarded>,
    ) -> Result<Certificate> {
        let index = certificate.proof.index;
        let final_index = certificate.final_proof.as_ref().map(|proof| proof.index);
        let missing = || {
            Error::new(
                ErrorKind::Corrupt,
                "this store's log does not have the leaf of the certificate: the store was rolled back, \
                 or the certificate is forged; keep both",
            )
        };
        self.reissue(
            Reissue {
                facts: certificate.facts.clone(),
                index,
                final_index,
                signed: Some(certificate),
            },
            discarded,
            &missing,
        )
    }

    /// The certificate of a draft ([`Erase::drafted`](crate::Erase::drafted)), if its erase was
    /// done: also after a crash, and as often as wanted.
    ///
    /// # Errors
    /// `Absent` if this store's log has no such erase; `Invalid` for a draft of another store;
    /// as [`Certificates::upgrade`](crate::engine::Certificates::upgrade).
    pub fn get(&self, draft: &Draft) -> Result<Certificate> {
        let missing = || {
            Error::new(
                ErrorKind::Absent,
                "this store's log does not have the erase of the draft: it was not done, or the store was rolled back; erase again what it named; a draft of that erase replaces this one",
            )
        };
        let outcome = unheard(self.inner);
        let facts = Facts { outcome, final_leaf: None, ..draft.facts.clone() };
        let index = draft.index;
        self.reissue(Reissue { facts, index, final_index: None, signed: None }, None, &missing)
    }

    fn reissue(
        &self,
        what: Reissue<'_>,
        discarded: Option<Discarded>,
        missing: &dyn Fn() -> Error,
    ) -> Result<Certificate> {
        let Reissue { mut facts, index, mut final_index, signed } = what;
        let _wiped = WipeStack;
        let inner = self.inner;
        // Until it is signed: an erase that was published meanwhile would add a leaf of which the
        // cell said nothing yet.
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
        let final_proof =
            final_index.map(|index| prove(&page, &pages, index, pending)).transpose()?;
        Certificate::issue(facts, &signer(&page, &page.certificate_seed)?, proof, final_proof)
    }
}

fn is_end(leaf: &Leaf) -> bool {
    matches!(leaf.ends, Ends::Next { .. })
}
