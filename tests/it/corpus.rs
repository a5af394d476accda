//! End to end: a speech corpus goes in, is copied, one user is erased, everybody else comes back.
//! SPEC §5, §6, §8.
//!
//! `KEYFALL_CORPUS` names a corpus in the layout of Mozilla Common Voice with `actions.jsonl`
//! beside the locales; without it one is made.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::BlobName;
use keyfall::store::{SledStore, Store};
use keyfall::{Engine, ErrorKind, Options, Query, RecordId};

use crate::command_line::Cli;
use crate::support::{bytes, error_kind, read_record};

/// What a corpus says: user, class, content; in the order of its rows.
struct Expected {
    dir: PathBuf,
    records: Vec<(String, &'static str, Vec<u8>)>,
}

/// Makes a corpus of `clips` recordings of `users` users in two locales.
pub fn make_corpus(dir: &Path, users: usize, clips: usize, len: usize, salt: &str) {
    let mut actions = String::new();
    for locale in ["en", "fr"] {
        std::fs::create_dir_all(dir.join(locale).join("clips")).unwrap();
        let mut rows = String::from("client_id\tpath\tsentence_id\tsentence\tlocale\n");
        for n in 0..clips / 2 {
            let user = format!("client-{salt}-{:04}", n % users);
            let seed = n as u64 * 31
                + locale.len() as u64
                + salt.bytes().map(u64::from).sum::<u64>() * 1000;
            std::fs::write(
                dir.join(locale).join("clips").join(format!("{n}.wav")),
                bytes(seed, len + n),
            )
            .unwrap();
            rows.push_str(&format!(
                "{user}\t{n}.wav\ts{n}\tThe \"sentence\" number {n} of {salt}, in {locale}.\t{locale}\n"
            ));
            if n % 3 == 0 {
                actions.push_str(&format!(
                    "{{\"client_id\": \"{user}\", \"clip\": \"{locale}/clips/{n}.wav\", \"kind\": \"ride\", \"text\": \"trip {n} {salt}\"}}\n"
                ));
            }
        }
        std::fs::write(dir.join(locale).join("validated.tsv"), rows).unwrap();
    }
    std::fs::write(dir.join("actions.jsonl"), actions).unwrap();
}

fn expected(scratch: &Path) -> Expected {
    let dir = match std::env::var_os("KEYFALL_CORPUS") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let dir = scratch.join("corpus");
            make_corpus(&dir, 8, 60, 20_000, "made");
            dir
        }
    };
    let dir = dir.canonicalize().unwrap();
    let mut actions: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("actions.jsonl")).unwrap().lines() {
        let action: serde_json::Value = serde_json::from_str(line).unwrap();
        actions.entry(action["clip"].as_str().unwrap().to_owned()).or_default().push(action);
    }
    let mut records = Vec::new();
    let mut locales: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    locales.sort();
    for locale in locales {
        let rows = std::fs::read_to_string(locale.join("validated.tsv")).unwrap();
        for row in rows.lines().skip(1) {
            let fields: Vec<_> = row.split('\t').collect();
            let clip =
                format!("{}/clips/{}", locale.file_name().unwrap().to_str().unwrap(), fields[1]);
            let user = fields[0].to_owned();
            records.push((user.clone(), "audio", std::fs::read(dir.join(&clip)).unwrap()));
            records.push((user.clone(), "transcript", fields[3].as_bytes().to_vec()));
            for mut action in actions.remove(&clip).unwrap_or_default() {
                let object = action.as_object_mut().unwrap();
                object.remove("clip");
                object.remove("client_id");
                records.push((user.clone(), "action", serde_json::to_vec(&action).unwrap()));
            }
        }
    }
    Expected { dir, records }
}

fn open(cli: &Cli, store: &str) -> Engine {
    let store = SledStore::open(&cli.path(store)).unwrap();
    let cell = FileCell::open(&cli.path("store.cell"), Arc::new(System)).unwrap();
    Engine::open(Arc::new(store), Arc::new(cell), Options::default()).unwrap()
}

fn ids(engine: &Engine) -> Vec<(RecordId, String, String)> {
    let mut query = Query::default();
    let mut all = Vec::new();
    loop {
        let page = engine.list(&query).unwrap();
        all.extend(
            page.records.into_iter().map(|r| (r.id, r.user.to_string(), r.class.to_string())),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

/// Every record but the erased user's, byte for byte, and nothing else.
fn check(
    engine: &Engine,
    expected: &Expected,
    erased: &str,
    ids_before: &[(RecordId, String, String)],
) {
    let mut there: Vec<(String, String, Vec<u8>)> = ids(engine)
        .into_iter()
        .map(|(id, user, class)| (user, class, read_record(engine, &id).unwrap()))
        .collect();
    let mut wanted: Vec<(String, String, Vec<u8>)> = expected
        .records
        .iter()
        .filter(|(user, ..)| user != erased)
        .map(|(u, c, b)| (u.clone(), (*c).to_owned(), b.clone()))
        .collect();
    there.sort();
    wanted.sort();
    assert!(there == wanted, "{} records came back, {} were wanted", there.len(), wanted.len());
    let gone: Vec<_> = ids_before.iter().filter(|(_, user, _)| user == erased).collect();
    assert!(!gone.is_empty());
    for (id, ..) in gone {
        assert_eq!(error_kind(read_record(engine, id)), ErrorKind::Erased);
    }
}

/// Looks for 16-byte windows of what went in, in every file below a directory.
struct Windows {
    filter: Vec<u64>,
    exact: HashSet<[u8; 16]>,
}

impl Windows {
    fn slot(window: &[u8]) -> (usize, u64) {
        let a = u64::from_le_bytes(window[..8].try_into().unwrap());
        let b = u64::from_le_bytes(window[8..].try_into().unwrap());
        let hash = (a ^ b.rotate_left(31)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 35;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    /// Windows that say something: silence is found anywhere.
    fn telling(window: &[u8]) -> bool {
        window.iter().collect::<HashSet<_>>().len() >= 7
    }

    fn of<'c>(contents: impl Iterator<Item = &'c [u8]>) -> Self {
        let mut windows = Windows { filter: vec![0; 1 << 23], exact: HashSet::new() };
        for window in contents.flat_map(|c| c.windows(16)).filter(|w| Self::telling(w)) {
            let (at, bit) = Self::slot(window);
            windows.filter[at] |= bit;
            windows.exact.insert(window.try_into().unwrap());
        }
        windows
    }

    fn found_below(&self, dir: &Path) -> u64 {
        let mut found = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found += self.found_below(&path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for window in bytes.windows(16) {
                let (at, bit) = Self::slot(window);
                found += u64::from(self.filter[at] & bit != 0 && self.exact.contains(window));
            }
        }
        found
    }
}

#[test]
fn a_corpus_goes_in_one_user_goes_and_the_rest_comes_back() {
    let cli = Cli::new();
    let expected = expected(cli.dir.path());
    let corpus = expected.dir.to_str().unwrap();
    let actions = expected.dir.join("actions.jsonl");
    let told =
        cli.ok(&["import", "store", corpus, "--actions", actions.to_str().unwrap(), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let count = |class: &str| expected.records.iter().filter(|r| r.1 == class).count();
    assert_eq!(told["recordings"], count("audio"));
    assert_eq!(told["transcripts"], count("transcript"));
    assert_eq!(told["actions"], count("action"));
    let users: HashSet<_> = expected.records.iter().map(|r| r.0.as_str()).collect();
    assert_eq!(told["users"], users.len());
    if std::env::var_os("KEYFALL_CORPUS").is_some() {
        println!("corpus: {told}");
    }
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "backup"]);

    // No window of what went in, nor a user's name, stands in any file of the store or a copy.
    let names = users.iter().map(|u| u.as_bytes());
    let windows = Windows::of(expected.records.iter().map(|r| &r.2[..]).chain(names));
    assert!(windows.exact.len() > 100_000);
    let control = cli.path("control");
    std::fs::create_dir(&control).unwrap();
    std::fs::write(control.join("leak"), [&[0; 5], &expected.records[0].2[..]].concat()).unwrap();
    assert!(windows.found_below(&control) > 0, "the search finds what is there");
    for place in ["store", "replica", "backup"] {
        assert_eq!(windows.found_below(&cli.path(place)), 0, "plaintext in {place}");
    }

    let before = ids(&open(&cli, "store"));
    assert_eq!(before.len(), expected.records.len());
    let erased = expected.records[0].0.clone();
    cli.ok(&["erase", "store", "--user", &erased, "--yes"]);
    let audit = cli.ok(&["audit", "store", "backup", "--json"]);
    let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["clean"], true, "{audit}");
    assert_eq!(audit["places"].as_array().unwrap().len(), 3);
    std::fs::remove_dir_all(cli.path("store")).unwrap();

    cli.ok(&["restore", "--cell", "store.cell", "--into", "from-replica", "replica"]);
    check(&open(&cli, "from-replica"), &expected, &erased, &before);

    // Of the replica only the tree is left; the payloads come from the backup, which opens nothing
    // by itself.
    cli.fails(6, &["restore", "--cell", "store.cell", "--into", "from-backup", "backup"]);
    {
        let (replica, tree) = (
            SledStore::open(&cli.path("replica")).unwrap(),
            SledStore::create(&cli.path("tree")).unwrap(),
        );
        let engine = open(&cli, "from-replica");
        let payloads = payload_names(&engine);
        for name in keyfall::testing::listed(&replica, 1000).unwrap() {
            if !payloads.contains(&name) {
                tree.put(&[(name, replica.get(&name).unwrap().unwrap())]).unwrap();
            }
        }
        tree.commit(&[], None, &replica.head().unwrap().unwrap()).unwrap();
        let (all, pages) = (replica.usage().unwrap().blobs, tree.usage().unwrap().blobs);
        assert!(pages < all * 2 / 3, "{pages} of {all} blobs are pages");
    }
    cli.fails(5, &["restore", "--cell", "store.cell", "--into", "from-tree", "tree"]);
    cli.ok(&["restore", "--cell", "store.cell", "--into", "from-backup", "backup", "tree"]);
    check(&open(&cli, "from-backup"), &expected, &erased, &before);
    let told = cli.ok(&["audit", "from-backup", "backup", "tree", "from-replica", "--json"]);
    let audit: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(audit["clean"], true, "{audit}");
}

/// Names of every payload segment that lives.
fn payload_names(engine: &Engine) -> HashSet<BlobName> {
    keyfall::testing::payload_names(engine).unwrap().into_iter().collect()
}

#[test]
fn a_row_without_its_file_imports_nothing() {
    let cli = Cli::new();
    let dir = cli.path("corpus");
    make_corpus(&dir, 2, 12, 500, "x");
    std::fs::remove_file(dir.join("fr/clips/3.wav")).unwrap();
    let e = cli.fails(2, &["import", "store", dir.to_str().unwrap()]);
    assert!(e.contains("3.wav") && e.contains("--skip-missing"), "{e}");
    assert_eq!(cli.ok(&["list", "store", "--json"]), "[]");
    let told = cli.ok(&["import", "store", dir.to_str().unwrap(), "--skip-missing"]);
    assert!(told.contains("11 recordings"), "{told}");
    let one = cli.ok(&[
        "import",
        "store",
        dir.join("en").to_str().unwrap(),
        "--actions",
        dir.join("actions.jsonl").to_str().unwrap(),
    ]);
    assert!(
        one.contains("6 recordings") && one.contains("2 actions"),
        "a locale's folder, with its actions: {one}"
    );
}

#[test]
fn odd_corpora_are_refused_with_what_is_wrong() {
    let cli = Cli::new();
    for (name, table, expect) in [
        ("empty", None, "validated.tsv"),
        ("columns", Some("a\tb\n1\t2\n"), "client_id"),
        ("short", Some("client_id\tpath\tsentence\nonly-one\n"), "too few columns"),
        (
            "escape",
            Some("client_id\tpath\tsentence\nu\t../../../etc/passwd\ts\n"),
            "not a file in clips",
        ),
    ] {
        let dir = cli.path(name);
        std::fs::create_dir_all(dir.join("clips")).unwrap();
        if let Some(table) = table {
            std::fs::write(dir.join("validated.tsv"), table).unwrap();
        }
        let e = cli.fails(2, &["import", "store", dir.to_str().unwrap()]);
        assert!(e.contains(expect), "{name}: {e}");
    }
    let dir = cli.path("corpus");
    make_corpus(&dir, 2, 4, 50, "y");
    std::fs::write(cli.path("bad.jsonl"), "{not json\n").unwrap();
    cli.fails(2, &["import", "store", dir.to_str().unwrap(), "--actions", "bad.jsonl"]);
    assert_eq!(cli.ok(&["list", "store", "--json"]), "[]");
}

/// A corpus of one locale: each row is client, clip and sentence, as they stand in the table.
fn one_locale(dir: &Path, rows: &[(&str, &str, &str)]) {
    std::fs::create_dir_all(dir.join("clips")).unwrap();
    let mut table = String::from("client_id\tpath\tsentence\n");
    for (client, clip, sentence) in rows {
        std::fs::write(dir.join("clips").join(clip.trim_end()), b"sound").unwrap();
        table.push_str(&format!("{client}\t{clip}\t{sentence}\n"));
    }
    std::fs::write(dir.join("validated.tsv"), table).unwrap();
}

#[test]
fn a_row_with_a_tab_or_a_line_break_in_a_cell_is_named_and_nothing_is_imported() {
    // A transcript was cut short at the TAB without a word; a CR or LF was told as a clip that is
    // not there.
    for (name, row, line) in [
        ("tab", ("u", "2.wav", "cut\there"), "line 3"),
        ("lf", ("u", "2.wav", "cut\nhere"), "line 4"),
        ("lf at the end", ("u", "2.wav", "cut\n"), "line 4"),
        ("cr", ("u", "2.wav", "cut\rhere"), "line 3"),
        ("cr at the end", ("u", "2.wav", "cut\r"), "line 3"),
        ("tab before", ("u\t", "2.wav", "x"), "line 3"),
        ("lf before", ("u\nu", "2.wav", "x"), "line 3"),
    ] {
        let cli = Cli::new();
        let dir = cli.path("corpus");
        one_locale(&dir, &[("u", "1.wav", "whole"), row, ("u", "3.wav", "whole")]);
        for extra in [&[][..], &["--skip-missing"]] {
            let e =
                cli.fails(2, &[&["import", "store", dir.to_str().unwrap()][..], extra].concat());
            assert!(e.contains(line) && e.contains("nothing was imported"), "{name}: {e}");
            assert_eq!(cli.ok(&["list", "store", "--json"]), "[]", "{name}");
        }
    }
    // What is right stays right: a BOM, CRLF throughout, quotes, no end of the last line.
    let cli = Cli::new();
    let dir = cli.path("corpus");
    one_locale(&dir, &[("u", "1.wav", "a \"b\" c"), ("u", "2.wav", "d")]);
    let table = std::fs::read_to_string(dir.join("validated.tsv")).unwrap().replace('\n', "\r\n");
    std::fs::write(dir.join("validated.tsv"), format!("\u{FEFF}{}", table.trim_end())).unwrap();
    assert!(cli.ok(&["import", "store", dir.to_str().unwrap()]).contains("2 recordings"));
    std::fs::write(dir.join("validated.tsv"), table.replacen("\r\n", "\n", 1)).unwrap();
    cli.fails(2, &["import", "store", dir.to_str().unwrap()]);
}

#[test]
fn rows_of_an_erased_user_are_counted_and_the_rest_goes_in() {
    let cli = Cli::new();
    cli.put("gone", "audio", b"x");
    cli.ok(&["erase", "store", "--user", "gone", "--yes"]);
    let dir = cli.path("corpus");
    let rows: Vec<_> =
        (0..100).map(|n| (if n % 10 == 3 { "gone" } else { "here" }, format!("{n}.wav"))).collect();
    let rows: Vec<_> = rows.iter().map(|(client, clip)| (*client, clip.as_str(), "x")).collect();
    one_locale(&dir, &rows);
    std::fs::write(
        dir.join("a.jsonl"),
        "{\"clip\": \"corpus/clips/3.wav\"}\n{\"clip\": \"corpus/clips/4.wav\"}\n",
    )
    .unwrap();
    let (dir, actions) = (dir.to_str().unwrap(), dir.join("a.jsonl"));
    let import = ["import", "store", dir, "--actions", actions.to_str().unwrap()];
    let e = cli.fails(3, &[&import[..], &["--strict"]].concat());
    assert!(e.contains("gone") && e.contains("line 5") && e.contains("9 more"), "{e}");
    assert_eq!(cli.ok(&["list", "store", "--json"]), "[]");
    let out = cli.run(&[&import[..], &["--json"]].concat());
    assert!(out.status.success() && String::from_utf8_lossy(&out.stderr).contains("gone"));
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&told["recordings"], &told["refused"]["erased"]),
        (&90.into(), &10.into()),
        "{told}"
    );
    assert_eq!((&told["actions"], &told["passed_over_actions"]), (&1.into(), &1.into()), "{told}");
    let told = cli.ok(&import);
    assert!(
        told.contains("10 of users that were erased") && told.contains("0 rows without a clip"),
        "{told}"
    );
    // A policy refuses as well.
    cli.ok(&[
        "policy",
        "set",
        "store",
        "--class",
        "audio",
        "--user",
        "here",
        "--until",
        "2020-01-01",
        "--yes",
    ]);
    let told: serde_json::Value =
        serde_json::from_str(&cli.ok(&[&import[..], &["--json"]].concat())).unwrap();
    assert_eq!(
        (&told["recordings"], &told["refused"]["policy"]),
        (&0.into(), &90.into()),
        "{told}"
    );
    cli.fails(3, &[&import[..], &["--strict"]].concat());
}

#[test]
fn an_action_for_one_user_on_the_clip_of_another_is_refused() {
    let cli = Cli::new();
    let dir = cli.path("corpus");
    one_locale(&dir, &[("ada", "1.wav", "x"), ("ben", "2.wav", "y")]);
    let actions = dir.join("a.jsonl");
    let import = ["import", "store", dir.to_str().unwrap(), "--actions", actions.to_str().unwrap()];
    for (text, words) in [
        (
            "{\"clip\": \"corpus/clips/1.wav\"}\n{\"clip\": \"corpus/clips/2.wav\", \"client_id\": \"ada\"}\n",
            ["ada", "ben", "line 2"],
        ),
        (
            "{\"clip\": \"corpus/clips/1.wav\", \"client_id\": 7}\n",
            ["line 1", "client_id", "not text"],
        ),
    ] {
        std::fs::write(&actions, text).unwrap();
        let e = cli.fails(2, &import);
        assert!(words.iter().all(|word| e.contains(word)), "{e}");
        assert_eq!(cli.ok(&["list", "store", "--json"]), "[]");
    }
    std::fs::write(
        &actions,
        "{\"clip\": \"corpus/clips/2.wav\", \"client_id\": \"ben\"}\n{\"clip\": \"no\"}\n",
    )
    .unwrap();
    let told = cli.ok(&import);
    assert!(
        told.contains("1 action of 2 users")
            && told.contains("1 action with a clip that no row has"),
        "{told}"
    );
}

#[test]
fn a_corpus_that_changes_while_it_is_imported_is_found_out() {
    use std::io::{BufRead, BufReader, Read};
    let long = "c".repeat(400);
    for change in ["clip", "table"] {
        let cli = Cli::new();
        let dir = cli.path("corpus");
        let rows: Vec<_> = (0..2000).map(|n| format!("{n}.wav")).collect();
        one_locale(
            &dir,
            &rows.iter().map(|clip| (long.as_str(), clip.as_str(), "x")).collect::<Vec<_>>(),
        );
        let mut import = cli.command(&["import", "store", dir.to_str().unwrap(), "--ids"]);
        let mut child = import
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ids = BufReader::new(child.stdout.take().unwrap());
        ids.read_line(&mut String::new()).unwrap();
        // Some rows are in, and the rest waits for somebody to read the ids.
        match change {
            "clip" => std::fs::write(dir.join("clips/1999.wav"), b"other").unwrap(),
            _ => {
                let table = std::fs::read_to_string(dir.join("validated.tsv")).unwrap();
                std::fs::write(
                    dir.join("validated.tsv"),
                    table.replace("1999.wav\tx", "1999.wav\ty"),
                )
                .unwrap();
            }
        }
        ids.read_to_end(&mut Vec::new()).unwrap();
        let out = child.wait_with_output().unwrap();
        let e = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{change}: {e}");
        assert!(
            e.contains("changed while it was imported") && e.contains("of 2000 rows, which are in"),
            "{change}: {e}"
        );
    }
}

#[test]
fn a_table_larger_than_memory_is_read_row_by_row() {
    use std::io::Write;
    let cli = Cli::new();
    let dir = cli.path("corpus");
    one_locale(&dir, &[("u", "1.wav", "x")]);
    let mut table =
        std::io::BufWriter::new(std::fs::File::create(dir.join("validated.tsv")).unwrap());
    table.write_all(b"client_id\tpath\tsentence\n").unwrap();
    let sentence = "word ".repeat(120);
    for n in 0..200_000 {
        writeln!(table, "client-{n}\t1.wav\t{sentence}").unwrap();
    }
    // The last row keeps all of it out.
    table.write_all(b"u\t1.wav\tbro\tken\n").unwrap();
    table.flush().unwrap();
    let mut child = cli
        .command(&["import", "store", dir.to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let code = loop {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(
            high.map_or(0, |text| text.trim().trim_end_matches(" kB").parse::<u64>().unwrap()),
        );
        if let Some(code) = child.try_wait().unwrap() {
            break code;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert_eq!(code.code(), Some(2));
    println!("{peak} KiB for a table of 120 MB");
    assert!(peak < 60 << 10, "{peak} KiB");
}
