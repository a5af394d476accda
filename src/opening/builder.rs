//! The builder: says where a store and its cell are and what may be done, and opens them, again and
//! again.

#[cfg(feature = "sled")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "sled")]
use super::location::by_length;
#[cfg(feature = "sled")]
use super::paths::url_of;
#[cfg(feature = "sled")]
use super::remote::Remote;
#[cfg(feature = "sled")]
use super::restoring::copy_as_it_is;
use super::roots::{CellAt, Settings, finish_over};
#[cfg(feature = "sled")]
use super::site::Site;
use super::standby::{See, StandBy, stand_by};
use crate::catalogue::shard::Shard;
use crate::cell::RootCell;
use crate::certificate::Draft;
#[cfg(feature = "sled")]
use crate::engine::{Checked, Progress, Restored, check_restored, restore};
use crate::engine::{Cleaner, Follow, Geometry, Keeper, OpenAs, OpenCopy};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::Observer;
#[cfg(feature = "keyholders")]
use crate::quorum::{Member, Rule};
use crate::store::Store;
#[cfg(feature = "sled")]
use crate::store::place::{CacheAt, How, at_url, at_url_cached, is_url};
use crate::{Engine, Options};

/// Pause before what is in use is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// Whether the store, its cell or a copy in step is in use.
fn is_locked(e: &Error) -> bool {
    let source = std::error::Error::source(e).and_then(|source| source.downcast_ref::<Error>());
    e.kind() == ErrorKind::Locked || source.is_some_and(is_locked)
}

/// Opens the store in a directory, with its root cell beside it: `assistant.db` and
/// `assistant.db.cell`. Makes both if neither exists, and finishes a making that was cut short.
/// What cannot be said here [`Builder`] takes.
///
/// A directory that does not own its cell, as a backup, is opened to look at
/// ([`Engine::read_only`]), and stays as it is until it takes over ([`Builder::take_over`]). Of two
/// byte-for-byte copies of the owner's directory the one that is opened first is the owner from
/// then on, and the other one is read-only: open a copy that you made for a look with
/// [`Builder::read_only`].
///
/// A cell is all that stands between you and losing everything, and must not be copied: keep the
/// two apart in backups, and never back up the cell.
///
/// # Errors
/// `Absent` if one of the two is missing, with which one and what to do; `Medium` if the file
/// system may keep what is overwritten, which [`Builder::accept_remnants`] accepts; `Mismatch`
/// if store and cell do not fit; `Locked` if another process, or another [`Engine`] of this
/// one, has them open; `Refused`, `Corrupt`, `Io`, `Full`.
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
/// A builder can be used again. After [`ErrorKind::Poisoned`] [`Engine::reopen`] goes on in place,
/// for all clones at once. Where that fails, drop the engine with its readers and batches, or
/// [`Engine::close`] it, and open once more with the same builder.
///
/// ```no_run
/// use keyfall::{Builder, Class, Put, UserId};
///
/// let builder = Builder::at("/srv/assistant.db").cell_at("/var/keys/assistant.cell");
/// let mut engine = builder.open_or_create()?;
/// let put = || -> keyfall::Result<_> { Ok(Put::new(UserId::new("ada")?, Class::audio())) };
/// if let Err(e) = engine.put(put()?, &b"RIFF...."[..])
///     && engine.is_poisoned()
/// {
///     eprintln!("{e}; it may have been stored all the same: {}", e.may_have_happened());
///     if engine.reopen().is_err() {
///         engine.close()?;
///         engine = builder.open()?;
///     }
/// }
/// # drop(engine);
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone)]
pub struct Builder {
    store: StoreAt,
    cell: CellAt,
    settings: Settings,
}

#[derive(Clone)]
enum StoreAt {
    #[cfg(feature = "sled")]
    Directory(PathBuf),
    Given(Arc<dyn Store>),
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let store = match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => dir.display().to_string(),
            StoreAt::Given(store) => store.place(),
        };
        f.debug_struct("Builder")
            .field("store", &store)
            .field("options", &self.settings.options)
            .finish_non_exhaustive()
    }
}

/// Where the store and its cell are.
impl Builder {
    /// The store in this directory, with its cell where [`super::default_cell`] is or leads.
    ///
    /// Or, with the feature `objects`, the store at a URL: `s3://bucket/prefix`, `gs://`, `az://`
    /// or `file:///directory`, and with `postgres` also `postgres://user@host/database`, whose
    /// cell is named with [`Builder::cell_at`].
    #[cfg(feature = "sled")]
    pub fn at(store: impl Into<PathBuf>) -> Self {
        Builder::with(StoreAt::Directory(store.into()), CellAt::Beside)
    }

    /// A store and a cell that adapters of your own provide.
    pub fn over(store: Arc<dyn Store>, cell: Arc<dyn RootCell>) -> Self {
        Builder::with(StoreAt::Given(store), CellAt::Given(cell))
    }

    fn with(store: StoreAt, cell: CellAt) -> Self {
        Builder { store, cell, settings: Settings::new() }
    }

    /// The cell is in this directory. If a store is made in a directory, a file beside it is
    /// written that says so.
    #[must_use]
    pub fn cell_at(self, cell: impl Into<PathBuf>) -> Self {
        Builder { cell: CellAt::Directory(cell.into()), ..self }
    }

    /// The store is a shard of a realm.
    #[must_use]
    pub(crate) fn shard(self, shard: Arc<Shard>) -> Self {
        self.set(|options| Options { shard: Some(shard), ..options })
    }

    /// Takes the cell that this adapter provides.
    #[must_use]
    pub fn cell(self, cell: Arc<dyn RootCell>) -> Self {
        Builder { cell: CellAt::Given(cell), ..self }
    }
}

/// What the engine may do with them.
impl Builder {
    /// Only looks: nothing is claimed, written or destroyed, in the store, in its copies or in the
    /// cell.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.settings.options.open_as = OpenAs::ReadOnly;
        #[cfg(feature = "sled")]
        {
            let look = |place: &str, _: bool| match is_url(place) {
                true => at_url(place, How::Borrow),
                false => Ok(Arc::new(by_length(Path::new(place))?) as Arc<dyn Store>),
            };
            self.settings.options.open_copy = Arc::new(look);
        }
        self
    }

    /// Becomes the owner of the cell, whichever place owned it before ([`OpenAs::TakeOver`]): so a
    /// restored store, or a backup, takes the place of production.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.settings.options.open_as = OpenAs::TakeOver;
        self
    }

    /// Gives up what the copy at `place`, which is to be in step, holds and the store lacks.
    #[must_use]
    pub fn give_up(mut self, place: impl Into<String>) -> Self {
        self.settings.options.give_up.push(place.into());
        self
    }

    /// Has a cell made on a file system that may keep what is overwritten; every promise of the
    /// cell says so from then on.
    #[must_use]
    pub fn accept_remnants(mut self) -> Self {
        self.settings.accept_remnants = true;
        self
    }

    /// Lets the cell of a new store at a URL be a file: only this machine ever opens the store.
    #[must_use]
    pub fn single_machine(mut self) -> Self {
        self.settings.single_machine = true;
        self
    }

    /// Has [`Builder::open`], [`Builder::create`] and [`Builder::open_or_create`] wait so long,
    /// if the store or its cell is in use, before they fail as `Locked`; by default they fail at
    /// once. An engine that takes over from one that is being shut down waits a little.
    #[must_use]
    pub fn wait_for_lock(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Keeps what is read of a store at a URL in a directory of this machine, `bytes` of it at
    /// most, so that the next process reads it there. It is ciphertext: it may be copied, and an
    /// erase needs nothing removed from it. A store that is no URL is `Invalid` with it.
    #[cfg(feature = "sled")]
    #[must_use]
    pub fn object_cache(mut self, dir: impl Into<PathBuf>, bytes: u64) -> Self {
        self.settings.cache = Some(CacheAt { dir: dir.into(), most: bytes });
        self
    }

    /// Has a cell made whose root key is shared among these keyholders.
    #[cfg(feature = "keyholders")]
    #[must_use]
    pub fn keyholders(mut self, members: Vec<Member>, rule: impl Into<Rule>) -> Self {
        self.settings.spread = Some((members, rule.into()));
        self
    }
}

/// How the engine runs: [`Options`], of which each has its method here.
impl Builder {
    /// All options at once, instead of those set before.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        self.set(|_| options)
    }

    fn set(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        self.settings.options = change(self.settings.options);
        self
    }

    /// Sets the source of time and randomness ([`Options::env`]).
    #[must_use]
    pub fn env(self, env: SharedEnv) -> Self {
        self.set(|options| options.env(env))
    }

    /// Limits the bytes of opened pages kept in memory ([`Options::cache_bytes`]).
    #[must_use]
    pub fn cache_bytes(self, bytes: u64) -> Self {
        self.set(|options| options.cache_bytes(bytes))
    }

    /// Sets page size, fan-out and segment size of a new store ([`Options::geometry`]).
    #[must_use]
    pub fn geometry(self, geometry: Geometry) -> Self {
        self.set(|options| options.geometry(geometry))
    }

    /// Limits how far an erase follows derived records before it returns ([`Options::follow`]).
    #[must_use]
    pub fn follow(self, follow: Follow) -> Self {
        self.set(|options| options.follow(follow))
    }

    /// Chooses what runs the work that falls due ([`Options::keeper`]).
    #[must_use]
    pub fn keeper(self, keeper: Keeper) -> Self {
        self.set(|options| options.keeper(keeper))
    }

    /// Chooses whether space is given back automatically while the engine is open
    /// ([`Options::cleaner`]).
    #[must_use]
    pub fn cleaner(self, cleaner: Cleaner) -> Self {
        self.set(|options| options.cleaner(cleaner))
    }

    /// Sets how far ahead the clock may be before it is doubted ([`Options::clock_jump`]).
    #[must_use]
    pub fn clock_jump(self, jump: Duration) -> Self {
        self.set(|options| options.clock_jump(jump))
    }

    /// Believes the clock at opening, however late it is ([`Options::clock_is_right`]).
    #[must_use]
    pub fn clock_is_right(self) -> Self {
        self.set(|options| options.clock_is_right(true))
    }

    /// Names the log of a new store ([`Options::log_origin`]).
    #[must_use]
    pub fn log_origin(self, origin: impl Into<String>) -> Self {
        self.set(|options| options.log_origin(origin))
    }

    /// Tells an observer what the engine does ([`Options::observer`]).
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|options| options.observer(observer))
    }

    /// Sets what keeps the drafts of certificates of what is due ([`Options::drafts`]).
    #[must_use]
    pub fn drafts(self, keep: impl Fn(&Draft) -> Result<()> + Send + Sync + 'static) -> Self {
        self.set(|options| options.drafts(keep))
    }

    /// Has a new store lend its keys to readers on other machines, for this long at a time
    /// ([`Options::lend`]).
    #[must_use]
    pub fn lend(self, time: Duration) -> Self {
        self.set(|options| options.lend(time))
    }

    /// Leaves a sign of life this often, for a standby to see ([`Options::beat`]).
    #[must_use]
    pub fn beat(self, every: Duration) -> Self {
        self.set(|options| options.beat(every))
    }

    /// Sets the function that opens copies from their places ([`Options::open_copy`]).
    #[must_use]
    pub fn open_copy(self, open_copy: OpenCopy) -> Self {
        self.set(|options| options.open_copy(open_copy))
    }
}

/// The ways to an engine.
impl Builder {
    /// Makes a new store and its cell.
    ///
    /// # Errors
    /// `Exists` if a store or a key is there; `Medium` if the cell's file system may keep
    /// what is overwritten; `Refused` if one of the two lies inside the other, or inside another
    /// store or cell; `Invalid` for a bad geometry; `Locked`, `Io`, `Full`.
    pub fn create(&self) -> Result<Engine> {
        self.patiently(|| match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => match url_of(dir) {
                Some(url) => self.remote(url).create(),
                None => self.site(dir)?.create(),
            },
            StoreAt::Given(store) => {
                self.check_reach(&**store)?;
                Engine::init(Arc::clone(store), self.make_cell()?, self.settings.options.clone())
            }
        })
    }

    /// Opens a store with its cell; neither is made.
    ///
    /// # Errors
    /// `Absent` if one of the two is missing, with which one and what to do; else as
    /// [`Engine::open`], which also says what is not an error: a store that does not own its cell
    /// is opened read-only.
    pub fn open(&self) -> Result<Engine> {
        self.patiently(|| match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => match url_of(dir) {
                Some(url) => self.remote(url).open(),
                None => self.site(dir)?.open(),
            },
            StoreAt::Given(store) => {
                Engine::open(Arc::clone(store), self.open_cell()?, self.settings.options.clone())
            }
        })
    }

    /// Opens a store that machines share to read it on another one than its writer's. What the
    /// engine gives is the store's state as it is, or was no longer ago than the store lends its
    /// keys for ([`Options::lend`]); what an erase took it gives no more once that has returned.
    /// Where the store or its cell is away for longer, reads fail until they are back. It claims,
    /// writes and destroys nothing.
    ///
    /// # Errors
    /// `Refused` for a store that lends no keys; else as [`Builder::open`].
    pub fn open_reader(&self) -> Result<Engine> {
        self.clone().read_only().set(|options| Options { borrows: true, ..options }).open()
    }

    /// Waits beside a store that machines share until the writer is gone, and opens it then in its
    /// place. `see` is told at each look, and ends the waiting: then this gives `None`.
    ///
    /// Nothing that was acknowledged is lost if the writer was not gone: it writes no more, and
    /// reads for two seconds more at most.
    ///
    /// # Errors
    /// `Refused` for a store that machines do not share, and for a cell in files; `Fenced` if this
    /// place does not own the cell; else as [`Builder::open`], but for what another try may do
    /// better: that `see` is told of.
    pub fn stand_by(&self, how: &StandBy, see: See<'_>) -> Result<Option<Engine>> {
        let store = || self.store_beside();
        let cell = || {
            self.cell.check_common(&self.settings)?;
            self.open_cell()
        };
        stand_by(&self.settings.options, &store, &cell, how, see)
    }

    /// The store beside which a standby waits, opened so that it can be claimed at once.
    fn store_beside(&self) -> Result<Arc<dyn Store>> {
        match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => match url_of(dir) {
                Some(url) => {
                    // Whether it can be asked is soon known; what is opened has all the patience.
                    at_url(url, How::Borrow)?;
                    at_url_cached(url, How::Open, self.settings.cache.as_ref())
                }
                None => Ok(Arc::new(by_length(dir)?)),
            },
            StoreAt::Given(store) => Ok(Arc::clone(store)),
        }
    }

    /// Opens a store with its cell; makes both if neither exists, and finishes a making that was
    /// cut short before it returned.
    ///
    /// # Errors
    /// As [`Builder::open`] and [`Builder::create`]; `Invalid` for an engine that is read-only
    /// or takes over: its store must exist.
    pub fn open_or_create(&self) -> Result<Engine> {
        if self.settings.options.open_as != OpenAs::Owner {
            return Err(Error::invalid(
                "a store that is to be created can be neither opened read-only nor taken over; call `Builder::open`",
            ));
        }
        self.patiently(|| match &self.store {
            #[cfg(feature = "sled")]
            StoreAt::Directory(dir) => match url_of(dir) {
                Some(url) => self.remote(url).open_or_create(),
                None => self.site(dir)?.open_or_create(),
            },
            StoreAt::Given(store) => self.open_or_create_over(Arc::clone(store)),
        })
    }

    /// Builds the store at this place, a directory or a URL, from copies at such places, backups
    /// and copies in step: `progress` is told how many blobs are restored. The cell is only read.
    /// What is built is read-only until it takes over, by [`Builder::take_over`]; the store that it
    /// was copied from is untouched until then. A restore that was cut short is continued.
    ///
    /// # Errors
    /// `Exists` if a store is there; else as [`crate::engine::restore`].
    #[cfg(feature = "sled")]
    pub fn restore(&self, copies: &[impl AsRef<Path>], progress: Progress<'_>) -> Result<Restored> {
        match &self.store {
            StoreAt::Directory(dir) => {
                if let Some(url) = url_of(dir) {
                    self.remote(url).check_reach()?;
                }
                self.site(dir)?.restore(copies, progress)
            }
            StoreAt::Given(store) => {
                let copies = copies.iter().map(|copy| copy_as_it_is(copy.as_ref()));
                restore(
                    &*self.open_cell()?,
                    &copies.collect::<Result<Vec<_>>>()?,
                    &**store,
                    progress,
                )
            }
        }
    }

    /// Reads back what [`Builder::restore`] built at this place, and compares each record with the
    /// digest that it was put with, before it takes over.
    ///
    /// # Errors
    /// As [`crate::engine::check_restored`], and as [`Builder::open`].
    #[cfg(feature = "sled")]
    pub fn check_restored(&self, progress: Progress<'_>) -> Result<Checked> {
        match &self.store {
            StoreAt::Directory(dir) => {
                let cell = self.site(dir)?.look_root()?;
                check_restored(&*cell, &copy_as_it_is(dir)?, progress)
            }
            StoreAt::Given(store) => check_restored(&*self.open_cell()?, store, progress),
        }
    }

    /// Tries until what is in use is free, for as long as was said.
    fn patiently(&self, open: impl Fn() -> Result<Engine>) -> Result<Engine> {
        let began = Instant::now();
        self.check_cache()?;
        loop {
            match open() {
                Err(e) if is_locked(&e) => {
                    let left = self.settings.patience.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        return Err(self.impatient(e));
                    }
                    std::thread::sleep(left.min(RETRY));
                }
                opened => return opened,
            }
        }
    }

    /// Refuses a cache of objects for a store that has none at a URL.
    fn check_cache(&self) -> Result<()> {
        #[cfg(feature = "sled")]
        if self.settings.cache.is_some() {
            return match &self.store {
                StoreAt::Directory(dir) if url_of(dir).is_some() => Ok(()),
                StoreAt::Directory(_) => Err(Error::invalid(
                    "a store in a directory needs no cache of objects; leave `Builder::object_cache` out",
                )),
                StoreAt::Given(_) => Err(Error::invalid(
                    "a store that is given brings its own cache of objects; call `ObjectLog::cache`",
                )),
            };
        }
        Ok(())
    }

    /// What is in use, with what waits for it, where that was not asked for.
    fn impatient(&self, e: Error) -> Error {
        if self.settings.patience.is_zero() {
            Error::new(
                e.kind(),
                format!(
                    "{e}; `Builder::wait_for_lock` waits until it ends, and a service is to be stopped"
                ),
            )
        } else {
            e
        }
    }

    #[cfg(feature = "sled")]
    fn remote<'a>(&'a self, url: &'a str) -> Remote<'a> {
        Remote { url, cell: &self.cell, settings: &self.settings }
    }

    #[cfg(feature = "sled")]
    fn site(&self, dir: &Path) -> Result<Site<'_>> {
        let settings = &self.settings;
        match &self.cell {
            CellAt::Beside => Site::new(dir, None, settings),
            CellAt::Directory(cell) => Site::new(dir, Some(cell), settings),
            CellAt::Given(cell) => Ok(Site::with_adapter(dir, cell, settings)),
        }
    }

    fn open_or_create_over(&self, store: Arc<dyn Store>) -> Result<Engine> {
        if store.head()?.is_some() {
            return Engine::open(store, self.open_cell()?, self.settings.options.clone());
        }
        let cell = match self.open_cell() {
            Err(e) if e.kind() == ErrorKind::Absent => {
                self.check_reach(&*store)?;
                self.make_cell()?
            }
            opened => opened?,
        };
        finish_over(store, cell, &self.settings.options)
    }

    /// Refuses to make a cell in files for a store that other machines can reach.
    fn check_reach(&self, store: &dyn Store) -> Result<()> {
        if store.is_shared() {
            self.cell.check_reach(&self.settings, &store.place())
        } else {
            Ok(())
        }
    }

    /// The cell that belongs to a store given as an adapter.
    fn open_cell(&self) -> Result<Arc<dyn RootCell>> {
        self.cell.open(&self.settings)
    }

    fn make_cell(&self) -> Result<Arc<dyn RootCell>> {
        self.cell.make(&self.settings)
    }
}
