//! Records in and out of the program, its demo and its bench. SPEC §5.5, §6.1.

use std::process::{Command, Stdio};

use super::{Cli, json, one_line};
use crate::support::bytes;

#[test]
fn a_record_goes_in_and_comes_out() {
    let cli = Cli::new();
    let content = bytes(1, 40_000);
    std::fs::write(cli.path("wake.wav"), &content).unwrap();
    let id = cli.ok(&[
        "put",
        "store",
        "--user",
        "Ada Löv\u{1F3A4}",
        "--class",
        "audio",
        "--type",
        "audio/wav",
        "wake.wav",
    ]);
    let out = cli.run(&["get", "store", &id]);
    assert_eq!(out.stdout, content);
    cli.ok(&["get", "store", &id, "-o", "back.wav"]);
    assert_eq!(std::fs::read(cli.path("back.wav")).unwrap(), content);
    let list = json(&cli.ok(&["list", "store", "--json"]));
    let entry = &list[0];
    for (field, value) in [
        ("id", id.as_str()),
        ("user", "Ada Löv\u{1F3A4}"),
        ("class", "audio"),
        ("media_type", "audio/wav"),
    ] {
        assert_eq!(entry[field], value);
    }
    assert_eq!(entry["length"], 40_000);
    assert!(entry["interaction"].is_string() && entry["created"].is_string());
    assert_eq!(
        json(&cli.ok(&[
            "list",
            "store",
            "--user",
            "Ada Löv\u{1F3A4}",
            "--class",
            "action",
            "--json"
        ])),
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
    assert_eq!(
        (&told["sources"], &told["derived"]),
        (&serde_json::json!([audio]), &serde_json::json!([alarm]))
    );
    one_line(&cli.fails(2, &["detach", "store", &alarm, "--reason", ""]));
    cli.ok(&["detach", "store", &alarm, "--reason", "it rings"]);
    // Without a reason nothing is kept.
    cli.fails(2, &["erase", "store", "--user", "ada", "--keep", "action", "--yes"]);
    let told = json(&cli.ok(&["erase", "store", "--record", &audio, "--yes", "--json"]));
    assert_eq!(
        (&told["records"], &told["derived"]),
        (&serde_json::json!(1), &serde_json::json!(1))
    );
    one_line(&cli.fails(3, &["get", "store", &text]));
    assert_eq!(cli.run(&["get", "store", &alarm]).stdout, b"wake me at 6:30");
    cli.ok(&[
        "erase",
        "store",
        "--user",
        "ada",
        "--keep",
        "action",
        "--reason",
        "it rings on",
        "--yes",
    ]);
    let told = cli.ok(&["history", "store", "--user", "ada"]);
    assert!(told.contains("it rings on") && told.contains("detached from 1 source"), "{told}");
    one_line(&cli.fails(
        3,
        &["put", "store", "--user", "ada", "--class", "action", "--from", &audio, "said.txt"],
    ));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", &bytes(1, 900_000));
    let mut child = cli
        .command(&["get", "store", &id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success() && out.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn a_small_file_that_is_large_is_not_read_whole() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"sound");
    cli.ok(&["erase", "store", "--user", "ben", "-o", "ben.erased", "--yes"]);
    let key = cli.ok(&["log", "key", "store"]);
    let large =
        |name: &str| std::fs::File::create(cli.path(name)).unwrap().set_len(1 << 30).unwrap();
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
        &[
            "grant",
            "add",
            "store",
            "--to",
            "large",
            "--name",
            "n",
            "--user",
            "ada",
            "--purpose",
            "p",
        ],
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
fn bench_measures_and_leaves_no_files() {
    let place = Cli::new();
    let few = [
        "--users",
        "20",
        "--records",
        "2",
        "--batch",
        "3",
        "--callers",
        "2",
        "--copies",
        "1",
        "--keyholders=",
    ];
    let args = [
        &["bench", ".", "--rounds", "4", "--seconds", "1", "--svg", "erase.svg", "--json"][..],
        &few,
    ]
    .concat();
    let rows: serde_json::Value = serde_json::from_str(&place.ok(&args)).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(
            row["p50_us"].as_f64().unwrap() > 0.0 && row["ratio"].as_f64().unwrap() > 0.0,
            "{row}"
        );
        assert!(row["bytes_written_per_erase"].as_u64().unwrap() > 0, "{row}");
    }
    let svg = std::fs::read_to_string(place.path("erase.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("copies in step") && svg.contains("floor"));
    let mut left: Vec<_> =
        std::fs::read_dir(place.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["erase.svg", "store", "store.cell"], "what was measured is gone");
    place.fails(2, &["bench", ".", "--users", "many"]);
}

#[test]
fn bench_measures_puts_space_and_discard() {
    let place = Cli::new();
    let bench = |parts: &str| {
        let args = [
            "bench",
            ".",
            "--json",
            "--parts",
            parts,
            "--rounds",
            "10",
            "--seconds",
            "1",
            "--among",
            "20",
            "--callers",
            "1,3",
            "--put-batch",
            "8",
            "--actions",
            "100",
            "--discard-users",
            "80",
        ];
        let rows: serde_json::Value = serde_json::from_str(&place.ok(&args)).unwrap();
        rows.as_array().unwrap().clone()
    };
    let puts = bench("puts");
    assert_eq!(puts.len(), 3);
    for (row, samples) in puts.iter().zip([10, 30, 10]) {
        let above_zero = |field: &str| row[field].as_f64().unwrap() > 0.0;
        assert!(above_zero("p50_us") && above_zero("floor_us") && above_zero("ratio"), "{row}");
        assert!(row["bytes_written_per_put"].as_u64().unwrap() > 200, "{row}");
        assert_eq!(row["samples"], samples, "{row}");
    }
    assert!(puts[1]["puts_per_second"].as_f64().unwrap() > 0.0, "{}", puts[1]);
    assert_eq!(puts[2]["puts_per_sample"], 8);
    let mut space = bench("space");
    let discard = bench("discard,discard");
    // With no discard running and with one, a thread that puts and one that erases.
    assert_eq!(discard.iter().filter(|row| row["p99_us"].as_f64() > Some(0.0)).count(), 4);
    space.extend(discard.into_iter().filter(|row| row["p99_us"].is_null()));
    let records: Vec<_> = space.iter().map(|row| row["records"].as_u64().unwrap()).collect();
    assert_eq!(records, [100, 10, 80]);
    for row in space {
        let bytes = |field: &str| row[field].as_u64().unwrap();
        assert_eq!(bytes("plain_bytes"), 200 * bytes("records"), "{row}");
        assert!(bytes("disk_bytes_after_discard") > bytes("plain_bytes"), "{row}");
        // The cleaner was there before the discard where space is measured.
        let most = row["disk_to_plain_at_most"].as_f64();
        assert!(bytes("blobs_discarded") > 0 || most > Some(1.0), "{row}");
    }
    let left = std::fs::read_dir(place.path(".")).unwrap().count();
    assert_eq!(left, 2, "the store and its cell: what was measured is gone");
    let table = place.ok(&["bench", "--parts", "space", "--actions", "20", "--among", "5"]);
    assert!(table.contains("put one at a time") && !table.contains("floor"), "{table}");
    let refused = place.fails(2, &["bench", "--parts", "puts", "--svg", "erase.svg"]);
    assert!(refused.contains("add erase to --parts"), "{refused}");
}

#[test]
fn the_demo_keeps_its_word() {
    let cli = Cli::empty();
    let told = cli.ok(&["demo"]);
    assert!(
        told.contains("4 users, 37 records: ")
            && told.contains("25 of 25 records, byte for byte")
            && told.contains("0 of 12 records"),
        "{told}"
    );
    assert!(told.lines().count() <= 40, "a screenful");
    let grade = told.lines().find(|line| line.contains("LIMITED: ")).unwrap_or_default();
    assert!(grade.contains("had been opened 3 times"), "{told}");
    assert_eq!(json(&cli.ok(&["demo", "--json"]))["kept"], true);
}

/// Its rows were on one line each, without a space after the colons, unlike what all others print.
#[test]
fn a_list_is_the_json_that_the_other_commands_print() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"one");
    cli.put("ada", "audio", b"two");
    let told = cli.ok(&["list", "store", "--json"]);
    assert_eq!(format!("{:#}", json(&told)), told);
}

#[test]
fn what_is_left_out_is_told_as_it_is_typed() {
    let cli = Cli::new();
    let e = cli.fails(2, &["get", "store"]);
    assert!(e.contains("ID is missing; give it after the store: `keyfall get store ID`"), "{e}");
    let e = cli.fails(2, &["put", "store", "--user", "ada", "--class", "audio"]);
    assert!(e.contains("`keyfall put store FILE --user ada --class audio`"), "{e}");
}

/// The variable may have been set long ago, for another store.
#[test]
fn an_error_about_a_cell_that_was_named_says_what_named_it() {
    let cli = Cli::new();
    cli.ok(&["init", "other", "--accept-remnants"]);
    for cell in ["nowhere", "other.cell"] {
        let named = format!("now `--cell` or KEYFALL_CELL names {cell}");
        let out = cli.command(&["list", "store"]).env("KEYFALL_CELL", cell).output().unwrap();
        let e = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && e.contains(&named), "{e}");
        let out = cli.run(&["create", "store", "--user", "ada", "--cell", cell]);
        let e = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && e.contains(&named), "{e}");
    }
}
