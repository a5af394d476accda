//! Room for what an erase writes beside the store: on a full disk erases go on.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::private;

/// Bytes that are given back when the disk is full: some hundreds of answers.
const BYTES: usize = 1 << 20;

/// A file that holds nothing but room.
pub(crate) struct Spare {
    place: PathBuf,
    /// One at a time makes it.
    making: Mutex<()>,
}

impl Spare {
    /// The one in a directory; it is not made.
    pub(crate) fn at(dir: &Path) -> Self {
        Spare { place: dir.join("spare"), making: Mutex::default() }
    }

    /// Makes it, if it is not there and there is room; says whether it is there.
    pub(crate) fn refill(&self) -> bool {
        let is_there = || fs::metadata(&self.place).is_ok_and(|it| it.len() == BYTES as u64);
        if is_there() {
            return true;
        }
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // Not zeros, which some file systems keep for nothing.
        let made = is_there() || private::replace(&self.place, &[0xA5; BYTES]).is_ok();
        if !made {
            let _ = fs::remove_file(self.place.with_extension("new"));
        }
        made
    }

    /// Runs `write`; if the disk is full, gives this file's space back and runs it again.
    ///
    /// # Errors
    /// Those of `write`.
    pub(crate) fn or_give<T>(&self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                // Nothing makes it meanwhile; another erase may have given it.
                let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = fs::remove_file(&self.place);
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
        assert!(spare.refill());
        let place = dir.path().join("spare");
        assert_eq!(fs::metadata(&place).unwrap().len(), BYTES as u64);
        let full = || io::Error::from(ErrorKind::StorageFull);
        let write = || if place.exists() { Err(full()) } else { Ok(7) };
        assert_eq!(spare.or_give(write).unwrap(), 7);
        let never = || Err::<(), _>(full());
        assert_eq!(spare.or_give(never).unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(spare.refill());
        assert!(spare.or_give(|| Err::<(), _>(ErrorKind::NotFound.into())).is_err());
        assert!(place.exists(), "given for nothing");
    }
}
