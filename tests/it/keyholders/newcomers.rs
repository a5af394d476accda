//! A new keyholder is dealt shares of root keys that were drawn for it, and of no others. SPEC
//! §15.3.

use std::path::Path;

use keyfall::ErrorKind;
use keyfall::cell::RootCell;
use keyfall::certificate::Grade;
use keyfall::crypto::Key;
use keyfall::engine::OpenAs;
use keyfall::quorum::Standing;
use keyfall::store::StoreId;

use super::{Keyholder, Place, certified, cut_short, drawn, grade, owned, put, shares_in};
use crate::support::{error_kind, ok, read_record, run};

/// The new one was dealt its share of the running root key: a machine with the list of before,
/// which nothing refuses, did not ask it for its word, and called an erase final whose key two could
/// give back.
#[test]
fn a_replacement_that_was_cut_short_leaves_nothing_that_another_machine_does_not_know() {
    let place = Place::with_margin(3, 2, 0, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    drop(engine);
    let before = std::fs::read(&list).unwrap();
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    cut_short(&place, 3, &fresh.restart());
    drop(place.open().unwrap());
    let newest = std::fs::read(&list).unwrap();
    let running = shares_in(&place.keyholders[0].dir)[0].id;
    assert!(shares_in(&fresh.dir).is_empty());
    std::fs::write(&list, &before).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ben")), Grade::Final);
    drop(engine);
    std::fs::write(&list, &newest).unwrap();
    assert_eq!(error_kind(place.open()), ErrorKind::Mismatch);

    // Nor is it dealt the running key once an epoch was tried, for which too few were there.
    std::fs::write(&list, &before).unwrap();
    drop(place.open().unwrap());
    cut_short(&place, 3, &fresh.restart());
    place.keyholders[0].stop(true);
    assert_eq!(error_kind(place.open().unwrap().rekey()), ErrorKind::Io);
    place.keyholders[0].stop(false);
    drop(place.open().unwrap());
    assert!(shares_in(&fresh.dir).iter().all(|share| share.id.epoch > running.epoch + 1));
}

/// Deposits the next root key, whose head is never published, twice; which of the keyholders in
/// these directories were dealt a share of it, each time.
fn dealt_in_vain(place: &Place, dirs: &[&Path]) -> [Vec<bool>; 2] {
    let (cell, store, running) = owned(place);
    [7, 8].map(|attempt| {
        let id = drawn(&cell, running.epoch + 1, attempt);
        cell.deposit(store, &id, &Key::copied_from(&[attempt; 32])).unwrap();
        let has = |dir: &&Path| shares_in(dir).iter().any(|share| share.id == id);
        dirs.iter().map(has).collect()
    })
}

/// A commit that another engine's refused is in no store, but whoever saw it on its way has it: its
/// key reaches all that lived then. New keyholders held shares of that key, a machine with the list
/// of before did not ask them for their word, and its erase was final.
#[test]
fn of_a_key_whose_head_is_not_published_a_new_one_holds_no_share() {
    let place = Place::with_margin(3, 2, 0, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    put_id(&place);
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    cut_short(&place, 3, &fresh.restart());
    let old = |n: usize| -> &Path { &place.keyholders[n].dir };
    let dealt = dealt_in_vain(&place, &[old(0), old(1), &fresh.dir]);
    assert_eq!(dealt, [[true, true, false], [true, true, false]]);
}

/// A list of before that takes the store over does not know who holds the running key.
#[test]
fn of_a_key_that_a_list_of_before_draws_those_hold_shares_that_held_the_key_before_it() {
    let place = Place::with_margin(3, 2, 0, 0);
    let (store_at, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let list = Path::new(&cell).join("quorum.json");
    put_id(&place);
    let before = std::fs::read(&list).unwrap();
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let line = fresh.restart();
    ok(&["keyholder", "replace", &store_at, "--number", "3", "--with", &line]);
    std::fs::write(&list, &before).unwrap();
    drop(place.open_as(OpenAs::TakeOver).unwrap());
    let old = |n: usize| -> &Path { &place.keyholders[n].dir };
    let dealt = dealt_in_vain(&place, &[old(0), old(1), old(2)]);
    assert_eq!(dealt, [[true, true, false], [true, true, false]]);
}

#[test]
fn a_new_one_gets_its_share_with_the_next_epoch_though_another_is_away() {
    let mut place = Place::with_margin(4, 2, 0, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let stays = put(&place.open().unwrap(), "stays");
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    cut_short(&place, 4, &fresh.restart());
    place.keyholders[0].kill();
    let engine = place.open().unwrap();
    let epoch = engine.head().epoch;
    assert!(shares_in(&fresh.dir).is_empty());
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!((engine.head().epoch, shares_in(&fresh.dir).len()), (epoch + 1, 1));
    // And none for the one that is away alone.
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epoch + 1);
    drop(engine);
    // Of a key that was drawn for it one that is back gets its share, with no epoch.
    ok(&["keyholder", "renew", &place.at("store")]);
    ok(&["keyholder", "renew", &place.at("store")]);
    place.keyholders[0].start();
    let engine = place.open().unwrap();
    assert_eq!(engine.head().epoch, epoch + 3);
    assert!(shares_in(&place.keyholders[0].dir).iter().any(|share| share.id.epoch == epoch + 3));
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    assert_eq!(grade(&engine, &certified(&engine, "stays")), Grade::Final);
}

/// It answers, and cannot write: the one that it would replace keeps its share.
#[test]
fn a_new_one_that_takes_no_share_replaces_nobody() {
    let place = Place::with_margin(3, 2, 0, 0);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    put(&place.open().unwrap(), "ada");
    let epoch = place.open().unwrap().head().epoch;
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let (line, stores) = (fresh.restart(), fresh.dir.join("stores"));
    std::fs::remove_dir_all(&stores).unwrap();
    std::fs::write(&stores, "not a directory").unwrap();
    let args = ["keyholder", "replace", &store, "--number", "1", "--with", &line];
    let (done, text) = run(&args);
    assert!(!done && text.contains("nothing was changed"), "{text}");
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
    assert_eq!(place.open().unwrap().head().epoch, epoch);
    std::fs::remove_file(&stores).unwrap();
    std::fs::create_dir(&stores).unwrap();
    fresh.restart();
    let told = ok(&args);
    assert!(told.contains("final"), "{told}");
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
}

/// A machine whose list is of before takes the store over, and stops: the one that its list alone
/// names was dealt its share, of which the machine with the right list does not know.
#[test]
fn a_take_over_that_was_cut_short_deals_nothing_either() {
    let place = Place::with_margin(3, 2, 0, 0);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let list = Path::new(&cell).join("quorum.json");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    let before = std::fs::read(&list).unwrap();
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    ok(&["keyholder", "replace", &store, "--number", "3", "--with", &fresh.restart()]);
    let newest = std::fs::read(&list).unwrap();
    assert!(shares_in(&place.keyholders[2].dir).is_empty());
    std::fs::write(&list, &before).unwrap();
    drop(place.open_as(OpenAs::TakeOver).unwrap());
    let left = shares_in(&place.keyholders[2].dir);
    std::fs::write(&list, &newest).unwrap();
    assert!(left.is_empty());
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
}

/// A keyholder whose disk was full when it was to take a store left an empty file behind: from then
/// on it said that another engine owned the store.
#[test]
fn a_store_whose_first_write_was_cut_short_is_nobodys() {
    let mut place = Place::new(3, 2, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let store = put_id(&place);
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let left = fresh.dir.join("stores").join(store.to_string());
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("engine"), "").unwrap();
    let line = fresh.restart();
    place.keyholders[0].kill();
    let told = ok(&["keyholder", "replace", &place.at("store"), "--number", "1", "--with", &line]);
    assert!(told.contains("epoch 3 began"), "{told}");
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
}

fn put_id(place: &Place) -> StoreId {
    let engine = place.open().unwrap();
    put(&engine, "ada");
    engine.id()
}

/// One that answers and cannot take its share: each tend began an epoch.
#[test]
fn one_that_cannot_take_its_share_has_no_epoch_begin_again_and_again() {
    let place = Place::with_margin(3, 2, 0, 0);
    put_id(&place);
    let stores = place.keyholders[0].dir.join("stores");
    let away = place.keyholders[0].dir.join("away");
    std::fs::rename(&stores, &away).unwrap();
    std::fs::write(&stores, "not a directory").unwrap();
    let engine = place.open().unwrap();
    engine.rekey().unwrap();
    let epochs: Vec<u64> = (0..3)
        .map(|_| {
            engine.run_due(&mut |_| {}).unwrap();
            engine.head().epoch
        })
        .collect();
    assert!(epochs[1] == epochs[2], "{epochs:?}");
    drop(engine);
    std::fs::remove_file(&stores).unwrap();
    std::fs::rename(&away, &stores).unwrap();
    let engine = place.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epochs[2], "it is dealt its share, and no epoch begins");
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
}
