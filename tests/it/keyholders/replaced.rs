//! Keyholders that are replaced or moved, and epochs that end by their own keyholders. SPEC §15.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::certificate::Grade;
use keyfall::engine::OpenAs;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::replace_member;
use keyfall::quorum::{Member, Standing};
use keyfall::{Erase, ErrorKind, Scope};

use super::{Keyholder, Place, certified, grade, leaving, put, replaced, shares_in};
use crate::support::{error_kind, ok, read_record, user};

#[test]
fn one_that_was_replaced_and_is_silent_holds_up_nobody() {
    let place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    put(&place.open().unwrap(), "ada");
    place.keyholders[0].stop(true);
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    let began = Instant::now();
    let engine = place.open().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.status().unwrap();
    drop(engine);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_lost_one_is_replaced_by_one_command_and_its_share_says_nothing() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    put(&engine, "ben");
    let before = certified(&engine, "ben");
    drop(engine);
    let taken = shares_in(&place.keyholders[3].dir);
    place.keyholders[3].kill();
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.restart();
    let told =
        ok(&["keyholder", "replace", &place.at("store"), "--number", "4", "--with", &member]);
    // Of the old root key four loyal ones are needed among six, of whom one was dealt nothing.
    assert!(told.contains("statements of 5"), "{told}");
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    put(&engine, "ada");
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(certificate.facts.body.cell.keyholders.as_ref().unwrap().keys.len(), 5);
    // One from before the change is upgraded by what its own keyholders say, and nobody else.
    let upgraded = engine.certificates().upgrade(&before, None).unwrap();
    assert_eq!(grade(&engine, &upgraded), Grade::Final);
    drop(engine);
    // The share of the one that was lost, with two others of today: of different polynomials.
    let mut mixed = taken;
    mixed.extend(shares_in(&place.keyholders[0].dir).into_iter().take(1));
    mixed.extend(shares_in(&place.keyholders[1].dir).into_iter().take(1));
    assert!(keyfall::testing::key_of(&mixed.iter().collect::<Vec<_>>()).is_none());
    // It comes back, and is told to destroy what it has.
    place.keyholders[3].start();
    let engine = place.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    drop(engine);
    assert!(shares_in(&place.keyholders[3].dir).is_empty());
    let refused = replace_member(
        Path::new(&place.at("store.cell")),
        9,
        Member { key: member.split_once('@').unwrap().0.into(), address: "127.0.0.1:1".into() },
        &(Arc::new(System) as SharedEnv),
    );
    assert_eq!(error_kind(refused), ErrorKind::Invalid);
}

/// Of the key that reached x shares were left with one that was lost and one that was away; a
/// rekey, counted among the keyholders of the next epoch alone, said final.
#[test]
fn an_epoch_is_final_by_its_own_keyholders_and_not_by_those_of_a_later_one() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    put(&engine, "stays");
    place.keyholders[4].kill();
    place.keyholders[0].kill();
    let erase = Erase::new(Scope::user(user("x"))).certified("", "");
    let certificate = engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    drop(engine);
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.restart();
    let told =
        ok(&["keyholder", "replace", &place.at("store"), "--number", "1", "--with", &member]);
    assert!(told.contains("4 statements of 5") && told.contains("pending"), "{told}");
    for _ in 0..2 {
        let told = ok(&["keyholder", "renew", &place.at("store")]);
        assert!(told.contains("pending"), "{told}");
    }
    let engine = place.open().unwrap();
    assert!(engine.status().unwrap().unsettled.unwrap().contains("pending"));
    assert_eq!(
        grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()),
        Grade::Pending
    );
    // The one that was away is back: now four that were dealt a share of the first epoch have
    // signed.
    place.keyholders[4].start();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(
        grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()),
        Grade::Final
    );
    drop(engine);
    let told = ok(&["keyholder", "renew", &place.at("store")]);
    assert!(told.contains("5 statements of 4") && told.contains("final"), "{told}");
}

#[test]
fn of_two_that_left_one_place_each_is_asked_until_it_has_signed_itself() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    drop(engine);
    place.keyholders[0].kill();
    let mut second = replaced(&place, engine_key.trim(), "second");
    second.kill();
    let third = replaced(&place, engine_key.trim(), "third");
    assert_eq!(leaving(&place), 2);
    assert_eq!(shares_in(&second.dir).len(), 1);
    place.keyholders[0].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 1, "the second has not signed yet");
    second.start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 0);
    assert_eq!((shares_in(&second.dir).len(), shares_in(&third.dir).len()), (0, 1));
}

/// A machine was restored from a backup: its list named two keyholders that had been replaced
/// since, and an erase was final while three of those that held shares of the old key had not been
/// asked.
#[test]
fn a_list_of_keyholders_that_came_back_older_makes_nothing_final() {
    let place = Place::new(5, 3, 1);
    let (store, engine_key) =
        (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    put(&engine, "ada");
    drop(engine);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let older = std::fs::read(&list).unwrap();
    let mut fresh = Vec::new();
    for number in ["4", "5"] {
        let mut keyholder =
            Keyholder::make(Path::new(&place.at(&format!("kh-new{number}"))), engine_key.trim());
        let member = keyholder.restart();
        ok(&["keyholder", "replace", &store, "--number", number, "--with", &member]);
        fresh.push(keyholder);
    }
    let newest = std::fs::read(&list).unwrap();
    std::fs::write(&list, &older).unwrap();
    let e = place.open().unwrap_err();
    assert!(
        e.kind() == ErrorKind::Mismatch
            && e.to_string().contains("copy the newest quorum.json here"),
        "{e}"
    );
    assert_eq!(read_record(&place.open_as(OpenAs::ReadOnly).unwrap(), &stays).unwrap(), b"stays");
    ok(&["list", &store]);
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("quorum.json is not the newest"), "{told}");
    let json = ok(&["keyholder", "status", &store, "--json"]).replace(' ', "");
    assert!(json.contains("\"list_is_newest\":false"), "{json}");
    std::fs::write(&list, newest).unwrap();
    assert_eq!(place.open().unwrap().read_only(), None);
    let json = ok(&["keyholder", "status", &store, "--json"]).replace(' ', "");
    assert!(json.contains("\"list_is_newest\":true"), "{json}");
    // Taken over as it is, it says what it cannot know, for good.
    std::fs::write(&list, &older).unwrap();
    let engine = place.open_as(OpenAs::TakeOver).unwrap();
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    assert!(
        fresh.iter().all(|keyholder| !shares_in(&keyholder.dir).is_empty()),
        "they were not asked"
    );
    drop(engine);
    let engine = place.open().unwrap();
    assert!(!engine.rekey().unwrap().is_final());
    assert!(engine.status().unwrap().unsettled.unwrap().contains("pending"));
    assert_eq!(
        grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()),
        Grade::Pending
    );
    assert!(engine.promise().statement.contains("not known any more"));
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
}

/// On the machine with the list of before an erase had failed, for too few keyholders were there:
/// the epoch that it tried passed for known, and so did the keyholder that was replaced with it. An
/// erase was final without the new one, and the machine with the right list was shut out.
#[test]
fn an_epoch_that_was_only_tried_is_not_known_when_another_machine_replaces_with_it() {
    let place = Place::new(5, 3, 0);
    let (store, engine_key) =
        (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    let engine = place.open().unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    engine.rekey().unwrap();
    drop(engine);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let before = std::fs::read(&list).unwrap();
    place.keyholders[0].stop(true);
    place.keyholders[1].stop(true);
    let e = place.open().unwrap().erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.to_string().contains("nothing was changed"), "{e}");
    place.keyholders[0].stop(false);
    place.keyholders[1].stop(false);
    let tried = std::fs::read(&list).unwrap();
    assert_ne!(tried, before);
    // It goes on by itself, whatever it tried.
    assert_eq!(place.open().unwrap().read_only(), None);
    let tried = [tried, std::fs::read(&list).unwrap()];

    std::fs::write(&list, &before).unwrap();
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.restart();
    ok(&["keyholder", "replace", &store, "--number", "1", "--with", &member]);
    let newest = std::fs::read(&list).unwrap();
    for tried in &tried {
        std::fs::write(&list, tried).unwrap();
        let e = place.open().unwrap_err();
        assert!(e.to_string().contains("copy the newest quorum.json here"), "{e}");
    }
    std::fs::write(&list, &newest).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ben")), Grade::Final);
}

/// Another machine had tried an erase by the list of before: from the machine that replaced the lost
/// one no epoch could begin, for it did not know its own list of before.
#[test]
fn a_lost_one_is_replaced_from_another_machine_after_an_erase_failed() {
    let mut place = Place::new(3, 2, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    put(&place.open().unwrap(), "ada");
    let before = std::fs::read(&list).unwrap();
    place.keyholders[2].kill();
    let e = place.open().unwrap().erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.to_string().contains("nothing was changed"), "{e}");
    let tried = std::fs::read(&list).unwrap();
    std::fs::write(&list, &before).unwrap();
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.restart();
    ok(&["keyholder", "replace", &place.at("store"), "--number", "3", "--with", &member]);
    let engine = place.open().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    let newest = std::fs::read(&list).unwrap();
    std::fs::write(&list, &tried).unwrap();
    assert_eq!(error_kind(place.open()), ErrorKind::Mismatch);
    std::fs::write(&list, &newest).unwrap();
    assert_eq!(place.open().unwrap().read_only(), None);
}

/// What an earlier version kept is read; one that it cannot know is refused by it.
#[test]
fn a_list_of_an_earlier_version_is_read() {
    let place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let text = std::fs::read_to_string(&list).unwrap();
    let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
    let members = old.as_object_mut().unwrap();
    assert!(members.remove("drawn").is_some() && members.remove("kept").is_some());
    members.insert("highest".into(), 1.into());
    std::fs::write(&list, old.to_string()).unwrap();
    let engine = place.open().unwrap();
    assert_eq!((engine.read_only(), read_record(&engine, &id).unwrap()), (None, b"ada".to_vec()));
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    drop(engine);
    let now = std::fs::read_to_string(&list).unwrap();
    assert!(now.contains("\"kept\": ") && !now.contains("highest"), "{now}");
}

/// The list of another machine is of before an erase, as it is on each day: which keyholders signed
/// it does not say, and so it calls nothing final.
#[test]
fn a_list_of_before_an_erase_does_not_call_it_final() {
    let place = Place::new(4, 2, 1);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    let before = std::fs::read(&list).unwrap();
    // On one machine this very epoch was tried in vain.
    let engine = place.open().unwrap();
    place.keyholders[2].stop(true);
    place.keyholders[3].stop(true);
    let e = engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.to_string().contains("nothing was changed"), "{e}");
    drop(engine);
    let tried = std::fs::read(&list).unwrap();
    place.keyholders[2].stop(false);
    place.keyholders[3].stop(false);
    std::fs::write(&list, &before).unwrap();
    let is_final = || {
        let engine = place.open_as(OpenAs::ReadOnly).unwrap();
        engine.status().unwrap().finality.is_final()
    };
    assert!(is_final(), "nothing was erased");
    place.keyholders[3].stop(true);
    let engine = place.open().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(!engine.status().unwrap().finality.is_final());
    drop(engine);
    let newest = std::fs::read(&list).unwrap();
    let lists =
        [(&newest, "the newest"), (&before, "the one of before"), (&tried, "one that tried it")];
    for (list_of_then, when) in lists {
        std::fs::write(&list, list_of_then).unwrap();
        assert!(!is_final(), "{when}");
    }
    place.keyholders[3].stop(false);
    assert!(!is_final(), "it does not say who signed");
    std::fs::write(&list, &newest).unwrap();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert!(is_final());
}

#[test]
fn one_that_was_replaced_and_moved_is_asked_where_it_is_now() {
    let mut place = Place::new(5, 3, 1);
    let (store, engine_key) =
        (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    put(&place.open().unwrap(), "x");
    place.keyholders[0].kill();
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    place.keyholders[0].address = "127.0.0.1:0".into();
    let line = place.keyholders[0].start();
    let (key, there) = line.split_once('@').unwrap();
    let told = ok(&["keyholder", "status", &store]);
    assert!(
        told.contains(key) && told.contains("no share from before epoch 3; it is away"),
        "{told}"
    );
    assert!(ok(&["keyholder", "status", &store, "--json"]).contains("\"leaving\""));
    let (done, text) =
        crate::support::run(&["keyholder", "move", &store, key, &place.keyholders[1].address]);
    assert!(!done && text.contains("pinned"), "{text}");
    let cell = format!("{store}.cell");
    ok(&["keyholder", "move", &store, "--cell", &cell, key, there]);
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("it is there, and `tend` asks it"), "{told}");
    ok(&["tend", &store]);
    assert_eq!(leaving(&place), 0);
    assert!(shares_in(&place.keyholders[0].dir).is_empty());
    assert!(!ok(&["keyholder", "status", &store]).contains(key));
    let (done, text) = crate::support::run(&["keyholder", "move", &store, key, there]);
    assert!(!done && text.contains("no keyholder of the store has this key"), "{text}");
}

#[test]
fn what_one_signed_that_was_replaced_is_not_forgotten() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    place.keyholders[0].kill();
    place.keyholders[4].kill();
    let erase = Erase::new(Scope::user(user("x"))).certified("", "");
    let certificate = engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    drop(engine);
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    // The one that was replaced comes back, signs, is let go, and is gone for good.
    place.keyholders[0].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 0);
    place.keyholders[0].kill();
    ok(&["keyholder", "renew", &place.at("store")]);
    ok(&["keyholder", "renew", &place.at("store")]);
    let engine = place.open().unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(
        grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()),
        Grade::Final
    );
}

#[test]
fn a_keyholder_that_has_another_address_is_moved_by_one_command() {
    let mut place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    place.keyholders[1].kill();
    place.keyholders[1].address = "127.0.0.1:0".into();
    place.keyholders[1].start();
    let (store, there, other) = (
        place.at("store"),
        place.keyholders[1].address.clone(),
        place.keyholders[2].address.clone(),
    );
    let fails = |args: &[&str], words: &str| {
        let (done, text) = crate::support::run(args);
        assert!(!done && text.contains(words), "{args:?}: {text}");
    };
    fails(&["keyholder", "move", &store, "2", &other], "pinned");
    fails(&["keyholder", "move", &store, "2", "127.0.0.1:1"], "cannot be reached");
    fails(&["keyholder", "move", &store, "9", &there], "no keyholder 9");
    fails(&["keyholder", "move", &store, "2", "somewhere"], "HOST:PORT");
    fails(&["keyholder", "move", &store, "two", &there], "neither a number nor a keyholder's key");
    ok(&["keyholder", "move", &store, "2", &there]);
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
    assert_eq!(read_record(&place.open().unwrap(), &id).unwrap(), b"ada");
    // Where it is not there yet, a person may know better.
    ok(&["keyholder", "move", &store, "2", "127.0.0.1:1", "--offline"]);
    assert!(matches!(place.standing()[1], Standing::Away(_)));
    ok(&["keyholder", "move", &store, "2", &there]);
}

/// A renewal was told as an erase.
#[test]
fn an_epoch_that_began_without_an_erase_is_not_reported_as_one() {
    let mut place = Place::new(5, 3, 2);
    let store = place.at("store");
    put(&place.open().unwrap(), "ada");
    place.keyholders[4].kill();
    ok(&["keyholder", "renew", &store]);
    let commands: [&[&str]; 4] = [
        &["tend", &store],
        &["status", &store],
        &["report", &store, "--user", "ada"],
        &["audit", &store],
    ];
    for command in commands {
        let told = ok(command);
        assert!(
            told.contains("the destruction of older root keys is pending"),
            "{command:?}: {told}"
        );
        assert!(
            !told.contains("erased last") && !told.contains("last erase"),
            "{command:?}: {told}"
        );
    }
    place.keyholders[4].start();
    let told = ok(&["tend", &store]);
    assert!(
        told.contains("every older root key counts as destroyed") && !told.contains("pending"),
        "{told}"
    );
}

/// The list of another machine, older by epochs alone, was refused as if it lacked somebody: no
/// standby could take a store over that had begun an epoch since its list was brought there.
#[test]
fn a_list_that_is_older_by_epochs_alone_owns_the_store_and_ends_epochs() {
    let mut place = Place::new(3, 2, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    engine.rekey().unwrap();
    drop(engine);
    let older = std::fs::read(&list).unwrap();
    let engine = place.open().unwrap();
    for name in ["one", "two", "three"] {
        put(&engine, name);
        assert!(engine.erase(Scope::user(user(name))).unwrap().finality.is_final());
    }
    put(&engine, "ada");
    drop(engine);
    let newest = std::fs::read(&list).unwrap();
    assert_ne!(older, newest);
    std::fs::write(&list, &older).unwrap();
    let engine = place.open().unwrap();
    assert_eq!(engine.read_only(), None);
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    drop(engine);
    // And the machine of before, whose list is the older one now.
    std::fs::write(&list, &newest).unwrap();
    assert!(place.open().unwrap().rekey().unwrap().is_final());
    // One whose place is taken in between, and who has it again, is known by neither list.
    let before = std::fs::read(&list).unwrap();
    let old = place.keyholders[2].restart();
    place.keyholders[2].kill();
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let (store, member) = (place.at("store"), fresh.restart());
    ok(&["keyholder", "replace", &store, "--number", "3", "--with", &member]);
    place.keyholders[2].start();
    fresh.kill();
    ok(&["keyholder", "replace", &store, "--number", "3", "--with", &old]);
    let after = std::fs::read(&list).unwrap();
    std::fs::write(&list, &before).unwrap();
    let e = place.open().unwrap_err();
    assert!(e.to_string().contains("copy the newest quorum.json here"), "{e}");
    fresh.start();
    std::fs::write(&list, &after).unwrap();
    assert!(place.open().unwrap().rekey().unwrap().is_final());
}
