//! Stores made at URLs: what is refused leaves nothing, and can be asked for again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::engine::CopyMode;
use keyfall::env::System;
use keyfall::opening::{Beside, StandBy, apart, copy_to_write};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineId, EngineKey, KeyholderDir, Server};
use keyfall::store::{ObjectLog, Store};
use keyfall::{Builder, ErrorKind, Scope};
use keyfall_objects::MemoryObjects;

/// Keyholders in this process that know nobody, and their directories.
fn keyholders(dir: &Path, n: u32) -> (Vec<Member>, Vec<PathBuf>) {
    let one = |n: u32| {
        let at = dir.join(format!("keyholder {n}"));
        let keyholder = KeyholderDir::create(&at, true, &System).unwrap();
        let key = keyholder.id().to_string();
        let server = Server::bind(keyholder, "127.0.0.1:0", Arc::new(System)).unwrap();
        let address = server.address().unwrap().to_string();
        std::thread::spawn(move || server.run(&|_| {}));
        (Member { key, address }, at)
    };
    (0..n).map(one).unzip()
}

#[test]
fn an_init_that_keyholders_refused_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (members, places) = keyholders(dir.path(), 3);
    let store = format!("file://{}", dir.path().join("log").display());
    let cell = dir.path().join("cell");
    let builder = Builder::at(&store).cell_at(&cell).keyholders(members, (2, 1));
    let builder = builder.lend(Duration::from_secs(1));
    for _ in 0..2 {
        let e = builder.create().unwrap_err();
        assert_ne!(e.kind(), ErrorKind::Exists, "{e}");
        assert!(!cell.join("quorum.json").exists());
    }
    // The key that they did not know is the one that they are told of.
    let engine: EngineId = EngineKey::in_dir(&cell, &System).unwrap().id();
    for place in &places {
        KeyholderDir::allow(place, engine, None).unwrap();
    }
    let engine = builder.create().unwrap();
    assert_eq!(engine.status().unwrap().lending, Some(Duration::from_secs(1)));
    crate::paused::put(&engine, "ada", b"kept");
    engine.close().unwrap();
    assert_eq!(builder.create().unwrap_err().kind(), ErrorKind::Exists);
    assert!(cell.join("quorum.json").exists(), "the list of an existing store stays");
    builder.open().unwrap();
}

/// The keyholders come to know the engine one after another, as those of a realm's shards do: once
/// there are enough the making goes on, whatever one before has left with some of them.
#[test]
fn a_making_goes_on_once_enough_keyholders_know_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (members, places) = keyholders(dir.path(), 5);
    let cell = dir.path().join("cell");
    let store = format!("file://{}", dir.path().join("log").display());
    let builder = Builder::at(&store).cell_at(&cell).keyholders(members, (3, 1));
    let engine: EngineId = EngineKey::in_dir(&cell, &System).unwrap().id();
    for known in [0..0, 0..3, 3..3, 3..4] {
        let enough = known.end == 4;
        for place in &places[known] {
            KeyholderDir::allow(place, engine, None).unwrap();
        }
        match builder.open_or_create() {
            Err(e) => assert!(!enough && e.kind() == ErrorKind::Io, "{e}"),
            Ok(engine) => {
                assert!(enough);
                crate::paused::put(&engine, "ada", b"kept");
                engine.close().unwrap();
            }
        }
    }
    let engine = builder.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    assert!(engine.status().unwrap().finality.is_final());
    // What an earlier try dealt to three and what the fourth was dealt fit together.
    drop(engine);
    let held = std::process::Command::new(env!("CARGO_BIN_EXE_keyfall"))
        .args(["keyholder", "status", &store, "--cell", cell.to_str().unwrap()])
        .output()
        .unwrap();
    let held = String::from_utf8(held.stdout).unwrap();
    assert!(held.contains("held by 4 of 5"), "{held}");
}

#[test]
fn looking_for_a_store_makes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("deep/log");
    let builder = Builder::at(format!("file://{}", place.display()));
    let builder = builder.cell_at(dir.path().join("cell")).single_machine().accept_remnants();
    assert_eq!(builder.open().unwrap_err().kind(), ErrorKind::Absent);
    let e = builder.clone().read_only().open().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Absent, "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    builder.open_or_create().unwrap().close().unwrap();
    builder.open().unwrap();
}

/// A store at a `file:///` URL with a cell in files, and their places.
fn made_alone(dir: &Path) -> (Builder, PathBuf, PathBuf) {
    let (store, cell) = (dir.join("log"), dir.join("cell"));
    let builder = Builder::at(format!("file://{}", store.display()));
    (builder.cell_at(&cell).single_machine().accept_remnants(), store, cell)
}

/// What making a cell leaves where it is cut short: files that are not there, empty ones, and whole
/// ones that hold nothing.
#[test]
fn a_making_that_was_cut_short_in_its_cell_is_finished() {
    let files = ["slot-a", "slot-b", "claim-a", "claim-b"];
    for is_log_there in [false, true] {
        for made in 0..=2 * files.len() {
            let dir = tempfile::tempdir().unwrap();
            let (builder, store, cell) = made_alone(dir.path());
            drop(keyfall::cell::FileCell::create(&cell, true, Arc::new(System)).unwrap());
            for (n, name) in files.iter().enumerate() {
                let file = std::fs::File::options().write(true).open(cell.join(name)).unwrap();
                match made {
                    _ if made < files.len() && n >= made => {
                        std::fs::remove_file(cell.join(name)).unwrap();
                    }
                    _ if n + files.len() >= made => file.set_len(0).unwrap(),
                    _ => {}
                }
            }
            if is_log_there {
                let url = format!("file://{}", store.display());
                drop(keyfall::opening::copy_to_write(Path::new(&url)).unwrap());
            }
            let engine = builder.open_or_create();
            let engine = engine.unwrap_or_else(|e| panic!("{made} files, {is_log_there}: {e}"));
            crate::paused::put(&engine, "ada", b"kept");
            engine.close().unwrap();
            builder.open().unwrap();
        }
    }
}

#[test]
fn a_store_whose_marker_is_gone_gets_no_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, _) = made_alone(dir.path());
    let engine = builder.open_or_create().unwrap();
    let id = crate::paused::put(&engine, "ada", b"kept");
    engine.close().unwrap();
    let marker = std::fs::read(store.join("keyfall")).unwrap();
    std::fs::remove_file(store.join("keyfall")).unwrap();
    let other = builder.clone().cell_at(dir.path().join("another cell"));
    for e in [other.create(), builder.open_or_create(), builder.open()] {
        let e = e.unwrap_err();
        assert!(e.to_string().contains("the marker of the store"), "{e}");
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
        assert!(!store.join("keyfall").exists());
    }
    std::fs::write(store.join("keyfall"), marker).unwrap();
    assert_eq!(crate::engines::read(&builder.open().unwrap(), &id).unwrap(), b"kept");
}

/// With a copy of the cell a standby would give back what the writer has erased.
#[test]
fn a_cell_in_files_has_no_standby() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, _, cell) = made_alone(dir.path());
    builder.open_or_create().unwrap().close().unwrap();
    let copy = dir.path().join("a copy of the cell");
    crate::paused::bring(&cell, &copy);
    for cell in [cell, copy] {
        let standby = builder.clone().cell_at(cell);
        let mut see = |_: &Beside| -> ControlFlow<()> { panic!("it must not wait") };
        let e = standby.stand_by(&StandBy::new(), &mut see).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(e.to_string().contains("keyholder"), "{e}");
    }
}

#[test]
fn what_looks_like_a_url_becomes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let places = [
        "S3://bucket/s1",
        "s3a://bucket/x",
        "gcs://bucket/x",
        "https://host/x",
        "FILE:///tmp/x",
        "file:/tmp/x",
        "s3:bucket/x",
        "Postgres://host/x",
        "ftp:/x",
    ];
    for place in places {
        let builder = Builder::at(place).cell_at(dir.path().join("cell")).accept_remnants();
        let builder = builder.single_machine();
        for e in [builder.create(), builder.open(), builder.open_or_create()] {
            let e = e.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{place}: {e}");
            assert!(e.to_string().contains("s3://BUCKET/PREFIX"), "{place}: {e}");
        }
        let scheme = place.split_once('/').unwrap().0;
        assert!(!Path::new(scheme).exists(), "{place}");
    }
    for place in ["s3//bucket/x", "postgres//host/x"] {
        let e = Builder::at(place).cell_at(dir.path().join("cell")).create().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{place}: {e}");
        assert!(e.to_string().contains("lacks a colon"), "{place}: {e}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn one_place_by_two_urls_is_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |place: &str| place.replace("DIR", &dir.path().display().to_string());
    for (one, other) in [
        ("s3://bucket/s1", "s3://bucket/s%31"),
        ("s3://bucket/s1", "s3://bucket/x/../s1"),
        ("s3://bucket/s1", "s3://bucket/x/%2e%2E/s1"),
        ("s3://bucket/s1", "s3://bucket//./s1/"),
        ("s3://bucket/s1", "s3://bucket/s1/copy"),
        ("s3://bucket", "s3://bucket/../s1"),
        ("file://DIR/st", "file://DIR/s%74"),
        ("file://DIR/st", "file://localhostDIR/st"),
        ("file://DIR/st", "DIR/x/../st/inner"),
    ] {
        let (one, other) = (at(one), at(other));
        for (a, b) in [(&one, &other), (&other, &one)] {
            let e = apart(&[("the copy", Path::new(a)), ("the store", Path::new(b))]);
            assert_eq!(e.unwrap_err().kind(), ErrorKind::Refused, "{a} {b}");
        }
    }
    for (one, other) in [
        ("s3://bucket/s1", "s3://bucket/s2"),
        ("s3://bucket/s1", "s3://bucket/s%32"),
        ("s3://bucket/s1", "gs://bucket/s1"),
        ("s3://bucket/s1", "s3://other/s1"),
        ("file://DIR/st", "file://DIR/st2"),
    ] {
        let (one, other) = (at(one), at(other));
        apart(&[("the copy", Path::new(&one)), ("the store", Path::new(&other))]).unwrap();
    }
}

#[test]
fn a_store_is_not_its_own_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, _) = made_alone(dir.path());
    let engine = builder.open_or_create().unwrap();
    let link = dir.path().join("another way");
    std::os::unix::fs::symlink(&store, &link).unwrap();
    let place = format!("file://{}", link.display());
    let added = engine.copies().add(&place, CopyMode::InStep, &mut |_| {});
    let e = added.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
    assert_eq!(engine.status().unwrap().copies.len(), 0);
    // Nor does a copy lie among the store's objects.
    let inside = format!("file://{}/c", store.display());
    let e = engine.copies().add(&inside, CopyMode::InStep, &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
}

#[test]
fn a_store_that_is_lost_is_told_of_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, _) = made_alone(dir.path());
    builder.open_or_create().unwrap().close().unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    let e = builder.open().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Absent, "{e}");
    assert!(e.to_string().contains("Builder::restore"), "{e}");
    assert!(!store.exists());
}

/// What is none of the log's, in its folder of commits.
#[test]
fn a_foreign_object_does_not_end_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, _) = made_alone(dir.path());
    let engine = builder.open_or_create().unwrap();
    let kept = crate::paused::put(&engine, "ada", b"kept");
    std::fs::write(store.join("c/zzz"), b"").unwrap();
    engine.close().unwrap();
    let engine = builder.open().unwrap();
    let gone = crate::paused::put(&engine, "bob", b"gone");
    engine.erase(Scope::record(gone)).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    assert_eq!(crate::engines::read(&builder.open().unwrap(), &kept).unwrap(), b"kept");
    assert!(store.join("c/zzz").exists());
}

/// A backup is no backup if it is the store itself, by whichever name.
#[test]
fn a_store_is_not_its_own_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, _) = made_alone(dir.path());
    let engine = builder.open_or_create().unwrap();
    crate::paused::put(&engine, "ada", b"kept");
    let link = dir.path().join("another way");
    std::os::unix::fs::symlink(&store, &link).unwrap();
    for place in [&store, &link] {
        let to = copy_to_write(Path::new(&format!("file://{}", place.display()))).unwrap();
        let e = engine.backup(&*to, &mut |_| {}).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(e.to_string().contains("name another place"), "{e}");
    }
    let elsewhere = format!("file://{}", dir.path().join("backup").display());
    for _ in 0..2 {
        let to = copy_to_write(Path::new(&elsewhere)).unwrap();
        engine.backup(&*to, &mut |_| {}).unwrap();
    }
    crate::paused::put(&engine, "ada", b"it goes on");
}

/// What the program says that it refuses.
fn refused(args: &[&str]) -> String {
    let mut keyfall = std::process::Command::new(env!("CARGO_BIN_EXE_keyfall"));
    let done = keyfall.args(args).output().unwrap();
    assert!(!done.status.success(), "{args:?}");
    String::from_utf8(done.stderr).unwrap()
}

/// A registered copy, by another spelling of its URL.
#[test]
fn a_copy_is_added_once_and_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, store, cell) = made_alone(dir.path());
    let engine = builder.open_or_create().unwrap();
    let at = |name: &str| format!("file://{}/{name}", dir.path().display());
    engine.copies().add(&at("copy"), CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let (store, cell) = (format!("file://{}", store.display()), cell.display().to_string());
    for spelling in [at("cop%79"), at("x/../copy"), dir.path().join("copy").display().to_string()] {
        let told = refused(&["copy", "add", &store, &spelling, "--cell", &cell]);
        assert!(told.contains("is a copy of this store already"), "{spelling}: {told}");
        let told = refused(&["backup", &store, &spelling, "--cell", &cell]);
        assert!(told.contains("is a registered copy of this store"), "{spelling}: {told}");
    }
    assert_eq!(builder.open().unwrap().copies().list().len(), 1);
}

/// A store that machines share, given as an adapter, with a cell in files.
#[test]
fn a_cell_in_files_is_of_one_machine_however_the_store_is_named() {
    for lend in [None, Some(Duration::from_secs(1))] {
        let dir = tempfile::tempdir().unwrap();
        let log = || -> Arc<dyn Store> {
            let objects = Arc::new(MemoryObjects::new());
            Arc::new(ObjectLog::create(objects).unwrap())
        };
        let builder = || {
            let builder = Builder::over(log(), Arc::new(MemoryCell::new()));
            let builder = builder.cell_at(dir.path().join("cell")).accept_remnants();
            lend.into_iter().fold(builder, Builder::lend)
        };
        for e in [builder().create(), builder().open_or_create()] {
            let e = e.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
            assert!(e.to_string().contains("Builder::single_machine"), "{e}");
            assert!(!dir.path().join("cell").exists());
        }
        let made = builder().single_machine().create();
        if lend.is_none() {
            made.unwrap();
            continue;
        }
        // Its readers are on other machines, and none of those can read such a cell.
        let e = made.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(e.to_string().contains("Builder::keyholders"), "{e}");
        assert!(!dir.path().join("cell").exists());
    }
}

/// The same for a store at a URL; what was refused has left nothing there.
#[test]
fn a_store_with_a_cell_in_files_lends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, cell) = (dir.path().join("log"), dir.path().join("cell"));
    let url = format!("file://{}", store.display());
    let builder = || Builder::at(&url).cell_at(&cell).accept_remnants().single_machine();
    let lends = || builder().lend(Duration::from_secs(1));
    for e in [lends().create(), lends().open_or_create()] {
        let e = e.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(e.to_string().contains("Builder::lend"), "{e}");
        assert!(!store.exists() && !cell.exists());
    }
    builder().create().unwrap();
}

/// A standby looks at its cell while it waits: what it found when it began may be another one.
#[test]
fn a_standby_sees_that_its_cell_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let (members, places) = keyholders(dir.path(), 3);
    let made = |name: &str| {
        let cell = dir.path().join(format!("{name} cell"));
        let engine: EngineId = EngineKey::in_dir(&cell, &System).unwrap().id();
        for place in &places {
            KeyholderDir::allow(place, engine, None).unwrap();
        }
        let store = format!("file://{}", dir.path().join(name).display());
        let builder = Builder::at(&store).cell_at(&cell).keyholders(members.clone(), (2, 1));
        (builder.create().unwrap(), store, cell)
    };
    let ((engine, store, cell), (_other, _, another)) = (made("one"), made("two"));
    engine.ownership().beat().unwrap();
    let alone = dir.path().join("alone");
    let file = Builder::at(dir.path().join("dir.db")).cell_at(&alone).accept_remnants();
    file.create().unwrap().close().unwrap();
    let mine = dir.path().join("mine");
    for (instead, kind) in [(alone, ErrorKind::Refused), (another, ErrorKind::Mismatch)] {
        crate::paused::bring(&cell, &mine);
        let how = StandBy::new().every(Duration::from_millis(20));
        let (how, mut looks) = (how.gone_after(Duration::from_secs(2)), 0);
        let standby = Builder::at(&store).cell_at(&mine);
        let e = standby.stand_by(&how, &mut |beside| {
            assert!(matches!(beside, Beside::Quiet(_)), "{beside:?}");
            looks += 1;
            if looks == 3 {
                crate::paused::bring(&instead, &mine);
            }
            ControlFlow::Continue(())
        });
        let e = e.unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        crate::paused::put(&engine, "ada", b"it goes on");
    }
}

/// The address at which a machine of the cloud gives its own credentials was asked, whoever answers
/// there, and the error was about that.
#[test]
fn a_place_without_credentials_says_which_variables_to_set() {
    let dir = tempfile::tempdir().unwrap();
    for (url, names) in [
        (
            "s3://bucket/assistant",
            &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"][..],
        ),
        ("gs://bucket/assistant", &["GOOGLE_APPLICATION_CREDENTIALS"]),
        ("az://container/assistant", &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"]),
    ] {
        let mut keyfall = std::process::Command::new(env!("CARGO_BIN_EXE_keyfall"));
        keyfall.args(["init", url, "--cell", "cell", "--single-machine", "--accept-remnants"]);
        let out = keyfall.env_clear().current_dir(dir.path()).output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with(&format!("keyfall: {url}: ")), "{told}");
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{url}");
    }
}
