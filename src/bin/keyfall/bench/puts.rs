//! The latency of durable puts of actions for random users: by one caller, by many, in batches.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use keyfall::{Class, Engine, Error, ErrorKind, Put, UserId};

use crate::args::BenchArgs;
use crate::bench::random::Random;
use crate::bench::rows::{Point, Row, Samples, Verb};
use crate::bench::subject::{ACTION, Bench};
use crate::shell::print::progress;

/// How often many callers put, and the floor is measured, by turns.
const TURNS: u64 = 5;

/// Samples of the floor in each turn.
const FLOORS: u64 = 20;

/// Measures puts in one store, in which each user has a record already.
pub(super) fn measure(args: &BenchArgs, dir: &Path) -> Result<Vec<Row>, Error> {
    let mut bench = Bench::new(&dir.join("puts"), 0, 0)?;
    bench.fill("u", args.among, 1)?;
    let mut rows = Vec::new();
    for &callers in &args.callers.0 {
        rows.push(match callers {
            0 | 1 => alone(&mut bench, args)?,
            callers => together(&mut bench, args, callers)?,
        });
    }
    for &batch in &args.put_batch.0 {
        rows.push(batches(&mut bench, args, batch.max(1))?);
    }
    Ok(rows)
}

/// One caller, each put beside the floor.
fn alone(bench: &mut Bench, args: &BenchArgs) -> Result<Row, Error> {
    let (mut took, mut floor) = (Samples::default(), Samples::default());
    let mut random = Random::new(1);
    let bar = progress("puts", Some(args.rounds));
    let before = bench.counters.read();
    for _ in 0..args.rounds {
        let user = UserId::new(format!("u{}", random.below(args.among)))?;
        let began = Instant::now();
        bench.engine.put(Put::new(user, Class::action()), &ACTION[..])?;
        took.0.push(began.elapsed());
        floor.0.push(bench.floor.one_write()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = bench.counters.read().since(before).each(args.rounds, args.rounds);
    let point = Point { series: "callers that put", x: 1 };
    Ok(Row {
        verb: Verb::Put,
        point,
        took,
        per: 1,
        floor,
        count: Some(count),
        puts: None,
        rate: None,
    })
}

/// Many callers at the same time, by turns with the floor.
fn together(bench: &mut Bench, args: &BenchArgs, callers: u64) -> Result<Row, Error> {
    let (mut took, mut floor) = (Samples::default(), Samples::default());
    let (mut time, mut count) = (Duration::ZERO, bench.counters.read());
    let before = count;
    let each = args.rounds.div_ceil(TURNS);
    let bar = progress("puts", Some(TURNS * each * callers));
    for turn in 0..TURNS {
        let crowd = Crowd { engine: &bench.engine, among: args.among, each };
        let began = Instant::now();
        took.0.append(&mut crowd.run(callers, turn)?);
        time += began.elapsed();
        bar.inc(each * callers);
        count = bench.counters.read();
        for _ in 0..FLOORS {
            floor.0.push(bench.floor.one_write()?);
        }
    }
    bar.finish_and_clear();
    let puts = took.0.len() as u64;
    let count = count.since(before).each(puts, puts);
    let point = Point { series: "callers that put", x: callers };
    let rate = Some(puts as f64 / time.as_secs_f64());
    Ok(Row { verb: Verb::Put, point, took, per: 1, floor, count: Some(count), puts: None, rate })
}

/// Many actions in one commit, each commit beside a write of their bytes.
fn batches(bench: &mut Bench, args: &BenchArgs, batch: u64) -> Result<Row, Error> {
    let (mut took, mut floor) = (Samples::default(), Samples::default());
    let rounds = args.rounds.min((100_000 / batch).max(5));
    let bytes: Vec<u8> = (0..batch).flat_map(|_| ACTION).collect();
    let mut random = Random::new(2);
    let bar = progress("batches", Some(rounds));
    let before = bench.counters.read();
    for _ in 0..rounds {
        let users = (0..batch).map(|_| UserId::new(format!("u{}", random.below(args.among))));
        let users: Vec<UserId> = users.collect::<Result<_, _>>()?;
        let began = Instant::now();
        let mut staged = bench.engine.batch();
        for user in users {
            staged.add(Put::new(user, Class::action()), &ACTION[..])?;
        }
        staged.commit()?;
        took.0.push(began.elapsed());
        floor.0.push(bench.floor.append(&bytes)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = bench.counters.read().since(before).each(rounds * batch, rounds);
    let point = Point { series: "puts in a batch", x: batch };
    Ok(Row {
        verb: Verb::Put,
        point,
        took,
        per: batch,
        floor,
        count: Some(count),
        puts: None,
        rate: None,
    })
}

/// Threads that put at the same time.
struct Crowd<'e> {
    engine: &'e Engine,
    among: u64,
    /// Puts of each thread.
    each: u64,
}

impl Crowd<'_> {
    /// Returns how long each put took.
    fn run(&self, callers: u64, turn: u64) -> Result<Vec<Duration>, Error> {
        let panicked = || Error::new(ErrorKind::Io, "a thread of the benchmark panicked");
        thread::scope(|scope| {
            let seeds = (0..callers).map(|caller| 3 + turn * callers + caller);
            let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || self.put(seed))).collect();
            let mut took = Ok(Vec::new());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
                took = took.and_then(|mut all: Vec<Duration>| {
                    all.append(&mut ended?);
                    Ok(all)
                });
            }
            took
        })
    }

    fn put(&self, seed: u64) -> Result<Vec<Duration>, Error> {
        let (mut took, mut random) = (Vec::new(), Random::new(seed));
        for _ in 0..self.each {
            let user = UserId::new(format!("u{}", random.below(self.among)))?;
            let began = Instant::now();
            self.engine.put(Put::new(user, Class::action()), &ACTION[..])?;
            took.push(began.elapsed());
        }
        Ok(took)
    }
}
