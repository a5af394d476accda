//! The engine's locks under a schedule explorer (shuttle): random schedules and schedules with few
//! preemptions (PCT). `cargo test --features shuttle --test explore`; `KEYFALL_SCHEDULES` sets how
//! many of each.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::certificate::Retired;
use keyfall::engine::{CopyMode, Geometry};
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::sim::{Media, SimulatedDisk};
use keyfall::testing::{Defect, Seeded};
use keyfall::{Class, Engine, Erase, ErrorKind, Options, Put, Query, RecordId, Scope, UserId};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{Config, Runner, thread};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn options(env: &Arc<Seeded>) -> Options {
    let copy = Arc::new(MemoryStore::new());
    Options::new()
        .env(env.clone())
        .geometry(Geometry { page_bytes: 1024, fan_bits: 2, ..Geometry::DEFAULT })
        .open_copy(Arc::new(move |_: &str, _| Ok(Arc::clone(&copy) as Arc<dyn Store>)))
}

/// An engine that does not close its readers: the explorer must find it out.
fn broken() -> Engine {
    let env = Arc::new(Seeded::new(1));
    let options = options(&env).defect(Some(Defect::ForgetCache));
    Engine::init(Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()), options).unwrap()
}

/// On the reference store, whose locks are leaves.
fn in_memory() -> Engine {
    let env = Arc::new(Seeded::new(1));
    Engine::init(Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()), options(&env)).unwrap()
}

/// On the blob log, whose locks are explored too.
fn on_the_log() -> Engine {
    let env = Arc::new(Seeded::new(1));
    let disk = SimulatedDisk::new(env.clone(), None);
    Engine::init(disk.store("store", true).unwrap(), disk.cell().unwrap(), options(&env)).unwrap()
}

fn put(engine: &Engine, name: &str, content: &[u8]) -> keyfall::Result<RecordId> {
    engine.put(Put::new(user(name), Class::audio()), content)
}

fn read(engine: &Engine, id: &RecordId) -> keyfall::Result<Vec<u8>> {
    let mut out = Vec::new();
    engine.get_to(id, &mut out).map(|_| out)
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config
}

fn explore(test: fn(fn() -> Engine)) {
    let schedules =
        std::env::var("KEYFALL_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    for make in [in_memory as fn() -> Engine, on_the_log] {
        Runner::new(RandomScheduler::new(schedules), config()).run(move || test(make));
        Runner::new(PctScheduler::new(3, schedules), config()).run(move || test(make));
    }
}

#[test]
fn no_byte_is_delivered_after_an_erase_returned() {
    explore(reads_and_an_erase);
    let found = std::panic::catch_unwind(|| {
        Runner::new(PctScheduler::new(3, 10_000), config()).run(|| reads_and_an_erase(broken));
        Runner::new(RandomScheduler::new(10_000), config()).run(|| reads_and_an_erase(broken));
    });
    assert!(found.is_err(), "the explorer is blind");
}

fn reads_and_an_erase(make: fn() -> Engine) {
    let engine = make();
    let content = vec![7; 40_000];
    let id = put(&engine, "ada", &content).unwrap();
    let other = put(&engine, "ben", b"stays").unwrap();
    let returned = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (engine, returned) = (engine.clone(), Arc::clone(&returned));
            thread::spawn(move || {
                let Ok(mut reader) = engine.get(&id) else { return };
                let mut piece = [0; 9000];
                loop {
                    let late = returned.load(Ordering::SeqCst);
                    match reader.read(&mut piece) {
                        Ok(0) => return,
                        Ok(n) => {
                            assert!(!late, "a byte was delivered after the erase returned");
                            assert!(piece[..n].iter().all(|b| *b == 7));
                        }
                        Err(_) => return,
                    }
                }
            })
        })
        .collect();
    engine.erase(Scope::user(user("ada"))).unwrap();
    returned.store(true, Ordering::SeqCst);
    assert_eq!(read(&engine, &id).unwrap_err().kind(), ErrorKind::Erased);
    readers.into_iter().for_each(|r| r.join().unwrap());
    assert_eq!(read(&engine, &other).unwrap(), b"stays");
}

#[test]
fn a_put_and_an_erase_come_in_some_order() {
    explore(|make| {
        let engine = make();
        put(&engine, "ada", b"first").unwrap();
        let late = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "ada", b"second"))
        };
        let erased = engine.erase(Scope::user(user("ada"))).unwrap();
        match late.join().unwrap() {
            Ok(id) => {
                assert_eq!(erased.records, Some(2), "the put came first, and fell");
                assert_eq!(read(&engine, &id).unwrap_err().kind(), ErrorKind::Erased);
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Erased);
                assert_eq!(erased.records, Some(1));
            }
        }
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    });
}

#[test]
fn erases_that_wait_together_share_a_commit_and_each_has_its_answer() {
    explore(|make| {
        let engine = make();
        const NAMES: [&str; 3] = ["ada", "ben", "chloe"];
        let ids: Vec<_> = NAMES.iter().map(|n| put(&engine, n, n.as_bytes()).unwrap()).collect();
        let stays = put(&engine, "dora", b"stays").unwrap();
        let erasers: Vec<_> = NAMES
            .iter()
            .map(|n| {
                let engine = engine.clone();
                thread::spawn(move || engine.erase(Scope::user(user(n))).unwrap())
            })
            .collect();
        let epochs: BTreeSet<u64> = erasers
            .into_iter()
            .map(|e| {
                let done = e.join().unwrap();
                assert_eq!((done.records, done.already), (Some(1), false));
                done.epoch
            })
            .collect();
        assert_eq!(engine.head().epoch, 1 + epochs.len() as u64, "an epoch for each commit");
        assert!(
            ids.iter().all(|id| read(&engine, id).is_err_and(|e| e.kind() == ErrorKind::Erased))
        );
        assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    });
}

#[test]
fn a_discard_beside_writers_takes_nothing_that_lives() {
    explore(|make| {
        let engine = make();
        let gone = put(&engine, "ada", &[1; 300]).unwrap();
        let stays = put(&engine, "ben", &[2; 300]).unwrap();
        engine.erase(Scope::Record(gone)).unwrap();
        let discarder = {
            let engine = engine.clone();
            thread::spawn(move || engine.discard(&mut |_| {}).map(drop))
        };
        let putter = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "chloe", &[3; 300]).unwrap())
        };
        engine.erase(Scope::user(user("ada"))).unwrap();
        let new = putter.join().unwrap();
        discarder.join().unwrap().unwrap();
        assert_eq!(read(&engine, &stays).unwrap(), [2; 300]);
        assert_eq!(read(&engine, &new).unwrap(), [3; 300]);
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    });
}

/// A certificate was issued again from what the cell had said before another erase was published,
/// and from the log with that erase in it.
#[test]
fn no_certificate_calls_a_root_key_destroyed_before_it_is() {
    explore(|_| {
        let cell = Arc::new(MemoryCell::new());
        let env = Arc::new(Seeded::new(1));
        let engine =
            Engine::init(Arc::new(MemoryStore::new()), cell.clone(), options(&env)).unwrap();
        for name in ["ada", "ben"] {
            put(&engine, name, b"x").unwrap();
        }
        let waits = Erase::new(Scope::user(user("ada"))).certified("", "");
        let waits = engine.erase(waits.final_within(Duration::from_secs(3600))).unwrap();
        let pending = waits.certificate.unwrap().sign().unwrap();
        let other = {
            let engine = engine.clone();
            thread::spawn(move || engine.erase(Scope::user(user("ben"))).unwrap())
        };
        let upgraded = engine.certificates().upgrade(&pending, None).unwrap();
        let there = cell.load().unwrap().keys.iter().any(|key| key.id.epoch == 1);
        assert!(
            upgraded.facts.outcome.retired == Retired::Waiting || !there,
            "it is in the cell still"
        );
        other.join().unwrap();
    });
}

#[test]
fn a_copy_in_step_and_listings_beside_an_erase() {
    explore(|make| {
        let engine = make();
        let ids = [put(&engine, "ada", b"1").unwrap(), put(&engine, "ben", b"2").unwrap()];
        let copier = {
            let engine = engine.clone();
            thread::spawn(move || {
                engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).map(drop)
            })
        };
        let lister = {
            let engine = engine.clone();
            thread::spawn(move || engine.list(&Query::default()).unwrap().records.len())
        };
        engine.erase(Scope::user(user("ada"))).unwrap();
        copier.join().unwrap().unwrap();
        assert!((1..=2).contains(&lister.join().unwrap()));
        let status = engine.status().unwrap();
        assert_eq!((status.unsettled, status.copies[0].head), (None, Some(engine.head())));
        assert_eq!(status.copies[0].lacks_pages, Some(0));
        assert_eq!(read(&engine, &ids[0]).unwrap_err().kind(), ErrorKind::Erased);
        assert_eq!(read(&engine, &ids[1]).unwrap(), b"2");
    });
}
