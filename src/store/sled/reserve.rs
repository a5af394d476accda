//! Room on the disk that is given up when the disk is full, so that an erase goes through.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use crate::dir::open_to_write;
use crate::error::{Error, ErrorKind, Result};

/// File name of the reserve within the store's directory.
pub(super) const RESERVE: &str = "reserve";
/// Bytes of the reserve: what opening the index, one erase of many scopes and closing write.
const RESERVE_BYTES: u64 = 2 << 20;

/// The reserve of a store.
pub(super) struct Reserve {
    dir: PathBuf,
    /// Whether the reserve is not whole and the disk has no room for it: the room that is left is
    /// for erases alone.
    squeezed: AtomicBool,
}

impl Reserve {
    pub(super) fn of(dir: &Path) -> Self {
        Reserve { dir: dir.to_owned(), squeezed: AtomicBool::new(false) }
    }

    pub(super) fn is_squeezed(&self) -> bool {
        self.squeezed.load(Ordering::Relaxed)
    }

    /// Takes the room, or as much of it as the disk has.
    pub(super) fn lay_in(&self) {
        let file =
            open_to_write(&self.dir.join(RESERVE), File::options().create(true).truncate(false));
        let laid = file.and_then(|file| {
            if file.metadata()?.blocks() * 512 >= RESERVE_BYTES {
                return Ok(());
            }
            let take = |bytes| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
            let whole = take(RESERVE_BYTES);
            if whole.is_err() {
                let _ = (1..4).any(|n| take(RESERVE_BYTES >> n).is_ok());
            }
            Ok(whole?)
        });
        match laid {
            Ok(()) => self.squeezed.store(false, Ordering::Relaxed),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                self.squeezed.store(true, Ordering::Relaxed);
            }
            // A file system on which no room can be kept.
            Err(_) => {}
        }
    }

    /// Gives the reserve to an erase; says whether there was any.
    pub(super) fn hand_out(&self) -> bool {
        let path = self.dir.join(RESERVE);
        let held = path.symlink_metadata().is_ok_and(|meta| meta.blocks() > 0);
        let had = held && std::fs::remove_file(path).is_ok();
        if had {
            self.squeezed.store(true, Ordering::Relaxed);
        }
        had
    }

    /// Fails on a full disk: only erases write to it until it has room again.
    pub(super) fn check_room(&self) -> Result<()> {
        if !self.is_squeezed() {
            return Ok(());
        }
        self.lay_in();
        if self.is_squeezed() {
            let text = format!(
                "{}: no space left but for erases; free some space and call again",
                self.dir.display()
            );
            return Err(Error::new(ErrorKind::Full, text));
        }
        Ok(())
    }

    /// Whether the disk has as much room as the reserve; true if it does not say.
    pub(super) fn has_room(&self) -> bool {
        !rustix::fs::statvfs(&self.dir)
            .is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < RESERVE_BYTES)
    }
}
