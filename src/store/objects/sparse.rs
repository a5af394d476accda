//! Objects of which little lives: what lives in them is written once more by the engine, and then
//! they go.

use std::collections::HashSet;

use super::give::{DENSE, is_worth};
use super::live::Weight;
use super::named::Object;
use super::naming::Naming;
use super::state::State;
use crate::ids::BlobName;
use crate::store::{Packing, Sparse};

/// The live blobs of such objects.
pub(super) struct SparseObjects {
    naming: Naming,
    /// The newest commit when they were found.
    last: u64,
    /// Numbers and chunks, 0 for a commit that is the only chunk of its number.
    chunks: HashSet<(u64, u8)>,
    dead: u64,
}

impl SparseObjects {
    /// Those of a log that was surveyed. With a `packing`, none where that is not worth it yet.
    pub(super) fn of(state: &State, naming: &Naming, packing: Option<Packing>) -> Self {
        let newest = Object::Numbered(state.last);
        let weight = state.live.as_ref().map(|live| live.weigh(newest)).unwrap_or_default();
        let Weight { over, dead, .. } = weight;
        let dead = dead + over + state.hidden + state.unknown + state.refused.values().sum::<u64>();
        let mut chunks = HashSet::new();
        let part = packing.map_or(DENSE, super::give::part);
        if packing.is_none_or(|packing| is_worth(weight.dead, weight.lives, packing)) {
            let objects = state.live.iter().flat_map(|live| live.objects());
            let sparse = objects
                .filter(|(object, held)| **object != newest && held.is_sparse(state.end_len, part));
            chunks.extend(sparse.filter_map(|(object, _)| match object {
                Object::Numbered(number) => {
                    let chunk = state.live.as_ref().and_then(|live| live.chunk_of(*number));
                    Some((*number, chunk.unwrap_or(0)))
                }
                Object::Pack { number, chunk } => Some((*number, *chunk)),
                // These have names that say nothing, and move as they are.
                Object::Stray { .. } | Object::Segment(_) => None,
            }));
        }
        SparseObjects { naming: naming.clone(), last: state.last, chunks, dead }
    }
}

impl Sparse for SparseObjects {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn dead(&self) -> u64 {
        self.dead
    }

    fn holds(&self, name: &BlobName) -> bool {
        self.naming.hint(name).is_some_and(|hint| {
            let number = hint.at.number;
            self.chunks.contains(&(number, hint.at.chunk)) || self.chunks.contains(&(number, 0))
        })
    }

    fn is_later(&self, name: &BlobName) -> bool {
        self.naming.hint(name).is_some_and(|hint| hint.at.number > self.last)
    }
}
