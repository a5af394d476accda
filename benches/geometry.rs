//! Page size and fan-out of the user tree: what one erase costs among many users, for each
//! geometry.
//!
//! `cargo bench --bench geometry`; `KEYFALL_USERS` sets the number of users (default 200,000).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::engine::Geometry;
use keyfall::env::System;
use keyfall::store::BlobName;
use keyfall::store::{
    Ahead, Blob, Cursor, Head, HeadId, Published, Removed, SledStore, Store, Usage,
};
use keyfall::{Class, Engine, Options, Put, Result, Scope, UserId};

/// Counts what a store is given.
struct Counting {
    store: SledStore,
    bytes: AtomicU64,
    blobs: AtomicU64,
}

impl Counting {
    fn count(&self, blobs: &[Blob]) {
        self.bytes.fetch_add(blobs.iter().map(|(_, b)| b.len() as u64).sum(), Ordering::Relaxed);
        self.blobs.fetch_add(blobs.len() as u64, Ordering::Relaxed);
    }
}

impl Store for Counting {
    fn place(&self) -> String {
        self.store.place()
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.store.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.store.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.count(blobs);
        self.store.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.store.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.count(blobs);
        self.bytes.fetch_add(head.bytes.len() as u64, Ordering::Relaxed);
        self.store.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.store.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.store.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.store.usage()
    }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

fn main() {
    let users: usize =
        std::env::var("KEYFALL_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let quick = !std::env::args().any(|a| a == "--bench");
    let users = if quick { 500 } else { users };
    let geometries = [(2048, 4), (4096, 3), (4096, 4), (4096, 5), (4096, 6), (8192, 7)];
    let mut engines = Vec::new();
    for (page_bytes, fan_bits) in geometries {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::create(&dir.path().join("store")).unwrap();
        let store =
            Arc::new(Counting { store, bytes: AtomicU64::new(0), blobs: AtomicU64::new(0) });
        let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
        let options =
            Options::new().geometry(Geometry { page_bytes, fan_bits, ..Geometry::DEFAULT });
        let engine = Engine::init(store.clone(), Arc::new(cell), options).unwrap();
        let began = Instant::now();
        for part in (0..users).collect::<Vec<_>>().chunks(20_000) {
            let mut batch = engine.batch();
            for n in part {
                let user = UserId::new(format!("u{n}")).unwrap();
                batch.add(Put::new(user, Class::action()), &[1; 8][..]).unwrap();
            }
            batch.commit().unwrap();
        }
        println!(
            "{page_bytes:>6} bytes, fan-out {:>3}: {users} users in {:.1?}",
            1 << fan_bits,
            began.elapsed()
        );
        engines.push((dir, store, engine));
    }
    let rounds = if quick { 2 } else { 400 };
    let mut samples: Vec<Vec<Duration>> = geometries.iter().map(|_| Vec::new()).collect();
    let mut totals = vec![(0, 0); geometries.len()];
    for round in 0..rounds {
        for at in 0..engines.len() {
            let i = (at + round) % engines.len();
            let (_, store, engine) = &engines[i];
            let before = (store.bytes.load(Ordering::Relaxed), store.blobs.load(Ordering::Relaxed));
            let began = Instant::now();
            engine.erase(Scope::user(UserId::new(format!("u{}", round * 7)).unwrap())).unwrap();
            samples[i].push(began.elapsed());
            totals[i].0 += store.bytes.load(Ordering::Relaxed) - before.0;
            totals[i].1 += store.blobs.load(Ordering::Relaxed) - before.1;
        }
    }
    for (i, (page_bytes, fan_bits)) in geometries.iter().enumerate() {
        println!(
            "{page_bytes:>6} bytes, fan-out {:>3}: one erase p50 {:>8.1?}, {:>6} bytes in {:.1} pages",
            1 << fan_bits,
            median(samples[i].clone()),
            totals[i].0 / rounds as u64,
            totals[i].1 as f64 / rounds as f64
        );
    }
}
