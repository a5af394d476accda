//! Room in a directory that is given up when the disk is full: for erases, and for a discard.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file's name; it lies in no folder, so that no list shows it.
const NAME: &str = "reserve";
/// What one erase of many scopes writes, or the claim of a discard.
const BYTES: u64 = 2 << 20;
const PIECE: usize = 64 << 10;

/// The reserve of a directory.
pub(super) struct Reserve {
    file: PathBuf,
}

impl Reserve {
    pub(super) fn of(dir: &Path) -> Self {
        Reserve { file: dir.join(NAME) }
    }

    /// Takes the room, or as much of it as the disk has. Says whether it is whole, or the file
    /// system keeps no room.
    pub(super) fn keep(&self) -> bool {
        match self.lay_in() {
            Ok(()) => true,
            Err(e) => {
                !matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }

    /// Writes what is missing: zeros, for a hole takes no room.
    fn lay_in(&self) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.file)?;
        let mut there = file.metadata()?.len();
        while there < BYTES {
            let piece = (BYTES - there).min(PIECE as u64) as usize;
            file.write_all(&[0; PIECE][..piece])?;
            there += piece as u64;
        }
        file.sync_all()
    }

    /// Gives the room up; says whether there was any.
    pub(super) fn give(&self) -> bool {
        let held = self.file.symlink_metadata().is_ok_and(|meta| meta.blocks() > 0);
        held && std::fs::remove_file(&self.file).is_ok()
    }
}
