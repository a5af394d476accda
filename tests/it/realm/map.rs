//! The map: what is refused, and what its loss costs.

use std::path::PathBuf;

use keyfall::{Class, ErrorKind, Put};
use sha2::{Digest, Sha256};

use super::world::{Place, World, name_in, names_of, put};
use crate::support::{error_kind, read_record, user};

fn map(world: &World) -> PathBuf {
    world.path().join("map").join(format!("{:020}", 1))
}

/// The text with its digest made right.
fn resealed(text: &str) -> String {
    let body = &text[..text.rfind("sha256 ").unwrap()];
    let digest = Sha256::digest(body.as_bytes());
    format!("{body}sha256 {}\n", data_encoding::HEXLOWER.encode(&digest))
}

fn refused(world: &World, text: &str, kind: ErrorKind, says: &str) {
    std::fs::write(map(world), text).unwrap();
    let e = world.builder().open().unwrap_err();
    assert_eq!(e.kind(), kind, "{e}");
    let told = e.to_string();
    assert!(told.contains(says) && !told.contains('\n'), "{told}");
    assert!(told.contains("`RealmBuilder::init`"), "names the remedy: {told}");
}

#[test]
fn a_map_that_cannot_be_is_refused() {
    let (world, realm) = World::new(4);
    realm.close().unwrap();
    let text = std::fs::read_to_string(map(&world)).unwrap();
    assert_eq!(resealed(&text), text);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        std::fs::write(map(&world), &bytes).unwrap();
        let e = world.builder().open().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "byte {at}: {e}");
    }
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        refused(&world, &text[..cut], ErrorKind::Corrupt, "");
    }
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        resealed(&text.replacen(from, to, 1))
    };
    let corrupt = ErrorKind::Corrupt;
    let run = "slots 1024 2047 1\n";
    refused(&world, &changed("number 1\n", "number 2\n"), corrupt, "under the name of map 1");
    refused(&world, &changed(run, &run.repeat(2)), corrupt, "for the second time");
    refused(&world, &changed(run, "slots 1023 2047 1\n"), corrupt, "for the second time");
    refused(&world, &changed(run, ""), corrupt, "a slot has no shard");
    refused(&world, &changed(run, "slots 1024 2047 4\n"), corrupt, "a slot has no shard");
    refused(&world, &changed(run, "slots 2047 1024 1\n"), corrupt, "cannot be");
    refused(&world, &changed(run, "slots 1024 9999 1\n"), corrupt, "cannot be");
    refused(&world, &changed("number 1\n", "number 1\nnumber 1\n"), corrupt, "second time");
    refused(&world, &changed("number 1\n", "number 1\nfrobs 1\n"), corrupt, "cannot be");
    let shard = text.lines().find(|line| line.starts_with("shard ")).unwrap().to_owned();
    let twice = format!("{shard}\n{shard}\n");
    refused(&world, &changed(&format!("{shard}\n"), &twice), corrupt, "second time");
    let realm = text.lines().find(|line| line.starts_with("realm ")).unwrap();
    let other = changed(realm, "realm 00000000000000000000000000000001");
    refused(&world, &other, ErrorKind::Mismatch, "a map of realm 0000");
    std::fs::write(map(&world), &text).unwrap();
    world.open();
}

#[test]
fn two_shards_in_one_place_are_refused() {
    for places in [["one", "one"], ["one", "./one"], ["s3://bucket/one", "s3://bucket/o%6Ee"]] {
        let world = World::empty(2);
        let twice = places.map(|place| (place.to_owned(), None));
        let e = world.builder().places(twice).init().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert!(e.to_string().contains("give each a place of its own"), "{e}");
    }
    for shards in [0, 257] {
        let world = World::empty(shards);
        assert_eq!(error_kind(world.builder().init()), ErrorKind::Invalid);
        assert!(!world.path().join("realm").exists());
    }
}

#[test]
fn shards_in_one_anothers_place_are_refused() {
    let (world, realm) = World::new(3);
    let (one, two) = (name_in(&realm, 1), name_in(&realm, 2));
    let id = put(&realm, &one);
    realm.close().unwrap();
    let (first, second) = (world.place(1), world.place(2));
    world.set_place(1, second.clone());
    world.set_place(2, first.clone());
    let realm = world.open();
    for (name, says) in [(&one, "holds shard 2 in the place of shard 1"), (&two, "shard 1 in")] {
        let e = realm.put(Put::new(user(name), Class::audio()), &b"lost"[..]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Mismatch);
        assert!(e.to_string().contains(says), "{e}");
        assert!(e.to_string().contains("put each back in its place"), "{e}");
        assert!(!e.to_string().contains('\n'));
    }
    assert_eq!(error_kind(realm.get(&id)), ErrorKind::Mismatch);
    // The one that is in its place serves its users.
    put(&realm, &name_in(&realm, 0));
    world.set_place(1, first);
    world.set_place(2, second);
    realm.get(&id).unwrap();
}

#[test]
fn a_store_that_is_no_shard_of_this_realm_is_refused() {
    let (world, realm) = World::new(2);
    let name = name_in(&realm, 1);
    realm.close().unwrap();
    let own = world.place(1);
    let (other, of_other) = World::new(2);
    let number = of_other.shard_of(&user(&name)).unwrap().number;
    of_other.close().unwrap();
    let alone = Place::new();
    alone.builder().create().unwrap();
    for (place, says) in [
        (other.place(number), "is a shard of realm"),
        (alone, "is a store of its own and no shard"),
    ] {
        let before = place.store_head();
        world.set_place(1, place.clone());
        let e = world.open().engine_at(1).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Mismatch);
        assert!(e.to_string().contains(says) && !e.to_string().contains('\n'), "{e}");
        assert_eq!(place.store_head(), before, "it was not claimed");
    }
    world.set_place(1, own);
    world.open().engine_at(1).unwrap();
}

/// One shard is lost with its cell, and so is the map: a new first shard would draw another index
/// key, by which nobody in the second is found.
#[test]
fn a_shard_with_another_index_key_is_refused() {
    let (world, realm) = World::new(2);
    let name = name_in(&realm, 1);
    put(&realm, &name);
    realm.close().unwrap();
    let first = world.place(0);
    world.set_place(0, Place::new());
    std::fs::remove_file(map(&world)).unwrap();
    let e = world.builder().init().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert!(e.to_string().contains("another index key than its realm"), "{e}");
    world.set_place(0, first);
    assert_eq!(names_of(&world.builder().init().unwrap().engine_at(1).unwrap()), [name]);
}

#[test]
fn a_lost_map_is_written_again_and_loses_nothing() {
    let (world, realm) = World::new(4);
    let ids: Vec<_> = (0..40).map(|n| put(&realm, &format!("user {n}"))).collect();
    realm.close().unwrap();
    let text = std::fs::read_to_string(map(&world)).unwrap();
    std::fs::remove_file(map(&world)).unwrap();
    let e = world.builder().open().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Absent);
    assert!(e.to_string().contains("`RealmBuilder::init`"), "{e}");
    // Two shards were exchanged meanwhile: their users tell.
    let (first, second) = (world.place(1), world.place(2));
    world.set_place(1, second.clone());
    world.set_place(2, first.clone());
    let e = world.builder().init().unwrap_err();
    assert!(e.kind() == ErrorKind::Mismatch && e.to_string().contains("exchanged"), "{e}");
    assert!(!map(&world).exists());
    world.set_place(1, first);
    world.set_place(2, second);
    let realm = world.builder().init().unwrap();
    assert_eq!(std::fs::read_to_string(map(&world)).unwrap(), text, "the same one");
    for id in &ids {
        realm.get(id).unwrap();
    }
    realm.close().unwrap();
    // The whole directory is lost: each shard is a store, with a cell, that opens by itself.
    std::fs::remove_dir_all(world.path()).unwrap();
    let engines: Vec<_> = (0..4).map(|n| world.place(n).builder().open().unwrap()).collect();
    for id in &ids {
        let read = engines.iter().filter(|engine| read_record(engine, id).is_ok()).count();
        assert_eq!(read, 1);
    }
}

/// A command that was refused left the beginning of a realm in the store, which no command took for
/// a store from then on.
#[test]
fn what_holds_a_store_becomes_no_realm() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("plain.db");
    let builder = keyfall::Builder::at(&store).accept_remnants();
    builder.create().unwrap().close().unwrap();
    for place in [store.clone(), dir.path().join("plain.db.cell"), store.join("below")] {
        let e = keyfall::realm::RealmBuilder::at(&place).shards(2).init().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(!place.join("map").exists() && !place.join("realm").exists());
    }
    // What an earlier version left there.
    std::fs::create_dir(store.join("map")).unwrap();
    std::fs::write(store.join("realm"), "").unwrap();
    assert!(!keyfall::realm::is_realm(&store));
    builder.open().unwrap();
}
