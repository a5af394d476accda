//! Replacements that cannot be completed. SPEC §15.

use std::path::Path;
use std::sync::Arc;

use keyfall::certificate::Grade;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Standing;
use keyfall::quorum::net::{put_back, replace_member};
use keyfall::{ErrorKind, Scope};

use super::{
    Keyholder, Place, certified, grade, leaving, list, member_of, put, replaced, shares_in,
};
use crate::support::{error_kind, ok, read_record, user};

/// One that worked was dropped for an address where nothing listened, and three such shut the store
/// for writing.
#[test]
fn a_replacement_that_does_not_answer_changes_nothing() {
    let mut place = Place::new(5, 3, 1);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let stays = put(&place.open().unwrap(), "stays");
    let (before, other) =
        (list(&place), ok(&["keyholder", "init", &place.at("other"), "--accept-remnants"]));
    let nowhere = format!("{}@127.0.0.1:1", other.trim());
    for number in ["1", "2", "3"] {
        let (done, text) = crate::support::run(&[
            "keyholder",
            "replace",
            &store,
            "--number",
            number,
            "--with",
            &nowhere,
        ]);
        assert!(
            !done && text.contains("nothing was changed") && text.contains("cannot be reached"),
            "{text}"
        );
        assert_eq!(list(&place), before);
    }
    // A keyholder that the store has already is moved, not added a second time.
    let second = place.keyholders[1].restart();
    let (done, text) =
        crate::support::run(&["keyholder", "replace", &store, "--number", "1", "--with", &second]);
    assert!(
        !done && text.contains(&format!("`keyfall keyholder move {store} 2 HOST:PORT`")),
        "{text}"
    );
    // What was dealt nothing leaves no trace when it is taken back.
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let (cell, env, line) = (Path::new(&cell), Arc::new(System) as SharedEnv, fresh.restart());
    let replaced = replace_member(cell, 1, member_of(&line), &env).unwrap();
    assert_ne!(list(&place), before);
    put_back(cell, replaced).unwrap();
    assert_eq!(list(&place), before);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    assert!(engine.rekey().unwrap().is_final());
}

#[test]
fn where_no_epoch_can_begin_the_one_that_was_replaced_is_put_back() {
    let mut place = Place::new(5, 3, 1);
    let store = place.at("store");
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    put(&place.open().unwrap(), "ada");
    let before = list(&place);
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let line = fresh.restart();
    place.keyholders[3].kill();
    place.keyholders[4].kill();
    let args = ["keyholder", "replace", &store, "--number", "1", "--with", &line];
    let (done, text) = crate::support::run(&args);
    let is_so = format!("keyholder 1 is {} as before", place.keyholders[0].address);
    assert!(!done && text.contains(&is_so) && text.contains("3 of 5"), "{text}");
    // The new one was dealt nothing: it owes no word.
    assert_eq!(list(&place), before);
    place.keyholders[3].start();
    place.keyholders[4].start();
    // It comes back by the same command.
    let told = ok(&args);
    assert!(told.contains("final"), "{told}");
    assert_eq!((place.standing(), leaving(&place)), (vec![Standing::Whole; 5], 0));
    assert!(shares_in(&place.keyholders[0].dir).is_empty());
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
}

/// The one that was replaced is lost: putting it back would leave one share less.
#[test]
fn where_no_epoch_can_begin_a_new_keyholder_stays_in_the_place_of_a_lost_one() {
    let mut place = Place::with_margin(5, 3, 1, 2);
    let store = place.at("store");
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let stays = put(&place.open().unwrap(), "stays");
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let line = fresh.restart();
    place.keyholders[0].kill();
    place.keyholders[3].kill();
    let (done, text) =
        crate::support::run(&["keyholder", "replace", &store, "--number", "1", "--with", &line]);
    let is_so = format!("keyholder 1 is {} now", fresh.address);
    assert!(!done && text.contains(&is_so) && text.contains("keyfall tend"), "{text}");
    assert_eq!(list(&place)[0][0]["address"], fresh.address.as_str());
    place.keyholders[3].start();
    let told = ok(&["keyholder", "renew", &store]);
    assert!(told.contains("final"), "{told}");
    assert_eq!((place.standing(), leaving(&place)), (vec![Standing::Whole; 5], 1));
    assert_eq!(read_record(&place.open().unwrap(), &stays).unwrap(), b"stays");
}

/// Three were replaced, the machine stopped before an epoch began each time, and the new ones are
/// gone: too few of the list take a claim.
#[test]
fn those_that_were_replaced_can_be_put_back_though_too_few_of_the_list_are_there() {
    let mut place = Place::new(5, 3, 1);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let lines: Vec<String> = place.keyholders.iter_mut().map(Keyholder::restart).collect();
    let stays = put(&place.open().unwrap(), "stays");
    let before = list(&place);
    let env: SharedEnv = Arc::new(System);
    for number in 1..=3 {
        let mut fresh =
            Keyholder::make(Path::new(&place.at(&format!("fresh{number}"))), engine_key.trim());
        replace_member(Path::new(&cell), number, member_of(&fresh.restart()), &env).unwrap();
    }
    ok(&["list", &store]);
    let put_it = ["put", &store, "--user", "ada", "--class", "audio", "Cargo.toml"];
    let (done, text) = crate::support::run(&put_it);
    assert!(
        !done && text.contains("2 of 5") && text.contains("put back one that was replaced"),
        "{text}"
    );
    let told = ok(&["keyholder", "status", &store]);
    assert!(
        told.contains("held by 2 of 5 and 3 that were replaced, 3 are needed, 2 may be lost"),
        "{told}"
    );
    assert!(told.contains(&format!("--number 2 --with {}` has it back", lines[1])), "{told}");
    // To its own place, and to no other while it may hold a share.
    let (done, text) = crate::support::run(&[
        "keyholder",
        "replace",
        &store,
        "--number",
        "2",
        "--with",
        &lines[0],
    ]);
    assert!(!done && text.contains("2 of 5"), "{text}");
    assert_eq!(
        error_kind(replace_member(Path::new(&cell), 2, member_of(&lines[0]), &env)),
        ErrorKind::Invalid
    );
    for number in [3, 1, 2] {
        let told = ok(&[
            "keyholder",
            "replace",
            &store,
            "--number",
            &number.to_string(),
            "--with",
            &lines[number - 1],
        ]);
        assert!(
            told.contains("no new epoch is needed"),
            "the one that goes was dealt nothing: {told}"
        );
    }
    assert_eq!((list(&place), place.standing()), (before, vec![Standing::Whole; 5]));
    ok(&put_it);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    assert!(engine.erase(Scope::user(user("ada"))).unwrap().finality.is_final());
}

#[test]
fn what_was_moved_allowed_or_signed_is_said() {
    let mut place = Place::new(5, 3, 1);
    let (store, engine) =
        (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    put(&place.open().unwrap(), "x");
    let line = place.keyholders[0].restart();
    place.keyholders[0].kill();
    let fresh = replaced(&place, engine.trim(), "kh-new");
    let told = ok(&[
        "keyholder",
        "allow",
        &fresh.dir.display().to_string(),
        engine.trim(),
        "--stores",
        "9",
    ]);
    assert!(
        told.contains("may use the keyholder in") && told.contains("it may have 9 stores there"),
        "{told}"
    );
    place.keyholders[0].start();
    let told = ok(&["tend", &store]);
    assert!(
        told.contains(&format!("the keyholder {line}, which was replaced, has signed")),
        "{told}"
    );
    assert!(!ok(&["tend", &store]).contains("has signed"));
    place.keyholders[1].kill();
    place.keyholders[1].address = "127.0.0.1:0".into();
    place.keyholders[1].start();
    let there = place.keyholders[1].address.clone();
    let told = ok(&["keyholder", "move", &store, "2", &there]);
    assert!(told.contains(&format!("keyholder 2 is now at {there}; it answers there")), "{told}");
    let told = ok(&["keyholder", "move", &store, "2", &there, "--offline"]);
    assert!(told.contains("not checked"), "{told}");
}
