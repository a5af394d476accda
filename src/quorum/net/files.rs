//! What lies in directories: a keyholder's, and the cell of a store that is spread over keyholders.
//!
//! ```text
//! keyholder: identity (two seeds, to be kept secret)   engines (who may speak to it)   stores/STORE/{engine, slot-a ... slot-h}
//! cell:      quorum.json (who the keyholders are)      engine.key (the engine's seed, to be kept secret)   lock
//! ```

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::{EngineId, KeyholderId, RemoteKeyholder};
use crate::cell::check_medium;
use crate::codec::{parsed, shown};
use crate::crypto::Key;
use crate::dir::{DirLock, check_subdir, make_dir, read_small, sync_dir};
use crate::env::{Env, SharedEnv};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::quorum::ask::Circle;
use crate::quorum::cell::{Change, TakeLock};
use crate::quorum::config::{Ledger, store_of};
use crate::quorum::{Config, Holder, Keyholder, Left, Member, QuorumCell, Rule};
use crate::secret::WipeStack;
use crate::sync::{Mutex, locked};

const HOLDER_PRIVATE: &str = "keyfall-keyholder-private-1:";
const ENGINE_PRIVATE: &str = "keyfall-engine-private-1:";
const QUORUM: &str = "quorum.json";
/// Stores that one engine may have a keyholder keep shares of, where `allow` named no number. A cell is of one store; an `init` that failed
/// leaves another.
const STORES: usize = 8;

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::io(path.display(), e)
}

/// Writes a file that only its owner reads, durably; with `new` it must not be there.
fn write(path: &Path, text: &str, new: bool) -> Result<()> {
    let part = path.with_extension("part");
    let target = if new { path } else { &part };
    if !new {
        // What a write that was cut short left; a link that lies there goes, and what it leads to stays.
        let _ = std::fs::remove_file(&part);
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(io(target))?;
    if !new {
        std::fs::rename(&part, path).map_err(io(path))?;
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    read_small(path).map(Zeroizing::new).map_err(io(path))
}

fn public(seed: &Key) -> [u8; 32] {
    let _wiped = WipeStack;
    SigningKey::from_bytes(seed.bytes()).verifying_key().to_bytes()
}

/// The engines that may speak to a keyholder, a line each: its key, and maybe "stores N".
fn engines(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join("engines");
    if !path.exists() {
        let text = format!("no keyholder at {}; `keyfall keyholder init DIR` makes one", dir.display());
        return Err(Error::new(ErrorKind::Absent, text));
    }
    Ok(read(&path)?.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn write_engines(dir: &Path, lines: impl Iterator<Item = String>) -> Result<()> {
    write(&dir.join("engines"), &lines.map(|line| format!("{line}\n")).collect::<String>(), false)
}

fn names(line: &str, engine: EngineId) -> bool {
    line.split_whitespace().next() == Some(&engine.to_string())
}

/// A keyholder's directory.
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
    /// Makes one. Its file system must overwrite in place, or `accept_remnants` be set.
    ///
    /// # Errors
    /// `Exists` where a keyholder is there; `Refused` for a file system that keeps old bytes; `Io`.
    pub fn create(dir: &Path, accept_remnants: bool, env: &dyn Env) -> Result<Self> {
        make_dir(dir)?;
        check_medium(dir, accept_remnants)?;
        let path = dir.join("identity");
        if path.exists() {
            return Err(Error::new(ErrorKind::Exists, format!("{} is a keyholder's directory already", dir.display())));
        }
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

    /// Opens one.
    ///
    /// # Errors
    /// `Absent` where there is none; `Locked`; `Refused` where its file system has come to keep old bytes; `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("identity");
        if !path.exists() {
            let text = format!("no keyholder at {}; `keyfall keyholder init DIR` makes one", dir.display());
            return Err(Error::new(ErrorKind::Absent, text));
        }
        check_medium(dir, dir.join("remnants-accepted").exists())?;
        check_subdir(&dir.join("stores"))?;
        let lock = DirLock::take(dir, "keyholder")?;
        let seeds = Zeroizing::new(parsed(HOLDER_PRIVATE, &read(&path)?).unwrap_or_default());
        let (Some(channel), Some(statements), 64) = (seeds.first_chunk(), seeds.last_chunk(), seeds.len()) else {
            return Err(Error::corrupt(format!("{} is damaged: this keyholder cannot show who it is", path.display())));
        };
        let (channel, statements) = (Key::copied_from(channel), Key::copied_from(statements));
        Ok(KeyholderDir { dir: dir.to_owned(), channel, statements, claims: Mutex::default(), _lock: lock })
    }

    /// Who it is.
    pub fn id(&self) -> KeyholderId {
        KeyholderId { channel: public(&self.channel), statements: public(&self.statements) }
    }

    /// Lets an engine speak to it; with a store, gives that store to this engine, whoever had it, also where there is no share of it yet.
    ///
    /// # Errors
    /// `Invalid` where `store` is no store's id; `Absent` where no keyholder is there; `Io`.
    pub fn allow(dir: &Path, engine: EngineId, store: Option<&str>) -> Result<()> {
        let lines = engines(dir)?;
        if !lines.iter().any(|line| names(line, engine)) {
            write_engines(dir, lines.into_iter().chain([engine.to_string()]))?;
        }
        if let Some(store) = store {
            let bad = || Error::invalid(format!("{store:?} is no store's id; `keyfall status STORE` prints it"));
            let id = data_encoding::HEXLOWER.decode(store.as_bytes()).map_err(|_| bad())?;
            let id = StoreId(id.try_into().map_err(|_| bad())?);
            let store = dir.join("stores").join(id.to_string());
            check_subdir(&dir.join("stores"))?;
            check_subdir(&store)?;
            make_dir(&store)?;
            sync_dir(&dir.join("stores"))?;
            write(&store.join("engine"), &format!("{engine}\n"), false)?;
        }
        Ok(())
    }

    /// Sets of how many stores an engine may have it keep shares; 8 where nothing is set.
    ///
    /// # Errors
    /// `Absent` where no keyholder is there; `Io`.
    pub fn limit(dir: &Path, engine: EngineId, stores: usize) -> Result<()> {
        let others = engines(dir)?.into_iter().filter(|line| !names(line, engine));
        write_engines(dir, others.chain([format!("{engine} stores {stores}")]))
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
            let id = data_encoding::HEXLOWER.decode(name.as_bytes()).ok().and_then(|id| id.try_into().ok());
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

    /// How many stores an engine may have here; `None` where it is not known. Read for each connection: an engine that was allowed meanwhile
    /// is let in.
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
                "an engine connected that this keyholder does not know; where it is yours, run `keyfall keyholder allow {} {engine_id}`",
                self.dir.display()
            )
        })
    }

    fn owner(&self, store: StoreId) -> PathBuf {
        self.dir.join("stores").join(store.to_string()).join("engine")
    }

    /// A store that an engine deposited for is that engine's.
    fn check_owner(&self, store: StoreId, engine: &[u8; 32]) -> Result<()> {
        let path = self.owner(store);
        if !path.exists() || read(&path)?.trim() == EngineId(*engine).to_string() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            "another engine deposited for this store; `keyfall keyholder allow DIR ENGINE_KEY --store ID` gives it to this one",
        ))
    }

    /// Whether an engine has this store here already; fails where it has not and may not.
    pub(super) fn has(&self, store: StoreId, engine: &[u8; 32]) -> Result<bool> {
        self.check_owner(store, engine)?;
        let path = self.owner(store);
        check_subdir(path.parent().unwrap_or(&self.dir))?;
        if path.exists() {
            return Ok(true);
        }
        let room = self.room(engine).unwrap_or_default();
        if self.stores_of(engine)? >= room {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "this engine has {room} stores here, and no more; `keyfall keyholder allow DIR ENGINE_KEY --stores N` raises that"
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
        let path = self.owner(store);
        make_dir(path.parent().unwrap_or(&self.dir))?;
        sync_dir(&self.dir.join("stores"))?;
        write(&path, &format!("{}\n", EngineId(*engine)), true)
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

/// The key by which an engine shows keyholders who it is.
pub struct EngineKey(Key);

impl std::fmt::Debug for EngineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineKey(..)")
    }
}

impl EngineKey {
    /// The one in a cell's directory; made where there is none.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged; `Io`.
    pub fn in_dir(dir: &Path, env: &dyn Env) -> Result<Self> {
        let path = dir.join("engine.key");
        if !path.exists() {
            make_dir(dir)?;
            let seed = Key::random(env)?;
            write(&path, &Zeroizing::new(format!("{}\n", shown(ENGINE_PRIVATE, seed.bytes()))), true)?;
        }
        let seed = Zeroizing::new(parsed(ENGINE_PRIVATE, &read(&path)?).unwrap_or_default());
        let (Some(seed), 32) = (seed.first_chunk(), seed.len()) else {
            return Err(Error::corrupt(format!(
                "{} is damaged; have keyholders allow another with `keyfall keyholder allow DIR ENGINE_KEY --store ID`",
                path.display()
            )));
        };
        Ok(EngineKey(Key::copied_from(seed)))
    }

    /// Who the engine is.
    pub fn id(&self) -> EngineId {
        EngineId(public(&self.0))
    }

    pub(super) fn seed(&self) -> &Key {
        &self.0
    }
}

fn read_config(dir: &Path) -> Result<Config> {
    let path = dir.join(QUORUM);
    serde_json::from_str(&read(&path)?)
        .map_err(|e| Error::corrupt(format!("{} does not parse ({e}); put it back", path.display())))
}

fn write_config(dir: &Path, config: &Config, new: bool) -> Result<()> {
    let text = serde_json::to_string_pretty(config).unwrap_or_else(|_| unreachable!("plain fields always serialize"));
    write(&dir.join(QUORUM), &format!("{text}\n"), new)
}

fn circle(dir: &Path, config: &Config, env: &SharedEnv) -> Result<Circle> {
    let engine = EngineKey::in_dir(dir, &**env)?;
    let members = config.keyholders.iter().chain(config.leaving.iter().map(|left| &left.member)).map(|member| {
        let remote = RemoteKeyholder::new(member.key.parse()?, &member.address, &engine, Arc::clone(env))?;
        Ok(Arc::new(remote) as Arc<dyn Keyholder>)
    });
    Circle::at_once(members.collect::<Result<_>>()?)
}

/// Makes the cell of a store that is to be spread over keyholders; they hear of it when the store is made.
///
/// # Errors
/// `Exists` where a cell is there; `Invalid` for numbers that cannot work; `Io`.
pub fn make_cell(dir: &Path, members: Vec<Member>, rule: impl Into<Rule>, env: &SharedEnv) -> Result<QuorumCell> {
    if dir.join("slot-a").exists() || dir.join(QUORUM).exists() {
        return Err(Error::new(
            ErrorKind::Exists,
            format!(
                "{} holds a cell already, and without it all data of its store is lost; leave it as it is, and name another place with `Builder::cell_at`",
                dir.display()
            ),
        ));
    }
    let config = Config::new(members, rule.into());
    let cell = cell_of(dir, &config, env)?;
    make_dir(dir)?;
    write_config(dir, &config, true)?;
    Ok(cell)
}

/// Opens it; `None` where the directory holds a cell of another kind, or none. The directory is locked by the first verb that changes
/// something; looking needs no lock.
///
/// # Errors
/// `Corrupt` where its file is damaged; `Io`.
pub fn open_cell(dir: &Path, env: &SharedEnv) -> Result<Option<QuorumCell>> {
    if !dir.join(QUORUM).exists() {
        return Ok(None);
    }
    cell_of(dir, &read_config(dir)?, env).map(Some)
}

fn cell_of(dir: &Path, config: &Config, env: &SharedEnv) -> Result<QuorumCell> {
    let place = dir.to_owned();
    let change = move |act: &mut dyn FnMut(&mut Config)| {
        let mut config = read_config(&place)?;
        act(&mut config);
        write_config(&place, &config, false)
    };
    let (place, opened) = (dir.to_owned(), config.clone());
    let take_lock = move || {
        let lock = DirLock::take(&place, "cell")?;
        if read_config(&place)? != opened {
            return Err(Error::new(
                ErrorKind::Locked,
                format!("the cell {} was changed by another process meanwhile; open it again", place.display()),
            ));
        }
        Ok(Some(lock))
    };
    let rule = Rule { threshold: config.threshold, liars: config.liars, margin: config.margin };
    let (store, ledger) = (store_of(config)?, Ledger::read(config)?);
    let kept: (Change, TakeLock) = (Box::new(change), Box::new(take_lock));
    QuorumCell::new(circle(dir, config, env)?, rule, (store, ledger), kept, Arc::clone(env))
}

/// The keyholder with this number, from 1 on.
fn member(config: &mut Config, number: usize) -> Result<&mut Member> {
    let there = number.checked_sub(1).and_then(|n| config.keyholders.get_mut(n));
    there.ok_or_else(|| {
        Error::invalid(format!("there is no keyholder {number}; `keyfall keyholder status STORE` numbers them"))
    })
}

fn is(member: &Member, id: &KeyholderId) -> bool {
    member.key.parse::<KeyholderId>().is_ok_and(|other| other == *id)
}

/// A keyholder that took the place of another.
#[derive(Debug)]
pub struct Replaced {
    /// The place, from 1.
    pub number: usize,
    /// Who has it now.
    pub new: Member,
    /// Who had it.
    pub old: Member,
    /// Whether that one may hold a share: then an epoch has to begin, which makes it worthless.
    pub may_hold: bool,
    /// What was awaited of the new one, which had left this place before.
    came: Vec<Left>,
}

/// Puts a keyholder in a place. The one that leaves is asked for its word, where it may hold a share; one that comes back is a keyholder again.
fn put_in(config: &mut Config, number: usize, new: Member) -> Result<Replaced> {
    let (id, x): (KeyholderId, u8) = (new.key.parse()?, number as u8);
    let old = std::mem::replace(member(config, number)?, new.clone());
    let comes = |left: &Left| left.x == x && is(&left.member, &id);
    let (came, others): (Vec<Left>, Vec<Left>) = std::mem::take(&mut config.leaving).into_iter().partition(comes);
    config.leaving = others;
    let may_hold = config.was_dealt(&old)?;
    if may_hold {
        config.leaving.push(Left { member: old.clone(), x, until: None });
    }
    Ok(Replaced { number, new, old, may_hold, came })
}

/// Puts another keyholder in the place of one, by its number from 1. It must answer, with its key, and take shares of this store from this
/// engine; one that left the place before may come back. Open the cell again, which deals it its share of the running root key, and begin an
/// epoch where the other may hold one; where that fails, [`put_back`] undoes it.
///
/// # Errors
/// `Invalid` where there is no such number, or the new one is there already; `Refused` where it does not know this engine, or is another;
/// `Locked` where an engine has the cell; `Io`. Nothing is changed then.
pub fn replace_member(dir: &Path, number: usize, new: Member, env: &SharedEnv) -> Result<Replaced> {
    let _lock = DirLock::take(dir, "cell")?;
    let mut config = read_config(dir)?;
    let id: KeyholderId = new.key.parse()?;
    member(&mut config, number)?;
    if let Some(n) = config.keyholders.iter().position(|member| is(member, &id)) {
        return Err(Error::invalid(format!(
            "this keyholder is one of the store's already, number {0}; where it has another address now, use `keyfall keyholder move [STORE] {0} HOST:PORT`",
            n + 1
        )));
    }
    let left = config.leaving.iter().filter(|left| is(&left.member, &id)).map(|left| usize::from(left.x));
    let left: Vec<usize> = left.collect();
    if let Some(x) = left.first().filter(|_| !left.contains(&number)) {
        // Two shares of one root key would be with one keyholder.
        return Err(Error::invalid(format!(
            "this keyholder was number {x}, and has not signed yet that it holds no share of that place; put it back there, or begin an epoch and ask it first (`keyfall keyholder renew STORE`, `keyfall tend STORE`)"
        )));
    }
    let there = RemoteKeyholder::new(id, &new.address, &EngineKey::in_dir(dir, &**env)?, Arc::clone(env))?;
    let agrees = match store_of(&config)? {
        Some(store) => there.load(store).map(drop),
        None => there.greet(),
    };
    agrees.map_err(|e| e.context("nothing was changed"))?;
    let replaced = put_in(&mut config, number, new)?;
    write_config(dir, &config, false)?;
    Ok(replaced)
}

/// Gives a place back to the one that had it. What the other may have been dealt meanwhile it is asked for.
///
/// # Errors
/// `Locked` where an engine has the cell, or the place was given to a third one; `Io`.
pub fn put_back(dir: &Path, replaced: Replaced) -> Result<()> {
    let _lock = DirLock::take(dir, "cell")?;
    let mut config = read_config(dir)?;
    let Replaced { number, new, old, came, .. } = replaced;
    if member(&mut config, number)?.key != new.key {
        return Err(Error::new(
            ErrorKind::Locked,
            format!("the cell {} was changed by another process meanwhile", dir.display()),
        ));
    }
    if !put_in(&mut config, number, old)?.may_hold {
        config.leaving.extend(came);
    }
    write_config(dir, &config, false)
}

/// Keyholders that were replaced, and have not signed yet that they hold nothing.
///
/// # Errors
/// `Corrupt` where the cell's file is damaged; `Io`.
pub fn leaving(dir: &Path) -> Result<Vec<Left>> {
    read_config(dir).map(|config| config.leaving)
}

/// Every keyholder that is known, also such as were replaced.
fn known(config: &mut Config) -> impl Iterator<Item = &mut Member> {
    config.keyholders.iter_mut().chain(config.leaving.iter_mut().map(|left| &mut left.member))
}

/// Notes that a keyholder, by its number from 1, is at another address now. Where `check` is set it must answer there, with the key that
/// it had.
///
/// # Errors
/// `Invalid` where there is no such number; `Refused` where another keyholder is there; `Locked` where an engine has the cell; `Io`.
pub fn move_member(dir: &Path, number: usize, address: &str, check: bool, env: &SharedEnv) -> Result<()> {
    moved(dir, |config| member(config, number)?.key.parse(), (address, check), env)
}

/// The same by its key: also one that was replaced, and is still to sign.
///
/// # Errors
/// As [`move_member`]; `Invalid` where there is none with this key.
pub fn move_keyholder(dir: &Path, key: KeyholderId, address: &str, check: bool, env: &SharedEnv) -> Result<()> {
    let find = |config: &mut Config| {
        let there = known(config).any(|member| member.key.parse::<KeyholderId>().is_ok_and(|id| id == key));
        let none =
            || Error::invalid("no keyholder of the store has this key; `keyfall keyholder status STORE` shows them");
        there.then_some(key).ok_or_else(none)
    };
    moved(dir, find, (address, check), env)
}

fn moved(
    dir: &Path,
    find: impl FnOnce(&mut Config) -> Result<KeyholderId>,
    (address, check): (&str, bool),
    env: &SharedEnv,
) -> Result<()> {
    let _lock = DirLock::take(dir, "cell")?;
    let mut config = read_config(dir)?;
    let key = find(&mut config)?;
    if check {
        let engine = EngineKey::in_dir(dir, &**env)?;
        RemoteKeyholder::new(key, address, &engine, Arc::clone(env))?.greet()?;
    }
    for member in known(&mut config).filter(|member| member.key.parse::<KeyholderId>().is_ok_and(|id| id == key)) {
        address.clone_into(&mut member.address);
    }
    write_config(dir, &config, false)
}
