//! Opening a store does not take it from a writer that leaves signs of life: neither a command with
//! a copy of the cell's directory may do that, nor a second service. After a clean end the store
//! opens at once; after a kill the opening first waits for a sign.

use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::engine::{Keeper, OpenAs};
use keyfall::store::{ObjectLog, Store};
use keyfall::{Engine, ErrorKind, Options};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::engines::{options, put, read};

const BEAT: Duration = Duration::from_millis(50);

struct World {
    counted: Arc<CountedObjects>,
    cell: Arc<MemoryCell>,
}

impl World {
    fn new() -> Self {
        let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
        World { counted, cell: Arc::new(MemoryCell::new()) }
    }

    fn objects(&self) -> Arc<dyn Objects> {
        self.counted.clone()
    }

    /// A writer that leaves signs of life by itself.
    fn writer(&self) -> Engine {
        let log = Arc::new(ObjectLog::create(self.objects()).unwrap());
        Engine::init(log, self.cell.clone(), beating()).unwrap()
    }

    fn log(&self) -> Arc<ObjectLog> {
        Arc::new(ObjectLog::open(self.objects()).unwrap())
    }

    fn open(&self, options: Options) -> keyfall::Result<Engine> {
        Engine::open(self.log(), self.cell.clone(), options)
    }

    /// Waits until the writer has left a sign.
    fn seen(&self) {
        while self.counted.list("b", "", 1).unwrap().is_empty() {
            std::thread::sleep(BEAT / 5);
        }
    }
}

fn beating() -> Options {
    options().beat(BEAT).keeper(Keeper::Thread)
}

#[test]
fn one_that_lives_keeps_its_store() {
    let world = World::new();
    let writer = world.writer();
    let id = put(&writer, 1, b"kept").unwrap();
    world.seen();
    for _ in 0..3 {
        let refused = world.open(options()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
        assert!(refused.to_string().contains("left a sign of life"), "{refused}");
    }
    // A look takes nothing from it, and a put is a sign too.
    let look = options().open_as(OpenAs::ReadOnly);
    assert_eq!(read(&world.open(look).unwrap(), &id).unwrap(), b"kept");
    put(&writer, 2, b"more").unwrap();

    let taken = world.open(options().open_as(OpenAs::TakeOver)).unwrap();
    assert_eq!(put(&writer, 3, b"late").unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(read(&taken, &id).unwrap(), b"kept");
    drop(writer);
    // The signs that are there are of a writer of before.
    drop(taken);
    assert_eq!(world.log().beats(), None);
    world.open(options()).unwrap();
}

#[test]
fn one_that_ended_well_is_not_waited_for() {
    let world = World::new();
    let writer = world.writer();
    world.seen();
    assert_eq!(world.log().beats(), Some(BEAT));
    writer.close().unwrap();
    assert_eq!(world.log().beats(), None);
    assert!(world.log().pulse(None).unwrap().unwrap().signs, "a standby goes on seeing signs");
    let next = world.open(beating()).unwrap();
    while world.log().beats().is_none() {
        std::thread::sleep(BEAT / 5);
    }
    // Dropping is an end too.
    drop(next);
    assert_eq!(world.log().beats(), None);
    world.counted.take();
    world.open(options()).unwrap();
    let opened = world.counted.take();
    assert!(opened.all() <= 10, "{opened:?}");
}

#[test]
fn one_that_was_killed_is_waited_for_and_replaced() {
    let world = World::new();
    // By hand: the end of a process leaves what was there.
    let log = Arc::new(ObjectLog::create(world.objects()).unwrap());
    let writer = Engine::init(log, world.cell.clone(), options().beat(BEAT)).unwrap();
    let id = put(&writer, 1, b"kept").unwrap();
    writer.ownership().beat().unwrap();
    std::mem::forget(writer);
    assert_eq!(world.log().beats(), Some(BEAT));
    let next = world.open(options()).unwrap();
    assert_eq!(read(&next, &id).unwrap(), b"kept");
    put(&next, 1, b"more").unwrap();
}

#[test]
fn signs_that_nobody_could_wait_for_are_refused() {
    for beat in [Duration::ZERO, Duration::from_secs(21), Duration::MAX] {
        let world = World::new();
        world.writer().close().unwrap();
        let refused = world.open(options().beat(beat)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{beat:?}: {refused}");
    }
}

/// The signs matter more than what says how often they come, which is tried again.
#[test]
fn signs_come_though_nothing_can_say_how_often() {
    let world = World::new();
    let log = Arc::new(ObjectLog::create(world.objects()).unwrap());
    let writer = Engine::init(log, world.cell.clone(), options().beat(BEAT)).unwrap();
    let beats = || {
        let listed = world.counted.list("f", "", 100).unwrap().into_iter().map(|it| it.name);
        listed.filter(|name| name.starts_with("f/beats-")).collect::<Vec<_>>()
    };
    writer.ownership().beat().unwrap();
    let [said] = &beats()[..] else { panic!("{:?}", beats()) };
    // Somebody removes it: it comes again.
    world.counted.delete(said).unwrap();
    for _ in 0..40 {
        writer.ownership().beat().unwrap();
    }
    assert_eq!(beats(), std::slice::from_ref(said));
    writer.close().unwrap();
    assert_eq!(beats(), [""; 0]);
}
