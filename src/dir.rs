//! Directories: one process at a time in each, names in them made durable, and their files opened.
//!
//! Invariant: a name inside a store, a cell or a keyholder's directory never leads out of it.
//! Otherwise anyone who can write there, as in a backup on a shared disk, could cause a root key
//! to be overwritten, by a link or a second name with which a slot of a cell is reached as `lock`.
//! The directory itself may be named through links: that is for its user to say.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, statx};

use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;

/// Held on the file `lock` of a directory (flock(2)) until it is dropped, or the process ends. The
/// file says which process that is.
pub(crate) struct DirLock {
    /// Gone only while it is dropped.
    file: Option<File>,
    which: FileId,
    process: Process,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    device: u64,
    inode: u64,
}

/// The lock files that this process holds.
static HELD: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<FileId>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DirLock {
    /// Takes the lock; `what` names the directory in the error.
    pub(crate) fn take(dir: &Path, what: &str) -> Result<Self> {
        let path = dir.join("lock");
        let mut options = File::options();
        let file =
            open_to_write(&path, options.create(true).truncate(false).read(true).mode(0o600));
        let file = file.map_err(|e| Error::io(path.display(), e))?;
        let taken = file.try_lock();
        let lock = Self::locked(file, taken, dir, what)?;
        if let Some(file) = lock.file.as_ref().filter(|file| !matches!(noted(file), Noted::Other)) {
            // For the message of a process that finds it taken; nothing else reads it, so it may
            // fail on a full disk.
            let id = format!("{}\n", std::process::id());
            let _ =
                file.write_all_at(id.as_bytes(), 0).and_then(|()| file.set_len(id.len() as u64));
        }
        held().insert(lock.which);
        Ok(lock)
    }

    /// Shares the lock with others that only look; `None` if no lock file exists, as on a
    /// read-only medium.
    #[cfg_attr(
        not(feature = "sled"),
        expect(dead_code, reason = "a store in a directory alone is looked at")
    )]
    pub(crate) fn share(dir: &Path, what: &str) -> Result<Option<Self>> {
        let path = dir.join("lock");
        let file = match open_to_read(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path.display(), e)),
        };
        let taken = file.try_lock_shared();
        Self::locked(file, taken, dir, what).map(Some)
    }

    /// The lock on an open file; if it is taken, an error that names its holder.
    fn locked(
        file: File,
        taken: std::result::Result<(), std::fs::TryLockError>,
        dir: &Path,
        what: &str,
    ) -> Result<Self> {
        let io = |e| Error::io(dir.join("lock").display(), e);
        let meta = file.metadata().map_err(io)?;
        let which = FileId { device: meta.dev(), inode: meta.ino() };
        match taken {
            Ok(()) => Ok(DirLock { file: Some(file), which, process: Process::this() }),
            Err(std::fs::TryLockError::WouldBlock) => {
                let by = holder(&file, which);
                Err(Error::new(
                    ErrorKind::Locked,
                    format!("the {what} {} is in use: {by}", dir.display()),
                ))
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

/// What a lock file says of the process that holds it.
enum Noted {
    Process(u32),
    /// The file is empty.
    Nothing,
    /// Something else, which is not written over.
    Other,
}

fn noted(file: &File) -> Noted {
    let mut bytes = [0; 12];
    let Ok(n) = file.read_at(&mut bytes, 0) else { return Noted::Other };
    match str::from_utf8(&bytes[..n]).map(|text| text.trim_end_matches('\n')) {
        Ok("") => Noted::Nothing,
        Ok(id) if n < bytes.len() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
            id.parse().map_or(Noted::Other, Noted::Process)
        }
        _ => Noted::Other,
    }
}

/// Says which process holds a lock file that is taken, and what to do.
fn holder(file: &File, which: FileId) -> String {
    match noted(file) {
        Noted::Process(id) if id == std::process::id() && held().contains(&which) => {
            "by this process (an Engine, Reader, Opening or Batch is still held); drop that first"
                .to_owned()
        }
        Noted::Process(id) => format!("by process {id}; wait for it or stop it"),
        Noted::Nothing | Noted::Other => "by another process; wait for it or stop it".to_owned(),
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
        // Closing is not enough: a child that another thread has just forked shares the lock until
        // it runs its program.
        let _ = self.file.as_ref().map(File::unlock);
    }
}

/// Why a file is not used under its name; `sole` where it is to have no other.
fn fault(kind: FileType, names: u64, sole: bool) -> Option<&'static str> {
    match kind {
        FileType::RegularFile if sole && names > 1 => Some(
            "has another name too (a hard link), and the file of that name would change with it; \
             remove that name, or use a real copy (`cp -a`, not `cp -l`)",
        ),
        FileType::RegularFile => None,
        FileType::Symlink => Some(
            "is a symbolic link, and none is followed here; put what it leads to in its \
                place, or remove it",
        ),
        FileType::Directory => Some("is a directory where a file must be; move it away"),
        _ => Some("is a pipe, a socket or a device where a file must be; remove it"),
    }
}

fn refused(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Medium, format!("{} {what}", path.display()))
}

/// What an open file is, and how many names it has.
fn about(file: &File) -> std::io::Result<(FileType, u64)> {
    // Not its times: some file systems write them each time after they were asked for.
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE | StatxFlags::NLINK) {
        Ok(stat) => Ok((FileType::from_raw_mode(stat.stx_mode.into()), stat.stx_nlink.into())),
        // A sandbox may not know the call.
        Err(_) => file.metadata().map(|meta| (FileType::from_raw_mode(meta.mode()), meta.nlink())),
    }
}

fn open(
    path: &Path,
    options: &mut OpenOptions,
    flags: OFlags,
    sole: bool,
) -> std::io::Result<File> {
    // To open a pipe would be to wait for its other end.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|e| {
        let there = path.symlink_metadata().ok();
        let what =
            there.and_then(|meta| fault(FileType::from_raw_mode(meta.mode()), meta.nlink(), false));
        what.map_or(e, |what| refused(path, what).into())
    })?;
    let (kind, names) = about(&file)?;
    match fault(kind, names, sole) {
        None => Ok(file),
        Some(what) => Err(refused(path, what).into()),
    }
}

/// Opens a file under its fixed name to read it.
pub(crate) fn open_to_read(path: &Path) -> std::io::Result<File> {
    open(path, File::options().read(true), OFlags::empty(), false)
}

/// As [`open_to_read`], past the page cache.
pub(crate) fn open_direct(path: &Path) -> std::io::Result<File> {
    open(path, File::options().read(true), OFlags::DIRECT, false)
}

/// Opens a file under its fixed name, which is its only one, to write it. `options` must not
/// truncate: what it is shows when it is open.
pub(crate) fn open_to_write(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    open(path, options.write(true), OFlags::empty(), true)
}

/// Refuses a path to be written to that is anything but a file with one name; an absent one passes.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(path.display(), e)),
    };
    match fault(FileType::from_raw_mode(meta.mode()), meta.nlink(), true) {
        None => Ok(()),
        Some(what) => Err(refused(path, what)),
    }
}

/// Whether something is at a place. Where nobody may look it is not known that nothing is.
pub(crate) fn is_there(place: &Path) -> Result<bool> {
    match place.try_exists() {
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        looked => looked.map_err(|e| Error::io(place.display(), e)),
    }
}

/// Whether one of these names is in a directory.
pub(crate) fn has_one_of(dir: &Path, names: &[&str]) -> Result<bool> {
    for name in names {
        if is_there(&dir.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses a directory in which something else lies than these names: what is made there would be
/// in its way, and be removed with it. `lost+found` is of the file system, and what ends with
/// `.part` was left by a write that was cut short.
#[cfg(feature = "keyholders")]
pub(crate) fn check_unused(dir: &Path, names: &[&str], what: &str) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e))? {
        let name = entry.map_err(|e| Error::io(dir.display(), e))?.file_name();
        let is_part = name.as_encoded_bytes().ends_with(b".part");
        if name != "lost+found" && !is_part && !names.iter().any(|known| name == *known) {
            let text = format!(
                "{} is to be {what}, and holds {} already; name a directory of its own",
                dir.display(),
                name.display()
            );
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}

/// Refuses a path in a directory of a store, a keyholder or a cache that is a link, or no
/// directory; an absent one passes.
#[cfg(any(feature = "sled", feature = "keyholders", feature = "objects"))]
pub(crate) fn check_subdir(dir: &Path) -> Result<()> {
    match dir.symlink_metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(meta) if meta.is_symlink() => Err(refused(
            dir,
            "is a symbolic link, and none is followed here; put the directory itself in its place, \
             or mount it there",
        )),
        Ok(_) => Err(refused(dir, "is a file where a directory must be; move it away")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(dir.display(), e)),
    }
}

/// Refuses a directory where something below it would be refused: for files that other code opens
/// by their names.
#[cfg(feature = "sled")]
pub(crate) fn check_tree(dir: &Path) -> Result<()> {
    check_subdir(dir)?;
    let io = |e| Error::io(dir.display(), e);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(e)),
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            check_tree(&path)?;
        } else {
            check_file(&path)?;
        }
    }
    Ok(())
}

/// Makes a directory that only its owner enters, and those above it, if they are missing.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir)
        .map_err(|e| Error::io(dir.display(), e))
}

/// Reads a text file of a few lines, in bounded memory whatever it holds.
#[cfg(feature = "keyholders")]
pub(crate) fn read_small(file: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    const MAX_BYTES: u64 = 1 << 20;
    let from = open_to_read(file)?;
    let length = from.metadata()?.len().min(MAX_BYTES);
    // Full capacity at once: a buffer that grows would move a secret and leave a copy.
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "it is larger than 1 MiB; put back the one that was there",
        ));
    }
    Ok(text)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::io(format!("syncing {}", dir.display()), e))
}
