//! The file cell in its surroundings: where it may lie, what its slots hold, what it answers to a
//! wrong call. SPEC §7, §15.

mod claims;
mod ended;
mod looks;
mod places;
mod slots;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyfall::cell::{FileCell, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::env::System;
use keyfall::promise::RootId;
use keyfall::quorum::{Holder, Share};
use keyfall::store::StoreId;

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

/// A directory on a file system that overwrites in place, and one on a file system that does not,
/// where there are such.
fn places() -> [Option<tempfile::TempDir>; 2] {
    let good = tempfile::tempdir().unwrap();
    let good = create(&good.path().join("probe"), false).is_ok().then_some(good);
    [good, Path::new("/dev/shm").is_dir().then(|| tempfile::tempdir_in("/dev/shm").unwrap())]
}

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

/// The files of a directory, in the order in which they were written last; by name where the clock
/// is too coarse.
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
        (
            path.clone(),
            std::fs::metadata(&path).unwrap().modified().unwrap(),
            std::fs::read(&path).unwrap(),
        )
    };
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(entry).collect();
    files.sort();
    files
}

fn does(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|out| out.status.success())
}

const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

/// In memory where possible: these are thousands of states, and nothing here depends on the medium.
fn quick_dir() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() }
}
