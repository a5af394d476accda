//! The thread of an open engine that does what is due. SPEC §6.4, §6.5.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::env::{Env, System};
use keyfall::store::{MemoryStore, Store};
use keyfall::{Class, Engine, Erase, ErrorKind, Options, Policy, Put, Scope, Timestamp};

use crate::support::{error_kind, read_record, user};

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_open_engine_does_what_is_due_by_itself_and_so_does_the_next() {
    let (store, cell): (Arc<dyn Store>, Arc<dyn RootCell>) =
        (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let engine = Engine::init(Arc::clone(&store), Arc::clone(&cell), Options::default()).unwrap();
    let put =
        |engine: &Engine| engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    let (first, second) = (put(&engine), put(&engine));
    let soon = |ms| Timestamp(System.now().0 + ms);
    engine.erase_at(Scope::Record(first), soon(2000)).unwrap();
    assert!(read_record(&engine, &first).is_ok());
    wait_for("the planned erase", || engine.get(&first).is_err());
    assert_eq!(error_kind(engine.get(&first)), ErrorKind::Erased);
    // A policy, a window: the same thread.
    let erasure = engine
        .erase(Erase::new(Scope::Record(second)).final_within(Duration::from_secs(2)))
        .unwrap();
    assert!(!erasure.finality.is_final());
    wait_for("the pending erase", || engine.status().unwrap().pending.is_none());
    let third = put(&engine);
    engine
        .policies(None)
        .set(&Policy::new(Class::audio()).max_age(Duration::from_millis(1)))
        .unwrap();
    wait_for("the limit", || engine.get(&third).is_err());
    engine.policies(None).unset(&Class::audio(), None).unwrap();
    // Nobody has it open when the time comes.
    let fourth = put(&engine);
    engine.erase_at(Scope::user(user("ada")), soon(50)).unwrap();
    drop(engine);
    std::thread::sleep(Duration::from_millis(80));
    let engine = Engine::open(store, cell, Options::default()).unwrap();
    wait_for("what was planned before it opened", || engine.get(&fourth).is_err());
    assert_eq!(error_kind(engine.plans(&user("ada")).list()), ErrorKind::Erased);
}

#[test]
fn an_engine_closes_its_store_when_its_last_handle_goes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let place = dir.path().join("store");
        let store = keyfall::store::SledStore::open_or_create(&place).unwrap();
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        assert_eq!(Options::default().keeper, Keeper::Thread);
        let engine = Engine::init(Arc::new(store), cell, Options::default());
        // The lock is free, and it is a store already.
        assert_eq!(engine.err().map(|e| e.kind()), (round > 0).then_some(ErrorKind::Exists));
    }
}
