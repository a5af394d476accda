//! Making and opening a store: with its own cell, at the newest epoch, by one writer. SPEC §6,
//! §6.8.

use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{CopyMode, restore};
use keyfall::store::{Head, HeadId, MemoryStore, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope};

use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

#[test]
fn an_old_store_is_refused_and_both_epochs_named() {
    let world = World::new(10, SMALL_PAGES);
    world.engine().copies().add("backup", CopyMode::Behind, &mut |_| {}).unwrap();
    let id = world.put("ada", Class::audio(), b"x");
    world.engine().copies().sync(None, &mut |_| {}).unwrap();
    world.engine().erase(Scope::Record(id)).unwrap();
    let old: Arc<dyn Store> = world.place("backup");
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let e = Engine::open(Arc::clone(&old), Arc::clone(&cell), world.options.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert!(e.to_string().contains("epoch 1") && e.to_string().contains("epoch 2"), "{e}");
    let e = restore(&*cell, &[old], &MemoryStore::new(), &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert_eq!(
        error_kind(Engine::open(empty, cell, world.options.clone())),
        ErrorKind::Corrupt,
        "an empty store is no new one"
    );
}

#[test]
fn a_second_writer_is_found_out_and_its_candidate_destroyed() {
    let mut world = World::new(20, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), b"x");
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let second =
        Engine::open(Arc::clone(&world.store), Arc::clone(&cell), world.options.clone()).unwrap();
    second.put(Put::new(user("bob"), Class::audio()), &b"y"[..]).unwrap();
    let e = world.engine().erase(Scope::Record(id)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    assert_eq!(
        error_kind(world.engine().put(Put::new(user("eve"), Class::audio()), &b"z"[..])),
        ErrorKind::Poisoned
    );
    assert_eq!(cell.load().unwrap().keys.len(), 2, "the loser's candidate is still in the cell");
    drop(second);
    world.reopen();
    assert_eq!(cell.load().unwrap().keys.len(), 1, "opening destroys it");
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"x", "nothing was lost");
}

#[test]
fn a_store_is_made_once_and_opened_with_its_own_cell() {
    let options = || Options::new().geometry(SMALL_PAGES);
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let (as_store, as_cell) =
        (|| store.clone() as Arc<dyn Store>, || cell.clone() as Arc<dyn RootCell>);
    assert_eq!(
        error_kind(Engine::open(as_store(), as_cell(), options())),
        ErrorKind::Absent,
        "a cell without a key"
    );
    drop(Engine::init(as_store(), as_cell(), options()).unwrap());
    assert_eq!(
        error_kind(Engine::init(as_store(), Arc::new(MemoryCell::new()), options())),
        ErrorKind::Exists
    );
    assert_eq!(
        error_kind(Engine::init(Arc::new(MemoryStore::new()), as_cell(), options())),
        ErrorKind::Exists
    );
    assert_eq!(
        error_kind(Engine::open(Arc::new(MemoryStore::new()), as_cell(), options())),
        ErrorKind::Corrupt
    );
    let other = Arc::new(MemoryCell::new());
    drop(Engine::init(Arc::new(MemoryStore::new()), other.clone(), options()).unwrap());
    assert_eq!(
        error_kind(Engine::open(as_store(), other, options())),
        ErrorKind::Mismatch,
        "another store's cell"
    );
    // A head under another number than it says of itself.
    let head = store.head().unwrap().unwrap();
    let misfiled = Head { id: HeadId { epoch: 1, commit: 9 }, bytes: head.bytes };
    store.commit(&[], Some(head.id), &misfiled).unwrap();
    assert_eq!(error_kind(Engine::open(as_store(), as_cell(), options())), ErrorKind::Corrupt);
}
