//! The cache of objects on this machine: what one process read the next one reads from there; and
//! whatever is in it, nothing else is read than without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::store::{ObjectLog, Store};
use keyfall::{Builder, Class, Engine, ErrorKind, Put, RecordId, Scope};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::engines::{options, read, user};

const USERS: u32 = 2000;
const MOST: u64 = 64 << 20;

/// A store in memory, with a short record of each user.
struct Place {
    objects: Arc<CountedObjects>,
    cell: Arc<MemoryCell>,
    records: Vec<RecordId>,
}

impl Place {
    fn new(text: &str) -> Self {
        let objects = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
        Self::over(objects, text)
    }

    fn over(objects: Arc<CountedObjects>, text: &str) -> Self {
        Self::of(USERS, objects, text)
    }

    fn of(users: u32, objects: Arc<CountedObjects>, text: &str) -> Self {
        let cell = Arc::new(MemoryCell::new());
        let log = Arc::new(ObjectLog::create(objects.clone() as Arc<dyn Objects>).unwrap());
        let engine = Engine::init(log, cell.clone(), options()).unwrap();
        let batch = |from: u32| {
            let mut batch = engine.batch();
            for n in from..from + users / 4 {
                let payload = format!("{text} {n}");
                batch.add(Put::new(user(n), Class::audio()), payload.as_bytes()).unwrap();
            }
            batch.commit().unwrap()
        };
        let records = (0..4).flat_map(|n| batch(n * users / 4)).collect();
        // An opening reads the newest object whole.
        engine.put(Put::new(user(users), Class::audio()), &b"the last word"[..]).unwrap();
        engine.close().unwrap();
        Place { objects, cell, records }
    }

    fn open(&self, cache: Option<&Path>) -> Engine {
        self.open_with(cache, MOST)
    }

    fn open_with(&self, cache: Option<&Path>, most: u64) -> Engine {
        let log = ObjectLog::open(self.objects.clone() as Arc<dyn Objects>).unwrap();
        let log = match cache {
            Some(cache) => log.cache(cache, most).unwrap(),
            None => log,
        };
        Engine::open(Arc::new(log), self.cell.clone(), options()).unwrap()
    }

    /// Reads all records in a process of its own, as it were; says how many gets that took after
    /// the opening.
    fn read_all(&self, cache: Option<&Path>, text: &str) -> u64 {
        let engine = self.open(cache);
        self.objects.take();
        for (n, record) in self.records.iter().enumerate() {
            assert_eq!(read(&engine, record).unwrap(), format!("{text} {n}").as_bytes());
        }
        let gets = self.objects.take().gets;
        engine.close().unwrap();
        gets
    }
}

/// What a file may come to.
type Change = fn(&mut Vec<u8>);

/// The files of a cache that hold windows.
fn files(dir: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    below(dir)
        .filter(|path| path.is_dir())
        .flat_map(|dir| below(&dir).collect::<Vec<_>>())
        .collect()
}

fn size(dir: &Path) -> u64 {
    files(dir).iter().map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn what_one_process_read_the_next_one_reads_from_there() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    let without = place.read_all(None, "said");
    let first = place.read_all(Some(&cache), "said");
    let second = place.read_all(Some(&cache), "said");
    println!("gets: {without} without a cache, {first} that fill it, {second} with it");
    assert!(without > 5 && first >= without, "{without} and {first}");
    assert!(second <= 1, "{second} gets, though all was kept");
    let tag = fs::read_to_string(cache.join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}

#[test]
fn whatever_its_files_hold_nothing_else_is_read() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    place.read_all(Some(&cache), "said");
    let changes: [(&str, Change); 6] = [
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
        ("a bit of the window", |bytes| bytes[40] ^= 1),
        ("a bit of the key", |bytes| bytes[3] ^= 1),
        ("zeros", |bytes| bytes.fill(0)),
        ("longer", |bytes| bytes.push(0)),
    ];
    for (what, change) in changes {
        let kept = files(&cache);
        assert!(!kept.is_empty());
        for file in kept {
            let mut bytes = fs::read(&file).unwrap();
            change(&mut bytes);
            fs::write(&file, bytes).unwrap();
        }
        assert!(place.read_all(Some(&cache), "said") > 5, "{what}: it was believed");
        assert!(place.read_all(Some(&cache), "said") <= 1, "{what}: it was not replaced");
    }
    // The files of one another, each whole.
    let kept = files(&cache);
    let contents: Vec<Vec<u8>> = kept.iter().map(|file| fs::read(file).unwrap()).collect();
    for (n, file) in kept.iter().enumerate() {
        fs::write(file, &contents[(n + 1) % contents.len()]).unwrap();
    }
    place.read_all(Some(&cache), "said");
}

/// Another store in the same place, with the same names for its places: what was kept of the first
/// one lies under the names of its objects.
#[test]
fn a_store_that_comes_in_the_place_of_another_is_read_as_it_is() {
    let (place, dir) = (Place::new("before"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    place.read_all(Some(&cache), "before");
    let marker = place.objects.get("keyfall").unwrap().unwrap();
    for folder in ["c", "p", "x", "s", "f", "a", "b"] {
        for listed in place.objects.list(folder, "", 1000).unwrap() {
            place.objects.delete(&listed.name).unwrap();
        }
    }
    let next = Place::over(place.objects.clone(), "after");
    assert_eq!(next.objects.get("keyfall").unwrap().unwrap(), marker, "another naming key");
    assert!(next.read_all(Some(&cache), "after") > 5, "what is kept of another store was believed");
    assert!(next.read_all(Some(&cache), "after") <= 1, "it was not replaced");
}

#[test]
fn it_takes_no_more_than_it_may() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    place.read_all(Some(&cache), "said");
    let all = size(&cache);
    let most = 200 << 10;
    assert!(all > 2 * most, "too little to see it: {all}");
    for _ in 0..2 {
        let engine = place.open_with(Some(&cache), most);
        for (n, record) in place.records.iter().enumerate() {
            assert_eq!(read(&engine, record).unwrap(), format!("said {n}").as_bytes());
        }
        engine.close().unwrap();
        // A process with less room than the one before gives back what is too much with what it
        // adds.
        let there = size(&cache);
        assert!(there <= most, "{there} of {most}");
    }
    fs::write(cache.join("draft-1-0"), "a process that was killed").unwrap();
    place.read_all(Some(&cache), "said");
    assert!(!cache.join("draft-1-0").exists());
}

#[test]
fn an_audit_asks_the_place_itself() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    place.read_all(Some(&cache), "said");
    let engine = place.open(Some(&cache));
    read(&engine, &place.records[0]).unwrap();
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    // What nobody else has any more.
    let packs = place.objects.list("p", "", 1000).unwrap();
    let largest = place.objects.list("c", "", 1000).unwrap().into_iter().chain(packs);
    let largest = largest.max_by_key(|listed| listed.size).unwrap();
    place.objects.delete(&largest.name).unwrap();
    let audit = engine.audit(&[], &mut |_| {});
    assert!(!audit.is_ok_and(|audit| audit.is_clean()), "it called a store clean that lacks most");
}

#[test]
fn what_was_erased_is_not_read_from_it() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    place.read_all(Some(&cache), "said");
    let engine = place.open(Some(&cache));
    engine.erase(Scope::user(user(7))).unwrap();
    let erased = engine.get(&place.records[7]).map(drop).unwrap_err();
    assert_eq!(erased.kind(), ErrorKind::Erased, "{erased}");
    engine.close().unwrap();
    let engine = place.open(Some(&cache));
    let erased = engine.get(&place.records[7]).map(drop).unwrap_err();
    assert_eq!(erased.kind(), ErrorKind::Erased, "{erased}");
    assert_eq!(read(&engine, &place.records[8]).unwrap(), b"said 8");
}

#[test]
fn a_directory_that_it_cannot_use_is_refused_or_goes_unused() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "mine").unwrap();
    let log = || ObjectLog::open(place.objects.clone() as Arc<dyn Objects>).unwrap();
    let refused = log().cache(&foreign, MOST).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    assert_eq!(fs::read(foreign.join("letter")).unwrap(), b"mine");
    std::os::unix::fs::symlink(&foreign, dir.path().join("link")).unwrap();
    assert_eq!(log().cache(&dir.path().join("link"), MOST).unwrap_err().kind(), ErrorKind::Medium);
    // It vanishes while it is in use, and a file comes in its place.
    let cache = dir.path().join("cache");
    let log = Arc::new(log().cache(&cache, MOST).unwrap());
    fs::remove_dir_all(&cache).unwrap();
    fs::write(&cache, "in the way").unwrap();
    let engine = Engine::open(log as Arc<dyn Store>, place.cell.clone(), options()).unwrap();
    assert_eq!(read(&engine, &place.records[9]).unwrap(), b"said 9");
    engine.close().unwrap();
}

#[test]
fn only_a_store_at_a_url_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let builder = |store: &str| {
        let at = Builder::at(store).cell_at(dir.path().join("cell")).accept_remnants();
        at.single_machine().object_cache(dir.path().join("cache"), MOST)
    };
    let store = dir.path().join("store");
    let refused = builder(&store.to_string_lossy()).open_or_create().map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert!(!store.exists());
    let at_url = builder(&format!("file://{}", dir.path().join("log").display()));
    let engine = at_url.open_or_create().unwrap();
    let record = engine.put(Put::new(user(1), Class::audio()), &b"said"[..]).unwrap();
    engine.close().unwrap();
    let engine = at_url.open().unwrap();
    assert_eq!(read(&engine, &record).unwrap(), b"said");
    engine.close().unwrap();
}

/// How many of a place's records do not open.
fn shut(place: &Place, cache: Option<&Path>) -> usize {
    let engine = place.open(cache);
    let shut = place.records.iter().filter(|record| read(&engine, record).is_err()).count();
    engine.close().unwrap();
    shut
}

/// Has a process read everything while the server gives its largest object damaged.
fn read_damaged(memory: &MemoryObjects, place: &Place, cache: &Path) -> String {
    let largest = place.objects.list("c", "", 1000).unwrap().into_iter();
    let largest = largest.max_by_key(|listed| listed.size).unwrap().name;
    let sound = memory.get(&largest).unwrap().unwrap();
    let mut damaged = sound.clone();
    for part in 1..40 {
        damaged[part * sound.len() / 40] ^= 1;
    }
    memory.overwrite(&largest, damaged);
    assert!(shut(place, Some(cache)) > 0, "nothing was damaged");
    memory.overwrite(&largest, sound);
    largest
}

/// What a server gave damaged is in the cache under a right sum. What does not open is read from
/// the place: pages, and payloads of every length.
#[test]
fn damaged_bytes_in_it_are_replaced() {
    for len in [20, 2000, 9000, 40_000, 100_000] {
        let memory = Arc::new(MemoryObjects::new());
        let users = (USERS as usize).min(8_000_000 / len) as u32;
        let counted = Arc::new(CountedObjects::over(memory.clone()));
        let place = Place::of(users, counted, &"x".repeat(len));
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        read_damaged(&memory, &place, &cache);
        assert_eq!(shut(&place, Some(&cache)), 0, "payloads of {len} bytes");
        assert_eq!(shut(&place, Some(&cache)), 0, "payloads of {len} bytes, the next process");
    }
}

/// It is passed on to no backup, and the cleaner, which writes what lives once more unopened, does
/// not take it for the original.
#[test]
fn damaged_bytes_in_it_go_nowhere_else() {
    let memory = Arc::new(MemoryObjects::new());
    let text = "x".repeat(2000);
    let place = Place::over(Arc::new(CountedObjects::over(memory.clone())), &text);
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let largest = read_damaged(&memory, &place, &cache);
    assert_eq!(shut(&place, None), 0);

    let engine = place.open(Some(&cache));
    let backup: Arc<dyn Store> = Arc::new(keyfall::store::MemoryStore::new());
    engine.backup(&*backup, &mut |_| {}).unwrap();
    let audit = engine.audit(&[backup], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    // Most of each object dies, and what lives in it moves.
    for n in (0..USERS).filter(|n| n % 10 > 0) {
        engine.erase(Scope::user(user(n))).unwrap();
    }
    engine.discard(&mut |_| {}).unwrap();
    assert!(!place.objects.list("c", "", 1000).unwrap().iter().any(|it| it.name == largest));
    engine.close().unwrap();
    let engine = place.open(None);
    for (n, record) in place.records.iter().enumerate().step_by(10) {
        assert_eq!(read(&engine, record).unwrap(), format!("{text} {n}").as_bytes());
    }
}

/// It may be removed while it is in use, and is a cache again later; so is one whose tag is torn.
#[test]
fn one_that_was_removed_or_torn_is_a_cache_again() {
    let (place, dir) = (Place::new("said"), tempfile::tempdir().unwrap());
    let cache = dir.path().join("cache");
    let engine = place.open(Some(&cache));
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(read(&engine, &place.records[3]).unwrap(), b"said 3");
    engine.close().unwrap();
    place.read_all(Some(&cache), "said");
    fs::write(cache.join("CACHEDIR.TAG"), "").unwrap();
    assert!(place.read_all(Some(&cache), "said") <= 1);
    assert!(!fs::read(cache.join("CACHEDIR.TAG")).unwrap().is_empty());
}
