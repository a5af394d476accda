//! How many requests an opening takes, whatever the last writer left: ten at most. What it finds is
//! read, and the erase after it reads back what it wrote.

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::OpenAs;
use keyfall::store::{BlobName, Claimed, ObjectLog, Store};
use keyfall::{Class, Engine, Put, RecordId, Scope};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::engines::{numbered, options, put, read, user};

/// A store in memory whose requests are counted.
struct World {
    counted: Arc<CountedObjects>,
    cell: Arc<MemoryCell>,
    kept: Vec<RecordId>,
}

impl World {
    /// With a record of each of so many users, put one by one.
    fn new(users: u32) -> Self {
        let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
        let cell = Arc::new(MemoryCell::new());
        let log = Arc::new(ObjectLog::create(counted.clone() as Arc<dyn Objects>).unwrap());
        let engine = Engine::init(log, cell.clone(), options()).unwrap();
        let kept = (0..users).map(|n| put(&engine, n, &[n as u8; 500]).unwrap()).collect();
        engine.close().unwrap();
        World { counted, cell, kept }
    }

    fn log(&self) -> ObjectLog {
        ObjectLog::open(self.counted.clone() as Arc<dyn Objects>).unwrap()
    }

    /// Opens it, and counts the requests.
    fn open(&self) -> (Engine, u64) {
        self.counted.take();
        let engine = Engine::open(Arc::new(self.log()), self.cell.clone(), options()).unwrap();
        let opened = self.counted.take();
        println!("{opened:?}");
        (engine, opened.all())
    }

    /// Opens it several times, with nothing written in between; then what is kept is there, and it
    /// can be erased.
    fn opens(&self, what: &str) {
        self.opens_after(what, 10);
    }

    fn opens_after(&self, what: &str, first: u64) {
        for n in 0..5 {
            let (engine, requests) = self.open();
            let most = if n == 0 { first } else { 10 };
            assert!(requests <= most, "{what}: opening {n} takes {requests} requests");
            engine.close().unwrap();
        }
        let (engine, _) = self.open();
        for (n, id) in self.kept.iter().enumerate() {
            assert_eq!(read(&engine, id).unwrap(), [n as u8; 500], "{what}: {n}");
        }
        let [one, two] = [7777, 7778].map(|n| put(&engine, n, b"more").unwrap());
        // This one reads pages that are not in memory.
        engine.erase(Scope::record(one)).unwrap();
        self.counted.take();
        engine.erase(Scope::record(two)).unwrap();
        let erased = self.counted.take();
        assert_eq!((erased.creates, erased.gets), (1, 1), "{what}: {erased:?}");
        engine.close().unwrap();
    }

    /// The names of the first and the last blob of a commit.
    fn blobs_of(&self, number: u64) -> (BlobName, BlobName) {
        let object = self.counted.get(&numbered(&*self.counted, "c/", number)).unwrap().unwrap();
        let field = |at: usize| u32::from_be_bytes(object[at..at + 4].try_into().unwrap()) as usize;
        let (lead, blobs, body) = (field(36), field(40), field(44));
        let name = |at: usize| BlobName(object[at..at + 16].try_into().unwrap());
        (name(64 + lead), name(64 + lead + body + 20 * (blobs - 1)))
    }
}

#[test]
fn the_newest_is_a_put() {
    World::new(120).opens("a put");
}

#[test]
fn the_newest_is_an_erase() {
    let world = World::new(120);
    let (engine, _) = world.open();
    put(&engine, 500, b"goes").unwrap();
    engine.erase(Scope::user(user(500))).unwrap();
    engine.close().unwrap();
    world.opens("an erase");
}

#[test]
fn the_newest_is_the_first() {
    World::new(0).opens("nothing was put");
}

/// The root page lies at the end of a long object.
#[test]
fn the_newest_is_a_large_commit() {
    let world = World::new(20);
    for users in [2000_u32, 8000] {
        let (engine, _) = world.open();
        let mut batch = engine.batch();
        for n in 0..users {
            batch.add(Put::new(user(1000 + n), Class::audio()), &[n as u8; 2000][..]).unwrap();
        }
        batch.commit().unwrap();
        engine.close().unwrap();
        world.opens(&format!("a commit of {users} records"));
    }
    assert!(!world.counted.list("p", "", 10).unwrap().is_empty(), "no pack");
}

/// Wherever the root page lies in the newest object, also across two of the windows that are kept.
#[test]
fn the_root_page_is_somewhere() {
    let world = World::new(60);
    for n in 0..16 {
        let (engine, requests) = world.open();
        assert!(requests <= 10, "{n}: {requests} requests");
        put(&engine, 9000 + n, &vec![1; 58_000 + 500 * n as usize]).unwrap();
        engine.close().unwrap();
    }
    world.opens("a put of 66,000 B");
}

/// A commit that changes what the head alone says has no page of its own.
#[test]
fn the_newest_is_a_commit_of_the_head_alone() {
    let world = World::new(120);
    let (engine, _) = world.open();
    engine.clock().trust().unwrap();
    engine.close().unwrap();
    let number = world.counted.list("c", "", 1000).unwrap().len() as u64;
    let newest = world.counted.get(&numbered(&*world.counted, "c/", number)).unwrap().unwrap();
    assert_eq!((newest[32], &newest[40..44]), (1, &[0; 4][..]), "a commit without blobs");
    world.opens("the head alone");
}

#[test]
fn lists_of_removed_blobs_are_there() {
    let world = World::new(120);
    // Root pages of earlier heads: nothing leads there any more.
    let dead: Vec<BlobName> = (10..15).map(|number| world.blobs_of(number).1).collect();
    let log = world.log();
    for name in &dead {
        assert!(log.get(name).unwrap().is_some());
        log.remove(&[*name]).unwrap();
    }
    drop(log);
    let lists = world.counted.list("f", "f/dead-", 100).unwrap();
    assert_eq!(lists.iter().filter(|list| list.name.starts_with("f/dead-")).count(), 5);
    world.opens("lists of removed blobs");
    for how in 0..3 {
        let log = world.log();
        for name in &dead {
            match how {
                0 => assert_eq!(log.get(name).unwrap(), None, "it is removed"),
                1 => assert!(!log.contains(name).unwrap(), "it is removed"),
                _ => assert_eq!(log.get_many(&[*name]).remove(0).unwrap(), None),
            }
        }
        assert!(log.damage().unwrap().is_empty());
    }
}

/// What was removed of the newest commit is removed for the next handle, too.
#[test]
fn a_blob_of_the_newest_commit_is_removed() {
    let world = World::new(20);
    let number = world.counted.list("c", "", 1000).unwrap().len() as u64;
    let (_, root) = world.blobs_of(number);
    let log = world.log();
    log.reads_first(&root);
    let claimed = log.claimed().unwrap().unwrap();
    let next = Claimed { claim: claimed.claim + 1, known: claimed.next, ..claimed };
    log.claim(&Claimed { next: [7; 16], ..next }).unwrap();
    log.remove(&[root]).unwrap();
    assert_eq!(log.get(&root).unwrap(), None);
    drop(log);
    assert_eq!(world.log().get(&root).unwrap(), None);
}

#[test]
fn a_discard_came_before() {
    let world = World::new(120);
    let (engine, _) = world.open();
    for n in 1000..1400 {
        put(&engine, n, &[1; 20_000]).unwrap();
    }
    for n in 1000..1400 {
        engine.erase(Scope::user(user(n))).unwrap();
    }
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    let floors = world.counted.list("f", "", 100).unwrap();
    assert!(floors.iter().any(|floor| floor.name.len() == 22), "no floor: {floors:?}");
    world.opens("a discard");
}

/// Claims without the root page, as they were made before, open; and the next claim repeats it.
#[test]
fn the_newest_is_a_claim_without_the_root_page() {
    let world = World::new(120);
    let log = world.log();
    let claimed = log.claimed().unwrap().unwrap();
    drop(log);
    for n in 1..4 {
        let (claim, known) = (claimed.claim + u64::from(n), claimed.next);
        world.log().claim(&Claimed { claim, known, next: [n; 16], ..claimed }).unwrap();
    }
    world.opens_after("a claim of before", 11);
}

/// A store that was restored, under names that say no place in it.
#[test]
fn a_restored_store() {
    let world = World::new(120);
    let restored = World {
        counted: Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new()))),
        cell: world.cell.clone(),
        kept: world.kept.clone(),
    };
    let target = ObjectLog::create(restored.counted.clone() as Arc<dyn Objects>).unwrap();
    let from: Arc<dyn Store> = Arc::new(world.log());
    keyfall::engine::restore(&*world.cell, &[from], &target, &mut |_| {}).unwrap();
    drop(target);
    let options = options().open_as(OpenAs::TakeOver);
    Engine::open(Arc::new(restored.log()), restored.cell.clone(), options)
        .unwrap()
        .close()
        .unwrap();
    restored.opens("a restored store");
}
