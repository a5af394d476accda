//! The contracts of the two ports, as tests that the author of an adapter runs. They panic where a
//! contract is broken.
#![expect(clippy::expect_used, reason = "these are tests: a broken contract panics")]

use std::sync::Arc;

use crate::cell::{Contents, Durable, Owner, RootCell, RootKey};
use crate::crypto::Key;
use crate::error::{ErrorKind, Result};
use crate::ids::{BlobName, StoreId};
use crate::promise::{Retirement, RootId};
use crate::store::{Ahead, Blob, Collect, Cursor, Head, HeadId, Packing, Published, Store};

fn name(n: u8) -> BlobName {
    BlobName([n; 16])
}

/// Every name in a store, sorted; the store is asked for about `at_once` of them at a time.
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

/// Checks a store: blobs, commits that name the head they replace, names, removal. `open` opens the
/// same store again after the handle before was dropped; the first time it is empty.
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
    assert_eq!(
        store.get(&name(3)).expect("get"),
        Some(vec![3; 300]),
        "a blob can be read before the commit"
    );
    let id = |epoch, commit| Some(HeadId { epoch, commit });
    let early = store.commit(&[], id(1, 0), &head(1, 1)).expect("commit");
    assert_eq!(early, Published::Conflict(None), "nothing is there to be replaced");
    assert_eq!(
        store.commit(&[(name(2), vec![2; 70_000])], None, &head(1, 1)).expect("commit"),
        Published::Done
    );
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

fn holds_all(store: &dyn Store, blobs: &[Blob], when: &str) {
    for (name, bytes) in blobs {
        assert!(store.contains(name).expect("contains"), "{when}");
        assert_eq!(store.get(name).expect("get").as_ref(), Some(bytes), "{when}");
    }
}

/// The part of the contract about names that the store gives.
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
    let first = batch(&*store, 251);
    assert!(
        first.iter().all(|(name, _)| !store.contains(name).expect("contains")),
        "a name alone is no blob"
    );
    // What came between the name and the commit.
    store.put(&[(name(254), vec![254; 1000])]).expect("put");
    let at = |id| Head { id, bytes: vec![1, 2, 3] };
    assert_eq!(store.commit(&first, Some(before), &at(next(1))).expect("commit"), Published::Done);
    holds_all(&*store, &first, "names whose blobs went elsewhere");
    let second = batch(&*store, 252);
    assert_eq!(
        store.commit(&second, Some(next(1)), &at(next(2))).expect("commit"),
        Published::Done
    );
    holds_all(&*store, &second, "names whose blobs went where the store meant");
    let (one, two) = second.split_at(3);
    let swapped = [two, one].concat();
    drop(store);

    let store = open();
    holds_all(&*store, &first, "opened again");
    holds_all(&*store, &second, "opened again");
    let mut all: Vec<BlobName> =
        first.iter().chain(&second).map(|(name, _)| *name).chain(there).collect();
    all.push(name(254));
    all.sort_unstable();
    for at_once in [1, 5, 1000] {
        assert_eq!(
            listed(&*store, at_once).expect("names"),
            all,
            "each name once, {at_once} at a time"
        );
    }
    assert_eq!(store.usage().expect("usage").blobs, all.len() as u64);
    // The same blobs once more, in another order: nothing changes but where they may lie.
    assert_eq!(
        store.commit(&swapped, Some(next(2)), &at(next(3))).expect("commit"),
        Published::Done
    );
    holds_all(&*store, &second, "put twice");
    removed_names_conformance(open, store, &first, &second);
}

/// Every second one of these blobs is removed: those are gone, and only the others remain.
fn removed_names_conformance(
    mut open: impl FnMut() -> Arc<dyn Store>,
    store: Arc<dyn Store>,
    first: &[Blob],
    second: &[Blob],
) {
    let gone: Vec<BlobName> =
        first.iter().chain(second).step_by(2).map(|(name, _)| *name).collect();
    store.remove(&gone).expect("remove");
    let kept: Vec<Blob> =
        first.iter().chain(second).filter(|(name, _)| !gone.contains(name)).cloned().collect();
    let look = |store: &dyn Store, when| {
        for name in &gone {
            assert!(!store.contains(name).expect("contains"), "{when}");
            assert!(store.get(name).expect("get").is_none(), "{when}");
        }
        holds_all(store, &kept, when);
        let listed = listed(store, 3).expect("names");
        assert!(gone.iter().all(|name| !listed.contains(name)), "{when}");
        assert!(kept.iter().all(|(name, _)| listed.contains(name)), "{when}");
        assert_eq!(store.usage().expect("usage").blobs, listed.len() as u64, "{when}");
    };
    look(&*store, "removed");
    drop(store);
    look(&*open(), "removed, and opened again");
    swept_conformance(open, &kept);
}

/// The part of the contract about sweeps, where the store has them: what is marked or kept stays,
/// with all that came later.
fn swept_conformance(mut open: impl FnMut() -> Arc<dyn Store>, blobs: &[Blob]) {
    for (n, how) in (0..).zip([Collect::Count, Collect::Wipe]) {
        let store = open();
        let before = listed(&*store, 3).expect("names");
        let Some(mut sweep) = store.sweep(how).expect("sweep") else { return };
        store.put(&[(name(253 + n), vec![1; 100])]).expect("put");
        assert!(!sweep.is_marked(&name(251)).expect("is_marked"), "an absent blob is never marked");
        let live = &blobs[usize::from(n)..];
        for (name, _) in live {
            assert!(!sweep.is_marked(name).expect("is_marked"), "nothing is marked at first");
            sweep.mark(name).expect("mark");
            assert!(sweep.is_marked(name).expect("is_marked"));
        }
        let mut dead = 0;
        while let Some(some) = sweep.collect(3, &|name| name.0 == [3; 16]).expect("collect") {
            dead += some.blobs;
        }
        drop(sweep);
        let gone = before.len() - listed(&*store, 3).expect("names").len() + 1;
        assert_eq!(dead, gone as u64, "what it collected is gone, and nothing else");
        holds_all(&*store, live, "marked");
        assert!(store.contains(&name(253 + n)).expect("contains"), "it came later");
        assert!(store.contains(&name(3)).expect("contains"), "it was kept");
        for packing in [Packing::Loose, Packing::Dense] {
            while store.clean(1000, packing).expect("clean").more {}
        }
        holds_all(&*store, live, "cleaned");
        drop(store);
        holds_all(&*open(), live, "swept, and opened again");
    }
}

/// The store in the checks of cells.
const STORE: StoreId = StoreId([5; 16]);

fn root(epoch: u64, attempt: u8) -> RootId {
    RootId { epoch, attempt: [attempt; 16] }
}

fn owner(claim: u64, token: u8) -> Owner {
    Owner { instance: [1; 16], claim, token: [token; 16] }
}

fn deposit(cell: &dyn RootCell, id: RootId) -> Result<()> {
    cell.deposit(STORE, &id, &Key::copied_from(&[id.attempt[0]; 32]))
}

fn roots(contents: &Contents) -> Vec<RootId> {
    let mut ids: Vec<RootId> = contents.keys.iter().map(|key| key.id).collect();
    ids.sort_unstable();
    ids
}

/// What a cell shows: its keys, its epoch, its owner and its mark.
fn shown(cell: &dyn RootCell) -> (Vec<RootId>, u64, Option<Owner>, u64) {
    let contents = cell.load().expect("load");
    (roots(&contents), contents.epoch, contents.owner, contents.mark)
}

fn is_fenced(result: Result<()>, what: &str) {
    assert_eq!(result.expect_err(what).kind(), ErrorKind::Fenced, "{what}");
}

/// Checks a root cell under the exclusive contract of [`RootCell`]: keys that are deposited and
/// destroyed, claims that only grow, marks that are raised. `open` opens the same cell again after
/// the handle before was dropped; the first time it is empty. A function that always returns one
/// handle will do.
///
/// # Panics
/// Where the contract is broken.
pub fn cell_conformance(mut open: impl FnMut() -> Arc<dyn RootCell>) {
    deposits_survive(&mut open);
    retirements_destroy(&mut open);
    claims_only_grow(&mut open);
}

fn key(n: u8) -> Key {
    Key::copied_from(&[n; 32])
}

/// The keys in a cell, each with the byte that it was made of.
fn held(cell: &dyn RootCell) -> Vec<(RootId, u8)> {
    let mut keys: Vec<_> =
        cell.load().expect("load").keys.iter().map(|k| (k.id, k.key.bytes()[0])).collect();
    keys.sort_unstable();
    keys
}

fn deposits_survive(open: &mut dyn FnMut() -> Arc<dyn RootCell>) {
    let cell = open();
    assert!(held(&*cell).is_empty(), "a new cell holds nothing");
    assert!(!cell.describe().statement.is_empty(), "a cell says what it promises");
    cell.deposit(STORE, &root(1, 1), &key(1)).expect("deposit");
    drop(cell);

    let cell = open();
    assert_eq!(held(&*cell), vec![(root(1, 1), 1)], "a deposited key survives");
    let other =
        cell.deposit(StoreId([6; 16]), &root(2, 9), &key(9)).expect_err("another store's key");
    assert_eq!(other.kind(), ErrorKind::Refused);
    cell.deposit(STORE, &root(2, 2), &key(2)).expect("deposit");
    cell.deposit(STORE, &root(2, 2), &key(2)).expect("depositing again is no change");
    assert_eq!(
        cell.deposit(STORE, &root(3, 3), &key(3)).expect_err("a third key").kind(),
        ErrorKind::Refused
    );
    drop(cell);

    let cell = open();
    assert_eq!(held(&*cell), vec![(root(1, 1), 1), (root(2, 2), 2)], "two keys stand side by side");
}

/// On a cell that holds the keys of [`deposits_survive`].
fn retirements_destroy(open: &mut dyn FnMut() -> Arc<dyn RootCell>) {
    let sure = Durable::assumed_for_a_test;
    let cell = open();
    let unknown = cell.retire(&root(7, 7), sure()).expect_err("an unknown key to keep");
    assert_eq!(unknown.kind(), ErrorKind::Corrupt);
    assert_eq!(held(&*cell).len(), 2, "nothing is destroyed for a key that is not there");
    assert_eq!(cell.retire(&root(2, 2), sure()).expect("retire"), Retirement::Destroyed);
    assert_eq!(held(&*cell), vec![(root(2, 2), 2)]);
    cell.retire(&root(2, 2), sure()).expect("retiring again is no change");
    drop(cell);

    let cell = open();
    assert_eq!(held(&*cell), vec![(root(2, 2), 2)], "a destroyed key stays destroyed");
    // A losing candidate: the key that stays is the older one.
    cell.deposit(STORE, &root(3, 4), &key(4)).expect("deposit");
    cell.retire(&root(2, 2), sure()).expect("retire the candidate");
    assert_eq!(held(&*cell), vec![(root(2, 2), 2)]);
    let contents = cell.load().expect("load");
    assert_eq!((contents.store, contents.epoch >= 2), (Some(STORE), true));
    for epoch in 3..20u8 {
        cell.deposit(STORE, &root(epoch.into(), epoch), &key(epoch)).expect("deposit");
        cell.retire(&root(epoch.into(), epoch), sure()).expect("retire");
    }
    assert_eq!(held(&*cell), vec![(root(19, 19), 19)]);
}

/// On a cell that [`retirements_destroy`] left. The number of a claim only grows, and the same
/// claim may be made twice.
fn claims_only_grow(open: &mut dyn FnMut() -> Arc<dyn RootCell>) {
    let cell = open();
    assert_eq!(cell.load().expect("load").owner, None, "nobody has claimed");
    cell.claim(STORE, &owner(3, 1), 7).expect("the first claim");
    let kept = vec![root(19, 19)];
    assert_eq!(shown(&*cell), (kept.clone(), 19, Some(owner(3, 1)), 7));
    drop(cell);

    let cell = open();
    assert_eq!(shown(&*cell), (kept.clone(), 19, Some(owner(3, 1)), 7), "a claim survives");
    cell.claim(STORE, &owner(3, 1), 5).expect("the same claim again");
    assert_eq!(cell.load().expect("load").mark, 7, "a mark of the same claim only grows");
    for stale in [owner(2, 1), owner(3, 2), Owner { instance: [2; 16], ..owner(3, 1) }] {
        is_fenced(cell.claim(STORE, &stale, 99), "a claim that came later");
    }
    let foreign = cell.claim(StoreId([6; 16]), &owner(9, 9), 0).expect_err("another store's claim");
    assert_eq!(foreign.kind(), ErrorKind::Refused);
    assert_eq!(
        shown(&*cell),
        (kept, 19, Some(owner(3, 1)), 7),
        "a claim that is not taken changes nothing"
    );
    for (epoch, commit, mark) in [(20, 12, 12), (21, 9, 12), (21, 13, 13)] {
        cell.deposit(STORE, &root(epoch, epoch as u8), &key(1)).expect("the owner's deposit");
        cell.retire(&root(epoch, epoch as u8), Durable::assumed_at(commit))
            .expect("the owner's retirement");
        assert_eq!(cell.load().expect("load").mark, mark, "a retirement raises the mark");
    }
    drop(cell);

    let cell = open();
    assert_eq!(shown(&*cell), (vec![root(21, 21)], 21, Some(owner(3, 1)), 13), "a mark survives");
    cell.claim(STORE, &owner(4, 4), 6).expect("a higher claim");
    assert_eq!(
        shown(&*cell),
        (vec![root(21, 21)], 21, Some(owner(4, 4)), 6),
        "a new owner sets the mark"
    );
    cell.deposit(STORE, &root(22, 22), &key(2)).expect("the new owner's deposit");
    assert_eq!(cell.load().expect("load").mark, 6);
    cell.retire(&root(21, 21), Durable::assumed_at(6)).expect("a losing candidate");
    assert_eq!(
        shown(&*cell).0,
        vec![root(21, 21)],
        "the exclusive contract: all but the one to keep"
    );
}

/// Checks which owner may change a root cell under the exclusive contract. `open` gives a new
/// handle on the same cell each time, after the one before was dropped; the first time it is empty.
///
/// # Panics
/// Where the contract of [`RootCell`] is broken.
pub fn owned_cell_conformance(mut open: impl FnMut() -> Arc<dyn RootCell>) {
    let sure = Durable::assumed_for_a_test;
    let cell = open();
    cell.claim(STORE, &owner(1, 1), 0).expect("the first claim");
    deposit(&*cell, root(1, 1)).expect("the owner's deposit");
    cell.retire(&root(1, 1), sure()).expect("the owner's retirement");
    deposit(&*cell, root(2, 2)).expect("the owner's candidate");
    let before = shown(&*cell);
    drop(cell);

    let cell = open();
    for _ in 0..2 {
        assert_eq!(shown(&*cell), before, "anybody may look, and that changes nothing");
    }
    is_fenced(deposit(&*cell, root(2, 9)), "a deposit without a claim");
    is_fenced(cell.retire(&root(1, 1), sure()).map(drop), "a retirement without a claim");
    assert!(
        !cell.ready(&root(1, 1), &root(2, 2)).expect("ready"),
        "nothing stands ready without a claim"
    );
    assert_eq!(shown(&*cell), before);
    cell.claim(STORE, &owner(2, 2), 0).expect("a higher claim");
    cell.retire(&root(2, 2), sure()).expect("the new owner's retirement");
    let before = shown(&*cell);
    drop(cell);

    let cell = open();
    for stale in [owner(1, 1), owner(2, 9)] {
        is_fenced(cell.claim(STORE, &stale, 50), "a stale claim");
        is_fenced(deposit(&*cell, root(3, 9)), "a stale owner's deposit");
        is_fenced(cell.retire(&root(2, 2), sure()).map(drop), "a stale owner's retirement");
        assert_eq!(shown(&*cell), before, "a stale owner changes nothing");
    }
    cell.claim(STORE, &owner(2, 2), 0).expect("the same claim, to the letter");
    deposit(&*cell, root(3, 3)).expect("the owner's deposit");
    let next = RootKey { id: root(4, 4), key: Key::copied_from(&[4; 32]) };
    if let Some(retired) = cell.retire_for(&root(3, 3), &next, sure()).expect("retire for the next")
    {
        assert_eq!(retired, Retirement::Destroyed);
        assert_eq!(shown(&*cell).0, [root(3, 3), root(4, 4)]);
        assert!(cell.ready(&root(3, 3), &root(4, 4)).expect("ready"), "it stands ready");
        assert!(
            !cell.ready(&root(2, 2), &root(4, 4)).expect("ready"),
            "the current key is another one"
        );
        assert!(!cell.ready(&root(3, 3), &root(4, 5)).expect("ready"), "another one stands ready");
        cell.deposit(STORE, &next.id, &next.key).expect("what stands ready is deposited");
        cell.retire(&next.id, sure()).expect("retire");
        assert_eq!(shown(&*cell).0, [root(4, 4)]);
        assert!(!cell.ready(&root(4, 4), &root(5, 5)).expect("ready"), "nothing stands ready");
    }
}

/// Checks a root cell under the shared contract of [`RootCell`]: an owner gives up only its own
/// attempts, never what it has merely seen. `open` gives a new handle on the same cell each time,
/// while others are in use; the first time it is empty.
///
/// # Panics
/// Where the contract is broken.
pub fn shared_cell_conformance(mut open: impl FnMut() -> Arc<dyn RootCell>) {
    let sure = Durable::assumed_at;
    let first = open();
    assert!(shown(&*first).0.is_empty(), "a new cell holds nothing");
    first.claim(STORE, &owner(1, 1), 1).expect("the first claim");
    deposit(&*first, root(1, 1)).expect("the owner's deposit");
    first.retire(&root(1, 1), sure(2)).expect("the owner's retirement");
    deposit(&*first, root(2, 2)).expect("the owner's candidate");
    let both = vec![root(1, 1), root(2, 2)];
    assert_eq!(shown(&*first), (both.clone(), 2, Some(owner(1, 1)), 2));

    let second = open();
    assert_eq!(shown(&*second), (both.clone(), 2, Some(owner(1, 1)), 2), "anybody may look");
    is_fenced(deposit(&*second, root(2, 9)), "a deposit without a claim");
    is_fenced(second.retire(&root(1, 1), sure(2)).map(drop), "a retirement without a claim");
    is_fenced(second.claim(STORE, &owner(1, 2), 9), "a claim of the same number");
    assert_eq!(
        shown(&*second),
        (both.clone(), 2, Some(owner(1, 1)), 2),
        "nothing of that changes anything"
    );

    second.claim(STORE, &owner(2, 2), 3).expect("a higher claim");
    second.retire(&root(1, 1), sure(3)).expect("the new owner's retirement");
    assert_eq!(
        shown(&*second),
        (both.clone(), 2, Some(owner(2, 2)), 3),
        "what was merely seen is not given up"
    );
    is_fenced(deposit(&*first, root(2, 8)), "a stale owner's deposit");
    is_fenced(first.retire(&root(1, 1), sure(9)).map(drop), "a stale owner's retirement");
    is_fenced(first.claim(STORE, &owner(1, 1), 9), "a stale claim");
    assert_eq!(
        shown(&*second),
        (both.clone(), 2, Some(owner(2, 2)), 3),
        "a stale owner changes nothing"
    );

    deposit(&*second, root(2, 3)).expect("the new owner's candidate");
    second.retire(&root(1, 1), sure(3)).expect("the candidate failed");
    assert_eq!(shown(&*second).0, both, "an attempt of its own is given up, and no other");
    second.retire(&root(2, 2), sure(4)).expect("the first one's candidate was published after all");
    assert_eq!(shown(&*second), (vec![root(2, 2)], 2, Some(owner(2, 2)), 4));
    let late = deposit(&*second, root(1, 7));
    assert!(late.is_err(), "an epoch that has ended is not taken again");
}
