//! The published conformance suites, over every adapter of this crate. SPEC §6.8, §7, §9, §15.

use std::sync::Arc;

use keyfall::cell::{FileCell, MemoryCell, RootCell};
use keyfall::env::System;
use keyfall::store::{MemoryStore, SledStore, Store};
use keyfall::testing::{cell_conformance, store_conformance};

#[test]
fn memory_store_conforms() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    store_conformance(|| Arc::clone(&store));
}

#[test]
fn sled_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let mut first = true;
    store_conformance(|| {
        let store = if std::mem::take(&mut first) {
            SledStore::create(&place)
        } else {
            SledStore::open(&place)
        };
        Arc::new(store.unwrap())
    });
}

#[test]
fn memory_cell_conforms() {
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    cell_conformance(|| Arc::clone(&cell));
}

#[test]
fn file_cell_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let mut first = true;
    cell_conformance(|| {
        let cell = if std::mem::take(&mut first) {
            FileCell::create(&place, true, Arc::new(System))
        } else {
            FileCell::open(&place, Arc::new(System))
        };
        Arc::new(cell.unwrap())
    });
}
