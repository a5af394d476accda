//! Latency of erases in filled stores.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyfall::{Class, Engine, Error, ErrorKind, Put, Scope, UserId};

use crate::args::BenchArgs;
use crate::bench::rows::{Point, Row, Samples, Verb};
use crate::bench::subject::{ACTION, Bench};

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
        rows.push(erase(&mut bench, Point { series: "users", x: users }, rounds)?);
    }
    let others = args.users.0.iter().copied().min().unwrap_or(1000);
    for &records in &args.records.0 {
        let mut bench = bench(0, 0)?;
        bench.fill("other-", others, 1)?;
        let rounds = rounds.min((1_000_000 / records.max(1)).max(5));
        bench.fill("u", rounds, records)?;
        let point = Point { series: "records of the user", x: records };
        rows.push(erase(&mut bench, point, Rounds { rounds, per: 1 })?);
    }
    for &batch in &args.batch.0 {
        let mut bench = bench(0, 0)?;
        let rounds = rounds.min((100_000 / batch.max(1)).max(5));
        bench.fill("u", (rounds * batch).max(others), 1)?;
        let point = Point { series: "users at once", x: batch };
        rows.push(erase(&mut bench, point, Rounds { rounds, per: batch })?);
    }
    for &callers in &args.callers.0 {
        let mut bench = bench(0, 0)?;
        let users = 20_000 * args.seconds.max(1);
        bench.fill("mixed-", users, 1)?;
        rows.push(mixed(&mut bench, callers, users, Duration::from_secs(args.seconds))?);
    }
    let rounds = Rounds { rounds: rounds.min(others), per: 1 };
    for &copies in &args.copies.0 {
        let mut bench = bench(0, copies as usize)?;
        bench.fill("u", others, 1)?;
        rows.push(erase(&mut bench, Point { series: "copies in step", x: copies }, rounds)?);
    }
    for &keyholders in &args.keyholders.0 {
        let mut bench = bench(keyholders as usize, 0)?;
        bench.fill("u", others, 1)?;
        rows.push(erase(&mut bench, Point { series: "keyholders", x: keyholders }, rounds)?);
    }
    Ok(rows)
}

/// How many erases are measured.
#[derive(Clone, Copy)]
struct Rounds {
    rounds: u64,
    /// Users erased in each round.
    per: u64,
}

/// Erases users `u0`, `u1` ... in batches, each beside the floor.
fn erase(bench: &mut Bench, point: Point, rounds: Rounds) -> Result<Row, Error> {
    let Rounds { rounds, per } = rounds;
    let (mut took, mut floor) = (Samples::default(), Samples::default());
    let before = bench.counters.read();
    for round in 0..rounds {
        let scopes = (round * per..(round + 1) * per)
            .map(|n| Ok(Scope::user(UserId::new(format!("u{n}"))?)));
        let scopes: Vec<Scope> = scopes.collect::<Result<_, Error>>()?;
        let began = Instant::now();
        for outcome in bench.engine.erase_all(&scopes) {
            outcome?;
        }
        took.0.push(began.elapsed());
        floor.0.push(bench.floor.two_writes()?);
    }
    let count = bench.counters.read().since(before).each(rounds * per, rounds);
    Ok(Row {
        verb: Verb::Erase,
        point,
        took,
        per,
        floor,
        count: Some(count),
        puts: None,
        rate: None,
    })
}

/// Has `callers` threads erase users one after another for the given time, and as many put actions
/// for other users.
fn mixed(bench: &mut Bench, callers: u64, users: u64, time: Duration) -> Result<Row, Error> {
    let before = bench.counters.read();
    let load = Load::new(&bench.engine);
    let took = load.run(callers, users, time)?;
    let seconds = load.began.elapsed().as_secs_f64();
    let count = bench.counters.read().since(before).each(took.0.len() as u64, 1);
    let mut floor = Samples::default();
    for _ in 0..20 {
        floor.0.push(bench.floor.two_writes()?);
    }
    let rate = Some(took.0.len() as f64 / seconds);
    let puts = Some(load.puts.into_inner() as f64 / seconds);
    let point = Point { series: "callers, with concurrent puts", x: callers };
    Ok(Row { verb: Verb::Erase, point, took, per: 1, floor, count: Some(count), puts, rate })
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
        Load {
            engine,
            began: Instant::now(),
            next: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
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
