//! The asynchronous engine.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::blocking::{call as call_on, joined, permit};
use super::opening::AsyncOpening;
use super::payload::{begin, feed, pieces};
use super::reader::AsyncReader;
use super::stager::{Stager, answered};
use super::uploads::AsyncUploads;
use crate::catalogue::interactions::Interactions;
use crate::catalogue::query::{Listing, Query};
use crate::engine::asked::{Answer, Answered, Asked, mixed_up};
use crate::engine::batch::Batch;
use crate::engine::changes::Watched;
use crate::engine::erasure::Erasure;
use crate::engine::later::{self, Servers};
use crate::engine::queue::Outcome;
use crate::engine::verbs::engine::Engine;
use crate::engine::verbs::inbox::Accepted;
use crate::engine::verbs::watch::watch_or_wake;
use crate::error::Result;
use crate::ids::{Class, RecordId, UserHandle, UserId};
use crate::promise::Finality;
use crate::record::{Put, RecordInfo};
use crate::scope::Erase;
use crate::store::HeadId;

/// How many calls run on blocking threads at once, unless [`AsyncEngine::at_once`] says otherwise.
const AT_ONCE: u32 = 64;

/// Most that may: a runtime has no more blocking threads than that.
const CALLS_MAX: u32 = 1 << 20;

/// An [`Engine`] for a tokio runtime. Cheap to clone; all clones are one engine.
///
/// Open it with [`AsyncEngine::open_with`], end it with [`AsyncEngine::close`]. What has no method
/// here runs by [`AsyncEngine::run`], on a thread that may block.
///
/// Dropping a future of [`put`](Self::put) or [`commit`](Self::commit) before its records were
/// handed to the writer leaves nothing of them. Later the commit goes on, and the ids are lost with
/// the future. Dropping a future of [`erase`](Self::erase) that was polled once never undoes the
/// erase: it is done, or it was not begun.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{AsyncEngine, Class, Engine, Options, Put, Scope, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let engine = AsyncEngine::new(engine);
/// let ada = UserId::new("ada")?;
/// let id = engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..]).await?;
/// let report = engine.run(move |engine| engine.report(&ada)).await?;
/// engine.erase(Scope::record(id)).await?;
/// # assert_eq!(report.user.as_str(), "ada");
/// # Ok::<(), keyfall::Error>(())
/// # })?;
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone)]
pub struct AsyncEngine {
    engine: Engine,
    /// How many calls run at once.
    at_once: u32,
    /// How many puts that wait for their payload.
    streams_at_once: u32,
    /// For calls that end by themselves.
    calls: Arc<Semaphore>,
    /// For puts that wait for their payload.
    streams: Arc<Semaphore>,
    /// For short puts.
    stager: Arc<Stager>,
    /// Each holds the engine until it ends.
    servers: Servers,
}

impl std::fmt::Debug for AsyncEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AsyncEngine over {:?}", self.engine)
    }
}

impl AsyncEngine {
    /// An engine, to be used from a tokio runtime.
    pub fn new(engine: Engine) -> Self {
        AsyncEngine {
            stager: Stager::new(&engine, AT_ONCE),
            engine,
            at_once: AT_ONCE,
            streams_at_once: AT_ONCE,
            calls: semaphore(AT_ONCE),
            streams: semaphore(AT_ONCE),
            servers: Servers::default(),
        }
    }

    /// Opens an engine on a blocking thread:
    ///
    /// ```no_run
    /// # async fn opened() -> keyfall::Result<keyfall::AsyncEngine> {
    /// keyfall::AsyncEngine::open_with(|| keyfall::open("assistant.db")).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `open` gives; `Io` if the runtime shuts down.
    pub async fn open_with(open: impl FnOnce() -> Result<Engine> + Send + 'static) -> Result<Self> {
        joined(spawn_blocking(open)).await?.map(AsyncEngine::new)
    }

    /// Closes the store and its cell, on a blocking thread, and says whether all is settled
    /// ([`Engine::close`]).
    ///
    /// # Errors
    /// `Locked` if a clone, an [`AsyncReader`] or a future that was not polled to its end still
    /// holds the engine; it is closed when they are dropped.
    pub async fn close(self) -> Result<Finality> {
        // A thread that stages holds the engine a little longer than its last put.
        self.stager.idle().await;
        let AsyncEngine { engine, servers, .. } = self;
        let close = move || {
            servers.join();
            engine.close()
        };
        joined(spawn_blocking(close)).await?
    }

    /// Waits until none of its calls is under way: also one whose future was dropped runs to its
    /// end, which is soon, for its payload has ended. Bound it with the runtime's timeout; then
    /// [`AsyncEngine::close`].
    pub async fn idle(&self) {
        let all = [(&self.calls, self.at_once), (&self.streams, self.streams_at_once)];
        for (running, permits) in all {
            // It is never closed.
            drop(running.acquire_many(permits).await);
        }
        self.stager.idle().await;
    }

    /// Goes on after `Poisoned`, on a blocking thread ([`Engine::reopen`]).
    ///
    /// # Errors
    /// As [`Engine::reopen`].
    pub async fn reopen(&self) -> Result<()> {
        self.run(Engine::reopen).await
    }

    /// Lets so many calls run on the runtime's blocking threads at once, and as many puts whose
    /// payload streams in: 64 of each by default. Puts of up to 16 KiB are staged by few threads,
    /// one for each processor; where they wait for a slow store by more, and by as many at most.
    /// The runtime needs more blocking threads than all of these together (tokio's default is 512).
    /// A put or an erase that waits for its commit needs none, so this does not bound how many
    /// share one.
    #[must_use]
    pub fn at_once(self, calls: usize) -> Self {
        let at_once = permits(calls);
        let (calls, streams) = (semaphore(at_once), semaphore(at_once));
        let stager = Stager::new(&self.engine, at_once);
        AsyncEngine { at_once, streams_at_once: at_once, calls, streams, stager, ..self }
    }

    /// Lets so many puts whose payload streams in have a blocking thread at once, however many
    /// calls do ([`AsyncEngine::at_once`]): each keeps it while it waits for its payload.
    #[must_use]
    pub fn streams_at_once(self, streams: usize) -> Self {
        let streams_at_once = permits(streams);
        AsyncEngine { streams_at_once, streams: semaphore(streams_at_once), ..self }
    }

    /// The engine itself, whose calls block.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs calls of the engine on a blocking thread: whatever has no method here.
    ///
    /// # Errors
    /// What `call` gives; `Io` if the runtime shuts down.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.engine.clone();
        call_on(&self.calls, move || call(&engine)).await
    }

    /// Puts one record, durably, and returns its id. Memory: 2 MiB at most beside what
    /// [`Engine::put`] takes.
    ///
    /// # Errors
    /// As [`Engine::put`]; `Io` if reading the payload fails: nothing is kept of it then.
    pub async fn put(&self, put: Put, payload: impl AsyncRead) -> Result<RecordId> {
        self.put_by(|_| Ok(put), payload).await
    }

    /// Puts one record, which `make` says once its payload has begun, on a thread that may block:
    /// for a put that is looked up first. Other puts wait for it.
    ///
    /// # Errors
    /// What `make` gives; as [`AsyncEngine::put`].
    pub async fn put_by(
        &self,
        make: impl FnOnce(&Engine) -> Result<Put> + Send + 'static,
        payload: impl AsyncRead,
    ) -> Result<RecordId> {
        let mut payload = pin!(payload);
        let begun = begin(payload.as_mut()).await?;
        let whole = begun.ended;
        let (to, from) = pieces(begun);
        let fill = move |engine: &Engine| {
            let put = make(engine)?;
            let mut batch = engine.batch();
            batch.add(put, from).map(|_| batch)
        };
        let ids = if whole {
            let answered = self.stager.commit(&self.engine, &self.servers, fill).await?;
            self.given(answered).await?.put()?
        } else {
            let permit = permit(&self.streams).await?;
            let engine = self.engine.clone();
            let mut filling = spawn_blocking(move || {
                // Let go of last: an engine that is idle can be closed.
                let _permit = permit;
                let engine = engine;
                fill(&engine)
            });
            let batch = match feed(payload, to, &mut filling).await {
                Some(ended) => ended,
                None => joined(filling).await,
            };
            self.commit(batch??).await?
        };
        ids.first().copied().ok_or_else(mixed_up)
    }

    /// Accepts an envelope, if `may` allows it ([`Engine::accept_by`]). One of up to 16 KiB keeps
    /// no thread while it comes, a longer one does as a put does.
    ///
    /// # Errors
    /// As [`Engine::accept_by`]; `Io` if reading the envelope fails: nothing is kept of it then.
    pub async fn accept_by(
        &self,
        envelope: impl AsyncRead,
        mut may: impl FnMut(&UserHandle, Option<&Class>) -> Result<()> + Send + 'static,
    ) -> Result<Accepted> {
        let mut envelope = pin!(envelope);
        let begun = begin(envelope.as_mut()).await?;
        let whole = begun.ended;
        let permit = permit(if whole { &self.calls } else { &self.streams }).await?;
        let (to, from) = pieces(begun);
        let engine = self.engine.clone();
        let mut accepting = spawn_blocking(move || {
            // Let go of last: an engine that is idle can be closed.
            let _permit = permit;
            let engine = engine;
            engine.accept_by(from, &mut may)
        });
        let ended = if whole { None } else { feed(envelope, to, &mut accepting).await };
        match ended {
            Some(ended) => ended?,
            None => joined(accepting).await?,
        }
    }

    /// Makes the records of a batch durable at once and returns their ids; it was filled on a
    /// blocking thread ([`AsyncEngine::run`]).
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub async fn commit(&self, batch: Batch) -> Result<Vec<RecordId>> {
        match batch.into_staging()? {
            Some(staging) => self.wait(Asked::Put(staging)).await?.put(),
            None => Ok(Vec::new()),
        }
    }

    /// Erases a scope and returns when that is complete.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub async fn erase(&self, erase: impl Into<Erase>) -> Result<Erasure> {
        // No look ahead: that needs a blocking thread, and an erase waits for none.
        self.engine.inner.process.check()?;
        let erase = erase.into();
        self.wait(Asked::Erase(erase)).await?.erased()
    }

    /// Opens a record.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn get(&self, id: &RecordId) -> Result<AsyncReader> {
        let id = *id;
        self.run(move |engine| engine.get(&id)).await.map(AsyncReader::new)
    }

    /// Opens a record, having recorded who reads it and what for.
    ///
    /// # Errors
    /// As [`Engine::get_as`].
    pub async fn get_as(
        &self,
        id: &RecordId,
        principal: impl Into<String>,
        purpose: impl Into<String>,
    ) -> Result<AsyncReader> {
        let (id, principal, purpose) = (*id, principal.into(), purpose.into());
        let opened = self.run(move |engine| engine.get_as(&id, &principal, &purpose)).await;
        opened.map(AsyncReader::new)
    }

    /// Opens a record for any number of readers, having recorded who reads it and what for.
    ///
    /// # Errors
    /// As [`Engine::open_as`].
    pub async fn open_as(
        &self,
        id: &RecordId,
        principal: impl Into<String>,
        purpose: impl Into<String>,
    ) -> Result<AsyncOpening> {
        let (id, principal, purpose) = (*id, principal.into(), purpose.into());
        let opened = self.run(move |engine| engine.open_as(&id, &principal, &purpose)).await?;
        Ok(AsyncOpening::new(opened, &self.calls))
    }

    /// Payloads that come in parts.
    pub fn uploads(&self) -> AsyncUploads<'_> {
        AsyncUploads { engine: &self.engine, calls: &self.calls, streams: &self.streams }
    }

    /// The record of a user that has a name.
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub async fn find(&self, user: &UserId, name: impl Into<String>) -> Result<RecordInfo> {
        let (user, name) = (user.clone(), name.into());
        self.run(move |engine| engine.find(&user, &name)).await
    }

    /// A record's metadata.
    ///
    /// # Errors
    /// As [`Engine::info`].
    pub async fn info(&self, id: &RecordId) -> Result<RecordInfo> {
        let id = *id;
        self.run(move |engine| engine.info(&id)).await
    }

    /// Lists records, a page at a time.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub async fn list(&self, query: Query) -> Result<Listing> {
        self.run(move |engine| engine.list(&query)).await
    }

    /// Lists interactions with their records, a page at a time.
    ///
    /// # Errors
    /// As [`Engine::interactions`].
    pub async fn interactions(&self, query: Query) -> Result<Interactions> {
        self.run(move |engine| engine.interactions(&query)).await
    }

    /// What changed since a head; waits for a change, without a thread, for as long as the future
    /// is polled: bound it with the runtime's timeout. Dropping it loses nothing.
    ///
    /// # Errors
    /// As [`Engine::watch`].
    pub async fn watch(&self, since: HeadId) -> Result<Watched> {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || notify.notify_one());
        loop {
            let woken = Arc::downgrade(&wake);
            let look = move |engine: &Engine| watch_or_wake(&engine.inner, since, woken);
            let watched = self.run(look).await?;
            if !watched.is_quiet() {
                return Ok(watched);
            }
            changed.notified().await;
        }
    }

    fn is_to_come(&self, at: Duration) -> bool {
        at > self.engine.inner.options.env.monotonic()
    }

    /// Leaves a request in the queue and waits for its answer, without a thread.
    async fn wait(&self, request: Asked) -> Result<Answer> {
        let (tell, told) = oneshot::channel();
        // A caller that went away wants no answer.
        let then = move |outcome| drop(tell.send(outcome));
        later::leave(&self.engine.inner, &self.servers, request, then);
        self.given(answered(told.await.unwrap_or(Outcome::Panicked))?).await
    }

    /// An answer, once its caller may have it.
    async fn given(&self, answered: Answered) -> Result<Answer> {
        if let Some(until) = answered.until.filter(|until| self.is_to_come(*until)) {
            // Keys are lent: nothing wakes this task later but a thread.
            let keep = move |engine: &Engine| {
                let core = &engine.inner;
                core.loan.keep_back(&*core.options.env, Some(until));
                Ok(())
            };
            self.run(keep).await?;
        }
        Ok(answered.answer)
    }
}

fn permits(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX).clamp(1, CALLS_MAX)
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits as usize))
}
