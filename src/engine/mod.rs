//! The engine: joins the sealed tree to a store and a root cell.
//!
//! Invariants. One writer at a time changes the tree. Readers hold `State` shared for as long as one look-up takes; an
//! erase swaps it exclusively, so that no look-up spans an erase. A root key is retired only behind a `Durable`.
//! After a write whose outcome is unknown nothing more is done: the engine is opened anew.

mod batch;
mod cascade;
mod certify;
mod check;
mod clock;
mod commit;
mod copies;
mod due;
mod edit;
mod erase;
mod foresee;
mod grants;
mod holds;
mod inbox;
mod keeper;
pub(crate) mod lineage;
mod lines;
mod log;
mod next;
mod open;
mod own;
pub(crate) mod pages;
mod part;
mod passing;
pub(crate) mod payload;
mod plans;
mod put;
mod queue;
mod read;
mod reader;
mod sets;
mod tended;
#[cfg(feature = "testing")]
mod twin;
pub(crate) mod verbs;
pub(crate) mod walk;
mod watched;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

pub use batch::Batch;
pub use cascade::Follow;
pub use certify::Unsigned;
pub use check::Checked;
pub use copies::{Backup, Restored, restore};
pub use inbox::Accepted;
pub use keeper::Keeper;
pub use next::Due;
pub use open::root_of;
pub use own::OpenAs;
pub use read::Listing;
pub use tended::{Tended, Trouble};
pub use verbs::audit::{Audit, PlaceAudit};
pub use verbs::certificates::Certificates;
pub use verbs::clock::Clock;
pub use verbs::copies::{Copies, CopyStatus};
pub use verbs::discard::Discarded;
pub use verbs::erasing::Foreseen;
pub use verbs::grants::Grants;
pub use verbs::holds::Holds;
pub use verbs::inbox::Inbox;
pub use verbs::lineage::Lineage;
pub use verbs::log::Log;
pub use verbs::ownership::Ownership;
pub use verbs::plans::Plans;
pub use verbs::policies::Policies;
pub use verbs::report::{Erased, Report};
pub use verbs::requests::Opened;
pub use verbs::status::Status;
pub use verbs::training::Training;

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
    pub use super::erase::Erasure;
    pub use super::read::Query;
    pub use super::reader::Reader;
    pub use super::verbs::engine::Engine;
}

use paved::{Engine, Erasure, Reader};

use crate::cell::{Awaited, Durable, RootCell, RootKey};
use crate::env::{SharedEnv, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId, StoreId, UserTag};
use crate::process::Process;
use crate::scope::Erase;
use crate::store::{Blob, Head, Store };
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, locked};
use crate::tree::head::HeadPage;
use pages::{PageCache, PageSource, SharedStore};

/// How far long work has come: blobs looked at.
pub type Progress<'p> = &'p mut dyn FnMut(u64);

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
    pub defect: Option<crate::engine::Defect>,
}

/// Ways to break the erase protocol; tests must turn red under each.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The new head is sealed under the old root key.
    KeepRootKey,
    /// The old root key is never destroyed.
    SkipRetire,
    /// The old root key is destroyed before the new head is published.
    RetireBeforePublish,
    /// A user's page keeps its key from version to version.
    KeepPageKey,
    /// One key seals all pages of a commit.
    ReuseKey,
    /// Pages of what was erased stay in the cache, and readers stay open.
    ForgetCache,
    /// An erase adds no leaf to the log.
    SkipLog,
    /// Whoever opens a store recovers it: whatever it is shown, it destroys every other key of the cell.
    LookRecovers,
    /// A planned erase of which a look at another record failed is dropped, as one that has nothing left to take.
    PlanDropped,
    /// Sources are looked at again only where an epoch ended, not where something fell within one.
    EpochForErase,
    /// One erase that cannot be done fails all that share its commit.
    FailTogether,
    /// The writer's list of copies changes before the head's does.
    TwoLists,
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
    Err(Error::invalid(format!("no adapter opens {place:?}; set Options::open_copy")))
}

struct Inner {
    id: StoreId,
    /// What pages and payloads are bound to.
    realm: RealmId,
    /// The store, alone: a slice so that pages come from it as from several.
    stores: [SharedStore; 1],
    cell: Arc<dyn RootCell>,
    options: Options,
    role: own::Role,
    /// The commit that the cell was told of before this engine was opened.
    mark: u64,
    cache: PageCache,
    state: RwLock<State>,
    writer: Mutex<Writer>,
    queue: queue::Queue<Asked, Answer>,
    readers: Mutex<Vec<Weak<reader::Open>>>,
    names: Mutex<NamesInUse>,
    /// Held by a discard: two at once would take each other's `since` away.
    discarding: Mutex<()>,
    /// Held shared by walks over the whole tree; an erase waits for them.
    walks: RwLock<()>,
    /// Erases that want the walks to stop.
    erasing: AtomicUsize,
    poisoned: AtomicBool,
    /// What is missing before the last root key to be retired is known to be destroyed.
    awaiting: Mutex<Option<Awaited>>,
    clock: Mutex<clock::Anchor>,
    bell: keeper::Bell,
    watched: watched::Watched,
    process: Process,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inner({})", self.store().place())
    }
}

impl Drop for Inner {
    /// No key stays behind that stood ready for an erase that did not come. Where this fails the next open does it.
    fn drop(&mut self) {
        if !self.process.is_this() {
            // The key is that of the process that opened the store.
            return;
        }
        let writer = locked(&self.writer);
        if writer.next.is_some() && self.looks_only().is_none() && self.check_usable().is_ok() {
            let _ = self.cell.retire(&writer.root.id, Durable::verified(self.state().stored.id.commit));
        }
    }
}

/// What callers ask of the writer most, and what they are told.
enum Asked {
    Put(Batch),
    Erase(Erase),
}

enum Answer {
    Put(Result<Vec<RecordId>>),
    Erased(Result<Erasure>),
}

/// What readers see.
struct State {
    head: HeadPage,
    stored: Head,
    /// How many commits erased something since the engine was opened, those within an epoch included.
    erases: u64,
}

/// What only the one writer touches.
struct Writer {
    root: RootKey,
    /// Whether every copy in step holds the head and every other root key is retired.
    settled: bool,
    /// The blobs of an erase that were not read back yet: before that its old root key is not retired.
    unread: Vec<Blob>,
    /// The root key of the next epoch, where it stands in the cell already.
    next: Option<RootKey>,
    /// Whether something was erased since this engine was opened: then more will be.
    erases: bool,
    copies: Vec<copies::Attached>,
}

/// Blobs that no published head reaches yet, kept from `discard`.
#[derive(Default)]
struct NamesInUse {
    in_flight: HashMap<crate::ids::BlobName, ()>,
    /// While a discard runs: everything published since it looked.
    since: Option<HashMap<crate::ids::BlobName, ()>>,
}

impl Inner {
    fn store(&self) -> &SharedStore {
        &self.stores[0]
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pages through the cache; hold `Inner::state` or the writer while using it.
    fn pages(&self) -> PageSource<'_> {
        PageSource { realm: self.realm, stores: &self.stores, cache: Some(&self.cache) }
    }

    /// Pages past the cache, for walks over the whole tree.
    fn uncached_pages(&self) -> PageSource<'_> {
        PageSource { cache: None, ..self.pages() }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        locked(&self.writer)
    }

    /// Has a request done, with all that wait at the same time: one commit for the puts, one for the erases.
    fn submit(&self, request: Asked) -> Answer {
        self.queue.submit(request, |requests| {
            // Before those who wait are told: this stack served them.
            let _wiped = crate::secret::WipeStack;
            let mut writer = self.writer();
            let (mut batches, mut erases) = (Vec::new(), Vec::new());
            for request in &requests {
                match request {
                    Asked::Put(batch) => batches.push(batch),
                    Asked::Erase(erase) => erases.push(erase),
                }
            }
            let mut puts = self.put_all(&mut writer, &batches).into_iter();
            let mut erased = self.erase_all(&mut writer, &erases).into_iter();
            let answer = |request: &Asked| match request {
                Asked::Put(_) => puts.next().map(Answer::Put),
                Asked::Erase(_) => erased.next().map(Answer::Erased),
            };
            requests.iter().map_while(answer).collect()
        })
    }

    fn check_usable(&self) -> Result<()> {
        self.process.check()?;
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "an earlier write failed with an unknown outcome; close this engine and open it anew, which finds out and finishes or undoes it",
            ));
        }
        self.check_watched()
    }

    /// Passes a store's answer to a write on. After a failure other than a full disk nobody knows what is durable.
    fn judged<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(e) = &outcome
            && e.kind() != ErrorKind::Full
        {
            self.poisoned.store(true, Ordering::Release);
        }
        outcome
    }

    fn user_tag(&self, state: &State, user: &crate::ids::UserId) -> UserTag {
        crate::crypto::user_tag(&state.head.index_key, user.as_str())
    }

    #[cfg(feature = "testing")]
    fn defect(&self, defect: Defect) -> bool {
        self.options.defect == Some(defect)
    }
}
