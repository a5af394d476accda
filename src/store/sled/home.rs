//! The directory in which a store was last claimed. It lets a command that only reads tell the store from a byte-for-byte copy of it.
//!
//! `STORE/home` says where it lies itself: its inode, and when that was made, in nanoseconds since 1970. A copy of the file lies elsewhere.
//! No data depends on it: where it is missing, or the file system has renumbered its inodes, a command that only reads does nothing that is due.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::dir::{open_to_read, open_to_write};

pub(super) const HOME: &str = "home";
/// As far as it is read.
const BYTES_MAX: u64 = 128;

fn place_of(file: &File) -> io::Result<String> {
    let meta = file.metadata()?;
    let made = meta.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    Ok(format!("inode {} made {}\n", meta.ino(), made.unwrap_or_default().as_nanos()))
}

/// Whether a store lies where it was claimed last.
pub(super) fn is_home(store: &Path) -> bool {
    let said = || -> io::Result<bool> {
        let file = open_to_read(&store.join(HOME))?;
        let here = place_of(&file)?;
        Ok(io::read_to_string(io::Read::take(file, BYTES_MAX))? == here)
    };
    said().unwrap_or(false)
}

/// Has it lie where it is now.
pub(super) fn move_in(store: &Path) {
    if is_home(store) {
        return;
    }
    // Where this fails a look does less.
    let file = open_to_write(&store.join(HOME), File::options().create(true).truncate(false));
    let _ = file.and_then(|mut file| {
        let here = place_of(&file)?;
        file.set_len(0)?;
        io::Write::write_all(&mut file, here.as_bytes())
    });
}
