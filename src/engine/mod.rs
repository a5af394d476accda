//! The engine: joins the sealed tree to a store and a root cell.
//!
//! What may be is said in the catalogue, as rules over one state of the tree; here it is said in what order it becomes durable. The
//! invariants and the lock order stand in `core`.

mod anchor;
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
mod epoch;
mod erases;
mod erasure;
mod grants;
mod group;
mod heads;
mod holds;
mod keeper;
mod keys;
mod lines;
mod log;
mod names;
mod open;
mod own;
mod progress;
mod puts;
mod queue;
mod reader;
mod readers;
mod replica;
mod sync;
mod tend;
#[cfg(feature = "testing")]
mod twin;
pub(crate) mod verbs;
mod walks;

use std::sync::Arc;
use std::time::Duration;

pub use batch::Batch;
pub use check::Checked;
pub use claims::Unsigned;
pub use copies::{Restored, restore};
pub use heads::root_of;
pub use keeper::Keeper;
pub use own::OpenAs;
pub use progress::Progress;
pub use replica::Backup;
pub use verbs::audit::{Audit, PlaceAudit};
pub use verbs::certificates::Certificates;
pub use verbs::clock::Clock;
pub use verbs::copies::{Copies, CopyStatus};
pub use verbs::discard::Discarded;
pub use verbs::erasing::Foreseen;
pub use verbs::grants::Grants;
pub use verbs::holds::Holds;
pub use verbs::inbox::{Accepted, Inbox};
pub use verbs::lineage::Lineage;
pub use verbs::log::Log;
pub use verbs::ownership::Ownership;
pub use verbs::plans::Plans;
pub use verbs::policies::Policies;
pub use verbs::report::{Erased, Report};
pub use verbs::requests::Opened;
pub use verbs::status::Status;
pub use verbs::training::Training;

#[cfg(feature = "testing")]
pub use crate::catalogue::defect::Defect;
pub use crate::catalogue::fell::Follow;
pub use crate::catalogue::list::Listing;
pub use crate::catalogue::next::Due;
pub use crate::catalogue::tended::{Tended, Trouble};
pub use crate::scope::Request;
pub use crate::tree::Geometry;
pub use crate::tree::grants::Grant;
pub use crate::tree::head::{CopyEntry, CopyMode};
pub use crate::tree::history::Fact;
pub use crate::tree::holds::Hold;
pub use crate::tree::lineage::Access;
pub use crate::tree::plans::Plan;
pub use crate::tree::sets::TrainingSet;

/// What the root of the crate exports: it has no other path.
pub(crate) mod paved {
    pub use super::Options;
    pub use super::erasure::Erasure;
    pub use super::reader::Reader;
    pub use super::verbs::engine::Engine;
    pub use crate::catalogue::list::Query;
}

use crate::catalogue::change::{Means, Naming};
use crate::catalogue::defect::Planted;
use crate::env::{SharedEnv, System};
use crate::error::Result;
use crate::store::Store;

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
    /// How far an erase follows what was derived from its scope before it returns; the rest is left to [`Engine::run_due`](crate::Engine::run_due).
    pub follow: Follow,
    /// Who does what is due.
    pub keeper: Keeper,
    /// How far the clock may be ahead of the last commit, beyond the time that an open engine counts itself, before nothing is done by
    /// it alone ([`Clock::doubts`](crate::engine::Clock::doubts)).
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
