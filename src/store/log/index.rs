//! What the log asks of its index: a map from names to places.

use std::collections::BTreeMap;

use super::frames::{Location, Position};
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::HeadId;

/// One change of an index, applied whole or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) remove: Vec<BlobName>,
    /// Live blobs in these files of the log.
    pub(crate) live: BTreeMap<u32, u64>,
    pub(crate) head: Option<(HeadId, Location)>,
    pub(crate) mark: Option<Position>,
}

/// What an index knows beside names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Up to where the log is indexed.
    pub(crate) mark: Position,
    pub(crate) head: Option<(HeadId, Location)>,
    /// Live blobs in each file of the log.
    pub(crate) live: BTreeMap<u32, u64>,
}

/// An index. It may lose updates since the last `sync`, but only the newest of them; nothing in it is the only copy.
pub(crate) trait Index: Send + Sync {
    fn get(&self, name: &BlobName) -> Result<Option<Location>>;
    /// At most `limit` names from `from` on, in order.
    fn names(&self, from: &BlobName, limit: usize) -> Result<Vec<BlobName>>;
    fn summary(&self) -> Result<Summary>;
    /// Puts names in, one after another, and says where each was before. A crash may come between two of them.
    fn insert(&self, names: &[(BlobName, Location)]) -> Result<Vec<Option<Location>>>;
    fn apply(&self, update: &Update) -> Result<()>;
    /// Makes every update durable.
    fn sync(&self) -> Result<()>;
}
