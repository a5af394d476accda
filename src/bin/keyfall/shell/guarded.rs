//! Places that no output may touch: what lies in a store, in a root cell or at a keyholder cannot
//! be made again.
//!
//! Invariant: it does not matter whose they are. A command knows the store that it was given, and
//! an output may lead into another one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(crate) use keyfall::opening::check_place;
use keyfall::opening::{absolute, is_store, territory};
use keyfall::{Error, ErrorKind};

use crate::shell::paths::parent;

/// Refuses `place` if `dir`, or a directory above it, is one of keyfall's.
fn refuse(place: &Path, dir: &Path) -> Result<(), Error> {
    let dir = absolute(dir)?;
    match dir.ancestors().find_map(|dir| Some((territory(dir)?, dir))) {
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
                "{} is where the cell of the store {} is expected; name another file",
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
