//! What a backup says of itself. SPEC §8.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, Geometry, Keeper, check_restored, restore};
use keyfall::env::System;
use keyfall::store::{Cursor, MemoryStore, SledStore, Store};
use keyfall::testing::{Defect, listed, payload_names};
use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope};

use crate::command_line::{Cli, json};
use crate::support::{World, bytes, error_kind, user};

#[test]
fn a_backup_that_an_erase_interrupts_counts_all_that_it_copied() {
    let world = World::new(1, Geometry::default());
    world.put("ada", Class::audio(), b"goes");
    for n in 0..60 {
        world.put(&format!("user {n}"), Class::audio(), &bytes(n, 200_000));
    }
    let backup = MemoryStore::new();
    let (go, begin) = mpsc::channel();
    let mut seen = Vec::new();
    let engine = world.engine();
    let done = std::thread::scope(|threads| {
        threads.spawn(move || {
            begin.recv().unwrap();
            engine.erase(Scope::user(user("ada"))).unwrap();
        });
        engine.backup(&backup, &mut |n| {
            if seen.is_empty() {
                go.send(()).unwrap();
                // Long enough for the erase to be there and wait for this walk.
                std::thread::sleep(Duration::from_millis(300));
            }
            seen.push(n);
        })
    })
    .unwrap();
    assert!(seen.is_sorted(), "it does not begin again from nothing: {seen:?}");
    assert_eq!(done.blobs, backup.usage().unwrap().blobs);
    assert!(done.bytes > 60 * 200_000, "{done:?}");
    assert_eq!(done.head, Some(engine.head()));
}

/// A restore from one copy copies its segments as they are: what was damaged there was found by
/// whoever read the record, after the copy was gone.
#[test]
fn what_was_restored_is_read_back_and_compared() {
    let world = World::new(2, Geometry::default());
    let engine = world.engine();
    world.put("ada", Class::audio(), &bytes(1, 300_000));
    world.put("ada", Class::action(), b"short");
    let backup: Arc<dyn Store> = Arc::new(MemoryStore::new());
    engine.backup(&*backup, &mut |_| {}).unwrap();
    // The same, with one bit of a segment changed.
    let damaged = payload_names(engine).unwrap()[1];
    let worse: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for name in listed(&*backup, 100).unwrap() {
        let mut blob = backup.get(&name).unwrap().unwrap();
        blob[99] ^= u8::from(name == damaged);
        worse.put(&[(name, blob)]).unwrap();
    }
    worse.commit(&[], None, &backup.head().unwrap().unwrap()).unwrap();

    let restored = |copies: &[Arc<dyn Store>]| {
        let built: Arc<dyn Store> = Arc::new(MemoryStore::new());
        restore(&*world.cell, copies, &*built, &mut |_| {}).unwrap();
        (check_restored(&*world.cell, &built, &mut |_| {}).unwrap(), built)
    };
    let (checked, _) = restored(&[Arc::clone(&worse)]);
    assert_eq!((checked.records, checked.lacking, checked.missing), (1, 1, vec![damaged]));
    let (checked, built) = restored(&[worse, backup]);
    assert!(checked.is_whole() && checked.records == 2, "{checked:?}");
    assert_eq!(checked.blobs, built.usage().unwrap().blobs);
    engine.erase(Scope::user(user("ada"))).unwrap();
    let old = check_restored(&*world.cell, &built, &mut |_| {});
    assert_eq!(error_kind(old), ErrorKind::Changed);
}

/// It restored the state that it had begun with, whose root key was destroyed when it was done, and
/// advised to bring that one back.
#[test]
fn a_restore_goes_on_with_what_an_erase_made_of_its_copy_meanwhile() {
    let world = World::new(3, Geometry::default());
    let engine = world.engine();
    for n in 0..20 {
        world.put(&format!("user {n}"), Class::audio(), &bytes(n, 200_000));
    }
    engine.copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    let built: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut erases = 0;
    let mut meanwhile = |_| {
        if erases < 3 {
            engine.erase(Scope::user(user(&format!("user {erases}")))).unwrap();
            erases += 1;
        }
    };
    let copies = [world.place("replica") as Arc<dyn Store>];
    let done = restore(&*world.cell, &copies, &*built, &mut meanwhile).unwrap();
    assert_eq!((erases, done.head), (3, engine.head()));
    let checked = check_restored(&*world.cell, &built, &mut |_| {}).unwrap();
    assert!(checked.is_whole() && checked.records == 17, "{checked:?}");
    // While that is of a live epoch it is nothing to be written over.
    world.put("ada", Class::action(), b"later");
    let e = error_kind(restore(&*world.cell, &copies, &*built, &mut |_| {}));
    assert_eq!(e, ErrorKind::Exists);
    engine.erase(Scope::user(user("ada"))).unwrap();
    restore(&*world.cell, &copies, &*built, &mut |_| {}).unwrap();
}

#[test]
fn a_restore_tells_what_it_read_back() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", &bytes(1, 300_000));
    cli.put("ada", "action", b"short");
    cli.ok(&["backup", "store", "bk"]);
    let restore = ["restore", "--cell", "store.cell", "--into"];
    let told = cli.ok(&[&restore[..], &["drill", "bk"]].concat());
    assert!(told.contains("read back: 2 records, each as it was put, by its digest"), "{told}");
    assert_eq!(cli.run(&["get", "drill", "--cell", "store.cell", &id]).stdout, bytes(1, 300_000));
    let told = json(&cli.ok(&[&restore[..], &["other", "bk", "--json"]].concat()));
    assert_eq!(told["read_back"]["records"], 2);
    let told = cli.ok(&[&restore[..], &["fast", "bk", "--unverified", "--json"]].concat());
    assert!(json(&told)["read_back"].is_null());

    // In the middle of the payload.
    let log = cli.path("bk/log/00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let sealed = bytes.len() / 2;
    bytes[sealed] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let out = cli.run(&[&restore[..], &["new", "bk", "--adopt"]].concat());
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("damaged "), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("1 of what was restored") && said.contains("not taken over"), "{said}");
    // What it says is so: the rest can be read, and the store is still the owner.
    assert!(cli.ok(&["list", "new", "--cell", "store.cell"]).contains("action"));
    cli.put("ada", "action", b"one more");
}

/// Sealed bytes that changed do not open; that other bytes open shows by the digest alone.
#[test]
fn a_record_that_reads_as_other_bytes_is_neither_exported_nor_restored_in_silence() {
    let cli = Cli::new();
    let good = cli.put("ada", "action", b"as it was put");
    let options = Options::new().keeper(Keeper::ByHand).defect(Some(Defect::WrongDigest));
    let store = Arc::new(SledStore::open(&cli.path("store")).unwrap());
    let cell = Arc::new(FileCell::open(&cli.path("store.cell"), Arc::new(System)).unwrap());
    let engine = Engine::open(store, cell, options).unwrap();
    for len in [20_000, 300_000] {
        engine.put(Put::new(user("ben"), Class::audio()), &bytes(2, len)[..]).unwrap();
    }
    engine.close().unwrap();
    cli.ok(&["export", "store", "--user", "ada", "of-ada"]);
    let e = cli.fails(5, &["export", "store", "--user", "ben", "of-ben"]);
    assert!(e.contains("is read with another digest than it was put with"), "{e}");
    assert!(!cli.path("of-ben/report.json").exists(), "what looks like a whole export");
    cli.ok(&["backup", "store", "bk"]);
    let restore = ["restore", "--cell", "store.cell", "--into", "new", "bk", "--adopt"];
    let out = cli.run(&restore);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("2 of what was restored") && said.contains("not taken over"), "{said}");
    assert_eq!(cli.run(&["get", "store", &good]).stdout, b"as it was put");
}

/// A damaged backup was told to lack commits, one of another store likewise, and an audit of that
/// called it clean.
#[test]
fn a_backup_that_is_damaged_or_of_another_store_is_reported_as_such() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    cli.ok(&["check", "store", "bk"]);
    cli.ok(&["init", "other", "--accept-remnants"]);
    for command in ["check", "audit"] {
        let e = cli.fails(6, &[command, "store", "other"]);
        assert!(e.contains("other holds another store"), "{e}");
    }
    let log = cli.path("bk/log/00000001.log");
    let whole = std::fs::read(&log).unwrap();
    let mut headless = whole.clone();
    headless[..100].fill(0);
    for damaged in [&headless[..], b"", &whole[..whole.len() - 100]] {
        std::fs::write(&log, damaged).unwrap();
        for command in ["check", "audit"] {
            let e = cli.fails(5, &[command, "store", "bk"]);
            assert!(e.contains("damaged") && !e.contains("up to date"), "{e}");
        }
    }
    std::fs::write(&log, whole).unwrap();
    cli.ok(&["check", "store", "bk"]);
}

/// `kill -9` left a store without a head; the next try was refused, since there was a store.
#[test]
fn a_restore_that_was_cut_short_goes_on() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"recording");
    cli.ok(&["backup", "store", "bk"]);
    {
        let (from, into) = (
            SledStore::look(&cli.path("bk")).unwrap(),
            SledStore::create(&cli.path("new")).unwrap(),
        );
        let (names, next) = from.names(Cursor::default(), 10_000).unwrap();
        assert!(next.is_none());
        for name in names {
            let blob = from.get(&name).unwrap().unwrap();
            into.put(&[(name, blob)]).unwrap();
        }
    }
    for args in [
        &["list", "new", "--cell", "store.cell"][..],
        &["create", "new", "--user", "ben", "--cell", "store.cell"],
    ] {
        let told = cli.fails(5, args);
        assert!(told.contains("cut short") && told.contains("run it again"), "{told}");
        assert!(
            told.contains("`keyfall restore --cell store.cell --into new --adopt COPY...`"),
            "{told}"
        );
    }
    // Its cell is not beside it, and nobody is sent to look for it there.
    for (code, args) in [
        (5, &["status", "new"][..]),
        (5, &["create", "new", "--user", "ben"]),
        (1, &["init", "new"]),
    ] {
        let told = cli.fails(code, args);
        assert!(
            told.contains("cut short")
                && told.contains("run it again")
                && !told.contains("no root cell"),
            "{told}"
        );
    }
    assert!(!cli.path("new.cell").exists());
    let restore = ["restore", "--cell", "store.cell", "--into", "new", "bk"];
    // One that fails leaves what is there.
    cli.ok(&["init", "other", "--accept-remnants"]);
    cli.ok(&["backup", "other", "foreign"]);
    cli.fails(6, &["restore", "--cell", "store.cell", "--into", "new", "foreign"]);
    cli.ok(&restore);
    assert_eq!(cli.run(&["get", "new", &id, "--cell", "store.cell"]).stdout, b"recording");
    // A store that is whole is not built over.
    cli.fails(1, &restore);
    assert_eq!(cli.run(&["get", "new", &id, "--cell", "store.cell"]).stdout, b"recording");
}

/// Wherever one of the named copies is damaged: what another one has whole is restored whole.
#[test]
fn a_restore_takes_each_blob_from_a_copy_that_gives_it_whole() {
    let cli = Cli::new();
    let said: Vec<Vec<u8>> = (0..4).map(|n| bytes(n, 900).to_vec()).collect();
    for (n, said) in said.iter().enumerate() {
        cli.put(&format!("user {n}"), "transcript", said);
    }
    cli.ok(&["copy", "add", "store", "whole"]);
    let place = cli.path("store/log/00000001.log");
    let journal = std::fs::read(&place).unwrap();
    let end = journal.iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = 0;
    for at in (600..end - 8).step_by(end / 24) {
        let mut changed = journal.clone();
        changed[at..at + 8].iter_mut().for_each(|byte| *byte ^= 0xA5);
        std::fs::write(&place, changed).unwrap();
        let out = cli.run(&["restore", "--cell", "store.cell", "--into", "new", "store", "whole"]);
        if !out.status.success() {
            // What says where the blobs lie is damaged: the place says so, and names the remedy.
            let e = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(e.contains("is damaged at byte") && e.contains("keyfall restore"), "{e}");
            continue;
        }
        let listed = json(&cli.ok(&["list", "new", "--cell", "store.cell", "--json"]));
        let records = listed.as_array().unwrap();
        assert_eq!(records.len(), said.len(), "damaged at {at}");
        for record in records {
            let id = record["id"].as_str().unwrap();
            cli.ok(&["get", "new", "--cell", "store.cell", id, "-o", "got", "--force"]);
            let got = std::fs::read(cli.path("got")).unwrap();
            assert!(said.contains(&got), "damaged at {at}: {id}");
        }
        damaged += 1;
        std::fs::remove_dir_all(cli.path("new")).unwrap();
        let _ = std::fs::remove_file(cli.path("new.cell"));
    }
    assert!(damaged > 5, "{damaged} restored");
}
