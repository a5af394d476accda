//! The file cell in its surroundings: where it may lie, what its slots hold, what it answers to a wrong call.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyfall::ErrorKind;
use keyfall::cell::{Durable, FileCell, MemoryCell, Owner, RootCell, RootId, RootKey};
use keyfall::crypto::Key;
use keyfall::env::{Env, System};
use keyfall::quorum::{Holder, Keyholder, Share};
use keyfall::store::StoreId;
use keyfall::testing::sim::{Fault, Media, SimulatedDisk};
use keyfall::testing::{Seeded, owned_cell_conformance};

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
        assert_eq!(kind(create(&place, false)), ErrorKind::Medium);
        assert!(!place.exists(), "a refused cell leaves nothing");
        let promise = create(&place, true).unwrap().describe();
        assert!(promise.remnants && promise.statement.contains("REMNANTS ACCEPTED"), "{promise:?}");
        assert!(FileCell::open(&place, Arc::new(System)).unwrap().describe().remnants);
        std::fs::remove_file(place.join("remnants-accepted")).unwrap();
        assert_eq!(kind(FileCell::open(&place, Arc::new(System))), ErrorKind::Medium);
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
    assert_eq!(kind(cell.load()), ErrorKind::Medium);
    assert_eq!(kind(cell.retire(&id(1, 1), Durable::assumed_for_a_test())), ErrorKind::Medium);
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
    for file in ["slot-a", "slot-b", "claim-a", "claim-b", "lock"] {
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
    assert_eq!(kind(create(&cell, true)), ErrorKind::Medium);
}

/// What a keyholder was told.
#[derive(Clone, Copy)]
struct Told {
    /// The highest epoch that it said it has ended.
    acknowledged: u64,
    /// The highest that it was ever asked to end.
    asked: u64,
    /// The root key that it keeps of that epoch.
    kept: Option<RootId>,
}

const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

fn holder(dir: &Path) -> Holder {
    let env: keyfall::env::SharedEnv = Arc::new(System);
    keyfall::testing::holder(dir, 1, &env)
}

fn share(id: RootId) -> Share {
    Share {
        id,
        x: 1,
        value: Key::copied_from(&[id.attempt[0]; 32]),
        commitment: [3; 32],
        root: [0; 32],
        path: [[0; 32]; 5],
    }
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
                // A share of the key to keep itself is dealt to whoever lacks it.
                let kept = epoch == told.acknowledged && Some(id(epoch, attempt)) == told.kept;
                assert!(taken.is_err() || epoch > told.acknowledged || kept, "after {path:?}: {self:?} is taken");
                told
            }
            Verb::Retire(epoch, attempt) => {
                let stated = holder.retire(STORE, &NOBODY, &id(epoch, attempt), &[], 0);
                assert!(stated.is_err() || epoch >= told.acknowledged, "after {path:?}: {self:?} is taken");
                let acknowledged = if stated.is_ok() { epoch } else { told.acknowledged };
                let kept = if stated.is_ok() { Some(id(epoch, attempt)) } else { told.kept };
                Told { acknowledged, asked: told.asked.max(epoch), kept }
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
            every_order(
                dir,
                Told { acknowledged: told.acknowledged, kept: told.kept, ..after },
                (steps - 1, torn),
                path,
            );
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

const NOTHING: Told = Told { acknowledged: 0, asked: 0, kept: None };

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

const fn owner(claim: u64, token: u8) -> Owner {
    Owner { instance: [4; 16], claim, token: [token; 16] }
}

fn open(dir: &Path) -> FileCell {
    FileCell::open(dir, Arc::new(System)).unwrap()
}

/// Every file of a cell with its times: what a look must leave as it is.
fn untouched(dir: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.clone(), std::fs::metadata(&path).unwrap().modified().unwrap(), std::fs::read(&path).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(entry).collect();
    files.sort();
    files
}

#[test]
fn cells_keep_the_contract_of_ownership() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    drop(create(&place, true).unwrap());
    owned_cell_conformance(|| Arc::new(open(&place)));
    let memory = MemoryCell::new();
    owned_cell_conformance(|| Arc::new(memory.handle()));
}

#[test]
fn a_torn_claim_gives_way_to_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    deposit(&create(&place, true).unwrap(), id(1, 1));
    let tear = |slot: &str| std::fs::write(place.join(slot), [3; 4096]).unwrap();
    let claims = ["claim-a", "claim-b"];
    for n in 1..6 {
        let before = claims.map(|slot| std::fs::read(place.join(slot)).unwrap());
        open(&place).claim(STORE, &owner(n, 1), n).unwrap();
        let newest =
            claims.iter().zip(&before).filter(|(slot, bytes)| std::fs::read(place.join(slot)).unwrap() != **bytes);
        let newest: Vec<&str> = newest.map(|(slot, _)| *slot).collect();
        assert_eq!(newest.len(), 1, "one slot in turn");
        let older = claims.iter().find(|slot| **slot != newest[0]).unwrap();
        // The one that is written next counts for nothing any more.
        tear(older);
        let contents = open(&place).load().unwrap();
        assert_eq!((contents.owner, contents.mark), (Some(owner(n, 1)), n));
        assert_eq!(kind(open(&place).claim(STORE, &owner(n, 2), n)), ErrorKind::Fenced);
        // Without the newest the one before counts; here there is none.
        let newest_bytes = std::fs::read(place.join(newest[0])).unwrap();
        tear(newest[0]);
        let cell = open(&place);
        for error in [
            cell.load().map(drop).unwrap_err(),
            cell.claim(STORE, &owner(99, 1), 9).unwrap_err(),
            cell.deposit(STORE, &id(2, 2), &Key::copied_from(&[2; 32])).unwrap_err(),
            cell.retire(&id(1, 1), Durable::assumed_for_a_test()).map(drop).unwrap_err(),
            FileCell::look(&place, Arc::new(System)).unwrap().load().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            let text = error.to_string();
            assert!(text.contains("claim-a and claim-b") && text.contains("put back"), "{text}");
        }
        std::fs::write(place.join(newest[0]), newest_bytes).unwrap();
    }
    // The way out of two damaged ones: somebody who is sure forgets them.
    claims.iter().for_each(|slot| std::fs::remove_file(place.join(slot)).unwrap());
    let cell = open(&place);
    assert_eq!(cell.load().unwrap().owner, None);
    cell.claim(STORE, &owner(1, 7), 3).unwrap();
    drop(cell);
    let contents = open(&place).load().unwrap();
    assert_eq!((contents.owner, contents.mark, contents.keys.len()), (Some(owner(1, 7)), 3, 1));
}

#[test]
fn claims_are_never_written_over_by_keys() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    cell.claim(STORE, &owner(5, 5), 2).unwrap();
    let claims = || ["claim-a", "claim-b"].map(|slot| std::fs::read(place.join(slot)).unwrap());
    let before = claims();
    deposit(&cell, id(1, 1));
    for epoch in 2..8 {
        deposit(&cell, id(epoch, 1));
        cell.retire(&id(epoch, 1), Durable::assumed_at(epoch)).unwrap();
        let contents = cell.load().unwrap();
        assert_eq!((contents.owner, contents.mark), (Some(owner(5, 5)), epoch.max(2)));
    }
    assert_eq!(claims(), before);
}

/// A cell was given to another store only by hand; a claim for it alone must not do that, nor may an init that was cut short block it.
#[test]
fn a_claim_of_a_store_that_was_never_made_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("cell"), true).unwrap();
    let memory = MemoryCell::new();
    for cell in [&file as &dyn RootCell, &memory] {
        cell.claim(StoreId([8; 16]), &owner(1, 1), 0).unwrap();
        assert_eq!(cell.load().unwrap().store, None);
        cell.claim(STORE, &owner(1, 2), 0).unwrap();
        assert_eq!(kind(cell.deposit(StoreId([8; 16]), &id(1, 1), &Key::copied_from(&[1; 32]))), ErrorKind::Refused);
        deposit(cell, id(1, 1));
        assert_eq!(kind(cell.claim(StoreId([8; 16]), &owner(9, 1), 0)), ErrorKind::Refused);
        assert_eq!(cell.load().unwrap().owner, Some(owner(1, 2)));
    }
}

#[test]
fn a_look_takes_no_lock_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    assert_eq!(kind(FileCell::look(&place, Arc::new(System))), ErrorKind::Absent);
    let cell = create(&place, true).unwrap();
    cell.claim(STORE, &owner(1, 1), 4).unwrap();
    deposit(&cell, id(1, 1));
    let look = |held: bool| {
        let before = untouched(&place);
        let look = FileCell::look(&place, Arc::new(System)).unwrap();
        let contents = look.load().unwrap();
        assert_eq!((contents.store, contents.owner, contents.mark), (Some(STORE), Some(owner(1, 1)), 4));
        assert_eq!(epochs(&look), [1]);
        let key = Key::copied_from(&[2; 32]);
        for fenced in [
            look.claim(STORE, &owner(2, 2), 9),
            look.claim(STORE, &owner(1, 1), 4),
            look.deposit(STORE, &id(2, 2), &key),
            look.retire(&id(1, 1), Durable::assumed_for_a_test()).map(drop),
            look.retire_for(&id(1, 1), &RootKey { id: id(2, 2), key }, Durable::assumed_for_a_test()).map(drop),
        ] {
            assert_eq!(kind(fenced), ErrorKind::Fenced);
        }
        assert!(!look.ready(&id(1, 1), &id(1, 1)).unwrap());
        assert_eq!(look.describe().kind, "file");
        drop(look);
        assert_eq!(untouched(&place), before);
        assert_eq!(FileCell::open(&place, Arc::new(System)).is_err(), held, "the lock is as it was");
    };
    look(true);
    deposit(&cell, id(2, 2));
    cell.retire(&id(1, 1), Durable::assumed_for_a_test()).unwrap();
    drop(cell);
    std::fs::remove_file(place.join("lock")).unwrap();
    let before = untouched(&place);
    drop(FileCell::look(&place, Arc::new(System)).unwrap().load().unwrap());
    assert_eq!(untouched(&place), before, "not even a lock is made");
    // On a medium that cannot be written.
    let at = place.display().to_string();
    if does("mount", &["--bind", &at, &at]) {
        if does("mount", &["-o", "remount,ro,bind", &at]) {
            assert!(std::fs::write(place.join("probe"), "").is_err());
            assert_eq!(epochs(&FileCell::look(&place, Arc::new(System)).unwrap()), [1]);
        }
        assert!(does("umount", &[&at]));
    }
    look(false);
}

#[test]
fn a_look_is_whole_while_another_writes() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("cell");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for epoch in 2..80 {
                cell.claim(STORE, &owner(epoch, 1), epoch).unwrap();
                deposit(&cell, id(epoch, 1));
                cell.retire(&id(epoch, 1), Durable::assumed_at(epoch)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut last = 0;
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let contents = FileCell::look(&place, Arc::new(System)).unwrap().load().unwrap();
            let newest = contents.keys.iter().map(|key| key.id.epoch).max().unwrap();
            assert!(newest >= last && newest <= contents.epoch, "{newest} after {last}");
            assert!(contents.owner.map_or(1, |owner| owner.claim) + 1 >= newest);
            last = newest;
        }
    });
}

/// What another run of the same engine did to the medium, while this one slept in a snapshot of its machine.
fn meanwhile(place: &Path, claim: Option<&Owner>, act: impl FnOnce(&FileCell)) {
    let other = tempfile::tempdir().unwrap();
    let there = other.path().join("cell");
    crate::support::copy(place, &there);
    let cell = FileCell::open(&there, Arc::new(System)).unwrap();
    claim.iter().for_each(|owner| cell.claim(STORE, owner, 1).unwrap());
    act(&cell);
    drop(cell);
    for slot in ["slot-a", "slot-b", "claim-a", "claim-b"] {
        std::fs::write(place.join(slot), std::fs::read(there.join(slot)).unwrap()).unwrap();
    }
}

/// A key that stands ready seals one head only: in another run, which a restored machine does not remember, it may have sealed one already.
#[test]
fn a_restored_machine_does_not_use_a_ready_key_again() {
    let dir = tempfile::tempdir().unwrap();
    let sure = Durable::assumed_for_a_test;
    let next = |epoch, attempt| RootKey { id: id(epoch, attempt), key: Key::copied_from(&[attempt; 32]) };
    let stands_ready = |name: &str| {
        let place = dir.path().join(name);
        let cell = create(&place, true).unwrap();
        cell.claim(STORE, &owner(1, 1), 1).unwrap();
        deposit(&cell, id(1, 1));
        cell.retire_for(&id(1, 1), &next(2, 2), sure()).unwrap();
        assert!(cell.ready(&id(1, 1), &id(2, 2)).unwrap());
        (cell, place)
    };
    let deposited = |cell: &FileCell| cell.deposit(STORE, &id(2, 2), &next(2, 2).key);

    // It was used, and the one after it stands ready.
    let (cell, place) = stands_ready("used");
    meanwhile(&place, Some(&owner(1, 1)), |cell| drop(cell.retire_for(&id(2, 2), &next(3, 3), sure()).unwrap()));
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(kind(deposited(&cell)), ErrorKind::Refused);
    assert_eq!(kind(cell.deposit(STORE, &id(2, 9), &next(2, 9).key)), ErrorKind::Refused);
    assert_eq!(kind(cell.retire(&id(1, 1), sure())), ErrorKind::Corrupt, "nothing is destroyed");
    assert_eq!(epochs(&cell), [2, 3]);

    // It was used, and is the only one: a fresh key would bring back what was erased with it.
    let (cell, place) = stands_ready("used last");
    meanwhile(&place, Some(&owner(1, 1)), |cell| drop(cell.retire(&id(2, 2), sure()).unwrap()));
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    for attempt in [2, 9] {
        assert_eq!(kind(cell.deposit(STORE, &id(2, attempt), &next(2, attempt).key)), ErrorKind::Refused);
    }
    assert_eq!(epochs(&cell), [2]);

    // It was destroyed: a fresh one takes its place.
    let (cell, place) = stands_ready("destroyed");
    meanwhile(&place, Some(&owner(1, 1)), |cell| drop(cell.retire(&id(1, 1), sure()).unwrap()));
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(kind(deposited(&cell)), ErrorKind::Refused);
    cell.deposit(STORE, &id(2, 9), &next(2, 9).key).unwrap();
    cell.retire(&id(2, 9), sure()).unwrap();
    assert_eq!(epochs(&cell), [2]);

    // Another engine owns the store.
    let (cell, place) = stands_ready("taken over");
    meanwhile(&place, Some(&owner(2, 2)), |_| {});
    assert!(!cell.ready(&id(1, 1), &id(2, 2)).unwrap());
    assert_eq!(kind(deposited(&cell)), ErrorKind::Fenced);
    assert_eq!(kind(cell.retire(&id(1, 1), sure())), ErrorKind::Fenced);
    assert_eq!(kind(cell.retire_for(&id(1, 1), &next(2, 3), sure())), ErrorKind::Fenced);
    assert_eq!(epochs(&cell), [1, 2]);

    // Without a ready key it is the same.
    let place = dir.path().join("none ready");
    let cell = create(&place, true).unwrap();
    deposit(&cell, id(1, 1));
    cell.retire(&id(1, 1), sure()).unwrap();
    meanwhile(&place, None, |cell| {
        deposit(cell, id(2, 2));
        cell.retire(&id(2, 2), sure()).unwrap();
    });
    assert_eq!(kind(cell.deposit(STORE, &id(2, 9), &next(2, 9).key)), ErrorKind::Refused);
    assert_eq!(epochs(&cell), [2]);
}

#[test]
fn a_keyholder_serves_the_owner_and_no_other() {
    let dir = quick_dir();
    let place = dir.path();
    holder(place).claim(STORE, &owner(2, 1), 5).unwrap();
    let held = || {
        let held = holder(place).load(STORE).unwrap();
        let mut ids: Vec<RootId> = held.shares.iter().map(|share| share.id).collect();
        ids.sort_unstable();
        (ids, held.committed, held.owner, held.mark)
    };
    assert_eq!(held(), (vec![], 0, Some(owner(2, 1)), 5));
    let holder = holder(place);
    holder.deposit(STORE, &owner(2, 1), &share(id(1, 1))).unwrap();
    holder.retire(STORE, &owner(2, 1), &id(1, 1), &[], 7).unwrap();
    holder.deposit(STORE, &owner(2, 1), &share(id(2, 2))).unwrap();
    let now = (vec![id(1, 1), id(2, 2)], 1, Some(owner(2, 1)), 7);
    assert_eq!(held(), now);
    for stale in [owner(1, 1), owner(2, 2), Owner { instance: [5; 16], ..owner(2, 1) }, NOBODY] {
        assert_eq!(kind(holder.claim(STORE, &stale, 99)), ErrorKind::Fenced);
        assert_eq!(kind(holder.deposit(STORE, &stale, &share(id(3, 3)))), ErrorKind::Fenced);
        let retired = holder.retire(STORE, &stale, &id(2, 2), &[id(1, 1)], 99);
        let error = retired.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("claim 2"), "{error}");
        assert_eq!(held(), now, "nothing was changed");
    }
    // An owner with a higher claim is heard of first by any of the three.
    let reset = files(&place.join("stores").join(STORE.to_string()));
    for verb in 0..3 {
        put_back(&place.join("stores").join(STORE.to_string()), &reset);
        let holder = self::holder(place);
        let next = owner(7, verb);
        match verb {
            0 => holder.claim(STORE, &next, 3).unwrap(),
            1 => holder.deposit(STORE, &next, &share(id(2, 3))).unwrap(),
            _ => drop(holder.retire(STORE, &next, &id(1, 1), &[], 8).unwrap()),
        }
        let (_, committed, owner, mark) = held();
        assert_eq!((committed, owner, mark), (1, Some(next), [3, 7, 8][usize::from(verb)]));
        assert_eq!(kind(holder.deposit(STORE, &self::owner(2, 1), &share(id(3, 3)))), ErrorKind::Fenced);
        // A lower mark of the same owner is an old one.
        holder.claim(STORE, &next, 1).unwrap();
        assert_eq!(held().3, mark);
    }
    // What is refused for its epoch still tells who owns the store.
    assert_eq!(kind(holder.deposit(STORE, &owner(8, 1), &share(id(1, 9)))), ErrorKind::Refused);
    assert_eq!(held().2, Some(owner(8, 1)));
}

#[test]
fn a_keyholder_whose_fence_is_damaged_does_nothing() {
    let dir = quick_dir();
    let slots = dir.path().join("stores").join(STORE.to_string());
    let begin = || {
        let _ = std::fs::remove_dir_all(&slots);
        let holder = holder(dir.path());
        holder.deposit(STORE, &owner(1, 1), &share(id(1, 1))).unwrap();
        holder.retire(STORE, &owner(1, 1), &id(1, 1), &[], 3).unwrap();
    };
    for act in ["tear", "remove", "empty"] {
        begin();
        for claim in ["claim-a", "claim-b"] {
            let path = slots.join(claim);
            match act {
                "tear" => std::fs::write(path, [7; 4096]).unwrap(),
                "remove" => std::fs::remove_file(path).unwrap(),
                _ => std::fs::write(path, "").unwrap(),
            }
        }
        let holder = holder(dir.path());
        assert_eq!(kind(holder.load(STORE)), ErrorKind::Corrupt, "{act}");
        assert_eq!(kind(holder.claim(STORE, &owner(9, 1), 0)), ErrorKind::Corrupt, "{act}");
        assert_eq!(kind(holder.deposit(STORE, &owner(1, 1), &share(id(1, 2)))), ErrorKind::Corrupt, "{act}");
        assert_eq!(kind(holder.retire(STORE, &owner(1, 1), &id(1, 1), &[], 0)), ErrorKind::Corrupt, "{act}");
    }
}

fn does(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|out| out.status.success())
}

/// The flags of the directory say nothing of the files in it.
#[test]
fn a_slot_whose_data_goes_into_the_journal_is_refused() {
    let [Some(good), _] = places() else { return };
    let place = good.path().join("cell");
    let cell = create(&place, false).unwrap();
    deposit(&cell, id(1, 1));
    let slot = place.join("slot-b").display().to_string();
    if !does("chattr", &["+j", &slot]) {
        return println!("skipped: the flag cannot be set here");
    }
    let key = Key::copied_from(&[2; 32]);
    assert_eq!(kind(cell.deposit(STORE, &id(2, 2), &key)), ErrorKind::Medium);
    assert_eq!(kind(cell.retire(&id(1, 1), Durable::assumed_for_a_test())), ErrorKind::Medium);
    let promise = cell.describe();
    assert!(
        promise.remnants && promise.statement.contains("REMNANTS") && promise.statement.contains("+j"),
        "{promise:?}"
    );
    drop(cell);
    let refused = FileCell::open(&place, Arc::new(System)).unwrap_err();
    assert!(refused.kind() == ErrorKind::Medium && refused.to_string().contains("slot-b"), "{refused}");
    assert_eq!(epochs(&FileCell::look(&place, Arc::new(System)).unwrap()), [1], "it can be looked at");
    std::fs::write(place.join("remnants-accepted"), "").unwrap();
    let cell = open(&place);
    assert!(cell.describe().statement.contains("REMNANTS ACCEPTED"));
    deposit(&cell, id(2, 2));
    drop(cell);
    std::fs::remove_file(place.join("remnants-accepted")).unwrap();
    assert!(does("chattr", &["-j", &slot]));
    assert!(!open(&place).describe().remnants);
}

#[test]
fn without_proc_a_cell_on_ext4_is_refused() {
    let [Some(good), _] = places() else { return };
    if !std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| text.contains(" - ext4 ")) {
        return println!("skipped: no ext4 here");
    }
    let at = |name: &str| good.path().join(name).display().to_string();
    let program = env!("CARGO_BIN_EXE_keyfall");
    let script = |more: &str| format!("umount -l /proc && exec {program} init {} {more}", at(&format!("store{more}")));
    if !does("unshare", &["-m", "sh", "-c", "umount -l /proc"]) {
        return println!("skipped: /proc cannot be taken away here");
    }
    let out = Command::new("unshare").args(["-m", "sh", "-c", &script("")]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && text.contains("/proc"), "{text}");
    let out = Command::new("unshare").args(["-m", "sh", "-c", &script("--accept-remnants")]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("REMNANTS ACCEPTED"), "{text}");
}

/// A copy by `cp --reflink` has the blocks of the original: what is overwritten goes elsewhere, and the key stays where it was.
#[test]
fn slots_that_share_their_blocks_with_a_copy_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (image, xfs) = (at("image"), at("xfs"));
    std::fs::create_dir(&xfs).unwrap();
    let made = does("truncate", &["-s", "400M", &image])
        && does("mkfs.xfs", &["-q", "-m", "reflink=1", &image])
        && does("mount", &["-o", "loop", &image, &xfs]);
    if !made {
        return println!("skipped: no xfs can be made and mounted here");
    }
    let run = std::panic::catch_unwind(|| {
        let place = Path::new(&xfs).join("cell");
        let cell = create(&place, false).unwrap();
        deposit(&cell, id(1, 1));
        assert!(!cell.describe().remnants);
        let copy = Path::new(&xfs).join("copy");
        let names = (place.display().to_string(), copy.display().to_string());
        let share = || assert!(does("cp", &["-a", "--reflink=always", &names.0, &names.1]) && does("sync", &[]));
        let unshare = || {
            std::fs::remove_dir_all(&copy).unwrap();
            // Blocks are let go of in the background.
            (0..100).find(|_| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                does("sync", &["-f", &xfs]) && !cell.describe().remnants
            })
        };
        share();
        let key = Key::copied_from(&[2; 32]);
        assert_eq!(kind(cell.deposit(STORE, &id(2, 2), &key)), ErrorKind::Medium);
        assert!(cell.describe().statement.contains("REMNANTS POSSIBLE"));
        unshare().unwrap();
        deposit(&cell, id(2, 2));
        share();
        assert_eq!(kind(cell.retire(&id(2, 2), Durable::assumed_for_a_test())), ErrorKind::Medium);
        assert_eq!(epochs(&cell), [1, 2], "nothing was written: it would have gone elsewhere");
        unshare().unwrap();
        cell.retire(&id(2, 2), Durable::assumed_for_a_test()).unwrap();
        share();
        drop(cell);
        assert_eq!(kind(FileCell::open(&place, Arc::new(System))), ErrorKind::Medium);
        std::fs::write(place.join("remnants-accepted"), "").unwrap();
        let promise = open(&place).describe();
        assert!(promise.remnants && promise.statement.contains("REMNANTS ACCEPTED"), "{promise:?}");
    });
    assert!(does("umount", &[&xfs]));
    run.unwrap();
}

/// Power cuts and syncs that fail, twice in a row: a process that reads a claim does not know whether it is durable.
#[test]
fn a_claim_that_was_acknowledged_is_never_forgotten() {
    let faults = [Fault::Fails, Fault::Full, Fault::PowerBefore, Fault::PowerAfter];
    for seed in 0..2 {
        for (first, second) in (0..16).map(|n| (faults[n / 4], faults[n % 4])) {
            for (at, again) in (0..16 * 16).map(|n| (n / 16 + 1, n % 16 + 1)) {
                let media = SimulatedDisk::new(Arc::new(Seeded::new(seed)), None);
                let (mut acknowledged, mut asked) = (0, 0);
                for (fault, nth) in [(first, at), (second, again)] {
                    let cell = media.cell().unwrap();
                    // The last claim is made without one, and the next fault may hit its slots.
                    media.gate().plan(Some((nth, fault)));
                    while media.gate().blown().is_none() && asked < acknowledged + 3 {
                        asked += 1;
                        if cell.claim(STORE, &owner(asked, 1), asked).is_ok() {
                            acknowledged = asked;
                        }
                    }
                    drop(cell);
                    media.restart(media.gate().is_off(), seed + nth);
                    let contents = media.cell().unwrap().load().unwrap();
                    let claim = contents.owner.map_or(0, |owner| owner.claim);
                    let run = format!("{first:?} at {at}, {second:?} at {again}, seed {seed}");
                    assert!((acknowledged..=asked).contains(&claim), "{run}: {claim}, not {acknowledged} to {asked}");
                    // What a process has read may never have reached the medium.
                    asked = asked.max(claim);
                }
                media.restart(true, seed);
                let contents = media.cell().unwrap().load().unwrap();
                assert!(contents.owner.map_or(0, |owner| owner.claim) >= acknowledged, "behind a power cut");
            }
        }
    }
}
