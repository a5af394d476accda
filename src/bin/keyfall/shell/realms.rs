//! STORE, where it is the directory of a realm: the shard that a command is about.

use std::path::{Path, PathBuf};

use keyfall::engine::Keeper;
use keyfall::realm::{Realm, RealmBuilder, ShardAt, is_realm};
use keyfall::{Builder, Error, ErrorKind, Put, RecordId, Scope, UserId};

use crate::shell::remedy::word;
use crate::shell::session::Session;

/// Whose shard is meant.
#[derive(Clone, Copy)]
pub(crate) enum Whose<'a> {
    User(&'a UserId),
    Record(&'a RecordId),
    /// Where a record is to go.
    Put(&'a Put),
}

impl<'a> Whose<'a> {
    /// What a scope names.
    pub(crate) fn of(scope: &'a Scope) -> Self {
        match scope {
            Scope::User { user, .. } => Whose::User(user),
            Scope::Record(id) => Whose::Record(id),
        }
    }
}

/// How this program opens a shard.
pub(crate) fn builder(session: &Session, shard: &ShardAt) -> Builder {
    let builder = Builder::at(&shard.place).keeper(Keeper::ByHand).wait_for_lock(session.patience);
    let builder = session.cached(Path::new(&shard.place), builder);
    match &shard.cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    }
}

/// Opens a realm to look.
pub(crate) fn look(session: &Session, dir: &Path) -> Result<Realm, Error> {
    session.about(dir);
    if session.cell.is_some() {
        let text = "--cell and KEYFALL_CELL name the cell of one store, and each shard of a realm \
                    has its own; leave them out";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let opens = session.clone();
    let open = move |shard: &ShardAt| Ok(builder(&opens, shard));
    RealmBuilder::at(dir).open_shard(open).read_only().open()
}

/// Says where a shard lies that was named as if it lay in its realm. Nothing must be
/// restored there: its cell is in use.
pub(crate) fn lies_elsewhere(session: &Session, store: &Path) -> Option<Error> {
    let dir = store.parent().filter(|dir| !store.exists() && is_realm(dir))?;
    let number = store.file_name()?.to_str()?.strip_prefix("shard-")?.parse::<usize>().ok()?;
    let realm = look(&session.with_cell(None), dir).ok()?;
    let shard = realm.shards().get(number).filter(|shard| Path::new(&shard.place) != store)?;
    let cell = shard.cell.as_ref().map_or(String::new(), |cell| format!(" --cell {}", word(cell)));
    let text = format!(
        "shard {number} of the realm {} does not lie in it: name it as {}{cell}",
        dir.display(),
        word(&shard.place)
    );
    Some(Error::new(ErrorKind::Invalid, text))
}

/// The store that a command about somebody is about, with the session for it: STORE, or the shard
/// that has them if STORE is a realm.
pub(crate) fn shard_of(
    session: &Session,
    store: PathBuf,
    whose: Whose<'_>,
) -> Result<(Session, PathBuf), Error> {
    if !is_realm(&store) {
        return Ok((session.clone(), store));
    }
    let realm = look(session, &store)?;
    let shard = match whose {
        Whose::User(user) => realm.shard_of(user),
        Whose::Record(id) => Ok(realm.shard_of_record(id)),
        Whose::Put(put) => realm.shard_for(put),
    };
    let shard = shard.inspect_err(|e| match named_in(&realm, e) {
        Some(there) => about_shard(session, there),
        // Whoever is not in the realm is made in the realm.
        None if matches!(whose, Whose::User(_)) && e.kind() == ErrorKind::Absent => {
            session.about(&store);
        }
        None => about_first(session, &realm),
    })?;
    let number = shard.number;
    let found = about(session, &realm, number);
    // The shard that was looked into must not keep the one that acts from its lock.
    realm.close()?;
    found
}

/// The stores that a command about everybody is about: STORE, or all shards of a realm.
pub(crate) fn all_shards(
    session: &Session,
    store: PathBuf,
) -> Result<Vec<(Session, PathBuf)>, Error> {
    if !is_realm(&store) {
        return Ok(vec![(session.clone(), store)]);
    }
    let realm = look(session, &store)?;
    (0..realm.shards().len()).map(|number| about(session, &realm, number)).collect()
}

/// The shard whose place an error names.
fn named_in<'r>(realm: &'r Realm, e: &Error) -> Option<&'r ShardAt> {
    let text = e.to_string();
    let named = realm.shards().iter().filter(|shard| text.contains(&shard.place));
    named.max_by_key(|shard| shard.place.len())
}

/// Where none of the shards opens, what is told, and what helps, is of the first one.
pub(crate) fn about_first(session: &Session, realm: &Realm) {
    realm.shards().first().into_iter().for_each(|first| about_shard(session, first));
}

/// Has what helps be typed with a shard.
fn about_shard(session: &Session, shard: &ShardAt) {
    session.with_cell(shard.cell.as_ref().map(PathBuf::from)).about(Path::new(&shard.place));
}

fn about(session: &Session, realm: &Realm, number: usize) -> Result<(Session, PathBuf), Error> {
    let shard = &realm.shards()[number];
    let (place, cell) = (PathBuf::from(&shard.place), shard.cell.as_ref().map(PathBuf::from));
    Ok((session.with_cell(cell).with_shard(&place, realm.builder_at(number)?), place))
}
