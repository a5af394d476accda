//! Random histories beyond a bad network: writes are lost, late, doubled and unanswered, engines
//! are killed and replaced, and those that were replaced go on writing. Over memory, with a network
//! that is simulated, and over real servers, beyond a proxy that keeps what is sent.
//!
//! `KEYFALL_NETWORKS` and `KEYFALL_FAR_HISTORIES` say how many of each, `KEYFALL_NETWORKS_FIRST`
//! and `KEYFALL_FAR_FIRST` from which seed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::env::Env;
use keyfall::store::ObjectLog;
use keyfall::testing::{Defect, HoardingCell, Seeded, clean_all, with_defect};
use keyfall::{Engine, ErrorKind, Reader, RecordId, Result, Scope};
use keyfall_objects::{Faults, FaultyObjects, MemoryObjects, Objects, Patience};

use crate::engines::{options, put, read, user};
use crate::far::{Far, far, rounds};
use crate::mistakes::{Mistake, Mistaken, OnItsWay};
use crate::proxy;

const USERS: u32 = 4;

/// What one user has, as far as it was acknowledged.
#[derive(Default)]
struct Kept {
    records: BTreeMap<RecordId, Vec<u8>>,
    erased: Vec<RecordId>,
    /// An erase whose outcome is unknown: the records may be there or not.
    perhaps_erased: Vec<RecordId>,
    /// How many puts had begun when the last erase began that returned.
    fell: u32,
}

enum Net {
    Simulated(FaultyObjects),
    Mistaken(Arc<Mistaken>),
    Real(Far),
}

impl Net {
    fn objects(&self) -> Arc<dyn Objects> {
        match self {
            Net::Simulated(net) => Arc::new(net.clone()),
            Net::Mistaken(net) => net.clone(),
            Net::Real(far) => far.objects(),
        }
    }

    /// Has everything arrive that is on its way.
    fn land(&self) {
        match self {
            Net::Simulated(net) => net.land(),
            Net::Mistaken(net) => net.land(),
            Net::Real(far) => far.proxy.land(),
        }
    }
}

struct World {
    seed: u64,
    env: Arc<Seeded>,
    net: Net,
    cell: Arc<HoardingCell>,
    users: BTreeMap<u32, Kept>,
    /// Puts that began; each payload begins with its number, so that it says whose erase came after
    /// it, also if its put was never acknowledged.
    puts: u32,
    /// What is wrong with the engines.
    defect: Option<Defect>,
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
        let log = ObjectLog::open_with(self.net.objects(), self.env.clone(), self.patience())?
            .grace(Duration::ZERO);
        let options = with_defect(options().env(self.env.clone()), self.defect);
        Engine::open(Arc::new(log), self.cell.clone(), options)
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
        match self.draw(12) {
            0 => return engine.discard(&mut |_| {}).map(drop),
            1 => return clean_all(engine).map(drop),
            _ => {}
        }
        if self.draw(4) > 0 {
            // Long ones are few: each is read at every judgement.
            let len = [5, 900, 5, 900, 5, 900, 5, 200_000][self.draw(8) as usize];
            let mut payload = vec![self.draw(256) as u8; len];
            self.puts += 1;
            payload[..4].copy_from_slice(&self.puts.to_be_bytes());
            let id = put(engine, n, &payload)?;
            self.users.entry(n).or_default().records.insert(id, payload);
            return Ok(());
        }
        self.erase(engine, n)
    }

    fn erase(&mut self, engine: &Engine, n: u32) -> Result<()> {
        let (kept, puts) = (self.users.entry(n).or_default(), self.puts);
        let ids: Vec<RecordId> = std::mem::take(&mut kept.records).into_keys().collect();
        match engine.erase(Scope::user(user(n))) {
            Ok(_) => {
                kept.fell = puts;
                kept.erased.extend(ids);
                kept.erased.append(&mut kept.perhaps_erased);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Absent => {
                kept.fell = puts;
                Ok(())
            }
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

    /// One that was replaced a while ago, perhaps by one that was replaced itself, wakes up: it
    /// writes nothing, and delivers nothing that was erased.
    fn woken(&self, engine: &Engine) {
        let seed = self.seed;
        if self.draw(2) == 0 {
            assert!(put(engine, 3, b"late").is_err(), "seed {seed}: one of before put something");
            let late = engine.erase(Scope::user(user(0)));
            assert!(late.is_err(), "seed {seed}: one of before erased something, or nothing");
            drop(engine.discard(&mut |_| {}));
        }
        self.late(engine, Vec::new());
    }

    /// What was acknowledged is there, and nothing that was erased. A read that the network loses
    /// is asked so many times.
    fn judge(&self, engine: &Engine, tries: u32) {
        let ask = |id: &RecordId| {
            let is_lost =
                |there: &Result<Vec<u8>>| there.as_ref().is_err_and(|e| e.kind() == ErrorKind::Io);
            let mut there = read(engine, id);
            for _ in 1..tries {
                if !is_lost(&there) {
                    break;
                }
                there = read(engine, id);
            }
            (!is_lost(&there) || tries > 1).then_some(there)
        };
        for (n, kept) in &self.users {
            for (id, payload) in &kept.records {
                match ask(id) {
                    Some(Ok(there)) => assert_eq!(&there, payload, "seed {} user {n}", self.seed),
                    Some(Err(e)) => {
                        panic!("seed {} user {n}: acknowledged and lost: {e:?}", self.seed)
                    }
                    None => {}
                }
            }
            for id in &kept.erased {
                let Some(there) = ask(id) else { continue };
                let there = there.map(drop).map_err(|e| e.kind());
                let seed = self.seed;
                assert_eq!(there, Err(ErrorKind::Erased), "seed {seed} user {n}: erased and read");
            }
        }
    }
}

/// Whoever has every body that passed the proxy, and all that the cell holds, opens nothing that
/// was erased; with every key that the cell ever held, all of it: it is the keys that are gone.
fn adversary(world: &World, far: &Far) {
    let (seed, kept) = (world.seed, far.proxy.kept());
    let now = kept.exposed_to(&world.cell.load().unwrap().keys);
    let ever = kept.exposed_to(&world.cell.hoard());
    for (n, users) in &world.users {
        let of_user = now.values().filter(|there| there.user == user(*n));
        for content in of_user.filter_map(|there| there.content.as_ref()) {
            let put = u32::from_be_bytes(content[..4].try_into().unwrap());
            assert!(put > users.fell, "seed {seed} user {n}: of before its erase, and opened");
        }
        for id in &users.erased {
            assert!(!now.contains_key(id), "seed {seed}: erased, and opened from what was sent");
            let there = ever.get(id).and_then(|record| record.content.as_ref());
            assert!(there.is_some(), "seed {seed}: with its old key it opens");
        }
        for (id, payload) in &users.records {
            let there = now.get(id).and_then(|record| record.content.as_ref());
            assert_eq!(there, Some(payload), "seed {seed}: what lives is in what was sent");
        }
    }
}

/// Makes the store over a network without faults.
fn made(seed: u64, objects: Arc<dyn Objects>) -> (Arc<Seeded>, Arc<HoardingCell>) {
    let env = Arc::new(Seeded::new(seed));
    let cell = Arc::new(HoardingCell::new(Arc::new(MemoryCell::new())));
    let log = ObjectLog::create_with(objects, env.clone(), Patience::of_tries(1)).unwrap();
    Engine::init(Arc::new(log), cell.clone(), options().env(env.clone())).unwrap();
    (env, cell)
}

fn simulated(seed: u64) {
    let place = Arc::new(MemoryObjects::new());
    let (env, cell) = made(seed, place.clone());
    let net = Net::Simulated(FaultyObjects::new(place, Faults::of_a_network(), seed));
    history(World { seed, env, net, cell, users: BTreeMap::new(), puts: 0, defect: None });
}

/// A history with a mistake in the adapter, or a defect in the engines.
pub(crate) fn mistaken(seed: u64, mistake: Option<Mistake>, defect: Option<Defect>) {
    let place = Arc::new(MemoryObjects::new());
    let (env, cell) = made(seed, place.clone());
    let net = FaultyObjects::new(place.clone(), Faults::of_a_network(), seed);
    let net =
        Net::Mistaken(Arc::new(Mistaken { net, place, mistake, on_its_way: OnItsWay::default() }));
    history(World { seed, env, net, cell, users: BTreeMap::new(), puts: 0, defect });
}

fn real(seed: u64, far: Far) {
    let (env, cell) = made(seed, far.objects());
    far.proxy.set(proxy::Faults::of_a_network());
    let (net, users) = (Net::Real(far), BTreeMap::new());
    let world = history(World { seed, env, net, cell, users, puts: 0, defect: None });
    if let Net::Real(far) = &world.net {
        adversary(&world, far);
        let (bodies, refused) = (far.proxy.kept().count(), far.proxy.told());
        eprintln!("seed {seed}: {refused}; {bodies:?} bodies, of names that others have");
    }
}

fn history(mut world: World) -> World {
    let seed = world.seed;
    let mut engine = world.open();
    // Those that were replaced: up to three engines are there at a time.
    let mut asleep: Vec<Engine> = Vec::new();
    for _ in 0..25 {
        if !asleep.is_empty() && world.draw(3) == 0 {
            let late = asleep.remove(world.draw(asleep.len() as u64) as usize);
            world.woken(&late);
        }
        if world.draw(6) == 0 {
            // The engine is paused, another takes its place, and it wakes up.
            let held: Vec<_> = world.living().map(|id| engine.get(&id)).collect();
            let next = world.open();
            if world.draw(2) == 0 {
                let late = put(&engine, 0, b"late");
                assert!(late.is_err(), "seed {seed}: a fenced engine put something");
                let late = engine.erase(Scope::user(user(1)));
                assert!(late.is_err(), "seed {seed}: a fenced engine erased something, or nothing");
                // What it deletes is what the judge misses.
                drop(engine.discard(&mut |_| {}));
            } else {
                // It has not written since, and does not know.
                if world.step(&next).is_ok() && world.erase(&next, 2).is_ok() {
                    world.late(&engine, held);
                }
                if world.draw(2) == 0 {
                    drop(next.discard(&mut |_| {}));
                    let late = put(&engine, 0, b"late");
                    assert!(late.is_err(), "seed {seed}: a fenced engine put something");
                }
            }
            asleep.push(std::mem::replace(&mut engine, next));
            asleep.drain(..asleep.len().saturating_sub(2));
        }
        if world.step(&engine).is_err() || engine.is_poisoned() {
            drop(engine);
            if world.draw(2) == 0 {
                world.net.land();
            }
            engine = world.open();
        }
        world.judge(&engine, 1);
    }
    drop(engine);
    world.net.land();
    let engine = world.open();
    world.judge(&engine, 300);
    drop(engine);
    world
}

#[test]
fn random_histories_lose_nothing_and_show_nothing_erased() {
    let first = rounds("KEYFALL_NETWORKS_FIRST", 0);
    for seed in first..first + rounds("KEYFALL_NETWORKS", 150) {
        simulated(seed);
    }
}

#[test]
fn random_histories_over_real_servers() {
    let first = rounds("KEYFALL_FAR_FIRST", 0);
    for seed in first..first + rounds("KEYFALL_FAR_HISTORIES", 3) {
        for far in far(proxy::Faults::default(), seed) {
            real(seed, far);
        }
    }
}
