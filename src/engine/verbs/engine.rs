//! The engine that callers hold: the verbs that name no collection, and the handles of those that
//! do.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::audit::Audit;
use super::certificates::Certificates;
use super::clock::Clock;
use super::copies::Copies;
use super::discard::Discarded;
use super::erasing::Foreseen;
use super::grants::Grants;
use super::holds::Holds;
use super::inbox::{Accepted, Inbox, May};
use super::lineage::Lineage;
use super::log::Log;
use super::openings::Opening;
use super::ownership::Ownership;
use super::plans::Plans;
use super::policies::Policies;
use super::report::Report;
use super::requests::Opened;
use super::status::Status;
use super::training::Training;
use super::uploads::Uploads;
use super::{
    audit, discard, erasing, inbox, lineage, openings, records, report, requests, status, until,
    watch,
};
use crate::catalogue::due_outcome::DueOutcome;
use crate::catalogue::interactions::Interactions;
use crate::catalogue::query::{Listing, Query};
use crate::engine::batch::Batch;
use crate::engine::catch_up::{catch_up, check_is_another};
use crate::engine::changes::Watched;
use crate::engine::cleaner::{Cleaning, How, clean};
use crate::engine::core::Core;
use crate::engine::erasure::Erasure;
use crate::engine::keeper;
use crate::engine::progress::Progress;
use crate::engine::reader::Reader;
use crate::engine::reopen;
use crate::engine::replica::Backup;
use crate::error::Result;
use crate::ids::{InteractionId, RecordId, StoreId, Timestamp, UserHandle, UserId};
use crate::pages::SharedStore;
use crate::promise::{Promise, Retirement};
use crate::record::{Put, RecordInfo};
use crate::scope::Erase;
use crate::sealed::Live;
use crate::store::{HeadId, Packing, Store};
use crate::sync::yield_now;
use crate::tree::facts::Fact;
use crate::tree::lineage::Access;
use crate::tree::plans::Plan;

/// A store with its root cell, open. Cheap to clone; all clones are one engine.
///
/// Calls block, and may come from any thread. Subjects with several verbs are reached through a
/// handle: `engine.holds(&user).add(hold)`, `engine.copies().list()`.
#[derive(Clone)]
pub struct Engine {
    pub(in crate::engine) inner: Arc<Core>,
    /// The keeper's thread ends with the last clone.
    pub(in crate::engine) _keeper: Option<Arc<keeper::KeeperThread>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.inner.store().place())
    }
}

/// Putting, listing and reading records.
impl Engine {
    /// Puts one record, durably, and returns its id.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, Options, Put, UserId, cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let recording = &b"RIFF...."[..]; // any reader
    /// let put = Put::new(UserId::new("ada")?, Class::audio()).media_type("audio/wav");
    /// let id = engine.put(put, recording)?;
    /// assert_eq!(engine.info(&id)?.length, 8);
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Erased` if the user, the interaction, this class of it, or a source of the record was
    /// erased, also while the payload streamed in; `Invalid`, `Limit`, `Refused` for a bad request;
    /// `Full`, `Io`; `Copy` if a copy in step did not take it. With a name ([`Put::name`])
    /// `Exists` or `Changed` as its mode says ([`PutMode`](crate::PutMode)), and `Held` if a hold
    /// keeps the record that it would replace.
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        records::put(&self.inner, put, payload)
    }

    /// Begins a batch: records that become durable together, or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.inner))
    }

    /// Creates a user without records; the only way to create one again who was erased. Does
    /// nothing if the user exists.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn create_user(&self, user: &UserId) -> Result<()> {
        records::create_user(&self.inner, user)
    }

    /// The handle of a user: what stands for the name where the name must not be, as in an address.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Engine, ErrorKind, Options, Scope, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let ada = UserId::new("ada")?;
    /// engine.create_user(&ada)?;
    /// let handle = engine.handle(&ada)?;
    /// assert_eq!(engine.user_of(&handle.to_string().parse()?)?, ada);
    ///
    /// engine.erase(Scope::user(ada.clone()))?;
    /// engine.create_user(&ada)?; // another life, and another handle
    /// assert_eq!(engine.user_of(&handle).unwrap_err().kind(), ErrorKind::Erased);
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user who was erased or never was here; `Corrupt`, `Io`.
    pub fn handle(&self, user: &UserId) -> Result<UserHandle> {
        records::handle(&self.inner, user)
    }

    /// The user of a handle.
    ///
    /// # Errors
    /// `Erased` if the user was erased, also if one of this name was created again since; `Absent`
    /// for a handle that this store never gave; `Corrupt`, `Io`.
    pub fn user_of(&self, handle: &UserHandle) -> Result<UserId> {
        records::user_of(&self.inner, handle)
    }

    /// Begins an interaction now; its id orders after all that began before.
    ///
    /// # Errors
    /// `Io` if the system's random number generator fails.
    pub fn new_interaction(&self) -> Result<InteractionId> {
        self.inner.new_interaction(&self.inner.state())
    }

    /// Accepts an envelope, as a record. A second copy of an envelope is recognised and gives the
    /// same record. Memory as [`Engine::put`].
    ///
    /// # Errors
    /// `Refused` if it is for another store, or its inbox key was destroyed: the error's source
    /// is a [`KeyDestroyed`](crate::engine::KeyDestroyed) then; `Erased` if the user, the
    /// interaction or the record that it became was erased; `Corrupt` if it was changed or cut
    /// short; as [`Engine::put`].
    pub fn accept(&self, envelope: impl Read) -> Result<Accepted> {
        self.accept_by(envelope, &mut |_, _| Ok(()))
    }

    /// The same, if `may` allows the user of the inbox, before anything is looked up, and the class
    /// and the users of all sources, before anything is put. Fails as `may` and [`Engine::accept`].
    pub fn accept_by(&self, envelope: impl Read, may: May<'_>) -> Result<Accepted> {
        inbox::accept(&self.inner, envelope, may)
    }

    /// Opens a record.
    ///
    /// # Errors
    /// `Erased`, `Absent` and `Corrupt` are three different answers; `Refused` if a policy wants
    /// readers named ([`Engine::get_as`]); `Poisoned`, `Io`.
    pub fn get(&self, id: &RecordId) -> Result<Reader> {
        records::open(&self.inner, id, false)
    }

    /// Opens a record as [`Engine::get`] does, having recorded, durably, the name of the reader and
    /// the purpose. That entry falls with the record.
    ///
    /// # Errors
    /// `Invalid` for an empty or too long name or purpose; as [`Engine::get`] and [`Engine::put`].
    pub fn get_as(&self, id: &RecordId, principal: &str, purpose: &str) -> Result<Reader> {
        lineage::get_as(&self.inner, id, principal, purpose)
    }

    /// Opens a record as [`Engine::get_as`] does, for any number of readers: for a player that
    /// seeks, whose every request is a read of its own.
    ///
    /// # Errors
    /// As [`Engine::get_as`].
    pub fn open_as(&self, id: &RecordId, principal: &str, purpose: &str) -> Result<Opening> {
        openings::open_as(&self.inner, id, principal, purpose)
    }

    /// Writes a record to `out` and returns its length.
    ///
    /// # Errors
    /// As [`Engine::get`]. If it fails in the middle, `out` holds a part of the record.
    pub fn get_to(&self, id: &RecordId, out: &mut impl Write) -> Result<u64> {
        self.get(id)?.write_to(out)
    }

    /// A record's metadata.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn info(&self, id: &RecordId) -> Result<RecordInfo> {
        records::info(&self.inner, id)
    }

    /// The record of a user that has this name: [`Put::name`] has an example.
    ///
    /// # Errors
    /// `Absent` if no record has the name, also if the one that had it was erased: a name
    /// leaves nothing behind. `Erased` for a user that was erased; as [`Engine::get`].
    pub fn find(&self, user: &UserId, name: &str) -> Result<RecordInfo> {
        records::find(&self.inner, user, name)
    }

    /// Lists records, a page at a time: [`Query`] has an example.
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user who was erased or never was here; `Corrupt`, `Io`.
    pub fn list(&self, query: &Query) -> Result<Listing> {
        records::list(&self.inner, query)
    }

    /// Lists interactions, each with its records, a page at a time: for a page that shows people
    /// what is kept. As many as [`Query::limit`] says, each whole and in one page; fewer if they
    /// have more than 10,000 records together.
    ///
    /// What is put or erased between two pages changes nothing else in those to come: an
    /// interaction that was shown is not shown again, and none that is left is passed over.
    /// [`Interactions`] has an example.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn interactions(&self, query: &Query) -> Result<Interactions> {
        records::interactions(&self.inner, query)
    }

    /// Users who are not erased, with the number of their records: at most `limit`, after the user
    /// `after`. If an erase is still being followed, this finishes it first
    /// ([`Engine::run_due`]).
    ///
    /// # Errors
    /// `Corrupt`, `Io`; as [`Engine::run_due`].
    pub fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<(UserId, u64)>> {
        records::users(&self.inner, after, limit)
    }

    /// The sources of a record, and what was derived from it.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn lineage(&self, id: &RecordId) -> Result<Lineage> {
        lineage::lineage(&self.inner, id)
    }

    /// When a record passes an age limit or a date: its own, or that of a record that it was
    /// derived from, also of another user. A number or a planned erase may take it sooner; a hold
    /// keeps it longer.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn until(&self, id: &RecordId) -> Result<Option<Timestamp>> {
        until::until(&self.inner, id)
    }

    /// Until when what is read of a user from now on may be shown to anyone: until something of the
    /// user is erased. For answers that take a while to go out, as [`Report::live`] is for reports.
    pub fn live(&self, user: &UserId) -> Live {
        report::live(&self.inner, user)
    }

    /// The readers that opened a record, for what purpose and when, as far as the application named
    /// them; oldest first.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn accesses(&self, id: &RecordId) -> Result<Vec<Access>> {
        lineage::accesses(&self.inner, id)
    }

    /// Detaches a derived record from its sources: from now on it stays when its sources are
    /// erased. Its content is not encrypted again. Act and reason are in the user's history.
    ///
    /// # Errors
    /// `Invalid` without a reason, or if it depends on no other; `Erased`, `Absent`; as for a put.
    pub fn detach(&self, id: &RecordId, reason: &str) -> Result<()> {
        lineage::detach(&self.inner, id, reason)
    }

    /// Opens what a request asks for: the records of a grant or of a training set, as a parcel
    /// sealed to the fresh key in the request. Each opening is in the report of the records'
    /// users, durably, before the first byte is written.
    ///
    /// # Errors
    /// `Corrupt` for what is not a request; `Refused` if it is not signed by the grantee, is old or
    /// was used, or if the grant was revoked; `Erased` if its user was erased; `Io`. If it
    /// fails in the middle, `out` holds no whole parcel.
    pub fn open_request(&self, request: &[u8], out: impl Write) -> Result<Opened> {
        requests::open_request(&self.inner, request, out)
    }
}

/// Erasing, and everything that follows from an erase.
impl Engine {
    /// Erases a scope and returns when that is complete: the new pages are durable on every copy in
    /// step, the old root key is destroyed as far as the cell promises, no reader delivers a byte
    /// of the scope any more.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// # let ada = UserId::new("ada")?;
    /// # let id = engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
    /// let erasure = engine.erase(Scope::user(ada))?;
    /// assert_eq!(erasure.records, Some(1));
    /// assert_eq!(engine.get(&id).map_err(|e| e.kind()).err(), Some(ErrorKind::Erased));
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Absent` for a record of a user who is not here, or of a life to come: its id is never
    /// given, so nothing can arrive under it. Anything else that is not here is erased all the
    /// same, with no records: what is on its way is refused. `Held` if a hold covers some of it,
    /// or a held record was derived from some of it; `Invalid` for an empty range, or for keeping
    /// without a reason; `Copy` if a copy in step is out of reach: the old root key stays until
    /// the copy is back or removed; `Io`, `Full`.
    pub fn erase(&self, erase: impl Into<Erase>) -> Result<Erasure> {
        erasing::erase(&self.inner, erase.into())
    }

    /// Does many erases in one commit, each with an outcome of its own.
    pub fn erase_all<E: Clone + Into<Erase>>(&self, erases: &[E]) -> Vec<Result<Erasure>> {
        let erases: Vec<Erase> = erases.iter().cloned().map(Into::into).collect();
        erasing::erase_all(&self.inner, &erases)
    }

    /// Plans an erase for a future time. Until then it can be cancelled ([`Plans::cancel`]) and
    /// its scope can be read; at that time the open engine does it, or the next one to open,
    /// without being asked again. The plan is in the tree, and so in every copy. The erase is final
    /// when it is done, whatever window it allows. A hold does not keep it from being planned, but
    /// from being done: [`Plan::held`] says whether one covers it now. Of a certified one
    /// [`Options::drafts`](crate::Options::drafts) gets the draft when it is done.
    ///
    /// # Errors
    /// `Invalid` for a time that has passed, and for all that [`Engine::erase`] finds invalid;
    /// `Erased`, `Absent` for a user or record that is not here; `Limit` beyond 64 for one user;
    /// `Refused` while the clock is not believed ([`Clock::doubts`]); as [`Engine::erase`] and
    /// [`Engine::put`], except `Held`.
    pub fn erase_at(&self, erase: impl Into<Erase>, due: Timestamp) -> Result<Plan> {
        erasing::erase_at(&self.inner, erase.into(), due)
    }

    /// What an erase would take if it were done now. Nothing is changed, in the store or in the
    /// cell, and a refusal is not recorded.
    ///
    /// # Errors
    /// As [`Engine::erase`] if that is refused: `Held`, `Absent`, `Invalid`; `Io`.
    pub fn would_erase(&self, erase: impl Into<Erase>) -> Result<Foreseen> {
        erasing::would_erase(&self.inner, erase.into())
    }

    /// Begins an epoch without erasing anything: a fresh root key, and every older one destroyed.
    /// What was pending becomes final, and a keyholder that had no share gets one.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub fn rekey(&self) -> Result<Retirement> {
        erasing::rekey(&self.inner)
    }

    /// Does what is due: erases that were planned for now, records that passed a limit, root keys
    /// that wait to be destroyed; and takes derived records that fell with an erase out of lists
    /// and counts. An open engine does this automatically, unless [`Keeper::ByHand`] is set; what
    /// is due by a doubted clock waits ([`Clock::doubts`]). [`Engine::users`] and
    /// [`Engine::report`] do it first. `progress` counts records.
    ///
    /// [`Keeper::ByHand`]: crate::engine::Keeper::ByHand
    ///
    /// # Errors
    /// As [`Engine::erase`], if nothing can be committed; `Fenced` for a read-only engine.
    /// What a hold refuses, and what fails for one user, is recorded in that user's history and
    /// in [`DueOutcome`], and tried again an hour later; everybody else's is done.
    pub fn run_due(&self, progress: Progress<'_>) -> Result<DueOutcome> {
        erasing::run_due(&self.inner, progress)
    }
}

/// Looking after the store.
impl Engine {
    /// Goes on after [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), in place: opens the store
    /// again, finds out what became of the write whose outcome was unknown, and finishes or undoes
    /// it. All clones see what was found; the locks on the store and on its cell are kept
    /// meanwhile, so no other process comes in between. If the engine is not poisoned, as when
    /// another thread reopened it already, nothing happens.
    ///
    /// Readers opened before, and puts begun before, fail as `Poisoned` from then on: open and put
    /// again. Of a call that failed [`Error::may_have_happened`](crate::Error::may_have_happened)
    /// tells whether it is worth a look before it is repeated.
    ///
    /// # Errors
    /// As [`Engine::open`]; the engine stays poisoned then, and this can be called again. `Fenced`
    /// if another place of the store took over meanwhile.
    pub fn reopen(&self) -> Result<()> {
        reopen::reopen(&self.inner)
    }

    /// The identity of the store.
    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// The head that readers see now.
    pub fn head(&self) -> HeadId {
        self.inner.state().stored.id
    }

    /// What changed since a head, a page at a time, for an index of one's own: ids of records that
    /// were put, and what fell. If nothing did, waits for a change, `patience` at most. Take the
    /// head first, then list, then watch from that head on; see [`Watched`].
    ///
    /// Changes are kept in memory alone, the last 16,384, from the first call of this on. Derived
    /// records that an erase left to be followed cannot be read, and are told of when they are.
    ///
    /// # Errors
    /// `Fenced` for a read-only engine, which sees one state; `Poisoned`.
    pub fn watch(&self, since: HeadId, patience: Duration) -> Result<Watched> {
        watch::watch(&self.inner, since, patience)
    }

    /// What the cell promises of a destroyed key.
    pub fn promise(&self) -> Promise {
        self.inner.cell.describe()
    }

    /// Why this engine is read-only: [`Options::open_as`] said so, or the store does not
    /// own its root cell. `None` for the owner. Every call that would write is `Fenced` then.
    ///
    /// [`Options::open_as`]: crate::Options::open_as
    pub fn read_only(&self) -> Option<&str> {
        self.inner.looks_only()
    }

    /// What the engine knows of its store, its cell, its copies and its clock.
    ///
    /// # Errors
    /// `Io`.
    pub fn status(&self) -> Result<Status> {
        status::status(&self.inner)
    }

    /// Everything kept about a user, except the records. If an erase is still being followed, this
    /// finishes it first ([`Engine::run_due`]).
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user who was erased or never was here; `Corrupt`, `Io`; as
    /// [`Engine::run_due`].
    pub fn report(&self, user: &UserId) -> Result<Report> {
        report::report(&self.inner, user)
    }

    /// What was done to a user's records beyond putting and erasing, when and why; oldest first.
    /// For the records themselves see [`Engine::list`].
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user who was erased or never was here; `Corrupt`, `Io`.
    pub fn history(&self, user: &UserId) -> Result<Vec<(Timestamp, Fact)>> {
        report::history(&self.inner, user)
    }

    /// Says what opens, of every blob of the store, of the copies it knows and of `more` places,
    /// with the keys in the cell. Reads everything once. Memory: some 200 bytes for each live blob.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if the live tree itself cannot be walked; `Refused` if a place holds
    /// another store.
    pub fn audit(&self, more: &[SharedStore], progress: Progress<'_>) -> Result<Audit> {
        audit::audit(&self.inner, more, progress)
    }

    /// Removes each blob that the root does not reach, from the store and from every copy that is
    /// at the store's state; then empties files of which less than nine tenths lives, as far as
    /// there is room. It can be stopped at any moment without harm.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if a live page cannot be read (nothing more is removed then).
    pub fn discard(&self, progress: Progress<'_>) -> Result<Discarded> {
        discard::discard(&self.inner, progress)
    }

    /// Gives the space of what died back, if enough of it did, in the store and in each copy in
    /// step: one walk marks what lives, once more than an eighth as much is believed to have died;
    /// files of which nothing lives are removed, and files of which less than nine tenths lives
    /// are emptied. Reads, puts and erases go on meanwhile. An open engine does this
    /// automatically, but bears with half as much that is dead while much is written, unless
    /// [`Cleaner::Off`] or [`Keeper::ByHand`] is set. On objects what died stays for half a minute
    /// (`ObjectLog::grace`). Old bytes may remain elsewhere: [`Engine::discard`] removes all.
    ///
    /// [`Cleaner::Off`]: crate::engine::Cleaner::Off
    /// [`Keeper::ByHand`]: crate::engine::Keeper::ByHand
    ///
    /// # Errors
    /// `Full` if a live blob cannot be moved for lack of room, or a sweep has none; `Io`;
    /// `Corrupt` if a live page cannot be read; `Fenced` for a read-only engine.
    pub fn clean(&self) -> Result<Cleaning> {
        let pause = |_| yield_now();
        let how = How { sweep: false, packing: Packing::Dense, stop: &|| false, pause: &pause };
        clean(&self.inner, &how)
    }

    /// Copies what `to` lacks, and the head: an incremental backup, without any key. After the next
    /// erase nothing can be restored from a backup alone: keep a copy in step too
    /// ([`Copies::add`]).
    ///
    /// # Errors
    /// `Refused` if `to` is this store itself, holds another store, a later state, or records or
    /// erases that this store never had: another place wrote to it after the two parted; `Fenced`
    /// if this store does not own its cell, and `to` holds another head than its own; `Io`, `Full`.
    pub fn backup(&self, to: &dyn Store, progress: Progress<'_>) -> Result<Backup> {
        check_is_another(&self.inner, to)?;
        catch_up(&self.inner, to, progress)
    }
}

/// Handles that group the calls about one subject.
impl Engine {
    /// The legal holds on a user's records.
    pub fn holds<'e>(&'e self, user: &'e UserId) -> Holds<'e> {
        Holds { inner: &self.inner, user }
    }

    /// The planned erases of a user; [`Engine::erase_at`] plans one.
    pub fn plans<'e>(&'e self, user: &'e UserId) -> Plans<'e> {
        Plans { inner: &self.inner, user }
    }

    /// The retention policies of the store, or those that a user has instead.
    pub fn policies<'e>(&'e self, user: Option<&'e UserId>) -> Policies<'e> {
        Policies { inner: &self.inner, user }
    }

    /// The grants on a user's records.
    pub fn grants<'e>(&'e self, user: &'e UserId) -> Grants<'e> {
        Grants { inner: &self.inner, user }
    }

    /// The training sets of the store, which may span users.
    pub fn training(&self) -> Training<'_> {
        Training { inner: &self.inner }
    }

    /// A user's inbox; [`Engine::accept`] takes in what was sealed to it.
    pub fn inbox<'e>(&'e self, user: &'e UserId) -> Inbox<'e> {
        Inbox { inner: &self.inner, user }
    }

    /// Payloads that come in parts.
    pub fn uploads(&self) -> Uploads<'_> {
        Uploads { inner: &self.inner }
    }

    /// The copies of the store.
    pub fn copies(&self) -> Copies<'_> {
        Copies { inner: &self.inner }
    }

    /// The public log of erases.
    pub fn log(&self) -> Log<'_> {
        Log { inner: &self.inner }
    }

    /// Erasure certificates that are issued again.
    pub fn certificates(&self) -> Certificates<'_> {
        Certificates { inner: &self.inner }
    }

    /// Whether the clock is believed.
    pub fn clock(&self) -> Clock<'_> {
        Clock { inner: &self.inner }
    }

    /// Whether this place of the store owns the root cell.
    pub fn ownership(&self) -> Ownership<'_> {
        Ownership { inner: &self.inner }
    }
}
