//! Space gives itself back on object logs: what a discard asks of the place, the cleaner, copies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Cleaner, CopyMode, Discarded, Keeper, restore};
use keyfall::store::{ObjectLog, Store};
use keyfall::testing::clean_all;
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope};
use keyfall_objects::{Counted, CountedObjects, Created, Listed, MemoryObjects, Objects, Result};

use crate::engines::{options, put, read, user};
use crate::far::rounds;

/// Whose cleaner waits for nobody.
fn log(objects: &Arc<dyn Objects>) -> Arc<dyn Store> {
    let log = ObjectLog::open_or_create(Arc::clone(objects)).unwrap();
    Arc::new(log.grace(Duration::ZERO))
}

/// Bytes and objects below a place, those that say what is not there included.
fn held(objects: &MemoryObjects) -> (u64, usize) {
    let names = objects.names();
    // A cleaner may delete one meanwhile.
    let sizes = names.iter().filter_map(|name| objects.head(name).unwrap());
    (sizes.sum(), names.len())
}

/// Discards; gives what there was before, what it did, what it asked for, and what there is after.
fn discarded(
    engine: &Engine,
    place: &MemoryObjects,
    counted: &CountedObjects,
) -> ((u64, usize), Discarded, Counted, (u64, usize)) {
    let before = held(place);
    counted.take();
    let done = engine.discard(&mut |_| {}).unwrap();
    let (asked, after) = (counted.take(), held(place));
    println!("{before:?} bytes and objects before, {after:?} after: {asked:?}; {done:?}");
    (before, done, asked, after)
}

fn payload(n: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(0x9e37_79b9).wrapping_add(n * 77) >> 11) as u8)
        .collect()
}

/// Each record is what it was, or is gone.
fn judge(engine: &Engine, records: &[(RecordId, u32, usize)], lives: impl Fn(u32) -> bool) {
    for (id, n, len) in records {
        match read(engine, id) {
            Ok(all) => assert!(lives(*n) && all == payload(*n, *len), "record {n}"),
            Err(e) => assert!(!lives(*n) && e.kind() == ErrorKind::Erased, "record {n}: {e}"),
        }
    }
}

/// A store half dead, its cell, and what was put.
struct HalfDead {
    engine: Engine,
    cell: Arc<MemoryCell>,
    records: Vec<(RecordId, u32, usize)>,
}

/// A store whose objects hold 2,000 records each, of so many users by turns and of these lengths,
/// half of the users of which are erased.
fn half_dead(
    objects: &Arc<dyn Objects>,
    batches: u32,
    users: u32,
    lengths: [usize; 3],
) -> HalfDead {
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(objects), cell.clone(), options()).unwrap();
    let mut records = Vec::new();
    for batch in 0..batches {
        let mut staged = engine.batch();
        let of = |n| (n, lengths[n as usize % 3]);
        let all: Vec<(u32, usize)> = (batch * 2000..(batch + 1) * 2000).map(of).collect();
        for (n, len) in &all {
            staged
                .add(Put::new(user(n % users), Class::transcript()), &payload(*n, *len)[..])
                .unwrap();
        }
        let ids = staged.commit().unwrap();
        records.extend(ids.into_iter().zip(all).map(|(id, (n, len))| (id, n, len)));
    }
    let scopes: Vec<Scope> = (0..users).step_by(2).map(|n| Scope::user(user(n))).collect();
    engine.erase_all(&scopes).into_iter().for_each(|erased| _ = erased.unwrap());
    HalfDead { engine, cell, records }
}

/// The bytes of a store into which one was restored: of what lives, and of nothing else.
fn restored(objects: &Arc<dyn Objects>, cell: &MemoryCell) -> u64 {
    let plain = Arc::new(MemoryObjects::new());
    let there: Arc<dyn Objects> = plain.clone();
    restore(cell, &[log(objects)], &*log(&there), &mut |_| {}).unwrap();
    held(&plain).0
}

/// The tables of objects are not read: what is asked follows from how much there is, and not from
/// how many objects there are.
#[test]
fn a_discard_asks_little_for_what_it_gives_back() {
    let place = Arc::new(MemoryObjects::new());
    let counted = Arc::new(CountedObjects::over(place.clone()));
    let objects: Arc<dyn Objects> = counted.clone();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    // One user, so that what lives is little: each put replaces nearly every page.
    let mut records = Vec::new();
    for n in 0..1500 {
        records.push((put(&engine, n % 2, &payload(n, 500)).unwrap(), n, 500));
    }
    engine.erase(Scope::user(user(1))).unwrap();
    let (before, done, asked, after) = discarded(&engine, &place, &counted);
    assert!(before.1 > 1500 && after.1 < 100, "{before:?} {after:?}");
    assert!(done.blobs > 1400, "{done:?}");
    let mib = before.0.div_ceil(8 << 20);
    // Up to 64 headers, and each page that lives: 125 to 153 in nine runs, by the keys drawn.
    assert!(asked.gets + asked.heads <= 180 + mib, "{} MiB: {asked:?}", before.0 >> 20);
    assert!(asked.deletes <= 8 && asked.lists <= 24, "{asked:?}");
    judge(&engine, &records, |n| n % 2 == 0);
    counted.take();
    engine.discard(&mut |_| {}).unwrap();
    assert!(counted.take().creates <= 6, "the next one finds nothing to do");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// What is read follows from how much there is, and not from how many users there are in how many
/// objects: of what no windows hold, too.
#[test]
fn a_discard_of_a_store_half_dead_leaves_little_more_than_what_lives() {
    let most = rounds("KEYFALL_BATCHES", 12) as u32;
    for batches in [most.div_ceil(4), most] {
        let place = Arc::new(MemoryObjects::new());
        let counted = Arc::new(CountedObjects::over(place.clone()));
        let objects: Arc<dyn Objects> = counted.clone();
        let half_dead = half_dead(&objects, batches, 1000, [300, 2000, 9000]);
        let HalfDead { engine, records, .. } = half_dead;
        let (before, _, asked, after) = discarded(&engine, &place, &counted);
        let lives: usize = records.iter().filter(|(_, n, _)| n % 2 == 1).map(|r| r.2).sum();
        let most = lives as u64 * 5 / 4;
        assert!(after.0 < before.0 * 3 / 4 && after.0 <= most, "{lives} live: {after:?}");
        // Of what was there, and of what was written once more.
        let mib = (before.0 + after.0).div_ceil(8 << 20);
        println!("{} reads for {mib} times 8 MiB", asked.gets + asked.heads);
        assert!(asked.gets + asked.heads <= 12 + 2 * mib, "{mib} times 8 MiB: {asked:?}");
        judge(&engine, &records, |n| n % 2 == 1);
        engine.close().unwrap();
    }
}

/// Of records that stand in their entries, so that there are pages and nothing else: what is read
/// and what is left, beside what there was and what lives.
#[test]
fn a_discard_of_pages_half_dead_reads_them_in_long_ranges() {
    let place = Arc::new(MemoryObjects::new());
    let counted = Arc::new(CountedObjects::over(place.clone()));
    let objects: Arc<dyn Objects> = counted.clone();
    let batches = rounds("KEYFALL_PAGES", 10) as u32;
    let HalfDead { engine, cell, records } = half_dead(&objects, batches, batches * 1000, [200; 3]);
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell.clone(), options()).unwrap();
    let began = Instant::now();
    let (before, _, asked, after) = discarded(&engine, &place, &counted);
    let took = began.elapsed();
    let began = Instant::now();
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    let audit = began.elapsed();
    println!("it took {took:?}, and an audit {audit:?}");
    let (lives, ranges) = (restored(&objects, &cell), before.0.div_ceil(8 << 20));
    println!(
        "{} MiB of pages: {:.2} GETs for each 8 MiB; {:.3} times what lives is left",
        before.0 >> 20,
        asked.gets as f64 / ranges as f64,
        after.0 as f64 / lives as f64
    );
    assert!(after.0 * 4 <= lives * 5, "{lives} live: {after:?}");
    // Nothing of it is in memory: the medium is asked.
    assert!(asked.gets <= 16 + 2 * ranges, "{ranges} times 8 MiB: {asked:?}");
    // Looks at what the place has come to, more of them the longer it takes.
    assert!(asked.heads <= 8 + 4 * took.as_secs(), "{took:?}: {asked:?}");
    judge(&engine, &records, |n| n % 2 == 1);
}

/// Nothing runs it but its thread.
#[test]
fn the_cleaner_works_on_objects_by_itself() {
    let place = Arc::new(MemoryObjects::new());
    let objects: Arc<dyn Objects> = place.clone();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), cell.clone(), Options::new()).unwrap();
    let mut records = Vec::new();
    let began = Instant::now();
    let (mut n, mut most) = (0, 0);
    // Until it has given back more than the place ever held.
    while engine.status().unwrap().cleaned.freed < 12 << 20 {
        assert!(began.elapsed() < Duration::from_secs(100), "{:?}", engine.status().unwrap());
        for _ in 0..20 {
            records.push((put(&engine, n % 7, &payload(n, 3000)).unwrap(), n, 3000));
            n += 1;
        }
        if records.len() > 400 {
            for (id, ..) in records.drain(..200) {
                engine.erase(Scope::record(id)).unwrap();
            }
        }
        most = most.max(held(&place).0);
    }
    let status = engine.status().unwrap();
    println!("{:?} in {:?}, {most} bytes at most", status.cleaned, began.elapsed());
    assert_eq!(status.cleaner, None);
    judge(&engine, &records, |_| true);
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    judge(&engine, &records, |_| true);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// With the cleaner off nothing is asked but what puts and erases ask.
#[test]
fn a_cleaner_that_is_off_deletes_nothing() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let objects: Arc<dyn Objects> = counted.clone();
    let options = Options::new().keeper(Keeper::Thread).cleaner(Cleaner::Off);
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options).unwrap();
    let ids: Vec<RecordId> =
        (0..60).map(|n| put(&engine, n, &payload(n, 100_000)).unwrap()).collect();
    ids.iter().for_each(|id| _ = engine.erase(Scope::record(*id)).unwrap());
    std::thread::sleep(Duration::from_millis(1500));
    assert!(counted.take().deletes <= 2, "of the probes");
}

/// One call does what the thread does; a copy that is an object log is emptied as the store is.
#[test]
fn copies_on_objects_are_emptied_by_the_cleaner_and_by_a_discard() {
    for discards in [false, true] {
        let copy = Arc::new(MemoryObjects::new());
        let place = Arc::new(MemoryObjects::new());
        let (to, objects): (Arc<dyn Objects>, Arc<dyn Objects>) = (copy.clone(), place.clone());
        let options = options().open_copy(Arc::new(move |_: &str, _| Ok(log(&to))));
        let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options).unwrap();
        engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
        let mut records = Vec::new();
        for n in 0..300 {
            let len = if n % 10 == 0 { 200_000 } else { 20_000 };
            records.push((put(&engine, n % 30, &payload(n, len)).unwrap(), n, len));
        }
        for n in 0..20 {
            engine.erase(Scope::user(user(n))).unwrap();
        }
        let before = (held(&place), held(&copy));
        if discards {
            let done = engine.discard(&mut |_| {}).unwrap();
            assert_eq!(done.copies_skipped, 0);
            println!("{done:?}");
        } else {
            let mut done = clean_all(&engine).unwrap();
            for _ in 0..3 {
                let again = engine.clean().unwrap();
                done.freed += again.freed;
                assert_eq!(again.stuck, None);
            }
            println!("{done:?}");
        }
        let after = (held(&place), held(&copy));
        println!("store and copy: {before:?} before, {after:?} after");
        let lives: usize = records.iter().filter(|(_, n, _)| n % 30 >= 20).map(|r| r.2).sum();
        // A cleaner leaves what is not worth a claim.
        let more = if discards { 300_000 } else { 5 << 20 };
        for (_, (bytes, _)) in [("store", after.0), ("copy", after.1)] {
            assert!(bytes < lives as u64 * 5 / 4 + more, "{lives} live, {bytes} there");
        }
        judge(&engine, &records, |n| n % 30 >= 20);
        let status = engine.copies().status();
        assert!(status.iter().all(|copy| copy.lacks_pages == Some(0)), "{status:?}");
        let audit = engine.audit(&[], &mut |_| {}).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
        // The copy goes on from there, and is what the store is.
        records.push((put(&engine, 29, &payload(29, 50)).unwrap(), 29, 50));
        judge(&engine, &records, |n| n % 30 >= 20);
        let drill = engine
            .copies()
            .check_restore(&[engine.copies().attached("copy").unwrap()], &mut |_| {});
        let drill = drill.unwrap();
        assert!(drill.is_whole(), "{drill:?}");
        engine.close().unwrap();
    }
}

/// What a walk of the cleaner asks for, of a store that was just opened.
#[test]
fn a_store_that_is_clean_is_not_walked_again_when_it_is_opened() {
    let place = Arc::new(MemoryObjects::new());
    let counted = Arc::new(CountedObjects::over(place));
    let objects: Arc<dyn Objects> = counted.clone();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
    (0..200).for_each(|n| _ = put(&engine, n, &payload(n, 60_000)).unwrap());
    engine.discard(&mut |_| {}).unwrap();
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell.clone(), options()).unwrap();
    counted.take();
    let done = engine.clean().unwrap();
    assert!(!done.swept, "{done:?}");
    let looked = Counted { gets: 1, lists: 1, ..Counted::default() };
    assert_eq!(counted.take(), looked, "what the last one left");
    // What was erased is worth it.
    for n in 0..120 {
        engine.erase(Scope::user(user(n))).unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    let done = clean_all(&engine).unwrap();
    assert!(done.swept && done.freed > 2 << 20, "{done:?}");
}

/// A discard may take the commit after the newest that a reader saw, before the reader asks.
#[test]
fn whoever_only_looks_finds_out_though_the_next_commit_is_gone() {
    let place = Arc::new(MemoryObjects::new());
    let objects: Arc<dyn Objects> = place.clone();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    put(&engine, 1, b"before").unwrap();
    let look = ObjectLog::look(objects).unwrap();
    look.confirm().unwrap();
    let seen = place.list("c", "", 1000).unwrap().pop().unwrap().name;
    put(&engine, 1, b"after").unwrap();
    put(&engine, 1, b"and after").unwrap();
    let next = place.list("c", &seen, 1).unwrap().remove(0).name;
    place.delete(&next).unwrap();
    assert_eq!(look.confirm().unwrap_err().kind(), ErrorKind::Fenced);
    let newest = place.list("c", "", 1000).unwrap().pop().unwrap().name;
    assert!(
        newest > next && look.head().unwrap() == ObjectLog::look(place).unwrap().head().unwrap()
    );
}

/// A place that keeps versions, and says so.
struct Versioned(MemoryObjects);

impl Objects for Versioned {
    fn place(&self) -> String {
        "versioned".into()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        Ok(match self.0.create(name, bytes)? {
            Created::Here { .. } => Created::Here { versioned: true },
            Created::Exists => Created::Exists,
        })
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.0.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.0.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.0.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }
}

/// What an earlier process removed there nobody knows: it is told as unknown, not as nothing.
#[test]
fn a_place_that_keeps_versions_is_never_told_to_be_empty_of_what_died() {
    for versioned in [true, false] {
        let objects: Arc<dyn Objects> = match versioned {
            true => Arc::new(Versioned(MemoryObjects::new())),
            false => Arc::new(MemoryObjects::new()),
        };
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
        (0..20).for_each(|n| _ = put(&engine, n, &payload(n, 40_000)).unwrap());
        (0..20).for_each(|n| _ = engine.erase(Scope::user(user(n))).unwrap());
        let done = engine.discard(&mut |_| {}).unwrap();
        assert_eq!((done.keeps_versions, done.bytes_gone == 0), (versioned, versioned), "{done:?}");
        assert_eq!(done.bytes_left > 40_000, versioned, "{done:?}");
        engine.close().unwrap();
        // Another process, to which nothing is left to do.
        let engine = Engine::open(log(&objects), cell, options()).unwrap();
        assert_eq!(engine.status().unwrap().keeps_versions, Some(versioned));
        engine.discard(&mut |_| {}).unwrap();
        let done = engine.discard(&mut |_| {}).unwrap();
        assert_eq!((done.keeps_versions, done.complete()), (versioned, !versioned), "{done:?}");
    }
}

/// A `file:///` store on a disk that is full: puts fail, erases and a discard go on.
#[test]
fn a_full_disk_below_a_directory_of_objects_takes_erases_and_a_discard() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mnt")).unwrap();
    let (dir, bin) = (dir.path().display(), env!("CARGO_BIN_EXE_keyfall"));
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=24m tmpfs mnt || exit 90
        export KEYFALL_STORE=file://{dir}/mnt/store KEYFALL_CELL={dir}/cell
        {bin} init --single-machine --accept-remnants || exit 1
        for n in 1 2 3 4 5 6; do
            head -c 1000000 /dev/urandom | {bin} put --user ada --class audio - || exit 2
        done
        echo kept | {bin} put --user ben --class audio - || exit 3
        test -s mnt/store/reserve || exit 4
        head -c 100000000 /dev/zero > mnt/full
        head -c 1000000 /dev/urandom | {bin} put --user cyd --class audio - && exit 5
        {bin} erase --user ada --yes || exit 6
        before=$(du -s --exclude=reserve mnt/store | cut -f1)
        {bin} discard || exit 7
        after=$(du -s --exclude=reserve mnt/store | cut -f1)
        test $((before - after)) -gt 5000 || exit 8
        rm mnt/full
        echo more | {bin} put --user cyd --class audio - || exit 9
        {bin} list --user ben || exit 10
        {bin} audit || exit 11
        test -s mnt/store/reserve || exit 12"
    );
    let probe = std::process::Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|p| p.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let out =
        std::process::Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
    let told = [&out.stdout[..], b"\n", &out.stderr[..]].concat();
    assert!(out.status.success(), "{:?}: {}", out.status, String::from_utf8_lossy(&told));
}
