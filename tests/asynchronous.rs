//! The asynchronous engine: group commit without threads, cancellation, streams that an erase
//! closes. `cargo test --no-default-features --features tokio,sled --test asynchronous`

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::engine::{Changed, Keeper, Watched};
use keyfall::observer::{CommitKind, Event, Outcome, ScopeKind};
use keyfall::store::{
    Blob, BlobName, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage,
};
use keyfall::{
    AsyncEngine, Class, Engine, ErrorKind, Options, Put, Query, RecordId, Result, Scope, UserId,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn engine() -> AsyncEngine {
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    AsyncEngine::new(Engine::init(store, cell, Options::new()).unwrap())
}

/// A runtime with so few blocking threads that whoever waited on one for each caller would hang.
fn runtime(blocking: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(blocking).enable_time().build().unwrap()
}

#[test]
fn a_payload_that_is_not_as_long_as_it_was_declared_is_not_stored() {
    let engine = engine();
    runtime(4).block_on(async {
        for length in [0, 9, 16 << 10, 70_000, 1 << 20] {
            let put = |declared: usize| {
                let payload = Payload::new(length, Then::End);
                engine.put(audio("ada").length(declared as u64), payload)
            };
            let id = put(length).await.unwrap();
            assert_eq!(engine.info(&id).await.unwrap().length, length as u64);
            let head = engine.engine().head();
            assert_eq!(put(length + 1).await.unwrap_err().kind(), ErrorKind::Invalid);
            if length > 0 {
                assert_eq!(put(length - 1).await.unwrap_err().kind(), ErrorKind::Invalid);
            }
            assert_eq!(engine.engine().head(), head);
        }
    });
}

#[test]
fn a_caller_that_watches_waits_without_a_thread_and_goes_away_without_harm() {
    let engine = engine().at_once(1);
    runtime(4).block_on(async {
        let start = engine.engine().head();
        assert!(matches!(
            tokio::time::timeout(Duration::from_millis(50), engine.watch(start)).await,
            Err(_) | Ok(Ok(Watched::ListAgain(_)))
        ));
        let watching: Vec<JoinHandle<_>> = (0..50)
            .map(|_| {
                let engine = engine.clone();
                tokio::spawn(async move { engine.watch(start).await.unwrap() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        // One thread for calls, and fifty that wait: a put goes on.
        let id = engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        for watching in watching {
            let Watched::Changes { changes, .. } = watching.await.unwrap() else {
                panic!("it was told to list again")
            };
            assert_eq!(changes, [Changed::Put(id)]);
        }
        engine.close().await.unwrap();
    });
}

fn audio(name: &str) -> Put {
    Put::new(user(name), Class::audio())
}

/// Bytes, some at a time; then an end, an error, or nothing for ever.
struct Payload {
    left: usize,
    then: Then,
    read: Arc<AtomicUsize>,
}

enum Then {
    End,
    Fail,
    Stall,
}

impl Payload {
    fn new(length: usize, then: Then) -> Self {
        Payload { left: length, then, read: Arc::default() }
    }
}

impl AsyncRead for Payload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return match self.then {
                Then::End => Poll::Ready(Ok(())),
                Then::Fail => Poll::Ready(Err(io::Error::other("the line is dead"))),
                Then::Stall => Poll::Pending,
            };
        }
        let n = self.left.min(buffer.remaining()).min(10_000);
        buffer.put_slice(&vec![7; n]);
        self.left -= n;
        self.read.fetch_add(n, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_is_put_is_read_back_at_every_length() {
    runtime(4).block_on(async {
        let engine = engine();
        for length in [0, 1, 200, 16_383, 16_384, 16_385, 300_000, 3_000_000] {
            let id = engine.put(audio("ada"), Payload::new(length, Then::End)).await.unwrap();
            let mut read = Vec::new();
            engine.get(&id).await.unwrap().read_to_end(&mut read).await.unwrap();
            assert_eq!(read, vec![7; length]);
            assert_eq!(engine.info(&id).await.unwrap().length, length as u64);
        }
        let records = engine.list(Query::default().user(user("ada"))).await.unwrap().records;
        assert_eq!(records.len(), 8);
    });
}

#[test]
fn seeks_go_where_they_say() {
    runtime(4).block_on(async {
        let engine = engine();
        let content: Vec<u8> = (0..100_000u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        let id = engine.put(audio("ada"), &content[..]).await.unwrap();
        let mut reader = engine.get_as(&id, "page", "to hear it").await.unwrap();
        for at in [99_990u64, 0, 16_384, 40_000, 16_383] {
            assert_eq!(reader.seek(io::SeekFrom::Start(at)).await.unwrap(), at);
            let mut piece = [0; 10];
            reader.read_exact(&mut piece).await.unwrap();
            assert_eq!(piece, content[at as usize..at as usize + 10]);
        }
        assert_eq!(reader.seek(io::SeekFrom::End(0)).await.unwrap(), 100_000);
        assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
        // A read that was given up half-way takes nothing with it.
        reader.seek(io::SeekFrom::Start(50_000)).await.unwrap();
        let given_up = tokio::time::timeout(Duration::ZERO, async {
            let mut piece = [0; 10];
            tokio::task::yield_now().await;
            reader.read_exact(&mut piece).await
        });
        drop(given_up.await);
        assert_eq!(reader.seek(io::SeekFrom::Start(7)).await.unwrap(), 7);
        let mut piece = [0; 10];
        reader.read_exact(&mut piece).await.unwrap();
        assert_eq!(piece, content[7..17]);
    });
}

#[test]
fn an_opening_has_any_number_of_readers_until_it_is_closed() {
    runtime(4).block_on(async {
        let engine = engine();
        let content: Vec<u8> = (0..100_000u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        let id = engine.put(audio("ada"), &content[..]).await.unwrap();
        let opening = engine.open_as(&id, "page", "to hear it").await.unwrap();
        for at in [99_990u64, 0, 16_384] {
            let mut reader = opening.reader().await.unwrap();
            reader.seek(io::SeekFrom::Start(at)).await.unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).await.unwrap();
            assert!(rest == content[at as usize..]);
        }
        assert_eq!(engine.run(move |engine| engine.accesses(&id)).await.unwrap().len(), 1);
        let mut reader = opening.reader().await.unwrap();
        assert!(reader.read(&mut [0; 10]).await.unwrap() > 0);
        opening.close().await.unwrap();
        assert!(reader.read(&mut [0; 10]).await.is_err());
        assert_eq!(opening.reader().await.unwrap_err().kind(), ErrorKind::Refused);
        assert!(opening.left().is_err());
        let again = engine.open_as(&id, "page", "to hear it").await.unwrap();
        engine.erase(Scope::user(user("ada"))).await.unwrap();
        assert_eq!(again.reader().await.unwrap_err().kind(), ErrorKind::Erased);
    });
}

#[test]
fn an_upload_keeps_what_came_before_the_line_was_dead() {
    runtime(4).block_on(async {
        let engine = engine();
        let uploads = engine.uploads();
        let upload = uploads.begin(audio("ada")).await.unwrap();
        for (length, then) in [(100_000, Then::Fail), (10, Then::Fail), (300_000, Then::End)] {
            let before = uploads.state(&upload).await.unwrap().offset;
            let fails = matches!(then, Then::Fail);
            let appended = uploads.append(&upload, before, Payload::new(length, then)).await;
            assert_eq!(appended.is_err(), fails);
            let after = uploads.state(&upload).await.unwrap().offset;
            assert_eq!(after, before + length as u64);
            assert!(appended.is_err_and(|e| e.kind() == ErrorKind::Io) || !fails);
        }
        assert_eq!(uploads.list(&user("ada")).await.unwrap().len(), 1);
        let id = uploads.finish(&upload).await.unwrap();
        let mut read = Vec::new();
        engine.get(&id).await.unwrap().read_to_end(&mut read).await.unwrap();
        assert_eq!(read, vec![7; 400_010]);
        let other = uploads.begin(audio("ada")).await.unwrap();
        // A future that is dropped keeps no thread, and the upload goes on.
        let stalled = uploads.append(&other, 0, Payload::new(50_000, Then::Stall));
        assert!(tokio::time::timeout(Duration::from_millis(50), stalled).await.is_err());
        uploads.abort(&other).await.unwrap();
        assert_eq!(uploads.state(&other).await.unwrap_err().kind(), ErrorKind::Erased);
    });
}

#[test]
fn callers_that_wait_share_commits_and_cost_no_thread() {
    // Two blocking threads: one that serves, one that seals.
    runtime(2).block_on(async {
        let engine = engine();
        let before = engine.engine().head().commit;
        let puts: Vec<_> = (0..500)
            .map(|n| {
                let engine = engine.clone();
                tokio::spawn(async move {
                    engine.put(audio(&format!("user {}", n % 50)), &b"words"[..]).await
                })
            })
            .collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
        let commits = engine.engine().head().commit - before;
        assert!(commits < 500, "{commits} commits for 500 puts: none was shared");
        let erases: Vec<_> = (0..50)
            .map(|n| {
                let engine = engine.clone();
                tokio::spawn(
                    async move { engine.erase(Scope::user(user(&format!("user {n}")))).await },
                )
            })
            .collect();
        for erase in erases {
            assert_eq!(erase.await.unwrap().unwrap().records, Some(10));
        }
        assert!(engine.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
    });
}

/// A store whose commits wait for a test.
#[derive(Default)]
struct Gate {
    inner: MemoryStore,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set_shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl Store for Gate {
    fn place(&self) -> String {
        "behind the gate".into()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.inner.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        drop(self.opened.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
        self.inner.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.inner.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.inner.usage()
    }
}

/// Threads of this process, of which other tests have some.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_that_wait_for_one_commit_cost_no_thread_each() {
    let gate = Arc::new(Gate::default());
    let cell = Arc::new(MemoryCell::new());
    let engine = AsyncEngine::new(Engine::init(gate.clone(), cell, Options::new()).unwrap());
    runtime(4).block_on(async {
        for n in 0..500 {
            engine.put(audio(&format!("user {n}")), &b"words"[..]).await.unwrap();
        }
        let (before, head) = (threads(), engine.engine().head().commit);
        gate.set_shut(true);
        let mut waiting = Vec::new();
        for n in 0..500 {
            let (putting, erasing) = (engine.clone(), engine.clone());
            waiting.push(tokio::spawn(async move {
                putting.put(audio(&format!("other {n}")), &b"words"[..]).await.map(drop)
            }));
            waiting.push(tokio::spawn(async move {
                erasing.erase(Scope::user(user(&format!("user {n}")))).await.map(drop)
            }));
        }
        // Until all are staged, and wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (meanwhile, done) = (threads(), waiting.iter().filter(|it| it.is_finished()).count());
        gate.set_shut(false);
        for caller in waiting {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(done, 0, "somebody was served at a gate that is shut");
        // Other tests begin threads of theirs meanwhile: some tens.
        assert!(meanwhile < before + 200, "{before} threads, and {meanwhile} while 1,000 wait");
        let commits = engine.engine().head().commit - head;
        assert!(commits <= 100, "{commits} commits for 1,000 callers at once");
    });
}

#[test]
fn an_engine_is_opened_listed_and_closed() {
    runtime(4).block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        let builder = keyfall::Builder::at(place).accept_remnants();
        let again = builder.clone();
        let engine = AsyncEngine::open_with(move || builder.open_or_create()).await.unwrap();
        for _ in 0..3 {
            engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        }
        let query = Query::default().user(user("ada"));
        let page = engine.interactions(query).await.unwrap();
        assert_eq!(page.interactions.len(), 3);
        let reader = engine.get(&page.interactions[0].records[0].id).await.unwrap();
        let held = engine.clone().close().await.unwrap_err();
        assert_eq!(held.kind(), ErrorKind::Locked);
        drop(reader);
        engine.close().await.unwrap();
        let engine = AsyncEngine::open_with(move || again.open()).await.unwrap();
        engine.close().await.unwrap();
    });
}

#[test]
fn half_a_payload_is_never_stored_as_whole() {
    runtime(4).block_on(async {
        let engine = engine();
        for length in [0, 10, 16_384, 600_000] {
            let failed = engine.put(audio("ada"), Payload::new(length, Then::Fail)).await;
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
            let stalled = engine.put(audio("ada"), Payload::new(length, Then::Stall));
            let timed = tokio::time::timeout(Duration::from_millis(50), stalled).await;
            assert!(timed.is_err(), "it waits for the rest");
        }
        // The threads that waited for the rest have ended: another put finds one.
        engine.put(audio("ben"), Payload::new(600_000, Then::End)).await.unwrap();
        let listed = engine.list(Query::default()).await.unwrap().records;
        assert_eq!(listed.len(), 1);
    });
}

#[test]
fn an_engine_that_is_idle_can_be_closed_whatever_was_given_up() {
    runtime(40).block_on(async {
        for length in [0, 10, 600_000] {
            let engine = engine();
            let upload = engine.uploads().begin(audio("ada")).await.unwrap();
            for _ in 0..10 {
                let stalled = engine.put(audio("ada"), Payload::new(length, Then::Stall));
                let (uploads, bytes) = (engine.uploads(), Payload::new(length, Then::Stall));
                let appended = uploads.append(&upload, 0, bytes);
                let given_up = Duration::from_millis(5);
                assert!(tokio::time::timeout(given_up, stalled).await.is_err());
                drop(tokio::time::timeout(given_up, appended).await);
            }
            tokio::time::timeout(Duration::from_secs(20), engine.idle()).await.unwrap();
            engine.close().await.unwrap();
        }
    });
}

/// What a put is, is looked up on a thread that may block; what fails there is its caller's alone.
#[test]
fn a_put_that_is_looked_up_first_fails_alone_by_an_error_or_a_panic() {
    runtime(4).block_on(async {
        let engine = engine();
        for length in [5, 600_000] {
            let payload = || Payload::new(length, Then::End);
            let ada = engine.put(audio("ada"), payload()).await.unwrap().handle();
            let (one, other) = (engine.clone(), engine.clone());
            let panics = tokio::spawn(async move {
                one.put_by(|_| panic!("planted"), Payload::new(length, Then::End)).await
            });
            let absent =
                move |engine: &Engine| engine.find(&user("ada"), "absent").map(|_| audio("ada"));
            let fails = other.put_by(absent, payload());
            let looked_up =
                move |engine: &Engine| Ok(Put::new(engine.user_of(&ada)?, Class::transcript()));
            let (panicked, failed, put) =
                tokio::join!(panics, fails, engine.put_by(looked_up, payload()));
            assert!(panicked.unwrap_err().is_panic());
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Absent);
            let info = engine.info(&put.unwrap()).await.unwrap();
            assert_eq!((info.class, info.length), (Class::transcript(), length as u64));
        }
        let listed = engine.list(Query::default()).await.unwrap().records;
        assert_eq!(listed.len(), 4);
        drop(engine);
    });
}

/// Puts as many short records at once, each of which takes so long to be looked up; says how many
/// threads did that.
async fn looked_up_by(engine: &AsyncEngine, puts: usize, takes: Duration) -> usize {
    let threads = Arc::new(Mutex::new(BTreeSet::new()));
    let puts: Vec<JoinHandle<_>> = (0..puts)
        .map(|_| {
            let (engine, threads) = (engine.clone(), threads.clone());
            let look_up = move |_: &Engine| {
                threads.lock().unwrap().insert(format!("{:?}", std::thread::current().id()));
                std::thread::sleep(takes);
                Ok(audio("ada"))
            };
            tokio::spawn(async move { engine.put_by(look_up, &b"words"[..]).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    threads.lock().unwrap().len()
}

#[test]
fn short_puts_take_few_threads_unless_they_wait_and_none_is_left_in_the_line() {
    let runtime = Builder::new_multi_thread().worker_threads(2).max_blocking_threads(300).build();
    runtime.unwrap().block_on(async {
        let engine = engine();
        for round in 1..=20 {
            let used = looked_up_by(&engine, 200, Duration::ZERO).await;
            // Not one for each, though a thread that found nothing may have another come after it.
            assert!((1..50).contains(&used), "{used} threads");
            let listed = engine.list(Query::default().limit(10_000)).await.unwrap().records;
            assert_eq!(listed.len(), round * 200);
        }
        let used = looked_up_by(&engine, 100, Duration::from_millis(20)).await;
        let processors = std::thread::available_parallelism().unwrap().get();
        assert!(used > processors.min(30), "{used} threads, and {processors} processors");
        engine.close().await.unwrap();
    });
}

#[test]
fn a_put_that_is_refused_does_not_wait_for_its_payload() {
    runtime(4).block_on(async {
        let engine = engine();
        let source = engine.put(audio("ada"), &b"gone"[..]).await.unwrap();
        engine.erase(Scope::record(source)).await.unwrap();
        let derived = Put::new(user("ada"), Class::transcript());
        let derived = derived.derived_from(source);
        let put = engine.put(derived, Payload::new(2_000_000, Then::Stall));
        let refused = tokio::time::timeout(Duration::from_secs(20), put).await.unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Erased);
    });
}

#[test]
fn aborted_puts_leave_nothing_or_a_whole_record() {
    let runtime = runtime(8);
    let engine = engine();
    let whole = runtime.block_on(async {
        let mut handed = 0;
        for n in 0..10_000u32 {
            let long = n % 100 == 0;
            let length = if long { 300_000 } else { 100 };
            let then = if n % 3 == 0 { Then::Stall } else { Then::End };
            let put = {
                let engine = engine.clone();
                tokio::spawn(
                    async move { engine.put(audio("ada"), Payload::new(length, then)).await },
                )
            };
            for _ in 0..n % 7 {
                tokio::task::yield_now().await;
            }
            put.abort();
            if put.await.is_ok_and(|put| put.is_ok()) {
                handed += 1;
            }
        }
        handed
    });
    // Its blocking threads end before the runtime does.
    drop(runtime);
    let engine = engine.engine();
    let mut query = Query::default().limit(10_000);
    let mut listed = 0;
    loop {
        let page = engine.list(&query).unwrap();
        for record in &page.records {
            let mut read = Vec::new();
            engine.get_to(&record.id, &mut read).unwrap();
            assert!(read.len() == 100 || read.len() == 300_000, "{} bytes", read.len());
        }
        listed += page.records.len();
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert!(listed >= whole, "{listed} records, and {whole} puts were acknowledged");
    engine.discard(&mut |_| {}).unwrap();
    assert_eq!(engine.discard(&mut |_| {}).unwrap().blobs, 0);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// None of 10,000 puts that are aborted before their payloads ended is there, and the cleaner takes
/// what was written of them.
#[test]
fn puts_aborted_before_their_end_leave_no_record_and_nothing_that_the_cleaner_does_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let builder = keyfall::Builder::at(dir.path().join("store")).accept_remnants();
    let engine = AsyncEngine::new(builder.keeper(Keeper::ByHand).open_or_create().unwrap());
    let runtime = runtime(8);
    let stays = runtime.block_on(async {
        let stays = engine.put(audio("ada"), &vec![7; 300_000][..]).await.unwrap();
        for n in 0..10_000u32 {
            let long = n % 50 == 0;
            let length = if long { 800_000 } else { 100 * (n as usize % 300) };
            let (engine, read) = (engine.clone(), Arc::new(AtomicUsize::new(0)));
            let payload = Payload { left: length, then: Then::Stall, read: Arc::clone(&read) };
            let put = tokio::spawn(async move { engine.put(audio("ada"), payload).await });
            // Of the long ones so much is read that segments are on their way.
            while long && read.load(Ordering::SeqCst) < 700_000 {
                tokio::task::yield_now().await;
            }
            for _ in 0..n % 7 {
                tokio::task::yield_now().await;
            }
            put.abort();
            assert!(put.await.unwrap_err().is_cancelled());
        }
        stays
    });
    // Its blocking threads end before the runtime does.
    drop(runtime);
    let engine = engine.engine();
    let listed = engine.list(&Query::default()).unwrap().records;
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [stays]);
    let cleaned = keyfall::testing::clean_all(engine).unwrap();
    assert!(cleaned.swept && cleaned.blobs >= 200 && cleaned.stuck.is_none(), "{cleaned:?}");
    assert_eq!(keyfall::testing::clean_all(engine).unwrap().blobs, 0);
    assert_eq!(engine.discard(&mut |_| {}).unwrap().blobs, 0, "the cleaner took all of it");
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(engine.status().unwrap().usage.blobs, audit.live_blobs);
    let mut read = Vec::new();
    engine.get_to(&stays, &mut read).unwrap();
    assert!(read == vec![7; 300_000]);
}

#[test]
fn an_erase_goes_on_where_its_future_is_dropped() {
    let runtime = runtime(4);
    let engine = engine();
    runtime.block_on(async {
        for round in 0..50 {
            let id = engine.put(audio("ada"), &b"words"[..]).await.unwrap();
            let erase = engine.erase(Scope::record(id));
            let _ = tokio::time::timeout(Duration::from_micros(round * 20), erase).await;
            // It was done, or it was not begun: never half, and the engine goes on.
            if let Err(e) = engine.get(&id).await {
                assert_eq!(e.kind(), ErrorKind::Erased);
            }
        }
        engine.erase(Scope::user(user("ada"))).await.unwrap();
    });
    drop(runtime);
    assert!(engine.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn no_byte_is_delivered_after_an_erase_returned() {
    runtime(8).block_on(async {
        for round in 0..30 {
            let engine = engine();
            let id = engine.put(audio("ada"), &vec![7; 400_000][..]).await.unwrap();
            let mut reader = engine.get(&id).await.unwrap();
            let reading = tokio::spawn(async move {
                let mut piece = vec![0; 5000];
                let mut last = None;
                loop {
                    // Before the read: one that began after the erase returned must fail.
                    let asked = Instant::now();
                    match reader.read(&mut piece).await {
                        Ok(0) | Err(_) => return last,
                        Ok(_) => last = Some(asked),
                    }
                    tokio::task::yield_now().await;
                }
            });
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            engine.erase(Scope::user(user("ada"))).await.unwrap();
            let returned = Instant::now();
            let last = reading.await.unwrap();
            let late = last.is_some_and(|last| last > returned);
            assert!(!late, "a byte was delivered after the erase returned");
            let mut late = engine.get(&id).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Erased);
            late = engine.info(&id).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Erased);
        }
    });
}

#[test]
fn a_reader_that_is_idle_holds_nothing_for_a_later_read() {
    runtime(4).block_on(async {
        let engine = engine();
        let id = engine.put(audio("ada"), &vec![7; 40_000][..]).await.unwrap();
        let mut reader = engine.get(&id).await.unwrap();
        let mut piece = [0; 10];
        reader.read_exact(&mut piece).await.unwrap();
        engine.erase(Scope::user(user("ada"))).await.unwrap();
        // The chunk was open: what was left of it is not given.
        let failed = reader.read(&mut piece).await.unwrap_err();
        let inside = failed.get_ref().and_then(|e| e.downcast_ref::<keyfall::Error>()).unwrap();
        assert_eq!(inside.kind(), ErrorKind::Erased);
    });
}

/// An engine that only looks asks its cell before each piece: what it had open stayed readable, for
/// as long as nobody read on.
#[test]
fn a_reader_that_only_looks_delivers_nothing_after_the_owner_erased() {
    runtime(4).block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let cell_dir = dir.path().join("cell");
        let env = Arc::new(keyfall::env::System);
        let cell = keyfall::cell::FileCell::create(&cell_dir, true, env.clone()).unwrap();
        let store = Arc::new(MemoryStore::new());
        let owner = Engine::init(store.clone(), Arc::new(cell), Options::new()).unwrap();
        let id = owner.put(audio("ada"), &vec![7; 16_000][..]).unwrap();
        let look = || keyfall::cell::FileCell::look(&cell_dir, env.clone()).unwrap();
        let looks = Options::new()
            .keeper(keyfall::engine::Keeper::ByHand)
            .open_as(keyfall::engine::OpenAs::ReadOnly);
        let looker = AsyncEngine::new(Engine::open(store, Arc::new(look()), looks).unwrap());
        let mut reader = looker.get(&id).await.unwrap();
        let mut piece = [0; 10];
        reader.read_exact(&mut piece).await.unwrap();
        owner.erase(Scope::user(user("ada"))).unwrap();
        reader.read(&mut piece).await.unwrap_err();
    });
}

/// Time and randomness that fail once, by a panic in the writer's turn.
#[derive(Default)]
struct Faulty {
    armed: std::sync::atomic::AtomicBool,
}

impl keyfall::env::Env for Faulty {
    fn now(&self) -> keyfall::Timestamp {
        keyfall::env::System.now()
    }

    fn fill(&self, into: &mut [u8]) -> keyfall::Result<()> {
        let writes = std::thread::current().name() == Some("keyfall-writer");
        assert!(!(writes && self.armed.swap(false, Ordering::SeqCst)), "the generator is broken");
        keyfall::env::System.fill(into)
    }
}

/// Whoever came meanwhile waited for a caller that might never come.
#[test]
fn a_panic_in_the_writers_turn_leaves_nobody_waiting() {
    std::panic::set_hook(Box::new(|_| {}));
    runtime(4).block_on(async {
        let env = Arc::new(Faulty::default());
        let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
        let (options, told) = observed();
        let options = options.env(env.clone());
        let engine = AsyncEngine::new(Engine::init(store, cell, options).unwrap());
        engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        env.armed.store(true, Ordering::SeqCst);
        let puts: Vec<_> = (0..50)
            .map(|_| {
                let engine = engine.clone();
                tokio::spawn(async move { engine.put(audio("ada"), &b"words"[..]).await })
            })
            .collect();
        let mut failed = 0;
        let count = puts.len() as u64 + 1;
        for put in puts {
            let put = tokio::time::timeout(Duration::from_secs(60), put).await.unwrap();
            if let Err(e) = put.unwrap() {
                assert_eq!(e.kind(), ErrorKind::Poisoned);
                failed += 1;
            }
        }
        assert!(failed > 0, "the generator was asked for nothing");
        assert!(engine.engine().is_poisoned(), "nobody knows what was written");
        engine.close().await.unwrap();
        let events = take(&told);
        let poisoned = |e: &&Event| matches!(e, Event::Poisoned { error: ErrorKind::Poisoned, .. });
        assert_eq!(events.iter().filter(poisoned).count(), 1, "{events:#?}");
        // Those that failed are in no commit.
        let put: u64 = events.iter().map(records_put).sum();
        assert_eq!(put + failed, count);
    });
    let _ = std::panic::take_hook();
}

/// An erase that was asked of a runtime which had ended was done with a later put of somebody else,
/// and took it.
#[test]
fn an_erase_is_done_at_once_or_never() {
    let engine = engine();
    for round in 0..20 {
        engine.engine().put(audio("ada"), &b"before"[..]).unwrap();
        let ended = runtime(1);
        let handle = ended.handle().clone();
        ended.shutdown_background();
        let erase = engine.clone();
        let done = std::thread::spawn(move || {
            let asked = erase.erase(Scope::user(user("ada")));
            let mut asked = std::pin::pin!(asked);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _guard = handle.enter();
            let _ = std::future::Future::poll(asked.as_mut(), &mut cx);
        });
        done.join().unwrap();
        // Whatever was begun ends by itself.
        let began = Instant::now();
        let gone = || matches!(engine.engine().report(&user("ada")), Err(e) if e.kind() == ErrorKind::Erased);
        while !gone() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(gone(), "round {round}: it waits for somebody");
        engine.engine().create_user(&user("ada")).unwrap();
        let id = engine.engine().put(audio("ada"), &b"after"[..]).unwrap();
        engine.engine().get(&id).unwrap();
    }
}

/// Puts whose payloads never come to their end, once they have begun.
async fn stalled(engine: &AsyncEngine, puts: usize) -> Vec<JoinHandle<keyfall::Result<RecordId>>> {
    let slow = (0..puts).map(|_| {
        let engine = engine.clone();
        tokio::spawn(
            async move { engine.put(audio("ben"), Payload::new(20_000, Then::Stall)).await },
        )
    });
    let slow = slow.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    slow
}

#[test]
fn uploads_that_wait_keep_no_erase_from_being_done() {
    runtime(8).block_on(async {
        let engine = engine().at_once(8);
        engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        let slow = stalled(&engine, 8).await;
        let erase = engine.erase(Scope::user(user("ada")));
        tokio::time::timeout(Duration::from_secs(20), erase).await.unwrap().unwrap();
        slow.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn slow_uploads_keep_nobody_from_reading() {
    runtime(80).block_on(async {
        let engine = engine().at_once(4);
        let id = engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        let slow = stalled(&engine, 20).await;
        let read = tokio::time::timeout(Duration::from_secs(20), engine.get(&id)).await;
        read.unwrap().unwrap();
        slow.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_runtime_that_ends_leaves_the_engine_to_the_next() {
    let engine = engine();
    for _ in 0..20 {
        let runtime = runtime(2);
        let left = engine.clone();
        runtime.spawn(async move { left.put(audio("ada"), &b"words"[..]).await });
        drop(runtime);
    }
    runtime(2).block_on(async {
        let put = engine.put(audio("ben"), &b"words"[..]);
        tokio::time::timeout(Duration::from_secs(20), put).await.unwrap().unwrap();
    });
    engine.engine().put(audio("cleo"), &b"words"[..]).unwrap();
}

/// What an observer was told.
type Told = Arc<Mutex<Vec<Event>>>;

/// Options with an observer that keeps every event.
fn observed() -> (Options, Told) {
    let told = Told::default();
    let kept = Arc::clone(&told);
    let observer = move |event: &Event| kept.lock().unwrap().push(*event);
    (Options::new().keeper(Keeper::ByHand).observer(Arc::new(observer)), told)
}

fn take(told: &Told) -> Vec<Event> {
    std::mem::take(&mut told.lock().unwrap())
}

/// Records that an event tells were put.
fn records_put(event: &Event) -> u64 {
    match event {
        Event::Commit { kind: CommitKind::Put, records, .. } => *records,
        _ => 0,
    }
}

#[test]
fn an_observer_is_told_before_the_caller_goes_on() {
    runtime(4).block_on(async {
        let (options, told) = observed();
        let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
        let engine = AsyncEngine::new(Engine::init(store, cell, options).unwrap());
        take(&told);
        let id = engine.put(audio("ada"), &b"words"[..]).await.unwrap();
        let events = take(&told);
        assert!(
            matches!(
                events[..],
                [Event::Commit {
                    kind: CommitKind::Put,
                    requests: 1,
                    records: 1,
                    bytes: 5,
                    waited: Some(_),
                    ..
                }]
            ),
            "{events:#?}"
        );
        engine.erase(Scope::record(id)).await.unwrap();
        let events = take(&told);
        assert!(
            matches!(
                events[..],
                [
                    Event::RootKeyRetired { .. },
                    Event::Commit { kind: CommitKind::Erase, requests: 1, .. },
                    Event::Erase {
                        scope: ScopeKind::Record,
                        records: Some(1),
                        outcome: Outcome::Final,
                        ..
                    },
                ]
            ),
            "{events:#?}"
        );
        engine.close().await.unwrap();
        assert!(matches!(take(&told)[..], [Event::Closed { error: None, .. }]));
    });
}

#[test]
fn of_puts_whose_futures_are_dropped_just_what_was_committed_is_told() {
    let (options, told) = observed();
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let engine = Engine::init(store.clone(), cell.clone(), options).unwrap();
    let engine = AsyncEngine::new(engine);
    let first = runtime(4);
    first.block_on(async {
        engine.put(audio("ben"), &b"words"[..]).await.unwrap();
        take(&told);
        // These never come to their commit.
        for length in [0, 10, 400_000] {
            let put = engine.put(audio("ada"), Payload::new(length, Then::Stall));
            tokio::time::timeout(Duration::from_millis(20), put).await.unwrap_err();
        }
        engine.put(audio("ada"), Payload::new(400_000, Then::Fail)).await.unwrap_err();
        assert_eq!(take(&told), []);
        // Of these some do.
        for round in 0..50 {
            let put = engine.put(audio("ben"), &b"words"[..]);
            let _ = tokio::time::timeout(Duration::from_micros(round * 20), put).await;
        }
    });
    drop(first);
    runtime(1).block_on(engine.close()).unwrap();
    let events = take(&told);
    assert!(!events.iter().any(|e| matches!(e, Event::CommitFailed { .. })), "{events:#?}");
    let told: u64 = events.iter().map(records_put).sum();
    let engine = Engine::open(store, cell, Options::new().keeper(Keeper::ByHand)).unwrap();
    let listed = engine.list(&Query::default().user(user("ben")).limit(100)).unwrap();
    // The first was told before.
    assert_eq!(told + 1, listed.records.len() as u64);
    assert_eq!(engine.users(None, 10).unwrap().len(), 1);
}
