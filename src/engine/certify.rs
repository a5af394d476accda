//! Certificates: who asks for one says so with the erase, and gets it when that is complete. What it names is kept nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64;

use super::log::{Entered, Place, signer};
use super::{Engine, Inner, State};
use crate::certificate::{
    ALGORITHMS, Body, CellFacts, Certificate, Copies, Destroyed, Ends, Facts, Kept, Leaf, METHOD, Outcome, Retired,
    Slot, VERIFICATION,
};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserId, UserTag};
use crate::limits::FORMAT;
use crate::log::{LogProof, Signer};
use crate::promise::Retirement;
use crate::scope::{Erase, Request};
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
}

impl Claim {
    pub(super) fn commitment(&self) -> crate::log::Hash {
        self.body.commitment(&self.opening)
    }
}

impl Inner {
    pub(super) fn claim(
        &self,
        state: &State,
        (erase, request): (&Erase, &Request),
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
        Ok(Claim { body, opening })
    }

    /// The certificates of a commit that is complete or pending, to be signed.
    pub(super) fn issue(
        &self,
        claims: Vec<Claim>,
        mut entered: Entered,
        retirement: Option<&Retirement>,
    ) -> Vec<Unsigned> {
        let lines = lines_of(&entered.leaf);
        let outcome = Outcome {
            issued: self.options.env.now().to_string(),
            retired: Retired::from(retirement),
            discarded: false,
        };
        let places = std::mem::take(&mut entered.places);
        let entered = Arc::new(entered);
        let issue = |(Claim { body, opening }, (index, path)): (Claim, Place)| {
            let slot = Slot { index, of: entered.leaf.slots, path: path.iter().map(ToString::to_string).collect() };
            let facts = Facts {
                body,
                opening: BASE64.encode(&opening),
                slot,
                leaf: lines.clone(),
                outcome: outcome.clone(),
                final_leaf: None,
            };
            Unsigned { facts, entered: Arc::clone(&entered) }
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
    /// None that occurs: what the engine puts together does not contradict itself.
    pub fn sign(&self) -> Result<Certificate> {
        let _wiped = WipeStack;
        let entered = &self.entered;
        let Some((log, certificates)) = &entered.seeds else { unreachable!("it was claimed") };
        let origin = &entered.checkpoint.origin;
        let checkpoint = entered.checkpoint.sign(&Signer::ed25519(origin, log.bytes())?)?;
        let proof = LogProof { index: entered.index, path: entered.path.clone(), checkpoint };
        Certificate::issue(self.facts.clone(), &Signer::ed25519(origin, certificates.bytes())?, proof, None)
    }
}

fn lines_of(leaf: &Leaf) -> Vec<String> {
    leaf.to_string().lines().map(str::to_owned).collect()
}

impl Engine {
    /// Issues a certificate of this store anew, with what happened since: a pending erase that became final, statements of keyholders that
    /// came later, a checkpoint of the log as it is now. `discarded` is a discard that ran behind the erase, if one did.
    ///
    /// # Errors
    /// `Invalid` for a certificate of another store; `Corrupt` for one that does not hold, or that this store's log has not; as
    /// [`Engine::checkpoint`].
    pub fn upgrade(&self, certificate: &Certificate, discarded: Option<super::Discarded>) -> Result<Certificate> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let retirement = {
            let mut writer = inner.writer();
            inner.check_usable()?;
            // The cell is asked anew: what it says now covers every epoch before.
            inner.settle(&mut writer)?
        };
        let state = inner.state();
        let pages = inner.pages();
        let page = inner.log_page(&state, &pages)?;
        if certificate.facts.body.store != inner.id.to_string() {
            return Err(Error::invalid("this certificate is of another store; upgrade it with that one"));
        }
        let judged = certificate.facts.judge()?;
        let index = certificate.proof.index;
        let mut found = None;
        page.leaves(&pages, index, &mut |at, leaf| {
            if at == index {
                found = Some(leaf == judged.leaf.to_string().as_bytes());
            }
            Ok(std::ops::ControlFlow::Break(()))
        })?;
        if found != Some(true) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "this store's log has not the leaf of the certificate: the store was rolled back, or the certificate is forged; keep both",
            ));
        }
        let mut facts = certificate.facts.clone();
        let mut final_index = None;
        if facts.final_leaf.is_none() && matches!(judged.leaf.ends, Ends::Until(_)) {
            page.leaves(&pages, index + 1, &mut |at, bytes| {
                let leaf: Leaf = String::from_utf8_lossy(bytes).parse()?;
                Ok(if leaf.epoch == judged.leaf.epoch && matches!(leaf.ends, Ends::Next { .. }) {
                    facts.final_leaf = Some(lines_of(&leaf));
                    final_index = Some(at);
                    std::ops::ControlFlow::Break(())
                } else {
                    std::ops::ControlFlow::Continue(())
                })
            })?;
        } else {
            final_index = certificate.final_proof.as_ref().map(|proof| proof.index);
        }
        if facts.final_leaf.is_some() || matches!(judged.leaf.ends, Ends::Next { .. }) {
            facts.outcome.retired = facts.later(Retired::from(Some(&retirement)));
        }
        facts.outcome.discarded |= discarded.is_some_and(|d| d.commit >= judged.leaf.commit);
        facts.outcome.issued = inner.options.env.now().to_string();
        let proof = inner.prove(&page, index)?;
        let final_proof = final_index.map(|index| inner.prove(&page, index)).transpose()?;
        Certificate::issue(facts, &signer(&page, &page.certificate_seed)?, proof, final_proof)
    }
}
