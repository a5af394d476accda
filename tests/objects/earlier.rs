//! A place that was emptied, or given another log, under an engine that has one there: whatever it
//! still does, or did before and arrives late, meets nothing of the new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::engine::restore;
use keyfall::store::{MemoryStore, Store};
use keyfall::{Engine, ErrorKind, RecordId, Scope};
use keyfall_objects::{MemoryObjects, Objects};

use crate::engines::{options, put, read, user};
use crate::set_back::{all, log};

/// A place with a store in it, which was restored there, and what an engine had there before.
struct World {
    objects: Arc<MemoryObjects>,
    cell: Arc<MemoryCell>,
    /// What was there before the place was emptied.
    before: BTreeMap<String, Vec<u8>>,
    old: Engine,
    new: Engine,
    kept: Vec<(RecordId, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let (objects, cell) = (Arc::new(MemoryObjects::new()), Arc::new(MemoryCell::new()));
        let old = Engine::init(log(&objects), cell.clone(), options()).unwrap();
        let mut kept = Vec::new();
        for n in 0..9 {
            let payload = vec![n as u8; 100];
            kept.push((put(&old, n, &payload).unwrap(), payload));
        }
        for n in 0..3 {
            put(&old, 100 + n, b"erased").unwrap();
            old.erase(Scope::user(user(100 + n))).unwrap();
        }
        let copy = MemoryStore::new();
        old.backup(&copy, &mut |_| {}).unwrap();
        let before = all(&objects);
        before.keys().for_each(|name| objects.delete(name).unwrap());
        objects.delete("keyfall").unwrap();
        let to = log(&objects);
        restore(&*cell, &[Arc::new(copy) as Arc<dyn Store>], &*to, &mut |_| {}).unwrap();
        let options = options().open_as(keyfall::engine::OpenAs::TakeOver);
        let new = Engine::open(to, Arc::new(cell.handle()), options).unwrap();
        for n in 20..23 {
            let payload = vec![n as u8; 100];
            kept.push((put(&new, n, &payload).unwrap(), payload));
        }
        World { objects, cell, before, old, new, kept }
    }

    /// All that was acknowledged is there, now and for whoever opens it.
    fn ends_whole(self, when: &str) {
        let World { objects, cell, new, old, mut kept, .. } = self;
        let are_there = |engine: &Engine, kept: &[(RecordId, Vec<u8>)]| {
            for (id, payload) in kept {
                assert_eq!(read(engine, id).unwrap(), *payload, "{when}");
            }
        };
        are_there(&new, &kept);
        kept.push((put(&new, 30, b"later").unwrap(), b"later".to_vec()));
        new.erase(Scope::record(kept.remove(0).0)).unwrap();
        new.discard(&mut |_| {}).unwrap();
        are_there(&new, &kept);
        drop(old);
        new.close().unwrap();
        let new = Engine::open(log(&objects), Arc::new(cell.handle()), options()).unwrap();
        assert_eq!(new.read_only(), None, "{when}");
        are_there(&new, &kept);
        assert!(new.audit(&[], &mut |_| {}).unwrap().is_clean(), "{when}");
    }
}

#[test]
fn an_engine_of_before_goes_on_writing() {
    let world = World::new();
    for n in 40..50 {
        // What it is told then lies in no store; within a minute it finds that out.
        drop(put(&world.old, n, b"of before"));
        drop(world.old.discard(&mut |_| {}));
        put(&world.new, 50 + n, b"between").unwrap();
    }
    world.ends_whole("an old engine writes");
}

/// It goes on putting, which says nothing of whose the place is, and finds out at its next read.
#[test]
fn what_was_erased_after_a_restore_into_the_same_place_no_engine_of_before_delivers() {
    let mut world = World::new();
    let (erased, payload) = world.kept.remove(5);
    assert_eq!(read(&world.new, &erased).unwrap(), payload);
    let (is_over, old) = (AtomicBool::new(false), &world.old);
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let (mut delivered, mut n) = (0, 60);
            while !is_over.load(Ordering::SeqCst) {
                drop(put(old, n, b"of before"));
                delivered += u32::from(read(old, &erased).is_ok());
                n += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            delivered
        });
        world.new.erase(Scope::record(erased)).unwrap();
        // The clocks of its loan are its own.
        for _ in 0..50 {
            let read = read(old, &erased);
            let e = read.map(|_| ()).expect_err("it was erased, and is delivered");
            assert_ne!(e.kind(), ErrorKind::Erased, "it knows nothing of the new store: {e}");
            std::thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::SeqCst);
        println!("delivered before the erase returned: {}", reads.join().unwrap());
    });
    assert!(old.is_poisoned());
    assert!(old.reopen().is_err());
    world.ends_whole("an old engine reads");
}

#[test]
fn what_was_sent_before_arrives_late() {
    let world = World::new();
    for (name, bytes) in &world.before {
        world.objects.create(name, bytes).unwrap();
    }
    let erased = world.old.erase(Scope::user(user(4))).map(drop);
    assert_eq!(erased.unwrap_err().kind(), ErrorKind::Fenced);
    world.ends_whole("all of before is there again");
}

/// In which the numbers in names began at 1.
#[test]
fn a_log_of_format_1_opens_as_it_is() {
    let (objects, cell) = (Arc::new(MemoryObjects::new()), Arc::new(MemoryCell::new()));
    drop(log(&objects));
    let marker = String::from_utf8(objects.get("keyfall").unwrap().unwrap()).unwrap();
    objects.delete("keyfall").unwrap();
    let before = marker.replace("format 2", "format 1");
    objects.create("keyfall", before.as_bytes()).unwrap();
    let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
    let [ada, ben] = [1, 2].map(|n| put(&engine, n, b"kept").unwrap());
    engine.erase(Scope::record(ben)).unwrap();
    engine.close().unwrap();
    assert_eq!(objects.list("c", "", 1).unwrap()[0].name, "c/00000000000000000001");
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    assert_eq!(read(&engine, &ada).unwrap(), b"kept");
    assert_eq!(read(&engine, &ben).unwrap_err().kind(), ErrorKind::Erased);
}
