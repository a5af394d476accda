//! What an engine costs on a service far away: requests, counted by the proxy, and times with the
//! latency of such a service added, beside a bare create and a bare read in the same run.
//!
//! `KEYFALL_LATENCY=100` has the times measured, with so many of each; `KEYFALL_USERS=1000000` the
//! reads of a store of so many users.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::engine::{CopyMode, Geometry, Keeper, warm_up};
use keyfall::realm::{Realm, RealmBuilder};
use keyfall::store::{ObjectLog, Store};
use keyfall::{Builder, Class, Engine, Options, Put, RecordId, Scope, UserId};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::ahead::Slow;
use crate::engines::{options, put, read, user, with_copies_in};
use crate::far::{Far, far, rounds};
use crate::proxy::{Faults, Passed};

fn engine(objects: Arc<dyn Objects>) -> Engine {
    let log = Arc::new(ObjectLog::create(objects).unwrap());
    Engine::init(log, Arc::new(MemoryCell::new()), options()).unwrap()
}

/// Each try of each request is seen by the proxy.
#[test]
fn on_the_wire_a_put_is_one_request_and_an_erase_two() {
    for far in far(Faults::default(), 1) {
        let engine = engine(far.objects());
        let ids: Vec<RecordId> = (0..30).map(|n| put(&engine, n, &[1; 2000]).unwrap()).collect();
        for n in 0..20 {
            // The pages on its way are in memory; each that is not is one more read.
            read(&engine, &ids[n as usize]).unwrap();
            far.proxy.take();
            put(&engine, 100 + n, &[2; 2000]).unwrap();
            assert_eq!(far.proxy.take(), Passed { writes: 1, reads: 0 }, "put {n}, {}", far.url);
            engine.erase(Scope::user(user(n))).unwrap();
            assert_eq!(far.proxy.take(), Passed { writes: 1, reads: 1 }, "erase {n}, {}", far.url);
        }
    }
}

/// The times of doing something, sorted.
fn times(n: u64, mut act: impl FnMut(u32)) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..n as u32)
        .map(|n| {
            let began = Instant::now();
            act(n);
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// Prints half and 99 of 100, and gives the first.
fn told(what: &str, times: &[Duration]) -> f64 {
    let (half, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("  {what:<22} p50 {half:?} p99 {most:?}");
    half.as_secs_f64()
}

/// Figures beside their goals. All are seen before one that is missed fails the run.
#[derive(Default)]
pub(crate) struct Goals(Vec<String>);

impl Goals {
    pub(crate) fn at_most(&mut self, what: &str, seen: f64, goal: f64) {
        self.note(what, seen <= goal, &format!("{seen:.2}, at most {goal}"));
    }

    fn at_least(&mut self, what: &str, seen: f64, goal: f64) {
        self.note(what, seen >= goal, &format!("{seen:.2}, at least {goal}"));
    }

    /// Fails if one is missed.
    pub(crate) fn judge(&self) {
        assert!(self.0.is_empty(), "missed: {:#?}", self.0);
    }

    fn note(&mut self, what: &str, is_met: bool, seen: &str) {
        println!("  {what}: {seen}: {}", if is_met { "met" } else { "MISSED" });
        if !is_met {
            self.0.push(format!("{what}: {seen}"));
        }
    }
}

#[test]
fn figures() {
    let n = rounds("KEYFALL_LATENCY", 0);
    if n == 0 {
        return;
    }
    let mut goals = Goals::default();
    let takes = Duration::from_millis;
    let faults = Faults { write_takes: takes(60), read_takes: takes(30), ..Faults::default() };
    for far in far(faults, 1) {
        println!("{}, 60 ms to create and 30 ms to read added", far.url);
        let engine = alone(&far, n, &mut goals);
        with_many_callers(&far, &engine, &mut goals);
    }
    far(faults, 2).iter().for_each(|far| opening(far, &mut goals));
    let (alone, both, copies) = (far(faults, 3), far(faults, 4), far(faults, 5));
    alone.iter().zip(&both).zip(&copies).for_each(|((a, b), c)| with_a_copy([a, b, c], n));
    shards(faults, &mut goals);
    goals.judge();
}

/// A realm whose shards lie in these places.
fn realm(dir: &Path, places: &[&Far]) -> Realm {
    let open = |far: &&Far| {
        let log = Arc::new(ObjectLog::create(far.objects()).unwrap());
        (log as Arc<dyn Store>, Arc::new(MemoryCell::new()))
    };
    let shards: Vec<_> = places.iter().map(open).collect();
    RealmBuilder::at(dir)
        .shards(shards.len())
        .open_shard(move |shard| {
            let (log, cell) = &shards[shard.number];
            Ok(Builder::over(log.clone(), cell.clone()).keeper(Keeper::ByHand))
        })
        .init()
        .unwrap()
}

/// Puts a second in a realm with a caller for each shard.
fn puts_of(realm: &Realm, each: u32) -> f64 {
    let in_shard = |shard: usize| {
        let mut users = (0..).map(user);
        users.find(|user| realm.shard_of(user).unwrap().number == shard).unwrap()
    };
    let users: Vec<_> = (0..realm.shards().len()).map(in_shard).collect();
    let put = |user: &UserId| {
        realm.put(Put::new(user.clone(), Class::audio()), &[1; 2000][..]).unwrap();
    };
    users.iter().for_each(put);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for user in &users {
            scope.spawn(move || (0..each).for_each(|_| put(user)));
        }
    });
    (each as usize * users.len()) as f64 / began.elapsed().as_secs_f64()
}

/// Eight shards on one server beside one, by turns.
fn shards(faults: Faults, goals: &mut Goals) {
    let mut servers: Vec<Vec<Far>> = Vec::new();
    for seed in 0..9 {
        for (n, far) in far(faults, 100 + seed).into_iter().enumerate() {
            servers.resize_with(servers.len().max(n + 1), Vec::new);
            servers[n].push(far);
        }
    }
    for places in &servers {
        let (one, eight) = places.split_at(1);
        let dir = tempfile::tempdir().unwrap();
        let one = realm(&dir.path().join("one"), &one.iter().collect::<Vec<_>>());
        let eight = realm(&dir.path().join("eight"), &eight.iter().collect::<Vec<_>>());
        let mut ratios: Vec<f64> = (0..5)
            .map(|_| {
                let (one, eight) = (puts_of(&one, 20), puts_of(&eight, 20));
                println!("  puts a second, 1 shard {one:.1}, 8 shards {eight:.1}");
                eight / one
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!("{}", places[0].url);
        goals.at_least("8 shards, times one", ratios[2], 7.5);
    }
}

/// How long it takes to open a store, over a cell in memory, until it can be written to.
fn opening(far: &Far, goals: &mut Goals) {
    let cell = Arc::new(MemoryCell::new());
    let log = Arc::new(ObjectLog::create(far.objects()).unwrap());
    let engine = Engine::init(log, cell.clone(), options()).unwrap();
    for n in 0..20 {
        put(&engine, n, &[1; 2000]).unwrap();
    }
    engine.close().unwrap();
    let mut requests = Vec::new();
    let opened = times(20, |_| {
        let objects = far.objects();
        far.proxy.take();
        let log = Arc::new(ObjectLog::open(objects).unwrap());
        let engine = Engine::open(log, cell.clone(), options()).unwrap();
        let Passed { writes, reads } = far.proxy.take();
        requests.push(writes + reads);
        put(&engine, 1, &[1; 2000]).unwrap();
        engine.close().unwrap();
    });
    requests.sort_unstable();
    told("open, put and close", &opened);
    // 14 statements in PostgreSQL, where a new connection looks at the server.
    let goal = if far.url.starts_with("postgres") { 14.0 } else { 10.0 };
    goals.at_most("requests of an opening", requests[requests.len() / 2] as f64, goal);
}

fn alone(far: &Far, n: u64, goals: &mut Goals) -> Engine {
    let bare = far.objects();
    bare.create("bare/0", b"x").unwrap();
    let create = told(
        "bare create, 9,000 B",
        &times(n, |n| {
            bare.create(&format!("bare/a{n}"), &[n as u8; 9000]).unwrap();
        }),
    );
    let get = told(
        "bare range read",
        &times(n, |n| {
            bare.get_range(&format!("bare/a{n}"), 0, 9000).unwrap();
        }),
    );
    let engine = engine(far.objects());
    for n in 0..50 {
        put(&engine, 1_000_000 + n, &[1; 2000]).unwrap();
    }
    let one = told(
        "put",
        &times(n, |n| {
            put(&engine, n, &[1; 2000]).unwrap();
        }),
    );
    let erase = told(
        "erase, warm",
        &times(n, |n| {
            engine.erase(Scope::user(user(n))).unwrap();
        }),
    );
    goals.at_most("put / create", one / create, 1.15);
    goals.at_most("erase / (create + read)", erase / (create + get), 1.15);
    engine
}

/// Erases with a copy in step in another place, beside those of a store alone: the copy is handed a
/// commit once the store has it, so that it is never ahead.
fn with_a_copy(places: [&Far; 3], n: u64) {
    let [alone, both, there] = places.map(Far::objects);
    let (alone, log) = (engine(alone), ObjectLog::create(both).unwrap());
    let options = with_copies_in(there);
    let both = Engine::init(Arc::new(log), Arc::new(MemoryCell::new()), options).unwrap();
    both.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let erases = |engine: &Engine, of: u32| {
        put(engine, of, &[1; 2000]).unwrap();
        let began = Instant::now();
        engine.erase(Scope::user(user(of))).unwrap();
        began.elapsed()
    };
    let turns = (0..n as u32).map(|of| (erases(&alone, of), erases(&both, of)));
    let (mut one, mut two): (Vec<_>, Vec<_>) = turns.unzip();
    one.sort();
    two.sort();
    let (one, two) = (told("erase", &one), told("with a copy in step", &two));
    println!("  with a copy in step on another server, times alone: {:.2}", two / one);
}

/// How many a second, of so many callers with so many each.
fn a_second(callers: u32, each: u32, act: &(dyn Fn(u32) + Sync)) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            scope.spawn(move || (0..each).for_each(|n| act(caller * each + n)));
        }
    });
    f64::from(callers * each) / began.elapsed().as_secs_f64()
}

fn with_many_callers(far: &Far, engine: &Engine, goals: &mut Goals) {
    let puts = |first: u32, callers, each| {
        a_second(callers, each, &|n| {
            put(engine, first + n, &[1; 2000]).unwrap();
        })
    };
    let erases = |first: u32, callers, each| {
        a_second(callers, each, &|n| {
            engine.erase(Scope::user(user(first + n))).unwrap();
        })
    };
    let one = puts(10_000, 1, 30);
    far.proxy.take();
    let many = puts(11_000, 64, 30);
    let each = f64::from(64 * 30) / far.proxy.take().writes as f64;
    println!("  puts a second, 1 caller {one:.1}, 64 callers {many:.1}");
    goals.at_least("puts of 64 callers, times one", many / one, 40.0);
    println!("  of 64 callers {each:.1} puts a commit");
    let (one, many) = (erases(10_000, 1, 30), erases(11_000, 64, 30));
    println!("  erases a second, 1 caller {one:.1}, 64 callers {many:.1}");
    goals.at_least("erases of 64 callers, times one", many / one, 40.0);
}

/// A store of many users, in a place far away.
struct Many {
    objects: Arc<Slow>,
    cell: Arc<MemoryCell>,
    /// Records of 200 B, which stand in their entries, and of 2,000 B.
    short: Vec<RecordId>,
    long: Vec<RecordId>,
}

impl Many {
    /// Of so many users, put in batches of 5,000; then one in 50 of them has a record of 2,000 B,
    /// in a commit of its own.
    fn new(users: u32) -> Self {
        let objects = Slow::counted(Arc::new(MemoryObjects::new()));
        let cell = Arc::new(MemoryCell::new());
        let log = Arc::new(ObjectLog::create(objects.clone()).unwrap());
        let engine = Engine::init(log, cell.clone(), options()).unwrap();
        let began = Instant::now();
        let mut short = Vec::new();
        for first in (0..users).step_by(5000) {
            let mut batch = engine.batch();
            for n in first..users.min(first + 5000) {
                batch.add(Put::new(user(n), Class::audio()), &[n as u8; 200][..]).unwrap();
            }
            short.extend(batch.commit().unwrap());
        }
        let some = (0..users).step_by(50);
        let long: Vec<RecordId> = some.map(|n| put(&engine, n, &[1; 2000]).unwrap()).collect();
        engine.close().unwrap();
        let alone = long.len();
        println!("{users} users, {alone} commits of one, made in {:?}", began.elapsed());
        Many { objects, cell, short, long }
    }

    /// Of so many users with a record of 2,000 B, put in one commit of several packs.
    fn in_one_commit(users: u32) -> Self {
        let objects = Slow::counted(Arc::new(MemoryObjects::new()));
        let cell = Arc::new(MemoryCell::new());
        let log = Arc::new(ObjectLog::create(objects.clone()).unwrap());
        let engine = Engine::init(log, cell.clone(), options()).unwrap();
        let mut batch = engine.batch();
        for n in 0..users {
            batch.add(Put::new(user(n), Class::audio()), &[n as u8; 2000][..]).unwrap();
        }
        let long = batch.commit().unwrap();
        engine.close().unwrap();
        assert!(!objects.list("p", "", 10).unwrap().is_empty(), "no pack");
        Many { objects, cell, short: Vec::new(), long }
    }

    /// An engine that has none of it in memory.
    fn opened(&self) -> Engine {
        self.objects.take();
        let log = Arc::new(ObjectLog::open(self.objects.clone()).unwrap());
        let options: Options = options().cache_bytes(1 << 30);
        let engine = Engine::open(log, self.cell.clone(), options).unwrap();
        let opened = self.objects.take();
        println!("opened: {} requests: {opened:?}", opened.all());
        assert!(opened.all() <= 10, "an opening takes {} requests", opened.all());
        engine
    }

    /// How many gets each of these reads takes. All of them together list packs a few times.
    fn reads<'i>(&self, engine: &Engine, ids: impl Iterator<Item = &'i RecordId>) -> Vec<u64> {
        self.objects.take();
        self.objects.told();
        let mut lists = 0;
        let each = |id: &RecordId| {
            read(engine, id).unwrap();
            let (asked, told) = (self.objects.take(), self.objects.told());
            if asked.gets > 4 {
                println!("a read of {}: {told:?}", asked.gets);
            }
            lists += asked.lists;
            // Every two seconds it asks whether the store is still its own.
            assert_eq!(asked.creates + asked.deletes, 0, "{told:?}");
            asked.gets
        };
        let all = ids.map(each).collect();
        println!("packs were listed {lists} times");
        assert!(lists <= 20, "packs were listed {lists} times");
        all
    }
}

/// Prints how many of these reads took how many gets: at most four.
fn distribution(what: &str, gets: &[u64]) {
    let most = gets.iter().copied().max().unwrap_or_default();
    let of = |n: u64| gets.iter().filter(|there| **there == n).count();
    let all: Vec<String> = (0..=most).map(|n| format!("{n}: {}", of(n))).collect();
    let mean = gets.iter().sum::<u64>() as f64 / gets.len().max(1) as f64;
    println!("{what}: {mean:.2} each, at most {most} ({})", all.join(", "));
    assert!(most <= 4, "{what}: a cold read takes {most} gets");
}

/// A store of many users, opened and read by engines that have none of it in memory.
#[test]
fn reads_of_a_store_of_many_users() {
    let many = Many::new(rounds("KEYFALL_USERS", 2000) as u32);
    let every = |step: usize, from: usize| many.short.iter().skip(from).step_by(step);
    let cold = many.opened();
    for from in 0..3 {
        distribution(
            "1,000 reads, nothing read before",
            &many.reads(&cold, every(7, from).take(1000)),
        );
    }
    drop(cold);

    // The newest object is a claim now.
    let warmed = many.opened();
    warm_up(&warmed, &[]).unwrap();
    let took = many.objects.take().all();
    println!("warmed up: {took} requests");
    assert!(took <= 300, "it reads levels of at most 512 pages: {took}");
    distribution("the first 1,000 reads", &many.reads(&warmed, every(7, 0).take(1000)));
    let spread = every(7, 1).chain(every(7, 2)).take(200_000);
    distribution("the next 200,000", &many.reads(&warmed, spread));
    distribution("records of others", &many.reads(&warmed, every(7, 5).take(1000)));
    drop(warmed);

    let warmed = many.opened();
    warm_up(&warmed, &[]).unwrap();
    let long = many.long.iter().rev().take(1000);
    distribution("1,000 records of 2,000 B", &many.reads(&warmed, long));
    println!("{:?}", warmed.status().unwrap().cache);
}

/// A name does not say whether its chunk lies in a commit or in a pack. The first read of all
/// guessed wrong, and took a get more.
#[test]
fn the_first_read_of_a_pack_asks_where_it_is() {
    let many = Many::in_one_commit(5000);
    for n in [0, 2500, 4999] {
        let engine = many.opened();
        let ids = &many.long[n..=n];
        distribution("the first read", &many.reads(&engine, ids.iter()));
    }
}

/// What a new store on objects has if its maker asks for nothing: a way to a record of one page
/// less, with a million users, than a store in a directory.
#[test]
fn a_new_store_has_a_larger_fan_out_than_one_in_a_directory() {
    let engine = engine(Arc::new(MemoryObjects::new()));
    let there = engine.status().unwrap().geometry;
    let local = Geometry::DEFAULT;
    assert_eq!((there.page_bytes, there.fan_bits), (local.page_bytes, 5));
    assert_eq!(local.fan_bits, 4);
}

/// However long the writer before was at work, an opening takes no more requests.
#[test]
fn an_opening_after_many_commits() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let cell = Arc::new(MemoryCell::new());
    let log = Arc::new(ObjectLog::create(counted.clone()).unwrap());
    let engine = Engine::init(log, cell.clone(), options()).unwrap();
    let commits = rounds("KEYFALL_COMMITS", 3000) as u32;
    for n in 0..commits {
        put(&engine, n % 50, b"short").unwrap();
    }
    let creates = counted.take().creates;
    let hints = u64::from(commits / 256);
    assert!(creates <= u64::from(commits) + hints + 20, "{creates} creates of {commits} commits");
    assert!(counted.list("f", "", 1000).unwrap().len() <= 2, "old hints go");
    engine.close().unwrap();
    for _ in 0..2 {
        counted.take();
        let log = Arc::new(ObjectLog::open(counted.clone()).unwrap());
        let engine = Engine::open(log, cell.clone(), options()).unwrap();
        let opened = counted.take();
        println!("{commits} commits, opened: {} requests", opened.all());
        assert!(opened.all() <= 10, "{commits} commits: {opened:?}");
        put(&engine, 1, b"more").unwrap();
    }
}
