//! A body that a blocking thread writes.

use std::io::{self, Write};
use std::task::Poll;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use keyfall::{Engine, Error, Result};
use tokio::sync::mpsc::{Sender, channel};

use crate::app::App;
use crate::metering::Counted;
use crate::problem::Answer;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Pieces on their way, at most.
const PIECES: usize = 4;

/// What a blocking thread writes to: each piece goes to the network.
pub(crate) struct Outlet {
    to: Sender<Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the caller went away");
        self.to.blocking_send(Ok(piece)).map_err(gone)
    }
}

/// A body that `write` writes on a blocking thread. If that fails before anything was sent, it is
/// no body but a problem; if it fails later, the body ends broken, so that no caller takes it for
/// whole.
///
/// # Errors
/// What `write` gives before the first piece.
pub(crate) async fn written(
    app: &App,
    write: impl FnOnce(&Engine, &mut Outlet) -> Result<()> + Send + 'static,
) -> Answer<Body> {
    let (to, mut from) = channel(PIECES);
    let engine = app.engine().clone();
    tokio::spawn(async move {
        let late = to.clone();
        let written = engine.run(move |engine| {
            let mut outlet = Outlet { to, piece: Vec::with_capacity(PIECE) };
            write(engine, &mut outlet)?;
            outlet.flush().map_err(Error::from)
        });
        if let Err(e) = written.await {
            // The caller may have gone.
            let _ = late.send(Err(e)).await;
        }
    });
    let mut first = from.recv().await.transpose()?;
    Ok(Body::from_stream(Counted::new(poll_fn(move |cx| match first.take() {
        Some(piece) => Poll::Ready(Some(Ok(piece))),
        None => from.poll_recv(cx).map(|piece| piece.map(|piece| piece.map_err(cut))),
    }))))
}

fn cut(_: Error) -> io::Error {
    io::Error::other("what was written fell, or could not be read")
}
