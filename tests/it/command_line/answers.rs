//! What the program answers: exit codes, messages, JSON. SPEC §6.

use std::path::Path;
use std::process::Command;

use super::{Cli, json, one_line};

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
        assert!(
            e.contains(&format!("{name} is missing")) && !e.contains("which store"),
            "{args:?}: {e}"
        );
    }
    for args in
        [&["put", "wake.wav", "--user", "ada", "--class", "audio"][..], &["accept", "wake.wav"]]
    {
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
    assert!(
        cli.ok(&["erase", "store", "--user", "nobody", "--yes"])
            .contains("what arrives late is refused")
    );
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
    cli.put("ada", "audio", b"again");
}

/// What a message says to type names the store, and the cell where that was named, as a shell takes
/// them.
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
    assert!(
        e.contains(r"`keyfall plan list 'ada'\''s store' --cell 'the cell' --user 'Ada L.'`"),
        "{e}"
    );
    let e = json(
        &cli.fails(
            4,
            &[
                &["hold", "lift", "--id", "7", "--reason", "r", "--authority", "a", "--json"][..],
                &on,
            ]
            .concat(),
        ),
    );
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
        for line in std::fs::read_to_string(&place)
            .unwrap()
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
        {
            for command in
                line.split('`').skip(1).step_by(2).filter_map(|part| part.strip_prefix("keyfall "))
            {
                let named = command.contains("STORE")
                    || !verbs.iter().any(|verb| command.starts_with(verb));
                assert!(named, "{}: {line}", place.display());
            }
        }
    }
}

#[test]
fn every_command_says_what_it_did() {
    let cli = Cli::new();
    assert_eq!(cli.ok(&["create", "store", "--user", "ada"]), "created ada");
    assert_eq!(
        cli.ok(&["create", "store", "--user", "ada"]),
        "ada exists already; nothing was changed"
    );
    assert_eq!(json(&cli.ok(&["create", "store", "--user", "ada", "--json"]))["created"], false);
    assert_eq!(json(&cli.ok(&["create", "store", "--user", "ben", "--json"]))["created"], true);
    // A command that may own the store and only reads it is not reported as read-only.
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
    let seal = [
        "seal",
        "--to",
        "ada.inbox",
        "--user",
        "ada",
        "--class",
        "audio",
        "back",
        "-o",
        "back.sealed",
    ];
    assert_eq!(cli.ok(&seal), "sealed 5 B into back.sealed");
    cli.ok(&["key", "skill"]);
    let public = std::fs::read(cli.path("skill.pub")).unwrap();
    let e = cli.fails(1, &["key", "skill"]);
    one_line(&e);
    assert!(
        e.contains("skill already exists")
            && e.contains("never replaced")
            && !e.contains("os error"),
        "{e}"
    );
    assert_eq!(std::fs::read(cli.path("skill.pub")).unwrap(), public);
    let grant = [
        "grant",
        "add",
        "store",
        "--to",
        "skill.pub",
        "--name",
        "n",
        "--user",
        "ada",
        "--purpose",
        "p",
    ];
    let ticket = cli.ok(&grant);
    let told = cli
        .ok(&["ask", "--key", "skill", "--ticket", &ticket, "-o", "request", "--secret", "once"]);
    assert!(told.contains("request: ") && told.contains("once: "), "{told}");
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
    assert_eq!(
        (&told["user"], &told["file"], &told["records"]),
        (&"ada".into(), &"report".into(), &1.into())
    );
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

/// Text of others that a terminal shows: it breaks no line, drives nothing, and turns nothing
/// round.
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
        assert!(
            !text.chars().any(acts) && !text.lines().any(|line| line.starts_with("forged")),
            "{args:?}: {text:?}"
        );
        (out.status.success(), text)
    };
    std::fs::write(cli.path("said"), "x").unwrap();
    let (_, told) = shown(&["create", "store", "--user", odd]);
    assert!(
        told.contains("x\\nforged line") && told.contains("\\u{1b}") && told.contains("\\u{202e}"),
        "{told}"
    );
    let id = cli.ok(&["put", "store", "--user", odd, "--class", "audio", "--purpose", odd, "said"]);
    for args in [
        &["get", "store", &id, "--as", odd, "--purpose", odd, "-o", "back"][..],
        &["hold", "add", "store", "--user", odd, "--reason", odd, "--authority", odd],
        &[
            "policy",
            "set",
            "store",
            "--user",
            odd,
            "--class",
            "audio",
            "--purpose",
            odd,
            "--until",
            "2999-01-01",
        ],
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
    assert!(
        shown(&[
            "hold",
            "lift",
            "store",
            "--user",
            odd,
            "--id",
            hold,
            "--reason",
            odd,
            "--authority",
            odd
        ])
        .0
    );
    assert!(shown(&["erase", "store", "--user", odd, "--in", "30d", "--yes"]).0);
    assert!(shown(&["plan", "list", "store", "--user", odd]).0);
    assert!(shown(&["erase", "store", "--user", odd, "--yes", "-o", "it.erased"]).0);
    assert!(shown(&["certificate", "show", "it.erased"]).0);
}
