//! What a blocking thread gives back.

use tokio::task::{JoinError, JoinHandle};

use crate::error::{Error, ErrorKind, Result};

/// The result of a blocking call; a panic in it goes on here.
pub(super) async fn joined<T>(handle: JoinHandle<T>) -> Result<T> {
    handle.await.or_else(unjoined)
}

/// The error of a blocking call that gave nothing.
pub(super) fn unjoined<T>(error: JoinError) -> Result<T> {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(over()),
    }
}

/// The error of a call that a runtime no longer made.
pub(super) fn over() -> Error {
    Error::new(ErrorKind::Io, "the runtime is shutting down; the call was not made")
}
