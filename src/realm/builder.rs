//! What is said of a realm before it is made or opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::init::init;
use super::places::{OpenShard, ShardAt, by_default};
use super::router::Realm;
use crate::Builder;
use crate::error::{Error, Result};
use crate::store::place::is_url;

/// How a realm is made and opened: its directory, its shards, and how each of them is opened.
#[derive(Clone)]
pub struct RealmBuilder {
    dir: PathBuf,
    shards: Vec<ShardAt>,
    open: OpenShard,
    read_only: bool,
}

impl std::fmt::Debug for RealmBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealmBuilder").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl RealmBuilder {
    /// The realm in this directory.
    pub fn at(dir: impl AsRef<Path>) -> Self {
        RealmBuilder {
            dir: dir.as_ref().to_owned(),
            shards: Vec::new(),
            open: Arc::new(by_default),
            read_only: false,
        }
    }

    /// So many shards, for a realm to be made: `shard-000` and so on in its directory, each with
    /// its cell beside it. The number stays: begin with 16 to 64, for one that nobody writes to
    /// costs next to nothing.
    #[must_use]
    pub fn shards(self, number: usize) -> Self {
        self.places((0..number).map(|n| (format!("shard-{n:03}"), None)))
    }

    /// The places of the shards, for a realm to be made: of each the store, and the cell if it is
    /// not beside it. Relative paths are taken from the realm's directory.
    #[must_use]
    pub fn places(self, places: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let shard = |(number, (place, cell))| ShardAt { number, place, cell };
        RealmBuilder { shards: places.into_iter().enumerate().map(shard).collect(), ..self }
    }

    /// How each shard is opened; by default a [`Builder`] with its store and its cell.
    #[must_use]
    pub fn open_shard(
        self,
        open: impl Fn(&ShardAt) -> Result<Builder> + Send + Sync + 'static,
    ) -> Self {
        RealmBuilder { open: Arc::new(open), ..self }
    }

    /// Only looks, into every shard ([`Builder::read_only`]).
    #[must_use]
    pub fn read_only(self) -> Self {
        RealmBuilder { read_only: true, ..self }
    }

    /// Makes the realm: its directory, each shard with its cell, and the map. One that was cut
    /// short at any point is finished by calling this again, with the same places or none.
    ///
    /// # Errors
    /// `Exists` if it is whole already; `Invalid` for a number of shards that no realm has, or
    /// other places than it was begun with; `Mismatch` if a store at one of the places is no shard
    /// of it; `Locked` while another process makes it; else as [`Builder::open_or_create`].
    pub fn init(&self) -> Result<Realm> {
        self.check_dir()?;
        init(&self.dir, &self.shards, &self.open)?;
        self.open()
    }

    /// Refuses a URL as the place of the map.
    fn check_dir(&self) -> Result<()> {
        if !is_url(&self.dir.to_string_lossy()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{} is a URL, and a realm is a directory of this machine, which says where its shards \
             are: name that directory, and URLs as the places of shards",
            self.dir.display()
        )))
    }

    /// Opens the realm. Only its map is read: each shard is opened when it is first asked for, or
    /// by [`Realm::open_all`].
    ///
    /// # Errors
    /// `Absent` if there is none, or an init was cut short; `Corrupt` or `Mismatch` if the map
    /// cannot be used.
    pub fn open(&self) -> Result<Realm> {
        self.check_dir()?;
        Realm::over(&self.dir, &self.open, self.read_only)
    }
}
