//! Random histories beyond a bad network: writes are lost, late, doubled and unanswered, engines
//! are killed and replaced, and those that were replaced go on writing.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::env::Env;
use keyfall::store::ObjectLog;
use keyfall::testing::Seeded;
use keyfall::{Engine, ErrorKind, Reader, RecordId, Result, Scope};
use keyfall_objects::{Faults, FaultyObjects, MemoryObjects, Patience};

use crate::engines::{options, put, read, user};

const USERS: u32 = 4;

/// What one user has, as far as it was acknowledged.
#[derive(Default)]
struct Kept {
    records: BTreeMap<RecordId, Vec<u8>>,
    erased: Vec<RecordId>,
    /// An erase whose outcome is unknown: the records may be there or not.
    perhaps_erased: Vec<RecordId>,
}

struct World {
    seed: u64,
    env: Arc<Seeded>,
    net: FaultyObjects,
    cell: Arc<dyn RootCell>,
    users: BTreeMap<u32, Kept>,
}

impl World {
    fn draw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.env.fill(&mut bytes).unwrap();
        u64::from_be_bytes(bytes) % below
    }

    fn patience(&self) -> Patience {
        // Now and then so little that outcomes stay unknown.
        Patience::of_tries(if self.draw(3) == 0 { 2 } else { 300 })
    }

    fn opened(&self) -> Result<Engine> {
        let net = Arc::new(self.net.clone());
        let log = ObjectLog::open_with(net, self.env.clone(), self.patience())?;
        Engine::open(Arc::new(log), Arc::clone(&self.cell), options().env(self.env.clone()))
    }

    /// Opens the store until that succeeds: the network fails at random.
    fn open(&self) -> Engine {
        let mut last = None;
        for _ in 0..200 {
            match self.opened() {
                Ok(engine) if engine.read_only().is_none() => return engine,
                Ok(engine) => last = engine.read_only().map(str::to_owned),
                Err(e) => last = Some(format!("{e:?}")),
            }
        }
        panic!("seed {}: it never opens: {last:?}", self.seed)
    }

    fn step(&mut self, engine: &Engine) -> Result<()> {
        let n = self.draw(u64::from(USERS)) as u32;
        if self.draw(4) > 0 {
            let len = [5, 900, 200_000][self.draw(3) as usize];
            let payload = vec![self.draw(256) as u8; len];
            let id = put(engine, n, &payload)?;
            self.users.entry(n).or_default().records.insert(id, payload);
            return Ok(());
        }
        self.erase(engine, n)
    }

    fn erase(&mut self, engine: &Engine, n: u32) -> Result<()> {
        let kept = self.users.entry(n).or_default();
        let ids: Vec<RecordId> = std::mem::take(&mut kept.records).into_keys().collect();
        match engine.erase(Scope::user(user(n))) {
            Ok(_) => {
                kept.erased.extend(ids);
                kept.erased.append(&mut kept.perhaps_erased);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Absent => Ok(()),
            Err(e) => {
                kept.perhaps_erased.extend(ids);
                Err(e)
            }
        }
    }

    fn living(&self) -> impl Iterator<Item = RecordId> {
        self.users.values().flat_map(|kept| kept.records.keys().copied())
    }

    /// An engine that was paused and replaced wakes up after an erase of its successor returned: it
    /// delivers nothing of what was erased, by a reader of before or by a new one.
    fn late(&self, engine: &Engine, held: Vec<Result<Reader>>) {
        let erased = || self.users.values().flat_map(|kept| &kept.erased);
        for mut reader in held.into_iter().flatten() {
            let id = reader.info().id;
            let read = reader.read_some(&mut [0; 100]);
            let fell = erased().any(|there| *there == id);
            assert!(read.is_err() || !fell, "seed {}: a reader of before delivers", self.seed);
        }
        for id in erased() {
            assert!(read(engine, id).is_err(), "seed {}: erased, and read late", self.seed);
            assert!(engine.info(id).is_err(), "seed {}: erased, and told of late", self.seed);
        }
    }

    fn judge(&self, engine: &Engine) {
        for (n, kept) in &self.users {
            for (id, payload) in &kept.records {
                match read(engine, id) {
                    Ok(there) => assert_eq!(&there, payload, "seed {} user {n}", self.seed),
                    Err(e) if e.kind() == ErrorKind::Io => {}
                    Err(e) => panic!("seed {} user {n}: acknowledged and lost: {e:?}", self.seed),
                }
            }
            for id in &kept.erased {
                let there = read(engine, id);
                assert!(there.is_err(), "seed {} user {n}: erased and read", self.seed);
            }
        }
    }
}

fn history(seed: u64) {
    let place = Arc::new(MemoryObjects::new());
    let env = Arc::new(Seeded::new(seed));
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let log = ObjectLog::create_with(place.clone(), env.clone(), Patience::of_tries(1)).unwrap();
    Engine::init(Arc::new(log), Arc::clone(&cell), options().env(env.clone())).unwrap();
    let net = FaultyObjects::new(place, Faults::of_a_network(), seed);
    let mut world = World { seed, env, net, cell, users: BTreeMap::new() };
    let mut engine = world.open();
    for _ in 0..25 {
        if world.draw(6) == 0 {
            // The engine is paused, another takes its place, and it wakes up.
            let held: Vec<_> = world.living().map(|id| engine.get(&id)).collect();
            let next = world.open();
            if world.draw(2) == 0 {
                let late = put(&engine, 0, b"late");
                assert!(late.is_err(), "seed {seed}: a fenced engine put something");
                let late = engine.erase(Scope::user(user(1)));
                assert!(late.is_err(), "seed {seed}: a fenced engine erased something, or nothing");
            } else {
                // It has not written since, and does not know.
                if world.step(&next).is_ok() && world.erase(&next, 2).is_ok() {
                    world.late(&engine, held);
                }
            }
            engine = next;
        }
        if world.step(&engine).is_err() || engine.is_poisoned() {
            drop(engine);
            if world.draw(2) == 0 {
                world.net.land();
            }
            engine = world.open();
        }
        world.judge(&engine);
    }
    drop(engine);
    world.net.land();
    let engine = world.open();
    world.judge(&engine);
}

#[test]
fn random_histories_lose_nothing_and_show_nothing_erased() {
    let seeds = std::env::var("KEYFALL_NETWORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        history(seed);
    }
}
