//! Two places of one store that both went on after a take-over: neither accepts what the other
//! acknowledged. SPEC §6.8, §8.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, OpenAs, restore};
use keyfall::store::{MemoryStore, Store};
use keyfall::{Class, Engine, Erase, ErrorKind, Put, Scope};

use crate::command_line::{Cli, json};
use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

fn put(cli: &Cli, args: &[&str], content: &[u8]) -> String {
    let args = [&["put"][..], args, &["--user", "ada", "--class", "audio", "-"]].concat();
    let mut command = cli.command(&args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{args:?}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Both outputs of a command that must go well.
fn told(cli: &Cli, args: &[&str]) -> (serde_json::Value, String) {
    let out = cli.run(args);
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {stderr}");
    (serde_json::from_slice(&out.stdout).unwrap_or_default(), stderr)
}

/// A store restored from a backup, as the owner; the store that it was before has the cell no more.
fn taken_over(world: &World, backup: Arc<dyn Store>) -> Engine {
    let into = Arc::new(MemoryStore::new());
    restore(&*world.cell, &[backup], &*into, &mut |_| {}).unwrap();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    Engine::open(into, cell, world.options.clone().open_as(OpenAs::TakeOver)).unwrap()
}

/// The nightly backup of a machine that was replaced put its own head over the copy in step of the
/// machine that replaced it.
#[test]
fn a_store_that_lost_its_cell_backs_up_over_no_head_but_its_own() {
    let cli = Cli::new();
    for _ in 0..3 {
        put(&cli, &["store"], b"before");
    }
    cli.ok(&["backup", "store", "b"]);
    for _ in 0..6 {
        put(&cli, &["store"], b"of the old machine");
    }
    cli.ok(&["restore", "--cell", "store.cell", "--into", "s2", "--adopt", "b"]);
    cli.ok(&["copy", "add", "s2", "b"]);
    let acknowledged: Vec<String> = (0..2).map(|_| put(&cli, &["s2"], b"of the new one")).collect();
    let e = cli.fails(11, &["backup", "store", "b"]);
    assert!(e.contains("another directory") && e.contains("`--take-over`"), "{e}");
    // An empty place takes it, and the very same state again.
    cli.ok(&["backup", "store", "old"]);
    cli.ok(&["backup", "store", "old"]);
    let later = put(&cli, &["s2"], b"of the new one");
    std::fs::remove_dir_all(cli.path("s2")).unwrap();
    cli.ok(&["restore", "--cell", "store.cell", "--into", "s3", "b"]);
    for id in acknowledged.iter().chain([&later]) {
        assert_eq!(cli.run(&["get", "s3", id]).stdout, b"of the new one");
    }
}

#[test]
fn an_owner_backs_up_over_nothing_that_another_line_wrote() {
    for erases in [false, true] {
        let world = World::new(60, SMALL_PAGES);
        let old = world.engine();
        let first = world.put("ada", Class::audio(), b"before");
        let (common, theirs) = (Arc::new(MemoryStore::new()), MemoryStore::new());
        old.backup(&*common, &mut |_| {}).unwrap();
        if erases {
            old.erase(Erase::new(Scope::Record(first)).final_within(Duration::from_secs(3600)))
                .unwrap();
        } else {
            world.put("ada", Class::audio(), b"of the old owner");
        }
        old.backup(&theirs, &mut |_| {}).unwrap();
        let kept = theirs.head().unwrap();
        let new = taken_over(&world, common.clone());
        for _ in 0..3 {
            new.put(Put::new(user("ada"), Class::audio()), &b"of the new owner"[..]).unwrap();
        }
        let e = new.backup(&theirs, &mut |_| {}).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(e.to_string().contains("another directory"), "{e}");
        assert_eq!(theirs.head().unwrap(), kept);
        // The other machine runs still, and asks whether it owns its cell when it backs up.
        assert_eq!(error_kind(old.backup(&*common, &mut |_| {})), ErrorKind::Fenced);
        new.backup(&*common, &mut |_| {}).unwrap();
        assert_eq!(common.head().unwrap().unwrap().id, new.head());
    }
}

#[test]
fn an_owner_brings_its_own_old_backup_up_whatever_it_discarded_since() {
    let world = World::new(61, SMALL_PAGES);
    let engine = world.engine();
    let gone = world.put("ada", Class::audio(), b"goes");
    world.put("bob", Class::audio(), b"stays");
    let backup = MemoryStore::new();
    engine.backup(&backup, &mut |_| {}).unwrap();
    engine.erase(Erase::new(Scope::Record(gone)).final_within(Duration::from_secs(3600))).unwrap();
    world.put("bob", Class::audio(), b"new");
    engine.discard(&mut |_| {}).unwrap();
    engine.backup(&backup, &mut |_| {}).unwrap();
    assert_eq!(backup.head().unwrap().unwrap().id, engine.head());
    engine.erase(Scope::user(user("bob"))).unwrap();
    engine.backup(&backup, &mut |_| {}).unwrap();
    assert_eq!(backup.head().unwrap().unwrap().id, engine.head());
}

#[test]
fn a_copy_with_the_stores_number_and_another_history_is_reported() {
    let world = World::new(62, SMALL_PAGES);
    let old = world.engine();
    old.copies().add("near", CopyMode::Behind, &mut |_| {}).unwrap();
    let new = taken_over(&world, world.place("near"));
    let id = new.put(Put::new(user("ada"), Class::audio()), &b"of the new owner"[..]).unwrap();
    new.copies().sync(None, &mut |_| {}).unwrap();
    world.put("ada", Class::audio(), b"of the old owner");
    let status = old.copies().status().remove(0);
    assert_eq!((status.head, status.restores), (Some(old.head()), None));
    assert!(status.error.unwrap().contains("another state of that number"));
    assert_eq!(new.copies().status()[0].error, None);
    assert_eq!(read_record(&new, &id).unwrap(), b"of the new owner");
}

/// A restore took the head with the higher number, that of a machine that had lost the cell, and
/// said nothing.
#[test]
fn a_restore_from_parted_places_prefers_the_owners_and_names_the_others() {
    let cli = Cli::new();
    put(&cli, &["store"], b"before");
    cli.ok(&["backup", "store", "b"]);
    for _ in 0..4 {
        put(&cli, &["store"], b"of the old machine");
    }
    cli.ok(&["restore", "--cell", "store.cell", "--into", "s2", "--adopt", "b"]);
    let id = put(&cli, &["s2"], b"of the new one");
    cli.ok(&["backup", "s2", "b2"]);
    for (n, newer) in ["s2", "b2"].into_iter().enumerate() {
        let into = format!("new{n}");
        let args =
            ["restore", "--json", "--cell", "store.cell", "--into", into.as_str(), "store", newer];
        let (done, stderr) = told(&cli, &args);
        assert!(done["from"].as_str().unwrap().ends_with(newer), "{done}");
        assert!(done["others"][0]["place"].as_str().unwrap().ends_with("store"), "{done}");
        assert!(
            stderr.contains("restore from that one alone") && stderr.contains(newer),
            "{stderr}"
        );
        assert_eq!(cli.run(&["get", &into, &id]).stdout, b"of the new one");
    }
    let (done, stderr) =
        told(&cli, &["restore", "--json", "--cell", "store.cell", "--into", "s5", "b", "b2"]);
    assert!(done["from"].as_str().unwrap().ends_with("b2"), "{done}");
    assert_eq!(
        (&done["others"], &stderr[..]),
        (&serde_json::json!([]), ""),
        "one goes on from the other"
    );
}

/// A store that was restored within its epoch and taken over lacked acknowledged puts and an erase
/// that was pending, and nothing said so.
#[test]
fn what_a_restored_store_lacks_shows_by_the_commit_that_its_cell_knows() {
    let cli = Cli::new();
    let commit = || told(&cli, &["status", "store", "--json"]).0["commit"].as_u64().unwrap();
    put(&cli, &["store"], b"before");
    cli.ok(&["backup", "store", "b"]);
    let then = commit();
    for _ in 0..4 {
        put(&cli, &["store"], b"after");
    }
    cli.ok(&["erase", "store", "--user", "ada", "--final-within", "1d", "--yes"]);
    let known = commit();
    // Its claim tells the cell how far the store is.
    cli.ok(&["create", "store", "--user", "ben"]);
    let (_, stderr) = told(&cli, &["status", "store", "--json"]);
    assert_eq!(stderr, "", "nothing is missing where everything is");
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    let missing = |text: &str| {
        text.contains(&format!("is at commit {then},"))
            && text.contains(&format!("was told of commit {known}:"))
    };
    let args = ["restore", "--json", "--cell", "store.cell", "--into", "store", "b"];
    let (done, stderr) = told(&cli, &args);
    assert!(missing(done["lacks"].as_str().unwrap()) && missing(&stderr), "{done} {stderr}");
    for args in [&["list", "store", "--json"][..], &["list", "b", "--cell", "store.cell", "--json"]]
    {
        let (_, stderr) = told(&cli, args);
        assert!(missing(&stderr) && stderr.lines().count() == 1, "{stderr}");
    }
    let (status, _) = told(&cli, &["status", "store", "--json"]);
    assert!(missing(status["lacks"].as_str().unwrap()), "{status}");
    // All that lives there may be sound: it is not the store that was acknowledged.
    let audit = cli.run(&["audit", "store", "--json"]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (found, stderr) = (json(&text(&audit.stdout)), text(&audit.stderr));
    assert_eq!(audit.status.code(), Some(6), "{found} {stderr}");
    assert!(missing(found["lacks"].as_str().unwrap()), "{found}");
    let (_, stderr) = told(&cli, &["create", "store", "--user", "ben", "--take-over"]);
    assert!(missing(&stderr), "{stderr}");
    let (status, stderr) = told(&cli, &["status", "store", "--json"]);
    assert_eq!(
        (&status["lacks"], &stderr[..]),
        (&serde_json::Value::Null, ""),
        "it was taken over as it is"
    );
}

#[test]
fn an_engine_that_took_an_older_state_over_tells_what_it_lacks_until_it_is_past_it() {
    let mut world = World::new(63, SMALL_PAGES);
    let backup = Arc::new(MemoryStore::new());
    world.engine().backup(&*backup, &mut |_| {}).unwrap();
    for _ in 0..2 {
        world.put("ada", Class::audio(), b"of the old owner");
    }
    // A claim tells the cell how far the store is.
    world.reopen();
    assert_eq!(world.engine().ownership().lacks(), None);
    world.engine = None;
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let look = Engine::open(backup.clone(), cell, world.options.clone()).unwrap();
    assert!(look.ownership().lacks().is_some());
    assert_eq!(look.status().unwrap().lacks, look.ownership().lacks());
    drop(look);
    let new = taken_over(&world, backup);
    for _ in 0..2 {
        assert!(new.ownership().lacks().unwrap().contains("restore from a newer copy"));
        new.put(Put::new(user("ada"), Class::audio()), &b"of the new owner"[..]).unwrap();
    }
    assert_eq!(new.ownership().lacks(), None);
}

/// A hold that only the lost store had could not be added before the command that took its place
/// had done what was due.
#[test]
fn a_take_over_says_what_is_due_and_leaves_it_for_the_next_command() {
    let cli = Cli::new();
    let id = put(&cli, &["store"], b"planned");
    cli.ok(&["erase", "store", "--record", &id, "--in", "3s", "--yes"]);
    cli.ok(&["backup", "store", "b"]);
    std::thread::sleep(Duration::from_millis(3200));
    for into in ["another", "new"] {
        let (_, stderr) =
            told(&cli, &["restore", "--cell", "store.cell", "--into", into, "--adopt", "b"]);
        assert!(stderr.contains("left undone") && stderr.contains("a planned erase"), "{stderr}");
        assert!(stderr.contains("not at all after the next erase"), "{stderr}");
    }
    let hold =
        ["hold", "add", "new", "--user", "ada", "--reason", "r", "--authority", "a", "--take-over"];
    let (_, stderr) = told(&cli, &hold);
    assert!(stderr.contains("left undone"), "{stderr}");
    assert_eq!(cli.run(&["get", "new", &id]).stdout, b"planned", "it is held now");
    cli.ok(&["create", "new", "--user", "ben"]);
    cli.ok(&["erase", "new", "--user", "ben", "--yes"]);
    cli.fails(6, &["list", "another"]);
}
