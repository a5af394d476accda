//! A keyholder's directory.
//!
//! ```text
//! identity (two seeds, to be kept secret)   engines (which may speak to it)
//! engines.lock (held while that list changes)
//! stores/STORE/{engine, slot-a ... slot-h}
//! ```

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::private::{io, public, read, write};
use super::{EngineId, KeyholderId};
use crate::cell::check_medium;
use crate::codec::{parsed, shown};
use crate::crypto::Key;
use crate::dir::{
    DirLock, check_subdir, check_unused, is_there, make_dir, open_to_write, sync_dir,
};
use crate::env::{Env, SharedEnv};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::quorum::{Holder, Keyholder};
use crate::sync::{Mutex, locked};

const HOLDER_PRIVATE: &str = "keyfall-keyholder-private-1:";
/// What a making that was cut short may have left, and what a lock leaves.
const OWN: [&str; 5] = ["stores", "engines", "engines.lock", "remnants-accepted", "lock"];
/// Stores that one engine may have a keyholder keep shares of, if `allow` named no number. A
/// cell is of one store; an `init` that failed leaves another.
const STORES: usize = 8;

/// The directory of a keyholder, open and locked.
pub struct KeyholderDir {
    dir: PathBuf,
    channel: Key,
    statements: Key,
    /// Two engines must not claim one store at once.
    claims: Mutex<()>,
    _lock: DirLock,
}

impl std::fmt::Debug for KeyholderDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyholderDir({})", self.dir.display())
    }
}

impl KeyholderDir {
    /// Makes a keyholder's directory. Its file system must overwrite in place, or `accept_remnants`
    /// be set.
    ///
    /// # Errors
    /// `Exists` if a keyholder is there; `Refused` if something else is, or for a file system that
    /// keeps old bytes; `Io`.
    pub fn create(dir: &Path, accept_remnants: bool, env: &dyn Env) -> Result<Self> {
        make_dir(dir)?;
        let path = dir.join("identity");
        if is_there(&path)? {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("{} is a keyholder's directory already", dir.display()),
            ));
        }
        check_unused(dir, &OWN, "a keyholder's")?;
        check_medium(dir, accept_remnants)?;
        let (channel, statements) = (Key::random(env)?, Key::random(env)?);
        let seeds = Zeroizing::new([channel.bytes().as_slice(), statements.bytes()].concat());
        let text = Zeroizing::new(format!("{}\n", shown(HOLDER_PRIVATE, &seeds)));
        check_subdir(&dir.join("stores"))?;
        make_dir(&dir.join("stores"))?;
        write(&dir.join("engines"), "", false)?;
        if accept_remnants {
            write(&dir.join("remnants-accepted"), "", false)?;
        }
        write(&path, &text, true)?;
        Self::open(dir)
    }

    /// Opens a keyholder's directory, and locks it.
    ///
    /// # Errors
    /// `Absent` if there is none; `Locked`; `Refused` if its file system has come to keep old
    /// bytes; `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("identity");
        if !is_there(&path)? {
            let text = format!(
                "no keyholder at {}; `keyfall keyholder init DIR` makes one",
                dir.display()
            );
            return Err(Error::new(ErrorKind::Absent, text));
        }
        check_medium(dir, is_there(&dir.join("remnants-accepted"))?)?;
        check_subdir(&dir.join("stores"))?;
        let lock = DirLock::take(dir, "keyholder")?;
        let seeds = Zeroizing::new(parsed(HOLDER_PRIVATE, &read(&path)?).unwrap_or_default());
        let (Some(channel), Some(statements), 64) =
            (seeds.first_chunk(), seeds.last_chunk(), seeds.len())
        else {
            return Err(Error::corrupt(format!(
                "{} is damaged: this keyholder cannot show who it is",
                path.display()
            )));
        };
        let (channel, statements) = (Key::copied_from(channel), Key::copied_from(statements));
        Ok(KeyholderDir {
            dir: dir.to_owned(),
            channel,
            statements,
            claims: Mutex::default(),
            _lock: lock,
        })
    }

    /// The public keys of this keyholder.
    pub fn id(&self) -> KeyholderId {
        KeyholderId { channel: public(&self.channel), statements: public(&self.statements) }
    }

    /// Lets an engine speak to it; with a store, gives that store to this engine, whichever had it
    /// before, also if no share of it is here yet.
    ///
    /// Returns the engine that had the store before, if another one had.
    ///
    /// # Errors
    /// `Invalid` if `store` is not the id of a store; `Absent` if no keyholder is there; `Io`.
    pub fn allow(dir: &Path, engine: EngineId, store: Option<&str>) -> Result<Option<String>> {
        let bad = |store: &str| {
            Error::invalid(format!(
                "{store:?} is not the id of a store; `keyfall status STORE` prints it"
            ))
        };
        let parsed = |store: &str| {
            let id = data_encoding::HEXLOWER.decode(store.as_bytes()).ok();
            id.and_then(|id| id.try_into().ok()).map(StoreId).ok_or_else(|| bad(store))
        };
        let store = store.map(parsed).transpose()?;
        change_engines(dir, |lines| {
            if !lines.iter().any(|line| names(line, engine)) {
                lines.push(engine.to_string());
            }
        })?;
        let Some(id) = store else { return Ok(None) };
        let stores = dir.join("stores");
        let store = stores.join(id.to_string());
        check_subdir(&stores)?;
        check_subdir(&store)?;
        make_dir(&store)?;
        sync_dir(&stores)?;
        let (path, owner) = (owner_file(dir, id), engine.to_string());
        let before = owner_in(&path)?.filter(|before| *before != owner);
        write(&path, &format!("{owner}\n"), false)?;
        Ok(before)
    }

    /// Sets of how many stores an engine may have it keep shares; 8 if nothing is set.
    ///
    /// # Errors
    /// `Absent` if no keyholder is there; `Io`.
    pub fn limit(dir: &Path, engine: EngineId, stores: usize) -> Result<()> {
        change_engines(dir, |lines| {
            lines.retain(|line| !names(line, engine));
            lines.push(format!("{engine} stores {stores}"));
        })
    }

    /// The stores of which it may hold shares, with the last epoch that it ended of each.
    ///
    /// # Errors
    /// `Io`.
    pub fn stores(&self, env: &SharedEnv) -> Result<Vec<(String, u64)>> {
        let path = self.dir.join("stores");
        let holder = self.holder(env);
        let mut stores = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(io(&path))? {
            let name = entry.map_err(io(&path))?.file_name().to_string_lossy().into_owned();
            let id = data_encoding::HEXLOWER
                .decode(name.as_bytes())
                .ok()
                .and_then(|id| id.try_into().ok());
            if let Some(id) = id {
                stores.push((name, holder.load(StoreId(id))?.committed));
            }
        }
        stores.sort();
        Ok(stores)
    }

    pub(super) fn channel_seed(&self) -> &Key {
        &self.channel
    }

    /// How many stores an engine may have here; `None` if it is not known. Read for each
    /// connection: an engine that was allowed meanwhile is let in.
    fn room(&self, engine: &[u8; 32]) -> Option<usize> {
        let lines = engines(&self.dir).ok()?;
        let line = lines.iter().find(|line| names(line, EngineId(*engine)))?;
        let number = line.split_whitespace().skip_while(|word| *word != "stores").nth(1);
        Some(number.and_then(|number| number.parse().ok()).unwrap_or(STORES))
    }

    /// Whether an engine may speak to this keyholder; else what lets it.
    pub(super) fn admits(&self, engine: &[u8; 32]) -> Result<(), String> {
        let engine_id = EngineId(*engine);
        self.room(engine).map(drop).ok_or_else(|| {
            format!(
                "an engine connected that this keyholder does not know; if it is yours, run \
                 `keyfall keyholder allow {} {engine_id}`",
                self.dir.display()
            )
        })
    }

    /// A store that an engine deposited for is that engine's.
    fn check_owner(&self, store: StoreId, engine: &[u8; 32]) -> Result<()> {
        let owner = owner_in(&owner_file(&self.dir, store))?;
        if owner.is_none_or(|owner| owner == EngineId(*engine).to_string()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "another engine deposited for this store; `keyfall keyholder allow DIR {} --store \
                 {store}`, run there with its directory, gives it to this one",
                EngineId(*engine)
            ),
        ))
    }

    /// Whether an engine has this store here already; fails if it has not and may not.
    pub(super) fn has(&self, store: StoreId, engine: &[u8; 32]) -> Result<bool> {
        self.check_owner(store, engine)?;
        let path = owner_file(&self.dir, store);
        check_subdir(path.parent().unwrap_or(&self.dir))?;
        if owner_in(&path)?.is_some() {
            return Ok(true);
        }
        let room = self.room(engine).unwrap_or_default();
        if self.stores_of(engine)? >= room {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "this engine has {room} stores here, and no more; `keyfall keyholder allow DIR \
                     ENGINE_KEY --stores N` raises that"
                ),
            ));
        }
        Ok(false)
    }

    pub(super) fn claim(&self, store: StoreId, engine: &[u8; 32]) -> Result<()> {
        let _one = locked(&self.claims);
        if self.has(store, engine)? {
            return Ok(());
        }
        let path = owner_file(&self.dir, store);
        make_dir(path.parent().unwrap_or(&self.dir))?;
        sync_dir(&self.dir.join("stores"))?;
        write(&path, &format!("{}\n", EngineId(*engine)), false)
    }

    fn stores_of(&self, engine: &[u8; 32]) -> Result<usize> {
        let (path, name) = (self.dir.join("stores"), EngineId(*engine).to_string());
        let mut stores = 0;
        for entry in std::fs::read_dir(&path).map_err(io(&path))? {
            let owner = entry.map_err(io(&path))?.path().join("engine");
            stores += usize::from(read(&owner).is_ok_and(|text| text.trim() == name));
        }
        Ok(stores)
    }

    pub(super) fn holder(&self, env: &SharedEnv) -> Holder {
        Holder::in_dir(&self.dir, SigningKey::from_bytes(self.statements.bytes()), env)
    }
}

/// Where a keyholder notes the engine that a store is of.
fn owner_file(dir: &Path, store: StoreId) -> PathBuf {
    dir.join("stores").join(store.to_string()).join("engine")
}

/// The engine that is noted there; an empty file is one whose write was cut short.
fn owner_in(path: &Path) -> Result<Option<String>> {
    if !is_there(path)? {
        return Ok(None);
    }
    Ok(Some(read(path)?.trim().to_owned()).filter(|owner| !owner.is_empty()))
}

/// The engines that may speak to a keyholder, a line each: its key, and maybe "stores N".
fn engines(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join("engines");
    if !is_there(&path)? {
        let text =
            format!("no keyholder at {}; `keyfall keyholder init DIR` makes one", dir.display());
        return Err(Error::new(ErrorKind::Absent, text));
    }
    Ok(read(&path)?.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// Changes the list of engines, one process after another.
fn change_engines(dir: &Path, change: impl FnOnce(&mut Vec<String>)) -> Result<()> {
    engines(dir)?;
    let path = dir.join("engines.lock");
    let mut options = File::options();
    options.create(true).truncate(false).mode(0o600);
    let lock = open_to_write(&path, &mut options).map_err(io(&path))?;
    lock.lock().map_err(io(&path))?;
    let before = engines(dir)?;
    let mut lines = before.clone();
    change(&mut lines);
    if lines != before {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        write(&dir.join("engines"), &text, false)?;
    }
    Ok(())
}

fn names(line: &str, engine: EngineId) -> bool {
    line.split_whitespace().next() == Some(&engine.to_string())
}
