//! What is wrong on purpose in a run.

use super::media::disk::Unsynced;
use crate::cell::CellDefect;
use crate::engine::Defect;

/// A defect to plant, so that the judges are seen to catch it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// In the engine.
    pub engine: Option<Defect>,
    /// In the media.
    pub unsynced: Option<Unsynced>,
    /// In the cell.
    pub cell: Option<CellDefect>,
}
