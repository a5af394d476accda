//! Root cells in directories, of whatever kind lies there or is to be made.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cell::{Contents, FileCell, RootCell};
use crate::engine::OpenAs;
use crate::env::SharedEnv;
use crate::error::Result;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "keyholders")]
use crate::quorum::{Member, Rule};
use crate::store::Store;
#[cfg(feature = "sled")]
use crate::store::place::CacheAt;
use crate::{Engine, Options};

/// Opens the cell in a directory to look at it: a process that has it open goes on undisturbed.
///
/// # Errors
/// `Absent` if there is none; `Corrupt`, `Io`.
pub fn look_root(dir: &Path, env: &SharedEnv) -> Result<Arc<dyn RootCell>> {
    Ok(match shared_root(dir, env)? {
        Some(cell) => cell,
        None => Arc::new(FileCell::look(dir, Arc::clone(env))?),
    })
}

/// Where a builder says that a cell is.
#[derive(Clone)]
pub(super) enum CellAt {
    /// Where the store says that its cell is by default.
    #[cfg(feature = "sled")]
    Beside,
    Directory(PathBuf),
    Given(Arc<dyn RootCell>),
}

impl CellAt {
    /// The cell of a store that has none beside it.
    pub(super) fn open(&self, settings: &Settings) -> Result<Arc<dyn RootCell>> {
        match self {
            #[cfg(feature = "sled")]
            CellAt::Beside => Err(unnamed()),
            CellAt::Directory(dir) => settings.root_in(dir),
            CellAt::Given(cell) => Ok(Arc::clone(cell)),
        }
    }

    pub(super) fn make(&self, settings: &Settings) -> Result<Arc<dyn RootCell>> {
        match self {
            #[cfg(feature = "sled")]
            CellAt::Beside => Err(unnamed()),
            CellAt::Directory(dir) => settings.make_root_in(dir),
            CellAt::Given(cell) => Ok(Arc::clone(cell)),
        }
    }

    /// The directory that it is in, if it was named.
    #[cfg(feature = "sled")]
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            CellAt::Directory(dir) => Some(dir),
            CellAt::Beside | CellAt::Given(_) => None,
        }
    }

    /// Refuses a cell in files for a store that other machines can reach: no other machine could
    /// ever take it over, and a copy of the cell would be two. An adapter's user knows what it is.
    pub(super) fn check_reach(&self, settings: &Settings, place: &str) -> Result<()> {
        let is_file = match self {
            CellAt::Directory(cell) => !settings.has_circle(cell),
            _ => false,
        };
        if is_file && !settings.single_machine {
            return Err(of_one_machine(place));
        }
        self.check_lends(settings, place)
    }

    /// Refuses a cell in files for a store that is to lend its keys to readers on other machines:
    /// none of them could ever read it.
    pub(super) fn check_lends(&self, settings: &Settings, place: &str) -> Result<()> {
        let CellAt::Directory(cell) = self else { return Ok(()) };
        if settings.options.lend.is_none() || settings.has_circle(cell) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{place} is to lend its keys to readers on other machines, and {} is a cell in \
                 files, which none of them can read: spread it over keyholders with \
                 `Builder::keyholders`, or leave `Builder::lend` out",
                cell.display()
            ),
        ))
    }

    /// Refuses a cell in files for a standby: the writer has it open, so what lies here is a copy
    /// of it, and a copy gives back what an erase takes from the other one.
    pub(super) fn check_common(&self, settings: &Settings) -> Result<()> {
        match self {
            CellAt::Directory(cell) if cell.exists() && !settings.has_circle(cell) => {
                Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "{} is a cell in files, which no standby can share with the writer, and a \
                         copy of it would keep what is erased: make the store with its cell spread \
                         over keyholders (`Builder::keyholders`)",
                        cell.display()
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether other machines can open it too.
    #[cfg(feature = "sled")]
    pub(super) fn is_shared(&self, settings: &Settings) -> bool {
        match self {
            CellAt::Given(_) => true,
            CellAt::Directory(cell) => settings.has_circle(cell),
            CellAt::Beside => settings.is_spread(),
        }
    }
}

/// What is said of a cell in files beside a store that other machines can reach.
pub(super) fn of_one_machine(place: &str) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!(
            "{place} can be reached from other machines, and a cell in a file from this one alone: \
             lose this machine and all data is lost; spread the cell over keyholders with \
             `Builder::keyholders`, or say with `Builder::single_machine` that only this machine \
             ever opens the store"
        ),
    )
}

#[cfg(feature = "sled")]
fn unnamed() -> Error {
    Error::new(ErrorKind::Invalid, "name the cell of this store with `Builder::cell_at`")
}

/// Whether a cell holds no key under which anything was ever put.
pub(super) fn is_new(told: &Contents) -> bool {
    told.keys.is_empty() && told.epoch == 0 || told.is_unfinished()
}

/// Opens a store with a cell, and finishes a making that was cut short.
pub(super) fn finish_over(
    store: Arc<dyn Store>,
    cell: Arc<dyn RootCell>,
    options: &Options,
) -> Result<Engine> {
    // The key of a store that is not there: opening says what helps.
    let make = if is_new(&cell.load()?) { Engine::finish_init } else { Engine::open };
    make(store, cell, options.clone())
}

/// What a builder says of the engine and of a cell to be made.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) accept_remnants: bool,
    /// Whether only this machine ever opens the store.
    pub(super) single_machine: bool,
    /// How long an opening waits for what has the store open.
    pub(super) patience: Duration,
    /// Where this machine keeps what it reads of a store at a URL.
    #[cfg(feature = "sled")]
    pub(super) cache: Option<CacheAt>,
    #[cfg(feature = "keyholders")]
    pub(super) spread: Option<(Vec<Member>, Rule)>,
}

impl Settings {
    pub(super) fn new() -> Self {
        Settings {
            options: Options::new(),
            accept_remnants: false,
            single_machine: false,
            patience: Duration::ZERO,
            #[cfg(feature = "sled")]
            cache: None,
            #[cfg(feature = "keyholders")]
            spread: None,
        }
    }

    /// Whether the cell in a directory is spread over keyholders, or is to be.
    fn has_circle(&self, cell: &Path) -> bool {
        self.is_spread() || cell.join("quorum.json").exists()
    }

    /// Whether a cell is to be made whose root key is shared among keyholders.
    #[cfg(feature = "keyholders")]
    pub(super) fn is_spread(&self) -> bool {
        self.spread.is_some()
    }

    #[cfg(not(feature = "keyholders"))]
    pub(super) fn is_spread(&self) -> bool {
        false
    }

    /// Opens the cell in a directory, for what the engine is to do.
    pub(super) fn root_in(&self, dir: &Path) -> Result<Arc<dyn RootCell>> {
        let env = &self.options.env;
        if self.options.open_as == OpenAs::ReadOnly {
            return look_root(dir, env);
        }
        Ok(match shared_root(dir, env)? {
            Some(cell) => cell,
            None => Arc::new(FileCell::open(dir, Arc::clone(env))?),
        })
    }

    /// Makes a cell in a directory.
    pub(super) fn make_root_in(&self, dir: &Path) -> Result<Arc<dyn RootCell>> {
        let env = &self.options.env;
        #[cfg(feature = "keyholders")]
        if let Some((members, rule)) = &self.spread {
            return Ok(Arc::new(crate::quorum::net::make_cell(dir, members.clone(), *rule, env)?));
        }
        Ok(Arc::new(FileCell::create(dir, self.accept_remnants, Arc::clone(env))?))
    }
}

/// The cell in a directory that is spread over keyholders; `None` of one of another kind, and where
/// there is none.
#[cfg(feature = "keyholders")]
fn shared_root(dir: &Path, env: &SharedEnv) -> Result<Option<Arc<dyn RootCell>>> {
    Ok(crate::quorum::net::open_cell(dir, env)?.map(|cell| Arc::new(cell) as Arc<dyn RootCell>))
}

#[cfg(not(feature = "keyholders"))]
fn shared_root(dir: &Path, _env: &SharedEnv) -> Result<Option<Arc<dyn RootCell>>> {
    if !crate::dir::is_there(&dir.join("quorum.json"))? {
        return Ok(None);
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "the root cell {} is spread over keyholders; build with the feature `keyholders`",
            dir.display()
        ),
    ))
}
