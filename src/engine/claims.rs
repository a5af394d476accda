//! Certificates in the making: what an erase asked for, and what only lacks its signatures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use data_encoding::BASE64;

use crate::catalogue::leaf::{Entered, Seat, Seeds};
use crate::certificate::{
    Body, CellFacts, Certificate, Destroyed, Draft, Facts, Leaf, Outcome, Slot,
};
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::log::{Hash, LogProof, Signer};
use crate::scope::Drafted;
use crate::secret::WipeStack;

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
    pub(super) body: Body,
    pub(super) opening: [u8; 32],
    pub(super) drafted: Option<Drafted>,
    /// Which of the erases of the commit it is for.
    pub(super) of: usize,
}

impl Claim {
    pub(super) fn commitment(&self) -> Hash {
        self.body.commitment(&self.opening)
    }

    pub(super) fn facts(&self, seat: &Seat, leaf: &Leaf, outcome: Outcome) -> Facts {
        let path = seat.path.iter().map(ToString::to_string).collect();
        Facts {
            body: self.body.clone(),
            opening: BASE64.encode(&self.opening),
            slot: Slot { index: seat.index, of: leaf.slots, path },
            leaf: lines_of(leaf),
            outcome,
            final_leaf: None,
        }
    }
}

/// A certificate that only lacks its signatures: they are made when they are asked for, so that no
/// erase waits for them.
#[derive(Clone)]
pub struct Unsigned {
    pub(super) facts: Facts,
    pub(super) entered: Arc<Entered>,
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
        let Seeds { checkpoints, certificates } = &entered.seeds;
        let origin = &entered.checkpoint.origin;
        let log = Signer::ed25519(origin, checkpoints.bytes())?;
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

/// Hands a draft out. The callback is one erase's, and others may share the commit: where it panics
/// they are done all the same.
pub(super) fn hand_out(drafted: &Drafted, draft: &Draft) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| (drafted.0)(draft))).unwrap_or_else(|_| {
        Err(Error::invalid(
            "the callback that was to keep it panicked; correct that and erase again",
        ))
    })
}

pub(super) fn lines_of(leaf: &Leaf) -> Vec<String> {
    leaf.to_string().lines().map(str::to_owned).collect()
}
