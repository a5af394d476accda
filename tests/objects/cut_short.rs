//! Discards that erases and puts meet in their midst, and discards that end in their midst, as if
//! the process had been killed there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use keyfall::cell::MemoryCell;
use keyfall::store::ObjectLog;
use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Scope};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects};

use crate::engines::{options, put, read, user};

type Answer<T> = Result<T, Failure>;

/// Answers so many requests, and refuses all that come later.
struct Ending {
    place: Arc<MemoryObjects>,
    left: AtomicI64,
}

impl Ending {
    fn ask(&self) -> Answer<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => Ok(()),
            _ => Err(Failure::refused("the end")),
        }
    }
}

impl Objects for Ending {
    fn place(&self) -> String {
        self.place.place()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Answer<Created> {
        self.ask().and_then(|()| self.place.create(name, bytes))
    }
    fn get(&self, name: &str) -> Answer<Option<Vec<u8>>> {
        self.ask().and_then(|()| self.place.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Answer<Option<Vec<u8>>> {
        self.ask().and_then(|()| self.place.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Answer<Vec<Listed>> {
        self.ask().and_then(|()| self.place.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> Answer<Option<u64>> {
        self.ask().and_then(|()| self.place.head(name))
    }
    fn delete(&self, name: &str) -> Answer<()> {
        self.ask().and_then(|()| self.place.delete(name))
    }
}

/// What was put, of whom, and whether it lives.
struct Records(Vec<(RecordId, u32, bool)>);

fn payload(n: u32) -> Vec<u8> {
    (0..600 + n % 7 * 400).map(|at| (at * 31 + n * 77) as u8).collect()
}

impl Records {
    fn put(&mut self, engine: &Engine, n: u32) {
        self.0.push((put(engine, n, &payload(n)).unwrap(), n, true));
    }

    /// A batch of records of these users.
    fn put_all(&mut self, engine: &Engine, users: impl Iterator<Item = u32>) {
        let mut batch = engine.batch();
        let users: Vec<u32> = users.collect();
        for n in &users {
            batch.add(Put::new(user(*n), Class::audio()), &payload(*n)[..]).unwrap();
        }
        let ids = batch.commit().unwrap();
        self.0.extend(ids.into_iter().zip(users).map(|(id, n)| (id, n, true)));
    }

    fn erase(&mut self, engine: &Engine, n: u32) {
        engine.erase(Scope::user(user(n))).unwrap();
        self.0.iter_mut().filter(|(_, of, _)| *of == n).for_each(|(.., lives)| *lives = false);
    }

    fn judge(&self, engine: &Engine, when: &str) {
        for (id, n, lives) in &self.0 {
            match read(engine, id) {
                Ok(all) => assert!(*lives && all == payload(*n), "{when}: a record of user {n}"),
                Err(e) => {
                    assert!(!lives && e.kind() == ErrorKind::Erased, "{when}: user {n}: {e}");
                }
            }
        }
    }
}

fn log(objects: &Arc<dyn Objects>) -> Arc<ObjectLog> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects)).unwrap())
}

/// A new store with so many records of each user, of whom every other one of the first 300 is erased.
fn filled(
    objects: &Arc<dyn Objects>,
    cell: &Arc<MemoryCell>,
    each: u32,
    users: u32,
) -> (Engine, Records) {
    let engine = Engine::init(log(objects), cell.clone(), options()).unwrap();
    let mut records = Records(Vec::new());
    (0..each).for_each(|_| records.put_all(&engine, 0..users));
    (0..150).for_each(|n| records.erase(&engine, n * 2));
    (engine, records)
}

#[test]
fn erases_and_puts_in_the_midst_of_discards_lose_nothing() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let (engine, mut records) = filled(&objects, &cell, 6, 400);
    let over = AtomicBool::new(false);
    let discards = std::thread::scope(|scope| {
        let discards = scope.spawn(|| {
            let mut discards = 0;
            // The last one begins after the last erase.
            loop {
                let was_over = over.load(Ordering::SeqCst);
                engine.discard(&mut |_| {}).unwrap();
                discards += 1;
                if was_over {
                    return discards;
                }
            }
        });
        for n in 0..60 {
            records.erase(&engine, n * 2 + 1);
            records.put(&engine, 301 + n % 50);
            records.put(&engine, 1000 + n);
        }
        over.store(true, Ordering::SeqCst);
        discards.join().unwrap()
    });
    assert!(discards > 1, "they met");
    records.judge(&engine, "after the last");
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    records.judge(&engine, "opened again");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_discard_that_ends_in_its_midst_loses_nothing() {
    let place = Arc::new(MemoryObjects::new());
    let objects: Arc<dyn Objects> = place.clone();
    let cell = Arc::new(MemoryCell::new());
    // Nothing is erased later: the first erase after each opening waits for two seconds.
    let (engine, mut records) = filled(&objects, &cell, 4, 300);
    engine.close().unwrap();
    let (mut cut_short, mut n, mut after) = (0, 0, 1);
    loop {
        let ending = Arc::new(Ending { place: place.clone(), left: AtomicI64::new(i64::MAX) });
        let ends: Arc<dyn Objects> = ending.clone();
        let engine = Engine::open(log(&ends), cell.clone(), options()).unwrap();
        // So some pages died since the last one.
        records.put_all(&engine, 300 + n..340 + n);
        n += 1;
        ending.left.store(after, Ordering::SeqCst);
        let done = engine.discard(&mut |_| {});
        let was_cut = ending.left.load(Ordering::SeqCst) < 0;
        assert_eq!(done.is_err(), was_cut, "after {after}: {done:?}");
        drop(engine);
        let engine = Engine::open(log(&objects), cell.clone(), options()).unwrap();
        records.judge(&engine, &format!("ended after {after} requests"));
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean(), "after {after}");
        engine.close().unwrap();
        if !was_cut {
            break;
        }
        cut_short += 1;
        after += 1 + after / 8;
    }
    println!("{cut_short} discards were cut short");
    assert!(cut_short > 10);
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    records.judge(&engine, "after the last");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}
