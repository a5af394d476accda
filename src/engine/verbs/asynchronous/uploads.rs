//! Uploads, for callers that must not block.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::blocking::{call, joined, permit};
use super::payload::{Pieces, begin, feed, pieces};
use crate::engine::verbs::engine::Engine;
use crate::engine::verbs::uploads::UploadState;
use crate::error::{Error, Result};
use crate::ids::{RecordId, UploadId, UserId};
use crate::record::Put;

/// Payloads that come in parts ([`AsyncEngine::uploads`](crate::AsyncEngine::uploads)), as
/// [`Uploads`](crate::engine::Uploads) has them. Each call keeps a blocking thread until it is
/// done, an append also while it waits for its bytes.
#[derive(Clone, Copy)]
pub struct AsyncUploads<'e> {
    pub(super) engine: &'e Engine,
    /// For calls that end by themselves.
    pub(super) calls: &'e Arc<Semaphore>,
    /// For appends that wait for their bytes.
    pub(super) streams: &'e Arc<Semaphore>,
}

impl std::fmt::Debug for AsyncUploads<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AsyncUploads of {:?}", self.engine)
    }
}

impl AsyncUploads<'_> {
    /// Begins an upload of the record that is to be put.
    ///
    /// # Errors
    /// As [`Uploads::begin`](crate::engine::Uploads::begin).
    pub async fn begin(&self, put: Put) -> Result<UploadId> {
        let engine = self.engine.clone();
        call(self.calls, move || engine.uploads().begin(put)).await
    }

    /// Appends to an upload, and returns how many bytes it has then. Where reading fails, what came
    /// before is kept. If the future is dropped, what was handed over is kept, and the rest not.
    ///
    /// # Errors
    /// As [`Uploads::append`](crate::engine::Uploads::append).
    pub async fn append(
        &self,
        upload: &UploadId,
        offset: u64,
        bytes: impl AsyncRead,
    ) -> Result<u64> {
        let bytes = pin!(bytes);
        let mut bytes = Cut { bytes, failed: None };
        let append = move |engine: &Engine, upload: &UploadId, from: Pieces| {
            engine.uploads().append(upload, offset, from)
        };
        let there = self.add(upload, Pin::new(&mut bytes), append).await?;
        match bytes.failed {
            Some(e) => Err(Error::io("reading what is to be appended", e)),
            None => Ok(there),
        }
    }

    /// Appends all that comes, or nothing: where reading fails, or the future is dropped before its
    /// end was read, nothing of it is kept.
    ///
    /// # Errors
    /// As [`Uploads::append_whole`](crate::engine::Uploads::append_whole).
    pub async fn append_whole(
        &self,
        upload: &UploadId,
        offset: u64,
        bytes: impl AsyncRead,
    ) -> Result<u64> {
        let append = move |engine: &Engine, upload: &UploadId, from: Pieces| {
            engine.uploads().append_whole(upload, offset, from)
        };
        self.add(upload, pin!(bytes), append).await
    }

    async fn add(
        &self,
        upload: &UploadId,
        mut bytes: Pin<&mut impl AsyncRead>,
        append: impl FnOnce(&Engine, &UploadId, Pieces) -> Result<u64> + Send + 'static,
    ) -> Result<u64> {
        let begun = begin(bytes.as_mut()).await?;
        let whole = begun.ended;
        let permit = permit(if whole { self.calls } else { self.streams }).await?;
        let (to, from) = pieces(begun);
        let (engine, upload) = (self.engine.clone(), *upload);
        let mut appending = spawn_blocking(move || {
            // Let go of last: an engine that is idle can be closed.
            let _permit = permit;
            let engine = engine;
            append(&engine, &upload, from)
        });
        let ended = if whole { None } else { feed(bytes, to, &mut appending).await };
        match ended {
            Some(ended) => ended?,
            None => joined(appending).await?,
        }
    }

    /// Makes a record of an upload, and returns its id.
    ///
    /// # Errors
    /// As [`Uploads::finish`](crate::engine::Uploads::finish).
    pub async fn finish(&self, upload: &UploadId) -> Result<RecordId> {
        let (engine, upload) = (self.engine.clone(), *upload);
        call(self.streams, move || engine.uploads().finish(&upload)).await
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// As [`Uploads::abort`](crate::engine::Uploads::abort).
    pub async fn abort(&self, upload: &UploadId) -> Result<()> {
        let (engine, upload) = (self.engine.clone(), *upload);
        call(self.calls, move || engine.uploads().abort(&upload)).await
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// As [`Uploads::state`](crate::engine::Uploads::state).
    pub async fn state(&self, upload: &UploadId) -> Result<UploadState> {
        let (engine, upload) = (self.engine.clone(), *upload);
        call(self.calls, move || engine.uploads().state(&upload)).await
    }

    /// The unfinished uploads of a user.
    ///
    /// # Errors
    /// As [`Uploads::list`](crate::engine::Uploads::list).
    pub async fn list(&self, user: &UserId) -> Result<Vec<UploadState>> {
        let (engine, user) = (self.engine.clone(), user.clone());
        call(self.calls, move || engine.uploads().list(&user)).await
    }
}

/// Bytes that end where reading them fails.
struct Cut<'r, R> {
    bytes: Pin<&'r mut R>,
    failed: Option<io::Error>,
}

impl<R: AsyncRead> AsyncRead for Cut<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.bytes.as_mut().poll_read(cx, buffer).map(|read| {
            self.failed = read.err();
            Ok(())
        })
    }
}
