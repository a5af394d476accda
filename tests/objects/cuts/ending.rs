//! Objects, a cell and keyholders that answer up to a step, and from there on no more.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use keyfall::cell::{Contents, Durable, MemoryCell, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::promise::{Awaited, Promise, Retirement, RootId, Statement};
use keyfall::quorum::{Held, Holder, Keyholder, Share};
use keyfall::store::StoreId;
use keyfall::{Error, ErrorKind};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Result};

/// What becomes of the step at which a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dies {
    /// It is never made.
    Before,
    /// It takes effect, and nobody hears of it.
    Unheard,
    /// What it creates or deletes arrives when the process has been replaced.
    Late,
}

enum Passes {
    Goes,
    GoesUnheard,
    Later,
    Fails,
}

/// The steps of one process.
pub(super) struct Ending {
    /// Whether steps are counted.
    counts: AtomicBool,
    /// Whether reads are steps: how many there are may hang on which of two threads is first.
    at_reads: bool,
    left: AtomicI64,
    dies: Dies,
    steps: Mutex<Vec<String>>,
    /// Names, and what is created there; nothing is where it is deleted.
    on_its_way: Mutex<Vec<(String, Option<Vec<u8>>)>>,
}

impl Ending {
    pub(super) fn new(dies: Dies, at_reads: bool) -> Arc<Self> {
        Arc::new(Ending {
            counts: AtomicBool::new(false),
            at_reads,
            left: AtomicI64::new(0),
            dies,
            steps: Mutex::default(),
            on_its_way: Mutex::default(),
        })
    }

    /// From now on steps count, and this one is the last.
    pub(super) fn at(&self, step: i64) {
        self.left.store(step, Ordering::SeqCst);
        self.counts.store(true, Ordering::SeqCst);
    }

    /// The process was held up alone, and goes on.
    pub(super) fn goes_on(&self) {
        self.counts.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    /// What was done, in order, since steps count.
    pub(super) fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap().clone()
    }

    /// What is on its way arrives, and may do so again.
    pub(super) fn arrive(&self, place: &MemoryObjects) {
        for (name, bytes) in &*self.on_its_way.lock().unwrap() {
            match bytes {
                Some(bytes) => drop(place.create(name, bytes).unwrap()),
                None => place.delete(name).unwrap(),
            }
        }
    }

    fn passes(&self, what: &str) -> Passes {
        if !self.counts.load(Ordering::SeqCst) {
            return Passes::Goes;
        }
        if !self.at_reads && what.starts_with("get ") {
            return if self.is_over() { Passes::Fails } else { Passes::Goes };
        }
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            self.steps.lock().unwrap().push(what.to_owned());
        }
        match (left, self.dies) {
            (2.., _) => Passes::Goes,
            (1, Dies::Unheard) => Passes::GoesUnheard,
            (1, Dies::Late) => Passes::Later,
            _ => Passes::Fails,
        }
    }

    /// A request to the store.
    fn ask<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.passes(what) {
            Passes::Goes => act(),
            Passes::GoesUnheard => {
                act()?;
                Err(Failure::unknown("the end, after it took effect"))
            }
            Passes::Later | Passes::Fails => Err(Failure::refused("the end")),
        }
    }

    /// It is sent, and arrives later.
    fn later<T>(&self, name: &str, creates: Option<&[u8]>) -> Result<T> {
        self.on_its_way.lock().unwrap().push((name.to_owned(), creates.map(<[u8]>::to_vec)));
        Err(Failure::unknown("the end, before it arrives"))
    }

    /// A step of the cell.
    fn step<T>(&self, what: &str, act: impl FnOnce() -> keyfall::Result<T>) -> keyfall::Result<T> {
        let the_end = || Err(Error::new(ErrorKind::Io, "the end"));
        match self.passes(what) {
            Passes::Goes => act(),
            Passes::GoesUnheard => act().and_then(|_| the_end()),
            Passes::Later | Passes::Fails => the_end(),
        }
    }
}

/// Something of a process that ends.
pub(super) struct Mortal<T> {
    pub(super) of: Arc<T>,
    pub(super) ending: Arc<Ending>,
}

impl Objects for Mortal<MemoryObjects> {
    fn place(&self) -> String {
        self.of.place()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let create = || self.of.create(name, bytes);
        match self.ending.passes(&format!("create {name}")) {
            Passes::Goes => create(),
            Passes::GoesUnheard => {
                create()?;
                Err(Failure::unknown("the end, after it took effect"))
            }
            Passes::Later => self.ending.later(name, Some(bytes)),
            Passes::Fails => Err(Failure::refused("the end")),
        }
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.ending.ask(&format!("get {name}"), || self.of.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.ending.ask(&format!("get {name} from {from}"), || self.of.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.ending.ask(&format!("list {folder}"), || self.of.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.ending.ask(&format!("head {name}"), || self.of.head(name))
    }
    fn delete(&self, name: &str) -> Result<()> {
        match self.ending.passes(&format!("delete {name}")) {
            Passes::Goes => self.of.delete(name),
            Passes::GoesUnheard => {
                self.of.delete(name)?;
                Err(Failure::unknown("the end, after it took effect"))
            }
            Passes::Later => self.ending.later(name, None),
            Passes::Fails => Err(Failure::refused("the end")),
        }
    }
}

impl RootCell for Mortal<MemoryCell> {
    fn describe(&self) -> Promise {
        self.of.describe()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> keyfall::Result<()> {
        self.ending.step("cell: claim", || self.of.claim(store, owner, mark))
    }
    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        self.of.awaited(keep)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> keyfall::Result<()> {
        self.ending.step("cell: deposit", || self.of.deposit(store, id, key))
    }
    fn load(&self) -> keyfall::Result<Contents> {
        self.ending.step("cell: load", || self.of.load())
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> keyfall::Result<Retirement> {
        self.ending.step("cell: retire", || self.of.retire(keep, proof))
    }
}

impl Keyholder for Mortal<Holder> {
    fn place(&self) -> String {
        self.of.place()
    }
    fn key(&self) -> [u8; 32] {
        self.of.key()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> keyfall::Result<()> {
        self.ending.step("keyholder: claim", || self.of.claim(store, owner, mark))
    }
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> keyfall::Result<()> {
        self.ending.step("keyholder: deposit", || self.of.deposit(store, owner, share))
    }
    fn load(&self, store: StoreId) -> keyfall::Result<Held> {
        self.ending.step("keyholder: load", || self.of.load(store))
    }
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> keyfall::Result<Statement> {
        let retire = || self.of.retire(store, owner, keep, given_up, mark);
        self.ending.step("keyholder: retire", retire)
    }
}
