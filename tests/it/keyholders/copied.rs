//! A list that was copied to another machine, and a store that was: an erase that is called final
//! leaves nobody a root key that reaches it. SPEC §15.3, §15.4.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keyfall::cell::{Durable, RootCell};
use keyfall::certificate::Grade;
use keyfall::crypto::Key;
use keyfall::promise::RootId;
use keyfall::quorum::net::put_back;
use keyfall::{Engine, ErrorKind};

use super::{Keyholder, Place, certified, cut_short, drawn, grade, leaving, owned, put, shares_in};
use crate::support::{error_kind, ok, run};

/// Of which root keys but that of the store's head so many keyholders hold shares that they give
/// the key.
fn recoverable(place: &Place, fresh: &[&Keyholder], threshold: usize) -> Vec<RootId> {
    let running = place.open().unwrap().head().epoch;
    let dirs = place.keyholders.iter().chain(fresh.iter().copied()).map(|kh| &kh.dir);
    let mut points: BTreeMap<RootId, BTreeSet<u8>> = BTreeMap::new();
    for share in dirs.flat_map(|dir: &PathBuf| shares_in(dir)) {
        points.entry(share.id).or_default().insert(share.x);
    }
    let reach =
        |(id, points): &(RootId, BTreeSet<u8>)| points.len() >= threshold && id.epoch != running;
    points.into_iter().filter(reach).map(|(id, _)| id).collect()
}

fn list_of(place: &Place) -> PathBuf {
    Path::new(&place.at("store.cell")).join("quorum.json")
}

fn fresh(place: &Place, name: &str) -> (Keyholder, String) {
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let mut fresh = Keyholder::make(Path::new(&place.at(name)), engine_key.trim());
    let line = fresh.restart();
    (fresh, line)
}

/// Replaces keyholder 3 while 2 is away, erases ada's, and looks whether a key that reaches them is
/// left if that is final.
fn replaced_and_erased(place: &mut Place, line: &str, all: &[&Keyholder]) {
    place.keyholders[1].kill();
    let args = ["keyholder", "replace", &place.at("store"), "--number", "3", "--with", line];
    let (_, text) = run(&args);
    let engine = place.open().unwrap();
    let is_final = grade(&engine, &certified(&engine, "ada")) == Grade::Final;
    drop(engine);
    let left = recoverable(place, all, 2);
    assert!(!is_final || left.is_empty(), "{left:?} are there, and it is final; {text}");
    place.keyholders[1].start();
    let engine = place.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    drop(engine);
    assert!(recoverable(place, all, 2).is_empty());
}

/// The list was copied when the replacement by a sixth had begun. Who replaced the sixth in turn on
/// the other machine forgot it, though an epoch was begun with it meanwhile.
#[test]
fn a_list_that_was_copied_in_the_middle_of_a_replacement_forgets_nobody() {
    let mut place = Place::with_margin(5, 2, 0, 1);
    let ((sixth, to_sixth), (seventh, to_seventh)) = (fresh(&place, "six"), fresh(&place, "seven"));
    put(&place.open().unwrap(), "ada");
    cut_short(&place, 3, &to_sixth);
    let copied = std::fs::read(list_of(&place)).unwrap();
    let engine = place.open().unwrap();
    let epoch = engine.head().epoch;
    engine.rekey().unwrap();
    assert_eq!(engine.head().epoch, epoch + 1);
    drop(engine);
    std::fs::write(list_of(&place), &copied).unwrap();
    replaced_and_erased(&mut place, &to_seventh, &[&sixth, &seventh]);
}

/// As before, by a list that was copied after the replacement was taken back.
#[test]
fn a_list_that_was_copied_after_a_replacement_was_taken_back_forgets_nobody() {
    let mut place = Place::with_margin(5, 2, 0, 1);
    let (mut sixth, to_sixth) = fresh(&place, "six");
    let (seventh, to_seventh) = fresh(&place, "seven");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    drop(engine);
    let replaced = cut_short(&place, 3, &to_sixth);
    sixth.kill();
    let engine = place.open().unwrap();
    assert_eq!(error_kind(engine.rekey()), ErrorKind::Io);
    drop(engine);
    sixth.start();
    put_back(Path::new(&place.at("store.cell")), replaced).unwrap();
    let copied = std::fs::read(list_of(&place)).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ben")), Grade::Final);
    drop(engine);
    std::fs::write(list_of(&place), &copied).unwrap();
    replaced_and_erased(&mut place, &to_seventh, &[&sixth, &seventh]);
}

/// Has the keyholders take shares of a root key two epochs after the store's, as they did if another
/// copy of the store went on; nothing of it is kept here. `away`: the first alone takes it.
fn gone_on_elsewhere(place: &mut Place, away: bool) -> RootId {
    let list = std::fs::read(list_of(place)).unwrap();
    let (cell, store, running) = owned(place);
    let id = drawn(&cell, running.epoch + 2, 7);
    let others = &mut place.keyholders[1..];
    if away {
        others.iter_mut().for_each(Keyholder::kill);
    }
    let taken = cell.deposit(store, &id, &Key::copied_from(&[7; 32]));
    assert_eq!(taken.is_err(), away);
    drop(cell);
    if away {
        others.iter_mut().for_each(|other| drop(other.start()));
    }
    assert!(shares_in(&place.keyholders[0].dir).iter().any(|share| share.id == id));
    std::fs::write(list_of(place), list).unwrap();
    id
}

fn opened_again(place: &Place) -> Engine {
    place.open_as(keyfall::engine::OpenAs::TakeOver).unwrap()
}

/// An epoch that ended here ended none of the other copy's later ones, and those reached what was
/// erased here: it was final.
#[test]
fn an_erase_is_not_final_while_another_copy_of_the_store_is_epochs_ahead() {
    let mut place = Place::with_margin(3, 2, 0, 1);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    drop(engine);
    let ahead = gone_on_elsewhere(&mut place, false);
    let engine = opened_again(&place);
    let epoch = engine.head().epoch;
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    drop(engine);
    assert!(recoverable(&place, &[], 2).contains(&ahead));
    // Nor does the next process take it for final.
    let engine = place.open().unwrap();
    assert!(!engine.status().unwrap().finality.is_final());
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epoch + 2);
    assert_eq!(
        grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()),
        Grade::Final
    );
    assert_eq!(grade(&engine, &certified(&engine, "ben")), Grade::Final);
    // None begins for nothing.
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epoch + 3);
    drop(engine);
    assert!(recoverable(&place, &[], 2).is_empty());
}

/// What one makes up who may lie holds up nothing.
#[test]
fn of_later_epochs_that_a_liar_tells_of_nothing_waits() {
    let mut place = Place::with_margin(5, 3, 1, 1);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    gone_on_elsewhere(&mut place, true);
    let engine = opened_again(&place);
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
}

/// Where too few others are there the one that leaves takes a share of the next key, which every
/// list asks it for, and the one that comes takes none before the head is published.
#[test]
fn the_one_that_leaves_stands_in_for_the_one_that_comes() {
    let place = Place::with_margin(3, 2, 0, 1);
    let (new, to_new) = fresh(&place, "fresh");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    let epoch = engine.head().epoch;
    drop(engine);
    cut_short(&place, 3, &to_new);
    let (cell, store, _) = owned(&place);
    let id = drawn(&cell, epoch + 1, 7);
    cell.deposit(store, &id, &Key::copied_from(&[7; 32])).unwrap();
    let dirs = place.keyholders.iter().map(|kh| &kh.dir).chain([&new.dir]);
    let has = |dir: &PathBuf| shares_in(dir).iter().any(|share| share.id == id);
    assert_eq!(dirs.map(has).collect::<Vec<_>>(), [true, true, true, false]);
    drop(cell);
    // What is left of the attempt goes, and the one that left is asked until it holds nothing.
    let engine = opened_again(&place);
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epoch + 2);
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    drop(engine);
    assert_eq!(leaving(&place), 0);
    assert!(shares_in(&place.keyholders[2].dir).is_empty());
    assert!(recoverable(&place, &[&new], 2).is_empty());
}

/// A keyholder that was named and took no share counted for the epoch for good: with the one that it
/// was to replace gone too, no erase was ever final.
#[test]
fn one_that_was_named_and_took_nothing_counts_for_nothing() {
    let mut place = Place::with_margin(3, 2, 0, 0);
    let (mut dead, to_dead) = fresh(&place, "dead");
    let (new, to_new) = fresh(&place, "new");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    place.keyholders[2].kill();
    cut_short(&place, 3, &to_dead);
    dead.kill();
    let engine = place.open().unwrap();
    assert_eq!(error_kind(engine.rekey()), ErrorKind::Io);
    drop(engine);
    let store = place.at("store");
    let told = ok(&["keyholder", "replace", &store, "--number", "3", "--with", &to_new]);
    assert!(told.contains("final"), "{told}");
    assert_eq!(leaving(&place), 1);
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    drop(engine);
    let old = &place.keyholders[2].dir;
    assert_eq!((shares_in(old).len(), shares_in(&dead.dir).len()), (1, 0));
    assert!(recoverable(&place, &[&new], 2).is_empty());
}

/// A list that a failed deposit had been drawn by stood for entries that were taken back: the
/// machine was not refused though an epoch had begun elsewhere by that list, with a keyholder that
/// it did not know any more.
#[test]
fn a_list_that_was_taken_back_stands_for_nothing() {
    let mut place = Place::with_margin(5, 2, 0, 1);
    let (sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    let replaced = cut_short(&place, 5, &to_sixth);
    let copied = std::fs::read(list_of(&place)).unwrap();
    for n in [2, 3, 4] {
        place.keyholders[n].kill();
    }
    // Too few take the claim with three away of five: then with two.
    place.keyholders[2].start();
    sixth.stop(true);
    let engine = place.open().unwrap();
    assert_eq!(error_kind(engine.rekey()), ErrorKind::Io);
    drop(engine);
    sixth.stop(false);
    put_back(Path::new(&place.at("store.cell")), replaced).unwrap();
    let ours = std::fs::read(list_of(&place)).unwrap();
    place.keyholders[3].start();
    place.keyholders[4].start();
    std::fs::write(list_of(&place), &copied).unwrap();
    let engine = place.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    drop(engine);
    assert_eq!(shares_in(&sixth.dir).len(), 1);
    std::fs::write(list_of(&place), &ours).unwrap();
    assert_eq!(error_kind(place.open()), ErrorKind::Mismatch);
}

/// What a process knew as final its file said of the epoch that it was about to begin.
#[test]
fn of_an_epoch_that_is_about_to_begin_no_file_says_that_it_is_final() {
    let place = Place::with_margin(3, 2, 0, 0);
    let is_settled = || {
        let text = std::fs::read_to_string(list_of(&place)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["settled"].clone()
    };
    let engine = place.open().unwrap();
    put(&engine, "ada");
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    assert_eq!(is_settled(), true);
    drop(engine);
    let (cell, store, running) = owned(&place);
    assert_eq!(is_settled(), true);
    let id = drawn(&cell, running.epoch + 1, 7);
    cell.deposit(store, &id, &Key::copied_from(&[7; 32])).unwrap();
    assert_eq!(is_settled(), false);
    cell.retire(&id, Durable::assumed_for_a_test()).unwrap();
    assert_eq!(is_settled(), true);
}

/// What passes for an attempt by a list of before a head may bear in another copy of the store: who
/// takes this one over does not know who holds its key.
#[test]
fn who_takes_a_copy_over_takes_no_head_of_another_for_an_attempt() {
    let place = Place::with_margin(5, 2, 0, 1);
    let (_sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    let replaced = cut_short(&place, 5, &to_sixth);
    let list = std::fs::read(list_of(&place)).unwrap();
    let (cell, store, running) = owned(&place);
    let id = drawn(&cell, running.epoch + 1, 7);
    cell.deposit(store, &id, &Key::copied_from(&[7; 32])).unwrap();
    drop(cell);
    // Nothing of it is kept here.
    std::fs::write(list_of(&place), list).unwrap();
    put_back(Path::new(&place.at("store.cell")), replaced).unwrap();
    let engine = opened_again(&place);
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    engine.run_due(&mut |_| {}).unwrap();
    let upgraded = engine.certificates().upgrade(&certificate, None);
    assert!(upgraded.is_err() || grade(&engine, &upgraded.unwrap()) == Grade::Pending);
}

/// The machine that knows that the epochs before a replacement are gone, and one that was given its
/// list before that was known, take turns: whichever began the last epoch, the other goes on.
#[test]
fn a_list_knows_what_is_drawn_by_one_that_knows_less_to_be_gone() {
    let mut place = Place::with_margin(5, 2, 0, 1);
    let (_sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    place.keyholders[3].kill();
    place.keyholders[4].kill();
    ok(&["keyholder", "replace", &place.at("store"), "--number", "5", "--with", &to_sixth]);
    let entries = |place: &Place| {
        let text = std::fs::read_to_string(list_of(place)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["dealt"].as_array().unwrap().len()
    };
    let copied = std::fs::read(list_of(&place)).unwrap();
    let with_all = entries(&place);
    place.keyholders[3].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert!(entries(&place) < with_all);
    let ours = std::fs::read(list_of(&place)).unwrap();
    // The other machine does not learn it, for one keyholder is away.
    place.keyholders[3].kill();
    std::fs::write(list_of(&place), &copied).unwrap();
    let engine = place.open().unwrap();
    engine.rekey().unwrap();
    drop(engine);
    assert_eq!(entries(&place), with_all);
    place.keyholders[3].start();
    let theirs = std::fs::read(list_of(&place)).unwrap();
    std::fs::write(list_of(&place), &ours).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    drop(engine);
    std::fs::write(list_of(&place), &theirs).unwrap();
    place.open().unwrap().rekey().unwrap();
}

/// The same of lists that were copied in the middle of a replacement: who goes on after the other
/// enters the epochs that the other one began.
#[test]
fn machines_with_lists_of_the_middle_of_a_replacement_take_turns() {
    let place = Place::with_margin(5, 2, 0, 1);
    let (_sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    cut_short(&place, 3, &to_sixth);
    let copied = std::fs::read(list_of(&place)).unwrap();
    place.open().unwrap().rekey().unwrap();
    let ours = std::fs::read(list_of(&place)).unwrap();
    std::fs::write(list_of(&place), &copied).unwrap();
    place.open().unwrap().rekey().unwrap();
    let theirs = std::fs::read(list_of(&place)).unwrap();
    std::fs::write(list_of(&place), &ours).unwrap();
    place.open().unwrap().rekey().unwrap();
    std::fs::write(list_of(&place), &theirs).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
}

/// A machine tried an epoch in vain, in the middle of a replacement. Another saw its shares, entered
/// that epoch, and began it: the first one's list was refused from then on.
#[test]
fn a_list_that_tried_an_epoch_in_vain_knows_who_entered_that() {
    let mut place = Place::with_margin(5, 3, 0, 1);
    let (sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    cut_short(&place, 5, &to_sixth);
    let copied = std::fs::read(list_of(&place)).unwrap();
    for n in [3, 4] {
        place.keyholders[n].kill();
    }
    let engine = place.open().unwrap();
    assert_eq!(error_kind(engine.rekey()), ErrorKind::Io);
    drop(engine);
    let tried = std::fs::read(list_of(&place)).unwrap();
    place.keyholders[3].start();
    std::fs::write(list_of(&place), &copied).unwrap();
    let engine = place.open().unwrap();
    engine.rekey().unwrap();
    drop(engine);
    // The other machine is lost, with its list.
    std::fs::write(list_of(&place), &tried).unwrap();
    let engine = place.open().unwrap();
    let is_final = grade(&engine, &certified(&engine, "ada")) == Grade::Final;
    drop(engine);
    let left = recoverable(&place, &[&sixth], 3);
    assert!(!is_final || left.is_empty(), "{left:?} are there, and it is final");
    place.keyholders[4].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert!(recoverable(&place, &[&sixth], 3).is_empty());
}

/// Of two files one says that the keyholder that left counts for the next epoch, and the other that
/// it does not: they are not one list, whether that keyholder is there or away.
#[test]
fn a_list_by_which_one_that_left_counts_is_another() {
    for is_away in [false, true] {
        let mut place = Place::with_margin(5, 2, 0, 2);
        let (mut sixth, to_sixth) = fresh(&place, "six");
        put(&place.open().unwrap(), "ada");
        let to_fifth = {
            let fifth = &mut place.keyholders[4];
            fifth.kill();
            fifth.start()
        };
        cut_short(&place, 5, &to_sixth);
        place.open().unwrap().rekey().unwrap();
        let copied = std::fs::read(list_of(&place)).unwrap();
        // It was to come back, and did not.
        let replaced = cut_short(&place, 5, &to_fifth);
        put_back(Path::new(&place.at("store.cell")), replaced).unwrap();
        place.keyholders[3].kill();
        sixth.kill();
        place.open().unwrap().rekey().unwrap();
        assert_eq!(shares_in(&place.keyholders[4].dir).len(), 1, "it stood in");
        place.keyholders[3].start();
        sixth.start();
        let ours = std::fs::read(list_of(&place)).unwrap();
        std::fs::write(list_of(&place), &copied).unwrap();
        if is_away {
            place.keyholders[4].kill();
        }
        assert_eq!(error_kind(place.open()), ErrorKind::Mismatch);
        std::fs::write(list_of(&place), &ours).unwrap();
        let engine = place.open().unwrap();
        let is_final = grade(&engine, &certified(&engine, "ada")) == Grade::Final;
        drop(engine);
        let left = recoverable(&place, &[&sixth], 2);
        assert!(!is_final || left.is_empty(), "{left:?} are there, and it is final");
    }
}

/// A store that is read and taken over with a list of before: a keyholder has a share of the place
/// that it has in the newest list, without which there are too few.
#[test]
fn a_keyholder_at_another_place_than_its_share_helps_to_give_the_key() {
    let mut place = Place::with_margin(5, 3, 1, 1);
    let (_sixth, to_sixth) = fresh(&place, "six");
    put(&place.open().unwrap(), "ada");
    let to_fourth = {
        let fourth = &mut place.keyholders[3];
        fourth.kill();
        fourth.start()
    };
    let copied = std::fs::read(list_of(&place)).unwrap();
    let store = place.at("store");
    ok(&["keyholder", "replace", &store, "--number", "4", "--with", &to_sixth]);
    ok(&["tend", &store]);
    ok(&["keyholder", "replace", &store, "--number", "3", "--with", &to_fourth]);
    ok(&["tend", &store]);
    std::fs::write(list_of(&place), copied).unwrap();
    place.keyholders[4].kill();
    assert!(ok(&["list", &store]).contains("ada"));
    place.keyholders[4].start();
    let engine = opened_again(&place);
    engine.run_due(&mut |_| {}).unwrap();
    let epoch = engine.head().epoch;
    // Each has the share of its place now: no other epoch begins for that.
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.head().epoch, epoch);
    let told = ok(&["keyholder", "status", &store]);
    assert_eq!(told.matches("whole").count(), 5, "{told}");
}
