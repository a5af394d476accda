//! Keyholders are told of puts once a minute: a store that went back since is found out, though
//! nothing was erased. SPEC §6.

use std::path::Path;
use std::sync::Arc;

use keyfall::engine::{Keeper, OpenAs};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::{Keyholder, QuorumCell};
use keyfall::store::{MemoryStore, StoreId};
use keyfall::testing::Seeded;
use keyfall::{Class, Engine, ErrorKind, Options, Put};

use crate::support::user;

struct Three {
    dir: tempfile::TempDir,
    clock: Arc<Seeded>,
    store: Arc<MemoryStore>,
}

fn holders(dir: &Path) -> Vec<Arc<dyn Keyholder>> {
    let env: SharedEnv = Arc::new(System);
    let holder = |n: u8| keyfall::testing::holder(&dir.join(format!("kh{n}")), n, &env);
    (1..=3).map(|n| Arc::new(holder(n)) as Arc<dyn Keyholder>).collect()
}

impl Three {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Three { dir, clock: Arc::new(Seeded::new(7)), store: Arc::new(MemoryStore::new()) }
    }

    fn cell(&self, id: Option<StoreId>) -> Arc<QuorumCell> {
        let members = holders(self.dir.path());
        Arc::new(QuorumCell::in_process(members, (2, 0), id, Arc::new(System)).unwrap())
    }

    fn options(&self) -> Options {
        Options::new().env(self.clock.clone()).keeper(Keeper::ByHand)
    }

    /// What each keyholder was told last.
    fn marks(&self, id: StoreId) -> Vec<u64> {
        holders(self.dir.path()).iter().map(|holder| holder.load(id).unwrap().mark).collect()
    }
}

fn put(engine: &Engine) {
    engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
}

#[test]
fn keyholders_are_told_of_puts_once_a_minute() {
    let three = Three::new();
    let engine = Engine::init(three.store.clone(), three.cell(None), three.options()).unwrap();
    let id = engine.id();
    let commit = || engine.status().unwrap().head.commit;
    let told = || engine.run_due(&mut |_| {}).map(|_| three.marks(id)).unwrap();
    let first = told();
    let before = Arc::new(three.store.snapshot());
    put(&engine);
    three.clock.advance(50_000);
    assert_eq!(told(), first, "before a minute was over");
    three.clock.advance(10_000);
    let second = told();
    assert_eq!(second, [commit(); 3]);
    assert!(second > first);
    // Another minute without a put: nobody is asked.
    three.clock.advance(120_000);
    assert_eq!(told(), second);
    put(&engine);
    put(&engine);
    three.clock.advance(60_000);
    let third = told();
    assert_eq!(third, [commit(); 3]);
    engine.close().unwrap();

    let opened = Engine::open(before, three.cell(Some(id)), three.options());
    let refused = opened.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Mismatch, "{refused}");
    assert!(refused.to_string().contains("was rolled back"), "{refused}");
    drop(Engine::open(three.store.clone(), three.cell(Some(id)), three.options()).unwrap());
}

/// One of three has a late word: the two others count.
#[test]
fn a_keyholder_that_is_away_is_told_later() {
    let three = Three::new();
    let cell = three.cell(None);
    let engine = Engine::init(three.store.clone(), cell, three.options()).unwrap();
    let id = engine.id();
    put(&engine);
    engine.run_due(&mut |_| {}).unwrap();
    let commit = engine.status().unwrap().head.commit;
    assert!(three.marks(id).iter().all(|mark| *mark < commit), "told at once");
    three.clock.advance(60_000);
    // Its slots are not to be written now.
    let slots = three.dir.path().join("kh1/stores").join(id.to_string());
    let aside = three.dir.path().join("aside");
    std::fs::rename(&slots, &aside).unwrap();
    std::fs::write(&slots, "in the way").unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    std::fs::remove_file(&slots).unwrap();
    std::fs::rename(&aside, &slots).unwrap();
    let marks = three.marks(id);
    assert!(marks[0] < commit && marks[1..] == [commit; 2], "{marks:?} of {commit}");
    put(&engine);
    three.clock.advance(60_000);
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(three.marks(id), [commit + 1; 3]);
}

/// A place without the last puts takes the store over while one keyholder is away. What that one
/// was told before does not count: the new owner is not refused as one that went back.
#[test]
fn what_was_told_before_a_take_over_does_not_count() {
    for away in 1..=3 {
        let three = Three::new();
        let engine = Engine::init(three.store.clone(), three.cell(None), three.options()).unwrap();
        let id = engine.id();
        let before = Arc::new(three.store.snapshot());
        for _ in 0..9 {
            put(&engine);
        }
        three.clock.advance(60_000);
        engine.run_due(&mut |_| {}).unwrap();
        drop(engine);
        let old = three.marks(id);

        let slots = three.dir.path().join(format!("kh{away}/stores")).join(id.to_string());
        let aside = three.dir.path().join("aside");
        std::fs::rename(&slots, &aside).unwrap();
        std::fs::write(&slots, "in the way").unwrap();
        let over = three.options().open_as(OpenAs::TakeOver);
        let engine = Engine::open(before.clone(), three.cell(Some(id)), over).unwrap();
        put(&engine);
        engine.close().unwrap();
        std::fs::remove_file(&slots).unwrap();
        std::fs::rename(&aside, &slots).unwrap();
        assert_eq!(three.marks(id)[away - 1], old[away - 1], "it missed the claim");
        assert!(three.marks(id)[away % 3] < old[away % 3], "the others took it");

        let opened = Engine::open(before.clone(), three.cell(Some(id)), three.options());
        drop(opened.unwrap_or_else(|e| panic!("{away} was away: {e}")));
    }
}
