//! What one erase writes, in what order, and what becomes of the root key that stands ready for the
//! next one. SPEC §6, §7.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::{Contents, Durable, FileCell, MemoryCell, Owner, RootCell, RootKey};
use keyfall::crypto::Key;
use keyfall::engine::{CopyMode, Hold, Keeper};
use keyfall::env::System;
use keyfall::promise::{Promise, Retirement, RootId};
use keyfall::store::{
    Ahead, Blob, Claimed, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage,
};
use keyfall::store::{BlobName, StoreId};
use keyfall::testing::{HoardingCell, RecordingStore, Tape};
use keyfall::{
    Class, Engine, Error, ErrorKind, InteractionId, Options, Put, Query, RecordId, Result, Scope,
    Timestamp,
};

use crate::support::{error_kind, read_record, user};

type Events = Arc<Mutex<Vec<&'static str>>>;

/// Notes every durable write, and fails the next commit where it is told to.
struct Noted<T> {
    inner: T,
    events: Events,
    full: Arc<Mutex<bool>>,
    /// How long a commit takes.
    pause: Arc<Mutex<Duration>>,
    /// Blobs that were read.
    reads: Arc<AtomicU64>,
}

impl Store for Noted<Arc<dyn Store>> {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.inner.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.inner.claim(claimed)
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.inner.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
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
        self.events.lock().unwrap().push("commit");
        std::thread::sleep(*self.pause.lock().unwrap());
        if std::mem::take(&mut *self.full.lock().unwrap()) {
            // The bytes were handed over all the same: a medium may keep them.
            self.inner.put(blobs)?;
            return Err(Error::new(ErrorKind::Full, "no space left"));
        }
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

impl RootCell for Noted<Arc<HoardingCell>> {
    fn describe(&self) -> Promise {
        self.inner.describe()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.inner.claim(store, owner, mark)
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.inner.ready(keep, next)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        // What the store has is not written again.
        if !self.inner.load()?.keys.iter().any(|key| key.id == *id) {
            self.events.lock().unwrap().push("deposit");
        }
        self.inner.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        self.inner.load()
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.events.lock().unwrap().push("retire");
        self.inner.retire(keep, proof)
    }
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        self.events.lock().unwrap().push("retire for the next");
        self.inner.retire_for(keep, next, proof)
    }
}

struct World {
    _dir: tempfile::TempDir,
    tape: Arc<Tape>,
    events: Events,
    full: Arc<Mutex<bool>>,
    pause: Arc<Mutex<Duration>>,
    reads: Arc<AtomicU64>,
    store: Arc<dyn Store>,
    cell: Arc<HoardingCell>,
}

impl World {
    fn new() -> (Self, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let tape = Tape::new();
        let (events, full, pause): (Events, Arc<Mutex<bool>>, Arc<Mutex<Duration>>) =
            Default::default();
        let reads = Arc::<AtomicU64>::default();
        let recorded: Arc<dyn Store> =
            Arc::new(RecordingStore::new(Arc::new(MemoryStore::new()), Arc::clone(&tape)));
        let store: Arc<dyn Store> = Arc::new(Noted {
            inner: recorded,
            events: Arc::clone(&events),
            full: Arc::clone(&full),
            pause: Arc::clone(&pause),
            reads: Arc::clone(&reads),
        });
        let file = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
        let cell = Arc::new(HoardingCell::new(Arc::new(file)));
        let world = World { _dir: dir, tape, events, full, pause, reads, store, cell };
        let engine = Engine::init(Arc::clone(&world.store), world.noted(), options()).unwrap();
        (world, engine)
    }

    fn noted(&self) -> Arc<dyn RootCell> {
        let (events, full, pause) =
            (Arc::clone(&self.events), Arc::clone(&self.full), Arc::clone(&self.pause));
        Arc::new(Noted {
            inner: Arc::clone(&self.cell),
            events,
            full,
            pause,
            reads: Arc::clone(&self.reads),
        })
    }

    fn open(&self) -> Engine {
        Engine::open(Arc::clone(&self.store), self.noted(), options()).unwrap()
    }

    /// What `act` wrote, durably, in order.
    fn wrote(&self, act: impl FnOnce()) -> Vec<&'static str> {
        self.events.lock().unwrap().clear();
        act();
        self.events.lock().unwrap().clone()
    }

    fn keys(&self) -> usize {
        self.cell.load().unwrap().keys.len()
    }

    /// Whether an adversary who holds the tape and the present cell opens any of these.
    fn found(&self, ids: &[RecordId]) -> bool {
        let exposed = self.tape.exposed(&*self.cell).unwrap();
        ids.iter().any(|id| exposed.contains_key(id))
    }
}

fn options() -> Options {
    Options::new().keeper(Keeper::ByHand)
}

fn put(engine: &Engine, name: &str) -> RecordId {
    engine.put(Put::new(user(name), Class::audio()), &b"x"[..]).unwrap()
}

/// A store, its cell and its engine, whose erase was published and not taken by its copy in step;
/// and what the erase wrote.
fn held_up() -> (Arc<MemoryStore>, Arc<HoardingCell>, Engine, Vec<BlobName>) {
    let (store, full) = (Arc::new(MemoryStore::new()), Arc::<Mutex<bool>>::default());
    let copy: Arc<dyn Store> = Arc::new(Noted {
        inner: Arc::new(MemoryStore::new()) as Arc<dyn Store>,
        events: Arc::default(),
        full: Arc::clone(&full),
        pause: Arc::default(),
        reads: Arc::default(),
    });
    let open_copy = move |_: &str, _: bool| -> Result<Arc<dyn Store>> { Ok(Arc::clone(&copy)) };
    let options = options().open_copy(Arc::new(open_copy));
    let cell = Arc::new(HoardingCell::new(Arc::new(MemoryCell::new())));
    let engine = Engine::init(store.clone(), cell.clone(), options).unwrap();
    for n in 0..100 {
        put(&engine, &format!("u{n}"));
    }
    engine.copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let names = || store.names(Cursor::default(), 100_000).unwrap().0;
    let before = names();
    *full.lock().unwrap() = true;
    assert_eq!(error_kind(engine.erase(Scope::user(user("u7")))), ErrorKind::Copy);
    let new = names().into_iter().filter(|name| !before.contains(name)).collect();
    (store, cell, engine, new)
}

/// It was completed after a look at its head and root page alone.
#[test]
fn an_erase_that_a_copy_held_up_is_read_back_whole_before_the_old_key_goes() {
    let keys = |cell: &HoardingCell| cell.load().unwrap().keys.len();
    let (_store, cell, engine, new) = held_up();
    assert!(new.len() > 1 && keys(&cell) == 2);
    engine.copies().sync(None, &mut |_| {}).unwrap();
    assert_eq!(keys(&cell), 1);
    for n in 0..new.len() {
        let (store, cell, engine, new) = held_up();
        let Some(name) = new.get(n) else { continue };
        store.remove(&[*name]).unwrap();
        // Also when it is tried again.
        for _ in 0..2 {
            let e = engine.copies().sync(None, &mut |_| {}).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{n}: {e}");
            assert_eq!(keys(&cell), 2, "{n}: the old root key is what is left of that page");
        }
    }
}

#[test]
fn an_erase_makes_two_durable_writes_one_after_another() {
    let (world, engine) = World::new();
    let ids: Vec<RecordId> = (0..5).map(|n| put(&engine, &format!("u{n}"))).collect();
    let erase =
        |n: usize| world.wrote(|| drop(engine.erase(Scope::user(user(&format!("u{n}")))).unwrap()));
    assert_eq!(
        erase(0),
        ["deposit", "commit", "retire"],
        "who erases once leaves no second key behind"
    );
    assert_eq!(world.keys(), 1);
    assert_eq!(erase(1), ["deposit", "commit", "retire for the next"]);
    for n in 2..4 {
        assert_eq!(erase(n), ["commit", "retire for the next"]);
        assert_eq!(world.keys(), 2, "the next epoch's stands ready");
        assert!(!world.found(&ids[..=n]), "it opens nothing of what was erased");
    }
    assert!(world.found(&ids[4..]), "the adversary is not blind");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    drop(engine);
    assert_eq!(world.keys(), 1, "closing destroys what stood ready");
    assert_eq!(read_record(&world.open(), &ids[4]).unwrap(), b"x");
}

#[test]
fn a_key_that_stood_ready_is_used_for_one_attempt_only() {
    let (world, engine) = World::new();
    let ids: Vec<RecordId> = (0..5).map(|n| put(&engine, &format!("u{n}"))).collect();
    for n in 0..3 {
        engine.erase(Scope::user(user(&format!("u{n}")))).unwrap();
    }
    let newest = || world.cell.load().unwrap().keys.into_iter().map(|key| key.id).max().unwrap();
    let ready = newest();
    *world.full.lock().unwrap() = true;
    assert_eq!(error_kind(engine.erase(Scope::user(user("u3")))), ErrorKind::Full);
    assert_eq!(read_record(&engine, &ids[3]).unwrap(), b"x", "nothing was changed");
    let wrote = world.wrote(|| drop(engine.erase(Scope::user(user("u4"))).unwrap()));
    assert_eq!(
        wrote,
        ["retire", "deposit", "commit", "retire for the next"],
        "the one that was tried is destroyed first"
    );
    assert!(!world.cell.load().unwrap().keys.iter().any(|key| key.id == ready));
    assert!(world.cell.hoard().iter().any(|key| key.id == ready), "it was there");
    assert!(!world.found(&ids[4..]) && world.found(&ids[3..4]));
}

#[test]
fn rekey_and_a_crash_make_no_use_of_what_stood_ready() {
    let (world, engine) = World::new();
    let ids: Vec<RecordId> = (0..4).map(|n| put(&engine, &format!("u{n}"))).collect();
    for n in 0..2 {
        engine.erase(Scope::user(user(&format!("u{n}")))).unwrap();
    }
    let before: Vec<RootId> =
        world.cell.load().unwrap().keys.into_iter().map(|key| key.id).collect();
    assert_eq!(before.len(), 2);
    engine.rekey().unwrap();
    let after = world.cell.load().unwrap().keys;
    assert!(after.iter().all(|key| !before.contains(&key.id)), "somebody may have seen both");
    assert_eq!(read_record(&engine, &ids[2]).unwrap(), b"x");
    engine.erase(Scope::user(user("u2"))).unwrap();
    let before: Vec<RootId> =
        world.cell.load().unwrap().keys.into_iter().map(|key| key.id).collect();
    // Never closed: as where the process was killed.
    std::mem::forget(engine);
    let engine = world.open();
    assert_eq!(world.keys(), 1, "opening destroys it");
    engine.erase(Scope::user(user("u3"))).unwrap();
    assert!(world.cell.load().unwrap().keys.iter().all(|key| !before.contains(&key.id)));
    assert!(!world.found(&ids));
}

/// One cell and one store under two engines is a mistake; it must not cost the data.
#[test]
fn another_engine_over_the_same_cell_takes_what_stood_ready_and_nothing_is_lost() {
    let (world, engine) = World::new();
    let cell = world.noted();
    drop(engine);
    let open = || Engine::open(Arc::clone(&world.store), Arc::clone(&cell), options()).unwrap();
    let first = open();
    let ids: Vec<RecordId> = (0..4).map(|n| put(&first, &format!("u{n}"))).collect();
    for n in 0..2 {
        first.erase(Scope::user(user(&format!("u{n}")))).unwrap();
    }
    let ready = world.cell.load().unwrap().keys.into_iter().map(|key| key.id).max().unwrap();
    let second = open();
    assert!(
        !world.cell.load().unwrap().keys.iter().any(|key| key.id == ready),
        "opening destroys it"
    );
    first.erase(Scope::user(user("u2"))).unwrap();
    drop((first, second));
    assert_eq!(read_record(&open(), &ids[3]).unwrap(), b"x");
    assert!(!world.found(&ids[..3]));
}

#[test]
fn batches_that_wait_together_do_not_fail_together() {
    let (_world, engine) = World::new();
    put(&engine, "gone");
    let barrier = std::sync::Barrier::new(16);
    for round in 0..20 {
        engine.create_user(&user("gone")).unwrap();
        let mut batches = Vec::new();
        for n in 0..16 {
            let name = if n % 4 == 0 { "gone".to_owned() } else { format!("stays-{round}-{n}") };
            let mut batch = engine.batch();
            batch.add(Put::new(user(&name), Class::action()), &b"y"[..]).unwrap();
            batches.push((n, batch));
        }
        engine.erase(Scope::user(user("gone"))).unwrap();
        std::thread::scope(|scope| {
            for (n, batch) in batches {
                let (engine, barrier) = (&engine, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let put = batch.commit();
                    if n % 4 == 0 {
                        assert_eq!(error_kind(put), ErrorKind::Erased, "it came too late");
                    } else {
                        assert_eq!(read_record(engine, &put.unwrap()[0]).unwrap(), b"y");
                    }
                });
            }
        });
    }
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 20 * 12);
}

#[test]
fn erases_that_wait_together_share_a_commit() {
    let (world, engine) = World::new();
    for n in 0..8 {
        put(&engine, &format!("u{n}"));
    }
    *world.pause.lock().unwrap() = Duration::from_millis(300);
    let wrote = world.wrote(|| {
        std::thread::scope(|scope| {
            let engine = &engine;
            scope.spawn(|| put(engine, "first"));
            while world.events.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            // It is at work, and stays there for long: all of these wait.
            for n in 0..8 {
                scope.spawn(move || put(engine, &format!("later-{n}")));
                scope.spawn(move || {
                    drop(engine.erase(Scope::user(user(&format!("u{n}")))).unwrap())
                });
            }
        });
    });
    let commits = wrote.iter().filter(|e| **e == "commit").count();
    assert!(
        commits <= 5,
        "one, one for the puts and one for the erases, and a few for latecomers: {commits} of 17"
    );
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 9);
}

#[test]
fn a_cold_read_fetches_the_pages_of_one_path_and_its_segments() {
    let (world, engine) = World::new();
    let mut batch = engine.batch();
    for n in 0..3000 {
        batch.add(Put::new(user(&format!("u{n}")), Class::action()), &b"other"[..]).unwrap();
    }
    let now = engine.new_interaction().unwrap().began().0;
    for n in 0..2000 {
        // One after another: of interactions of one millisecond the order is random, and leaves that
        // do not grow at their end are cut in half.
        let turn = InteractionId::from_parts(Timestamp(now - 2000 + n), [0; 10]);
        let put = Put::new(user("speaker"), Class::audio()).interaction(turn);
        batch.add(put, &b"short"[..]).unwrap();
    }
    let short = batch.commit().unwrap()[3000];
    let long = vec![7; 700_000];
    let id = engine.put(Put::new(user("speaker"), Class::audio()), &long[..]).unwrap();
    drop(engine);
    let engine = world.open();
    let before = world.reads.load(Ordering::Relaxed);
    assert_eq!(read_record(&engine, &id).unwrap(), long);
    // Three pages of the user tree, the user's, two of the class's tree, three segments of 256 KiB.
    assert_eq!(world.reads.load(Ordering::Relaxed) - before, 3 + 1 + 2 + 3);
    let warm = world.reads.load(Ordering::Relaxed);
    engine.info(&id).unwrap();
    assert_eq!(world.reads.load(Ordering::Relaxed), warm, "pages that were read stay in the cache");
    for _ in 0..2 {
        assert_eq!(read_record(&engine, &short).unwrap(), b"short");
        let fetched = world.reads.load(Ordering::Relaxed) - warm;
        assert_eq!(fetched, 1, "a short record is in one page of its class, and in no blob");
    }
}

#[test]
fn one_users_records_read_in_their_order_fetch_a_page_once_and_not_for_each() {
    let (world, engine) = World::new();
    let mut batch = engine.batch();
    let interaction = engine.new_interaction().unwrap();
    for _ in 0..5000 {
        batch
            .add(Put::new(user("speaker"), Class::action()).interaction(interaction), &b"short"[..])
            .unwrap();
    }
    let ids = batch.commit().unwrap();
    drop(engine);
    let engine = world.open();
    let before = world.reads.load(Ordering::Relaxed);
    for id in &ids {
        engine.info(id).unwrap();
    }
    let fetched = world.reads.load(Ordering::Relaxed) - before;
    // The tree of the class has far more pages than one user may have in the cache: what stays must
    // be what was read last.
    assert!((50..300).contains(&fetched), "{fetched} pages were fetched for 5,000 records");
}

#[test]
fn most_users_are_erased_without_a_look_at_their_page() {
    let (world, engine) = World::new();
    for name in ["alone", "linked", "held"] {
        put(&engine, name);
    }
    let source = put(&engine, "linked");
    engine
        .put(Put::new(user("linked"), Class::transcript()).derived_from(source), &b"y"[..])
        .unwrap();
    put(&engine, "alone");
    let hold = engine.holds(&user("held")).add(Hold::new("a court asks", "Amtsgericht")).unwrap();
    drop(engine);
    // Each erase is the first act of an engine, whose cache is empty.
    let reads = |name: &str, records: u64| {
        let engine = world.open();
        let before = world.reads.load(Ordering::Relaxed);
        assert_eq!(engine.erase(Scope::user(user(name))).unwrap().records, Some(records));
        world.reads.load(Ordering::Relaxed) - before
    };
    let (alone, linked) = (reads("alone", 2), reads("linked", 3));
    // The page of the user tree, and back: that page, the log's, the root once more.
    assert_eq!(alone, 1 + 1 + 3);
    assert!(linked > alone, "whose records are linked: {linked}");
    let engine = world.open();
    assert_eq!(error_kind(engine.erase(Scope::user(user("held")))), ErrorKind::Held);
    engine.holds(&user("held")).lift(hold, "settled", "Amtsgericht").unwrap();
    engine.erase(Scope::user(user("held"))).unwrap();
}
