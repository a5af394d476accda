//! What a backup says of itself.

use std::sync::mpsc;
use std::time::Duration;

use keyfall::engine::Geometry;
use keyfall::store::{MemoryStore, Store};
use keyfall::{Class, Scope};

use crate::support::{World, bytes, user};

#[test]
fn a_backup_that_an_erase_interrupts_counts_all_that_it_copied() {
    let world = World::new(1, Geometry::default());
    world.put("ada", Class::audio(), b"goes");
    for n in 0..60 {
        world.put(&format!("user {n}"), Class::audio(), &bytes(n, 200_000));
    }
    let backup = MemoryStore::new();
    let (go, begin) = mpsc::channel();
    let mut seen = Vec::new();
    let engine = world.engine();
    let done = std::thread::scope(|threads| {
        threads.spawn(move || {
            begin.recv().unwrap();
            engine.erase(Scope::user(user("ada"))).unwrap();
        });
        engine.backup(&backup, |n| {
            if seen.is_empty() {
                go.send(()).unwrap();
                // Long enough for the erase to be there and wait for this walk.
                std::thread::sleep(Duration::from_millis(300));
            }
            seen.push(n);
        })
    })
    .unwrap();
    assert!(seen.is_sorted(), "it does not begin again from nothing: {seen:?}");
    assert_eq!(done.blobs, backup.usage().unwrap().blobs);
    assert!(done.bytes > 60 * 200_000, "{done:?}");
    assert_eq!(done.head, Some(engine.head()));
}
