//! A store that is built from copies, in a directory.

use std::path::Path;
use std::sync::Arc;

use super::paths::url_of;
use crate::error::{Error, ErrorKind, Result};
use crate::store::place::{How, at_url};
use crate::store::{SledStore, Store};

/// Makes the store that a restore builds, or opens one that an interrupted restore left: it has no
/// head, and was never claimed. Says whether it was made now.
///
/// # Errors
/// `Exists` if a store, or something else, is there; as [`SledStore::create`].
pub fn to_build(into: &Path) -> Result<(Arc<dyn Store>, bool)> {
    if let Some(url) = url_of(into) {
        // What is there without a head is gone on with, and nothing is taken away.
        return at_url(url, How::Create).map(|store| (store, false));
    }
    let exists = match SledStore::create(into) {
        Err(e) if e.kind() == ErrorKind::Exists => e,
        made => return made.map(|store| (Arc::new(store) as Arc<dyn Store>, true)),
    };
    let interrupted = || -> Result<bool> {
        Ok(!SledStore::was_claimed(into)? && SledStore::look(into)?.head()?.is_none())
    };
    match interrupted() {
        Ok(true) => Ok((Arc::new(SledStore::open(into)?), false)),
        Err(e) if e.kind() == ErrorKind::Locked => Err(e),
        Ok(false) | Err(_) => Err(exists),
    }
}

/// Opens a copy as it is, for a drill or a restore. While it is written to it cannot be: what is
/// being written looks like damage.
///
/// # Errors
/// As [`SledStore::look`].
pub fn copy_as_it_is(place: &Path) -> Result<Arc<dyn Store>> {
    let copy = match url_of(place) {
        Some(url) => at_url(url, How::Look),
        None => SledStore::look(place).map(|copy| Arc::new(copy) as Arc<dyn Store>),
    };
    copy.map_err(|e| match e.kind() {
        ErrorKind::Absent => Error::new(
            ErrorKind::Absent,
            format!("no store at {}; name a backup or a copy", place.display()),
        ),
        ErrorKind::Locked => Error::new(
            ErrorKind::Locked,
            format!(
                "{e}, or copy it as it is (`cp -a {} ELSEWHERE`) and name that",
                place.display()
            ),
        ),
        _ => e,
    })
}

/// Takes away what a failed making left in a directory, and the directory if that was not there
/// before.
pub fn take_away(dir: &Path, was_there: bool) {
    if !was_there {
        let _ = std::fs::remove_dir_all(dir);
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_dir {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
    }
}
