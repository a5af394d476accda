//! What a newcomer types wrong: each error names the thing and the remedy, in one line.

use std::process::Command;

use super::{Cli, one_line};

#[test]
fn a_file_is_no_store_and_the_error_says_so() {
    let cli = Cli::empty();
    std::fs::write(cli.path("notes.txt"), "milk").unwrap();
    for args in [
        &["init", "notes.txt"][..],
        &["list", "notes.txt"],
        &["status", "notes.txt"],
        &["put", "notes.txt", "--user", "ada", "--class", "note", "notes.txt"],
        &["tend", "notes.txt", "--take-over"],
    ] {
        let e = cli.fails(2, args);
        one_line(&e);
        assert!(e.contains("notes.txt is a file, and a store is a directory"), "{args:?}: {e}");
    }
    assert_eq!(std::fs::read_dir(cli.dir.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_policy_without_a_limit_is_wrong_usage_and_leaves_the_one_that_is_set() {
    let cli = Cli::new();
    cli.ok(&["policy", "set", "store", "--class", "audio", "--max-age", "90d"]);
    for more in [&[][..], &["--yes"], &["--keep-derived", "alarms ring on"]] {
        let e = cli.fails(2, &[&["policy", "set", "store", "--class", "audio"][..], more].concat());
        one_line(&e);
        assert!(e.contains("--max-age, --max-records or --until"), "{e}");
        assert!(e.contains("`keyfall policy unset store --class audio`"), "{e}");
    }
    assert_eq!(cli.ok(&["policy", "list", "store"]), "class audio: at most 90d");
    cli.ok(&["policy", "set", "store", "--class", "health", "--readers-named"]);
}

#[test]
fn a_user_who_is_not_there_is_named_with_a_remedy() {
    let cli = Cli::new();
    for verb in ["report", "list", "history"] {
        let e = cli.fails(4, &[verb, "store", "--user", "o'ghost"]);
        one_line(&e);
        assert!(e.contains("no such user") && e.contains("check the name"), "{verb}: {e}");
        assert!(e.contains(r"`keyfall create store --user 'o'\''ghost'`"), "{verb}: {e}");
    }
}

#[test]
fn what_the_system_says_of_a_path_comes_with_a_remedy() {
    let cli = Cli::new();
    let put =
        |file: &str| ["put", "store", "--user", "ada", "--class", "note", file].map(String::from);
    let of = |args: &[String]| cli.fails(1, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let e = of(&put("missing.txt"));
    one_line(&e);
    assert!(e.starts_with("keyfall: missing.txt: ") && e.contains("; check the path"), "{e}");
    let key = cli.ok(&["log", "key", "store"]);
    let e = cli.fails(1, &["certificate", "verify", ".", "--key", &key]);
    assert!(e.contains("; name a file"), "{e}");
}

/// As nobody, who may not enter the directory that this test made. Only root can become another.
#[test]
fn a_store_that_this_user_may_not_open_is_named_with_a_remedy() {
    let cli = Cli::new();
    let store = cli.path("store").display().to_string();
    let program = env!("CARGO_BIN_EXE_keyfall");
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", program, "list", &store]);
    let ran = as_nobody.current_dir("/").output();
    let Some(out) = ran.ok().filter(|out| ![Some(126), Some(127)].contains(&out.status.code()))
    else {
        return println!("skipped: only root runs a program as another user");
    };
    let e = String::from_utf8_lossy(&out.stderr).into_owned();
    if e.contains("setpriv: ") {
        return println!("skipped: {e}");
    }
    one_line(&e);
    assert_eq!(out.status.code(), Some(1), "{e}");
    assert!(e.contains("run as a user who may, or name another place"), "{e}");
    assert!(e.contains(&store), "{e}");
}

/// The two programs that verify say the same of one file: the code, and the name once.
#[test]
fn both_verifiers_end_with_the_same_code_and_name_a_file_once() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["erase", "store", "--user", "ada", "--yes", "-o", "ada.erased"]);
    let key = cli.ok(&["log", "key", "store"]);
    cli.ok(&["init", "other", "--accept-remnants"]);
    let others = cli.ok(&["log", "key", "other"]);
    let whole = std::fs::read_to_string(cli.path("ada.erased")).unwrap();
    std::fs::write(cli.path("empty"), "").unwrap();
    std::fs::write(cli.path("changed"), whole.replacen("Records: ", "Records: 1", 1)).unwrap();
    std::fs::write(cli.path("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
    std::fs::write(cli.path("bytes"), [0xff, 0xfe]).unwrap();
    for (file, key, code) in [
        ("ada.erased", &key, 0),
        ("ada.erased", &others, 4),
        ("none", &key, 1),
        (".", &key, 1),
        ("empty", &key, 5),
        ("changed", &key, 5),
        ("large", &key, 2),
        ("bytes", &key, 5),
    ] {
        let keyfall = cli.run(&["certificate", "verify", file, "--key", key]);
        let verify = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"))
            .args([file, "--key", key])
            .current_dir(cli.dir.path())
            .output()
            .unwrap();
        let (one, other) = (&keyfall.stderr, &verify.stderr);
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        let codes = (keyfall.status.code(), verify.status.code());
        assert_eq!(codes, (Some(code), Some(code)), "{file}: {one}{other}");
        let twice = format!("{file}: {file}");
        assert!(!one.contains(&twice) && !other.contains(&twice), "{one}{other}");
        let said = |text: &str| text.split_once(": ").map(|(_, said)| said.to_owned());
        assert_eq!(said(&one), said(&other), "{file}");
    }
    let e = cli.fails(5, &["certificate", "verify", "empty", "--key", &key]);
    assert!(e.contains("the file is empty; take another copy"), "{e}");
}

#[test]
fn the_help_of_the_verifier_is_about_the_verifier() {
    let out = Command::new(env!("CARGO_BIN_EXE_keyfall-verify")).arg("--help").output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    assert!(help.starts_with("Verify erasure certificates"), "{help}");
    let cli = Cli::empty();
    for help in [
        help,
        cli.ok(&["certificate", "verify", "--help"]),
        cli.ok(&["certificate", "show", "--help"]),
    ] {
        let arguments = help.split_once("Arguments:\n").unwrap().1;
        let described = arguments.lines().next().unwrap().trim();
        let words = arguments.split("Options:").next().unwrap().split_whitespace().count();
        assert!(words > 3, "{described}: {help}");
    }
}

/// A copy that took over said that something was due, and `tend` then did nothing.
#[test]
fn a_take_over_says_that_something_is_due_only_if_it_is() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["erase", "store", "--user", "ben", "--yes"]);
    cli.ok(&["copy", "add", "store", "replica"]);
    let args = ["copy", "remove", "replica", "replica", "--cell", "store.cell", "--take-over"];
    let out = cli.run(&args);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{told}");
    assert!(told.contains("Stop any process that still has another place open"), "{told}");
    assert!(!told.contains("left undone") && !told.contains("something"), "{told}");
}

#[test]
fn a_restore_that_takes_over_says_so_once() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["copy", "add", "store", "replica"]);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    let args = ["restore", "--cell", "store.cell", "--into", "new", "--adopt", "replica"];
    let out = cli.run(&args);
    let told =
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    for once in ["owns its root cell now", "until it takes over in turn"] {
        assert_eq!(told.matches(once).count(), 1, "{told}");
    }
}
