//! Making a realm, cut short at every point, and two that make it at once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use keyfall::ErrorKind;

use super::world::{World, name_in, put};
use crate::command_line::{Cli, json};
use crate::support::{Pace, error_kind, has_strace, random};

#[test]
fn an_init_that_fails_at_any_shard_is_finished_by_the_next() {
    for fails_at in 0..4 {
        for commits in [None, Some(0)] {
            let world = World::empty(4);
            match commits {
                // It cannot be opened, or its first head is not taken.
                None => world.away(fails_at, true),
                Some(commits) => {
                    world.set_place(fails_at, super::world::Place::new());
                    world.place(fails_at).store.after(Some(commits));
                }
            }
            let e = world.builder().init().unwrap_err();
            assert!(e.to_string().contains(&format!("shard {fails_at} of the realm")), "{e}");
            assert_eq!(error_kind(world.builder().open()), ErrorKind::Absent);
            // A writer that was killed leaves a part of a file.
            std::fs::write(world.path().join("map/.keyfall-00.part"), "half").unwrap();
            world.away(fails_at, false);
            if commits.is_some() {
                world.place(fails_at).store.after(None);
            }
            let other = World { shards: 5, dir: world.dir, places: world.places };
            assert_eq!(error_kind(other.builder().init()), ErrorKind::Invalid, "of 4, not 5");
            let world = World { shards: 4, ..other };
            let realm = world.builder().init().unwrap();
            assert!(!world.path().join("map/.keyfall-00.part").exists());
            for number in 0..4 {
                put(&realm, &name_in(&realm, number));
            }
            realm.close().unwrap();
            let e = world.builder().init().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Exists);
            assert!(e.to_string().contains("is a realm of 4 shards already; open it"), "{e}");
        }
    }
}

const INIT: [&str; 6] = ["realm", "init", "home", "--shards", "2", "--accept-remnants"];

/// Whether it is whole after an init that may have been cut short, and the next one.
fn check(cli: &Cli, what: &str) {
    let again = cli.run(&INIT);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        again.status.success() || said.contains("is a realm of 2 shards already"),
        "{what}: {said}"
    );
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    for name in ["ada", "ben"] {
        let id = cli.ok(&["put", "home", "--user", name, "--class", "audio", "clip"]);
        assert_eq!(cli.ok(&["get", "home", &id]), "RIFF", "{what}");
    }
    let status = json(&cli.ok(&["realm", "status", "home", "--json"]));
    let users = status["shards"].as_array().unwrap().iter();
    assert_eq!(users.map(|shard| shard["users"].as_u64().unwrap()).sum::<u64>(), 2, "{what}");
}

#[test]
fn killed_while_it_is_made() {
    let (mut cut, mut takes) = (0, Pace(Duration::ZERO));
    for round in 0..25u64 {
        let cli = Cli::empty();
        let began = Instant::now();
        let mut command = cli.command(&INIT);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if round > 0 {
            std::thread::sleep(takes.moment(random(round + 9000)));
            child.kill().unwrap();
        }
        let whole = child.wait().unwrap().success();
        if round == 0 {
            takes = Pace(began.elapsed());
            assert!(whole);
        } else {
            takes.ended(whole);
        }
        cut += u32::from(!whole);
        check(&cli, &format!("round {round}"));
    }
    assert!(cut > 5, "the kills hit: {cut}");
}

/// kill -9 at each call by which something becomes durable, or a name comes to be.
#[test]
fn killed_at_each_call_that_makes_it() {
    if !has_strace() {
        return;
    }
    let mut cut = 0;
    for call in ["fsync", "fdatasync", "rename", "mkdir", "ftruncate", "unlink"] {
        for nth in 1.. {
            let cli = Cli::empty();
            let killed = std::process::Command::new("strace")
                .args(["-f", "-qq", "-e", &format!("trace={call}"), "-o", "/dev/null"])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(env!("CARGO_BIN_EXE_keyfall"))
                .args(INIT)
                .current_dir(cli.dir.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            if killed.success() {
                break;
            }
            cut += 1;
            check(&cli, &format!("{call} {nth}"));
        }
    }
    println!("killed {cut} times");
    assert!(cut > 20, "the kills hit: {cut}");
}

#[test]
fn two_that_make_it_at_once_make_one() {
    for _ in 0..3 {
        let cli = Cli::empty();
        let children: Vec<_> = (0..4)
            .map(|_| {
                let mut command = cli.command(&INIT);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let mut made = 0;
        for child in children {
            let out = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            made += u32::from(out.status.success());
            let loses = said.contains("is in use: by") || said.contains("shards already; open it");
            assert!(out.status.success() || loses, "{said}");
        }
        assert!(made <= 1, "{made} made it");
        check(&cli, "after four at once");
    }
}

/// The file that says what the realm was to be stands in the map once more: with neither a new id
/// nor other places it is written again.
#[test]
fn the_lost_beginning_of_a_realm_is_written_again_from_its_map() {
    let cli = Cli::empty();
    cli.ok(&INIT);
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    let ids = ["ada", "ben"]
        .map(|name| cli.ok(&["put", "home", "--user", name, "--class", "audio", "clip"]));
    let beginning = cli.path("home/realm");
    let before = std::fs::read(&beginning).unwrap();
    std::fs::remove_file(&beginning).unwrap();
    let said = cli.fails(4, &["realm", "status", "home"]);
    assert!(said.contains("its file `realm` is lost; `keyfall realm init home`"), "{said}");
    // No command takes the directory for a store that is gone.
    let lists = ["list", "home", "--user", "ada"];
    let erases = ["erase", "home", "--user", "ada", "--yes"];
    for command in [&lists[..], &["get", "home", &ids[0]], &erases, &["audit", "home"]] {
        let said = cli.fails(4, command);
        assert!(said.contains("`keyfall realm init home`"), "{command:?}: {said}");
    }
    let said = cli.fails(2, &["status", "home"]);
    assert!(said.contains("is a realm, and this command takes one of its shards"), "{said}");
    let other = ["realm", "init", "home", "--shards", "3", "--accept-remnants"];
    let said = cli.fails(2, &other);
    assert!(said.contains("was begun with 2 shards in other places than these 3"), "{said}");
    assert!(!beginning.exists(), "nothing was written");
    cli.ok(&["realm", "init", "home"]);
    assert_eq!(std::fs::read(&beginning).unwrap(), before);
    for id in ids {
        assert_eq!(cli.ok(&["get", "home", &id]), "RIFF");
    }
}

/// Where both files are lost a new realm was begun over the shards of the old one, and left a file
/// behind that sent whoever repeated it in a circle.
#[test]
fn a_realm_that_lost_both_its_files_is_not_begun_over_its_shards() {
    let cli = Cli::empty();
    cli.ok(&INIT);
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    let id = cli.ok(&["put", "home", "--user", "ada", "--class", "audio", "clip"]);
    let files =
        ["home/realm", "home/map"].map(|name| (cli.path(name), cli.path(&format!("{name}.kept"))));
    for (file, kept) in &files {
        std::fs::rename(file, kept).unwrap();
    }
    let said = cli.fails(6, &INIT);
    assert!(said.contains("lost its files `realm` and `map`, put them back from a copy"), "{said}");
    assert!(!files[0].0.exists());
    let _ = std::fs::remove_dir(&files[1].0);
    for (file, kept) in &files {
        std::fs::rename(kept, file).unwrap();
    }
    assert_eq!(cli.ok(&["get", "home", &id]), "RIFF");
}
