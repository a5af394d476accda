//! The core: what every part of the engine shares of one open store.
//!
//! Invariants. One writer at a time changes the tree. Readers hold [`State`] shared for as long as
//! one look-up takes; an erase swaps it exclusively, so that no look-up spans an erase. A root key
//! is retired only after a `Durable`. After a write whose outcome is unknown nothing more is done:
//! the engine is opened again.
//!
//! # Lock order
//!
//! A thread takes locks in this order, and may leave some out; it never takes one that stands
//! before one that it holds.
//!
//! 1. `discarding`: one discard, or the cleaner, at a time.
//! 2. `writer`: what the one writer touches.
//! 3. `loan.borrowed`: the key that a reader on another machine borrows, while it asks for more. It
//!    tries `writer`, and does not wait for it.
//! 4. `walks`: shared by a walk over the whole tree; an erase takes it whole, to wait for walks.
//!    So a walk never asks for the writer: it takes what it needs of it before.
//! 5. `state`: what readers see. It is held whole only to be swapped, and `walks` is not held then.
//! 6. `readers`, and in it the locks of one open reader.
//!
//! `queue`, the line of short puts, an opening's time, `in_flight`, `awaiting`, `told`, `clock`,
//! `bell`, `changes`, `cleaners`, `watched`, `observing` and the cache's own are leaves: no other
//! lock is taken while one of them is held. Letting go of a store that only looks tries `state`
//! and `writer` and never waits for them. A reopening holds `walks` whole while it opens the store
//! and looks at it, and `state` too.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::anchor::{Anchor, Floor};
use super::asked::{Answered, Queued, Staging};
use super::bell::Bell;
use super::changes::Changes;
use super::dying::Cleaners;
use super::in_flight::InFlight;
use super::loan::{Clocks, Loan};
use super::observing::{Delivery, Observing, failed};
use super::options::Options;
use super::own::{Role, lacking, owns};
use super::queue::Queue;
use super::readers::{Closed, Readers, look_over, moved, replaced};
use super::replica::Attached;
use super::told::Told;
use super::walks::Walks;
use crate::catalogue::admit::new_interaction;
use crate::catalogue::defect::Defect;
use crate::catalogue::edit::Start;
use crate::catalogue::means::Means;
use crate::catalogue::moment::{Moment, Reading};
use crate::catalogue::view::View;
use crate::catalogue::walk::Walking;
use crate::cell::{Durable, RootCell, RootKey};
use crate::certificate::CellFacts;
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{InteractionId, RealmId, StoreId};
use crate::observer::{ClosedBy, Event};
use crate::pages::{Hand, PageCache, PageSource, SharedStore};
use crate::process::Process;
use crate::promise::{Awaited, Finality, RootId};
use crate::sealed::outlet::wait_for_writes;
use crate::secret::WipeStack;
use crate::store::{Blob, Head, HeadId};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, locked};
use crate::tree::head::{HeadPage, Prefix, Roots};
use crate::tree::{Geometry, Pages};

/// State of one open store, shared by the engine, its readers and its threads.
pub(super) struct Core {
    pub(super) id: StoreId,
    /// What pages and payloads are bound to.
    pub(super) realm: RealmId,
    /// The store, alone: a slice so that pages come from it as from several.
    pub(super) stores: [SharedStore; 1],
    pub(super) cell: Arc<dyn RootCell>,
    pub(super) options: Options,
    pub(super) role: Role,
    /// The commit that the cell was told of before this engine was opened.
    pub(super) mark: u64,
    pub(super) cache: PageCache,
    pub(super) state: RwLock<State>,
    pub(super) writer: Mutex<Writer>,
    pub(super) queue: Queue<Queued, Answered>,
    pub(super) readers: Readers,
    pub(super) in_flight: InFlight,
    /// Held by a discard and by the cleaner: two discards at once would take each other's `since`
    /// away.
    pub(super) discarding: Mutex<()>,
    pub(super) walks: Walks,
    pub(super) poisoned: AtomicBool,
    /// How often it was reopened: what was staged before must not be committed after.
    pub(super) life: AtomicU64,
    /// What is missing before the last root key to be retired is known to be destroyed.
    pub(super) awaiting: Mutex<Option<Awaited>>,
    pub(super) told: Mutex<Told>,
    pub(super) clock: Mutex<Anchor>,
    pub(super) bell: Bell,
    pub(super) changes: Changes,
    pub(super) cleaners: Cleaners,
    pub(super) watched: Watched,
    pub(super) loan: Loan,
    /// How an engine that borrows its key looks whether it may go on.
    pub(super) borrows: Option<fn(&Core) -> Result<()>>,
    pub(super) observing: Observing,
    pub(super) process: Process,
}

/// The committed state that readers see.
pub(super) struct State {
    pub(super) head: HeadPage,
    pub(super) stored: Head,
    /// How many commits erased something since the engine was opened, those within an epoch
    /// included.
    pub(super) erases: u64,
}

/// What only the one writer touches.
pub(super) struct Writer {
    pub(super) root: RootKey,
    /// Whether every copy in step holds the head and every other root key is retired.
    pub(super) settled: bool,
    /// The blobs of an erase that were not read back yet: before that its old root key is not
    /// retired.
    pub(super) unread: Vec<Blob>,
    /// The root key of the next epoch, if it is in the cell already.
    pub(super) next: Option<RootKey>,
    /// Whether something was erased since this engine was opened: then more will be.
    pub(super) erases: bool,
    pub(super) copies: Vec<Attached>,
    /// How long the requests that are served now had waited, the longest of them; for observers.
    pub(super) waited: Option<Duration>,
}

/// The writer's lock. When it is let go of, the observer is told what was noted.
pub(super) struct Writing<'c> {
    /// Dropped first.
    writer: MutexGuard<'c, Writer>,
    _told: Delivery<'c>,
}

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

/// When a read-only engine asked its cell last. The owner, in another process, destroys root
/// keys without asking it: so it asks the cell whether its root key is still there, before each
/// verb, before each piece of a record that it delivers, and, if it has a keeper, every second.
/// Once the key is gone it lets go of every key that it read under it.
#[derive(Default)]
pub(super) struct Watched {
    asked: Mutex<Option<Duration>>,
    over: AtomicBool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Core({})", self.store().place())
    }
}

impl Drop for Core {
    /// No key stays that stood ready for an erase that did not come. If this fails the next open
    /// does it.
    fn drop(&mut self) {
        if !self.process.is_this() {
            // The key is that of the process that opened the store.
            return;
        }
        let mut writer = locked(&self.writer);
        // Before the store is let go of: an engine that waited for it wants the copies, too.
        writer.copies.iter_mut().for_each(Attached::let_go);
        let head = self.state().stored.id;
        let unused = writer.next.is_some() && self.looks_only().is_none();
        let retired = (unused && self.check_usable().is_ok())
            .then(|| self.cell.retire(&writer.root.id, Durable::verified(head.commit)));
        drop(writer);
        // What the cleaner did not come to.
        self.store().suspect(self.cleaners.take_replaced().bytes);
        let error = retired.and_then(|retired| failed(&retired));
        self.observing.tell(|| Event::Closed { head, error });
    }
}

/// Doors: one state of the tree, to be read.
impl Core {
    /// Reads one state of the tree; no erase comes in between.
    pub(super) fn look<T>(&self, read: impl Fn(&View<'_>) -> Result<T>) -> Result<T> {
        let _wiped = WipeStack;
        self.check_readable()?;
        let (told, erases) = self.look_at(|state, view| Ok((read(view)?, state.erases)))?;
        // The store may have been slow.
        if !self.may_deliver() {
            self.check_readable()?;
            if self.loan.is_borrowed() && self.state().erases != erases {
                return Err(moved());
            }
        }
        Ok(told)
    }

    /// The same for a caller that asks by itself whether it may. An erase waits for a look-up, and
    /// a store on other machines may be slow: there it fetches each page as it is stored while it
    /// holds no lock, and begins again, so that `read` may be called many times.
    pub(super) fn look_at<T>(&self, read: impl Fn(&State, &View<'_>) -> Result<T>) -> Result<T> {
        Hand::look(self.store(), |hand| {
            let state = self.state();
            let pages = self.pages().through(&self.cache, hand);
            read(&state, &self.view(&state, &pages))
        })
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permission to walk, with the root key of now. Both are taken under the writer's lock, which
    /// an erase has while it waits for walks: no erase ends between the two, nor, while the walk
    /// lasts, with its old root key in this thread's memory. Let the key go first.
    pub(super) fn walk_with_root(&self) -> (Walking<'_>, RootKey) {
        let writer = self.writer_untold();
        (self.walks.begin(), writer.root.duplicate())
    }

    /// Permission to walk, and the tree of now. Under the writer's lock, so that every copy in step
    /// holds this state.
    pub(super) fn walk_from_now(&self) -> (Walking<'_>, Roots, Geometry, HeadId) {
        let _writer = self.writer_untold();
        let pass = self.walks.begin();
        let state = self.state();
        (pass, state.head.roots.duplicate(), state.head.geometry, state.stored.id)
    }

    /// Pages through the cache; hold `Core::state` or the writer while using it.
    pub(super) fn pages(&self) -> PageSource<'_> {
        self.uncached_pages().through(&self.cache, None)
    }

    /// Pages past the cache, for walks over the whole tree.
    pub(super) fn uncached_pages(&self) -> PageSource<'_> {
        PageSource::over(self.realm, &self.stores)
    }

    /// A state as a rule reads it.
    pub(super) fn view<'a>(&self, state: &'a State, pages: &'a dyn Pages) -> View<'a> {
        View { store: self.id, head: &state.head, at: state.stored.id, pages }
    }

    /// What an edit of a state begins with.
    pub(super) fn start<'a>(&'a self, state: &'a State, pages: &'a dyn Pages) -> Start<'a> {
        let moment = Moment { epoch: state.stored.id.epoch + 1, clock: self.reading(state) };
        Start { view: self.view(state, pages), means: self.means(), moment }
    }

    pub(super) fn means(&self) -> Means<'_> {
        self.options.means(self.store())
    }

    pub(super) fn store(&self) -> &SharedStore {
        &self.stores[0]
    }

    /// The writer's lock. Hold no other lock of the engine when it is dropped.
    pub(super) fn writer(&self) -> Writing<'_> {
        Writing { writer: locked(&self.writer), _told: Delivery(&self.observing) }
    }

    /// The same, for a caller that holds another lock, or is waited for: nothing is delivered when
    /// it is dropped.
    pub(super) fn writer_untold(&self) -> MutexGuard<'_, Writer> {
        locked(&self.writer)
    }

    pub(super) fn planted(&self, defect: Defect) -> bool {
        self.options.planted().is(defect)
    }
}

/// Readings of the clock, and what takes its time from them.
impl Core {
    pub(super) fn reading(&self, state: &State) -> Reading {
        self.reading_at(&state.head)
    }

    /// A look at the clock, while this head is the newest.
    pub(super) fn reading_at(&self, head: &HeadPage) -> Reading {
        let reading = locked(&self.clock).reading(head, &self.options);
        self.observing.clock(reading, head.time);
        reading
    }

    /// The latest that is known now, for a look at the clock later, without a state.
    pub(super) fn floor(&self, clock: Reading) -> Floor {
        Floor::of(clock, &*self.options.env)
    }

    pub(super) fn new_interaction(&self, state: &State) -> Result<InteractionId> {
        new_interaction(&*self.options.env, &state.head, self.reading(state))
    }

    /// The head for the next commit, as it is but for its time.
    pub(super) fn next_head(&self, state: &State) -> HeadPage {
        let mut head = state.head.duplicate();
        let clock = self.reading(state);
        if !clock.doubted {
            head.time = head.time.max(clock.now);
        }
        head
    }
}

/// Whether it may go on.
impl Core {
    /// How often the engine was reopened.
    pub(super) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }

    /// Fails for what was begun before the engine was reopened: the store may lack some of it.
    pub(super) fn check_life(&self, staging: &Staging) -> Result<()> {
        if staging.life.is_none_or(|life| life == self.life()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Poisoned,
            "this put was begun before the engine was reopened, and nothing of it is stored; put \
             it again",
        ))
    }

    pub(super) fn check_usable(&self) -> Result<()> {
        self.process.check()?;
        if self.poisoned.load(Ordering::Acquire) {
            if self.loan.is_lost() {
                return Err(replaced());
            }
            return Err(Error::new(
                ErrorKind::Poisoned,
                "an earlier write failed with an unknown outcome; `Engine::reopen` finds out, and finishes or undoes it",
            ));
        }
        self.check_watched()
    }

    /// The same before a read: what was erased by an engine that owns the store now is not
    /// delivered.
    pub(super) fn check_readable(&self) -> Result<()> {
        self.check_usable()?;
        let shared = self.looks_only().is_none() && self.store().is_shared();
        if !shared || self.loan.holds(&*self.options.env) { Ok(()) } else { self.confirm() }
    }

    /// Whether what was read may go out without another question, by the clocks alone.
    pub(super) fn may_deliver(&self) -> bool {
        let lent = self.looks_only().is_none() && self.store().is_shared();
        !lent && !self.loan.is_borrowed() || self.loan.holds(&*self.options.env)
    }

    /// Asks a store that is shared whether it is still this engine's: also for an answer for which
    /// nothing is written.
    ///
    /// # Errors
    /// `Fenced` once another engine has claimed it; `Io` where the store cannot be asked.
    pub(super) fn confirm(&self) -> Result<()> {
        let Some(began) = Clocks::over(&**self.store(), &*self.options.env) else { return Ok(()) };
        let lost = self.loan.is_lost();
        let confirmed = if lost { Err(replaced()) } else { self.store().confirm() };
        confirmed.map(|()| self.loan.renew(began)).map_err(|e| {
            if e.kind() == ErrorKind::Corrupt {
                // The store is gone from its place: what is kept of it here is nobody's any more.
                self.poison(e.kind());
            }
            if e.kind() != ErrorKind::Fenced {
                return e.context("whether this engine still owns the store");
            }
            self.let_go();
            replaced()
        })
    }

    /// Lets go of what was read: another engine owns the store.
    fn let_go(&self) {
        let _wiped = WipeStack;
        self.loan.lose();
        let closed = self.readers.close_all(Closed::Replaced);
        self.observing.readers_closed(closed.readers, ClosedBy::Owner);
        self.cache.clear();
        wait_for_writes(&closed.outlets);
    }

    /// Passes an answer of the cell on. One that says that another engine owns the store ends this
    /// one, which could go on in its place of the store without end.
    pub(super) fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::Fenced) {
            self.let_go();
            self.poison(ErrorKind::Fenced);
        }
        answer
    }

    /// Whether the medium has to be asked before the next read.
    #[cfg(feature = "tokio")]
    pub(super) fn must_ask(&self) -> bool {
        self.looks_only().is_some() && !self.loan.is_borrowed() || !self.may_deliver()
    }

    /// Passes a store's answer to a write on. After a failure other than a full disk or a refusal
    /// nobody knows what is durable.
    pub(super) fn judged<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(e) = &outcome
            && !e.changed_nothing()
        {
            self.poison(e.kind());
        }
        outcome
    }

    /// Has nothing more be done by this engine.
    pub(super) fn poison(&self, error: ErrorKind) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            self.observing.note(|| Event::Poisoned { error });
        }
    }

    /// Notes that the engine is open again, where it was closed by what poisoned it.
    pub(super) fn note_reopened(&self) {
        let head = self.state().stored.id;
        self.observing.note(|| Event::Closed { head, error: None });
        self.note_opened();
    }

    /// Notes that the engine is open.
    pub(super) fn note_opened(&self) {
        self.observing.note(|| {
            let (state, owner) = (self.state(), self.looks_only().is_none());
            let (users, copies) = (state.head.users, state.head.copies.len() as u64);
            let (head, level) = (state.stored.id, self.cell.destroys().level);
            Event::Opened { head, owner, users, copies, level }
        });
    }

    /// Fails with `Fenced` in an engine that only reads; called before anything is written.
    pub(super) fn check_owner(&self) -> Result<()> {
        match self.looks_only() {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Fenced, why)),
        }
    }

    /// Whether this engine is read-only, and why.
    pub(super) fn looks_only(&self) -> Option<&str> {
        match &self.role {
            Role::Owner => None,
            Role::Looker { why, .. } => Some(why),
        }
    }

    pub(super) fn lacks(&self) -> Option<String> {
        lacking(&self.store().place(), self.state().stored.id.commit, self.mark)
    }

    pub(super) fn may_own(&self) -> bool {
        match &self.role {
            Role::Owner => true,
            Role::Looker { may_own, .. } => *may_own,
        }
    }

    /// The same, asked of the cell now: another place may have claimed it since. If the cell
    /// cannot say, what it said at the opening counts.
    pub(super) fn owns_now(&self) -> Result<bool> {
        if !self.may_own() {
            return Ok(false);
        }
        let Some(owner) =
            self.cell.load().ok().filter(|told| !told.doubted).and_then(|told| told.owner)
        else {
            return Ok(true);
        };
        owns(&**self.store(), self.store().claimed()?.as_ref(), &owner)
    }

    /// Of a read-only engine: fails once its root key is gone from the cell.
    pub(super) fn check_watched(&self) -> Result<()> {
        if self.looks_only().is_none() {
            return Ok(());
        }
        if let Some(look) = self.borrows {
            return look(self);
        }
        if self.watched.over.load(Ordering::Acquire) {
            return Err(look_over(&self.store().place()));
        }
        let now = self.options.env.monotonic();
        {
            let mut asked = locked(&self.watched.asked);
            let every = self.cell.look_every();
            if asked.is_some_and(|at| now >= at && now - at < every) {
                return Ok(());
            }
            *asked = Some(now);
        }
        let _wiped = WipeStack;
        let root = self.root_id()?;
        let contents = self
            .cell
            .load()
            .map_err(|e| e.context("whether the root key of what is read is still there"))?;
        // Where keyholders did not answer, what the others ended is gone all the same.
        if contents.may_have(&root) {
            return Ok(());
        }
        self.end_look();
        Err(look_over(&self.store().place()))
    }

    fn root_id(&self) -> Result<RootId> {
        Prefix::decode(&self.state().stored.bytes).map(|prefix| prefix.root_id())
    }

    /// Lets go of every key.
    fn end_look(&self) {
        self.watched.over.store(true, Ordering::Release);
        let closed = self.readers.close_all(Closed::LookOver);
        self.observing.readers_closed(closed.readers, ClosedBy::Owner);
        self.cache.clear();
        // What is held at this moment is let go of by the call that holds it, which fails at its
        // next page.
        if let Ok(mut state) = self.state.try_write() {
            state.head.forget_keys();
        }
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.root.key = Key::copied_from(&[0; 32]);
        }
        wait_for_writes(&closed.outlets);
    }
}

/// How far the erases up to now are final.
impl Core {
    /// The cell as leaf and certificate name it.
    pub(super) fn cell_facts(&self) -> CellFacts {
        CellFacts::new(&self.cell.destroys(), &self.cell.unfinished())
    }

    /// How far the erases up to now are, as last seen; an engine that only reads goes by what the
    /// cell showed and remembers.
    pub(super) fn finality(&self) -> Finality {
        self.finality_of(&self.state())
    }

    /// As [`Core::finality`], for a caller that holds the state already.
    pub(super) fn finality_of(&self, state: &State) -> Finality {
        let window = state.head.pending.map(Awaited::Window);
        let cell = match &self.role {
            Role::Owner => locked(&self.awaiting).clone(),
            Role::Looker { awaited, .. } => awaited.clone(),
        };
        Finality::of(window.into_iter().chain(cell).collect())
    }

    /// Whether the cell has said that every old root key is gone.
    #[cfg(feature = "testing")]
    pub(super) fn is_final(&self) -> bool {
        locked(&self.awaiting).is_none()
    }

    /// Records that an erase is published, or may be, and that its old root key is not known to
    /// be destroyed.
    pub(super) fn note_unfinished(&self, why: &str) {
        let mut awaiting = locked(&self.awaiting);
        if awaiting.is_none() {
            *awaiting = Some(Awaited::Engine(why.to_owned()));
        }
        self.observing.owes();
    }

    /// Whether derived records that cannot be read any more are still in lists.
    pub(super) fn is_falling(&self) -> bool {
        self.state().head.roots.falling.is_some()
    }
}
