//! Put, get, erase, and what an old backup is worth afterwards.
//!
//! `cargo run --example minimal`

use std::error::Error;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::{SledStore, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope, UserId};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // The store holds ciphertext. The cell holds the one key at the top: never copy it, and keep it
    // outside the store. `true` accepts any file system, since a temporary directory may lie on one
    // that does not overwrite in place; in production say `false`.
    let cell_dir = dir.path().join("assistant.cell");
    let store = SledStore::create(&dir.path().join("assistant.db"))?;
    let cell = FileCell::create(&cell_dir, true, Arc::new(System))?;
    let engine = Engine::init(Arc::new(store), Arc::new(cell), Options::default())?;

    let (ada, ben) = (UserId::new("ada")?, UserId::new("ben")?);
    let of_ada = engine.put(Put::new(ada.clone(), Class::audio()), &b"wake me at six"[..])?;
    let of_ben = engine.put(Put::new(ben, Class::audio()), &b"order a pizza"[..])?;

    let backup: Arc<dyn Store> = Arc::new(SledStore::create(&dir.path().join("backup"))?);
    engine.backup(&*backup, |_| {})?;

    let erasure = engine.erase(Scope::user(ada))?; // complete when it returns
    println!("{} record erased; epoch {}", erasure.records.unwrap_or(0), erasure.epoch);
    println!("The cell says: {}", engine.promise());

    let erased = engine.get(&of_ada).err().map(|e| e.kind());
    assert_eq!(erased, Some(ErrorKind::Erased));
    let mut text = Vec::new();
    engine.get_to(&of_ben, &mut text)?;
    assert_eq!(text, b"order a pizza");

    // The backup was taken before the erase. Its root key is destroyed, so it opens nothing.
    drop(engine);
    let cell = FileCell::open(&cell_dir, Arc::new(System))?;
    let opened = Engine::open(backup, Arc::new(cell), Options::default());
    let refused = opened.err().ok_or("the old backup opened")?;
    assert_eq!(refused.kind(), ErrorKind::Refused);
    println!("The old backup: {refused}");
    Ok(())
}
