//! Records go in and come out: payloads, batches, what a store sees of them. SPEC §5.5, §5.3, §11.

use std::sync::Arc;

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, Geometry};
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::RecordingStore;
use keyfall::{Class, Engine, ErrorKind, Put, Query, Timestamp};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

#[test]
fn what_goes_in_comes_out_at_every_size() {
    let world = World::new(1, Geometry::default());
    for len in [0, 1, 16_383, 16_384, 16_385, 262_143, 262_144, 262_145, 600_000] {
        let content = bytes(len as u64, len);
        let id = world.put("ada", Class::audio(), &content);
        assert_eq!(read_record(world.engine(), &id).unwrap(), content, "{len} bytes");
        assert_eq!(world.engine().info(&id).unwrap().length, len as u64);
    }
}

#[test]
fn half_an_upload_is_not_stored_as_whole() {
    let world = World::new(65, Geometry::default());
    let put = |length: u64| Put::new(user("ada"), Class::audio()).length(length);
    for len in [0, 1, 512, 513, 16_384, 16_385, 262_144, 262_145, 600_000] {
        let content = bytes(len as u64, len);
        let id = world.engine().put(put(len as u64), &content[..]).unwrap();
        assert_eq!(read_record(world.engine(), &id).unwrap(), content, "{len} bytes");
        let head = world.engine().head();
        for declared in [len + 1, len * 2 + 9] {
            let e = world.engine().put(put(declared as u64), &content[..]).unwrap_err();
            assert_eq!((e.kind(), e.may_have_happened()), (ErrorKind::Invalid, false));
            assert!(e.to_string().contains("ended after"), "{e}");
        }
        for declared in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|n| *n < len) {
            let e = world.engine().put(put(declared as u64), &content[..]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.to_string().contains("has more than"), "{e}");
        }
        assert_eq!(world.engine().head(), head, "nothing was committed");
    }
    let too_long = world.engine().put(put(u64::MAX), &b"x"[..]);
    assert_eq!(error_kind(too_long), ErrorKind::Invalid);
    // A batch goes on without it.
    let mut batch = world.engine().batch();
    batch.add(put(2), &b"ok"[..]).unwrap();
    assert_eq!(error_kind(batch.add(put(3), &b"no"[..])), ErrorKind::Invalid);
    assert_eq!(batch.commit().unwrap().len(), 1);
    // What was written of those that failed is dead: a discard takes it.
    world.engine().discard(&mut |_| {}).unwrap();
    let records = world.engine().list(&Query::default()).unwrap().records;
    assert_eq!(records.len(), 10);
    for record in records {
        let content = read_record(world.engine(), &record.id).unwrap();
        assert_eq!(content.len() as u64, record.length);
    }
}

#[test]
fn a_batch_says_how_much_is_in_it() {
    let world = World::new(3, SMALL_PAGES);
    let mut batch = world.engine().batch();
    assert!(batch.is_empty());
    batch.add(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    assert_eq!((batch.len(), batch.is_empty()), (1, false));
    let head = world.engine().head();
    drop(batch);
    assert!(world.engine().batch().commit().unwrap().is_empty());
    assert_eq!(world.engine().head(), head, "nothing was committed");
    // A record made at another time says so.
    let put = Put::new(user("ada"), Class::audio()).created(Timestamp(5));
    let id = world.engine().put(put, &b"x"[..]).unwrap();
    assert_eq!(world.engine().info(&id).unwrap().created, Timestamp(5));
}

#[test]
fn media_types_and_purposes_have_bounds() {
    let world = World::new(64, SMALL_PAGES);
    let put = |media_type: &str, purpose: &str| {
        world.engine().put(
            Put::new(user("ada"), Class::audio()).media_type(media_type).purpose(purpose),
            &b"x"[..],
        )
    };
    put("audio/wav", &"p".repeat(255)).unwrap();
    for media_type in ["wav", "audio/w\u{e9}v", "audio/\n", &format!("a/{}", "b".repeat(126))] {
        assert_eq!(error_kind(put(media_type, "")), ErrorKind::Invalid, "{media_type:?}");
    }
    assert_eq!(error_kind(put("audio/wav", &"p".repeat(256))), ErrorKind::Invalid);
}

#[test]
fn nothing_in_clear_reaches_the_store() {
    let world = World::new(15, Geometry::default());
    let sentence = b"wake me at half past six every weekday";
    let name = "a-user-with-a-long-and-telling-name";
    world
        .engine()
        .put(Put::new(user(name), Class::transcript()).purpose("reminders-purpose"), &sentence[..])
        .unwrap();
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    for needle in [&sentence[..], name.as_bytes(), b"reminders-purpose", b"transcript"] {
        assert!(!world.tape.contains_bytes(needle), "{}", String::from_utf8_lossy(needle));
    }
}

#[test]
fn recording_stores_see_names_once() {
    // The tape panics where a name is used twice; a repeated generator must not make one.
    let world = World::new(21, SMALL_PAGES);
    let again = World::new(21, SMALL_PAGES);
    let a = world.put("ada", Class::audio(), b"one content");
    let b = again.put("ada", Class::audio(), b"another content");
    assert_eq!(a.interaction(), b.interaction(), "the generator did repeat");
    let onto: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let merged = RecordingStore::new(onto, Arc::clone(&world.tape));
    for name in keyfall::testing::listed(&*again.tape, 1000).unwrap() {
        let blob = again.tape.get(&name).unwrap().unwrap();
        merged.put(&[(name, blob)]).unwrap();
    }
}

#[test]
fn damage_is_corrupt_and_never_something_else() {
    let world = World::new(17, SMALL_PAGES);
    // One in its entry, the other in a segment.
    let (damaged, whole) = (bytes(1, 100), bytes(2, 300));
    let contents = [
        (world.put("ada", Class::audio(), &damaged), damaged),
        (world.put("bob", Class::audio(), &whole), whole),
    ];
    // Flip each blob of a snapshot in turn: every answer is right or `Corrupt`.
    world.engine().copies().add("snapshot", CopyMode::Behind, &mut |_| {}).unwrap();
    let whole = world.place("snapshot");
    let mut seen_corrupt = 0;
    for name in keyfall::testing::listed(&*whole, 1000).unwrap() {
        let damaged = Arc::new(whole.snapshot());
        let mut blob = damaged.get(&name).unwrap().unwrap();
        let middle = blob.len() / 2;
        blob[middle] ^= 4;
        damaged.put(&[(name, blob)]).unwrap();
        let cell: Arc<dyn RootCell> = world.cell.clone();
        let engine = match Engine::open(damaged, cell, world.options.clone()) {
            Ok(engine) => engine,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Corrupt);
                seen_corrupt += 1;
                continue;
            }
        };
        for (id, content) in &contents {
            match read_record(&engine, id) {
                Ok(read) => assert_eq!(&read, content),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Corrupt);
                    seen_corrupt += 1;
                }
            }
        }
    }
    // The root page and the log's, the users' pages, the segment.
    assert!(seen_corrupt >= 4, "{seen_corrupt}");
}
