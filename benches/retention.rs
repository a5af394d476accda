//! What retention costs: records of many users that pass a limit at once fall in one commit.
//! Default stack (sled store, file cell); beside it the floor, a 4 KiB write and fdatasync on the
//! same disk.
//!
//! `cargo bench --bench retention`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the
//! temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::engine::{DueOutcome, Keeper};
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Options, Policy, Put, UserId};

fn main() {
    // `cargo test --benches` runs this too: a few users show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let (users, each) = if quick { (50, 4) } else { (10_000, 100) };
    let dir = match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let store = SledStore::create(&dir.path().join("store")).unwrap();
    let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let options = Options::new().keeper(Keeper::ByHand);
    let engine = Engine::init(Arc::new(store), Arc::new(cell), options).unwrap();
    let tend = || -> (DueOutcome, Duration) {
        let began = Instant::now();
        (engine.run_due(&mut |_| {}).unwrap(), began.elapsed())
    };

    let began = Instant::now();
    for part in (0..users).collect::<Vec<usize>>().chunks(200) {
        let mut batch = engine.batch();
        for user in part {
            for _ in 0..each {
                let put = Put::new(UserId::new(format!("user {user}")).unwrap(), Class::audio());
                batch.add(put, &[7; 200][..]).unwrap();
            }
        }
        batch.commit().unwrap();
    }
    let records = (users * each) as u64;
    println!("{records} records of {users} users, put in {:.1} s", began.elapsed().as_secs_f64());

    // A limit that nothing has passed: what it costs to look at every user.
    engine
        .policies(None)
        .set(&Policy::new(Class::audio()).max_age(Duration::from_secs(1 << 30)))
        .unwrap();
    let (done, looked) = tend();
    assert_eq!(done.expired, 0);
    let epoch = engine.head().epoch;
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(Duration::ZERO)).unwrap();
    let (done, took) = tend();
    assert_eq!((done.expired, engine.head().epoch), (records, epoch + 1));
    let (done, idle) = tend();
    assert_eq!(done, DueOutcome::default());

    let mut floor: Vec<Duration> = (0..200)
        .map(|n| {
            let mut file = std::fs::File::create(dir.path().join(format!("floor {n}"))).unwrap();
            let began = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    floor.sort_unstable();
    let floor = floor[floor.len() / 2];
    let of = |span: Duration| span.as_secs_f64() / floor.as_secs_f64();
    println!("floor, 4 KiB and fdatasync: {:.0} us", floor.as_secs_f64() * 1e6);
    println!(
        "a new limit, every user looked at: {:.2} s, {:.0}x the floor",
        looked.as_secs_f64(),
        of(looked)
    );
    println!(
        "{records} records passed it, one commit: {:.2} s, {:.0}x the floor; {:.2} us a record, {:.0} us a user",
        took.as_secs_f64(),
        of(took),
        took.as_secs_f64() * 1e6 / records as f64,
        took.as_secs_f64() * 1e6 / users as f64
    );
    println!("nothing due: {:.0} ns", idle.as_secs_f64() * 1e9);
}
