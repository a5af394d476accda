//! Every blob and every object of a log, as far as all tables were read.

use std::collections::BTreeMap;

use super::named::Object;
use crate::ids::BlobName;
use crate::store::Usage;

/// Every blob of a log.
#[derive(Default)]
pub(super) struct Catalogue {
    /// In how many objects each lies.
    pub(super) blobs: BTreeMap<BlobName, u32>,
    pub(super) objects: BTreeMap<Object, Listing>,
    /// Names of those whose tables cannot be read.
    pub(super) damaged: Vec<String>,
}

/// What one object holds.
pub(super) struct Listing {
    pub(super) blobs: Vec<(BlobName, u32)>,
    pub(super) size: u64,
    pub(super) is_claim: bool,
}

impl Catalogue {
    pub(super) fn enter(&mut self, object: Object, listing: Listing) {
        for (name, _) in &listing.blobs {
            *self.blobs.entry(*name).or_default() += 1;
        }
        self.objects.insert(object, listing);
    }

    /// Takes a blob out; the objects remain until they are deleted.
    pub(super) fn strike(&mut self, name: &BlobName) {
        self.blobs.remove(name);
    }

    /// Takes an object out that was deleted, and the blobs that lie in no other.
    pub(super) fn forget(&mut self, object: Object) {
        for (name, _) in self.objects.remove(&object).iter().flat_map(|listing| &listing.blobs) {
            if let Some(places) = self.blobs.get_mut(name) {
                *places -= 1;
                if *places == 0 {
                    self.blobs.remove(name);
                }
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let bytes = self.objects.values().map(|listing| listing.size).sum();
        Usage { blobs: self.blobs.len() as u64, bytes }
    }
}
