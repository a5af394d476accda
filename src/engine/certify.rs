//! Certificates: who asks for one says so with the erase, and gets it when that is complete. What it names is kept nowhere else.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use data_encoding::BASE64;

use super::log::{Entered, Place, signer};
use super::{Discarded, Engine, Inner, State, locked};
use crate::certificate::{
    ALGORITHMS, Body, CellFacts, Certificate, Copies, Destroyed, Draft, Ends, Facts, Kept, Leaf, METHOD, Outcome,
    Retired, Slot, VERIFICATION,
};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserId, UserTag};
use crate::limits::FORMAT;
use crate::log::{LogProof, Signer};
use crate::promise::Retirement;
use crate::scope::{Drafted, Erase, Request};
use crate::secret::WipeStack;
use crate::tree::head::CopyMode;
use crate::tree::user::UserPage;
use crate::tree::{Editor, grants::Grants};

/// What an erase took, for its certificate.
#[derive(Debug, Default)]
pub(super) struct Docket {
    user: Option<String>,
    records: Option<BTreeMap<String, u64>>,
    holds: u64,
    openings: Option<u64>,
    grants: Option<u64>,
    destroyed: Vec<Destroyed>,
}

impl Docket {
    /// Of a user of whom no page is known to be readable.
    pub(super) fn unread(erase: &Erase) -> Self {
        let user = match erase.scope() {
            crate::scope::Scope::User { user, .. } => Some(user.as_str().to_owned()),
            crate::scope::Scope::Record(_) => None,
        };
        Docket { user, ..Docket::default() }
    }

    /// Of a name that nobody has.
    pub(super) fn nothing(user: &UserId) -> Self {
        Docket {
            user: Some(user.as_str().to_owned()),
            records: Some(BTreeMap::new()),
            openings: Some(0),
            grants: Some(0),
            ..Docket::default()
        }
    }

    /// Of a user's page as it was before.
    pub(super) fn of(editor: &mut Editor<'_>, tag: UserTag, page: &mut UserPage) -> Result<Self> {
        Ok(Docket {
            user: Some(page.user.as_str().to_owned()),
            records: Some(BTreeMap::new()),
            holds: page.holds.all(editor.pages, tag)?.len() as u64,
            openings: Some(page.openings),
            grants: Some(page.grants.tree.count(editor, Grants::place(tag))?),
            destroyed: Vec::new(),
        })
    }

    pub(super) fn add_key(&mut self, what: &str, key: &Key) {
        self.destroyed.push(Destroyed::of(what, key.bytes()));
    }

    /// Where its pages could be read.
    pub(super) fn add_records(&mut self, counts: &[(Class, u64)]) {
        let Some(records) = &mut self.records else { return };
        for (class, n) in counts.iter().filter(|(_, n)| *n > 0) {
            *records.entry(class.as_str().to_owned()).or_default() += n;
        }
    }
}

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

/// A certificate in the making.
pub(super) struct Claim {
    body: Body,
    opening: [u8; 32],
    drafted: Option<Drafted>,
    /// Which of the erases of the commit it is for.
    of: usize,
}

impl Claim {
    pub(super) fn commitment(&self) -> crate::log::Hash {
        self.body.commitment(&self.opening)
    }

    fn facts(&self, (index, path): &Place, leaf: &Leaf, outcome: Outcome) -> Facts {
        Facts {
            body: self.body.clone(),
            opening: BASE64.encode(&self.opening),
            slot: Slot { index: *index, of: leaf.slots, path: path.iter().map(ToString::to_string).collect() },
            leaf: lines_of(leaf),
            outcome,
            final_leaf: None,
        }
    }
}

impl Inner {
    pub(super) fn claim(
        &self,
        state: &State,
        (of, erase, request): (usize, &Erase, &Request),
        docket: Docket,
        common: &Common,
    ) -> Result<Claim> {
        let mut opening = [0; 32];
        self.options.env.fill(&mut opening)?;
        let copies = |mode| state.head.copies.iter().filter(|copy| copy.mode == mode).count() as u64;
        let kept =
            |(class, reason): (&Class, &str)| Kept { class: class.as_str().to_owned(), reason: reason.to_owned() };
        let body = Body {
            engine: concat!("keyfall ", env!("CARGO_PKG_VERSION")).to_owned(),
            format: FORMAT,
            store: self.id.to_string(),
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
    fn unheard(&self) -> Outcome {
        Outcome {
            issued: self.options.env.now().to_string(),
            retired: Retired::Waiting,
            discarded: false,
            partly: false,
            copies_skipped: 0,
        }
    }

    /// What the cell says of the root key that `ended` ends, and said before.
    fn heard(&self, body: &Body, ended: &Leaf, retirement: Option<&Retirement>) -> Retired {
        let heard = body.cell.heard(&body.store, ended, retirement);
        if !matches!(heard, Retired::Stated(_)) {
            return heard;
        }
        let before = Retirement::Stated { statements: self.cell.remembered(), needed: 0 };
        heard.after(&body.cell.heard(&body.store, ended, Some(&before)))
    }

    /// Before a commit is published: sees that each of its certificates can be signed whatever the cell says, and hands drafts out. Gives the
    /// erases for which that failed: they must not be done.
    pub(super) fn draft(&self, claims: &[Claim], entered: &Entered) -> Vec<(usize, Error)> {
        let outcome = self.unheard();
        let draft = |(claim, place): (&Claim, &Place)| {
            let facts = claim.facts(place, &entered.leaf, outcome.clone());
            let checked = facts.check().map_err(|e| e.context("no certificate could be written; nothing was erased"));
            let kept = checked.and_then(|()| match &claim.drafted {
                Some(keep) => hand_out(keep, &Draft { index: entered.index, facts })
                    .map_err(|e| e.context("the draft of the certificate could not be kept; nothing was erased")),
                None => Ok(()),
            });
            kept.err().map(|e| (claim.of, e))
        };
        claims.iter().zip(&entered.places).filter_map(draft).collect()
    }

    /// The certificates of a commit that is complete or pending, to be signed.
    pub(super) fn issue(
        &self,
        claims: Vec<Claim>,
        mut entered: Entered,
        retirement: Option<&Retirement>,
    ) -> Vec<Unsigned> {
        entered.pending = locked(&self.awaiting).is_some();
        let heard = claims.first().map_or(Retired::Waiting, |claim| self.heard(&claim.body, &entered.leaf, retirement));
        let outcome = Outcome { retired: heard, ..self.unheard() };
        let places = std::mem::take(&mut entered.places);
        let entered = Arc::new(entered);
        let issue = |(claim, place): (Claim, Place)| Unsigned {
            facts: claim.facts(&place, &entered.leaf, outcome.clone()),
            entered: Arc::clone(&entered),
        };
        claims.into_iter().zip(places).map(issue).collect()
    }
}

/// A certificate that only lacks its signatures: they are made when they are asked for, so that no erase waits for them.
#[derive(Clone)]
pub struct Unsigned {
    facts: Facts,
    entered: Arc<Entered>,
}

impl std::fmt::Debug for Unsigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsigned").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl PartialEq for Unsigned {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts
    }
}

impl Eq for Unsigned {}

impl Unsigned {
    /// Signs it, and the checkpoint under which its leaf is.
    ///
    /// # Errors
    /// None: that it can be signed was seen before anything was erased.
    pub fn sign(&self) -> Result<Certificate> {
        let _wiped = WipeStack;
        let entered = &self.entered;
        let Some((log, certificates)) = &entered.seeds else { unreachable!("it was claimed") };
        let origin = &entered.checkpoint.origin;
        let log = Signer::ed25519(origin, log.bytes())?;
        let checkpoint =
            if entered.pending { entered.checkpoint.sign_pending(&log)? } else { entered.checkpoint.sign(&log)? };
        let proof = LogProof { index: entered.index, path: entered.path.clone(), checkpoint };
        Certificate::issue(self.facts.clone(), &Signer::ed25519(origin, certificates.bytes())?, proof, None)
    }
}

/// Hands a draft out. The callback is one erase's, and others may share the commit: where it panics they are done all the same.
fn hand_out(Drafted(keep): &Drafted, draft: &Draft) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| keep(draft))).unwrap_or_else(|_| {
        Err(Error::invalid("the callback that was to keep it panicked; correct that and erase again"))
    })
}

fn lines_of(leaf: &Leaf) -> Vec<String> {
    leaf.to_string().lines().map(str::to_owned).collect()
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
                "this store's log has not the erase of the draft: it was not done, or the store was rolled back; erase again what it named; a draft of that erase replaces this one",
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
        let inner = &self.inner;
        // Until it is signed: an erase that was published meanwhile would add a leaf of which the cell said nothing yet.
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
        let final_proof = final_index.map(|index| inner.prove(&page, index, pending)).transpose()?;
        Certificate::issue(facts, &signer(&page, &page.certificate_seed)?, proof, final_proof)
    }
}

fn is_end(leaf: &Leaf) -> bool {
    matches!(leaf.ends, Ends::Next { .. })
}
