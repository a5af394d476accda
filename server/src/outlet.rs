//! A body that a blocking thread writes.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use keyfall::sealed::Live;
use keyfall::{Engine, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::app::App;
use crate::metering::{Counted, broken};
use crate::places::Seat;
use crate::problem::Answer;

/// Bytes of a piece.
pub(crate) const PIECE: usize = 16 << 10;
/// Pieces on their way, at most.
const PIECES: usize = 1;

/// What a blocking thread writes to: each piece goes to the network.
pub(crate) struct Outlet {
    /// A piece without bytes is the end; without it nothing looks whole.
    to: Sender<Result<Bytes>>,
    piece: Vec<u8>,
    live: Arc<OnceLock<Live>>,
    idle: Duration,
    seat: Arc<Seat>,
    runtime: Handle,
    /// Whether a piece went out, and whether the caller took no more.
    begun: bool,
    gone: bool,
}

impl Outlet {
    /// Lets pieces go out only as long as this says.
    pub(crate) fn guard(&self, live: &Live) {
        // There is one for each body.
        let _ = self.live.set(live.clone());
    }

    fn send(&mut self, piece: Result<Bytes>) -> io::Result<()> {
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        let late = |why| Err(io::Error::new(io::ErrorKind::TimedOut, why));
        let sent = self.runtime.block_on(async {
            tokio::select! {
                biased;
                sent = self.to.send(piece) => sent.map_err(|_| {
                    io::Error::new(io::ErrorKind::BrokenPipe, "the caller went away")
                }),
                () = poll_fn(|cx| self.seat.poll_lost(cx)) => {
                    late("the caller takes so little that it lost its place to one who waited")
                }
                () = sleep(self.idle) => late("the caller takes nothing"),
            }
        });
        self.begun = true;
        self.gone |= sent.is_err();
        sent?;
        self.seat.moved(bytes);
        Ok(())
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is longer is taken piece by piece.
        let room = PIECE - self.piece.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send(Ok(Bytes::from(piece)))
    }
}

/// A body that `write` writes on a blocking thread, of those for `whose` bodies. If that fails
/// before anything was sent, it is no body but a problem; if it fails later, or nothing of it is
/// taken for too long, the body ends broken, so that no caller takes it for whole.
///
/// # Errors
/// What `write` gives before the first piece.
pub(crate) async fn written(
    app: &App,
    whose: &str,
    write: impl FnOnce(&Engine, &mut Outlet) -> Result<()> + Send + 'static,
) -> Answer<Body> {
    let place = app.exports().take(whose).await;
    let (to, mut from) = channel(PIECES);
    let live = Arc::new(OnceLock::new());
    let mut outlet = Outlet {
        to,
        piece: Vec::with_capacity(PIECE),
        live: Arc::clone(&live),
        idle: app.config().idle(),
        seat: Arc::clone(place.seat()),
        runtime: Handle::current(),
        begun: false,
        gone: false,
    };
    let engine = app.engine().engine().clone();
    spawn_blocking(move || {
        // Let go of last: an engine that nobody waits for can be closed.
        let _place = place;
        let engine = engine;
        let written = write(&engine, &mut outlet).and_then(|()| Ok(outlet.flush()?));
        if let Err(e) = &written
            && outlet.begun
            && !outlet.gone
        {
            broken(e.kind());
        }
        // The caller may have gone.
        let _ = outlet.send(written.map(|()| Bytes::new()));
    });
    let mut first = from.recv().await.transpose()?;
    Ok(Body::from_stream(Counted::new(stream::poll_fn(move |cx| {
        let piece = match first.take() {
            Some(piece) => Some(Ok(piece)),
            None => ready!(from.poll_recv(cx)),
        };
        let fell = live.get().is_some_and(|live| !live.is_live());
        Poll::Ready(match piece {
            Some(Ok(end)) if end.is_empty() => None,
            Some(Ok(piece)) if !fell => Some(Ok(piece)),
            _ => {
                from.close();
                Some(Err(cut()))
            }
        })
    }))))
}

pub(crate) fn cut() -> io::Error {
    io::Error::other("what was written fell, or could not be read")
}
