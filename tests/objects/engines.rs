//! Engines over the log: what they keep, what they erase, how many requests that takes.

use std::io::Read;
use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Keeper, restore};
use keyfall::store::{MemoryStore, ObjectLog, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope, UserId};
use keyfall_objects::{Counted, CountedObjects, Faults, FaultyObjects, MemoryObjects, Objects};

use crate::places::fresh;

/// `folder/<number>` as it lies in a place: the numbers of each log begin somewhere else.
pub(crate) fn numbered(objects: &dyn Objects, folder: &str, number: u64) -> String {
    let first = objects.list("c", "", 1).unwrap().remove(0);
    let first: u64 = first.name[2..].parse().unwrap();
    format!("{folder}{:020}", (first >> 40 << 40) + number)
}

pub(crate) fn options() -> Options {
    Options::new().keeper(Keeper::ByHand)
}

/// Of an engine whose copies are logs in a place.
pub(crate) fn with_copies_in(place: Arc<dyn Objects>) -> Options {
    let open = move |_: &str, create: bool| -> keyfall::Result<Arc<dyn Store>> {
        let place = Arc::clone(&place);
        Ok(Arc::new(if create { ObjectLog::create(place)? } else { ObjectLog::open(place)? }))
    };
    options().open_copy(Arc::new(open))
}

pub(crate) fn user(n: u32) -> UserId {
    UserId::new(format!("user {n}")).unwrap()
}

pub(crate) fn put(engine: &Engine, n: u32, payload: &[u8]) -> keyfall::Result<RecordId> {
    engine.put(Put::new(user(n), Class::audio()), payload)
}

pub(crate) fn read(engine: &Engine, id: &RecordId) -> keyfall::Result<Vec<u8>> {
    let mut all = Vec::new();
    engine.get(id)?.read_to_end(&mut all)?;
    Ok(all)
}

fn log(objects: &Arc<dyn Objects>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects)).unwrap())
}

/// Short and long records are put, read, erased, and what lives is there after each opening.
#[test]
fn the_main_job() {
    for place in fresh() {
        eprintln!("{}", place.name);
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let engine = Engine::init(log(&place.objects), Arc::clone(&cell), options()).unwrap();
        let payloads: Vec<Vec<u8>> =
            [10, 3000, 70_000, 200_000, 1_200_000].map(|len| vec![len as u8; len]).into();
        let records = |n: u32| -> Vec<RecordId> {
            payloads.iter().map(|payload| put(&engine, n, payload).unwrap()).collect()
        };
        let (ada, bob) = (records(1), records(2));
        engine.close().unwrap();

        let engine = Engine::open(log(&place.objects), Arc::clone(&cell), options()).unwrap();
        for id in ada.iter().chain(&bob) {
            read(&engine, id).unwrap();
        }
        engine.erase(Scope::user(user(1))).unwrap();
        let check = |engine: &Engine| {
            for (id, payload) in bob.iter().zip(&payloads) {
                assert_eq!(&read(engine, id).unwrap(), payload, "{}", place.name);
            }
            for id in &ada {
                assert_eq!(read(engine, id).unwrap_err().kind(), ErrorKind::Erased);
            }
        };
        check(&engine);
        engine.close().unwrap();
        let engine = Engine::open(log(&place.objects), Arc::clone(&cell), options()).unwrap();
        check(&engine);
        let discarded = engine.discard(&mut |_| {}).unwrap();
        eprintln!("{discarded:?}");
        check(&engine);
        engine.close().unwrap();
        check(&Engine::open(log(&place.objects), cell, options()).unwrap());
    }
}

/// 1 request for a put, 2 for an erase, by the count of an adapter.
#[test]
fn a_put_is_one_request_and_an_erase_two() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let objects: Arc<dyn Objects> = counted.clone();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    let ids: Vec<RecordId> = (0..50).map(|n| put(&engine, n, &[1; 2000]).unwrap()).collect();
    for n in 0..20 {
        // The pages on its way are in memory; each that is not is one more read.
        read(&engine, &ids[n as usize]).unwrap();
        counted.take();
        put(&engine, 100 + n, &[2; 2000]).unwrap();
        let once = Counted { creates: 1, ..Counted::default() };
        assert_eq!(counted.take(), once, "put {n}");
        engine.erase(Scope::user(user(n))).unwrap();
        let twice = Counted { creates: 1, gets: 1, ..Counted::default() };
        assert_eq!(counted.take(), twice, "erase {n}");
    }
}

/// Of two engines the one that opened last is the owner; the other one publishes nothing more.
#[test]
fn the_last_claim_owns_the_store() {
    for place in fresh() {
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let one = Engine::init(log(&place.objects), Arc::clone(&cell), options()).unwrap();
        let kept = put(&one, 1, b"before").unwrap();
        let two = Engine::open(log(&place.objects), cell, options()).unwrap();
        assert!(two.read_only().is_none(), "it owns the store");
        let late = put(&one, 1, b"late").unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
        let erase = one.erase(Scope::user(user(1))).unwrap_err();
        assert!(matches!(erase.kind(), ErrorKind::Poisoned | ErrorKind::Fenced), "{erase}");
        assert_eq!(read(&two, &kept).unwrap(), b"before");
        let id = put(&two, 1, b"after").unwrap();
        assert_eq!(read(&two, &id).unwrap(), b"after");
        two.erase(Scope::user(user(1))).unwrap();
    }
}

/// A backup and a copy of another kind of store, whose names say no place in this log; and back.
#[test]
fn copies_of_other_stores_restore() {
    for place in fresh() {
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let engine =
            Engine::init(Arc::new(MemoryStore::new()), Arc::clone(&cell), options()).unwrap();
        let ids: Vec<RecordId> = (0..20)
            .map(|n| put(&engine, n, &vec![n as u8; 30_000 * n as usize]).unwrap())
            .collect();
        let backup = log(&place.objects);
        engine.backup(&*backup, &mut |_| {}).unwrap();
        let more = put(&engine, 99, b"more").unwrap();
        let done = engine.backup(&*backup, &mut |_| {}).unwrap();
        assert!(done.blobs < 20, "only what is new: {done:?}");
        drop((backup, engine));

        let looked: Arc<dyn Store> = Arc::new(ObjectLog::look(Arc::clone(&place.objects)).unwrap());
        let restored: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
        let target = log(&restored);
        restore(&*cell, &[looked], &*target, &mut |_| {}).unwrap();
        drop(target);
        let options = options().open_as(keyfall::engine::OpenAs::TakeOver);
        let engine = Engine::open(log(&restored), cell, options).unwrap();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(read(&engine, id).unwrap(), vec![n as u8; 30_000 * n]);
        }
        assert_eq!(read(&engine, &more).unwrap(), b"more");
        engine.erase(Scope::user(user(1))).unwrap();
    }
}

/// One commit of more than fits into an object, and its read-back.
#[test]
fn a_commit_of_several_objects() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), Arc::clone(&cell), options()).unwrap();
    let mut batch = engine.batch();
    for n in 0..3000 {
        batch.add(Put::new(user(n), Class::audio()), &vec![n as u8; 2500][..]).unwrap();
    }
    let ids = batch.commit().unwrap();
    let in_folder = |folder| objects.list(folder, "", 100).unwrap().len();
    assert!(in_folder("p") + in_folder("x") > 0, "it was cut into several objects");
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options().cache_bytes(1 << 20)).unwrap();
    for (n, id) in ids.iter().enumerate().step_by(97) {
        assert_eq!(read(&engine, id).unwrap(), vec![n as u8; 2500]);
    }
    engine.erase(Scope::user(user(5))).unwrap();
}

#[test]
fn liars_are_refused_when_a_log_is_made_and_opened() {
    let place = Arc::new(MemoryObjects::new());
    let honest: Arc<dyn Objects> = place.clone();
    let lies = [
        Faults { overwrites: true, ..Faults::default() },
        Faults { stale_lists: 100, ..Faults::default() },
        Faults { stale_reads: true, ..Faults::default() },
    ];
    let liars = || {
        lies.map(|faults| {
            Arc::new(FaultyObjects::new(Arc::clone(&place), faults, 7)) as Arc<dyn Objects>
        })
    };
    for liar in liars() {
        let e = ObjectLog::create(liar).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Medium, "{e}");
    }
    ObjectLog::create(honest).unwrap();
    for liar in liars() {
        let e = ObjectLog::open(liar).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Medium, "{e}");
    }
}
