//! Places that no output may touch: what lies in a store, in a root cell or at a keyholder cannot be made again.
//!
//! Invariant: whose they are does not matter. A command knows the store that it was given, and an output may lead into another one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keyfall::opening::{absolute, territory};
pub(crate) use keyfall::opening::{check_place, is_store};
use keyfall::{Error, ErrorKind};

use crate::outfile::parent;

/// Refuses `place` where `dir`, or a directory above it, is one of ours.
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

/// The store whose cell's name a file bears. Whoever opens that store takes the file for the place of its cell.
fn store_of(target: &Path) -> Option<PathBuf> {
    let store = target.file_name()?.as_bytes().strip_suffix(b".cell")?;
    Some(target.with_file_name(OsStr::from_bytes(store))).filter(|store| is_store(store))
}

/// Refuses a file that would lie in a store, a root cell or a keyholder's directory, or bear the name of a store's cell. `target` is
/// where the links of `place` lead.
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

/// Refuses a directory that is a store, a root cell or a keyholder's, or lies inside one: for files that are written into it.
pub(crate) fn check_dir(dir: &Path) -> Result<(), Error> {
    refuse(dir, dir)
}
