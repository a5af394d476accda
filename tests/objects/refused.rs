//! A place that refuses for good: credentials that are withdrawn, a bucket that is locked against
//! deletes. What was refused changed nothing, and the engine goes on once it is allowed again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{CopyMode, restore};
use keyfall::store::{MemoryStore, ObjectLog, Store};
use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Scope};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Result};

use crate::engines::{options, put, read, user, with_copies_in};
use crate::set_back::all;

/// Objects that refuse after so many requests, or refuse to delete.
struct Refusing {
    inner: MemoryObjects,
    left: AtomicI64,
    locked: AtomicBool,
    far: AtomicBool,
}

impl Refusing {
    fn new() -> Arc<Self> {
        let (inner, left) = (MemoryObjects::new(), AtomicI64::new(i64::MAX));
        let (locked, far) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Refusing { inner, left, locked, far })
    }

    fn after(&self, requests: i64) {
        self.left.store(requests, Ordering::SeqCst);
    }

    fn ask(&self, name: &str) -> Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => Ok(()),
            _ => Err(Failure::refused(format!("{name}: 403 Forbidden: AccessDenied"))),
        }
    }
}

impl Objects for Refusing {
    fn place(&self) -> String {
        "guarded".into()
    }
    fn is_far(&self) -> bool {
        self.far.load(Ordering::SeqCst)
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        self.ask(name).and_then(|()| self.inner.create(name, bytes))
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.ask(name).and_then(|()| self.inner.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.ask(name).and_then(|()| self.inner.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.ask(folder).and_then(|()| self.inner.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.ask(name).and_then(|()| self.inner.head(name))
    }
    fn delete(&self, name: &str) -> Result<()> {
        if self.locked.load(Ordering::SeqCst) {
            return Err(Failure::refused(format!("{name}: 403 Forbidden: the object is locked")));
        }
        self.ask(name).and_then(|()| self.inner.delete(name))
    }
}

fn log(objects: &Arc<Refusing>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap())
}

fn payload(n: u32) -> Vec<u8> {
    n.to_be_bytes().into_iter().cycle().take(3000).collect()
}

fn are_there(engine: &Engine, kept: &[(RecordId, u32)], when: &str) {
    for (id, n) in kept {
        assert!(read(engine, id).unwrap() == payload(*n), "{when}: record {n}");
    }
}

/// A batch that is more than one object holds.
fn put_many(engine: &Engine) -> keyfall::Result<Vec<RecordId>> {
    let mut batch = engine.batch();
    let payload = vec![7; 100_000];
    for n in 0..100 {
        batch.add(Put::new(user(500 + n), Class::audio()), &payload[..])?;
    }
    batch.commit()
}

/// What was refused says so, and did not happen unless it says that it may have.
fn told(e: &keyfall::Error, when: &str) {
    assert_eq!(e.kind(), ErrorKind::Io, "{when}: {e}");
    assert!(e.to_string().contains("AccessDenied"), "{when}: {e}");
}

#[test]
fn credentials_that_are_withdrawn_for_a_while() {
    let objects = Refusing::new();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), Arc::clone(&cell), options()).unwrap();
    let mut kept: Vec<(RecordId, u32)> =
        (0..20).map(|n| (put(&engine, n, &payload(n)).unwrap(), n)).collect();
    let (mut refused, mut erased) = (0, Vec::new());
    for round in 0..8 {
        let when = format!("after {round} requests");
        objects.after(round);
        match put(&engine, 100, &payload(100)) {
            Ok(id) => kept.push((id, 100)),
            Err(e) => {
                told(&e, &when);
                assert!(!e.may_have_happened(), "{when}: a put: {e}");
                refused += 1;
            }
        }
        objects.after(round);
        if let Err(e) = put_many(&engine) {
            told(&e, &when);
            assert!(!e.may_have_happened(), "{when}: a batch: {e}");
            refused += 1;
        }
        let (id, n) = kept.remove(3);
        objects.after(round);
        let done = engine.erase(Scope::record(id));
        objects.after(i64::MAX);
        if let Err(e) = done {
            told(&e, &when);
            refused += 1;
            if !e.may_have_happened() {
                assert_eq!(read(&engine, &id).unwrap(), payload(n), "{when}: nothing was erased");
            }
            match engine.erase(Scope::record(id)) {
                Ok(_) => {}
                Err(e) => assert_eq!(e.kind(), ErrorKind::Erased, "{when}: {e}"),
            }
        }
        erased.push(id);
        kept.push((put(&engine, 200, &payload(200)).unwrap(), 200));
        are_there(&engine, &kept, &when);
    }
    println!("{refused} calls were refused");
    assert!(refused >= 4, "{refused}");
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(cell.load().unwrap().keys.len(), 1);
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    are_there(&engine, &kept, "opened again");
    for id in &erased {
        assert_eq!(read(&engine, id).unwrap_err().kind(), ErrorKind::Erased);
    }
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// Erases need no delete: the keys are gone. A discard goes on, and says what had to stay.
#[test]
fn a_bucket_that_is_locked_against_deletes() {
    let objects = Refusing::new();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), Arc::clone(&cell), options()).unwrap();
    let mut kept: Vec<(RecordId, u32)> =
        (0..40).map(|n| (put(&engine, n, &payload(n)).unwrap(), n)).collect();
    put_many(&engine).unwrap();
    objects.locked.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for round in 0..3 {
        let (id, _) = kept.remove(5);
        engine.erase(Scope::record(id)).unwrap();
        engine.erase(Scope::user(user(500 + round))).unwrap();
        assert!(engine.status().unwrap().finality.is_final());
        let before = objects.inner.names().len();
        let done = engine.discard(&mut |_| {}).unwrap();
        assert!(done.bytes_refused > refused && !done.complete(), "{done:?}");
        assert!(done.bytes_left >= done.bytes_refused && done.bytes_gone == 0, "{done:?}");
        assert!(done.bytes_left < 2 * done.bytes_refused, "counted twice: {done:?}");
        refused = done.bytes_refused;
        assert!(objects.inner.names().len() >= before, "something went");
        engine.clean().unwrap();
        kept.push((put(&engine, 60, &payload(60)).unwrap(), 60));
        are_there(&engine, &kept, "locked");
    }
    let many = objects.inner.names().len();
    objects.locked.store(false, Ordering::SeqCst);
    let done = engine.discard(&mut |_| {}).unwrap();
    assert!(done.bytes_refused == 0 && done.bytes_gone >= refused, "{done:?}");
    assert!(objects.inner.names().len() < many, "what was locked is given back later");
    are_there(&engine, &kept, "unlocked");
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    are_there(&engine, &kept, "opened again");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// A copy far away is given a commit's blobs before the store has the commit. Whichever request of
/// that is refused, nothing is lost, and it is brought in step once it takes its requests again.
#[test]
fn a_copy_far_away_that_refuses_a_request_is_brought_in_step() {
    let mut refused = 0;
    for after in 0..12 {
        let objects = Refusing::new();
        objects.far.store(true, Ordering::SeqCst);
        let (cell, options) = (MemoryCell::new(), with_copies_in(objects.clone()));
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::init(store, Arc::new(cell.handle()), options.clone()).unwrap();
        engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
        let lives = put(&engine, 1, &[1; 3000]).unwrap();
        let falls = put(&engine, 2, &[2; 3000]).unwrap();
        objects.after(after);
        let made = put(&engine, 3, &[3; 3000]);
        let erased = engine.erase(Scope::user(user(2)));
        refused += u64::from(made.is_err()) + u64::from(erased.is_err());
        for e in [made.as_ref().err(), erased.as_ref().err()].into_iter().flatten() {
            // An erase that is published, and could not be read back from the copy, says that.
            let is_told = e.kind() == ErrorKind::Copy || e.may_have_happened();
            assert!(is_told, "{after}: {e}");
        }
        objects.after(i64::MAX);
        engine.erase(Scope::user(user(2))).unwrap();
        let later = put(&engine, 4, &[4; 3000]).unwrap();
        let audit = engine.audit(&[], &mut |_| {}).unwrap();
        assert!(audit.is_clean(), "{after}: {audit:?}");
        let into = MemoryStore::new();
        restore(&cell, &[engine.copies().attached("copy").unwrap()], &into, &mut |_| {}).unwrap();
        drop(engine);
        let cell: Arc<dyn RootCell> = Arc::new(cell.handle());
        let engine = Engine::open(Arc::new(into), cell, options).unwrap();
        for id in [lives, later].iter().chain(made.as_ref().ok()) {
            read(&engine, id).unwrap();
        }
        assert_eq!(read(&engine, &falls).unwrap_err().kind(), ErrorKind::Erased, "{after}");
    }
    assert!(refused > 8, "{refused} were refused");
}

/// A copy far away that was emptied gets nothing ahead: where a page is, all below it is.
#[test]
fn a_copy_far_away_that_was_emptied_is_filled_again() {
    let objects = Refusing::new();
    objects.far.store(true, Ordering::SeqCst);
    let (cell, options) = (MemoryCell::new(), with_copies_in(objects.clone()));
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::init(store, Arc::new(cell.handle()), options).unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    for n in 0..20 {
        put(&engine, n, &[n as u8; 3000]).unwrap();
    }
    for name in all(&objects.inner).keys().filter(|name| name.as_str() != "keyfall") {
        objects.inner.delete(name).unwrap();
    }
    // Whatever comes of it: it must not count as in step and lack what it lost.
    drop(put(&engine, 20, &[20; 3000]));
    drop(put(&engine, 21, &[21; 3000]));
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    let in_step = engine.copies().status()[0].error.is_none();
    assert!(audit.is_clean() || !in_step, "{audit:?}");
}
