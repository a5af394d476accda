//! An engine that goes on in place after a write to its log whose outcome nobody knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::ObjectLog;
use keyfall::{Engine, ErrorKind, Scope};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Patience, Result};

use crate::engines::{options, put, read};

/// Objects of which no create is answered, for a while.
struct Unanswered {
    inner: MemoryObjects,
    /// 0: all is well; 1: what is created is lost; 2: it lands.
    how: AtomicU8,
}

impl Objects for Unanswered {
    fn place(&self) -> String {
        "memory that gives no answer".into()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let how = self.how.load(Ordering::SeqCst);
        if how != 1 {
            let made = self.inner.create(name, bytes);
            if how == 0 {
                return made;
            }
        }
        Err(Failure::unknown("no answer"))
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        // What has its name is not found out either.
        if self.how.load(Ordering::SeqCst) == 2 {
            return Err(Failure::unknown("no answer"));
        }
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.get(name)?;
        self.inner.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.inner.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }
}

#[test]
fn an_engine_goes_on_after_a_write_whose_outcome_is_unknown() {
    for how in [1, 2] {
        let objects = Arc::new(Unanswered { inner: MemoryObjects::new(), how: AtomicU8::new(0) });
        let moment = Duration::from_millis(1);
        let patience = Patience { pause: moment, longest: moment, ..Patience::of_tries(3) };
        let log = ObjectLog::create_with(objects.clone(), Arc::new(System), patience).unwrap();
        let cell = Arc::new(MemoryCell::new());
        // Its own signs of life do not keep it out.
        let beating = options().beat(moment).keeper(Keeper::Thread);
        let engine = Engine::init(Arc::new(log), cell.clone(), beating).unwrap();
        let kept = put(&engine, 1, b"kept").unwrap();
        objects.how.store(how, Ordering::SeqCst);
        put(&engine, 2, b"perhaps").unwrap_err();
        assert!(engine.is_poisoned());
        assert!(engine.reopen().is_err(), "the place does not answer yet");
        objects.how.store(0, Ordering::SeqCst);
        engine.reopen().unwrap();
        let users = engine.status().unwrap().users;
        assert_eq!(users, u64::from(how), "what landed is there, and nothing else");
        let more = put(&engine, 3, b"more").unwrap();
        engine.erase(Scope::record(kept)).unwrap();
        assert_eq!(read(&engine, &more).unwrap(), b"more");
        assert_eq!(read(&engine, &kept).unwrap_err().kind(), ErrorKind::Erased);

        // One that was replaced does not take the store back.
        objects.how.store(1, Ordering::SeqCst);
        put(&engine, 2, b"lost").unwrap_err();
        objects.how.store(0, Ordering::SeqCst);
        let log = ObjectLog::open(objects.clone()).unwrap();
        let next = Engine::open(Arc::new(log), cell, options()).unwrap();
        assert_eq!(engine.reopen().unwrap_err().kind(), ErrorKind::Fenced);
        put(&next, 2, b"goes on").unwrap();
    }
}
