//! What remains on the medium: nothing that was discarded, and no length that says more than a
//! class; and what it costs to read. SPEC §9, §11.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::engine::padded;
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::System;
use keyfall::store::BlobName;
use keyfall::store::{Head, HeadId, MemoryStore, SledStore, Store};
use keyfall::testing::{payload_names, read_to_open};
use keyfall::{Class, Engine, Options, Put, RecordId, Scope};

use crate::support::{SMALL_PAGES, World, bytes, read_record, user};

/// Every byte of a store's log.
fn log(dir: &Path) -> Vec<u8> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect()
}

/// How often a piece of these bytes stands in the log: each piece of 16, counted alone.
fn found(log: &[u8], blob: &[u8]) -> usize {
    let pieces: std::collections::HashSet<&[u8]> = blob.chunks_exact(16).collect();
    log.windows(16).filter(|window| pieces.contains(window)).count()
}

fn name(n: u8) -> BlobName {
    BlobName([n; 16])
}

fn head(commit: u64) -> Head {
    Head { id: HeadId { epoch: 1, commit }, bytes: bytes(commit, 300) }
}

#[test]
fn nothing_of_a_discarded_record_is_on_the_medium_of_the_store_and_its_copies() {
    for len in [600, 1500, 4000, 30_000, 600_000] {
        let dir = tempfile::tempdir().unwrap();
        let (place, copy) = (dir.path().join("store"), dir.path().join("copy"));
        let store: Arc<dyn Store> = Arc::new(SledStore::create(&place).unwrap());
        let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
        let options = Options::new().keeper(Keeper::ByHand);
        let engine = Engine::init(Arc::clone(&store), Arc::new(cell), options).unwrap();
        let put = |name: &str, n: u64| -> RecordId {
            engine.put(Put::new(user(name), Class::audio()), &bytes(n, len)[..]).unwrap()
        };
        let mut stays = vec![put("ben", 1)];
        for n in 2..6 {
            put("ada", n);
            stays.push(put("ben", 10 + n));
        }
        engine.copies().add(copy.to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
        let before = payload_names(&engine).unwrap();
        engine.erase(Scope::user(user("ada"))).unwrap();
        let live = payload_names(&engine).unwrap();
        let dead: Vec<Vec<u8>> = before
            .iter()
            .filter(|n| !live.contains(n))
            .map(|n| store.get(n).unwrap().unwrap())
            .collect();
        assert!(
            dead.len() >= 4 && dead.iter().all(|blob| found(&log(&place), blob) >= blob.len() / 16)
        );
        let done = engine.discard(&mut |_| {}).unwrap();
        assert!(done.complete() && done.blobs >= 8, "{done:?}");
        assert!(
            done.bytes_gone >= 2 * dead.iter().map(|b| b.len() as u64).sum::<u64>(),
            "{done:?}"
        );
        for place in [&place, &copy] {
            let log = log(place);
            for blob in &dead {
                assert_eq!(
                    found(&log, blob),
                    0,
                    "a record of {len} bytes is in {}",
                    place.display()
                );
            }
        }
        for (n, id) in stays.iter().enumerate() {
            assert_eq!(
                read_record(&engine, id).unwrap(),
                bytes(if n == 0 { 1 } else { 11 + n as u64 }, len)
            );
        }
        assert_eq!(engine.discard(&mut |_| {}).unwrap().blobs, 0);
        // An index that is lost after that loses nothing, and lists nothing twice.
        drop((engine, store));
        let usage = SledStore::open(&place).unwrap().usage().unwrap().blobs;
        std::fs::remove_dir_all(place.join("index")).unwrap();
        let engine = crate::support::open_files(&place, &dir.path().join("cell")).unwrap();
        for id in &stays {
            read_record(&engine, id).unwrap();
        }
        assert_eq!(engine.status().unwrap().usage.blobs, usage);
        assert_eq!(
            engine.discard(&mut |_| {}).unwrap().blobs,
            0,
            "what was discarded is listed again"
        );
    }
}

#[test]
fn a_copy_that_was_passed_over_is_reported() {
    let world = World::new(1, SMALL_PAGES);
    let engine = world.engine();
    let id = world.put("ada", Class::audio(), b"x");
    engine.copies().add("a", CopyMode::Behind, &mut |_| {}).unwrap();
    engine.erase(Scope::Record(id)).unwrap();
    let done = engine.discard(&mut |_| {}).unwrap();
    assert!(done.copies_skipped == 1 && !done.complete(), "a copy that is behind holds it still");
    engine.copies().sync(None, &mut |_| {}).unwrap();
    assert!(engine.discard(&mut |_| {}).unwrap().complete());
}

#[test]
fn what_was_put_twice_is_wiped_too() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    let blob = bytes(7, 2000);
    for n in [1, 2] {
        store.put(&[(name(9), blob.clone()), (name(n), bytes(n.into(), 500))]).unwrap();
    }
    store.commit(&[], None, &head(1)).unwrap();
    assert!(found(&log(&place), &blob) >= 250);
    store.remove(&[name(9)]).unwrap();
    store.remove(&[]).unwrap();
    assert_eq!(found(&log(&place), &blob), 0);
    for n in [1, 2] {
        assert_eq!(store.get(&name(n)).unwrap(), Some(bytes(n.into(), 500)));
    }
}

/// A frame with holes once passed for a write that was cut short, and a rebuilt index cut it off
/// with the commit after it.
#[test]
fn a_commit_after_discarded_blobs_outlives_the_index() {
    for len in [100, 20_000] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        let store = SledStore::create(&place).unwrap();
        store.commit(&[(name(1), bytes(1, 50))], None, &head(1)).unwrap();
        store.put(&[(name(2), bytes(2, len))]).unwrap();
        store.put(&[(name(3), bytes(3, len))]).unwrap();
        store.commit(&[(name(4), bytes(4, len))], Some(head(1).id), &head(2)).unwrap();
        let removed = store.remove(&[name(2)]).unwrap();
        assert_eq!((removed.gone, removed.left), (len as u64, 0));
        drop(store);
        std::fs::remove_dir_all(place.join("index")).unwrap();
        let store = SledStore::open(&place).unwrap();
        assert_eq!(store.head().unwrap(), Some(head(2)), "an acknowledged commit is lost");
        for n in [3, 4] {
            assert_eq!(store.get(&name(n)).unwrap(), Some(bytes(n.into(), len)));
        }
        assert_eq!(store.get(&name(2)).unwrap(), None);
        assert_eq!(store.usage().unwrap().blobs, 3);
    }
}

#[test]
fn a_memory_store_says_what_it_removed() {
    let store = MemoryStore::new();
    store.put(&[(name(1), vec![0; 10]), (name(2), vec![0; 5])]).unwrap();
    let removed = store.remove(&[name(1), name(7)]).unwrap();
    assert_eq!((removed.gone, removed.left), (10, 0));
}

#[test]
fn lengths_are_few_and_cost_a_sixteenth_at_most() {
    let mut classes = std::collections::BTreeSet::new();
    for length in (0..100_000).chain((100_000..40_000_000).step_by(9973)) {
        let padded = padded(length);
        assert!(padded >= length.max(1), "{length}");
        if length > 512 {
            assert!((padded - length) * 1000 <= length * 63, "{length}: {padded}");
        } else {
            assert!(padded.is_multiple_of(64) && padded < length + 65);
        }
        assert_eq!(keyfall::engine::padded(padded), padded, "a class is its own");
        classes.insert(padded);
    }
    assert!(classes.len() < 400, "{} lengths", classes.len());
    let longest = keyfall::limits::RECORD_MAX_BYTES;
    assert_eq!(padded(longest), longest);
}

#[test]
fn a_store_sees_a_class_of_lengths_and_no_length() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    let mut sizes =
        std::collections::BTreeMap::<u64, std::collections::BTreeSet<Vec<usize>>>::new();
    let lengths = [
        0, 1, 63, 64, 65, 200, 255, 256, 257, 511, 512, 513, 1337, 1400, 16_000, 16_383, 16_384,
        16_385, 200_001, 261_000, 262_143, 262_144, 262_145, 270_000, 1_000_001, 1_000_500,
        9_000_000, 9_000_001,
    ];
    let mut before = payload_names(engine).unwrap();
    for (n, len) in lengths.into_iter().enumerate() {
        let content = bytes(n as u64, len);
        let id = world.put("ada", Class::audio(), &content);
        assert!(read_record(engine, &id).unwrap() == content, "{len}");
        assert_eq!(engine.info(&id).unwrap().length, len as u64);
        let now = payload_names(engine).unwrap();
        let new = now.iter().filter(|name| !before.contains(name));
        let mut blobs: Vec<usize> =
            new.map(|name| world.store.get(name).unwrap().unwrap().len()).collect();
        blobs.sort_unstable();
        // Pages of 1,024 bytes take payloads of 128 in; what a store sees of one is their length.
        assert_eq!(blobs.is_empty(), len <= 128, "{len}");
        if !blobs.is_empty() {
            sizes.entry(padded(len as u64)).or_default().insert(blobs);
        }
        before = now;
        // From the middle too.
        let mut reader = engine.get(&id).unwrap();
        std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(len as u64 / 2)).unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut rest).unwrap();
        assert!(rest == content[len / 2..], "{len}");
    }
    assert!(sizes.values().all(|of_class| of_class.len() == 1), "{sizes:?}");
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// In which of these files each text stands.
fn stands(files: &[PathBuf], texts: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        for text in texts {
            let (first, len) = (text.as_bytes()[0], text.len());
            let mut starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
            if starts.any(|(at, _)| bytes[at..].get(..len) == Some(text.as_bytes())) {
                found.insert((*text).to_owned(), file.clone());
            }
        }
    }
    found
}

/// What an application calls its records and says of them stands in no log, no index, no cell and
/// no copy: while they live, after they fell, and when all is closed.
#[test]
fn a_name_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let builder = keyfall::Builder::at(place("store")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    engine.copies().add(place("copy").to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
    let texts = [
        "ada.whose.records.these.are",
        "kitchen/wake-at-six",
        "key-of-metadata",
        "value-of-metadata",
        "the-purpose-of-it",
        "a-name-to-come",
        "metadata-to-come",
        "page-of-a-person",
        "to-hear-it-again",
        "content-of-a-record",
        "class-of-its-own",
    ];
    let [ada, name, key, value, purpose, next, next_value, who, why, content, class] = texts;
    let put = |n: usize| {
        let put = Put::new(user(ada), Class::new(class).unwrap()).name(format!("{name}/{n}"));
        put.meta(key, value).purpose(purpose)
    };
    // Enough for trees of two levels; some replace others.
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(engine.put(put(n % 200), format!("{content} {n}").as_bytes()).unwrap());
    }
    let text = Put::new(user(ada), Class::transcript()).name(format!("{name}.txt"));
    let text = text.derived_from(ids[299]);
    ids.push(engine.put(text, content.repeat(30_000).as_bytes()).unwrap());
    engine.open_as(&ids[299], who, why).unwrap();
    engine.get_as(&ids[298], who, why).unwrap();
    for finishes in [true, false] {
        let put = put(1000 + usize::from(finishes)).name(format!("{next}/{finishes}"));
        let upload = engine.uploads().begin(put.meta(key, next_value)).unwrap();
        engine.uploads().append(&upload, 0, content.as_bytes()).unwrap();
        if finishes {
            engine.uploads().finish(&upload).unwrap();
        }
    }
    let backup = SledStore::create(&place("backup")).unwrap();
    engine.backup(&backup, &mut |_| {}).unwrap();
    assert_eq!(engine.find(&user(ada), &format!("{name}/7")).unwrap().meta[key], value);

    assert_eq!(stands(&files(dir.path()), &texts), BTreeMap::new());
    engine.erase(Scope::record(ids[299])).unwrap();
    assert_eq!(stands(&files(dir.path()), &texts), BTreeMap::new());
    engine.erase(Scope::user(user(ada))).unwrap();
    drop(backup);
    engine.close().unwrap();
    assert_eq!(stands(&files(dir.path()), &texts), BTreeMap::new());
    // The search is not blind, in whichever of the files a text stands.
    let all = files(dir.path());
    assert!(all.iter().any(|file| file.starts_with(place("store/index"))), "{all:?}");
    for file in all {
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, [&whole[..], name.as_bytes()].concat()).unwrap();
        assert_eq!(stands(std::slice::from_ref(&file), &texts).get(name), Some(&file));
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 }
        })
    })
}

/// A log in which each 64 bytes are the header of a frame that goes on to the end, or says that it
/// has a long table or a long head.
fn crafted(len: u64, kind: usize) -> Vec<u8> {
    let mut log = Vec::with_capacity(len as usize);
    while (log.len() as u64) < len {
        let at = log.len() as u64;
        let rest = len - at - 64;
        let (blobs, head, body) = match kind {
            0 => (0, 0, rest),
            1 => ((rest / 48) as u32, 0, rest / 48 * 28),
            2 => (0, (rest.saturating_sub(16)).min(262_000) as u32, 0),
            _ => (0, 0, rest / 2),
        };
        let synced = if kind == 3 { at + 64 } else { 0 };
        let mut header = [
            &b"KFFRAME1"[..],
            &1u32.to_be_bytes(),
            &at.to_be_bytes(),
            &1u32.to_be_bytes(),
            &synced.to_be_bytes(),
            &blobs.to_be_bytes(),
            &head.to_be_bytes(),
            &body.to_be_bytes(),
            &[0; 8],
            &0u32.to_be_bytes(),
        ]
        .concat();
        header.extend(crc32(&header).to_be_bytes());
        assert_eq!(header.len(), 64);
        log.extend(header);
    }
    log
}

#[test]
fn a_crafted_log_is_read_in_time_that_grows_as_its_length() {
    for kind in 0..4 {
        let work = [4 << 20, 8 << 20].map(|len| read_to_open(&crafted(len, kind)).0);
        assert!(work[1] <= 4 * (8 << 20), "kind {kind}: {work:?} bytes read");
        assert!(work[1] <= work[0] * 5 / 2 + (1 << 20), "kind {kind}: {work:?}");
    }
}
