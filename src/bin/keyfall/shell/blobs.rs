//! The blobs of a store, without a cell: looked at, built, taken away.

use std::path::Path;

use keyfall::store::{SledStore, Store};
use keyfall::{Error, ErrorKind};

/// Longest log that is read whole for a look, which leaves every file as it is.
pub(crate) const LOOK_WHOLE_BYTES: u64 = 16 << 20;

/// The blobs of a store that is looked at. A backup, which never was opened as the owner of a cell,
/// is left untouched; so is what cannot be written.
pub(crate) fn blobs_to_look(store: &Path) -> Result<SledStore, Error> {
    if !SledStore::was_claimed(store)? {
        return SledStore::look(store);
    }
    by_length(store)
}

/// Looks at a store: by reading its log whole where that is short, and else through its index.
pub(crate) fn by_length(store: &Path) -> Result<SledStore, Error> {
    if !SledStore::log_bytes(store).is_ok_and(|bytes| bytes > LOOK_WHOLE_BYTES) {
        return SledStore::look(store);
    }
    match SledStore::open(store) {
        Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::Full | ErrorKind::Refused) => {
            SledStore::look(store)
        }
        opened => opened,
    }
}

/// Opens a copy as it is, for a drill or a restore. It cannot be opened while it is written to:
/// what is being written looks like damage.
pub(crate) fn copy_as_it_is(place: &Path) -> Result<SledStore, Error> {
    SledStore::look(place).map_err(|e| match e.kind() {
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

/// Makes the store that a restore builds, or opens the one that an interrupted restore left, which
/// has no head and was never claimed. Says whether it was made now.
pub(crate) fn to_build(into: &Path) -> Result<(SledStore, bool), Error> {
    let exists = match SledStore::create(into) {
        Err(e) if e.kind() == ErrorKind::Exists => e,
        made => return made.map(|store| (store, true)),
    };
    let interrupted = || -> Result<bool, Error> {
        Ok(!SledStore::was_claimed(into)? && SledStore::look(into)?.head()?.is_none())
    };
    match interrupted() {
        Ok(true) => SledStore::open(into).map(|store| (store, false)),
        Err(e) if e.kind() == ErrorKind::Locked => Err(e),
        Ok(false) | Err(_) => Err(exists),
    }
}

/// Removes what a failed command made in a directory, and the directory if it was not there before.
pub(crate) fn take_away(dir: &Path, was_there: bool) {
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
