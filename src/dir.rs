//! Directories: one process at a time in each, and names in them made durable.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Held on the file `lock` of a directory (flock(2)) until it is dropped, or the process ends.
pub(crate) struct DirLock(File);

impl DirLock {
    /// Takes the lock; `what` names the directory in the error.
    pub(crate) fn take(dir: &Path, what: &str) -> Result<Self> {
        let path = dir.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::io(path.display(), e))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Locked,
                format!("the {what} {} is in use by another process; wait for it or stop it", dir.display()),
            )),
            Err(std::fs::TryLockError::Error(e)) => Err(Error::io(path.display(), e)),
        }
    }
}

impl DirLock {
    /// Shares the lock with others that only look; `None` where there is no file to lock, as on a medium that was never written to since.
    #[cfg_attr(not(feature = "sled"), expect(dead_code, reason = "a store in a directory alone is looked at"))]
    pub(crate) fn share(dir: &Path, what: &str) -> Result<Option<Self>> {
        let path = dir.join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path.display(), e)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(DirLock(file))),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Locked,
                format!("the {what} {} is in use by another process; wait for it or stop it", dir.display()),
            )),
            Err(std::fs::TryLockError::Error(e)) => Err(Error::io(path.display(), e)),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread has just forked shares the lock until it runs its program.
        let _ = self.0.unlock();
    }
}

/// Makes a directory that only its owner enters, and those above it, where they are not there.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(|e| Error::io(dir.display(), e))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(format!("syncing {}", dir.display()), e))
}
