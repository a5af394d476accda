//! Two processes over one root cell: somebody looks into backups, audits and drills while the owner puts, erases and dies.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::command_line::Cli;
use crate::keyholders::Place;
use crate::support::bytes;

/// A store, its cell, and whatever serves them.
struct Stage {
    cli: Cli,
    _keyholders: Option<Place>,
    store: String,
    cell: String,
}

impl Stage {
    fn with_file_cell() -> Self {
        let cli = Cli::new();
        let (store, cell) = (cli.path("store"), cli.path("store.cell"));
        Stage { store: store.display().to_string(), cell: cell.display().to_string(), cli, _keyholders: None }
    }

    fn with_keyholders() -> Self {
        let place = Place::new(3, 2, 0);
        let (store, cell) = (place.at("store"), place.at("store.cell"));
        Stage { cli: Cli::empty(), store, cell, _keyholders: Some(place) }
    }

    fn quietly(&self, args: &[&str]) -> Child {
        self.cli.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn put(&self, user: &str, content: &[u8]) -> String {
        let file = self.cli.path("clip");
        std::fs::write(&file, content).unwrap();
        self.cli.ok(&["put", &self.store, "--user", user, "--class", "audio", "clip"])
    }

    /// Looks at a backup until it is told to stop: lists it, audits it, and restores it and lists that.
    fn onlooker(&self, backup: &str, stop: &Arc<AtomicBool>, looks: &Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
        let (cell, backup) = (self.cell.clone(), backup.to_owned());
        let drill = self.cli.path("drill").display().to_string();
        let (stop, looks) = (Arc::clone(stop), Arc::clone(looks));
        std::thread::spawn(move || {
            let run = |args: &[&str]| {
                let done = Command::new(env!("CARGO_BIN_EXE_keyfall"))
                    .args(args)
                    .args(["--cell", &cell])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
                looks.fetch_add(u64::from(done.success()), Ordering::Relaxed);
            };
            while !stop.load(Ordering::Relaxed) {
                run(&["list", &backup]);
                run(&["audit", &backup]);
                let _ = std::fs::remove_dir_all(&drill);
                run(&["restore", "--into", &drill, &backup]);
                run(&["list", &drill]);
                run(&["status", &drill]);
            }
        })
    }
}

fn rounds(default: u64) -> u64 {
    std::env::var("KEYFALL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A backup that was looked at while an erase was on its way took the root key of the published epoch with it: everything was lost.
fn nothing_is_lost(stage: &Stage, rounds: u64) {
    let mut live: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    for n in 0..4 {
        let user = format!("user-{n}");
        live.insert(stage.put(&user, &bytes(n, 700)), (user, bytes(n, 700)));
    }
    let (mut typical, mut cut) = (Duration::from_millis(60), 0);
    let looks = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        let backup = stage.cli.path(&format!("backup-{}", round % 2)).display().to_string();
        let _ = std::fs::remove_dir_all(&backup);
        stage.cli.ok(&["backup", &stage.store, "--cell", &stage.cell, &backup]);
        let stop = Arc::new(AtomicBool::new(false));
        let onlooker = stage.onlooker(&backup, &stop, &looks);

        let (user, content) = (format!("round-{round}"), bytes(round, 900));
        let id = stage.put(&user, &content);
        live.insert(id, (user, content));
        let (victim, (user, _)) = live.iter().nth(round as usize * 7 % live.len()).unwrap();
        let (victim, user) = (victim.clone(), user.clone());
        let began = Instant::now();
        let mut erase = stage.quietly(&["erase", &stage.store, "--user", &user, "--yes"]);
        if round % 5 != 0 {
            let random = u64::from_le_bytes(bytes(round, 8).try_into().unwrap()) % 1000;
            std::thread::sleep(typical.mul_f64(random as f64 / 1000.0 * 1.2));
            erase.kill().unwrap();
        }
        let done = erase.wait().unwrap().success();
        if round % 5 == 0 {
            assert!(done, "round {round}: nobody disturbed this erase, and it failed");
            typical = began.elapsed();
        }
        cut += u64::from(!done);
        // The onlooker meets the crash before the owner is back.
        std::thread::sleep(Duration::from_millis(if done { 0 } else { 30 }));
        let again = stage.cli.run(&["get", &stage.store, &victim]);
        if again.status.code() == Some(3) {
            live.remove(&victim);
        } else {
            assert!(!done, "round {round}: an acknowledged erase is not erased");
        }
        stop.store(true, Ordering::Relaxed);
        onlooker.join().unwrap();
        for (id, (_, content)) in &live {
            let out = stage.cli.run(&["get", &stage.store, id]);
            assert!(
                out.status.success() && out.stdout == *content,
                "round {round}: LOST: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
        while live.len() > 6 {
            let (id, (user, _)) = live.pop_first().unwrap();
            stage.cli.ok(&["erase", &stage.store, "--user", &user, "--yes"]);
            stage.cli.fails(3, &["get", &stage.store, &id]);
        }
    }
    println!("{rounds} rounds, {cut} erases cut, {} looks", looks.load(Ordering::Relaxed));
    assert!(rounds < 10 || looks.load(Ordering::Relaxed) > rounds, "the onlooker saw next to nothing");
}

#[test]
fn a_backup_is_looked_at_while_an_erase_dies_over_a_file_cell() {
    nothing_is_lost(&Stage::with_file_cell(), rounds(12));
}

#[test]
fn a_backup_is_looked_at_while_an_erase_dies_over_keyholders() {
    nothing_is_lost(&Stage::with_keyholders(), rounds(12));
}

/// A command that only read did what was due in a copy of the directory, and ended with that the root key of the store.
#[test]
fn a_look_into_a_copy_of_the_directory_does_nothing_that_is_due_there() {
    let cli = Cli::new();
    let id = cli.put("bob", "audio", b"stays");
    cli.put("ada", "audio", b"goes");
    cli.ok(&["erase", "store", "--user", "ada", "--in", "1s", "--yes"]);
    crate::support::copy(&cli.path("store"), &cli.path("twin"));
    std::thread::sleep(Duration::from_millis(1100));
    for look in [&["list", "twin"][..], &["status", "twin"], &["audit", "twin"], &["get", "twin", &id, "-o", "out"]] {
        let out = cli.run(&[look, &["--cell", "store.cell"]].concat());
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && told.contains("left undone"), "{look:?}: {told}");
    }
    let out = cli.run(&["list", "store", "--json"]);
    assert!(out.status.success() && !String::from_utf8_lossy(&out.stdout).contains("\"ada\""));
    assert!(String::from_utf8_lossy(&out.stderr).contains("\"planned\":1"), "{out:?}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"stays");
    // A store that was moved goes on where it is.
    std::fs::rename(cli.path("store"), cli.path("moved")).unwrap();
    cli.ok(&["erase", "moved", "--user", "bob", "--in", "1s", "--yes", "--cell", "store.cell"]);
    std::thread::sleep(Duration::from_millis(1100));
    let out = cli.run(&["list", "moved", "--cell", "store.cell"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("1 planned"), "{out:?}");
}
