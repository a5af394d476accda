//! The engine: joins the sealed tree to a store and a root cell.
//!
//! What may be is said in the catalogue, as rules over one state of the tree; here it is said in what order it becomes durable. The
//! invariants and the lock order stand in `core`.

mod anchor;
mod audit;
mod batch;
mod bell;
mod certify;
mod change;
mod check;
mod claims;
mod clock;
mod commit;
mod copies;
mod core;
mod discard;
mod due;
mod epoch;
mod erase;
mod erases;
mod erasure;
mod foresee;
mod grants;
mod group;
mod heads;
mod holds;
mod inbox;
mod keeper;
mod keys;
mod lineage;
mod lines;
mod log;
mod names;
mod open;
mod own;
mod plans;
mod progress;
mod put;
mod puts;
mod queue;
mod read;
mod reader;
mod readers;
mod replica;
mod report;
mod sets;
mod status;
mod sync;
mod tend;
#[cfg(feature = "testing")]
mod twin;
mod walks;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "testing")]
pub use audit::Exposed;
pub use audit::{Audit, PlaceAudit};
pub use batch::Batch;
pub use check::Checked;
pub use claims::Unsigned;
pub use copies::{CopyStatus, Restored, restore};
pub use discard::Discarded;
pub use erasure::Erasure;
pub use foresee::Foreseen;
pub use grants::Opened;
pub use heads::root_of;
pub use inbox::Accepted;
pub use keeper::Keeper;
pub use lineage::Lineage;
pub use own::OpenAs;
pub use progress::Progress;
pub use reader::Reader;
pub use replica::Backup;
pub use report::{Erased, Report};

#[cfg(feature = "testing")]
pub use crate::catalogue::defect::Defect;
pub use crate::catalogue::fell::Follow;
pub use crate::catalogue::list::{Listing, Query};
pub use crate::catalogue::next::Due;
#[cfg(feature = "testing")]
pub(crate) use crate::catalogue::resolve::ContentRoots;
pub use crate::catalogue::tended::{Tended, Trouble};
pub use crate::policy::Policy;
pub use crate::record::{Put, Source};
pub use crate::scope::{Erase, Request, Scope, When};
pub use crate::tree::Geometry;
pub use crate::tree::grants::Grant;
pub use crate::tree::head::{CopyEntry, CopyMode};
pub use crate::tree::history::Fact;
pub use crate::tree::holds::Hold;
pub use crate::tree::lineage::Access;
pub use crate::tree::plans::Plan;
pub use crate::tree::sets::TrainingSet;

use self::core::Core;
use crate::catalogue::change::{Means, Naming};
use crate::catalogue::defect::Planted;
use crate::cell::{Finality, Promise};
use crate::env::{SharedEnv, System};
use crate::error::Result;
use crate::ids::{StoreId, Timestamp};
use crate::store::{HeadId, Store, Usage};
use crate::sync::locked;

/// Opens the store behind a copy's place; where the flag is set it may make an empty one.
pub type OpenCopy = Arc<dyn Fn(&str, bool) -> Result<Arc<dyn Store>> + Send + Sync>;

/// How an engine is opened.
#[derive(Clone)]
pub struct Options {
    /// Time and randomness.
    pub env: SharedEnv,
    /// Most bytes of opened pages kept in memory; a 1024th of them of one user at most, for an erase waits until these are zeroized.
    pub cache_bytes: u64,
    /// Page size, fan-out and segment size of a new store.
    pub geometry: Geometry,
    /// How far an erase follows what was derived from its scope before it returns; the rest is left to [`Engine::tend`].
    pub follow: Follow,
    /// Who does what is due.
    pub keeper: Keeper,
    /// How far the clock may be ahead of the last commit, beyond the time that an open engine counts itself, before nothing is done by
    /// it alone ([`Engine::clock_doubts`]).
    pub clock_jump: Duration,
    /// Believe the clock at opening, however long ago the last commit was.
    pub clock_is_right: bool,
    /// Name of a new store's log: a URL without its scheme. The default is made from the store's id.
    pub log_origin: Option<String>,
    /// Opens a copy from its place. The default opens directories.
    pub open_copy: OpenCopy,
    /// As what the store is opened.
    pub open_as: OpenAs,
    /// Copies in step, by their places: what these hold and the store lacks is given up. A take-over is refused where another one is ahead.
    pub give_up: Vec<String>,
    /// A defect to plant, so that tests can see that they would find it.
    #[cfg(feature = "testing")]
    pub defect: Option<Defect>,
}

impl Options {
    /// What changes are made with.
    fn means<'a>(&'a self, names: &'a dyn Naming) -> Means<'a> {
        Means { env: &*self.env, names, follow: self.follow, planted: self.planted() }
    }

    #[cfg(feature = "testing")]
    fn planted(&self) -> Planted {
        Planted::new(self.defect)
    }

    #[cfg(not(feature = "testing"))]
    fn planted(&self) -> Planted {
        Planted::default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            env: Arc::new(System),
            cache_bytes: 64 << 20,
            geometry: Geometry::default(),
            follow: Follow::default(),
            keeper: Keeper::default(),
            clock_jump: crate::limits::CLOCK_JUMP,
            clock_is_right: false,
            log_origin: None,
            open_copy: Arc::new(open_directory),
            open_as: OpenAs::default(),
            give_up: Vec::new(),
            #[cfg(feature = "testing")]
            defect: None,
        }
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
    let dir = std::path::Path::new(place);
    let store = if create { crate::store::SledStore::open_or_create(dir) } else { crate::store::SledStore::open(dir) };
    Ok(Arc::new(store?))
}

#[cfg(not(feature = "sled"))]
fn open_directory(place: &str, _create: bool) -> Result<Arc<dyn Store>> {
    Err(crate::error::Error::invalid(format!("no adapter opens {place:?}; set Options::open_copy")))
}

/// A store with its root cell, open. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Core>,
    /// Its thread ends with the last handle.
    _keeper: Option<Arc<keeper::Kept>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.inner.stores[0].place())
    }
}

/// What `status` says.
#[derive(Clone, Debug)]
pub struct Status {
    /// Identity of the store.
    pub store: StoreId,
    /// Where it is.
    pub place: String,
    /// Epoch and commit.
    pub head: HeadId,
    /// Users that are not erased.
    pub users: u64,
    /// Space taken.
    pub usage: Usage,
    /// Page size, fan-out and segment size.
    pub geometry: Geometry,
    /// What the cell promises.
    pub cell: Promise,
    /// How far the erases up to now are.
    pub finality: Finality,
    /// Of that, what the engine itself is busy with: a copy in step that is away, keyholders that have not answered; or, of one that only
    /// looks, what it saw. `None` where it has done its part.
    pub unsettled: Option<String>,
    /// Of that, the end of the window in which erases wait for others; `None` where none waits in one.
    pub pending: Option<Timestamp>,
    /// Why the clock is not believed, where it is not; what is due by itself waits then.
    pub clock: Option<String>,
    /// When there is something to do by itself.
    pub next_due: Option<Timestamp>,
    /// What that is.
    pub next_due_is: Option<Due>,
    /// The copies.
    pub copies: Vec<CopyStatus>,
    /// Why this engine only looks at the store; `None` for the owner.
    pub read_only: Option<String>,
    /// See [`Engine::lacks`].
    pub lacks: Option<String>,
    /// Memory for keys in this process, and how much of it could not be locked or left out of core dumps.
    pub memory: crate::secret::Usage,
}

impl Engine {
    /// The identity of the store.
    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// Why this engine only looks at its store: [`Options::open_as`] said so, or the store does not own its root cell. `None` for the owner.
    /// Whatever would write is `Fenced` then.
    pub fn read_only(&self) -> Option<&str> {
        self.inner.looks_only()
    }

    /// What this place is known to lack, in words: the root cell was told of a later commit than its head's, so puts and erases are missing
    /// here, and erases that were pending do not become final. `None` where nothing is known to be missing. A take-over has the cell forget
    /// that commit: the engine that took the store over tells it until it is past it, a later one does not know.
    pub fn lacks(&self) -> Option<String> {
        self.inner.lacks()
    }

    /// Whether this place of the store owns the root cell, or could claim it without taking it over.
    pub fn may_own(&self) -> bool {
        self.inner.may_own()
    }

    /// Whether something is due or unfinished that only the owner may do, and this place of the store could be the owner: open it as such
    /// then.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn owes(&self) -> Result<bool> {
        let _wiped = crate::secret::WipeStack;
        tend::owes(&self.inner)
    }

    /// The head that readers see now.
    pub fn head(&self) -> HeadId {
        self.inner.state().stored.id
    }

    /// Whether the cell has said that every old root key is gone.
    #[cfg(feature = "testing")]
    pub(crate) fn is_final(&self) -> bool {
        self.inner.is_final()
    }

    /// Bytes of opened pages in memory.
    #[cfg(feature = "testing")]
    pub fn cached_bytes(&self) -> u64 {
        self.inner.cache.bytes()
    }

    /// What the cell promises of a destroyed key.
    pub fn promise(&self) -> Promise {
        self.inner.cell.describe()
    }
}
