//! Each user in one shard, found by name and by record, whoever opens what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::realm::Realm;
use keyfall::{Class, ErrorKind, Put, Query, RecordId, Scope, UserId};

use super::world::{World, name_in, names_of, put};
use crate::support::{error_kind, read_record, user};

fn read(realm: &Realm, id: &RecordId) -> keyfall::Result<Vec<u8>> {
    let mut out = Vec::new();
    realm.get_to(id, &mut out)?;
    Ok(out)
}

#[test]
fn users_are_spread_and_each_is_found_in_one_shard() {
    let (world, realm) = World::new(8);
    let names: Vec<String> = (0..240).map(|n| format!("user {n}")).collect();
    let ids: BTreeMap<&String, RecordId> =
        names.iter().map(|name| (name, put(&realm, name))).collect();
    realm.close().unwrap();
    // Another router, as on another day.
    let realm = world.open();
    let mut seen = BTreeMap::new();
    for shard in realm.shards() {
        let here = names_of(&realm.engine_at(shard.number).unwrap());
        assert!(here.len() > 10, "240 users over 8 shards: {} in {}", here.len(), shard.number);
        for name in here {
            assert_eq!(realm.shard_of(&user(&name)).unwrap(), shard);
            assert_eq!(seen.insert(name, shard.number), None);
        }
    }
    assert_eq!(seen.len(), names.len());
    for (name, id) in &ids {
        assert_eq!(realm.shard_of_record(id).number, seen[*name]);
        assert_eq!(read(&realm, id).unwrap(), name.as_bytes());
        assert_eq!(realm.info(id).unwrap().user.as_str(), *name);
        let listed = realm.list(&Query::default().user(user(name))).unwrap().records;
        assert_eq!(listed.iter().map(|info| info.id).collect::<Vec<_>>(), [*id]);
        assert_eq!(realm.report(&user(name)).unwrap().classes[0].1, 1);
    }
    assert_eq!(error_kind(realm.list(&Query::default())), ErrorKind::Invalid);
}

#[test]
fn one_erase_reaches_the_shard_that_has_it() {
    let (_world, realm) = World::new(4);
    let (ada, ben) = (put(&realm, "ada"), put(&realm, "ben"));
    assert_eq!(realm.erase(Scope::record(ada)).unwrap().records, Some(1));
    assert_eq!(error_kind(read(&realm, &ada)), ErrorKind::Erased);
    assert_eq!(realm.erase(Scope::user(user("ben"))).unwrap().records, Some(1));
    assert_eq!(error_kind(read(&realm, &ben)), ErrorKind::Erased);
    let handle = realm.engine_of(&user("ada")).unwrap().handle(&user("ada")).unwrap();
    assert_eq!(realm.shard_of_handle(&handle), realm.shard_of(&user("ada")).unwrap());
}

#[test]
fn a_household_is_in_one_shard() {
    let (_world, realm) = World::new(16);
    let mut shards = BTreeMap::new();
    for home in 0..40 {
        let group = format!("home {home}");
        let members: Vec<UserId> =
            ["ada", "ben", "chloe"].map(|name| UserId::in_group(&group, name).unwrap()).into();
        let first = realm.shard_of(&members[0]).unwrap().number;
        for member in &members {
            assert_eq!(realm.shard_of(member).unwrap().number, first, "{group}");
        }
        *shards.entry(first).or_insert(0) += 1;
        // One's words, made of another's recording.
        let source =
            realm.put(Put::new(members[0].clone(), Class::audio()), &b"wake us"[..]).unwrap();
        let said = Put::new(members[1].clone(), Class::transcript()).derived_from(source);
        let said = realm.put(said, &b"wake us"[..]).unwrap();
        realm.erase(Scope::user(members[0].clone())).unwrap();
        assert_eq!(error_kind(read(&realm, &said)), ErrorKind::Erased);
    }
    assert!(shards.len() > 8, "households are spread: {shards:?}");
}

/// Outside of a realm such a name is a name like any other: stores that exist keep their users.
#[test]
fn a_group_is_the_first_part_of_a_name() {
    for (name, group) in [
        ("{home-1}ada", Some("home-1")),
        ("{home-1}", Some("home-1")),
        ("{}ada", None),
        ("{home-1", None),
        ("ada{home-1}", None),
        ("ada", None),
    ] {
        assert_eq!(user(name).group(), group, "{name}");
    }
    for (group, name) in [("", "ada"), ("home}1", "ada"), ("home-1", "")] {
        assert_eq!(error_kind(UserId::in_group(group, name)), ErrorKind::Invalid);
    }
    assert_eq!(UserId::in_group("home-1", "ada").unwrap(), user("{home-1}ada"));
}

#[test]
fn a_source_in_another_shard_is_refused_and_both_are_named() {
    let (_world, realm) = World::new(4);
    let (far, near) = (name_in(&realm, 3), name_in(&realm, 1));
    let source = put(&realm, &far);
    let derived = Put::new(user(&near), Class::transcript()).derived_from(source);
    let e = realm.put(derived, &b"said"[..]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused);
    let text = e.to_string();
    assert!(text.contains("shard 3 (") && text.contains("shard 1 ("), "{text}");
    assert!(text.contains("placement group") && !text.contains('\n'), "{text}");
    // So says the shard itself, reached without the realm.
    let derived = Put::new(user(&near), Class::transcript()).derived_from(source);
    let e = realm.engine_at(1).unwrap().put(derived, &b"said"[..]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
    let text = e.to_string();
    assert!(text.contains("shard 3 (") && text.contains("shard 1 ("), "{text}");
    assert!(text.contains("placement group") && !text.contains('\n'), "{text}");
    assert_eq!(error_kind(realm.list(&Query::default().user(user(&near)))), ErrorKind::Absent);
}

/// Whichever way a shard's engine is reached, nobody comes to life in two shards, and no erase of a
/// user who lives elsewhere is told as done.
#[test]
fn a_user_of_another_shard_never_comes_to_life() {
    let (world, realm) = World::new(4);
    let (here, elsewhere) = (name_in(&realm, 2), name_in(&realm, 3));
    put(&realm, &here);
    let try_all = |engine: &keyfall::Engine, named: &str| {
        let mut errors = Vec::new();
        let stranger = || user(&elsewhere);
        let put = Put::new(stranger(), Class::audio());
        errors.push(engine.put(put, &b"RIFF"[..]).unwrap_err());
        errors.push(engine.create_user(&stranger()).unwrap_err());
        errors.push(engine.erase(Scope::user(stranger())).unwrap_err());
        errors.push(engine.erase(Scope::class(stranger(), Class::audio())).unwrap_err());
        errors.push(engine.would_erase(Scope::user(stranger())).unwrap_err());
        let mut batch = engine.batch();
        batch.add(Put::new(stranger(), Class::audio()), &b"RIFF"[..]).unwrap();
        errors.push(batch.commit().unwrap_err());
        for e in errors {
            assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
            assert!(e.to_string().contains(named) && !e.to_string().contains('\n'), "{e}");
            assert!(!e.may_have_happened());
        }
        assert_eq!(names_of(engine), std::slice::from_ref(&here));
    };
    let engine = realm.engine_at(2).unwrap();
    try_all(&engine, "shard 3 (");
    drop(engine);
    realm.close().unwrap();
    // Opened by itself, without the map: who is here stays at home, nobody else comes.
    let alone = world.place(2).builder().open().unwrap();
    try_all(&alone, "name the realm's directory");
    let more = alone.put(Put::new(user(&here), Class::audio()), &b"more"[..]).unwrap();
    assert_eq!(read_record(&alone, &more).unwrap(), b"more");
    assert_eq!(alone.erase(Scope::user(user(&here))).unwrap().records, Some(2));
}

#[test]
fn a_shard_is_opened_when_it_is_asked_for() {
    let (world, realm) = World::new(4);
    let (name, id) = {
        let name = name_in(&realm, 2);
        let id = put(&realm, &name);
        (name, id)
    };
    realm.close().unwrap();
    world.opened();
    let realm = world.open();
    assert!(world.opened().is_empty());
    read(&realm, &id).unwrap();
    assert_eq!(world.opened(), [2], "a record's id says its shard");
    realm.find(&user(&name), "nothing").unwrap_err();
    assert!(world.opened().is_empty(), "the key to names is that of any shard");
    assert!(realm.open_all().is_empty());
    let mut opened = world.opened();
    opened.sort_unstable();
    assert_eq!(opened, [0, 1, 3]);
}

#[test]
fn one_shard_that_is_away_keeps_its_own_users_waiting_and_no_others() {
    let (world, realm) = World::new(4);
    let ids: Vec<(usize, RecordId)> =
        (0..4).map(|number| (number, put(&realm, &name_in(&realm, number)))).collect();
    let names: Vec<String> = (0..4).map(|number| name_in(&realm, number)).collect();
    realm.close().unwrap();
    // Shard 0 is the first that is asked for the index key.
    for away in [0, 3] {
        world.away(away, true);
        let realm = world.open();
        let failed = realm.open_all();
        assert_eq!(failed.iter().map(|(shard, _)| shard.number).collect::<Vec<_>>(), [away]);
        for (number, id) in &ids {
            let done = read(&realm, id);
            let again = realm.put(Put::new(user(&names[*number]), Class::audio()), &b"new"[..]);
            if *number == away {
                let e = done.unwrap_err();
                assert!(e.to_string().contains(&format!("shard {away} (")), "{e}");
                assert!(e.to_string().contains("is out of reach"), "{e}");
                assert_eq!(error_kind(again), ErrorKind::Io);
            } else {
                assert_eq!(done.unwrap(), names[*number].as_bytes());
                again.unwrap();
            }
        }
        let status = realm.status();
        let open: Vec<bool> = status.shards.iter().map(|shard| shard.status.is_ok()).collect();
        assert_eq!(open, (0..4).map(|number| number != away).collect::<Vec<_>>());
        assert_eq!(status.shards.iter().map(|shard| shard.slots).sum::<usize>(), 4096);
        // It is asked again, and is there.
        world.away(away, false);
        read(&realm, &ids[away].1).unwrap();
        realm.close().unwrap();
    }
}

#[test]
fn a_shard_that_does_not_answer_keeps_its_own_users_waiting_and_no_others() {
    let (world, realm) = World::new(3);
    let name = name_in(&realm, 2);
    realm.close().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    world.places.lock().unwrap().silent = Some((0, Arc::clone(&gate)));
    let realm = world.open();
    // It is waited for: this would not end.
    let id = put(&realm, &name);
    assert_eq!(read(&realm, &id).unwrap(), name.as_bytes());
    world.opened();
    realm.close().unwrap();
    // Whoever asked for it closes it again.
    drop(held);
    while world.opened() != [0] {
        std::thread::sleep(Duration::from_millis(1));
    }
    let realm = world.open();
    while let Err(e) = realm.engine_at(0) {
        assert_eq!(e.kind(), ErrorKind::Locked, "{e}");
    }
    assert_eq!(read(&realm, &id).unwrap(), name.as_bytes());
}

#[test]
fn a_closed_realm_opens_nothing_more() {
    let (world, realm) = World::new(2);
    let id = put(&realm, "ada");
    let other = realm.clone();
    let settled = realm.close().unwrap();
    assert!(settled.iter().all(|(_, finality)| finality.is_final()), "{settled:?}");
    assert_eq!(error_kind(read(&other, &id)), ErrorKind::Refused);
    read(&world.open(), &id).unwrap();
}
