//! A slot's place: the first sector of a file of its own. It is overwritten in place, synced, and
//! read back from the medium if the file system can.

use std::io;
use std::path::Path;

use crate::disk::{Disk, How};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::SLOT_BYTES;
use crate::secret::Secret;

/// Bytes of the file that a slot begins: a block of a disk with 4 KiB sectors, which O_DIRECT
/// reads.
const FILE_BYTES: usize = 4096;

/// Where a slot is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The medium: what the page cache shows may never have reached it, or the medium may have
    /// moved on while this machine slept.
    Medium,
    /// The page cache: the only place that another process's writes in progress do not disturb.
    Cache,
}

/// What a slot's file holds.
pub(super) enum Sector {
    /// No file is there.
    Absent,
    /// A file that was never written.
    Empty,
    /// The file is shorter than a slot.
    Short,
    /// A slot's bytes, or more.
    Read(Secret),
}

/// Reads a slot's file.
pub(super) fn read(disk: &dyn Disk, path: &Path, source: Source) -> Result<Sector> {
    let read = || {
        if source == Source::Medium {
            // Memory for secrets is aligned as O_DIRECT wants it.
            let mut bytes = Secret::zeroed(FILE_BYTES);
            match disk.read_medium(path, &mut bytes) {
                Ok(()) => return Ok(Sector::Read(bytes)),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(e) => return Err(e),
            }
        }
        let file = disk.open(path, How::Read)?;
        let mut bytes = Secret::zeroed(SLOT_BYTES);
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Sector::Read(bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(if file.len()? == 0 { Sector::Empty } else { Sector::Short })
            }
            Err(e) => Err(e),
        }
    };
    match read() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Sector::Absent),
        read => read.map_err(|e| Error::io(path.display(), e)),
    }
}

/// Overwrites a slot, syncs it and reads it back.
pub(super) fn overwrite(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e| Error::io(format!("writing the cell slot {}", path.display()), e);
    let file = disk.open(path, How::Create).map_err(io)?;
    file.write_all_at(bytes, 0).map_err(io)?;
    file.sync_data().map_err(io)?;
    let mut back = Secret::zeroed(FILE_BYTES);
    let read = match disk.read_medium(path, &mut back) {
        // A file that is new, or was damaged. (To ask for its length each time makes some file
        // systems write its times each time.)
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => file
            .set_len(FILE_BYTES as u64)
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.read_medium(path, &mut back)),
        read => read,
    };
    read.map_err(io)?;
    if back[..SLOT_BYTES] != *bytes {
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "the cell slot {} reads back otherwise than written: the disk under the cell is \
                 failing",
                path.display()
            ),
        ));
    }
    Ok(())
}
