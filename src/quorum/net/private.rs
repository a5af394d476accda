//! Files that only their owner reads, written durably.

use std::fs::{OpenOptions, rename};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::crypto::Key;
use crate::dir::{read_small, sync_dir};
use crate::env::{Env as _, System};
use crate::error::{Error, Result};
use crate::secret::WipeStack;

pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::io(path.display(), e)
}

/// Writes a file that only its owner reads, durably and whole or not at all; with `new` it must not
/// be there.
pub(super) fn write(path: &Path, text: &str, new: bool) -> Result<()> {
    let part = part_of(path, new)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let written =
        file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let named = written.and_then(|()| if new { name(&part, path) } else { rename(&part, path) });
    named.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        io(path)(e)
    })?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The temporary file that is renamed to `path`. Two processes may create the same file at once, so
/// a new one gets a random name; a file that exists is rewritten only under a lock.
fn part_of(path: &Path, new: bool) -> Result<PathBuf> {
    if new {
        let mut drawn = [0; 8];
        System.fill(&mut drawn)?;
        return Ok(path.with_extension(format!("{:016x}.part", u64::from_be_bytes(drawn))));
    }
    let part = path.with_extension("part");
    // What a write that was cut short left; a link that lies there goes, and what it leads to
    // stays.
    let _ = std::fs::remove_file(&part);
    Ok(part)
}

/// Gives a file a name that nothing has.
fn name(part: &Path, path: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
        // The file system cannot say that in one step.
        Err(Errno::INVAL | Errno::NOSYS) if !path.try_exists()? => rename(part, path),
        named => Ok(named?),
    }
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<String>> {
    read_small(path).map(Zeroizing::new).map_err(io(path))
}

/// The public key of an Ed25519 seed.
pub(super) fn public(seed: &Key) -> [u8; 32] {
    let _wiped = WipeStack;
    SigningKey::from_bytes(seed.bytes()).verifying_key().to_bytes()
}
