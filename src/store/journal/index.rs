//! What the journal asks of its index: a map from names to places, for the blobs whose names do not
//! say it, and what the files hold.

use std::collections::BTreeMap;

use super::frame::{Location, Position};
use super::tally::Blobs;
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::HeadId;

/// One change of an index, applied whole or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) remove: Vec<BlobName>,
    /// What these files of the journal hold.
    pub(crate) files: BTreeMap<u32, Blobs>,
    /// Files that are there no more.
    pub(crate) gone: Vec<u32>,
    pub(crate) head: Option<(HeadId, Location)>,
    pub(crate) mark: Option<Position>,
    /// About how many bytes of the journal died that nothing has counted yet.
    pub(crate) suspected: Option<u64>,
}

/// What an index knows beside names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Up to where the journal is indexed.
    pub(crate) mark: Position,
    pub(crate) head: Option<(HeadId, Location)>,
    /// What each file of the journal holds.
    pub(crate) files: BTreeMap<u32, Blobs>,
    /// Up to where the journal was synced, if that is known to be further than the index knows it.
    pub(crate) synced: Position,
    /// About how many bytes of the journal died that nothing has counted yet, if it knows.
    pub(crate) suspected: Option<u64>,
}

/// An index. It may lose updates since the last `sync`, but only the newest of them; nothing in it
/// is the only copy.
pub(crate) trait Index: Send + Sync {
    fn get(&self, name: &BlobName) -> Result<Option<Location>>;
    fn summary(&self) -> Result<Summary>;
    /// Puts names in, takes those without a place out, in whatever order, and says where each was
    /// before. A crash may come between two of them.
    fn change(&self, names: &[(BlobName, Option<Location>)]) -> Result<Vec<Option<Location>>>;
    fn apply(&self, update: &Update) -> Result<()>;
    /// Makes every update durable.
    fn sync(&self) -> Result<()>;
}
