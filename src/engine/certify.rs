//! Certificates: who asks for one says so with the erase, and gets it when that is complete. What it names is kept nowhere else.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use data_encoding::BASE64;

use super::log::{Entered, Place};
use super::{Inner, State, locked};
use crate::certificate::{
    ALGORITHMS, Body, CellFacts, Certificate, Copies, Destroyed, Draft, Facts, Kept, Leaf, METHOD, Outcome, Retired,
    Slot, VERIFICATION,
};
use crate::crypto::Key;
use crate::error::{Error, Result};
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
    pub(super) fn unheard(&self) -> Outcome {
        Outcome {
            issued: self.options.env.now().to_string(),
            retired: Retired::Waiting,
            discarded: false,
            partly: false,
            copies_skipped: 0,
        }
    }

    /// What the cell says of the root key that `ended` ends, and said before.
    pub(super) fn heard(&self, body: &Body, ended: &Leaf, retirement: Option<&Retirement>) -> Retired {
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

pub(super) fn lines_of(leaf: &Leaf) -> Vec<String> {
    leaf.to_string().lines().map(str::to_owned).collect()
}
