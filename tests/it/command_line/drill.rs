//! A drill: what it says, what it leaves, and that the living store knows nothing of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use keyfall::engine::CopyMode;
use keyfall::{Builder, Class, Engine, Put};

use super::{Cli, json};
use crate::support::{Pace, bytes, files, random, user};

fn left(cli: &Cli) -> usize {
    std::fs::read_dir(cli.path("scratch")).map_or(0, Iterator::count)
}

const DRILL: [&str; 5] = ["drill", "--cell", "store.cell", "--scratch", "scratch"];

fn drill<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&DRILL[..], more].concat()
}

#[test]
fn a_drill_says_how_long_a_restore_takes_and_how_old_it_is() {
    let cli = Cli::new();
    for n in 0..40 {
        cli.put(&format!("user-{}", n % 7), "audio", &bytes(n, 3000));
    }
    cli.ok(&["backup", "store", "backup"]);
    cli.ok(&["backup", "store", "other"]);
    let file = cli.path("drill.prom");
    let metrics = ["--metrics-file", "drill.prom"];
    let from = ["--from", "backup", "--copy", "other"];
    let told = cli.ok(&drill(&[&from[..], &metrics].concat()));
    assert!(told.contains("\nRTO ") && told.contains("\nRPO "), "{told}");
    assert!(told.contains("40 records as they were put"), "{told}");
    let prom = std::fs::read_to_string(&file).unwrap();
    for metric in ["last_restore_drill_timestamp", "restore_drill_rto", "restore_drill_rpo"] {
        let line = format!("\nkeyfall_{metric}_seconds ");
        let (_, value) = prom.split_once(&line).unwrap_or_else(|| panic!("{metric}: {prom}"));
        assert!(value.lines().next().unwrap().parse::<f64>().unwrap() >= 0.0, "{prom}");
    }
    // Some at random: as many as are asked for, or as there are.
    for (asked, opened) in [("0", 0), ("1", 1), ("25", 25), ("40", 40), ("1000", 40)] {
        let told = json(&cli.ok(&drill(&["--from", "backup", "--records", asked, "--json"])));
        assert_eq!(told["records"], opened, "{told}");
        assert_eq!((told["damaged"].as_u64(), told["live"].as_u64()), (Some(0), None));
        let (rto, restoring) = (told["rto_seconds"].as_f64(), told["restore_seconds"].as_f64());
        assert!(rto >= restoring && restoring > Some(0.0), "{told}");
        assert!(told["rpo_seconds"].as_f64() > Some(0.0), "{told}");
        assert!(told["restores_up_to"].as_str().unwrap().ends_with('Z'), "{told}");
    }
    // A copy that is lacking is told by its code, and by no number.
    cli.fails(4, &drill(&["--from", "nowhere"]));
    cli.fails(2, &DRILL);
    assert_eq!(left(&cli), 0);
}

#[test]
fn what_certificates_name_is_erased_in_what_is_restored() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"RIFF....");
    let stays = cli.put("ada", "audio", b"RIFF, too");
    cli.put("ben", "audio", b"RIFF, three");
    cli.ok(&["erase", "store", "--record", &id, "--yes", "-o", "one.erased"]);
    cli.ok(&["erase", "store", "--user", "ben", "--yes", "-o", "ben.erased"]);
    cli.ok(&["backup", "store", "backup"]);
    let both = ["--from", "backup", "--certificate", "one.erased", "--certificate", "ben.erased"];
    let told = cli.ok(&drill(&both));
    assert!(told.contains("2 certificates tried: what 2 of them name is erased"), "{told}");
    let told = json(&cli.ok(&drill(&[&both[..], &["--records", "1", "--json"]].concat())));
    assert_eq!((&told["certificates"], &told["certificates_denied"]), (&2.into(), &json("[]")));

    // One that names a record that lives, and one of another store.
    let text = std::fs::read_to_string(cli.path("one.erased")).unwrap();
    std::fs::write(cli.path("false.erased"), text.replace(&id, &stays)).unwrap();
    let e = cli.fails(5, &drill(&["--from", "backup", "--certificate", "false.erased"]));
    assert!(e.contains("false.erased: the record can be opened"), "{e}");
    let other = Cli::new();
    let id = other.put("eve", "audio", b"RIFF....");
    other.ok(&["erase", "store", "--record", &id, "--yes", "-o", "eve.erased"]);
    std::fs::copy(other.path("eve.erased"), cli.path("eve.erased")).unwrap();
    let metrics = ["--metrics-file", "drill.prom"];
    let denied = ["--from", "backup", "--certificate", "eve.erased"];
    let e = cli.fails(5, &drill(&[&denied[..], &metrics].concat()));
    assert!(e.contains("eve.erased: it is of another store"), "{e}");
    assert!(!cli.path("drill.prom").exists(), "that was no success");
    std::fs::write(cli.path("text"), "hello").unwrap();
    cli.fails(5, &drill(&["--from", "backup", "--certificate", "text"]));
    assert_eq!(left(&cli), 0);
}

/// The copies that the head lists are the living store's: a drill had them open, and tried every
/// key on them, while the service that they belong to might start.
#[test]
fn a_drill_opens_no_copy_that_was_not_named() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"RIFF....");
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "backup"]);
    std::fs::rename(cli.path("replica"), cli.path("away")).unwrap();
    // What stands in its place would be told of.
    cli.ok(&["init", "replica", "--cell", "elsewhere", "--accept-remnants"]);
    cli.ok(&drill(&["--from", "backup"]));
    cli.ok(&drill(&["--from", "backup", "--records", "1"]));
}

fn put(engine: &Engine, name: &str, n: u64) {
    engine.put(Put::new(user(name), Class::audio()), &bytes(n, 900)[..]).unwrap();
}

/// Production goes on in this process meanwhile; drills are killed at random moments.
#[test]
fn the_living_store_knows_nothing_of_a_drill_whenever_that_ends() {
    let cli = Cli::new();
    for n in 0..30 {
        cli.put("ada", "audio", &bytes(n, 40_000));
    }
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "backup"]);
    let builder = Builder::at(cli.path("store")).accept_remnants();
    let engine = builder.open().unwrap();
    assert_eq!(engine.copies().list()[0].mode, CopyMode::InStep);
    let began = Instant::now();
    cli.ok(&drill(&["--from", "backup"]));
    let mut typical = Pace(began.elapsed());
    let (mut cut, mut remains) = (0, 0);
    for round in 0.. {
        if round >= 24 && cut > 8 && remains > 0 {
            break;
        }
        assert!(round < 240, "{cut} were cut short, {remains} left something");
        let all = ["store.cell", "store", "replica", "backup"];
        let before = all.map(|place| files(&cli.path(place)));
        let mut run = cli.command(&drill(&["--from", "backup"]));
        let mut run = run.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(typical.moment(random(round)));
        let _ = run.kill();
        let whole = run.wait().unwrap().success();
        typical.ended(whole);
        cut += u32::from(!whole);
        remains += left(&cli);
        let after = all.map(|place| files(&cli.path(place)));
        for ((place, before), after) in all.iter().zip(before).zip(after) {
            // Locks have a file, which says which process has them.
            let other = |(path, bytes): (&PathBuf, &Vec<u8>)| after.get(path) != Some(bytes);
            let differ: Vec<_> = before.iter().filter(|it| other(*it)).map(|it| it.0).collect();
            assert!(differ.is_empty(), "round {round}: {differ:?} of {place} were changed");
            assert_eq!(before.len(), after.len(), "round {round}: {place}");
        }
        put(&engine, "ada", round);
    }
    // Others at the same time are no remains.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..3 {
                    cli.ok(&drill(&["--from", "backup"]));
                }
            });
        }
    });
    assert_eq!(left(&cli), 0, "the next one removes what is left");
    assert!(engine.erase(keyfall::Scope::user(user("ada"))).unwrap().finality.is_final());
    assert_eq!(engine.read_only(), None);
    engine.close().unwrap();
    let owner = Builder::at(cli.path("store")).wait_for_lock(Duration::from_secs(5)).open();
    put(&owner.unwrap(), "ben", 0);
}

#[test]
fn a_drill_makes_nothing_in_a_store_or_a_cell() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"RIFF....");
    cli.ok(&["backup", "store", "backup"]);
    for place in ["store.cell", "store", "backup", "store.cell/in"] {
        let before = files(&cli.path("store.cell"));
        let e = cli.fails(6, &["drill", "--cell", "store.cell", "--scratch", place, "backup"]);
        assert!(e.contains("lies inside"), "{e}");
        assert_eq!(files(&cli.path("store.cell")), before);
        assert!(!cli.path("store.cell/in").exists());
    }
    // What only looks like remains is nobody's to remove.
    let dirs = ["keyfall-drill-0123456789abcdef", "keyfall-drill-x", "keyfall-drill-7"];
    for dir in dirs {
        std::fs::create_dir_all(cli.path("scratch").join(dir)).unwrap();
        std::fs::write(cli.path("scratch").join(dir).join("mine"), "x").unwrap();
    }
    cli.ok(&drill(&["backup"]));
    for dir in dirs {
        assert!(cli.path("scratch").join(dir).join("mine").exists(), "{dir}");
    }
}
