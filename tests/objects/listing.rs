//! Listings over many users and of many records: a look-up that lacks pages begins again once they
//! were fetched, and must not do so for each page.

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::store::ObjectLog;
use keyfall::{Class, Engine, Put, Query, UserId};
use keyfall_objects::{MemoryObjects, Objects};

use crate::ahead::Slow;
use crate::engines::{options, user};

/// A listing, and how many it gives.
type List = (&'static str, usize, Box<dyn Fn(&Engine) -> usize>);

const USERS: u32 = 3000;
const RECORDS: u32 = 3000;
/// How often a page may be looked for by a listing that finds none in memory, on average.
const ROUNDS: u64 = 24;

/// An engine that has nothing of it in memory.
fn opened(objects: &Arc<dyn Objects>, cell: &MemoryCell) -> Engine {
    let log = Arc::new(ObjectLog::open_or_create(Arc::clone(objects)).unwrap());
    Engine::open(log, Arc::new(cell.handle()), options()).unwrap()
}

fn fill(engine: &Engine) {
    let mut batch = engine.batch();
    for n in 0..USERS {
        batch.add(Put::new(user(n), Class::audio()), &n.to_be_bytes()[..]).unwrap();
        batch.add(Put::new(user(n), Class::transcript()), &b"said"[..]).unwrap();
    }
    let many = UserId::new("many").unwrap();
    for _ in 0..RECORDS {
        batch.add(Put::new(many.clone(), Class::audio()), &b"heard"[..]).unwrap();
    }
    batch.commit().unwrap();
}

/// What a listing gives, and how many pages were looked for.
fn looked(engine: &Engine, list: &dyn Fn(&Engine) -> usize) -> (usize, u64) {
    let used = || {
        let used = engine.status().unwrap().cache;
        used.hits + used.misses
    };
    let before = used();
    let given = list(engine);
    (given, used() - before)
}

#[test]
fn a_listing_begins_again_a_few_times_and_not_for_each_page() {
    let near: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let far: Arc<dyn Objects> = Slow::counted(Arc::new(MemoryObjects::new()));
    for objects in [near, far] {
        let cell = MemoryCell::new();
        let log = Arc::new(ObjectLog::create(Arc::clone(&objects)).unwrap());
        let engine = Engine::init(log, Arc::new(cell.handle()), options()).unwrap();
        fill(&engine);
        engine.close().unwrap();
        let all = |query: Query| move |engine: &Engine| engine.list(&query).unwrap().records.len();
        let audio = Query::default().class(Class::audio()).limit(USERS as usize / 2);
        let many = Query::default().user(UserId::new("many").unwrap());
        let lists: [List; 5] = [
            ("all records", (2 * USERS + RECORDS) as usize, Box::new(all(Query::default()))),
            ("some of a class", USERS as usize / 2, Box::new(all(audio))),
            ("those of a user", RECORDS as usize, Box::new(all(many))),
            ("users", USERS as usize + 1, Box::new(|e| e.users(None, 10_000).unwrap().len())),
            (
                "interactions",
                10_000.min(2 * USERS + RECORDS) as usize,
                Box::new(|e| e.interactions(&Query::default()).unwrap().interactions.len()),
            ),
        ];
        for (what, number, list) in &lists {
            let engine = opened(&objects, &cell);
            let (given, cold) = looked(&engine, list);
            let (again, warm) = looked(&engine, list);
            println!("{what}: {given}, pages looked for {cold}, and once they are there {warm}");
            assert_eq!((given, again), (*number, *number), "{what}");
            assert!(cold <= ROUNDS * warm, "{what}: {cold} looks for {warm} pages");
            engine.close().unwrap();
        }
    }
}
