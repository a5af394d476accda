//! Stores at every kind of place; and starts that are refused, which leave nothing.
//!
//! `KEYFALL_S3` and `KEYFALL_POSTGRES` name servers, as for the tests of the engine
//! (`.ci/run server-places`); without them a directory of objects stands for all.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::kit::Service;
use super::tls::text;

/// Places for new stores: a directory of objects, and one on each server of the environment.
pub(super) fn places(dir: &Path) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let new = format!("service-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut all = vec![format!("file://{}", dir.join("objects").display())];
    all.extend(std::env::var("KEYFALL_S3").ok().map(|place| format!("{place}/{new}")));
    all.extend(std::env::var("KEYFALL_POSTGRES").ok().map(|place| {
        let and = if place.contains('?') { '&' } else { '?' };
        format!("{place}{and}store={new}")
    }));
    all
}

#[test]
fn a_store_at_a_url_is_made_killed_and_opened_again() {
    let places = places(tempfile::tempdir().unwrap().path());
    for store in &places {
        let dir = tempfile::tempdir().unwrap();
        let cell = dir.path().join("keys/assistant.cell");
        let more = ["--cell", text(&cell), "--single-machine"];
        let mut service = Service::at(dir.path(), store, &more);
        let ready = service.ask("GET", "/readyz").send();
        assert_eq!(ready.status, 200, "{store}: {}", ready.text());
        let metrics = service.admin("GET", "/metrics").send().text();
        let is_here = metrics.contains("keyfall_disk_free_bytes{place=\"store\"}");
        assert_eq!(is_here, store.starts_with("file://"), "{store}");
        let ada = service.user("ada");
        let long = vec![7; 9 << 20];
        let (kept, gone) = (service.put(&ada, "audio", &long), service.put(&ada, "audio", b"gone"));
        let erase = format!("{{\"scope\":{{\"record\":\"{gone}\"}}}}");
        assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200, "{store}");
        let last = service.put(&ada, "transcript", b"wake me at six");
        service.signal("-KILL");
        service.child.wait().unwrap();
        drop(service);

        let mut service = Service::at(dir.path(), store, &more);
        let read = |id: &str| service.admin("GET", &format!("/v1/records/{id}")).send();
        assert!(read(&kept).body == long, "{store}");
        assert_eq!(read(&last).body, b"wake me at six", "{store}");
        assert_eq!(read(&gone).status, 410, "{store}");
        let said = service.admin("GET", "/v1/status").send().json();
        assert_eq!(said["final"], true, "{store}: {said}");
        service.signal("-TERM");
        assert!(service.child.wait().unwrap().success(), "{store}: {}", service.log());
        // Beside the cell, for nothing lies beside a URL.
        assert!(dir.path().join("keys/assistant.cell.service/answers").is_dir());
    }
}

/// A backup and a copy in step of a store in a directory may lie at a URL.
#[test]
fn copies_and_backups_may_lie_at_urls() {
    let there = tempfile::tempdir().unwrap();
    for (n, copy) in places(there.path()).iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let backup = format!("file://{}", dir.path().join("backup").display());
        let builder = keyfall::Builder::at(dir.path().join("a.db")).accept_remnants();
        let engine = builder.open_or_create().unwrap();
        engine.copies().add(copy, keyfall::engine::CopyMode::InStep, &mut |_| {}).unwrap();
        engine.close().unwrap();
        let service = Service::over(dir.path(), &["--backup", &backup]);
        let ada = service.user("ada");
        service.put(&ada, "audio", b"RIFF....");
        let made = service.admin("POST", "/v1/backups").send();
        assert_eq!(made.status, 200, "place {n}: {}", made.text());
        let said = service.admin("GET", "/v1/status").send().json();
        assert_eq!(said["copies"][0]["error"], serde_json::Value::Null, "place {n}: {said}");
        assert_eq!(service.ask("GET", "/readyz").send().status, 200);
    }
}

/// Everything in a directory.
fn listed(dir: &Path) -> BTreeSet<String> {
    let found = Command::new("find").arg(".").current_dir(dir).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Starts the program in a directory, and gives the line in which it says why it ends. The directory
/// has nothing in it then that was not there.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let before = listed(dir);
    let ran = Command::new(env!("CARGO_BIN_EXE_keyfalld"))
        .envs([("KEYFALL_LISTEN", "127.0.0.1:0"), ("KEYFALL_LOG", "off")])
        .env("KEYFALL_ADMIN_TOKEN_FILE", "token")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(!ran.status.success(), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "", "{arguments:?}");
    let left: Vec<String> = listed(dir).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{arguments:?} leaves {left:?}: {said}");
    said
}

#[test]
fn a_configuration_that_is_refused_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let objects = format!("file://{}/deep/objects", dir.display());
    std::fs::write(dir.join("wrong.toml"), "store = \"a.db\"\nsingle_machines = true\n").unwrap();
    let url = ["--store", &objects, "--cell", "keys/cell"];
    let with = |more: &[&'static str]| [&url[..], more].concat();
    let cases: &[(Vec<&str>, &str)] = &[
        (vec!["--config", "wrong.toml"], "single_machines"),
        (vec!["--store", "s4://bucket/a", "--cell", "cell"], "no place of a store"),
        (vec!["--store", &objects, "--single-machine"], "--cell"),
        (with(&[]), "--single-machine"),
        (vec!["--store", "a.db", "--single-machine"], "single_machine"),
        (vec!["--store", "a.db", "--standby"], "standby"),
        (vec!["--store", "a.db", "--beat", "2s"], "standby"),
        (with(&["--single-machine", "--standby"]), "keyholders"),
        (with(&["--single-machine", "--state", "keys/cell/state"]), "lies inside keys/cell"),
        (vec!["--store", "a.db", "--state", "a.db/state"], "lies inside a.db"),
        (vec!["--store", "a.db", "--admin-token-file", "a.db.cell/token"], "lies inside a.db.cell"),
        (with(&["--single-machine", "--gone-after", "9s"]), "--standby"),
        (with(&["--single-machine", "--listen", "0.0.0.0:7400"]), "--tls-cert"),
        (vec!["--store", "postgres://ada:secret@host/db", "--cell", "c"], "PGPASSWORD"),
    ];
    for (arguments, wanted) in cases {
        let said = refused(dir, arguments);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn a_start_that_is_refused_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let objects = format!("file://{}/deep/objects", dir.display());
    std::fs::write(dir.join("file"), "no directory").unwrap();
    std::fs::create_dir(dir.join("full")).unwrap();
    std::fs::write(dir.join("full/letter"), "somebody's").unwrap();
    std::fs::write(dir.join("short"), "abc").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let below = format!("file://{}/file/objects", dir.display());
    let alone = ["--single-machine", "--accept-remnants"];
    let with = |store: &'static str, more: &[&'static str]| {
        [&["--store", store, "--accept-remnants"][..], more].concat()
    };
    let at = |url, cell| [&["--store", url, "--cell", cell][..], &alone].concat();
    let inside = format!("{}/deep/objects/cell", dir.display());
    let express = "s3://bucket--x-s3/a";
    let cases: &[(Vec<&str>, &str)] = &[
        // The address.
        ([&with("a.db", &[])[..], &["--listen", &taken]].concat(), "cannot listen"),
        ([&at(&objects, "keys/cell")[..], &["--listen", &taken]].concat(), "cannot listen"),
        // The service's own files.
        (with("a.db", &["--admin-token-file", "short"]), "no token of 20"),
        (with("a.db", &["--admin-token-file", "nowhere/token"]), "nowhere"),
        (with("a.db", &["--state", "file/state"]), "file"),
        // The store.
        (with("full", &[]), "full"),
        (with("file/a.db", &["--state", "state"]), "file/a.db"),
        (at(&below, "keys/cell"), "file"),
        (at(express, "keys/cell"), "Express"),
        (at("postgres://h/d?durable=never", "keys/cell"), "durable"),
        // The cell.
        (at(&objects, &inside), "inside"),
        (at(&objects, "full/file/cell"), "full/file"),
        (with("a.db", &["--cell", "a.db/cell"]), "inside"),
        (with("a.db", &["--cell", "file/cell"]), "file"),
    ];
    std::fs::write(dir.join("full/file"), "no directory").unwrap();
    for (arguments, wanted) in cases {
        let said = refused(dir, arguments);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

/// A file system in memory forgets at power-off: a cell there is refused unless that is accepted.
#[test]
fn a_cell_whose_medium_is_refused_leaves_nothing() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        eprintln!("passed over: no file system in memory at /dev/shm");
        return;
    }
    let memory = tempfile::tempdir_in(memory).unwrap();
    let cell = memory.path().join("deep/cell");
    let dir = tempfile::tempdir().unwrap();
    for store in places(dir.path()).iter().map(String::as_str).chain(["a.db"]) {
        let mut arguments = vec!["--store", store, "--cell", text(&cell)];
        arguments.extend((store != "a.db").then_some("--single-machine"));
        let said = refused(dir.path(), &arguments);
        assert!(said.contains("tmpfs") && said.contains("--accept-remnants"), "{said}");
        assert_eq!(listed(memory.path()).len(), 1, "{store}");
    }
}

/// A service at a place that does not own its cell kept the owner from that, and served what the
/// owner erased.
#[test]
fn a_place_that_does_not_own_its_cell_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (store, cell) = (dir.join("a.db"), dir.join("a.db.cell"));
    let builder = || keyfall::Builder::at(&store).cell_at(&cell).accept_remnants();
    builder().create().unwrap().close().unwrap();
    let restored = keyfall::Builder::at(dir.join("b.db")).cell_at(&cell).accept_remnants();
    restored.restore(&[&store], &mut |_| {}).unwrap();
    let arguments = ["--store", "b.db", "--cell", "a.db.cell", "--accept-remnants"];
    let said = refused(dir, &arguments);
    assert!(said.contains("never owned its root cell"), "{said}");
    builder().open().unwrap().close().unwrap();
}

/// A cell that holds the key of another store stays what it is.
#[test]
fn the_cell_of_another_store_is_refused_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let kept = service.put(&ada, "audio", b"RIFF....");
    drop(service);
    let objects = format!("file://{}/deep/objects", dir.path().display());
    let alone = ["--single-machine", "--accept-remnants"];
    for store in ["b.db", &objects] {
        let mut arguments = vec!["--store", store, "--cell", "a.db.cell"];
        arguments.extend(&alone[usize::from(store == "b.db")..]);
        refused(dir.path(), &arguments);
    }
    let service = Service::over(dir.path(), &[]);
    let read = service.admin("GET", &format!("/v1/records/{kept}")).send();
    assert_eq!(read.body, b"RIFF....");
}

/// Servers that refuse at once: another bucket than there is, another database.
#[test]
fn a_server_that_refuses_leaves_nothing() {
    let s3 = std::env::var("KEYFALL_S3").ok().map(|_| "s3://keyfall-no-such-bucket/a".to_owned());
    let rows = std::env::var("KEYFALL_POSTGRES").ok();
    let rows = rows.map(|place| place.replacen("/keyfall?", "/no-such-database?", 1));
    for store in s3.iter().chain(&rows) {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["--store", store, "--cell", "cell", "--single-machine"];
        refused(dir.path(), &[&arguments[..], &["--accept-remnants"]].concat());
    }
}
