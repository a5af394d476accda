//! Keyfall beside what one would pick instead, in one run on one disk: how long until a user of 1, 1,000 and 100,000 records of 4 KiB is
//! gone for good; what is found afterwards in the live files and in a backup made before; rates of puts and gets; space.
//!
//! `cargo run --release --manifest-path benches/compare/Cargo.toml -- --svg erase.svg`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark: what fails ends it")]

mod ours;
mod peers;
mod rows;

#[path = "../../../src/bin/keyfall/bench/chart.rs"]
mod chart;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chart::{Series, draw};
use clap::Parser;
use memchr::memmem;

/// Bytes of a record whose erase is measured.
const RECORD: usize = 4096;
/// Bytes by which it is found again.
const MARK: usize = 32;

#[derive(Parser)]
struct Args {
    /// A directory on the disk in question.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Records of the user that is erased.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,100000")]
    records: Vec<u32>,
    /// How often each is done: the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only those whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// Write the chart here.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Write all figures here.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is compared: something that keeps records of users in files.
pub(crate) trait Peer {
    /// Puts records `0..n` of a user, durable at the end.
    fn fill(&mut self, user: u32, n: u32);
    /// Puts one record, durably.
    fn put(&mut self, user: u32, record: u32, content: &[u8]);
    /// Its length.
    fn get(&mut self, user: u32, record: u32) -> usize;
    /// Makes a user's records be gone, by whatever this peer's own documentation says; durable when it returns.
    fn erase(&mut self, user: u32);
    /// What must not be found once a user is erased: the bytes of records, or the key that opens them.
    fn traces(&mut self, user: u32, n: u32) -> Vec<Vec<u8>>;
    /// Whether a copy of the files, with what else there is now, gives a record of the user back; `None`: look for the traces in it.
    fn opens(&mut self, _copy: &Path, _user: u32) -> Option<bool> {
        None
    }
}

/// The content of a record: random, and with its mark found again.
pub(crate) fn content(user: u32, record: u32, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let mut state = (u64::from(user) << 32 | u64::from(record)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Marks of the first, the last and some records between.
pub(crate) fn marks(user: u32, n: u32) -> Vec<Vec<u8>> {
    let some = [0, n / 7, n / 3, n / 2, n - n / 4 - 1, n - 1];
    some.iter().map(|record| content(user, *record, MARK)).collect()
}

fn files(dir: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() { files(&entry.path(), each) } else { each(&entry.path()) }
    }
}

/// Whether one of these stands anywhere in the files of a directory.
fn found(dir: &Path, traces: &[Vec<u8>]) -> bool {
    let finders: Vec<_> = traces.iter().map(memmem::Finder::new).collect();
    let mut found = false;
    files(dir, &mut |file| {
        let bytes = std::fs::read(file).unwrap_or_default();
        found |= finders.iter().any(|finder| finder.find(&bytes).is_some());
    });
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            std::fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

fn space(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    files(dir, &mut |file| bytes += std::fs::metadata(file).map_or(0, |meta| meta.blocks() * 512));
    bytes
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[derive(serde::Serialize)]
struct Line {
    name: String,
    /// Seconds until gone, by records.
    erase: Vec<(u32, f64)>,
    live: bool,
    backup: bool,
    /// Bytes of a durable put and of a get, and records a second of each.
    rates: Vec<(usize, f64, f64)>,
    /// Bytes on the disk for each byte of recordings of 64 KiB.
    space: f64,
}

type Make = fn(&Path) -> Box<dyn Peer>;

fn measure(name: &str, make: Make, args: &Args) -> Line {
    let scratch = tempfile::tempdir_in(&args.dir).unwrap();
    let (mut erase, mut live, mut backup) = (Vec::new(), false, false);
    for &n in &args.records {
        let dir = scratch.path().join(format!("erase-{n}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut peer = make(&dir);
        // Somebody else is there too, with as much as the smaller ones.
        peer.fill(1_000_000, n.min(1000));
        let rounds = args.rounds;
        let mut took = Vec::new();
        for user in 0..rounds {
            peer.fill(user, n);
            let traces = peer.traces(user, n);
            let kept = scratch.path().join("backup");
            let first = user == 0 && n <= 1000;
            if first {
                copy(&dir, &kept);
            }
            let began = Instant::now();
            peer.erase(user);
            took.push(began.elapsed());
            if first {
                live |= found(&dir, &traces);
                backup |= peer.opens(&kept, user).unwrap_or_else(|| found(&kept, &traces));
                std::fs::remove_dir_all(&kept).unwrap();
            }
        }
        erase.push((n, median(took).as_secs_f64()));
        drop(peer);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let dir = scratch.path().join("rates");
    std::fs::create_dir_all(&dir).unwrap();
    let mut peer = make(&dir);
    let mut rates = Vec::new();
    let mut grown = 0.0;
    for (user, (len, n)) in [(65_536, 200_u32), (200, 500), (16 << 20, 4)].into_iter().enumerate() {
        let contents: Vec<Vec<u8>> = (0..n).map(|record| content(user as u32, record, len)).collect();
        let before = space(&dir);
        let began = Instant::now();
        for (record, content) in contents.iter().enumerate() {
            peer.put(user as u32, record as u32, content);
        }
        let put = f64::from(n) / began.elapsed().as_secs_f64();
        if user == 0 {
            grown = (space(&dir) - before.min(space(&dir))) as f64 / (len as f64 * f64::from(n));
        }
        let began = Instant::now();
        for record in 0..n {
            assert_eq!(peer.get(user as u32, record), len);
        }
        rates.push((len, put, f64::from(n) / began.elapsed().as_secs_f64()));
    }
    rates.sort_by_key(|(len, ..)| *len);
    Line { name: name.to_owned(), erase, live, backup, rates, space: grown }
}

fn main() {
    let args = Args::parse();
    let all: [(&str, Make); 10] = [
        ("keyfall", ours::make),
        ("SQLite: delete, secure_delete, VACUUM", peers::sqlite),
        ("SQLite: a key per user", |dir| rows::keyed(peers::sqlite_rows(dir))),
        ("redb: delete, compact", peers::redb),
        ("redb: a key per user", |dir| rows::keyed(peers::redb_rows(dir))),
        ("fjall: delete, major compaction", peers::fjall),
        ("fjall: a key per user", |dir| rows::keyed(peers::fjall_rows(dir))),
        ("LMDB: delete, compacting copy", peers::lmdb),
        ("LMDB: a key per user", |dir| rows::keyed(peers::lmdb_rows(dir))),
        ("sled: delete", peers::sled),
    ];
    let mut lines = Vec::new();
    for (name, make) in all {
        if args.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            eprintln!("{name}");
            lines.push(measure(name, make, &args));
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let erased = |n: &u32| format!("{n} gone");
    let rate = ["put 200 B", "get", "put 64 KiB", "get", "put 16 MiB", "get"].map(str::to_owned);
    let heads = ["", "in live files", "in old backup"].map(str::to_owned).into_iter();
    table.set_header(heads.chain(args.records.iter().map(erased)).chain(rate).chain(["space".to_owned()]));
    let yes = |yes: bool| if yes { "found" } else { "no" }.to_owned();
    for line in &lines {
        let mut row = vec![line.name.clone(), yes(line.live), yes(line.backup)];
        row.extend(line.erase.iter().map(|(_, s)| format!("{:.1?}", Duration::from_secs_f64(*s))));
        row.extend(line.rates.iter().flat_map(|(_, put, get)| [format!("{put:.0}/s"), format!("{get:.0}/s")]));
        row.push(format!("{:.2}x", line.space));
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
    println!(
        "\nfound: the bytes of an erased record, or the key that opens them; gone: seconds until the peer's own way has returned, durable"
    );
    if let Some(path) = &args.svg {
        let series: Vec<Series> = lines
            .iter()
            .map(|line| Series {
                name: format!("{}; old backup: {}", line.name, if line.backup { "opens" } else { "dead" }),
                points: line.erase.iter().map(|(n, s)| (f64::from(*n), *s)).collect(),
            })
            .collect();
        std::fs::write(path, draw("Until a user is gone", "records of 4 KiB that the user had", &series)).unwrap();
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines).unwrap()).unwrap();
    }
}
