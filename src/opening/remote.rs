//! A store at a URL, with its cell: neither lies beside the other, and no file says where the cell
//! is.

use std::path::Path;
use std::sync::Arc;

use super::held::{Held, without_store};
use super::location::Location;
use super::paths::url_of;
use super::roots::{CellAt, Settings, finish_over, is_new, of_one_machine};
use super::territory::check_place;
use crate::Engine;
use crate::cell::RootCell;
use crate::engine::OpenAs;
use crate::error::{Error, ErrorKind, Result};
use crate::store::place::{How, at_url, at_url_cached, check_url};
use crate::store::{SledStore, Store};
use crate::traces::Traces;

/// Opens the copy at a place to write to it, or makes one.
///
/// # Errors
/// As [`SledStore::open_or_create`], and for a URL as
/// `ObjectLog::open_or_create`.
pub fn copy_to_write(place: &Path) -> Result<Arc<dyn Store>> {
    match url_of(place) {
        Some(url) => at_url(url, How::OpenOrCreate),
        None => Ok(Arc::new(SledStore::open_or_create(place)?)),
    }
}

/// Refuses a cell in files for a store that other machines can reach: no other machine could ever
/// take it over, and a copy of the cell would be two.
///
/// # Errors
/// `Refused`, also for a URL with a password.
pub fn check_reach(store: &Path, cell_is_shared: bool, single_machine: bool) -> Result<()> {
    check_url(&store.to_string_lossy())?;
    match url_of(store) {
        Some(url) if !cell_is_shared && !single_machine => Err(of_one_machine(url)),
        _ => Ok(()),
    }
}

/// A store at a URL and its cell, to be made or opened.
pub(super) struct Remote<'a> {
    pub(super) url: &'a str,
    pub(super) cell: &'a CellAt,
    pub(super) settings: &'a Settings,
}

/// A cell that was made for a store that is not there yet.
struct Made {
    cell: Arc<dyn RootCell>,
    traces: Option<Traces>,
}

impl Remote<'_> {
    fn store(&self, how: How) -> Result<Arc<dyn Store>> {
        at_url_cached(self.url, how, self.settings.cache.as_ref())
    }

    pub(super) fn open(&self) -> Result<Engine> {
        self.check_apart()?;
        let options = &self.settings.options;
        let how = match options.open_as {
            OpenAs::ReadOnly if options.borrows => How::Borrow,
            OpenAs::ReadOnly => How::Look,
            OpenAs::Owner | OpenAs::TakeOver => How::Open,
        };
        let store = self.store(how).map_err(|e| self.without_store(e))?;
        Engine::open(store, self.cell.open(self.settings)?, options.clone())
    }

    pub(super) fn create(&self) -> Result<Engine> {
        self.check_new()?;
        let made = self.make_cell()?;
        let store = self.store(How::Create).inspect_err(|_| self.undo(&made))?;
        let options = self.settings.options.clone();
        let engine = Engine::init(Arc::clone(&store), Arc::clone(&made.cell), options);
        engine.inspect_err(|_| {
            // Of a cell in files the key may be in use; what keyholders were dealt is not, as long
            // as nothing was published.
            if self.settings.is_spread() && matches!(store.head(), Ok(None)) {
                self.undo(&made);
            }
        })
    }

    pub(super) fn open_or_create(&self) -> Result<Engine> {
        self.check_reach()?;
        let there = match self.store(How::Open) {
            Err(e) if e.kind() == ErrorKind::Absent => None,
            opened => Some(opened?),
        };
        if let Some(store) = &there
            && store.head()?.is_some()
        {
            self.check_apart()?;
            let (store, cell) = (Arc::clone(store), self.cell.open(self.settings)?);
            return Engine::open(store, cell, self.settings.options.clone());
        }
        match self.begun_cell() {
            Err(e) if e.kind() == ErrorKind::Absent && there.is_none() => self.create(),
            Err(e) if e.kind() == ErrorKind::Absent => {
                // A log that a making cut short has left.
                self.check_new()?;
                self.make_cell()?;
                self.open_over(there)
            }
            cell => {
                drop(cell?);
                self.open_over(there)
            }
        }
    }

    /// The cell of a store that is not made yet. What a making that was cut short has left of one
    /// counts as none: it holds no key, and is made again.
    fn begun_cell(&self) -> Result<Arc<dyn RootCell>> {
        let env = &self.settings.options.env;
        match self.cell.directory() {
            Some(dir)
                if dir.is_dir()
                    && !self.cell.is_shared(self.settings)
                    && Held::at(dir, env) == Held::Nothing =>
            {
                let text = format!("{} holds no root key yet", dir.display());
                Err(Error::new(ErrorKind::Absent, text))
            }
            _ => self.cell.open(self.settings),
        }
    }

    fn open_over(&self, there: Option<Arc<dyn Store>>) -> Result<Engine> {
        self.check_apart()?;
        let cell = self.cell.open(self.settings)?;
        let store = match there {
            Some(store) => store,
            None => {
                self.check_unheld(&*cell)?;
                self.store(How::Create)?
            }
        };
        finish_over(store, cell, &self.settings.options)
    }

    /// Refuses a cell in files for a store that other machines reach. An adapter's user knows what
    /// it is.
    pub(super) fn check_reach(&self) -> Result<()> {
        let shared = self.cell.is_shared(self.settings);
        check_reach(Path::new(self.url), shared, self.settings.single_machine)?;
        self.cell.check_lends(self.settings, self.url)
    }

    /// Adds the remedy where the store is missing, and its cell is there.
    fn without_store(&self, e: Error) -> Error {
        let (url, env) = (Path::new(self.url), &self.settings.options.env);
        let found = match self.cell {
            CellAt::Given(cell) => {
                Ok((Location::without_cell(url, &**cell), Held::of(cell.load())))
            }
            CellAt::Directory(cell) => {
                Location::find(url, Some(cell)).map(|at| (at, Held::at(cell, env)))
            }
            CellAt::Beside => return e,
        };
        match found {
            Ok((at, held)) => without_store(e, &at, held),
            Err(_) => e,
        }
    }

    /// Refuses to make a store with a cell that holds the key of another.
    fn check_unheld(&self, cell: &dyn RootCell) -> Result<()> {
        let told = cell.load()?;
        if is_new(&told) {
            return Ok(());
        }
        let text = format!(
            "no store is at {}, and the root cell {} holds the root key of a store, without which \
             all data of that one is lost: do not remove it; name that store's place, restore it \
             here from a copy with `Builder::restore`, or name another place for a new cell with \
             `Builder::cell_at`",
            self.url,
            cell.describe().place
        );
        Err(Error::new(ErrorKind::Absent, text))
    }

    fn check_apart(&self) -> Result<()> {
        let Some(cell) = self.cell.directory() else { return Ok(()) };
        Location::find(Path::new(self.url), Some(cell)).map(drop)
    }

    /// What can be refused before anything is made.
    fn check_new(&self) -> Result<()> {
        self.check_reach()?;
        self.check_apart()?;
        check_place(Path::new(self.url))?;
        self.cell.directory().map_or(Ok(()), check_place)
    }

    /// Makes the cell before the store: it lies on this machine, and can be taken away again.
    fn make_cell(&self) -> Result<Made> {
        let traces = self.cell.directory().map(Traces::before);
        match self.cell.make(self.settings) {
            Ok(cell) => Ok(Made { cell, traces }),
            Err(e) => {
                traces.iter().for_each(Traces::undo_empty);
                Err(e)
            }
        }
    }

    /// Takes a cell away that holds no key of a store. The engine's key stays: keyholders know it.
    fn undo(&self, made: &Made) {
        match (self.cell.directory(), &made.traces) {
            (Some(dir), _) if self.settings.is_spread() => {
                let _ = std::fs::remove_file(dir.join("quorum.json"));
            }
            (_, Some(traces)) => traces.undo(),
            _ => {}
        }
    }
}
