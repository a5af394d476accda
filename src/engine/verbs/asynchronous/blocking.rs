//! What a blocking thread gives back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::error::{Error, ErrorKind, Result};

/// Makes a call on a blocking thread, one of a bounded number.
pub(super) async fn call<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let permit = permit(permits).await?;
    let called = spawn_blocking(move || {
        let _permit = permit;
        call()
    });
    joined(called).await?
}

pub(super) async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    Arc::clone(of).acquire_owned().await.map_err(|_| over())
}

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
