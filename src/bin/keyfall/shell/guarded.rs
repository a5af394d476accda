//! Places that no output may touch: what lies in a store, in a root cell or at a keyholder cannot
//! be made again.
//!
//! Invariant: it does not matter whose they are. A command knows the store that it was given, and
//! an output may lead into another one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keyfall::{Error, ErrorKind};

use crate::shell::paths::{absolute, parent};

/// Files of a root cell, and of a keyholder's shares.
const CELL: [&str; 5] = ["slot-a", "slot-b", "claim-a", "claim-b", "quorum.json"];

fn begins(file: &Path, with: &[u8]) -> bool {
    let mut head = vec![0; with.len()];
    // Reading a pipe of that name might block.
    file.is_file()
        && File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == with
}

/// Whether a directory is a store, whole or damaged.
pub(crate) fn is_store(dir: &Path) -> bool {
    // A program of that name is no marker; a damaged marker beside a log counts as one.
    let marker = dir.join("keyfall");
    begins(&marker, b"keyfall store, format ") || marker.is_file() && dir.join("log").is_dir()
}

/// What a directory is, if it is one of keyfall's.
fn kind(dir: &Path) -> Option<&'static str> {
    let has = |name: &str| dir.join(name).symlink_metadata().is_ok();
    if is_store(dir) {
        return Some("the store");
    }
    if CELL.iter().any(|name| has(name))
        || begins(&dir.join("engine.key"), b"keyfall-engine-private-")
    {
        return Some("the root cell");
    }
    let keyholder = begins(&dir.join("identity"), b"keyfall-keyholder-private-");
    (keyholder || has("engines") && dir.join("stores").is_dir()).then_some("the keyholder")
}

/// Refuses `place` if `dir`, or a directory above it, is one of keyfall's.
fn refuse(place: &Path, dir: &Path) -> Result<(), Error> {
    let dir = absolute(dir)?;
    match dir.ancestors().find_map(|dir| Some((kind(dir)?, dir))) {
        None => Ok(()),
        Some((what, dir)) => Err(Error::new(
            ErrorKind::Refused,
            format!("{} lies inside {what} {}; name another place", place.display(), dir.display()),
        )),
    }
}

/// The store whose cell has this file's name: opening that store would take the file for its cell.
fn store_of(target: &Path) -> Option<PathBuf> {
    let store = target.file_name()?.as_bytes().strip_suffix(b".cell")?;
    Some(target.with_file_name(OsStr::from_bytes(store))).filter(|store| is_store(store))
}

/// Refuses a file that would lie in a store, a root cell or a keyholder's directory, or have the
/// name of a store's cell. `target` is where the links of `place` lead.
pub(crate) fn check_file(place: &Path, target: &Path) -> Result<(), Error> {
    refuse(place, parent(target))?;
    match store_of(target) {
        None => Ok(()),
        Some(store) => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} is where the cell of the store {} is looked for; name another file",
                place.display(),
                store.display()
            ),
        )),
    }
}

/// Refuses a directory to write files into that is a store, a root cell or a keyholder's, or lies
/// inside one.
pub(crate) fn check_dir(dir: &Path) -> Result<(), Error> {
    refuse(dir, dir)
}

/// Refuses a directory for a new store, root cell or keyholder that lies inside another one.
pub(crate) fn check_place(place: &Path) -> Result<(), Error> {
    let whole = absolute(place)?;
    whole.parent().map_or(Ok(()), |above| refuse(place, above))
}
