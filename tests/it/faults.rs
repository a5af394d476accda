//! Every write to a store, a copy or the cell fails in turn, with its effect or without: after reopening, what was
//! acknowledged holds, what was not is whole or not there, and the adversary knows what lives and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keyfall::cell::{Contents, Durable, MemoryCell, Promise, Retirement, RootCell, RootId};
use keyfall::crypto::Key;
use keyfall::engine::{CopyMode, Options};
use keyfall::ids::{BlobName, StoreId};
use keyfall::store::{Blob, Head, HeadId, MemoryStore, Published, Store, Usage};
use keyfall::testing::{RecordingStore, Seeded, Tape};
use keyfall::{Class, Engine, Error, ErrorKind, Put, Result, Scope};

use crate::support::{SMALL, read, user};

/// Counts writes down to the one that fails.
struct Fuse {
    left: AtomicU32,
    /// Whether the failing write takes effect before its error is told.
    applied: bool,
}

impl Fuse {
    fn write<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let at = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if at != Ok(1) {
            return f();
        }
        if self.applied {
            f()?;
        }
        Err(Error::new(ErrorKind::Io, "the medium failed"))
    }
}

struct Faulty<T: ?Sized> {
    fuse: Arc<Fuse>,
    inner: Arc<T>,
}

impl Store for Faulty<dyn Store> {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.fuse.write(|| self.inner.put(blobs))
    }
    fn head(&self) -> Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.fuse.write(|| self.inner.commit(blobs, over, head))
    }
    fn names(&self, from: &BlobName, limit: usize) -> Result<Vec<BlobName>> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<()> {
        self.fuse.write(|| self.inner.remove(names))
    }
    fn usage(&self) -> Result<Usage> {
        self.inner.usage()
    }
}

impl RootCell for Faulty<MemoryCell> {
    fn describe(&self) -> Promise {
        self.inner.describe()
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.fuse.write(|| self.inner.deposit(store, id, key))
    }
    fn load(&self) -> Result<Contents> {
        self.inner.load()
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.fuse.write(|| self.inner.retire(keep, proof))
    }
}

/// One run: some puts and erases with the fault at write `n`. Returns whether the fuse blew.
fn run(n: u32, applied: bool) -> bool {
    let tape = Tape::new();
    let record = |store: &Arc<MemoryStore>| {
        Arc::new(RecordingStore::new(Arc::clone(store) as Arc<dyn Store>, Arc::clone(&tape))) as Arc<dyn Store>
    };
    let (store, copy, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let env = Arc::new(Seeded::new(u64::from(n)));
    let open = |fuse: &Arc<Fuse>, first: bool| {
        let faulty = |inner: Arc<dyn Store>| Arc::new(Faulty { fuse: Arc::clone(fuse), inner }) as Arc<dyn Store>;
        let replica = faulty(record(&copy));
        let open_copy = Arc::new(move |_: &str, _| Ok(Arc::clone(&replica)));
        let options = Options { env: env.clone(), geometry: SMALL, open_copy, ..Options::default() };
        let cell = Arc::new(Faulty { fuse: Arc::clone(fuse), inner: Arc::clone(&cell) }) as Arc<dyn RootCell>;
        let make = if first { Engine::init } else { Engine::open };
        make(faulty(record(&store)), cell, options)
    };
    let quiet = Arc::new(Fuse { left: AtomicU32::new(0), applied });
    let engine = open(&quiet, true).unwrap();
    engine.copy_add("replica", CopyMode::InStep, |_| {}).unwrap();
    drop(engine);

    let fuse = Arc::new(Fuse { left: AtomicU32::new(n), applied });
    let put = |engine: &Engine, name: &str| engine.put(Put::new(user(name), Class::audio()), name.as_bytes());
    let (mut live, mut gone, mut open_question) = (BTreeSet::new(), BTreeSet::new(), None);
    // Until the first error; then the process dies.
    let _ = (|| -> Result<()> {
        let engine = open(&fuse, false)?;
        for name in ["ada", "ben", "chloe", "dora"] {
            live.insert((put(&engine, name)?, name));
        }
        for name in ["ben", "dora"] {
            let id = live.iter().find(|(_, n)| *n == name).unwrap().0;
            open_question = Some((id, name));
            engine.erase(Scope::user(user(name)))?;
            open_question = None;
            live.remove(&(id, name));
            gone.insert(id);
        }
        engine.discard(&mut |_| {})?;
        Ok(())
    })();

    // Recovery, with the power failing again at each of its own writes.
    for again in 1..4 {
        let fuse = Arc::new(Fuse { left: AtomicU32::new(again), applied });
        drop(open(&fuse, false));
    }
    let engine = open(&quiet, false).unwrap();
    let what = format!("write {n} failed, {}", if applied { "applied" } else { "not applied" });
    if let Some((id, name)) = open_question {
        let erased = read(&engine, &id).is_err_and(|e| e.kind() == ErrorKind::Erased);
        if erased {
            live.remove(&(id, name));
            gone.insert(id);
        }
    }
    for (id, name) in &live {
        assert_eq!(read(&engine, id).unwrap(), name.as_bytes(), "{what}: lost");
    }
    for id in &gone {
        assert_eq!(read(&engine, id).unwrap_err().kind(), ErrorKind::Erased, "{what}: back");
    }
    assert_eq!(cell.load().unwrap().keys.len(), 1, "{what}: one root key is left");
    assert_eq!(engine.status().unwrap().unsettled, None, "{what}");
    let exposed = tape.exposed(&*cell).unwrap();
    for id in &gone {
        assert!(!exposed.contains_key(id), "{what}: the adversary opens what was erased");
    }
    // A put that failed may be there whole: what opens is what the engine lists.
    let listed: BTreeSet<_> = engine.list(&Default::default()).unwrap().records.into_iter().map(|r| r.id).collect();
    assert_eq!(exposed.keys().copied().collect::<BTreeSet<_>>(), listed, "{what}");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean(), "{what}");
    fuse.left.load(Ordering::SeqCst) == 0
}

#[test]
fn every_write_fails_once_with_and_without_effect() {
    for applied in [false, true] {
        let mut n = 1;
        while run(n, applied) {
            n += 1;
        }
        println!("{} writes, each failed ({applied})", n - 1);
        assert!(n > 20, "the run has more writes than {n}");
    }
}
