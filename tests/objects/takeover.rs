//! How long it takes from a writer that is killed until a standby's first put is durable and its
//! first erase has returned: beyond a proxy that adds the latency of a service far away, with three
//! keyholders over TCP, beside a bare create in the same rounds.
//!
//! `KEYFALL_TAKEOVERS=20` for so many rounds, of which the medians are judged; each takes some six
//! seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use keyfall::env::{Env, System};
use keyfall::opening::StandBy;
use keyfall::{Class, Engine, Put, RecordId, Scope};
use keyfall_objects::Objects;

use crate::engines::user;
use crate::far::{Far, far, rounds};
use crate::paused::{bring, made, put};
use crate::proxy::Faults;
use crate::standby::{Machine, median, opened};

const BEAT: Duration = Duration::from_millis(200);
const GONE_AFTER: Duration = Duration::from_millis(1200);
const EVERY: Duration = Duration::from_millis(50);

/// Before this time after its claim no erase of an heir returns.
const LOAN: Duration = Duration::from_secs(2);

/// The time, in microseconds, by a clock that all processes of this machine share.
fn now() -> u128 {
    System.monotonic().as_micros()
}

/// A machine: it stands by, takes the store over, puts and erases once, and goes on with that from
/// when it is told to until it is killed.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let how = StandBy::new().every(EVERY).gone_after(GONE_AFTER);
    let mut gone = 0;
    let Some(engine) = opened(BEAT, &how, &mut || gone = now()) else { return };
    let opened = now();
    let first = put(&engine, "first", &[1; 2000]);
    let durable = now();
    engine.erase(Scope::record(first)).unwrap();
    let erased = now();
    println!("\n@owner {gone} {opened} {durable} {erased}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    goes_on(&engine);
}

fn goes_on(engine: &Engine) {
    let mut mine: Vec<RecordId> = Vec::new();
    for n in 0.. {
        let of = Put::new(user(n % 50), Class::audio());
        mine.push(engine.put(of, &[n as u8; 2000][..]).unwrap());
        if mine.len() > 3 {
            engine.erase(Scope::record(mine.remove(0))).unwrap();
            println!("\n@erased");
        }
    }
}

/// The times of one takeover, each from the one before.
#[derive(Default)]
struct Seen {
    /// From the kill until the standby takes the writer for gone.
    detected: Vec<Duration>,
    /// From there until it has the store open.
    opened: Vec<Duration>,
    /// From the detection until its first put is durable.
    put: Vec<Duration>,
    /// From that until its first erase has returned.
    erased: Vec<Duration>,
    creates: Vec<Duration>,
}

impl Seen {
    /// Takes what a new owner says of itself.
    fn take(&mut self, killed: u128, told: &str) {
        let times: Vec<u128> = told.split(' ').map(|time| time.parse().unwrap()).collect();
        let [gone, opened, durable, erased] = times[..] else { panic!("{told}") };
        let between = |from: u128, to: u128| {
            Duration::from_micros(u64::try_from(to.checked_sub(from).unwrap()).unwrap())
        };
        self.detected.push(between(killed, gone));
        self.opened.push(between(gone, opened));
        self.put.push(between(gone, durable));
        self.erased.push(between(durable, erased));
    }

    /// So many bare creates of 9,000 bytes.
    fn create(&mut self, objects: &dyn Objects, round: u64) {
        for n in 0..3 {
            let began = Instant::now();
            objects.create(&format!("bare/{round}-{n}"), &[n; 9000]).unwrap();
            self.creates.push(began.elapsed());
        }
    }

    /// Prints the medians; gives how many bare creates it is from the detection to the first put,
    /// and how many from there to the first erase, without the time for which none returns.
    fn tell(&self, far: &Far) -> (f64, f64) {
        let build = if cfg!(debug_assertions) { "a build for tests" } else { "an optimised build" };
        println!("{}, {} takeovers, {build}:", far.url, self.put.len());
        for (what, times) in [
            ("bare create, 9,000 B", &self.creates),
            ("kill to detection", &self.detected),
            ("detection to open", &self.opened),
            ("detection to first put", &self.put),
            ("first put to an erase", &self.erased),
        ] {
            let most = times.iter().max().unwrap();
            println!("  {what:<22} p50 {:?} at most {most:?}", median(times.clone()));
        }
        let half = |times: &[Duration]| median(times.to_vec()).as_secs_f64();
        let sum = |(put, erased): (&Duration, &Duration)| *put + *erased;
        let both: Vec<Duration> = self.put.iter().zip(&self.erased).map(sum).collect();
        let (floor, waits) = (half(&self.creates), LOAN.as_secs_f64());
        let (put, erase) = (half(&self.put) / floor, (half(&both) - waits) / floor);
        let more = (half(&self.erased) - waits) * 1e3;
        println!(
            "  detection to first put / create {put:.2}, to first erase {LOAN:?} and {erase:.2}"
        );
        println!("  first put to first erase {LOAN:?} and {more:.1} ms");
        (put, erase)
    }
}

#[test]
fn from_a_writer_that_is_killed_to_the_first_put_and_erase() {
    let faults = Faults {
        write_takes: Duration::from_millis(60),
        read_takes: Duration::from_millis(30),
        ..Faults::default()
    };
    let rounds = rounds("KEYFALL_TAKEOVERS", 1).max(1);
    for far in far(faults, 4) {
        let dir = tempfile::tempdir().unwrap();
        let seen = takeovers(dir.path(), &far, rounds);
        let (put, erase) = seen.tell(&far);
        if rounds >= 20 {
            assert!(put <= 5.0, "{put:.2} bare creates to the first put");
            assert!(erase <= 5.0, "{LOAN:?} and {erase:.2} bare creates to the first erase");
        }
    }
}

fn takeovers(dir: &Path, far: &Far, rounds: u64) -> Seen {
    let _keyholders = made(dir, Some(far), &far.url, &[]);
    let cells = [0, 1].map(|n| dir.join(format!("cell {n}")));
    cells.iter().for_each(|there| bring(&dir.join("cell"), there));
    let start = |n: u64, role: &str| {
        let cell = cells[n as usize % 2].display();
        let told = format!("{}|{cell}|{role}", far.url);
        Machine::start("takeover::child", Some(far), &told)
    };
    let (mut seen, bare) = (Seen::default(), far.objects());
    let mut writer = start(0, "writer");
    writer.hears("owner").unwrap();
    for round in 0..rounds {
        let standby = start(round + 1, "standby");
        standby.hears("stands").unwrap();
        // In every other round it is killed while it erases.
        if round % 2 == 0 {
            writer.tell("go");
            writer.hears("erased").unwrap();
        }
        std::thread::sleep(Duration::from_millis(200 + round * 37 % 250));
        let killed = now();
        writer.child.kill().unwrap();
        seen.take(killed, &standby.hears("owner").unwrap());
        seen.create(&*bare, round);
        writer = standby;
    }
    seen
}
