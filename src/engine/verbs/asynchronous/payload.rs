//! A payload on its way from an asynchronous reader to the blocking thread that seals it.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::blocking::unjoined;
use crate::error::{Error, Result};

/// Bytes of a piece, at most.
const PIECE: usize = 256 << 10;
/// The first piece is shorter: most payloads are.
const FIRST: usize = 16 << 10;
/// And begins with less: a buffer costs its wiping.
const SHORT: usize = 1 << 10;
/// Pieces between the two sides, at most.
const PIECES: usize = 4;

/// What goes to the blocking side. A payload without an end was given up.
pub(super) enum Piece {
    Bytes(Zeroizing<Vec<u8>>),
    End,
}

/// The beginning of a payload.
pub(super) struct Begun {
    bytes: Zeroizing<Vec<u8>>,
    /// Whether that is all of it.
    pub(super) ended: bool,
}

/// Reads the beginning of a payload, before any thread is kept by it.
pub(super) async fn begin(mut payload: Pin<&mut impl AsyncRead>) -> Result<Begun> {
    let mut bytes = Zeroizing::new(vec![0; SHORT]);
    let mut filled = 0;
    while filled < FIRST {
        if filled == bytes.len() {
            let mut longer = Zeroizing::new(vec![0; FIRST]);
            longer[..filled].copy_from_slice(&bytes);
            bytes = longer;
        }
        let read = poll_fn(|cx| poll_piece(payload.as_mut(), cx, &mut bytes[filled..])).await;
        match read.map_err(unread)? {
            0 => {
                bytes.truncate(filled);
                return Ok(Begun { bytes, ended: true });
            }
            n => filled += n,
        }
    }
    Ok(Begun { bytes, ended: false })
}

fn unread(e: io::Error) -> Error {
    Error::io("reading what is to be put", e)
}

/// The two ends of a payload on its way.
pub(super) fn pieces(begun: Begun) -> (Sender<Piece>, Pieces) {
    let (to, from) = channel(PIECES);
    (to, Pieces { from, piece: begun.bytes, at: 0, ended: begun.ended })
}

/// The blocking end.
pub(super) struct Pieces {
    from: Receiver<Piece>,
    piece: Zeroizing<Vec<u8>>,
    at: usize,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.from.blocking_recv() {
                Some(Piece::Bytes(piece)) => (self.piece, self.at) = (piece, 0),
                Some(Piece::End) => self.ended = true,
                // Not an end: half a payload must not be stored as whole.
                None => return Err(io::Error::other("the put was given up before its end")),
            }
        }
        let n = out.len().min(self.piece.len() - self.at);
        out[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Reads the rest of a payload, or until the other side ends, which gives that side's result.
pub(super) async fn feed<T>(
    mut payload: Pin<&mut impl AsyncRead>,
    to: Sender<Piece>,
    other: &mut JoinHandle<T>,
) -> Option<Result<T>> {
    loop {
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let mut filled = 0;
        while filled < piece.len() {
            let read = poll_fn(|cx| {
                if let Poll::Ready(ended) = Pin::new(&mut *other).poll(cx) {
                    return Poll::Ready(Turn::Ended(ended.or_else(unjoined)));
                }
                poll_piece(payload.as_mut(), cx, &mut piece[filled..]).map(Turn::Read)
            });
            match read.await {
                Turn::Ended(ended) => return Some(ended),
                Turn::Read(Ok(0)) => {
                    piece.truncate(filled);
                    // If a send fails, the other side has ended and says why.
                    let _ = to.send(Piece::Bytes(piece)).await;
                    let _ = to.send(Piece::End).await;
                    return None;
                }
                Turn::Read(Ok(n)) => filled += n,
                Turn::Read(Err(e)) => return Some(Err(unread(e))),
            }
        }
        let _ = to.send(Piece::Bytes(piece)).await;
    }
}

enum Turn<T> {
    Ended(Result<T>),
    Read(io::Result<usize>),
}

fn poll_piece(
    payload: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    payload.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}
