//! How a command ends.

use std::io;

use keyfall::Error;

/// What a command returns.
pub(crate) type Done = Result<(), Failure>;

/// Why a command ended early.
pub(crate) enum Failure {
    /// With an error to show.
    Error(Error),
    /// Nobody reads the output any more.
    ClosedPipe,
    /// An answer could not be written to standard output.
    Untold {
        error: Error,
        /// Text of the answer that was not printed.
        lost: String,
        /// Whether nobody reads standard output any more.
        closed: bool,
    },
    /// What was asked for is done; a step after it failed.
    Late(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Error(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Failure::ClosedPipe
        } else {
            Failure::Error(Error::io("writing the output", e))
        }
    }
}
