//! Where a blob gets its name: `crypto::Fresh` draws one, and the store may return another, in
//! which it says where the blob will lie. Pages are named as they are sealed (`sealer`), the
//! payload of a short record with its commit (`edit`), the first segment of a long one as it is
//! written (`engine/stage.rs`); further segments have names that come from the record's secret.

use crate::ids::BlobName;
use crate::pages::SharedStore;
use crate::store::Ahead;

/// A store's say in the names of blobs.
pub(crate) trait BlobNaming {
    /// A name for a blob of `len` bytes with `ahead` before it; `drawn` is fresh.
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName;
}

impl BlobNaming for SharedStore {
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        (**self).name(drawn, ahead, len)
    }
}
