//! What the tests that run with either provider of AES ask an engine with (`tests/aes.rs`): nothing
//! here needs the programs.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Engine, Options, RecordId, Result, UserId};

/// The default stack on real files.
pub fn open_files(store: &Path, cell: &Path) -> Result<Engine> {
    let store = SledStore::open(store)?;
    let cell = FileCell::open(cell, Arc::new(System))?;
    Engine::open(Arc::new(store), Arc::new(cell), Options::new().keeper(Keeper::ByHand))
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn read_record(engine: &Engine, id: &RecordId) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    engine.get_to(id, &mut out)?;
    Ok(out)
}

/// Bytes that look like nothing else, and differ for each seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}
