//! A keyholder of many stores: epochs a second, which are a deposit and a retirement each, by the
//! number of stores that begin and end epochs at the same time; beside overwriting a sector and
//! syncing it, with as many threads, in the same run.
//!
//! Each store has slots of its own, and its requests come one after another. Requests of several
//! stores wait for the disk together: the system merges what they have synced.
//!
//! `cargo bench --bench keyholders`; `KEYFALL_BENCH_DIR` names a directory on the disk.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyfall::cell::Owner;
use keyfall::crypto::Key;
use keyfall::env::{SharedEnv, System};
use keyfall::promise::RootId;
use keyfall::quorum::{Holder, Keyholder, Share};
use keyfall::store::StoreId;

/// What `act` does a second in each of so many threads, all together.
fn a_second(threads: usize, time: Duration, act: impl Fn(usize, u64) + Sync) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (act, stop, done) = (&act, &stop, &done);
            scope.spawn(move || {
                for turn in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    act(thread, turn);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// An epoch of one store: its next key's share is kept, and the last one's destroyed.
fn epoch(holder: &Holder, store: usize, epoch: u64) {
    let store = StoreId((store as u128 + 1).to_be_bytes());
    let owner = Owner { instance: [1; 16], claim: 1, token: [1; 16] };
    let id = RootId { epoch, attempt: [epoch as u8; 16] };
    let value = Key::copied_from(&[epoch as u8; 32]);
    let share = Share { id, x: 1, value, commitment: [0; 32], root: [0; 32], path: [[0; 32]; 5] };
    holder.deposit(store, &owner, &share).unwrap();
    holder.retire(store, &owner, &id, &[], epoch).unwrap();
}

fn overwrite(file: &File) {
    file.write_all_at(&[7; 512], 0).unwrap();
    file.sync_data().unwrap();
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn files(dir: &Path, number: usize) -> Vec<File> {
    let make = |n: usize| {
        let path = dir.join(format!("floor-{n}"));
        let file = File::options().create(true).truncate(true).write(true).open(path).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.sync_all().unwrap();
        file
    };
    (0..number).map(make).collect()
}

fn main() {
    // `cargo test --benches` runs this too: a short run shows that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let (rounds, time) =
        if quick { (1, Duration::from_millis(100)) } else { (5, Duration::from_secs(2)) };
    let at = std::env::var_os("KEYFALL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(at).unwrap();
    let env: SharedEnv = Arc::new(System);
    println!("medians of {rounds} rounds");
    let mut alone = 0.0;
    for stores in [1, 4, 16, 64] {
        let (mut epochs, mut syncs) = (Vec::new(), Vec::new());
        let files = files(dir.path(), stores);
        for round in 0..rounds {
            let place = dir.path().join(format!("kh-{stores}-{round}"));
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("remnants-accepted"), "").unwrap();
            let holder = keyfall::testing::holder(&place, 1, &env);
            // Its slots are made with its first request.
            (0..stores).for_each(|store| epoch(&holder, store, 1));
            epochs.push(a_second(stores, time, |store, turn| epoch(&holder, store, turn + 1)));
            syncs.push(a_second(stores, time, |thread, _| overwrite(&files[thread])));
        }
        let (epochs, syncs) = (median(epochs), median(syncs));
        alone = if stores == 1 { epochs } else { alone };
        println!(
            "{stores:>3} stores: {epochs:>6.0} epochs/s, {:>5.1}x of one store; {syncs:>6.0} \
             sectors overwritten and synced",
            epochs / alone
        );
    }
}
