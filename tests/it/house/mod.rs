//! The rules of the house, as a test.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{File, Imports, files, files_below, tuple_parameters};

/// Modules from the ground up, as the table in `lib.rs` shows them.
fn layers() -> Vec<String> {
    let lib = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let table = lib.split("# Map of the code").nth(1).expect("lib.rs has a map of the code");
    let rows = table
        .lines()
        .skip(1)
        .take_while(|l| l.starts_with("//!"))
        .filter(|l| l.starts_with("//! | "));
    let first = |row: &str| {
        row.trim_start_matches("//! | ").split(" | ").next().unwrap_or_default().to_owned()
    };
    let names = |cell: String| {
        let quoted: Vec<String> =
            cell.split('`').skip(1).step_by(2).map(|n| n.replace("mod@", "")).collect();
        quoted
    };
    rows.map(first).flat_map(names).collect()
}

#[test]
fn imports_go_downward_as_the_map_in_lib_rs_shows() {
    let layers = layers();
    let layer = |module: &str| {
        layers
            .iter()
            .position(|l| l == module)
            .unwrap_or_else(|| panic!("{module} is not on the map in lib.rs"))
    };
    let top = |name: &str| name.split(['/', '.']).next().unwrap().to_owned();
    let mut seen = 0;
    for (from, to) in Imports::of(&files()).edges {
        let module = top(&from);
        if matches!(module.as_str(), "lib" | "bin") {
            continue;
        }
        for to in to {
            let target = top(&to);
            assert!(target != "bin" && target != "lib", "{from} imports {to}");
            assert!(layer(&target) <= layer(&module), "{from} imports {to}, which stands above it");
            assert!(!(module == "store" && target == "crypto"), "a store sees ciphertext only");
            seen += 1;
        }
    }
    assert!(seen > 300, "the test reads the imports: {seen}");
}

#[test]
fn the_storeys_import_downward() {
    // What makes, ends or doubles an `Engine` names it.
    let makers = ["engine/open.rs", "engine/close.rs", "engine/twin.rs", "engine/mod.rs"];
    for (from, to) in Imports::of(&files()).edges {
        let upward = |to: &String| match () {
            () if from.starts_with("catalogue/") => to.starts_with("engine/"),
            () if from.starts_with("engine/verbs/") || makers.contains(&from.as_str()) => false,
            () => from.starts_with("engine/") && to.starts_with("engine/verbs/"),
        };
        let upward: Vec<&String> = to.iter().filter(|to| upward(to)).collect();
        assert!(upward.is_empty(), "{from} imports {upward:?}, which stand above it");
    }
}

#[test]
fn no_files_import_one_another_in_circles() {
    for (dir, least) in [("src", 1000), ("server/src", 300)] {
        let imports = Imports::of(&files_below(dir));
        let seen: usize = imports.edges.values().map(BTreeSet::len).sum();
        assert!(seen > least, "the test reads the imports of {dir}: {seen}");
        let circles = imports.circles();
        assert!(circles.is_empty(), "{} circles of files in {dir}: {circles:#?}", circles.len());
    }
}

/// The scanner itself: a circle is found, through a re-export and through a path in an expression.
#[test]
fn a_circle_is_found() {
    let file = |name: &str, module: &[&str], text: &str| File {
        name: name.into(),
        text: text.into(),
        module: module.iter().map(|s| (*s).to_owned()).collect(),
    };
    let files = [
        file("a/mod.rs", &["lib", "a"], "mod b;\nmod c;\npub use c::Thing;\n"),
        file("a/b.rs", &["lib", "a", "b"], "use super::{\n    Thing,\n};\n"),
        file("a/c.rs", &["lib", "a", "c"], "fn f() { super::b::g(\"super::d\") }\n"),
        file("a/d.rs", &["lib", "a", "d"], "use crate::a::Thing; // use super::b\n"),
    ];
    let circles = Imports::of(&files).circles();
    let expected: BTreeSet<String> = ["a/b.rs", "a/c.rs"].map(str::to_owned).into();
    assert_eq!(circles, [expected]);
}

/// Types with `impl` blocks away from their file, and in how many files those stand. `Engine`: how
/// it is opened, how it is closed, and what only tests ask of it. It only shrinks.
const EXTENDED: &[(&str, usize)] = &[("Engine", 3)];

#[test]
fn a_type_is_extended_in_its_own_file_only() {
    let mut away: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files() {
        let own = file.types();
        for name in file.extends().into_iter().filter(|name| !own.contains(name)) {
            away.entry(name).or_default().push(file.name.clone());
        }
    }
    let expected: BTreeMap<String, usize> =
        EXTENDED.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    let found: BTreeMap<String, usize> =
        away.iter().map(|(name, files)| (name.clone(), files.len())).collect();
    assert_eq!(found, expected, "{away:#?}");
}

#[test]
fn functions_stay_small_and_name_their_parameters() {
    let (mut long, mut tuples, mut seen) = (Vec::new(), Vec::new(), 0);
    for file in files() {
        for function in file.functions() {
            seen += 1;
            if function.lines > 70 {
                long.push(format!("{} {}: {} lines", file.name, function.name, function.lines));
            }
            if tuple_parameters(&function) > 0 {
                tuples.push(format!("{} {}", file.name, function.name));
            }
        }
    }
    assert!(seen > 1000, "the test reads the functions: {seen}");
    assert!(long.is_empty(), "{} functions of more than 70 lines: {long:#?}", long.len());
    assert!(
        tuples.is_empty(),
        "{} functions take tuples apart in their parameters: {tuples:#?}",
        tuples.len()
    );
}

/// Lines may be longer only where a text literal or a link makes them so.
#[test]
fn lines_stay_within_a_hundred_columns() {
    let mut long = Vec::new();
    for file in files() {
        for (n, line) in file.text.lines().enumerate() {
            let excused = line.contains('"')
                || line.contains("http")
                || line.trim_start().starts_with("//! |");
            if line.chars().count() > 100 && !excused {
                long.push(format!("{}:{}", file.name, n + 1));
            }
        }
    }
    assert!(long.is_empty(), "{} lines of more than 100 columns: {long:#?}", long.len());
}

/// Files outside `testing/` that are compiled otherwise for tests, and in how many places. It only
/// shrinks.
const FOR_TESTS: &[(&str, usize)] = &[
    ("catalogue/defect.rs", 5),
    ("catalogue/resolve.rs", 6),
    ("cell/claims.rs", 1),
    ("cell/defect.rs", 1),
    ("cell/key_slots.rs", 1),
    ("cell/mod.rs", 6),
    ("cell/share_slots.rs", 1),
    ("cell/slot.rs", 2),
    ("cell/slots.rs", 6),
    ("engine/core.rs", 1),
    ("engine/mod.rs", 2),
    ("engine/options.rs", 6),
    ("lib.rs", 2),
    ("pages.rs", 1),
    ("process.rs", 3),
    ("quorum/ask.rs", 1),
    ("quorum/cell.rs", 2),
    ("quorum/holder.rs", 1),
    ("quorum/known.rs", 1),
    ("quorum/mod.rs", 3),
    ("quorum/net/mod.rs", 1),
    ("quorum/net/wire.rs", 1),
    ("quorum/shares.rs", 2),
    ("sealed/mod.rs", 2),
    ("store/journal/frame.rs", 3),
    ("store/journal/mod.rs", 1),
    ("store/mod.rs", 1),
    ("tree/spot.rs", 2),
    ("tree/user.rs", 1),
];

#[test]
fn what_is_for_tests_stands_in_testing() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for file in files().into_iter().filter(|f| !f.name.starts_with("testing/")) {
        // In whatever condition: also under `not` and `any`, and in a `cfg_attr`.
        let n = file.text.matches("feature = \"testing\"").count();
        if n > 0 {
            found.insert(file.name, n);
        }
    }
    let expected: BTreeMap<String, usize> =
        FOR_TESTS.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_program_uses_the_public_face_only() {
    for File { name, text, .. } in
        files().into_iter().filter(|f| f.name.starts_with("bin/keyfall/"))
    {
        assert!(!text.contains("#[path"), "{name} takes a file of the library in");
        assert!(!text.contains("keyfall::testing"), "{name} leans on what is for tests");
    }
}

/// What has a default is easily left out of a cell that stands before another: the simulator never
/// saw by which list a root key was drawn.
#[test]
fn a_cell_before_another_passes_every_verb_on() {
    let text = |name: &str| {
        let files = files();
        files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("{name}")).code()
    };
    let verbs = |code: &str, block: &str| -> BTreeSet<String> {
        let block = code.split(block).nth(1).unwrap_or_else(|| panic!("{block}"));
        let block = block.split("\n}\n").next().unwrap();
        let names = block.split("\n    fn ").skip(1);
        names.map(|rest| rest.split('(').next().unwrap().to_owned()).collect()
    };
    let all = verbs(&text("cell/mod.rs"), "pub trait RootCell");
    assert!(all.len() > 15, "{all:?}");
    for (file, name) in [
        ("testing/tape.rs", "HoardingCell"),
        ("testing/sim/media/faulty.rs", "FaultyCell"),
        ("bin/keyfall/bench/counted.rs", "CountedCell"),
    ] {
        let there = verbs(&text(file), &format!("impl RootCell for {name}"));
        assert_eq!(all.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
}

#[test]
fn files_stay_small_and_say_what_they_hold() {
    for File { name, text, .. } in files() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines: it holds more than one noun");
        assert!(
            text.starts_with("//!") || text.starts_with("#![doc"),
            "{name} does not say what it holds"
        );
    }
}

/// Names and versions of the packages that a build links, with these features.
fn linked(features: &[&str]) -> BTreeSet<(String, String)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(features);
    let out = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(package).collect()
}

#[test]
fn one_version_of_each_primitive() {
    let linked = linked(&[]);
    for name in [
        "aes-gcm",
        "aes",
        "hkdf",
        "hmac",
        "sha2",
        "zeroize",
        "subtle",
        "rand",
        "ed25519-dalek",
        "x25519-dalek",
    ] {
        let n = linked.iter().filter(|(package, _)| package == name).count();
        assert_eq!(n, 1, "{n} versions of {name}: an audit reads each");
    }
}

#[test]
fn who_verifies_links_no_engine_and_no_cipher() {
    for features in
        [&["--no-default-features"][..], &["--no-default-features", "--features", "verify"]]
    {
        let linked = linked(features);
        let has = |name: &str| linked.iter().any(|(package, _)| package == name);
        assert!(has("ed25519-dalek") && has("sha2"));
        for name in [
            "sled",
            "aes-gcm",
            "aes",
            "ghash",
            "chacha20",
            "hpke",
            "hkdf",
            "rustls",
            "aws-lc-rs",
            "vsss-rs",
            "rand",
            "memmap2",
        ] {
            assert!(!has(name), "{name} is linked with {features:?}");
        }
    }
}

#[test]
fn an_engine_links_no_facade_that_nobody_asked_for() {
    let linked = linked(&["--no-default-features", "--features", "sled,keyholders"]);
    let has = |name: &str| linked.iter().any(|(package, _)| package == name);
    assert!(has("sled") && has("aes-gcm"));
    assert!(!has("tracing") && !has("metrics"), "they come with features of their names");
}
