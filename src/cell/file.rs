//! The file cell: a directory with two slots (`key_slots.rs`) and two claims (`claims.rs`), on a
//! file system that overwrites in place.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::claims::CLAIMS;
use super::filesystem::{self, Verdict};
use super::key_slots::{KeySlots, SLOTS};
#[cfg(feature = "keyholders")]
use super::share_slots::SHARE_SLOTS;
use super::{Contents, Durable, Owner, RootCell, RootKey};
use crate::crypto::Key;
use crate::dir::{DirLock, check_file, has_one_of, is_there, make_dir, open_to_write, sync_dir};
use crate::disk::OsDisk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, Level, Promise, Retirement, RootId};
use crate::secret::WipeStack;

const ACCEPTED: &str = "remnants-accepted";

/// A root cell in a directory of its own.
pub struct FileCell {
    dir: PathBuf,
    slots: Arc<KeySlots>,
    /// A looker for each slot, from the first look on.
    lookers: Mutex<Vec<Looker>>,
    verdict: Verdict,
    remnants: bool,
    /// `None` if the cell is open read-only.
    lock: Option<DirLock>,
}

/// Looks at one slot on the medium, on a thread of its own, which ends with this.
struct Looker {
    asks: Sender<()>,
    hears: Receiver<Result<Option<RootId>>>,
    /// Whether it was asked, and what it saw was not taken.
    asked: bool,
}

impl Looker {
    fn start(slots: &Arc<KeySlots>, slot: usize) -> std::io::Result<Self> {
        let ((asks, asked), (tells, hears), slots) = (channel(), channel(), Arc::clone(slots));
        let work = move || {
            while let Ok(()) = asked.recv() {
                let _wiped = WipeStack;
                if tells.send(slots.live_in(slot)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("keyfall-cell".into()).spawn(work)?;
        Ok(Looker { asks, hears, asked: false })
    }

    fn ask(&mut self) {
        // An answer to an earlier question that was never taken: it is not what stands there now.
        let _ = self.hear();
        self.asked = self.asks.send(()).is_ok();
    }

    fn hear(&mut self) -> Option<Result<Option<RootId>>> {
        if std::mem::take(&mut self.asked) { self.hears.recv().ok() } else { None }
    }
}

impl std::fmt::Debug for FileCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCell({})", self.dir.display())
    }
}

/// Whether a file system overwrites in place, for a keyholder's directory and the shares in it.
#[cfg(feature = "keyholders")]
pub(crate) fn check_medium(dir: &Path, accept_remnants: bool) -> Result<()> {
    let verdict = filesystem::judge(dir)?;
    let mut objection = verdict.objection;
    for store in std::fs::read_dir(dir.join("stores")).into_iter().flatten().flatten() {
        if objection.is_none() && !accept_remnants {
            objection = filesystem::judge_files(&store.path(), SHARE_SLOTS)?;
        }
    }
    match objection.filter(|_| !accept_remnants) {
        None => Ok(()),
        Some(objection) => Err(Error::new(
            ErrorKind::Medium,
            format!(
                "{} lies on {}, where a destroyed share may stay: {objection}; name another place, \
                 or accept that with `accept_remnants`",
                dir.display(),
                verdict.name
            ),
        )),
    }
}

/// Refuses slots and claims that are links, or have other names: found out before something is done
/// that needs them.
fn check_names(dir: &Path) -> Result<()> {
    SLOTS.iter().chain(&CLAIMS).try_for_each(|name| check_file(&dir.join(name)))
}

impl FileCell {
    /// Makes an empty cell at `dir`. The file system must overwrite in place, or `accept_remnants`
    /// be set, which every later promise repeats.
    ///
    /// # Errors
    /// `Refused` for a file system that keeps old bytes, or if a link has the name of a slot;
    /// `Exists` if a cell with a key is there; `Locked`; `Io`.
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
                ErrorKind::Medium,
                format!(
                    "the cell {} would lie on {}, where a destroyed key may stay: {objection}; name another place with `Builder::cell_at`, or accept that with `accept_remnants`",
                    dir.display(),
                    verdict.name
                ),
            ));
        }
        make_dir(dir)?;
        let lock = DirLock::take(dir, "cell")?;
        check_names(dir)?;
        let slots = Arc::new(KeySlots::new(Arc::new(OsDisk), dir, env).accepting(accept_remnants));
        // An interrupted `create` leaves tombstones of epoch 0 only; anything else may be
        // a key.
        if SLOTS.iter().any(|slot| !slots.is_unused(slot)) {
            let unfinished = slots.load().is_ok_and(|contents| contents.is_unfinished());
            let text = if unfinished {
                "holds the root key of an init that was cut short before anything could be put; \
                 move it and the store away, and init again"
            } else {
                "holds the root key of a store, and without it all data of that store is lost; \
                 leave it as it is, and name another place with `Builder::cell_at`"
            };
            return Err(Error::new(ErrorKind::Exists, format!("{} {text}", dir.display())));
        }
        let (dir_of, lookers) = (dir.to_owned(), Mutex::default());
        let cell = FileCell {
            dir: dir_of,
            slots,
            lookers,
            verdict,
            remnants: accept_remnants,
            lock: Some(lock),
        };
        if cell.remnants && cell.verdict.objection.is_some() {
            let mut options = File::options();
            let file = open_to_write(&dir.join(ACCEPTED), options.create(true).truncate(false));
            file.and_then(|file| file.sync_all()).map_err(io)?;
        }
        for slot in SLOTS.iter().chain(&CLAIMS) {
            let mut options = File::options();
            let file =
                open_to_write(&dir.join(slot), options.create(true).truncate(false).mode(0o600));
            file.and_then(|file| file.set_len(0)).map_err(io)?;
        }
        cell.slots.make()?;
        sync_dir(parent)?;
        cell.check_files()?;
        Ok(cell)
    }

    /// Opens the cell at `dir`.
    ///
    /// # Errors
    /// `Absent` if there is none; `Locked`; `Refused` if its file system has come to keep old
    /// bytes, its files are shared with a copy, or a slot is a link or has another name; `Io`.
    pub fn open(dir: &Path, env: SharedEnv) -> Result<Self> {
        let mut cell = Self::look(dir, env)?;
        check_names(dir)?;
        if let Some(objection) = cell.verdict.objection.as_ref().filter(|_| !cell.remnants) {
            return Err(Error::new(
                ErrorKind::Medium,
                format!(
                    "the cell {} now lies on {}, where a destroyed key may stay: {objection}; move \
                     it, or create the empty file {ACCEPTED} in it to accept that",
                    dir.display(),
                    cell.verdict.name
                ),
            ));
        }
        cell.check_files()?;
        cell.lock = Some(DirLock::take(dir, "cell")?);
        Ok(cell)
    }

    /// Whether a [`FileCell::create`] was cut short at `dir` before the cell was whole: it never
    /// held anything then.
    #[cfg(feature = "sled")]
    pub(crate) fn was_never_used(dir: &Path, env: SharedEnv) -> bool {
        KeySlots::new(Arc::new(OsDisk), dir, env).are_unused()
    }

    /// Opens the cell at `dir` to look at it: it takes no lock and writes nothing, so that it works
    /// on a medium that cannot be written, and while another process has the cell open. Every verb
    /// but [`RootCell::load`] is `Fenced`.
    ///
    /// # Errors
    /// `Absent` if there is none; `Io`.
    pub fn look(dir: &Path, env: SharedEnv) -> Result<Self> {
        if !has_one_of(dir, SLOTS)? {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "no root cell at {}; name its place with `Builder::cell_at` (without it nothing in the \
                     store can be read)",
                    dir.display()
                ),
            ));
        }
        let remnants = is_there(&dir.join(ACCEPTED))?;
        let verdict = filesystem::judge(dir)?;
        let slots = Arc::new(KeySlots::new(Arc::new(OsDisk), dir, env).accepting(remnants));
        Ok(FileCell {
            dir: dir.to_owned(),
            slots,
            lookers: Mutex::default(),
            verdict,
            remnants,
            lock: None,
        })
    }

    fn check_files(&self) -> Result<()> {
        if self.remnants || self.verdict.objection.is_some() {
            return Ok(());
        }
        match filesystem::judge_files(&self.dir, SLOTS)? {
            None => Ok(()),
            Some(objection) => Err(Error::new(
                ErrorKind::Medium,
                format!(
                    "a key destroyed in the cell {} may stay: {objection}; undo that, or create \
                     the empty file {ACCEPTED} in the cell to accept it",
                    self.dir.display()
                ),
            )),
        }
    }

    /// Why a destroyed key may stay, as things are now: files change while a cell is open.
    fn objection(&self) -> Option<String> {
        let now = || {
            self.slots
                .objection()
                .unwrap_or_else(|e| Some(format!("its slots cannot be read ({e})")))
        };
        self.verdict.objection.clone().or_else(now)
    }

    fn lookers(&self) -> MutexGuard<'_, Vec<Looker>> {
        self.lookers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is promised, with the reason why a destroyed key may stay, if any.
    fn promise(&self, objection: Option<String>) -> Promise {
        let overwritten =
            "a root key is destroyed by overwriting its sector, syncing it and reading it back";
        let limit = "flash that remaps sectors, and snapshots of the disk or of the machine taken below the file system, may keep the old sector";
        let statement = match &objection {
            Some(objection) => format!(
                "REMNANTS {}: {overwritten}, but on {} the old key may stay: {objection}; {limit}",
                if self.remnants {
                    "ACCEPTED"
                } else {
                    "POSSIBLE, and nothing is erased until that has changed"
                },
                self.verdict.name
            ),
            None => format!(
                "{overwritten}; {} overwrites in place, and no other file shares its blocks; \
                 {limit}",
                self.verdict.name
            ),
        };
        Promise {
            kind: "file",
            place: self.dir.display().to_string(),
            level: Level::L0,
            statement,
            remnants: objection.is_some(),
            quorum: None,
        }
    }

    /// The slots, if this handle may change them.
    fn to_change(&self) -> Result<&KeySlots> {
        if let Some(lock) = &self.lock {
            lock.check()?;
            return Ok(&self.slots);
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!("the cell {} is open read-only; nothing was changed", self.dir.display()),
        ))
    }
}

impl RootCell for FileCell {
    fn describe(&self) -> Promise {
        self.promise(self.objection())
    }

    fn destroys(&self) -> Promise {
        self.promise(self.verdict.objection.clone())
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.to_change()?.claim(store, owner, mark)
    }

    /// A key is destroyed when `retire` returns.
    fn awaited(&self, _keep: &RootId) -> Option<Awaited> {
        None
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.to_change()?.deposit(store, id, key)
    }

    /// Four small files, from the page cache.
    fn look_every(&self) -> Duration {
        Duration::ZERO
    }

    fn load(&self) -> Result<Contents> {
        match &self.lock {
            Some(lock) => lock.check().and_then(|()| self.slots.load()),
            None => self.slots.look(),
        }
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.to_change()?.retire(keep, None, proof.commit())
    }

    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        self.to_change()?.retire(keep, Some(next), proof.commit()).map(Some)
    }

    fn prepare(&self) {
        let mut lookers = self.lookers();
        if lookers.is_empty() && self.lock.is_some() {
            // If there can be no threads the look is made when it is asked for.
            *lookers =
                (0..SLOTS.len()).map_while(|slot| Looker::start(&self.slots, slot).ok()).collect();
        }
        lookers.iter_mut().for_each(Looker::ask);
    }

    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        if self.lock.is_none() {
            return Ok(false);
        }
        let mut lookers = self.lookers();
        let live = |slot: usize| {
            let heard = lookers.get_mut(slot).and_then(Looker::hear);
            heard.unwrap_or_else(|| self.slots.live_in(slot))
        };
        let live = (0..SLOTS.len()).map(live).collect::<Result<Vec<_>>>()?;
        self.slots.saw(&live, keep, next)
    }
}
