//! Objects of which little lives: what lives in them is written once more by the engine, and then
//! they go.

use std::collections::HashSet;

use super::catalogue::{Catalogue, Listing};
use super::named::Object;
use super::naming::Naming;
use super::state::State;
use crate::ids::BlobName;
use crate::store::Sparse;

/// The live blobs of such objects.
pub(super) struct SparseObjects {
    naming: Naming,
    /// The newest commit when they were found.
    last: u64,
    names: HashSet<BlobName>,
    dead: u64,
}

impl SparseObjects {
    /// Those of a log whose tables were all read. What has an object of its own lives or not.
    pub(super) fn of(state: &State, naming: &Naming) -> Option<Self> {
        let all = state.catalogue.as_ref()?;
        let (mut names, mut dead) = (HashSet::new(), state.hidden);
        for (object, listing) in &all.objects {
            let is_kept = match object {
                Object::Numbered(number) => listing.is_claim || *number >= state.last,
                Object::Segment(_) => true,
                Object::Pack { .. } | Object::Stray { .. } => false,
            };
            let (lives, bytes) = filled(all, listing);
            dead += bytes - lives;
            // More than a tenth is dead.
            if !is_kept && lives * 10 < bytes * 9 {
                names.extend(live(all, listing).map(|(name, _)| *name));
            }
        }
        Some(SparseObjects { naming: naming.clone(), last: state.last, names, dead })
    }
}

/// The blobs of an object that were not struck.
fn live<'l>(
    all: &'l Catalogue,
    listing: &'l Listing,
) -> impl Iterator<Item = &'l (BlobName, u32)> + 'l {
    listing.blobs.iter().filter(|(name, _)| all.blobs.contains_key(name))
}

/// Bytes of the blobs of an object: of those that live, and of all.
fn filled(all: &Catalogue, listing: &Listing) -> (u64, u64) {
    let bytes = |some: &mut dyn Iterator<Item = &(BlobName, u32)>| -> u64 {
        some.map(|(_, len)| u64::from(*len)).sum()
    };
    (bytes(&mut live(all, listing)), bytes(&mut listing.blobs.iter()))
}

impl Sparse for SparseObjects {
    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn dead(&self) -> u64 {
        self.dead
    }

    fn holds(&self, name: &BlobName) -> bool {
        self.names.contains(name)
    }

    fn is_later(&self, name: &BlobName) -> bool {
        self.naming.hint(name).is_some_and(|hint| hint.at.number > self.last)
    }
}
