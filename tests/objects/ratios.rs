//! What a store on objects costs beside one in a directory of this machine, in the same run: erases
//! in one commit, the bytes that an erase stores, reads of what is in memory; and how much memory an
//! opening takes. `KEYFALL_RATIOS=10000` has it measured, with so many erases.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::store::{ObjectLog, SledStore, Store};
use keyfall::{Builder, Class, Engine, Put, RecordId, Scope};

use crate::engines::{options, read, user};
use crate::far::rounds;
use crate::figures::Goals;
use crate::places::fresh;

/// Figures of one store.
struct Seen {
    name: String,
    batch: Duration,
    bytes: f64,
    get: Duration,
}

/// Puts a record of 2,000 B for each of these users.
fn fill(engine: &Engine, users: std::ops::Range<u32>) -> Vec<RecordId> {
    let mut ids = Vec::new();
    for first in users.clone().step_by(2000) {
        let mut batch = engine.batch();
        for n in first..users.end.min(first + 2000) {
            batch.add(Put::new(user(n), Class::audio()), &[n as u8; 2000][..]).unwrap();
        }
        ids.extend(batch.commit().unwrap());
    }
    ids
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn seen(name: &str, store: Arc<dyn Store>, erases: u32) -> Seen {
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(store, cell, options()).unwrap();
    fill(&engine, 0..2 * erases);
    let ids = fill(&engine, 2 * erases..2 * erases + 2000);
    let times = |n: usize| {
        let began = Instant::now();
        assert_eq!(read(&engine, &ids[n]).unwrap().len(), 2000);
        began.elapsed()
    };
    (0..ids.len()).for_each(|n| {
        times(n);
    });
    let get = median((0..ids.len()).map(times).collect());
    let stored = || engine.status().unwrap().usage.bytes as f64;
    let before = stored();
    for n in 0..100 {
        engine.erase(Scope::user(user(n * 7))).unwrap();
    }
    let bytes = (stored() - before) / 100.0;
    let scopes: Vec<Scope> = (erases..2 * erases).map(|n| Scope::user(user(n))).collect();
    let began = Instant::now();
    for erased in engine.erase_all(&scopes) {
        erased.unwrap();
    }
    Seen { name: name.to_owned(), batch: began.elapsed(), bytes, get }
}

/// So often each place is seen, by turns.
const ROUNDS: usize = 3;

#[test]
fn beside_a_directory() {
    let erases = rounds("KEYFALL_RATIOS", 0) as u32;
    if erases == 0 {
        return;
    }
    let mut seen_by_turns: Vec<Vec<Seen>> = Vec::new();
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        let local = Arc::new(SledStore::create(&dir.path().join("a.db")).unwrap());
        let mut round = vec![seen("a directory of this machine", local, erases)];
        for place in fresh() {
            let log = Arc::new(ObjectLog::create(Arc::clone(&place.objects)).unwrap());
            round.push(seen(&place.name, log, erases));
        }
        for Seen { name, batch, bytes, get } in &round {
            let each = batch.as_secs_f64() / f64::from(erases);
            println!(
                "{name}: {erases} erases in one commit {batch:?}, {:.1} us each; an erase stores \
                 {bytes:.0} B; a read of 2,000 B in memory {get:?}",
                each * 1e6
            );
        }
        seen_by_turns.push(round);
    }
    let mut goals = Goals::default();
    for place in 1..seen_by_turns[0].len() {
        println!("{}, beside a directory, median of {ROUNDS} rounds", seen_by_turns[0][place].name);
        let ratio = |figure: fn(&Seen) -> f64| {
            let ratio = |round: &Vec<Seen>| figure(&round[place]) / figure(&round[0]);
            let mut all: Vec<f64> = seen_by_turns.iter().map(ratio).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        goals.at_most("erases in one commit", ratio(|seen| seen.batch.as_secs_f64()), 1.5);
        goals.at_most("bytes that an erase stores", ratio(|seen| seen.bytes), 1.05);
        goals.at_most("a warm read", ratio(|seen| seen.get.as_secs_f64()), 1.3);
    }
    goals.judge();
    memory(erases * 10);
}

fn alone(dir: &Path) -> Builder {
    let store = format!("file://{}", dir.join("log").display());
    let builder = Builder::at(store).cell_at(dir.join("cell")).keeper(Keeper::ByHand);
    builder.single_machine().accept_remnants()
}

/// What a process takes to open a store of so many users, and to read from it.
fn memory(users: u32) {
    let dir = tempfile::tempdir().unwrap();
    let engine = alone(dir.path()).create().unwrap();
    let ids = fill(&engine, 0..users);
    let size = engine.status().unwrap().usage.bytes >> 20;
    engine.close().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["ratios::child", "--exact", "--ignored", "--nocapture"]);
    let told = format!("{}|{}", dir.path().display(), ids[ids.len() / 2]);
    let out = child.env("KEYFALL_OPENS", told).output().unwrap();
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    let told: Vec<&str> = out.lines().filter(|line| line.starts_with("MiB")).collect();
    assert_eq!(told.len(), 3, "{out}");
    println!("{users} users, {size} MiB stored: {}", told.join("; "));
}

/// Resident memory now, in MiB, and the most so far.
pub(crate) fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[test]
#[ignore = "it is started by the test above"]
fn child() {
    let Ok(told) = std::env::var("KEYFALL_OPENS") else { return };
    let (dir, id) = told.split_once('|').unwrap();
    println!("\nMiB before {}", resident().0);
    let engine = alone(Path::new(dir)).open().unwrap();
    println!("\nMiB open {}, at most {}", resident().0, resident().1);
    read(&engine, &id.parse().unwrap()).unwrap();
    println!("\nMiB after a read {}, at most {}", resident().0, resident().1);
}
