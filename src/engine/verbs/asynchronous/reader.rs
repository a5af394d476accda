//! An open record, for callers that must not block.

use std::io::{self, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::blocking::unjoined;
use crate::engine::reader::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordInfo;

/// A record, open, to be read and sought in asynchronously.
///
/// It holds no plaintext of its own: each chunk is opened on a blocking thread, where an erase
/// reaches it, and goes from there to the caller in one step. When the record is erased, every
/// later read fails as erased: as an `io::Error` of the kind `NotFound`, like a record that was
/// never here. The [`Error`] in it tells them apart, as [`Reader`] shows.
pub struct AsyncReader {
    info: RecordInfo,
    state: State,
}

enum State {
    Idle(Box<Reader>),
    /// A chunk is being opened.
    Filling(JoinHandle<(Box<Reader>, Result<()>)>),
    /// The runtime shut down, and the reader is gone with it.
    Gone,
}

impl std::fmt::Debug for AsyncReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AsyncReader({})", self.info.id)
    }
}

impl AsyncReader {
    pub(super) fn new(reader: Reader) -> Self {
        AsyncReader { info: reader.info().clone(), state: State::Idle(Box::new(reader)) }
    }

    /// Metadata of the record that is read.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// The reader, once no chunk is being opened.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Reader>> {
        if let State::Filling(handle) = &mut self.state {
            let ended = ready!(Pin::new(handle).poll(cx));
            self.state = State::Gone;
            let (reader, filled) = ended.or_else(unjoined)?;
            self.state = State::Idle(reader);
            filled?;
        }
        match &mut self.state {
            State::Idle(reader) => Poll::Ready(Ok(reader)),
            _ => Poll::Ready(Err(Error::new(
                ErrorKind::Io,
                "the runtime shut down while this record was read; open it again",
            ))),
        }
    }

    /// Has the chunk at the reader's position opened on a blocking thread.
    fn fill(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(mut reader) => State::Filling(spawn_blocking(move || {
                let filled = reader.fill();
                (reader, filled)
            })),
            other => other,
        };
    }
}

impl Drop for AsyncReader {
    fn drop(&mut self) {
        self.info.wipe();
    }
}

impl AsyncRead for AsyncReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let reader = ready!(self.poll_idle(cx))?;
            if let Some(read) = reader.read_opened(buffer.initialize_unfilled()) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
            self.fill();
        }
    }
}

impl AsyncSeek for AsyncReader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match &mut self.state {
            State::Idle(reader) => reader.seek(to).map(|_| ()),
            _ => Err(io::Error::other("a read is in progress; wait for it with `poll_complete`")),
        }
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let reader = ready!(self.poll_idle(cx))?;
        Poll::Ready(reader.stream_position())
    }
}
