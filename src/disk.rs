//! The disk: the few operations on files that the journal and the file cell need, as a port, so
//! that a simulation can cut the power between any two of them.
//!
//! Assumed of a disk, and no more: what was written before a `sync_data` that succeeded is there
//! after a power cut, and so is a name whose directory was synced; anything else may be there or
//! not, in any order, sector by sector (512 bytes). A sync that *failed* may have thrown away what
//! it should have written, and reads may go on showing it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fiemap::{Fiemap, FiemapExtentFlags};
use rustix::fs::{FallocateFlags, IFlags, fallocate};
use rustix::io::Errno;

use crate::dir::{open_direct, open_to_read, open_to_write};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Reads an existing file.
    Read,
    /// Writes an existing file.
    Write,
    /// To write a file, empty if it was not there.
    Create,
}

/// A place for files.
pub(crate) trait Disk: Send + Sync {
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>>;
    /// Names of the files in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Fills `into`, which is aligned to a page, from the beginning of a file: from the medium and
    /// not from the page cache, if the file system can.
    fn read_medium(&self, path: &Path, into: &mut [u8]) -> io::Result<()>;
    /// Why the old bytes of a file may stay when it is overwritten; `None` if nothing tells so,
    /// or it is not there.
    fn keeps(&self, _path: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }
}

/// As [`Disk::keeps`], of a file or directory of the operating system: by its flags, and by whether
/// another file shares its blocks.
pub(crate) fn keeps_old_bytes(file: &File) -> io::Result<Option<&'static str>> {
    let flags = rustix::fs::ioctl_getflags(file)?;
    if flags.contains(IFlags::JOURNALING) {
        return Ok(Some("has the flag +j: its data goes into the journal first"));
    }
    if flags.contains(IFlags::COMPRESSED) {
        return Ok(Some("has the flag +c: it is compressed, and written elsewhere each time"));
    }
    if file.metadata()?.is_dir() {
        return Ok(None);
    }
    for extent in Fiemap::new(file) {
        let flags = extent?.fe_flags;
        if flags.contains(FiemapExtentFlags::SHARED) {
            return Ok(Some(
                "shares its blocks with another file, as `cp --reflink` leaves them, and old bytes \
                 stay there",
            ));
        }
        if flags.contains(FiemapExtentFlags::DATA_INLINE) {
            return Ok(Some("lies in its inode, which goes into the journal first"));
        }
    }
    Ok(None)
}

/// Whether a file system says with this that it cannot be asked.
pub(crate) fn cannot_say(e: &io::Error) -> bool {
    let errno = Errno::from_io_error(e);
    errno.is_some_and(|e| [Errno::NOTTY, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS].contains(&e))
}

/// An open file, read and written at offsets.
pub(crate) trait DiskFile: Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// After an error a part of it may be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Gives the space of a range back; it reads as zeros then. A file system without holes changes
    /// nothing, and says `false`.
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool>;
}

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let file = match how {
            How::Read => open_to_read(path)?,
            _ => open_to_write(
                path,
                File::options().read(true).create(how == How::Create).truncate(false),
            )?,
        };
        Ok(Arc::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn read_medium(&self, path: &Path, into: &mut [u8]) -> io::Result<()> {
        if let Ok(file) = open_direct(path) {
            match FileExt::read_exact_at(&file, into, 0) {
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
                done => return done,
            }
        }
        FileExt::read_exact_at(&open_to_read(path)?, into, 0)
    }

    fn keeps(&self, path: &Path) -> io::Result<Option<&'static str>> {
        match open_to_read(path).and_then(|file| keeps_old_bytes(&file)) {
            // A file system that cannot be asked is judged when a cell is opened.
            Err(e) if e.kind() == io::ErrorKind::NotFound || cannot_say(&e) => Ok(None),
            told => told,
        }
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        match fallocate(self, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
