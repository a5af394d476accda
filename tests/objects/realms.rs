//! Realms whose shards lie at URLs, by the program: a directory, and each server that the
//! environment names.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::far::{Far, far};
use crate::paused::{bring, keyholders};
use crate::proxy::Faults;

/// The program, in a directory.
struct Keyfall<'a> {
    dir: &'a Path,
    far: Option<&'a Far>,
}

impl Keyfall<'_> {
    /// Whether it succeeds, and all that it says.
    fn run(&self, args: &[&str], input: &str) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfall"));
        if let Some(far) = self.far {
            far.seen_by(&mut command);
        }
        let mut child = command
            .args(args)
            .current_dir(self.dir)
            .env_remove("KEYFALL_STORE")
            .env_remove("KEYFALL_CELL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
    }

    fn done(&self, args: &[&str]) -> String {
        let (is_done, text) = self.run(args, "");
        assert!(is_done, "{args:?}: {text}");
        text
    }

    /// The place of a shard. Where its cell is comes after it.
    fn find(&self, what: &[&str]) -> String {
        let told = self.done(&[&["realm", "find", "home"], what].concat());
        told.lines().next().unwrap().to_owned()
    }

    fn refused(&self, args: &[&str], says: &[&str]) {
        let (is_done, text) = self.run(args, "");
        assert!(!is_done && says.iter().all(|says| text.contains(says)), "{args:?}: {text}");
    }

    fn put(&self, user: &str) -> String {
        let args = ["put", "home", "--user", user, "--class", "transcript", "-"];
        let (is_done, text) = self.run(&args, user);
        assert!(is_done, "{text}");
        text
    }
}

const USERS: [&str; 8] = ["ada", "ben", "chloe", "dora", "eve", "fay", "gus", "hal"];

/// Records, erases, sources and looks, over shards that are there.
fn is_used(keyfall: &Keyfall<'_>, at: &str) {
    let ids = USERS.map(|user| keyfall.put(user));
    let homes = USERS.map(|user| keyfall.find(&["--user", user]));
    for (user, (id, home)) in USERS.iter().zip(ids.iter().zip(&homes)) {
        assert_eq!(keyfall.done(&["get", "home", id]), *user);
        assert_eq!(&keyfall.find(&["--record", id]), home);
        let below = at.split('?').next().unwrap();
        assert!(home.starts_with(below) && home.contains("shard-00"), "{home}");
    }
    // A source in another shard is refused, and both are named.
    let other = (1..USERS.len()).find(|n| homes[*n] != homes[0]).unwrap();
    let derived = ["put", "home", "--user", USERS[other], "--class", "transcript", "--from"];
    keyfall.refused(&[&derived[..], &[&ids[0], "-"]].concat(), &[&homes[0], &homes[other]]);
    keyfall.done(&["erase", "home", "--user", "ada", "--yes"]);
    keyfall.refused(&["get", "home", &ids[0]], &["erased"]);
    for (user, id) in USERS.iter().zip(&ids).skip(1) {
        assert_eq!(keyfall.done(&["get", "home", id]), *user);
    }
    let status = keyfall.done(&["realm", "status", "home"]);
    assert_eq!(status.matches("opens").count(), 3, "{status}");
    keyfall.done(&["audit", "home"]);
    for number in ["3", "4"] {
        let init = ["realm", "init", "home", "--shards", number, "--at", at];
        keyfall.refused(&init, &["is a realm of 3 shards already"]);
    }
}

/// Shards at a URL, with their cells in files.
fn at_url(far: Option<&Far>, dir: &Path, at: &str) {
    let keyfall = Keyfall { dir, far };
    let init = ["realm", "init", "home", "--shards", "3", "--at", at, "--accept-remnants"];
    keyfall.refused(&init, &["--single-machine", "--keyholder"]);
    // What was refused says nothing of where the shards are to be.
    let mistyped = ["realm", "init", "home", "--shards", "3", "--at", "s3:/bucket/x"];
    keyfall.refused(&[&mistyped[..], &["--single-machine"]].concat(), &["is no place of a store"]);
    keyfall.done(&[&init[..], &["--single-machine"]].concat());
    is_used(&keyfall, at);
    // A shard by itself takes nobody of another one.
    let (home, cell) = (keyfall.find(&["--user", "ben"]), "home/shard-");
    let number = &home[home.rfind("shard-").unwrap() + "shard-".len()..][..3];
    let new = ["put", &home, "--cell", &format!("{cell}{number}.cell"), "--user", "new"];
    keyfall.refused(&[&new[..], &["--class", "transcript", "-"]].concat(), &["realm"]);
}

#[test]
fn a_realm_at_urls() {
    let dir = tempfile::tempdir().unwrap();
    at_url(None, dir.path(), &format!("file://{}", dir.path().join("shards").display()));
    for far in far(Faults::default(), 5) {
        let dir = tempfile::tempdir().unwrap();
        at_url(Some(&far), dir.path(), &far.url);
    }
}

/// Shards at a URL, with each root key spread over keyholders: no machine is a particular one.
fn with_keyholders(far: Option<&Far>, dir: &Path, at: &str) {
    let here = Keyfall { dir, far };
    let cells = [0, 1, 2].map(|n| format!("home/shard-{n:03}.cell"));
    let cells = cells.each_ref().map(String::as_str);
    std::fs::create_dir(dir.join("home")).unwrap();
    let engines = here.done(&[&["keyholder", "engine"], &cells[..]].concat());
    let engines: Vec<&str> = engines.lines().collect();
    assert_eq!(engines.len(), 3);
    // One engine is not known at first: the realm is finished once it is.
    let (running, members) = keyholders(dir, &engines[..2]);
    let mut init = vec!["realm", "init", "home", "--shards", "3", "--at", at, "--threshold", "2"];
    for member in &members {
        init.extend(["--keyholder", member]);
    }
    here.refused(&init, &["shard 2", "keyfall keyholder allow", engines[2]]);
    for n in 0..3 {
        here.done(&["keyholder", "allow", &format!("keyholder {n}"), engines[2]]);
    }
    here.done(&init);
    is_used(&here, at);
    // Another machine that has the realm's directory and the cells' goes on.
    let elsewhere = tempfile::tempdir().unwrap();
    bring(&dir.join("home"), &elsewhere.path().join("home"));
    let there = Keyfall { dir: elsewhere.path(), far };
    let id = there.put("ivy");
    assert_eq!(there.done(&["get", "home", &id]), "ivy");
    there.done(&["erase", "home", "--user", "ben", "--yes"]);
    there.refused(&["list", "home", "--user", "ben"], &["erased"]);
    // What helps where no keyholder answers is about one shard: the realm has no keyholders.
    drop(running);
    for args in [&["list", "home", "--user", "ivy"][..], &["realm", "find", "home", "--user", "i"]]
    {
        there.refused(args, &["keyfall keyholder replace ", "--cell home/shard-000.cell"]);
    }
}

#[test]
fn a_realm_at_urls_over_keyholders() {
    let dir = tempfile::tempdir().unwrap();
    with_keyholders(None, dir.path(), &format!("file://{}", dir.path().join("shards").display()));
    for far in far(Faults::default(), 5) {
        let dir = tempfile::tempdir().unwrap();
        with_keyholders(Some(&far), dir.path(), &far.url);
    }
}
