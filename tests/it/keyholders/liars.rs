//! Keyholders that keep what they should destroy, go back, or lie. SPEC §15.

use std::path::Path;
use std::sync::Arc;

use keyfall::certificate::Grade;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Standing;
use keyfall::store::SledStore;
use keyfall::{Engine, ErrorKind, Options, Scope};

use super::{Keyholder, Place, SLOTS, certified, grade, put, replaced, shares_in};
use crate::support::{copy, error_kind, ok, read_record, user};

/// Has a keyholder's directory tell of a claim that no engine made.
fn lies_about_the_owner(keyholder: &Keyholder, store: keyfall::store::StoreId) {
    let lie = keyfall::cell::Owner { instance: [9; 16], claim: u64::MAX, token: [9; 16] };
    let env: SharedEnv = Arc::new(System);
    let holder = keyfall::testing::holder(&keyholder.dir, 1, &env);
    keyfall::quorum::Keyholder::claim(&holder, store, &lie, u64::MAX).unwrap();
}

#[test]
fn two_that_keep_everything_and_all_the_bytes_of_the_store_open_nothing_erased() {
    let place = Place::new(5, 3, 1);
    let (store, engine) = (place.at("store"), place.open().unwrap());
    let (ada, ben) = (put(&engine, "ada"), put(&engine, "ben"));
    // Two keyholders keep a copy of all that they ever had: here, of their directories before the
    // erase.
    let disloyal = [1, 3];
    let mut kept: Vec<_> =
        disloyal.iter().flat_map(|n| shares_in(&place.keyholders[*n].dir)).collect();
    copy(Path::new(&store), Path::new(&place.at("tape")));
    let old = engine.head().epoch;
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    // What the other three have now, everything is taken too.
    for n in 0..5 {
        kept.extend(shares_in(&place.keyholders[n].dir));
    }
    let of_old = || kept.iter().filter(|share| share.id.epoch == old);
    assert_eq!(of_old().count(), 2, "the loyal ones destroyed theirs");
    assert!(keyfall::testing::key_of(&of_old().collect::<Vec<_>>()).is_none());
    // The positive control: three shares of the epoch that lives give its key.
    let live: Vec<_> = kept.iter().filter(|share| share.id.epoch == old + 1).collect();
    assert!(keyfall::testing::key_of(&live[..3]).is_some());
    assert!(keyfall::testing::key_of(&live[..2]).is_none());
    drop(engine);
    // The store as it was on the tape does not open with the keyholders as they are.
    let taped = SledStore::open(Path::new(&place.at("tape"))).unwrap();
    let e = Engine::open(Arc::new(taped), Arc::new(place.cell()), Options::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &ben).unwrap(), b"ben");
    assert_eq!(error_kind(read_record(&engine, &ada)), ErrorKind::Erased);
}

#[test]
fn one_restored_from_a_backup_of_itself_and_one_that_lies_are_named() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    let backup = place.at("backup");
    copy(&place.keyholders[2].dir, Path::new(&backup));
    put(&engine, "ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    // Restored: it holds a share of the epoch that ended.
    place.keyholders[2].kill();
    std::fs::remove_dir_all(&place.keyholders[2].dir).unwrap();
    copy(Path::new(&backup), &place.keyholders[2].dir);
    place.keyholders[2].start();
    assert_eq!(place.standing()[2], Standing::Behind);
    // Four others suffice; it is told again to destroy what it should not have.
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);

    // One whose share is wrong: it is found out, named, and does no harm.
    place.keyholders[0].kill();
    for store in std::fs::read_dir(place.keyholders[0].dir.join("stores")).unwrap() {
        for slot in SLOTS {
            let path = store.as_ref().unwrap().path().join(slot);
            let mut bytes = std::fs::read(&path).unwrap();
            if keyfall::testing::share_in(&bytes).is_some() {
                bytes[50] ^= 1;
                let sum = sha2::Digest::finalize(sha2::Digest::chain_update(
                    <sha2::Sha256 as sha2::Digest>::new(),
                    &bytes[..480],
                ));
                bytes[480..512].copy_from_slice(&sum);
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    place.keyholders[0].start();
    assert_eq!(place.standing()[0], Standing::Lies);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
}

#[test]
fn neither_a_liar_nor_a_replaced_keyholder_decides_the_owner_of_the_store() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let store = place.open().unwrap().id();
    place.keyholders[0].kill();
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    place.keyholders[1].kill();
    for n in [0, 1] {
        lies_about_the_owner(&place.keyholders[n], store);
        place.keyholders[n].start();
    }
    let engine = place.open().unwrap();
    assert_eq!(engine.read_only(), None);
    put(&engine, "ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    ok(&[
        "put",
        &place.at("store"),
        "--user",
        "ben",
        "--class",
        "audio",
        "--take-over",
        "Cargo.toml",
    ]);
    assert_eq!(place.open().unwrap().read_only(), None);
}
