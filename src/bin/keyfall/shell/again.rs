//! Commands that read a store which a writer on another machine may change meanwhile.

use keyfall::{Error, ErrorKind};

/// How often one begins at most.
const TRIES: usize = 10;

/// Does something, and once more each time that what it read changed meanwhile.
pub(crate) fn as_it_goes_on<T>(mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match read() {
            Err(e) if e.kind() == ErrorKind::Changed => {}
            done => return done,
        }
    }
    read()
}
