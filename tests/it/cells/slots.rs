//! What slots hold, and wrong calls. SPEC §7.

use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, MemoryCell, RootCell, RootKey};
use keyfall::crypto::Key;
use keyfall::env::{Env, System};
use keyfall::store::StoreId;

use super::{STORE, create, deposit, epochs, id};
use crate::support::error_kind;

#[test]
fn a_slot_that_cannot_be_read_is_not_taken_for_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    std::fs::remove_file(place.join("slot-b")).unwrap();
    std::fs::create_dir(place.join("slot-b")).unwrap();
    assert_eq!(error_kind(cell.load()), ErrorKind::Medium);
    assert_eq!(
        error_kind(cell.retire(&id(1, 1), Durable::assumed_for_a_test())),
        ErrorKind::Medium
    );
}

#[test]
fn wrong_calls_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("cell"), true).unwrap();
    let memory = MemoryCell::new();
    for cell in [&file as &dyn RootCell, &memory] {
        deposit(cell, id(1, 1));
        deposit(cell, id(1, 1));
        assert_eq!(epochs(cell), [1]);
        let other = Key::copied_from(&[9; 32]);
        assert_eq!(
            error_kind(cell.deposit(StoreId([8; 16]), &id(2, 2), &other)),
            ErrorKind::Refused,
            "another store's"
        );
        deposit(cell, id(2, 2));
        assert_eq!(
            error_kind(cell.deposit(STORE, &id(3, 3), &other)),
            ErrorKind::Refused,
            "a third key"
        );
        assert_eq!(
            error_kind(cell.retire(&id(3, 3), Durable::assumed_for_a_test())),
            ErrorKind::Corrupt,
            "not there"
        );
        // The same epoch under another attempt is another key.
        assert_eq!(
            error_kind(cell.retire(&id(2, 9), Durable::assumed_for_a_test())),
            ErrorKind::Corrupt
        );
        assert_eq!(epochs(cell), [1, 2]);
        // Either may be kept: the newer after a publish, the older where nothing was published.
        cell.retire(&id(1, 1), Durable::assumed_for_a_test()).unwrap();
        assert_eq!((epochs(cell), cell.load().unwrap().epoch), (vec![1], 2));
        deposit(cell, id(2, 4));
        cell.retire(&id(2, 4), Durable::assumed_for_a_test()).unwrap();
        assert_eq!((epochs(cell), cell.load().unwrap().store), (vec![2], Some(STORE)));
        assert_eq!(cell.load().unwrap().keys[0].key.bytes(), &[4; 32]);
    }
}

/// Shows whether a destroyed slot holds fresh bytes: the fill is drawn afresh each time.
#[test]
fn a_destroyed_slot_holds_nothing_of_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    let mut secret = [0; 32];
    System.fill(&mut secret).unwrap();
    cell.deposit(STORE, &id(1, 1), &Key::copied_from(&secret)).unwrap();
    let holds = |what: &[u8]| {
        ["slot-a", "slot-b"]
            .iter()
            .any(|s| std::fs::read(place.join(s)).unwrap().windows(16).any(|w| w == what))
    };
    assert!(holds(&secret[..16]) && holds(&secret[16..]));
    let before = std::fs::read(place.join("slot-a")).unwrap();
    deposit(&cell, id(2, 2));
    cell.retire(&id(2, 2), Durable::assumed_for_a_test()).unwrap();
    assert!(!holds(&secret[..16]) && !holds(&secret[16..]));
    let after = std::fs::read(place.join("slot-a")).unwrap();
    let same = before.iter().zip(&after).take(512).filter(|(a, b)| a == b).count();
    assert!(same < 60, "{same} of 512 bytes are the same");
    assert_eq!((after.len(), after[512..].iter().any(|&b| b != 0)), (4096, false));
    // The tombstone says which epoch it ended.
    assert_eq!((after[8], &after[25..33]), (2, &1u64.to_be_bytes()[..]));
}

#[test]
fn what_stood_ready_and_was_destroyed_is_deposited_again() {
    let dir = tempfile::tempdir().unwrap();
    let cell = create(&dir.path().join("cell"), true).unwrap();
    let sure = Durable::assumed_for_a_test;
    deposit(&cell, id(1, 1));
    let next = RootKey { id: id(2, 2), key: Key::copied_from(&[2; 32]) };
    let deposited = || {
        cell.deposit(STORE, &next.id, &next.key).unwrap();
        epochs(&cell)
    };
    assert!(cell.retire_for(&id(1, 1), &next, sure()).unwrap().is_some());
    assert_eq!((epochs(&cell), deposited()), (vec![1, 2], vec![1, 2]));
    cell.retire(&id(1, 1), sure()).unwrap();
    assert_eq!((epochs(&cell), deposited()), (vec![1], vec![1, 2]));
    // It stands ready for its own store alone.
    cell.retire_for(&id(1, 1), &next, sure()).unwrap();
    assert_eq!(error_kind(cell.deposit(StoreId([9; 16]), &next.id, &next.key)), ErrorKind::Refused);
}

#[test]
fn one_torn_slot_is_nothing_two_are_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    deposit(&create(&place, true).unwrap(), id(5, 1));
    let torn = |slot: &str| std::fs::write(place.join(slot), [3; 4096]).unwrap();
    let open = || FileCell::open(&place, Arc::new(System)).unwrap();
    torn("slot-b");
    assert_eq!(epochs(&open()), [5]);
    // The next retire overwrites what is torn: it may be half a key.
    open().retire(&id(5, 1), Durable::assumed_for_a_test()).unwrap();
    let overwritten = std::fs::read(place.join("slot-b")).unwrap();
    assert_eq!(
        (&overwritten[..8], overwritten[8], &overwritten[25..33]),
        (&b"KFSLOT01"[..], 2, &4u64.to_be_bytes()[..])
    );
    std::fs::remove_file(place.join("slot-b")).unwrap();
    assert_eq!(epochs(&open()), [5], "a missing slot is a torn one");
    open().retire(&id(5, 1), Durable::assumed_for_a_test()).unwrap();
    assert_eq!(std::fs::metadata(place.join("slot-b")).unwrap().len(), 4096);
    torn("slot-a");
    assert_eq!(error_kind(open().load()), ErrorKind::Corrupt);
}

#[test]
fn a_slot_that_cannot_be_looked_at_is_not_taken_for_an_unused_one() {
    let dir = tempfile::tempdir().unwrap();
    let cell = dir.path().join("cell");
    std::fs::create_dir(&cell).unwrap();
    std::os::unix::fs::symlink("slot-a", cell.join("slot-a")).unwrap();
    assert_eq!(error_kind(create(&cell, true)), ErrorKind::Medium);
}
