//! A store at a URL, with its cell: neither lies beside the other, and no file says where the cell
//! is.

use std::path::Path;
use std::sync::Arc;

use super::paths::url_of;
use crate::error::{Error, ErrorKind, Result};
use crate::store::place::{How, at_url, without_password};
use crate::store::{SledStore, Store};

/// Opens the copy at a place to write to it, or makes one.
///
/// # Errors
/// As [`SledStore::open_or_create`], and for a URL as
/// `ObjectLog::open_or_create`.
pub fn copy_to_write(place: &Path) -> Result<Arc<dyn Store>> {
    match url_of(place) {
        Some(url) => at_url(url, How::OpenOrCreate),
        None => Ok(Arc::new(SledStore::open_or_create(place)?)),
    }
}

/// Refuses a cell in files for a store that other machines can reach: no other machine could ever
/// take it over, and a copy of the cell would be two.
///
/// # Errors
/// `Refused`, also for a URL with a password.
pub fn check_reach(store: &Path, cell_is_shared: bool, single_machine: bool) -> Result<()> {
    without_password(&store.to_string_lossy())?;
    match url_of(store) {
        Some(url) if !cell_is_shared && !single_machine => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{url} can be reached from other machines, and a cell in a file from this one \
                 alone: lose this machine and all data is lost; spread the cell over keyholders \
                 with `Builder::keyholders`, or say with `Builder::single_machine` that only this \
                 machine ever opens the store"
            ),
        )),
        _ => Ok(()),
    }
}
