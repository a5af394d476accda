//! Readers on other machines than the writer's: what was erased they deliver no more once the erase
//! has returned, stopped, parted or slow as they may be; what was put they see no later than a loan
//! lasts.
//!
//! `KEYFALL_READERS=20` for more rounds of two processes, each some three seconds;
//! `KEYFALL_READER_SEEDS=2000` for more histories.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyfall::cell::{Contents, Durable, MemoryCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::env::{Env, System};
use keyfall::promise::{Promise, Retirement, RootId};
use keyfall::store::{MemoryStore, ObjectLog, Store, StoreId};
use keyfall::testing::Seeded;
use keyfall::{
    AsyncEngine, Builder, Engine, Erase, ErrorKind, Options, Reader, RecordId, Result, Scope,
};
use keyfall_objects::{
    Created, Failure, Faults, FaultyObjects, Listed, MemoryObjects, Objects, Patience,
};

use crate::engines::{options, put, read, user};
use crate::paused::{bring, made};

const LENT: Duration = Duration::from_secs(2);

/// Objects and a cell that are out of reach while this is set.
#[derive(Clone)]
struct Away<T>(T, Arc<AtomicBool>);

impl<T> Away<T> {
    fn is_away(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

impl Away<Arc<dyn Objects>> {
    fn answered<R>(
        &self,
        ask: impl FnOnce(&dyn Objects) -> keyfall_objects::Result<R>,
    ) -> keyfall_objects::Result<R> {
        if self.is_away() { Err(Failure::unknown("no answer")) } else { ask(&*self.0) }
    }
}

impl Objects for Away<Arc<dyn Objects>> {
    fn place(&self) -> String {
        self.0.place()
    }
    fn create(&self, name: &str, _: &[u8]) -> keyfall_objects::Result<Created> {
        panic!("a reader creates {name}")
    }
    fn get(&self, name: &str) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.answered(|there| there.get(name))
    }
    fn get_range(
        &self,
        name: &str,
        from: u64,
        len: u64,
    ) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.answered(|there| there.get_range(name, from, len))
    }
    fn list(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> keyfall_objects::Result<Vec<Listed>> {
        self.answered(|there| there.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> keyfall_objects::Result<Option<u64>> {
        self.answered(|there| there.head(name))
    }
    fn delete(&self, name: &str) -> keyfall_objects::Result<()> {
        panic!("a reader deletes {name}")
    }
}

impl RootCell for Away<Arc<dyn RootCell>> {
    fn describe(&self) -> Promise {
        self.0.describe()
    }
    fn deposit(&self, _: StoreId, _: &RootId, _: &keyfall::crypto::Key) -> Result<()> {
        panic!("a reader deposits")
    }
    fn load(&self) -> Result<Contents> {
        if self.is_away() {
            return Err(keyfall::Error::new(ErrorKind::Io, "no answer"));
        }
        self.0.load()
    }
    fn retire(&self, _: &RootId, _: Durable) -> Result<Retirement> {
        panic!("a reader destroys keys")
    }
}

/// A store in memory that lends, by a clock that nobody waits for.
struct World {
    seed: u64,
    env: Arc<Seeded>,
    place: Arc<MemoryObjects>,
    cell: Arc<dyn RootCell>,
    store_away: Arc<AtomicBool>,
    cell_away: Arc<AtomicBool>,
}

impl World {
    fn new(seed: u64) -> (Self, Engine) {
        let (place, env) = (Arc::new(MemoryObjects::new()), Arc::new(Seeded::new(seed)));
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let (store_away, cell_away) = (Arc::default(), Arc::default());
        let world = World { seed, env, place, cell, store_away, cell_away };
        let log = ObjectLog::create_with(world.place.clone(), world.env.clone(), once()).unwrap();
        let engine = Engine::init(Arc::new(log), world.cell.clone(), world.lending()).unwrap();
        (world, engine)
    }

    fn options(&self) -> Options {
        options().env(self.env.clone())
    }

    fn lending(&self) -> Options {
        self.options().lend(LENT)
    }

    fn draw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.env.fill(&mut bytes).unwrap();
        u64::from_be_bytes(bytes) % below
    }

    fn writer(&self) -> Engine {
        let log = ObjectLog::open_with(self.place.clone(), self.env.clone(), once()).unwrap();
        Engine::open(Arc::new(log), self.cell.clone(), self.options()).unwrap()
    }

    /// A reader over a network with faults.
    fn reader(&self, faults: Faults, tries: u32) -> Engine {
        let net: Arc<dyn Objects> =
            Arc::new(FaultyObjects::new(self.place.clone(), faults, self.seed));
        let net = Arc::new(Away(net, self.store_away.clone()));
        let cell = Arc::new(Away(self.cell.clone(), self.cell_away.clone()));
        let patience = Patience::of_tries(tries);
        let log = loop {
            if let Ok(log) = ObjectLog::look_with(net.clone(), self.env.clone(), patience) {
                break Arc::new(log);
            }
        };
        loop {
            let builder = Builder::over(log.clone(), cell.clone()).options(self.options());
            match builder.open_reader() {
                Ok(reader) => return reader,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Io, "{e}"),
            }
        }
    }
}

fn once() -> Patience {
    Patience::of_tries(1)
}

/// What the writer was told.
#[derive(Default)]
struct Kept {
    live: BTreeMap<RecordId, (u32, Vec<u8>)>,
    erased: Vec<RecordId>,
}

/// What a reader gives is what lives; nothing that is erased, by a reader of before or a new one.
fn judge(world: &World, reader: &Engine, kept: &Kept, held: &mut [Result<Reader>]) {
    let seed = world.seed;
    for id in &kept.erased {
        let told = reader.info(id);
        assert!(told.is_err(), "seed {seed}: erased, and told of");
        assert!(read(reader, id).is_err(), "seed {seed}: erased, and read");
    }
    for reader in held.iter_mut().flatten() {
        let id = reader.info().id;
        let given = reader.read_some(&mut [0; 100]);
        assert!(
            given.is_err() || !kept.erased.contains(&id),
            "seed {seed}: erased, and read by a reader of before"
        );
    }
    for (id, (_, payload)) in &kept.live {
        match read(reader, id) {
            Ok(there) => assert_eq!(&there, payload, "seed {seed}"),
            // The network; something was erased meanwhile; or it is too new.
            Err(e) => assert!(
                [ErrorKind::Io, ErrorKind::Changed, ErrorKind::Absent, ErrorKind::Erased]
                    .contains(&e.kind()),
                "seed {seed}: {e:?}"
            ),
        }
    }
}

fn history(seed: u64) {
    let (world, mut writer) = World::new(seed);
    let faults = Faults { unread: (seed % 3 * 10) as u8, ..Faults::default() };
    let readers = [world.reader(faults, 2), world.reader(Faults::default(), 1)];
    let mut kept = Kept::default();
    for _ in 0..20 {
        let mut held: Vec<Result<Reader>> = Vec::new();
        for (n, id) in kept.live.keys().enumerate() {
            held.push(readers[n % 2].get(id));
        }
        world.env.advance(world.draw(900));
        world.store_away.store(world.draw(8) == 0, Ordering::Relaxed);
        world.cell_away.store(world.draw(8) == 0, Ordering::Relaxed);
        if world.draw(8) == 0 {
            writer = world.writer();
        }
        let n = world.draw(4) as u32;
        // An erased user may be created again; for a user who lives this fails, which is fine.
        let _ = writer.create_user(&user(n));
        match world.draw(5) {
            0 | 1 => {
                let payload = vec![seed as u8; [5, 900, 90_000][world.draw(3) as usize]];
                let id = put(&writer, n, &payload).unwrap();
                kept.live.insert(id, (n, payload));
            }
            2 => {
                // By its name a record replaces another one, which falls.
                let named = || keyfall::Put::new(user(n), keyfall::Class::audio()).name("the one");
                let (before, payload) = (
                    writer.list(&keyfall::Query::default()).unwrap(),
                    vec![world.draw(256) as u8; 700],
                );
                let id = writer.put(named(), &payload[..]).unwrap();
                let after = writer.list(&keyfall::Query::default()).unwrap();
                for record in &before.records {
                    if after.records.iter().all(|there| there.id != record.id) {
                        kept.live.remove(&record.id);
                        kept.erased.push(record.id);
                    }
                }
                kept.live.insert(id, (n, payload));
            }
            what => {
                let mut erase = Erase::new(Scope::user(user(n)));
                if what == 3 {
                    // It returns before its root key is destroyed.
                    erase = erase.final_within(Duration::from_secs(3600));
                }
                match writer.erase(erase) {
                    Ok(_) => {}
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Absent, "{e}"),
                }
                let (fell, live) =
                    std::mem::take(&mut kept.live).into_iter().partition(|(_, (of, _))| *of == n);
                kept.live = live;
                let fell: BTreeMap<_, _> = fell;
                kept.erased.extend(fell.into_keys());
            }
        }
        for reader in &readers {
            judge(&world, reader, &kept, &mut held);
        }
    }
    // Everything that was acknowledged is seen, once a loan is over.
    world.store_away.store(false, Ordering::Relaxed);
    world.cell_away.store(false, Ordering::Relaxed);
    world.env.advance(LENT.as_millis() as u64 + 1);
    for (id, (_, payload)) in &kept.live {
        assert_eq!(&read(&readers[1], id).unwrap(), payload, "seed {seed}");
    }
    judge(&world, &readers[1], &kept, &mut []);
}

#[test]
fn random_histories_with_readers_give_nothing_that_is_erased() {
    let seeds =
        std::env::var("KEYFALL_READER_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        history(seed);
    }
}

/// A reader whose store or cell is away refuses once its loan is over, and goes on when both are
/// back.
#[test]
fn a_reader_that_cannot_ask_refuses_after_its_loan() {
    for cell in [false, true] {
        let (world, writer) = World::new(7);
        let id = put(&writer, 1, &[7; 90_000]).unwrap();
        let reader = world.reader(Faults::default(), 1);
        assert_eq!(read(&reader, &id).unwrap().len(), 90_000);
        let mut held = reader.get(&id).unwrap();
        let away = if cell { &world.cell_away } else { &world.store_away };
        away.store(true, Ordering::Relaxed);
        assert_eq!(reader.info(&id).unwrap().length, 90_000, "its loan lasts");
        if cell {
            held.read_some(&mut [0; 10]).unwrap();
        }
        world.env.advance(LENT.as_millis() as u64);
        let e = reader.info(&id).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{e}");
        assert_eq!(held.read_some(&mut [0; 10]).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(reader.list(&keyfall::Query::default()).unwrap_err().kind(), ErrorKind::Io);
        away.store(false, Ordering::Relaxed);
        assert_eq!(read(&reader, &id).unwrap().len(), 90_000);
        assert_eq!(held.read_some(&mut [0; 10]).unwrap_err().kind(), ErrorKind::Io, "it ended");
    }
}

/// What is open stays open while others put, and ends when something is erased; a reader neither
/// puts nor erases.
#[test]
fn a_reader_follows_its_writer() {
    let (world, writer) = World::new(8);
    let long = put(&writer, 1, &[7; 90_000]).unwrap();
    let fell = put(&writer, 2, &[8; 90_000]).unwrap();
    let reader = world.reader(Faults::default(), 1);
    let mut held = [reader.get(&long).unwrap(), reader.get(&fell).unwrap()];
    let mut piece = vec![0; 1000];
    held.iter_mut().for_each(|held| assert_eq!(held.read_some(&mut piece).unwrap(), 1000));
    let new = put(&writer, 1, b"new").unwrap();
    assert_eq!(reader.info(&new).unwrap_err().kind(), ErrorKind::Absent, "its state is older");
    world.env.advance(LENT.as_millis() as u64);
    assert_eq!(read(&reader, &new).unwrap(), b"new");
    held.iter_mut().for_each(|held| assert_eq!(held.read_some(&mut piece).unwrap(), 1000));
    writer.erase(Scope::user(user(2))).unwrap();
    for held in &mut held {
        assert_eq!(held.read_some(&mut piece).unwrap_err().kind(), ErrorKind::Changed);
    }
    assert_eq!(reader.info(&fell).unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!(read(&reader, &long).unwrap().len(), 90_000);
    let e = put(&reader, 1, b"x").unwrap_err();
    assert!(e.kind() == ErrorKind::Fenced && e.to_string().contains("read-only"), "{e}");
    let e = reader.erase(Scope::record(long)).unwrap_err();
    assert!(e.kind() == ErrorKind::Fenced && e.to_string().contains("read-only"), "{e}");
    assert_eq!(reader.head(), writer.head());
    writer.erase(Scope::user(user(1))).unwrap();
    assert_eq!(reader.info(&long).unwrap_err().kind(), ErrorKind::Erased);
}

/// An erase returns when every loan is over, whichever way it is asked for; a put waits for none.
#[test]
fn an_erase_waits_for_what_is_lent_and_a_put_does_not() {
    let (world, writer) = World::new(9);
    let took = |act: &mut dyn FnMut()| {
        let began = world.env.monotonic();
        act();
        world.env.monotonic() - began
    };
    let ids: Vec<RecordId> = (0..6).map(|n| put(&writer, n, b"x").unwrap()).collect();
    let lent = |took: Duration| took >= LENT && took < LENT + Duration::from_millis(200);
    assert!(lent(took(&mut || drop(writer.erase(Scope::record(ids[0])).unwrap()))));
    let puts = took(&mut || assert_ne!(put(&writer, 0, b"y").unwrap(), ids[0]));
    assert!(puts < Duration::from_millis(100));
    let two = [Erase::new(Scope::record(ids[1])), Erase::new(Scope::record(ids[2]))];
    assert!(lent(took(&mut || writer.erase_all(&two).into_iter().for_each(|e| drop(e.unwrap())))));
    let named = |content: &'static [u8]| {
        let put = keyfall::Put::new(user(3), keyfall::Class::audio()).name("one");
        took(&mut || assert_ne!(writer.put(put.clone(), content).unwrap(), ids[3]))
    };
    assert!(named(b"first") < Duration::from_millis(100));
    assert!(lent(named(b"second")), "it replaces the first");
    let window = Erase::new(Scope::record(ids[4])).final_within(Duration::from_secs(60));
    assert!(lent(took(&mut || drop(writer.erase(window.clone()).unwrap()))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let engine = AsyncEngine::new(writer.clone());
    let erase = || drop(runtime.block_on(engine.erase(Scope::record(ids[5]))).unwrap());
    assert!(lent(took(&mut || erase())));
    // A successor cannot know what the one before it had published and not waited for.
    let next = world.writer();
    assert!(lent(took(&mut || drop(next.erase(Scope::record(ids[5])).unwrap()))), "already");
}

#[test]
fn a_store_that_lends_nothing_has_no_readers() {
    let place: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let log = || Arc::new(ObjectLog::open_or_create(Arc::clone(&place)).unwrap());
    let engine = Engine::init(log(), cell.clone(), options()).unwrap();
    put(&engine, 1, b"x").unwrap();
    let e = Builder::over(log(), cell).options(options()).open_reader().unwrap_err();
    assert!(e.kind() == ErrorKind::Refused && e.to_string().contains("Builder::lend"), "{e}");
    let init = |store: Arc<dyn Store>, lend| {
        Engine::init(store, Arc::new(MemoryCell::new()), options().lend(lend)).unwrap_err()
    };
    let e = init(Arc::new(MemoryStore::new()), LENT);
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("this machine"), "{e}");
    let fresh = ObjectLog::create(Arc::new(MemoryObjects::new())).unwrap();
    let e = init(Arc::new(fresh), Duration::from_millis(1));
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("100ms"), "{e}");
}

/// The reader that is stopped: it reads the record that it is told of until that is erased, and
/// says when the last read began that gave it something.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let Ok(told) = std::env::var("KEYFALL_READS") else { return };
    let [store, cell, id] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let reader = Builder::at(store).cell_at(cell).open_reader().unwrap();
    let id: RecordId = id.parse().unwrap();
    let (mut last, mut piece) = (Duration::ZERO, vec![0; 20_000]);
    loop {
        let ended = reader.get(&id).and_then(|mut reader| {
            loop {
                let began = System.monotonic();
                if reader.read_some(&mut piece)? == 0 {
                    return Ok(());
                }
                if last.is_zero() {
                    println!("\n@reads");
                }
                last = began;
            }
        });
        match ended.map_err(|e| e.kind()) {
            Ok(()) | Err(ErrorKind::Changed) => {}
            Err(kind) => {
                println!("\n@ended {} {kind:?}", last.as_nanos());
                return;
            }
        }
    }
}

struct Reading {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Reading {
    fn start(store: &str, cell: &Path, id: &RecordId) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["readers::child", "--exact", "--ignored", "--nocapture"])
            .env("KEYFALL_READS", format!("{store}|{}|{id}", cell.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reading = Reading { child, lines };
        assert_eq!(reading.hears(), "reads");
        reading
    }

    fn hears(&mut self) -> String {
        let told = self.lines.by_ref().map(std::result::Result::unwrap);
        told.into_iter().find_map(|line| Some(line.strip_prefix('@')?.to_owned())).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_reader_that_was_stopped_delivers_nothing_that_is_erased() {
    let rounds = std::env::var("KEYFALL_READERS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file://{}", dir.path().join("log").display());
    let _keyholders = made(dir.path(), None, &store, &["--lend", "1s"]);
    let (here, there) = (dir.path().join("cell"), dir.path().join("cell there"));
    bring(&here, &there);
    let writer = Builder::at(&store).cell_at(&here).keeper(Keeper::ByHand).open().unwrap();
    let mut closest = Duration::MAX;
    for round in 0..rounds {
        let id = put(&writer, 1, &[round as u8; 300_000]).unwrap();
        let mut reading = Reading::start(&store, &there, &id);
        std::thread::sleep(Duration::from_millis(round * 37 % 900));
        // In every other round it is not stopped, and sees by itself what was erased.
        if round % 2 == 0 {
            reading.signal("-STOP");
        }
        writer.erase(Scope::record(id)).unwrap();
        let returned = System.monotonic();
        reading.signal("-CONT");
        let ended = reading.hears();
        let [_, last, kind] = ended.split(' ').collect::<Vec<_>>()[..] else { panic!("{ended}") };
        let last = Duration::from_nanos(last.parse().unwrap());
        assert!(last < returned, "round {round}: it read {:?} too late", last - returned);
        assert_eq!(kind, "Erased", "round {round}");
        closest = closest.min(returned - last);
    }
    let mut all = Vec::new();
    let kept = put(&writer, 2, b"kept").unwrap();
    let reader = Builder::at(&store).cell_at(&there).open_reader().unwrap();
    reader.get(&kept).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all, b"kept");
    println!("{rounds} rounds; no read that gave something began later than {closest:?} before");
}
