//! The certificates of a commit that is complete or pending: what the cell said is added to what
//! was drafted. They are signed when their caller asks for it.

use std::sync::Arc;

use super::core::Core;
use crate::catalogue::leaf::Entered;
use crate::certificate::{self, Body, Certificate, Facts, Leaf, Retired};
use crate::error::Result;
use crate::log::{LogProof, Signer};
use crate::promise::Retirement;
use crate::secret::WipeStack;
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

/// A certificate that only lacks its signatures: they are made when they are asked for, so that no
/// erase waits for them.
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
    /// None that occurs: that it can be signed was seen before anything was erased.
    pub fn sign(&self) -> Result<Certificate> {
        let _wiped = WipeStack;
        let entered = &self.entered;
        let Some((log, certificates)) = &entered.seeds else { unreachable!("a certificate was asked for") };
        let origin = &entered.checkpoint.origin;
        let log = Signer::ed25519(origin, log.bytes())?;
        let checkpoint = if entered.pending {
            entered.checkpoint.sign_pending(&log)?
        } else {
            entered.checkpoint.sign(&log)?
        };
        let proof = LogProof { index: entered.index, path: entered.path.clone(), checkpoint };
        Certificate::issue(
            self.facts.clone(),
            &Signer::ed25519(origin, certificates.bytes())?,
            proof,
            None,
        )
    }
}
