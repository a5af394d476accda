//! Slots with a defect, and slots as a snapshot of a machine keeps them: for tests.

use std::sync::Arc;

use super::RootId;
use super::sector::Source;
use super::slots::Slots;
use crate::error::Result;
#[cfg(feature = "keyholders")]
use crate::promise::Fence;

/// Ways to break a cell's slots; tests must turn red under each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellDefect {
    /// Whoever asks is the owner.
    AnyOwner,
    /// The key that stands ready is taken for deposited without a look.
    ReadyFromMemory,
    /// A keyholder's fence is the newest tombstone among its slots, which the next deposit writes over; and it knows no owner.
    FenceInTombstone,
    /// A quorum destroys the old shares when `threshold` hold the new ones, with no margin.
    NoMargin,
}

impl Slots {
    pub(crate) fn broken(mut self, defect: Option<CellDefect>) -> Self {
        self.defect = defect;
        self
    }

    pub(super) fn has(&self, defect: CellDefect) -> bool {
        self.defect == Some(defect)
    }

    /// The same slots, with what this process remembers of them: what a snapshot of the machine keeps.
    pub(crate) fn twin(&self) -> Self {
        let twin = Slots::new(Arc::clone(&self.disk), &self.dir, Arc::clone(&self.env), self.names);
        *twin.handle() = *self.handle();
        twin.broken(self.defect)
    }

    /// As [`super::RootCell::ready`], one slot after the other.
    pub(crate) fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        if self.has(CellDefect::ReadyFromMemory) {
            return Ok(true);
        }
        let live = (0..self.names.len()).map(|slot| self.live_in(slot)).collect::<Result<Vec<_>>>()?;
        self.saw(&live, keep, next)
    }

    /// Whether this process acts for the owner that is recorded.
    pub(crate) fn is_owners(&self) -> bool {
        let recorded = self.claims.read(Source::Medium).ok().and_then(|claim| claim.owner);
        recorded.is_some() && recorded == self.handle().owner
    }

    #[cfg(feature = "keyholders")]
    pub(super) fn newest_tombstone(&self) -> Result<Fence> {
        let slots = self.all(Source::Medium)?;
        let ended = slots.iter().filter(|slot| slot.live().is_none()).filter_map(super::slots::Slot::id).max();
        Ok(ended.map_or(Fence::NONE, Fence))
    }
}
