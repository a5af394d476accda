//! Where a store and its cell are, and how a store in a directory is opened for what is asked.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::paths::{absolute, apart, url_of};
use super::pointer::{self, Pointer};
use crate::cell::RootCell;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::store::place::{How, at_url, check_url};
use crate::store::{SledStore, Store};

/// A log of at most so many bytes is read whole for a look, which leaves every file as it is.
const LOOK_WHOLE_BYTES: u64 = 16 << 20;

/// `STORE.cell`, beside the store: the cell itself, or a file that names its place.
pub fn default_cell(store: &Path) -> PathBuf {
    let by_letters = store.components().as_path();
    let mut name = match by_letters.file_name() {
        Some(_) => by_letters.as_os_str().to_owned(),
        // `.` and `..` have a name only where they lead.
        None => absolute(store).unwrap_or_else(|_| by_letters.to_owned()).into_os_string(),
    };
    name.push(".cell");
    PathBuf::from(name)
}

/// The blobs of a store that is opened read-only. What was never opened as the owner of a cell, a
/// backup, is not touched; nor is what cannot be. A long log that was is found out about through
/// its index.
///
/// # Errors
/// As [`SledStore::look`] and [`SledStore::open`]; of a URL as `ObjectLog::look`.
pub fn store_to_look(store: &Path) -> Result<Arc<dyn Store>> {
    match url_of(store) {
        Some(url) => at_url(url, How::Look),
        None => Ok(Arc::new(blobs_to_look(store)?)),
    }
}

pub(super) fn blobs_to_look(store: &Path) -> Result<SledStore> {
    if SledStore::was_claimed(store)? { by_length(store) } else { SledStore::look(store) }
}

/// Looks at a store as it is where its log is short; a long one is found out about through its
/// index.
pub(super) fn by_length(store: &Path) -> Result<SledStore> {
    if !is_long(store) {
        return SledStore::look(store);
    }
    let cannot_be_written = |kind| {
        matches!(kind, ErrorKind::Io | ErrorKind::Full | ErrorKind::Refused | ErrorKind::Medium)
    };
    match SledStore::open(store) {
        Err(e) if cannot_be_written(e.kind()) => SledStore::look(store),
        opened => opened,
    }
}

/// Whether a store's log is too long to be read whole for a look.
pub(super) fn is_long(store: &Path) -> bool {
    SledStore::journal_bytes(store).is_ok_and(|bytes| bytes > LOOK_WHOLE_BYTES)
}

/// Where a store and its cell are, in two directories that lie apart.
#[derive(Clone, Debug)]
pub struct Location {
    store: PathBuf,
    cell: PathBuf,
    /// The store that the cell belongs to, if a file beside the store says so.
    bound: Option<String>,
}

impl Location {
    /// Finds the cell of the store at `store`: at `cell` if that is given, else where
    /// [`default_cell`] is or leads.
    ///
    /// # Errors
    /// `Refused` if one of the two lies inside the other; `Invalid` if the file beside the
    /// store names no cell; `Io`.
    pub fn find(store: &Path, cell: Option<&Path>) -> Result<Self> {
        check_url(&store.to_string_lossy())?;
        let found = match cell {
            Some(cell) => Pointer { place: cell.to_owned(), bound: None },
            None if url_of(store).is_some() => {
                return Err(Error::invalid(format!(
                    "no file lies beside {} that says where its cell is; name the cell with \
                     `Builder::cell_at`",
                    store.display()
                )));
            }
            None => {
                let default = default_cell(store);
                pointer::read(&default)?.unwrap_or(Pointer { place: default, bound: None })
            }
        };
        apart(&[("the cell", &found.place), ("the store", store)])?;
        Ok(Location { store: store.to_owned(), cell: found.place, bound: found.bound })
    }

    /// A store in a directory, whose cell lies elsewhere than in one.
    pub(super) fn without_cell(store: &Path, cell: &dyn RootCell) -> Self {
        Location {
            store: store.to_owned(),
            cell: PathBuf::from(cell.describe().place),
            bound: None,
        }
    }

    /// Where the store is.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Where the cell is.
    pub fn cell(&self) -> &Path {
        &self.cell
    }

    /// The file beside the store that is to name the cell; `None` if the cell itself lies there.
    ///
    /// # Errors
    /// `Exists` if something else has that name: the store would not be found with its cell
    /// again.
    pub fn pointer(&self) -> Result<Option<PathBuf>> {
        if url_of(&self.store).is_some() {
            return Ok(None);
        }
        pointer::to_write(default_cell(&self.store), &self.cell)
    }

    /// Writes the file beside the store that names the cell, if the cell is not there;
    /// bound to `id`, if the store has one already.
    ///
    /// # Errors
    /// As [`Location::pointer`]; `Io`, `Full`.
    pub fn write_pointer(&self, id: Option<StoreId>, env: &dyn Env) -> Result<()> {
        match self.pointer()? {
            Some(file) => pointer::write(&file, &self.cell, id, env),
            None => Ok(()),
        }
    }

    /// Refuses a store that the file beside it does not name: somebody may have put another in its
    /// place.
    pub(super) fn check_bound(&self, id: StoreId) -> Result<()> {
        let id = id.to_string();
        match &self.bound {
            Some(bound) if *bound != id => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "{} is store {id}, and {} is bound to store {bound}: another store was put in \
                     its place; if that was you, name the cell with `Builder::cell_at`",
                    self.store.display(),
                    default_cell(&self.store).display()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether others than its owner may read a cell's keys, or put others in their place.
pub fn is_exposed(cell: &Path) -> bool {
    let mode = |path: &Path| path.metadata().map_or(0, |meta| meta.mode());
    let dir = mode(cell);
    let keys =
        ["slot-a", "slot-b", "engine.key"].iter().fold(0, |all, name| all | mode(&cell.join(name)));
    // The group's bits, and everybody's.
    [3, 0]
        .iter()
        .any(|who| (dir >> who) & 1 != 0 && ((keys >> who) & 6 != 0 || (dir >> who) & 2 != 0))
}
