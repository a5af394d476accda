//! Two processes over one root cell: one looks into backups, audits and drills while the owner
//! puts, erases and dies. SPEC §6.8.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::command_line::{Cli, json};
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
        Stage {
            store: store.display().to_string(),
            cell: cell.display().to_string(),
            cli,
            _keyholders: None,
        }
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

    /// Looks at a backup until it is told to stop: lists it, audits it, and restores it and lists
    /// that.
    fn onlooker(
        &self,
        backup: &str,
        stop: &Arc<AtomicBool>,
        looks: &Arc<AtomicU64>,
    ) -> std::thread::JoinHandle<()> {
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

/// A look into a backup during an erase once destroyed the root key of the published epoch:
/// everything was lost.
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
        let before = looks.load(Ordering::Relaxed);
        let onlooker = stage.onlooker(&backup, &stop, &looks);

        let (user, content) = (format!("round-{round}"), bytes(round, 900));
        let id = stage.put(&user, &content);
        live.insert(id, (user, content));
        let (victim, (user, _)) = live.iter().nth(round as usize * 7 % live.len()).unwrap();
        let (victim, user) = (victim.clone(), user.clone());
        // It has begun to look.
        let began = Instant::now();
        let few = || looks.load(Ordering::Relaxed) < before + 2;
        while few() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
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
    assert!(
        rounds < 10 || looks.load(Ordering::Relaxed) > rounds,
        "the onlooker saw next to nothing"
    );
}

#[test]
fn a_backup_is_looked_at_while_an_erase_dies_over_a_file_cell() {
    nothing_is_lost(&Stage::with_file_cell(), rounds(12));
}

#[test]
fn a_backup_is_looked_at_while_an_erase_dies_over_keyholders() {
    nothing_is_lost(&Stage::with_keyholders(), rounds(12));
}

/// A command that only read did what was due in a copy of the directory, and ended with that the
/// root key of the store. No mark in the directory tells a copy, for the snapshot of a disk has it
/// too: a command that only reads does nothing that is due, wherever it reads.
#[test]
fn a_command_that_only_reads_does_nothing_that_is_due() {
    let cli = Cli::new();
    let id = cli.put("bob", "audio", b"stays");
    cli.put("ada", "audio", b"goes");
    cli.ok(&["policy", "set", "store", "--class", "action", "--max-age", "1s", "--yes"]);
    cli.put("bob", "action", b"passes a limit");
    cli.ok(&["erase", "store", "--user", "ada", "--in", "1s", "--yes"]);
    cli.ok(&["erase", "store", "--user", "nobody", "--final-within", "1s", "--yes"]);
    crate::support::copy(&cli.path("store"), &cli.path("twin"));
    std::thread::sleep(Duration::from_millis(1100));
    let head = || json(&cli.ok(&["status", "store", "--json"]))["commit"].clone();
    let before = head();
    for store in ["twin", "store"] {
        for look in [
            &["list"][..],
            &["status"],
            &["audit"],
            &["policy", "list"],
            &["get", &id, "-o", &format!("{store}.out")],
        ] {
            let verbs = if look[0] == "policy" { 2 } else { 1 };
            let out = cli.run(
                &[&look[..verbs], &[store], &look[verbs..], &["--cell", "store.cell"]].concat(),
            );
            let told = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.success() && told.contains("something is due"), "{look:?}: {told}");
        }
    }
    assert_eq!(head(), before, "nothing was written");
    let out = cli.run(&["tend", "store", "--json"]);
    assert!(
        out.status.success() && json(&String::from_utf8_lossy(&out.stdout))["planned"] == 1,
        "{out:?}"
    );
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"stays");
}

/// The content of a record went on to a reader of a backup, in another process, after its erase had
/// returned as final.
#[test]
fn a_reader_of_a_backup_in_another_process_ends_with_the_root_key() {
    use std::io::Read;
    let cli = Cli::new();
    let content: Vec<u8> = (0..6_000_000u32).map(|n| (n % 251) as u8).collect();
    let id = cli.put("ada", "audio", &content);
    cli.ok(&["backup", "store", "bk"]);
    let mut reader = Command::new(env!("CARGO_BIN_EXE_keyfall"))
        .args(["get", "bk", &id, "--cell", "store.cell", "-o", "-"])
        .current_dir(cli.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = reader.stdout.take().unwrap();
    let mut read = vec![0; 100_000];
    out.read_exact(&mut read).unwrap();
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let ended = reader.wait_with_output().unwrap();
    // What was on its way: one piece, and what the pipe holds.
    assert!(rest.len() < 400_000, "{} bytes after the erase", rest.len());
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    assert!(
        String::from_utf8_lossy(&ended.stderr).contains("is destroyed: something was erased since"),
        "{ended:?}"
    );
}
