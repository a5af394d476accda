//! What is wrong on purpose in a run.

use super::media::disk::Unsynced;
use crate::cell::defect::CellDefect;
use crate::engine::Defect;

/// Defects to plant, so that the judges are seen to catch them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// A defect of the engine.
    pub engine: Option<Defect>,
    /// A sync that the media leave out.
    pub unsynced: Option<Unsynced>,
    /// A defect of the cell.
    pub cell: Option<CellDefect>,
}
