//! Put, get, erase, and what an old backup is worth afterwards.
//!
//! `cargo run --example minimal`

use std::error::Error;

use keyfall::store::SledStore;
use keyfall::{Builder, Class, ErrorKind, Put, Scope, UserId};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // The store holds ciphertext. Its root cell, `assistant.db.cell` beside it, holds the one key
    // at the top: never copy it. Any file system is accepted here, since a temporary directory may
    // lie on one that does not overwrite in place; in production leave that out, or call
    // `keyfall::open("assistant.db")`.
    let cell = dir.path().join("assistant.db.cell");
    let engine = Builder::at(dir.path().join("assistant.db")).accept_remnants().open_or_create()?;

    let (ada, ben) = (UserId::new("ada")?, UserId::new("ben")?);
    let of_ada = engine.put(Put::new(ada.clone(), Class::audio()), &b"wake me at six"[..])?;
    let of_ben = engine.put(Put::new(ben, Class::audio()), &b"order a pizza"[..])?;

    let backup = dir.path().join("backup");
    engine.backup(&SledStore::create(&backup)?, &mut |_| {})?;

    let erasure = engine.erase(Scope::user(ada))?; // complete when it returns
    println!("{} record erased; epoch {}", erasure.records.unwrap_or(0), erasure.epoch);
    println!("The cell says: {}", engine.promise());

    let erased = engine.get(&of_ada).err().map(|e| e.kind());
    assert_eq!(erased, Some(ErrorKind::Erased));
    let mut text = Vec::new();
    engine.get_to(&of_ben, &mut text)?;
    assert_eq!(text, b"order a pizza");

    // The backup was taken before the erase. Its root key is destroyed, so it opens nothing.
    engine.close()?;
    let opened = Builder::at(backup).cell_at(cell).open();
    let refused = opened.err().ok_or("the old backup opened")?;
    assert_eq!(refused.kind(), ErrorKind::Mismatch);
    println!("The old backup: {refused}");
    Ok(())
}
