//! Puts and erases, of one object and of several, each cut off at every step.

use std::collections::BTreeSet;

use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Result, Scope};

use super::ending::Dies;
use super::world::{Flight, Keys, Known, World};
use crate::engines::{put, read, user};

/// Something that an engine does when it dies.
struct Row {
    name: &'static str,
    segment_bytes: usize,
    /// What the store holds before.
    filled: fn(&Engine) -> Known,
    /// What the engine does before it is at what it dies at.
    before: fn(&Engine, &mut Known),
    /// What it is at then.
    flight: fn(&Engine, &Known) -> Flight,
    act: fn(&Engine, &Flight) -> Result<()>,
    /// Objects of a folder that an act which is not cut off makes.
    makes: (&'static str, usize),
    /// Whether it dies at reads as well.
    at_reads: bool,
}

fn payload(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + n * 77) as u8).collect()
}

/// Twenty records of five users, and one more that is erased.
fn some(engine: &Engine) -> Known {
    let mut known = Known::default();
    for n in 0..20 {
        let payload = payload(n, 300 + n * 4000);
        known.live.insert(put(engine, n as u32 % 5, &payload).unwrap(), payload);
    }
    let id = put(engine, 9, b"erased before").unwrap();
    engine.erase(Scope::user(user(9))).unwrap();
    known.erased.push(id);
    known
}

fn nothing(_: &Engine, _: &mut Known) {}

fn one(len: usize) -> Flight {
    Flight { puts: vec![payload(77, len)], ..Flight::default() }
}

fn many(_: &Engine, _: &Known) -> Flight {
    let puts = (0..180).map(|n| payload(n, 100_000)).collect();
    Flight { puts, ..Flight::default() }
}

fn put_all(engine: &Engine, flight: &Flight) -> Result<()> {
    let mut batch = engine.batch();
    for (n, payload) in (0..).zip(&flight.puts) {
        batch.add(Put::new(user(n % 7), Class::audio()), &payload[..])?;
    }
    batch.commit().map(drop)
}

/// The records of user 2, of whom `some` has four.
fn of_a_user(engine: &Engine, known: &Known) -> Flight {
    let is_of = |id: &RecordId| engine.info(id).unwrap().user == user(2);
    let erases: Vec<RecordId> = known.live.keys().filter(|id| is_of(id)).copied().collect();
    assert_eq!(erases.len(), 4);
    Flight { erases, ..Flight::default() }
}

fn erase_user(engine: &Engine, _: &Flight) -> Result<()> {
    engine.erase(Scope::user(user(2))).map(drop)
}

fn erase_another(engine: &Engine, known: &mut Known) {
    let id = put(engine, 8, b"erased just before").unwrap();
    engine.erase(Scope::record(id)).unwrap();
    known.erased.push(id);
}

/// In the place of the record that `with_a_name` put: a long one, or it and many others.
fn replacement(known: &Known, puts: Vec<Vec<u8>>) -> Flight {
    let before = known.live.iter().find(|(_, payload)| payload[..] == *b"named").unwrap();
    Flight { puts, erases: vec![*before.0] }
}

fn replace(engine: &Engine, flight: &Flight) -> Result<()> {
    let mut batch = engine.batch();
    for (n, payload) in flight.puts.iter().enumerate() {
        let put = Put::new(user(1), Class::audio());
        batch.add(if n == 0 { put.name("the one") } else { put }, &payload[..])?;
    }
    batch.commit().map(drop)
}

fn with_a_name(engine: &Engine) -> Known {
    let mut known = some(engine);
    let named = Put::new(user(1), Class::audio()).name("the one");
    known.live.insert(engine.put(named, &b"named"[..]).unwrap(), b"named".to_vec());
    known
}

/// What is acknowledged once it happened.
fn happened(known: &mut Known, flight: &Flight, engine: &Engine) {
    flight.erases.iter().for_each(|id| known.fell(*id));
    let all = engine.list(&keyfall::Query::default()).unwrap();
    assert!(all.next.is_none() || flight.puts.is_empty());
    for record in all.records {
        let payload = || read(engine, &record.id).unwrap();
        known.live.entry(record.id).or_insert_with(payload);
    }
}

/// The engine of before goes on: it may change nothing any more.
fn is_fenced(old: &Engine, when: &str) {
    let fenced = |e: keyfall::Error| {
        let is_fenced = matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Poisoned);
        assert!(is_fenced, "{when}: the engine of before: {:?}: {e}", e.kind());
    };
    fenced(old.erase(Scope::user(user(0))).map(drop).unwrap_err());
    fenced(put(old, 4, b"late").unwrap_err());
    fenced(old.discard(&mut |_| {}).map(drop).unwrap_err());
}

fn is_clean(engine: &Engine, when: &str) {
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{when}: {audit:?}");
}

/// One death, and what comes after it; says how many packs it left.
fn dies(row: &Row, base: &World, known: &Known, at: (usize, Dies)) -> usize {
    let (step, how) = at;
    let when = format!("{}, {how:?} step {step}", row.name);
    let (world, mut known) = (base.snapshot(step as u64 * 3 + how as u64), known.clone());
    let (old, ending) = world.open_mortal(how, row.at_reads);
    (row.before)(&old, &mut known);
    let segments = world.folder("s").len();
    let flight = (row.flight)(&old, &known);
    ending.at(step as i64);
    let done = (row.act)(&old, &flight);
    assert!(ending.is_over(), "{when}: it did not come so far");

    let new = world.open();
    ending.arrive(&world.place);
    let fate = known.judge(&new, &flight, &when);
    match done {
        Ok(()) => assert!(fate, "{when}: it was acknowledged"),
        Err(e) => assert!(e.may_have_happened() || !fate, "{when}: it was told as undone: {e}"),
    }
    let most = if world.opening_gives_up() { 1 } else { 2 };
    assert!((1..=most).contains(&world.root_keys()), "{when}: {}", world.root_keys());
    ending.goes_on();
    is_fenced(&old, &when);
    assert_eq!(known.judge(&new, &flight, &when), fate, "{when}: the engine of before did it");
    drop(old);
    if fate {
        happened(&mut known, &flight, &new);
    }

    let (flight, after) = (Flight::default(), b"after".to_vec());
    known.live.insert(put(&new, 6, &after).unwrap(), after);
    let id = put(&new, 7, b"erased after").unwrap();
    new.erase(Scope::record(id)).unwrap();
    known.erased.push(id);
    assert_eq!(world.root_keys(), 1, "{when}");
    is_clean(&new, &when);

    let (before, packs) = (world.packs(), world.orphans());
    assert!(!fate || packs.is_empty(), "{when}: a commit without {packs:?}");
    new.discard(&mut |_| {}).unwrap();
    let after = world.packs();
    println!("{when}: happened: {fate}; packs {before:?}, orphans {packs:?}, discarded: {after:?}");
    assert!(packs.iter().all(|pack| !after.contains(pack)), "{when}: {packs:?} of {after:?}");
    assert_eq!(world.orphans(), [""; 0], "{when}");
    assert!(fate || world.folder("s").len() <= segments, "{when}: {:?}", world.folder("s"));
    assert!(!known.judge(&new, &flight, &when));
    // Once more, and later than the discard.
    ending.arrive(&world.place);
    new.close().unwrap();
    let new = world.open();
    assert!(!known.judge(&new, &flight, &when));
    is_clean(&new, &when);
    packs.len()
}

/// Dies at every step in every way; says how often, and how many packs that left.
fn each_step(row: &Row, keys: Keys) -> (usize, usize) {
    let (base, engine) = World::new(keys, row.segment_bytes);
    let known = (row.filled)(&engine);
    engine.close().unwrap();
    let steps = {
        let world = base.snapshot(1_000_000);
        let (engine, ending) = world.open_mortal(Dies::Before, row.at_reads);
        let mut known = known.clone();
        (row.before)(&engine, &mut known);
        let before = world.folder(row.makes.0).len();
        let flight = (row.flight)(&engine, &known);
        ending.at(i64::MAX);
        (row.act)(&engine, &flight).unwrap();
        ending.goes_on();
        let made = world.folder(row.makes.0).len() - before;
        assert!(
            made >= row.makes.1,
            "{}: {made} objects in {}: {:?}",
            row.name,
            row.makes.0,
            ending.steps()
        );
        assert!(known.judge(&engine, &flight, row.name));
        ending.steps()
    };
    println!("{}: {} steps: {}", row.name, steps.len(), steps.join(", "));
    let (mut deaths, mut orphans) = (0, 0);
    for (n, step) in (1..).zip(&steps) {
        let late = step.starts_with("create").then_some(Dies::Late);
        for how in [Dies::Before, Dies::Unheard].into_iter().chain(late) {
            orphans += dies(row, &base, &known, (n, how));
            deaths += 1;
        }
    }
    println!("{}: died {deaths} times, {orphans} orphans", row.name);
    (deaths, orphans)
}

const PUT: Row = Row {
    name: "a put",
    segment_bytes: 256 << 10,
    filled: some,
    before: nothing,
    flight: |_, _| one(3000),
    act: put_all,
    makes: ("c", 1),
    at_reads: true,
};

#[test]
fn a_put_cut_off_at_each_request() {
    let (deaths, _) = each_step(&PUT, Keys::memory());
    assert!(deaths >= 3, "{deaths}");
    let long = Row { name: "a long put", flight: |_, _| one(1_000_000), makes: ("s", 3), ..PUT };
    let (deaths, _) = each_step(&long, Keys::memory());
    assert!(deaths >= 12, "{deaths}");
}

#[test]
fn a_put_of_several_objects_cut_off_at_each_request() {
    let row = Row { name: "a put of packs", flight: many, makes: ("p", 2), ..PUT };
    let (deaths, orphans) = each_step(&row, Keys::memory());
    assert!(deaths >= 9 && orphans >= 9, "{deaths}, {orphans}");
}

#[test]
fn an_erase_cut_off_at_each_step() {
    let first = Row { name: "an erase", flight: of_a_user, act: erase_user, ..PUT };
    let second = Row { name: "a second erase", before: erase_another, ..first };
    let mut deaths = 0;
    for row in [&first, &second] {
        deaths += each_step(row, Keys::memory()).0;
        deaths += each_step(row, Keys::keyholders()).0;
    }
    println!("{deaths} deaths");
    assert!(deaths >= 40, "{deaths}");
}

const REPLACES: Row = Row {
    name: "an erase beside packs",
    filled: with_a_name,
    flight: |_, known| replacement(known, (0..180).map(|n| payload(n, 100_000)).collect()),
    act: replace,
    makes: ("p", 2),
    ..PUT
};

#[test]
fn an_erase_beside_packs_cut_off_at_each_step() {
    let (deaths, orphans) = each_step(&REPLACES, Keys::memory());
    assert!(deaths >= 15 && orphans >= 15, "{deaths}, {orphans}");
    let (deaths, orphans) = each_step(&REPLACES, Keys::keyholders());
    assert!(deaths >= 25 && orphans >= 20, "{deaths}, {orphans}");
}

/// Its parts have names that say no place.
#[test]
fn an_erase_beside_strays_cut_off_at_each_step() {
    let strays = Row {
        name: "an erase beside strays",
        segment_bytes: 64 << 10,
        flight: |_, known| replacement(known, vec![payload(5, 18_000_000)]),
        makes: ("x", 2),
        ..REPLACES
    };
    let (deaths, orphans) = each_step(&strays, Keys::memory());
    assert!(deaths >= 20 && orphans >= 15, "{deaths}, {orphans}");
}

const USERS: u32 = 3000;
const EACH: usize = 24;

/// Each of them has a page of short records.
fn of_many_users(engine: &Engine) -> Known {
    let mut known = Known::default();
    let mut batch = engine.batch();
    let payloads: Vec<Vec<u8>> = (0..USERS as usize * EACH).map(|n| payload(n, 100)).collect();
    for (n, payload) in payloads.iter().enumerate() {
        let user = user((n / EACH) as u32);
        batch.add(Put::new(user, Class::audio()), &payload[..]).unwrap();
    }
    known.live.extend(batch.commit().unwrap().into_iter().zip(payloads));
    known
}

fn one_of_each_user(engine: &Engine, known: &Known) -> Flight {
    let mut seen = BTreeSet::new();
    let is_first = |id: &&RecordId| seen.insert(engine.info(id).unwrap().user);
    let erases: Vec<RecordId> = known.live.keys().filter(is_first).copied().collect();
    assert_eq!(erases.len(), USERS as usize);
    Flight { erases, ..Flight::default() }
}

fn erase_records(engine: &Engine, flight: &Flight) -> Result<()> {
    let scopes: Vec<Scope> = flight.erases.iter().map(|id| Scope::record(*id)).collect();
    engine.erase_all(&scopes).into_iter().try_for_each(|erased| erased.map(drop))
}

/// The pages that it writes fill packs by themselves.
#[test]
fn an_erase_of_many_records_cut_off_at_each_step() {
    let row = Row {
        name: "an erase of many",
        filled: of_many_users,
        flight: one_of_each_user,
        act: erase_records,
        makes: ("p", 1),
        at_reads: false,
        ..PUT
    };
    let (deaths, orphans) = each_step(&row, Keys::memory());
    assert!(deaths >= 12 && orphans >= 3, "{deaths}, {orphans}");
}
