//! Keyholders are told of puts once a minute: a store that went back since is found out, though
//! nothing was erased. SPEC §6.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::Owner;
use keyfall::engine::{Keeper, OpenAs};
use keyfall::env::{SharedEnv, System};
use keyfall::promise::{RootId, Statement};
use keyfall::quorum::{Held, Keyholder, QuorumCell, Share};
use keyfall::store::{MemoryStore, StoreId};
use keyfall::testing::Seeded;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Scope};

use crate::support::user;

/// Keyholders, three if nothing else is said, and a store.
struct Three {
    dir: tempfile::TempDir,
    clock: Arc<Seeded>,
    store: Arc<MemoryStore>,
    members: u8,
    came: Arc<AtomicBool>,
    /// Shares that give a key, and keyholders that may lie.
    rule: (u8, u8),
}

fn holders(dir: &Path, members: u8) -> Vec<Arc<dyn Keyholder>> {
    let env: SharedEnv = Arc::new(System);
    let holder = |n: u8| keyfall::testing::holder(&dir.join(format!("kh{n}")), n, &env);
    (1..=members).map(|n| Arc::new(holder(n)) as Arc<dyn Keyholder>).collect()
}

/// What a keyholder does, other than it should.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Odd {
    Away,
    AwayAtFirst,
    /// It is away when a claim comes that it has not.
    MissesClaims,
    /// It tells of a later claim of the owner, and of no commit.
    Lies,
}

struct Oddly {
    inner: Arc<dyn Keyholder>,
    odd: Option<Odd>,
    /// Whether those that are away at first have come.
    came: Arc<AtomicBool>,
}

impl Oddly {
    fn there(&self) -> keyfall::Result<()> {
        let away = || Error::io("a keyholder", std::io::Error::other("away"));
        match self.odd {
            Some(Odd::Away) => Err(away()),
            Some(Odd::AwayAtFirst) if !self.came.load(Ordering::SeqCst) => Err(away()),
            _ => Ok(()),
        }
    }
}

impl Keyholder for Oddly {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn key(&self) -> [u8; 32] {
        self.inner.key()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> keyfall::Result<()> {
        self.there()?;
        let is_new = self.inner.load(store)?.owner.is_none_or(|it| it.token != owner.token);
        if is_new && self.odd == Some(Odd::MissesClaims) {
            return Err(Error::io("a keyholder", std::io::Error::other("away")));
        }
        self.inner.claim(store, owner, mark)
    }
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> keyfall::Result<()> {
        self.there()?;
        self.inner.deposit(store, owner, share)
    }
    fn load(&self, store: StoreId) -> keyfall::Result<Held> {
        self.there()?;
        let mut held = self.inner.load(store)?;
        if self.odd == Some(Odd::Lies) {
            held.owner.iter_mut().for_each(|owner| owner.claim += 1);
            held.mark = 0;
        }
        Ok(held)
    }
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> keyfall::Result<Statement> {
        self.there()?;
        self.inner.retire(store, owner, keep, given_up, mark)
    }
}

impl Three {
    fn new() -> Self {
        Self::of(3, (2, 0))
    }

    fn of(members: u8, rule: (u8, u8)) -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
        let (clock, came) = (Arc::new(Seeded::new(7)), Arc::default());
        Three { dir, clock, store, members, came, rule }
    }

    fn cell(&self, id: Option<StoreId>) -> Arc<QuorumCell> {
        self.odd_cell(id, &[])
    }

    /// A cell of whose keyholders some are odd, by their numbers.
    fn odd_cell(&self, id: Option<StoreId>, odd: &[(usize, Odd)]) -> Arc<QuorumCell> {
        let members = holders(self.dir.path(), self.members).into_iter().enumerate();
        let oddly = |(n, inner)| {
            let odd = odd.iter().find(|(odd, _)| *odd == n).map(|(_, how)| *how);
            Arc::new(Oddly { inner, odd, came: self.came.clone() }) as Arc<dyn Keyholder>
        };
        let members = members.map(oddly).collect();
        Arc::new(QuorumCell::in_process(members, self.rule, id, Arc::new(System)).unwrap())
    }

    /// A store with some puts that the keyholders were told of, and its state before these.
    fn told(&self) -> (StoreId, Arc<MemoryStore>) {
        let engine = Engine::init(self.store.clone(), self.cell(None), self.options()).unwrap();
        let before = Arc::new(self.store.snapshot());
        (0..20).for_each(|_| put(&engine));
        self.clock.advance(60_000);
        engine.run_due(&mut |_| {}).unwrap();
        let id = engine.id();
        engine.close().unwrap();
        (id, before)
    }

    fn options(&self) -> Options {
        Options::new().env(self.clock.clone()).keeper(Keeper::ByHand)
    }

    /// What each keyholder was told last.
    fn marks(&self, id: StoreId) -> Vec<u64> {
        holders(self.dir.path(), self.members)
            .iter()
            .map(|holder| holder.load(id).unwrap().mark)
            .collect()
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

/// Another place of the store claimed the keyholders and erased something: what still has the old
/// one open delivers it until it asks them, and not for longer than a minute.
#[test]
fn an_engine_whose_place_was_left_finds_out_within_a_minute() {
    let three = Three::new();
    let old = Engine::init(three.store.clone(), three.cell(None), three.options()).unwrap();
    let (id, ada) = (old.id(), user("ada"));
    let record = old.put(Put::new(ada.clone(), Class::audio()), &b"hers"[..]).unwrap();
    three.clock.advance(60_000);
    old.run_due(&mut |_| {}).unwrap();
    let elsewhere = Arc::new(three.store.snapshot());
    let options = three.options().open_as(OpenAs::TakeOver);
    let new = Engine::open(elsewhere, three.cell(Some(id)), options).unwrap();
    new.erase(Scope::user(ada)).unwrap();
    // Nothing is put meanwhile.
    three.clock.advance(60_000);
    drop(old.run_due(&mut |_| {}));
    assert!(old.is_poisoned());
    old.get(&record).map(drop).unwrap_err();
    let put = old.put(Put::new(user("ben"), Class::audio()), &b"his"[..]);
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(old.reopen().is_err());
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

fn refused(opened: keyfall::Result<Engine>) {
    let e = opened.map(drop).expect_err("it was opened as it is");
    assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
    assert!(e.to_string().contains("was rolled back"), "{e}");
}

/// A place without the last puts takes the store over while one keyholder is away. What that one
/// was told before does not count: the new owner is not refused as one that went back, nor when
/// that keyholder learns of it by an erase.
#[test]
fn what_was_told_before_a_take_over_does_not_count() {
    for (away, erases) in [(0, false), (1, false), (2, false), (0, true), (2, true)] {
        let three = Three::new();
        let (id, before) = three.told();
        let old = three.marks(id);
        let over = three.options().open_as(OpenAs::TakeOver);
        let cell = three.odd_cell(Some(id), &[(away, Odd::AwayAtFirst)]);
        let engine = Engine::open(before.clone(), cell, over).unwrap();
        put(&engine);
        assert_eq!(three.marks(id)[away], old[away], "it missed the claim");
        if erases {
            three.came.store(true, Ordering::SeqCst);
            engine.erase(Scope::user(user("ada"))).unwrap();
        }
        engine.close().unwrap();
        let opened = Engine::open(before.clone(), three.cell(Some(id)), three.options());
        drop(opened.unwrap_or_else(|e| panic!("{away} was away: {e}")));
    }
}

/// One that lies tells of a claim that nobody else heard of: what the others were told counts.
#[test]
fn one_that_lies_hides_no_store_that_went_back() {
    for (members, rule, away) in [(3, (2, 1), None), (5, (3, 1), None), (5, (3, 1), Some(4))] {
        let three = Three::of(members, rule);
        let (id, before) = three.told();
        for liar in 0..usize::from(members) - 1 {
            let mut odd = vec![(liar, Odd::Lies)];
            odd.extend(away.map(|away| (away, Odd::Away)));
            let store = Arc::new(before.snapshot());
            refused(Engine::open(store, three.odd_cell(Some(id), &odd), three.options()));
        }
    }
}

/// A take-over reached one keyholder and failed; the owner went on. What the owner told counts,
/// though a keyholder of those that know it is away.
#[test]
fn a_take_over_that_failed_gives_nothing_up() {
    let three = Three::new();
    let owner = Engine::init(three.store.clone(), three.cell(None), three.options()).unwrap();
    let (id, before) = (owner.id(), Arc::new(three.store.snapshot()));
    let cell = three.odd_cell(Some(id), &[(1, Odd::MissesClaims), (2, Odd::MissesClaims)]);
    let over = three.options().open_as(OpenAs::TakeOver);
    Engine::open(before.clone(), cell, over).map(drop).unwrap_err();
    (0..20).for_each(|_| put(&owner));
    three.clock.advance(60_000);
    owner.run_due(&mut |_| {}).unwrap();
    for away in [1, 2] {
        let cell = three.odd_cell(Some(id), &[(away, Odd::Away)]);
        refused(Engine::open(Arc::new(before.snapshot()), cell, three.options()));
    }
    put(&owner);
}

/// As many are told as can be, while one is away from the opening on: an erase of before may wait
/// for that one.
#[test]
fn while_one_is_away_the_others_are_told() {
    for (members, rule, away) in [(3, (2, 0), vec![2]), (3, (2, 1), vec![2]), (5, (3, 1), vec![3])]
    {
        let three = Three::of(members, rule);
        let first = Engine::init(three.store.clone(), three.cell(None), three.options()).unwrap();
        let id = first.id();
        first.close().unwrap();
        let odd: Vec<_> = away.iter().map(|n| (*n, Odd::Away)).collect();
        let cell = three.odd_cell(Some(id), &odd);
        let engine = Engine::open(three.store.clone(), cell, three.options()).unwrap();
        let before = Arc::new(three.store.snapshot());
        for _ in 0..3 {
            (0..5).for_each(|_| put(&engine));
            three.clock.advance(60_000);
            engine.run_due(&mut |_| {}).unwrap();
        }
        let commit = engine.status().unwrap().head.commit;
        let told = three.marks(id).iter().filter(|mark| **mark == commit).count();
        assert_eq!(told, usize::from(members) - away.len(), "of {members}, {rule:?}");
        drop(engine);
        refused(Engine::open(before, three.cell(Some(id)), three.options()));
    }
}
