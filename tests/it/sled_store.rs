//! The default store on real files: what a crash, a cut or a lost index leaves. SPEC §9.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::engine::CopyMode;
use keyfall::env::System;
use keyfall::store::BlobName;
use keyfall::store::{Head, HeadId, Published, SledStore, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope, testing};

use crate::support::{bytes, error_kind, open_files, read_record, user};

fn name(n: u64) -> BlobName {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    name[8..].copy_from_slice(&n.to_be_bytes());
    BlobName(name)
}

fn commit(store: &SledStore, n: u64) {
    let over = (n > 1).then(|| HeadId { epoch: 1, commit: n - 1 });
    let head = Head { id: HeadId { epoch: 1, commit: n }, bytes: bytes(n, 500) };
    assert_eq!(store.commit(&[(name(n), bytes(n, 3000))], over, &head).unwrap(), Published::Done);
}

fn check(store: &SledStore, upto: u64) {
    for n in 1..=upto {
        assert_eq!(store.get(&name(n)).unwrap(), Some(bytes(n, 3000)), "blob {n} of {upto}");
    }
    let head = store.head().unwrap().unwrap();
    assert_eq!((head.id.commit, head.bytes), (upto, bytes(upto, 500)));
}

/// What a crash leaves: the files as they are, without the closing of the store.
fn crashed(dir: &Path, to: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            crashed(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    crashed(dir, copy.path());
    copy
}

/// What a crash leaves of a log that was changed, or never written so far. The index may know more
/// than such a log, as it was synced later: it is taken away.
fn crashed_with(place: &Path, change: impl FnOnce(&File)) -> tempfile::TempDir {
    let copy = copy_of(place);
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    change(&OpenOptions::new().write(true).open(copy.path().join("log/00000001.log")).unwrap());
    copy
}

/// Where the frames of a log end and zeros begin.
fn end_of(log: &Path) -> u64 {
    let bytes = std::fs::read(log).unwrap();
    bytes.iter().rposition(|b| *b != 0).map_or(0, |last| (last as u64 + 1).next_multiple_of(64))
}

#[test]
fn repeated_commits_write_zeros_ahead_and_none_stay() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let log = place.join("log/00000001.log");
    let len = || std::fs::metadata(&log).unwrap().len();
    let store = SledStore::create(&place).unwrap();
    commit(&store, 1);
    assert_eq!(len(), end_of(&log), "who commits once and goes writes no zeros");
    commit(&store, 2);
    let ahead = len();
    assert!(ahead > end_of(&log) + 100_000);
    (3..=20).for_each(|n| commit(&store, n));
    assert_eq!(len(), ahead, "frames go where the zeros were");
    let crash = copy_of(&place);
    let opened = SledStore::open(crash.path()).unwrap();
    check(&opened, 20);
    commit(&opened, 21);
    drop(opened);
    check(&SledStore::open(crash.path()).unwrap(), 21);
    drop(store);
    assert_eq!(len(), end_of(&log), "a close takes them back");
    let store = SledStore::open(&place).unwrap();
    check(&store, 20);
    for n in 0..8 {
        store.put(&[(name(1000 + n), bytes(n, 200_000))]).unwrap();
        assert_eq!(len(), end_of(&log), "what is put by itself has none behind it");
    }
    commit(&store, 21);
    assert!(len() > end_of(&log) + 100_000, "but who commits much has, for an erase may be next");
}

#[test]
fn a_cut_in_the_tail_loses_only_what_was_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let log = place.join("log/00000001.log");
    let store = SledStore::create(&place).unwrap();
    let mut ends = Vec::new();
    for n in 1..=12 {
        commit(&store, n);
        ends.push(end_of(&log));
    }
    // The running store has not closed its index: each cut is a crash at another moment.
    for cut in (0..=ends[11]).step_by(509).chain(ends.iter().copied()) {
        let copy = crashed_with(&place, |log| log.set_len(cut).unwrap());
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        let store = SledStore::open(copy.path()).unwrap();
        match whole {
            0 => assert!(store.head().unwrap().is_none()),
            n => check(&store, n),
        }
        if whole > 0 {
            commit(&store, whole + 1);
            drop(store);
            check(&SledStore::open(copy.path()).unwrap(), whole + 1);
        }
    }
}

#[test]
fn a_long_frame_goes_out_in_pieces_and_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    commit(&store, 1);
    let log = place.join("log/00000001.log");
    let start = end_of(&log);
    // Around the length of a piece, 256 KiB, and many short ones between.
    let lengths = [262_144, 0, 262_143, 1, 262_145, 100_000, 100_000, 62_144, 262_000]
        .into_iter()
        .chain([3000; 300]);
    let blobs: Vec<_> = (1000..).zip(lengths).map(|(n, len)| (name(n), bytes(n, len))).collect();
    let head = |n: u64| Head { id: HeadId { epoch: 1, commit: n }, bytes: bytes(n, 500) };
    let first = Some(head(1).id);
    assert_eq!(store.commit(&blobs, first, &head(2)).unwrap(), Published::Done);
    let end = end_of(&log);
    let copy = crashed_with(&place, |_| {});
    let whole = SledStore::open(copy.path()).unwrap();
    assert_eq!(whole.head().unwrap(), Some(head(2)));
    for (name, bytes) in &blobs {
        assert_eq!(whole.get(name).unwrap().as_ref(), Some(bytes), "{} bytes", bytes.len());
    }
    // A crash can leave all but the header; or any beginning, or a sector less.
    let torn = |change: &dyn Fn(&File)| {
        let copy = crashed_with(&place, change);
        let store = SledStore::open(copy.path()).unwrap();
        assert_eq!(store.head().unwrap(), Some(head(1)));
        assert!(
            blobs.iter().all(|(name, _)| !store.contains(name).unwrap()),
            "nothing of it is left"
        );
        assert_eq!(store.commit(&blobs, first, &head(2)).unwrap(), Published::Done);
    };
    torn(&|f| f.write_all_at(&[0; 64], start).unwrap());
    for at in (start + 1..end).step_by(150_001) {
        torn(&|f| f.set_len(at).unwrap());
        torn(&|f| f.write_all_at(&[0; 512], at.min(end - 512)).unwrap());
    }
}

#[test]
fn a_lost_or_old_index_is_brought_up_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    (1..=5).for_each(|n| commit(&store, n));
    let old = copy_of(&place);
    (6..=9).for_each(|n| commit(&store, n));
    store.remove(&[name(3)]).unwrap();
    drop(store);
    for index in [None, Some(old.path().join("index"))] {
        let copy = copy_of(&place);
        std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        if let Some(index) = index {
            std::fs::create_dir(copy.path().join("index")).unwrap();
            crashed(&index, &copy.path().join("index"));
        }
        let store = SledStore::open(copy.path()).unwrap();
        for n in [1, 2, 4, 5, 6, 7, 8, 9] {
            assert_eq!(store.get(&name(n)).unwrap(), Some(bytes(n, 3000)), "blob {n}");
        }
        assert_eq!(store.head().unwrap().unwrap().id.commit, 9);
    }
}

#[test]
fn damage_before_the_acknowledged_end_is_corrupt_not_a_shorter_store() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    (1..=6).for_each(|n| commit(&store, n));
    // The header of the second frame: what follows it says that it was synced.
    let second = end_of(&place.join("log/00000001.log")) / 6;
    let copy = crashed_with(&place, |log| log.write_all_at(&[0xFF; 8], second).unwrap());
    assert_eq!(error_kind(SledStore::open(copy.path())), ErrorKind::Corrupt);
}

#[test]
fn removed_blobs_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    let blobs: Vec<_> = (0..200).map(|n| (name(n), bytes(n, 200_000))).collect();
    for blob in &blobs {
        store.put(std::slice::from_ref(blob)).unwrap();
    }
    commit(&store, 1);
    let before = store.usage().unwrap();
    assert_eq!(before.blobs, 200, "one of the names is the commit's");
    store.remove(&blobs[2..].iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap();
    let after = store.usage().unwrap();
    assert_eq!(after.blobs, 2);
    assert!(after.bytes < before.bytes / 10, "{before:?} {after:?}");
    drop(store);
    let store = SledStore::open(&place).unwrap();
    assert_eq!(store.get(&name(0)).unwrap(), Some(bytes(0, 200_000)));
    assert_eq!(store.get(&name(7)).unwrap(), None);
}

#[test]
fn a_place_that_is_no_store_is_reported_as_such() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(error_kind(SledStore::open(&dir.path().join("nowhere"))), ErrorKind::Absent);
    assert_eq!(error_kind(SledStore::open(dir.path())), ErrorKind::Absent);
    std::fs::write(dir.path().join("something"), "else").unwrap();
    assert_eq!(error_kind(SledStore::create(dir.path())), ErrorKind::Exists);
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    assert_eq!(error_kind(SledStore::create(&place)), ErrorKind::Locked);
    assert_eq!(error_kind(SledStore::open(&place)), ErrorKind::Locked);
    commit(&store, 1);
    assert_eq!(error_kind(SledStore::create(&place)), ErrorKind::Exists);
    drop(store);
    let marker = std::fs::read(place.join("keyfall")).unwrap();
    for at in 0..marker.len() {
        let mut other = marker.clone();
        other[at] ^= 1;
        std::fs::write(place.join("keyfall"), other).unwrap();
        let refused = error_kind(SledStore::open(&place));
        assert!(
            matches!(refused, ErrorKind::Refused | ErrorKind::Corrupt),
            "byte {at}: {refused:?}"
        );
    }
    std::fs::write(place.join("keyfall"), "keyfall store, format 9\n").unwrap();
    assert_eq!(error_kind(SledStore::open(&place)), ErrorKind::Refused);
    std::fs::write(place.join("keyfall"), marker).unwrap();
    SledStore::open(&place).unwrap();
}

/// Names that a closed store's index has: in each entry 11 bytes and four varints for each.
fn indexed(store: &Path) -> usize {
    let index = sled::open(store.join("index")).unwrap();
    let names = |entry: &[u8]| {
        let (mut at, mut names) = (0, 0);
        while at < entry.len() {
            at += 11;
            for _ in 0..4 {
                at += 1 + entry[at..].iter().take_while(|byte| **byte >= 0x80).count();
            }
            names += 1;
        }
        names
    };
    index.scan_prefix(b"p").values().map(|entry| names(&entry.unwrap())).sum()
}

#[test]
fn the_index_has_only_blobs_that_lie_elsewhere_than_their_names_say() {
    let dir = tempfile::tempdir().unwrap();
    let (place, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = SledStore::create(&place).unwrap();
    let cell = FileCell::create(&dir.path().join("cell"), true, Arc::new(System)).unwrap();
    let engine = Engine::init(Arc::new(store), Arc::new(cell), Options::default()).unwrap();
    let mut ids = Vec::new();
    // So few that a discard moves none of them.
    for n in 0..24u64 {
        // Of all kinds: with the commit, streamed, of several segments.
        let len = [20, 9_000, 70_000, 300_000][n as usize % 4];
        let id = engine
            .put(Put::new(user(&format!("u{}", n % 7)), Class::audio()), &bytes(n, len)[..])
            .unwrap();
        ids.push((id, n, len));
    }
    engine.erase(Scope::user(user("u3"))).unwrap();
    ids.retain(|(_, n, _)| n % 7 != 3);
    let done = testing::discard_in_windows(&engine, 50).unwrap();
    assert!(done.blobs > 40, "{done:?}");
    engine.copies().add(copy.to_str().unwrap(), CopyMode::Behind, &mut |_| {}).unwrap();
    let blobs = engine.status().unwrap().usage.blobs as usize;
    drop(engine);
    let later_segments = ids.iter().filter(|(_, _, len)| *len == 300_000).count();
    assert_eq!(indexed(&place), later_segments, "their names come from their record's secret");
    let copied = indexed(&copy);
    assert!(
        (blobs - 20..=blobs + 20).contains(&copied),
        "a copy has its own places: {copied} of {blobs}"
    );

    // Without the index, and with the directory elsewhere.
    std::fs::remove_dir_all(place.join("index")).unwrap();
    let moved = dir.path().join("moved");
    std::fs::rename(&place, &moved).unwrap();
    let engine = open_files(&moved, &dir.path().join("cell")).unwrap();
    for (id, n, len) in &ids {
        assert_eq!(read_record(&engine, id).unwrap(), bytes(*n, *len));
    }
    drop(engine);
    assert_eq!(
        indexed(&moved),
        later_segments,
        "the rebuilt index has none of those that were given back"
    );
}

#[test]
fn what_an_interrupted_create_leaves_is_no_obstacle() {
    let leavings: [&[&str]; 4] =
        [&[], &["log"], &["log", "index"], &["log", "index", "keyfall.new"]];
    for left in leavings {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("lock")).unwrap();
        for name in left {
            let path = dir.path().join(name);
            if *name == "keyfall.new" {
                drop(File::create(path).unwrap())
            } else {
                std::fs::create_dir(path).unwrap()
            }
        }
        assert_eq!(error_kind(SledStore::open(dir.path())), ErrorKind::Absent, "{left:?}");
        commit(&SledStore::open_or_create(dir.path()).unwrap(), 1);
        check(&SledStore::open(dir.path()).unwrap(), 1);
        assert_eq!(error_kind(SledStore::create(dir.path())), ErrorKind::Exists);
        // A store that has lost its marker holds somebody's data.
        std::fs::remove_file(dir.path().join("keyfall")).unwrap();
        assert_eq!(error_kind(SledStore::create(dir.path())), ErrorKind::Exists);
    }
    let dir = tempfile::tempdir().unwrap();
    drop(SledStore::create(dir.path()).unwrap());
    drop(SledStore::create(dir.path()).unwrap());
    File::create(dir.path().join("log/other")).unwrap().write_at(b"x", 0).unwrap();
    assert_eq!(error_kind(SledStore::create(dir.path())), ErrorKind::Exists);
}

#[test]
fn the_index_learns_beside_and_a_crash_may_come_at_any_moment_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    let (each, commits) = (10_000, 8);
    let id = |commit: u64| HeadId { epoch: 1, commit };
    let mut crashes = Vec::new();
    for commit in 1..=commits {
        let blobs: Vec<_> =
            ((commit - 1) * each..commit * each).map(|n| (name(n), bytes(n, 16))).collect();
        let head = Head { id: id(commit), bytes: bytes(commit, 500) };
        let over = (commit > 1).then(|| id(commit - 1));
        assert_eq!(store.commit(&blobs, over, &head).unwrap(), Published::Done);
        if commit >= 7 {
            // 65,536 blobs and more: the index is being told of them.
            crashes.push((commit, copy_of(&place)));
        }
        for n in (0..commit * each).step_by(997) {
            assert_eq!(
                store.get(&name(n)).unwrap(),
                Some(bytes(n, 16)),
                "blob {n} at commit {commit}"
            );
        }
    }
    let whole = |store: &SledStore, commits: u64| {
        assert_eq!(store.usage().unwrap().blobs, commits * each);
        assert_eq!(keyfall::testing::listed(store, 1000).unwrap().len() as u64, commits * each);
        assert!((0..commits * each).all(|n| store.get(&name(n)).unwrap() == Some(bytes(n, 16))));
        assert_eq!(store.head().unwrap().unwrap().id, id(commits));
    };
    for (commits, crash) in crashes {
        whole(&SledStore::open(crash.path()).unwrap(), commits);
    }
    whole(&store, commits);
    let gone: Vec<_> = (0..commits * each).step_by(2).map(name).collect();
    store.remove(&gone).unwrap();
    assert_eq!(store.usage().unwrap().blobs, commits * each / 2);
    drop(store);
    let store = SledStore::open(&place).unwrap();
    assert_eq!(store.usage().unwrap().blobs, commits * each / 2);
    assert_eq!(
        (store.get(&name(0)).unwrap(), store.get(&name(1)).unwrap()),
        (None, Some(bytes(1, 16)))
    );
}

/// Opening the log without its index took damage to the last frame for a write that was cut short,
/// even where the frame had been synced.
#[test]
fn without_an_index_a_closed_log_that_lost_its_end_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    (1..=3).for_each(|n| commit(&store, n));
    check(&SledStore::look(copy_of(&place).path()).unwrap(), 3);
    drop(store);
    let log = "log/00000001.log";
    let end = end_of(&place.join(log));
    let third = end / 3 * 2;
    let flipped = |at: u64| {
        let copy = copy_of(&place);
        let mut bytes = std::fs::read(copy.path().join(log)).unwrap();
        bytes[at as usize] ^= 1;
        std::fs::write(copy.path().join(log), bytes).unwrap();
        copy
    };
    let cut = |len: u64| {
        let copy = copy_of(&place);
        OpenOptions::new().write(true).open(copy.path().join(log)).unwrap().set_len(len).unwrap();
        copy
    };
    // In the header, in the head; cut within the frame and before it; gone.
    for copy in [flipped(third + 9), flipped(end - 100), cut(end - 64), cut(third), cut(0)] {
        assert_eq!(error_kind(SledStore::look(copy.path())), ErrorKind::Corrupt);
        // The index knows the end: what lies below it is checked when it is read.
        match SledStore::open(copy.path()) {
            Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt),
            Ok(opened) => match opened.head() {
                Ok(head) => assert_eq!(head.unwrap().id.commit, 3),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt),
            },
        }
        std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        assert_eq!(
            error_kind(SledStore::open(copy.path())),
            ErrorKind::Corrupt,
            "nothing is cut off for good"
        );
        // Where it is not known how far the log was synced, it may have been cut short.
        std::fs::remove_file(copy.path().join("synced")).unwrap();
        SledStore::look(copy.path()).unwrap();
    }
    let copy = copy_of(&place);
    std::fs::remove_file(copy.path().join(log)).unwrap();
    assert_eq!(error_kind(SledStore::look(copy.path())), ErrorKind::Corrupt);
    // In a blob: the frame stays, and opening the blob finds the damage.
    let copy = flipped(third + 200);
    assert_eq!(SledStore::look(copy.path()).unwrap().head().unwrap().unwrap().id.commit, 3);
    // A mark that is older, or torn, is no obstacle.
    let copy = copy_of(&place);
    let opened = SledStore::open(copy.path()).unwrap();
    commit(&opened, 4);
    std::fs::copy(place.join("synced"), copy.path().join("synced")).unwrap();
    check(&SledStore::look(copy_of(copy.path()).path()).unwrap(), 4);
    std::fs::write(copy.path().join("synced"), "KFSYNCED").unwrap();
    check(&SledStore::look(copy_of(copy.path()).path()).unwrap(), 4);
}

#[test]
fn a_store_whose_marker_is_damaged_or_lost_is_no_place_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let marker = place.join("keyfall");
    drop(SledStore::create(&place).unwrap());
    std::fs::remove_file(&marker).unwrap();
    assert_eq!(
        error_kind(SledStore::open(&place)),
        ErrorKind::Absent,
        "nothing was ever put into it"
    );
    commit(&SledStore::create(&place).unwrap(), 1);
    let whole = std::fs::read(&marker).unwrap();
    let mut foreign = whole.clone();
    foreign[40] = 0xFF;
    for bytes in [&foreign[..], &[0xFF; 9], b"", &whole[..10], &whole[..whole.len() - 1]] {
        std::fs::write(&marker, bytes).unwrap();
        assert_eq!(error_kind(SledStore::open(&place)), ErrorKind::Corrupt, "{bytes:?}");
        assert_eq!(error_kind(SledStore::look(&place)), ErrorKind::Corrupt, "{bytes:?}");
    }
    std::fs::remove_file(&marker).unwrap();
    for opened in
        [SledStore::open(&place), SledStore::look(&place), SledStore::open_or_create(&place)]
    {
        let e = opened.unwrap_err();
        assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains("is missing"), "{e:?}");
    }
    std::fs::write(&marker, whole).unwrap();
    check(&SledStore::open(&place).unwrap(), 1);
}

#[test]
fn an_index_longer_than_its_log_explains_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = SledStore::create(&place).unwrap();
    (1..=3).for_each(|n| commit(&store, n));
    drop(store);
    // A hole of a TiB, which sled would read.
    let db = place.join("index/db");
    OpenOptions::new().write(true).open(&db).unwrap().set_len(1 << 40).unwrap();
    check(&SledStore::open(&place).unwrap(), 3);
    assert!(db.metadata().unwrap().len() < 64 << 20);
    let store = SledStore::open(&place).unwrap();
    commit(&store, 4);
    check(&store, 4);
}
