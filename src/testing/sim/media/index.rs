//! The index of a blob log, on the simulated disk.

use std::path::{Path, PathBuf};

use super::disk::{Medium, SimDisk};
use super::gate::Touch;
use super::index_state::{Change, IndexFile};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::journal::{Index, Location, Summary, Update};

/// An index on the simulated disk, with the contract of `store::journal::Index` and nothing more.
pub(super) struct SimIndex {
    disk: SimDisk,
    path: PathBuf,
}

impl SimIndex {
    pub(super) fn open(disk: &SimDisk, path: &Path) -> Self {
        disk.medium().indexes.entry(path.to_owned()).or_default();
        SimIndex { disk: disk.clone(), path: path.to_owned() }
    }

    fn pass<T>(&self, touch: Touch, act: impl FnOnce(&mut IndexFile) -> T) -> Result<T> {
        self.pass_half(touch, act, |_| {})
    }

    fn pass_half<T>(
        &self,
        touch: Touch,
        act: impl FnOnce(&mut IndexFile) -> T,
        half: impl FnOnce(&mut IndexFile),
    ) -> Result<T> {
        let act =
            |medium: &mut Medium| Ok(act(medium.indexes.entry(self.path.clone()).or_default()));
        let half = |medium: &mut Medium| half(medium.indexes.entry(self.path.clone()).or_default());
        self.disk.pass(touch, act, half).map_err(|e| Error::io(self.path.display(), e))
    }
}

impl Index for SimIndex {
    fn get(&self, name: &BlobName) -> Result<Option<Location>> {
        self.pass(Touch::Read, |index| index.cache.names.get(name).copied())
    }

    fn summary(&self) -> Result<Summary> {
        self.pass(Touch::Read, |index| index.cache.summary.clone())
    }

    fn change(&self, names: &[(BlobName, Option<Location>)]) -> Result<Vec<Option<Location>>> {
        let half = |index: &mut IndexFile| drop(index.change_names(&names[..names.len() / 2]));
        self.pass_half(Touch::Write, |index| index.change_names(names), half)
    }

    fn apply(&self, update: &Update) -> Result<()> {
        self.pass(Touch::Write, |index| index.change(Change::Update(update.clone())))
    }

    fn sync(&self) -> Result<()> {
        let synced = self.pass(Touch::Sync, IndexFile::sync);
        if let Err(e) = &synced
            && !self.disk.is_off()
            && e.kind() != ErrorKind::Full
            && let Some(index) = self.disk.medium().indexes.get_mut(&self.path)
        {
            index.drop_newer();
        }
        synced
    }
}
