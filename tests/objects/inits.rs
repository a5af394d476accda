//! Stores made at URLs: what is refused leaves nothing, and can be asked for again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfall::env::System;
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineId, EngineKey, KeyholderDir, Server};
use keyfall::{Builder, ErrorKind};

/// Three keyholders in this process that know nobody, and their directories.
fn keyholders(dir: &Path) -> (Vec<Member>, Vec<PathBuf>) {
    let one = |n: u32| {
        let at = dir.join(format!("keyholder {n}"));
        let keyholder = KeyholderDir::create(&at, true, &System).unwrap();
        let key = keyholder.id().to_string();
        let server = Server::bind(keyholder, "127.0.0.1:0", Arc::new(System)).unwrap();
        let address = server.address().unwrap().to_string();
        std::thread::spawn(move || server.run(&|_| {}));
        (Member { key, address }, at)
    };
    (0..3).map(one).unzip()
}

#[test]
fn an_init_that_keyholders_refused_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (members, places) = keyholders(dir.path());
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
    assert!(cell.join("quorum.json").exists(), "that of a store that is there stays");
    builder.open().unwrap();
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
