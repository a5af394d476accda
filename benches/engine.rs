//! Latency of erases, puts and gets on the default stack (sled store, file cell), beside the physical floor of the
//! same disk and processor, measured in the same run: interleaved rounds, medians, ratios. Then criterion's own
//! statistics for the short operations.
//!
//! `cargo bench --bench engine`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use criterion::Criterion;
use keyfall::cell::FileCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Options, Put, RecordId, Scope, UserId};

const SMALL: usize = 200;
const RECORDING: usize = 64 * 1024;

fn scratch() -> tempfile::TempDir {
    match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn make(dir: &Path) -> Engine {
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
    Engine::init(Arc::new(store), Arc::new(cell), Options { keeper: Keeper::ByHand, ..Options::default() }).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Puts `records` small records of one user, many in a commit.
fn fill(engine: &Engine, name: &str, records: usize) {
    let interaction = engine.new_interaction().unwrap();
    for part in (0..records).collect::<Vec<_>>().chunks(20_000) {
        let mut batch = engine.batch();
        for _ in part {
            batch.add(Put::new(user(name), Class::action()).interaction(interaction), &[7; 16][..]).unwrap();
        }
        batch.commit().unwrap();
    }
}

/// Puts one record for each of many users in one commit.
fn fill_users(engine: &Engine, prefix: &str, users: usize) {
    for part in (0..users).collect::<Vec<_>>().chunks(20_000) {
        let mut batch = engine.batch();
        for n in part {
            batch.add(Put::new(user(&format!("{prefix}{n}")), Class::action()), &[7; 16][..]).unwrap();
        }
        batch.commit().unwrap();
    }
}

/// The floor of a durable write: 4 KiB appended, `fdatasync`.
struct Floor {
    file: File,
    at: u64,
}

impl Floor {
    fn new(dir: &Path) -> Self {
        Floor { file: File::create(dir.join("floor")).unwrap(), at: 0 }
    }

    fn write(&mut self) -> Duration {
        let began = Instant::now();
        self.file.write_all_at(&[9; 4096], self.at).unwrap();
        self.file.sync_data().unwrap();
        self.at += 4096;
        began.elapsed()
    }
}

/// The floor of encryption: AES-256-GCM over the same bytes, in chunks of 16 KiB, one core.
fn aes(bytes: usize) -> Duration {
    let cipher = Aes256Gcm::new_from_slice(&[7; 32]).unwrap();
    let mut buffer = vec![1u8; bytes];
    let began = Instant::now();
    for (n, chunk) in buffer.chunks_mut(16_384).enumerate() {
        let mut nonce = [0; 12];
        nonce[0] = n as u8;
        black_box(cipher.encrypt_inout_detached(&nonce.into(), &[], chunk.into()).unwrap());
    }
    began.elapsed()
}

fn timed<T>(f: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    black_box(f());
    began.elapsed()
}

#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * part) as usize]
    }

    fn median(&self) -> Duration {
        self.at(0.5)
    }
}

fn row(name: &str, samples: &Samples, per: usize, floors: &[(&str, Duration)]) {
    let median = samples.median();
    let ratios: Vec<String> =
        floors.iter().map(|(floor, d)| format!("{:.2}x {floor}", median.as_secs_f64() / d.as_secs_f64())).collect();
    let each = median / per as u32;
    println!(
        "{name:<34} p50 {median:>10.1?}  p10 {:>10.1?}  p90 {:>10.1?}  each {each:>9.1?}  {}",
        samples.at(0.1),
        samples.at(0.9),
        ratios.join(", ")
    );
}

/// One erase of a user, whatever the user holds; batches of users. Every round runs each once, beside the floor.
fn erases(rounds: usize) {
    let dir = scratch();
    let engine = make(dir.path());
    let sizes = [1usize, 1000, 100_000];
    let batches = [1usize, 100, 10_000];
    for size in sizes {
        for round in 0..rounds {
            fill(&engine, &format!("holds-{size}-{round}"), size);
        }
    }
    let batch_rounds = rounds.min(7);
    for batch in batches {
        fill_users(&engine, &format!("batch-{batch}-"), batch * batch_rounds);
    }
    let mut floor = Floor::new(dir.path());
    let mut write = Samples::default();
    let mut one: Vec<Samples> = sizes.iter().map(|_| Samples::default()).collect();
    for round in 0..rounds {
        for at in 0..sizes.len() {
            // Another order in each round.
            let i = (at + round) % sizes.len();
            let scope = Scope::user(user(&format!("holds-{}-{round}", sizes[i])));
            one[i].add(timed(|| engine.erase(scope).unwrap()));
            write.add(floor.write());
        }
    }
    let mut many: Vec<Samples> = batches.iter().map(|_| Samples::default()).collect();
    for round in 0..batch_rounds {
        for (i, batch) in batches.iter().enumerate() {
            let scopes: Vec<_> =
                (0..*batch).map(|n| Scope::user(user(&format!("batch-{batch}-{}", round * batch + n)))).collect();
            many[i].add(timed(|| engine.erase_all(&scopes).into_iter().for_each(|o| assert!(o.is_ok()))));
            write.add(floor.write());
        }
    }
    let floor = [("durable write", write.median())];
    row("floor: 4 KiB write + fdatasync", &write, 1, &floor);
    for (size, samples) in sizes.iter().zip(&one) {
        row(&format!("erase a user holding {size}"), samples, 1, &floor);
    }
    let medians: Vec<f64> = one.iter().map(|s| s.median().as_secs_f64()).collect();
    let spread = medians.iter().copied().fold(0.0, f64::max) / medians.iter().copied().fold(f64::MAX, f64::min);
    println!("{:<34} {spread:.2}x between the slowest and the fastest median", "erase, whatever it holds");
    for (batch, samples) in batches.iter().zip(&many) {
        row(&format!("erase {batch} users at once"), samples, *batch, &floor);
    }
}

/// Durable puts, and gets, of a recording and of an action.
fn puts_and_gets(rounds: usize) {
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "u", 10_000);
    let mut floor = Floor::new(dir.path());
    let mut write = Samples::default();
    for size in [RECORDING, SMALL] {
        let content = vec![5u8; size];
        let (mut put, mut get, mut cipher) = (Samples::default(), Samples::default(), Samples::default());
        let mut id: Option<RecordId> = None;
        for round in 0..rounds {
            let who = user(&format!("u{}", round * 7 % 10_000));
            put.add(timed(|| id = Some(engine.put(Put::new(who, Class::audio()), &content[..]).unwrap())));
            write.add(floor.write());
            cipher.add(aes(size));
            let id = id.unwrap();
            get.add(timed(|| engine.get_to(&id, &mut std::io::sink()).unwrap()));
        }
        let floors = [("durable write", write.median()), ("AES-256-GCM", cipher.median())];
        row(&format!("durable put of {size} bytes"), &put, 1, &floors);
        row(&format!("get of {size} bytes"), &get, 1, &floors[1..]);
    }
}

fn main() {
    // `cargo test --benches` runs this too: a few rounds show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    erases(if quick { 1 } else { 25 });
    puts_and_gets(if quick { 3 } else { 300 });
    if quick {
        return;
    }
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "u", 1000);
    let mut criterion = Criterion::default().configure_from_args().sample_size(30);
    let mut floor = Floor::new(dir.path());
    criterion.bench_function("floor/durable 4 KiB write", |b| b.iter_custom(|n| (0..n).map(|_| floor.write()).sum()));
    for (name, size) in [("64 KiB recording", RECORDING), ("200-byte action", SMALL)] {
        let content = vec![5u8; size];
        criterion.bench_function(&format!("floor/AES-256-GCM of a {name}"), |b| {
            b.iter_custom(|n| (0..n).map(|_| aes(size)).sum());
        });
        let mut n = 0;
        criterion.bench_function(&format!("put/{name}"), |b| {
            b.iter(|| {
                n += 1;
                engine.put(Put::new(user(&format!("u{}", n % 1000)), Class::audio()), &content[..]).unwrap()
            });
        });
        let id = engine.put(Put::new(user("u1"), Class::audio()), &content[..]).unwrap();
        criterion.bench_function(&format!("get/{name}"), |b| {
            b.iter(|| engine.get_to(&id, &mut std::io::sink()).unwrap());
        });
    }
    let mut n = 0;
    criterion.bench_function("erase/a user", |b| {
        b.iter_custom(|iters| {
            fill_users(&engine, &format!("e{n}-"), iters as usize);
            let run = n;
            n += 1;
            (0..iters).map(|i| timed(|| engine.erase(Scope::user(user(&format!("e{run}-{i}")))).unwrap())).sum()
        });
    });
    criterion.final_summary();
}
