//! Keyholders that are killed, silent or away while engines go on. SPEC §15.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyfall::certificate::{Grade, Retired, Trust};
use keyfall::engine::{Keeper, OpenAs};
use keyfall::promise::{Level, Retirement};
use keyfall::quorum::Standing;
use keyfall::store::SledStore;
use keyfall::{Engine, Erase, ErrorKind, Options, RecordId, Scope};

use super::{Place, certified, certified_elsewhere, grade, put};
use crate::support::{copy, error_kind, ok, read_record, user};

#[test]
fn five_keyholders_hold_the_key_and_an_erase_is_final_with_their_signatures() {
    let place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let (ada, ben) = (put(&engine, "ada"), put(&engine, "ben"));
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(engine.promise().level, Level::L3);
    let Retired::Stated(said) = &certificate.facts.outcome.retired else {
        panic!("keyholders say it")
    };
    assert!(said.len() >= 4, "{} statements", said.len());
    assert_eq!(error_kind(read_record(&engine, &ada)), ErrorKind::Erased);
    assert_eq!(read_record(&engine, &ben).unwrap(), b"ben");
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert_eq!(told.matches("whole").count(), 5, "{told}");
    // Nothing in a keyholder's directory, or in the cell's, is the root key or opens the store
    // alone.
    let status = ok(&["status", &place.at("store")]);
    assert!(status.contains("keyholders"), "{status}");
    // A statement of a keyholder that is not of this store, of another epoch, or twice, is refused.
    let engine = place.open().unwrap();
    let trust = Trust::in_log(engine.log().key().unwrap());
    let forged = |change: &dyn Fn(&mut Vec<keyfall::certificate::Said>)| {
        let mut facts = certificate.facts.clone();
        if let Retired::Stated(said) = &mut facts.outcome.retired {
            change(said);
        }
        error_kind(facts.judge().map(|judged| judged.grade))
    };
    assert_eq!(forged(&|said| said[1] = said[0].clone()), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].epoch -= 1), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].epoch += 1), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].attempt = "00".repeat(16)), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].time += 1), ErrorKind::Corrupt);
    let other = Place::new(3, 2, 0);
    let foreign = certified_elsewhere(&other);
    assert_eq!(forged(&|said| said[0] = foreign.clone()), ErrorKind::Corrupt);
    let mut fewer = certificate.facts.clone();
    if let Retired::Stated(said) = &mut fewer.outcome.retired {
        said.truncate(3);
    }
    assert_eq!(
        fewer.judge().unwrap().grade,
        Grade::Pending,
        "three of five say too little when one may lie"
    );
    certificate.verify(&trust).unwrap();
}

#[test]
fn with_two_killed_an_erase_goes_through_and_is_final_when_they_are_back() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine = place.open().unwrap();
    let ids: Vec<RecordId> = (0..4).map(|n| put(&engine, &format!("user {n}"))).collect();
    place.keyholders[1].kill();
    place.keyholders[4].kill();
    let done = engine.erase(Erase::new(Scope::user(user("user 0"))).certified("", "")).unwrap();
    let Some(Retirement::Stated { statements, needed }) = &done.retirement else {
        panic!("{done:?}")
    };
    assert_eq!((statements.len(), *needed), (3, 4));
    let pending = done.certificate.unwrap().sign().unwrap();
    assert_eq!(grade(&engine, &pending), Grade::Pending);
    assert!(engine.status().unwrap().unsettled.unwrap().contains("3 of 4 keyholders"));
    assert_eq!(error_kind(read_record(&engine, &ids[0])), ErrorKind::Erased);
    // It goes on: another erase, and a restart, with three of five.
    engine.erase(Scope::user(user("user 1"))).unwrap();
    drop(engine);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &ids[2]).unwrap(), b"user 2");
    place.keyholders[1].start();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    let upgraded = engine.certificates().upgrade(&pending, None).unwrap();
    assert_eq!(grade(&engine, &upgraded), Grade::Final);
    drop(engine);
    // It has its share of the running key too.
    assert!(
        matches!(place.standing()[..], [_, Standing::Whole, _, _, Standing::Away(_)]),
        "{:?}",
        place.standing()
    );
    place.keyholders[4].start();
    ok(&["keyholder", "renew", &place.at("store")]);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    assert_eq!(read_record(&place.open().unwrap(), &ids[3]).unwrap(), b"user 3");
}

#[test]
fn two_killed_and_started_at_any_moment_lose_nothing() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    let rounds = std::env::var("KEYFALL_KEYHOLDER_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(30_u64);
    let ended = Arc::new(AtomicBool::new(false));
    let through = Arc::new(AtomicU64::new(0));
    let (flag, eraser, count) = (Arc::clone(&ended), engine.clone(), Arc::clone(&through));
    let thread = std::thread::spawn(move || {
        let (mut erased, mut failed) = (Vec::new(), 0_u64);
        for n in 0.. {
            if flag.load(Ordering::SeqCst) {
                break;
            }
            let id = put(&eraser, &format!("user {n}"));
            match eraser.erase(Scope::Record(id)) {
                Ok(_) => {
                    erased.push(id);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                // Both of its tries met dead keyholders; nothing was erased, or it is published and
                // said so.
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
                    failed += 1;
                }
            }
        }
        (erased, failed)
    });
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    // While two are away nothing is changed, and on a busy machine that is most of the time.
    let mut made = 0;
    while made < rounds || through.load(Ordering::SeqCst) < rounds / 10 {
        assert!(made < 50 * rounds, "nothing is erased");
        made += 1;
        let (a, b) = (next(5) as usize, next(5) as usize);
        place.keyholders[a].kill();
        std::thread::sleep(Duration::from_millis(next(15)));
        place.keyholders[b].kill();
        std::thread::sleep(Duration::from_millis(next(15)));
        place.keyholders[a].restart();
        if a != b {
            place.keyholders[b].restart();
        }
        std::thread::sleep(Duration::from_millis(20 + next(60)));
    }
    ended.store(true, Ordering::SeqCst);
    let (erased, failed) = thread.join().unwrap();
    println!(
        "{made} rounds: {} erases went through, {failed} said that they did not",
        erased.len()
    );
    drop(engine);
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &stays).unwrap(), b"stays");
    for id in &erased {
        assert_eq!(error_kind(read_record(&engine, id)), ErrorKind::Erased);
    }
    engine.rekey().unwrap();
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
}

#[test]
fn with_three_lost_it_says_so_and_nothing_else_is_damaged() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine = place.open().unwrap();
    let id = put(&engine, "ada");
    for n in [0, 2, 3] {
        place.keyholders[n].kill();
    }
    let e = engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.kind() == ErrorKind::Io && e.to_string().contains("2 of 5 keyholders"), "{e}");
    assert_eq!(
        read_record(&engine, &id).unwrap(),
        b"ada",
        "nothing was erased, and reading goes on"
    );
    drop(engine);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(
        told.contains(
            "root key of epoch 1: held by 2 of 5, 3 are needed, so it cannot be recovered"
        ),
        "{told}"
    );
    let e = place.open().unwrap_err();
    assert!(
        e.to_string().contains("the root key cannot be recovered")
            && e.to_string().contains("3 are needed"),
        "{e}"
    );
    place.keyholders[2].start();
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &id).unwrap(), b"ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(read_record(&engine, &id)), ErrorKind::Erased);
}

#[test]
fn one_that_is_there_and_silent_holds_up_nobody_for_long() {
    let place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    place.keyholders[1].stop(true);
    let began = Instant::now();
    let done = engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(done.retirement.unwrap().is_final());
    // No timed test: only that it did not wait for an answer that never comes.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    place.keyholders[1].stop(false);
    // What it was told meanwhile arrives late, and in order; it says nothing that was not so.
    engine.rekey().unwrap();
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
}

#[test]
fn with_exactly_as_many_as_are_needed_an_erase_changes_nothing_and_status_says_so() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let (ada, stays) = (put(&engine, "ada"), put(&engine, "stays"));
    place.keyholders[3].kill();
    place.keyholders[4].kill();
    let e = engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.kind() == ErrorKind::Io && e.to_string().contains("nothing was changed"), "{e}");
    assert_eq!(read_record(&engine, &ada).unwrap(), b"ada");
    drop(engine);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(
        told.contains(
            "of epoch 1: held by 3 of 5, 3 are needed, none may be lost; nothing is destroyed before more hold it"
        ),
        "{told}"
    );
    // The last two come back, and one of the three is lost: four of five are well, and everything
    // is there.
    place.keyholders[3].start();
    place.keyholders[4].start();
    let engine = place.open().unwrap();
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(error_kind(read_record(&engine, &ada)), ErrorKind::Erased);
    drop(engine);
    place.keyholders[2].kill();
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(told.contains("held by 4 of 5, 3 are needed, 1 may be lost\n"), "{told}");
    assert_eq!(read_record(&place.open().unwrap(), &stays).unwrap(), b"stays");
}

/// A command that only looks said that everything is final and clean while keyholders had not
/// signed.
#[test]
fn whatever_looks_while_keyholders_are_away_says_pending() {
    for (liars, margin, away, stated) in [(2, 1, &[4][..], "4 of 5"), (1, 0, &[3, 4][..], "3 of 4")]
    {
        let mut place = Place::with_margin(5, 3, liars, margin);
        let engine = place.open().unwrap();
        put(&engine, "ada");
        put(&engine, "ben");
        drop(engine);
        away.iter().for_each(|n| place.keyholders[*n].kill());
        let store = place.at("store");
        assert!(ok(&["erase", &store, "--user", "ada", "--yes"]).contains("pending"));
        let options = Options::new().keeper(Keeper::ByHand).open_as(OpenAs::ReadOnly);
        let blobs = SledStore::look(Path::new(&store)).unwrap();
        let look = Engine::open(Arc::new(blobs), Arc::new(place.cell()), options).unwrap();
        let status = look.status().unwrap();
        assert!(!status.finality.is_final() && status.unsettled.is_some(), "{status:?}");
        assert_eq!(look.report(&user("ben")).unwrap().finality, status.finality);
        assert!(!look.audit(&[], &mut |_| {}).unwrap().is_clean());
        assert!(look.ownership().owes().unwrap(), "the owner is to ask again");
        drop(look);
        let told = ok(&["status", &store, "--json"]);
        assert!(told.contains("\"final\": false") && told.contains("\"settled\": false"), "{told}");
        assert!(ok(&["status", &store]).contains(stated));
        assert!(ok(&["report", &store, "--user", "ben"]).contains("pending"));
        let told = ok(&["audit", &store]);
        assert!(told.contains("pending") && !told.contains("clean: "), "{told}");
        away.iter().for_each(|n| drop(place.keyholders[*n].start()));
        ok(&["tend", &store]);
        let told: serde_json::Value =
            serde_json::from_str(&ok(&["status", &store, "--json"])).unwrap();
        assert_eq!(
            (&told["final"], &told["settled"]),
            (&true.into(), &true.into()),
            "it asked again: {told}"
        );
        assert!(ok(&["audit", &store]).contains("clean: "));
    }
}

/// While one keyholder of five was away, an engine that only looks never learned that its root key is
/// gone, and gave what an erase had taken that was final.
#[test]
fn what_only_looks_ends_with_its_root_key_though_a_keyholder_is_away() {
    let mut place = Place::with_margin(5, 3, 1, 1);
    let engine = place.open().unwrap();
    let id = put(&engine, "ada");
    drop(engine);
    copy(Path::new(&place.at("store")), Path::new(&place.at("elsewhere")));
    place.keyholders[4].kill();
    let options = Options::new().keeper(Keeper::ByHand).open_as(OpenAs::ReadOnly);
    let blobs = SledStore::look(Path::new(&place.at("elsewhere"))).unwrap();
    let look = Engine::open(Arc::new(blobs), Arc::new(place.cell()), options).unwrap();
    let open = || read_record(&look, &id);
    assert_eq!(open().unwrap(), b"ada");
    let engine = place.open().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(error_kind(open()), ErrorKind::Mismatch);
}

/// What was final waited again for keyholders that went away since, though nothing was erased.
#[test]
fn what_was_final_stays_final_though_keyholders_go_away() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
    assert_eq!(grade(&engine, &certified(&engine, "ben")), Grade::Final);
    drop(engine);
    place.keyholders[1].kill();
    place.keyholders[4].kill();
    for _ in 0..2 {
        let engine = place.open().unwrap();
        engine.run_due(&mut |_| {}).unwrap();
        assert!(engine.status().unwrap().finality.is_final());
        // Nor does an erase that fails change that.
        put(&engine, "carl");
        assert_eq!(error_kind(engine.erase(Scope::user(user("carl")))), ErrorKind::Io);
        drop(engine);
        let told = ok(&["status", &place.at("store"), "--json"]);
        assert!(told.contains("\"final\": true"), "{told}");
    }
    place.keyholders[4].start();
    let engine = place.open().unwrap();
    assert!(engine.erase(Scope::user(user("carl"))).unwrap().finality.is_final());
}
