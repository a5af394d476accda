//! Copies, backups and restores. SPEC §8.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, Geometry, restore};
use keyfall::store::{MemoryStore, Store};
use keyfall::{Class, Engine, Error, ErrorKind, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

#[test]
fn a_copy_in_step_that_is_gone_holds_an_erase_up() {
    let mut world = World::new(11, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), b"x");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    // The place goes out of reach: a fresh engine cannot open it.
    let mut options = world.options.clone();
    options.open_copy =
        Arc::new(|place, _| Err(Error::new(ErrorKind::Io, format!("{place} is down"))));
    world.engine = None;
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let engine = Engine::open(Arc::clone(&world.store), cell, options).unwrap();
    assert_eq!(read_record(&engine, &id).unwrap(), b"x", "reading goes on");
    assert_eq!(error_kind(engine.erase(Scope::Record(id))), ErrorKind::Copy);
    assert!(engine.status().unwrap().unsettled.unwrap().contains("near"));
    engine.copies().remove("near").unwrap();
    engine.erase(Scope::Record(id)).unwrap();
    assert_eq!(engine.promise().kind, "memory");
}

/// An engine that only looks is at the state of before, and so is what it says of a copy that went
/// on with the store. A copy that is ahead of a store that went back can be restored from.
#[test]
fn a_copy_that_is_ahead_is_told_as_it_is() {
    let mut world = World::new(44, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let looks = world.options.clone().open_as(keyfall::engine::OpenAs::ReadOnly);
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let look = Engine::open(Arc::clone(&world.store), cell.clone(), looks.clone()).unwrap();
    world.put("ada", Class::audio(), b"y");
    let told = look.copies().status().remove(0);
    assert_eq!((told.error, told.restores), (None, Some(world.engine().head())));
    world.engine = None;
    let status = |store: Arc<dyn Store>| {
        let look = Engine::open(store, cell.clone(), looks.clone()).unwrap();
        (look.copies().status().remove(0), look.head())
    };
    let (told, head) = status(Arc::clone(&world.store));
    assert_eq!((told.error, told.restores), (None, Some(head)));
    let into: Arc<dyn Store> = Arc::new(MemoryStore::new());
    restore(&*world.cell, &[Arc::clone(&world.store)], &*into, &mut |_| {}).unwrap();
    world.reopen();
    world.put("ada", Class::audio(), b"z");
    let newest = world.engine().head();
    world.engine = None;
    let (told, _) = status(Arc::clone(&into));
    assert_eq!(told.restores, Some(newest));
    assert!(told.error.is_some_and(|e| e.contains("restore from it")), "what is ahead is told");
    let look = Engine::open(into, cell, looks.clone()).unwrap();
    let audit = look.audit(&[], &mut |_| {}).unwrap();
    assert!(!audit.is_clean(), "the store lacks what the copy holds");
    assert!(audit.lacks.is_some_and(|lacks| lacks.contains("restore from it")));
}

#[test]
fn a_copy_that_comes_back_catches_up_and_the_erase_completes() {
    let mut world = World::new(25, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), b"x");
    let other = world.put("bob", Class::audio(), b"y");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let (flag, whole) = (Arc::clone(&down), Arc::clone(&world.options.open_copy));
    world.options.open_copy = Arc::new(move |place, create| {
        if flag.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, format!("{place} is down")));
        }
        whole(place, create)
    });
    world.reopen();
    assert_eq!(error_kind(world.engine().erase(Scope::Record(id))), ErrorKind::Copy);
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"x", "it failed before any change");
    down.store(false, Ordering::SeqCst);
    world.engine().erase(Scope::Record(id)).unwrap();
    assert_eq!(world.cell.load().unwrap().keys.len(), 1);
    assert_eq!(world.engine().copies().status()[0].head, Some(world.engine().head()));
    assert_eq!(read_record(world.engine(), &other).unwrap(), b"y");
}

#[test]
fn restore_takes_pages_from_one_copy_and_payloads_from_another() {
    let world = World::new(12, Geometry::default());
    let keep = world.put("bob", Class::audio(), &bytes(1, 300_000));
    let gone = world.put("ada", Class::audio(), &bytes(2, 300_000));
    world.engine().copies().add("backup", CopyMode::Behind, &mut |_| {}).unwrap();
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    world.engine().erase(Scope::user(user("ada"))).unwrap();
    let (backup, replica) = (world.place("backup"), world.place("replica"));
    // The replica loses every payload: only pages are as small as this.
    let names = keyfall::testing::listed(&*replica, 1000).unwrap();
    let large: Vec<_> =
        names.into_iter().filter(|n| replica.get(n).unwrap().unwrap().len() > 8192).collect();
    assert_eq!(large.len(), 4);
    replica.remove(&large).unwrap();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let into = Arc::new(MemoryStore::new());
    let e = restore(&*cell, &[replica.clone() as Arc<dyn Store>], &*into, &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "payloads are missing: {e}");
    let done = restore(&*cell, &[backup, replica], &*into, &mut |_| {}).unwrap();
    assert_eq!(done.head.epoch, 2);
    let engine = Engine::open(into, cell, world.options.clone()).unwrap();
    assert_eq!(read_record(&engine, &keep).unwrap(), bytes(1, 300_000));
    assert_eq!(error_kind(read_record(&engine, &gone)), ErrorKind::Erased);
}

#[test]
fn a_backup_copies_what_is_new_and_no_more() {
    let world = World::new(22, Geometry::default());
    for n in 0..200u8 {
        world.put(&format!("u{n}"), Class::audio(), &bytes(n.into(), 2000));
    }
    let backup = (world.options.open_copy)("backup", true).unwrap();
    let first = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert!(first.blobs > 400, "{first:?}");
    let again = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert_eq!((again.blobs, again.head), (0, Some(world.engine().head())));
    world.put("u7", Class::audio(), b"new");
    world.engine().erase(Scope::user(user("u9"))).unwrap();
    let more = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert!((3..15).contains(&more.blobs), "two paths: {more:?}");
    let other = World::new(23, Geometry::default());
    assert_eq!(
        error_kind(other.engine().backup(&*backup, &mut |_| {})),
        ErrorKind::Refused,
        "another store's backup is left alone"
    );
}

#[test]
fn a_store_has_eight_copies_and_no_more() {
    let mut world = World::new(63, SMALL_PAGES);
    for n in 0..8 {
        world.engine().copies().add(&format!("copy {n}"), CopyMode::Behind, &mut |_| {}).unwrap();
    }
    assert_eq!(
        error_kind(world.engine().copies().add("copy 8", CopyMode::Behind, &mut |_| {})),
        ErrorKind::Limit
    );
    world.reopen();
    assert_eq!(world.engine().copies().status().len(), 8);
}
