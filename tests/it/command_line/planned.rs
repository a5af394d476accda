//! What outlasts its source, what is certified when it is done, and what a watcher sees. SPEC §6.1,
//! §6.4, §14.6.

use std::process::Stdio;

use super::{Cli, json};

/// A recording, and its transcript.
fn turn(cli: &Cli) -> (String, String) {
    let audio = cli.put("ada", "audio", b"sound");
    std::fs::write(cli.path("said"), "wake me").unwrap();
    let text = cli.ok(&[
        "put",
        "store",
        "--user",
        "ada",
        "--class",
        "transcript",
        "--from",
        &audio,
        "said",
    ]);
    (audio, text)
}

#[test]
fn what_was_derived_outlasts_a_class_and_a_limit_with_a_reason() {
    let cli = Cli::new();
    let (audio, text) = turn(&cli);
    let keeping = ["--class", "audio", "--keep-derived", "the alarm rings on"];
    let erase = |more: &[&str]| {
        cli.ok(&[&["erase", "store", "--user", "ada"][..], &keeping, more].concat())
    };
    let told = erase(&["--dry-run"]);
    assert!(told.contains("but for what was derived from it: 1 record (1 audio)"), "{told}");
    erase(&["--yes"]);
    cli.fails(3, &["get", "store", &audio]);
    assert_eq!(cli.ok(&["get", "store", &text]), "wake me");
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("the alarm rings on"));
    let user = ["erase", "store", "--user", "ada", "--keep-derived", "why"];
    assert!(cli.fails(2, &[&user[..], &["--yes"]].concat()).contains("one class"));

    let (audio, text) = turn(&cli);
    let set = ["policy", "set", "store", "--class", "audio", "--max-age", "0s"];
    let keeping = ["--keep-derived", "it rings on", "--yes", "--json"];
    let told = json(&cli.ok(&[&set[..], &keeping].concat()));
    assert_eq!((&told["keep_derived"], &told["expired"]), (&"it rings on".into(), &1.into()));
    cli.fails(3, &["get", "store", &audio]);
    assert_eq!(cli.ok(&["get", "store", &text]), "wake me");
    assert!(cli.ok(&["policy", "list", "store"]).contains("what was derived stays: it rings on"));
}

#[test]
fn a_planned_erase_leaves_a_draft_and_its_certificate_is_collected() {
    let cli = Cli::new();
    turn(&cli);
    let key = cli.ok(&["log", "key", "store"]);
    let plan = ["erase", "store", "--user", "ada", "--in", "1s", "--yes"];
    let asked = ["--authority", "ada herself", "--ground", "GDPR, article 17"];
    let told = cli.ok(&[&plan[..], &asked].concat());
    assert!(told.contains("keyfall certificate collect store"), "{told}");
    let report = cli.ok(&["report", "store", "--user", "ada"]);
    assert!(report.contains("certified for ada herself, ground: GDPR, article 17"), "{report}");
    assert!(cli.ok(&["certificate", "collect", "store"]).starts_with("no planned erase"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    cli.ok(&["tend", "store"]);
    let drafts = || std::fs::read_dir(cli.path("store.certificates")).unwrap().count();
    assert_eq!(drafts(), 1);
    let told = json(&cli.ok(&["certificate", "collect", "store", "out", "--json"]));
    let file = told["certificates"][0].as_str().unwrap();
    assert_eq!((drafts(), told["not_done"].as_u64()), (0, Some(0)));
    let shown = cli.ok(&["certificate", "show", file]);
    assert!(shown.contains("ada herself") && shown.contains("GDPR, article 17"), "{shown}");
    cli.ok(&["certificate", "verify", file, "--key", &key]);

    // Of a limit, too; a draft that came to nothing is cleared away.
    cli.put("ben", "audio", b"sound");
    std::fs::copy(cli.path(file), cli.path("store.certificates/x")).unwrap();
    let set = ["policy", "set", "store", "--class", "audio", "--max-age", "0s"];
    cli.ok(&[&set[..], &["--authority", "the board", "--yes"]].concat());
    let told = cli.ok(&["certificates", "collect", "store"]);
    assert!(told.contains("store.certificates/") && told.contains("ben"), "{told}");
}

#[test]
fn a_watcher_prints_what_falls_due() {
    let cli = Cli::new();
    let (audio, text) = turn(&cli);
    let kept = cli.put("ben", "audio", b"sound");
    cli.ok(&["erase", "store", "--record", &audio, "--in", "2s", "--yes"]);
    let watch = cli
        .command(&["watch", "store", "--for", "4s", "--json"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(watch.status.success(), "{}", String::from_utf8_lossy(&watch.stderr));
    let began = String::from_utf8(watch.stderr).unwrap();
    assert!(began.contains("watching store, from "), "{began}");
    let told = String::from_utf8(watch.stdout).unwrap();
    let mut fell: Vec<String> = told
        .lines()
        .map(|line| {
            let change = json(line);
            assert_eq!(change["change"], "fell");
            change["id"].as_str().unwrap().to_owned()
        })
        .collect();
    fell.sort();
    let mut expected = vec![audio, text];
    expected.sort();
    assert_eq!(fell, expected);
    assert_eq!(cli.ok(&["get", "store", &kept]), "sound");
}
