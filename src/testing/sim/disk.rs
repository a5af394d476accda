//! A simulated disk: files whose writes are not durable before a sync, and that a power cut loses, keeps, tears or takes
//! in another order, sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::gate::{Fault, Gate, Touch, Verdict, no_power};
use super::rng::Rng;
use crate::disk::{Disk, DiskFile, How};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::journal::{Index, Location, Summary, Update};
use crate::testing::locked;

const SECTOR: usize = 512;

/// Syncs that a defect leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// Of the blob log.
    Log,
    /// Of the root cell.
    Cell,
    /// Of directories.
    Names,
}

#[derive(Clone, Debug)]
enum Dirty {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Punch(u64, u64),
}

/// A file: what is on the medium, what reads see, and what lies between.
#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    cache: Vec<u8>,
    dirty: Vec<Dirty>,
    /// Whether its name is durable.
    linked: bool,
    /// Whether its name was taken away, not yet durably.
    removed: bool,
}

fn put(into: &mut Vec<u8>, change: &Dirty) {
    match change {
        Dirty::Write(offset, bytes) => {
            let (from, to) = (*offset as usize, *offset as usize + bytes.len());
            if into.len() < to {
                into.resize(to, 0);
            }
            into[from..to].copy_from_slice(bytes);
        }
        Dirty::SetLen(len) => into.resize(*len as usize, 0),
        Dirty::Punch(offset, len) => {
            let (from, to) = ((*offset as usize).min(into.len()), ((offset + len) as usize).min(into.len()));
            into[from..to].fill(0);
        }
    }
}

impl File {
    fn change(&mut self, change: Dirty) {
        put(&mut self.cache, &change);
        self.dirty.push(change);
    }

    /// What a power cut leaves.
    fn lose(&mut self, how: Loss, rng: &mut Rng) {
        let dirty = std::mem::take(&mut self.dirty);
        let upto = match how {
            Loss::Newest => rng.below(dirty.len() as u64 + 1) as usize,
            _ => dirty.len(),
        };
        for (n, change) in dirty.iter().enumerate() {
            let keep = |rng: &mut Rng| match how {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Newest => n < upto,
                Loss::Sectors => rng.coin(),
            };
            match change {
                Dirty::Write(offset, bytes) if how == Loss::Sectors => {
                    // A sector is kept whole or lost whole; the file's length follows what is kept.
                    let mut at = 0;
                    while at < bytes.len() {
                        let within = (*offset as usize + at) % SECTOR;
                        let n = (SECTOR - within).min(bytes.len() - at);
                        if rng.coin() {
                            put(&mut self.durable, &Dirty::Write(offset + at as u64, bytes[at..at + n].to_vec()));
                        }
                        at += n;
                    }
                }
                other => {
                    if keep(rng) {
                        put(&mut self.durable, other);
                    }
                }
            }
        }
        self.cache.clone_from(&self.durable);
    }
}

/// What a power cut does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Nothing,
    Everything,
    /// The newest in each file.
    Newest,
    /// Any sector of any write.
    Sectors,
}

/// An index that loses updates since its last sync, and sometimes all of itself.
#[derive(Clone, Debug, Default)]
struct IndexFile {
    durable: IndexState,
    /// Not yet durable; `true`: thrown away by a sync that failed, so neither it nor what follows ever will be.
    newer: Vec<(Change, bool)>,
    cache: IndexState,
}

#[derive(Clone, Debug)]
enum Change {
    Insert(BlobName, Location),
    Update(Update),
}

impl IndexFile {
    fn change(&mut self, change: Change) {
        self.cache.apply(&change);
        self.newer.push((change, false));
    }

    fn insert(&mut self, names: &[(BlobName, Location)]) -> Vec<Option<Location>> {
        let before = names.iter().map(|(name, _)| self.cache.names.get(name).copied()).collect();
        names.iter().for_each(|(name, at)| self.change(Change::Insert(*name, *at)));
        before
    }
}

#[derive(Clone, Debug, Default)]
struct IndexState {
    names: BTreeMap<BlobName, Location>,
    summary: Summary,
}

impl IndexState {
    fn apply(&mut self, change: &Change) {
        let update = match change {
            Change::Insert(name, at) => {
                self.names.insert(*name, *at);
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
    }
}

#[derive(Clone, Debug, Default)]
struct Media {
    files: BTreeMap<PathBuf, File>,
    indexes: BTreeMap<PathBuf, IndexFile>,
}

/// What was on a disk below one directory.
#[derive(Clone, Debug, Default)]
pub struct Saved(Media);

struct Shared {
    media: Mutex<Media>,
    gate: Arc<Gate>,
    unsynced: Option<Unsynced>,
}

/// The disk; its clones are one disk.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Shared>);

impl SimDisk {
    pub(super) fn new(gate: Arc<Gate>, unsynced: Option<Unsynced>) -> Self {
        SimDisk(Arc::new(Shared { media: Mutex::default(), gate, unsynced }))
    }

    fn media(&self) -> MutexGuard<'_, Media> {
        locked(&self.0.media)
    }

    fn leaves_out(&self, path: &Path) -> bool {
        match self.0.unsynced {
            Some(Unsynced::Log) => path.extension().is_some_and(|e| e == "log"),
            Some(Unsynced::Cell) => path.starts_with("/cell"),
            Some(Unsynced::Names) | None => false,
        }
    }

    /// Runs an operation that fails or not, as the gate has it. `part` is what a full disk leaves of it.
    fn pass<T>(
        &self,
        touch: Touch,
        act: impl FnOnce(&mut Media) -> io::Result<T>,
        part: impl FnOnce(&mut Media),
    ) -> io::Result<T> {
        // Before the lock: another process may come in between.
        let verdict = self.0.gate.pass(touch);
        let mut media = self.media();
        match verdict {
            None => Err(no_power()),
            Some(Verdict::Go | Verdict::Fault(Fault::Twice)) => act(&mut media),
            Some(Verdict::Fault(Fault::Fails)) => Err(io::Error::from_raw_os_error(5)),
            Some(Verdict::Fault(Fault::Full)) if touch == Touch::Read => act(&mut media),
            Some(Verdict::Fault(Fault::Full)) => {
                part(&mut media);
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
            }
            Some(Verdict::Fault(Fault::PowerAfter)) => act(&mut media).and(Err(no_power())),
            Some(Verdict::Fault(_)) => act(&mut media).and(Err(io::Error::from_raw_os_error(5))),
        }
    }

    /// What the power cut leaves of everything that was not synced.
    pub(super) fn lose(&self, how: Option<Loss>, rng: &mut Rng) {
        let mut media = self.media();
        let all = [Loss::Nothing, Loss::Everything, Loss::Newest, Loss::Sectors];
        let mut how = || how.unwrap_or_else(|| all[rng.below(4) as usize]);
        let hows: Vec<Loss> = media.files.iter().map(|_| how()).collect();
        let index_hows: Vec<Loss> = media.indexes.iter().map(|_| how()).collect();
        for (file, how) in media.files.values_mut().zip(hows) {
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
        media.files.retain(|_, file| !file.removed);
        for (index, how) in media.indexes.values_mut().zip(index_hows) {
            let may = index.newer.iter().position(|(_, ghost)| *ghost).unwrap_or(index.newer.len());
            let keep = match how {
                Loss::Nothing => may,
                Loss::Everything => 0,
                _ => rng.below(may as u64 + 1) as usize,
            };
            let newer = std::mem::take(&mut index.newer);
            newer[..keep].iter().for_each(|(update, _)| index.durable.apply(update));
            // An index may be damaged altogether; it is built anew then.
            if how == Loss::Sectors && rng.below(8) == 0 {
                index.durable = IndexState::default();
            }
            index.cache = index.durable.clone();
        }
    }

    /// The process ended and the machine did not. The kernel may drop what it cached, and with it what no sync wrote.
    pub(super) fn evict(&self, rng: &mut Rng) {
        if rng.coin() {
            return;
        }
        for file in self.media().files.values_mut() {
            let mut seen = file.durable.clone();
            file.dirty.iter().for_each(|change| put(&mut seen, change));
            file.cache = seen;
        }
    }

    /// Everything below a directory, as it is.
    pub(super) fn save(&self, dir: &Path) -> Saved {
        let media = self.media();
        let below = |path: &&PathBuf| path.starts_with(dir);
        let files = media.files.iter().filter(|(p, _)| below(p)).map(|(p, f)| (p.clone(), f.clone())).collect();
        let indexes = media.indexes.iter().filter(|(p, _)| below(p)).map(|(p, f)| (p.clone(), f.clone())).collect();
        Saved(Media { files, indexes })
    }

    /// Puts a directory back to what it was; an empty [`Saved`] loses it.
    pub(super) fn put_back(&self, dir: &Path, saved: &Saved) {
        let mut media = self.media();
        media.files.retain(|path, _| !path.starts_with(dir));
        media.indexes.retain(|path, _| !path.starts_with(dir));
        media.files.extend(saved.0.files.clone());
        media.indexes.extend(saved.0.indexes.clone());
    }

    /// Makes `to` what `from` is, byte for byte.
    pub(super) fn copy(&self, from: &Path, to: &Path) {
        let Saved(Media { files, indexes }) = self.save(from);
        let there = |path: PathBuf| path.strip_prefix(from).map_or_else(|_| path.clone(), |below| to.join(below));
        let files = files.into_iter().map(|(path, file)| (there(path), file)).collect();
        let indexes = indexes.into_iter().map(|(path, index)| (there(path), index)).collect();
        self.put_back(to, &Saved(Media { files, indexes }));
    }

    /// Flips one bit of a file below a directory; `false` where there is none.
    pub(super) fn rot(&self, dir: &Path, rng: &mut Rng) -> bool {
        let mut media = self.media();
        let mut files: Vec<&mut File> = media
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

    /// The bytes of a file that may be on the medium now: without any of the writes not yet synced, and with all.
    pub(super) fn on_medium(&self, path: &Path) -> Vec<Vec<u8>> {
        let media = self.media();
        let Some(file) = media.files.get(path) else {
            return Vec::new();
        };
        let mut later = file.durable.clone();
        let mut states = vec![file.durable.clone()];
        for change in &file.dirty {
            put(&mut later, change);
            states.push(later.clone());
        }
        states
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
}

fn at<'m>(media: &'m mut Media, path: &Path) -> io::Result<&'m mut File> {
    media.files.get_mut(path).filter(|f| !f.removed).ok_or_else(|| io::ErrorKind::NotFound.into())
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
        let open = |media: &mut Media| {
            if how == How::Create && at(media, &path).is_err() {
                media.files.insert(path.clone(), File::default());
            }
            at(media, &path).map(|_| ())
        };
        self.pass(Touch::Name, open, |_| {})?;
        Ok(Arc::new(SimFile { disk, path }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let list = |media: &mut Media| {
            let here = media.files.iter().filter(|(p, f)| p.parent() == Some(dir) && !f.removed);
            Ok(here.filter_map(|(p, _)| name(p)).collect())
        };
        self.pass(Touch::Name, list, |_| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(Touch::Name, |media| at(media, path).map(|f| f.removed = true), |_| {})
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let sync = |media: &mut Media| {
            if self.0.unsynced != Some(Unsynced::Names) {
                media.files.retain(|path, file| !(path.parent() == Some(dir) && file.removed));
                media.files.iter_mut().filter(|(p, _)| p.parent() == Some(dir)).for_each(|(_, f)| f.linked = true);
            }
            Ok(())
        };
        self.pass(Touch::Sync, sync, |_| {})
    }

    fn read_medium(&self, path: &Path, into: &mut [u8]) -> io::Result<()> {
        self.pass(Touch::Read, |media| at(media, path).and_then(|file| read(file, into, 0)), |_| {})
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.pass(Touch::Read, |media| Ok(at(media, &self.path)?.cache.len() as u64), |_| {})
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.pass(Touch::Read, |media| read(at(media, &self.path)?, into, offset), |_| {})
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = |media: &mut Media, n: usize| {
            at(media, &self.path).map(|f| f.change(Dirty::Write(offset, bytes[..n].to_vec())))
        };
        let half = |media: &mut Media| drop(write(media, bytes.len() / 2));
        self.disk.pass(Touch::Write, |media| write(media, bytes.len()), half)
    }

    fn sync_data(&self) -> io::Result<()> {
        let before = self.disk.0.gate.blown();
        let synced = self.disk.pass(
            Touch::Sync,
            |media| {
                let file = at(media, &self.path)?;
                if !self.disk.leaves_out(&self.path) {
                    for change in std::mem::take(&mut file.dirty) {
                        put(&mut file.durable, &change);
                    }
                }
                Ok(())
            },
            |_| {},
        );
        // A sync that failed without effect has dropped the pages: reads see them, the medium never will.
        if synced.is_err()
            && self.disk.0.gate.blown() != before
            && !self.disk.0.gate.is_off()
            && let Ok(file) = at(&mut self.disk.media(), &self.path)
        {
            file.dirty.clear();
        }
        synced
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = |media: &mut Media| at(media, &self.path).map(|f| f.change(Dirty::SetLen(len)));
        self.disk.pass(Touch::Write, set, |_| {})
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let punch = |media: &mut Media| at(media, &self.path).map(|f| f.change(Dirty::Punch(offset, len)));
        self.disk.pass(Touch::Write, punch, |_| {}).map(|()| true)
    }
}

/// An index on the simulated disk, with the contract of `store::journal::Index` and nothing more.
pub(super) struct SimIndex {
    disk: SimDisk,
    path: PathBuf,
}

impl SimIndex {
    pub(super) fn open(disk: &SimDisk, path: &Path) -> Self {
        disk.media().indexes.entry(path.to_owned()).or_default();
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
        let act = |media: &mut Media| Ok(act(media.indexes.entry(self.path.clone()).or_default()));
        let half = |media: &mut Media| half(media.indexes.entry(self.path.clone()).or_default());
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

    fn insert(&self, names: &[(BlobName, Location)]) -> Result<Vec<Option<Location>>> {
        let half = |index: &mut IndexFile| drop(index.insert(&names[..names.len() / 2]));
        self.pass_half(Touch::Write, |index| index.insert(names), half)
    }

    fn apply(&self, update: &Update) -> Result<()> {
        self.pass(Touch::Write, |index| index.change(Change::Update(update.clone())))
    }

    fn sync(&self) -> Result<()> {
        let synced = self.pass(Touch::Sync, |index| {
            let may = index.newer.iter().position(|(_, ghost)| *ghost).unwrap_or(index.newer.len());
            for (update, _) in index.newer.drain(..may) {
                index.durable.apply(&update);
            }
        });
        if let Err(e) = &synced
            && !self.disk.0.gate.is_off()
            && e.kind() != ErrorKind::Full
            && let Some(index) = self.disk.media().indexes.get_mut(&self.path)
        {
            index.newer.iter_mut().for_each(|(_, ghost)| *ghost = true);
        }
        synced
    }
}
