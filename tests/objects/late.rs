//! A write that is given up with an unknown outcome and arrives later: its own engine takes it for
//! nobody else's, and goes on.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::MemoryCell;
use keyfall::store::{ObjectLog, Store};
use keyfall::{Engine, ErrorKind, Scope};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Patience, Result};

use crate::engines::{options, put, read, user};

/// Objects that do not answer for a while; what is created then arrives when they do again.
#[derive(Default)]
struct Silent {
    inner: MemoryObjects,
    is_silent: AtomicBool,
    held: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Silent {
    fn falls_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    fn goes_on(&self) {
        for (name, bytes) in self.held.lock().unwrap().drain(..) {
            self.inner.create(&name, &bytes).unwrap();
        }
        self.is_silent.store(false, Ordering::SeqCst);
    }

    fn ask(&self) -> Result<()> {
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
        self.ask().inspect_err(|_| {
            self.held.lock().unwrap().push((name.to_owned(), bytes.to_vec()));
        })?;
        self.inner.create(name, bytes)
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

#[test]
fn a_late_write_of_ones_own_is_no_other_engine() {
    for erases in [false, true] {
        let objects = Arc::new(Silent::default());
        let log = ObjectLog::create(objects.clone()).unwrap().patience(Patience::of_tries(2));
        let (log, cell) = (Arc::new(log), Arc::new(MemoryCell::new()));
        let engine = Engine::init(log.clone(), cell.clone(), options()).unwrap();
        let [ada, ben] = [1, 2].map(|n| put(&engine, n, b"before").unwrap());
        objects.falls_silent();
        let failed = match erases {
            false => put(&engine, 3, b"late").map(drop).unwrap_err(),
            true => engine.erase(Scope::user(user(2))).map(drop).unwrap_err(),
        };
        assert!(failed.may_have_happened(), "{failed}");
        objects.goes_on();
        // Whoever asks between the failure and the next opening, as a reader may.
        let e = log.confirm().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{e}");
        assert!(read(&engine, &ada).is_err(), "it is closed");
        engine.reopen().unwrap();
        assert_eq!(read(&engine, &ada).unwrap(), b"before");
        let ben = read(&engine, &ben).map_err(|e| e.kind());
        assert_eq!(ben, if erases { Err(ErrorKind::Erased) } else { Ok(b"before".to_vec()) });
        put(&engine, 4, b"after").unwrap();
        engine.erase(Scope::user(user(4))).unwrap();
    }
}
