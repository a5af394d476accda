//! What names cost: looking one up beside a get by id, a page of a listing by prefix, and erases of
//! a user with 100,000 named records beside one with as many that have no name. Default stack
//! (sled store, file cell), interleaved rounds, medians.
//!
//! `cargo bench --bench names`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the
//! temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Options, Put, Query, RecordId, Scope, UserId};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn name(n: usize) -> String {
    format!("2026/{:02}/{:02}/{n:06}.wav", n / 10_000, n / 400 % 25)
}

/// Puts records of one user, many in a commit.
fn fill(engine: &Engine, user: &UserId, records: usize, named: bool) -> Vec<RecordId> {
    let mut ids = Vec::new();
    for part in (0..records).collect::<Vec<_>>().chunks(20_000) {
        let mut batch = engine.batch();
        for n in part {
            let put = Put::new(user.clone(), Class::audio());
            batch.add(if named { put.name(name(*n)) } else { put }, &[7; 200][..]).unwrap();
        }
        ids.extend(batch.commit().unwrap());
    }
    ids
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

/// What was measured of several acts, by turns.
struct Turns {
    what: Vec<&'static str>,
    took: Vec<Vec<Duration>>,
}

impl Turns {
    fn of(what: &[&'static str]) -> Self {
        Turns { what: what.to_vec(), took: vec![Vec::new(); what.len()] }
    }

    fn add(&mut self, which: usize, took: Duration) {
        self.took[which].push(took);
    }

    /// Prints the medians, each also compared with the first.
    fn print(mut self) {
        let medians: Vec<f64> = self
            .took
            .iter_mut()
            .map(|took| {
                took.sort_unstable();
                took[took.len() / 2].as_secs_f64() * 1e6
            })
            .collect();
        for (what, median) in self.what.iter().zip(&medians) {
            println!("{what}: {median:.1} us, {:.2}x", median / medians[0]);
        }
    }
}

fn reads(engine: &Engine, ada: &UserId, ids: &[RecordId], rounds: usize) {
    let at = |n: usize| n * 7919 % ids.len();
    let mut turns = Turns::of(&[
        "get by id, opened and read",
        "look-up of a name",
        "look-up of a name, then that get",
        "info by id",
    ]);
    let read = |id: &RecordId| {
        let mut content = Vec::with_capacity(200);
        engine.get_to(id, &mut content).unwrap();
        assert_eq!(black_box(content).len(), 200);
    };
    for n in 0..rounds {
        // Each act has a record of its own in each round, so that none reads what another warmed.
        let [a, b, c, d] = [at(4 * n), at(4 * n + 1), at(4 * n + 2), at(4 * n + 3)];
        let (of_b, of_c) = (name(b), name(c));
        turns.add(0, timed(|| read(&ids[a])));
        turns.add(1, timed(|| assert_eq!(engine.find(ada, &of_b).unwrap().id, ids[b])));
        turns.add(2, timed(|| read(&engine.find(ada, &of_c).unwrap().id)));
        turns.add(3, timed(|| drop(black_box(engine.info(&ids[d]).unwrap()))));
    }
    turns.print();
}

fn pages(engine: &Engine, ada: &UserId, records: usize, rounds: usize) {
    let mut turns = Turns::of(&["a page of 1,000 by prefix", "a page of 1,000 by id"]);
    let most = 1_000.min(records);
    for n in 0..rounds {
        let of_prefix = Query::default().user(ada.clone()).limit(most);
        let by_id = of_prefix.clone();
        let of_prefix =
            of_prefix.name_prefix(format!("2026/{:02}/", n % (records / 10_000).max(1)));
        for (which, query) in [of_prefix, by_id].iter().enumerate() {
            let took = timed(|| assert_eq!(engine.list(query).unwrap().records.len(), most));
            turns.add(which, took);
        }
    }
    turns.print();
}

fn erases(engine: &Engine, pairs: usize, records: usize) {
    let mut users = Turns::of(&["erase of a user without names", "erase of a user with names"]);
    let mut ones =
        Turns::of(&["erase of a record without a name", "erase of a record with a name"]);
    let of = |pair: usize, named: bool| user(&format!("user {pair} {named}"));
    let mut all = Vec::new();
    for pair in 0..pairs {
        for named in [false, true] {
            all.push((pair, named, fill(engine, &of(pair, named), records, named)));
        }
    }
    for n in 0..50 {
        for (_, named, ids) in &all {
            let scope = Scope::record(ids[(n * 7919 + 13) % ids.len()]);
            ones.add(usize::from(*named), timed(|| drop(engine.erase(scope).unwrap())));
        }
    }
    ones.print();
    for (pair, named, _) in &all {
        let scope = Scope::user(of(*pair, *named));
        users.add(usize::from(*named), timed(|| drop(engine.erase(scope).unwrap())));
    }
    users.print();
}

fn main() {
    // `cargo test --benches` runs this too: a few records show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let (records, pairs, rounds) = if quick { (500, 1, 20) } else { (100_000, 5, 4_000) };
    let dir = match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let store = SledStore::create(&dir.path().join("store")).unwrap();
    let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let options = Options::new().keeper(Keeper::ByHand);
    let engine = Engine::init(Arc::new(store), Arc::new(cell), options).unwrap();
    let ada = user("ada");
    let ids = fill(&engine, &ada, records, true);
    println!("{records} names of one user");
    reads(&engine, &ada, &ids, rounds);
    pages(&engine, &ada, records, if quick { 3 } else { 201 });
    erases(&engine, pairs, records);
}
