//! Bodies that must move: what a caller sends, and what is under way to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Sleep, sleep};

use crate::socket::UnderWay;

/// A request whose body breaks if nothing of it comes for so long: an idle time, no total.
pub(crate) fn hurried(request: Request, idle: Duration) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request
        .map(|body| Body::from_stream(Hurried { body: body.into_data_stream(), idle, waits: None }))
}

/// A body on its way in.
struct Hurried {
    body: BodyDataStream,
    idle: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Stream for Hurried {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(piece) = Pin::new(&mut this.body).poll_next(cx) {
            this.waits = None;
            return Poll::Ready(piece);
        }
        let idle = this.idle;
        let waits = this.waits.get_or_insert_with(|| Box::pin(sleep(idle)));
        let late = || axum::Error::new(io::Error::from(io::ErrorKind::TimedOut));
        waits.as_mut().poll(cx).map(|()| Some(Err(late())))
    }
}

/// An answer whose connection has a request under way until its last byte was taken.
pub(crate) fn under_way(response: Response, request: Option<UnderWay>) -> Response {
    match request {
        // What is all there needs nobody to wait for.
        Some(request) if response.body().size_hint().exact().is_none() => response.map(|body| {
            Body::from_stream(Answering { body: body.into_data_stream(), _request: request })
        }),
        _ => response,
    }
}

/// A body on its way out.
struct Answering {
    body: BodyDataStream,
    _request: UnderWay,
}

impl Stream for Answering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
