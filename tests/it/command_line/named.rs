//! Names, metadata and digests of records on the command line. SPEC §6.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Cli, json, one_line};
use crate::speech::make_corpus;
use crate::support::bytes;

#[test]
fn a_record_has_a_name_on_the_command_line() {
    let cli = Cli::new();
    let content = bytes(1, 40_000);
    std::fs::write(cli.path("wake.wav"), &content).unwrap();
    std::fs::write(cli.path("other.wav"), b"other").unwrap();
    let put = ["put", "store", "--user", "ada", "--class", "audio", "--name", "2026/wake.wav"];
    let put = |more: &[&'static str]| [&put[..], more].concat();
    let id = cli.ok(&put(&["--meta", "room=kitchen", "--meta", "empty=", "wake.wav"]));
    assert_eq!(cli.ok(&put(&["--meta", "room=kitchen", "--meta", "empty=", "wake.wav"])), id);
    let named = ["--user", "ada", "--name", "2026/wake.wav"];
    let of =
        |verb: &'static str, more: &[&'static str]| [&[verb, "store"], &named[..], more].concat();
    assert_eq!(cli.run(&of("get", &[])).stdout, content);
    cli.ok(&of("get", &["--as", "ada", "--purpose", "to hear it", "-o", "back.wav"]));
    assert_eq!(std::fs::read(cli.path("back.wav")).unwrap(), content);
    let digest = HEXLOWER.encode(&Sha256::digest(&content));
    for told in [cli.ok(&of("info", &["--json"])), cli.ok(&["info", "store", &id, "--json"])] {
        let told = json(&told);
        assert_eq!(told["name"], "2026/wake.wav");
        assert_eq!(told["sha256"], digest.as_str());
        assert_eq!(told["meta"], serde_json::json!({"room": "kitchen", "empty": ""}));
    }
    let told = cli.ok(&of("info", &[]));
    for part in [&*digest, "2026/wake.wav", "meta room", "kitchen", &*id] {
        assert!(told.contains(part), "{told}");
    }
    assert!(cli.fails(1, &put(&["--if-absent", "other.wav"])).contains("keyfall info"));
    let next = cli.ok(&put(&["--if-is", Box::leak(id.clone().into_boxed_str()), "other.wav"]));
    one_line(&cli.fails(3, &["get", "store", &id]));
    one_line(&cli.fails(1, &put(&["--if-is", Box::leak(id.into_boxed_str()), "wake.wav"])));
    cli.put("ada", "transcript", b"without a name");
    cli.ok(&["put", "store", "--user", "ada", "--class", "action", "--name", "b", "other.wav"]);
    let listed = json(&cli.ok(&["list", "store", "--user", "ada", "--prefix", "20", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], next.as_str());
    let listed = json(&cli.ok(&["list", "store", "--user", "ada", "--prefix", "", "--json"]));
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&"2026/wake.wav".into(), &"b".into()));
    assert!(cli.ok(&["list", "store", "--user", "ada", "--prefix", ""]).contains("NAME"));
    one_line(&cli.fails(4, &["get", "store", "--user", "ada", "--name", "2026/other"]));
    for wrong in [
        &["list", "store", "--prefix", "a"][..],
        &["get", "store", "--name", "a"],
        &["info", "store"],
        &["put", "store", "--user", "a", "--class", "audio", "--if-absent", "wake.wav"],
        &["put", "store", "--user", "a", "--class", "audio", "--meta", "room", "wake.wav"],
    ] {
        cli.fails(2, wrong);
    }
    cli.ok(&["export", "store", "--user", "ada", "out"]);
}

#[test]
fn a_corpus_that_is_imported_again_is_there_once() {
    let cli = Cli::new();
    make_corpus(&cli.path("corpus"), 3, 20, 900, "again");
    let import = ["import", "store", "corpus", "--actions", "corpus/actions.jsonl", "--json"];
    let first = json(&cli.ok(&import));
    assert_eq!(first["already_there"], 0);
    let list = || json(&cli.ok(&["list", "store", "--json"])).as_array().unwrap().clone();
    let records = list();
    let again = json(&cli.ok(&import));
    assert_eq!(again["already_there"], records.len());
    assert_eq!(list(), records);
    // A transcript that was corrected takes the place of the one before.
    let table = cli.path("corpus/en/validated.tsv");
    let rows =
        std::fs::read_to_string(&table).unwrap().replacen("sentence\" number", "word\" no", 1);
    std::fs::write(&table, rows).unwrap();
    cli.ok(&import);
    let now = list();
    assert_eq!(now.len(), records.len());
    let gone = records.iter().filter(|record| !now.contains(record)).count();
    assert!((1..=2).contains(&gone), "the transcript, and the action from it: {gone}");
    let names = json(&cli.ok(&[
        "list",
        "store",
        "--user",
        "client-again-0000",
        "--prefix",
        "en/clips/0.wav",
        "--json",
    ]));
    let names: Vec<_> = names.as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["en/clips/0.wav", "en/clips/0.wav.1.json", "en/clips/0.wav.txt"]);
}
