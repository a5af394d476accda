//! A restore that is cut short, however late, is run again. SPEC §6.8.

use std::process::Command;

use super::Cli;
use crate::support::has_strace;

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
