//! The program as a user meets it: outputs, exit codes, bad input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::bytes;

/// A directory with a store in it, and the program to run on it.
pub struct Cli {
    pub dir: tempfile::TempDir,
}

impl Cli {
    pub fn empty() -> Self {
        Cli { dir: tempfile::tempdir().unwrap() }
    }

    pub fn new() -> Self {
        let cli = Cli::empty();
        cli.ok(&["init", "store", "--accept-remnants"]);
        cli
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfall"));
        command.args(args).current_dir(self.dir.path()).env_remove("KEYFALL_STORE").env_remove("KEYFALL_CELL");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, and wants success.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs, and wants this exit code and one line of error.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    pub fn put(&self, user: &str, class: &str, content: &[u8]) -> String {
        let mut child = self
            .command(&["put", "store", "--user", user, "--class", class, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn one_line(stderr: &str) {
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("keyfall: "), "{stderr}");
}

#[test]
fn a_record_goes_in_and_comes_out() {
    let cli = Cli::new();
    let content = bytes(1, 40_000);
    std::fs::write(cli.path("wake.wav"), &content).unwrap();
    let id =
        cli.ok(&["put", "store", "--user", "Ada Löv\u{1F3A4}", "--class", "audio", "--type", "audio/wav", "wake.wav"]);
    let out = cli.run(&["get", "store", &id]);
    assert_eq!(out.stdout, content);
    cli.ok(&["get", "store", &id, "-o", "back.wav"]);
    assert_eq!(std::fs::read(cli.path("back.wav")).unwrap(), content);
    let list = json(&cli.ok(&["list", "store", "--json"]));
    let entry = &list[0];
    for (field, value) in
        [("id", id.as_str()), ("user", "Ada Löv\u{1F3A4}"), ("class", "audio"), ("media_type", "audio/wav")]
    {
        assert_eq!(entry[field], value);
    }
    assert_eq!(entry["length"], 40_000);
    assert!(entry["interaction"].is_string() && entry["created"].is_string());
    assert_eq!(
        json(&cli.ok(&["list", "store", "--user", "Ada Löv\u{1F3A4}", "--class", "action", "--json"])),
        serde_json::json!([])
    );
    assert!(cli.ok(&["list", "store"]).contains("audio/wav"));
}

#[test]
fn the_store_and_the_cell_come_from_the_environment_too() {
    let cli = Cli::empty();
    cli.ok(&["init", "elsewhere", "--cell", "keys/cell", "--accept-remnants"]);
    assert!(cli.path("keys/cell/slot-a").exists());
    cli.ok(&["status", "elsewhere"]);
    let out = cli.command(&["list", "--json"]).env("KEYFALL_STORE", "elsewhere").output().unwrap();
    assert_eq!(json(&String::from_utf8(out.stdout).unwrap()), serde_json::json!([]));
    let put = ["put", "--user", "u", "--class", "audio", "-"];
    assert!(cli.command(&put).env("KEYFALL_STORE", "elsewhere").output().unwrap().status.success());
    one_line(&cli.fails(2, &put));
}

#[test]
fn of_two_arguments_the_one_that_is_missing_is_named() {
    let cli = Cli::new();
    std::fs::write(cli.path("wake.wav"), "sound").unwrap();
    for (name, args) in [
        ("ID", &["get", "store"][..]),
        ("ID", &["lineage", "store"]),
        ("ID", &["detach", "store", "--reason", "r"]),
        ("DEST", &["backup", "store"]),
        ("DIR", &["certificate", "get", "store", "--user", "ada"]),
        ("CERT", &["certificate", "upgrade", "store"]),
        ("DIR", &["export", "store", "--user", "ada"]),
        ("FILE", &["put", "store", "--user", "ada", "--class", "audio"]),
        ("PLACE", &["copy", "add", "store"]),
        ("INDEX", &["log", "prove", "store"]),
        ("ENVELOPE", &["accept", "store"]),
    ] {
        let e = cli.fails(2, args);
        one_line(&e);
        assert!(e.contains(&format!("{name} is missing")) && !e.contains("which store"), "{args:?}: {e}");
    }
    for args in [&["put", "wake.wav", "--user", "ada", "--class", "audio"][..], &["accept", "wake.wav"]] {
        let e = cli.fails(2, args);
        one_line(&e);
        assert!(e.contains("which store") && e.contains("wake.wav was taken for"), "{args:?}: {e}");
    }
}

#[test]
fn exit_codes_tell_the_answers_apart() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"a recording");
    let keep = cli.put("ben", "audio", b"another");
    one_line(&cli.fails(2, &["erase", "store", "--user", "ada"]));
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    one_line(&cli.fails(3, &["get", "store", &id]));
    one_line(&cli.fails(3, &["put", "store", "--user", "ada", "--class", "audio", "-"]));
    one_line(&cli.fails(3, &["list", "store", "--user", "ada"]));
    one_line(&cli.fails(4, &["list", "store", "--user", "nobody"]));
    assert!(cli.ok(&["erase", "store", "--user", "nobody", "--yes"]).contains("what arrives late is refused"));
    one_line(&cli.fails(3, &["list", "store", "--user", "nobody"]));
    one_line(&cli.fails(4, &["status", "nowhere"]));
    let other = Cli::new();
    let foreign = other.put("eve", "audio", b"elsewhere");
    one_line(&cli.fails(4, &["get", "store", &foreign]));
    one_line(&cli.fails(2, &["get", "store", "no-such-id"]));
    cli.fails(2, &["erase", "store", "--yes"]);
    cli.fails(2, &["put", "store", "--user", "x", "--class", "Not A Class", "-"]);
    cli.fails(2, &["erase", "store", "--user", "x", "--after", "yesterday", "--yes"]);
    one_line(&cli.fails(1, &["put", "store", "--user", "x", "--class", "audio", "no-such-file"]));
    one_line(&cli.fails(1, &["init", "store", "--accept-remnants"]));
    let e = json(&cli.fails(3, &["get", "store", &id, "--json"]));
    assert_eq!(e["error"]["kind"], "erased");
    assert!(!cli.path("out").exists());
    cli.fails(3, &["get", "store", &id, "-o", "out"]);
    assert!(!cli.path("out").exists() && !cli.path("out.part").exists(), "an error leaves no file");
    assert_eq!(cli.run(&["get", "store", &keep]).stdout, b"another");
    cli.ok(&["create", "store", "--user", "ada"]);
    cli.put("ada", "audio", b"anew");
}

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

/// It was said to open nothing; with a backup of its epoch it gives back what was erased.
#[test]
fn an_old_copy_of_the_cell_opens_what_lived_at_its_epoch_and_not_the_store_as_it_is() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    std::fs::create_dir(cli.path("old.cell")).unwrap();
    for slot in ["slot-a", "slot-b", "remnants-accepted"] {
        if cli.path("store.cell").join(slot).exists() {
            std::fs::copy(cli.path("store.cell").join(slot), cli.path("old.cell").join(slot)).unwrap();
        }
    }
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let e = cli.fails(6, &["list", "store", "--cell", "old.cell"]);
    assert!(e.contains("old copy of the cell, which does not open the store as it is now"), "{e}");
    assert!(e.contains("it still opens what lived at its epoch") && !e.contains("opens nothing"), "{e}");
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
fn who_lost_the_store_is_told_to_restore_it_and_never_to_remove_the_cell() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    cli.ok(&["init", "far", "--cell", "keys/far", "--accept-remnants"]);
    std::fs::rename(cli.path("store"), cli.path("away")).unwrap();
    std::fs::remove_dir_all(cli.path("far")).unwrap();
    let restore = "keyfall restore --cell store.cell --into store COPY...";
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
    assert!(e.contains("--cell ") && e.contains("keys/far --into far COPY..."), "{e}");
    // It runs as it was printed.
    let words: Vec<&str> = restore.split(' ').skip(1).map(|word| if word == "COPY..." { "bk" } else { word }).collect();
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

/// The key was deposited, and no head was ever written: the one case in which a cell may be moved away.
#[test]
fn an_init_that_was_cut_short_is_told_from_a_lost_store() {
    use keyfall::cell::{FileCell, Owner, RootCell, RootId};
    use keyfall::store::StoreId;
    let cli = Cli::empty();
    drop(keyfall::store::SledStore::create(&cli.path("store")).unwrap());
    {
        let cell = FileCell::create(&cli.path("store.cell"), true, std::sync::Arc::new(keyfall::env::System)).unwrap();
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
    one_line(&cli.fails(6, &["init", "store", "--cell", "./x/../store/deep/cell", "--accept-remnants"]));
    std::fs::create_dir(cli.path("real")).unwrap();
    std::os::unix::fs::symlink(cli.path("real"), cli.path("link")).unwrap();
    one_line(&cli.fails(6, &["init", "link/store", "--cell", "real/store/cell", "--accept-remnants"]));
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
    for args in [&["status", "store"][..], &["list", "store"], &["create", "store", "--user", "ada"]] {
        let e = cli.fails(8, args);
        one_line(&e);
        assert!(e.contains("in use"), "{e}");
    }
    assert_eq!(json(&cli.fails(8, &["list", "store", "--json"]))["error"]["kind"], "locked");
    drop(holder);
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
    assert_eq!(status[1]["restores"], serde_json::Value::Null, "a copy of the old epoch restores nothing: {status}");
    assert!(status[1]["lacks_pages"].as_u64().unwrap() > 0);
    cli.ok(&["copy", "sync", "store"]);
    let status = json(&cli.ok(&["status", "store", "--json"]));
    assert_eq!(status["copies"][1]["lacks_pages"], 0);
    assert_eq!(status["settled"], true);
    let discarded = json(&cli.ok(&["discard", "store", "--json"]));
    assert!(discarded["blobs"].as_u64().unwrap() > 0 && discarded["copies_skipped"] == 0, "{discarded}");
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
fn the_demo_keeps_its_word() {
    let cli = Cli::empty();
    let told = cli.ok(&["demo"]);
    assert!(told.contains("25 of 25 records, byte for byte") && told.contains("0 of 11 records"), "{told}");
    assert!(told.lines().count() <= 40, "a screenful");
    assert_eq!(json(&cli.ok(&["demo", "--json"]))["kept"], true);
}

#[test]
fn derived_records_from_the_command_line() {
    let cli = Cli::new();
    let audio = cli.put("ada", "audio", b"sound");
    std::fs::write(cli.path("said.txt"), "wake me at 6:30").unwrap();
    let put = |class: &str, from: &str| {
        cli.ok(&["put", "store", "--user", "ada", "--class", class, "--from", from, "said.txt"])
    };
    let text = put("transcript", &audio);
    let alarm = put("action", &text);
    let told = json(&cli.ok(&["lineage", "store", &text, "--json"]));
    assert_eq!((&told["sources"], &told["derived"]), (&serde_json::json!([audio]), &serde_json::json!([alarm])));
    one_line(&cli.fails(2, &["detach", "store", &alarm, "--reason", ""]));
    cli.ok(&["detach", "store", &alarm, "--reason", "it rings"]);
    // Without a reason nothing is kept.
    cli.fails(2, &["erase", "store", "--user", "ada", "--keep", "action", "--yes"]);
    let told = json(&cli.ok(&["erase", "store", "--record", &audio, "--yes", "--json"]));
    assert_eq!((&told["records"], &told["derived"]), (&serde_json::json!(1), &serde_json::json!(1)));
    one_line(&cli.fails(3, &["get", "store", &text]));
    assert_eq!(cli.run(&["get", "store", &alarm]).stdout, b"wake me at 6:30");
    cli.ok(&["erase", "store", "--user", "ada", "--keep", "action", "--reason", "it rings on", "--yes"]);
    let told = cli.ok(&["history", "store", "--user", "ada"]);
    assert!(told.contains("it rings on") && told.contains("detached from 1 source"), "{told}");
    one_line(&cli.fails(3, &["put", "store", "--user", "ada", "--class", "action", "--from", &audio, "said.txt"]));
}

#[test]
fn a_dry_run_says_what_would_fall_and_changes_nothing() {
    let cli = Cli::new();
    let audio = cli.put("ada", "audio", b"sound");
    cli.put("ada", "audio", b"more");
    std::fs::write(cli.path("said"), "x").unwrap();
    cli.ok(&["put", "store", "--user", "ben", "--class", "transcript", "--from", &audio, "said"]);
    let state = || json(&cli.ok(&["status", "store", "--json"]))["commit"].clone();
    let before = state();
    let dry = |args: &[&str]| cli.ok(&[&["erase", "store", "--dry-run"][..], args].concat());
    let told = dry(&["--user", "ada"]);
    assert!(
        told.contains("would erase everything of user ada: 2 records (2 audio), and 1 derived from them"),
        "{told}"
    );
    let told = json(&dry(&["--user", "ada", "--json"]));
    assert_eq!((&told["records"], &told["classes"]["audio"], &told["derived"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!((&told["user_is_here"], &told["already"]), (&true.into(), &false.into()));
    assert!(dry(&["--record", &audio]).contains("1 record (1 audio)"));
    assert!(dry(&["--user", "ada", "--class", "action"]).contains("no record of it is here"));
    assert!(dry(&["--user", "ada", "--before", "2020-01-01"]).contains("no record of it is here"));
    // A slip in a name is seen before it is done.
    assert!(dry(&["--user", "adda"]).contains("nobody of that name"));
    assert_eq!(json(&dry(&["--user", "adda", "--json"]))["user_is_here"], false);
    cli.fails(4, &["list", "store", "--user", "adda"]);
    cli.fails(2, &["erase", "store", "--user", "ada", "--dry-run", "--yes"]);
    assert_eq!(state(), before);
    // A refusal is no fact of the user's history.
    let hold = ["hold", "add", "store", "--user", "ben", "--reason", "r", "--authority", "a"];
    cli.ok(&hold);
    let held = state();
    cli.fails(7, &["erase", "store", "--user", "ada", "--dry-run"]);
    assert!(!cli.ok(&["history", "store", "--user", "ada"]).contains("refused"));
    assert_eq!(cli.run(&["get", "store", &audio]).stdout, b"sound");
    assert_eq!(state(), held);
    cli.ok(&["erase", "store", "--user", "adda", "--yes"]);
    assert!(dry(&["--user", "adda"]).contains("erased before"));
}

/// Where somebody is asked, the question says how many fall.
#[test]
fn who_is_asked_before_an_erase_is_told_how_many_fall() {
    let cli = Cli::new();
    if !Command::new("script").arg("--version").output().is_ok_and(|out| out.status.success()) {
        println!("skipped: script is not installed");
        return;
    }
    let id = cli.put("ada", "audio", b"sound");
    let asked = |user: &str, answer: &str| {
        let line = format!("{} erase store --user {user}", env!("CARGO_BIN_EXE_keyfall"));
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(cli.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
    };
    let told = asked("adda", "n");
    assert!(told.contains("nobody of that name is in this store"), "{told}");
    let told = asked("ada", "n");
    assert!(
        told.contains("Erase everything of user ada, in every copy, for ever (1 record (1 audio))? [y/N]"),
        "{told}"
    );
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"sound");
}

#[test]
fn every_command_says_what_it_did() {
    let cli = Cli::new();
    assert_eq!(cli.ok(&["create", "store", "--user", "ada"]), "created ada");
    assert_eq!(cli.ok(&["create", "store", "--user", "ada"]), "ada is there already; nothing was changed");
    assert_eq!(json(&cli.ok(&["create", "store", "--user", "ada", "--json"]))["created"], false);
    assert_eq!(json(&cli.ok(&["create", "store", "--user", "ben", "--json"]))["created"], true);
    // Who may own the store and only looked is no stranger to it.
    assert_eq!(json(&cli.ok(&["status", "store", "--json"]))["read_only"], serde_json::Value::Null);
    cli.ok(&["backup", "store", "bk"]);
    let looked = json(&cli.ok(&["status", "bk", "--cell", "store.cell", "--json"]));
    assert!(looked["read_only"].as_str().unwrap().contains("--take-over"), "{looked}");
    let id = cli.put("ada", "audio", b"sound");
    let told = cli.ok(&["get", "store", &id, "-o", "back"]);
    assert!(told.contains("5 B") && told.contains("back"), "{told}");
    let told = cli.ok(&["report", "store", "--user", "ada", "-o", "report"]);
    assert_eq!(told, "report of ada in report: 1 record");
    std::fs::write(cli.path("ada.inbox"), cli.ok(&["inbox", "store", "--user", "ada"])).unwrap();
    let seal = ["seal", "--to", "ada.inbox", "--user", "ada", "--class", "audio", "back", "-o", "back.sealed"];
    assert_eq!(cli.ok(&seal), "sealed 5 B into back.sealed");
    cli.ok(&["key", "skill"]);
    let public = std::fs::read(cli.path("skill.pub")).unwrap();
    let e = cli.fails(1, &["key", "skill"]);
    one_line(&e);
    assert!(e.contains("skill is there already") && e.contains("never replaced") && !e.contains("os error"), "{e}");
    assert_eq!(std::fs::read(cli.path("skill.pub")).unwrap(), public);
    let grant = ["grant", "add", "store", "--to", "skill.pub", "--name", "n", "--user", "ada", "--purpose", "p"];
    let ticket = cli.ok(&grant);
    let told = cli.ok(&["ask", "--key", "skill", "--ticket", &ticket, "-o", "request", "--secret", "once"]);
    assert!(told.contains("request: ") && told.contains("once: "), "{told}");
}

#[test]
fn holds_from_the_command_line() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"evidence");
    let who = ["--reason", "a court asks", "--authority", "Amtsgericht"];
    cli.fails(2, &["hold", "add", "store", "--user", "ada", "--reason", "why"]);
    let hold = cli.ok(&[&["hold", "add", "store", "--user", "ada", "--class", "audio"][..], &who].concat());
    let e = cli.fails(7, &["erase", "store", "--user", "ada", "--yes"]);
    one_line(&e);
    assert!(e.contains("`keyfall hold list store --user U`"), "{e}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"evidence");
    assert!(cli.ok(&["hold", "list", "store", "--user", "ada"]).contains("class audio"));
    assert_eq!(json(&cli.ok(&["hold", "list", "store", "--user", "ada", "--json"]))["holds"][0]["id"], hold);
    cli.fails(2, &[&["hold", "lift", "store", "--user", "ada", "--id", "no number"][..], &who].concat());
    cli.fails(4, &[&["hold", "lift", "store", "--user", "ada", "--id", "0"][..], &who].concat());
    cli.ok(&[&["hold", "lift", "store", "--user", "ada", "--id", &hold][..], &who].concat());
    let told = json(&cli.ok(&["history", "store", "--user", "ada", "--json"]));
    let what: Vec<&str> = told["history"].as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["held", "refused", "lifted"]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    one_line(&cli.fails(3, &["hold", "list", "store", "--user", "ada"]));
}

/// What a message says to type names the store, and the cell where that was named, as a shell takes them.
#[test]
fn a_command_that_a_message_names_runs_as_it_is_printed() {
    let cli = Cli::empty();
    cli.ok(&["init", "ada's store", "--cell", "the cell", "--accept-remnants"]);
    std::fs::remove_file(cli.path("ada's store.cell")).unwrap();
    std::fs::write(cli.path("said"), "x").unwrap();
    let on = ["ada's store", "--cell", "the cell", "--user", "Ada L."];
    cli.ok(&[&["put"][..], &on[..1], &["said", "--class", "audio"], &on[1..]].concat());
    let told = cli.ok(&[&["erase"][..], &on, &["--in", "30d", "--yes"]].concat());
    let cancel = told.lines().find_map(|line| line.strip_prefix("to cancel: ")).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_keyfall")).parent().unwrap();
    let shell = |command: &str| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut sh = Command::new("sh");
        sh.args(["-c", command]).current_dir(cli.dir.path()).env("PATH", path);
        sh.env_remove("KEYFALL_STORE").env_remove("KEYFALL_CELL").output().unwrap()
    };
    let out = shell(cancel);
    assert!(out.status.success(), "{cancel}: {}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(cli.ok(&[&["plan", "list"][..], &on].concat()), "nothing is planned");
    // Messages of the library too, also as JSON.
    let e = cli.fails(4, &[&["plan", "cancel", "--id", "7"][..], &on].concat());
    assert!(e.contains(r"`keyfall plan list 'ada'\''s store' --cell 'the cell' --user U`"), "{e}");
    let e =
        json(&cli.fails(
            4,
            &[&["hold", "lift", "--id", "7", "--reason", "r", "--authority", "a", "--json"][..], &on].concat(),
        ));
    assert!(e["error"]["message"].as_str().unwrap().contains("`keyfall hold list 'ada'"), "{e}");
}

/// What no message may say: a command of a store without a place for the store.
#[test]
fn no_message_names_a_command_that_lacks_its_store() {
    let verbs = [
        "plan",
        "hold",
        "policy",
        "list",
        "copy",
        "tend",
        "certificate upgrade",
        "grant list",
        "training list",
        "log key",
    ];
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(place) = files.pop() {
        if place.is_dir() {
            files.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // What can be typed shows STORE where it may be left out.
        if place.to_str().unwrap().contains("/args/") {
            continue;
        }
        for line in std::fs::read_to_string(&place).unwrap().lines().filter(|l| !l.trim_start().starts_with("//")) {
            for command in line.split('`').skip(1).step_by(2).filter_map(|part| part.strip_prefix("keyfall ")) {
                let named = command.contains("STORE") || !verbs.iter().any(|verb| command.starts_with(verb));
                assert!(named, "{}: {line}", place.display());
            }
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", &bytes(1, 900_000));
    let mut child = cli.command(&["get", "store", &id]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
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

/// `list --take-over` made a backup the owner; and the other place was said to be read-only for good, which it is until it takes over.
#[test]
fn what_only_looks_takes_nothing_over_and_a_store_can_be_taken_back() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    std::fs::write(cli.path("said"), "x").unwrap();
    let cell = ["--cell", "store.cell"];
    for look in [&["list", "bk"][..], &["status", "bk"], &["report", "bk", "--user", "ada"], &["copy", "status", "bk"]]
    {
        let e = cli.fails(2, &[look, &cell, &["--take-over"]].concat());
        one_line(&e);
        assert!(e.contains("keyfall tend bk --cell store.cell --take-over"), "{e}");
    }
    let restore = ["restore", "--into", "new", "bk", "--take-over"];
    assert!(cli.fails(2, &[&restore[..], &cell].concat()).contains("--adopt"));
    assert!(!cli.path("new").exists());
    // The store is the owner still.
    cli.put("ben", "audio", b"y");
    let e = cli.fails(11, &[&["put", "bk", "--user", "eve", "--class", "audio", "said"][..], &cell].concat());
    assert!(e.contains("read-only until it takes over in turn") && !e.contains("for good"), "{e}");
    cli.ok(&[&["tend", "bk", "--take-over"][..], &cell].concat());
    cli.fails(11, &["create", "store", "--user", "eve"]);
    cli.ok(&["create", "store", "--user", "eve", "--take-over"]);
    cli.put("ben", "audio", b"z");
}

#[test]
fn time_ranges_from_the_command_line() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"now");
    cli.ok(&["erase", "store", "--user", "ada", "--before", "2020-01-01", "--yes"]);
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"now");
    assert_eq!(json(&cli.ok(&["list", "store", "--before", "2020-01-01", "--json"])), serde_json::json!([]));
    let told = cli.ok(&["erase", "store", "--user", "ada", "--after", "2020-01-01T00:00:00Z", "--yes"]);
    assert!(told.contains("1 record;"), "{told}");
    cli.fails(3, &["get", "store", &id]);
}

#[test]
fn bench_measures_and_leaves_nothing_behind() {
    let place = Cli::new();
    let few = ["--users", "20", "--records", "2", "--batch", "3", "--callers", "2", "--copies", "1", "--keyholders="];
    let args = [&["bench", ".", "--rounds", "4", "--seconds", "1", "--svg", "erase.svg", "--json"][..], &few].concat();
    let rows: serde_json::Value = serde_json::from_str(&place.ok(&args)).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(row["p50_us"].as_f64().unwrap() > 0.0 && row["ratio"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["bytes_written_per_erase"].as_u64().unwrap() > 0, "{row}");
    }
    let svg = std::fs::read_to_string(place.path("erase.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("copies in step") && svg.contains("floor"));
    let mut left: Vec<_> = std::fs::read_dir(place.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["erase.svg", "store", "store.cell"], "what was measured is gone");
    place.fails(2, &["bench", ".", "--users", "many"]);
}

#[test]
fn a_small_file_that_is_large_is_not_read_whole() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"sound");
    cli.ok(&["erase", "store", "--user", "ben", "-o", "ben.erased", "--yes"]);
    let key = cli.ok(&["log", "key", "store"]);
    let large = |name: &str| std::fs::File::create(cli.path(name)).unwrap().set_len(1 << 30).unwrap();
    std::fs::create_dir(cli.path("log")).unwrap();
    large("large");
    large("log/checkpoint");
    let of_ada = ["--user", "ada", "--class", "audio"];
    for args in [
        &["certificate", "show", "large"][..],
        &["certificate", "verify", "large", "--key", &key],
        &["certificate", "verify", "ben.erased", "--key", &key, "--checkpoint", "large"],
        &["certificate", "upgrade", "store", "ben.erased", "--checkpoint", "large"],
        &["log", "verify", "log", "--key", &key],
        &["export", "store", "--user", "ada", "--to", "large", "out"],
        &["grant", "add", "store", "--to", "large", "--name", "n", "--user", "ada", "--purpose", "p"],
        &["grant", "open", "store", "large", "-o", "out"],
        &[&["seal", "--to", "large", "ben.erased", "-o", "out"][..], &of_ada].concat(),
        &["unseal", "--key", "large", "ben.erased", "out"],
    ] {
        let e = cli.fails(2, args);
        assert!(e.contains("larger than 1 MiB"), "{args:?}: {e}");
    }
    let mut verify = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"));
    let out = verify.args(["large", "--key", &key]).current_dir(cli.dir.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stderr));
    large("store/keyfall");
    cli.fails(5, &["status", "store"]);
}

#[test]
fn with_json_all_that_is_said_is_json() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"sound");
    let out = cli.run(&["list", "store", "--user", "nobody", "--json"]);
    assert_eq!((out.status.code(), out.stdout), (Some(4), Vec::new()), "nothing was begun");
    for args in [
        &["get", "--json"][..],
        &["--json"],
        &["hold", "--json"],
        &["lits", "--json"],
        &["list", "store", "--after", "yesterday", "--json"],
        &["list", "store", "--no-such-thing", "--json"],
        &["--json", "put", "store", "--user", "ada", "--class", "Not A Class", "-"],
    ] {
        let e = json(&cli.fails(2, args));
        assert_eq!(e["error"]["kind"], "invalid");
        let text = e["error"]["message"].as_str().unwrap();
        assert!(!text.is_empty() && !text.contains("error: ") && !text.contains("Usage"), "{text}");
    }
    let help = cli.run(&["get", "--help", "--json"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage: "));
    assert!(cli.run(&["--version", "--json"]).stdout.starts_with(b"keyfall "));
    // After -- it is a name.
    assert!(cli.fails(2, &["get", "--", "a", "b", "--json"]).starts_with("error: "));
    let told = json(&cli.ok(&["report", "store", "--user", "ada", "-o", "report", "--json"]));
    assert_eq!((&told["user"], &told["file"], &told["records"]), (&"ada".into(), &"report".into(), &1.into()));
    json(&std::fs::read_to_string(cli.path("report")).unwrap());
    // A restore from a copy in step takes over, and has nothing to complain of.
    cli.ok(&["copy", "add", "store", "replica"]);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    let args = ["restore", "--cell", "store.cell", "--into", "new", "--adopt", "replica"];
    let out = cli.run(&[&args[..], &["--json"]].concat());
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{told}");
    assert!(told.lines().map(json).all(|line| line["note"].is_string()), "{told}");
    assert_eq!(cli.run(&["get", "new", &id]).stdout, b"sound");
}

/// Text of others that a terminal shows: it breaks no line, drives nothing, and turns nothing round.
#[test]
fn what_others_wrote_forges_no_line_and_drives_no_terminal() {
    let cli = Cli::new();
    let odd = "x\nforged line\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{200e}\u{200f}\u{2028}y";
    let acts = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || c.is_control() && c != '\n'
    };
    let shown = |args: &[&str]| {
        let out = cli.run(args);
        let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
        assert!(!text.contains("panicked"), "{args:?}: {text}");
        assert!(!text.chars().any(acts) && !text.lines().any(|line| line.starts_with("forged")), "{args:?}: {text:?}");
        (out.status.success(), text)
    };
    std::fs::write(cli.path("said"), "x").unwrap();
    let (_, told) = shown(&["create", "store", "--user", odd]);
    assert!(told.contains("x\\nforged line") && told.contains("\\u{1b}") && told.contains("\\u{202e}"), "{told}");
    let id = cli.ok(&["put", "store", "--user", odd, "--class", "audio", "--purpose", odd, "said"]);
    for args in [
        &["get", "store", &id, "--as", odd, "--purpose", odd, "-o", "back"][..],
        &["hold", "add", "store", "--user", odd, "--reason", odd, "--authority", odd],
        &["policy", "set", "store", "--user", odd, "--class", "audio", "--purpose", odd, "--until", "2999-01-01"],
        &["policy", "list", "store", "--user", odd],
        &["list", "store"],
        &["hold", "list", "store", "--user", odd],
        &["history", "store", "--user", odd],
    ] {
        assert!(shown(args).0, "{args:?}");
    }
    let (_, told) = shown(&["report", "store", "--user", odd]);
    assert!(told.contains("by x\\nforged") && told.contains("held: "), "{told}");
    cli.ok(&["report", "store", "--user", odd, "-o", "report"]);
    assert_eq!(std::fs::read_to_string(cli.path("report")).unwrap(), told);
    // It is held.
    assert!(!shown(&["erase", "store", "--user", odd, "--yes"]).0);
    assert!(!shown(&["get", odd, &id]).0);
    assert!(!shown(&["get", "store", &id, "-o", &format!("nowhere/{odd}")]).0);
    let holds = json(&cli.ok(&["hold", "list", "store", "--user", odd, "--json"]));
    assert_eq!(holds["holds"][0]["reason"], odd, "a program gets it as it is");
    let hold = holds["holds"][0]["id"].as_str().unwrap();
    assert!(shown(&["hold", "lift", "store", "--user", odd, "--id", hold, "--reason", odd, "--authority", odd]).0);
    assert!(shown(&["erase", "store", "--user", odd, "--in", "30d", "--yes"]).0);
    assert!(shown(&["plan", "list", "store", "--user", odd]).0);
    assert!(shown(&["erase", "store", "--user", odd, "--yes", "-o", "it.erased"]).0);
    assert!(shown(&["certificate", "show", "it.erased"]).0);
}
