//! What is counted for operators: numbers without users, records or purposes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use keyfall::Class;
use metrics::{counter, histogram};

/// Classes that stand in labels; an application's own class could name what it is about.
const LABELS: &[&str] = &["audio", "transcript", "action"];

/// A record was put.
pub(crate) fn put(class: &Class, bytes: u64) {
    let class = LABELS.iter().find(|label| **label == class.as_str()).unwrap_or(&"other");
    counter!("keyfall_puts_total", "class" => *class).increment(1);
    counter!("keyfall_put_bytes_total").increment(bytes);
}

/// An erase ended.
pub(crate) fn erased(scope: &'static str, outcome: &'static str, took: Duration) {
    counter!("keyfall_erases_total", "scope" => scope, "outcome" => outcome).increment(1);
    histogram!("keyfall_erase_duration_seconds", "scope" => scope).record(took.as_secs_f64());
}

/// A request was answered.
pub(crate) fn answered(method: &str, route: &str, status: u16, took: Duration) {
    histogram!(
        "http_server_request_duration_seconds",
        "method" => method.to_owned(), "route" => route.to_owned(), "status" => status.to_string()
    )
    .record(took.as_secs_f64());
}

/// A stream of bytes out of the engine, counted.
pub(crate) struct Counted<S> {
    stream: Pin<Box<S>>,
}

impl<S> Counted<S> {
    /// Counts a stream.
    pub(crate) fn new(stream: S) -> Self {
        Counted { stream: Box::pin(stream) }
    }
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for Counted<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.as_mut().poll_next(cx));
        match &item {
            Some(Ok(bytes)) => counter!("keyfall_read_bytes_total").increment(bytes.len() as u64),
            Some(Err(_)) => counter!("keyfall_reads_cut_total").increment(1),
            None => {}
        }
        Poll::Ready(item)
    }
}
