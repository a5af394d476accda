//! Directories that are a store, a root cell or a keyholder's: nothing else may lie inside one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::paths::{absolute, on_the_ground, url_of};
use crate::error::{Error, ErrorKind, Result};

/// Files of a root cell, and of a keyholder's shares.
const CELL: [&str; 5] = ["slot-a", "slot-b", "claim-a", "claim-b", "quorum.json"];

/// Whether a directory is a store, whole or damaged.
pub fn is_store(dir: &Path) -> bool {
    // A program of that name is no marker; a damaged marker beside a log is one.
    let marker = dir.join("keyfall");
    begins(&marker, b"keyfall store, format ") || marker.is_file() && dir.join("log").is_dir()
}

/// Whether a directory is a store of objects, as `file:///` names one.
pub(crate) fn is_object_log(dir: &Path) -> bool {
    begins(&dir.join("keyfall"), b"keyfall object log, format ")
}

/// What a directory is, in words (`the store`, `the root cell`, `the keyholder`); `None` if it
/// is none of these.
pub fn territory(dir: &Path) -> Option<&'static str> {
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

/// Refuses a place for a store, a cell or a copy that lies inside a store, a root cell or a
/// keyholder's directory.
///
/// # Errors
/// `Refused`; `Io`.
pub fn check_place(place: &Path) -> Result<()> {
    if url_of(place).is_some_and(|url| !url.starts_with("file://")) {
        return Ok(());
    }
    let whole = absolute(&on_the_ground(place))?;
    let above = whole.parent().into_iter().flat_map(Path::ancestors);
    match above.filter_map(|dir| Some((territory(dir)?, dir))).next() {
        None => Ok(()),
        Some((what, dir)) => Err(Error::new(
            ErrorKind::Refused,
            format!("{} lies inside {what} {}; name another place", place.display(), dir.display()),
        )),
    }
}

fn begins(file: &Path, with: &[u8]) -> bool {
    let mut head = vec![0; with.len()];
    // A pipe of that name would have to be waited for.
    file.is_file()
        && File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == with
}
