//! A forked child holds its parent's store and cell and must do nothing with them; here a thread
//! plays the child. SPEC §6.8.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::testing::as_a_forked_child;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Query, Scope};

use crate::support::{bytes, copy, error_kind, files, open_files, read_record, user};

fn make(dir: &Path, keeper: Keeper) -> Engine {
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
    Engine::init(Arc::new(store), Arc::new(cell), Options::new().keeper(keeper)).unwrap()
}

#[test]
fn a_child_that_goes_leaves_its_parents_store_and_cell_as_they_are() {
    for keeper in [Keeper::ByHand, Keeper::Thread] {
        let dir = tempfile::tempdir().unwrap();
        let engine = make(dir.path(), keeper);
        let mut ids = Vec::new();
        for n in 0..8u64 {
            ids.push(
                engine.put(Put::new(user("ada"), Class::audio()), &bytes(n, 3000)[..]).unwrap(),
            );
        }
        // With the second erase the next root key stands ready in the cell, and zeros are written
        // ahead of the log's end.
        for id in &ids[..3] {
            engine.erase(Scope::Record(*id)).unwrap();
        }
        let mut reader = engine.get(&ids[5]).unwrap();
        reader.read_exact(&mut [0; 100]).unwrap();
        let mut batch = engine.batch();
        batch.add(Put::new(user("ada"), Class::audio()), &b"in a batch"[..]).unwrap();
        let before = files(dir.path());
        as_a_forked_child(|| {
            assert_eq!(error_kind(engine.get(&ids[5])), ErrorKind::Refused);
            assert_eq!(
                error_kind(engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..])),
                ErrorKind::Refused
            );
            assert_eq!(error_kind(engine.erase(Scope::user(user("ada")))), ErrorKind::Refused);
            assert_eq!(error_kind(engine.rekey().map(|_| ())), ErrorKind::Refused);
            assert_eq!(error_kind(engine.list(&Query::default())), ErrorKind::Refused);
            assert_eq!(error_kind(engine.report(&user("ada"))), ErrorKind::Refused);
            assert_eq!(error_kind(engine.discard(&mut |_| {})), ErrorKind::Refused);
            assert_eq!(error_kind(engine.run_due(&mut |_| {}).map(|_| ())), ErrorKind::Refused);
            assert_eq!(error_kind(engine.status().map(|_| ())), ErrorKind::Refused);
            assert!(
                engine
                    .erase_all(&[Scope::user(user("ada"))])
                    .into_iter()
                    .all(|e| error_kind(e) == ErrorKind::Refused)
            );
            let e = reader.read(&mut [0; 10]).unwrap_err();
            assert_eq!(e.downcast::<Error>().unwrap().kind(), ErrorKind::Refused);
            drop((reader, batch, engine));
        });
        assert!(files(dir.path()) == before, "the child wrote, or trimmed the log");
        // The parent's lock is held, and what it has is whole.
        assert_eq!(error_kind(SledStore::open(&dir.path().join("store"))), ErrorKind::Locked);
        assert_eq!(
            error_kind(FileCell::open(&dir.path().join("cell"), Arc::new(System))),
            ErrorKind::Locked
        );
        let elsewhere = tempfile::tempdir().unwrap();
        for part in ["store", "cell"] {
            copy(&dir.path().join(part), &elsewhere.path().join(part));
        }
        let engine =
            open_files(&elsewhere.path().join("store"), &elsewhere.path().join("cell")).unwrap();
        for (n, id) in ids.iter().enumerate().skip(3) {
            assert_eq!(read_record(&engine, id).unwrap(), bytes(n as u64, 3000));
        }
    }
}

/// The number of a process that ended is given again: it alone does not tell which process opened a
/// store.
#[test]
fn a_child_with_its_parents_process_number_is_known_by_its_start_time() {
    let dir = tempfile::tempdir().unwrap();
    let engine = make(dir.path(), Keeper::ByHand);
    let number = std::process::id();
    as_a_forked_child(|| {
        assert_eq!(std::process::id(), number);
        assert_eq!(error_kind(engine.list(&Query::default())), ErrorKind::Refused);
    });
    engine.list(&Query::default()).unwrap();
}

#[test]
fn a_child_opens_a_store_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    as_a_forked_child(|| {
        let engine = make(dir.path(), Keeper::ByHand);
        let id = engine.put(Put::new(user("ada"), Class::audio()), &b"the child's"[..]).unwrap();
        assert_eq!(read_record(&engine, &id).unwrap(), b"the child's");
    });
}

#[test]
fn the_process_that_has_a_store_open_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let engine = make(dir.path(), Keeper::ByHand);
    let id = engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    let reader = engine.get(&id).unwrap();
    drop(engine);
    let e = SledStore::open(&dir.path().join("store")).unwrap_err();
    assert!(e.kind() == ErrorKind::Locked && e.to_string().contains("by this process"), "{e}");
    let e = FileCell::open(&dir.path().join("cell"), Arc::new(System)).unwrap_err();
    assert!(
        e.to_string()
            .contains("by this process (an Engine, Reader, Opening or Batch is still held)"),
        "{e}"
    );
    // Another process is told which one it is.
    let (store, cell) = (dir.path().join("store"), dir.path().join("cell"));
    let (done, text) =
        crate::support::run(&["list", store.to_str().unwrap(), "--cell", cell.to_str().unwrap()]);
    assert!(!done && text.contains(&format!("by process {}", std::process::id())), "{text}");
    drop(reader);
    open_files(&store, &cell).unwrap();
}
