//! The state of a simulated index: it loses the updates since its last sync, and sometimes all of
//! itself.

use std::collections::BTreeMap;

use super::file::Loss;
use crate::ids::BlobName;
use crate::store::journal::{Location, Summary, Update};
use crate::testing::sim::rng::Rng;

/// An index that loses updates since its last sync, and sometimes all of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexFile {
    durable: IndexState,
    /// Not yet durable; `true`: dropped by a sync that failed, so that neither it nor what follows
    /// becomes durable.
    newer: Vec<(Change, bool)>,
    pub(super) cache: IndexState,
}

/// A change of an index.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Name(BlobName, Option<Location>),
    Update(Update),
}

impl IndexFile {
    pub(super) fn change(&mut self, change: Change) {
        self.cache.apply(&change);
        self.newer.push((change, false));
    }

    pub(super) fn change_names(
        &mut self,
        names: &[(BlobName, Option<Location>)],
    ) -> Vec<Option<Location>> {
        let before = names.iter().map(|(name, _)| self.cache.names.get(name).copied()).collect();
        names.iter().for_each(|(name, at)| self.change(Change::Name(*name, *at)));
        before
    }

    /// Makes durable what may be.
    pub(super) fn sync(&mut self) {
        let may = self.can_be_durable();
        for (update, _) in self.newer.drain(..may) {
            self.durable.apply(&update);
        }
    }

    /// A sync failed: reads see what it dropped, the medium never will.
    pub(super) fn drop_newer(&mut self) {
        self.newer.iter_mut().for_each(|(_, ghost)| *ghost = true);
    }

    /// A power cut: what was not synced is lost as `how` says.
    pub(super) fn lose(&mut self, how: Loss, rng: &mut Rng) {
        let may = self.can_be_durable();
        let keep = match how {
            Loss::Nothing => may,
            Loss::Everything => 0,
            _ => rng.below(may as u64 + 1) as usize,
        };
        let newer = std::mem::take(&mut self.newer);
        newer[..keep].iter().for_each(|(update, _)| self.durable.apply(update));
        // An index may be damaged altogether; it is then rebuilt.
        if how == Loss::Sectors && rng.below(8) == 0 {
            self.durable = IndexState::default();
        }
        self.cache = self.durable.clone();
    }

    /// How many of the newer changes may still become durable.
    fn can_be_durable(&self) -> usize {
        self.newer.iter().position(|(_, ghost)| *ghost).unwrap_or(self.newer.len())
    }
}

/// What an index says.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexState {
    pub(super) names: BTreeMap<BlobName, Location>,
    pub(super) summary: Summary,
}

impl IndexState {
    fn apply(&mut self, change: &Change) {
        let update = match change {
            Change::Name(name, at) => {
                match at {
                    Some(at) => self.names.insert(*name, *at),
                    None => self.names.remove(name),
                };
                return;
            }
            Change::Update(update) => update,
        };
        for name in &update.remove {
            self.names.remove(name);
        }
        self.summary.files.extend(update.files.iter().map(|(file, blobs)| (*file, blobs.clone())));
        self.summary.files.retain(|file, _| !update.gone.contains(file));
        self.summary.head = update.head.or(self.summary.head);
        self.summary.mark = update.mark.unwrap_or(self.summary.mark);
        self.summary.suspected = update.suspected.or(self.summary.suspected);
    }
}
