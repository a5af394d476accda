//! An opening, for callers that must not block.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::blocking::call;
use super::reader::AsyncReader;
use crate::engine::verbs::openings::Opening;
use crate::error::Result;
use crate::ids::RecordId;

/// A record that was opened by name
/// ([`AsyncEngine::open_as`](crate::AsyncEngine::open_as)): an [`Opening`] whose readers are
/// asynchronous.
#[derive(Clone)]
pub struct AsyncOpening {
    opening: Opening,
    calls: Arc<Semaphore>,
}

impl std::fmt::Debug for AsyncOpening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Async{:?}", self.opening)
    }
}

impl AsyncOpening {
    pub(super) fn new(opening: Opening, calls: &Arc<Semaphore>) -> Self {
        AsyncOpening { opening, calls: Arc::clone(calls) }
    }

    /// The record.
    pub fn id(&self) -> &RecordId {
        self.opening.id()
    }

    /// Opens a reader of the record.
    ///
    /// # Errors
    /// As [`Opening::reader`]; `Io` if the runtime shuts down.
    pub async fn reader(&self) -> Result<AsyncReader> {
        let opening = self.opening.clone();
        call(&self.calls, move || opening.reader()).await.map(AsyncReader::new)
    }

    /// Has it last for so long from when it began, as [`Opening::lasting`] does.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        AsyncOpening { opening: self.opening.lasting(time), ..self }
    }

    /// How long it still lasts.
    ///
    /// # Errors
    /// As [`Opening::left`].
    pub fn left(&self) -> Result<Duration> {
        self.opening.left()
    }

    /// Closes it, as [`Opening::close`] does.
    ///
    /// # Errors
    /// `Io` if the runtime shuts down.
    pub async fn close(&self) -> Result<()> {
        let opening = self.opening.clone();
        call(&self.calls, move || {
            opening.close();
            Ok(())
        })
        .await
    }
}
