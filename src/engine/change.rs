//! A change on its way to the store.

use super::replica::Attached;
use crate::catalogue::change::Change;
use crate::cell::RootKey;
use crate::ids::BlobName;
use crate::tree::head::HeadPage;

/// A change, and what the engine adds to it to publish it.
pub(super) struct Commit {
    pub(super) change: Change,
    /// Payload segments put before, which this commit makes live.
    pub(super) staged: Vec<BlobName>,
    /// The next epoch's root key, when something is erased.
    pub(super) root: Option<RootKey>,
    /// A copy that the head lists for the first time, open.
    pub(super) attached: Option<Attached>,
}

impl From<Change> for Commit {
    fn from(change: Change) -> Self {
        Commit { change, staged: Vec::new(), root: None, attached: None }
    }
}

impl Commit {
    /// Of the head alone.
    pub(super) fn of_head(head: HeadPage) -> Self {
        Change::of_head(head).into()
    }
}
