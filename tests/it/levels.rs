//! No text claims more than the level of the cell: what cells say of themselves, what certificates
//! and programs print, the README. SPEC §7, §10, §14.

use std::sync::Arc;

use keyfall::cell::{FileCell, MemoryCell, RootCell};
use keyfall::env::System;
use keyfall::promise::{Level, Promise};
use keyfall::{Class, Erase, Scope};

use crate::support::{SMALL_PAGES, World, ok, user};

/// Words that no level earns.
const TOO_MUCH: &[&str] = &[
    "irrecoverable",
    "unrecoverable",
    "guarantee",
    "impossible to recover",
    "permanently",
    "physically",
    "provably destroyed",
    "proves that",
    "no copy exists",
    "military",
    "certified by nist",
    "nist-compliant",
    "conforms to nist",
];

fn claims_too_much(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    TOO_MUCH.iter().copied().find(|words| text.contains(words))
}

fn promises() -> Vec<Promise> {
    let dir = tempfile::tempdir().unwrap();
    let file = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let quorum = crate::support::quorum(5, 3, 1);
    vec![MemoryCell::new().describe(), file.describe(), quorum.describe()]
}

#[test]
fn each_cell_says_its_level_and_no_more() {
    for promise in promises() {
        let at_most = if promise.kind == "quorum" { Level::L3 } else { Level::L0 };
        assert_eq!(promise.level, at_most, "{promise:?}");
        assert_eq!(claims_too_much(&promise.statement), None, "{promise:?}");
        // What is left open is said with what is promised.
        let open = match promise.kind {
            "memory" => "when the process ends",
            "file" => "may keep the old",
            _ => "if at most 1 of those lied",
        };
        assert!(promise.statement.contains(open), "{promise:?}");
    }
    for level in Level::ALL {
        assert_eq!(claims_too_much(level.words()), None);
        let hedged = ["possible", "as far as", "against what they signed"]
            .iter()
            .any(|hedge| level.words().contains(hedge));
        assert!(hedged, "{level}");
        assert_eq!(Level::from_name(level.name()).unwrap(), level);
    }
    assert!(claims_too_much("the key is irrecoverable").is_some(), "the check can fail");
}

/// They stand in certificates: with other words those that were issued are refused.
#[test]
fn the_words_of_a_level_do_not_change() {
    let words = [
        "overwritten by the machine that used it; remnants on its medium, and snapshots of it, are \
         possible",
        "erased by the device that held it, as far as its maker is right about the device",
        "destroyed inside a key service, after the delay that it states, as far as its operator is \
         right about its backups",
        "its shares destroyed by keyholders, gone while fewer than the threshold of them kept \
         theirs, against what they signed",
    ];
    assert_eq!(Level::ALL.map(Level::words), words);
}

#[test]
fn the_program_prints_the_level_wherever_it_tells_a_promise() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (store, file) = (at("store"), at("x"));
    std::fs::write(&file, b"wake up").unwrap();
    let told = ok(&["init", &store, "--accept-remnants"]);
    assert!(told.contains("(level L0: "), "{told}");
    for class in ["audio", "action"] {
        ok(&["put", &store, "--user", "ada", "--class", class, &file]);
    }
    for args in [
        &["status", &store][..],
        &["report", &store, "--user", "ada", "--html"],
        &["erase", &store, "--user", "ada", "--class", "audio", "--yes"],
        &["erase", &store, "--user", "ada", "--final-within", "1h", "--yes"],
    ] {
        let told = ok(args);
        assert!(told.contains("(level L0: "), "{args:?}: {told}");
        let told = ok(&[args, &["--json"]]
            .concat()
            .iter()
            .copied()
            .filter(|a| *a != "--html")
            .collect::<Vec<_>>());
        assert!(told.contains("\"level\": \"L0\""), "{args:?}: {told}");
    }
}

#[test]
fn every_certificate_prints_its_level_beside_its_grade() {
    let world = World::new(1, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    let erase = Erase::new(Scope::user(user("ada"))).certified("", "");
    let certificate = world.engine().erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    let text = certificate.to_string();
    let (grade, level) = (text.find("Grade: "), text.find("  Level L0: overwritten"));
    assert!(grade < level && level < text.find("What was erased"), "{text}");
    let words = certificate.facts.judge().unwrap();
    assert_eq!(claims_too_much(&text), None);
    assert!(text.contains("What this does not show"), "{}", words.grade);
    // A cell that calls itself more than its kind is, is not believed.
    for level in ["L1", "L2", "L3"] {
        let mut facts = certificate.facts.clone();
        facts.body.cell.level = level.into();
        assert!(facts.judge().is_err());
    }
}

#[test]
fn no_text_of_the_house_claims_too_much() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("SPEC.md")];
    let mut dirs = vec![root.join("src"), root.join("docs"), root.join("examples")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let is_picture = path.extension().is_some_and(|ext| ext == "png");
            if path.is_dir() {
                dirs.push(path);
            } else if !is_picture {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(claims_too_much(&text), None, "{}", file.display());
    }
}
