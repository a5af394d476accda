//! The cleaner of an object log beside those that look: an engine that borrows no key finds what
//! died for a while, one that borrows is waited for, and a kill loses nothing.
//!
//! `KEYFALL_CLEANED=20` for more rounds of kills, each some two seconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::env::SharedEnv;
use keyfall::store::ObjectLog;
use keyfall::testing::{Seeded, clean_all};
use keyfall::{Builder, Engine, ErrorKind, Options, RecordId, Scope};
use keyfall_objects::cloud::CloudObjects;
use keyfall_objects::{MemoryObjects, Objects, Patience};

use crate::engines::{options, put, read, user};
use crate::far::rounds;

const GRACE: Duration = Duration::from_secs(30);

fn payload(n: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 11) as u8 ^ n as u8).collect()
}

/// A writer and a clock that nobody waits for.
struct World {
    place: Arc<MemoryObjects>,
    env: Arc<Seeded>,
    cell: Arc<dyn RootCell>,
    writer: Engine,
}

impl World {
    fn new(grace: Option<Duration>, lend: Option<Duration>) -> Self {
        let (place, env) = (Arc::new(MemoryObjects::new()), Arc::new(Seeded::new(5)));
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let shared: SharedEnv = env.clone();
        let log = ObjectLog::create_with(place.clone(), shared, Patience::of_tries(1)).unwrap();
        let log = match grace {
            Some(grace) => log.grace(grace),
            // As it is by default.
            None => log,
        };
        let mut options = options().env(env.clone());
        options.lend = lend;
        let writer = Engine::init(Arc::new(log), cell.clone(), options).unwrap();
        World { place, env, cell, writer }
    }

    /// An engine that only looks, and keeps nothing in memory.
    fn looker(&self) -> Engine {
        let log = ObjectLog::look_with(self.place.clone(), self.env.clone(), Patience::of_tries(1));
        let options = options().env(self.env.clone()).cache_bytes(1 << 10);
        let builder = Builder::over(Arc::new(log.unwrap()), self.cell.clone()).options(options);
        builder.read_only().open().unwrap()
    }

    fn held(&self) -> usize {
        self.place.names().len()
    }
}

/// What died is there for those that look, for half a minute and not for longer.
#[test]
fn who_only_looks_finds_what_died_for_a_while() {
    for grace in [None, Some(Duration::ZERO)] {
        let world = World::new(grace, None);
        let writer = &world.writer;
        let ids: Vec<RecordId> =
            (0..40).map(|n| put(writer, n, &payload(n, 400)).unwrap()).collect();
        // What one has read it keeps: each looks once.
        let mut lookers: Vec<Engine> = (0..4).map(|_| world.looker()).collect();
        let mut looks = || {
            let looker = lookers.pop().unwrap();
            let told = ids.iter().zip(0..).filter(|(id, n)| match read(&looker, id) {
                Ok(there) => there != payload(*n, 400),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
                    true
                }
            });
            told.count()
        };
        assert_eq!(looks(), 0, "records that it does not find");
        // Each replaces the pages on its way. (After an erase who looks asks the cell, and fails.)
        for n in 0..1500 {
            put(writer, n % 40, &payload(n, 400)).unwrap();
        }
        let before = world.held();
        let cleaned = clean_all(writer).unwrap();
        assert!(cleaned.swept, "{cleaned:?}");
        if grace.is_some() {
            // So it is without a grace.
            assert!(cleaned.freed > 4 << 20 && looks() > 0, "{cleaned:?}");
            continue;
        }
        assert_eq!(cleaned.freed, 0, "{cleaned:?}");
        assert!(world.held() >= before && looks() == 0);
        world.env.advance(GRACE.as_millis() as u64 - 1000);
        assert_eq!(writer.clean().unwrap().freed, 0);
        assert_eq!(looks(), 0, "half a minute is not over");
        world.env.advance(2000);
        let cleaned = writer.clean().unwrap();
        assert!(cleaned.freed > 4 << 20 && world.held() < before, "{cleaned:?}");
        assert!(looks() > 0, "it is to be opened again");
        let looker = world.looker();
        for (id, n) in ids.iter().zip(0..) {
            assert_eq!(read(&looker, id).unwrap(), payload(n, 400));
        }
        assert!(writer.audit(&[], &mut |_| {}).unwrap().is_clean());
    }
}

/// Without any grace one that borrows finds its pages as long as its loan lasts, and goes on.
#[test]
fn what_died_goes_when_loans_are_over() {
    let world = World::new(Some(Duration::ZERO), Some(Duration::from_secs(60)));
    let writer = &world.writer;
    let ids: Vec<RecordId> = (0..40).map(|n| put(writer, n, &payload(n, 400)).unwrap()).collect();
    let log = ObjectLog::look_with(world.place.clone(), world.env.clone(), Patience::of_tries(1));
    let options = options().env(world.env.clone()).cache_bytes(1 << 10);
    let builder = Builder::over(Arc::new(log.unwrap()), world.cell.clone()).options(options);
    let reader = builder.open_reader().unwrap();
    for n in 0..1500 {
        put(writer, n % 40, &payload(n, 400)).unwrap();
    }
    let cleaned = clean_all(writer).unwrap();
    assert!(cleaned.freed > 4 << 20, "{cleaned:?}");
    for (id, n) in ids.iter().zip(0..) {
        assert_eq!(read(&reader, id).unwrap(), payload(n, 400));
    }
}

/// A discard waits for nobody: it is told to leave nothing.
#[test]
fn a_discard_has_no_grace() {
    let world = World::new(None, None);
    for n in 0..20 {
        put(&world.writer, n, &payload(n, 60_000)).unwrap();
        world.writer.erase(Scope::user(user(n))).unwrap();
    }
    let done = world.writer.discard(&mut |_| {}).unwrap();
    assert!(done.bytes_gone > 20 * 60_000 && done.bytes_left < 10_000, "{done:?}");
}

/// Readers on other machines are waited for: without any grace they find all that lives.
#[test]
fn the_cleaner_waits_for_readers_that_borrow() {
    let lent = Duration::from_millis(200);
    let place: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let log = ObjectLog::create(place.clone()).unwrap().grace(Duration::ZERO);
    let writer = Engine::init(Arc::new(log), cell.clone(), Options::new().lend(lent)).unwrap();
    let live: Vec<RecordId> =
        (0..40).map(|n| put(&writer, n, &payload(n, 3000)).unwrap()).collect();
    let over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let log = Arc::new(ObjectLog::look(place.clone()).unwrap());
            let options = options().cache_bytes(1 << 10);
            let reader = Builder::over(log, cell.clone()).options(options).open_reader().unwrap();
            let mut reads = 0;
            while !over.load(Ordering::Relaxed) {
                for (id, n) in live.iter().zip(0..) {
                    match read(&reader, id) {
                        Ok(there) => assert_eq!(there, payload(n, 3000)),
                        // Something else was erased.
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Changed, "{e}"),
                    }
                    reads += 1;
                }
            }
            reads
        });
        let began = Instant::now();
        let mut n = 0;
        while writer.status().unwrap().cleaned.freed < 12 << 20
            && began.elapsed() < Duration::from_secs(100)
            && !reading.is_finished()
        {
            for _ in 0..20 {
                // Each replaces the pages on the way.
                put(&writer, n % 40, &payload(n, 3000)).unwrap();
                n += 1;
            }
            if n % 200 == 0 {
                writer.erase(Scope::record(put(&writer, 99, b"x").unwrap())).unwrap();
            }
        }
        over.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    let status = writer.status().unwrap();
    println!("{:?}, {reads} reads", status.cleaned);
    assert!(status.cleaned.freed >= 12 << 20 && reads > 400, "{:?}", status.cleaned);
    assert_eq!(status.cleaner, None);
}

fn over_a_directory(url: &str, cell: &Path) -> Builder {
    let objects = Arc::new(CloudObjects::at(url).unwrap());
    let log = ObjectLog::open_or_create(objects).unwrap().grace(Duration::ZERO);
    let none = Arc::new(MemoryCell::new());
    Builder::over(Arc::new(log), none).cell_at(cell).options(options()).single_machine()
}

/// The engine that is killed: it says what it was told, and cleans all the while.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let Ok(told) = std::env::var("KEYFALL_CLEANS") else { return };
    let [url, cell, from] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let engine = over_a_directory(url, Path::new(cell)).open().unwrap();
    let from: u32 = from.parse().unwrap();
    let cleaning = engine.clone();
    std::thread::spawn(move || {
        loop {
            let cleaned = clean_all(&cleaning).unwrap();
            assert_eq!(cleaned.stuck, None);
            println!("\n@freed {} {}", cleaned.freed, cleaned.moved);
        }
    });
    let mut mine = Vec::new();
    for n in from.. {
        let id = put(&engine, n % 9, &payload(n, 20_000)).unwrap();
        println!("\n@put {id} {n}");
        mine.push(id);
        if n % 3 != 0 {
            let id = mine.remove(n as usize % mine.len());
            println!("\n@erase {id} 0");
            engine.erase(Scope::record(id)).unwrap();
            println!("\n@erased {id} 0");
        }
    }
}

/// What an engine was told before it was killed.
#[derive(Default)]
struct Told {
    live: BTreeMap<RecordId, u32>,
    perhaps: BTreeMap<RecordId, u32>,
    erased: Vec<RecordId>,
    freed: u64,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let [what, id, n] = line.split(' ').collect::<Vec<_>>()[..] else { return };
        if what == "freed" {
            self.freed += id.parse::<u64>().unwrap();
            return;
        }
        // A line that the kill cut off.
        let (Ok(id), Ok(n)) = (id.parse(), n.parse()) else { return };
        match what {
            "put" => drop(self.live.insert(id, n)),
            "erase" => drop(self.live.remove(&id).map(|n| self.perhaps.insert(id, n))),
            _ => {
                self.perhaps.remove(&id);
                self.erased.push(id);
            }
        }
    }

    fn judge(&self, engine: &Engine) {
        for (id, n) in &self.live {
            assert_eq!(read(engine, id).unwrap(), payload(*n, 20_000), "record {n}");
        }
        for id in &self.erased {
            assert_eq!(read(engine, id).unwrap_err().kind(), ErrorKind::Erased);
        }
        for (id, n) in &self.perhaps {
            match read(engine, id) {
                Ok(there) => assert_eq!(there, payload(*n, 20_000)),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Erased, "{e}"),
            }
        }
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    }
}

#[test]
fn a_kill_under_the_cleaner_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (url, cell) =
        (format!("file://{}", dir.path().join("log").display()), dir.path().join("cell"));
    over_a_directory(&url, &cell).accept_remnants().create().unwrap().close().unwrap();
    let (mut told, mut from) = (Told::default(), 0);
    for round in 0..rounds("KEYFALL_CLEANED", 4) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["grace::child", "--exact", "--ignored", "--nocapture"])
            .env("KEYFALL_CLEANS", format!("{url}|{}|{from}", cell.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = told.live.len() + 60 + (round * 37 % 50) as usize;
        let freed = told.freed;
        while told.live.len() < enough || told.freed == freed {
            let line = lines.next().expect("it goes on until it is killed").unwrap();
            line.strip_prefix('@').into_iter().for_each(|line| told.hear(line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            line.strip_prefix('@').into_iter().for_each(|line| told.hear(line));
        }
        from = told.live.values().max().unwrap() + 1000;
        let engine = over_a_directory(&url, &cell).open().unwrap();
        told.judge(&engine);
        engine.close().unwrap();
    }
    let (live, erased) = (told.live.len(), told.erased.len());
    println!("{live} live, {erased} erased, {} bytes freed", told.freed);
    assert!(told.freed > 8 << 20, "the cleaner was at work");
}
