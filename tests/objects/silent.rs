//! A writer whose store is silent: it reads for as long as its loan lasts, by whichever clock says
//! that it is over, and goes on when the store answers.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::env::Env;
use keyfall::store::ObjectLog;
use keyfall::testing::Seeded;
use keyfall::{Engine, ErrorKind, Query, Timestamp};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Patience, Result};

use crate::engines::{options, put, read};

/// Two clocks that are moved one by one.
struct Hands {
    draws: Seeded,
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl Env for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst) as u64)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
    }
    fn sleep(&self, time: Duration) {
        self.pass(time.as_millis() as i64, time.as_millis() as u64);
    }
    fn fill(&self, out: &mut [u8]) -> keyfall::Result<()> {
        self.draws.fill(out)
    }
}

impl Hands {
    /// So many milliseconds pass by the one clock and by the other.
    fn pass(&self, wall: i64, monotonic: u64) {
        self.wall.fetch_add(wall, Ordering::SeqCst);
        self.monotonic.fetch_add(monotonic, Ordering::SeqCst);
    }
}

/// Objects that do not answer for a while.
#[derive(Default)]
pub(crate) struct Silent {
    inner: MemoryObjects,
    is_silent: AtomicBool,
    asked: AtomicU64,
    /// What was to be created meanwhile.
    held: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Silent {
    pub(crate) fn falls_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Answers again; what was sent meanwhile arrives first.
    pub(crate) fn arrives(&self) {
        for (name, bytes) in self.held.lock().unwrap().drain(..) {
            self.inner.create(&name, &bytes).unwrap();
        }
        self.is_silent.store(false, Ordering::SeqCst);
    }

    fn ask(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.is_silent.load(Ordering::SeqCst) {
            true => Err(Failure::unknown("no answer")),
            false => Ok(()),
        }
    }
}

impl Objects for Silent {
    fn place(&self) -> String {
        "silent".into()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let hold = || self.held.lock().unwrap().push((name.to_owned(), bytes.to_vec()));
        self.ask().inspect_err(|_| hold()).and_then(|()| self.inner.create(name, bytes))
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.ask().and_then(|()| self.inner.get(name))
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.ask().and_then(|()| self.inner.get_range(name, from, len))
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.ask().and_then(|()| self.inner.list(folder, after, limit))
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.ask().and_then(|()| self.inner.head(name))
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.ask().and_then(|()| self.inner.delete(name))
    }
}

/// Two seconds by both clocks, by the wall's alone, by the other alone; and the wall's set back.
#[test]
fn the_reads_of_a_writer_end_with_its_loan() {
    for (wall, monotonic) in [(2000, 2000), (2000, 0), (0, 2000), (-3_600_000, 2000)] {
        let when = format!("{wall} ms by the wall's clock, {monotonic} by the other");
        let (wall_now, monotonic_now) = (AtomicI64::new(1_767_225_600_000), AtomicU64::new(7));
        let hands =
            Arc::new(Hands { draws: Seeded::new(3), wall: wall_now, monotonic: monotonic_now });
        let place = Arc::new(Silent::default());
        let log = ObjectLog::create_with(place.clone(), hands.clone(), Patience::of_tries(1));
        let with = options().env(hands.clone());
        let engine =
            Engine::init(Arc::new(log.unwrap()), Arc::new(MemoryCell::new()), with).unwrap();
        let id = put(&engine, 1, &[7; 90_000]).unwrap();
        assert_eq!(read(&engine, &id).unwrap().len(), 90_000);
        let mut held = engine.get(&id).unwrap();
        place.is_silent.store(true, Ordering::SeqCst);
        hands.pass(wall * 1999 / 2000, monotonic * 1999 / 2000);
        place.asked.store(0, Ordering::SeqCst);
        assert_eq!(engine.info(&id).unwrap().length, 90_000, "{when}: its loan lasts");
        assert_eq!(place.asked.load(Ordering::SeqCst), 0, "{when}: nothing is asked");
        hands.pass(wall / 2000, monotonic / 2000);
        for e in [
            engine.info(&id).map(drop).unwrap_err(),
            engine.get(&id).map(drop).unwrap_err(),
            engine.list(&Query::default()).map(drop).unwrap_err(),
            held.read_some(&mut [0; 10]).map(drop).unwrap_err(),
        ] {
            assert_eq!(e.kind(), ErrorKind::Io, "{when}: {e}");
            assert!(e.to_string().contains("still owns the store"), "{when}: {e}");
        }
        place.is_silent.store(false, Ordering::SeqCst);
        assert_eq!(read(&engine, &id).unwrap().len(), 90_000, "{when}");
        // And it reads on without a question.
        place.asked.store(0, Ordering::SeqCst);
        engine.info(&id).unwrap();
        assert_eq!(place.asked.load(Ordering::SeqCst), 0, "{when}");
        assert_eq!(put(&engine, 1, b"goes on").map(drop).map_err(|e| e.to_string()), Ok(()));
    }
}
