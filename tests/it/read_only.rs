//! Reading changes nothing where it reads: backups on media that cannot be written, disks that are
//! full. SPEC §6.8, §8.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Builder, Class, Engine, ErrorKind, Options, Put};

use crate::command_line::Cli;
use crate::support::{bytes, copy, error_kind, files, in_namespace, user};

/// Runs a script as root of namespaces of its own, where the system allows that, and demands that
/// it ends with 0; it writes what went wrong to `err`.
fn must_pass(cli: &Cli, script: &str) {
    if let Some(out) = in_namespace(script) {
        let err = std::fs::read_to_string(cli.path("err")).unwrap_or_default();
        assert_eq!(out.status.code(), Some(0), "{err} {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn a_restore_and_an_audit_leave_the_backup_as_it_was() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"x");
    cli.ok(&["backup", "store", "bk"]);
    let before = files(&cli.path("bk"));
    cli.ok(&["audit", "store", "bk"]);
    cli.ok(&["restore", "--cell", "store.cell", "--into", "new", "bk"]);
    assert_eq!(cli.run(&["get", "new", &id]).stdout, b"x");
    assert!(files(&cli.path("bk")) == before);
}

/// A copy in step, without which nothing is restored after an erase, could not be checked: the
/// command itself had it open.
#[test]
fn a_check_reads_the_copy_in_step_and_leaves_it_as_it_was() {
    let cli = Cli::new();
    for user in ["ada", "ben", "carl"] {
        cli.put(user, "audio", user.as_bytes());
    }
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["backup", "store", "bk"]);
    cli.ok(&["erase", "store", "--user", "ben", "--yes"]);
    let before = files(&cli.path("replica"));
    for copies in [&["replica"][..], &["bk", "replica"], &["./replica/"]] {
        let told = cli.ok(&[&["check", "store"][..], copies].concat());
        assert!(told.contains("would be complete"), "{told}");
    }
    assert!(cli.ok(&["status", "store"]).contains("0 pages"));
    for place in ["replica", "./bk/../replica"] {
        let e = cli.fails(6, &["backup", "store", place]);
        assert!(e.contains("registered copy of this store, in step"), "{e}");
    }
    assert!(files(&cli.path("replica")) == before);
    // Where something is due it is left alone.
    cli.ok(&["erase", "store", "--user", "carl", "--in", "1s", "--yes"]);
    std::thread::sleep(Duration::from_millis(1200));
    let out = cli.run(&["check", "store", "replica"]);
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && told.contains("something is due"), "{told}");
}

#[test]
fn a_copy_in_step_is_drilled_by_the_engine_that_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let place = copy.to_str().unwrap();
    let store = SledStore::create(&dir.path().join("store")).unwrap();
    let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let options = Options::new().keeper(Keeper::ByHand);
    let engine = Engine::init(Arc::new(store), Arc::new(cell), options).unwrap();
    engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    assert!(engine.copies().attached(place).is_none() && engine.copies().list().is_empty());
    engine.copies().add(place, CopyMode::InStep, &mut |_| {}).unwrap();
    assert_eq!(error_kind(SledStore::look(&copy)), ErrorKind::Locked);
    let attached = engine.copies().attached(place).unwrap();
    assert!(engine.copies().check_restore(&[attached], &mut |_| {}).unwrap().is_whole());
}

/// A copy in a directory is kept from its owner as long as somebody looks at it: no longer than the
/// look at the copy takes, however long the engine that looks is open.
#[test]
fn a_look_keeps_the_owner_from_a_copy_no_longer_than_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let place = copy.to_str().unwrap();
    let builder = Builder::at(dir.path().join("store")).accept_remnants().keeper(Keeper::ByHand);
    let engine = builder.create().unwrap();
    engine.copies().add(place, CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let look = builder.clone().read_only().open().unwrap();
    let opens = |after: &str| SledStore::open(&copy).unwrap_or_else(|e| panic!("{after}: {e}"));
    opens("an opening");
    assert_eq!(look.copies().status()[0].error, None);
    opens("a status");
    assert_eq!(look.copies().ahead(place).unwrap(), None);
    opens("a comparison");
    assert_eq!(look.audit(&[], &mut |_| {}).unwrap().places.len(), 2);
    opens("an audit");
}

/// While production runs a drill is refused, and nothing said how to do one all the same.
#[test]
fn a_drill_while_production_runs_reads_a_copy_of_the_copy() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"recording");
    cli.ok(&["copy", "add", "store", "replica"]);
    let put = ["put", "store", "--user", "ben", "--class", "audio", "-"];
    let mut production =
        cli.command(&put).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut content = production.stdin.take().unwrap();
    // A pipe holds less: once it is written, the other end reads, and has everything open.
    content.write_all(&bytes(1, 300_000)).unwrap();
    let restore = |from: &'static str| ["restore", "--cell", "store.cell", "--into", "new", from];
    for drill in [&["check", "store", "replica"][..], &restore("replica")] {
        let e = cli.fails(8, drill);
        assert!(e.contains("in use") && e.contains("cp -a"), "{e}");
    }
    copy(&cli.path("replica"), &cli.path("drill"));
    cli.ok(&restore("drill"));
    assert_eq!(cli.run(&["get", "new", &id]).stdout, b"recording");
    drop(content);
    assert!(production.wait().unwrap().success());
}

#[test]
fn a_backup_on_read_only_media_is_audited_and_restored() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"recording");
    cli.ok(&["backup", "store", "bk"]);
    let script = format!(
        "cd {dir} && mount --bind bk bk && mount -o remount,ro,bind bk || exit 90
         {bin} audit store bk >/dev/null 2>err || exit 91
         {bin} restore --cell store.cell --into new bk >/dev/null 2>err || exit 92
         {bin} get new {id} | grep -q recording || exit 93",
        dir = cli.dir.path().display(),
        bin = env!("CARGO_BIN_EXE_keyfall")
    );
    must_pass(&cli, &script);
}

#[test]
fn reads_need_no_space_and_an_erase_has_its_reserve() {
    let cli = Cli::empty();
    std::fs::create_dir(cli.path("mnt")).unwrap();
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=16m tmpfs mnt && {bin} init mnt/store --cell mnt/cell --accept-remnants >/dev/null || exit 90
         echo recording > small; id=$({bin} put mnt/store --user ada --class audio small) || exit 91
         cat /dev/zero > mnt/full 2>/dev/null
         for n in 1 2 3; do {bin} get mnt/store $id 2>err | grep -q recording || exit 92; done
         {bin} list mnt/store >/dev/null 2>err || exit 93
         {bin} erase mnt/store --user ada --yes >/dev/null 2>err || exit 94",
        dir = cli.dir.path().display(),
        bin = env!("CARGO_BIN_EXE_keyfall")
    );
    must_pass(&cli, &script);
}

/// A put that found no room for the index gave the reserve to it, and failed all the same; then
/// nothing could be erased or discarded.
#[test]
fn a_put_on_a_full_disk_leaves_the_reserve_to_erases_and_discards() {
    let cli = Cli::empty();
    std::fs::create_dir(cli.path("mnt")).unwrap();
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=16m tmpfs mnt && {bin} init mnt/store --cell cell --accept-remnants >/dev/null || exit 90
         head -c 300000 /dev/zero > small
         for user in ada ben; do {bin} put mnt/store --user $user --class audio small >ids || exit 91; done
         cat /dev/zero > mnt/full 2>/dev/null
         for n in 1 2 3 4 5 6; do
             {bin} put mnt/store --user eve --class audio small >/dev/null 2>err; code=$?
             [ $(stat -c %b mnt/store/reserve) -ge 4096 ] || exit 92
         done
         [ $code = 1 ] && grep -q 'no space left' err || exit 93
         {bin} erase mnt/store --user ada --yes >/dev/null 2>err || exit 95
         {bin} discard mnt/store >/dev/null 2>err || exit 96
         {bin} erase mnt/store --user ben --yes >/dev/null 2>err || exit 97
         {bin} get mnt/store $(cat ids) >/dev/null 2>&1; [ $? = 3 ] || exit 98
         rm mnt/full; {bin} put mnt/store --user eve --class audio small >ids 2>err || exit 99
         {bin} get mnt/store $(cat ids) | cmp - small || exit 89
         [ $(stat -c %b mnt/store/reserve) -ge 4096 ] || exit 88",
        dir = cli.dir.path().display(),
        bin = env!("CARGO_BIN_EXE_keyfall")
    );
    must_pass(&cli, &script);
}

#[test]
fn a_copy_in_step_on_a_full_disk_lets_an_erase_through() {
    let cli = Cli::new();
    std::fs::create_dir(cli.path("mnt")).unwrap();
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=16m tmpfs mnt && {bin} copy add store mnt/copy >/dev/null || exit 90
         head -c 1000000 /dev/zero > small
         {bin} put store --user ada --class audio small >/dev/null || exit 91
         cat /dev/zero > mnt/full 2>/dev/null
         {bin} put store --user ben --class audio small 2>err; [ $? = 1 ] || exit 92
         grep -q 'must not be put again' err || exit 93
         [ $({bin} list store --json 2>/dev/null | grep -o media_type | wc -l) = 2 ] || exit 94
         {bin} erase store --user ada --yes >/dev/null 2>err || exit 95
         {bin} audit store >/dev/null 2>err || exit 96",
        dir = cli.dir.path().display(),
        bin = env!("CARGO_BIN_EXE_keyfall")
    );
    must_pass(&cli, &script);
}
