//! The engine: joins the sealed tree to a store and a root cell.
//!
//! Invariants. One writer at a time changes the tree. Readers hold `State` shared for as long as one look-up takes; an
//! erase swaps it exclusively, so that no look-up spans an erase. A root key is retired only behind a `Durable`.
//! After a write whose outcome is unknown nothing more is done: the engine is opened anew.

mod audit;
mod batch;
mod cascade;
mod certify;
mod check;
mod clock;
mod close;
mod commit;
mod copies;
mod discard;
mod due;
mod edit;
mod erase;
mod foresee;
mod grants;
mod holds;
mod inbox;
mod keeper;
mod lineage;
mod lines;
mod log;
mod next;
mod open;
mod options;
mod own;
mod pages;
mod part;
mod passing;
mod plans;
mod put;
mod queue;
mod read;
mod reader;
mod report;
mod sets;
mod status;
mod tended;
#[cfg(feature = "testing")]
mod twin;
mod walk;
mod watched;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

#[cfg(feature = "testing")]
pub use audit::Exposed;
pub use audit::{Audit, PlaceAudit};
pub use cascade::Follow;
pub use certify::Unsigned;
pub use check::Checked;
pub use copies::{Backup, CopyStatus, Restored, restore};
pub use discard::{Discarded, Progress};
pub use foresee::Foreseen;
pub use grants::Opened;
pub use inbox::Accepted;
pub use keeper::Keeper;
#[cfg(feature = "testing")]
pub(crate) use lineage::ContentRoots;
pub use lineage::Lineage;
pub use next::Due;
pub use open::root_of;
#[cfg(feature = "testing")]
pub use options::Defect;
pub use options::OpenCopy;
pub use own::OpenAs;
pub use read::Listing;
pub use report::{Erased, Report};
pub use tended::{Tended, Trouble};

/// What the crate's root exports, and nothing else does.
pub(crate) mod face {
    pub use super::Engine;
    pub use super::batch::Batch;
    pub use super::erase::Erasure;
    pub use super::options::Options;
    pub use super::read::Query;
    pub use super::reader::Reader;
}

pub use crate::record::padded;
pub use crate::scope::Request;
pub use crate::tree::Geometry;
pub use crate::tree::grants::Grant;
pub use crate::tree::head::{CopyEntry, CopyMode};
pub use crate::tree::history::Fact;
pub use crate::tree::holds::Hold;
pub use crate::tree::lineage::Access;
pub use crate::tree::plans::Plan;
pub use crate::tree::sets::TrainingSet;

pub(crate) use self::batch::Batch;
pub(crate) use self::erase::Erasure;
pub(crate) use self::options::Options;
pub(crate) use self::read::Query;
pub(crate) use self::reader::Reader;
use crate::cell::{Awaited, Durable, Finality, Promise, RootCell, RootKey};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId, StoreId, Timestamp, UserTag};
pub(crate) use crate::policy::Policy;
use crate::process::Process;
pub(crate) use crate::record::{Put, Source};
pub(crate) use crate::scope::{Erase, Scope, When};
use crate::store::{Blob, Head, HeadId, Usage};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, locked};
use crate::tree::head::HeadPage;
use pages::{PageCache, PageSource, SharedStore};

/// A store with its root cell, open. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    /// Its thread ends with the last handle.
    _keeper: Option<Arc<keeper::Kept>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.inner.stores[0].place())
    }
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
        self.inner.owes()
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
