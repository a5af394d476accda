//! Going on after `Poisoned` in place: all handles of an engine see what was found, nothing of
//! before goes on, and nobody comes in between. SPEC §6.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, Keeper};
use keyfall::promise::Awaited;
use keyfall::store::{
    Blob, BlobName, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage,
};
use keyfall::testing::RecordingStore;
use keyfall::{Builder, Class, Engine, Erase, Error, ErrorKind, Put, RecordId, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

/// How a commit fails.
#[derive(Clone, Copy, PartialEq)]
enum Fails {
    /// Nothing of it was written.
    Before,
    /// It was written, and nobody is told.
    After,
}

/// A store that fails when it is told to.
#[derive(Default)]
struct Failing {
    inner: MemoryStore,
    commit: Mutex<Option<Fails>>,
    reopened: AtomicU64,
    stays_broken: Mutex<bool>,
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "the medium fails")
}

impl Store for Failing {
    fn place(&self) -> String {
        "failing".into()
    }
    fn reopen(&self) -> keyfall::Result<()> {
        self.reopened.fetch_add(1, Ordering::Relaxed);
        if *self.stays_broken.lock().unwrap() { Err(broken()) } else { Ok(()) }
    }
    fn get(&self, name: &BlobName) -> keyfall::Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn contains(&self, name: &BlobName) -> keyfall::Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> keyfall::Result<()> {
        self.inner.put(blobs)
    }
    fn head(&self) -> keyfall::Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(
        &self,
        blobs: &[Blob],
        over: Option<HeadId>,
        head: &Head,
    ) -> keyfall::Result<Published> {
        let fails = self.commit.lock().unwrap().take();
        if fails == Some(Fails::Before) {
            return Err(broken());
        }
        let done = self.inner.commit(blobs, over, head)?;
        if fails.is_some() { Err(broken()) } else { Ok(done) }
    }
    fn names(&self, from: Cursor, most: usize) -> keyfall::Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, most)
    }
    fn remove(&self, names: &[BlobName]) -> keyfall::Result<Removed> {
        self.inner.remove(names)
    }
    fn usage(&self) -> keyfall::Result<Usage> {
        self.inner.usage()
    }
}

fn world(seed: u64, keeper: Keeper) -> (World, Arc<Failing>) {
    let mut world = World::new(seed, SMALL_PAGES);
    let store = Arc::new(Failing::default());
    world.engine = None;
    world.cell =
        Arc::new(keyfall::testing::HoardingCell::new(Arc::new(keyfall::cell::MemoryCell::new())));
    let inner: Arc<dyn Store> = store.clone();
    world.store = Arc::new(RecordingStore::new(inner, Arc::clone(&world.tape)));
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let options = world.options.clone().keeper(keeper);
    world.engine = Some(Engine::init(Arc::clone(&world.store), cell, options).unwrap());
    (world, store)
}

fn audio(name: &str) -> Put {
    Put::new(user(name), Class::audio())
}

fn put(engine: &Engine, content: &[u8]) -> keyfall::Result<RecordId> {
    engine.put(audio("ada"), content)
}

#[test]
fn every_handle_goes_on_with_what_was_found() {
    for fails in [Fails::Before, Fails::After] {
        let (world, store) = world(401, Keeper::ByHand);
        let engine = world.engine();
        let clone = engine.clone();
        let id = put(engine, &bytes(1, 40_000)).unwrap();
        let before = engine.head();
        *store.commit.lock().unwrap() = Some(fails);
        let failed = put(engine, b"unknown").unwrap_err();
        assert_eq!((failed.kind(), failed.may_have_happened()), (ErrorKind::Io, true));
        let refused = put(&clone, b"refused").unwrap_err();
        assert_eq!((refused.kind(), refused.may_have_happened()), (ErrorKind::Poisoned, false));
        assert!(refused.to_string().contains("`Engine::reopen`"), "{refused}");

        engine.reopen().unwrap();
        assert!(!engine.is_poisoned() && !clone.is_poisoned());
        let done = u64::from(fails == Fails::After);
        assert_eq!(clone.head().commit, before.commit + done);
        let records = clone.list(&Default::default()).unwrap().records.len() as u64;
        assert_eq!(records, 1 + done, "it is there whole, or not at all");
        assert_eq!(read_record(&clone, &id).unwrap(), bytes(1, 40_000));
        put(&clone, b"goes on").unwrap();
        clone.erase(Scope::record(id)).unwrap();
        // A second thread that saw the fault reopens nothing more.
        let times = store.reopened.load(Ordering::Relaxed);
        clone.reopen().unwrap();
        assert_eq!(store.reopened.load(Ordering::Relaxed), times);
    }
}

#[test]
fn an_erase_whose_outcome_is_unknown_is_finished_or_undone() {
    for fails in [Fails::Before, Fails::After] {
        let (world, store) = world(402, Keeper::ByHand);
        let engine = world.engine();
        let id = put(engine, b"wake me at six").unwrap();
        let other = engine.put(audio("ben"), &b"other"[..]).unwrap();
        *store.commit.lock().unwrap() = Some(fails);
        let failed = engine.erase(Scope::user(user("ada"))).unwrap_err();
        assert!(failed.may_have_happened());
        engine.reopen().unwrap();
        assert_eq!(world.cell.load().unwrap().keys.len(), 1, "no other root key stays");
        let open = world.tape.exposed(&*world.cell).unwrap();
        if fails == Fails::After {
            assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
            assert!(!open.contains_key(&id));
        } else {
            assert_eq!(read_record(engine, &id).unwrap(), b"wake me at six");
        }
        assert!(read_record(engine, &other).is_ok() && open.contains_key(&other));
        engine.erase(Scope::user(user("ada"))).unwrap();
        assert!(!world.tape.exposed(&*world.cell).unwrap().contains_key(&id));
    }
}

#[test]
fn nothing_of_before_goes_on() {
    let (world, store) = world(403, Keeper::ByHand);
    let engine = world.engine();
    let id = put(engine, &bytes(1, 70_000)).unwrap();
    let mut reader = engine.get(&id).unwrap();
    let mut some = [0; 16];
    reader.read_some(&mut some).unwrap();
    let mut batch = engine.batch();
    batch.add(audio("ada"), &bytes(2, 600_000)[..]).unwrap();
    let mut other = engine.batch();
    other.add(audio("ada"), &b"short"[..]).unwrap();
    *store.commit.lock().unwrap() = Some(Fails::Before);
    put(engine, b"unknown").unwrap_err();
    engine.reopen().unwrap();

    assert_eq!(error_kind(reader.read_some(&mut some)), ErrorKind::Poisoned);
    let e = batch.commit().unwrap_err();
    assert_eq!((e.kind(), e.may_have_happened()), (ErrorKind::Poisoned, false));
    assert_eq!(error_kind(other.add(audio("ada"), &b"more"[..])), ErrorKind::Poisoned);
    assert_eq!(error_kind(other.commit()), ErrorKind::Poisoned);
    assert_eq!(engine.list(&Default::default()).unwrap().records.len(), 1);
    assert_eq!(read_record(engine, &id).unwrap(), bytes(1, 70_000));
    let mut batch = engine.batch();
    batch.add(audio("ada"), &b"again"[..]).unwrap();
    batch.commit().unwrap();
}

#[test]
fn a_store_that_stays_broken_stays_poisoned_and_can_be_reopened_later() {
    let (world, store) = world(404, Keeper::ByHand);
    let engine = world.engine();
    *store.commit.lock().unwrap() = Some(Fails::After);
    put(engine, b"unknown").unwrap_err();
    *store.stays_broken.lock().unwrap() = true;
    assert_eq!(error_kind(engine.reopen()), ErrorKind::Io);
    assert!(engine.is_poisoned());
    assert_eq!(error_kind(put(engine, b"x")), ErrorKind::Poisoned);
    *store.stays_broken.lock().unwrap() = false;
    engine.reopen().unwrap();
    put(engine, b"x").unwrap();
}

#[test]
fn closing_says_whether_all_is_settled() {
    let (mut world, store) = world(407, Keeper::ByHand);
    let id = put(world.engine(), b"x").unwrap();
    world.engine().erase(Scope::record(id)).unwrap();
    assert!(world.engine.take().unwrap().close().unwrap().is_final());
    world.reopen();
    let id = put(world.engine(), b"y").unwrap();
    let waits = Erase::new(Scope::record(id)).final_within(Duration::from_secs(60));
    world.engine().erase(waits).unwrap();
    let settled = world.engine.take().unwrap().close().unwrap();
    assert!(matches!(settled.awaited(), [Awaited::Window(_)]), "{settled}");
    world.reopen();
    *store.commit.lock().unwrap() = Some(Fails::Before);
    put(world.engine(), b"unknown").unwrap_err();
    let settled = world.engine.take().unwrap().close().unwrap();
    assert!(settled.to_string().contains("unknown outcome"), "{settled}");
    // A copy in step that is away.
    world.reopen();
    world.pass(61_000);
    world.tend();
    let engine = world.engine();
    engine.copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    let id = put(engine, b"z").unwrap();
    assert!(world.engine.take().unwrap().close().unwrap().is_final());
    let here = world.options.clone();
    let away = Arc::new(|_: &str, _: bool| -> keyfall::Result<Arc<dyn Store>> { Err(broken()) });
    world.options = here.open_copy(away);
    world.reopen();
    world.engine().erase(Scope::record(id)).unwrap_err();
    let settled = world.engine.take().unwrap().close().unwrap();
    assert!(settled.to_string().contains("replica"), "{settled}");
}

#[test]
fn callers_that_wait_are_told_and_nothing_is_doubled_or_lost() {
    let (world, store) = world(405, Keeper::ByHand);
    let engine = world.engine();
    put(engine, b"first").unwrap();
    let stored = Mutex::new(1_u64);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..60 {
                    loop {
                        match put(engine, b"words") {
                            Ok(_) => break,
                            // It was not stored: it may be put again.
                            Err(e) if !e.may_have_happened() => engine.reopen().unwrap(),
                            Err(_) => {
                                engine.reopen().unwrap();
                                *stored.lock().unwrap() -= 1;
                                break;
                            }
                        }
                    }
                    *stored.lock().unwrap() += 1;
                }
            });
        }
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(10));
            // Not done: what may have happened did not.
            *store.commit.lock().unwrap() = Some(Fails::Before);
        }
    });
    *store.commit.lock().unwrap() = None;
    engine.reopen().unwrap();
    let listed = engine.list(&keyfall::Query::default().limit(10_000)).unwrap().records.len();
    assert_eq!(listed as u64, *stored.lock().unwrap());
}

#[test]
fn what_is_due_is_done_by_an_engine_that_was_reopened() {
    let (world, store) = world(406, Keeper::Thread);
    let engine = world.engine();
    let id = put(engine, b"x").unwrap();
    engine.erase_at(Scope::record(id), world.in_days(1)).unwrap();
    *store.commit.lock().unwrap() = Some(Fails::Before);
    put(engine, b"unknown").unwrap_err();
    engine.reopen().unwrap();
    world.days_pass(2);
    // A commit that changes the agenda rings.
    let other = engine.put(audio("ben"), &b"y"[..]).unwrap();
    engine.erase_at(Scope::record(other), world.in_days(1)).unwrap();
    let began = Instant::now();
    while read_record(engine, &id).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "the keeper is gone");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_locks_of_a_store_in_a_directory_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = || {
        let at = Builder::at(dir.path().join("db")).keeper(Keeper::ByHand);
        at.accept_remnants()
    };
    let engine = db().open_or_create().unwrap();
    let id = put(&engine, &bytes(1, 300_000)).unwrap();
    for n in 0..40 {
        put(&engine, &bytes(n, 300 + n as usize * 100)).unwrap();
    }
    engine.erase(Scope::record(id)).unwrap();
    let head = engine.head();
    for _ in 0..3 {
        engine.clone().unplug();
        assert!(engine.is_poisoned());
        engine.reopen().unwrap();
        assert_eq!(error_kind(db().open()), ErrorKind::Locked);
        assert_eq!(engine.head(), head);
        assert_eq!(error_kind(read_record(&engine, &id)), ErrorKind::Erased);
    }
    for record in engine.list(&Default::default()).unwrap().records {
        assert_eq!(read_record(&engine, &record.id).unwrap().len() as u64, record.length);
    }
    let last = put(&engine, &bytes(7, 500_000)).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    let engine = db().open().unwrap();
    assert_eq!(read_record(&engine, &last).unwrap(), bytes(7, 500_000));
    assert_eq!(engine.list(&Default::default()).unwrap().records.len(), 41);
}
