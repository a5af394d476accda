//! The file cell in its surroundings: where it may lie, what its slots hold, what it answers to a wrong call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, MemoryCell, Owner, RootCell, RootId, RootKey};
use keyfall::crypto::Key;
use keyfall::env::{Env, System};
use keyfall::ids::StoreId;
use keyfall::quorum::{Holder, Keyholder, Share};

use crate::support::kind;

const STORE: StoreId = StoreId([7; 16]);

fn create(dir: &Path, accept: bool) -> keyfall::Result<FileCell> {
    FileCell::create(dir, accept, Arc::new(System))
}

fn id(epoch: u64, attempt: u8) -> RootId {
    RootId { epoch, attempt: [attempt; 16] }
}

fn deposit(cell: &dyn RootCell, id: RootId) {
    cell.deposit(STORE, &id, &Key::copied_from(&[id.attempt[0]; 32])).unwrap();
}

fn epochs(cell: &dyn RootCell) -> Vec<u64> {
    let mut epochs: Vec<u64> = cell.load().unwrap().keys.iter().map(|k| k.id.epoch).collect();
    epochs.sort_unstable();
    epochs
}

/// A directory on a file system that overwrites in place, and one on a file system that does not, where there are such.
fn places() -> [Option<tempfile::TempDir>; 2] {
    let good = tempfile::tempdir().unwrap();
    let good = create(&good.path().join("probe"), false).is_ok().then_some(good);
    [good, Path::new("/dev/shm").is_dir().then(|| tempfile::tempdir_in("/dev/shm").unwrap())]
}

#[test]
fn remnants_are_promised_where_they_were_accepted_and_are_possible() {
    let [good, bad] = places();
    if let Some(good) = good {
        let place = good.path().join("cell");
        // Accepting what cannot happen changes nothing.
        let promise = create(&place, true).unwrap().describe();
        assert!(!promise.remnants && !promise.statement.contains("REMNANTS"), "{promise:?}");
        assert!(!place.join("remnants-accepted").exists());
        assert_eq!((promise.kind, promise.place), ("file", place.display().to_string()));
    }
    if let Some(bad) = bad {
        let place = bad.path().join("cell");
        assert_eq!(kind(create(&place, false)), ErrorKind::Refused);
        assert!(!place.exists(), "a refused cell leaves nothing");
        let promise = create(&place, true).unwrap().describe();
        assert!(promise.remnants && promise.statement.contains("REMNANTS ACCEPTED"), "{promise:?}");
        assert!(FileCell::open(&place, Arc::new(System)).unwrap().describe().remnants);
        std::fs::remove_file(place.join("remnants-accepted")).unwrap();
        assert_eq!(kind(FileCell::open(&place, Arc::new(System))), ErrorKind::Refused);
    }
}

#[test]
fn a_cell_is_made_in_an_empty_place_only() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(kind(FileCell::open(&dir.path().join("none"), Arc::new(System))), ErrorKind::Absent);
    // An empty directory will do, and one below directories that are not there yet.
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    drop(create(&dir.path().join("empty"), true).unwrap());
    drop(create(&dir.path().join("a/b/cell"), true).unwrap());
    // A file stands in the way.
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(kind(create(&dir.path().join("file"), true)), ErrorKind::Io);
    assert_eq!(kind(create(&dir.path().join("file/cell"), true)), ErrorKind::Io);
    // What an interrupted `create` leaves is made whole; a cell in use is left alone.
    drop(create(&dir.path().join("empty"), true).unwrap());
    std::fs::write(dir.path().join("empty/slot-a"), [0; 4096]).unwrap();
    std::fs::write(dir.path().join("empty/slot-b"), "").unwrap();
    let cell = create(&dir.path().join("empty"), true).unwrap();
    assert_eq!(kind(create(&dir.path().join("empty"), true)), ErrorKind::Locked);
    deposit(&cell, id(1, 1));
    drop(cell);
    assert_eq!(kind(create(&dir.path().join("empty"), true)), ErrorKind::Exists);
    // Also with a slot of it damaged: it may be somebody's key.
    std::fs::write(dir.path().join("empty/slot-a"), [3; 4096]).unwrap();
    std::fs::write(dir.path().join("empty/slot-b"), [3; 100]).unwrap();
    assert_eq!(kind(create(&dir.path().join("empty"), true)), ErrorKind::Exists);
}

#[test]
fn a_cell_that_never_held_a_key_belongs_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let cell = create(&dir.path().join("cell"), true).unwrap();
    for cell in [&cell as &dyn RootCell, &MemoryCell::new()] {
        let contents = cell.load().unwrap();
        assert_eq!((contents.store, contents.keys.len(), contents.epoch), (None, 0, 0));
    }
}

#[test]
fn a_slot_that_cannot_be_read_is_not_taken_for_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    std::fs::remove_file(place.join("slot-b")).unwrap();
    std::fs::create_dir(place.join("slot-b")).unwrap();
    assert_eq!(kind(cell.load()), ErrorKind::Io);
    assert_eq!(kind(cell.retire(&id(1, 1), Durable::assumed_for_a_test())), ErrorKind::Io);
}

#[test]
fn a_cell_may_have_a_relative_place() {
    let cli = crate::command_line::Cli::empty();
    cli.ok(&["init", "store", "--cell", "bare", "--accept-remnants"]);
    assert!(cli.path("bare/slot-a").exists());
    cli.ok(&["status", "store", "--cell", "bare"]);
}

#[test]
fn modes_keep_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    drop(create(&place, true).unwrap());
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.clone()), 0o700);
    for file in ["slot-a", "slot-b", "lock"] {
        assert_eq!(mode(place.join(file)), 0o600, "{file}");
    }
}

#[test]
fn wrong_calls_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("cell"), true).unwrap();
    let memory = MemoryCell::new();
    for cell in [&file as &dyn RootCell, &memory] {
        deposit(cell, id(1, 1));
        deposit(cell, id(1, 1));
        assert_eq!(epochs(cell), [1]);
        let other = Key::copied_from(&[9; 32]);
        assert_eq!(kind(cell.deposit(StoreId([8; 16]), &id(2, 2), &other)), ErrorKind::Refused, "another store's");
        deposit(cell, id(2, 2));
        assert_eq!(kind(cell.deposit(STORE, &id(3, 3), &other)), ErrorKind::Refused, "a third key");
        assert_eq!(kind(cell.retire(&id(3, 3), Durable::assumed_for_a_test())), ErrorKind::Corrupt, "not there");
        // The same epoch under another attempt is another key.
        assert_eq!(kind(cell.retire(&id(2, 9), Durable::assumed_for_a_test())), ErrorKind::Corrupt);
        assert_eq!(epochs(cell), [1, 2]);
        // Either may be kept: the newer after a publish, the older where nothing was published.
        cell.retire(&id(1, 1), Durable::assumed_for_a_test()).unwrap();
        assert_eq!((epochs(cell), cell.load().unwrap().epoch), (vec![1], 2));
        deposit(cell, id(2, 4));
        cell.retire(&id(2, 4), Durable::assumed_for_a_test()).unwrap();
        assert_eq!((epochs(cell), cell.load().unwrap().store), (vec![2], Some(STORE)));
        assert_eq!(cell.load().unwrap().keys[0].key.bytes(), &[4; 32]);
    }
}

/// Shows whether a destroyed slot holds fresh bytes: the fill is drawn anew each time.
#[test]
fn a_destroyed_slot_holds_nothing_of_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    let mut secret = [0; 32];
    System.fill(&mut secret).unwrap();
    cell.deposit(STORE, &id(1, 1), &Key::copied_from(&secret)).unwrap();
    let holds = |what: &[u8]| {
        ["slot-a", "slot-b"].iter().any(|s| std::fs::read(place.join(s)).unwrap().windows(16).any(|w| w == what))
    };
    assert!(holds(&secret[..16]) && holds(&secret[16..]));
    let before = std::fs::read(place.join("slot-a")).unwrap();
    deposit(&cell, id(2, 2));
    cell.retire(&id(2, 2), Durable::assumed_for_a_test()).unwrap();
    assert!(!holds(&secret[..16]) && !holds(&secret[16..]));
    let after = std::fs::read(place.join("slot-a")).unwrap();
    let same = before.iter().zip(&after).take(512).filter(|(a, b)| a == b).count();
    assert!(same < 60, "{same} of 512 bytes are the same");
    assert_eq!((after.len(), after[512..].iter().any(|&b| b != 0)), (4096, false));
    // The tombstone says which epoch it ended.
    assert_eq!((after[8], &after[25..33]), (2, &1u64.to_be_bytes()[..]));
}

#[test]
fn what_stood_ready_and_was_destroyed_is_deposited_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cell = create(&dir.path().join("cell"), true).unwrap();
    let sure = Durable::assumed_for_a_test;
    deposit(&cell, id(1, 1));
    let next = RootKey { id: id(2, 2), key: Key::copied_from(&[2; 32]) };
    let deposited = || {
        cell.deposit(STORE, &next.id, &next.key).unwrap();
        epochs(&cell)
    };
    assert!(cell.retire_for(&id(1, 1), &next, sure()).unwrap().is_some());
    assert_eq!((epochs(&cell), deposited()), (vec![1, 2], vec![1, 2]));
    cell.retire(&id(1, 1), sure()).unwrap();
    assert_eq!((epochs(&cell), deposited()), (vec![1], vec![1, 2]));
    // It stands ready for its own store alone.
    cell.retire_for(&id(1, 1), &next, sure()).unwrap();
    assert_eq!(kind(cell.deposit(StoreId([9; 16]), &next.id, &next.key)), ErrorKind::Refused);
}

#[test]
fn one_torn_slot_is_nothing_two_are_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    deposit(&create(&place, true).unwrap(), id(5, 1));
    let torn = |slot: &str| std::fs::write(place.join(slot), [3; 4096]).unwrap();
    let open = || FileCell::open(&place, Arc::new(System)).unwrap();
    torn("slot-b");
    assert_eq!(epochs(&open()), [5]);
    // The next retire overwrites what is torn: it may be half a key.
    open().retire(&id(5, 1), Durable::assumed_for_a_test()).unwrap();
    let overwritten = std::fs::read(place.join("slot-b")).unwrap();
    assert_eq!(
        (&overwritten[..8], overwritten[8], &overwritten[25..33]),
        (&b"KFSLOT01"[..], 2, &4u64.to_be_bytes()[..])
    );
    std::fs::remove_file(place.join("slot-b")).unwrap();
    assert_eq!(epochs(&open()), [5], "a missing slot is a torn one");
    open().retire(&id(5, 1), Durable::assumed_for_a_test()).unwrap();
    assert_eq!(std::fs::metadata(place.join("slot-b")).unwrap().len(), 4096);
    torn("slot-a");
    assert_eq!(kind(open().load()), ErrorKind::Corrupt);
}

#[test]
fn a_slot_that_cannot_be_looked_at_is_not_taken_for_an_unused_one() {
    let dir = tempfile::tempdir().unwrap();
    let cell = dir.path().join("cell");
    std::fs::create_dir(&cell).unwrap();
    std::os::unix::fs::symlink("slot-a", cell.join("slot-a")).unwrap();
    assert_eq!(kind(create(&cell, true)), ErrorKind::Exists);
}

/// What a keyholder was told.
#[derive(Clone, Copy)]
struct Told {
    /// The highest epoch that it said it has ended.
    acknowledged: u64,
    /// The highest that it was ever asked to end.
    asked: u64,
}

const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

fn holder(dir: &Path) -> Holder {
    let env: keyfall::env::SharedEnv = Arc::new(System);
    keyfall::testing::holder(dir, 1, &env)
}

fn share(id: RootId) -> Share {
    Share { id, x: 1, value: Key::copied_from(&[id.attempt[0]; 32]), commitment: [3; 32] }
}

/// The files of a directory, in the order in which they were written last; by name where the clock is too coarse.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path()))
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn put_back(dir: &Path, saved: &[(PathBuf, Vec<u8>)]) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    saved.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Deposit(u64, u8),
    Retire(u64, u8),
}

const VERBS: [Verb; 8] = [
    Verb::Deposit(1, 1),
    Verb::Deposit(2, 2),
    Verb::Deposit(2, 3),
    Verb::Retire(1, 1),
    Verb::Retire(2, 2),
    Verb::Retire(2, 3),
    Verb::Deposit(3, 4),
    Verb::Retire(3, 4),
];

impl Verb {
    /// What the keyholder was told, behind it.
    fn run(self, holder: &Holder, told: Told, path: &[String]) -> Told {
        match self {
            Verb::Deposit(epoch, attempt) => {
                let taken = holder.deposit(STORE, &NOBODY, &share(id(epoch, attempt)));
                assert!(taken.is_err() || epoch > told.acknowledged, "after {path:?}: {self:?} is taken");
                told
            }
            Verb::Retire(epoch, attempt) => {
                let stated = holder.retire(STORE, &NOBODY, &id(epoch, attempt), &[], 0);
                assert!(stated.is_err() || epoch >= told.acknowledged, "after {path:?}: {self:?} is taken");
                let acknowledged = if stated.is_ok() { epoch } else { told.acknowledged };
                Told { acknowledged, asked: told.asked.max(epoch) }
            }
        }
    }
}

/// Goes on from what lies in `dir` with every verb, in a process of its own; with `torn`, also from every state that a power cut in the
/// middle of a verb leaves.
fn every_order(dir: &Path, told: Told, (steps, torn): (usize, bool), path: &mut Vec<String>) {
    let fence = holder(dir).load(STORE).unwrap().committed;
    assert!((told.acknowledged..=told.asked).contains(&fence), "after {path:?}: the fence is {fence}");
    if steps == 0 {
        return;
    }
    let slots = dir.join("stores").join(STORE.to_string());
    let before = files(&slots);
    for verb in VERBS {
        put_back(&slots, &before);
        let after = verb.run(&holder(dir), told, path);
        let written: Vec<_> = files(&slots).into_iter().filter(|file| !before.contains(file)).collect();
        path.push(format!("{verb:?}"));
        every_order(dir, after, (steps - 1, torn), path);
        path.pop();
        // Making the slots is another matter.
        let writes = if torn && !before.is_empty() { &written[..] } else { &[] };
        for (n, (name, _)) in writes.iter().enumerate() {
            put_back(&slots, &before);
            written[..n].iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
            std::fs::write(name, [9; 4096]).unwrap();
            path.push(format!("{verb:?}, torn at {}", name.file_name().unwrap().display()));
            every_order(dir, Told { acknowledged: told.acknowledged, ..after }, (steps - 1, torn), path);
            path.pop();
        }
    }
    put_back(&slots, &before);
}

/// In memory where there is such a place: there are thousands of states, and nothing here is about the medium.
fn quick_dir() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() }
}

const NOTHING: Told = Told { acknowledged: 0, asked: 0 };

/// It lay in the tombstone that the next deposit wrote over: an epoch that had ended was taken once more, and its erase came back.
#[test]
fn a_keyholder_never_forgets_which_epoch_it_has_ended() {
    every_order(quick_dir().path(), NOTHING, (4, false), &mut Vec::new());
}

#[test]
fn a_keyholder_never_forgets_which_epoch_it_has_ended_in_one_process() {
    for order in 0..6_usize.pow(4) {
        let dir = quick_dir();
        let (holder, mut told, mut path) = (holder(dir.path()), NOTHING, Vec::new());
        for step in 0..4 {
            let verb = VERBS[order / 6_usize.pow(step) % 6];
            told = verb.run(&holder, told, &path);
            path.push(format!("{verb:?}"));
            for fence in [&holder, &self::holder(dir.path())].map(|holder| holder.load(STORE).unwrap().committed) {
                assert_eq!(fence, told.acknowledged, "after {path:?}");
            }
        }
    }
}

#[test]
fn a_keyholder_never_forgets_which_epoch_it_has_ended_where_a_write_was_torn() {
    let begun: [&[Verb]; 4] =
        [&VERBS[..1], &VERBS[..2], &[VERBS[0], VERBS[3], VERBS[1]], &[VERBS[0], VERBS[1], VERBS[4], VERBS[6]]];
    for verbs in begun {
        let dir = quick_dir();
        let holder = holder(dir.path());
        let told = verbs.iter().fold(NOTHING, |told, verb| verb.run(&holder, told, &[]));
        drop(holder);
        every_order(dir.path(), told, (2, true), &mut vec![format!("{verbs:?}")]);
    }
}

/// An engine ends epoch 2, and dies with a candidate of epoch 3 deposited; another one, with an older copy of the store, then had its own
/// candidate of epoch 2 taken, and the live root key destroyed.
#[test]
fn a_pending_deposit_does_not_reopen_an_ended_epoch() {
    let dir = quick_dir();
    for restart in [false, true] {
        let places: Vec<PathBuf> = (0..3).map(|n| dir.path().join(format!("{restart} {n}"))).collect();
        let mut holders: Vec<Holder> = places.iter().map(|place| holder(place)).collect();
        for holder in &holders {
            for (epoch, attempt) in [(1, 1), (2, 2)] {
                holder.deposit(STORE, &NOBODY, &share(id(epoch, attempt))).unwrap();
                holder.retire(STORE, &NOBODY, &id(epoch, attempt), &[], 0).unwrap();
            }
            holder.deposit(STORE, &NOBODY, &share(id(3, 3))).unwrap();
        }
        if restart {
            holders = places.iter().map(|place| holder(place)).collect();
        }
        for holder in &holders {
            assert_eq!(kind(holder.deposit(STORE, &NOBODY, &share(id(2, 9)))), ErrorKind::Refused);
            assert_eq!(kind(holder.retire(STORE, &NOBODY, &id(2, 9), &[], 0)), ErrorKind::Refused);
            assert_eq!(kind(holder.retire(STORE, &NOBODY, &id(1, 1), &[], 0)), ErrorKind::Refused);
            assert_eq!(holder.load(STORE).unwrap().committed, 2);
            let mut live: Vec<RootId> = holder.load(STORE).unwrap().shares.iter().map(|share| share.id).collect();
            live.sort_unstable();
            assert_eq!(live, [id(2, 2), id(3, 3)]);
        }
    }
}
