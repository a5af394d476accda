//! A restore that is cut short, however late, is run again; and copies that are repaired. SPEC §6.8, §8.

use std::process::Command;

use super::Cli;
use crate::support::{bytes, has_strace};

#[test]
fn a_restore_that_was_killed_at_any_sync_is_run_again() {
    if !has_strace() {
        return;
    }
    let cli = Cli::new();
    let id = cli.put("ada", "audio", &[7; 200_000]);
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "backup"]);
    let args = ["restore", "--cell", "store.cell", "--into", "new", "replica"];
    let (mut killed, mut late) = (0, 0);
    for call in ["fsync", "fdatasync", "rename", "unlink"] {
        for nth in 1..40 {
            let _ = std::fs::remove_dir_all(cli.path("new"));
            let _ = std::fs::remove_file(cli.path("new.cell"));
            let out = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(env!("CARGO_BIN_EXE_keyfall"))
                .args(args)
                .current_dir(cli.dir.path())
                .output()
                .unwrap();
            if out.status.success() {
                break;
            }
            killed += 1;
            late += usize::from(cli.run(&["list", "new", "--cell", "store.cell"]).status.success());
            let told = cli.ok(&args);
            assert!(told.contains("read back: 1 record"), "{call} {nth}: {told}");
            assert_eq!(cli.run(&["get", "new", &id]).stdout, [7; 200_000], "{call} {nth}");
        }
    }
    assert!(killed > 10 && late > 0, "{killed} {late}");
    // What came to its end is a store like any other, and a backup was always one.
    for place in ["new", "backup"] {
        let e = cli.fails(1, &["restore", "--cell", "store.cell", "--into", place, "replica"]);
        assert!(e.contains("is a store already; name an empty place"), "{e}");
    }
    let left = std::fs::read_dir(cli.path("new")).unwrap();
    assert!(left.into_iter().all(|entry| entry.unwrap().file_name() != "restoring"));
}

/// A copy that lost something could only be made once more: whatever brings it up to date passes
/// over what has its page there.
#[test]
fn a_copy_or_a_backup_that_is_damaged_is_repaired() {
    let cli = Cli::new();
    for n in 0..4 {
        cli.put("ada", "audio", &bytes(n, 300_000));
    }
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "backup"]);
    for place in ["replica", "backup"] {
        let file = cli.path(place).join("log/00000001.log");
        let mut log = std::fs::read(&file).unwrap();
        log[500_000..500_100].iter_mut().for_each(|byte| *byte ^= 0xFF);
        std::fs::write(&file, log).unwrap();
        let e = cli.fails(5, &["check", "store", place]);
        assert!(e.contains("`keyfall copy repair store COPY`"), "{e}");
        let told = cli.ok(&["copy", "repair", "store", place]);
        assert!(told.contains("1 blob copied"), "{told}");
        cli.ok(&["check", "store", place]);
        let told = cli.ok(&["copy", "repair", "store", place]);
        assert!(told.contains("0 blobs copied"), "{told}");
    }
    cli.ok(&["audit", "store", "backup"]);
    let e = cli.fails(4, &["copy", "repair", "store", "replca"]);
    assert!(e.contains("no copy or backup is there") || e.contains("no store"), "{e}");
    assert!(!cli.path("replca").exists());
    // Where the store is the one that is damaged, what a copy has is left as it is.
    let file = cli.path("store/log/00000001.log");
    let mut log = std::fs::read(&file).unwrap();
    log[500_000..500_100].iter_mut().for_each(|byte| *byte ^= 0xFF);
    std::fs::write(&file, log).unwrap();
    for place in ["replica", "backup"] {
        let e = cli.fails(5, &["copy", "repair", "store", place]);
        assert!(e.contains("1 blob of the store itself cannot be opened"), "{e}");
        assert!(
            e.contains("`keyfall restore --cell store.cell --into NEW --adopt COPY...`"),
            "{e}"
        );
        cli.ok(&["check", "store", place]);
    }
    let e = cli.fails(2, &["copy", "repair", "store"]);
    assert!(e.contains("PLACE is missing"), "{e}");
}
