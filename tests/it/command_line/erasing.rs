//! Erases, dry runs and holds. SPEC §3, §6, §6.2.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Cli, json, one_line};

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
        told.contains(
            "would erase everything of user ada: 2 records (2 audio), and 1 derived from them"
        ),
        "{told}"
    );
    let told = json(&dry(&["--user", "ada", "--json"]));
    assert_eq!(
        (&told["records"], &told["classes"]["audio"], &told["derived"]),
        (&2.into(), &2.into(), &1.into())
    );
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
fn the_question_before_an_erase_says_how_many_records_fall() {
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
        told.contains(
            "Erase everything of user ada, in every copy, for ever (1 record (1 audio))? [y/N]"
        ),
        "{told}"
    );
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"sound");
}

#[test]
fn holds_from_the_command_line() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"evidence");
    let who = ["--reason", "a court asks", "--authority", "Amtsgericht"];
    cli.fails(2, &["hold", "add", "store", "--user", "ada", "--reason", "why"]);
    let hold = cli
        .ok(&[&["hold", "add", "store", "--user", "ada", "--class", "audio"][..], &who].concat());
    let e = cli.fails(7, &["erase", "store", "--user", "ada", "--yes"]);
    one_line(&e);
    assert!(e.contains("`keyfall hold list store --user ada`"), "{e}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"evidence");
    assert!(cli.ok(&["hold", "list", "store", "--user", "ada"]).contains("class audio"));
    assert_eq!(
        json(&cli.ok(&["hold", "list", "store", "--user", "ada", "--json"]))["holds"][0]["id"],
        hold
    );
    cli.fails(
        2,
        &[&["hold", "lift", "store", "--user", "ada", "--id", "no number"][..], &who].concat(),
    );
    cli.fails(4, &[&["hold", "lift", "store", "--user", "ada", "--id", "0"][..], &who].concat());
    cli.ok(&[&["hold", "lift", "store", "--user", "ada", "--id", &hold][..], &who].concat());
    let told = json(&cli.ok(&["history", "store", "--user", "ada", "--json"]));
    let what: Vec<&str> =
        told["history"].as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["held", "refused", "lifted"]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    one_line(&cli.fails(3, &["hold", "list", "store", "--user", "ada"]));
}

#[test]
fn time_ranges_from_the_command_line() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"now");
    cli.ok(&["erase", "store", "--user", "ada", "--before", "2020-01-01", "--yes"]);
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"now");
    assert_eq!(
        json(&cli.ok(&["list", "store", "--before", "2020-01-01", "--json"])),
        serde_json::json!([])
    );
    let told =
        cli.ok(&["erase", "store", "--user", "ada", "--after", "2020-01-01T00:00:00Z", "--yes"]);
    assert!(told.contains("1 record;"), "{told}");
    cli.fails(3, &["get", "store", &id]);
}

/// "nothing of it was here" was said of a name that nobody had, too: a slip in it went unseen.
#[test]
fn an_erase_of_nobody_says_so() {
    let cli = Cli::new();
    cli.ok(&["create", "store", "--user", "ada"]);
    let told = |user: &str, more: &[&str]| {
        cli.ok(&[&["erase", "store", "--yes", "--user", user][..], more].concat())
    };
    let said = told("zoe", &[]);
    assert!(said.contains("nobody of this name was here; what arrives late is refused"), "{said}");
    assert_eq!(json(&told("yan", &["--json"]))["user_was_here"], false);
    let said = told("ada", &["--class", "audio"]);
    assert!(said.contains("nothing of it was here"), "{said}");
    assert_eq!(json(&told("ada", &["--json"]))["user_was_here"], true);
}

/// The verified certificate did not say what it was about.
#[test]
fn a_verified_certificate_says_whose_records_fell_and_how_many() {
    let cli = Cli::new();
    let key = cli.ok(&["log", "key", "store"]);
    cli.put("ada", "audio", b"one");
    cli.put("ada", "action", b"two");
    cli.put("ben", "audio", b"one");
    cli.ok(&["erase", "store", "--user", "ada", "--yes", "-o", "ada.erased"]);
    let verify = ["certificate", "verify", "ada.erased", "--key", &key];
    let told = cli.ok(&verify);
    assert!(told.contains(r#"Erased: "everything" of user "ada"; 2 records"#), "{told}");
    assert!(told.contains("among 1 leaf under"), "{told}");
    let bare = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"))
        .args(&verify[2..])
        .current_dir(cli.dir.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(bare.stdout).unwrap().trim_end(), told);
    let told = json(&cli.ok(&[&verify[..], &["--json"]].concat()));
    assert_eq!((&told["user"], &told["scope"]), (&"ada".into(), &"everything".into()));
    assert_eq!((&told["records"]["audio"], &told["records"]["action"]), (&1.into(), &1.into()));
    cli.ok(&["erase", "store", "--user", "ben", "--yes", "-o", "ben.erased"]);
    let told = cli.ok(&["certificate", "verify", "ben.erased", "--key", &key]);
    assert!(told.contains("; 1 record\n") && told.contains("among 2 leaves under"), "{told}");
}
