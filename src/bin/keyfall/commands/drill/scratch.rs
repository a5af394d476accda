//! Where a drill restores to: a directory that is removed with it, or by the next drill.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keyfall::env::{Env, System};
use keyfall::{Error, ErrorKind};

use crate::shell::guarded;
use crate::shell::outfile::private_dir;

/// How the names of these directories begin.
const NAME: &str = "keyfall-drill-";
/// The file in one that its drill has locked while it runs.
const HELD: &str = "held";
/// How often a directory is made that another drill takes away as if it had been left.
const TRIES: u32 = 8;

/// A directory that goes with its owner.
pub(super) struct Scratch {
    pub(super) dir: PathBuf,
    /// Locked until the end: what is locked by nobody was left.
    _held: File,
}

impl Scratch {
    /// Makes one, and removes those of drills that did not come to their end.
    pub(super) fn below(dir: &Path) -> Result<Self, Error> {
        guarded::check_dir(dir)?;
        private_dir(dir)?;
        sweep(dir)?;
        for _ in 0..TRIES {
            let mut drawn = [0; 8];
            System.fill(&mut drawn)?;
            let place = dir.join(format!("{NAME}{:016x}", u64::from_be_bytes(drawn)));
            private_dir(&place)?;
            if let Some(held) = hold(&place).map_err(|e| Error::io(place.display(), e))? {
                return Ok(Scratch { dir: place, _held: held });
            }
        }
        let text = format!("other drills are at work in {}; call again", dir.display());
        Err(Error::new(ErrorKind::Locked, text))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = remove(&self.dir);
    }
}

/// Locks a directory that was just made; `None` if another drill took it for one that was left.
fn hold(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(HELD);
    let held = match File::options().write(true).create_new(true).open(&path) {
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists].contains(&e.kind()) => {
            return Ok(None);
        }
        held => held?,
    };
    match held.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e),
        Ok(()) => {}
    }
    let is_there = path.metadata().is_ok_and(|there| held.metadata().is_ok_and(same(&there)));
    Ok(is_there.then_some(held))
}

fn same(one: &std::fs::Metadata) -> impl FnOnce(std::fs::Metadata) -> bool {
    let one = (one.dev(), one.ino());
    move |other| one == (other.dev(), other.ino())
}

/// Removes what drills of this user left in a directory. Links are not followed, and what has not
/// the form of such a directory stays.
fn sweep(dir: &Path) -> Result<(), Error> {
    let me = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e))?;
    for entry in entries.flatten() {
        let place = entry.path();
        let is_one = entry.file_name().to_str().is_some_and(is_name);
        let meta = place.symlink_metadata();
        if !is_one || !meta.is_ok_and(|meta| meta.is_dir() && meta.uid() == me) {
            continue;
        }
        match File::options().write(true).open(place.join(HELD)) {
            Ok(held) if held.try_lock().is_ok() => {
                remove(&place).map_err(|e| Error::io(place.display(), e))?;
            }
            // Cut short before it had a lock, or at its very end: then it is empty.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let _ = std::fs::remove_dir(&place);
            }
            // It is at work.
            _ => {}
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let drawn = name.strip_prefix(NAME);
    drawn.is_some_and(|drawn| drawn.len() == 16 && drawn.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Removes such a directory, the lock last: cut short here, it is taken for one that was left.
fn remove(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == HELD => {}
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_file(dir.join(HELD))?;
    std::fs::remove_dir(dir)
}
