//! A change of the tree, sealed: pages under fresh keys, ready for the engine to publish.

use std::collections::{HashMap, VecDeque};

use super::span::Span;
use crate::ids::{BlobName, RecordId};
use crate::pages::Made;
use crate::store::Blob;
use crate::tree::head::HeadPage;

/// Records, and the sources that each was cut from.
pub(crate) type Cuts = HashMap<RecordId, Vec<RecordId>>;

/// A change whose new pages are sealed and ready to commit.
pub(crate) struct Change {
    pub(crate) head: HeadPage,
    pub(crate) blobs: Vec<Blob>,
    /// New pages for the cache: the next change begins with them.
    pub(crate) made: VecDeque<Made>,
    /// Pages that the change replaces.
    pub(crate) replaced: Vec<BlobName>,
    /// Records that are put.
    pub(crate) put: Vec<RecordId>,
    /// What is erased: its readers are closed and its pages leave the cache.
    pub(crate) erased: Vec<Span>,
    /// What is detached, and from what: its readers stay open when that is erased.
    pub(crate) cuts: Cuts,
}

impl Change {
    /// A change of the head alone.
    pub(crate) fn of_head(head: HeadPage) -> Self {
        Change {
            head,
            blobs: Vec::new(),
            made: VecDeque::new(),
            replaced: Vec::new(),
            put: Vec::new(),
            erased: Vec::new(),
            cuts: Cuts::new(),
        }
    }
}
