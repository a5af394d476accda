//! Audits and discards. SPEC §6, §8.

use keyfall::engine::CopyMode;
use keyfall::testing::Defect;
use keyfall::{Class, ErrorKind, Put, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

#[test]
fn audit_tells_live_from_shut_and_finds_strays() {
    let world = World::new(13, SMALL_PAGES);
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    for n in 0..20u8 {
        world.put(&format!("u{n}"), Class::audio(), &[n; 100]);
    }
    world.engine().copies().add("old", CopyMode::Behind, &mut |_| {}).unwrap();
    world.engine().erase(Scope::user(user("u3"))).unwrap();
    let audit = world.engine().audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.places.len(), 3);
    assert!(audit.places[0].shut > 0 && audit.places[0].live == audit.live_blobs);
    assert!(!audit.places[2].head_opens, "the copy that is behind opens nothing by itself");

    let broken = World::with_defect(13, SMALL_PAGES, Some(Defect::SkipRetire));
    for n in 0..20u8 {
        broken.put(&format!("u{n}"), Class::audio(), &[n; 100]);
    }
    broken.engine().copies().add("old", CopyMode::Behind, &mut |_| {}).unwrap();
    broken.engine().erase(Scope::user(user("u3"))).unwrap();
    let audit = broken.engine().audit(&[], &mut |_| {}).unwrap();
    assert!(!audit.is_clean(), "a root key that was not destroyed is found: {audit:?}");
    assert!(audit.places[1].stray > 0 && audit.root_keys == 2);
    assert_eq!(audit.places[1].strays.len() as u64, audit.places[1].stray, "and named");
}

#[test]
fn discard_keeps_the_living_and_gives_the_rest_back() {
    let world = World::new(16, SMALL_PAGES);
    let mut live = Vec::new();
    for n in 0..60u8 {
        let id = world.put(&format!("u{}", n % 6), Class::audio(), &bytes(n.into(), 2000));
        live.push((n, id));
    }
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    world.engine().erase(Scope::user(user("u2"))).unwrap();
    let mut in_flight = world.engine().batch();
    in_flight.add(Put::new(user("u1"), Class::audio()), &b"under way"[..]).unwrap();
    let done = world.engine().discard(&mut |_| {}).unwrap();
    assert!(done.blobs > 10 && done.bytes_after < done.bytes_before, "{done:?}");
    let late = in_flight.commit().unwrap();
    assert_eq!(
        read_record(world.engine(), &late[0]).unwrap(),
        b"under way",
        "a put under way survives a discard"
    );
    for (n, id) in &live {
        let content = read_record(world.engine(), id);
        if n % 6 == 2 {
            assert_eq!(error_kind(content), ErrorKind::Erased)
        } else {
            assert_eq!(content.unwrap(), bytes((*n).into(), 2000))
        }
    }
    assert!(world.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
}
