//! The directory of a journal: numbered files, and what else lies there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, How};
use crate::error::{Error, ErrorKind, Result, told};

/// Where a file of the journal is.
pub(super) fn path(dir: &Path, file: u32) -> PathBuf {
    dir.join(format!("{file:08}.log"))
}

/// Makes durable which files there are.
pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(|e| {
        Error::new(ErrorKind::Io, format!("syncing {}: {}", dir.display(), told(&e))).with_source(e)
    })
}

/// Opens a file of the journal.
pub(super) fn open_file(
    disk: &dyn Disk,
    dir: &Path,
    number: u32,
    how: How,
) -> Result<Arc<dyn DiskFile>> {
    let place = path(dir, number);
    disk.open(&place, how).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::corrupt(format!(
            "{} is missing; restore the store from a copy with `restore`",
            place.display()
        )),
        _ => Error::io(place.display(), e),
    })
}

/// The numbers of its files, in order.
pub(super) fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>> {
    let names = disk.list(dir).map_err(|e| Error::io(dir.display(), e))?;
    let number = |name: &String| name.strip_suffix(".log").and_then(|n| n.parse::<u32>().ok());
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
