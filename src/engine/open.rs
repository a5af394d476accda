//! Making and opening a store. Opening is recovery: it looks which root key opens the newest head,
//! brings the copies in step, and retires every other key: the second half of an erase, run again.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::anchor::Anchor;
use super::beat::{check_beat, check_is_quiet};
use super::bell::{Bell, Keeper};
use super::borrow;
use super::changes::Changes;
use super::core::{Core, State, Watched, Writer};
use super::draw_root_key::draw_root;
use super::dying::Cleaners;
use super::find::{Found, Prepared, claim_prepared, find};
use super::heads::{OpenHead, seal_head};
use super::in_flight::InFlight;
use super::keeper::KeeperThread;
use super::loan::{Clocks, Loan};
use super::log;
use super::observing::Observing;
use super::options::Options;
use super::own::{self, Claiming, Last, Role};
use super::paved::Engine;
use super::queue::Queue;
use super::readers::Readers;
use super::replica::Attached;
use super::retire::settle;
use super::told::Told;
use super::walks::Walks;
use crate::catalogue::sealer::Sealer;
use crate::cell::{Contents, RootCell};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, StoreId, UserTag};
use crate::limits::{LEND_MAX, LEND_MIN};
use crate::log::Signer;
use crate::pages::{PageCache, SharedStore};
use crate::secret::WipeStack;
use crate::store::{Published, Store};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, RwLock};
use crate::tree::head::{HeadPage, Prefix, Roots};
use crate::tree::log::LogPage;
use crate::tree::users::{UsersNode, seal_users};
use crate::tree::{Geometry, Link};

impl Engine {
    /// Makes a new store. Both `store` and `cell` must be empty.
    ///
    /// # Errors
    /// `Exists` if one of them is not; `Invalid` for a bad geometry; `Io`, `Full`.
    pub fn init(store: Arc<dyn Store>, cell: Arc<dyn RootCell>, options: Options) -> Result<Self> {
        let _wiped = WipeStack;
        let geometry = geometry(&*store, &options)?;
        if store.head()?.is_some() {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("{} is a store already; open it", store.place()),
            ));
        }
        let contents = cell.load()?;
        if !contents.keys.is_empty() || contents.epoch > 0 {
            return Err(Error::new(
                ErrorKind::Exists,
                format!(
                    "the cell {} holds a key already; name another place for it",
                    cell.describe().place
                ),
            ));
        }
        Engine::initialized(store, cell, options, geometry, contents)
    }

    /// As [`Engine::init`], and goes on with one that was cut short before it returned: what its
    /// cell holds then opens nothing that was ever acknowledged. A store that is whole is opened.
    pub(crate) fn finish_init(
        store: Arc<dyn Store>,
        cell: Arc<dyn RootCell>,
        options: Options,
    ) -> Result<Self> {
        if store.head()?.is_some() {
            return Engine::open(store, cell, options);
        }
        let contents = cell.load()?;
        if !contents.is_unfinished() {
            return Engine::init(store, cell, options);
        }
        let _wiped = WipeStack;
        let geometry = geometry(&*store, &options)?;
        Engine::initialized(store, cell, options, geometry, contents)
    }

    /// Publishes the first head of a store, over a cell that holds no key, or the one of an init
    /// that was cut short.
    fn initialized(
        store: SharedStore,
        cell: Arc<dyn RootCell>,
        options: Options,
        geometry: Geometry,
        contents: Contents,
    ) -> Result<Self> {
        let last = Last::of(&contents);
        let env = Arc::clone(&options.env);
        let id = match contents.store {
            Some(id) => id,
            None => {
                let mut id = [0; 16];
                env.fill(&mut id)?;
                StoreId(id)
            }
        };
        let shard = options.shard.as_deref();
        let realm = shard.map_or_else(|| RealmId::from(id), |shard| shard.realm);
        let shared = shard.and_then(|shard| shard.index_key.as_ref()).map(Key::duplicate);
        let mut sealer = Sealer::new(options.means(&store), realm, Vec::new());
        let users = seal_users(Link::Loaded(Box::new(UsersNode::empty())), geometry, &mut sealer)?;
        let (checkpoints, certificates) = (Key::random(&*env)?, Key::random(&*env)?);
        let origin = log::origin(options.log_origin.as_deref(), id)?;
        let public = Signer::ed25519(&origin, certificates.bytes())?.public();
        let log = LogPage::new(origin, checkpoints, certificates, public);
        let log = log.seal(geometry, &mut sealer)?;
        let now = env.now();
        let head = HeadPage {
            geometry,
            realm,
            lending: lending(&*store, &options)?,
            made: now,
            floor: crate::ids::Timestamp(0),
            time: now,
            pending: None,
            users: 0,
            index_key: shared.map_or_else(|| Key::random(&*env), Ok)?,
            roots: Roots { users, log, falling: None, agenda: None, policies: None, sets: None },
            copies: Vec::new(),
        };
        let root = match contents.keys.into_iter().next() {
            Some(root) => root,
            None => draw_root(&*env, &*cell, 1, &head)?,
        };
        let stored = seal_head(&*env, id, 1, &head, &root)?;
        let (how, takes_over) = (&mut own::alone, false);
        let (there, keys) = (&*store, &*cell);
        let mut claiming = Claiming { env: &*env, id, store: there, cell: keys, takes_over, how };
        own::claim(&mut claiming, store.claimed()?, last)?;
        cell.deposit(id, &root.id, &root.key)?;
        store.reads_first(&head.roots.users.name);
        if let Published::Conflict(_) = store.commit(&sealer.blobs, None, &stored)? {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("{} became a store meanwhile", store.place()),
            ));
        }
        let found = OpenHead { stored, page: head, root };
        let loan = Loan::default();
        Engine::assemble(Ports { store, cell, options, loan }, found, Role::Owner, 0)
    }

    /// Opens a store with its cell, and finishes or undoes what a crash left half done.
    ///
    /// # Errors
    /// `Absent` if the cell never held a key; `Mismatch` if store and cell are of different epochs,
    /// with both named, or the store lacks commits that the cell knows of; `Corrupt`; `Io`. A store
    /// that does not own its cell is not an error here: it is opened read-only
    /// ([`Engine::read_only`]). Nor is a store that is older than its cell knows, if it is opened
    /// read-only or taken over: it says so ([`Ownership::lacks`](crate::engine::Ownership::lacks)).
    /// A copy in step that cannot be reached is not an error here: reading works, and
    /// [`Engine::status`] says what waits for it.
    pub fn open(store: Arc<dyn Store>, cell: Arc<dyn RootCell>, options: Options) -> Result<Self> {
        Engine::open_prepared(store, cell, options, None)
    }

    /// As [`Engine::open`], over what was found when it was prepared.
    pub(crate) fn open_prepared(
        store: Arc<dyn Store>,
        cell: Arc<dyn RootCell>,
        options: Options,
        prepared: Option<&Prepared>,
    ) -> Result<Self> {
        let _wiped = WipeStack;
        check_beat(&options)?;
        if prepared.is_none() {
            check_is_quiet(&*store, &*cell, &options)?;
        }
        let began = Clocks::over(&*store, &*options.env);
        let Found { head, role, mark } = match prepared {
            None => find(&*store, &*cell, &options)?,
            Some(prepared) => claim_prepared(&*store, &*cell, &options, prepared)?,
        };
        let lending = head.page.lending;
        let loan = match began {
            Some(began) if options.borrows => {
                borrow::check_lends(&*store, lending)?;
                Loan::of_a_reader(began, &head.root, lending)
            }
            Some(began) => Loan::of_an_heir(began, &*options.env, lending),
            None if options.borrows => {
                borrow::check_lends(&*store, 0)?;
                Loan::default()
            }
            None => Loan::default(),
        };
        Engine::assemble(Ports { store, cell, options, loan }, head, role, mark)
    }

    /// What a shard has in common with the others of its realm: the realm and the index key.
    pub(crate) fn kin(&self) -> (RealmId, Key) {
        let state = self.inner.state();
        (self.inner.realm, state.head.index_key.duplicate())
    }

    /// Whether this is so of all users that were ever named here.
    pub(crate) fn all_users(&self, is_so: &dyn Fn(UserTag) -> bool) -> Result<bool> {
        self.inner.look(|view| {
            let mut all = true;
            view.users().visit(None, &mut |tag, _| {
                all &= is_so(tag);
                Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            Ok(all)
        })
    }

    fn assemble(ports: Ports, found: OpenHead, role: Role, mark: u64) -> Result<Self> {
        let id = Prefix::decode(&found.stored.bytes)?.store;
        let mut inner = assembled(id, ports, found, role);
        inner.mark = mark;
        inner.note_opened();
        if inner.looks_only().is_none() {
            let mut writer = inner.writer();
            match settle(&inner, &mut writer) {
                Err(e) if e.kind() != ErrorKind::Copy => return Err(e),
                Err(e) => inner.note_unfinished(&e.to_string()),
                Ok(_) => {}
            }
            // An adapter that cannot say is asked again by the cleaner.
            inner.cleaners.look(&inner.store().waste().ok().flatten().unwrap_or_default());
        }
        inner.observing.deliver();
        let inner = Arc::new(inner);
        let keeper = match inner.options.keeper {
            Keeper::Thread if cfg!(not(feature = "shuttle")) => Some(KeeperThread::start(&inner)?),
            _ => None,
        };
        Ok(Engine { inner, _keeper: keeper })
    }
}

/// What a new store is made with.
fn geometry(store: &dyn Store, options: &Options) -> Result<Geometry> {
    let suits = || Geometry {
        fan_bits: store.fan_bits(),
        segment_bytes: store.segment_bytes(),
        ..Geometry::DEFAULT
    };
    options.geometry.unwrap_or_else(suits).check()
}

/// For how many milliseconds a new store lends its keys.
fn lending(store: &dyn Store, options: &Options) -> Result<u32> {
    let Some(lend) = options.lend else { return Ok(0) };
    if !(LEND_MIN..=LEND_MAX).contains(&lend) {
        let text = format!("a store lends its keys for {LEND_MIN:?} to {LEND_MAX:?}, not {lend:?}");
        return Err(Error::invalid(text));
    }
    if !store.is_shared() {
        let text = format!(
            "{} is on this machine alone, and lends nothing to others; make the store on objects or \
             in PostgreSQL",
            store.place()
        );
        return Err(Error::invalid(text));
    }
    Ok(u32::try_from(lend.as_millis()).unwrap_or(u32::MAX))
}

/// What an engine is opened over.
pub(super) struct Ports {
    pub(super) store: SharedStore,
    pub(super) cell: Arc<dyn RootCell>,
    pub(super) options: Options,
    /// Since when it owns the store.
    pub(super) loan: Loan,
}

/// An engine that has not looked at its cell, and does nothing by itself.
pub(super) fn assembled(id: StoreId, ports: Ports, found: OpenHead, role: Role) -> Core {
    let Ports { store, cell, options, loan } = ports;
    let OpenHead { stored, page: head, root } = found;
    let clock = Mutex::new(Anchor::new(&head, &options));
    let writes = role == Role::Owner;
    let observing = Observing::new(&options);
    let copies =
        head.copies.iter().map(|entry| Attached::new(entry.clone(), &options, writes)).collect();
    let told = Mutex::new(Told { commit: 0, at: options.env.monotonic() });
    Core {
        id,
        realm: head.realm,
        stores: [store],
        cell,
        cache: PageCache::new(options.cache_bytes),
        options,
        role,
        mark: 0,
        state: RwLock::new(State { head, stored, erases: 0 }),
        writer: Mutex::new(Writer {
            root,
            settled: false,
            unread: Vec::new(),
            next: None,
            erases: false,
            copies,
            waited: None,
        }),
        queue: Queue::default(),
        readers: Readers::default(),
        in_flight: InFlight::default(),
        discarding: Mutex::new(()),
        walks: Walks::default(),
        poisoned: AtomicBool::new(false),
        life: AtomicU64::new(0),
        awaiting: Mutex::default(),
        told,
        clock,
        bell: Bell::default(),
        changes: Changes::default(),
        cleaners: Cleaners::default(),
        watched: Watched::default(),
        borrows: loan.is_borrowed().then_some(borrow::check),
        loan,
        observing,
        process: crate::process::Process::this(),
    }
}
