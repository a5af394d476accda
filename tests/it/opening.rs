//! The paved path: both are made, a making that was cut short is finished, and of one without the
//! other it is said which is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::{FileCell, MemoryCell, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::engine::{Geometry, Keeper};
use keyfall::env::System;
use keyfall::promise::RootId;
use keyfall::store::StoreId;
use keyfall::store::{Claimed, MemoryStore, SledStore, Store};
use keyfall::{
    Builder, Class, Engine, ErrorKind, InteractionId, Put, Query, RecordId, Result, Timestamp,
};

use crate::support::{World, copy, user};

const SMALL: Geometry = Geometry { page_bytes: 1024, fan_bits: 2, ..Geometry::DEFAULT };

/// A directory with a place for a store in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The store `db`; whatever the file system is.
    fn db(&self) -> Builder {
        Builder::at(self.path("db")).accept_remnants().keeper(Keeper::ByHand)
    }
}

fn put(engine: &Engine) -> RecordId {
    engine.put(Put::new(user("ada"), Class::audio()), &b"hello"[..]).unwrap()
}

fn read(engine: &Engine, id: &RecordId) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    engine.get_to(id, &mut out).map(|_| out)
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

fn message<T: std::fmt::Debug>(outcome: Result<T>, expected: ErrorKind) -> String {
    let e = outcome.unwrap_err();
    assert_eq!(e.kind(), expected, "{e}");
    e.to_string()
}

/// Names and contents of all files below a directory, but for locks.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            all.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn open_makes_a_store_and_its_cell_and_opens_them_the_next_time() {
    let place = Place::new();
    let engine = match keyfall::open(place.path("db")) {
        // A file system that keeps old bytes is refused, and nothing is left.
        Err(e) if e.kind() == ErrorKind::Medium => {
            assert!(!place.path("db").exists() && e.to_string().contains("accept_remnants"), "{e}");
            return;
        }
        opened => opened.unwrap(),
    };
    assert!(place.path("db/keyfall").is_file() && place.path("db.cell/slot-a").is_file());
    let id = put(&engine);
    engine.close().unwrap();
    let engine = keyfall::open(place.path("db")).unwrap();
    assert_eq!(read(&engine, &id).unwrap(), b"hello");
    assert_eq!(engine.read_only(), None);
}

#[test]
fn one_without_the_other_is_refused_and_named() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    let id = put(&engine);
    engine.close().unwrap();
    std::fs::rename(place.path("db.cell"), place.path("away")).unwrap();
    let e = message(place.db().open_or_create(), ErrorKind::Absent);
    assert!(e.contains("its root cell") && e.contains("db.cell") && e.contains("missing"), "{e}");
    let e = message(place.db().open(), ErrorKind::Absent);
    assert!(e.contains("db.cell"), "{e}");
    assert!(!place.path("db.cell").exists(), "a cell is never made for a store");
    std::fs::rename(place.path("away"), place.path("db.cell")).unwrap();
    std::fs::rename(place.path("db"), place.path("away")).unwrap();
    for outcome in [place.db().open_or_create(), place.db().open()] {
        let e = message(outcome, ErrorKind::Absent);
        assert!(
            e.contains("no store at")
                && e.contains("restore")
                && e.contains("do not remove the cell"),
            "{e}"
        );
    }
    assert_eq!(kind(place.db().create()), ErrorKind::Exists);
    assert!(!place.path("db").exists(), "a store is never made over a cell that holds a key");
    // Somebody made the directory again, as a container does for a volume that is not there.
    std::fs::create_dir(place.path("db")).unwrap();
    message(place.db().open_or_create(), ErrorKind::Absent);
    std::fs::remove_dir(place.path("db")).unwrap();
    std::fs::rename(place.path("away"), place.path("db")).unwrap();
    assert_eq!(read(&place.db().open_or_create().unwrap(), &id).unwrap(), b"hello");
    let e = message(Builder::at(place.path("nowhere")).open(), ErrorKind::Absent);
    assert!(
        e.contains("make one with `Builder::create`") && !place.path("nowhere").exists(),
        "{e}"
    );
}

/// What an init leaves that is cut short after so many of its steps.
fn cut_short(place: &Place, steps: usize) {
    let store = SledStore::create(&place.path("db")).unwrap();
    if steps == 0 {
        return;
    }
    let cell = FileCell::create(&place.path("db.cell"), true, Arc::new(System)).unwrap();
    if steps == 1 {
        return;
    }
    let claimed = Claimed { instance: [2; 16], claim: 1, known: [0; 16], next: [3; 16] };
    store.claim(&claimed).unwrap();
    if steps == 2 {
        return;
    }
    let id = StoreId([7; 16]);
    cell.claim(id, &Owner { instance: [2; 16], claim: 1, token: [3; 16] }, 0).unwrap();
    if steps == 3 {
        return;
    }
    cell.deposit(id, &RootId { epoch: 1, attempt: [1; 16] }, &Key::copied_from(&[9; 32])).unwrap();
}

#[test]
fn a_making_that_was_cut_short_is_finished() {
    // The last one is a key without a directory beside it.
    for steps in 0..6 {
        let place = Place::new();
        cut_short(&place, steps);
        if steps == 5 {
            std::fs::remove_dir_all(place.path("db")).unwrap();
        }
        let engine = place.db().open_or_create().unwrap_or_else(|e| panic!("{steps}: {e}"));
        assert_eq!(engine.read_only(), None, "{steps}");
        let id = put(&engine);
        engine.rekey().unwrap();
        engine.close().unwrap();
        for open in [Builder::open_or_create, Builder::open] {
            let engine = open(&place.db()).unwrap_or_else(|e| panic!("{steps}: {e}"));
            assert_eq!(
                (engine.read_only(), read(&engine, &id).unwrap()),
                (None, b"hello".to_vec()),
                "{steps}"
            );
        }
    }
}

/// Killed between the files of a cell's slots and what is written into them, it was taken for a
/// damaged cell by whoever opened it next.
#[test]
fn a_cell_whose_slots_hold_nothing_yet_is_finished() {
    for bytes in [0, 4096] {
        let place = Place::new();
        cut_short(&place, 0);
        std::fs::create_dir(place.path("db.cell")).unwrap();
        for slot in ["slot-a", "slot-b"] {
            std::fs::write(place.path("db.cell").join(slot), vec![0; bytes]).unwrap();
        }
        let engine = place.db().open_or_create().unwrap_or_else(|e| panic!("{bytes}: {e}"));
        put(&engine);
        engine.close().unwrap();
        // Over a store that is whole it is a cell that is missing.
        for slot in ["slot-a", "slot-b", "claim-a", "claim-b"] {
            std::fs::write(place.path("db.cell").join(slot), vec![0; bytes]).unwrap();
        }
        assert_ne!(kind(place.db().open_or_create()), ErrorKind::Exists, "{bytes}");
    }
}

/// The files of a store's claims, and how long each is; `None` for one that is not there.
fn claims(place: &Place) -> [Option<u64>; 2] {
    let bytes = |file: &str| std::fs::metadata(place.path("db").join("log").join(file));
    ["claim-a", "claim-b"].map(|file| bytes(file).ok().map(|about| about.len()))
}

/// The second was made by the second opening: on a disk that was full by then the store did not
/// open, and nothing could be erased.
#[test]
fn a_new_store_has_room_for_the_claim_of_its_next_opening() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    let id = put(&engine);
    engine.close().unwrap();
    assert_eq!(claims(&place), [Some(68); 2]);
    // Killed between the two, or made before both were: whichever is there counts.
    let log = place.path("db").join("log");
    std::fs::remove_file(log.join("claim-a")).unwrap();
    for _ in 0..2 {
        let engine = place.db().open().unwrap();
        assert_eq!(read(&engine, &id).unwrap(), b"hello");
        engine.close().unwrap();
        assert_eq!(claims(&place), [Some(68); 2]);
    }
    // The older one is empty, half of it or zeros: as if it were not there.
    for torn in [0, 30, 68] {
        let number = |file: &&str| std::fs::read(log.join(file)).unwrap()[24..32].to_vec();
        let older = ["claim-a", "claim-b"].into_iter().min_by_key(number).unwrap();
        std::fs::write(log.join(older), &[0; 68][..torn]).unwrap();
        let engine = place.db().open().unwrap();
        assert_eq!(read(&engine, &id).unwrap(), b"hello");
        engine.close().unwrap();
        assert_eq!(claims(&place), [Some(68); 2]);
    }
}

#[test]
fn what_a_restore_left_that_was_cut_short_is_no_store_to_be_made_over() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    put(&engine);
    let blobs = SledStore::create(&place.path("new")).unwrap();
    engine.backup(&blobs, &mut |_| {}).unwrap();
    engine.close().unwrap();
    drop(blobs);
    // It has blobs and a head, and no cell.
    let e = message(
        Builder::at(place.path("new")).accept_remnants().open_or_create(),
        ErrorKind::Absent,
    );
    assert!(e.contains("new.cell"), "{e}");
    assert!(!place.path("new.cell").exists());
}

#[test]
fn a_backup_that_is_opened_is_looked_at_and_stays_as_it_is() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    let id = put(&engine);
    let blobs = SledStore::create(&place.path("bk")).unwrap();
    engine.backup(&blobs, &mut |_| {}).unwrap();
    engine.close().unwrap();
    drop(blobs);
    let before = files(&place.path("bk"));
    let backup =
        Builder::at(place.path("bk")).cell_at(place.path("db.cell")).keeper(Keeper::ByHand);
    for builder in [backup.clone(), backup.clone().read_only()] {
        let engine = builder.open().unwrap();
        assert!(engine.read_only().is_some());
        assert_eq!(read(&engine, &id).unwrap(), b"hello");
        assert_eq!(
            kind(engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..])),
            ErrorKind::Fenced
        );
        engine.close().unwrap();
    }
    assert!(backup.open_or_create().unwrap().read_only().is_some());
    assert_eq!(files(&place.path("bk")), before);
    // The owner is what it was; then the other one takes over.
    assert_eq!(place.db().open().unwrap().read_only(), None);
    assert_eq!(backup.clone().take_over().open().unwrap().read_only(), None);
    assert!(place.db().open().unwrap().read_only().is_some());
    for builder in [backup.clone().take_over(), backup.read_only()] {
        assert_eq!(kind(builder.open_or_create()), ErrorKind::Invalid);
    }
}

#[test]
fn a_look_changes_nothing_and_needs_no_lock_on_the_cell() {
    let place = Place::new();
    let id = put(&place.db().open_or_create().unwrap());
    let before = (files(&place.path("db")), files(&place.path("db.cell")));
    let look = place.db().read_only().open().unwrap();
    let beside = place.db().read_only().open().unwrap();
    assert_eq!(read(&look, &id).unwrap(), b"hello");
    assert_eq!(beside.list(&Query::default()).unwrap().records.len(), 1);
    assert_eq!(kind(look.rekey()), ErrorKind::Fenced);
    drop((look, beside));
    assert_eq!((files(&place.path("db")), files(&place.path("db.cell"))), before);
}

#[test]
fn a_store_that_is_gone_is_restored_by_the_builder_and_takes_over() {
    let place = Place::new();
    let elsewhere = place.db().cell_at(place.path("keys/cell"));
    let engine = elsewhere.open_or_create().unwrap();
    let id = put(&engine);
    engine.backup(&SledStore::create(&place.path("bk")).unwrap(), &mut |_| {}).unwrap();
    engine.close().unwrap();
    assert_eq!(kind(elsewhere.restore(&[place.path("bk")], &mut |_| {})), ErrorKind::Exists);
    std::fs::remove_dir_all(place.path("db")).unwrap();
    let e = message(place.db().restore(&[place.path("nobak")], &mut |_| {}), ErrorKind::Absent);
    assert!(e.contains("name a backup") && !place.path("db").exists(), "{e}");
    assert_eq!(kind(place.db().restore(&[place.path("db")], &mut |_| {})), ErrorKind::Refused);
    place.db().restore(&[place.path("bk")], &mut |_| {}).unwrap();
    // The file beside the place says where the cell is.
    let look = place.db().open().unwrap();
    assert!(look.read_only().is_some() && read(&look, &id).unwrap() == b"hello");
    look.close().unwrap();
    let engine = place.db().take_over().open().unwrap();
    assert_eq!(engine.read_only(), None);
    put(&engine);
}

#[test]
fn store_and_cell_lie_apart_and_in_nobody_elses() {
    let place = Place::new();
    place.db().create().unwrap().close().unwrap();
    for (store, cell) in
        [("new", "new/cell"), ("keys/new", "keys"), ("db/new", "cell"), ("new", "db.cell/new")]
    {
        let builder = Builder::at(place.path(store)).cell_at(place.path(cell)).accept_remnants();
        for outcome in [builder.create(), builder.open_or_create()] {
            let e = message(outcome, ErrorKind::Refused);
            assert!(e.contains("lies inside"), "{store} {cell}: {e}");
        }
    }
    assert!(
        !place.path("new").exists()
            && !place.path("keys").exists()
            && !place.path("db/new").exists()
    );
}

#[test]
fn a_cell_elsewhere_is_found_by_the_file_beside_the_store_and_bound_to_it() {
    let place = Place::new();
    let elsewhere = place.db().cell_at(place.path("keys/cell"));
    let id = put(&elsewhere.open_or_create().unwrap());
    assert!(place.path("db.cell").is_file() && place.path("keys/cell/slot-a").is_file());
    assert_eq!(read(&place.db().open_or_create().unwrap(), &id).unwrap(), b"hello");
    // Another store with its cell in their places.
    let other =
        Builder::at(place.path("other")).cell_at(place.path("keys/other")).accept_remnants();
    other.create().unwrap().close().unwrap();
    let swap = |from: &str, to: &str| std::fs::rename(place.path(from), place.path(to)).unwrap();
    swap("db", "away");
    swap("keys/cell", "keys/away");
    swap("other", "db");
    swap("keys/other", "keys/cell");
    let e = message(place.db().open(), ErrorKind::Mismatch);
    assert!(e.contains("bound to store"), "{e}");
    elsewhere.open().unwrap().close().unwrap();
}

#[test]
fn a_store_that_its_cell_does_not_fit_is_told_by_its_kind() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    put(&engine);
    engine.close().unwrap();
    copy(&place.path("db"), &place.path("old"));
    let engine = place.db().open().unwrap();
    engine.rekey().unwrap();
    engine.close().unwrap();
    let old = Builder::at(place.path("old")).cell_at(place.path("db.cell")).keeper(Keeper::ByHand);
    for builder in [old.clone(), old.clone().read_only(), old.take_over()] {
        let e = message(builder.open(), ErrorKind::Mismatch);
        assert!(e.contains("epoch 1") && e.contains("epoch 2"), "{e}");
    }
    Builder::at(place.path("other")).accept_remnants().create().unwrap().close().unwrap();
    let e = message(place.db().cell_at(place.path("other.cell")).open(), ErrorKind::Mismatch);
    assert!(e.contains("another store"), "{e}");
}

#[test]
fn adapters_of_ones_own_are_opened_by_the_same_builder() {
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let builder = Builder::over(store.clone(), cell.clone()).geometry(SMALL).keeper(Keeper::ByHand);
    assert_eq!(kind(builder.open()), ErrorKind::Absent);
    let engine = builder.open_or_create().unwrap();
    let id = put(&engine);
    engine.close().unwrap();
    assert_eq!(kind(builder.create()), ErrorKind::Exists);
    let engine = builder.open_or_create().unwrap();
    assert_eq!(
        (engine.status().unwrap().geometry, read(&engine, &id).unwrap()),
        (SMALL, b"hello".to_vec())
    );
    // The store is lost, and its cell is there.
    let e = message(
        Builder::over(Arc::new(MemoryStore::new()), cell).open_or_create(),
        ErrorKind::Corrupt,
    );
    assert!(e.contains("leave the cell as it is") && e.contains("restore"), "{e}");
    // A store in a directory, with a cell that an adapter provides.
    let place = Place::new();
    let mixed =
        Builder::at(place.path("db")).cell(Arc::new(MemoryCell::new())).keeper(Keeper::ByHand);
    let engine = mixed.open_or_create().unwrap();
    let id = put(&engine);
    engine.close().unwrap();
    assert_eq!(read(&mixed.open().unwrap(), &id).unwrap(), b"hello");
    assert!(!place.path("db.cell").exists());
    std::fs::remove_dir_all(place.path("db")).unwrap();
    message(mixed.open_or_create(), ErrorKind::Absent);
}

#[test]
fn closing_says_what_still_holds_the_engine() {
    for keeper in [Keeper::Thread, Keeper::ByHand] {
        let place = Place::new();
        let builder = place.db().keeper(keeper);
        let engine = builder.open_or_create().unwrap();
        let id = put(&engine);
        let (clone, reader, batch) = (engine.clone(), engine.get(&id).unwrap(), engine.batch());
        let e = message(engine.close(), ErrorKind::Locked);
        let held = if keeper == Keeper::Thread {
            "1 Engine and 2 Readers, Openings or Batches"
        } else {
            "3 handles"
        };
        assert!(e.contains(held), "{e}");
        assert_eq!(kind(builder.open()), ErrorKind::Locked);
        drop(batch);
        drop(reader);
        clone.close().unwrap();
        builder.open().unwrap().close().unwrap();
    }
}

/// An engine that replaces another one had to be started again and again until that was gone.
#[test]
fn opening_waits_for_the_lock_as_long_as_it_is_told_to() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    let began = std::time::Instant::now();
    let short = place.db().wait_for_lock(Duration::from_millis(120));
    for open in [short.open(), short.open_or_create()] {
        assert_eq!(kind(open), ErrorKind::Locked);
    }
    assert!(began.elapsed() >= Duration::from_millis(240));
    let long = place.db().wait_for_lock(Duration::from_secs(600));
    let waits = std::thread::spawn(move || long.open().map(|engine| engine.close()));
    std::thread::sleep(Duration::from_millis(100));
    engine.close().unwrap();
    waits.join().unwrap().unwrap().unwrap();
    // Any other error comes at once.
    let elsewhere = Builder::at(place.path("nothing")).wait_for_lock(Duration::from_secs(600));
    assert_eq!(kind(elsewhere.open()), ErrorKind::Absent);
}

#[test]
fn a_poisoned_engine_is_closed_and_opened_again_by_the_same_builder() {
    let place = Place::new();
    let engine = place.db().open_or_create().unwrap();
    let id = put(&engine);
    assert!(!engine.is_poisoned());
    engine.clone().unplug();
    assert!(engine.is_poisoned());
    assert_eq!(
        kind(engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..])),
        ErrorKind::Poisoned
    );
    engine.close().unwrap();
    let engine = place.db().open().unwrap();
    assert!(!engine.is_poisoned());
    assert_eq!(read(&engine, &id).unwrap(), b"hello");
}

#[test]
fn seconds_that_are_taken_for_milliseconds_are_told() {
    let world = World::new(5, SMALL);
    let into = |at: Timestamp| {
        let put = Put::new(user("ada"), Class::audio())
            .interaction(InteractionId::from_parts(at, [1; 10]));
        world.engine().put(put, &b"x"[..])
    };
    let e = message(into(Timestamp(1_767_225_600)), ErrorKind::Invalid);
    assert!(e.contains("seconds were taken for milliseconds"), "{e}");
    into(Timestamp::from_millis(1_767_225_600_000)).unwrap();
    // What is older than that is an import.
    into(Timestamp(1000)).unwrap();
    let id = InteractionId::from_parts(Timestamp(7), [3; 10]);
    assert_eq!(InteractionId::from_bytes(id.to_bytes()).unwrap(), id);
}

#[test]
fn the_library_speaks_of_itself_and_not_of_flags() {
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(place) = files.pop() {
        let path = place.to_str().unwrap();
        // The programs, and keyholders, which the program alone runs. The text of a draft is for a
        // person at a terminal.
        if ["src/bin", "src/quorum", "src/testing", "certificate/draft.rs"]
            .iter()
            .any(|part| path.ends_with(part))
        {
            continue;
        }
        if place.is_dir() {
            files.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        for line in std::fs::read_to_string(&place)
            .unwrap()
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
        {
            // The flag of another program.
            let line = line.replace("cp --reflink", "");
            let flag = line.split_whitespace().any(|word| {
                let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                word.strip_prefix("--")
                    .is_some_and(|name| name.bytes().next().is_some_and(|c| c.is_ascii_lowercase()))
            });
            assert!(!flag && !line.contains("`keyfall "), "{path}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 10_000, "{seen}");
}
