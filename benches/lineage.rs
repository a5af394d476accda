//! What lineage costs an erase: a user whose one recording has none, a few or 100,000 records
//! derived from it in other users' trees. Default stack (sled store, file cell), interleaved
//! rounds, medians. After each erase a thousand of the derived records are read: each must answer
//! erased, before any bookkeeping.
//!
//! `cargo bench --bench lineage`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the
//! temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope, UserId};

const OTHERS: usize = 1000;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A user with one recording, and records derived from it, spread over the others.
fn fill(engine: &Engine, name: &str, derived: usize) -> Vec<RecordId> {
    let source = engine.put(Put::new(user(name), Class::audio()), &[7; 200][..]).unwrap();
    let mut ids = Vec::with_capacity(derived);
    for part in (0..derived).collect::<Vec<_>>().chunks(20_000) {
        let mut batch = engine.batch();
        for n in part {
            let put = Put::new(user(&format!("other {}", n % OTHERS)), Class::transcript());
            batch.add(put.derived_from(source), &[8; 40][..]).unwrap();
        }
        ids.extend(batch.commit().unwrap());
    }
    ids
}

fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

fn main() {
    // `cargo test --benches` runs this too: a few rounds show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let (rounds, sizes) = if quick { (1, [0, 10, 2000]) } else { (5, [0, 10, 100_000]) };
    let dir = match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let store = SledStore::create(&dir.path().join("store")).unwrap();
    let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let engine =
        Engine::init(Arc::new(store), Arc::new(cell), Options::new().keeper(Keeper::ByHand))
            .unwrap();

    let mut made = Vec::new();
    for round in 0..rounds {
        for size in sizes {
            made.push(fill(&engine, &format!("holds {size} {round}"), size));
        }
    }
    let mut samples = vec![Vec::new(); sizes.len()];
    for round in 0..rounds {
        for at in 0..sizes.len() {
            // Another order in each round.
            let i = (at + round) % sizes.len();
            let scope = Scope::user(user(&format!("holds {} {round}", sizes[i])));
            let began = Instant::now();
            let done = engine.erase(scope).unwrap();
            samples[i].push(began.elapsed());
            assert_eq!(done.records, Some(1));
            let derived = &made[round * sizes.len() + i];
            for id in derived.iter().step_by((derived.len() / 1000).max(1)) {
                assert_eq!(engine.get(id).unwrap_err().kind(), ErrorKind::Erased);
            }
        }
    }
    let medians: Vec<Duration> = samples.iter_mut().map(|s| median(s)).collect();
    for (size, median) in sizes.iter().zip(&medians) {
        let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
        println!(
            "erase a user from whom {size:>6} records were derived   p50 {median:>9.1?}   {ratio:.2}x one without"
        );
    }
    let began = Instant::now();
    let tended = engine.run_due(&mut |_| {}).unwrap();
    let each = began.elapsed() / u32::try_from(tended.derived.max(1)).unwrap();
    println!(
        "bookkeeping of {} derived records: {:.1?}, {each:.1?} each",
        tended.derived,
        began.elapsed()
    );
}
