//! Stores that are filled, and the latency of their erases.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, make_cell};
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Scope, UserId};

use crate::args::BenchArgs;
use crate::bench::counted::{Count, CountedCell, CountedStore, Counters};
use crate::shell::cells::env;
use crate::shell::print::progress;

/// Records in one commit while a store is filled.
const FILL: u64 = 20_000;
/// The same for a large store: about 1 GB of memory.
const FILL_MAX: u64 = 500_000;
const ACTION: [u8; 200] = [7; 200];

/// Measures what the arguments ask for, in a directory of its own for each store.
pub(super) fn measure(args: &BenchArgs, dir: &Path) -> Result<Vec<Row>, Error> {
    let (rounds, mut rows, mut number) = (args.rounds, Vec::new(), 0);
    let mut bench = |keyholders, copies| {
        number += 1;
        Bench::new(&dir.join(number.to_string()), keyholders, copies)
    };
    for &users in &args.users.0 {
        let mut bench = bench(0, 0)?;
        bench.fill("u", users, 1)?;
        let rounds = Rounds { rounds: rounds.min(users), per: 1 };
        rows.push(bench.erase(Point { series: "users", x: users }, rounds)?);
    }
    let others = args.users.0.iter().copied().min().unwrap_or(1000);
    for &records in &args.records.0 {
        let mut bench = bench(0, 0)?;
        bench.fill("other-", others, 1)?;
        let rounds = rounds.min((1_000_000 / records.max(1)).max(5));
        bench.fill("u", rounds, records)?;
        let point = Point { series: "records of the user", x: records };
        rows.push(bench.erase(point, Rounds { rounds, per: 1 })?);
    }
    for &batch in &args.batch.0 {
        let mut bench = bench(0, 0)?;
        let rounds = rounds.min((100_000 / batch.max(1)).max(5));
        bench.fill("u", (rounds * batch).max(others), 1)?;
        let point = Point { series: "users at once", x: batch };
        rows.push(bench.erase(point, Rounds { rounds, per: batch })?);
    }
    for &callers in &args.callers.0 {
        let mut bench = bench(0, 0)?;
        let users = 20_000 * args.seconds.max(1);
        bench.fill("mixed-", users, 1)?;
        rows.push(bench.mixed(callers, users, Duration::from_secs(args.seconds))?);
    }
    let rounds = Rounds { rounds: rounds.min(others), per: 1 };
    for &copies in &args.copies.0 {
        let mut bench = bench(0, copies as usize)?;
        bench.fill("u", others, 1)?;
        rows.push(bench.erase(Point { series: "copies in step", x: copies }, rounds)?);
    }
    for &keyholders in &args.keyholders.0 {
        let mut bench = bench(keyholders as usize, 0)?;
        bench.fill("u", others, 1)?;
        rows.push(bench.erase(Point { series: "keyholders", x: keyholders }, rounds)?);
    }
    Ok(rows)
}

/// Latencies of one kind of operation.
#[derive(Default)]
pub(super) struct Samples(pub(super) Vec<Duration>);

impl Samples {
    /// The sample below which a part of them lies: 0.5 is the median.
    pub(super) fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (last as f64 * part).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// What varies in a series of measurements, and its value.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) series: &'static str,
    pub(super) x: u64,
}

/// One measured point of a series: latencies, and what they are compared with.
pub(super) struct Row {
    pub(super) point: Point,
    pub(super) took: Samples,
    /// How many erases one sample stands for.
    pub(super) per: u64,
    pub(super) floor: Samples,
    pub(super) count: Count,
    /// Puts a second, at the same time.
    pub(super) puts: Option<f64>,
    /// Erases a second, if many callers erased at the same time.
    pub(super) rate: Option<f64>,
}

/// The floor of the disk.
struct Floor {
    log: File,
    slot: File,
    at: u64,
}

impl Floor {
    fn new(dir: &Path) -> Result<Self, Error> {
        let make =
            |name| File::create(dir.join(name)).map_err(|e| Error::io(dir.join(name).display(), e));
        Ok(Floor { log: make("floor-log")?, slot: make("floor-slot")?, at: 0 })
    }

    fn two_writes(&mut self) -> Result<Duration, Error> {
        let io = |e| Error::io("the floor of the disk", e);
        let began = Instant::now();
        self.log
            .write_all_at(&[9; 4096], self.at)
            .and_then(|()| self.log.sync_data())
            .map_err(io)?;
        self.slot.write_all_at(&[9; 512], 0).and_then(|()| self.slot.sync_data()).map_err(io)?;
        self.at += 4096;
        Ok(began.elapsed())
    }
}

/// How many erases are measured.
#[derive(Clone, Copy)]
struct Rounds {
    rounds: u64,
    /// Users erased in each round.
    per: u64,
}

/// A store that is measured.
struct Bench {
    dir: PathBuf,
    engine: Engine,
    counters: Arc<Counters>,
    floor: Floor,
}

/// Starts a keyholder in a thread of this process, reached over a real channel.
fn keyholder(dir: &Path, engine: &EngineKey) -> Result<Member, Error> {
    let env: SharedEnv = Arc::new(System);
    let made = KeyholderDir::create(dir, true, &System)?;
    KeyholderDir::allow(dir, engine.id(), None)?;
    let key = made.id().to_string();
    let server = Server::bind(made, "127.0.0.1:0", env)?;
    let address = server.address()?.to_string();
    // The thread ends with the process.
    thread::spawn(move || server.run(&|_| {}));
    Ok(Member { key, address })
}

impl Bench {
    fn new(dir: &Path, keyholders: usize, copies: usize) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), e))?;
        let counters = Arc::new(Counters::default());
        let store = CountedStore {
            store: SledStore::create(&dir.join("store"))?,
            counters: Arc::clone(&counters),
        };
        let cell: Box<dyn RootCell> = if keyholders == 0 {
            Box::new(FileCell::create(&dir.join("cell"), true, Arc::new(System))?)
        } else {
            let key = EngineKey::in_dir(&dir.join("cell"), &System)?;
            let members =
                (0..keyholders).map(|n| keyholder(&dir.join(format!("keyholder-{n}")), &key));
            let threshold = u8::try_from(keyholders / 2 + 1).unwrap_or(u8::MAX);
            Box::new(make_cell(
                &dir.join("cell"),
                members.collect::<Result<_, _>>()?,
                (threshold, 1),
                &env(),
            )?)
        };
        let cell = CountedCell { cell, counters: Arc::clone(&counters), ready: Mutex::default() };
        let options = Options::new().keeper(Keeper::ByHand);
        let engine = Engine::init(Arc::new(store), Arc::new(cell), options)?;
        for n in 0..copies {
            engine.copies().add(
                &dir.join(format!("copy-{n}")).display().to_string(),
                CopyMode::InStep,
                &mut |_| {},
            )?;
        }
        Ok(Bench { floor: Floor::new(dir)?, dir: dir.to_owned(), engine, counters })
    }

    /// Puts `records` actions for each of these users.
    fn fill(&self, prefix: &str, users: u64, records: u64) -> Result<(), Error> {
        let bar = progress("filling", Some(users * records));
        let mut batch = self.engine.batch();
        // Large stores in few commits: each rewrites most of the user tree.
        let fill = (users * records / 20).clamp(FILL, FILL_MAX);
        for n in 0..users {
            let interaction = self.engine.new_interaction()?;
            for _ in 0..records {
                let user = UserId::new(format!("{prefix}{n}"))?;
                batch.add(Put::new(user, Class::action()).interaction(interaction), &ACTION[..])?;
                if batch.len() as u64 == fill {
                    batch.commit()?;
                    batch = self.engine.batch();
                    bar.inc(fill);
                }
            }
        }
        batch.commit()?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Erases users `u0`, `u1` ... in batches, each beside the floor.
    fn erase(&mut self, point: Point, rounds: Rounds) -> Result<Row, Error> {
        let Rounds { rounds, per } = rounds;
        let (mut took, mut floor) = (Samples::default(), Samples::default());
        let before = self.counters.read();
        for round in 0..rounds {
            let scopes = (round * per..(round + 1) * per)
                .map(|n| Ok(Scope::user(UserId::new(format!("u{n}"))?)));
            let scopes: Vec<Scope> = scopes.collect::<Result<_, Error>>()?;
            let began = Instant::now();
            for outcome in self.engine.erase_all(&scopes) {
                outcome?;
            }
            took.0.push(began.elapsed());
            floor.0.push(self.floor.two_writes()?);
        }
        let count = self.counters.read().since(before).each(rounds * per, rounds);
        Ok(Row { point, took, per, floor, count, puts: None, rate: None })
    }

    /// Has `callers` threads erase users one after another for so long, and as many put actions for
    /// other users.
    fn mixed(&mut self, callers: u64, users: u64, time: Duration) -> Result<Row, Error> {
        let before = self.counters.read();
        let load = Load::new(&self.engine);
        let took = load.run(callers, users, time)?;
        let seconds = load.began.elapsed().as_secs_f64();
        let count = self.counters.read().since(before).each(took.0.len() as u64, 1);
        let mut floor = Samples::default();
        for _ in 0..20 {
            floor.0.push(self.floor.two_writes()?);
        }
        let rate = Some(took.0.len() as f64 / seconds);
        let puts = Some(load.puts.into_inner() as f64 / seconds);
        let point = Point { series: "callers, with puts beside", x: callers };
        Ok(Row { point, took, per: 1, floor, count, puts, rate })
    }
}

/// Threads that erase and threads that put, at the same time.
struct Load<'e> {
    engine: &'e Engine,
    began: Instant,
    /// The next user to be erased.
    next: AtomicU64,
    /// Puts that were done.
    puts: AtomicU64,
    /// Whether the threads that put are to end.
    stop: AtomicBool,
}

impl<'e> Load<'e> {
    fn new(engine: &'e Engine) -> Self {
        let (next, puts, stop) = Default::default();
        Load { engine, began: Instant::now(), next, puts, stop }
    }

    /// Runs until there are no more users or the time is over; returns how long each erase took.
    fn run(&self, callers: u64, users: u64, time: Duration) -> Result<Samples, Error> {
        let panicked = || Error::new(ErrorKind::Io, "a thread of the benchmark panicked");
        thread::scope(|scope| {
            let erasing = (0..callers).map(|_| scope.spawn(|| self.erase(users, time)));
            let erasing: Vec<_> = erasing.collect();
            let putting = (0..callers).map(|caller| scope.spawn(move || self.put(caller)));
            let putting: Vec<_> = putting.collect();
            let mut took = Ok(Samples::default());
            for thread in erasing {
                let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
                took = took.and_then(|mut all: Samples| {
                    all.0.append(&mut ended?);
                    Ok(all)
                });
            }
            self.stop.store(true, Ordering::Relaxed);
            for thread in putting {
                let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
                took = took.and_then(|all| ended.map(|()| all));
            }
            took
        })
    }

    fn erase(&self, users: u64, time: Duration) -> Result<Vec<Duration>, Error> {
        let mut took = Vec::new();
        while self.began.elapsed() < time {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= users {
                break;
            }
            let one = Instant::now();
            self.engine.erase(Scope::user(UserId::new(format!("mixed-{n}"))?))?;
            took.push(one.elapsed());
        }
        Ok(took)
    }

    fn put(&self, caller: u64) -> Result<(), Error> {
        while !self.stop.load(Ordering::Relaxed) {
            let user = UserId::new(format!("putting-{caller}"))?;
            self.engine.put(Put::new(user, Class::action()), &ACTION[..])?;
            self.puts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
