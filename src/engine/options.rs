//! How an engine is opened.

use std::sync::Arc;
use std::time::Duration;

use super::bell::Keeper;
use super::dying::Cleaner;
use crate::catalogue::blob_names::BlobNaming;
#[cfg(feature = "testing")]
use crate::catalogue::defect::Defect;
use crate::catalogue::defect::Planted;
use crate::catalogue::fell::Follow;
use crate::catalogue::means::Means;
use crate::catalogue::shard::Shard;
use crate::certificate::Draft;
use crate::env::{SharedEnv, System};
#[cfg(not(feature = "sled"))]
use crate::error::Error;
use crate::error::Result;
use crate::limits::{CLOCK_JUMP, UPLOAD_LASTS};
use crate::observer::Observer;
use crate::scope::Drafted;
use crate::store::Store;
use crate::tree::Geometry;

/// Opens the store at a copy's place; if the flag is set it may make an empty one.
pub type OpenCopy = Arc<dyn Fn(&str, bool) -> Result<Arc<dyn Store>> + Send + Sync>;

/// How an engine opens a store: as its owner, or read-only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenAs {
    /// As its owner, if this place of the store made the last claim; else read-only.
    #[default]
    Owner,
    /// Read-only: nothing is claimed, written or destroyed, here or in the root cell.
    ReadOnly,
    /// As its owner, whichever place owned the cell before. The other place is read-only until it
    /// takes over in turn, and no longer opens once the next epoch has begun. What it committed and
    /// this one lacks is lost.
    TakeOver,
}

/// How an engine is opened: what [`Options::new`] gives, changed by the methods with the names of
/// the fields.
///
/// ```
/// use keyfall::Options;
/// use keyfall::engine::Keeper;
///
/// let options = Options::new().cache_bytes(8 << 20).keeper(Keeper::ByHand);
/// assert_eq!(options.cache_bytes, 8 << 20);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Source of time and randomness; the operating system's by default.
    pub env: SharedEnv,
    /// Most bytes of opened pages kept in memory; a 1024th of them of one user at most, for an
    /// erase waits until these are zeroized.
    pub cache_bytes: u64,
    /// Page size, fan-out and segment size of a new store; `None`, the default: those that suit it
    /// ([`Store::segment_bytes`](crate::store::Store::segment_bytes)).
    pub geometry: Option<Geometry>,
    /// How far an erase follows what was derived from its scope before it returns; the rest is left
    /// to [`Engine::run_due`](crate::Engine::run_due).
    pub follow: Follow,
    /// What runs the work that falls due: a thread of the engine, or calls by the application.
    pub keeper: Keeper,
    /// Whether space is given back automatically while the engine is open
    /// ([`Engine::clean`](crate::Engine::clean)).
    pub cleaner: Cleaner,
    /// How far the clock may be ahead of the last commit, beyond the time that an open engine
    /// counts itself, before nothing is done by it alone
    /// ([`Clock::doubts`](crate::engine::Clock::doubts)).
    pub clock_jump: Duration,
    /// How long an upload may be unfinished before it falls.
    pub upload_lasts: Duration,
    /// Believe the clock at opening, however long ago the last commit was.
    pub clock_is_right: bool,
    /// Name of a new store's log: a URL without its scheme. The default is made from the store's
    /// id.
    pub log_origin: Option<String>,
    /// How often a sign of life is left in a store that machines share, for a standby to see
    /// ([`Builder::stand_by`](crate::Builder::stand_by)); `None`, the default: never. A commit is
    /// such a sign: nothing else is left while there are commits.
    pub beat: Option<Duration>,
    /// For how long a new store lends its keys to readers on other machines
    /// ([`Builder::open_reader`](crate::Builder::open_reader)): each erase returns that much later.
    /// `None`, the default: it lends none. Fixed when a store is made.
    pub lend: Option<Duration>,
    /// Whether it is opened to read with a key that is lent.
    pub(crate) borrows: bool,
    /// Opens a copy from its place. The default opens directories.
    pub open_copy: OpenCopy,
    /// How the store is opened.
    pub open_as: OpenAs,
    /// Copies in step, by their places: what these hold and the store lacks is given up. A
    /// take-over is refused if another one is ahead.
    pub give_up: Vec<String>,
    /// What is told of the engine's work; `None`: nobody.
    pub observer: Option<Arc<dyn Observer>>,
    pub(crate) drafts: Option<Drafted>,
    /// What the store has in common with the other shards of its realm.
    pub(crate) shard: Option<Arc<Shard>>,
    /// A defect to plant, so that tests can see that they would find it.
    #[cfg(feature = "testing")]
    pub(crate) defect: Option<Defect>,
}

impl Options {
    /// The default: the system's clock and generator, 64 MiB of cache, a thread that does what is
    /// due.
    pub fn new() -> Self {
        Options {
            env: Arc::new(System),
            cache_bytes: 64 << 20,
            geometry: None,
            follow: Follow::default(),
            keeper: Keeper::default(),
            cleaner: Cleaner::default(),
            clock_jump: CLOCK_JUMP,
            upload_lasts: UPLOAD_LASTS,
            clock_is_right: false,
            log_origin: None,
            beat: None,
            lend: None,
            borrows: false,
            open_copy: Arc::new(open_directory),
            open_as: OpenAs::default(),
            give_up: Vec::new(),
            observer: None,
            drafts: None,
            shard: None,
            #[cfg(feature = "testing")]
            defect: None,
        }
    }

    /// Takes time and randomness from `env`.
    #[must_use]
    pub fn env(self, env: SharedEnv) -> Self {
        Options { env, ..self }
    }

    /// Keeps at most this many bytes of opened pages in memory.
    #[must_use]
    pub fn cache_bytes(self, cache_bytes: u64) -> Self {
        Options { cache_bytes, ..self }
    }

    /// Gives a new store this page size, fan-out and segment size.
    #[must_use]
    pub fn geometry(self, geometry: Geometry) -> Self {
        Options { geometry: Some(geometry), ..self }
    }

    /// Sets how far an erase follows what was derived from its scope before it returns.
    #[must_use]
    pub fn follow(self, follow: Follow) -> Self {
        Options { follow, ..self }
    }

    /// Chooses what runs the work that falls due.
    #[must_use]
    pub fn keeper(self, keeper: Keeper) -> Self {
        Options { keeper, ..self }
    }

    /// Chooses whether space is given back automatically while the engine is open.
    #[must_use]
    pub fn cleaner(self, cleaner: Cleaner) -> Self {
        Options { cleaner, ..self }
    }

    /// Has a sign of life be left this often in a store that machines share: by a thread of the
    /// engine, or, with [`Keeper::ByHand`], by calls of
    /// [`Ownership::beat`](crate::engine::Ownership::beat). While signs come, another engine that
    /// opens the store is refused as `Locked`, unless it takes over; after an engine that was
    /// killed it looks for as long as two signs take and a second. From 1 ms to 20 seconds.
    #[must_use]
    pub fn beat(self, every: Duration) -> Self {
        Options { beat: Some(every), ..self }
    }

    /// Has a new store lend its keys to readers on other machines, for this long at a time.
    #[must_use]
    pub fn lend(self, time: Duration) -> Self {
        Options { lend: Some(time), ..self }
    }

    /// Sets how far the clock may be ahead of the last commit before it is doubted.
    #[must_use]
    pub fn clock_jump(self, clock_jump: Duration) -> Self {
        Options { clock_jump, ..self }
    }

    /// Lets an upload that begins be unfinished for so long.
    #[must_use]
    pub fn upload_lasts(self, upload_lasts: Duration) -> Self {
        Options { upload_lasts, ..self }
    }

    /// Believes the clock at opening, however long ago the last commit was.
    #[must_use]
    pub fn clock_is_right(self, clock_is_right: bool) -> Self {
        Options { clock_is_right, ..self }
    }

    /// Names a new store's log: a URL without its scheme.
    #[must_use]
    pub fn log_origin(self, log_origin: impl Into<String>) -> Self {
        Options { log_origin: Some(log_origin.into()), ..self }
    }

    /// Opens copies by this function, instead of the one that opens directories.
    #[must_use]
    pub fn open_copy(self, open_copy: OpenCopy) -> Self {
        Options { open_copy, ..self }
    }

    /// Sets how the store is opened.
    #[must_use]
    pub fn open_as(self, open_as: OpenAs) -> Self {
        Options { open_as, ..self }
    }

    /// Gives up what these copies in step hold and the store lacks.
    #[must_use]
    pub fn give_up(self, places: Vec<String>) -> Self {
        Options { give_up: places, ..self }
    }

    /// Tells `observer` what the engine does.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        Options { observer: Some(observer), ..self }
    }

    /// Hands out the drafts of certificates of what is due (planned erases that were
    /// [`Erase::certified`](crate::Erase::certified), limits whose policy is
    /// [`Policy::certified`](crate::Policy::certified)) *before* it is erased, for `keep` to keep
    /// outside of the store: [`Certificates::get`](crate::engine::Certificates::get) makes a
    /// certificate of each when it was done, at any time, and says `Absent` of one that was not. A
    /// draft names a user who may be erased by then. If `keep` fails, what the draft is of is not
    /// erased, and tried again an hour later; without this function certified erases are not
    /// planned, and those that are in the store wait. It is called while other writers wait, maybe
    /// more than once; it must not call the engine.
    #[must_use]
    pub fn drafts(self, keep: impl Fn(&Draft) -> Result<()> + Send + Sync + 'static) -> Self {
        Options { drafts: Some(Drafted::new(keep)), ..self }
    }

    /// What changes are made with.
    pub(super) fn means<'a>(&'a self, names: &'a dyn BlobNaming) -> Means<'a> {
        Means {
            env: &*self.env,
            names,
            follow: self.follow,
            planted: self.planted(),
            shard: self.shard.as_deref(),
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn planted(&self) -> Planted {
        Planted::new(self.defect)
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn planted(&self) -> Planted {
        Planted::default()
    }

    /// Plants a defect that a test has to find.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn defect(self, defect: Option<Defect>) -> Self {
        Options { defect, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("cache_bytes", &self.cache_bytes)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "sled")]
fn open_directory(place: &str, create: bool) -> Result<Arc<dyn Store>> {
    use crate::store::place::{How, at_url, is_url};
    if is_url(place) {
        return at_url(place, if create { How::OpenOrCreate } else { How::OpenCopy });
    }
    let dir = std::path::Path::new(place);
    let store = if create {
        crate::store::SledStore::open_or_create(dir)
    } else {
        crate::store::SledStore::open(dir)
    };
    Ok(Arc::new(store?))
}

#[cfg(not(feature = "sled"))]
fn open_directory(place: &str, _create: bool) -> Result<Arc<dyn Store>> {
    Err(Error::invalid(format!("no adapter opens {place:?}; set one with `Options::open_copy`")))
}
