//! Looks at a cell that another engine has, and machines that went back. SPEC §6.8, §7.

use std::path::Path;
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, Owner, RootCell, RootKey};
use keyfall::crypto::Key;
use keyfall::env::System;

use super::{STORE, create, deposit, does, epochs, id, owner, untouched};
use crate::support::error_kind;

/// What another run of the same engine did to the medium, while this one slept in a snapshot of its
/// machine.
fn meanwhile(place: &Path, claim: Option<&Owner>, act: impl FnOnce(&FileCell)) {
    let other = tempfile::tempdir().unwrap();
    let there = other.path().join("cell");
    crate::support::copy(place, &there);
    let cell = FileCell::open(&there, Arc::new(System)).unwrap();
    claim.iter().for_each(|owner| cell.claim(STORE, owner, 1).unwrap());
    act(&cell);
    drop(cell);
    for slot in ["slot-a", "slot-b", "claim-a", "claim-b"] {
        std::fs::write(place.join(slot), std::fs::read(there.join(slot)).unwrap()).unwrap();
    }
}

#[test]
fn a_look_takes_no_lock_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    assert_eq!(error_kind(FileCell::look(&place, Arc::new(System))), ErrorKind::Absent);
    let cell = create(&place, true).unwrap();
    cell.claim(STORE, &owner(1, 1), 4).unwrap();
    deposit(&cell, id(1, 1));
    let look = |held: bool| {
        let before = untouched(&place);
        let look = FileCell::look(&place, Arc::new(System)).unwrap();
        let contents = look.load().unwrap();
        assert_eq!(
            (contents.store, contents.owner, contents.mark),
            (Some(STORE), Some(owner(1, 1)), 4)
        );
        assert_eq!(epochs(&look), [1]);
        let key = Key::copied_from(&[2; 32]);
        for fenced in [
            look.claim(STORE, &owner(2, 2), 9),
            look.claim(STORE, &owner(1, 1), 4),
            look.deposit(STORE, &id(2, 2), &key),
            look.retire(&id(1, 1), Durable::assumed_for_a_test()).map(drop),
            look.retire_for(
                &id(1, 1),
                &RootKey { id: id(2, 2), key },
                Durable::assumed_for_a_test(),
            )
            .map(drop),
        ] {
            assert_eq!(error_kind(fenced), ErrorKind::Fenced);
        }
        assert!(!look.ready(&id(1, 1), &id(1, 1)).unwrap());
        assert_eq!(look.describe().kind, "file");
        drop(look);
        assert_eq!(untouched(&place), before);
        assert_eq!(
            FileCell::open(&place, Arc::new(System)).is_err(),
            held,
            "the lock is as it was"
        );
    };
    look(true);
    deposit(&cell, id(2, 2));
    cell.retire(&id(1, 1), Durable::assumed_for_a_test()).unwrap();
    drop(cell);
    std::fs::remove_file(place.join("lock")).unwrap();
    let before = untouched(&place);
    drop(FileCell::look(&place, Arc::new(System)).unwrap().load().unwrap());
    assert_eq!(untouched(&place), before, "not even a lock is made");
    // On a medium that cannot be written.
    let at = place.display().to_string();
    if does("mount", &["--bind", &at, &at]) {
        if does("mount", &["-o", "remount,ro,bind", &at]) {
            assert!(std::fs::write(place.join("probe"), "").is_err());
            assert_eq!(epochs(&FileCell::look(&place, Arc::new(System)).unwrap()), [1]);
        }
        assert!(does("umount", &[&at]));
    }
    look(false);
}

#[test]
fn a_look_is_whole_while_another_writes() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for epoch in 2..80 {
                cell.claim(STORE, &owner(epoch, 1), epoch).unwrap();
                deposit(&cell, id(epoch, 1));
                cell.retire(&id(epoch, 1), Durable::assumed_at(epoch)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut last = 0;
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let contents = FileCell::look(&place, Arc::new(System)).unwrap().load().unwrap();
            let newest = contents.keys.iter().map(|key| key.id.epoch).max().unwrap();
            assert!(newest >= last && newest <= contents.epoch, "{newest} after {last}");
            assert!(contents.owner.map_or(1, |owner| owner.claim) + 1 >= newest);
            last = newest;
        }
    });
}

/// A key that stands ready seals one head only: in another run, which a restored machine does not
/// remember, it may have sealed one already.
#[test]
fn a_restored_machine_does_not_use_a_ready_key_again() {
    let dir = tempfile::tempdir().unwrap();
    let sure = Durable::assumed_for_a_test;
    let next =
        |epoch, attempt| RootKey { id: id(epoch, attempt), key: Key::copied_from(&[attempt; 32]) };
    let stands_ready = |name: &str| {
        let place = dir.path().join(name);
        let cell = create(&place, true).unwrap();
        cell.claim(STORE, &owner(1, 1), 1).unwrap();
        deposit(&cell, id(1, 1));
        cell.retire_for(&id(1, 1), &next(2, 2), sure()).unwrap();
        assert!(cell.ready(&id(1, 1), &id(2, 2)).unwrap());
        (cell, place)
    };
    let deposited = |cell: &FileCell| cell.deposit(STORE, &id(2, 2), &next(2, 2).key);

    // It was used, and the one after it stands ready.
    let (cell, place) = stands_ready("used");
    meanwhile(&place, Some(&owner(1, 1)), |cell| {
        drop(cell.retire_for(&id(2, 2), &next(3, 3), sure()).unwrap())
    });
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(error_kind(deposited(&cell)), ErrorKind::Refused);
    assert_eq!(error_kind(cell.deposit(STORE, &id(2, 9), &next(2, 9).key)), ErrorKind::Refused);
    assert_eq!(
        error_kind(cell.retire(&id(1, 1), sure())),
        ErrorKind::Corrupt,
        "nothing is destroyed"
    );
    assert_eq!(epochs(&cell), [2, 3]);

    // It was used, and is the only one: a fresh key would bring back what was erased with it.
    let (cell, place) = stands_ready("used last");
    meanwhile(&place, Some(&owner(1, 1)), |cell| drop(cell.retire(&id(2, 2), sure()).unwrap()));
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    for attempt in [2, 9] {
        assert_eq!(
            error_kind(cell.deposit(STORE, &id(2, attempt), &next(2, attempt).key)),
            ErrorKind::Refused
        );
    }
    assert_eq!(epochs(&cell), [2]);

    // It was destroyed: a fresh one takes its place.
    let (cell, place) = stands_ready("destroyed");
    meanwhile(&place, Some(&owner(1, 1)), |cell| drop(cell.retire(&id(1, 1), sure()).unwrap()));
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(error_kind(deposited(&cell)), ErrorKind::Refused);
    cell.deposit(STORE, &id(2, 9), &next(2, 9).key).unwrap();
    cell.retire(&id(2, 9), sure()).unwrap();
    assert_eq!(epochs(&cell), [2]);

    // Another engine owns the store.
    let (cell, place) = stands_ready("taken over");
    meanwhile(&place, Some(&owner(2, 2)), |_| {});
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(error_kind(deposited(&cell)), ErrorKind::Fenced);
    assert_eq!(error_kind(cell.retire(&id(1, 1), sure())), ErrorKind::Fenced);
    assert_eq!(error_kind(cell.retire_for(&id(1, 1), &next(2, 3), sure())), ErrorKind::Fenced);
    assert_eq!(epochs(&cell), [1, 2]);

    // Without a ready key it is the same.
    let place = dir.path().join("none ready");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    cell.retire(&id(1, 1), sure()).unwrap();
    meanwhile(&place, None, |cell| {
        deposit(cell, id(2, 2));
        cell.retire(&id(2, 2), sure()).unwrap();
    });
    assert_eq!(error_kind(cell.deposit(STORE, &id(2, 9), &next(2, 9).key)), ErrorKind::Refused);
    assert_eq!(epochs(&cell), [2]);
}
