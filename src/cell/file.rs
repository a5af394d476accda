//! The file cell: a directory with two slots (`slots.rs`), on a file system that overwrites in place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filesystem::{self, Verdict};
use super::slots::{SLOTS, Slots};
use super::{Contents, Durable, Level, Promise, Retirement, RootCell, RootId, RootKey};
use crate::crypto::Key;
use crate::dir::{DirLock, make_dir, sync_dir};
use crate::disk::OsDisk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;

const ACCEPTED: &str = "remnants-accepted";

/// A root cell in a directory of its own.
pub struct FileCell {
    dir: PathBuf,
    slots: Slots,
    verdict: Verdict,
    remnants: bool,
    lock: DirLock,
}

impl std::fmt::Debug for FileCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCell({})", self.dir.display())
    }
}

/// Whether a file system overwrites in place, for a directory that holds shares.
#[cfg(feature = "keyholders")]
pub(crate) fn check_medium(dir: &Path, accept_remnants: bool) -> Result<()> {
    let verdict = filesystem::judge(dir)?;
    match verdict.objection.filter(|_| !accept_remnants) {
        None => Ok(()),
        Some(objection) => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} lies on {}, where a destroyed share may stay: {objection}; name another place, or accept that with --accept-remnants",
                dir.display(),
                verdict.name
            ),
        )),
    }
}

impl FileCell {
    /// Makes an empty cell at `dir`. The file system must overwrite in place, or `accept_remnants` be set, which
    /// every later promise repeats.
    ///
    /// # Errors
    /// `Refused` for a file system that keeps old bytes; `Exists` where a cell with a key is there; `Locked`; `Io`.
    pub fn create(dir: &Path, accept_remnants: bool, env: SharedEnv) -> Result<Self> {
        let io = |e| Error::io(format!("making the cell {}", dir.display()), e);
        let parent = match dir.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(io)?;
        let verdict = filesystem::judge(parent)?;
        if let Some(objection) = verdict.objection.as_ref().filter(|_| !accept_remnants) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the cell {} would lie on {}, where a destroyed key may stay: {objection}; name another place with --cell, or accept that with --accept-remnants",
                    dir.display(),
                    verdict.name
                ),
            ));
        }
        make_dir(dir)?;
        let lock = DirLock::take(dir, "cell")?;
        let slots = Slots::new(Arc::new(OsDisk), dir, env, SLOTS);
        // An interrupted `create` leaves tombstones of epoch 0 only; anything else may be somebody's key.
        if SLOTS.iter().any(|slot| !slots.is_unused(slot)) {
            return Err(Error::new(
                ErrorKind::Exists,
                format!(
                    "{} holds a cell already; name another place with --cell (where an init was cut short, remove the cell and the store, and init again)",
                    dir.display()
                ),
            ));
        }
        let cell = FileCell { dir: dir.to_owned(), slots, verdict, remnants: accept_remnants, lock };
        if cell.remnants() {
            File::create(dir.join(ACCEPTED)).and_then(|f| f.sync_all()).map_err(io)?;
        }
        for slot in SLOTS {
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(dir.join(slot)).map_err(io)?;
        }
        cell.slots.make()?;
        sync_dir(parent)?;
        Ok(cell)
    }

    /// Opens the cell at `dir`.
    ///
    /// # Errors
    /// `Absent` where there is none; `Locked`; `Refused` where its file system has come to keep old bytes; `Io`.
    pub fn open(dir: &Path, env: SharedEnv) -> Result<Self> {
        if !SLOTS.iter().any(|s| dir.join(s).exists()) {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "no root cell at {}; name its place with --cell (without it nothing in the store can be read)",
                    dir.display()
                ),
            ));
        }
        let remnants = dir.join(ACCEPTED).exists();
        let verdict = filesystem::judge(dir)?;
        if let Some(objection) = verdict.objection.as_ref().filter(|_| !remnants) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the cell {} now lies on {}, where a destroyed key may stay: {objection}; move it, or create the empty file {ACCEPTED} in it to accept that",
                    dir.display(),
                    verdict.name
                ),
            ));
        }
        let lock = DirLock::take(dir, "cell")?;
        let slots = Slots::new(Arc::new(OsDisk), dir, env, SLOTS);
        Ok(FileCell { dir: dir.to_owned(), slots, verdict, remnants, lock })
    }

    fn remnants(&self) -> bool {
        self.remnants && self.verdict.objection.is_some()
    }
}

impl RootCell for FileCell {
    fn describe(&self) -> Promise {
        let overwritten = "a root key is destroyed by overwriting its sector, syncing it and reading it back";
        let limit = "flash that remaps sectors, and snapshots of the disk or of the machine taken below the file system, may keep the old sector";
        let statement = match self.verdict.objection.as_ref().filter(|_| self.remnants) {
            Some(objection) => format!(
                "REMNANTS ACCEPTED: {overwritten}, but on {} the old key may stay: {objection}; {limit}",
                self.verdict.name
            ),
            None => format!("{overwritten}; {} overwrites in place; {limit}", self.verdict.name),
        };
        Promise {
            kind: "file",
            place: self.dir.display().to_string(),
            level: Level::L0,
            statement,
            remnants: self.remnants(),
            quorum: None,
        }
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.lock.check()?;
        self.slots.deposit(store, id, key, None)
    }

    fn load(&self) -> Result<Contents> {
        self.lock.check()?;
        self.slots.load()
    }

    fn retire(&self, keep: &RootId, _proof: Durable) -> Result<Retirement> {
        self.lock.check()?;
        self.slots.retire(keep, None)
    }

    fn retire_for(&self, keep: &RootId, next: &RootKey, _proof: Durable) -> Result<Option<Retirement>> {
        self.lock.check()?;
        self.slots.retire(keep, Some(next)).map(Some)
    }
}
