//! What is asked of a store far away, in requests and bytes, beside what a local store takes; and
//! that nobody waits for a request of somebody else's.
//!
//! `KEYFALL_RECORDING=1024` has a recording of so many MiB sought in, `KEYFALL_SLOW=1000` so many
//! readers wait.

use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::store::ObjectLog;
use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Scope};
use keyfall_objects::{Created, Listed, MemoryObjects, Objects, Result};

use crate::engines::{options, put, read, user};
use crate::far::rounds;
use crate::standby::median;

/// Threads of this name wait at the gate before each read.
const SLOW: &str = "slow";

/// Objects that count what is read of them, and whose reads wait for some.
struct Watched {
    inner: MemoryObjects,
    reads: AtomicU64,
    bytes: AtomicU64,
    longest: AtomicU64,
    waiting: AtomicUsize,
    shut: (Mutex<bool>, Condvar),
    /// Whether requests take as long as those of a service far away, and slow ones longer.
    far: AtomicBool,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Watched {
            inner: MemoryObjects::new(),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            shut: (Mutex::new(false), Condvar::new()),
            far: AtomicBool::new(false),
        })
    }

    fn takes(&self, millis: u64) {
        if self.far.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(millis));
        }
    }

    /// Reads, bytes and the longest read since the last call.
    fn take(&self) -> (u64, u64, u64) {
        let [reads, bytes, longest] =
            [&self.reads, &self.bytes, &self.longest].map(|n| n.swap(0, Ordering::SeqCst));
        (reads, bytes, longest)
    }

    fn shut(&self, shut: bool) {
        *self.shut.0.lock().unwrap() = shut;
        self.shut.1.notify_all();
    }

    fn counted(&self, read: Result<Option<Vec<u8>>>) -> Result<Option<Vec<u8>>> {
        if std::thread::current().name() == Some(SLOW) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let shut = self.shut.0.lock().unwrap();
            drop(self.shut.1.wait_while(shut, |shut| *shut).unwrap());
            self.takes(300);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.takes(30);
        }
        let len = read.as_ref().ok().and_then(|read| read.as_ref().map(Vec::len)).unwrap_or(0);
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(len as u64, Ordering::SeqCst);
        self.longest.fetch_max(len as u64, Ordering::SeqCst);
        read
    }
}

impl Objects for Watched {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        self.takes(60);
        self.inner.create(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.counted(self.inner.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.counted(self.inner.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.inner.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }
}

fn log(objects: &Arc<Watched>) -> Arc<ObjectLog> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap())
}

/// Bytes that differ from place to place.
fn recording(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

/// A recording as it streams in.
struct Streams {
    at: u64,
    len: u64,
}

impl Read for Streams {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min((self.len - self.at) as usize);
        out[..n].copy_from_slice(&recording(self.at, n));
        self.at += n as u64;
        Ok(n)
    }
}

/// A seek asks for no more than the chunk that it comes to; what is read on from there comes in few
/// requests, and a long recording lies in few objects.
#[test]
fn a_seek_reads_one_short_range() {
    let len = rounds("KEYFALL_RECORDING", 40) << 20;
    let objects = Watched::new();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    let of = Put::new(user(1), Class::audio());
    let id = engine.put(of, Streams { at: 0, len }).unwrap();
    let segments = objects.inner.list("s", "", 10_000).unwrap().len() as u64;
    assert!(segments <= len / (8 << 20) + 1, "{segments} objects");

    let mut reader = engine.get(&id).unwrap();
    let mut piece = [0; 4096];
    reader.read_exact(&mut piece).unwrap();
    objects.take();
    let mut longest = 0;
    for n in 0..200u64 {
        let at = ((n * 7_919_777) % (len - 4096)) & !4095;
        reader.seek(SeekFrom::Start(at)).unwrap();
        reader.read_exact(&mut piece).unwrap();
        assert_eq!(piece[..], recording(at, 4096), "at {at}");
        let (reads, _, most) = objects.take();
        assert!(reads <= 1 && most <= 32 << 10, "a seek to {at}: {reads} requests, {most} B");
        longest = longest.max(most);
    }
    println!("200 seeks in {} MiB: 1 request each, of {longest} B at most", len >> 20);

    // A player that begins in the middle.
    reader.seek(SeekFrom::Start(len / 2)).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() as u64, len - len / 2);
    assert_eq!(rest[rest.len() - 4096..], recording(len - 4096, 4096));
    let (reads, bytes, _) = objects.take();
    println!("{} MiB read on from the middle: {reads} requests, {bytes} B", len >> 21);
    assert!(reads <= 10 + len / (2 << 20), "{reads} requests");
    assert!(bytes <= len / 2 + (len >> 10) + (64 << 10), "{bytes} B");
}

/// Whoever waits for the store keeps no erase waiting, neither with a look-up nor with a read; not
/// even one of what it erases. And what they get afterwards is what lives.
#[test]
fn an_erase_waits_for_no_request_of_a_reader() {
    let readers = rounds("KEYFALL_SLOW", 60) as usize;
    let objects = Watched::new();
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
    let payload = recording(0, 300_000);
    let ids: Vec<RecordId> =
        (0..readers as u32).map(|n| put(&engine, n, &payload).unwrap()).collect();
    engine.close().unwrap();
    // Nothing is in memory.
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    // What an erase has to read itself.
    read(&engine, &ids[0]).unwrap();

    objects.shut(true);
    let (erased, told) = channel();
    std::thread::scope(|scope| {
        // Half of them look records up, half have done so and read.
        let all: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| {
                let (engine, opened) = (&engine, (n % 2 == 0).then(|| engine.get(id).unwrap()));
                let reads = move || match opened {
                    Some(mut opened) => {
                        let mut all = Vec::new();
                        opened.read_to_end(&mut all).map(|_| all).map_err(keyfall::Error::from)
                    }
                    None => read(engine, id),
                };
                std::thread::Builder::new().name(SLOW.into()).spawn_scoped(scope, reads).unwrap()
            })
            .collect();
        while objects.waiting.load(Ordering::SeqCst) < readers {
            std::thread::yield_now();
        }
        scope.spawn(|| {
            for n in [0, 1] {
                engine.erase(Scope::user(user(n))).unwrap();
            }
            erased.send(()).unwrap();
        });
        let returned = told.recv_timeout(Duration::from_secs(60)).is_ok();
        let waiting = objects.waiting.load(Ordering::SeqCst);
        objects.shut(false);
        assert!(returned, "two erases waited for {readers} slow readers");
        assert_eq!(waiting, readers, "all of them waited on when the erases returned");
        println!("two erases returned while {waiting} readers waited for the store");
        for (n, slow) in all.into_iter().enumerate() {
            match slow.join().unwrap() {
                Ok(all) => assert!(n > 1 && all == payload, "reader {n}"),
                Err(e) => assert!(n < 2 && e.kind() == ErrorKind::Erased, "reader {n}: {e}"),
            }
        }
    });
}

/// Erases take no longer while many others read whose reads take 300 ms each: rounds of erases with
/// nobody else, and with them, by turns.
#[test]
fn an_erase_beside_slow_readers_takes_as_long_as_alone() {
    let readers = rounds("KEYFALL_SLOW", 60) as u32;
    let objects = Watched::new();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    let payload = recording(0, 100_000);
    let ids: Vec<RecordId> = (0..readers).map(|n| put(&engine, n, &payload).unwrap()).collect();
    let rounds = 5;
    let last = readers + 2 * rounds * 5;
    (readers..last).for_each(|n| _ = put(&engine, n, b"erased").unwrap());
    let mut users = readers..last;
    let mut erases = || -> Vec<Duration> {
        let erase = |n| {
            let began = Instant::now();
            engine.erase(Scope::user(user(n))).unwrap();
            began.elapsed()
        };
        users.by_ref().take(5).map(erase).collect()
    };
    let (mut alone, mut beside, mut reads) = (Vec::new(), Vec::new(), 0);
    let ended = AtomicBool::new(false);
    objects.far.store(true, Ordering::SeqCst);
    objects.shut(true);
    std::thread::scope(|scope| {
        let (engine, ended, payload) = (&engine, &ended, &payload);
        for id in &ids {
            let reads = move || {
                let (mut reader, mut piece) = (engine.get(id).unwrap(), [0; 4096]);
                for at in [0, 65_536].into_iter().cycle() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    reader.seek(SeekFrom::Start(at)).unwrap();
                    reader.read_exact(&mut piece).unwrap();
                    assert_eq!(piece[..], payload[at as usize..][..4096]);
                }
            };
            std::thread::Builder::new().name(SLOW.into()).spawn_scoped(scope, reads).unwrap();
        }
        let all_wait = || {
            while objects.waiting.load(Ordering::SeqCst) < readers as usize {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..rounds {
            // All of them wait for the gate.
            objects.shut(true);
            all_wait();
            std::thread::sleep(Duration::from_millis(400));
            alone.extend(erases());
            objects.shut(false);
            std::thread::sleep(Duration::from_millis(400));
            objects.take();
            beside.extend(erases());
            reads += objects.take().0;
        }
        ended.store(true, Ordering::SeqCst);
    });
    let each = u64::from(readers * rounds);
    assert!(reads >= each, "{reads} reads meanwhile, of {readers} readers in {rounds} rounds");
    let (alone, beside) = (median(alone), median(beside));
    let times = beside.as_secs_f64() / alone.as_secs_f64();
    println!("an erase alone {alone:?}, beside {readers} slow readers {beside:?}: {times:.2}x");
    assert!(times <= 1.2, "an erase takes {times:.2} times as long");
}

/// The bytes and objects of a store.
fn held(objects: &Watched) -> (u64, usize) {
    let folders = ["c", "p", "x", "s", "d", "f"];
    let listed = folders.map(|folder| objects.inner.list(folder, "", 1 << 20).unwrap());
    let all: Vec<Listed> = listed.into_iter().flatten().collect();
    (all.iter().map(|object| object.size).sum(), all.len())
}

/// After a discard a store takes little more space than what lives in it, even if most objects held
/// something live and the engine was never closed. Live records stay readable, also through readers
/// that were open before.
#[test]
fn a_discard_leaves_little_more_than_what_lives() {
    let objects = Watched::new();
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
    let payload = |n: u32| recording(u64::from(n) << 20, [150, 900, 3000, 40_000][n as usize % 4]);
    let mut ids = Vec::new();
    for n in 0..400 {
        // Users get records one after another, so that pages of few of them lie together.
        ids.push(put(&engine, n % 80, &payload(n)).unwrap());
    }
    let mut batch = engine.batch();
    for n in 400..800 {
        batch.add(Put::new(user(n % 80), Class::transcript()), &payload(n)[..]).unwrap();
    }
    ids.extend(batch.commit().unwrap());
    for n in (0..80).step_by(2) {
        engine.erase(Scope::user(user(n))).unwrap();
    }
    let lives = |n: usize| n % 2 == 1;
    let mut open: Vec<_> = (0..800)
        .filter(|n| lives(*n))
        .step_by(7)
        .map(|n| (n, engine.get(&ids[n]).unwrap()))
        .collect();
    let before = held(&objects);
    objects.take();
    let done = engine.discard(&mut |_| {}).unwrap();
    let (reads, ..) = objects.take();
    let after = held(&objects);
    println!("{before:?} bytes and objects before, {after:?} after, {reads} reads; {done:?}");

    // What lives, and no more, is what a restored store holds.
    let plain = Watched::new();
    let restored = log(&plain);
    let all: Vec<Arc<dyn keyfall::store::Store>> = vec![log(&objects)];
    keyfall::engine::restore(&*cell, &all, &*restored, &mut |_| {}).unwrap();
    let live = held(&plain).0;
    assert!(after.0 * 100 <= live * 125, "{} bytes, of which {live} live", after.0);
    let floors = objects.inner.list("f", "", 1000).unwrap();
    let lists = floors.iter().filter(|object| object.name.starts_with("f/dead-")).count();
    assert!(lists <= 2, "{lists} lists of removed blobs");

    for (n, open) in &mut open {
        let mut all = Vec::new();
        open.read_to_end(&mut all).unwrap();
        assert_eq!(all, payload(*n as u32), "record {n}, open before");
    }
    drop(open);
    let check = |engine: &Engine| {
        for (n, id) in ids.iter().enumerate() {
            match read(engine, id) {
                Ok(all) => assert!(lives(n) && all == payload(n as u32), "record {n}"),
                Err(e) => assert!(!lives(n) && e.kind() == ErrorKind::Erased, "record {n}: {e}"),
            }
        }
    };
    check(&engine);
    // The next one finds nothing to do.
    let again = engine.discard(&mut |_| {}).unwrap();
    assert!(held(&objects).0 <= after.0 + 4096, "{again:?}");
    put(&engine, 1, &payload(1)).unwrap();
    engine.erase(Scope::user(user(77))).unwrap();
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    assert_eq!(read(&engine, &ids[77]).unwrap_err().kind(), ErrorKind::Erased);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}
