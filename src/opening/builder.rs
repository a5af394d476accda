//! The builder: says where a store and its cell are and what may be done, and opens them, again and again.

#[cfg(feature = "sled")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "sled")]
use super::held::{Held, check_unheld, check_whole, without_store};
#[cfg(feature = "sled")]
use super::location::{Location, blobs_to_look, by_length};
use super::roots::{look_root, open_root};
#[cfg(feature = "sled")]
use super::territory::check_place;
use crate::cell::{FileCell, RootCell};
use crate::engine::{Engine, Follow, Geometry, Keeper, OpenAs, OpenCopy, Options};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "keyholders")]
use crate::quorum::{Member, Rule};
#[cfg(feature = "sled")]
use crate::store::SledStore;
use crate::store::Store;

/// Opens the store in a directory, with its root cell beside it: `assistant.db` and `assistant.db.cell`. Makes both
/// where neither exists, and finishes a making that was cut short. What cannot be said here [`Builder`] takes.
///
/// A cell is all that stands between you and losing everything, and must not be copied: keep the two apart in backups,
/// and never back up the cell.
///
/// # Errors
/// `Absent` where one of the two is missing, with which one and what to do; `Medium` where the file system may keep what
/// is overwritten, which [`Builder::accept_remnants`] accepts; `Mismatch` where store and cell do not fit; `Locked`
/// where another process, or another [`Engine`] of this one, has them open; `Refused`, `Corrupt`, `Io`, `Full`.
///
/// ```no_run
/// let engine = keyfall::open("assistant.db")?;
/// println!("{}", engine.promise());
/// # Ok::<(), keyfall::Error>(())
/// ```
#[cfg(feature = "sled")]
pub fn open(path: impl AsRef<Path>) -> Result<Engine> {
    Builder::at(path.as_ref()).open_or_create()
}

/// How a store and its cell are opened: where they are, and what may be done.
///
/// A builder can be used again. After [`ErrorKind::Poisoned`] drop the engine with its readers and batches, or
/// [`Engine::close`] it, and open once more with the same builder: opening finds out what became of the write whose
/// outcome was unknown.
///
/// ```no_run
/// use keyfall::{Builder, ErrorKind, Put, Class, UserId};
///
/// let builder = Builder::at("/srv/assistant.db").cell_at("/var/keys/assistant.cell").cache_bytes(256 << 20);
/// let mut engine = builder.open_or_create()?;
/// let put = || -> keyfall::Result<_> { Ok(Put::new(UserId::new("ada")?, Class::audio())) };
/// if let Err(e) = engine.put(put()?, &b"RIFF...."[..])
///     && engine.is_poisoned()
/// {
///     eprintln!("{e}; it may have been stored all the same: {}", e.may_have_happened());
///     engine.close()?;
///     engine = builder.open()?;
/// }
/// # drop(engine);
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone)]
pub struct Builder {
    store: StoreAt,
    cell: CellAt,
    options: Options,
    accept_remnants: bool,
    #[cfg(feature = "keyholders")]
    spread: Option<(Vec<Member>, Rule)>,
}

#[derive(Clone)]
enum StoreAt {
    #[cfg(feature = "sled")]
    Directory(PathBuf),
    Given(Arc<dyn Store>),
}

#[derive(Clone)]
enum CellAt {
    /// Where the store says that its cell is by default.
    #[cfg(feature = "sled")]
    Beside,
    Directory(PathBuf),
    Given(Arc<dyn RootCell>),
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let store = match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => dir.display().to_string(),
            StoreAt::Given(store) => store.place(),
        };
        f.debug_struct("Builder").field("store", &store).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Where.
impl Builder {
    /// The store in this directory, with its cell where [`super::default_cell`] is or leads.
    #[cfg(feature = "sled")]
    pub fn at(store: impl Into<PathBuf>) -> Self {
        Builder::with(StoreAt::Directory(store.into()), CellAt::Beside)
    }

    /// A store and a cell behind adapters of your own.
    pub fn over(store: Arc<dyn Store>, cell: Arc<dyn RootCell>) -> Self {
        Builder::with(StoreAt::Given(store), CellAt::Given(cell))
    }

    fn with(store: StoreAt, cell: CellAt) -> Self {
        Builder {
            store,
            cell,
            options: Options::new(),
            accept_remnants: false,
            #[cfg(feature = "keyholders")]
            spread: None,
        }
    }

    /// The cell is in this directory. Where a store is made in a directory, a file beside it is written that says so.
    #[must_use]
    pub fn cell_at(self, cell: impl Into<PathBuf>) -> Self {
        Builder { cell: CellAt::Directory(cell.into()), ..self }
    }

    /// The cell is behind this adapter.
    #[must_use]
    pub fn cell(self, cell: Arc<dyn RootCell>) -> Self {
        Builder { cell: CellAt::Given(cell), ..self }
    }
}

/// What may be done.
impl Builder {
    /// Only looks: nothing is claimed, written or destroyed, in the store, in its copies or in the cell.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.options.open_as = OpenAs::ReadOnly;
        #[cfg(feature = "sled")]
        {
            let look = |place: &str, _: bool| Ok(Arc::new(by_length(Path::new(place))?) as Arc<dyn Store>);
            self.options.open_copy = Arc::new(look);
        }
        self
    }

    /// Becomes the owner of the cell, whoever that was before ([`OpenAs::TakeOver`]): a restored store, or a backup,
    /// takes production's place so.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.options.open_as = OpenAs::TakeOver;
        self
    }

    /// Gives up what the copy at `place`, which is to be in step, holds and the store lacks.
    #[must_use]
    pub fn give_up(mut self, place: impl Into<String>) -> Self {
        self.options.give_up.push(place.into());
        self
    }

    /// Has a cell made on a file system that may keep what is overwritten; every promise of the cell says so from then
    /// on.
    #[must_use]
    pub fn accept_remnants(self) -> Self {
        Builder { accept_remnants: true, ..self }
    }

    /// Has a cell made whose root key is shared among these keyholders.
    #[cfg(feature = "keyholders")]
    #[must_use]
    pub fn keyholders(self, members: Vec<Member>, rule: impl Into<Rule>) -> Self {
        Builder { spread: Some((members, rule.into())), ..self }
    }
}

/// How the engine runs: [`Options`], of which each has its method here.
impl Builder {
    /// All options at once, in place of what was said of them before.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        Builder { options, ..self }
    }

    fn set(self, change: impl FnOnce(Options) -> Options) -> Self {
        Builder { options: change(self.options), ..self }
    }

    /// See [`Options::env`].
    #[must_use]
    pub fn env(self, env: SharedEnv) -> Self {
        self.set(|options| options.env(env))
    }

    /// See [`Options::cache_bytes`].
    #[must_use]
    pub fn cache_bytes(self, bytes: u64) -> Self {
        self.set(|options| options.cache_bytes(bytes))
    }

    /// See [`Options::geometry`].
    #[must_use]
    pub fn geometry(self, geometry: Geometry) -> Self {
        self.set(|options| options.geometry(geometry))
    }

    /// See [`Options::follow`].
    #[must_use]
    pub fn follow(self, follow: Follow) -> Self {
        self.set(|options| options.follow(follow))
    }

    /// See [`Options::keeper`].
    #[must_use]
    pub fn keeper(self, keeper: Keeper) -> Self {
        self.set(|options| options.keeper(keeper))
    }

    /// See [`Options::clock_jump`].
    #[must_use]
    pub fn clock_jump(self, jump: Duration) -> Self {
        self.set(|options| options.clock_jump(jump))
    }

    /// See [`Options::clock_is_right`].
    #[must_use]
    pub fn clock_is_right(self) -> Self {
        self.set(|options| options.clock_is_right(true))
    }

    /// See [`Options::log_origin`].
    #[must_use]
    pub fn log_origin(self, origin: impl Into<String>) -> Self {
        self.set(|options| options.log_origin(origin))
    }

    /// See [`Options::open_copy`].
    #[must_use]
    pub fn open_copy(self, open_copy: OpenCopy) -> Self {
        self.set(|options| options.open_copy(open_copy))
    }
}

/// The three ways to an engine.
impl Builder {
    /// Makes a new store and its cell.
    ///
    /// # Errors
    /// `Exists` where a store or a key is there; `Medium` where the cell's file system may keep what is overwritten;
    /// `Refused` where one of the two lies inside the other, or inside another store or cell; `Invalid` for a bad
    /// geometry; `Locked`, `Io`, `Full`.
    pub fn create(&self) -> Result<Engine> {
        match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => self.create_in(dir),
            StoreAt::Given(store) => Engine::init(Arc::clone(store), self.make_cell()?, self.options.clone()),
        }
    }

    /// Opens a store with its cell; neither is made.
    ///
    /// # Errors
    /// `Absent` where one of the two is missing, with which one and what to do; else as [`Engine::open`], which also
    /// says what is no error: a store that does not own its cell is opened to look at.
    pub fn open(&self) -> Result<Engine> {
        match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => self.open_in(dir),
            StoreAt::Given(store) => Engine::open(Arc::clone(store), self.open_cell()?, self.options.clone()),
        }
    }

    /// Opens a store with its cell; makes both where neither exists, and finishes a making that was cut short before it
    /// returned.
    ///
    /// # Errors
    /// As [`Builder::open`] and [`Builder::create`]; `Invalid` for an engine that is to look only or to take over: what
    /// it is for must be there.
    pub fn open_or_create(&self) -> Result<Engine> {
        if self.options.open_as != OpenAs::Owner {
            return Err(Error::invalid(
                "a store that is to be made is not looked at nor taken over; call `Builder::open`",
            ));
        }
        match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => self.open_or_create_in(dir),
            StoreAt::Given(store) => self.open_or_create_over(Arc::clone(store)),
        }
    }

    fn open_or_create_over(&self, store: Arc<dyn Store>) -> Result<Engine> {
        if store.head()?.is_some() {
            return Engine::open(store, self.open_cell()?, self.options.clone());
        }
        let cell = match self.open_cell() {
            Err(e) if e.kind() == ErrorKind::Absent => self.make_cell()?,
            opened => opened?,
        };
        Engine::finish_init(store, cell, self.options.clone())
    }

    /// The cell beside a store that is behind an adapter.
    fn open_cell(&self) -> Result<Arc<dyn RootCell>> {
        match &self.cell {
            #[cfg(feature = "sled")]
            CellAt::Beside => Err(Error::invalid("name the cell with `Builder::cell_at` or `Builder::cell`")),
            CellAt::Directory(dir) => self.root_in(dir),
            CellAt::Given(cell) => Ok(Arc::clone(cell)),
        }
    }

    fn make_cell(&self) -> Result<Arc<dyn RootCell>> {
        match &self.cell {
            #[cfg(feature = "sled")]
            CellAt::Beside => Err(Error::invalid("name the cell with `Builder::cell_at` or `Builder::cell`")),
            CellAt::Directory(dir) => self.make_root_in(dir),
            CellAt::Given(cell) => Ok(Arc::clone(cell)),
        }
    }

    fn root_in(&self, dir: &std::path::Path) -> Result<Arc<dyn RootCell>> {
        if self.options.open_as == OpenAs::ReadOnly {
            return look_root(dir, &self.options.env);
        }
        open_root(dir, &self.options.env)
    }

    fn make_root_in(&self, dir: &std::path::Path) -> Result<Arc<dyn RootCell>> {
        let env = &self.options.env;
        #[cfg(feature = "keyholders")]
        if let Some((members, rule)) = &self.spread {
            return Ok(Arc::new(crate::quorum::net::make_cell(dir, members.clone(), *rule, env)?));
        }
        Ok(Arc::new(FileCell::create(dir, self.accept_remnants, Arc::clone(env))?))
    }
}

/// A store in a directory, and what its cell is: one in a directory too, or one behind an adapter.
#[cfg(feature = "sled")]
enum Site {
    Directories(Location),
    /// The store's directory is looked at with no cell's beside it.
    Adapter(Location, Arc<dyn RootCell>),
}

#[cfg(feature = "sled")]
impl Site {
    fn location(&self) -> &Location {
        match self {
            Site::Directories(at) | Site::Adapter(at, _) => at,
        }
    }
}

/// With a store in a directory.
#[cfg(feature = "sled")]
impl Builder {
    fn site(&self, dir: &Path) -> Result<Site> {
        Ok(match &self.cell {
            CellAt::Beside => Site::Directories(Location::find(dir, None)?),
            CellAt::Directory(cell) => Site::Directories(Location::find(dir, Some(cell))?),
            CellAt::Given(cell) => Site::Adapter(Location::without_cell(dir, &**cell), Arc::clone(cell)),
        })
    }

    fn held(&self, site: &Site) -> Held {
        match site {
            Site::Directories(at) => Held::at(at.cell(), &self.options.env),
            Site::Adapter(_, cell) => Held::of(cell.load()),
        }
    }

    fn open_in(&self, dir: &Path) -> Result<Engine> {
        let site = self.site(dir)?;
        let at = site.location();
        let blobs = match self.options.open_as {
            OpenAs::ReadOnly => blobs_to_look(dir),
            OpenAs::TakeOver => SledStore::open(dir),
            // A backup that nobody takes over stays as it is.
            OpenAs::Owner if SledStore::was_claimed(dir)? => SledStore::open(dir),
            OpenAs::Owner => SledStore::look(dir),
        };
        let blobs = blobs.map_err(|e| without_store(e, at, self.held(&site)))?;
        if blobs.head()?.is_none() {
            check_whole(&blobs, at, self.held(&site))?;
        }
        let root = match &site {
            Site::Directories(at) => self.root_in(at.cell())?,
            Site::Adapter(_, cell) => Arc::clone(cell),
        };
        let engine = Engine::open(Arc::new(blobs), root, self.options.clone())?;
        at.check_bound(engine.id())?;
        Ok(engine)
    }

    fn create_in(&self, dir: &Path) -> Result<Engine> {
        let site = self.site(dir)?;
        let at = site.location();
        check_place(dir)?;
        if let Site::Directories(at) = &site {
            check_place(at.cell())?;
            at.pointer()?;
        }
        check_unheld(at, self.held(&site))?;
        let was_there = dir.is_dir();
        let blobs = SledStore::create(dir)?;
        let root = match &site {
            Site::Directories(at) => self.make_root_in(at.cell()),
            Site::Adapter(_, cell) => Ok(Arc::clone(cell)),
        };
        let root = match root {
            Ok(root) => root,
            Err(e) => {
                // Nothing was put yet: leave no half a store behind.
                drop(blobs);
                take_away(dir, was_there);
                return Err(e);
            }
        };
        let made = self.initialize(&site, Arc::new(blobs), root, Engine::init);
        #[cfg(feature = "keyholders")]
        if made.is_err() {
            self.undo(&site, was_there);
        }
        made
    }

    /// Makes a store in directories that are made, and writes where its cell is: before there is anything to open, so
    /// that whatever is there can be opened; and once more with the store that it is bound to.
    fn initialize(
        &self,
        site: &Site,
        store: Arc<dyn Store>,
        root: Arc<dyn RootCell>,
        init: impl FnOnce(Arc<dyn Store>, Arc<dyn RootCell>, Options) -> Result<Engine>,
    ) -> Result<Engine> {
        let env = &*self.options.env;
        if let Site::Directories(at) = site {
            at.write_pointer(None, env)?;
        }
        let engine = init(store, root, self.options.clone())?;
        if let Site::Directories(at) = site {
            at.write_pointer(Some(engine.id()), env)?;
        }
        Ok(engine)
    }

    /// Takes away what an init left that keyholders did not take part in. The engine's key stays: keyholders know it.
    #[cfg(feature = "keyholders")]
    fn undo(&self, site: &Site, was_there: bool) {
        let (Some(_), Site::Directories(at)) = (&self.spread, site) else { return };
        take_away(at.store(), was_there);
        let _ = std::fs::remove_file(at.cell().join("quorum.json"));
        if let Ok(Some(pointer)) = at.pointer() {
            let _ = std::fs::remove_file(pointer);
        }
    }

    fn open_or_create_in(&self, dir: &Path) -> Result<Engine> {
        let site = self.site(dir)?;
        let at = site.location();
        let held = self.held(&site);
        // Of one that is shared a part may lie with each keyholder: a person finishes that.
        let is_shared = at.cell().join("quorum.json").exists();
        if matches!(held, Held::Key | Held::Unread) || is_shared && held == Held::Unfinished {
            return self.open_in(dir);
        }
        let there = match SledStore::look(dir) {
            Ok(blobs) => Some((blobs.head()?.is_some(), blobs.usage()?.blobs)),
            Err(e) if e.kind() == ErrorKind::Absent => None,
            Err(e) => return Err(e),
        };
        match there {
            Some((true, _)) if held == Held::Nothing => Err(without_cell(at)),
            Some((true, _)) => self.open_in(dir),
            // Blobs without a head: those of an init that was cut short, or of a restore.
            Some((false, 1..)) if held == Held::Nothing || !SledStore::was_claimed(dir)? => self.open_in(dir),
            None if held == Held::Nothing => self.create_in(dir),
            Some((false, _)) | None => self.finish_in(dir, &site, held),
        }
    }

    /// Finishes an init that was cut short: nothing can have been put before it returned.
    fn finish_in(&self, dir: &Path, site: &Site, held: Held) -> Result<Engine> {
        check_place(dir)?;
        if let Site::Directories(at) = site {
            check_place(at.cell())?;
            at.pointer()?;
        }
        let blobs = match SledStore::open(dir) {
            Err(e) if e.kind() == ErrorKind::Absent => SledStore::create(dir)?,
            opened => opened?,
        };
        let root = match site {
            Site::Directories(at) if held == Held::Nothing => self.make_root_in(at.cell())?,
            Site::Directories(at) => self.root_in(at.cell())?,
            Site::Adapter(_, cell) => Arc::clone(cell),
        };
        self.initialize(site, Arc::new(blobs), root, Engine::finish_init)
    }
}

/// A store without its cell: a cell is never made for it, which would hide that the other one is missing.
#[cfg(feature = "sled")]
fn without_cell(at: &Location) -> Error {
    Error::new(
        ErrorKind::Absent,
        format!(
            "the store {} is there, and its root cell {} is missing or empty: put the cell back, or name the place where it lies \
             with `Builder::cell_at`; nothing in the store can be read without it",
            at.store().display(),
            at.cell().display()
        ),
    )
}

/// Takes away what a failed making left in a directory, and the directory where that was not there before.
#[cfg(feature = "sled")]
fn take_away(dir: &Path, was_there: bool) {
    if !was_there {
        let _ = std::fs::remove_dir_all(dir);
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_dir { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) };
    }
}
