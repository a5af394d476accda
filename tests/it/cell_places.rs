//! Only the trusted side says where the cell is: nothing in a store is asked, and neither lies
//! inside the other. SPEC §6.8, §7.

use std::os::unix::fs::PermissionsExt;

use crate::command_line::Cli;
use crate::support::copy;

#[test]
fn a_store_does_not_say_where_its_cell_is() {
    // An attacker who can write to the store's directory puts another store there, with its own
    // cell inside and a file that names it. What the owner puts next must not open with that cell.
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["init", "evil", "--accept-remnants"]);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    copy(&cli.path("evil"), &cli.path("store"));
    copy(&cli.path("evil.cell"), &cli.path("store/key"));
    std::fs::write(cli.path("store/cell"), format!("{}\n", cli.path("store/key").display()))
        .unwrap();
    std::fs::write(cli.path("said"), "a secret").unwrap();
    let e = cli.fails(6, &["put", "store", "--user", "ada", "--class", "audio", "said"]);
    assert!(e.contains("another store"), "{e}");
    // The same where the file is said to be it.
    cli.fails(
        6,
        &["put", "store", "--user", "ada", "--class", "audio", "said", "--cell", "store/key"],
    );
}

#[test]
fn a_file_beside_the_store_names_a_cell_elsewhere_and_the_store_that_it_is_bound_to() {
    let cli = Cli::empty();
    cli.ok(&["init", "store", "--cell", "keys/cell", "--accept-remnants"]);
    let id = cli.put("ada", "audio", b"x");
    assert!(cli.path("store.cell").is_file() && !cli.path("store/cell").exists());
    let named = std::fs::read_to_string(cli.path("store.cell")).unwrap();
    assert!(
        named.starts_with(cli.path("keys/cell").canonicalize().unwrap().to_str().unwrap()),
        "{named}"
    );
    assert_eq!(cli.run(&["get", "store/", &id]).stdout, b"x");
    // Another store with another cell, both whole, in their places: the file knows that it is not
    // the one.
    cli.ok(&["init", "other", "--cell", "keys/other", "--accept-remnants"]);
    std::fs::rename(cli.path("store"), cli.path("away")).unwrap();
    std::fs::rename(cli.path("keys/cell"), cli.path("keys/away")).unwrap();
    std::fs::rename(cli.path("other"), cli.path("store")).unwrap();
    std::fs::rename(cli.path("keys/other"), cli.path("keys/cell")).unwrap();
    let e = cli.fails(6, &["status", "store"]);
    assert!(e.contains("bound to store"), "{e}");
    cli.ok(&["status", "store", "--cell", "keys/cell"]);
    // Written by hand it names the place alone; what is no path is told.
    std::fs::write(cli.path("away.cell"), format!("{}\n", cli.path("keys/away").display()))
        .unwrap();
    assert_eq!(cli.run(&["get", "away", &id]).stdout, b"x");
    for text in ["keys/away\n", "", "\n/tmp"] {
        std::fs::write(cli.path("away.cell"), text).unwrap();
        cli.fails(2, &["get", "away", &id]);
    }
    // Init takes nothing that is in its way.
    cli.fails(1, &["init", "away2", "--cell", "keys/away", "--accept-remnants"]);
    std::fs::create_dir(cli.path("third.cell")).unwrap();
    let e = cli.fails(1, &["init", "third", "--cell", "keys/third", "--accept-remnants"]);
    assert!(e.contains("third.cell") && !cli.path("third").exists(), "{e}");
}

#[test]
fn a_restored_store_finds_its_cell_by_a_file_beside_it() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    cli.ok(&["restore", "--cell", "store.cell", "--into", "new", "bk"]);
    assert!(cli.path("new.cell").is_file() && !cli.path("new/cell").exists());
    assert_eq!(cli.run(&["get", "new", &id]).stdout, b"x");
    std::fs::create_dir(cli.path("third.cell")).unwrap();
    let e = cli.fails(1, &["restore", "--cell", "store.cell", "--into", "third", "bk"]);
    assert!(e.contains("third.cell") && !cli.path("third").exists(), "{e}");
}

#[test]
fn store_cell_and_copies_lie_apart_from_each_other() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    std::fs::create_dir(cli.path("real")).unwrap();
    let link =
        |to: &str, name: &str| std::os::unix::fs::symlink(cli.path(to), cli.path(name)).unwrap();
    link("real", "link");
    link("store", "to-store");
    link("store.cell", "to-cell");
    link("real/not/yet", "dangling");
    for (store, cell) in [
        ("new", "new/cell"),
        ("new", "new"),
        ("keys/store", "keys"),
        ("link/new", "real/new/cell"),
        ("real/new", "link/new/deep/cell"),
        ("real/not", "dangling"),
        ("dangling/store", "real/not/yet"),
        ("store/new", "store"),
    ] {
        let e = cli.fails(6, &["init", store, "--cell", cell, "--accept-remnants"]);
        assert!(e.contains("lies inside"), "{store} {cell}: {e}");
    }
    assert!(
        !cli.path("new").exists() && !cli.path("keys").exists() && !cli.path("real/new").exists()
    );
    let absolute = cli.dir.path().to_str().unwrap().to_owned();
    for place in [
        "store/x",
        "store",
        "store.cell/x",
        "store.cell",
        "to-store/x",
        "to-cell/x",
        ".",
        &absolute,
        "real/../store/y",
    ] {
        for args in [
            &["copy", "add", "store", place][..],
            &["copy", "add", "store", place, "--behind"],
            &["backup", "store", place],
        ] {
            let e = cli.fails(6, args);
            assert!(e.contains("lies inside"), "{args:?}: {e}");
        }
    }
    cli.ok(&["backup", "store", "bk"]);
    for into in ["store.cell/new", "to-cell/new", "bk/new", "."] {
        let e = cli.fails(6, &["restore", "--cell", "store.cell", "--into", into, "bk"]);
        assert!(e.contains("lies inside"), "{into}: {e}");
    }
    // Moved into each other later: found out at the next open.
    std::fs::rename(cli.path("store.cell"), cli.path("store/inside")).unwrap();
    for cell in ["store/inside", "to-store/inside"] {
        cli.fails(6, &["list", "store", "--cell", cell]);
    }
    std::fs::rename(cli.path("store/inside"), cli.path("store.cell")).unwrap();
    std::fs::rename(cli.path("bk"), cli.path("store.cell/bk")).unwrap();
    cli.fails(6, &["list", "store.cell/bk", "--cell", "store.cell"]);
    cli.fails(6, &["restore", "--cell", "store.cell", "--into", "fresh", "store.cell/bk"]);
    cli.ok(&["list", "store"]);
    // From within the store's own directory the cell is where it is.
    let mut inside = cli.command(&["list", "."]);
    assert!(inside.current_dir(cli.path("store")).output().unwrap().status.success());
}

#[test]
fn a_cell_that_others_may_read_is_reported() {
    let cli = Cli::new();
    let warned = |args: &[&str]| {
        let out = cli.run(args);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && told.lines().count() <= 1, "{told}");
        told.contains("chmod")
    };
    let set = |name: &str, mode: u32| {
        std::fs::set_permissions(cli.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    assert!(!warned(&["status", "store"]) && !warned(&["create", "store", "--user", "ada"]));
    // A directory that others may enter, with slots that they may not read, shows nothing.
    set("store.cell", 0o755);
    assert!(!warned(&["status", "store"]));
    for (dir, slot) in [(0o755, 0o644), (0o710, 0o640), (0o733, 0o600)] {
        set("store.cell", dir);
        set("store.cell/slot-b", slot);
        assert!(
            warned(&["status", "store"]) && warned(&["create", "store", "--user", "ada"]),
            "{dir:o} {slot:o}"
        );
        assert!(warned(&["status", "store", "--json"]));
    }
    set("store.cell", 0o700);
    assert!(!warned(&["status", "store"]));
}
