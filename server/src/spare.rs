//! Room for what an erase writes beside the store: on a full disk erases go on.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::private;

/// Bytes that are given back when the disk is full: some hundreds of answers.
const BYTES: usize = 1 << 20;

/// A file that holds nothing but room.
pub(crate) struct Spare(PathBuf);

impl Spare {
    /// The one in a directory; it is not made.
    pub(crate) fn at(dir: &Path) -> Self {
        Spare(dir.join("spare"))
    }

    /// Makes it as large as it was, if it is not and there is room.
    pub(crate) fn refill(&self) {
        let is_full = fs::metadata(&self.0).is_ok_and(|about| about.len() == BYTES as u64);
        // Not zeros, which some file systems keep for nothing.
        if !is_full && private::replace(&self.0, &[0xA5; BYTES]).is_err() {
            let _ = fs::remove_file(self.0.with_extension("new"));
        }
    }

    /// Writes, and once more with this room if there is no other.
    ///
    /// # Errors
    /// Those of `write`.
    pub(crate) fn or_give<T>(&self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                // Another erase may have given it.
                let _ = fs::remove_file(&self.0);
                write()
            }
            written => written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_to_what_finds_no_room_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let spare = Spare::at(dir.path());
        spare.refill();
        let place = dir.path().join("spare");
        assert_eq!(fs::metadata(&place).unwrap().len(), BYTES as u64);
        let full = || io::Error::from(ErrorKind::StorageFull);
        let write = || if place.exists() { Err(full()) } else { Ok(7) };
        assert_eq!(spare.or_give(write).unwrap(), 7);
        let never = || Err::<(), _>(full());
        assert_eq!(spare.or_give(never).unwrap_err().kind(), ErrorKind::StorageFull);
        spare.refill();
        assert!(spare.or_give(|| Err::<(), _>(ErrorKind::NotFound.into())).is_err());
        assert!(place.exists(), "given for nothing");
    }
}
