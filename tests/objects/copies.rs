//! What a copy in step on objects costs.

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::CopyMode;
use keyfall::store::MemoryStore;
use keyfall::{Engine, Scope};
use keyfall_objects::{Counted, CountedObjects, MemoryObjects};

use crate::engines::{put, user, with_copies_in};

/// Its names were drawn under another naming key: what is in a commit is one object, and its head
/// another one. Before that the copy's newest object is looked at: a place that was emptied would
/// take the commit as well. An erase reads both back.
#[test]
fn a_copy_in_step_takes_two_creates_for_each_commit() {
    let objects = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let options = with_copies_in(objects.clone());
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::init(store, Arc::new(MemoryCell::new()), options).unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    put(&engine, 0, b"the first one").unwrap();
    engine.erase(Scope::user(user(0))).unwrap();
    let of = |gets: u64| Counted { creates: 2, gets, ..Counted::default() };
    for n in 1..20 {
        objects.take();
        put(&engine, n, b"a voice").unwrap();
        assert_eq!(objects.take(), of(1), "put {n}");
        engine.erase(Scope::user(user(n))).unwrap();
        assert_eq!(objects.take(), of(3), "erase {n}");
    }
}
