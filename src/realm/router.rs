//! The realm: finds the shard of a user or of a record, and asks it.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::erased::{ErasedThere, RealmErased};
use super::map::{Map, is_realm};
use super::places::{FILE, Founding, OpenShard, ShardAt, by_default};
use super::shards::Shards;
use super::status::{RealmStatus, ShardStatus};
use crate::catalogue::shard::far_source;
use crate::dir::is_there;
use crate::engine::paved::Erasure;
use crate::engine::{Listing, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserHandle, UserId, UserTag};
use crate::opening::is_store;
use crate::promise::Finality;
use crate::record::{Put, RecordInfo, Source};
use crate::scope::{Erase, Scope};
use crate::{Builder, Engine, Query, Reader, crypto};

/// A realm, open. Cheap to clone; all clones are one.
///
/// A call about a user goes to that user's shard. For everything that is not here,
/// [`Realm::engine_of`] gives the engine: holds, policies, plans, grants, uploads, batches. Several
/// processes can have one realm open, each with shards of its own: a shard is opened when it is
/// first asked for, by one process at a time.
#[derive(Clone)]
pub struct Realm {
    shards: Arc<Shards>,
}

impl std::fmt::Debug for Realm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Realm").field("shards", &self.shards.at).finish_non_exhaustive()
    }
}

/// Opening and closing.
impl Realm {
    /// Opens the realm in a directory; what cannot be said here
    /// [`RealmBuilder`](crate::realm::RealmBuilder) takes.
    ///
    /// # Errors
    /// As [`RealmBuilder::open`](crate::realm::RealmBuilder::open).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let open: OpenShard = Arc::new(by_default);
        Realm::over(dir.as_ref(), &open, false)
    }

    pub(super) fn over(dir: &Path, open: &OpenShard, read_only: bool) -> Result<Self> {
        if is_store(dir) {
            return Err(Error::new(
                ErrorKind::Absent,
                format!("{} is a store, and no realm; name a realm's directory", dir.display()),
            ));
        }
        // Where nobody may look nothing is said to be missing.
        is_there(&dir.join(FILE))?;
        if !is_realm(dir) {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "{} is no realm; name its directory, or make one with `RealmBuilder::init`",
                    dir.display()
                ),
            ));
        }
        let Some(founding) = Founding::read(dir)? else {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "the realm {} has a map, and its file `realm` is lost; \
                     `RealmBuilder::init` without shards writes it from the map, and changes no \
                     shard",
                    dir.display()
                ),
            ));
        };
        let cut_short = || {
            Error::new(
                ErrorKind::Absent,
                format!(
                    "the realm {} has no map: its init was cut short, or the map is lost; \
                     `RealmBuilder::init`, with the shards and the options of the first time, \
                     writes it, and changes no shard that exists",
                    dir.display()
                ),
            )
        };
        let map = Map::of(dir, founding.realm)?.ok_or_else(cut_short)?;
        Ok(Realm { shards: Arc::new(Shards::new(dir, &map, open, read_only)) })
    }

    /// Opens all shards at once; those that do not open are named with the reason, and tried again
    /// when they are asked for.
    pub fn open_all(&self) -> Vec<(ShardAt, Error)> {
        let failed = |e, number: usize, (): &()| Some((self.shards.at[number].clone(), e));
        self.shards.each(self.all(), |_, _, ()| None, failed).into_iter().flatten().collect()
    }

    /// Closes every shard that is open, and says of each whether all is settled, as
    /// [`Engine::close`] does. Clones of this realm, which share the engines, refuse from now on.
    ///
    /// # Errors
    /// The first of a shard that does not close; the others are closed all the same.
    pub fn close(self) -> Result<Vec<(ShardAt, Finality)>> {
        let closed = self.shards.close().into_iter();
        closed
            .map(|(n, settled)| match settled {
                Ok(settled) => Ok((self.shards.at[n].clone(), settled)),
                Err(e) => Err(e.context(self.shards.homes.name(n))),
            })
            .collect()
    }

    fn all(&self) -> Vec<(usize, ())> {
        (0..self.shards.len()).map(|number| (number, ())).collect()
    }
}

/// Where users and records are.
impl Realm {
    /// The shards, by their numbers.
    pub fn shards(&self) -> &[ShardAt] {
        &self.shards.at
    }

    /// The shard that a user is in, or would be.
    ///
    /// # Errors
    /// That of the first shard, if none opens: one is needed to find a user by name.
    pub fn shard_of(&self, user: &UserId) -> Result<&ShardAt> {
        Ok(&self.shards.at[self.home_of(user)?])
    }

    /// The shard that a record is in: its id says so.
    pub fn shard_of_record(&self, id: &RecordId) -> &ShardAt {
        &self.shards.at[self.shards.homes.of(id.user)]
    }

    /// The shard that the user of a handle is in: it says so.
    pub fn shard_of_handle(&self, handle: &UserHandle) -> &ShardAt {
        &self.shards.at[self.shards.homes.of(handle.user)]
    }

    /// The shard that a put goes to.
    ///
    /// # Errors
    /// As [`Realm::shard_of`]; `Refused` if a source of it is in another shard.
    pub fn shard_for(&self, put: &Put) -> Result<&ShardAt> {
        Ok(&self.shards.at[self.home_for(put)?])
    }

    /// The engine of a user's shard.
    ///
    /// # Errors
    /// As [`Realm::shard_of`], and as [`crate::Builder::open`] if the shard does not open.
    pub fn engine_of(&self, user: &UserId) -> Result<Engine> {
        self.shards.engine(self.home_of(user)?)
    }

    /// The engine of the shard with this number, which is below [`Realm::shards`]' length.
    ///
    /// # Errors
    /// `Absent` for a number that no shard has; as [`crate::Builder::open`].
    pub fn engine_at(&self, number: usize) -> Result<Engine> {
        self.shards.engine(self.checked(number)?)
    }

    /// How the shard with this number is opened, to say more before it is: with its place in the
    /// realm, which keeps other shards' users out of it.
    ///
    /// # Errors
    /// `Absent` for a number that no shard has.
    pub fn builder_at(&self, number: usize) -> Result<Builder> {
        self.shards.builder(self.checked(number)?)
    }

    fn checked(&self, number: usize) -> Result<usize> {
        match number < self.shards.len() {
            true => Ok(number),
            false => Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "no shard {number}; this realm has {}: name one by its number, from 0 on",
                    self.shards.len()
                ),
            )),
        }
    }

    fn engine_with(&self, id: &RecordId) -> Result<Engine> {
        self.shards.engine(self.shards.homes.of(id.user))
    }

    fn tag(&self, user: &UserId) -> Result<UserTag> {
        Ok(crypto::placed_tag(self.shards.index_key()?, user))
    }

    fn home_of(&self, user: &UserId) -> Result<usize> {
        Ok(self.shards.homes.of(self.tag(user)?))
    }

    fn home_for(&self, put: &Put) -> Result<usize> {
        let (home, homes) = (self.home_of(&put.user)?, &self.shards.homes);
        let is_far = |source: &&Source| match source {
            Source::Record(id) => homes.of(id.user) != home,
            Source::Added(_) => false,
        };
        match put.sources.iter().find(is_far) {
            Some(Source::Record(id)) => {
                let here = format!("the user of this put in {}", homes.name(home));
                Err(far_source(id, &homes.name(homes.of(id.user)), &here))
            }
            _ => Ok(home),
        }
    }
}

/// Records, each in the shard of its user.
impl Realm {
    /// Puts a record ([`Engine::put`]).
    ///
    /// # Errors
    /// As [`Engine::put`] and [`Realm::shard_for`].
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        self.shards.engine(self.home_for(&put)?)?.put(put, payload)
    }

    /// Opens a record ([`Engine::get`]).
    ///
    /// # Errors
    /// As [`Engine::get`], and as [`crate::Builder::open`] if its shard does not open.
    pub fn get(&self, id: &RecordId) -> Result<Reader> {
        self.engine_with(id)?.get(id)
    }

    /// Writes a record to `out` ([`Engine::get_to`]).
    ///
    /// # Errors
    /// As [`Realm::get`].
    pub fn get_to(&self, id: &RecordId, out: &mut impl Write) -> Result<u64> {
        self.engine_with(id)?.get_to(id, out)
    }

    /// What is known of a record ([`Engine::info`]).
    ///
    /// # Errors
    /// As [`Engine::info`], and as [`crate::Builder::open`] if its shard does not open.
    pub fn info(&self, id: &RecordId) -> Result<RecordInfo> {
        self.engine_with(id)?.info(id)
    }

    /// Finds a user's record by its name ([`Engine::find`]).
    ///
    /// # Errors
    /// As [`Engine::find`] and [`Realm::engine_of`].
    pub fn find(&self, user: &UserId, name: &str) -> Result<RecordInfo> {
        self.engine_of(user)?.find(user, name)
    }

    /// Lists records of one user ([`Engine::list`]).
    ///
    /// # Errors
    /// As [`Engine::list`] and [`Realm::engine_of`]; `Invalid` if the query names no user: a
    /// listing of everybody is that of each shard ([`Realm::engine_at`]).
    pub fn list(&self, query: &Query) -> Result<Listing> {
        let Some(user) = &query.user else {
            return Err(Error::invalid(
                "name a user to list; all records of a realm are those of each shard \
                 (`Realm::engine_at`)",
            ));
        };
        self.engine_of(user)?.list(query)
    }

    /// Everything that is kept about a user ([`Engine::report`]).
    ///
    /// # Errors
    /// As [`Engine::report`] and [`Realm::engine_of`].
    pub fn report(&self, user: &UserId) -> Result<Report> {
        self.engine_of(user)?.report(user)
    }
}

/// Erasing, and looking after it.
impl Realm {
    /// Erases what one erase names, in the one shard that has it ([`Engine::erase`]).
    ///
    /// # Errors
    /// As [`Engine::erase`] and [`Realm::engine_of`].
    pub fn erase(&self, erase: impl Into<Erase>) -> Result<Erasure> {
        let erase = erase.into();
        self.shards.engine(self.home(&erase)?)?.erase(erase)
    }

    /// Erases all of this, in all shards at once: in each as [`Engine::erase_all`] does, and in
    /// none later because of another one. Returns when each shard has answered.
    pub fn erase_all<E: Clone + Into<Erase>>(&self, erases: &[E]) -> RealmErased {
        let erases: Vec<Erase> = erases.iter().cloned().map(Into::into).collect();
        let mut done: Vec<Option<Result<Erasure>>> = erases.iter().map(|_| None).collect();
        let mut of: Vec<Vec<usize>> = self.shards.at.iter().map(|_| Vec::new()).collect();
        for (n, erase) in erases.iter().enumerate() {
            match self.home(erase) {
                Ok(home) => of[home].push(n),
                Err(e) => done[n] = Some(Err(e)),
            }
        }
        let work: Vec<(usize, Vec<usize>)> =
            of.into_iter().enumerate().filter(|(_, of)| !of.is_empty()).collect();
        let in_one = |engine: Engine, number: usize, of: &Vec<usize>| {
            let named: Vec<Erase> = of.iter().map(|n| erases[*n].clone()).collect();
            (number, of.clone(), engine.erase_all(&named))
        };
        let failed = |e: Error, number: usize, of: &Vec<usize>| {
            (number, of.clone(), of.iter().map(|_| Err(e.copy())).collect::<Vec<_>>())
        };
        let mut shards = Vec::new();
        for (number, of, erased) in self.shards.each(work, in_one, failed) {
            shards.push(self.there(number, &of, &erased));
            for (n, erased) in of.into_iter().zip(erased) {
                done[n] = Some(erased);
            }
        }
        let unanswered = || Err(Error::new(ErrorKind::Io, "its shard did not answer; repeat it"));
        let erases = done.into_iter().map(|done| done.unwrap_or_else(unanswered)).collect();
        RealmErased { erases, shards }
    }

    /// What each shard says of itself, asked at once.
    pub fn status(&self) -> RealmStatus {
        let told = |number: usize, status| ShardStatus {
            shard: self.shards.at[number].clone(),
            slots: self.shards.homes.slots.iter().filter(|of| usize::from(**of) == number).count(),
            status,
        };
        let ask = |engine: Engine, number: usize, (): &()| told(number, engine.status());
        let shards = self.shards.each(self.all(), ask, |e, number, ()| told(number, Err(e)));
        let (realm, map) = (self.shards.realm.to_string(), self.shards.homes.map);
        RealmStatus { realm, map, shards }
    }

    fn home(&self, erase: &Erase) -> Result<usize> {
        match erase.scope() {
            Scope::User { user, .. } => self.home_of(user),
            Scope::Record(id) => Ok(self.shards.homes.of(id.user)),
        }
    }

    fn there(&self, number: usize, of: &[usize], erased: &[Result<Erasure>]) -> ErasedThere {
        let done: Vec<&Erasure> = erased.iter().filter_map(|erase| erase.as_ref().ok()).collect();
        // The shard's last word is of the youngest epoch.
        let finality = done.iter().find(|done| !done.finality.is_final()).or(done.first());
        ErasedThere {
            shard: self.shards.at[number].clone(),
            of: of.to_vec(),
            done: done.len(),
            error: erased.iter().find_map(|erase| erase.as_ref().err()).map(Error::copy),
            finality: finality.map(|done| done.finality.clone()),
        }
    }
}
