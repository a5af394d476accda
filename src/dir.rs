//! Directories: one process at a time in each, and names in them made durable.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;

/// Held on the file `lock` of a directory (flock(2)) until it is dropped, or the process ends. The file says which process that is.
pub(crate) struct DirLock {
    /// Gone only while it is dropped.
    file: Option<File>,
    /// Device and number of the file.
    which: (u64, u64),
    process: Process,
}

/// The lock files that this process holds.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<(u64, u64)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DirLock {
    /// Takes the lock; `what` names the directory in the error.
    pub(crate) fn take(dir: &Path, what: &str) -> Result<Self> {
        let path = dir.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::io(path.display(), e))?;
        let taken = file.try_lock();
        let lock = Self::locked(file, taken, dir, what)?;
        if let Some(file) = &lock.file {
            // For who finds it taken; nothing else is read from it, so that it may fail on a full disk.
            let id = format!("{}\n", std::process::id());
            let _ = file.write_all_at(id.as_bytes(), 0).and_then(|()| file.set_len(id.len() as u64));
        }
        held().insert(lock.which);
        Ok(lock)
    }

    /// The lock on an open file, or who has it.
    fn locked(
        file: File,
        taken: std::result::Result<(), std::fs::TryLockError>,
        dir: &Path,
        what: &str,
    ) -> Result<Self> {
        let io = |e| Error::io(dir.join("lock").display(), e);
        let meta = file.metadata().map_err(io)?;
        let which = (meta.dev(), meta.ino());
        match taken {
            Ok(()) => Ok(DirLock { file: Some(file), which, process: Process::this() }),
            Err(std::fs::TryLockError::WouldBlock) => {
                let by = holder(&file, which);
                Err(Error::new(ErrorKind::Locked, format!("the {what} {} is in use: {by}", dir.display())))
            }
            Err(std::fs::TryLockError::Error(e)) => Err(io(e)),
        }
    }

    /// # Errors
    /// `Refused` in a fork of the process that took it.
    pub(crate) fn check(&self) -> Result<()> {
        self.process.check()
    }
}

/// Who holds a lock file that is taken, and what to do.
fn holder(file: &File, which: (u64, u64)) -> String {
    let mut bytes = [0; 12];
    let id =
        file.read_at(&mut bytes, 0).ok().and_then(|n| str::from_utf8(&bytes[..n]).ok()?.trim_end().parse::<u32>().ok());
    match id {
        Some(id) if id == std::process::id() && held().contains(&which) => {
            "by this process (an Engine, Reader or Batch is still held); drop that first".to_owned()
        }
        Some(id) => format!("by process {id}; wait for it or stop it"),
        None => "by another process; wait for it or stop it".to_owned(),
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
        let taken = file.try_lock_shared();
        Self::locked(file, taken, dir, what).map(Some)
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if !self.process.is_this() {
            // A fork shares the lock with its parent, whose it is.
            std::mem::forget(self.file.take());
            return;
        }
        held().remove(&self.which);
        // Closing is not enough: a child that another thread has just forked shares the lock until it runs its program.
        let _ = self.file.as_ref().map(File::unlock);
    }
}

/// Makes a directory that only its owner enters, and those above it, where they are not there.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(|e| Error::io(dir.display(), e))
}

/// Reads a text file of a few lines, in bounded memory whoever wrote it.
#[cfg(any(feature = "sled", feature = "keyholders"))]
pub(crate) fn read_small(file: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    const MAX_BYTES: u64 = 1 << 20;
    let from = File::open(file)?;
    let length = from.metadata()?.len().min(MAX_BYTES);
    // At once as large as it will be: a secret is not moved, and left behind, as the text grows.
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::new(ErrorKind::InvalidData, "it is larger than 1 MiB; put back the one that was there"));
    }
    Ok(text)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(format!("syncing {}", dir.display()), e))
}
