//! The engine over memory ports: each rule once, small.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, Geometry, restore};
use keyfall::store::BlobName;
use keyfall::store::{Blob, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage};
use keyfall::testing::{Defect, RecordingStore};
use keyfall::{Class, Engine, Error, ErrorKind, InteractionId, Options, Put, Query, Result, Scope, Timestamp, When};

use crate::support::{SMALL, World, bytes, kind, read, user};

#[test]
fn what_goes_in_comes_out_at_every_size() {
    let world = World::new(1, Geometry::default());
    for len in [0, 1, 16_383, 16_384, 16_385, 262_143, 262_144, 262_145, 600_000] {
        let content = bytes(len as u64, len);
        let id = world.put("ada", Class::audio(), &content);
        assert_eq!(read(world.engine(), &id).unwrap(), content, "{len} bytes");
        assert_eq!(world.engine().info(&id).unwrap().length, len as u64);
    }
}

#[test]
fn a_reader_seeks() {
    let world = World::new(2, SMALL);
    let content = bytes(2, 700_000);
    let id = world.put("ada", Class::audio(), &content);
    let mut reader = world.engine().get(&id).unwrap();
    for at in [0, 699_999, 16_384, 262_144, 5, 500_000] {
        reader.seek(SeekFrom::Start(at)).unwrap();
        let mut some = [0; 20_000];
        let n = reader.read(&mut some).unwrap();
        assert!(n > 0);
        assert_eq!(some[..n], content[at as usize..at as usize + n]);
    }
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 699_997);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, content[699_997..]);
    reader.seek(SeekFrom::Start(1 << 40)).unwrap();
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0, "behind the end there is nothing");
}

#[test]
fn erased_absent_and_live_are_three_answers() {
    let world = World::new(3, SMALL);
    let engine = world.engine();
    let (a, b) = (world.put("ada", Class::audio(), b"one"), world.put("bob", Class::audio(), b"two"));
    let done = engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!((done.epoch, done.records, done.already), (2, Some(1), false));
    assert_eq!(kind(read(engine, &a)), ErrorKind::Erased);
    assert_eq!(read(engine, &b).unwrap(), b"two");
    let other = World::new(99, SMALL);
    let foreign = other.put("eve", Class::audio(), b"x");
    assert_eq!(kind(read(engine, &foreign)), ErrorKind::Absent);
    assert_eq!(kind(engine.erase(Scope::Record(foreign))), ErrorKind::Absent);
    assert!(engine.erase(Scope::user(user("ada"))).unwrap().already, "erasing twice is no error");
    assert_eq!(kind(engine.put(Put::new(user("ada"), Class::audio()), &b"late"[..])), ErrorKind::Erased);
    engine.create_user(&user("ada")).unwrap();
    let again = world.put("ada", Class::audio(), b"anew");
    assert_eq!(read(engine, &again).unwrap(), b"anew");
    assert_eq!(kind(read(engine, &a)), ErrorKind::Erased, "the old id says erased for ever");
}

#[test]
fn each_scope_takes_what_it_names() {
    let world = World::new(4, SMALL);
    let engine = world.engine();
    let i = engine.new_interaction().unwrap();
    let put =
        |class: Class, i: InteractionId| engine.put(Put::new(user("ada"), class).interaction(i), &b"x"[..]).unwrap();
    let (a, t, c) = (put(Class::audio(), i), put(Class::transcript(), i), put(Class::action(), i));
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert_eq!(kind(read(engine, &a)), ErrorKind::Erased);
    assert!(read(engine, &t).is_ok() && read(engine, &c).is_ok(), "other classes stay");
    let late = engine.put(Put::new(user("ada"), Class::audio()).interaction(i), &b"late"[..]);
    assert_eq!(kind(late), ErrorKind::Erased, "a late recording of an erased class is refused");
    let fresh = world.put("ada", Class::audio(), b"new");
    assert!(read(engine, &fresh).is_ok(), "a new interaction of the class is welcome");

    engine.erase(Scope::Record(t)).unwrap();
    assert_eq!(kind(read(engine, &t)), ErrorKind::Erased);
    let t2 = put(Class::transcript(), i);
    assert_ne!(t, t2, "an erased record's id is never given again");
    assert_eq!(kind(read(engine, &t)), ErrorKind::Erased);

    engine.erase(Scope::interaction(user("ada"), i)).unwrap();
    assert_eq!(kind(read(engine, &c)), ErrorKind::Erased);
    assert_eq!(kind(read(engine, &t2)), ErrorKind::Erased);
    assert_eq!(
        kind(engine.put(Put::new(user("ada"), Class::action()).interaction(i), &b"late"[..])),
        ErrorKind::Erased
    );
    assert!(read(engine, &fresh).is_ok());
    let other = engine.new_interaction().unwrap();
    let done = engine.erase(Scope::interaction(user("ada"), other)).unwrap();
    assert_eq!((done.records, done.already), (Some(0), false), "what is on its way into it is refused");
}

#[test]
fn a_time_range_takes_its_interactions() {
    let world = World::new(5, SMALL);
    let engine = world.engine();
    let ids: Vec<_> = (0..10).map(|n| world.put("ada", Class::audio(), &[n])).collect();
    let began = |n: usize| ids[n].interaction().began();
    let range = |from, until| Scope::User { user: user("ada"), class: None, when: When::Between { from, until } };
    let done = engine.erase(range(Some(began(3)), Some(began(6)))).unwrap();
    assert_eq!(done.records, Some(3));
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read(engine, id).is_ok(), !(3..6).contains(&n), "record {n}");
    }
    assert_eq!(engine.erase(range(None, Some(began(2)))).unwrap().records, Some(2));
    assert_eq!(engine.erase(range(Some(began(8)), None)).unwrap().records, Some(2));
    let left: Vec<_> = engine.list(&Query::default().user(user("ada"))).unwrap().records;
    assert_eq!(left.iter().map(|r| r.id).collect::<Vec<_>>(), [ids[2], ids[6], ids[7]]);
    assert!(read(engine, &world.put("ada", Class::audio(), b"later")).is_ok(), "the future is open");
    assert_eq!(kind(engine.erase(range(Some(began(6)), Some(began(6))))), ErrorKind::Invalid);
}

#[test]
fn interactions_ahead_of_the_clock_are_erased_and_say_so() {
    let world = World::new(6, SMALL);
    let engine = world.engine();
    let ahead = InteractionId::from_parts(Timestamp(1_767_225_600_000 + 3_600_000), [7; 10]);
    let id = engine.put(Put::new(user("ada"), Class::audio()).interaction(ahead), &b"x"[..]).unwrap();
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert_eq!(kind(read(engine, &id)), ErrorKind::Erased);
    let late = engine.put(Put::new(user("ada"), Class::audio()).interaction(ahead), &b"x"[..]);
    assert_eq!(kind(late), ErrorKind::Erased);
    let far = InteractionId::from_parts(Timestamp(1_767_225_600_000 + 100 * 86_400_000), [7; 10]);
    assert_eq!(kind(engine.put(Put::new(user("ada"), Class::audio()).interaction(far), &b"x"[..])), ErrorKind::Invalid);
}

#[test]
fn listings_page_in_both_directions() {
    let world = World::new(7, SMALL);
    let engine = world.engine();
    let mut all = Vec::new();
    for n in 0..40u8 {
        let i = engine.new_interaction().unwrap();
        for class in [Class::audio(), Class::transcript()] {
            all.push(engine.put(Put::new(user("ada"), class).interaction(i), &[n][..]).unwrap());
        }
        world.put(&format!("u{n}"), Class::action(), &[n]);
    }
    for newest_first in [false, true] {
        let mut query = Query::default().user(user("ada")).newest_first(newest_first).limit(7);
        let mut seen = Vec::new();
        loop {
            let page = engine.list(&query).unwrap();
            seen.extend(page.records.iter().map(|r| r.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let times: Vec<_> = seen.iter().map(|id| id.interaction()).collect();
        let sorted = times.windows(2).all(|w| if newest_first { w[0] >= w[1] } else { w[0] <= w[1] });
        assert!(sorted, "in order of time");
        seen.sort_unstable();
        let mut expected = all.clone();
        expected.sort_unstable();
        assert_eq!(seen, expected, "each record once");
    }
    let mut query = Query::default().limit(9);
    let mut seen = 0;
    loop {
        let page = engine.list(&query).unwrap();
        seen += page.records.len();
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, 120, "all users, page by page");
    let audio = engine.list(&Query::default().class(Class::audio())).unwrap();
    assert_eq!(audio.records.len(), 40);
}

#[test]
fn a_reader_delivers_nothing_after_the_erase_returned() {
    let world = World::new(8, SMALL);
    let engine = world.engine().clone();
    let id = world.put("ada", Class::audio(), &bytes(8, 100_000));
    let mut reader = engine.get(&id).unwrap();
    let mut some = [0; 1000];
    assert!(reader.read(&mut some).unwrap() > 0);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(kind(reader.read_some(&mut some)), ErrorKind::Erased, "not even what was opened already");
}

#[test]
fn a_reader_that_is_not_closed_is_found_out() {
    let world = World::with_defect(8, SMALL, Some(Defect::ForgetCache));
    let engine = world.engine().clone();
    let id = world.put("ada", Class::audio(), &bytes(8, 100_000));
    let mut reader = engine.get(&id).unwrap();
    let mut some = [0; 1000];
    assert!(reader.read(&mut some).unwrap() > 0);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(reader.read_some(&mut some).is_ok(), "the test above would see a reader that goes on");
}

#[test]
fn reads_race_an_erase_and_none_ends_after_it() {
    for seed in 0..20 {
        let world = World::new(100 + seed, SMALL);
        let engine = world.engine().clone();
        let id = world.put("ada", Class::audio(), &bytes(seed, 400_000));
        let returned = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let Ok(mut reader) = engine.get(&id) else { return };
                    let mut some = [0; 700];
                    loop {
                        let after = returned.load(std::sync::atomic::Ordering::SeqCst);
                        match reader.read_some(&mut some) {
                            Ok(0) => {
                                reader.seek(SeekFrom::Start(0)).unwrap();
                            }
                            Ok(_) => assert!(!after, "a byte was delivered to a call made after the erase returned"),
                            Err(e) => return assert_eq!(e.kind(), ErrorKind::Erased),
                        }
                    }
                });
            }
            s.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(200 * seed));
                engine.erase(Scope::user(user("ada"))).unwrap();
                returned.store(true, std::sync::atomic::Ordering::SeqCst);
            });
        });
    }
}

#[test]
fn a_put_that_an_erase_overtakes_leaves_nothing() {
    let world = World::new(9, SMALL);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"first");
    let mut batch = engine.batch();
    batch.add(Put::new(user("ada"), Class::audio()), &b"overtaken"[..]).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.create_user(&user("ada")).unwrap();
    assert_eq!(kind(batch.commit()), ErrorKind::Erased, "also when the user was created anew meanwhile");
    assert!(engine.list(&Query::default()).unwrap().records.is_empty());
}

#[test]
fn an_old_store_is_refused_and_both_epochs_named() {
    let world = World::new(10, SMALL);
    world.engine().copies().add("backup", CopyMode::Behind, &mut |_| {}).unwrap();
    let id = world.put("ada", Class::audio(), b"x");
    world.engine().copies().sync(None, &mut |_| {}).unwrap();
    world.engine().erase(Scope::Record(id)).unwrap();
    let old: Arc<dyn Store> = world.place("backup");
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let e = Engine::open(Arc::clone(&old), Arc::clone(&cell), world.options.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert!(e.to_string().contains("epoch 1") && e.to_string().contains("epoch 2"), "{e}");
    let e = restore(&*cell, &[old], &MemoryStore::new(), &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert_eq!(
        kind(Engine::open(empty, cell, world.options.clone())),
        ErrorKind::Corrupt,
        "an empty store is no new one"
    );
}

#[test]
fn a_copy_in_step_that_is_gone_holds_an_erase_up() {
    let mut world = World::new(11, SMALL);
    let id = world.put("ada", Class::audio(), b"x");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    // The place goes out of reach: a fresh engine cannot open it.
    let mut options = world.options.clone();
    options.open_copy = Arc::new(|place, _| Err(keyfall::Error::new(ErrorKind::Io, format!("{place} is down"))));
    world.engine = None;
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let engine = Engine::open(Arc::clone(&world.store), cell, options).unwrap();
    assert_eq!(read(&engine, &id).unwrap(), b"x", "reading goes on");
    assert_eq!(kind(engine.erase(Scope::Record(id))), ErrorKind::Copy);
    assert!(engine.status().unwrap().unsettled.unwrap().contains("near"));
    engine.copies().remove("near").unwrap();
    engine.erase(Scope::Record(id)).unwrap();
    assert_eq!(engine.promise().kind, "memory");
}

#[test]
fn a_copy_that_comes_back_catches_up_and_the_erase_completes() {
    let mut world = World::new(25, SMALL);
    let id = world.put("ada", Class::audio(), b"x");
    let other = world.put("bob", Class::audio(), b"y");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let (flag, whole) = (Arc::clone(&down), Arc::clone(&world.options.open_copy));
    world.options.open_copy = Arc::new(move |place, create| {
        if flag.load(Ordering::SeqCst) {
            return Err(keyfall::Error::new(ErrorKind::Io, format!("{place} is down")));
        }
        whole(place, create)
    });
    world.reopen();
    assert_eq!(kind(world.engine().erase(Scope::Record(id))), ErrorKind::Copy);
    assert_eq!(read(world.engine(), &id).unwrap(), b"x", "it failed before any change");
    down.store(false, Ordering::SeqCst);
    world.engine().erase(Scope::Record(id)).unwrap();
    assert_eq!(world.cell.load().unwrap().keys.len(), 1);
    assert_eq!(world.engine().copies().status()[0].head, Some(world.engine().head()));
    assert_eq!(read(world.engine(), &other).unwrap(), b"y");
}

#[test]
fn restore_takes_pages_from_one_copy_and_payloads_from_another() {
    let world = World::new(12, Geometry::default());
    let keep = world.put("bob", Class::audio(), &bytes(1, 300_000));
    let gone = world.put("ada", Class::audio(), &bytes(2, 300_000));
    world.engine().copies().add("backup", CopyMode::Behind, &mut |_| {}).unwrap();
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    world.engine().erase(Scope::user(user("ada"))).unwrap();
    let (backup, replica) = (world.place("backup"), world.place("replica"));
    // The replica loses every payload: only pages are as small as this.
    let names = keyfall::testing::listed(&*replica, 1000).unwrap();
    let large: Vec<_> = names.into_iter().filter(|n| replica.get(n).unwrap().unwrap().len() > 8192).collect();
    assert_eq!(large.len(), 4);
    replica.remove(&large).unwrap();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let into = Arc::new(MemoryStore::new());
    let e = restore(&*cell, &[replica.clone() as Arc<dyn Store>], &*into, &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "payloads are missing: {e}");
    let done = restore(&*cell, &[backup, replica], &*into, &mut |_| {}).unwrap();
    assert_eq!(done.head.epoch, 2);
    let engine = Engine::open(into, cell, world.options.clone()).unwrap();
    assert_eq!(read(&engine, &keep).unwrap(), bytes(1, 300_000));
    assert_eq!(kind(read(&engine, &gone)), ErrorKind::Erased);
}

#[test]
fn a_backup_copies_what_is_new_and_no_more() {
    let world = World::new(22, Geometry::default());
    for n in 0..200u8 {
        world.put(&format!("u{n}"), Class::audio(), &bytes(n.into(), 2000));
    }
    let backup = (world.options.open_copy)("backup", true).unwrap();
    let first = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert!(first.blobs > 600, "{first:?}");
    let again = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert_eq!((again.blobs, again.head), (0, Some(world.engine().head())));
    world.put("u7", Class::audio(), b"new");
    world.engine().erase(Scope::user(user("u9"))).unwrap();
    let more = world.engine().backup(&*backup, &mut |_| {}).unwrap();
    assert!((3..15).contains(&more.blobs), "one payload and two paths: {more:?}");
    let other = World::new(23, Geometry::default());
    assert_eq!(
        kind(other.engine().backup(&*backup, &mut |_| {})),
        ErrorKind::Refused,
        "another store's backup is left alone"
    );
}

#[test]
fn the_page_cache_keeps_to_its_limit() {
    let mut world = World::new(24, SMALL);
    world.options.cache_bytes = 32 << 10;
    world.reopen();
    let ids: Vec<_> = (0..300u16).map(|n| world.put(&format!("u{n}"), Class::audio(), &n.to_be_bytes())).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read(world.engine(), id).unwrap(), (n as u16).to_be_bytes());
    }
    let held = world.engine().cached_bytes();
    assert!((1..=32 << 10).contains(&held), "{held} bytes of pages are held");
    world.engine().erase(Scope::user(user("u299"))).unwrap();
    assert!(world.engine().cached_bytes() <= 32 << 10);
}

#[test]
fn one_users_pages_are_a_small_part_of_the_cache() {
    let mut world = World::new(25, SMALL);
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
    assert!((8 * 1024..=18 * (1024 + 256)).contains(&held), "{held} bytes of one user's pages are held");
    world.engine().erase(Scope::user(user("speaker"))).unwrap();
    assert!(world.engine().cached_bytes() < 8 * 1024, "none of them is left");
}

#[test]
fn audit_tells_live_from_shut_and_finds_strays() {
    let world = World::new(13, SMALL);
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

    let broken = World::with_defect(13, SMALL, Some(Defect::SkipRetire));
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
fn the_adversary_needs_rekey_and_retire_to_fail() {
    let content = b"to be forgotten";
    let exposed = |defect| {
        let world = World::with_defect(14, SMALL, defect);
        let id = world.put("ada", Class::audio(), content);
        world.put("bob", Class::audio(), b"stays");
        world.engine().erase(Scope::user(user("ada"))).unwrap();
        let cell: Arc<dyn RootCell> = world.cell.clone();
        let now = world.tape.exposed(&*cell).unwrap();
        let hoarded = world.tape.exposed_to(&world.cell.hoard()).unwrap();
        assert_eq!(hoarded[&id].content.as_deref(), Some(&content[..]), "with every key ever, everything opens");
        (now.contains_key(&id), now.len())
    };
    assert_eq!(exposed(None), (false, 1), "only what lives opens");
    assert_eq!(exposed(Some(Defect::KeepRootKey)), (true, 2), "without the rekey the erased opens");
    assert_eq!(exposed(Some(Defect::SkipRetire)), (true, 2), "without the retire the erased opens");
}

#[test]
fn nothing_in_clear_reaches_the_store() {
    let world = World::new(15, Geometry::default());
    let sentence = b"wake me at half past six every weekday";
    let name = "a-user-with-a-long-and-telling-name";
    world.engine().put(Put::new(user(name), Class::transcript()).purpose("reminders-purpose"), &sentence[..]).unwrap();
    world.engine().copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    for needle in [&sentence[..], name.as_bytes(), b"reminders-purpose", b"transcript"] {
        assert!(!world.tape.contains_bytes(needle), "{}", String::from_utf8_lossy(needle));
    }
}

#[test]
fn discard_keeps_the_living_and_gives_the_rest_back() {
    let world = World::new(16, SMALL);
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
    assert_eq!(read(world.engine(), &late[0]).unwrap(), b"under way", "a put under way survives a discard");
    for (n, id) in &live {
        let content = read(world.engine(), id);
        if n % 6 == 2 {
            assert_eq!(kind(content), ErrorKind::Erased)
        } else {
            assert_eq!(content.unwrap(), bytes((*n).into(), 2000))
        }
    }
    assert!(world.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn damage_is_corrupt_and_never_something_else() {
    let world = World::new(17, SMALL);
    let id = world.put("ada", Class::audio(), b"to be damaged");
    let other = world.put("bob", Class::audio(), b"whole");
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
        for (id, content) in [(id, &b"to be damaged"[..]), (other, b"whole")] {
            match read(&engine, &id) {
                Ok(read) => assert_eq!(read, content),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Corrupt);
                    seen_corrupt += 1;
                }
            }
        }
    }
    assert!(seen_corrupt > 5);
}

#[test]
fn erases_that_wait_share_a_commit() {
    let world = World::new(18, SMALL);
    let foreign = World::new(98, SMALL).put("eve", Class::audio(), b"x");
    for n in 0..50 {
        world.put(&format!("u{n}"), Class::audio(), b"x");
    }
    let scopes: Vec<_> = (0..50).map(|n| Scope::user(user(&format!("u{n}")))).chain([Scope::Record(foreign)]).collect();
    let outcomes = world.engine().erase_all(&scopes);
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 50);
    assert_eq!(kind(outcomes.into_iter().last().unwrap()), ErrorKind::Absent);
    assert_eq!(world.engine().head().epoch, 2, "one epoch for all");
}

#[test]
fn erases_and_puts_from_many_threads() {
    let world = World::new(19, SMALL);
    let engine = world.engine();
    std::thread::scope(|s| {
        for t in 0..4 {
            s.spawn(move || {
                for n in 0..20 {
                    let name = user(&format!("t{t}n{n}"));
                    let id = engine.put(Put::new(name.clone(), Class::audio()), &bytes(n, 500)[..]).unwrap();
                    assert_eq!(read(engine, &id).unwrap(), bytes(n, 500));
                    if n % 2 == 0 {
                        engine.erase(Scope::user(name)).unwrap();
                        assert_eq!(kind(read(engine, &id)), ErrorKind::Erased);
                    }
                }
            });
        }
        s.spawn(|| {
            for _ in 0..5 {
                engine.discard(&mut |_| {}).unwrap();
            }
        });
    });
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 40);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_second_writer_is_found_out_and_its_candidate_destroyed() {
    let mut world = World::new(20, SMALL);
    let id = world.put("ada", Class::audio(), b"x");
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let second = Engine::open(Arc::clone(&world.store), Arc::clone(&cell), world.options.clone()).unwrap();
    second.put(Put::new(user("bob"), Class::audio()), &b"y"[..]).unwrap();
    let e = world.engine().erase(Scope::Record(id)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    assert_eq!(kind(world.engine().put(Put::new(user("eve"), Class::audio()), &b"z"[..])), ErrorKind::Poisoned);
    assert_eq!(cell.load().unwrap().keys.len(), 2, "the loser's candidate is still in the cell");
    drop(second);
    world.reopen();
    assert_eq!(cell.load().unwrap().keys.len(), 1, "opening destroys it");
    assert_eq!(read(world.engine(), &id).unwrap(), b"x", "nothing was lost");
}

#[test]
fn recording_stores_see_names_once() {
    // The tape panics where a name is used twice; a repeated generator must not make one.
    let world = World::new(21, SMALL);
    let again = World::new(21, SMALL);
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
fn a_store_is_made_once_and_opened_with_its_own_cell() {
    use keyfall::Options;
    use keyfall::cell::{MemoryCell, RootCell};
    use keyfall::store::{Head, HeadId, MemoryStore, Store};
    let options = || Options::new().geometry(SMALL);
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let (as_store, as_cell) = (|| store.clone() as Arc<dyn Store>, || cell.clone() as Arc<dyn RootCell>);
    assert_eq!(kind(Engine::open(as_store(), as_cell(), options())), ErrorKind::Absent, "a cell without a key");
    drop(Engine::init(as_store(), as_cell(), options()).unwrap());
    assert_eq!(kind(Engine::init(as_store(), Arc::new(MemoryCell::new()), options())), ErrorKind::Exists);
    assert_eq!(kind(Engine::init(Arc::new(MemoryStore::new()), as_cell(), options())), ErrorKind::Exists);
    assert_eq!(kind(Engine::open(Arc::new(MemoryStore::new()), as_cell(), options())), ErrorKind::Corrupt);
    let other = Arc::new(MemoryCell::new());
    drop(Engine::init(Arc::new(MemoryStore::new()), other.clone(), options()).unwrap());
    assert_eq!(kind(Engine::open(as_store(), other, options())), ErrorKind::Mismatch, "another store's cell");
    // A head under another number than it says of itself.
    let head = store.head().unwrap().unwrap();
    let misfiled = Head { id: HeadId { epoch: 1, commit: 9 }, bytes: head.bytes };
    store.commit(&[], Some(head.id), &misfiled).unwrap();
    assert_eq!(kind(Engine::open(as_store(), as_cell(), options())), ErrorKind::Corrupt);
}

#[test]
fn a_batch_says_how_much_is_in_it() {
    let world = World::new(3, SMALL);
    let mut batch = world.engine().batch();
    assert!(batch.is_empty());
    batch.add(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    assert_eq!((batch.len(), batch.is_empty()), (1, false));
    let head = world.engine().head();
    drop(batch);
    assert!(world.engine().batch().commit().unwrap().is_empty());
    assert_eq!(world.engine().head(), head, "nothing was committed");
    // A record made at another time says so.
    let put = Put::new(user("ada"), Class::audio()).created(keyfall::Timestamp(5));
    let id = world.engine().put(put, &b"x"[..]).unwrap();
    assert_eq!(world.engine().info(&id).unwrap().created, keyfall::Timestamp(5));
}

#[test]
fn spans_that_touch_reach_no_further_back() {
    let world = World::new(61, SMALL);
    let engine = world.engine();
    let at = |ms| InteractionId::from_parts(Timestamp(ms), [3; 10]);
    let put = |ms| engine.put(Put::new(user("ada"), Class::audio()).interaction(at(ms)), &b"x"[..]);
    let span = |from, until| Scope::User {
        user: user("ada"),
        class: None,
        when: When::Between { from: Some(Timestamp(from)), until: Some(Timestamp(until)) },
    };
    for ms in [50, 100, 110, 120, 200] {
        put(ms).unwrap();
    }
    engine.erase(span(100, 110)).unwrap();
    engine.erase(span(110, 121)).unwrap();
    for ms in [100, 109, 110, 120] {
        assert_eq!(kind(put(ms)), ErrorKind::Erased, "{ms}");
        assert!(engine.erase(Scope::interaction(user("ada"), at(ms))).unwrap().already, "{ms}");
    }
    for ms in [40, 99, 121, 150] {
        put(ms).unwrap();
        assert!(!engine.erase(Scope::interaction(user("ada"), at(ms))).unwrap().already, "{ms}");
    }
}

/// A store that can be set back behind the engine's back.
struct SetBack(std::sync::Mutex<Arc<dyn Store>>);

impl SetBack {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Store for SetBack {
    fn place(&self) -> String {
        "set back".into()
    }
    fn get(&self, name: &BlobName) -> keyfall::Result<Option<Vec<u8>>> {
        self.store().get(name)
    }
    fn put(&self, blobs: &[Blob]) -> keyfall::Result<()> {
        self.store().put(blobs)
    }
    fn contains(&self, name: &BlobName) -> keyfall::Result<bool> {
        self.store().contains(name)
    }
    fn head(&self) -> keyfall::Result<Option<Head>> {
        self.store().head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> keyfall::Result<Published> {
        self.store().commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> keyfall::Result<(Vec<BlobName>, Option<Cursor>)> {
        self.store().names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> keyfall::Result<Removed> {
        self.store().remove(names)
    }
    fn usage(&self) -> keyfall::Result<Usage> {
        self.store().usage()
    }
}

#[test]
fn a_copy_in_step_that_lost_everything_is_brought_up_by_the_next_put() {
    let mut world = World::new(62, SMALL);
    let copy = Arc::new(SetBack(std::sync::Mutex::new(Arc::new(MemoryStore::new()))));
    let opened = Arc::clone(&copy);
    world.options.open_copy = Arc::new(move |_, _| Ok(Arc::clone(&opened) as Arc<dyn Store>));
    world.reopen();
    world.engine().copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let first = world.put("ada", Class::audio(), b"first");
    *copy.0.lock().unwrap() = Arc::new(MemoryStore::new());
    let second = world.put("ada", Class::audio(), b"second");
    let into = MemoryStore::new();
    restore(&*world.cell, &[copy.store()], &into, &mut |_| {}).unwrap();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let restored = Engine::open(Arc::new(into), cell, Options::default()).unwrap();
    assert_eq!(
        (read(&restored, &first).unwrap(), read(&restored, &second).unwrap()),
        (b"first".to_vec(), b"second".to_vec())
    );
}

#[test]
fn media_types_and_purposes_have_bounds() {
    let world = World::new(64, SMALL);
    let put = |media_type: &str, purpose: &str| {
        world.engine().put(Put::new(user("ada"), Class::audio()).media_type(media_type).purpose(purpose), &b"x"[..])
    };
    put("audio/wav", &"p".repeat(255)).unwrap();
    for media_type in ["wav", "audio/w\u{e9}v", "audio/\n", &format!("a/{}", "b".repeat(126))] {
        assert_eq!(kind(put(media_type, "")), ErrorKind::Invalid, "{media_type:?}");
    }
    assert_eq!(kind(put("audio/wav", &"p".repeat(256))), ErrorKind::Invalid);
}

#[test]
fn a_store_has_eight_copies_and_no_more() {
    let mut world = World::new(63, SMALL);
    for n in 0..8 {
        world.engine().copies().add(&format!("copy {n}"), CopyMode::Behind, &mut |_| {}).unwrap();
    }
    assert_eq!(kind(world.engine().copies().add("copy 8", CopyMode::Behind, &mut |_| {})), ErrorKind::Limit);
    world.reopen();
    assert_eq!(world.engine().copies().status().len(), 8);
}

/// A copy whose disk is full, but for what it keeps for erases.
#[derive(Default)]
struct Tight {
    inner: MemoryStore,
    full: AtomicBool,
    erasing: AtomicBool,
}

impl Tight {
    fn room(&self, erases: bool) -> Result<()> {
        if self.full.load(Ordering::SeqCst) && !erases && !self.erasing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Full, "near: no space left; free some space and call again"));
        }
        Ok(())
    }
}

impl Store for Tight {
    fn place(&self) -> String {
        "near".into()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.room(false)?;
        self.inner.put(blobs)
    }
    fn for_an_erase(&self, on: bool) {
        self.erasing.store(on, Ordering::SeqCst);
    }
    fn head(&self) -> Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.room(over.is_some_and(|over| over.epoch < head.id.epoch))?;
        self.inner.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.inner.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.inner.usage()
    }
}

/// The put said "call again", and called again it was there twice; the erase failed though the copy had kept room for it.
#[test]
fn a_full_copy_holds_no_erase_up_and_what_it_lacks_is_told_as_in() {
    let mut world = World::new(31, SMALL);
    let tight = Arc::new(Tight::default());
    let copy: Arc<dyn Store> = tight.clone();
    world.options.open_copy = Arc::new(move |_, _| Ok(Arc::clone(&copy)));
    world.reopen();
    let engine = world.engine();
    engine.copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    world.put("ada", Class::audio(), b"x");
    tight.full.store(true, Ordering::SeqCst);
    let put = |name: &str| engine.put(Put::new(user(name), Class::audio()), &bytes(1, 100_000)[..]).unwrap_err();
    let records = || engine.list(&Query::default()).unwrap().records.len();
    let e = put("bob");
    assert!(e.kind() == ErrorKind::Copy && e.may_have_happened(), "{e:?}");
    assert!(e.to_string().contains("must not be put again") && !e.to_string().contains("call again"), "{e}");
    assert_eq!(records(), 2, "it is in");
    // The next one waits for it: nothing of that is in.
    let e = put("eve");
    assert!(e.kind() == ErrorKind::Copy && !e.may_have_happened(), "{e:?}");
    assert_eq!(records(), 2);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(tight.head().unwrap().unwrap().id, engine.head());
    assert_eq!(world.cell.load().unwrap().keys.len(), 1);
    assert!(!tight.erasing.load(Ordering::SeqCst), "what is put next is not needed by an erase");
    assert_eq!(put("eve").kind(), ErrorKind::Copy);
}
