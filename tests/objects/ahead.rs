//! What is asked for at the same time where a request takes long: counted, with the greatest number
//! of requests under way, in a place each of whose requests takes a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{CopyMode, restore, warm_up};
use keyfall::store::{Ahead, BlobName, Head, HeadId, MemoryStore, ObjectLog, Published, Store};
use keyfall::{Class, Engine, Put, Query, RecordId, Scope, UserId};
use keyfall_objects::{
    Counted, CountedObjects, Created, Listed, MemoryObjects, Objects, Result, at_once,
};

use crate::engines::{options, put, read, user};

/// Requests of one look-up that may be under way at the same time.
const BOUND: u64 = 16;
/// Of these so many at least are seen to be, also where a busy machine has threads wait.
const MANY: u64 = 4;

/// Requests under way, in one place or in several.
#[derive(Default)]
struct Flight {
    now: AtomicU64,
    most: AtomicU64,
    /// All that there ever were.
    begun: AtomicU64,
}

impl Flight {
    fn take_most(&self) -> u64 {
        self.most.swap(0, Ordering::SeqCst)
    }
}

/// A place far away.
pub(crate) struct Slow {
    inner: CountedObjects,
    takes: AtomicU64,
    flight: Arc<Flight>,
    /// What was read or listed last.
    told: Mutex<Vec<String>>,
}

impl Slow {
    fn over(objects: Arc<dyn Objects>, flight: &Arc<Flight>) -> Arc<Self> {
        let flight = Arc::clone(flight);
        let inner = CountedObjects::over(objects);
        Arc::new(Slow { inner, takes: AtomicU64::new(0), flight, told: Mutex::default() })
    }

    fn new() -> Arc<Self> {
        Slow::over(Arc::new(MemoryObjects::new()), &Arc::default())
    }

    /// Far, though a request takes no time.
    pub(crate) fn counted(objects: Arc<dyn Objects>) -> Arc<Self> {
        Slow::over(objects, &Arc::default())
    }

    pub(crate) fn take(&self) -> Counted {
        self.inner.take()
    }

    /// What was read or listed since the last call, as far as that is known.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn tell(&self, what: String) {
        let mut told = self.told.lock().unwrap();
        if told.len() > 1000 {
            told.clear();
        }
        told.push(what);
    }

    /// From now on each request takes so long; what was counted is forgotten.
    fn slow_down(&self, millis: u64) {
        self.takes.store(millis, Ordering::SeqCst);
        self.flight.take_most();
        self.take();
    }

    fn asked<T>(&self, ask: impl FnOnce() -> T) -> T {
        let now = self.flight.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.flight.begun.fetch_add(1, Ordering::SeqCst);
        self.flight.most.fetch_max(now, Ordering::SeqCst);
        let takes = self.takes.load(Ordering::SeqCst);
        if takes > 0 {
            // And as long as others join, for a busy machine begins them late.
            let begun = || self.flight.begun.load(Ordering::SeqCst);
            for _ in 0..20 {
                let before = begun();
                sleep(Duration::from_millis(takes));
                if begun() == before {
                    break;
                }
            }
        }
        let answer = ask();
        self.flight.now.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

impl Objects for Slow {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn is_far(&self) -> bool {
        true
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        self.asked(|| self.inner.create(name, bytes))
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.tell(name.to_owned());
        self.asked(|| self.inner.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.tell(format!("{name} from {from}"));
        self.asked(|| self.inner.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.tell(format!("list {folder} after {after}"));
        self.asked(|| self.inner.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.asked(|| self.inner.head(name))
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.asked(|| self.inner.delete(name))
    }
}

fn log(objects: &Arc<Slow>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap())
}

/// A store filled by `fill`, and an engine that was opened on it and has nothing of it in memory.
fn opened(objects: &Arc<Slow>, fill: impl FnOnce(&Engine)) -> (Engine, Arc<MemoryCell>) {
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(objects), cell.clone(), options()).unwrap();
    fill(&engine);
    engine.close().unwrap();
    // A claim has no pages: nothing of them is in memory.
    for _ in 0..2 {
        Engine::open(log(objects), cell.clone(), options()).unwrap().close().unwrap();
    }
    let engine = Engine::open(log(objects), cell.clone(), options()).unwrap();
    objects.take();
    (engine, cell)
}

/// Each in a commit of its own, so that their pages lie in many objects.
fn fill_users(engine: &Engine, users: u32) -> Vec<RecordId> {
    (0..users).map(|n| put(engine, n, &[n as u8; 2000]).unwrap()).collect()
}

#[test]
fn things_are_done_in_order_and_no_more_at_once_than_allowed() {
    let objects = Slow::new();
    let all: Vec<u32> = (0..100).collect();
    objects.slow_down(2);
    let done = at_once(&*objects, 7, &all, |n| {
        objects.head(&format!("x/{n}")).unwrap();
        n * 2
    });
    assert_eq!(done, all.iter().map(|n| n * 2).collect::<Vec<_>>());
    assert!((2..=7).contains(&objects.flight.take_most()), "some at once, and no more than 7");
    let near = MemoryObjects::new();
    assert_eq!(at_once(&near, 7, &all, |n| *n), all);
}

/// What lies in one window of an object comes with one request, the rest with some at a time.
#[test]
fn many_blobs_are_read_at_the_same_time() {
    let objects = Slow::new();
    let log = log(&objects);
    let names: Vec<_> = (0..40u8)
        .map(|n| {
            let name = BlobName([n; 16]);
            // Each too long to share an object with another one.
            log.put(&[(name, vec![n; 150_000])]).unwrap();
            name
        })
        .collect();
    let unknown = BlobName([99; 16]);
    objects.slow_down(20);
    let asked: Vec<_> = names.iter().copied().chain([unknown]).collect();
    let read = log.get_many(&asked);
    for (n, blob) in read.iter().enumerate() {
        let blob = blob.as_ref().unwrap();
        assert_eq!(*blob, (n < 40).then(|| vec![n as u8; 150_000]), "{n}");
    }
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
}

/// Of a commit that was cut into several objects each blob is one request. A name does not say
/// whether its chunk lies in the commit or in a pack: of the newest commit that is known since the
/// log was opened, and of others one list tells it.
#[test]
fn a_blob_of_a_long_commit_is_one_request() {
    let objects = Slow::new();
    let writer = log(&objects);
    let mut earlier = Vec::new();
    for number in 1..=3u64 {
        let mut blobs: Vec<(BlobName, Vec<u8>)> = Vec::new();
        for n in 0..200u8 {
            let mut drawn = [n; 16];
            drawn[15] = number as u8;
            let name = writer.name(BlobName(drawn), Ahead::of(&blobs), 100_000);
            blobs.push((name, vec![n; 100_000]));
        }
        let over = (number > 1).then(|| HeadId { epoch: 1, commit: number - 1 });
        let head = Head { id: HeadId { epoch: 1, commit: number }, bytes: vec![1] };
        assert_eq!(writer.commit(&blobs, over, &head).unwrap(), Published::Done);
        let reader = ObjectLog::look(objects.clone() as Arc<dyn Objects>).unwrap();
        objects.take();
        for (n, (name, blob)) in blobs.iter().enumerate().rev() {
            assert_eq!(reader.get(name).unwrap().as_ref(), Some(blob), "{n}");
        }
        let asked = objects.take();
        let all = Counted { gets: asked.gets, ..Counted::default() };
        assert_eq!(asked, all);
        // Of the newest object the beginning and the end are at hand since it was opened.
        assert!((180..=200).contains(&asked.gets), "{asked:?}");
        for (name, blob) in &earlier {
            assert_eq!(reader.get(name).unwrap().as_ref(), Some(blob));
        }
        let lists = u64::from(number > 1);
        let all = Counted { gets: earlier.len() as u64, lists, ..Counted::default() };
        assert_eq!(objects.take(), all);
        earlier.extend(blobs);
    }
}

/// A listing asks for the leaves that come next together, each once.
#[test]
fn a_listing_asks_for_several_pages_at_once() {
    let objects = Slow::new();
    let (engine, cell) = opened(&objects, |engine| {
        for n in 0..60u8 {
            let mut batch = engine.batch();
            for _ in 0..20 {
                batch.add(Put::new(user(1), Class::audio()), &[n; 300][..]).unwrap();
            }
            batch.commit().unwrap();
        }
    });
    objects.slow_down(20);
    let listed = engine.list(&Query::default().user(user(1)).limit(1200)).unwrap();
    assert_eq!(listed.records.len(), 1200);
    let (most, whole) = (objects.flight.take_most(), objects.take().gets);
    assert!((MANY..=BOUND).contains(&most), "{most} at once");

    // A short one does not pay for what it does not show.
    engine.close().unwrap();
    for limit in [5, 60] {
        let engine = Engine::open(log(&objects), cell.clone(), options()).unwrap();
        objects.slow_down(0);
        let listed = engine.list(&Query::default().user(user(1)).limit(limit)).unwrap();
        assert_eq!(listed.records.len(), limit);
        let short = objects.take().gets;
        assert!(short <= 12 && short * 3 < whole, "{short} requests of {whole}");
        engine.close().unwrap();
    }
}

/// A listing of all users asks for several of their pages at once.
#[test]
fn a_listing_of_all_users_asks_for_several_pages_at_once() {
    let objects = Slow::new();
    let (engine, _) = opened(&objects, |engine| drop(fill_users(engine, 120)));
    objects.slow_down(20);
    let listed = engine.list(&Query::default().limit(120)).unwrap();
    assert_eq!(listed.records.len(), 120);
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
}

/// A walk over everything, as a restore from a place far away: several requests at once, and no
/// more of them than before.
#[test]
fn a_restore_reads_several_blobs_at_once() {
    let objects = Slow::new();
    let mut ids = Vec::new();
    let (engine, cell) = opened(&objects, |engine| ids = fill_users(engine, 120));
    engine.close().unwrap();
    let source: Arc<dyn Store> =
        Arc::new(ObjectLog::look(objects.clone() as Arc<dyn Objects>).unwrap());
    objects.slow_down(10);
    let to = Arc::new(MemoryStore::new());
    restore(&*cell, &[source], &*to, &mut |_| {}).unwrap();
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
    let took_over = options().open_as(keyfall::engine::OpenAs::TakeOver);
    let engine = Engine::open(to, cell, took_over).unwrap();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read(&engine, id).unwrap(), [n as u8; 2000]);
    }
}

/// A backup that is up to date but for one user asks a place far away for that user's path alone.
#[test]
fn a_backup_reads_ahead_what_it_lacks_alone() {
    let objects = Slow::new();
    let (engine, cell) = opened(&objects, |engine| drop(fill_users(engine, 120)));
    let to = MemoryStore::new();
    engine.backup(&to, &mut |_| {}).unwrap();
    put(&engine, 7, &[1; 2000]).unwrap();
    engine.close().unwrap();
    // What the log has read it keeps: this one has read nothing.
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    objects.take();
    let again = engine.backup(&to, &mut |_| {}).unwrap();
    let asked = objects.take();
    assert!(asked.gets <= 2 * again.blobs, "{asked:?} for {} blobs", again.blobs);
}

/// The paths of many erases are read level by level, before the writer's turn.
#[test]
fn a_batch_of_erases_reads_its_paths_at_once() {
    let objects = Slow::new();
    let (engine, _) = opened(&objects, |engine| drop(fill_users(engine, 300)));
    objects.slow_down(20);
    let scopes: Vec<Scope> = (0..300).step_by(3).map(|n| Scope::user(user(n))).collect();
    for erased in engine.erase_all(&scopes) {
        erased.unwrap();
    }
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
}

/// An engine that has warmed up reads little for each look-up, and has asked for several pages at
/// once meanwhile; one that named its users reads what is theirs alone.
#[test]
fn warming_up_reads_paths_at_once() {
    let objects = Slow::new();
    let mut ids = Vec::new();
    let (engine, cell) = opened(&objects, |engine| ids = fill_users(engine, 300));
    objects.slow_down(20);
    warm_up(&engine, &[]).unwrap();
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    let users: Vec<UserId> = (0..300).map(user).collect();
    objects.slow_down(20);
    warm_up(&engine, &users[..100]).unwrap();
    let most = objects.flight.take_most();
    assert!((MANY..=BOUND).contains(&most), "{most} at once");
    objects.slow_down(0);
    warm_up(&engine, &users[..100]).unwrap();
    assert_eq!(objects.take().all(), 0, "all of that is in memory");
    for (n, id) in ids.iter().enumerate().take(100) {
        objects.take();
        assert_eq!(read(&engine, id).unwrap(), [n as u8; 2000]);
        assert!(objects.take().gets <= 1, "the user's page and payload are in one commit");
    }
}

/// Several copies in step take a commit at the same time, and are read back at the same time.
#[test]
fn copies_in_step_do_not_wait_for_one_another() {
    let flight = Arc::<Flight>::default();
    let places: Vec<Arc<Slow>> =
        (0..3).map(|_| Slow::over(Arc::new(MemoryObjects::new()), &flight)).collect();
    let theirs = places.clone();
    let open = move |place: &str, _: bool| Ok(log(&theirs[place.parse::<usize>().unwrap()]));
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let options = options().open_copy(Arc::new(open));
    let engine = Engine::init(Arc::new(MemoryStore::new()), cell, options).unwrap();
    for n in 0..3 {
        engine.copies().add(&n.to_string(), CopyMode::InStep, &mut |_| {}).unwrap();
    }
    let id = put(&engine, 1, b"first").unwrap();
    places.iter().for_each(|place| place.slow_down(30));
    put(&engine, 2, b"second").unwrap();
    assert_eq!(flight.take_most(), 3, "a put");
    engine.erase(Scope::user(user(1))).unwrap();
    // Of each its head and its newest pages, which lie in two objects, are read back at once.
    assert_eq!(flight.take_most(), 6, "an erase");
    read(&engine, &id).unwrap_err();
    for place in &places {
        // In a copy of another kind of store what a commit holds is an object of its own.
        assert_eq!(place.take().creates, 4, "a put and an erase");
    }
}
