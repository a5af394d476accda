//! Latency of erases, puts and gets on the default stack (sled store, file cell), beside the
//! physical floor of the same disk and processor, and beside plain sled with the same bytes,
//! measured in the same run: interleaved rounds, medians, ratios. Then criterion's own statistics
//! for the short operations.
//!
//! `cargo bench --bench engine`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the
//! temporary directory), `KEYFALL_BENCH_PARTS` which parts are run (`erases,scopes,callers,puts`),
//! `KEYFALL_BENCH_USERS` how many users there are while parts of them are erased (default:
//! 100,000).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

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
use keyfall::crypto::Key;
use keyfall::crypto::chunked::Suite;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{
    Class, Engine, InteractionId, Options, Put, RecordId, Scope, Timestamp, UserId, When,
};

const SMALL: usize = 200;
const RECORDING: usize = 64 * 1024;
const LONG: usize = 16 << 20;

fn scratch() -> tempfile::TempDir {
    match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn make(dir: &Path) -> Engine {
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
    Engine::init(Arc::new(store), Arc::new(cell), Options::new().keeper(Keeper::ByHand)).unwrap()
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
            batch
                .add(Put::new(user(name), Class::action()).interaction(interaction), &[7; 16][..])
                .unwrap();
        }
        batch.commit().unwrap();
    }
}

/// Puts one record for each of many users in one commit.
fn fill_users(engine: &Engine, prefix: &str, users: usize) {
    for part in (0..users).collect::<Vec<_>>().chunks(20_000) {
        let mut batch = engine.batch();
        for n in part {
            batch
                .add(Put::new(user(&format!("{prefix}{n}")), Class::action()), &[7; 16][..])
                .unwrap();
        }
        batch.commit().unwrap();
    }
}

/// The floor of a durable write: 4 KiB appended, `fdatasync`; and of an erase: then 512 bytes
/// elsewhere, `fdatasync`.
struct Floor {
    file: File,
    slot: File,
    at: u64,
}

impl Floor {
    fn new(dir: &Path) -> Self {
        let make = |name| File::create(dir.join(name)).unwrap();
        Floor { file: make("floor"), slot: make("floor-slot"), at: 0 }
    }

    fn write(&mut self) -> Duration {
        let began = Instant::now();
        self.file.write_all_at(&[9; 4096], self.at).unwrap();
        self.file.sync_data().unwrap();
        self.at += 4096;
        began.elapsed()
    }

    fn two_writes(&mut self) -> Duration {
        let began = Instant::now();
        self.write();
        self.slot.write_all_at(&[9; 512], 0).unwrap();
        self.slot.sync_data().unwrap();
        began.elapsed()
    }
}

/// Waits until the disk has done what it was given before: its floor falls no more. A minute, at
/// most.
fn settle(floor: &mut Floor) {
    let mut last = Duration::MAX;
    for _ in 0..60 {
        let mut now = Samples::default();
        (0..40).for_each(|_| now.add(floor.two_writes()));
        if now.median() > last.mul_f64(0.9) {
            return;
        }
        last = now.median();
        std::thread::sleep(Duration::from_secs(1));
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
    let ratios: Vec<String> = floors
        .iter()
        .map(|(floor, d)| format!("{:.2}x {floor}", median.as_secs_f64() / d.as_secs_f64()))
        .collect();
    let each = median / per as u32;
    println!(
        "{name:<34} p50 {median:>10.1?}  p10 {:>10.1?}  p90 {:>10.1?}  each {each:>9.1?}  {}",
        samples.at(0.1),
        samples.at(0.9),
        ratios.join(", ")
    );
}

/// One erase of a user, whatever the user holds; batches of users. Every round runs each once,
/// beside the floor.
fn erases(rounds: usize) {
    let dir = scratch();
    let engine = make(dir.path());
    let sizes = [1usize, 1000, 100_000, 1_000_000];
    let batches = [1usize, 100, 10_000];
    // The largest takes long to make; the others are measured as often, in the same rounds.
    let rounds = rounds.min(15);
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
    settle(&mut floor);
    let mut write = Samples::default();
    let mut one: Vec<Samples> = sizes.iter().map(|_| Samples::default()).collect();
    for round in 0..rounds {
        for at in 0..sizes.len() {
            // Another order in each round.
            let i = (at + round) % sizes.len();
            let scope = Scope::user(user(&format!("holds-{}-{round}", sizes[i])));
            one[i].add(timed(|| engine.erase(scope).unwrap()));
            write.add(floor.two_writes());
        }
    }
    let mut many: Vec<Samples> = batches.iter().map(|_| Samples::default()).collect();
    for round in 0..batch_rounds {
        for (i, batch) in batches.iter().enumerate() {
            let scopes: Vec<_> = (0..*batch)
                .map(|n| Scope::user(user(&format!("batch-{batch}-{}", round * batch + n))))
                .collect();
            many[i].add(timed(|| {
                engine.erase_all(&scopes).into_iter().for_each(|o| assert!(o.is_ok()))
            }));
            write.add(floor.two_writes());
        }
    }
    let floor = [("two durable writes", write.median())];
    row("floor: 4 KiB, then 512 B, each synced", &write, 1, &floor);
    for (size, samples) in sizes.iter().zip(&one) {
        row(&format!("erase a user holding {size}"), samples, 1, &floor);
    }
    let medians: Vec<f64> = one.iter().map(|s| s.median().as_secs_f64()).collect();
    let spread = medians.iter().copied().fold(0.0, f64::max)
        / medians.iter().copied().fold(f64::MAX, f64::min);
    println!(
        "{:<34} {spread:.2}x between the slowest and the fastest median",
        "erase, whatever it holds"
    );
    for (batch, samples) in batches.iter().zip(&many) {
        row(&format!("erase {batch} users at once"), samples, *batch, &floor);
    }
}

/// One erase of each scope, among many users with ten interactions each, of a recording and an
/// action.
fn scopes(rounds: usize) {
    let users: usize =
        std::env::var("KEYFALL_BENCH_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "other-", users.saturating_sub(5 * rounds));
    let names = ["user", "class", "interaction", "record", "time range"];
    let mut there = Vec::new();
    for n in 0..5 * rounds {
        let mut batch = engine.batch();
        let who = user(&format!("u{n}"));
        let began = |n: u64| Timestamp(1_700_000_000_000 + n * 1000);
        for i in 0..10 {
            let interaction = InteractionId::from_parts(began(i), [i as u8; 10]);
            for class in [Class::audio(), Class::action()] {
                batch
                    .add(Put::new(who.clone(), class).interaction(interaction), &[7; 16][..])
                    .unwrap();
            }
        }
        let ids = batch.commit().unwrap();
        there.push((who, ids[8], began(3), began(5)));
    }
    let mut floor = Floor::new(dir.path());
    settle(&mut floor);
    let mut write = Samples::default();
    let mut samples: Vec<Samples> = names.iter().map(|_| Samples::default()).collect();
    for (n, (who, record, from, until)) in there.into_iter().enumerate() {
        let scope = match n % 5 {
            0 => Scope::user(who),
            1 => Scope::class(who, Class::audio()),
            2 => Scope::interaction(who, record.interaction()),
            3 => Scope::Record(record),
            _ => Scope::User {
                user: who,
                class: None,
                when: When::Between { from: Some(from), until: Some(until) },
            },
        };
        samples[n % 5].add(timed(|| engine.erase(scope).unwrap()));
        write.add(floor.two_writes());
    }
    let of_user = samples[0].median();
    for (name, samples) in names.iter().zip(&samples) {
        let floors = [("two durable writes", write.median()), ("a user", of_user)];
        row(&format!("erase a {name}, of {users} users"), samples, 1, &floors);
    }
}

/// Durable puts, and gets, of recordings and of an action, beside plain sled with the same bytes.
fn puts_and_gets(rounds: usize) {
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "u", 10_000);
    let plain =
        sled::Config::new().path(dir.path().join("plain")).flush_every_ms(None).open().unwrap();
    let mut floor = Floor::new(dir.path());
    for (size, rounds) in [(LONG, rounds / 10), (RECORDING, rounds), (SMALL, rounds)] {
        let content = vec![5u8; size];
        let [mut put, mut get, mut cipher, mut write] = std::array::from_fn(|_| Samples::default());
        let [mut plain_put, mut plain_get] = std::array::from_fn(|_| Samples::default());
        let mut id: Option<RecordId> = None;
        for round in 0..rounds.max(1) {
            let who = user(&format!("u{}", round * 7 % 10_000));
            put.add(timed(|| {
                id = Some(engine.put(Put::new(who, Class::audio()), &content[..]).unwrap())
            }));
            write.add(floor.write());
            cipher.add(aes(size));
            let key = round.to_be_bytes();
            plain_put.add(timed(|| {
                plain.insert(key, &content[..]).unwrap();
                plain.flush().unwrap();
            }));
            let id = id.unwrap();
            // Once each before it counts: both warm.
            for _ in 0..2 {
                engine.get_to(&id, &mut std::io::sink()).unwrap();
                black_box(plain.get(key).unwrap());
            }
            get.add(timed(|| engine.get_to(&id, &mut std::io::sink()).unwrap()));
            plain_get.add(timed(|| plain.get(key).unwrap().map(|value| value.to_vec())));
        }
        let aes = ("AES-256-GCM", cipher.median());
        row(
            &format!("durable put of {size} bytes"),
            &put,
            1,
            &[("durable write", write.median()), aes, ("sled's (not durable)", plain_put.median())],
        );
        row(&format!("get of {size} bytes"), &get, 1, &[aes, ("sled's", plain_get.median())]);
    }
    let key = Key::copied_from(&[7; 32]);
    let suite = Suite::derive(&key, &[1; 24], b"context");
    let (mut sealing, mut cipher, content) =
        (Samples::default(), Samples::default(), vec![5u8; LONG]);
    // One buffer for all: fresh memory can take longer than the cipher.
    let mut out = Vec::with_capacity(LONG + LONG / 512);
    for _ in 0..rounds.min(50) {
        out.clear();
        sealing.add(timed(|| {
            for (n, chunk) in content.chunks(16_384).enumerate() {
                suite.seal_chunk(n as u64, chunk, &mut out);
            }
        }));
        cipher.add(aes(LONG));
    }
    row(
        &format!("sealing {LONG} bytes, alone"),
        &sealing,
        1,
        &[("AES-256-GCM by aes-gcm", cipher.median())],
    );
}

/// Runs `verb` with each of these numbers, spread over so many threads; the time that one took.
fn spread(
    threads: usize,
    numbers: std::ops::Range<usize>,
    verb: &(dyn Fn(usize) + Sync),
) -> Duration {
    let n = numbers.len() as u32;
    timed(|| {
        std::thread::scope(|scope| {
            for first in numbers.clone().take(threads) {
                let end = numbers.end;
                scope.spawn(move || (first..end).step_by(threads).for_each(verb));
            }
        });
    }) / n
}

/// One caller, and 64 at once.
fn callers(each: usize) {
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "u", 20_000);
    let erase = |i: usize| drop(engine.erase(Scope::user(user(&format!("u{i}")))).unwrap());
    let put = |i: usize| {
        let who = user(&format!("u{}", 19_999 - i % 5000));
        engine.put(Put::new(who, Class::action()), &[7; SMALL][..]).unwrap();
    };
    let mut done = 0;
    let mut took: [[Samples; 2]; 2] = Default::default();
    for _ in 0..3 {
        for (at, threads) in [1usize, 64].into_iter().enumerate() {
            let n = if threads == 1 { each } else { 10 * each };
            took[0][at].add(spread(threads, done..done + n, &erase));
            took[1][at].add(spread(threads, done..done + n, &put));
            done += n;
        }
    }
    for (what, [one, many]) in ["erase", "put of 200 bytes"].into_iter().zip(&took) {
        row(&format!("{what}, one caller"), one, 1, &[]);
        row(&format!("{what}, 64 callers, each"), many, 1, &[("one caller", one.median())]);
    }
}

fn main() {
    // `cargo test --benches` runs this too: a few rounds show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let parts = std::env::var("KEYFALL_BENCH_PARTS").unwrap_or_default();
    let wanted = |part: &str| parts.is_empty() || parts.contains(part);
    if wanted("erases") {
        erases(if quick { 1 } else { 25 });
    }
    if wanted("scopes") {
        scopes(if quick { 1 } else { 100 });
    }
    if wanted("callers") {
        callers(if quick { 64 } else { 400 });
    }
    if wanted("puts") {
        puts_and_gets(if quick { 3 } else { 300 });
    }
    if quick || !parts.is_empty() {
        return;
    }
    let dir = scratch();
    let engine = make(dir.path());
    fill_users(&engine, "u", 1000);
    let mut criterion = Criterion::default().configure_from_args().sample_size(30);
    let mut floor = Floor::new(dir.path());
    criterion.bench_function("floor/durable 4 KiB write", |b| {
        b.iter_custom(|n| (0..n).map(|_| floor.write()).sum())
    });
    for (name, size) in [("64 KiB recording", RECORDING), ("200-byte action", SMALL)] {
        let content = vec![5u8; size];
        criterion.bench_function(&format!("floor/AES-256-GCM of a {name}"), |b| {
            b.iter_custom(|n| (0..n).map(|_| aes(size)).sum());
        });
        let mut n = 0;
        criterion.bench_function(&format!("put/{name}"), |b| {
            b.iter(|| {
                n += 1;
                engine
                    .put(Put::new(user(&format!("u{}", n % 1000)), Class::audio()), &content[..])
                    .unwrap()
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
            (0..iters)
                .map(|i| timed(|| engine.erase(Scope::user(user(&format!("e{run}-{i}")))).unwrap()))
                .sum()
        });
    });
    criterion.final_summary();
}
