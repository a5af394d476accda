//! A link in a store, a backup, a copy, a cell or a keyholder's directory never leads to a change
//! of another file. SPEC §7, §9.

use std::fs::{create_dir, hard_link, read, remove_file, rename, write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use keyfall::env::System;
use keyfall::quorum::net::{EngineKey, KeyholderDir};

use crate::command_line::Cli;
use crate::support::error_kind;

const VICTIM: &[u8] = b"1234\n";

/// A store with a record, its backup and a file that nobody is to change.
fn world() -> (Cli, String) {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"recording");
    cli.ok(&["backup", "store", "bk"]);
    write(cli.path("victim"), VICTIM).unwrap();
    write(cli.path("said"), "x").unwrap();
    (cli, id)
}

/// The command fails and names the place; nothing that is elsewhere has changed.
fn refuses(cli: &Cli, args: &[&str], place: &str, what: &str) {
    let out = cli.run(args);
    let e = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success(), "{args:?} with {place}: it went well");
    assert!(
        e.contains(place) && e.contains(what) && !e.contains("panicked"),
        "{args:?} with {place}: {e}"
    );
    assert_eq!(read(cli.path("victim")).unwrap(), VICTIM, "{args:?} with {place}");
    assert_eq!(cli.path("victim").metadata().unwrap().len(), VICTIM.len() as u64);
}

/// Puts something in the place of a name while `act` runs.
fn instead(cli: &Cli, place: &str, put: impl FnOnce(&Path), act: impl FnOnce()) {
    let (at, aside) = (cli.path(place), cli.path("aside"));
    let was = at.symlink_metadata().is_ok();
    if was {
        rename(&at, &aside).unwrap();
    }
    put(&at);
    act();
    remove_file(&at).unwrap();
    if was {
        rename(&aside, &at).unwrap();
    }
}

const PUT: [&str; 7] = ["put", "store", "--user", "ada", "--class", "audio", "said"];
const BACKUP: [&str; 3] = ["backup", "store", "bk"];
const FILES: [&str; 5] = ["lock", "synced", "reserve", "index/db", "log/00000001.log"];

#[test]
fn a_link_in_the_place_of_a_file_is_refused_and_what_it_leads_to_stays() {
    let (cli, id) = world();
    for (dir, args) in [("store", &PUT[..]), ("bk", &BACKUP[..])] {
        for name in FILES {
            let place = format!("{dir}/{name}");
            for to in ["victim", "store.cell/slot-a", "nothing"] {
                instead(
                    &cli,
                    &place,
                    |at| symlink(cli.path(to), at).unwrap(),
                    || refuses(&cli, args, &place, "link"),
                );
            }
            instead(
                &cli,
                &place,
                |at| hard_link(cli.path("victim"), at).unwrap(),
                || refuses(&cli, args, &place, "hard link"),
            );
        }
        for name in ["index", "log"] {
            let place = format!("{dir}/{name}");
            let put = |at: &Path| symlink(cli.path("store.cell"), at).unwrap();
            instead(&cli, &place, put, || refuses(&cli, args, &place, "link"));
        }
    }
    for name in [
        "store/log/claim-a",
        "store/log/claim-b",
        "store.cell/lock",
        "store.cell/slot-a",
        "store.cell/claim-b",
    ] {
        let put = |at: &Path| symlink(cli.path("victim"), at).unwrap();
        instead(&cli, name, put, || refuses(&cli, &PUT, name, "link"));
    }
    assert!(!cli.path("nothing").exists() && !cli.path("store.cell/db").exists());
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"recording");
    cli.ok(&PUT);
    cli.ok(&BACKUP);
}

#[test]
fn reading_follows_no_link_either_and_accepts_a_file_with_two_names() {
    let (cli, _) = world();
    for (dir, args) in
        [("store", &["list", "store"][..]), ("bk", &["list", "bk", "--cell", "store.cell"][..])]
    {
        for name in ["lock", "keyfall", "log/00000001.log", "log/claim-a", "log"] {
            let place = format!("{dir}/{name}");
            let to = if name == "log" { "store.cell" } else { "victim" };
            let put = |at: &Path| symlink(cli.path(to), at).unwrap();
            instead(&cli, &place, put, || refuses(&cli, args, &place, "link"));
        }
        for name in ["synced", "reserve"] {
            let put = |at: &Path| symlink(cli.path("victim"), at).unwrap();
            instead(&cli, &format!("{dir}/{name}"), put, || drop(cli.ok(args)));
        }
    }
    assert_eq!(read(cli.path("victim")).unwrap(), VICTIM);
    assert!(
        Command::new("cp")
            .arg("-al")
            .arg(cli.path("store"))
            .arg(cli.path("twin"))
            .status()
            .unwrap()
            .success()
    );
    cli.ok(&["list", "twin", "--cell", "store.cell"]);
    refuses(&cli, &PUT, "store/lock", "hard link");
    std::fs::remove_dir_all(cli.path("twin")).unwrap();
    cli.ok(&PUT);
}

#[test]
fn a_slot_of_a_cell_that_has_another_name_is_not_written() {
    let (cli, id) = world();
    for place in ["bk/lock", "store/synced", "elsewhere"] {
        let put = |at: &Path| hard_link(cli.path("store.cell/slot-a"), at).unwrap();
        let slot = || read(cli.path("store.cell/slot-a")).unwrap();
        let before = slot();
        instead(&cli, place, put, || {
            refuses(&cli, &PUT, "", "hard link");
            // A backup reads the cell, and writes to the backup alone.
            if place == "bk/lock" {
                refuses(&cli, &BACKUP, "", "hard link");
            }
            assert_eq!(cli.run(&["get", "store", &id]).stdout, b"recording");
        });
        assert!(slot() == before, "{place}");
    }
    cli.ok(&PUT);
}

#[test]
fn a_store_or_a_cell_that_is_made_follows_no_link_that_lies_in_its_place() {
    let (cli, id) = world();
    let restore = |at: &str| {
        ["restore", "--cell", "store.cell", "--into", at, "bk"].map(str::to_owned).to_vec()
    };
    let add = |at: &str| ["copy", "add", "store", at].map(str::to_owned).to_vec();
    let init = |at: &str| ["init", at, "--accept-remnants"].map(str::to_owned).to_vec();
    type Command<'a> = (&'a str, &'a dyn Fn(&str) -> Vec<String>);
    let commands: [Command<'_>; 3] = [("new", &restore), ("replica", &add), ("other", &init)];
    for (dir, command) in commands {
        for (name, to) in [
            ("lock", "victim"),
            ("reserve", "victim"),
            ("lock", "store.cell/slot-a"),
            ("index", "store.cell"),
            ("log", "store.cell"),
        ] {
            create_dir(cli.path(dir)).unwrap();
            let place = format!("{dir}/{name}");
            symlink(cli.path(to), cli.path(&place)).unwrap();
            let args = command(dir);
            refuses(&cli, &args.iter().map(String::as_str).collect::<Vec<_>>(), &place, "link");
            std::fs::remove_dir_all(cli.path(dir)).unwrap();
            let _ = std::fs::remove_dir_all(cli.path("other.cell"));
        }
    }
    for name in ["lock", "slot-a", "claim-b"] {
        create_dir(cli.path("other.cell")).unwrap();
        let place = format!("other.cell/{name}");
        symlink(cli.path("victim"), cli.path(&place)).unwrap();
        refuses(&cli, &["init", "other", "--accept-remnants"], &place, "link");
        std::fs::remove_dir_all(cli.path("other.cell")).unwrap();
    }
    // The file beside a store that names its cell.
    cli.ok(&["init", "far", "--cell", "keys/far", "--accept-remnants"]);
    let pointer = read(cli.path("far.cell")).unwrap();
    symlink("far.cell", cli.path("near.cell")).unwrap();
    cli.ok(&["backup", "far", "far-bk"]);
    let restore = ["restore", "--cell", "keys/far", "--into", "near", "far-bk"];
    refuses(&cli, &restore, "near.cell", "near.cell");
    assert_eq!(read(cli.path("far.cell")).unwrap(), pointer);
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"recording");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let (cli, _) = world();
    let mkfifo = |at: &Path| assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
    let list = ["list", "bk", "--cell", "store.cell"];
    for (place, args) in [
        ("bk/lock", &list[..]),
        ("bk/keyfall", &list[..]),
        ("bk/log/claim-a", &list[..]),
        ("bk/log/00000001.log", &list[..]),
        ("store.cell/slot-a", &list[..]),
        ("store/lock", &PUT[..]),
        ("store/index/db", &PUT[..]),
        ("store.cell/lock", &PUT[..]),
        ("store.cell/claim-a", &PUT[..]),
    ] {
        instead(&cli, place, mkfifo, || {
            let mut command = Command::new("timeout");
            command
                .arg("60")
                .arg(env!("CARGO_BIN_EXE_keyfall"))
                .args(args)
                .current_dir(cli.dir.path());
            let out = command.output().unwrap();
            let e = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(6), "{place}: {e}");
            assert!(e.contains(place) && e.contains("pipe"), "{place}: {e}");
        });
    }
    cli.ok(&PUT);
}

#[test]
fn a_store_may_be_named_through_links() {
    let (cli, id) = world();
    create_dir(cli.path("below")).unwrap();
    symlink(cli.path("store"), cli.path("below/alias")).unwrap();
    symlink("below", cli.path("to-below")).unwrap();
    symlink("store.cell", cli.path("to-cell")).unwrap();
    symlink("bk", cli.path("to-bk")).unwrap();
    let named = ["to-below/alias", "--cell", "to-cell"];
    assert_eq!(cli.run(&["get", named[0], &id, named[1], named[2]]).stdout, b"recording");
    cli.ok(&["put", named[0], named[1], named[2], "--user", "ada", "--class", "audio", "said"]);
    cli.ok(&["backup", "store", "to-bk"]);
}

#[test]
fn a_lock_that_holds_anything_but_a_process_id_is_not_written_over() {
    let (cli, _) = world();
    for (held, kept) in [
        (&b""[..], false),
        (&b"4194304\n"[..], false),
        (&b"KFSLOT01"[..], true),
        (&[b'1'; 512][..], true),
    ] {
        write(cli.path("store/lock"), held).unwrap();
        cli.ok(&PUT);
        assert_eq!(read(cli.path("store/lock")).unwrap() == held, kept);
    }
}

#[test]
fn a_keyholder_follows_no_link_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (home, victim) = (dir.path().join("kh"), dir.path().join("victim"));
    write(&victim, VICTIM).unwrap();
    drop(KeyholderDir::create(&home, true, &System).unwrap());
    let engine = EngineKey::in_dir(&dir.path().join("cell"), &System).unwrap().id();
    // A file that is to be renamed is a new one.
    symlink(&victim, home.join("engines.part")).unwrap();
    KeyholderDir::allow(&home, engine, None).unwrap();
    assert!(!home.join("engines.part").exists() && !home.join("engines").is_symlink());
    for name in ["lock", "identity", "stores"] {
        let (at, aside) = (home.join(name), dir.path().join("aside"));
        rename(&at, &aside).unwrap();
        symlink(if name == "stores" { dir.path() } else { victim.as_path() }, &at).unwrap();
        let refused = KeyholderDir::open(&home);
        assert!(
            refused.as_ref().is_err_and(|e| e.to_string().contains(at.to_str().unwrap())),
            "{refused:?}"
        );
        assert_eq!(error_kind(refused), keyfall::ErrorKind::Medium);
        remove_file(&at).unwrap();
        rename(&aside, &at).unwrap();
    }
    KeyholderDir::open(&home).unwrap();
    let store = "00".repeat(16);
    symlink(dir.path(), home.join("stores").join(&store)).unwrap();
    let refused = KeyholderDir::allow(&home, engine, Some(&store));
    assert_eq!(error_kind(refused), keyfall::ErrorKind::Medium);
    assert!(!dir.path().join("engine").exists());
    assert_eq!(read(&victim).unwrap(), VICTIM);
}
