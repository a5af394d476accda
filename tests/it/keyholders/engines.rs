//! Which engines a keyholder serves, and with how much. SPEC §15.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::RootCell;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Standing;
use keyfall::quorum::net::{EngineKey, KeyholderDir};

use super::{Keyholder, Place, list, put};
use crate::support::{copy, error_kind, ok, read_record};

/// A keyholder that no engine is allowed to speak to; gives its process, whose standard error can
/// be read, and KEY@ADDRESS.
fn heard(dir: &str) -> (Child, String) {
    ok(&["keyholder", "init", dir, "--accept-remnants"]);
    serving(dir, &[])
}

/// A keyholder that is served with these options; the same of it.
fn serving(dir: &str, options: &[&str]) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_keyfall"))
        .args(["keyholder", "serve", dir, "--listen", "127.0.0.1:0"])
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    (process, line)
}

/// Ends it; gives what it said.
fn said(process: Child) -> String {
    said_with(process, &[])
}

/// Ends it once it has said all of this, or has said nothing for half a minute: it says what it met
/// after the other side has heard of it. Gives what it said.
fn said_with(mut process: Child, wanted: &[&str]) -> String {
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut told = String::new();
    while !wanted.iter().all(|text| told.contains(text)) {
        let Ok(line) = heard.recv_timeout(std::time::Duration::from_secs(30)) else { break };
        told += &format!("{line}\n");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    heard.iter().for_each(|line| told += &format!("{line}\n"));
    told
}

#[test]
fn a_look_works_while_an_engine_has_the_cell_and_another_engine_does_not() {
    let place = Place::new(3, 2, 0);
    let engine = place.open().unwrap();
    let id = put(&engine, "ada");
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
    ok(&["keyholder", "status", &place.at("store")]);
    let other = place.cell();
    let keep = other.load().unwrap().keys[0].id;
    assert_eq!(
        error_kind(other.retire(&keep, keyfall::cell::Durable::assumed_for_a_test())),
        ErrorKind::Locked
    );
    let moved = keyfall::quorum::net::move_member(
        Path::new(&place.at("store.cell")),
        1,
        "127.0.0.1:1",
        false,
        &(Arc::new(System) as SharedEnv),
    );
    assert_eq!(error_kind(moved), ErrorKind::Locked);
    assert_eq!(read_record(&engine, &id).unwrap(), b"ada");
    engine.rekey().unwrap();
    drop(engine);
    // The lock is free, and it never claimed the store.
    let keep = other.load().unwrap().keys[0].id;
    let refused = |other: &keyfall::quorum::QuorumCell| {
        error_kind(other.retire(&keep, keyfall::cell::Durable::assumed_for_a_test()))
    };
    // What the cell keeps went on since this handle read it.
    assert_eq!(refused(&other), ErrorKind::Locked);
    assert_eq!(refused(&place.cell()), ErrorKind::Fenced);
}

#[test]
fn an_engine_has_so_many_stores_with_a_keyholder_and_no_more() {
    let place = Place::new(3, 2, 0);
    let dir = place.keyholders[0].dir.display().to_string();
    let engine = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let config =
        std::fs::read_to_string(Path::new(&place.at("store.cell")).join("quorum.json")).unwrap();
    let members = serde_json::from_str::<keyfall::quorum::Config>(&config).unwrap().keyholders;
    let env: SharedEnv = Arc::new(System);
    // The same engine, for any number of store ids.
    let deposit = |n: u8| {
        let other = place.at(&format!("other{n}.cell"));
        std::fs::create_dir(&other).unwrap();
        copy(&Path::new(&place.at("store.cell")).join("engine.key"), Path::new(&other));
        let cell =
            keyfall::quorum::net::make_cell(Path::new(&other), members.clone(), (3, 1), &env)
                .unwrap();
        let id = keyfall::promise::RootId { epoch: 1, attempt: [n; 16] };
        cell.deposit(
            keyfall::store::StoreId([n; 16]),
            &id,
            &keyfall::crypto::Key::copied_from(&[n; 32]),
        )
    };
    for n in 1..8 {
        deposit(n).unwrap();
    }
    let e = deposit(8).unwrap_err();
    assert!(e.to_string().contains("8 stores") && e.to_string().contains("--stores"), "{e}");
    for keyholder in &place.keyholders {
        ok(&[
            "keyholder",
            "allow",
            &keyholder.dir.display().to_string(),
            engine.trim(),
            "--stores",
            "9",
        ]);
    }
    deposit(9).unwrap();
    deposit(10).unwrap_err();
    // A store can be kept for an engine before there is a share of it; what is no store's id is
    // refused.
    let store = "ab".repeat(16);
    let given = |engine: &str| ok(&["keyholder", "allow", &dir, engine, "--store", &store]);
    assert!(!given(engine.trim()).contains("which was of"));
    assert!(!given(engine.trim()).contains("which was of"));
    let other = ok(&["keyholder", "engine", &place.at("other.cell")]);
    let other = other.trim();
    let refused = KeyholderDir::allow(Path::new(&dir), other.parse().unwrap(), Some("../x"));
    assert_eq!(error_kind(refused), ErrorKind::Invalid);
    let engines = std::fs::read_to_string(Path::new(&dir).join("engines")).unwrap();
    assert!(!engines.contains(other), "nothing was changed");
    let said = given(other);
    assert!(said.contains(&format!("which was of {}", engine.trim())), "{said}");
}

#[test]
fn a_keyholder_is_made_where_it_is_served_for_an_engine() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    let engine = ok(&["keyholder", "engine", &at("cell")]);
    let allow = ["--accept-remnants", "--allow", engine.trim()];
    let (processes, members): (Vec<Child>, Vec<String>) =
        ["kh0", "kh1", "kh2"].iter().map(|dir| serving(&at(dir), &allow)).unzip();
    let (store, cell) = (at("store"), at("cell"));
    let mut args = vec!["init", &store, "--cell", &cell, "--threshold", "2"];
    members.iter().for_each(|member| args.extend(["--keyholder", member.as_str()]));
    let told = ok(&args);
    assert!(!told.contains("does not know"), "{told}");
    for process in processes {
        said(process);
    }
    // It stays the same one: alone, and told of the engine again.
    for options in [&[][..], &allow] {
        let (process, member) = serving(&at("kh0"), options);
        said(process);
        assert_eq!(member.split('@').next(), members[0].split('@').next());
    }
    assert_eq!(std::fs::read_to_string(place.path().join("kh0/engines")).unwrap(), engine);
    // An empty directory may be the place of a disk that is not mounted.
    std::fs::create_dir(place.path().join("empty")).unwrap();
    for (dir, options) in [("empty", &allow[..]), ("none", &[])] {
        let mut args = vec!["keyholder", "serve"];
        let dir = at(dir);
        args.push(&dir);
        args.extend(options);
        let (done, told) = crate::support::run(&args);
        assert!(!done && told.contains("`keyfall keyholder init"), "{told}");
    }
    // So may one above.
    let elsewhere = at("missing/kh");
    let mut args = vec!["keyholder", "serve", &elsewhere];
    args.extend(allow);
    let (done, told) = crate::support::run(&args);
    assert!(!done && told.contains("No such file"), "{told}");
    assert!(!place.path().join("missing").exists());
    assert!(std::fs::read_dir(at("empty")).unwrap().next().is_none());
    assert!(!Path::new(&at("none")).exists());
}

/// It was made in a directory of other files, in a realm for one.
#[test]
fn neither_a_keyholder_nor_a_cell_is_made_among_other_files() {
    let place = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let dir = place.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let (taken, mounted) = (dir("taken"), dir("mounted"));
    std::fs::write(taken.join("notes.txt"), "x").unwrap();
    for verb in ["init", "engine"] {
        let e = Command::new(env!("CARGO_BIN_EXE_keyfall"))
            .args(["keyholder", verb, &taken.display().to_string()])
            .output()
            .unwrap();
        let (code, e) = (e.status.code(), String::from_utf8(e.stderr).unwrap());
        assert_eq!(code, Some(6), "{e}");
        assert!(e.contains("holds notes.txt already; name a directory of its own"), "{e}");
        assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 1, "{verb}");
    }
    // What a making leaves that was cut short is its own.
    let cut = dir("cut");
    for left in
        ["stores", "engines", "engines.0.part", "identity.1.part", "remnants-accepted.2.part"]
    {
        match left {
            "stores" => std::fs::create_dir(cut.join(left)).unwrap(),
            _ => std::fs::write(cut.join(left), "").unwrap(),
        }
    }
    ok(&["keyholder", "init", &cut.display().to_string(), "--accept-remnants"]);
    assert!(KeyholderDir::open(&cut).is_ok());
    let cell = dir("cell");
    std::fs::write(cell.join("engine.3.part"), "").unwrap();
    ok(&["keyholder", "engine", &cell.display().to_string()]);
    // What a file system has at its root is nobody's.
    std::fs::create_dir(mounted.join("lost+found")).unwrap();
    ok(&["keyholder", "init", &mounted.display().to_string(), "--accept-remnants"]);
}

/// Each read the list, and wrote it with its own line.
#[test]
fn engines_that_are_allowed_at_once_are_all_allowed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("kh");
    let text = dir.display().to_string();
    ok(&["keyholder", "init", &text, "--accept-remnants"]);
    let of = |n: usize| {
        let cell = place.path().join(format!("cell{n}"));
        EngineKey::in_dir(&cell, &System).unwrap().id()
    };
    let all: Vec<_> = (0..8).map(of).collect();
    for _ in 0..10 {
        std::fs::write(dir.join("engines"), "").unwrap();
        std::thread::scope(|scope| {
            for (n, engine) in all.iter().enumerate() {
                let dir = &dir;
                scope.spawn(move || match n % 2 {
                    0 => drop(KeyholderDir::allow(dir, *engine, None).unwrap()),
                    _ => KeyholderDir::limit(dir, *engine, 1).unwrap(),
                });
            }
        });
        let listed = std::fs::read_to_string(dir.join("engines")).unwrap();
        assert_eq!(listed.lines().count(), all.len(), "{listed}");
        assert_eq!(listed.matches(" stores 1").count(), all.len() / 2, "{listed}");
    }
}

#[test]
fn init_says_which_keyholders_do_not_know_the_engine() {
    let place = Place::new(3, 2, 0);
    let engine = ok(&["keyholder", "engine", &place.at("new.cell")]);
    let (process, stranger) = heard(&place.at("strange"));
    let mut knows: Vec<Keyholder> = (0..3)
        .map(|n| Keyholder::make(Path::new(&place.at(&format!("new{n}"))), engine.trim()))
        .collect();
    let members: Vec<String> = knows.iter_mut().map(Keyholder::restart).collect();
    let store = place.at("new");
    let init = |members: &[&String]| {
        let mut args = vec!["init", &store, "--threshold", "2"];
        members.iter().for_each(|member| args.extend(["--keyholder", member.as_str()]));
        crate::support::run(&args)
    };
    // All of them are needed: one that is lost costs all data.
    let all = place.at("all");
    let there = ok(&["keyholder", "engine", &place.at("all.cell")]);
    (0..3).for_each(|n| {
        ok(&["keyholder", "allow", &place.at(&format!("new{n}")), there.trim()]);
    });
    let mut args = vec!["init", &all, "--threshold", "3", "--json"];
    members.iter().for_each(|member| args.extend(["--keyholder", member.as_str()]));
    let told = ok(&args);
    assert!(told.contains("\"keyholders_may_be_lost\": 0"), "{told}");
    assert!(told.contains("all 3 keyholders are needed"), "{told}");
    // Three must take the root key.
    let (done, text) = init(&[&members[0], &members[1], &stranger]);
    assert!(!done && text.contains("does not know this engine; run there"), "{text}");
    let (done, text) = init(&[&members[0], &members[1], &members[2], &stranger]);
    assert!(done && text.contains("does not know this engine; run there"), "{text}");
    assert!(text.contains("it has no share yet"), "{text}");
    assert!(!text.contains("keyholders are needed"), "{text}");
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("refuses") && !told.contains("HandshakeFailure"), "{told}");
    // So does the making of a realm, of each shard.
    let home = place.at("home");
    for n in 0..2 {
        let engine = ok(&["keyholder", "engine", &format!("{home}/shard-00{n}.cell")]);
        (0..3).for_each(|n| {
            ok(&["keyholder", "allow", &place.at(&format!("new{n}")), engine.trim()]);
        });
    }
    let mut args = vec!["realm", "init", &home, "--shards", "2", "--threshold", "2"];
    let all = members.iter().chain([&stranger]);
    all.for_each(|member| args.extend(["--keyholder", member.as_str()]));
    let (done, text) = crate::support::run(&args);
    assert!(done && text.matches("it has no share yet").count() == 2, "{text}");
    for n in 0..2 {
        assert!(text.contains(&format!("keyfall tend {home}/shard-00{n}")), "{text}");
    }
    ok(&["keyholder", "allow", &place.at("strange"), engine.trim()]);
    ok(&["tend", &store]);
    assert_eq!(ok(&["keyholder", "status", &store]).matches("whole").count(), 4);
    drop(said(process));
}

/// It looked like a network fault, and a replacement by such a keyholder was accepted.
#[test]
fn a_keyholder_that_does_not_know_the_engine_is_distinguished_from_another_keyholder_on_both_sides()
{
    let place = Place::new(3, 2, 0);
    let (store, engine) =
        (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    let (process, line) = heard(&place.at("strange"));
    let before = list(&place);
    let (done, text) =
        crate::support::run(&["keyholder", "replace", &store, "--number", "3", "--with", &line]);
    let way = format!(
        "does not know this engine; run there `keyfall keyholder allow DIR {}`",
        engine.trim()
    );
    assert!(!done && text.contains(&way) && !text.contains("HandshakeFailure"), "{text}");
    // Another keyholder than the one that is meant is at the address.
    let other = ok(&["keyholder", "init", &place.at("other"), "--accept-remnants"]);
    let there = format!("{}@{}", other.trim(), line.split_once('@').unwrap().1);
    let (done, text) =
        crate::support::run(&["keyholder", "replace", &store, "--number", "3", "--with", &there]);
    assert!(
        !done && text.contains("is another than was pinned") && !text.contains("allow DIR"),
        "{text}"
    );
    assert_eq!(list(&place), before, "nothing was changed");
    let way = format!("run `keyfall keyholder allow {} {}`", place.at("strange"), engine.trim());
    let told = said_with(process, &[&way, "another key is pinned"]);
    assert!(told.contains(&way), "{told}");
    assert!(told.contains("another key is pinned") && !told.contains("HandshakeFailure"), "{told}");
}

/// Those that stayed were told to have been away.
#[test]
fn keyholders_with_a_share_of_a_failed_attempt_are_reported_as_such() {
    let mut place = Place::new(5, 3, 1);
    let store = place.at("store");
    put(&place.open().unwrap(), "ada");
    let away = [3, 4];
    away.iter().for_each(|n| place.keyholders[*n].kill());
    let (done, text) = crate::support::run(&["erase", &store, "--user", "ada", "--yes"]);
    assert!(!done && text.contains("nothing was changed"), "{text}");
    let told = ok(&["keyholder", "status", &store]);
    assert_eq!(told.matches("of an attempt that failed").count(), 3, "{told}");
    assert!(!told.contains("it was away") && told.contains("held by 3 of 5"), "{told}");
    away.iter().for_each(|n| drop(place.keyholders[*n].start()));
    ok(&["tend", &store]);
    assert_eq!(ok(&["keyholder", "status", &store]).matches("whole").count(), 5);
}

/// A directory that holds the list alone, as a copy of it for safety: whatever looked there made
/// another key, and whoever then allowed that shut the store's own machine out.
#[test]
fn where_the_engines_key_is_missing_no_other_is_made() {
    let place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    let (store, other) = (place.at("store"), place.at("other.cell"));
    std::fs::create_dir(&other).unwrap();
    let copied = |name: &str| {
        std::fs::copy(format!("{store}.cell/{name}"), format!("{other}/{name}")).unwrap();
    };
    copied("quorum.json");
    for verb in [&["status"][..], &["list"], &["keyholder", "status"], &["tend"]] {
        let (done, text) = crate::support::run(&[verb, &[&store, "--cell", &other]].concat());
        assert!(!done && text.contains("engine.key is missing: copy it here"), "{verb:?}: {text}");
    }
    assert!(!Path::new(&other).join("engine.key").exists());
    copied("engine.key");
    ok(&["list", &store, "--cell", &other]);
    // A new one is made where it is asked for.
    std::fs::remove_file(format!("{other}/engine.key")).unwrap();
    assert!(ok(&["keyholder", "engine", &other]).starts_with("keyfall-engine-1:"));
    assert_eq!(read_record(&place.open().unwrap(), &id).unwrap(), b"ada");
}
