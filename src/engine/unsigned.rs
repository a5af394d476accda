//! A certificate as an erase returns it: complete but for its signatures.

use std::sync::Arc;

use crate::catalogue::leaf::{Entered, Seeds};
use crate::certificate::{Certificate, Facts};
use crate::error::Result;
use crate::log::{LogProof, Signer};
use crate::secret::WipeStack;

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
