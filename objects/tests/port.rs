//! The port: outcomes are settled, liars are refused, adapters keep the contract.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]
use std::sync::Arc;

use keyfall_objects::{
    Created, FailureKind, Faults, FaultyObjects, MemoryObjects, Objects, Outcome, Patience, create,
    patiently, probe, race,
};

fn attempt(n: u8) -> Vec<u8> {
    vec![n; 100]
}

fn quick() -> Patience {
    Patience::of_tries(200)
}

/// The contract of the port, on any adapter.
fn keeps_the_contract(objects: &dyn Objects) {
    let here = |created| matches!(created, Created::Here { .. });
    assert!(objects.list("c", "", 10).unwrap().is_empty());
    assert_eq!(objects.get("c/1").unwrap(), None);
    assert_eq!(objects.get_range("c/1", 0, 64).unwrap(), None);
    assert_eq!(objects.head("c/1").unwrap(), None);
    objects.delete("c/1").unwrap();
    for n in [3u8, 1, 2] {
        assert!(here(objects.create(&format!("c/{n}"), &attempt(n)).unwrap()));
    }
    assert!(here(objects.create("d/1", b"").unwrap()));
    assert_eq!(objects.create("c/2", &attempt(9)).unwrap(), Created::Exists);
    assert_eq!(objects.get("c/2").unwrap(), Some(attempt(2)), "it is not overwritten");
    assert_eq!(objects.get("d/1").unwrap(), Some(Vec::new()));
    assert_eq!(objects.get_range("c/2", 90, 64).unwrap(), Some(vec![2; 10]));
    assert_eq!(objects.get_range("c/2", 100, 64).unwrap(), Some(Vec::new()));
    assert_eq!(objects.get_range("c/2", 500, 64).unwrap(), Some(Vec::new()));
    assert_eq!(objects.get_range("c/7", 500, 64).unwrap(), None);
    assert_eq!(objects.head("c/2").unwrap(), Some(100));
    let names = |folder: &str, after: &str, limit| -> Vec<String> {
        objects.list(folder, after, limit).unwrap().into_iter().map(|o| o.name).collect()
    };
    assert_eq!(names("c", "", 10), ["c/1", "c/2", "c/3"]);
    assert_eq!(names("c", "c/1", 10), ["c/2", "c/3"]);
    assert_eq!(names("c", "c/1", 1), ["c/2"]);
    assert_eq!(objects.list("c", "c/2", 10).unwrap()[0].size, 100);
    objects.delete("c/2").unwrap();
    assert_eq!(objects.get("c/2").unwrap(), None);
    assert!(here(objects.create("c/2", &attempt(8)).unwrap()), "a deleted name is free");
    let probed = probe(objects, "0123456789abcdef", &quick()).unwrap();
    assert_eq!(probed.versioned, objects.keeps_deleted());
    race(objects, "fedcba9876543210", 8, &quick()).unwrap();
    assert!(names("probe", "", 10).is_empty(), "a probe is removed");
}

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(&MemoryObjects::new());
}

/// It reads as "not there" and its name is taken: without a word it was asked for again for a minute.
#[cfg(feature = "cloud")]
#[test]
fn what_is_no_object_and_has_its_name_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let objects =
        keyfall_objects::cloud::CloudObjects::at(&format!("file://{}", dir.path().display()))
            .unwrap();
    create(&objects, "c/1", &attempt(1), &quick()).unwrap();
    std::fs::create_dir(dir.path().join("c/2")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("c/3")).unwrap();
    for (name, what) in [("c/2", "a directory"), ("c/3", "a link to nothing")] {
        let e = create(&objects, name, &attempt(2), &Patience::of_tries(2)).unwrap_err();
        let path = dir.path().join(name);
        let remedy = format!("{what} has the name of an object; move {} away", path.display());
        assert!(e.message.ends_with(&remedy), "{}", e.message);
        assert_eq!(e.kind, FailureKind::Refused);
    }
    let taken = create(&objects, "c/1", &attempt(2), &quick()).unwrap();
    assert_eq!(taken, Outcome::Taken);
}

#[cfg(feature = "cloud")]
#[test]
fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/objects", dir.path().display());
    keeps_the_contract(&keyfall_objects::cloud::CloudObjects::at(&url).unwrap());
}

/// KEYFALL_S3 names a bucket, the environment how it is reached.
#[cfg(feature = "cloud")]
#[test]
fn servers_keep_the_contract() {
    for place in ["KEYFALL_S3", "KEYFALL_AZURE"].iter().filter_map(|name| std::env::var(name).ok())
    {
        let url = format!("{place}/contract-{}", std::process::id());
        keeps_the_contract(&keyfall_objects::cloud::CloudObjects::at(&url).unwrap());
    }
}

/// KEYFALL_LIAR names a bucket of a server that ignores conditions; or of one that refuses each
/// create, as KEYFALL_LIAR_SAYS tells.
#[cfg(feature = "cloud")]
#[test]
fn a_server_that_lies_is_refused() {
    let Ok(place) = std::env::var("KEYFALL_LIAR") else { return };
    let url = format!("{place}/liar-{}", std::process::id());
    let objects = keyfall_objects::cloud::CloudObjects::at(&url).unwrap();
    let e = probe(&objects, "0123456789abcdef", &quick()).unwrap_err();
    // And not for a bucket that is not there, or a key that is wrong.
    let (kind, says) = match std::env::var("KEYFALL_LIAR_SAYS") {
        Ok(says) => (FailureKind::Refused, says),
        Err(_) => (FailureKind::Unfit, "a store there would lose data".to_owned()),
    };
    assert_eq!(e.kind, kind, "{e}");
    assert!(e.to_string().contains(&says), "{e}");
    eprintln!("{e}");
}

/// KEYFALL_POSTGRES names a database.
#[cfg(feature = "postgres")]
#[test]
fn rows_keep_the_contract() {
    let Ok(url) = std::env::var("KEYFALL_POSTGRES") else { return };
    let and = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{and}store=contract-{}", std::process::id());
    let objects = keyfall_objects::postgres::PostgresObjects::at(&url).unwrap();
    keeps_the_contract(&objects);
    let (one, mut long) = (objects.list("c", "", 10).unwrap(), vec![7; 3 << 20]);
    long[0] = 1;
    objects.create("s/long", &long).unwrap();
    assert_eq!(objects.get("s/long").unwrap().unwrap(), long);
    assert_eq!(objects.get_range("s/long", 2 << 20, u64::MAX).unwrap().unwrap().len(), 1 << 20);
    let other = url.replace("store=contract", "store=other");
    let other = keyfall_objects::postgres::PostgresObjects::at(&other).unwrap();
    assert!(other.list("c", "", 10).unwrap().is_empty(), "a table holds many stores");
    assert_eq!(one.len(), 3);
}

#[cfg(feature = "cloud")]
#[test]
fn places_that_are_none_are_refused() {
    for url in ["s3://", "nfs://there/x", "s3://user@bucket/x", "s3://bucket/x?y", "s3://b--x-s3/"]
    {
        let Err(e) = keyfall_objects::cloud::CloudObjects::at(url) else { panic!("{url}") };
        assert_eq!(e.kind, FailureKind::Refused, "{url}: {e}");
    }
}

/// A timeout after success was once easily taken for failure, and the attempt made again under
/// another name, or for success, while another writer had won.
#[test]
fn an_unknown_outcome_is_settled_by_a_look() {
    for seed in 0..3000 {
        let place = Arc::new(MemoryObjects::new());
        let net = FaultyObjects::new(Arc::clone(&place), Faults::of_a_network(), seed);
        let (one, two) = (net.clone(), net.clone());
        let first = create(&one, "c/1", &attempt(1), &quick()).unwrap();
        let second = create(&two, "c/1", &attempt(2), &quick()).unwrap();
        net.land();
        let there = place.get("c/1").unwrap().unwrap();
        for (outcome, bytes) in [(first, attempt(1)), (second, attempt(2))] {
            let here = matches!(outcome, Outcome::Here { .. });
            assert_eq!(here, there == bytes, "seed {seed}: {outcome:?}");
        }
    }
}

/// Out of tries, an attempt is unknown, though nothing is there yet.
#[test]
fn not_there_is_no_answer() {
    let place = Arc::new(MemoryObjects::new());
    let net = FaultyObjects::new(Arc::clone(&place), Faults { late: 100, ..Faults::default() }, 1);
    let e = create(&net, "c/1", &attempt(1), &Patience::of_tries(2)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown);
    net.land();
    assert_eq!(place.get("c/1").unwrap(), Some(attempt(1)), "it landed later");
}

#[test]
fn a_conflict_without_an_object_is_tried_again() {
    let place = Arc::new(MemoryObjects::new());
    let faults = Faults { conflict: 50, ..Faults::default() };
    for seed in 0..100 {
        let net = FaultyObjects::new(Arc::clone(&place), faults, seed);
        let name = format!("c/{seed}");
        let outcome = create(&net, &name, &attempt(1), &quick()).unwrap();
        assert_eq!(outcome, Outcome::Here { versioned: false });
    }
}

#[test]
fn liars_are_refused() {
    let lies = [
        (Faults { overwrites: true, ..Faults::default() }, "overwrites"),
        (Faults { stale_lists: 100, ..Faults::default() }, "list"),
        (Faults { stale_reads: true, ..Faults::default() }, "stale reads"),
    ];
    for (faults, says) in lies {
        let liar = FaultyObjects::new(Arc::new(MemoryObjects::new()), faults, 1);
        let e = probe(&liar, "0123456789abcdef", &quick()).unwrap_err();
        assert_eq!(e.kind, FailureKind::Unfit);
        assert!(e.message.contains(says), "{e}");
    }
    let liar = FaultyObjects::new(
        Arc::new(MemoryObjects::new()),
        Faults { overwrites: true, ..Faults::default() },
        1,
    );
    assert!(race(&liar, "0123456789abcdef", 8, &quick()).unwrap_err().message.contains("of 8"));
}

#[test]
fn a_bad_network_is_no_liar() {
    for seed in 0..300 {
        let place = Arc::new(MemoryObjects::new());
        let net = FaultyObjects::new(place, Faults::of_a_network(), seed);
        probe(&net, "0123456789abcdef", &quick()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(patiently(&quick(), || net.get("x")).unwrap(), None);
    }
}
