//! Claims: whose they are, torn ones, and what they outlast. SPEC §6.8, §7.

use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, MemoryCell, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::env::System;
use keyfall::promise::RootId;
use keyfall::quorum::Keyholder;
use keyfall::store::StoreId;
use keyfall::testing::sim::{Fault, Media, SimulatedDisk};
use keyfall::testing::{Seeded, owned_cell_conformance};

use super::{
    NOBODY, STORE, create, deposit, files, holder, id, open, owner, put_back, quick_dir, share,
};
use crate::support::error_kind;

#[test]
fn cells_keep_the_contract_of_ownership() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    drop(create(&place, true).unwrap());
    owned_cell_conformance(|| Arc::new(open(&place)));
    let memory = MemoryCell::new();
    owned_cell_conformance(|| Arc::new(memory.handle()));
}

#[test]
fn a_torn_claim_gives_way_to_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    deposit(&create(&place, true).unwrap(), id(1, 1));
    let tear = |slot: &str| std::fs::write(place.join(slot), [3; 4096]).unwrap();
    let claims = ["claim-a", "claim-b"];
    for n in 1..6 {
        let before = claims.map(|slot| std::fs::read(place.join(slot)).unwrap());
        open(&place).claim(STORE, &owner(n, 1), n).unwrap();
        let newest = claims
            .iter()
            .zip(&before)
            .filter(|(slot, bytes)| std::fs::read(place.join(slot)).unwrap() != **bytes);
        let newest: Vec<&str> = newest.map(|(slot, _)| *slot).collect();
        assert_eq!(newest.len(), 1, "one slot in turn");
        let older = claims.iter().find(|slot| **slot != newest[0]).unwrap();
        // The one that is written next counts for nothing any more.
        tear(older);
        let contents = open(&place).load().unwrap();
        assert_eq!((contents.owner, contents.mark), (Some(owner(n, 1)), n));
        assert_eq!(error_kind(open(&place).claim(STORE, &owner(n, 2), n)), ErrorKind::Fenced);
        // Without the newest the one before would count; here none is left.
        let newest_bytes = std::fs::read(place.join(newest[0])).unwrap();
        tear(newest[0]);
        let cell = open(&place);
        for error in [
            cell.load().map(drop).unwrap_err(),
            cell.claim(STORE, &owner(99, 1), 9).unwrap_err(),
            cell.deposit(STORE, &id(2, 2), &Key::copied_from(&[2; 32])).unwrap_err(),
            cell.retire(&id(1, 1), Durable::assumed_for_a_test()).map(drop).unwrap_err(),
            FileCell::look(&place, Arc::new(System)).unwrap().load().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            let text = error.to_string();
            assert!(text.contains("claim-a and claim-b") && text.contains("put back"), "{text}");
        }
        std::fs::write(place.join(newest[0]), newest_bytes).unwrap();
    }
    // The way out of two damaged ones: somebody who is sure forgets them.
    claims.iter().for_each(|slot| std::fs::remove_file(place.join(slot)).unwrap());
    let cell = open(&place);
    assert_eq!(cell.load().unwrap().owner, None);
    cell.claim(STORE, &owner(1, 7), 3).unwrap();
    drop(cell);
    let contents = open(&place).load().unwrap();
    assert_eq!((contents.owner, contents.mark, contents.keys.len()), (Some(owner(1, 7)), 3, 1));
}

#[test]
fn claims_are_never_written_over_by_keys() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    cell.claim(STORE, &owner(5, 5), 2).unwrap();
    let claims = || ["claim-a", "claim-b"].map(|slot| std::fs::read(place.join(slot)).unwrap());
    let before = claims();
    deposit(&cell, id(1, 1));
    for epoch in 2..8 {
        deposit(&cell, id(epoch, 1));
        cell.retire(&id(epoch, 1), Durable::assumed_at(epoch)).unwrap();
        let contents = cell.load().unwrap();
        assert_eq!((contents.owner, contents.mark), (Some(owner(5, 5)), epoch.max(2)));
    }
    assert_eq!(claims(), before);
}

/// A cell was given to another store only by hand; a claim for it alone must not do that, nor may
/// an init that was cut short block it.
#[test]
fn a_claim_of_a_store_that_was_never_made_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("cell"), true).unwrap();
    let memory = MemoryCell::new();
    for cell in [&file as &dyn RootCell, &memory] {
        cell.claim(StoreId([8; 16]), &owner(1, 1), 0).unwrap();
        assert_eq!(cell.load().unwrap().store, None);
        cell.claim(STORE, &owner(1, 2), 0).unwrap();
        assert_eq!(
            error_kind(cell.deposit(StoreId([8; 16]), &id(1, 1), &Key::copied_from(&[1; 32]))),
            ErrorKind::Refused
        );
        deposit(cell, id(1, 1));
        assert_eq!(error_kind(cell.claim(StoreId([8; 16]), &owner(9, 1), 0)), ErrorKind::Refused);
        assert_eq!(cell.load().unwrap().owner, Some(owner(1, 2)));
    }
}

/// Power cuts and syncs that fail, twice in a row: a process that reads a claim does not know
/// whether it is durable.
#[test]
fn a_claim_that_was_acknowledged_is_never_forgotten() {
    let faults = [Fault::Fails, Fault::Full, Fault::PowerBefore, Fault::PowerAfter];
    for seed in 0..2 {
        for (first, second) in (0..16).map(|n| (faults[n / 4], faults[n % 4])) {
            for (at, again) in (0..16 * 16).map(|n| (n / 16 + 1, n % 16 + 1)) {
                let media = SimulatedDisk::new(Arc::new(Seeded::new(seed)), None);
                let (mut acknowledged, mut asked) = (0, 0);
                for (fault, nth) in [(first, at), (second, again)] {
                    let cell = media.cell().unwrap();
                    // The last claim is made without one, and the next fault may hit its slots.
                    media.gate().plan(Some((nth, fault)));
                    while media.gate().blown().is_none() && asked < acknowledged + 3 {
                        asked += 1;
                        if cell.claim(STORE, &owner(asked, 1), asked).is_ok() {
                            acknowledged = asked;
                        }
                    }
                    drop(cell);
                    media.restart(media.gate().is_off(), seed + nth);
                    let contents = media.cell().unwrap().load().unwrap();
                    let claim = contents.owner.map_or(0, |owner| owner.claim);
                    let run = format!("{first:?} at {at}, {second:?} at {again}, seed {seed}");
                    assert!(
                        (acknowledged..=asked).contains(&claim),
                        "{run}: {claim}, not {acknowledged} to {asked}"
                    );
                    // What a process has read may never have reached the medium.
                    asked = asked.max(claim);
                }
                media.restart(true, seed);
                let contents = media.cell().unwrap().load().unwrap();
                assert!(
                    contents.owner.map_or(0, |owner| owner.claim) >= acknowledged,
                    "after a power cut"
                );
            }
        }
    }
}

#[test]
fn a_keyholder_serves_the_owner_and_no_other() {
    let dir = quick_dir();
    let place = dir.path();
    holder(place).claim(STORE, &owner(2, 1), 5).unwrap();
    let held = || {
        let held = holder(place).load(STORE).unwrap();
        let mut ids: Vec<RootId> = held.shares.iter().map(|share| share.id).collect();
        ids.sort_unstable();
        (ids, held.committed, held.owner, held.mark)
    };
    assert_eq!(held(), (vec![], 0, Some(owner(2, 1)), 5));
    let holder = holder(place);
    holder.deposit(STORE, &owner(2, 1), &share(id(1, 1))).unwrap();
    holder.retire(STORE, &owner(2, 1), &id(1, 1), &[], 7).unwrap();
    holder.deposit(STORE, &owner(2, 1), &share(id(2, 2))).unwrap();
    let now = (vec![id(1, 1), id(2, 2)], 1, Some(owner(2, 1)), 7);
    assert_eq!(held(), now);
    for stale in [owner(1, 1), owner(2, 2), Owner { instance: [5; 16], ..owner(2, 1) }, NOBODY] {
        assert_eq!(error_kind(holder.claim(STORE, &stale, 99)), ErrorKind::Fenced);
        assert_eq!(error_kind(holder.deposit(STORE, &stale, &share(id(3, 3)))), ErrorKind::Fenced);
        let retired = holder.retire(STORE, &stale, &id(2, 2), &[id(1, 1)], 99);
        let error = retired.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("claim 2"), "{error}");
        assert_eq!(held(), now, "nothing was changed");
    }
    // An owner with a higher claim is heard of first by any of the three.
    let reset = files(&place.join("stores").join(STORE.to_string()));
    for verb in 0..3 {
        put_back(&place.join("stores").join(STORE.to_string()), &reset);
        let holder = self::holder(place);
        let next = owner(7, verb);
        match verb {
            0 => holder.claim(STORE, &next, 3).unwrap(),
            1 => holder.deposit(STORE, &next, &share(id(2, 3))).unwrap(),
            _ => drop(holder.retire(STORE, &next, &id(1, 1), &[], 8).unwrap()),
        }
        let (_, committed, owner, mark) = held();
        assert_eq!((committed, owner, mark), (1, Some(next), [3, 0, 8][usize::from(verb)]));
        assert_eq!(
            error_kind(holder.deposit(STORE, &self::owner(2, 1), &share(id(3, 3)))),
            ErrorKind::Fenced
        );
        // A lower mark of the same owner is an old one.
        holder.claim(STORE, &next, 1).unwrap();
        assert_eq!(held().3, mark.max(1));
    }
    // What is refused for its epoch still names the owner of the store.
    assert_eq!(
        error_kind(holder.deposit(STORE, &owner(8, 1), &share(id(1, 9)))),
        ErrorKind::Refused
    );
    assert_eq!(held().2, Some(owner(8, 1)));
}

#[test]
fn a_keyholder_whose_fence_is_damaged_does_nothing() {
    let dir = quick_dir();
    let slots = dir.path().join("stores").join(STORE.to_string());
    let begin = || {
        let _ = std::fs::remove_dir_all(&slots);
        let holder = holder(dir.path());
        holder.deposit(STORE, &owner(1, 1), &share(id(1, 1))).unwrap();
        holder.retire(STORE, &owner(1, 1), &id(1, 1), &[], 3).unwrap();
    };
    for act in ["tear", "remove", "empty"] {
        begin();
        for claim in ["claim-a", "claim-b"] {
            let path = slots.join(claim);
            match act {
                "tear" => std::fs::write(path, [7; 4096]).unwrap(),
                "remove" => std::fs::remove_file(path).unwrap(),
                _ => std::fs::write(path, "").unwrap(),
            }
        }
        let holder = holder(dir.path());
        assert_eq!(error_kind(holder.load(STORE)), ErrorKind::Corrupt, "{act}");
        assert_eq!(error_kind(holder.claim(STORE, &owner(9, 1), 0)), ErrorKind::Corrupt, "{act}");
        assert_eq!(
            error_kind(holder.deposit(STORE, &owner(1, 1), &share(id(1, 2)))),
            ErrorKind::Corrupt,
            "{act}"
        );
        assert_eq!(
            error_kind(holder.retire(STORE, &owner(1, 1), &id(1, 1), &[], 0)),
            ErrorKind::Corrupt,
            "{act}"
        );
    }
}
