//! A store that is built from copies, in a directory.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::paths::url_of;
use crate::dir::sync_dir;
use crate::error::{Error, ErrorKind, Result};
use crate::store::place::{How, at_url};
use crate::store::{SledStore, Store};

/// A file in a store that a restore builds, until the restore has come to its end: one that was cut
/// short, however late, can be run again.
const UNDER_WAY: &str = "restoring";

/// Makes the store that a restore builds, or opens one that an interrupted restore left: it was
/// never claimed, and has no head or is marked as unfinished. Says whether it was made now.
/// [`is_built`] ends it.
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
        made => {
            let store = made?;
            mark(into)?;
            return Ok((Arc::new(store), true));
        }
    };
    let interrupted = || -> Result<bool> {
        if SledStore::was_claimed(into)? {
            return Ok(false);
        }
        Ok(is_marked(into) || SledStore::look(into)?.head()?.is_none())
    };
    match interrupted() {
        Ok(true) => {
            let store = SledStore::open(into)?;
            mark(into)?;
            Ok((Arc::new(store), false))
        }
        Err(e) if e.kind() == ErrorKind::Locked => Err(e),
        Ok(false) | Err(_) => Err(exists),
    }
}

fn mark(store: &Path) -> Result<()> {
    let place = store.join(UNDER_WAY);
    let made = File::create(&place).and_then(|file| file.sync_all());
    made.map_err(|e| Error::io(place.display(), e))?;
    sync_dir(store)
}

fn is_marked(store: &Path) -> bool {
    store.join(UNDER_WAY).symlink_metadata().is_ok_and(|meta| meta.is_file())
}

/// Ends the making of a store that a restore built, once it is closed: from here on it is like any
/// other.
///
/// # Errors
/// `Io`.
pub fn is_built(into: &Path) -> Result<()> {
    if url_of(into).is_some() {
        return Ok(());
    }
    let place = into.join(UNDER_WAY);
    // Not synced: if it comes back after a power cut, the restore can be run again, and need not.
    match std::fs::remove_file(&place) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(place.display(), e)),
        _ => Ok(()),
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
