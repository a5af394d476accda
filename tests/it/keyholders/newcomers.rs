//! A new keyholder is dealt shares of root keys that were drawn for it, and of no others. SPEC
//! §15.3.

use std::path::Path;
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::certificate::Grade;
use keyfall::engine::OpenAs;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Standing;
use keyfall::quorum::net::replace_member;

use super::{Keyholder, Place, certified, grade, member_of, put, shares_in};
use crate::support::{error_kind, ok, read_record, run};

/// A replacement that is cut short before an epoch begins: the list names the new keyholder.
fn cut_short(place: &Place, number: usize, fresh: &mut Keyholder) {
    let (cell, env) = (place.at("store.cell"), Arc::new(System) as SharedEnv);
    replace_member(Path::new(&cell), number, member_of(&fresh.restart()), &env).unwrap();
}

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
    cut_short(&place, 3, &mut fresh);
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
    cut_short(&place, 3, &mut fresh);
    place.keyholders[0].stop(true);
    assert_eq!(error_kind(place.open().unwrap().rekey()), ErrorKind::Io);
    place.keyholders[0].stop(false);
    drop(place.open().unwrap());
    assert!(shares_in(&fresh.dir).iter().all(|share| share.id.epoch > running.epoch + 1));
}

#[test]
fn a_new_one_gets_its_share_with_the_next_epoch_though_another_is_away() {
    let mut place = Place::with_margin(4, 2, 0, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let stays = put(&place.open().unwrap(), "stays");
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    cut_short(&place, 4, &mut fresh);
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
    place.keyholders[0].start();
    let engine = place.open().unwrap();
    assert_eq!(engine.head().epoch, epoch + 2);
    assert!(shares_in(&place.keyholders[0].dir).iter().any(|share| share.id.epoch == epoch + 2));
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
