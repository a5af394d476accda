//! Making a realm: first what it is to be, then each shard, last the map. At whatever point it is
//! cut short, it is gone through again from the beginning, and finds what is there.
//!
//! The index key lies in the shards alone, in each one's sealed head: the first is made with one
//! that it draws, and the others with that of the first. What an init that was cut short drew for a
//! first shard that never had a head is nowhere else yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{remove_parts, write_once};
use super::map::{Map, even, file, is_realm};
use super::places::{FILE, Founding, OpenShard, ShardAt, check};
use crate::Engine;
use crate::catalogue::shard::Shard;
use crate::crypto::{Key, realm_index};
use crate::dir::{DirLock, make_dir, sync_dir};
use crate::env::{Env, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, StoreId};
use crate::opening::{check_place, is_object_log, lies_inside, territory};

/// Makes a realm in a directory, or finishes one.
pub(super) fn init(dir: &Path, shards: &[ShardAt], open: &OpenShard) -> Result<()> {
    let env = System;
    check_place(dir)?;
    let what = territory(dir).or_else(|| is_object_log(dir).then_some("the store"));
    if let Some(what) = what.filter(|_| !is_realm(dir)) {
        let text = format!(
            "{} is {what}: a realm needs a directory of its own; name another place",
            dir.display()
        );
        return Err(Error::new(ErrorKind::Refused, text));
    }
    make_dir(&dir.join("map"))?;
    let _lock = DirLock::take(dir, "realm")?;
    remove_parts(dir)?;
    remove_parts(&dir.join("map"))?;
    let begun = Founding::read(dir)?;
    if let Some(begun) = &begun
        && Map::of(dir, begun.realm)?.is_some()
    {
        let text = format!(
            "{} is a realm of {} shards already; open it",
            dir.display(),
            begun.shards.len()
        );
        return Err(Error::new(ErrorKind::Exists, text));
    }
    if begun.is_none()
        && let Some(map) = Map::newest(dir)?
    {
        return found_again(dir, map, shards, &env);
    }
    let is_new = begun.is_none();
    let founding = founded(dir, begun, shards, &env)?;
    let slots = even(founding.shards.len());
    let (mut index_key, mut stores) = (None, Vec::new());
    for shard in &founding.shards {
        let at = shard.seen_from(dir);
        let context = |e: Error| e.context(format!("shard {} of the realm", shard.number));
        let made = made(&at, open, founding.realm, index_key.take(), &slots).map_err(context);
        let made = match made {
            Err(e) if is_new && shard.number == 0 => return Err(undo(dir, &at, e)),
            made => made?,
        };
        index_key = Some(made.index_key);
        stores.push(made.store);
    }
    let Some(index_key) = index_key else { return check(&founding.shards) };
    let map = Map {
        number: 1,
        realm: founding.realm,
        index: realm_index(&index_key, founding.realm),
        shards: founding.shards,
        stores,
        slots,
    };
    sync_dir(dir)?;
    write_once(&file(dir, 1), &map.text(), &env)
}

/// Forgets where a realm was to be of whose first shard nothing was made, so that another place can
/// be named. A shard with a cell in a directory of its own has that before it has anything else;
/// one of another realm is as it was.
fn undo(dir: &Path, first: &ShardAt, e: Error) -> Error {
    let is_anothers = e.kind() == ErrorKind::Mismatch;
    if is_anothers || first.cell.as_ref().is_some_and(|cell| !Path::new(cell).exists()) {
        let _ = std::fs::remove_file(dir.join(FILE));
    }
    if !is_anothers {
        return e;
    }
    e.context(format!(
        "no realm was begun; if {0} lost its files `realm` and `map`, put them back from a copy",
        dir.display()
    ))
}

/// The file of the beginning is lost, and the map has all that it said.
fn found_again(dir: &Path, map: Map, shards: &[ShardAt], env: &dyn Env) -> Result<()> {
    check_asked(dir, &map.shards, shards)?;
    let founding = Founding { realm: map.realm, shards: map.shards };
    write_once(&dir.join(FILE), &founding.text(), env)
}

/// Refuses other shards than those that the realm was begun with; none stand for those.
fn check_asked(dir: &Path, begun: &[ShardAt], shards: &[ShardAt]) -> Result<()> {
    if shards.is_empty() || shards == begun {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the realm {} was begun with {} shards in other places than these {}, the first at {}; \
         repeat it with those or with none; if those were mistyped, and none of them was made, \
         remove {} and call again, or name another directory",
        dir.display(),
        begun.len(),
        shards.len(),
        begun.first().map_or("no place", |shard| shard.place.as_str()),
        dir.join(FILE).display()
    )))
}

/// What the realm is to be: as it was begun, or as it is asked for now.
fn founded(
    dir: &Path,
    begun: Option<Founding>,
    shards: &[ShardAt],
    env: &dyn Env,
) -> Result<Founding> {
    if let Some(begun) = begun {
        check_asked(dir, &begun.shards, shards)?;
        return Ok(begun);
    }
    check(shards)?;
    check_apart(dir, shards)?;
    let mut realm = [0; 16];
    env.fill(&mut realm)?;
    let founding = Founding { realm: RealmId(realm), shards: shards.to_vec() };
    write_once(&dir.join(FILE), &founding.text(), env)?;
    Ok(founding)
}

/// Refuses two shards in one place, however that is spelled.
fn check_apart(dir: &Path, shards: &[ShardAt]) -> Result<()> {
    let places: Vec<_> =
        shards.iter().map(|shard| PathBuf::from(shard.seen_from(dir).place)).collect();
    for (n, place) in places.iter().enumerate() {
        for (other, there) in places[..n].iter().enumerate() {
            if lies_inside(place, there)? && lies_inside(there, place)? {
                return Err(Error::invalid(format!(
                    "shards {other} and {n} would both be {}; give each a place of its own",
                    place.display()
                )));
            }
        }
    }
    Ok(())
}

/// A shard that exists.
struct Made {
    store: StoreId,
    index_key: Key,
}

fn made(
    at: &ShardAt,
    open: &OpenShard,
    realm: RealmId,
    index_key: Option<Key>,
    slots: &[u16],
) -> Result<Made> {
    let shard = Arc::new(Shard { realm, index_key, home: None });
    let engine = open(at)?.shard(Arc::clone(&shard)).open_or_create()?;
    if let Some(why) = engine.read_only() {
        return Err(Error::new(ErrorKind::Refused, why.to_owned()));
    }
    check_users(&engine, at, slots)?;
    let (store, (_, index_key)) = (engine.id(), engine.kin());
    engine.close()?;
    Ok(Made { store, index_key })
}

/// Refuses a shard with users whose home is another one: the map is written again over shards that
/// are in use, and two of them may have been exchanged.
fn check_users(engine: &Engine, at: &ShardAt, slots: &[u16]) -> Result<()> {
    if engine.all_users(&|tag| usize::from(slots[tag.slot()]) == at.number)? {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Mismatch,
        format!(
            "{} has users of another shard of this realm: two shards were exchanged; put each back \
             in its place",
            at.place
        ),
    ))
}
