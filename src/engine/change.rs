//! A change on its way to the store.

use super::replica::Attached;
use crate::catalogue::change::Change;
use crate::cell::RootKey;
use crate::ids::BlobName;
use crate::observer::CommitKind;
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
    pub(super) about: About,
}

/// What an observer is told of a commit.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) kind: CommitKind,
    /// Requests that share it.
    pub(super) requests: usize,
    /// Records that are put.
    pub(super) records: usize,
    /// Bytes of their payloads.
    pub(super) bytes: u64,
}

impl About {
    /// Of so many requests of one kind.
    pub(super) fn of(kind: CommitKind, requests: usize) -> Self {
        About { kind, requests, records: 0, bytes: 0 }
    }
}

impl From<Change> for Commit {
    fn from(change: Change) -> Self {
        let about = About::of(CommitKind::Change, 1);
        Commit { change, staged: Vec::new(), root: None, attached: None, about }
    }
}

impl Commit {
    /// Of the head alone.
    pub(super) fn of_head(head: HeadPage) -> Self {
        Change::of_head(head).into()
    }

    /// What an observer is told of it: what begins an epoch and says nothing else does just that.
    pub(super) fn about(&self) -> About {
        match self.about.kind {
            CommitKind::Change if self.root.is_some() => About::of(CommitKind::Epoch, 1),
            _ => self.about,
        }
    }

    /// Bytes that go into the store with it.
    pub(super) fn written(&self) -> u64 {
        self.change.blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}
