//! Space gives itself back: sweeps, the cleaner, files that are emptied. SPEC §9.6, §9.7.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::{FileCell, MemoryCell};
use keyfall::engine::{Cleaner, CopyMode, Keeper, OpenAs};
use keyfall::env::System;
use keyfall::store::{
    Ahead, Blob, BlobName, Claimed, Cleaned, Collect, Cursor, Head, HeadId, MemoryStore, Packing,
    Published, Removed, SledStore, Store, Sweep, Usage, Waste,
};
use keyfall::testing::sim::{
    Media, Planted, STEP_BYTES, SimulatedDisk, Tally, World, steps, verdict_of,
};
use keyfall::testing::{Defect, Seeded, clean_all, discard_in_windows};
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Result, Scope};

use crate::support::{SMALL_PAGES, bytes, open_files, read_record, user};

/// Counts the blobs that are read.
pub struct Counted(pub Arc<dyn Store>, pub Arc<AtomicU64>);

impl Store for Counted {
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
        self.1.fetch_add(1, Ordering::Relaxed);
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
        self.0.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.0.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.0.remove(names)
    }
    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        self.0.sweep(how)
    }
    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        self.0.count_dead(names)
    }
    fn suspect(&self, bytes: u64) {
        self.0.suspect(bytes);
    }
    fn waste(&self) -> Result<Option<Waste>> {
        self.0.waste()
    }
    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        self.0.clean(most, packing)
    }
    fn usage(&self) -> Result<Usage> {
        self.0.usage()
    }
}

/// An engine on the simulated disk, whose files are small, and a count of the blobs it reads.
fn on_small_files(seed: u64) -> (Engine, Arc<AtomicU64>) {
    let env = Arc::new(Seeded::new(seed));
    let disk = SimulatedDisk::new(env.clone(), None);
    let copies = Arc::clone(&disk);
    let options = Options::new()
        .env(env)
        .geometry(SMALL_PAGES)
        .keeper(Keeper::ByHand)
        .open_copy(Arc::new(move |place: &str, create| copies.store(place, create)));
    let reads = Arc::new(AtomicU64::new(0));
    let store = Counted(disk.store("store", true).unwrap(), Arc::clone(&reads));
    let engine = Engine::init(Arc::new(store), Arc::new(MemoryCell::new()), options).unwrap();
    (engine, reads)
}

fn put(engine: &Engine, name: &str, n: u64, len: usize) -> RecordId {
    engine.put(Put::new(user(name), Class::audio()), &bytes(n, len)[..]).unwrap()
}

fn all_read(engine: &Engine, live: &[(RecordId, u64, usize)], when: &str) {
    for (id, n, len) in live {
        assert_eq!(read_record(engine, id).expect(when), bytes(*n, *len), "{when}: record {n}");
    }
}

#[test]
fn a_discard_reads_each_live_page_once_however_many_names_there_are() {
    let (engine, reads) = on_small_files(1);
    let mut live = Vec::new();
    for n in 0..120u64 {
        live.push((put(&engine, &format!("u{}", n % 9), n, 40), n, 40));
    }
    let pages = engine.audit(&[], &mut |_| {}).unwrap().live_blobs;
    reads.store(0, Ordering::Relaxed);
    let done = discard_in_windows(&engine, 20).unwrap();
    assert!(done.blobs >= 200, "many windows of 20 names: {done:?}");
    let read = reads.load(Ordering::Relaxed);
    assert!(read <= pages, "{read} blobs read, and {pages} live");
    all_read(&engine, &live, "after a discard");
    let again = discard_in_windows(&engine, 20).unwrap();
    assert_eq!((again.blobs, again.bytes_gone), (0, 0), "nothing is counted twice");
}

#[test]
fn a_small_store_under_steady_load_stays_small() {
    let (engine, _) = on_small_files(2);
    let mut live: Vec<(RecordId, u64, usize)> = Vec::new();
    let (mut most, mut written) = (0, 0);
    for n in 0..400u64 {
        live.push((put(&engine, &format!("u{}", n % 5), n, 60), n, 60));
        if live.len() > 40 {
            engine.erase(Scope::record(live.remove(0).0)).unwrap();
        }
        let before = engine.status().unwrap().usage.bytes;
        let done = engine.clean().unwrap();
        assert_eq!(done.stuck, None);
        let after = engine.status().unwrap().usage.bytes;
        written += before - after.min(before);
        if n > 100 {
            most = most.max(after);
        }
    }
    all_read(&engine, &live, "after the load");
    engine.discard(&mut |_| {}).unwrap();
    let least = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(least.is_clean());
    // Files of 96 KiB: the last one, and what is not worth a walk.
    let file: u64 = 96 << 10;
    let live_bytes = least.live_blobs * 1200;
    assert!(written > 10 * file, "it gives space back again and again: {written}");
    assert!(most < 3 * live_bytes + 3 * file, "{most} bytes for {live_bytes} that live");
    all_read(&engine, &live, "after a discard");
}

#[test]
fn what_puts_replace_is_given_back_without_a_walk() {
    let (engine, _) = on_small_files(5);
    let (mut live, mut freed) = (Vec::new(), 0);
    for n in 0..600u64 {
        live.push((put(&engine, &format!("u{}", n % 5), n, 60), n, 60));
        let done = engine.clean().unwrap();
        assert!(!done.swept, "a commit says what it replaced");
        freed += done.freed;
    }
    assert!(freed > 8 * (96 << 10), "files of 96 KiB: {freed}");
    all_read(&engine, &live, "after the load");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_backup_comes_to_its_end_under_puts_and_a_cleaner() {
    let (engine, _) = on_small_files(6);
    for n in 0..40u64 {
        put(&engine, &format!("u{n}"), n, 400 << 10);
    }
    let (to, mut calls) = (MemoryStore::default(), 0u64);
    engine
        .backup(&to, &mut |_| {
            calls += 1;
            for n in 0..40 {
                put(&engine, &format!("u{n}"), 1000 * calls + n, 60);
            }
            engine.clean().unwrap();
        })
        .unwrap();
    assert!(calls > 2 && calls < 40, "it went through once: {calls}");
    // What was kept for it goes afterwards.
    let before = engine.status().unwrap().usage.blobs;
    engine.clean().unwrap();
    let after = engine.status().unwrap().usage.blobs;
    assert!(after < before, "{before} blobs, then {after}");
}

#[test]
fn walks_go_on_under_erases_and_take_nothing_that_lives() {
    let (engine, _) = on_small_files(3);
    engine.copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    let mut doomed = Vec::new();
    let mut live = Vec::new();
    for n in 0..60u64 {
        doomed.push(put(&engine, &format!("u{}", n % 7), n, 30));
        live.push((put(&engine, &format!("u{}", n % 7), 1000 + n, 30), 1000 + n, 30));
    }
    let over = AtomicBool::new(false);
    let late = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                clean_all(&engine).unwrap();
                discard_in_windows(&engine, 64).unwrap();
            }
        });
        for (n, id) in doomed.iter().enumerate() {
            engine.erase(Scope::record(*id)).unwrap();
            let n = 2000 + n as u64;
            late.lock().unwrap().push((put(&engine, &format!("u{}", n % 7), n, 30), n, 30));
        }
        over.store(true, Ordering::Release);
    });
    live.extend(late.into_inner().unwrap());
    clean_all(&engine).unwrap();
    all_read(&engine, &live, "after erases beside sweeps");
    let audit = engine.audit(&[], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    let status = engine.copies().status();
    assert!(status.iter().all(|copy| copy.lacks_pages == Some(0)), "{status:?}");
}

/// The steps of a seed, and after every second one a call of the cleaner, with the faults of that.
fn with_a_cleaner(seed: u64) -> Vec<[u8; STEP_BYTES]> {
    let clean = |n: usize, step: &[u8; STEP_BYTES]| {
        let mut clean = *step;
        (clean[0], clean[1], clean[7]) = (60, (n / 2) as u8, 0);
        // Where it fails it goes on, ends or loses power.
        clean[12] = step[12].wrapping_add(1);
        clean
    };
    let with = |(n, step): (usize, [u8; STEP_BYTES])| {
        std::iter::once(step).chain((n % 2 == 0).then(|| clean(n, &step)))
    };
    steps(seed).into_iter().enumerate().flat_map(with).collect()
}

#[test]
fn lives_with_a_cleaner_at_work_lose_nothing() {
    let seeds =
        std::env::var("KEYFALL_CLEAN_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let mut tally = Tally::default();
    for seed in (0..seeds).step_by(2) {
        let life = || World::Alone.run(seed, &with_a_cleaner(seed), Planted::default());
        match verdict_of(life) {
            Ok(met) => tally.merge(&met),
            Err(verdict) => panic!("seed {seed}: {verdict}"),
        }
    }
    let met = |event| tally.events.get(event).copied().unwrap_or_default();
    println!("{tally:#?}");
    for event in ["cleanings", "bytes moved by a cleaner", "bytes freed by a cleaner"] {
        assert!(met(event) > 0 || seeds < 1000, "no life met: {event}");
    }
}

#[test]
fn a_cleaner_that_takes_what_lives_is_caught() {
    for defect in [Defect::SweepLive, Defect::ReplaceLive] {
        let planted = Planted { engine: Some(defect), ..Planted::default() };
        let caught = (0..600).step_by(2).find_map(|seed| {
            verdict_of(|| World::Alone.run(seed, &with_a_cleaner(seed), planted)).err()
        });
        let verdict = caught.unwrap_or_else(|| panic!("no seed catches {defect:?}"));
        let is_loss = verdict.contains("LOST") || verdict.contains("is missing");
        assert!(is_loss, "{defect:?} is caught as something else: {verdict}");
    }
}

/// Numbers of the files of a journal.
fn logs(store: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(store.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".log"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_emptied_and_what_was_moved_is_found_by_every_kind_of_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cell) = (dir.path().join("store"), dir.path().join("cell"));
    let store = Arc::new(SledStore::create(&place).unwrap());
    let made = FileCell::create(&cell, true, Arc::new(System)).unwrap();
    let options = Options::new().keeper(Keeper::ByHand).cleaner(Cleaner::Off);
    let engine = Engine::init(store, Arc::new(made), options.clone()).unwrap();
    let mut live = Vec::new();
    for n in 0..12u64 {
        put(&engine, "gone", n, 1 << 20);
        live.push((put(&engine, "here", 100 + n, 300), 100 + n, 300));
    }
    engine.erase(Scope::user(user("gone"))).unwrap();
    let done = clean_all(&engine).unwrap();
    assert!(done.swept && done.freed > 12 << 20 && done.stuck.is_none(), "{done:?}");
    let there = logs(&place);
    assert!(there.len() == 1 && *there[0] > *"00000001.log", "but for the last: {there:?}");
    all_read(&engine, &live, "while it is open");
    assert!(engine.status().unwrap().usage.bytes < 6 << 20);
    let again = engine.clean().unwrap();
    assert!(!again.swept && again.freed == 0, "it does not begin again at once: {again:?}");
    drop(engine);

    let engine = open_files(&place, &cell).unwrap();
    all_read(&engine, &live, "opened again");
    drop(engine);
    let look = Engine::open(
        Arc::new(SledStore::look(&place).unwrap()),
        Arc::new(FileCell::open(&cell, Arc::new(System)).unwrap()),
        options.open_as(OpenAs::ReadOnly),
    )
    .unwrap();
    all_read(&look, &live, "looked at");
    assert_eq!(look.clean().expect_err("only its owner cleans").kind(), ErrorKind::Fenced);
    drop(look);
    std::fs::remove_dir_all(place.join("index")).unwrap();
    let engine = open_files(&place, &cell).unwrap();
    all_read(&engine, &live, "with its index built again");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn the_cleaner_works_by_itself_unless_it_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cell) = (dir.path().join("store"), dir.path().join("cell"));
    let store = Arc::new(SledStore::create(&place).unwrap());
    let made = FileCell::create(&cell, true, Arc::new(System)).unwrap();
    let by_hand = Options::new().keeper(Keeper::ByHand);
    let engine = Engine::init(store, Arc::new(made), by_hand).unwrap();
    let here = (put(&engine, "here", 1, 300), 1, 300);
    (0..40).for_each(|n| _ = put(&engine, "gone", n, 1 << 20));
    // What is believed dead is counted once.
    clean_all(&engine).unwrap();
    drop(engine);
    let held = || SledStore::journal_bytes(&place).unwrap();
    let open = |cleaner| {
        let store = Arc::new(SledStore::open(&place).unwrap());
        let cell = Arc::new(FileCell::open(&cell, Arc::new(System)).unwrap());
        Engine::open(store, cell, Options::new().cleaner(cleaner)).unwrap()
    };
    let engine = open(Cleaner::Off);
    engine.erase(Scope::user(user("gone"))).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(held() > 40 << 20, "nothing is given back");
    engine.close().unwrap();
    let engine = open(Cleaner::On);
    let began = std::time::Instant::now();
    while held() > 8 << 20 {
        assert!(began.elapsed() < Duration::from_secs(50), "{} bytes are left", held());
        std::thread::sleep(Duration::from_millis(50));
    }
    all_read(&engine, &[here], "cleaned");
    assert_eq!(engine.status().unwrap().cleaner, None);
    engine.close().unwrap();
}
