//! End to end, over directories: a speech corpus goes in, is copied, one user is erased, everybody
//! else comes back; and what is wrong with a corpus is told. SPEC §5, §6, §8.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::{SledStore, Store};
use keyfall::{Engine, Options};

use crate::command_line::Cli;
use crate::speech::{Places, corpus, goes_in_and_comes_back, make_corpus};
use crate::support::files;

impl Places for Cli {
    fn place(&self, name: &str) -> String {
        name.to_owned()
    }

    fn ok(&self, args: &[&str]) -> String {
        Cli::ok(self, args)
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        Cli::fails(self, code, args)
    }

    fn restoring(&self) -> &'static [&'static str] {
        &[]
    }

    fn engine(&self, name: &str) -> Engine {
        let cell = FileCell::open(&self.path("store.cell"), Arc::new(System)).unwrap();
        Engine::open(self.look(name), Arc::new(cell), Options::default()).unwrap()
    }

    fn look(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(SledStore::open(&self.path(name)).unwrap())
    }

    fn make(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(SledStore::create(&self.path(name)).unwrap())
    }

    fn all(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        files(&self.path(name)).values().for_each(|bytes| see(bytes));
    }

    fn leak(&self, name: &str, bytes: &[u8]) -> u64 {
        std::fs::create_dir(self.path(name)).unwrap();
        std::fs::write(self.path(name).join("leak"), bytes).unwrap();
        1
    }

    fn lose(&self, name: &str) {
        std::fs::remove_dir_all(self.path(name)).unwrap();
    }
}

#[test]
fn a_corpus_goes_in_one_user_goes_and_the_rest_comes_back() {
    goes_in_and_comes_back(&corpus(), &Cli::new());
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
