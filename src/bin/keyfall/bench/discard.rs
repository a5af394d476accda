//! What a discard takes, and what it costs those that put and erase meanwhile.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use keyfall::{Class, Error, ErrorKind, Put, Scope, UserId};

use crate::args::BenchArgs;
use crate::bench::floor::Floor;
use crate::bench::random::Random;
use crate::bench::rows::{Point, Row, Samples, Space, Verb};
use crate::bench::space::Filled;
use crate::bench::subject::{ACTION, Bench};
use crate::shell::print::progress;

/// What the part yields.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    pub(super) spaces: Vec<Space>,
}

/// For each number of users: discards what filling the store left, with nothing beside; then has
/// one thread put and one erase, first with no discard running, then with discards running.
pub(super) fn measure(args: &BenchArgs, dir: &Path) -> Result<Found, Error> {
    let (mut found, time) = (Found::default(), Duration::from_secs(args.seconds));
    for &users in &args.discard_users.0 {
        // Half of them are for erases.
        let users = users.max(4);
        let bench = Bench::new(&dir.join(format!("discard-{users}")), 0, 0)?;
        bench.fill_sparingly("u", users)?;
        let filled = Filled { series: "one for each user", users, records: users };
        found.spaces.push(filled.discarded(&bench, None)?);
        let bar = progress("putting and erasing", None);
        bar.tick();
        let quiet = Foreground::new(&bench, 0..users / 8, users);
        let alone = quiet.run(&mut || {
            thread::sleep(time);
            Ok(())
        })?;
        found.rows.extend(alone.rows(
            users,
            "puts, no discard running",
            "erases, no discard running",
        ));
        bar.finish_and_clear();
        let bar = progress("discarding beside puts and erases", None);
        let busy = Foreground::new(&bench, users / 8..users / 2, users);
        let beside = busy.run(&mut || {
            let began = Instant::now();
            while began.elapsed() < time {
                bench.engine.discard(&mut |n| bar.set_position(n))?;
            }
            Ok(())
        })?;
        found.rows.extend(beside.rows(users, "puts while discarding", "erases while discarding"));
        bar.finish_and_clear();
    }
    Ok(found)
}

/// A thread that puts and a thread that erases.
struct Foreground<'b> {
    bench: &'b Bench,
    /// Users that are erased, one after another.
    erased: Range<u64>,
    /// All users; puts are for those of the upper half.
    users: u64,
    stop: AtomicBool,
}

/// Latencies of one of the threads, beside the floor that it measured by turns.
#[derive(Default)]
struct Timed {
    took: Samples,
    floor: Samples,
}

struct Both {
    put: Timed,
    erase: Timed,
}

impl<'b> Foreground<'b> {
    fn new(bench: &'b Bench, erased: Range<u64>, users: u64) -> Self {
        Foreground { bench, erased, users, stop: AtomicBool::new(false) }
    }

    /// Runs until `during` has returned.
    fn run(&self, during: &mut dyn FnMut() -> Result<(), Error>) -> Result<Both, Error> {
        thread::scope(|scope| {
            let putting = scope.spawn(|| self.put());
            let erasing = scope.spawn(|| self.erase());
            let done = during();
            self.stop.store(true, Ordering::Relaxed);
            let (put, erase) = (joined(putting), joined(erasing));
            done?;
            Ok(Both { put: put?, erase: erase? })
        })
    }

    fn put(&self) -> Result<Timed, Error> {
        let (mut timed, mut random) = (Timed::default(), Random::new(self.erased.start));
        let mut floor = Floor::new(&self.bench.dir, "put")?;
        let half = self.users / 2;
        while !self.stop.load(Ordering::Relaxed) {
            let user = UserId::new(format!("u{}", half + random.below(self.users - half)))?;
            let began = Instant::now();
            self.bench.engine.put(Put::new(user, Class::action()), &ACTION[..])?;
            timed.took.0.push(began.elapsed());
            timed.floor.0.push(floor.one_write()?);
        }
        Ok(timed)
    }

    fn erase(&self) -> Result<Timed, Error> {
        let mut timed = Timed::default();
        let mut floor = Floor::new(&self.bench.dir, "erase")?;
        for n in self.erased.clone() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let scope = Scope::user(UserId::new(format!("u{n}"))?);
            let began = Instant::now();
            self.bench.engine.erase(scope)?;
            timed.took.0.push(began.elapsed());
            timed.floor.0.push(floor.two_writes()?);
        }
        Ok(timed)
    }
}

impl Both {
    fn rows(self, users: u64, puts: &'static str, erases: &'static str) -> [Row; 2] {
        let row = |verb, series, timed: Timed| Row {
            verb,
            point: Point { series, x: users },
            took: timed.took,
            per: 1,
            floor: timed.floor,
            // What the threads wrote is counted together.
            count: None,
            puts: None,
            rate: None,
        };
        [row(Verb::Put, puts, self.put), row(Verb::Erase, erases, self.erase)]
    }
}

fn joined(thread: ScopedJoinHandle<'_, Result<Timed, Error>>) -> Result<Timed, Error> {
    let panicked = || Error::new(ErrorKind::Io, "a thread of the benchmark panicked");
    thread.join().unwrap_or_else(|_| Err(panicked()))
}
