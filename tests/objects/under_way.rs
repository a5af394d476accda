//! A discard that begins while an erase is in the store and readers do not see it yet.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::store::ObjectLog;
use keyfall::{Engine, Scope};
use keyfall_objects::{MemoryObjects, Objects};

use crate::engines::{options, put, read, user};

/// Says that it was given something, and takes it when it is told to.
struct Slow {
    asks: Sender<()>,
    told: Mutex<Receiver<()>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asks.send(());
        let _ = self.told.lock().unwrap().recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The erase waits for a reader of what it erases, with its pages in the store and on their way into
/// the tree: what is below them is not known to live because they are kept.
#[test]
fn a_discard_beside_an_erase_that_waits_for_a_reader_keeps_what_lives() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let log = || Arc::new(ObjectLog::open_or_create(Arc::clone(&objects)).unwrap());
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(), cell.clone(), options()).unwrap();
    let ids: Vec<_> = (0..20).map(|n| put(&engine, n, &[n as u8; 3000]).unwrap()).collect();
    let (asks, asked) = channel();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        let engine = &engine;
        let id = ids[3];
        let mut slow = Slow { asks, told: Mutex::new(told) };
        scope.spawn(move || engine.get_to(&id, &mut slow).unwrap_err());
        asked.recv().unwrap();
        let epoch = engine.head().epoch;
        let erase = scope.spawn(|| engine.erase(Scope::user(user(3))).unwrap());
        // The erase is in the store, and waits for the reader.
        while engine.head().epoch == epoch {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!erase.is_finished(), "it waits for the reader");
        engine.discard(&mut |_| {}).unwrap();
        drop(tell);
        erase.join().unwrap();
    });
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    let engine = Engine::open(log(), cell, options()).unwrap();
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| *n != 3) {
        assert_eq!(read(&engine, id).unwrap(), [n as u8; 3000], "record {n}");
    }
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}
