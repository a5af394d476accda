//! Payloads on their way: into a put in parts that come one after another, and out of a record.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt};
use keyfall::AsyncReader;
use object_store::{PutPayload, Result, path::Path};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use crate::error::{about, generic};

/// Bytes that are read of a record at once.
const PIECE: usize = 256 << 10;

/// A part of a payload, and who waits until it was taken.
pub(crate) type Part = (PutPayload, oneshot::Sender<()>);

/// A payload that is there already.
pub(crate) fn whole(payload: PutPayload) -> impl AsyncRead {
    Pieces { pieces: payload.into_iter(), piece: Bytes::new() }
}

struct Pieces<I> {
    pieces: I,
    piece: Bytes,
}

impl<I: Iterator<Item = Bytes> + Unpin> AsyncRead for Pieces<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.piece = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        take(&mut self.piece, buf);
        Poll::Ready(Ok(()))
    }
}

/// A payload that comes in parts, and is over when `whole` says so; else it was given up.
pub(crate) struct Parts {
    parts: mpsc::UnboundedReceiver<Part>,
    part: Option<(std::vec::IntoIter<Bytes>, Bytes, oneshot::Sender<()>)>,
    whole: Option<oneshot::Receiver<()>>,
}

impl Parts {
    pub(crate) fn new(parts: mpsc::UnboundedReceiver<Part>, whole: oneshot::Receiver<()>) -> Self {
        Parts { parts, part: None, whole: Some(whole) }
    }

    /// Whether all parts came.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(whole) = &mut self.whole {
            let told = ready!(Pin::new(whole).poll(cx));
            told.map_err(|_| io::Error::other("the upload was given up"))?;
            self.whole = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Parts {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some((pieces, piece, _)) = &mut self.part {
                if piece.is_empty()
                    && let Some(next) = pieces.next()
                {
                    *piece = next;
                    continue;
                }
                if !piece.is_empty() {
                    take(piece, buf);
                    return Poll::Ready(Ok(()));
                }
            }
            if let Some((_, _, taken)) = self.part.take() {
                // Whoever waited may have gone.
                let _ = taken.send(());
            }
            match ready!(self.parts.poll_recv(cx)) {
                Some((part, taken)) => {
                    let pieces: Vec<Bytes> = part.into_iter().collect();
                    self.part = Some((pieces.into_iter(), Bytes::new(), taken));
                }
                None => return self.poll_whole(cx),
            }
        }
    }
}

fn take(piece: &mut Bytes, buf: &mut ReadBuf<'_>) {
    let n = piece.len().min(buf.remaining());
    buf.put_slice(&piece[..n]);
    piece.advance(n);
}

/// `length` bytes of a record, from where its reader stands. If the record falls meanwhile, the
/// stream ends with an error.
pub(crate) fn streamed(
    reader: AsyncReader,
    length: u64,
    path: Path,
) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((reader, length, path), |(mut reader, left, path)| async move {
        if left == 0 {
            return Ok(None);
        }
        let piece = piece(&mut reader, left, &path).await?;
        let left = left - piece.len() as u64;
        Ok(Some((piece, (reader, left, path))))
    })
    .boxed()
}

/// The next piece of a record of which so many bytes are wanted.
pub(crate) async fn piece(reader: &mut AsyncReader, left: u64, path: &Path) -> Result<Bytes> {
    let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
    let mut piece = vec![0; most];
    reader.read_exact(&mut piece).await.map_err(|e| cut(path, e))?;
    Ok(piece.into())
}

/// The error of a read.
pub(crate) fn cut(path: &Path, error: io::Error) -> object_store::Error {
    match error.downcast::<keyfall::Error>() {
        Ok(error) => about(path, error),
        Err(error) => generic(error),
    }
}
