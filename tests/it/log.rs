//! The public log: every erase is in it once, whatever happens; what was published cannot be taken
//! back unnoticed. SPEC §13.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyfall::cell::RootCell;
use keyfall::certificate::{Draft, Ends, Leaf};
use keyfall::engine::CopyMode;
use keyfall::log::{
    Checkpoint, Extent, Frontier, Hash, Note, TileWriter, Tiles, VerifierKey, check_files,
    consistency, inclusion, root, verify_consistency, verify_inclusion,
};
use keyfall::{Class, Engine, Erase, ErrorKind, Result, Scope};

use crate::support::{SMALL_PAGES, World, copy, error_kind, ok, run, user};

fn leaves(engine: &Engine) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    engine
        .log()
        .leaves(0, &mut |n, leaf| {
            assert_eq!(n, leaves.len() as u64);
            leaves.push(String::from_utf8(leaf.to_vec()).unwrap().parse()?);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    leaves
}

#[test]
fn every_proof_between_any_two_sizes_holds_and_no_other() {
    let hashes: Vec<Hash> = (0..70_u8).map(|n| Hash::leaf(&[n])).collect();
    let source = |level: u8, index: u64| {
        let width = 1_usize << level;
        Ok(Hash::fold(hashes[index as usize * width..][..width].to_vec()).unwrap())
    };
    let mut frontier = Frontier::default();
    let mut roots = vec![frontier.root()];
    for hash in &hashes {
        frontier.push(*hash);
        roots.push(frontier.root());
    }
    for size in 1..=70 {
        assert_eq!(root(&source, size).unwrap(), roots[size as usize]);
        for index in 0..size {
            let path = inclusion(&source, index, size).unwrap();
            let at = |leaf, index, size: u64| {
                verify_inclusion(leaf, index, size, &path, &roots[size as usize])
            };
            at(hashes[index as usize], index, size).unwrap();
            assert!(at(Hash::leaf(b"another"), index, size).is_err());
            assert!(index + 1 == size || at(hashes[index as usize], index + 1, size).is_err());
            assert!(
                verify_inclusion(
                    hashes[index as usize],
                    index,
                    size,
                    &path,
                    &roots[size as usize - 1]
                )
                .is_err()
            );
        }
        for old in 0..=size {
            let proof = consistency(&source, old, size).unwrap();
            let extent = |size: u64| Extent { size, root: roots[size as usize] };
            let (before, now) = (extent(old), extent(size));
            verify_consistency(before, now, &proof).unwrap();
            if old > 0 && old < size {
                let forged = Extent { root: hashes[0], ..before };
                assert!(verify_consistency(forged, now, &proof).is_err() || old == 1);
                let forged = Extent { root: before.root, ..now };
                assert!(verify_consistency(before, forged, &proof).is_err());
                assert!(verify_consistency(before, now, &proof[1..]).is_err());
            }
        }
    }
    assert_eq!(error_kind(inclusion(&source, 3, 3)), ErrorKind::Invalid);
    assert_eq!(error_kind(consistency(&source, 4, 3)), ErrorKind::Invalid);
}

#[test]
fn every_epoch_has_one_leaf_and_each_leaf_proves_itself() {
    let mut world = World::new(1, SMALL_PAGES);
    for n in 0..150 {
        let name = format!("user {n}");
        world.put(&name, Class::audio(), b"x");
        match n % 5 {
            0 => drop(
                world
                    .engine()
                    .erase(
                        Erase::new(Scope::user(user(&name))).final_within(Duration::from_secs(60)),
                    )
                    .unwrap(),
            ),
            _ => drop(world.engine().erase(Scope::user(user(&name))).unwrap()),
        }
        if n % 40 == 0 {
            world.reopen();
        }
    }
    let engine = world.engine();
    let (all, head) = (leaves(engine), engine.head());
    assert_eq!(all.len(), 150);
    let ended: Vec<u64> =
        all.iter().filter(|l| matches!(l.ends, Ends::Next { .. })).map(|l| l.epoch).collect();
    assert_eq!(ended, (1..head.epoch).collect::<Vec<_>>(), "each epoch ends once");
    assert!(all.is_sorted_by_key(|leaf| leaf.commit));
    for pair in all.windows(2) {
        // What one leaf calls next, the following one destroys.
        if let Ends::Next { commitment, .. } = &pair[0].ends {
            assert_eq!(pair[1].destroys, *commitment);
        }
    }
    let key = engine.log().key().unwrap();
    for (n, leaf) in (0..).zip(&all) {
        engine.log().proof(n).unwrap().verify(leaf.to_string().as_bytes(), &key).unwrap();
    }
    assert_eq!(error_kind(engine.log().proof(150)), ErrorKind::Absent);
    let now = Checkpoint::verified(&engine.log().checkpoint().unwrap(), &key).unwrap();
    let mut frontier = Frontier::default();
    for (old, leaf) in (0..).zip(&all) {
        let (root, proof) = engine.log().consistency(old).unwrap();
        assert_eq!(root, frontier.root());
        verify_consistency(Extent { size: old, root }, now.extent(), &proof).unwrap();
        frontier.push(Hash::leaf(leaf.to_string().as_bytes()));
    }
    assert_eq!((now.size, now.root), (150, frontier.root()));
    world.reopen();
    assert_eq!(
        Checkpoint::verified(&world.engine().log().checkpoint().unwrap(), &key).unwrap(),
        now
    );
}

#[test]
fn no_checkpoint_covers_an_erase_that_is_not_complete() {
    let mut world = World::new(4, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let mut options = world.options.clone();
    let (inner, flag) = (options.open_copy.clone(), Arc::clone(&down));
    options.open_copy = Arc::new(move |place, create| match flag.load(Ordering::SeqCst) {
        true => Err(keyfall::Error::new(ErrorKind::Io, format!("{place} is down"))),
        false => inner(place, create),
    });
    world.engine = None;
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let engine = Engine::open(Arc::clone(&world.store), cell, options).unwrap();
    // Not everything before is complete: nothing is signed.
    assert_eq!(error_kind(engine.log().checkpoint()), ErrorKind::Copy);
    down.store(false, Ordering::SeqCst);
    engine.erase(Scope::user(user("ada"))).unwrap();
    let checkpoint =
        Checkpoint::verified(&engine.log().checkpoint().unwrap(), &engine.log().key().unwrap())
            .unwrap();
    assert_eq!(checkpoint.size, 1);
}

/// The log as files in memory.
#[derive(Default)]
struct Files(HashMap<String, Vec<u8>>);

impl Files {
    fn fetch(&self, path: &str) -> Result<Vec<u8>> {
        let missing = || keyfall::Error::new(ErrorKind::Absent, path.to_owned());
        self.0.get(path).cloned().ok_or_else(missing)
    }
}

#[test]
fn files_grow_by_steps_to_what_they_would_be_at_once() {
    let leaf = |n: u64| format!("leaf {n}").into_bytes();
    let write = |files: &mut Files, old: u64, new: u64| {
        let tiles = Tiles::new(old, |path: &str| files.fetch(path));
        let mut writer = TileWriter::new(old, &tiles).unwrap();
        let mut out = Vec::new();
        let mut keep = |path: &str, bytes: &[u8]| {
            out.push((path.to_owned(), bytes.to_vec()));
            Ok(())
        };
        for n in writer.first()..new {
            writer.push(&leaf(n), &mut keep).unwrap();
        }
        writer.finish(&mut keep).unwrap();
        files.0.extend(out);
    };
    let end = 66_000;
    let (mut steps, mut once) = (Files::default(), Files::default());
    let sizes = [0, 1, 255, 256, 257, 511, 600, 5_000, 65_535, 65_536, 65_537, end];
    for pair in sizes.windows(2) {
        write(&mut steps, pair[0], pair[1]);
    }
    write(&mut once, 0, end);
    for (path, bytes) in &once.0 {
        assert_eq!(steps.0.get(path), Some(bytes), "{path}");
    }
    assert!(once.0.contains_key("tile/2/000.p/1") && once.0.contains_key("tile/entries/257.p/208"));
    let mut frontier = Frontier::default();
    (0..end).for_each(|n| frontier.push(Hash::leaf(&leaf(n))));
    assert_eq!(
        root(&Tiles::new(end, |path: &str| once.fetch(path)), end).unwrap(),
        frontier.root()
    );
}

fn auditor(args: &[&str]) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auditor.py");
    let out = Command::new("python3").arg(script).args(args).output().ok()?;
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if text.contains("No module named") {
        println!("skipped: Python has no package cryptography");
        return None;
    }
    assert!(out.status.success(), "{args:?}: {text}");
    Some(text)
}

/// A store with some erases, and certificates of them.
struct Place {
    dir: tempfile::TempDir,
    key: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { key: String::new(), dir };
        let store = place.at("store");
        ok(&["init", &store, "--accept-remnants", "--log-origin", "example.com/erasures"]);
        std::fs::write(place.at("x"), b"wake up").unwrap();
        let key = ok(&["log", "key", &store]).trim().to_owned();
        Place { key, ..place }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn erase(&self, name: &str) -> String {
        ok(&["put", &self.at("store"), "--user", name, "--class", "audio", &self.at("x")]);
        let file = self.at(&format!("{name}.erased"));
        let told = ok(&[
            "erase",
            &self.at("store"),
            "--user",
            name,
            "-o",
            &file,
            "--authority",
            "the user",
            "--yes",
        ]);
        assert!(told.contains("certificate") && told.contains("L0"), "{told}");
        assert!(!Path::new(&format!("{file}.draft")).exists(), "the certificate is there");
        file
    }
}

#[test]
fn the_program_certifies_exports_and_verifies_and_so_do_others() {
    let place = Place::new();
    let (store, log) = (place.at("store"), place.at("log"));
    let first = place.erase("ada");
    ok(&["log", "export", &store, &log]);
    let kept = place.at("kept");
    std::fs::copy(Path::new(&log).join("checkpoint"), &kept).unwrap();
    let second = place.erase("ben");
    let told = ok(&["certificate", "verify", &first, &second, "--key", &place.key]);
    // It depends on the file system whether remnants had to be accepted.
    let grade = if told.contains("Limit: the owner accepted") { "LIMITED" } else { "FINAL" };
    assert_eq!(
        told.matches(&format!("The certificate holds. Grade: {grade}; level L0")).count(),
        2,
        "{told}"
    );
    ok(&["log", "export", &store, &log]);
    ok(&["log", "verify", &log, "--key", &place.key, "--checkpoint", &kept]);
    ok(&[
        "certificate",
        "verify",
        &second,
        "--key",
        &place.key,
        "--checkpoint",
        &kept,
        "--log",
        &log,
    ]);
    assert!(
        ok(&["certificate", "show", &first, "--html"])
            .contains(&format!("<strong>{grade}</strong>"))
    );
    assert!(ok(&["certificate", "show", &first]).contains("Shown, not verified"));
    let proof: keyfall::log::LogProof =
        ok(&["certificate", "show", &first, "--proof"]).parse().unwrap();
    assert_eq!(proof.index, 0);
    assert!(ok(&["log", "prove", &store, "1"]).starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"));
    let (done, told) = run(&[
        "certificate",
        "verify",
        &first,
        "--key",
        &place.key,
        "--revealed",
        &"00".repeat(32),
    ]);
    assert!(done, "{told}");
    // By the program without an engine, and by a reader that has only the specification.
    let verify = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"))
        .args([&first, "--key", &place.key])
        .output()
        .unwrap();
    assert!(verify.status.success());
    if let Some(by_other) = auditor(&["certificate", &first, &place.key]) {
        assert_eq!(by_other, format!("{grade}\n"));
        assert_eq!(auditor(&["log", &log, &place.key]).unwrap(), "2 leaves\n");
    }
    // A part of a user: its certificate is kept for it.
    ok(&["put", &store, "--user", "cleo", "--class", "audio", &place.at("x")]);
    ok(&["put", &store, "--user", "cleo", "--class", "action", &place.at("x")]);
    let third = place.at("cleo.erased");
    ok(&["erase", &store, "--user", "cleo", "--class", "audio", "-o", &third, "--yes"]);
    let got = ok(&["certificate", "get", &store, "--user", "cleo", &place.at("got")]);
    assert_eq!(std::fs::read(got.trim()).unwrap(), std::fs::read(&third).unwrap());
    ok(&["discard", &store, "--certificate", &third]);
    assert!(std::fs::read_to_string(&third).unwrap().contains("discarded from the store\n"));
    ok(&["certificate", "verify", &third, "--key", &place.key]);
}

#[test]
fn names_that_cannot_be_seen_are_certified_and_others_read_them() {
    let place = Place::new();
    for (n, name) in ["a\u{7f}b", "c\u{85}", "\u{202e}evil", "line\u{2028}line", "\u{e0041}\u{ad}"]
        .into_iter()
        .enumerate()
    {
        let (store, file) = (place.at("store"), place.at(&format!("{n}.erased")));
        ok(&["put", &store, "--user", name, "--class", "audio", &place.at("x")]);
        ok(&["erase", &store, "--user", name, "-o", &file, "--ground", name, "--yes"]);
        let told = ok(&["certificate", "verify", &file, "--key", &place.key]);
        if let Some(by_other) = auditor(&["certificate", &file, &place.key]) {
            assert!(told.contains(&format!("Grade: {};", by_other.trim())), "{by_other} {told}");
        }
    }
}

/// An erase of ada that leaves its draft in a file, and goes on as `then` says.
fn drafted_into(file: &str, then: fn() -> keyfall::Result<()>) -> Erase {
    let kept = file.to_owned();
    let erase = Erase::new(Scope::user(user("ada"))).certified("", "");
    erase.drafted(move |draft: &Draft| {
        std::fs::write(&kept, draft.to_string()).unwrap();
        then()
    })
}

#[test]
fn the_program_makes_a_certificate_of_a_draft() {
    let place = Place::new();
    let (store, file) = (place.at("store"), place.at("ada.erased"));
    ok(&["put", &store, "--user", "ada", "--class", "audio", &place.at("x")]);
    {
        // The program ends between the erase and its certificate.
        let engine =
            crate::support::open_files(Path::new(&store), Path::new(&place.at("store.cell")))
                .unwrap();
        engine.erase(drafted_into(&file, || Ok(()))).unwrap();
    }
    let (done, told) = run(&["certificate", "verify", &file, "--key", &place.key]);
    assert!(!done && told.contains("draft"), "{told}");
    ok(&["certificate", "upgrade", &store, &file]);
    ok(&["certificate", "verify", &file, "--key", &place.key]);
    // The absence of a user is certified too; what cannot be erased leaves no file.
    ok(&["erase", &store, "--user", "nobody", "-o", &place.at("nobody"), "--yes"]);
    ok(&["certificate", "verify", &place.at("nobody"), "--key", &place.key]);
    let other = Place::new();
    let foreign =
        ok(&["put", &other.at("store"), "--user", "eve", "--class", "audio", &other.at("x")]);
    let (done, told) =
        run(&["erase", &store, "--record", foreign.trim(), "-o", &place.at("none"), "--yes"]);
    assert!(!done && !Path::new(&place.at("none")).exists(), "{told}");
}

#[test]
fn a_draft_that_an_erase_left_is_neither_replaced_nor_lost() {
    let place = Place::new();
    let (store, file, draft) =
        (place.at("store"), place.at("ada.erased"), place.at("ada.erased.draft"));
    for name in ["ada", "ben"] {
        ok(&["put", &store, "--user", name, "--class", "audio", &place.at("x")]);
    }
    {
        // The program ends between the erase and its certificate.
        let engine =
            crate::support::open_files(Path::new(&store), Path::new(&place.at("store.cell")))
                .unwrap();
        let kept = draft.clone();
        let erase = Erase::new(Scope::user(user("ada"))).certified("", "");
        let keep = move |draft: &Draft| {
            std::fs::write(&kept, draft.to_string()).unwrap();
            Ok(())
        };
        engine.erase(erase.drafted(keep)).unwrap();
    }
    let left = std::fs::read(&draft).unwrap();
    let of_ben = || run(&["list", &store, "--user", "ben"]).1.lines().count();
    let before = of_ben();
    let (done, told) = run(&["erase", &store, "--user", "ben", "-o", &file, "--force", "--yes"]);
    assert!(
        !done && told.contains("nothing was erased") && told.contains("certificate upgrade"),
        "{told}"
    );
    assert_eq!((std::fs::read(&draft).unwrap(), of_ben()), (left.clone(), before));
    let told = ok(&["erase", &store, "--user", "ada", "-o", &file, "--yes"]);
    assert!(told.contains("already") && told.contains(&draft), "{told}");
    let (done, told) = run(&["report", &store, "--user", "ben", "-o", &draft]);
    assert!(!done && told.contains("--force"), "{told}");
    assert!(std::fs::read(&draft).unwrap() == left && !Path::new(&file).exists());
    // It becomes the certificate in the certificate's place, and goes.
    let told = ok(&["certificate", "upgrade", &store, &draft]);
    assert!(told.starts_with(&format!("{file}: ")), "{told}");
    ok(&["certificate", "verify", &file, "--key", &place.key]);
    assert!(!Path::new(&draft).exists());
    // Another certificate that lies there is not replaced by it.
    std::fs::write(&draft, &left).unwrap();
    let (done, told) = run(&["certificate", "upgrade", &store, &draft]);
    assert!(!done && told.contains("--force") && Path::new(&draft).exists(), "{told}");
    ok(&["certificate", "upgrade", &store, &draft, "-o", &place.at("other.erased")]);
    ok(&["certificate", "verify", &place.at("other.erased"), "--key", &place.key]);
    assert!(!Path::new(&draft).exists());
    // What is somebody's own stays too.
    std::fs::write(place.at("thesis.draft"), "chapter one").unwrap();
    let (done, told) = run(&["erase", &store, "--user", "ben", "-o", &place.at("thesis"), "--yes"]);
    assert!(!done && told.contains("thesis.draft"), "{told}");
    assert_eq!(std::fs::read(place.at("thesis.draft")).unwrap(), b"chapter one");
    assert!(of_ben() == before && !Path::new(&place.at("thesis")).exists());
}

/// As `kill -9` leaves it between the draft and the commit: upgrading said to erase, and erasing to
/// upgrade.
#[test]
fn a_draft_of_an_erase_that_was_not_done_is_in_nobodys_way() {
    let place = Place::new();
    let (store, file, draft) =
        (place.at("store"), place.at("ada.erased"), place.at("ada.erased.draft"));
    ok(&["put", &store, "--user", "ada", "--class", "audio", &place.at("x")]);
    {
        let engine =
            crate::support::open_files(Path::new(&store), Path::new(&place.at("store.cell")))
                .unwrap();
        engine
            .erase(drafted_into(&draft, || {
                Err(keyfall::Error::new(ErrorKind::Io, "the power is cut"))
            }))
            .unwrap_err();
    }
    let left = std::fs::read(&draft).unwrap();
    let (done, told) = run(&["certificate", "upgrade", &store, &draft]);
    assert!(!done && told.contains("erase again") && told.contains("replaces this one"), "{told}");
    assert_eq!(std::fs::read(&draft).unwrap(), left);
    // Another store cannot tell.
    let other = Place::new();
    let (done, told) = run(&["erase", &other.at("store"), "--user", "ada", "--yes", "-o", &file]);
    assert!(
        !done && told.contains("nothing was erased") && told.contains("another store"),
        "{told}"
    );
    assert_eq!(std::fs::read(&draft).unwrap(), left);
    let told = ok(&["erase", &store, "--user", "ada", "--yes", "-o", &file]);
    assert!(told.contains(&draft) && told.contains("was not done"), "{told}");
    ok(&["certificate", "verify", &file, "--key", &place.key]);
    assert!(!Path::new(&draft).exists());
}

/// A script that looks at the exit code takes wrong usage for a slip of its own.
#[test]
fn a_certificate_that_is_cut_short_does_not_hold() {
    let place = Place::new();
    let (whole, cut) = (std::fs::read(place.erase("ada")).unwrap(), place.at("cut"));
    let parts = (0..10).map(|tenth| &whole[..whole.len() * tenth / 10]);
    for bytes in parts.chain([&b"Dear auditor,\n"[..], b"\xff\xfe"]) {
        std::fs::write(&cut, bytes).unwrap();
        let verify = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"))
            .args([&cut, "--key", &place.key])
            .output()
            .unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_keyfall"))
            .args(["certificate", "verify", &cut, "--key", &place.key])
            .output()
            .unwrap();
        for out in [verify, program] {
            let told = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(5), "{} bytes: {told}", bytes.len());
            assert!(told.contains("erasure certificate"), "{} bytes: {told}", bytes.len());
        }
    }
}

#[test]
fn what_verifying_says_in_words_it_says_as_json() {
    let place = Place::new();
    let (store, file) = (place.at("store"), place.at("ada.erased"));
    let same = |file: &str| {
        let told = ok(&["certificate", "verify", file, "--key", &place.key, "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let words = ok(&["certificate", "verify", file, "--key", &place.key]);
        assert_eq!(
            told["log_pending"],
            words.contains("at least one was pending"),
            "{told} {words}"
        );
    };
    ok(&["put", &store, "--user", "ada", "--class", "audio", &place.at("x")]);
    ok(&["erase", &store, "--user", "ada", "--final-within", "1h", "-o", &file, "--yes"]);
    same(&file);
    same(&place.erase("ben"));
}

#[test]
fn a_log_that_was_rolled_back_is_found_out() {
    let place = Place::new();
    let (store, log) = (place.at("store"), place.at("log"));
    place.erase("ada");
    // The machine is restored from a snapshot later: store and cell together.
    copy(Path::new(&store), &PathBuf::from(place.at("old")));
    copy(Path::new(&place.at("store.cell")), &PathBuf::from(place.at("old.cell")));
    let ben = place.erase("ben");
    ok(&["log", "export", &store, &log]);
    let kept = place.at("kept");
    std::fs::copy(Path::new(&log).join("checkpoint"), &kept).unwrap();
    let (refused, told) = run(&["log", "export", &place.at("old"), &log]);
    assert!(!refused && told.contains("rolled back"), "{told}");
    // It publishes a new history elsewhere, as long as the first.
    ok(&["put", &place.at("old"), "--user", "eve", "--class", "audio", &place.at("x")]);
    ok(&["erase", &place.at("old"), "--user", "eve", "--yes"]);
    let other = place.at("other-log");
    ok(&["log", "export", &place.at("old"), &other]);
    let (holds, told) = run(&["log", "verify", &other, "--key", &place.key, "--checkpoint", &kept]);
    assert!(!holds && told.contains("rolled back, or shows others another history"), "{told}");
    let (holds, told) = run(&["certificate", "upgrade", &place.at("old"), &ben]);
    assert!(!holds && told.contains("does not have the leaf"), "{told}");
    // A shorter one too.
    let first = place.at("first-log");
    ok(&["log", "export", &place.at("store"), &first]);
    let shorter = Command::new("cp").args(["-a", &other, &place.at("shorter")]).status().unwrap();
    assert!(shorter.success());
    let key: VerifierKey = place.key.parse().unwrap();
    let note: Note = std::fs::read_to_string(&kept).unwrap().parse().unwrap();
    let kept = Checkpoint::verified(&note, &key).unwrap();
    let older = Checkpoint { size: kept.size + 1, ..kept };
    let fetch = |path: &str| Ok(std::fs::read(Path::new(&first).join(path)).unwrap());
    let found = check_files(&fetch, &key, Some(&older), &mut |_, _| Ok(()));
    assert_eq!(error_kind(found), ErrorKind::Corrupt);
}

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_witness_written_from_the_specification_cosigns() {
    if !has_cryptography() {
        println!("skipped: Python has no package cryptography");
        return;
    }
    let place = Place::new();
    let (store, log) = (place.at("store"), place.at("log"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auditor.py");
    let mut witness = Command::new("python3")
        .args([script, "witness", "witness.example/w", "seed", &place.key])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(witness.stdout.take().unwrap()).lines();
    let _kill = Kill(witness);
    let (key, url) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
    let cosign = || ok(&["log", "cosign", &log, "--witness", &url, "--key", &key]);
    for name in ["ada", "ben", "cleo"] {
        let file = place.erase(name);
        ok(&["log", "export", &store, &log]);
        cosign();
        let (done, told) =
            run(&["certificate", "verify", &file, "--key", &place.key, "--witness", &key]);
        assert!(!done && told.contains("0 of the 1 cosignatures"), "{told}");
        let checkpoint = format!("{log}/checkpoint");
        ok(&["certificate", "upgrade", &store, &file, "--checkpoint", &checkpoint]);
        let told = ok(&["certificate", "verify", &file, "--key", &place.key, "--witness", &key]);
        assert!(told.contains("the witness witness.example/w saw this log"), "{told}");
        ok(&["log", "verify", &log, "--key", &place.key, "--witness", &key]);
    }
    // Again, with nothing new; and a log that lost leaves.
    cosign();
    let old = place.at("old");
    copy(Path::new(&log), Path::new(&old));
    place.erase("dora");
    ok(&["log", "export", &store, &log]);
    cosign();
    let (done, told) = run(&["log", "cosign", &old, "--witness", &url, "--key", &key]);
    assert!(!done && told.contains("has seen 4 leaves"), "{told}");
}

fn has_cryptography() -> bool {
    Command::new("python3").args(["-c", "import cryptography"]).status().is_ok_and(|s| s.success())
}

#[test]
fn the_log_is_served() {
    let place = Place::new();
    let (store, log) = (place.at("store"), place.at("log"));
    place.erase("ada");
    ok(&["log", "export", &store, &log]);
    let mut server = Command::new(env!("CARGO_BIN_EXE_keyfall"))
        .args(["log", "serve", &log, "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(server.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let server = Kill(server);
    let url = line.rsplit_once(" on ").unwrap().1.to_owned();
    let get = |path: &str| {
        use std::io::{Read, Write};
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = get("/checkpoint");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("example.com/erasures\n1\n"),
        "{answer}"
    );
    assert!(get("/tile/entries/000.p/1").contains("keyfall/erase@v1\ncommit"));
    for path in ["/nothing", "/../store/keyfall", "/tile/../../x", "//etc/passwd", "/tile/entries"]
    {
        assert!(get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    // Clients that say nothing, or say it slowly, get a few threads at most, for a few seconds.
    let address = url.strip_prefix("http://").unwrap();
    let idle: Vec<std::net::TcpStream> =
        (0..150).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))
        .unwrap()
        .trim()
        .parse::<usize>()
        .unwrap();
    assert!(threads <= 70, "{threads} threads");
    drop(idle);
    assert!(get("/checkpoint").starts_with("HTTP/1.1 200"));
}
