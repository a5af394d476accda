//! The rules of the house, as a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Modules from the ground up, as the crate's page shows them; each may import from those before it and from itself.
fn layers() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let map = page.split_once("# Map of the code").unwrap().1;
    let module = |line: &str| {
        let cell = line.strip_prefix("//! | ")?.split('|').next()?.trim().trim_matches(['[', ']', '`']);
        let name = cell.strip_prefix("mod@").unwrap_or(cell);
        name.bytes().all(|c| c.is_ascii_lowercase()).then(|| name.to_owned())
    };
    let found: Vec<_> = map.lines().filter_map(module).filter(|name| name != "module").collect();
    assert!(found.len() > 20, "the table is read: {found:?}");
    found
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let name = |p: &PathBuf| p.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
}

fn layer(layers: &[String], module: &str) -> usize {
    layers.iter().position(|l| l == module).unwrap_or_else(|| panic!("{module} stands in no layer"))
}

#[test]
fn imports_go_downward_only() {
    let (mut seen, layers) = (0, layers());
    for (name, text) in all() {
        let module = name.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "bin") {
            continue;
        }
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        for line in code {
            for (at, _) in line.match_indices("crate::") {
                let target: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                assert!(
                    layer(&layers, &target) <= layer(&layers, module),
                    "{name} imports {target}, which stands above it"
                );
                assert!(!(module == "store" && target == "crypto"), "a store sees ciphertext only");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "the test reads the imports");
}

#[test]
fn the_program_uses_the_public_face_only() {
    for (name, text) in all().into_iter().filter(|(n, _)| n.starts_with("bin/keyfall/")) {
        assert!(!text.contains("#[path"), "{name} takes a file of the library in");
        assert!(!text.contains("keyfall::testing"), "{name} leans on what is for tests");
    }
}

#[test]
fn files_stay_small() {
    for (name, text) in all() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines: it holds more than one noun");
        assert!(text.starts_with("//!") || text.starts_with("#![doc"), "{name} does not say what it holds");
    }
}

/// Names and versions of the packages that a build links, with these features.
fn linked(features: &[&str]) -> BTreeSet<(String, String)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"])
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
    for name in ["aes-gcm", "aes", "hkdf", "hmac", "sha2", "zeroize", "subtle", "rand", "ed25519-dalek", "x25519-dalek"]
    {
        let n = linked.iter().filter(|(package, _)| package == name).count();
        assert_eq!(n, 1, "{n} versions of {name}: an audit reads each");
    }
}

#[test]
fn who_verifies_links_no_engine_and_no_cipher() {
    for features in [&["--no-default-features"][..], &["--no-default-features", "--features", "verify"]] {
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
