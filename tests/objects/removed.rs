//! Lists of removed blobs: without one that is damaged a log goes on, an audit tells it, and a
//! discard replaces it.

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::store::{Ahead, BlobName, Cursor, Head, HeadId, ObjectLog, Published, Store};
use keyfall::{Engine, Scope};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::engines::{numbered, options, put, read, user};

fn open(objects: &Arc<MemoryObjects>) -> ObjectLog {
    ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap()
}

/// The lists of removed blobs.
fn lists(objects: &MemoryObjects) -> Vec<String> {
    let listed = objects.list("f", "", 1000).unwrap().into_iter().map(|object| object.name);
    listed.filter(|name| name.starts_with("f/dead-")).collect()
}

/// Damages each object of these names in one of its bytes.
fn damage(objects: &MemoryObjects, names: &[String]) {
    for name in names {
        let mut bytes = objects.get(name).unwrap().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        objects.delete(name).unwrap();
        objects.create(name, &bytes).unwrap();
    }
}

#[test]
fn a_log_goes_on_without_a_damaged_list_of_removed_blobs() {
    let objects = Arc::new(MemoryObjects::new());
    let log = open(&objects);
    let names: Vec<BlobName> =
        (0..3).map(|n| log.name(BlobName([n; 16]), Ahead::default(), 10)).collect();
    let blobs: Vec<_> = names.iter().map(|name| (*name, vec![7; 10])).collect();
    let head = Head { id: HeadId { epoch: 1, commit: 1 }, bytes: vec![1; 40] };
    assert_eq!(log.commit(&blobs, None, &head).unwrap(), Published::Done);
    log.remove(&names[..1]).unwrap();
    assert_eq!(lists(&objects).len(), 1);
    assert_eq!(open(&objects).get(&names[0]).unwrap(), None, "it is removed for the next one too");

    damage(&objects, &lists(&objects));
    let log = open(&objects);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(log.get(name).unwrap(), Some(vec![7; 10]), "blob {n}");
        assert!(log.contains(name).unwrap(), "blob {n}");
    }
    let told = log.damage().unwrap();
    assert!(told.len() == 1 && told[0].contains(&lists(&objects)[0]), "{told:?}");
    log.remove(&names[..1]).unwrap();
    assert_eq!(log.damage().unwrap(), [""; 0]);
    let log = open(&objects);
    assert_eq!(log.damage().unwrap(), [""; 0]);
    assert_eq!(log.get(&names[0]).unwrap(), None);
    assert_eq!(log.get(&names[1]).unwrap(), Some(vec![7; 10]));
    assert_eq!(lists(&objects).len(), 1, "the damaged one is gone");
}

#[test]
fn an_audit_tells_a_damaged_list_and_goes_on() {
    let objects = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(Arc::new(open(&objects)), cell.clone(), options()).unwrap();
    let ids: Vec<_> = (0..20).map(|n| put(&engine, n, &[n as u8; 500]).unwrap()).collect();
    engine.erase(Scope::user(user(3))).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    // One where they lie now, and one where they lay before.
    let bad = ["d/", "f/dead-"].map(|folder| {
        let name = numbered(&*objects, folder, 1);
        format!("{name}-000000000000000000000000000000aa")
    });
    for name in &bad {
        objects.create(name, &[b"KFDEAD01", &[0; 60][..]].concat()).unwrap();
    }
    let audited = |engine: &Engine| engine.audit(&[], &mut |_| {}).unwrap();
    let engine = Engine::open(Arc::new(open(&objects)), cell, options()).unwrap();
    let audit = audited(&engine);
    assert!(!audit.is_clean(), "{audit:?}");
    let place = &audit.places[0];
    assert_eq!((place.stray, place.damaged), (0, 0), "{audit:?}");
    assert_eq!(place.live, audit.live_blobs, "all that lives was looked at");
    assert_eq!(place.other_damage.len(), 2, "{audit:?}");
    for (told, name) in place.other_damage.iter().zip(&bad) {
        assert!(told.starts_with(name.as_str()), "{told}");
    }
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| *n != 3) {
        assert_eq!(read(&engine, id).unwrap(), [n as u8; 500]);
    }
    engine.discard(&mut |_| {}).unwrap();
    let audit = audited(&engine);
    assert!(audit.is_clean(), "{audit:?}");
    assert!(bad.iter().all(|name| objects.get(name).unwrap().is_none()));
}

/// Ten requests; an erase after it reads back what it wrote, as any other.
#[test]
fn an_opening_takes_ten_requests() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let cell = Arc::new(MemoryCell::new());
    let log = || Arc::new(ObjectLog::open_or_create(counted.clone() as Arc<dyn Objects>).unwrap());
    let engine = Engine::init(log(), cell.clone(), options()).unwrap();
    let mut ids = Vec::new();
    for rounds in 0..4 {
        for n in 0..30 {
            ids.push(put(&engine, rounds * 100 + n, &[n as u8; 500]).unwrap());
        }
    }
    engine.close().unwrap();
    for n in 0..3u32 {
        counted.take();
        let engine = Engine::open(log(), cell.clone(), options()).unwrap();
        let opened = counted.take();
        assert_eq!(opened.all(), 10, "opening {n}: {opened:?}");
        // The first erase reads pages that are not in memory, and what it wrote; the next one reads
        // what it wrote, and nothing else.
        read(&engine, &ids[30 + n as usize]).unwrap();
        counted.take();
        engine.erase(Scope::user(user(n))).unwrap();
        let erased = counted.take();
        assert!(erased.creates == 1 && erased.gets >= 1, "erase {n}: {erased:?}");
        engine.erase(Scope::user(user(100 + n))).unwrap();
        let erased = counted.take();
        assert_eq!((erased.all(), erased.creates), (2, 1), "erase {n} after it: {erased:?}");
        engine.close().unwrap();
    }
}

/// An object that cannot be read any more is named, and what the others hold is listed all the same.
#[test]
fn what_a_log_holds_is_listed_beside_an_object_that_is_damaged() {
    for cut in [true, false] {
        let objects = Arc::new(MemoryObjects::new());
        let log = open(&objects);
        let mut over = None;
        let mut names = Vec::new();
        for n in 1..4u8 {
            let name = log.name(BlobName([n; 16]), Ahead::default(), 10);
            let head = Head { id: HeadId { epoch: 1, commit: n.into() }, bytes: vec![n; 40] };
            let blobs = [(name, vec![n; 10])];
            assert_eq!(log.commit(&blobs, over, &head).unwrap(), Published::Done);
            (over, _) = (Some(head.id), names.push(name));
        }
        drop(log);
        let second = numbered(&*objects, "c/", 2);
        let mut bytes = objects.get(&second).unwrap().unwrap();
        objects.delete(&second).unwrap();
        match cut {
            true => bytes.truncate(bytes.len() / 2),
            false => bytes[3] ^= 1,
        }
        objects.create(&second, &bytes).unwrap();
        let log = open(&objects);
        let (listed, more) = log.names(Cursor(0), 100).unwrap();
        assert!(more.is_none());
        let mut whole = vec![names[0], names[2]];
        whole.sort_unstable();
        assert_eq!(listed, whole);
        let told = log.damage().unwrap();
        assert!(told.len() == 1 && told[0].starts_with(&second), "{told:?}");
        assert_eq!(log.get(&names[2]).unwrap(), Some(vec![3; 10]));
    }
}

/// The audit took the blobs that were there, and called a store clean whose payload was deleted.
#[test]
fn an_audit_tells_a_payload_that_is_in_no_place() {
    let objects = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(Arc::new(open(&objects)), cell.clone(), options()).unwrap();
    put(&engine, 1, &[7; 300_000]).unwrap();
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    let backup: Arc<dyn Store> = Arc::new(keyfall::store::MemoryStore::new());
    engine.backup(&*backup, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let stored = objects.list("s", "", 10).unwrap();
    assert!(!stored.is_empty());
    stored.iter().for_each(|object| objects.delete(&object.name).unwrap());
    let engine = Engine::open(Arc::new(open(&objects)), cell, options()).unwrap();
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(!audit.is_clean(), "{audit:?}");
    let told = format!("{} live blob", stored.len());
    let [damage] = &audit.places[0].other_damage[..] else { panic!("{audit:?}") };
    assert!(damage.starts_with(&told) && damage.contains("no other place"), "{damage}");
    // A backup that has it makes the store no better: the engine does not read from there.
    let audit = engine.audit(&[backup], &mut |_| {}).unwrap();
    assert!(!audit.is_clean(), "{audit:?}");
    let [damage] = &audit.places[0].other_damage[..] else { panic!("{audit:?}") };
    assert!(damage.contains("of them in another place"), "{damage}");
}

/// Once a minute the engine looks whether its claim is there: an emptied bucket takes commits like
/// any other, and nobody could open what is put there.
#[test]
fn a_store_whose_objects_are_gone_takes_nothing_for_long() {
    for gone in ["all", "what came since the opening", "the newest"] {
        let objects = Arc::new(MemoryObjects::new());
        let clock = Arc::new(keyfall::testing::Seeded::new(7));
        let cell = Arc::new(MemoryCell::new());
        let options = || options().env(clock.clone());
        drop(Engine::init(Arc::new(open(&objects)), cell.clone(), options()).unwrap());
        let before = objects.list("c", "", 1000).unwrap().len();
        let engine = Engine::open(Arc::new(open(&objects)), cell.clone(), options()).unwrap();
        put(&engine, 1, b"said").unwrap();
        clock.advance(60_000);
        engine.run_due(&mut |_| {}).unwrap();
        put(&engine, 1, b"said").unwrap();
        for folder in ["", "c", "p", "x", "s", "f", "a", "b"] {
            let listed = objects.list(folder, "", 1000).unwrap().into_iter();
            let skipped = match (gone, folder) {
                ("the newest", "c") => objects.list("c", "", 1000).unwrap().len() - 1,
                ("the newest", _) => usize::MAX,
                ("all", _) | (_, "p" | "x" | "s" | "f" | "a" | "b") => 0,
                _ => before,
            };
            for object in listed.skip(skipped) {
                objects.delete(&object.name).unwrap();
            }
        }
        if gone != "the newest" {
            put(&engine, 1, b"into the void").unwrap();
        }
        clock.advance(60_000);
        // What is due has nothing to do with it.
        let _ = engine.run_due(&mut |_| {});
        assert!(engine.is_poisoned(), "{gone}");
        let refused = put(&engine, 1, b"said").map(drop).unwrap_err();
        assert_eq!(refused.kind(), keyfall::ErrorKind::Poisoned, "{refused}");
        assert!(engine.reopen().is_err(), "{gone}");
    }
}
