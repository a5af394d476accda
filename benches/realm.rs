//! What shards are for: puts of one shard beside those of eight, on stores whose latency is the bound,
//! and an erase of 1,000 users over one and over eight. Stores in memory, whose commits take 5 ms:
//! a disk of this machine would be one and the same for all shards.
//!
//! Callers of one shard share its commits, so a shard is measured with a number of callers of its
//! own, the same for each; and once more with the same callers in all, where one shard's commits
//! grow as large as eight shards' together.
//!
//! `cargo bench --bench realm`
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::realm::{Realm, RealmBuilder};
use keyfall::store::{
    Ahead, Blob, BlobName, Claimed, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store,
    Usage,
};
use keyfall::{Builder, Class, Put, Result, Scope, UserId};

const LATENCY: Duration = Duration::from_millis(5);

/// A store whose commits take a while.
#[derive(Default)]
struct Far(MemoryStore);

impl Store for Far {
    fn place(&self) -> String {
        self.0.place()
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.0.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.0.claim(claimed)
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.0.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.0.get(name)
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.0.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.0.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.0.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        std::thread::sleep(LATENCY);
        self.0.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.0.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.0.remove(names)
    }
    fn usage(&self) -> Result<Usage> {
        self.0.usage()
    }
}

type Place = (Arc<Far>, Arc<MemoryCell>);

/// A realm of so many shards in memory; its map lies in a directory.
fn realm(dir: &tempfile::TempDir, shards: usize) -> Realm {
    let places: Mutex<HashMap<usize, Place>> = Mutex::default();
    RealmBuilder::at(dir.path().join(format!("realm-{shards}")))
        .shards(shards)
        .open_shard(move |shard| {
            let mut places = places.lock().unwrap();
            let (store, cell) = places
                .entry(shard.number)
                .or_insert_with(|| (Arc::default(), Arc::new(MemoryCell::new())));
            let (store, cell): (Arc<dyn Store>, Arc<_>) = (store.clone(), cell.clone());
            Ok(Builder::over(store, cell).keeper(Keeper::ByHand))
        })
        .init()
        .unwrap()
}

/// Users of each shard, so many.
fn users(realm: &Realm, of_each: usize, prefix: &str) -> Vec<Vec<UserId>> {
    let mut users = vec![Vec::new(); realm.shards().len()];
    for n in 0.. {
        let user = UserId::new(format!("{prefix} {n}")).unwrap();
        let of = &mut users[realm.shard_of(&user).unwrap().number];
        if of.len() < of_each {
            of.push(user);
        }
        if users.iter().all(|of| of.len() == of_each) {
            break;
        }
    }
    users
}

/// Puts a second with so many callers for each shard.
fn puts(realm: &Realm, callers: usize, time: Duration) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let users = users(realm, callers, "caller");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for user in users.iter().flatten() {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let put = Put::new(user.clone(), Class::action());
                    realm.put(put, &b"switch the lights off"[..]).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// How long an erase of so many users takes, spread over the shards.
fn erase(realm: &Realm, number: usize, round: usize) -> Duration {
    let users = users(realm, number / realm.shards().len(), &format!("erased {round}"));
    for (of, users) in users.iter().enumerate() {
        let mut batch = realm.engine_at(of).unwrap().batch();
        for user in users {
            batch.add(Put::new(user.clone(), Class::action()), &b"wake me at six"[..]).unwrap();
        }
        batch.commit().unwrap();
    }
    let scopes: Vec<Scope> = users.into_iter().flatten().map(Scope::user).collect();
    assert_eq!(scopes.len(), number);
    let began = Instant::now();
    let erased = realm.erase_all(&scopes).done().unwrap();
    let took = began.elapsed();
    assert!(erased.iter().all(|erasure| erasure.records == Some(1)));
    took
}

fn median<T: PartialOrd + Copy>(samples: &mut [T]) -> T {
    samples.sort_by(|a, b| a.partial_cmp(b).unwrap());
    samples[samples.len() / 2]
}

fn main() {
    // `cargo test --benches` runs this too: a short run shows that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let (rounds, time, erased) =
        if quick { (1, Duration::from_millis(100), 64) } else { (5, Duration::from_secs(3), 1000) };
    let dir = tempfile::tempdir().unwrap();
    let (one, eight) = (realm(&dir, 1), realm(&dir, 8));
    println!("a commit takes 5 ms; medians of {rounds} rounds");
    for callers in [1, 4, 8] {
        let (mut of_one, mut of_eight) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            of_one.push(puts(&one, callers, time));
            of_eight.push(puts(&eight, callers, time));
        }
        let (of_one, of_eight) = (median(&mut of_one), median(&mut of_eight));
        println!(
            "puts, {callers} callers a shard: 1 shard {of_one:>6.0}/s, 8 shards {of_eight:>6.0}/s, \
             {:.2}x",
            of_eight / of_one
        );
    }
    let mut together: Vec<f64> = (0..rounds).map(|_| puts(&one, 8, time)).collect();
    let mut apart: Vec<f64> = (0..rounds).map(|_| puts(&eight, 1, time)).collect();
    let (together, apart) = (median(&mut together), median(&mut apart));
    println!(
        "puts, 8 callers in all: 1 shard {together:>6.0}/s, 8 shards {apart:>6.0}/s, {:.2}x",
        apart / together
    );
    let (mut of_one, mut of_eight) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        of_one.push(erase(&one, erased, round));
        of_eight.push(erase(&eight, erased, round));
    }
    let (of_one, of_eight) = (median(&mut of_one), median(&mut of_eight));
    println!(
        "erase of {erased} users: 1 shard {of_one:.1?}, 8 shards {of_eight:.1?}, {:.2}x",
        of_one.as_secs_f64() / of_eight.as_secs_f64()
    );
}
