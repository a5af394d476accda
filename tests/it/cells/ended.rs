//! Epochs that a keyholder has ended: every order of its verbs, with crashes in every write. SPEC
//! §7, §15.

use std::path::{Path, PathBuf};

use keyfall::ErrorKind;
use keyfall::promise::RootId;
use keyfall::quorum::{Holder, Keyholder};

use super::{NOBODY, STORE, files, holder, id, put_back, quick_dir, share};
use crate::support::error_kind;

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
    /// What the keyholder was told after that.
    fn run(self, holder: &Holder, told: Told, path: &[String]) -> Told {
        match self {
            Verb::Deposit(epoch, attempt) => {
                let taken = holder.deposit(STORE, &NOBODY, &share(id(epoch, attempt)));
                // A share of the kept key itself is dealt to each keyholder that lacks it.
                let kept = epoch == told.acknowledged && Some(id(epoch, attempt)) == told.kept;
                assert!(
                    taken.is_err() || epoch > told.acknowledged || kept,
                    "after {path:?}: {self:?} is taken"
                );
                told
            }
            Verb::Retire(epoch, attempt) => {
                let stated = holder.retire(STORE, &NOBODY, &id(epoch, attempt), &[], 0);
                assert!(
                    stated.is_err() || epoch >= told.acknowledged,
                    "after {path:?}: {self:?} is taken"
                );
                let acknowledged = if stated.is_ok() { epoch } else { told.acknowledged };
                let kept = if stated.is_ok() { Some(id(epoch, attempt)) } else { told.kept };
                Told { acknowledged, asked: told.asked.max(epoch), kept }
            }
        }
    }
}

/// Goes on from what lies in `dir` with every verb, in a process of its own; with `torn`, also from
/// every state that a power cut in the middle of a verb leaves.
fn every_order(dir: &Path, told: Told, steps: usize, torn: bool, path: &mut Vec<String>) {
    let fence = holder(dir).load(STORE).unwrap().committed;
    assert!(
        (told.acknowledged..=told.asked).contains(&fence),
        "after {path:?}: the fence is {fence}"
    );
    if steps == 0 {
        return;
    }
    let slots = dir.join("stores").join(STORE.to_string());
    let before = files(&slots);
    for verb in VERBS {
        put_back(&slots, &before);
        let after = verb.run(&holder(dir), told, path);
        let written: Vec<_> =
            files(&slots).into_iter().filter(|file| !before.contains(file)).collect();
        path.push(format!("{verb:?}"));
        every_order(dir, after, steps - 1, torn, path);
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
                steps - 1,
                torn,
                path,
            );
            path.pop();
        }
    }
    put_back(&slots, &before);
}

const NOTHING: Told = Told { acknowledged: 0, asked: 0, kept: None };

/// It lay in the tombstone that the next deposit wrote over: an epoch that had ended was taken once
/// more, and its erase came back.
#[test]
fn a_keyholder_never_forgets_which_epoch_it_has_ended() {
    every_order(quick_dir().path(), NOTHING, 4, false, &mut Vec::new());
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
            for fence in [&holder, &self::holder(dir.path())]
                .map(|holder| holder.load(STORE).unwrap().committed)
            {
                assert_eq!(fence, told.acknowledged, "after {path:?}");
            }
        }
    }
}

#[test]
fn a_keyholder_never_forgets_which_epoch_it_has_ended_where_a_write_was_torn() {
    let begun: [&[Verb]; 4] = [
        &VERBS[..1],
        &VERBS[..2],
        &[VERBS[0], VERBS[3], VERBS[1]],
        &[VERBS[0], VERBS[1], VERBS[4], VERBS[6]],
    ];
    for verbs in begun {
        let dir = quick_dir();
        let holder = holder(dir.path());
        let told = verbs.iter().fold(NOTHING, |told, verb| verb.run(&holder, told, &[]));
        drop(holder);
        every_order(dir.path(), told, 2, true, &mut vec![format!("{verbs:?}")]);
    }
}

/// An engine ends epoch 2, and dies with a candidate of epoch 3 deposited; another one, with an
/// older copy of the store, then had its own candidate of epoch 2 taken, and the live root key
/// destroyed.
#[test]
fn a_pending_deposit_does_not_reopen_an_ended_epoch() {
    let dir = quick_dir();
    for restart in [false, true] {
        let places: Vec<PathBuf> =
            (0..3).map(|n| dir.path().join(format!("{restart} {n}"))).collect();
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
            assert_eq!(
                error_kind(holder.deposit(STORE, &NOBODY, &share(id(2, 9)))),
                ErrorKind::Refused
            );
            assert_eq!(
                error_kind(holder.retire(STORE, &NOBODY, &id(2, 9), &[], 0)),
                ErrorKind::Refused
            );
            assert_eq!(
                error_kind(holder.retire(STORE, &NOBODY, &id(1, 1), &[], 0)),
                ErrorKind::Refused
            );
            assert_eq!(holder.load(STORE).unwrap().committed, 2);
            let mut live: Vec<RootId> =
                holder.load(STORE).unwrap().shares.iter().map(|share| share.id).collect();
            live.sort_unstable();
            assert_eq!(live, [id(2, 2), id(3, 3)]);
        }
    }
}
