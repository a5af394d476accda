//! The system says EIO or ENOSPC at each write, sync, truncation and read of a command in turn
//! (strace injects it): a clear error, and nothing lost, or none at all. Needs strace; without it
//! the test says that it was skipped. SPEC §6, §9.

use std::path::Path;
use std::process::{Command, Output};

use keyfall::{ErrorKind, Query, RecordId};

use crate::command_line::Cli;
use crate::support::{copy, has_strace, open_files, read_record};

/// What a command was: which records it must leave, and which one it may take or add.
struct Expected<'a> {
    stay: &'a [(RecordId, Vec<u8>)],
    gone: &'a RecordId,
    taken: Option<&'a RecordId>,
    added: Option<&'a [u8]>,
}

impl Expected<'_> {
    fn check(&self, dir: &Path, done: bool, what: &str) {
        let engine = open_files(&dir.join("store"), &dir.join("store.cell")).unwrap();
        for (id, content) in self.stay {
            assert_eq!(
                &read_record(&engine, id).unwrap_or_else(|e| panic!("{what}: lost: {e}")),
                content,
                "{what}"
            );
        }
        assert_eq!(
            read_record(&engine, self.gone).unwrap_err().kind(),
            ErrorKind::Erased,
            "{what}: back"
        );
        let mut new = engine.list(&Query::default()).unwrap().records;
        new.retain(|r| self.stay.iter().all(|(id, _)| *id != r.id));
        if let Some(taken) = self.taken {
            let erased = read_record(&engine, taken).is_err_and(|e| e.kind() == ErrorKind::Erased);
            assert!(erased || !done, "{what}: an acknowledged erase is not erased");
            new.retain(|r| r.id != *taken);
        }
        if let Some(added) = self.added {
            assert!(
                new.len() <= 1 && (new.len() == 1 || !done),
                "{what}: an acknowledged put is not there"
            );
            for record in &new {
                assert_eq!(read_record(&engine, &record.id).unwrap(), added, "{what}");
            }
            new.clear();
        }
        assert!(new.is_empty(), "{what}: something else is there");
        assert_eq!(engine.status().unwrap().unsettled, None, "{what}");
    }
}

/// An error is one line, without debug output, and says what to do.
fn one_line_with_remedy(said: &str, what: &str) {
    let remedies = [
        "see `dmesg`, and call again",
        "free some space and call again, nothing acknowledged is lost",
        "restore the store from a copy",
        "accept",
        "name another place",
        // The index takes writes on a thread of its own, and says no more of one that failed.
        "open the store again",
    ];
    assert!(!said.contains("Os {"), "{what}: debug output: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{what}: {said}");
    assert!(remedies.iter().any(|remedy| said.contains(remedy)), "{what}: no remedy: {said}");
}

/// System calls, and the error that each returns.
const CALLS: [(&str, &str); 8] = [
    ("fdatasync", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("fsync", "EIO"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("fallocate", "EIO"),
    ("pread64", "EIO"),
];

/// Runs a command in a directory while strace injects an error; whether it was injected.
fn with_error(dir: &Path, arguments: &[&str], inject: &str) -> (Output, bool) {
    let call = inject.split(':').next().unwrap();
    let trace = dir.join("trace");
    let out = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={call}"), "-o"])
        .arg(&trace)
        .args(["-e", &format!("inject={inject}")])
        .arg(env!("CARGO_BIN_EXE_keyfall"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    (out, std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)"))
}

#[test]
fn the_system_fails_at_each_call() {
    if !has_strace() {
        return;
    }
    let cli = Cli::new();
    let mut ids = Vec::new();
    for (n, name) in ["ada", "ben", "chloe", "dora"].into_iter().enumerate() {
        let content = vec![n as u8 + 1; 30_000 * (n + 1)];
        ids.push((cli.put(name, "audio", &content).parse::<RecordId>().unwrap(), content));
    }
    cli.ok(&["erase", "store", "--user", "dora", "--yes"]);
    let gone = ids.pop().unwrap().0;
    std::fs::write(cli.path("new.wav"), [9; 50_000]).unwrap();
    let stay = ids.split_off(1);
    let first = ids.pop().unwrap();
    let all: Vec<_> = stay.iter().cloned().chain([first.clone()]).collect();
    let put = ["put", "store", "--user", "ada", "--class", "audio", "new.wav"];
    let erase = ["erase", "store", "--user", "ada", "--yes"];
    let commands: [(&[&str], Expected<'_>); 3] = [
        (&put, Expected { stay: &all, gone: &gone, taken: None, added: Some(&[9; 50_000]) }),
        (&erase, Expected { stay: &stay, gone: &gone, taken: Some(&first.0), added: None }),
        (&["discard", "store"], Expected { stay: &all, gone: &gone, taken: None, added: None }),
    ];
    let (mut runs, mut failed, mut kept_late) = (0, 0, 0);
    for (arguments, expected) in &commands {
        for (call, error) in CALLS {
            for nth in 1.. {
                let dir = tempfile::tempdir().unwrap();
                for part in ["store", "store.cell"] {
                    copy(&cli.path(part), &dir.path().join(part));
                }
                std::fs::copy(cli.path("new.wav"), dir.path().join("new.wav")).unwrap();
                let (out, injected) =
                    with_error(dir.path(), arguments, &format!("{call}:error={error}:when={nth}"));
                let what = format!("{} with {error} at {call} {nth}", arguments[0]);
                let said = String::from_utf8_lossy(&out.stderr).into_owned();
                if !injected {
                    assert!(out.status.success(), "{what}: {said}");
                    break;
                }
                runs += 1;
                if !out.status.success() {
                    failed += 1;
                    assert!(
                        matches!(out.status.code(), Some(1 | 5 | 6 | 127)),
                        "{what}: {:?} {said}",
                        out.status
                    );
                    assert!(!said.contains("panicked"), "{what}: {said}");
                    // 127: the program was not loaded, and these are not its words.
                    if out.status.code() != Some(127) {
                        one_line_with_remedy(&said, &what);
                    }
                }
                expected.check(dir.path(), out.status.success(), &what);
                if !out.status.success() && arguments[0] == "put" {
                    let kept = ids_in(dir.path()) > expected.stay.len();
                    let told =
                        said.contains("the record may be stored: look with `keyfall list store");
                    assert!(told || !kept, "{what}: stored, and not a word of it: {said}");
                    kept_late += usize::from(kept);
                }
            }
        }
    }
    println!("{runs} calls failed in turn, {failed} commands with them");
    assert!(runs > 60 && failed > 30 && kept_late > 0, "{runs} {failed} {kept_late}");
}

/// How many records a store has.
fn ids_in(dir: &Path) -> usize {
    let engine = open_files(&dir.join("store"), &dir.join("store.cell")).unwrap();
    engine.list(&Query::default()).unwrap().records.len()
}
