//! What lies in the place of a store and is not its own: another store further down, somebody's
//! files, what another log left, objects that are damaged. None of it is deleted, and nothing is
//! said of it that nobody saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{CopyMode, restore};
use keyfall::store::MemoryStore;
use keyfall::{Builder, Engine, ErrorKind, Scope};
use keyfall_objects::{MemoryObjects, Objects};

use crate::engines::{options, put, read, user, with_copies_in};
use crate::set_back::{all, log};

fn engine(objects: &Arc<MemoryObjects>) -> Engine {
    Engine::init(log(objects), Arc::new(MemoryCell::new()), options()).unwrap()
}

/// The names in folders of the log that are none of it: nested stores as they lie there, and files.
const NOT_OURS: [&str; 14] = [
    "a/keyfall",
    "a/photo.jpg",
    "a/2026/photo.jpg",
    "a/a/00000000000000000001-00000000000000000000000000000000",
    "b/readme.txt",
    "b/shard-000/keyfall",
    "b/shard-000/c/00000000000000000001",
    "c/keyfall",
    "c/c/00000000000000000001",
    "d/photo.jpg",
    "d/e/f/shard-003/keyfall",
    "f/dead-letters.txt",
    "p/2026/photo.jpg",
    "x/notes.txt",
];

/// A discard, a list of claims and the first sign of life deleted all that lay in three folders.
#[test]
fn what_is_not_the_stores_own_stays() {
    let objects = Arc::new(MemoryObjects::new());
    let theirs = |objects: &MemoryObjects| -> BTreeMap<String, Vec<u8>> {
        all(objects).into_iter().filter(|(name, _)| NOT_OURS.contains(&&**name)).collect()
    };
    let engine = engine(&objects);
    for name in NOT_OURS {
        objects.create(name, name.as_bytes()).unwrap();
    }
    let before = theirs(&objects);
    assert_eq!(before.len(), NOT_OURS.len());
    let kept = put(&engine, 1, b"kept").unwrap();
    for n in 2..8 {
        put(&engine, n, &vec![n as u8; 300_000]).unwrap();
        engine.erase(Scope::user(user(n))).unwrap();
    }
    for _ in 0..3 {
        engine.discard(&mut |_| {}).unwrap();
        log(&objects).beat(Duration::from_secs(2)).unwrap();
        engine.ownership().beat().unwrap();
    }
    assert!(engine.discard(&mut |_| {}).unwrap().complete());
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(theirs(&objects), before);
    assert_eq!(read(&engine, &kept).unwrap(), b"kept");
}

/// A file in the folder of signs passed for a sign of life, and a quiet writer for gone.
#[test]
fn a_file_is_no_sign_of_life() {
    let objects = Arc::new(MemoryObjects::new());
    let engine = engine(&objects);
    objects.create("b/readme.txt", b"not a sign").unwrap();
    let pulse = log(&objects).pulse(None).unwrap().unwrap();
    assert!(!pulse.signs, "{pulse:?}");
    engine.ownership().beat().unwrap();
}

/// Only the folder just above a place was looked at.
#[test]
fn a_place_anywhere_in_a_folder_of_a_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |place: &str| format!("file://{}/{place}", dir.path().display());
    let make = |place: &str, cell: &str| {
        Builder::at(at(place))
            .cell_at(dir.path().join(cell))
            .single_machine()
            .accept_remnants()
            .create()
    };
    make("outer", "outer.cell").unwrap().close().unwrap();
    for inner in
        ["outer/a", "outer/a/shard-000", "outer/d/e/f/shard-003", "outer/c/c", "outer/other"]
    {
        let e = make(inner, "inner.cell").map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{inner}: {e}");
        assert!(e.to_string().contains("lies inside the store"), "{inner}: {e}");
    }
    make("other/a", "other.cell").unwrap().close().unwrap();
    // What has the name of a store's first object, and is none.
    std::fs::write(dir.path().join("keyfall"), "#!/bin/sh\n").unwrap();
    std::fs::create_dir_all(dir.path().join("lib/keyfall")).unwrap();
    make("more/a", "more.cell").unwrap().close().unwrap();
    make("lib/keyfall/a", "lib.cell").unwrap().close().unwrap();
}

/// An object whose bytes are damaged counts as a claim, so that nobody deletes it, and what was
/// erased in it was told as discarded.
#[test]
fn what_is_damaged_or_of_another_log_is_not_told_as_discarded() {
    for damaged in [true, false] {
        let (objects, cell) = (Arc::new(MemoryObjects::new()), Arc::new(MemoryCell::new()));
        let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
        put(&engine, 1, &[1; 60_000]).unwrap();
        let name = objects.list("c", "", 1000).unwrap().pop().unwrap().name;
        put(&engine, 2, b"kept").unwrap();
        if damaged {
            let mut bytes = objects.get(&name).unwrap().unwrap();
            let len = bytes.len();
            bytes[len - 5] ^= 1;
            objects.delete(&name).unwrap();
            objects.create(&name, &bytes).unwrap();
        } else {
            // As one of a store that was here before.
            let other = "c/00000000000000000007";
            objects.create(other, &objects.get(&name).unwrap().unwrap()).unwrap();
        }
        engine.erase(Scope::user(user(1))).unwrap();
        engine.close().unwrap();
        let engine = Engine::open(log(&objects), cell, options()).unwrap();
        let done = engine.discard(&mut |_| {}).unwrap();
        assert!(done.bytes_left >= 60_000 && !done.complete(), "{damaged}: {done:?}");
        let done = engine.discard(&mut |_| {}).unwrap();
        assert!(done.bytes_left >= 60_000 && !done.complete(), "once more, {damaged}: {done:?}");
    }
}

/// One flipped bit in one object of a copy in step stopped every write, and the removal of the copy.
#[test]
fn a_damaged_object_of_a_copy_holds_up_nobody() {
    let objects = Arc::new(MemoryObjects::new());
    let options = with_copies_in(objects.clone());
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let engine = Engine::init(store.clone(), cell.clone(), options.clone()).unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let ids: Vec<_> = (0..5).map(|n| put(&engine, n, &vec![n as u8; 60_000]).unwrap()).collect();
    engine.close().unwrap();
    let name = objects.list("x", "", 1000).unwrap()[2].name.clone();
    let mut bytes = objects.get(&name).unwrap().unwrap();
    bytes[50] ^= 1;
    objects.delete(&name).unwrap();
    objects.create(&name, &bytes).unwrap();

    let cell: Arc<dyn RootCell> = Arc::new(cell.handle());
    let engine = Engine::open(store, cell, options).unwrap();
    put(&engine, 9, b"goes on").unwrap();
    engine.erase(Scope::user(user(4))).unwrap();
    drop(engine.discard(&mut |_| {}));
    assert!(objects.get(&name).unwrap().is_some(), "nobody deletes what nobody can read");
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(!audit.is_clean() && audit.places[1].other_damage.len() > 1, "{audit:?}");
    assert!(audit.places[1].other_damage.iter().any(|it| it.contains("missing")), "{audit:?}");
    engine.copies().remove("copy").unwrap();
    put(&engine, 10, b"and on").unwrap();
    for id in &ids[..4] {
        read(&engine, id).unwrap();
    }
}

/// A copy that lost one object was called whole, and the audit clean; and then it could not be
/// filled up, for what has a page was taken to have all below it.
#[test]
fn an_audit_finds_what_a_copy_lost_and_it_is_repaired() {
    for mode in [CopyMode::InStep, CopyMode::Behind] {
        for lost in 0..4 {
            lose_and_repair(mode, lost, false);
            lose_and_repair(mode, lost, true);
        }
    }
}

/// What the newest commit put into it was gone: nothing wrote any more, and neither a repair nor the
/// removal of the copy was possible.
#[test]
fn a_copy_in_step_that_lost_its_newest_pages_is_repaired_or_removed() {
    for removes in [false, true] {
        let objects = Arc::new(MemoryObjects::new());
        let options = with_copies_in(objects.clone());
        let (store, cell) = (Arc::new(MemoryStore::new()), MemoryCell::new());
        let handle: Arc<dyn RootCell> = Arc::new(cell.handle());
        let engine = Engine::init(store.clone(), handle, options.clone()).unwrap();
        engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
        let ids: Vec<_> = (0..3).map(|n| put(&engine, n, b"a voice").unwrap()).collect();
        engine.close().unwrap();
        let newest = objects.list("x", "", 1000).unwrap().pop().unwrap();
        objects.delete(&newest.name).unwrap();

        let handle: Arc<dyn RootCell> = Arc::new(cell.handle());
        let engine = Engine::open(store, handle, options).unwrap();
        ids.iter().for_each(|id| _ = read(&engine, id).unwrap());
        let e = put(&engine, 5, b"not yet").unwrap_err();
        assert!(e.kind() == ErrorKind::Copy && e.to_string().contains("Copies::repair"), "{e}");
        if removes {
            engine.copies().remove("copy").unwrap();
        } else {
            assert!(engine.copies().repair("copy", &mut |_| {}).unwrap().blobs > 0);
            assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
        }
        put(&engine, 6, b"it goes on").unwrap();
        engine.erase(Scope::user(user(1))).unwrap();
    }
}

/// A long payload is an object of its own, which is created once: a damaged one stayed as it was.
#[test]
fn a_damaged_long_payload_of_a_copy_is_repaired() {
    let objects = Arc::new(MemoryObjects::new());
    let options = with_copies_in(objects.clone());
    let engine = Engine::init(Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()), options);
    let engine = engine.unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    put(&engine, 1, &vec![7; 900_000]).unwrap();
    let there = objects.list("s", "", 1000).unwrap();
    assert!(!there.is_empty());
    for (n, flips) in [(0, true), (there.len() - 1, true), (0, false)] {
        let mut bytes = objects.get(&there[n].name).unwrap().unwrap();
        let whole = bytes.clone();
        objects.delete(&there[n].name).unwrap();
        if flips {
            *bytes.last_mut().unwrap() ^= 1;
            objects.create(&there[n].name, &bytes).unwrap();
        }
        assert!(!engine.audit(&[], &mut |_| {}).unwrap().is_sound());
        let repaired = engine.copies().repair("copy", &mut |_| {}).unwrap();
        assert_eq!((repaired.blobs, repaired.damaged), (1, 0), "{n} {flips}");
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
        assert_eq!(objects.get(&there[n].name).unwrap().unwrap(), whole);
    }
}

fn lose_and_repair(mode: CopyMode, lost: usize, flips: bool) {
    let objects = Arc::new(MemoryObjects::new());
    let options = with_copies_in(objects.clone());
    let store = Arc::new(MemoryStore::new());
    let cell = MemoryCell::new();
    let engine = Engine::init(store, Arc::new(cell.handle()), options).unwrap();
    engine.copies().add("copy", mode, &mut |_| {}).unwrap();
    let put_some = |of: std::ops::Range<u32>| -> Vec<_> {
        of.map(|n| put(&engine, n, &vec![n as u8; 60_000]).unwrap()).collect()
    };
    let mut ids = put_some(0..3);
    engine.copies().sync(None, &mut |_| {}).unwrap();
    ids.extend(put_some(3..6));
    engine.copies().sync(None, &mut |_| {}).unwrap();
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    let nothing = engine.copies().repair("copy", &mut |_| {}).unwrap();
    assert_eq!((nothing.blobs, nothing.bytes), (0, 0));
    let there = objects.list("x", "", 1000).unwrap();
    let lost = [0, 1, 2, there.len() - 2][lost];
    let bytes = objects.get(&there[lost].name).unwrap().unwrap();
    objects.delete(&there[lost].name).unwrap();
    if flips {
        let mut bytes = bytes;
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        objects.create(&there[lost].name, &bytes).unwrap();
    }
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(!audit.is_clean() && !audit.is_sound(), "{audit:?}");
    if !flips {
        let told = &audit.places[1].other_damage[0];
        assert!(told.contains("live blob") && told.contains("Copies::repair"), "{audit:?}");
    }

    engine.copies().sync(None, &mut |_| {}).unwrap();
    assert!(!engine.audit(&[], &mut |_| {}).unwrap().is_sound(), "a sync looks at what is newer");
    let repaired = engine.copies().repair("copy", &mut |_| {}).unwrap();
    assert!(repaired.blobs > 0 && repaired.bytes > 0, "{repaired:?}");
    assert_eq!(repaired.damaged, 0, "{mode:?}, {lost}, {flips}");
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{mode:?}, {lost}, {flips}: {audit:?}");
    ids.push(put(&engine, 7, b"it goes on").unwrap());
    engine.copies().sync(None, &mut |_| {}).unwrap();
    let copy = engine.copies().attached("copy").unwrap();
    let into = MemoryStore::new();
    restore(&cell, &[copy], &into, &mut |_| {}).unwrap();
    drop(engine);
    let engine = Engine::open(Arc::new(into), Arc::new(cell.handle()), with_copies_in(objects));
    let engine = engine.unwrap();
    ids.iter().for_each(|id| _ = read(&engine, id).unwrap());
}
