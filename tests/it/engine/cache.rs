//! The page cache keeps to its limits. SPEC §2.

use keyfall::{Class, Put, Scope};

use crate::support::{SMALL_PAGES, World, read_record, user};

#[test]
fn the_page_cache_keeps_to_its_limit() {
    let mut world = World::new(24, SMALL_PAGES);
    world.options.cache_bytes = 32 << 10;
    world.reopen();
    let ids: Vec<_> = (0..300u16)
        .map(|n| world.put(&format!("u{n}"), Class::audio(), &n.to_be_bytes()))
        .collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read_record(world.engine(), id).unwrap(), (n as u16).to_be_bytes());
    }
    let held = world.engine().cached_bytes();
    assert!((1..=32 << 10).contains(&held), "{held} bytes of pages are held");
    world.engine().erase(Scope::user(user("u299"))).unwrap();
    assert!(world.engine().cached_bytes() <= 32 << 10);
}

#[test]
fn one_users_pages_are_a_small_part_of_the_cache() {
    let mut world = World::new(25, SMALL_PAGES);
    // 16,384 pages of 4 KiB, 16 of them one user's at most.
    world.options.cache_bytes = 64 << 20;
    world.reopen();
    let mut batch = world.engine().batch();
    for n in 0..2000u16 {
        batch.add(Put::new(user("speaker"), Class::audio()), &n.to_be_bytes()[..]).unwrap();
    }
    let ids = batch.commit().unwrap();
    for id in &ids {
        world.engine().info(id).unwrap();
    }
    let held = world.engine().cached_bytes();
    // The tree of the class alone has some 300 pages of at most 1,024 bytes.
    assert!(
        (8 * 1024..=18 * (1024 + 256)).contains(&held),
        "{held} bytes of one user's pages are held"
    );
    world.engine().erase(Scope::user(user("speaker"))).unwrap();
    assert!(world.engine().cached_bytes() < 8 * 1024, "none of them is left");
}
