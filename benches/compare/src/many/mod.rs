//! Small records of many users: durable batches, warm gets, a listing, a mixed load, and the space
//! that all of it takes.
//!
//! Each peer is measured in the same way, alone: every user gets a record; then batches of 1,000
//! records of random users, each beside a sequential write of their bytes and one `fdatasync`;
//! then gets and a listing; then a mixed load of durable puts, gets, and erases of one user in a
//! hundred; then what the peer has for giving space back.

mod envelope;
mod floor;
mod ours;
mod plain;
mod tables;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::{content, space, spread};
use crate::random::Random;
use floor::Floor;

/// Bytes of each record.
const RECORD: usize = 200;
/// Records in a batch that is measured.
const BATCH: usize = 1000;
/// Records in a batch while each user gets one.
const FILL: usize = 10_000;
/// Records of the user who is listed; keyfall gives as many in one page.
const LISTED: u32 = 10_000;
/// Records that are read.
const GETS: usize = 1000;
/// One user in so many is erased during the mixed load.
const ERASED: u32 = 100;

/// A record of a user; the number tells it from all others.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) user: u32,
    pub(crate) number: u32,
}

/// What keeps small records of many users.
pub(crate) trait Many {
    /// Puts records, all or none, durable when it returns. Their numbers follow on those put
    /// before.
    fn put(&mut self, records: &[Record], contents: &[Vec<u8>]);
    fn get(&mut self, record: Record) -> Vec<u8>;
    /// How many records a user has, each looked at.
    fn list(&mut self, user: u32) -> usize;
    /// Makes a user's records and key be gone; durable when it returns.
    fn erase(&mut self, user: u32);
    /// Gives space back, as its documentation says.
    fn tidy(&mut self);
}

/// What is asked for.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Measure small records of many users instead: batches, gets, a listing, a mixed load, space.
    #[arg(long)]
    pub(crate) many: bool,
    /// With --many: users, each with a record at the beginning.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    users: u32,
    /// With --many: batches of 1,000 records.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
    /// With --many: puts and gets of the mixed load, half of each.
    #[arg(long, default_value_t = 20_000)]
    amount: u32,
}

/// Figures of one peer. Three numbers are median, least and most, in seconds.
#[derive(serde::Serialize)]
pub(crate) struct Line {
    name: String,
    users: u32,
    /// A batch of 1,000.
    batch: [f64; 3],
    /// The bytes of such a batch in one write, and `fdatasync`.
    floor: [f64; 3],
    /// A warm get.
    get: [f64; 3],
    /// A listing of 10,000 records, for each record.
    list: [f64; 3],
    /// Puts, gets and erases of the mixed load; puts and erases are durable one by one.
    mixed_put: [f64; 3],
    mixed_get: [f64; 3],
    mixed_erase: [f64; 3],
    /// Bytes on the disk for each byte of a record that is not erased: after the batches, after the
    /// mixed load, and once space was given back.
    untouched: f64,
    loaded: f64,
    tidied: f64,
    /// Seconds that giving space back took.
    tidy: f64,
}

type Make = fn(&Path) -> Box<dyn Many>;

/// What is compared.
const PEERS: [(&str, Make); 5] = [
    ("keyfall", ours::make),
    ("fjall: a key per user, envelopes", |dir| envelope::make(tables::fjall(dir))),
    ("sled: a key per user, envelopes", |dir| envelope::make(tables::sled(dir))),
    ("fjall: as they are", |dir| plain::make(tables::fjall(dir))),
    ("sled: as they are", |dir| plain::make(tables::sled(dir))),
];

/// Measures those whose names are wanted, and prints a table.
pub(crate) fn run(args: &Args, dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<Line> {
    let peers = PEERS.iter().filter(|(name, _)| wanted(name));
    let lines: Vec<Line> = peers
        .map(|(name, make)| {
            eprintln!("{name}");
            let scratch = tempfile::tempdir_in(dir).unwrap();
            Run::new(*make, scratch.path(), args).measure(name)
        })
        .collect();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "",
        "batch of 1,000",
        "each",
        "to floor",
        "get",
        "list, each",
        "put",
        "erase",
        "space",
        "after the load",
        "tidied",
        "tidying",
    ]);
    table.add_rows(lines.iter().map(shown));
    println!("{}", table.trim_fmt());
    println!(
        "\nmedians; floor: the batch's bytes in one write, and fdatasync, after each batch; put and \
         erase: during the mixed load, each durable; space: bytes on the disk for each byte of a \
         record that is not erased"
    );
    lines
}

fn shown(line: &Line) -> Vec<String> {
    let time = |all: &[f64; 3]| format!("{:.1?}", Duration::from_secs_f64(all[0]));
    let times = |ratio: f64| format!("{ratio:.2}x");
    vec![
        line.name.clone(),
        time(&line.batch),
        format!("{:.1?}", Duration::from_secs_f64(line.batch[0] / BATCH as f64)),
        times(line.batch[0] / line.floor[0]),
        time(&line.get),
        time(&line.list),
        time(&line.mixed_put),
        time(&line.mixed_erase),
        times(line.untouched),
        times(line.loaded),
        times(line.tidied),
        format!("{:.1?}", Duration::from_secs_f64(line.tidy)),
    ]
}

/// What the mixed load took.
#[derive(Default)]
struct Mixed {
    put: Vec<Duration>,
    get: Vec<Duration>,
    erase: Vec<Duration>,
}

/// A peer, and what was put into it.
struct Run<'a> {
    args: &'a Args,
    dir: &'a Path,
    peer: Box<dyn Many>,
    /// Bytes on the disk before anything was put.
    empty: u64,
    /// Users of the records, by their numbers.
    users: Vec<u32>,
    /// Users below this one were erased.
    erased: u32,
    random: Random,
}

impl<'a> Run<'a> {
    fn new(make: Make, dir: &'a Path, args: &'a Args) -> Self {
        let store = dir.join("peer");
        std::fs::create_dir_all(&store).unwrap();
        let peer = make(&store);
        let empty = space(dir);
        Run { args, dir, peer, empty, users: Vec::new(), erased: 0, random: Random::new(1) }
    }

    fn measure(mut self, name: &str) -> Line {
        let users = self.args.users;
        for first in (0..users).step_by(FILL) {
            self.put((first..users.min(first + FILL as u32)).collect());
        }
        eprintln!("  batches");
        let (batch, floor) = self.batches();
        let untouched = self.to_plain();
        eprintln!("  gets, a listing");
        let (get, list) = (self.gets(), self.lists());
        eprintln!("  the mixed load");
        let mixed = self.mixed();
        let loaded = self.to_plain();
        eprintln!("  giving space back");
        let tidy = timed(|| self.peer.tidy()).as_secs_f64();
        self.settle();
        let tidied = self.to_plain();
        let [mixed_put, mixed_get, mixed_erase] = [mixed.put, mixed.get, mixed.erase].map(spread);
        Line {
            name: name.to_owned(),
            users,
            batch,
            floor,
            get,
            list,
            mixed_put,
            mixed_get,
            mixed_erase,
            untouched,
            loaded,
            tidied,
            tidy,
        }
    }

    /// Puts a record for each of these users in one batch; returns how long that took.
    fn put(&mut self, users: Vec<u32>) -> Duration {
        let first = self.users.len() as u32;
        let records = users.iter().zip(first..);
        let records: Vec<Record> =
            records.map(|(user, number)| Record { user: *user, number }).collect();
        let contents: Vec<Vec<u8>> = records.iter().map(plaintext).collect();
        self.users.extend(users);
        timed(|| self.peer.put(&records, &contents))
    }

    fn batches(&mut self) -> ([f64; 3], [f64; 3]) {
        let mut floor = Floor::new(&self.dir.join("floor"));
        let (mut took, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..self.args.batches {
            let users = (0..BATCH).map(|_| self.user()).collect();
            took.push(self.put(users));
            floors.push(floor.write(BATCH * RECORD));
        }
        floor.remove();
        (spread(took), spread(floors))
    }

    /// Each record is read once before it counts, and compared.
    fn gets(&mut self) -> [f64; 3] {
        let records: Vec<Record> = (0..GETS).map(|_| self.record()).collect();
        for record in &records {
            assert_eq!(self.peer.get(*record), plaintext(record));
        }
        let get = |record: &Record| {
            timed(|| {
                std::hint::black_box(self.peer.get(*record));
            })
        };
        spread(records.iter().map(get).collect())
    }

    fn lists(&mut self) -> [f64; 3] {
        // A user beside the others.
        let listed = self.args.users;
        for _ in 0..LISTED as usize / BATCH {
            self.put(vec![listed; BATCH]);
        }
        assert_eq!(self.peer.list(listed), LISTED as usize);
        let list = |_| timed(|| assert_eq!(self.peer.list(listed), LISTED as usize)) / LISTED;
        spread((0..11).map(list).collect())
    }

    fn mixed(&mut self) -> Mixed {
        let mut mixed = Mixed::default();
        let erases = self.args.users / ERASED;
        // At least one of each, so that there is a median.
        let amount = self.args.amount.max(2);
        for n in 0..amount {
            // The erases are spread over the load.
            let due = u64::from(erases) * u64::from(n + 1) / u64::from(amount);
            while u64::from(self.erased) < due {
                let user = self.erased;
                mixed.erase.push(timed(|| self.peer.erase(user)));
                self.erased += 1;
            }
            if n % 2 == 0 {
                let user = self.user();
                mixed.put.push(self.put(vec![user]));
            } else {
                let record = self.record();
                let get = || {
                    std::hint::black_box(self.peer.get(record));
                };
                mixed.get.push(timed(get));
            }
        }
        mixed
    }

    /// A user who is not erased.
    fn user(&mut self) -> u32 {
        let there = self.args.users - self.erased;
        self.erased + self.random.below(u64::from(there)) as u32
    }

    /// A record of a user who is not erased.
    fn record(&mut self) -> Record {
        loop {
            let number = self.random.below(self.users.len() as u64) as u32;
            let user = self.users[number as usize];
            if user >= self.erased {
                return Record { user, number };
            }
        }
    }

    /// Waits while files still shrink: a peer may remove them in the background.
    fn settle(&self) {
        let mut last = u64::MAX;
        while space(self.dir) < last {
            last = space(self.dir);
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// Growth on disk since the start, per byte of live record payload.
    fn to_plain(&self) -> f64 {
        let there = self.users.iter().filter(|user| **user >= self.erased).count();
        space(self.dir).saturating_sub(self.empty) as f64 / (there * RECORD) as f64
    }
}

fn plaintext(record: &Record) -> Vec<u8> {
    content(record.user, record.number, RECORD)
}

fn timed(f: impl FnOnce()) -> Duration {
    let began = Instant::now();
    f();
    began.elapsed()
}
