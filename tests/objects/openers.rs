//! Engines that open one store at the same time, and one that goes on after another place took the
//! store over: there is one owner in the end, and never two.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use keyfall::cell::{Contents, Durable, MemoryCell, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::engine::OpenAs;
use keyfall::promise::{Promise, Retirement, RootId};
use keyfall::store::{MemoryStore, ObjectLog, Store, StoreId};
use keyfall::{Engine, Error, ErrorKind, Result, Scope};
use keyfall_objects::{MemoryObjects, Objects};

use crate::engines::{options, put, read, user};

/// What is done before the cell is told of a new claim; whether that claim still reaches it.
type Between = Box<dyn FnOnce(&MemoryCell, &dyn Fn() -> Result<()>) -> Result<()> + Send>;

/// A handle on a cell whose first new claim takes its time.
struct Slow {
    cell: MemoryCell,
    /// Claims that go through before: what a second engine tells of the first one's.
    before: std::sync::atomic::AtomicUsize,
    between: std::sync::Mutex<Option<Between>>,
}

impl Slow {
    fn over(
        cell: &MemoryCell,
        before: usize,
        between: impl FnOnce(&MemoryCell, &dyn Fn() -> Result<()>) -> Result<()> + Send + 'static,
    ) -> Arc<dyn RootCell> {
        let between: Between = Box::new(between);
        let (cell, between) = (cell.handle(), std::sync::Mutex::new(Some(between)));
        Arc::new(Slow { cell, before: before.into(), between })
    }
}

impl RootCell for Slow {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let told = || self.cell.claim(store, owner, mark);
        if self.cell.load()?.owner == Some(*owner) {
            return told();
        }
        let one_less = |left: usize| left.checked_sub(1);
        if self.before.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
            return told();
        }
        match self.between.lock().unwrap().take() {
            Some(between) => between(&self.cell, &told),
            None => told(),
        }
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.cell.deposit(store, id, key)
    }

    fn load(&self) -> Result<Contents> {
        self.cell.load()
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.cell.retire(keep, proof)
    }
}

fn log(objects: &Arc<MemoryObjects>) -> Arc<dyn Store> {
    let objects: Arc<dyn Objects> = Arc::<MemoryObjects>::clone(objects);
    Arc::new(ObjectLog::open_or_create(objects).unwrap())
}

/// A store with one record, closed.
fn made() -> (Arc<MemoryObjects>, MemoryCell, keyfall::RecordId) {
    let (objects, cell) = (Arc::new(MemoryObjects::new()), MemoryCell::new());
    let engine = Engine::init(log(&objects), Arc::new(cell.handle()), options()).unwrap();
    let kept = put(&engine, 1, b"kept").unwrap();
    engine.close().unwrap();
    (objects, cell, kept)
}

/// The second engine opens the store when the first one has claimed it and the cell does not know
/// yet, and then the first one's claim reaches the cell before the second one's does. What the
/// second one says of that is given.
fn both_open(
    objects: &Arc<MemoryObjects>,
    beside: &Arc<MemoryObjects>,
    cell: &MemoryCell,
    dies: bool,
) -> (Result<Engine>, Result<Engine>) {
    let second = Arc::new(std::sync::Mutex::new(None));
    let (given, there) = (Arc::clone(&second), Arc::clone(beside));
    let finishes = usize::from(Arc::ptr_eq(objects, beside));
    let one = Slow::over(cell, 0, move |cell, first| {
        // The closure of the second one cannot borrow the first one's claim: a thread waits for it.
        std::thread::scope(|scope| {
            let (ask, asked) = std::sync::mpsc::channel::<()>();
            let (tell, told) = std::sync::mpsc::channel::<()>();
            let other = cell.handle();
            let opening = scope.spawn(move || {
                let two = Slow::over(&other, finishes, move |_, own| {
                    ask.send(()).unwrap();
                    told.recv().unwrap();
                    if dies { Err(Error::new(ErrorKind::Io, "it died")) } else { own() }
                });
                Engine::open(log(&there), two, options())
            });
            asked.recv().unwrap();
            let landed = first();
            let _ = tell.send(());
            *given.lock().unwrap() = Some(opening.join().unwrap());
            landed
        })
    });
    let first = Engine::open(log(objects), one, options());
    let second = second.lock().unwrap().take().unwrap();
    (first, second)
}

#[test]
fn of_two_that_open_at_once_one_owns_the_store() {
    let (objects, cell, kept) = made();
    let (first, second) = both_open(&objects, &objects, &cell, false);
    let second = second.unwrap();
    assert!(second.read_only().is_none(), "its claim is the last in the store");
    let id = put(&second, 2, b"of the owner").unwrap();
    // The first one learned of it at once, or learns of it now.
    let late = first.and_then(|first| put(&first, 1, b"late")).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
    second.erase(Scope::user(user(2))).unwrap();
    assert_eq!(read(&second, &id).unwrap_err().kind(), ErrorKind::Erased);
    drop(second);
    let next = Engine::open(log(&objects), Arc::new(cell.handle()), options()).unwrap();
    assert_eq!(read(&next, &kept).unwrap(), b"kept");
    put(&next, 1, b"it goes on").unwrap();
}

/// The cell knows a claim below the newest: the place owns it all the same, for any opener.
#[test]
fn a_store_whose_second_opener_died_is_opened_again() {
    let (objects, cell, kept) = made();
    let (first, second) = both_open(&objects, &objects, &cell, true);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Io);
    let first = first.unwrap();
    assert_eq!(put(&first, 1, b"late").unwrap_err().kind(), ErrorKind::Fenced);
    drop(first);
    let next = Engine::open(log(&objects), Arc::new(cell.handle()), options()).unwrap();
    assert!(next.read_only().is_none(), "{:?}", next.read_only());
    assert_eq!(read(&next, &kept).unwrap(), b"kept");
    put(&next, 1, b"it goes on").unwrap();
}

/// A copy of the place, byte for byte: what the one claims the other never saw.
#[test]
fn a_copy_of_the_place_does_not_claim_over_its_original() {
    let (objects, cell, _) = made();
    let copy = Arc::new(objects.snapshot());
    // The second one opens the copy.
    let (first, second) = both_open(&objects, &copy, &cell, false);
    // It fails, or looks once more and can only be read.
    match second {
        Ok(second) => assert!(second.read_only().is_some(), "two engines own the store"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Fenced, "{e}"),
    }
    let first = first.unwrap();
    put(&first, 1, b"of the owner").unwrap();
    let beside = Engine::open(log(&copy), Arc::new(cell.handle()), options()).unwrap();
    assert!(beside.read_only().is_some(), "it is not the owner");
    first.erase(Scope::user(user(1))).unwrap();
}

/// The place where a store was before another one took over: once the cell has refused it, it gives
/// nothing that it read, and takes nothing.
#[test]
fn an_engine_that_its_cell_refuses_ends() {
    let cell = MemoryCell::new();
    let here = Arc::new(MemoryStore::new());
    let old = Engine::init(Arc::<MemoryStore>::clone(&here), Arc::new(cell.handle()), options());
    let old = old.unwrap();
    let gone = put(&old, 1, b"gone").unwrap();
    let there = Arc::new(here.snapshot());
    let takes_over = options().open_as(OpenAs::TakeOver);
    let new = Engine::open(there, Arc::new(cell.handle()), takes_over).unwrap();
    new.erase(Scope::user(user(1))).unwrap();
    assert_eq!(read(&new, &gone).unwrap_err().kind(), ErrorKind::Erased);
    let e = old.erase(Scope::user(user(9))).err();
    let e = e.or_else(|| old.erase(Scope::user(user(1))).err()).unwrap();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    for e in [read(&old, &gone).unwrap_err(), put(&old, 1, b"lost").unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    }
    assert!(old.is_poisoned());
}

/// A handle on a cell after whose first load something else happens.
struct Overtaken {
    cell: MemoryCell,
    then: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl RootCell for Overtaken {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.cell.claim(store, owner, mark)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        let contents = self.cell.load()?;
        if let Some(then) = self.then.lock().unwrap().take() {
            then();
        }
        Ok(contents)
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.cell.retire(keep, proof)
    }
}

/// Somebody who looked while another engine erased was told that the cell is an old copy, to be
/// destroyed: it was the only one.
#[test]
fn a_look_while_another_engine_erases_does_not_take_the_cell_for_an_old_copy() {
    let (objects, cell) = (Arc::new(MemoryObjects::new()), MemoryCell::new());
    let log = |look: bool| -> Arc<dyn Store> {
        let objects = objects.clone() as Arc<dyn Objects>;
        Arc::new(if look {
            ObjectLog::look(objects).unwrap()
        } else {
            ObjectLog::open_or_create(objects).unwrap()
        })
    };
    let writer = Engine::init(log(false), Arc::new(cell.handle()), options()).unwrap();
    let kept = put(&writer, 1, b"kept").unwrap();
    put(&writer, 2, b"erased").unwrap();
    let erase = move || drop(writer.erase(Scope::user(user(2))).unwrap());
    let then = std::sync::Mutex::new(Some(Box::new(erase) as Box<dyn FnOnce() + Send>));
    let looks = options().open_as(OpenAs::ReadOnly);
    let seen = Engine::open(log(true), Arc::new(Overtaken { cell, then }), looks).unwrap();
    assert_eq!(seen.head().epoch, 2);
    assert_eq!(read(&seen, &kept).unwrap(), b"kept");
}
