//! A simulated disk: files whose writes are not durable before a sync, and that a power cut loses,
//! keeps, tears or takes in another order, sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::file::{Dirty, File, Loss};
use super::gate::{Fault, Gate, Touch, Verdict, no_power};
use super::index_state::IndexFile;
use crate::disk::{Disk, DiskFile, How};
use crate::testing::lock::locked;
use crate::testing::sim::rng::Rng;

/// Syncs that a defect leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// The syncs of the blob log.
    Log,
    /// The syncs of the root cell.
    Cell,
    /// The syncs of directories.
    Names,
}

/// What lies on a disk, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    files: BTreeMap<PathBuf, File>,
    pub(super) indexes: BTreeMap<PathBuf, IndexFile>,
}

/// What was on a disk below one directory.
#[derive(Clone, Debug, Default)]
pub struct Saved(Medium);

struct Shared {
    medium: Mutex<Medium>,
    gate: Arc<Gate>,
    unsynced: Option<Unsynced>,
}

/// The disk; its clones are one disk.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Shared>);

impl SimDisk {
    pub(super) fn new(gate: Arc<Gate>, unsynced: Option<Unsynced>) -> Self {
        SimDisk(Arc::new(Shared { medium: Mutex::default(), gate, unsynced }))
    }

    pub(super) fn medium(&self) -> MutexGuard<'_, Medium> {
        locked(&self.0.medium)
    }

    /// Whether the machine is without power.
    pub(super) fn is_off(&self) -> bool {
        self.0.gate.is_off()
    }

    fn leaves_out(&self, path: &Path) -> bool {
        match self.0.unsynced {
            Some(Unsynced::Log) => path.extension().is_some_and(|e| e == "log"),
            Some(Unsynced::Cell) => path.starts_with("/cell"),
            Some(Unsynced::Names) | None => false,
        }
    }

    /// Runs an operation that fails or not, as the gate decides. `part` is what a full disk leaves
    /// of it.
    pub(super) fn pass<T>(
        &self,
        touch: Touch,
        act: impl FnOnce(&mut Medium) -> io::Result<T>,
        part: impl FnOnce(&mut Medium),
    ) -> io::Result<T> {
        // Before the lock: another process may come in between.
        let verdict = self.0.gate.pass(touch);
        let mut medium = self.medium();
        match verdict {
            None => Err(no_power()),
            Some(Verdict::Go | Verdict::Fault(Fault::Twice)) => act(&mut medium),
            Some(Verdict::Fault(Fault::Fails)) => Err(io::Error::from_raw_os_error(5)),
            Some(Verdict::Fault(Fault::Full)) if touch == Touch::Read => act(&mut medium),
            Some(Verdict::Fault(Fault::Full)) => {
                part(&mut medium);
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
            }
            Some(Verdict::Fault(Fault::PowerAfter)) => act(&mut medium).and(Err(no_power())),
            Some(Verdict::Fault(_)) => act(&mut medium).and(Err(io::Error::from_raw_os_error(5))),
        }
    }

    /// A power cut: what was not synced is lost as `how` says, or differently for each file.
    pub(super) fn lose(&self, how: Option<Loss>, rng: &mut Rng) {
        let mut medium = self.medium();
        let all = [Loss::Nothing, Loss::Everything, Loss::Newest, Loss::Sectors];
        let mut how = || how.unwrap_or_else(|| all[rng.below(4) as usize]);
        let hows: Vec<Loss> = medium.files.iter().map(|_| how()).collect();
        let index_hows: Vec<Loss> = medium.indexes.iter().map(|_| how()).collect();
        for (file, how) in medium.files.values_mut().zip(hows) {
            file.lose(how, rng);
            let lost = match how {
                Loss::Nothing => file.removed,
                Loss::Everything => !file.linked,
                _ if file.linked && !file.removed => false,
                _ => rng.coin(),
            };
            file.removed = lost;
            file.linked = true;
        }
        medium.files.retain(|_, file| !file.removed);
        for (index, how) in medium.indexes.values_mut().zip(index_hows) {
            index.lose(how, rng);
        }
    }

    /// The process ended and the machine did not. The kernel may drop what it cached, and with it
    /// what no sync wrote.
    pub(super) fn evict(&self, rng: &mut Rng) {
        if rng.coin() {
            return;
        }
        for file in self.medium().files.values_mut() {
            let mut seen = file.durable.clone();
            file.dirty.iter().for_each(|change| change.apply(&mut seen));
            file.cache = seen;
        }
    }

    /// Everything below a directory, as it is.
    pub(super) fn save(&self, dir: &Path) -> Saved {
        let medium = self.medium();
        let below = |path: &&PathBuf| path.starts_with(dir);
        let files = medium
            .files
            .iter()
            .filter(|(p, _)| below(p))
            .map(|(p, f)| (p.clone(), f.clone()))
            .collect();
        let indexes = medium
            .indexes
            .iter()
            .filter(|(p, _)| below(p))
            .map(|(p, f)| (p.clone(), f.clone()))
            .collect();
        Saved(Medium { files, indexes })
    }

    /// Puts a directory back to what it was; an empty [`Saved`] loses it.
    pub(super) fn put_back(&self, dir: &Path, saved: &Saved) {
        let mut medium = self.medium();
        medium.files.retain(|path, _| !path.starts_with(dir));
        medium.indexes.retain(|path, _| !path.starts_with(dir));
        medium.files.extend(saved.0.files.clone());
        medium.indexes.extend(saved.0.indexes.clone());
    }

    /// Makes `to` a copy of `from`, byte for byte.
    pub(super) fn copy(&self, from: &Path, to: &Path) {
        let Saved(Medium { files, indexes }) = self.save(from);
        let there = |path: PathBuf| {
            path.strip_prefix(from).map_or_else(|_| path.clone(), |below| to.join(below))
        };
        let files = files.into_iter().map(|(path, file)| (there(path), file)).collect();
        let indexes = indexes.into_iter().map(|(path, index)| (there(path), index)).collect();
        self.put_back(to, &Saved(Medium { files, indexes }));
    }

    /// Flips one bit of a file below a directory; `false` where it has no file.
    pub(super) fn rot(&self, dir: &Path, rng: &mut Rng) -> bool {
        let mut medium = self.medium();
        let mut files: Vec<&mut File> = medium
            .files
            .iter_mut()
            .filter(|(p, f)| p.starts_with(dir) && !f.durable.is_empty())
            .map(|(_, f)| f)
            .collect();
        if files.is_empty() {
            return false;
        }
        let which = rng.below(files.len() as u64) as usize;
        let file = &mut files[which];
        let at = rng.below(file.durable.len() as u64) as usize;
        let bit = 1 << rng.below(8);
        file.durable[at] ^= bit;
        if let Some(byte) = file.cache.get_mut(at) {
            *byte ^= bit;
        }
        true
    }

    /// The bytes of a file that may be on the medium now: without the writes not yet synced, and
    /// after each of them.
    pub(super) fn on_medium(&self, path: &Path) -> Vec<Vec<u8>> {
        let medium = self.medium();
        let Some(file) = medium.files.get(path) else {
            return Vec::new();
        };
        let mut later = file.durable.clone();
        let mut states = vec![file.durable.clone()];
        for change in &file.dirty {
            change.apply(&mut later);
            states.push(later.clone());
        }
        states
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
}

fn at<'m>(medium: &'m mut Medium, path: &Path) -> io::Result<&'m mut File> {
    medium.files.get_mut(path).filter(|f| !f.removed).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn read(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    let from = offset as usize;
    let there = file.cache.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    into.copy_from_slice(there);
    Ok(())
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let (path, disk) = (path.to_owned(), self.clone());
        let open = |medium: &mut Medium| {
            if how == How::Create && at(medium, &path).is_err() {
                medium.files.insert(path.clone(), File::default());
            }
            at(medium, &path).map(|_| ())
        };
        self.pass(Touch::Name, open, |_| {})?;
        Ok(Arc::new(SimFile { disk, path }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let list = |medium: &mut Medium| {
            let here = medium.files.iter().filter(|(p, f)| p.parent() == Some(dir) && !f.removed);
            Ok(here.filter_map(|(p, _)| name(p)).collect())
        };
        self.pass(Touch::Name, list, |_| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(Touch::Name, |medium| at(medium, path).map(|f| f.removed = true), |_| {})
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let sync = |medium: &mut Medium| {
            if self.0.unsynced != Some(Unsynced::Names) {
                medium.files.retain(|path, file| !(path.parent() == Some(dir) && file.removed));
                medium
                    .files
                    .iter_mut()
                    .filter(|(p, _)| p.parent() == Some(dir))
                    .for_each(|(_, f)| f.linked = true);
            }
            Ok(())
        };
        self.pass(Touch::Sync, sync, |_| {})
    }

    fn read_medium(&self, path: &Path, into: &mut [u8]) -> io::Result<()> {
        self.pass(
            Touch::Read,
            |medium| at(medium, path).and_then(|file| read(file, into, 0)),
            |_| {},
        )
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.pass(Touch::Read, |medium| Ok(at(medium, &self.path)?.cache.len() as u64), |_| {})
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.pass(Touch::Read, |medium| read(at(medium, &self.path)?, into, offset), |_| {})
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = |medium: &mut Medium, n: usize| {
            at(medium, &self.path).map(|f| f.change(Dirty::Write(offset, bytes[..n].to_vec())))
        };
        let half = |medium: &mut Medium| drop(write(medium, bytes.len() / 2));
        self.disk.pass(Touch::Write, |medium| write(medium, bytes.len()), half)
    }

    fn sync_data(&self) -> io::Result<()> {
        let before = self.disk.0.gate.blown();
        let synced = self.disk.pass(
            Touch::Sync,
            |medium| {
                let file = at(medium, &self.path)?;
                if !self.disk.leaves_out(&self.path) {
                    for change in std::mem::take(&mut file.dirty) {
                        change.apply(&mut file.durable);
                    }
                }
                Ok(())
            },
            |_| {},
        );
        // A sync that failed without effect has dropped the pages: reads see them, the medium never
        // will.
        if synced.is_err()
            && self.disk.0.gate.blown() != before
            && !self.disk.0.gate.is_off()
            && let Ok(file) = at(&mut self.disk.medium(), &self.path)
        {
            file.dirty.clear();
        }
        synced
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set =
            |medium: &mut Medium| at(medium, &self.path).map(|f| f.change(Dirty::SetLen(len)));
        self.disk.pass(Touch::Write, set, |_| {})
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let punch = |medium: &mut Medium| {
            at(medium, &self.path).map(|f| f.change(Dirty::Punch(offset, len)))
        };
        self.disk.pass(Touch::Write, punch, |_| {}).map(|()| true)
    }
}
