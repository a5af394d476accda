//! A store in a directory with its cell: made, opened, finished, and built from copies.

use std::path::Path;
use std::sync::Arc;

use super::held::{
    Held, check_directory, check_unheld, check_whole, without_permission, without_store,
};
use super::location::{Location, blobs_to_look};
use super::paths::apart;
use super::restoring::{copy_as_it_is, is_built, take_away, to_build};
use super::roots::{Settings, look_root};
use super::territory::check_place;
use crate::cell::RootCell;
use crate::engine::{OpenAs, Progress, Restored, restore};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{SledStore, Store};
use crate::traces::Traces;
use crate::{Engine, Options};

/// Where a store is and its cell, and what is said of them.
pub(super) struct Site<'a> {
    at: Location,
    /// The cell, if it is not in a directory.
    adapter: Option<Arc<dyn RootCell>>,
    settings: &'a Settings,
}

impl<'a> Site<'a> {
    /// A store and a cell that are both in directories.
    pub(super) fn new(store: &Path, cell: Option<&Path>, settings: &'a Settings) -> Result<Self> {
        Ok(Site { at: Location::find(store, cell)?, adapter: None, settings })
    }

    /// A store in a directory, and a cell that an adapter provides.
    pub(super) fn with_adapter(
        store: &Path,
        cell: &Arc<dyn RootCell>,
        settings: &'a Settings,
    ) -> Self {
        Site {
            at: Location::without_cell(store, &**cell),
            adapter: Some(Arc::clone(cell)),
            settings,
        }
    }

    pub(super) fn open(&self) -> Result<Engine> {
        let store = self.at.store();
        check_directory(store)?;
        let blobs = match self.settings.options.open_as {
            OpenAs::ReadOnly => blobs_to_look(store),
            OpenAs::TakeOver => SledStore::open(store),
            // A backup that nobody takes over stays as it is.
            OpenAs::Owner => SledStore::was_claimed(store).and_then(|claimed| match claimed {
                true => SledStore::open(store),
                false => SledStore::look(store),
            }),
        };
        let blobs = blobs.map_err(|e| without_permission(e, store));
        let blobs = blobs.map_err(|e| without_store(e, &self.at, self.held()))?;
        if blobs.head()?.is_none() {
            check_whole(&blobs, &self.at, self.held())?;
        }
        let engine = Engine::open(Arc::new(blobs), self.root()?, self.settings.options.clone())?;
        self.at.check_bound(engine.id())?;
        Ok(engine)
    }

    pub(super) fn create(&self) -> Result<Engine> {
        let store = self.at.store();
        check_directory(store)?;
        self.check_places()?;
        check_unheld(&self.at, self.held())?;
        let was_there = store.is_dir();
        let traces = [Traces::before(store), Traces::before(self.at.cell())];
        let undo_empty = || traces.iter().for_each(Traces::undo_empty);
        let blobs = SledStore::create(store).inspect_err(|_| undo_empty())?;
        let root = match self.make_root() {
            Ok(root) => root,
            Err(e) => {
                // Nothing was put yet: remove the half-made store.
                drop(blobs);
                take_away(store, was_there);
                undo_empty();
                return Err(e);
            }
        };
        self.initialize(Arc::new(blobs), root, Engine::init).inspect_err(|_| self.undo(was_there))
    }

    pub(super) fn open_or_create(&self) -> Result<Engine> {
        let (store, held) = (self.at.store(), self.held());
        check_directory(store)?;
        // Of one that is shared a part may lie with each keyholder: a person finishes that.
        let is_shared = self.at.cell().join("quorum.json").exists();
        if matches!(held, Held::Key | Held::Unread) || is_shared && held == Held::Unfinished {
            return self.open();
        }
        let there = match SledStore::look(store) {
            Ok(blobs) => Some((blobs.head()?.is_some(), blobs.usage()?.blobs)),
            Err(e) if e.kind() == ErrorKind::Absent => None,
            Err(e) => return Err(e),
        };
        match there {
            Some((true, _)) if held == Held::Nothing => Err(self.without_cell()),
            Some((true, _)) => self.open(),
            // Blobs without a head: those of an init that was cut short, or of a restore.
            Some((false, 1..)) if held == Held::Nothing || !SledStore::was_claimed(store)? => {
                self.open()
            }
            None if held == Held::Nothing => self.create(),
            Some((false, _)) | None => self.finish(held),
        }
    }

    pub(super) fn restore(
        &self,
        copies: &[impl AsRef<Path>],
        progress: Progress<'_>,
    ) -> Result<Restored> {
        let store = self.at.store();
        for copy in copies {
            apart(&[("the store to build", store), ("the copy", copy.as_ref())])?;
            if self.adapter.is_none() {
                apart(&[("the cell", self.at.cell()), ("the copy", copy.as_ref())])?;
            }
        }
        self.check_places()?;
        let cell = self.look_root()?;
        let sources = copies.iter().map(|copy| copy_as_it_is(copy.as_ref()));
        let (sources, was_there) = (sources.collect::<Result<Vec<_>>>()?, store.is_dir());
        let (target, made) = to_build(store)?;
        let done = restore(&*cell, &sources, &*target, progress).inspect_err(|_| {
            // What an earlier try left there stays for the next one.
            if made {
                take_away(store, was_there);
            }
        })?;
        if self.adapter.is_none() {
            self.at.write_pointer(cell.load()?.store, &*self.settings.options.env).map_err(
                |e| e.context("it is restored, but where its cell is could not be recorded"),
            )?;
        }
        drop(target);
        is_built(store)?;
        Ok(done)
    }

    /// The cell, to be read alone.
    pub(super) fn look_root(&self) -> Result<Arc<dyn RootCell>> {
        match &self.adapter {
            Some(cell) => Ok(Arc::clone(cell)),
            None => look_root(self.at.cell(), &self.settings.options.env),
        }
    }

    /// Finishes an init that was cut short: nothing can have been put before it returned.
    fn finish(&self, held: Held) -> Result<Engine> {
        self.check_places()?;
        let blobs = match SledStore::open(self.at.store()) {
            Err(e) if e.kind() == ErrorKind::Absent => SledStore::create(self.at.store())?,
            opened => opened?,
        };
        let root = if held == Held::Nothing { self.make_root() } else { self.root() };
        self.initialize(Arc::new(blobs), root?, Engine::finish_init)
    }

    /// Makes a store in directories that are made, and writes where its cell is: before there is
    /// anything to open, so that whatever is there can be opened; and once more with the store that
    /// it is bound to.
    fn initialize(
        &self,
        store: Arc<dyn Store>,
        root: Arc<dyn RootCell>,
        init: impl FnOnce(Arc<dyn Store>, Arc<dyn RootCell>, Options) -> Result<Engine>,
    ) -> Result<Engine> {
        let options = &self.settings.options;
        if self.adapter.is_none() {
            self.at.write_pointer(None, &*options.env)?;
        }
        let engine = init(store, root, options.clone())?;
        if self.adapter.is_none() {
            self.at.write_pointer(Some(engine.id()), &*options.env)?;
        }
        Ok(engine)
    }

    /// Takes away what an init left that keyholders did not take part in. The engine's key stays:
    /// keyholders know it.
    fn undo(&self, was_there: bool) {
        if !self.settings.is_spread() || self.adapter.is_some() {
            return;
        }
        take_away(self.at.store(), was_there);
        let _ = std::fs::remove_file(self.at.cell().join("quorum.json"));
        if let Ok(Some(pointer)) = self.at.pointer() {
            let _ = std::fs::remove_file(pointer);
        }
    }

    /// Refuses places inside others of their kind, and one where the file that is to name the cell
    /// cannot be.
    fn check_places(&self) -> Result<()> {
        check_place(self.at.store())?;
        if self.adapter.is_none() {
            check_place(self.at.cell())?;
            self.at.pointer()?;
        }
        Ok(())
    }

    fn held(&self) -> Held {
        match &self.adapter {
            Some(cell) => Held::of(cell.load()),
            None => Held::at(self.at.cell(), &self.settings.options.env),
        }
    }

    fn root(&self) -> Result<Arc<dyn RootCell>> {
        self.adapter
            .as_ref()
            .map_or_else(|| self.settings.root_in(self.at.cell()), |cell| Ok(Arc::clone(cell)))
    }

    fn make_root(&self) -> Result<Arc<dyn RootCell>> {
        self.adapter
            .as_ref()
            .map_or_else(|| self.settings.make_root_in(self.at.cell()), |cell| Ok(Arc::clone(cell)))
    }

    /// Of a store without its cell: a cell is never made for it, which would hide that the other
    /// one is missing.
    fn without_cell(&self) -> Error {
        Error::new(
            ErrorKind::Absent,
            format!(
                "the store {} is there, but its root cell {} is missing or empty: put the cell back, or \
                 name the place where it is with `Builder::cell_at`; nothing in the store can be \
                 read without it",
                self.at.store().display(),
                self.at.cell().display()
            ),
        )
    }
}
