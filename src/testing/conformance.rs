//! The contracts of the two ports, as tests that an adapter's author runs. They panic where a contract is broken.
#![expect(clippy::expect_used, reason = "these are tests: a broken contract panics")]

use std::sync::Arc;

use crate::cell::{Durable, Retirement, RootCell, RootId};
use crate::crypto::Key;
use crate::error::{ErrorKind, Result};
use crate::ids::{BlobName, StoreId};
use crate::store::{Ahead, Blob, Cursor, Head, HeadId, Published, Store};

fn name(n: u8) -> BlobName {
    BlobName([n; 16])
}

/// Every name in a store, in order, asked for about `at_once` at a time.
///
/// # Errors
/// As [`Store::names`].
pub fn listed(store: &dyn Store, at_once: usize) -> Result<Vec<BlobName>> {
    let (mut all, mut from) = (Vec::new(), Some(Cursor::default()));
    while let Some(at) = from {
        let (some, next) = store.names(at, at_once)?;
        all.extend(some);
        from = next;
    }
    all.sort_unstable();
    Ok(all)
}

fn head(epoch: u64, commit: u64) -> Head {
    Head { id: HeadId { epoch, commit }, bytes: vec![epoch as u8, commit as u8, 7] }
}

/// Checks a store. `open` opens the same store again after the one before was dropped; the first time it is empty.
///
/// # Panics
/// Where the contract of [`Store`] is broken.
pub fn store_conformance(mut open: impl FnMut() -> Arc<dyn Store>) {
    let store = open();
    assert!(store.head().expect("head").is_none(), "an empty store has no head");
    assert!(store.get(&name(1)).expect("get").is_none(), "an absent blob is None, not an error");
    assert!(!store.contains(&name(1)).expect("contains"));
    assert!(listed(&*store, 10).expect("names").is_empty());

    store.put(&[(name(3), vec![3; 300]), (name(1), vec![])]).expect("put");
    assert_eq!(store.get(&name(3)).expect("get"), Some(vec![3; 300]), "a blob can be read before the commit");
    let id = |epoch, commit| Some(HeadId { epoch, commit });
    let early = store.commit(&[], id(1, 0), &head(1, 1)).expect("commit");
    assert_eq!(early, Published::Conflict(None), "nothing is there to be replaced");
    assert_eq!(store.commit(&[(name(2), vec![2; 70_000])], None, &head(1, 1)).expect("commit"), Published::Done);
    let again = store.commit(&[(name(9), vec![9])], None, &head(1, 1)).expect("commit");
    assert_eq!(again, Published::Conflict(id(1, 1)));
    assert!(!store.contains(&name(9)).expect("contains"), "a commit in conflict changes nothing");
    assert_eq!(store.commit(&[], id(1, 1), &head(2, 2)).expect("commit"), Published::Done);
    let late = store.commit(&[], id(1, 1), &head(2, 3)).expect("commit");
    assert_eq!(late, Published::Conflict(id(2, 2)), "of two writers one wins");
    let lower = store.commit(&[], id(2, 2), &head(1, 9)).expect("commit");
    assert_eq!(lower, Published::Conflict(id(2, 2)), "a lower epoch never wins");
    drop(store);

    let store = open();
    assert_eq!(store.head().expect("head"), Some(head(2, 2)), "a head survives");
    for (n, bytes) in [(1, vec![]), (2, vec![2; 70_000]), (3, vec![3; 300])] {
        assert_eq!(store.get(&name(n)).expect("get"), Some(bytes), "what was committed survives");
        assert!(store.contains(&name(n)).expect("contains"));
    }
    for at_once in [1, 2, 10] {
        assert_eq!(listed(&*store, at_once).expect("names"), [1, 2, 3].map(name), "each name once");
    }
    assert_eq!(store.usage().expect("usage").blobs, 3);
    let removed = store.remove(&[name(2), name(8)]).expect("remove");
    assert!(removed.gone + removed.left >= 70_000, "it says what became of the bytes");
    assert!(store.get(&name(2)).expect("get").is_none(), "a removed blob is gone");
    store.remove(&[name(2)]).expect("removing twice is no error");
    drop(store);

    let store = open();
    assert!(!store.contains(&name(2)).expect("contains"), "and stays gone");
    assert_eq!(store.get(&name(3)).expect("get"), Some(vec![3; 300]));
    let many: Vec<_> = (10..250).map(|n| (name(n), vec![n; 5000])).collect();
    store.put(&many).expect("put");
    assert_eq!(
        store.commit(&[], id(2, 2), &head(2, 3)).expect("commit"),
        Published::Done,
        "a commit makes earlier puts durable"
    );
    drop(store);
    let store = open();
    for (name, bytes) in &many {
        assert_eq!(store.get(name).expect("get").as_ref(), Some(bytes));
    }
    drop(store);
    named_conformance(open);
}

/// The part of the contract that is about names the store gives.
fn named_conformance(mut open: impl FnMut() -> Arc<dyn Store>) {
    let store = open();
    let there = listed(&*store, 100).expect("names");
    let before = store.head().expect("head").expect("it was committed").id;
    let next = |by| HeadId { commit: before.commit + by, ..before };
    let batch = |store: &dyn Store, fill: u8| {
        let mut blobs: Vec<Blob> = Vec::new();
        for len in [512, 4096, 0, 300, 70_000, 512] {
            let mut drawn = BlobName([fill; 16]);
            drawn.0[0] = blobs.len() as u8;
            blobs.push((store.name(drawn, Ahead::of(&blobs), len), vec![fill; len]));
        }
        blobs
    };
    let check = |store: &dyn Store, blobs: &[Blob], when: &str| {
        for (name, bytes) in blobs {
            assert!(store.contains(name).expect("contains"), "{when}");
            assert_eq!(store.get(name).expect("get").as_ref(), Some(bytes), "{when}");
        }
    };
    let first = batch(&*store, 251);
    assert!(first.iter().all(|(name, _)| !store.contains(name).expect("contains")), "a name alone is no blob");
    // What came between the name and the commit.
    store.put(&[(name(254), vec![254; 1000])]).expect("put");
    let at = |id| Head { id, bytes: vec![1, 2, 3] };
    assert_eq!(store.commit(&first, Some(before), &at(next(1))).expect("commit"), Published::Done);
    check(&*store, &first, "names whose blobs went elsewhere");
    let second = batch(&*store, 252);
    assert_eq!(store.commit(&second, Some(next(1)), &at(next(2))).expect("commit"), Published::Done);
    check(&*store, &second, "names whose blobs went where the store meant");
    let (one, two) = second.split_at(3);
    let swapped = [two, one].concat();
    drop(store);

    let store = open();
    check(&*store, &first, "opened again");
    check(&*store, &second, "opened again");
    let mut all: Vec<BlobName> = first.iter().chain(&second).map(|(name, _)| *name).chain(there).collect();
    all.push(name(254));
    all.sort_unstable();
    for at_once in [1, 5, 1000] {
        assert_eq!(listed(&*store, at_once).expect("names"), all, "each name once, {at_once} at a time");
    }
    assert_eq!(store.usage().expect("usage").blobs, all.len() as u64);
    // The same blobs once more, in another order: nothing changes but where they may lie.
    assert_eq!(store.commit(&swapped, Some(next(2)), &at(next(3))).expect("commit"), Published::Done);
    check(&*store, &second, "put twice");
    let gone: Vec<BlobName> = first.iter().chain(&second).step_by(2).map(|(name, _)| *name).collect();
    store.remove(&gone).expect("remove");
    let kept: Vec<Blob> = first.iter().chain(&second).filter(|(name, _)| !gone.contains(name)).cloned().collect();
    let look = |store: &dyn Store, when| {
        for name in &gone {
            assert!(!store.contains(name).expect("contains"), "{when}");
            assert!(store.get(name).expect("get").is_none(), "{when}");
        }
        check(store, &kept, when);
        let listed = listed(store, 3).expect("names");
        assert!(gone.iter().all(|name| !listed.contains(name)), "{when}");
        assert!(kept.iter().all(|(name, _)| listed.contains(name)), "{when}");
        assert_eq!(store.usage().expect("usage").blobs, listed.len() as u64, "{when}");
    };
    look(&*store, "removed");
    drop(store);
    look(&*open(), "removed, and opened again");
}

/// Checks a root cell. `open` opens the same cell again after the one before was dropped; the first time it is empty.
///
/// # Panics
/// Where the contract of [`RootCell`] is broken.
pub fn cell_conformance(mut open: impl FnMut() -> Arc<dyn RootCell>) {
    let store = StoreId([5; 16]);
    let id = |epoch, attempt| RootId { epoch, attempt: [attempt; 16] };
    let key = |n| Key::copied_from(&[n; 32]);
    let held = |cell: &dyn RootCell| {
        let mut keys: Vec<_> = cell.load().expect("load").keys.iter().map(|k| (k.id, k.key.bytes()[0])).collect();
        keys.sort_unstable();
        keys
    };
    let cell = open();
    assert!(held(&*cell).is_empty(), "a new cell holds nothing");
    assert!(!cell.describe().statement.is_empty(), "a cell says what it promises");
    cell.deposit(store, &id(1, 1), &key(1)).expect("deposit");
    let cell = {
        drop(cell);
        open()
    };
    assert_eq!(held(&*cell), vec![(id(1, 1), 1)], "a deposited key survives");
    let other = cell.deposit(StoreId([6; 16]), &id(2, 9), &key(9)).expect_err("another store's key");
    assert_eq!(other.kind(), ErrorKind::Refused);

    cell.deposit(store, &id(2, 2), &key(2)).expect("deposit");
    cell.deposit(store, &id(2, 2), &key(2)).expect("depositing again is no change");
    assert_eq!(cell.deposit(store, &id(3, 3), &key(3)).expect_err("a third key").kind(), ErrorKind::Refused);
    let cell = {
        drop(cell);
        open()
    };
    assert_eq!(held(&*cell), vec![(id(1, 1), 1), (id(2, 2), 2)], "two keys stand side by side");

    let unknown = cell.retire(&id(7, 7), Durable::assumed_for_a_test()).expect_err("an unknown key to keep");
    assert_eq!(unknown.kind(), ErrorKind::Corrupt);
    assert_eq!(held(&*cell).len(), 2, "nothing is destroyed for a key that is not there");
    assert_eq!(cell.retire(&id(2, 2), Durable::assumed_for_a_test()).expect("retire"), Retirement::Destroyed);
    assert_eq!(held(&*cell), vec![(id(2, 2), 2)]);
    cell.retire(&id(2, 2), Durable::assumed_for_a_test()).expect("retiring again is no change");
    let cell = {
        drop(cell);
        open()
    };
    assert_eq!(held(&*cell), vec![(id(2, 2), 2)], "a destroyed key stays destroyed");

    // A losing candidate: the key that stays is the older one.
    cell.deposit(store, &id(3, 4), &key(4)).expect("deposit");
    cell.retire(&id(2, 2), Durable::assumed_for_a_test()).expect("retire the candidate");
    assert_eq!(held(&*cell), vec![(id(2, 2), 2)]);
    let contents = cell.load().expect("load");
    assert_eq!((contents.store, contents.epoch >= 2), (Some(store), true));
    for epoch in 3..20u8 {
        cell.deposit(store, &id(epoch.into(), epoch), &key(epoch)).expect("deposit");
        cell.retire(&id(epoch.into(), epoch), Durable::assumed_for_a_test()).expect("retire");
    }
    assert_eq!(held(&*cell), vec![(id(19, 19), 19)]);
}
