//! `keyfall bench`: erase latency on the disk in question, beside that disk's own floor: a write of 4 KiB and `fdatasync`, then one
//! of 512 bytes and `fdatasync`, which is what an erase cannot do without. Rounds are interleaved with the floor; medians are compared.

pub(crate) mod chart;
mod counted;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chart::{Point, Series, draw};
use counted::{Count, CountedCell, CountedStore, Counters};
use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, make_cell};
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Scope, UserId};
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::commands::Done;
use crate::guarded;
use crate::outfile::{OutFile, Replace};
use crate::output::{block, line, progress, table, value};

/// Records put in one commit where a store is filled.
const FILL: u64 = 20_000;
/// The same for a large store: some 1 GB of memory.
const FILL_MAX: u64 = 500_000;
const ACTION: [u8; 200] = [7; 200];

/// Latencies of one kind of operation.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (last as f64 * part).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// One measurement.
struct Row {
    /// What varies, and its value.
    series: String,
    x: u64,
    took: Samples,
    /// How many erases one sample is.
    per: u64,
    floor: Samples,
    count: Count,
    /// Puts beside it, a second.
    puts: Option<f64>,
    /// Erases a second, where many callers erased at once.
    rate: Option<f64>,
}

/// The floor of the disk.
struct Floor {
    log: File,
    slot: File,
    at: u64,
}

impl Floor {
    fn new(dir: &Path) -> Result<Self, Error> {
        let make = |name| File::create(dir.join(name)).map_err(|e| Error::io(dir.join(name).display(), e));
        Ok(Floor { log: make("floor-log")?, slot: make("floor-slot")?, at: 0 })
    }

    fn two_writes(&mut self) -> Result<Duration, Error> {
        let io = |e| Error::io("the floor of the disk", e);
        let began = Instant::now();
        self.log.write_all_at(&[9; 4096], self.at).and_then(|()| self.log.sync_data()).map_err(io)?;
        self.slot.write_all_at(&[9; 512], 0).and_then(|()| self.slot.sync_data()).map_err(io)?;
        self.at += 4096;
        Ok(began.elapsed())
    }
}

/// A store that is measured.
struct Bench {
    dir: PathBuf,
    engine: Engine,
    counters: Arc<Counters>,
    floor: Floor,
}

/// A keyholder in a thread of this process, behind a real channel.
fn keyholder(dir: &Path, engine: &EngineKey) -> Result<Member, Error> {
    let env: SharedEnv = Arc::new(System);
    let made = KeyholderDir::create(dir, true, &System)?;
    KeyholderDir::allow(dir, engine.id(), None)?;
    let key = made.id().to_string();
    let server = Server::bind(made, "127.0.0.1:0", env)?;
    let address = server.address()?.to_string();
    // It ends with the process.
    std::thread::spawn(move || server.run(&|_| {}));
    Ok(Member { key, address })
}

impl Bench {
    fn new(dir: &Path, keyholders: usize, copies: usize) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), e))?;
        let counters = Arc::new(Counters::default());
        let store = CountedStore { store: SledStore::create(&dir.join("store"))?, counters: Arc::clone(&counters) };
        let cell: Box<dyn RootCell> = if keyholders == 0 {
            Box::new(FileCell::create(&dir.join("cell"), true, Arc::new(System))?)
        } else {
            let key = EngineKey::in_dir(&dir.join("cell"), &System)?;
            let members = (0..keyholders).map(|n| keyholder(&dir.join(format!("keyholder-{n}")), &key));
            let threshold = u8::try_from(keyholders / 2 + 1).unwrap_or(u8::MAX);
            Box::new(make_cell(
                &dir.join("cell"),
                members.collect::<Result<_, _>>()?,
                (threshold, 1),
                &crate::keyholders::env(),
            )?)
        };
        let cell = CountedCell { cell, counters: Arc::clone(&counters), ready: Mutex::default() };
        let options = Options::new().keeper(Keeper::ByHand);
        let engine = Engine::init(Arc::new(store), Arc::new(cell), options)?;
        for n in 0..copies {
            engine.copies().add(&dir.join(format!("copy-{n}")).display().to_string(), CopyMode::InStep, &mut |_| {})?;
        }
        Ok(Bench { floor: Floor::new(dir)?, dir: dir.to_owned(), engine, counters })
    }

    /// Puts `records` actions for each of these users.
    fn fill(&self, prefix: &str, users: u64, records: u64) -> Result<(), Error> {
        let bar = progress("filling", Some(users * records));
        let mut batch = self.engine.batch();
        // Large stores in few commits: each writes most of the user tree anew.
        let fill = (users * records / 20).clamp(FILL, FILL_MAX);
        for n in 0..users {
            let interaction = self.engine.new_interaction()?;
            for _ in 0..records {
                batch.add(
                    Put::new(UserId::new(format!("{prefix}{n}"))?, Class::action()).interaction(interaction),
                    &ACTION[..],
                )?;
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

    /// Erases users `prefix0`, `prefix1` ... in batches of `per`, each beside the floor.
    fn erase(&mut self, (series, x): (&str, u64), prefix: &str, (rounds, per): (u64, u64)) -> Result<Row, Error> {
        let (mut took, mut floor) = (Samples::default(), Samples::default());
        let before = self.counters.read();
        for round in 0..rounds {
            let scopes =
                (round * per..(round + 1) * per).map(|n| Ok(Scope::user(UserId::new(format!("{prefix}{n}"))?)));
            let scopes: Vec<Scope> = scopes.collect::<Result<_, Error>>()?;
            let began = Instant::now();
            for outcome in self.engine.erase_all(&scopes) {
                outcome?;
            }
            took.0.push(began.elapsed());
            floor.0.push(self.floor.two_writes()?);
        }
        let count = self.counters.read().since(before).each(rounds * per, rounds);
        Ok(Row { series: series.to_owned(), x, took, per, floor, count, puts: None, rate: None })
    }

    /// `callers` threads erase users one after another, and as many put actions for others, for so long.
    fn mixed(&mut self, callers: u64, users: u64, time: Duration) -> Result<Row, Error> {
        let (next, puts, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let engine = &self.engine;
        let began = Instant::now();
        let before = self.counters.read();
        let all: Vec<Result<Vec<Duration>, Error>> = std::thread::scope(|scope| {
            let erasing: Vec<_> = (0..callers)
                .map(|_| {
                    scope.spawn(|| {
                        let mut took = Vec::new();
                        while began.elapsed() < time {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if n >= users {
                                break;
                            }
                            let one = Instant::now();
                            engine.erase(Scope::user(UserId::new(format!("mixed-{n}"))?))?;
                            took.push(one.elapsed());
                        }
                        Ok(took)
                    })
                })
                .collect();
            let (puts, stop) = (&puts, &stop);
            let putting: Vec<_> = (0..callers)
                .map(|caller| {
                    scope.spawn(move || -> Result<(), Error> {
                        while !stop.load(Ordering::Relaxed) {
                            engine.put(
                                Put::new(UserId::new(format!("putting-{caller}"))?, Class::action()),
                                &ACTION[..],
                            )?;
                            puts.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let failed = || Err(Error::new(ErrorKind::Io, "a thread of the benchmark panicked"));
            let mut all: Vec<Result<Vec<Duration>, Error>> =
                erasing.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect();
            stop.store(true, Ordering::Relaxed);
            for thread in putting {
                let ended = thread.join().unwrap_or_else(|_| failed().map(|_: Vec<Duration>| ()));
                all.push(ended.map(|()| Vec::new()));
            }
            all
        });
        let seconds = began.elapsed().as_secs_f64();
        let mut took = Samples::default();
        for one in all {
            took.0.append(&mut one?);
        }
        let count = self.counters.read().since(before).each(took.0.len() as u64, 1);
        let mut floor = Samples::default();
        for _ in 0..20 {
            floor.0.push(self.floor.two_writes()?);
        }
        let rate = Some(took.0.len() as f64 / seconds);
        let puts = Some(puts.into_inner() as f64 / seconds);
        Ok(Row { series: "callers, with puts beside".to_owned(), x: callers, took, per: 1, floor, count, puts, rate })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Where it happens; it goes when the benchmark ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure(args: &BenchArgs, dir: &Path, rows: &mut Vec<Row>) -> Result<(), Error> {
    let rounds = args.rounds;
    let mut number = 0;
    let mut bench = |keyholders, copies| {
        number += 1;
        Bench::new(&dir.join(number.to_string()), keyholders, copies)
    };
    for &users in &args.users.0 {
        let mut bench = bench(0, 0)?;
        let rounds = rounds.min(users);
        bench.fill("u", users, 1)?;
        rows.push(bench.erase(("users", users), "u", (rounds, 1))?);
    }
    let others = args.users.0.iter().copied().min().unwrap_or(1000);
    for &records in &args.records.0 {
        let mut bench = bench(0, 0)?;
        bench.fill("other-", others, 1)?;
        let rounds = rounds.min((1_000_000 / records.max(1)).max(5));
        bench.fill("u", rounds, records)?;
        rows.push(bench.erase(("records of the user", records), "u", (rounds, 1))?);
    }
    for &batch in &args.batch.0 {
        let mut bench = bench(0, 0)?;
        let rounds = rounds.min((100_000 / batch.max(1)).max(5));
        bench.fill("u", (rounds * batch).max(others), 1)?;
        rows.push(bench.erase(("users at once", batch), "u", (rounds, batch))?);
    }
    for &callers in &args.callers.0 {
        let mut bench = bench(0, 0)?;
        let users = 20_000 * args.seconds.max(1);
        bench.fill("mixed-", users, 1)?;
        rows.push(bench.mixed(callers, users, Duration::from_secs(args.seconds))?);
    }
    for &copies in &args.copies.0 {
        let mut bench = bench(0, copies as usize)?;
        bench.fill("u", others, 1)?;
        rows.push(bench.erase(("copies in step", copies), "u", (rounds.min(others), 1))?);
    }
    for &keyholders in &args.keyholders.0 {
        let mut bench = bench(keyholders as usize, 0)?;
        bench.fill("u", others, 1)?;
        rows.push(bench.erase(("keyholders", keyholders), "u", (rounds.min(others), 1))?);
    }
    Ok(())
}

fn ratio(row: &Row) -> f64 {
    row.took.at(0.5).as_secs_f64() / row.floor.at(0.5).as_secs_f64()
}

fn micros(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e7).round() / 10.0
}

fn shown(row: &Row) -> Vec<String> {
    let d = |part| format!("{:.1?}", row.took.at(part));
    vec![
        row.series.clone(),
        row.x.to_string(),
        d(0.5),
        d(0.99),
        d(0.999),
        row.rate.map_or_else(
            || format!("{:.1?}", row.took.at(0.5) / u32::try_from(row.per).unwrap_or(1)),
            |rate| format!("{rate:.0}/s"),
        ),
        format!("{:.2}x", ratio(row)),
        row.count.written.to_string(),
        row.count.syncs.to_string(),
        row.count.sealed.to_string(),
        row.puts.map_or(String::new(), |puts| format!("{puts:.0}/s")),
        row.took.0.len().to_string(),
    ]
}

fn as_json(row: &Row) -> Value {
    json!({
        "series": row.series, "x": row.x, "samples": row.took.0.len(), "erases_per_sample": row.per,
        "p50_us": micros(row.took.at(0.5)), "p99_us": micros(row.took.at(0.99)), "p999_us": micros(row.took.at(0.999)),
        "floor_us": micros(row.floor.at(0.5)), "ratio": ratio(row), "erases_per_second": row.rate, "puts_per_second": row.puts,
        "bytes_written_per_erase": row.count.written, "durable_writes": row.count.syncs,
        "bytes_sealed_per_erase": row.count.sealed, "bytes_read_per_erase": row.count.opened,
    })
}

fn plot(rows: &[Row]) -> String {
    let mut series: Vec<Series> = Vec::new();
    for row in rows.iter().filter(|row| row.rate.is_none()) {
        let at = series.iter().position(|s| s.name == row.series).unwrap_or_else(|| {
            series.push(Series { name: row.series.clone(), points: Vec::new() });
            series.len() - 1
        });
        let [y, low, high] = [0.5, 0.1, 0.99].map(|q| row.took.at(q).as_secs_f64());
        series[at].points.push(Point { x: row.x.max(1) as f64, y, spread: (low, high) });
    }
    let xs = || series.iter().flat_map(|s| s.points.iter().map(|p| p.x));
    let (low, high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(1.0, f64::max));
    let mut floors = Samples(rows.iter().map(|row| row.floor.at(0.5)).collect());
    floors.0.sort_unstable();
    let floor = floors.at(0.5).as_secs_f64();
    series.push(Series {
        name: "floor: two durable writes".to_owned(),
        points: [low.min(high), high].map(|x| Point { x, y: floor, spread: (floor, floor) }).to_vec(),
    });
    draw("One erase, until it is final: median, p10 to p99", "how many", &series)
}

pub(crate) fn run(args: &BenchArgs, json: bool) -> Done {
    guarded::check_dir(&args.dir)?;
    // What takes long should not end at a file that cannot be written.
    let svg =
        args.svg.as_ref().map(|svg| OutFile::create(svg, Replace::Ordinary).map(|file| (svg, file))).transpose()?;
    let dir = args.dir.join(format!("keyfall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
    let scratch = Scratch(dir);
    let mut rows = Vec::new();
    measure(args, &scratch.0, &mut rows)?;
    if let Some((svg, mut file)) = svg {
        let drawn = std::io::Write::write_all(&mut file, plot(&rows).as_bytes());
        drawn.map_err(|e| Error::io(svg.display(), e))?;
        file.finish()?;
    }
    if json {
        return value(&Value::Array(rows.iter().map(as_json).collect()));
    }
    let headings =
        ["over", "how many", "p50", "p99", "p99.9", "each", "to floor", "bytes", "syncs", "sealed", "puts", "samples"];
    block(table(&headings, rows.iter().map(shown)))?;
    line("")?;
    line(
        "floor: 4 KiB appended and fdatasync, then 512 bytes and fdatasync, measured between the rounds; bytes and sealed for each erase, \
         as handed to the store, whose log is written twice where commits are short: zeros ahead, then the frame",
    )
}
