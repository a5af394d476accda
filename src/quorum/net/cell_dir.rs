//! The directory of a cell that is spread over keyholders.
//!
//! ```text
//! quorum.json (list of the keyholders)   engine.key (the engine's seed, to be kept secret)   lock
//! ```

use std::path::Path;
use std::sync::Arc;

use super::engine_key::EngineKey;
use super::private::{read, write};
use super::{KeyholderId, RemoteKeyholder};
use crate::dir::{DirLock, has_one_of, is_there, make_dir};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::quorum::ask::Circle;
use crate::quorum::brand::note_list;
use crate::quorum::config::store_of;
use crate::quorum::known::Local;
use crate::quorum::ledger::Ledger;
use crate::quorum::{Config, Keyholder, Left, Member, QuorumCell, Rule};

const QUORUM: &str = "quorum.json";

fn read_config(dir: &Path) -> Result<Config> {
    let path = dir.join(QUORUM);
    serde_json::from_str(&read(&path)?).map_err(|e| {
        Error::corrupt(format!("{} does not parse ({e}); put it back", path.display()))
    })
}

fn write_config(dir: &Path, config: &Config, new: bool) -> Result<()> {
    let text = serde_json::to_string_pretty(config)
        .map_err(|e| Error::io("writing the list of the keyholders", e.into()))?;
    write(&dir.join(QUORUM), &format!("{text}\n"), new)
}

fn circle(dir: &Path, config: &Config, env: &SharedEnv) -> Result<Circle> {
    let is_made = is_there(&dir.join(QUORUM))?;
    let engine = if is_made { EngineKey::there(dir)? } else { EngineKey::in_dir(dir, &**env)? };
    let members =
        config.keyholders.iter().chain(config.leaving.iter().map(|left| &left.member)).map(
            |member| {
                let remote = RemoteKeyholder::new(
                    member.key.parse()?,
                    &member.address,
                    &engine,
                    Arc::clone(env),
                )?;
                Ok(Arc::new(remote) as Arc<dyn Keyholder>)
            },
        );
    Circle::at_once(members.collect::<Result<_>>()?)
}

/// Makes the cell of a store that is to be spread over keyholders; they hear of it when the store
/// is made.
///
/// # Errors
/// `Exists` if a cell is there; `Invalid` for numbers that cannot work; `Io`.
pub fn make_cell(
    dir: &Path,
    members: Vec<Member>,
    rule: impl Into<Rule>,
    env: &SharedEnv,
) -> Result<QuorumCell> {
    if has_one_of(dir, &["slot-a", QUORUM])? {
        return Err(Error::new(
            ErrorKind::Exists,
            format!(
                "{} holds a cell already, and without it all data of its store is lost; leave it \
                 as it is, and name another place with `Builder::cell_at`",
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

/// Opens the cell in a directory; `None` if the directory holds a cell of another kind, or none.
/// The directory is locked by the first verb that changes something; looking needs no lock.
///
/// # Errors
/// `Corrupt` if its file is damaged; `Io`.
pub fn open_cell(dir: &Path, env: &SharedEnv) -> Result<Option<QuorumCell>> {
    if !is_there(&dir.join(QUORUM))? {
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
                format!(
                    "the cell {} was changed by another process meanwhile; open it again",
                    place.display()
                ),
            ));
        }
        Ok(Some(lock))
    };
    let (store, ledger) = (store_of(config)?, Ledger::read(config)?);
    let local = Local { store, ledger, change: Box::new(change), take_lock: Box::new(take_lock) };
    QuorumCell::new(circle(dir, config, env)?, Rule::of(config), local, Arc::clone(env))
}

/// The keyholder with this number, from 1 on.
fn member(config: &mut Config, number: usize) -> Result<&mut Member> {
    let there = number.checked_sub(1).and_then(|n| config.keyholders.get_mut(n));
    there.ok_or_else(|| {
        Error::invalid(format!(
            "there is no keyholder {number}; `keyfall keyholder status STORE` numbers them"
        ))
    })
}

fn is(member: &Member, id: &KeyholderId) -> bool {
    member.key.parse::<KeyholderId>().is_ok_and(|other| other == *id)
}

/// A keyholder that took the place of another.
#[derive(Debug)]
pub struct Replaced {
    /// Number of the place, from 1.
    pub number: usize,
    /// The keyholder that has the place now.
    pub new: Member,
    /// The keyholder that had the place.
    pub old: Member,
    /// Whether that one may hold a share: then an epoch has to begin, which makes it worthless.
    pub may_hold: bool,
    /// What was awaited of the new one, which had left this place before.
    came: Vec<Left>,
}

/// Puts a keyholder in a place. The one that leaves is asked for its word, if it may hold a
/// share; one that comes back is a keyholder again.
fn put_in(config: &mut Config, number: usize, new: Member) -> Result<Replaced> {
    let (id, x): (KeyholderId, u8) = (new.key.parse()?, number as u8);
    member(config, number)?;
    // Another machine may have tried an epoch by the list as it was.
    note_list(config)?;
    let old = std::mem::replace(member(config, number)?, new.clone());
    let comes = |left: &Left| left.x == x && is(&left.member, &id);
    let (came, others): (Vec<Left>, Vec<Left>) =
        std::mem::take(&mut config.leaving).into_iter().partition(comes);
    config.leaving = others;
    let may_hold = config.was_dealt(&old)?;
    if may_hold {
        config.leaving.push(Left { member: old.clone(), x, until: None });
    }
    Ok(Replaced { number, new, old, may_hold, came })
}

/// Puts another keyholder in the place of one, by its number from 1. It must answer, with its key,
/// and take shares of this store from this engine; one that left the place before may come back.
/// Open the cell again, which deals it its share of the running root key, and begin an epoch if
/// the other may hold one; if that fails, [`put_back`] undoes it.
///
/// # Errors
/// `Invalid` if there is no such number, or the new one is there already; `Refused` if it
/// does not know this engine, or is another; `Locked` if an engine has the cell; `Io`. Nothing
/// is changed then.
pub fn replace_member(dir: &Path, number: usize, new: Member, env: &SharedEnv) -> Result<Replaced> {
    let _lock = DirLock::take(dir, "cell")?;
    let mut config = read_config(dir)?;
    let id: KeyholderId = new.key.parse()?;
    member(&mut config, number)?;
    if let Some(n) = config.keyholders.iter().position(|member| is(member, &id)) {
        return Err(Error::invalid(format!(
            "this keyholder is one of the store's already, number {0}; if it has another \
             address now, use `keyfall keyholder move STORE {0} HOST:PORT`",
            n + 1
        )));
    }
    let left =
        config.leaving.iter().filter(|left| is(&left.member, &id)).map(|left| usize::from(left.x));
    let left: Vec<usize> = left.collect();
    if let Some(x) = left.first().filter(|_| !left.contains(&number)) {
        // Two shares of one root key would be with one keyholder.
        return Err(Error::invalid(format!(
            "this keyholder was number {x}, and has not signed yet that it holds no share of that \
             place; put it back there, or begin an epoch and ask it first (`keyfall keyholder \
             renew STORE`, `keyfall tend STORE`)"
        )));
    }
    let there = RemoteKeyholder::new(id, &new.address, &EngineKey::there(dir)?, Arc::clone(env))?;
    let agrees = match store_of(&config)? {
        Some(store) => there.load(store).map(drop),
        None => there.greet(),
    };
    agrees.map_err(|e| e.context("nothing was changed"))?;
    let replaced = put_in(&mut config, number, new)?;
    write_config(dir, &config, false)?;
    Ok(replaced)
}

/// Gives a place back to the one that had it. What the other may have been dealt meanwhile it is
/// asked for.
///
/// # Errors
/// `Locked` if an engine has the cell, or the place was given to a third one; `Io`.
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
/// `Corrupt` if the cell's file is damaged; `Io`.
pub fn leaving(dir: &Path) -> Result<Vec<Left>> {
    read_config(dir).map(|config| config.leaving)
}

/// Every keyholder that is known, also such as were replaced.
fn known(config: &mut Config) -> impl Iterator<Item = &mut Member> {
    config.keyholders.iter_mut().chain(config.leaving.iter_mut().map(|left| &mut left.member))
}

/// Notes that a keyholder, by its number from 1, is at another address now. If `check` is set it
/// must answer there, with the key that it had.
///
/// # Errors
/// `Invalid` if there is no such number; `Refused` if another keyholder is there; `Locked`
/// if an engine has the cell; `Io`.
pub fn move_member(
    dir: &Path,
    number: usize,
    address: &str,
    check: bool,
    env: &SharedEnv,
) -> Result<()> {
    moved(dir, |config| member(config, number)?.key.parse(), address, check, env)
}

/// As [`move_member`], by the keyholder's key: also one that was replaced, and is still to sign.
///
/// # Errors
/// As [`move_member`]; `Invalid` if there is none with this key.
pub fn move_keyholder(
    dir: &Path,
    key: KeyholderId,
    address: &str,
    check: bool,
    env: &SharedEnv,
) -> Result<()> {
    let find = |config: &mut Config| {
        let there =
            known(config).any(|member| member.key.parse::<KeyholderId>().is_ok_and(|id| id == key));
        let none = || {
            Error::invalid(
                "no keyholder of the store has this key; `keyfall keyholder status \
                STORE` shows them",
            )
        };
        there.then_some(key).ok_or_else(none)
    };
    moved(dir, find, address, check, env)
}

fn moved(
    dir: &Path,
    find: impl FnOnce(&mut Config) -> Result<KeyholderId>,
    address: &str,
    check: bool,
    env: &SharedEnv,
) -> Result<()> {
    let _lock = DirLock::take(dir, "cell")?;
    let mut config = read_config(dir)?;
    let key = find(&mut config)?;
    if check {
        let engine = EngineKey::there(dir)?;
        RemoteKeyholder::new(key, address, &engine, Arc::clone(env))?.greet()?;
    }
    for member in known(&mut config)
        .filter(|member| member.key.parse::<KeyholderId>().is_ok_and(|id| id == key))
    {
        address.clone_into(&mut member.address);
    }
    write_config(dir, &config, false)
}
