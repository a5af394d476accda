//! What the documents point to is there: files, and headings in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every document of the project.
fn documents() -> Vec<PathBuf> {
    let of = |dir: &str| {
        let entries = std::fs::read_dir(Path::new(ROOT).join(dir)).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    };
    let mut all: Vec<PathBuf> = of("").chain(of("docs")).chain(of("fuzz")).collect();
    all.sort();
    all
}

/// The lines of a document outside its blocks of code, each with its number.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let outside = |(_, line): &(usize, &str)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    (1..).zip(text.lines()).filter(outside).collect()
}

/// The anchor of a heading, as GitHub and crates.io make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let base = anchor(title);
        let again = (1..).map(|n| format!("{base}-{n}"));
        let free = std::iter::once(base.clone()).chain(again).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// Where the links of a document lead, each with its line; those into the network are not followed.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let pictures = ["src=\"", "srcset=\""].into_iter();
        let pictures = pictures.flat_map(|by| line.split(by).skip(1));
        let pictures = pictures.filter_map(|rest| rest.split_once('"'));
        let found = inline.chain(pictures).map(|(to, _)| to.to_owned());
        links.extend(found.filter(|to| !to.contains("://")).map(|to| (number, to)));
    }
    links
}

/// Why a link leads nowhere, if it does.
fn dead(from: &Path, to: &str) -> Option<String> {
    let (file, part) = to.split_once('#').map_or((to, None), |(file, part)| (file, Some(part)));
    let at = match file {
        "" => from.to_owned(),
        file => from.parent().unwrap().join(file),
    };
    if !at.exists() {
        return Some("there is no such file".to_owned());
    }
    let part = part?;
    let there = anchors(&std::fs::read_to_string(&at).ok()?);
    (!there.contains(part)).then(|| format!("no heading there is `{part}`"))
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let (mut followed, mut dangling) = (0, Vec::new());
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for (line, to) in links(&text) {
            followed += 1;
            let why = dead(&document, &to);
            dangling.extend(why.map(|why| format!("{}:{line}: {to}: {why}", document.display())));
        }
    }
    assert!(dangling.is_empty(), "{}", dangling.join("\n"));
    assert!(followed > 100, "{followed}");
}

/// Alerts name their runbooks, and programs and comments a document.
#[test]
fn every_document_that_the_code_names_is_there() {
    let mut named = 0;
    for dir in ["src", "server/src", "server/deploy", "objects/src", "object-store/src"] {
        for file in files_below(&Path::new(ROOT).join(dir)) {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            for rest in text.split("docs/").skip(1) {
                let ends = |c: char| !(c.is_alphanumeric() || "-_.#/".contains(c));
                let to = rest.split(ends).next().unwrap_or_default().trim_end_matches('.');
                if !to.contains(".md") {
                    continue;
                }
                named += 1;
                let why = dead(&Path::new(ROOT).join("docs/here"), to);
                assert_eq!(why, None, "{}: docs/{to}", file.display());
            }
        }
    }
    assert!(named > 20, "{named}");
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn a_dead_link_is_found() {
    let from = Path::new(ROOT).join("docs/cli.md");
    assert_eq!(dead(&from, "#exit-codes"), None);
    assert_eq!(dead(&from, "../README.md#in-a-program"), None);
    assert!(dead(&from, "#no-such-heading").is_some());
    assert!(dead(&from, "nowhere.md").is_some());
    assert_eq!(anchor(" Space, and `discard`"), "space-and-discard");
}
