//! Stores, cells and copies that are old, lost, cut short or in use. SPEC §6.8, §7, §8.

use std::path::Path;

use super::{Cli, json, one_line};

#[test]
fn a_store_older_than_the_cell_is_refused() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "old"]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let e = cli.fails(6, &["list", "old", "--cell", "store.cell"]);
    assert!(e.contains("epoch 1") && e.contains("epoch 2"), "{e}");
    let e = cli.fails(6, &["restore", "--cell", "store.cell", "--into", "new", "old"]);
    assert!(e.contains("epoch 1") && e.contains("epoch 2"), "{e}");
    assert!(!cli.path("new").exists(), "a refused restore leaves nothing");
}

#[test]
fn a_backup_of_a_store_in_use_says_who_makes_it() {
    let cli = Cli::new();
    let engine = keyfall::open(cli.path("store")).unwrap();
    let e = cli.fails(8, &["backup", "store", "bk"]);
    assert!(e.contains("is in use") && e.contains("POST /v1/backups"), "{e}");
    assert!(!cli.path("bk").exists());
    engine.close().unwrap();
    cli.ok(&["backup", "store", "bk"]);
}

/// It was said to open nothing; with a backup of its epoch it gives back what was erased.
#[test]
fn an_old_copy_of_the_cell_opens_what_lived_at_its_epoch_and_not_the_store_as_it_is() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    std::fs::create_dir(cli.path("old.cell")).unwrap();
    for slot in ["slot-a", "slot-b", "remnants-accepted"] {
        if cli.path("store.cell").join(slot).exists() {
            std::fs::copy(cli.path("store.cell").join(slot), cli.path("old.cell").join(slot))
                .unwrap();
        }
    }
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let e = cli.fails(6, &["list", "store", "--cell", "old.cell"]);
    assert!(e.contains("old copy of the cell, which does not open the store as it is now"), "{e}");
    assert!(
        e.contains("it still opens what was live at its epoch") && !e.contains("opens nothing"),
        "{e}"
    );
    cli.ok(&["restore", "--cell", "old.cell", "--into", "then", "bk"]);
    assert_eq!(cli.run(&["get", "then", &id]).stdout, b"x", "as it is said");
    std::fs::rename(cli.path("store.cell"), cli.path("away")).unwrap();
    let e = cli.fails(4, &["list", "store"]);
    assert!(e.contains("no root cell"), "a cell is never made by opening: {e}");
    assert!(!cli.path("store.cell").exists());
    cli.ok(&["init", "other", "--accept-remnants"]);
    let e = cli.fails(6, &["list", "store", "--cell", "other.cell"]);
    assert!(e.contains("another store"), "{e}");
}

#[test]
fn a_lost_store_is_to_be_restored_and_the_cell_never_removed() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    cli.ok(&["init", "far", "--cell", "keys/far", "--accept-remnants"]);
    std::fs::rename(cli.path("store"), cli.path("away")).unwrap();
    std::fs::remove_dir_all(cli.path("far")).unwrap();
    let restore = "keyfall restore --cell store.cell --into store --adopt COPY...";
    for (code, args) in [
        (4, &["list", "store"][..]),
        (4, &["list", "store", "--cell", "store.cell"]),
        (4, &["create", "store", "--user", "ada"]),
        (1, &["init", "store"]),
        (1, &["init", "store", "--accept-remnants", "--cell", "store.cell"]),
    ] {
        let e = cli.fails(code, args);
        one_line(&e);
        assert!(e.contains(restore) && e.contains("do not remove"), "{args:?}: {e}");
        assert!(!e.contains("make one") && !e.contains("init again"), "{args:?}: {e}");
        assert!(!cli.path("store").exists(), "{args:?}");
    }
    // Where the cell lies elsewhere too.
    let e = cli.fails(4, &["list", "far"]);
    assert!(e.contains("--cell ") && e.contains("keys/far --into far --adopt COPY..."), "{e}");
    // It runs as it was printed.
    let words: Vec<&str> = restore
        .split(' ')
        .skip(1)
        .map(|word| if word == "COPY..." { "bk" } else { word })
        .collect();
    cli.ok(&words);
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"x");
    let e = cli.fails(4, &["list", "nowhere"]);
    assert!(e.contains("`keyfall init nowhere`"), "{e}");
}

#[test]
fn a_place_without_a_copy_is_not_answered_with_init() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["copy", "add", "store", "rep"]);
    std::fs::rename(cli.path("rep"), cli.path("away")).unwrap();
    for (code, args) in [
        (4, &["check", "store", "nobak"][..]),
        (4, &["audit", "store", "nobak"]),
        (4, &["restore", "--cell", "store.cell", "--into", "new", "nobak"]),
        (1, &["create", "store", "--user", "ben"]),
    ] {
        let e = cli.fails(code, args);
        assert!(e.contains("no store ") && !e.contains("init"), "{args:?}: {e}");
    }
}

/// The key was deposited, and no head was ever written: the one case in which a cell may be moved
/// away.
#[test]
fn an_init_that_was_cut_short_is_distinguished_from_a_lost_store() {
    use keyfall::cell::{FileCell, Owner, RootCell};
    use keyfall::promise::RootId;
    use keyfall::store::StoreId;
    let cli = Cli::empty();
    drop(keyfall::store::SledStore::create(&cli.path("store")).unwrap());
    {
        let cell = FileCell::create(
            &cli.path("store.cell"),
            true,
            std::sync::Arc::new(keyfall::env::System),
        )
        .unwrap();
        let (store, id) = (StoreId([7; 16]), RootId { epoch: 1, attempt: [1; 16] });
        cell.claim(store, &Owner { instance: [2; 16], claim: 1, token: [3; 16] }, 0).unwrap();
        cell.deposit(store, &id, &keyfall::crypto::Key::copied_from(&[9; 32])).unwrap();
    }
    let e = cli.fails(1, &["init", "store", "--accept-remnants"]);
    assert!(e.contains("an init that was cut short") && e.contains("away"), "{e}");
    let e = cli.fails(5, &["list", "store"]);
    assert!(e.contains("an init that was cut short"), "{e}");
    std::fs::rename(cli.path("store"), cli.path("old")).unwrap();
    let e = cli.fails(4, &["list", "store"]);
    assert!(e.contains("an init that was cut short"), "{e}");
    std::fs::rename(cli.path("store.cell"), cli.path("old.cell")).unwrap();
    cli.ok(&["init", "store", "--accept-remnants"]);
}

#[test]
fn the_cell_stays_out_of_the_store() {
    let cli = Cli::empty();
    one_line(&cli.fails(6, &["init", "store", "--cell", "store/cell", "--accept-remnants"]));
    one_line(
        &cli.fails(6, &["init", "store", "--cell", "./x/../store/deep/cell", "--accept-remnants"]),
    );
    std::fs::create_dir(cli.path("real")).unwrap();
    std::os::unix::fs::symlink(cli.path("real"), cli.path("link")).unwrap();
    one_line(
        &cli.fails(6, &["init", "link/store", "--cell", "real/store/cell", "--accept-remnants"]),
    );
    cli.ok(&["init", "store/", "--accept-remnants"]);
    assert!(cli.path("store.cell").exists() && !cli.path("store/.cell").exists());
}

#[test]
fn a_cell_on_a_file_system_that_keeps_old_bytes_is_refused() {
    if !Path::new("/dev/shm").is_dir() {
        return;
    }
    let cli = Cli::empty();
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let cell = shm.path().join("cell");
    let cell = cell.to_str().unwrap();
    let e = cli.fails(6, &["init", "store", "--cell", cell]);
    assert!(e.contains("tmpfs") && e.contains("--accept-remnants"), "{e}");
    assert!(!cli.path("store").exists(), "a refused init leaves no store");
    let promise = cli.ok(&["init", "store", "--cell", cell, "--accept-remnants"]);
    assert!(promise.contains("REMNANTS ACCEPTED"), "{promise}");
    cli.put("ada", "audio", b"x");
    let erased = cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    assert!(erased.contains("REMNANTS ACCEPTED"), "every promise says so: {erased}");
    assert!(cli.ok(&["status", "store"]).contains("REMNANTS ACCEPTED"));
}

/// A store in use ended with 1, as any failure does: a script could not tell when to try again.
#[test]
fn a_store_in_use_has_an_exit_code_of_its_own() {
    let cli = Cli::new();
    let holder = keyfall::store::SledStore::open(&cli.path("store")).unwrap();
    for args in
        [&["status", "store"][..], &["list", "store"], &["create", "store", "--user", "ada"]]
    {
        let e = cli.fails(8, args);
        one_line(&e);
        assert!(e.contains("in use") && e.contains("`--wait 10s` waits until it ends"), "{e}");
    }
    assert_eq!(json(&cli.fails(8, &["list", "store", "--json"]))["error"]["kind"], "locked");
    // A command that is given time waits, and goes on as soon as the store is free.
    let began = std::time::Instant::now();
    let e = cli.fails(8, &["list", "store", "--wait", "1"]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
    assert!(!e.contains("--wait"), "it was given time: {e}");
    let began = std::time::Instant::now();
    cli.fails(8, &["list", "store", "--wait", "300ms"]);
    assert!(began.elapsed() >= std::time::Duration::from_millis(300));
    for (length, told) in [("soon", "write 10s, or 10"), ("1m", "m may mean min")] {
        let e = cli.fails(2, &["list", "store", "--wait", length]);
        assert!(e.contains(told), "{e}");
    }
    let soon = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(holder);
    });
    cli.ok(&["list", "store", "--wait", "10min"]);
    soon.join().unwrap();
    let system = std::sync::Arc::new(keyfall::env::System);
    let holder = keyfall::cell::FileCell::open(&cli.path("store.cell"), system).unwrap();
    let e = cli.fails(8, &["create", "store", "--user", "ada"]);
    assert!(e.contains("in use"), "{e}");
    drop(holder);
    let help = cli.ok(&["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("7 held, 8 in use: another process has the store"), "{help}");
    cli.ok(&["status", "store"]);
}

#[test]
fn copies_from_the_command_line() {
    let cli = Cli::new();
    let a = cli.put("ada", "audio", b"goes");
    let b = cli.put("ben", "audio", b"stays");
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["copy", "add", "store", "tape", "--behind"]);
    one_line(&cli.fails(6, &["copy", "add", "store", "store/replica"]));
    one_line(&cli.fails(6, &["backup", "store", "store/log"]));
    one_line(&cli.fails(1, &["copy", "add", "store", "replica"]));
    cli.ok(&["erase", "store", "--record", &a, "--yes"]);
    let status = json(&cli.ok(&["copy", "status", "store", "--json"]));
    assert_eq!((&status[0]["mode"], &status[0]["lacks_pages"]), (&"in step".into(), &0.into()));
    assert_eq!(
        status[1]["restores"],
        serde_json::Value::Null,
        "a copy of the old epoch restores nothing: {status}"
    );
    assert!(status[1]["lacks_pages"].as_u64().unwrap() > 0);
    cli.ok(&["copy", "sync", "store"]);
    let status = json(&cli.ok(&["status", "store", "--json"]));
    assert_eq!(status["copies"][1]["lacks_pages"], 0);
    assert_eq!(status["settled"], true);
    let discarded = json(&cli.ok(&["discard", "store", "--json"]));
    assert!(
        discarded["blobs"].as_u64().unwrap() > 0 && discarded["copies_skipped"] == 0,
        "{discarded}"
    );
    assert_eq!(json(&cli.ok(&["audit", "store", "--json"]))["clean"], true);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    cli.ok(&["restore", "--cell", "store.cell", "--into", "store", "tape"]);
    assert_eq!(cli.run(&["get", "store", &b]).stdout, b"stays");
    cli.fails(3, &["get", "store", &a]);
    one_line(&cli.fails(11, &["copy", "remove", "store", "replica"]));
    cli.ok(&["copy", "remove", "store", "replica", "--take-over"]);
    one_line(&cli.fails(4, &["copy", "remove", "store", "replica"]));
}

/// An old restore took the cell over, and could write nothing then: the copy in step had moved on.
#[test]
fn a_store_that_a_copy_in_step_is_ahead_of_is_taken_over_only_where_that_is_given_up() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "bk"]);
    let late = cli.put("ben", "audio", b"later");
    let restore = ["restore", "--cell", "store.cell", "--into"];
    cli.ok(&[&restore[..], &["old", "bk"]].concat());
    let told = "replica holds epoch 1 commit 4 and this store epoch 1 commit 3; restore from it";
    let status = json(&cli.ok(&["copy", "status", "old", "--json"]));
    assert!(status[0]["error"].as_str().unwrap().contains(told), "{status}");
    assert_eq!(status[0]["lacks_pages"], serde_json::Value::Null);
    let e = cli.fails(6, &["create", "old", "--user", "eve", "--take-over"]);
    one_line(&e);
    assert!(e.contains(told), "{e}");
    let e = cli.fails(6, &[&restore[..], &["adopted", "--adopt", "bk"]].concat());
    assert!(e.contains("read-only still") && e.contains(told), "{e}");
    // Nothing was claimed.
    cli.ok(&["create", "store", "--user", "carl"]);
    // From the copy everything is there.
    cli.ok(&[&restore[..], &["new", "--adopt", "replica"]].concat());
    assert_eq!(cli.run(&["get", "new", &late]).stdout, b"later");
    cli.ok(&["create", "new", "--user", "eve"]);
    // What is given up by name is said to be lost.
    let out = cli.run(&["copy", "remove", "old", "replica", "--take-over"]);
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && told.contains("what it lacks of that is lost"), "{told}");
    cli.ok(&["create", "old", "--user", "eve"]);
    cli.fails(4, &["get", "old", &late]);
}

#[test]
fn tend_fails_where_the_store_does_not_own_its_cell() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    let told = cli.fails(11, &["tend", "bk", "--cell", "store.cell"]);
    assert!(told.contains("--take-over"), "{told}");
    // What merely begins with it goes on.
    assert!(cli.ok(&["report", "bk", "--user", "ada", "--cell", "store.cell"]).contains("ada"));
    cli.ok(&["tend", "store"]);
}

/// `list --take-over` made a backup the owner; and the other place was said to be read-only for
/// good, which it is until it takes over.
#[test]
fn what_only_looks_takes_nothing_over_and_a_store_can_be_taken_back() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    std::fs::write(cli.path("said"), "x").unwrap();
    let cell = ["--cell", "store.cell"];
    for look in [
        &["list", "bk"][..],
        &["status", "bk"],
        &["report", "bk", "--user", "ada"],
        &["copy", "status", "bk"],
    ] {
        let e = cli.fails(2, &[look, &cell, &["--take-over"]].concat());
        one_line(&e);
        assert!(e.contains("keyfall tend bk --cell store.cell --take-over"), "{e}");
    }
    let restore = ["restore", "--into", "new", "bk", "--take-over"];
    assert!(cli.fails(2, &[&restore[..], &cell].concat()).contains("--adopt"));
    assert!(!cli.path("new").exists());
    // The store is the owner still.
    cli.put("ben", "audio", b"y");
    let e = cli.fails(
        11,
        &[&["put", "bk", "--user", "eve", "--class", "audio", "said"][..], &cell].concat(),
    );
    assert!(e.contains("read-only until it takes over in turn") && !e.contains("for good"), "{e}");
    cli.ok(&[&["tend", "bk", "--take-over"][..], &cell].concat());
    cli.fails(11, &["create", "store", "--user", "eve"]);
    cli.ok(&["create", "store", "--user", "eve", "--take-over"]);
    cli.put("ben", "audio", b"z");
}

/// `policy set` said neither whose policy it was nor what it took the place of.
#[test]
fn a_policy_that_is_set_says_whose_it_is_and_what_it_replaces() {
    let cli = Cli::new();
    cli.ok(&["create", "store", "--user", "ada"]);
    let set = |more: &[&str]| {
        cli.ok(&[&["policy", "set", "store", "--class", "audio"][..], more].concat())
    };
    let told = set(&["--max-age", "90d"]);
    assert_eq!(told, "policy of the store, for all users: class audio: at most 90d");
    let told = set(&["--max-age", "30d"]);
    assert!(told.ends_with("at most 30d\nit replaces: class audio: at most 90d"), "{told}");
    let told = set(&["--user", "ada", "--max-records", "9"]);
    assert_eq!(
        told,
        "policy of user ada: class audio: at most 9 records\n\
         for this user it takes the place of the store's: class audio: at most 30d"
    );
    let told = json(&set(&["--user", "ada", "--max-records", "7", "--json"]));
    assert_eq!((&told["user"], &told["replaced"]["max_records"]), (&"ada".into(), &9.into()));
    assert_eq!(told["instead_of_store"][0]["max_age_seconds"], 30 * 24 * 60 * 60);
    let told = json(&set(&["--purpose", "advice", "--max-age", "1d", "--json"]));
    assert!(told["user"].is_null() && told["replaced"].is_null(), "{told}");
    assert_eq!(told["instead_of_store"], json("[]"), "{told}");
    // Any policy of the user's for a class comes before all of the store's for it.
    set(&["--purpose", "treatment", "--max-age", "3650d", "--readers-named"]);
    let told = set(&["--user", "ada", "--max-records", "7"]);
    assert!(told.contains("at most 30d\n") && told.contains("put for treatment"), "{told}");
    assert!(told.contains("for these records readers need not be named any more"), "{told}");
    cli.ok(&["create", "store", "--user", "ben"]);
    let told = json(&set(&["--user", "ben", "--purpose", "advice", "--max-age", "2d", "--json"]));
    let instead = told["instead_of_store"].as_array().unwrap();
    assert_eq!((instead.len(), &instead[0]["purpose"]), (1, &"advice".into()), "{told}");
    let told = json(&set(&["--user", "ben", "--purpose", "news", "--max-age", "2d", "--json"]));
    assert_eq!(told["instead_of_store"][0]["max_age_seconds"], 30 * 24 * 60 * 60, "{told}");
    let unset = ["policy", "unset", "store", "--user", "ada", "--class", "audio"];
    let told = cli.ok(&unset);
    assert_eq!(told, "removed the policy of user ada: class audio: at most 7 records");
    let list = ["policy", "list", "store", "--user", "ada"];
    assert_eq!(cli.ok(&list), "user ada has no policy of its own");
    assert_eq!(json(&cli.ok(&[&list[..], &["--json"]].concat()))["user"], "ada");
}

#[test]
fn a_discard_tells_sizes_with_their_units() {
    let cli = Cli::new();
    cli.put("ada", "audio", &[7; 300_000]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let told = cli.ok(&["discard", "store"]);
    let sizes = told.lines().next().unwrap().split_once(": ").unwrap().1;
    for size in sizes.split(", ") {
        let unit = size.split(' ').nth(1).unwrap();
        assert!(["B", "KiB", "MiB", "GiB"].contains(&unit), "{told}");
    }
    assert!(json(&cli.ok(&["discard", "store", "--json"]))["bytes_after"].is_u64());
}

/// A directory is the owner by what lies in it, wherever it is; of two copies of it one is, and the
/// other says which cell it is about and what to do.
#[test]
fn a_directory_that_was_moved_is_the_owner_still_and_a_copy_of_it_says_what_to_do() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    std::fs::rename(cli.path("store"), cli.path("moved")).unwrap();
    let cell = ["--cell", "store.cell"];
    let create = |store: &str, user: &str| -> Vec<String> {
        [&["create", store, "--user", user][..], &cell]
            .concat()
            .iter()
            .map(|s| (*s).into())
            .collect()
    };
    let run = |args: Vec<String>| cli.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(run(create("moved", "ben")).status.success());
    let copied = std::process::Command::new("cp")
        .args(["-r", "moved", "copied"])
        .current_dir(cli.dir.path())
        .status();
    assert!(copied.unwrap().success());
    assert!(run(create("moved", "carl")).status.success(), "the first of the two to write");
    let out = run(create("copied", "dora"));
    let e = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(11), "{e}");
    one_line(&e);
    assert!(e.contains("copied no longer owns its root cell") && e.contains("store.cell"), "{e}");
    assert!(e.contains("under its other path, or take this place over (`--take-over`)"), "{e}");
    let mut over = create("copied", "dora");
    over.push("--take-over".into());
    assert!(run(over).status.success());
    assert_eq!(run(create("moved", "eve")).status.code(), Some(11));
}
