//! Trees that grow and shrink: one user with hundreds of records on small pages, hundreds of users,
//! against plain lists. SPEC §5.2, §5.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::Geometry;
use keyfall::store::MemoryStore;
use keyfall::testing::Seeded;
use keyfall::{
    Class, Engine, ErrorKind, Options, Put, Query, RecordId, Scope, Timestamp, UserId, When,
};

use crate::support::{SMALL_PAGES, bytes, error_kind, read_record, user};

struct Random(std::vec::IntoIter<u8>);

impl Random {
    fn new(seed: u64) -> Self {
        Random(bytes(seed, 4096).into_iter())
    }

    fn below(&mut self, n: usize) -> usize {
        let two = [self.0.next().unwrap_or(0), self.0.next().unwrap_or(0)];
        usize::from(u16::from_be_bytes(two)) % n.max(1)
    }
}

fn engine(env: &Arc<Seeded>, geometry: Geometry) -> Engine {
    let options = Options::new().env(env.clone()).geometry(geometry);
    Engine::init(Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()), options).unwrap()
}

fn same(engine: &Engine, live: &BTreeMap<RecordId, Vec<u8>>, random: &mut Random) {
    let query = Query::default().user(user("ada"));
    let listed: Vec<RecordId> = engine.list(&query).unwrap().records.iter().map(|r| r.id).collect();
    let mut expected: Vec<RecordId> = live.keys().copied().collect();
    expected.sort_by_key(|id| (id.interaction(), *id));
    assert_eq!(listed.len(), expected.len());
    assert!(listed.iter().all(|id| live.contains_key(id)));
    assert_eq!(engine.users(None, 10).unwrap(), [(user("ada"), live.len() as u64)]);
    for _ in 0..5 {
        if let Some((id, content)) = live.iter().nth(random.below(live.len())) {
            assert_eq!(&read_record(engine, id).unwrap(), content);
        }
    }
}

/// Puts and erases of one user's records, singly, in batches and by spans of time, until the tree
/// was deep and is empty again.
fn grow_and_shrink(seed: u64) {
    let env = Arc::new(Seeded::new(seed));
    let engine = engine(&env, SMALL_PAGES);
    let mut random = Random::new(seed);
    let (mut live, mut gone) = (BTreeMap::new(), Vec::new());
    for round in 0..14 {
        let more = if round < 6 { 30 + random.below(120) } else { random.below(20) };
        let mut batch = engine.batch();
        let mut contents = Vec::new();
        let interaction = engine.new_interaction().unwrap();
        for n in 0..more {
            env.advance(random.below(9) as u64);
            let mut put =
                Put::new(user("ada"), Class::audio()).purpose("p".repeat(random.below(60)));
            if random.below(4) == 0 {
                put = put.interaction(interaction);
            }
            let content = (n as u64).to_be_bytes().to_vec();
            batch.add(put, &content[..]).unwrap();
            contents.push(content);
        }
        live.extend(batch.commit().unwrap().into_iter().zip(contents));
        same(&engine, &live, &mut random);
        let ids: Vec<RecordId> = live.keys().copied().collect();
        match random.below(4) {
            // Some, all over the tree, in one commit.
            0 | 1 => {
                let n = random.below(ids.len() + 1) / 2;
                let some: Vec<RecordId> = (0..n).map(|_| ids[random.below(ids.len())]).collect();
                let scopes: Vec<Scope> = some.iter().map(|id| Scope::Record(*id)).collect();
                for (id, done) in some.iter().zip(engine.erase_all(&scopes)) {
                    let fell = live.remove(id).is_some();
                    assert_eq!(done.unwrap().records, Some(u64::from(fell)));
                    gone.push(*id);
                }
            }
            // A span of time, maybe most of the tree.
            2 if !ids.is_empty() => {
                let mut at = || ids[random.below(ids.len())].interaction().began();
                let (a, b) = (at(), at());
                let (from, until) = (a.min(b), Timestamp(a.max(b).0 + 1));
                let when = When::Between { from: Some(from), until: Some(until) };
                let scope = Scope::User { user: user("ada"), class: Some(Class::audio()), when };
                let fell = engine.erase(scope).unwrap().records.unwrap();
                let before = live.len();
                live.retain(|id, _| !(from..until).contains(&id.interaction().began()));
                gone.extend(ids.iter().filter(|id| !live.contains_key(id)));
                assert_eq!(fell, (before - live.len()) as u64);
            }
            _ => {}
        }
        same(&engine, &live, &mut random);
    }
    // One after another, from either end.
    while let Some(id) =
        if random.below(2) == 0 { live.keys().next() } else { live.keys().next_back() }.copied()
    {
        engine.erase(Scope::Record(id)).unwrap();
        live.remove(&id);
        gone.push(id);
        if live.len() % 40 == 0 {
            same(&engine, &live, &mut random);
        }
    }
    for id in gone {
        assert_eq!(error_kind(engine.get(&id)), ErrorKind::Erased);
    }
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_class_tree_grows_and_shrinks() {
    for seed in 0..24 {
        grow_and_shrink(seed);
    }
}

#[test]
fn users_come_and_go() {
    for (seed, geometry) in [
        (1, SMALL_PAGES),
        (2, Geometry { page_bytes: 1024, fan_bits: 4, ..Geometry::DEFAULT }),
        (3, Geometry::default()),
    ] {
        let env = Arc::new(Seeded::new(seed));
        let engine = engine(&env, geometry);
        let name = |n: usize| user(&format!("user {n}"));
        let mut records = BTreeMap::new();
        for n in 0..400 {
            if n % 3 == 0 {
                engine.create_user(&name(n)).unwrap();
                records.insert(name(n), 0u64);
            } else {
                engine.put(Put::new(name(n), Class::action()), &b"x"[..]).unwrap();
                records.insert(name(n), 1);
            }
        }
        let scopes: Vec<Scope> = (0..400).step_by(7).map(|n| Scope::user(name(n))).collect();
        assert!(engine.erase_all(&scopes).iter().all(|done| done.is_ok()));
        records.retain(|who, _| !scopes.contains(&Scope::user(who.clone())));
        engine.create_user(&name(0)).unwrap();
        records.insert(name(0), 0);
        assert_eq!(engine.status().unwrap().users, records.len() as u64);
        // All of them, a page at a time.
        let (mut seen, mut after): (BTreeMap<UserId, u64>, Option<UserId>) =
            (BTreeMap::new(), None);
        loop {
            let page = engine.users(after.as_ref(), 37).unwrap();
            assert!(page.len() <= 37);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (who, n) in page {
                assert!(seen.insert(who, n).is_none(), "a user is listed twice");
            }
        }
        assert_eq!(seen, records);
        let mut listed = 0;
        let mut query = Query::default().limit(50);
        loop {
            let page = engine.list(&query).unwrap();
            listed += page.records.len() as u64;
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!(listed, records.values().sum::<u64>());
    }
}

#[test]
fn a_listing_takes_a_span_of_time() {
    let env = Arc::new(Seeded::new(5));
    let engine = engine(&env, SMALL_PAGES);
    let ids: Vec<RecordId> = (0..20)
        .map(|n| {
            env.advance(100);
            engine
                .put(
                    Put::new(user("ada"), [Class::audio(), Class::action()][n % 2].clone()),
                    &b"x"[..],
                )
                .unwrap()
        })
        .collect();
    let began = |n: usize| ids[n].interaction().began();
    let listed = |from: Option<usize>,
                  until: Option<usize>,
                  newest_first: bool,
                  class: Option<Class>|
     -> Vec<RecordId> {
        let query = Query::default()
            .user(user("ada"))
            .class(class)
            .from(from.map(began))
            .until(until.map(began))
            .newest_first(newest_first);
        engine.list(&query).unwrap().records.iter().map(|r| r.id).collect()
    };
    assert_eq!(listed(Some(5), Some(9), false, None), ids[5..9]);
    assert_eq!(listed(None, Some(3), false, None), ids[..3]);
    assert_eq!(listed(Some(18), None, true, None), [ids[19], ids[18]]);
    assert_eq!(listed(Some(4), Some(8), false, Some(Class::action())), [ids[5], ids[7]]);
    assert!(engine.list(&Query::default().until(Timestamp(0))).unwrap().records.is_empty());
    let one = Query::default().interaction(ids[7].interaction());
    assert_eq!(engine.list(&one).unwrap().records.len(), 1);
}
