//! Where a cell may lie, and file systems that keep what it destroys. SPEC §7.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, MemoryCell, RootCell};
use keyfall::crypto::Key;
use keyfall::env::System;

use super::{STORE, create, deposit, does, epochs, id, open, places};
use crate::support::error_kind;

#[test]
fn remnants_are_promised_where_they_were_accepted_and_are_possible() {
    let [good, bad] = places();
    if let Some(good) = good {
        let place = good.path().join("cell");
        // Accepting what cannot happen changes nothing.
        let promise = create(&place, true).unwrap().describe();
        assert!(!promise.remnants && !promise.statement.contains("REMNANTS"), "{promise:?}");
        assert!(!place.join("remnants-accepted").exists());
        assert_eq!((promise.kind, promise.place), ("file", place.display().to_string()));
    }
    if let Some(bad) = bad {
        let place = bad.path().join("cell");
        assert_eq!(error_kind(create(&place, false)), ErrorKind::Medium);
        assert!(!place.exists(), "a refused cell leaves nothing");
        let promise = create(&place, true).unwrap().describe();
        assert!(promise.remnants && promise.statement.contains("REMNANTS ACCEPTED"), "{promise:?}");
        assert!(FileCell::open(&place, Arc::new(System)).unwrap().describe().remnants);
        std::fs::remove_file(place.join("remnants-accepted")).unwrap();
        assert_eq!(error_kind(FileCell::open(&place, Arc::new(System))), ErrorKind::Medium);
    }
}

#[test]
fn a_cell_is_made_in_an_empty_place_only() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        error_kind(FileCell::open(&dir.path().join("none"), Arc::new(System))),
        ErrorKind::Absent
    );
    // An empty directory will do, and one below directories that are not there yet.
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    drop(create(&dir.path().join("empty"), true).unwrap());
    drop(create(&dir.path().join("a/b/cell"), true).unwrap());
    // A file stands in the way.
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(error_kind(create(&dir.path().join("file"), true)), ErrorKind::Io);
    assert_eq!(error_kind(create(&dir.path().join("file/cell"), true)), ErrorKind::Io);
    // What an interrupted `create` leaves is made whole; a cell in use is left alone.
    drop(create(&dir.path().join("empty"), true).unwrap());
    std::fs::write(dir.path().join("empty/slot-a"), [0; 4096]).unwrap();
    std::fs::write(dir.path().join("empty/slot-b"), "").unwrap();
    let cell = create(&dir.path().join("empty"), true).unwrap();
    assert_eq!(error_kind(create(&dir.path().join("empty"), true)), ErrorKind::Locked);
    deposit(&cell, id(1, 1));
    drop(cell);
    assert_eq!(error_kind(create(&dir.path().join("empty"), true)), ErrorKind::Exists);
    // Also with a slot of it damaged: it may be somebody's key.
    std::fs::write(dir.path().join("empty/slot-a"), [3; 4096]).unwrap();
    std::fs::write(dir.path().join("empty/slot-b"), [3; 100]).unwrap();
    assert_eq!(error_kind(create(&dir.path().join("empty"), true)), ErrorKind::Exists);
}

#[test]
fn a_cell_that_never_held_a_key_belongs_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let cell = create(&dir.path().join("cell"), true).unwrap();
    for cell in [&cell as &dyn RootCell, &MemoryCell::new()] {
        let contents = cell.load().unwrap();
        assert_eq!((contents.store, contents.keys.len(), contents.epoch), (None, 0, 0));
    }
}

#[test]
fn a_cell_may_have_a_relative_place() {
    let cli = crate::command_line::Cli::empty();
    cli.ok(&["init", "store", "--cell", "bare", "--accept-remnants"]);
    assert!(cli.path("bare/slot-a").exists());
    cli.ok(&["status", "store", "--cell", "bare"]);
}

#[test]
fn modes_keep_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    drop(create(&place, true).unwrap());
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.clone()), 0o700);
    for file in ["slot-a", "slot-b", "claim-a", "claim-b", "lock"] {
        assert_eq!(mode(place.join(file)), 0o600, "{file}");
    }
}

/// The flags of the directory say nothing of the files in it.
#[test]
fn a_slot_whose_data_goes_into_the_journal_is_refused() {
    let [Some(good), _] = places() else { return };
    let place = good.path().join("cell");
    let cell = create(&place, false).unwrap();
    deposit(&cell, id(1, 1));
    let slot = place.join("slot-b").display().to_string();
    if !does("chattr", &["+j", &slot]) {
        return println!("skipped: the flag cannot be set here");
    }
    let key = Key::copied_from(&[2; 32]);
    assert_eq!(error_kind(cell.deposit(STORE, &id(2, 2), &key)), ErrorKind::Medium);
    assert_eq!(
        error_kind(cell.retire(&id(1, 1), Durable::assumed_for_a_test())),
        ErrorKind::Medium
    );
    let promise = cell.describe();
    assert!(
        promise.remnants
            && promise.statement.contains("REMNANTS")
            && promise.statement.contains("+j"),
        "{promise:?}"
    );
    drop(cell);
    let refused = FileCell::open(&place, Arc::new(System)).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Medium && refused.to_string().contains("slot-b"),
        "{refused}"
    );
    assert_eq!(
        epochs(&FileCell::look(&place, Arc::new(System)).unwrap()),
        [1],
        "it can be looked at"
    );
    std::fs::write(place.join("remnants-accepted"), "").unwrap();
    let cell = open(&place);
    assert!(cell.describe().statement.contains("REMNANTS ACCEPTED"));
    deposit(&cell, id(2, 2));
    drop(cell);
    std::fs::remove_file(place.join("remnants-accepted")).unwrap();
    assert!(does("chattr", &["-j", &slot]));
    assert!(!open(&place).describe().remnants);
}

#[test]
fn without_proc_a_cell_on_ext4_is_refused() {
    let [Some(good), _] = places() else { return };
    if !std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| text.contains(" - ext4 "))
    {
        return println!("skipped: no ext4 here");
    }
    let at = |name: &str| good.path().join(name).display().to_string();
    let program = env!("CARGO_BIN_EXE_keyfall");
    let script = |more: &str| {
        format!("umount -l /proc && exec {program} init {} {more}", at(&format!("store{more}")))
    };
    if !does("unshare", &["-m", "sh", "-c", "umount -l /proc"]) {
        return println!("skipped: /proc cannot be taken away here");
    }
    let out = Command::new("unshare").args(["-m", "sh", "-c", &script("")]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && text.contains("/proc"), "{text}");
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", &script("--accept-remnants")])
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("REMNANTS ACCEPTED"), "{text}");
}

/// A copy by `cp --reflink` has the blocks of the original: what is overwritten goes elsewhere, and
/// the key stays where it was.
#[test]
fn slots_that_share_their_blocks_with_a_copy_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (image, xfs) = (at("image"), at("xfs"));
    std::fs::create_dir(&xfs).unwrap();
    let made = does("truncate", &["-s", "400M", &image])
        && does("mkfs.xfs", &["-q", "-m", "reflink=1", &image])
        && does("mount", &["-o", "loop", &image, &xfs]);
    if !made {
        return println!("skipped: no xfs can be made and mounted here");
    }
    let run = std::panic::catch_unwind(|| {
        let place = Path::new(&xfs).join("cell");
        let cell = create(&place, false).unwrap();
        deposit(&cell, id(1, 1));
        assert!(!cell.describe().remnants);
        let copy = Path::new(&xfs).join("copy");
        let names = (place.display().to_string(), copy.display().to_string());
        let share = || {
            assert!(
                does("cp", &["-a", "--reflink=always", &names.0, &names.1]) && does("sync", &[])
            )
        };
        let unshare = || {
            std::fs::remove_dir_all(&copy).unwrap();
            // Blocks are let go of in the background.
            (0..100).find(|_| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                does("sync", &["-f", &xfs]) && !cell.describe().remnants
            })
        };
        share();
        let key = Key::copied_from(&[2; 32]);
        assert_eq!(error_kind(cell.deposit(STORE, &id(2, 2), &key)), ErrorKind::Medium);
        assert!(cell.describe().statement.contains("REMNANTS POSSIBLE"));
        unshare().unwrap();
        deposit(&cell, id(2, 2));
        share();
        assert_eq!(
            error_kind(cell.retire(&id(2, 2), Durable::assumed_for_a_test())),
            ErrorKind::Medium
        );
        assert_eq!(epochs(&cell), [1, 2], "nothing was written: it would have gone elsewhere");
        unshare().unwrap();
        cell.retire(&id(2, 2), Durable::assumed_for_a_test()).unwrap();
        share();
        drop(cell);
        assert_eq!(error_kind(FileCell::open(&place, Arc::new(System))), ErrorKind::Medium);
        std::fs::write(place.join("remnants-accepted"), "").unwrap();
        let promise = open(&place).describe();
        assert!(promise.remnants && promise.statement.contains("REMNANTS ACCEPTED"), "{promise:?}");
    });
    assert!(does("umount", &[&xfs]));
    run.unwrap();
}
