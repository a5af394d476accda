//! Commands that read a store which a writer on another machine may change meanwhile.

use keyfall::{Error, ErrorKind};

/// How often one begins at most.
const TRIES: usize = 10;

/// The error of what was restored once an erase in the store ended it: `Changed`, so that it is
/// restored again.
pub(crate) fn overtaken(e: Error) -> Error {
    match e.kind() {
        ErrorKind::Mismatch => Error::new(ErrorKind::Changed, e.to_string()),
        _ => e,
    }
}

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
