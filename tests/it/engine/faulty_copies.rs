//! Copies in step that lose everything, or have no space left. SPEC §6, §8.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, restore};
use keyfall::store::BlobName;
use keyfall::store::{Blob, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage};
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Query, Result, Scope};

use crate::support::{SMALL_PAGES, World, bytes, read_record, user};

/// A store that can be set back without the engine's knowledge.
struct SetBack(std::sync::Mutex<Arc<dyn Store>>);

impl SetBack {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Store for SetBack {
    fn place(&self) -> String {
        "set back".into()
    }
    fn get(&self, name: &BlobName) -> keyfall::Result<Option<Vec<u8>>> {
        self.store().get(name)
    }
    fn put(&self, blobs: &[Blob]) -> keyfall::Result<()> {
        self.store().put(blobs)
    }
    fn contains(&self, name: &BlobName) -> keyfall::Result<bool> {
        self.store().contains(name)
    }
    fn head(&self) -> keyfall::Result<Option<Head>> {
        self.store().head()
    }
    fn commit(
        &self,
        blobs: &[Blob],
        over: Option<HeadId>,
        head: &Head,
    ) -> keyfall::Result<Published> {
        self.store().commit(blobs, over, head)
    }
    fn names(
        &self,
        from: Cursor,
        limit: usize,
    ) -> keyfall::Result<(Vec<BlobName>, Option<Cursor>)> {
        self.store().names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> keyfall::Result<Removed> {
        self.store().remove(names)
    }
    fn usage(&self) -> keyfall::Result<Usage> {
        self.store().usage()
    }
}

#[test]
fn a_copy_in_step_that_lost_everything_is_brought_up_by_the_next_put() {
    let mut world = World::new(62, SMALL_PAGES);
    let copy = Arc::new(SetBack(std::sync::Mutex::new(Arc::new(MemoryStore::new()))));
    let opened = Arc::clone(&copy);
    world.options.open_copy = Arc::new(move |_, _| Ok(Arc::clone(&opened) as Arc<dyn Store>));
    world.reopen();
    world.engine().copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let first = world.put("ada", Class::audio(), b"first");
    *copy.0.lock().unwrap() = Arc::new(MemoryStore::new());
    let second = world.put("ada", Class::audio(), b"second");
    let into = MemoryStore::new();
    restore(&*world.cell, &[copy.store()], &into, &mut |_| {}).unwrap();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let restored = Engine::open(Arc::new(into), cell, Options::default()).unwrap();
    assert_eq!(
        (read_record(&restored, &first).unwrap(), read_record(&restored, &second).unwrap()),
        (b"first".to_vec(), b"second".to_vec())
    );
}

/// A copy whose disk is full, but for what it keeps for erases.
#[derive(Default)]
struct Tight {
    inner: MemoryStore,
    away: AtomicBool,
    full: AtomicBool,
    erasing: AtomicBool,
}

impl Tight {
    fn room(&self, erases: bool) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, "near is out of reach"));
        }
        if self.full.load(Ordering::SeqCst) && !erases && !self.erasing.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Full,
                "near: no space left; free some space and call again",
            ));
        }
        Ok(())
    }
}

impl Store for Tight {
    fn place(&self) -> String {
        "near".into()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.room(false)?;
        self.inner.put(blobs)
    }
    fn for_an_erase(&self, on: bool) {
        self.erasing.store(on, Ordering::SeqCst);
    }
    fn head(&self) -> Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.room(over.is_some_and(|over| over.epoch < head.id.epoch))?;
        self.inner.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.inner.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.inner.usage()
    }
}

/// The put said "call again", and called again it was there twice; the erase failed though the copy
/// had kept room for it.
#[test]
fn a_full_copy_delays_no_erase_and_a_put_it_lacks_is_reported_as_done() {
    let mut world = World::new(31, SMALL_PAGES);
    let tight = Arc::new(Tight::default());
    let copy: Arc<dyn Store> = tight.clone();
    world.options.open_copy = Arc::new(move |_, _| Ok(Arc::clone(&copy)));
    world.reopen();
    let engine = world.engine();
    engine.copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    world.put("ada", Class::audio(), b"x");
    tight.full.store(true, Ordering::SeqCst);
    let put = |name: &str| {
        engine.put(Put::new(user(name), Class::audio()), &bytes(1, 100_000)[..]).unwrap_err()
    };
    let records = || engine.list(&Query::default()).unwrap().records.len();
    let e = put("bob");
    assert!(e.kind() == ErrorKind::Copy && e.may_have_happened(), "{e:?}");
    assert!(
        e.to_string().contains("must not be put again") && !e.to_string().contains("call again"),
        "{e}"
    );
    assert_eq!(records(), 2, "it is in");
    // The next one waits for it: nothing of that is in.
    let e = put("eve");
    assert!(e.kind() == ErrorKind::Copy && !e.may_have_happened(), "{e:?}");
    assert_eq!(records(), 2);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(tight.head().unwrap().unwrap().id, engine.head());
    assert_eq!(world.cell.load().unwrap().keys.len(), 1);
    assert!(!tight.erasing.load(Ordering::SeqCst), "what is put next is not needed by an erase");
    assert_eq!(put("eve").kind(), ErrorKind::Copy);
}

/// Where nothing else was due, and nobody changed anything, the old root key stayed.
#[test]
fn an_erase_that_a_copy_left_open_is_completed_by_a_call_for_what_is_due() {
    let mut world = World::new(32, SMALL_PAGES);
    let tight = Arc::new(Tight::default());
    let copy: Arc<dyn Store> = tight.clone();
    world.options.open_copy = Arc::new(move |_, _| Ok(Arc::clone(&copy)));
    world.reopen();
    let engine = world.engine();
    engine.copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let id = world.put("ada", Class::audio(), b"x");
    tight.away.store(true, Ordering::SeqCst);
    let e = engine.erase(Scope::record(id)).unwrap_err();
    assert!(e.kind() == ErrorKind::Copy && e.may_have_happened(), "{e:?}");
    let keys = || world.cell.load().unwrap().keys.len();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(keys(), 2, "the copy is still away");
    tight.away.store(false, Ordering::SeqCst);
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(keys(), 1);
    assert_eq!(tight.head().unwrap().unwrap().id, engine.head());
}
