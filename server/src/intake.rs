//! A body on its way in: bounded, counted and hashed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::checksum::{self, Checksum};
use crate::places::Place;
use crate::problem::Problem;

/// Longest body that the engine reads before it keeps a thread for it.
const SHORT: u64 = 16 << 10;

/// How what is sealed begins; where it says what it is; and the value for an envelope (SPEC §4.5).
const SEALED: &[u8; 8] = b"KFSEALED";
const KIND_AT: usize = 9;
const ENVELOPE: u8 = 1;

/// A body that is read into the engine.
pub(crate) struct Intake {
    body: Pin<Box<dyn AsyncRead + Send>>,
    left: u64,
    length: u64,
    /// Its first bytes, which say what it is.
    first: Vec<u8>,
    digest: Sha256,
    /// What it must hash to, until its end came.
    checksum: Option<Checksum>,
    end: End,
    /// The place of a long one.
    place: Option<Place>,
}

/// How the body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It did not, or as it should.
    Sound,
    /// It was longer than allowed.
    TooLong,
    /// Its caller went away.
    Cut,
    /// It came so slowly that it lost its place to one who waited.
    Crawled,
    /// It has another sum than it was said to have.
    Mismatch,
}

impl Intake {
    /// A body of so many bytes at most.
    pub(crate) fn new(body: Body, most: u64) -> Self {
        let stream = body.into_data_stream().map_err(io::Error::other);
        Intake {
            body: Box::pin(StreamReader::new(stream)),
            left: most,
            length: 0,
            first: Vec::new(),
            digest: Sha256::new(),
            checksum: None,
            end: End::Sound,
            place: None,
        }
    }

    /// Has a place for as long as it comes, if it is long or does not say how long: one that is
    /// short keeps no thread of the engine.
    pub(crate) async fn placed(self, app: &App, caller: &Caller, headers: &HeaderMap) -> Self {
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length <= SHORT) {
            return self;
        }
        let place = app.bodies().take(caller.who()).await;
        Intake { place: Some(place), ..self }
    }

    /// Fails at its end unless it has this sum.
    pub(crate) fn checked(self, checksum: Option<Checksum>) -> Self {
        Intake { checksum, ..self }
    }

    /// How many bytes were read.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether it began as an envelope does; what was cut off before it told counts as one.
    pub(crate) fn is_envelope(&self) -> bool {
        let sealed = self.first.iter().zip(SEALED).all(|(there, of)| there == of);
        let kind = self.first.get(KIND_AT).is_none_or(|kind| *kind == ENVELOPE);
        !self.first.is_empty() && sealed && kind
    }

    /// SHA-256 of what was read.
    pub(crate) fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    /// What is the matter with the body, if that made a call fail.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match self.end {
            End::Sound => None,
            End::TooLong => Some(too_large()),
            End::Mismatch => Some(checksum::mismatch()),
            End::Crawled => {
                let detail = "the body came so slowly that it lost its place to one who waited, and \
                              nothing was stored; send it again";
                Some(Problem::new(StatusCode::BAD_REQUEST, "cut", detail))
            }
            End::Cut => {
                let detail = "the body was cut short, and nothing was stored; send it again";
                Some(Problem::new(StatusCode::BAD_REQUEST, "cut", detail))
            }
        }
    }
}

/// The body is longer than the service takes.
pub(crate) fn too_large() -> Problem {
    let detail = "the body is longer than this service takes";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

impl AsyncRead for Intake {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        match this.body.as_mut().poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(e)) => {
                this.end = End::Cut;
                return Poll::Ready(Err(e));
            }
            Poll::Pending => {
                let Some(place) = &this.place else { return Poll::Pending };
                ready!(place.seat().poll_lost(cx));
                this.end = End::Crawled;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        let read = &buffer.filled()[before..];
        match this.left.checked_sub(read.len() as u64) {
            Some(left) => this.left = left,
            None => {
                this.end = End::TooLong;
                return Poll::Ready(Err(io::Error::other("longer than allowed")));
            }
        }
        if let Some(place) = &this.place {
            place.seat().moved(read.len());
        }
        this.length += read.len() as u64;
        let told = (KIND_AT + 1).saturating_sub(this.first.len()).min(read.len());
        this.first.extend_from_slice(&read[..told]);
        this.digest.update(read);
        let ended = read.is_empty() && room > 0;
        if ended {
            this.place = None;
        }
        match &mut this.checksum {
            Some(checksum) if !ended => checksum.update(read),
            held => {
                if held.take().is_some_and(|checksum| !checksum.holds()) {
                    this.end = End::Mismatch;
                    return Poll::Ready(Err(io::Error::other("not the bytes that were meant")));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
