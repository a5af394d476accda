//! What is counted for operators: numbers without users, records or purposes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use futures_core::Stream;
use keyfall::{Class, Error, ErrorKind};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::helps;

/// Classes that stand in labels; an application's own class could name what it is about.
const LABELS: &[&str] = &["audio", "transcript", "action"];

/// Buckets of durations, in seconds: 250 microseconds to ten seconds.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Buckets of how late something was done, in seconds: to a day.
const LATE: &[f64] = &[1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0];
/// Buckets of requests that shared a commit.
const REQUESTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Starts counting.
///
/// # Errors
/// If something counts already.
pub(crate) fn start() -> Result<PrometheusHandle, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets(SECONDS)?
        .set_buckets_for_metric(full("keyfall_due_late_seconds"), LATE)?
        .set_buckets_for_metric(full("keyfall_commit_batch_size"), REQUESTS)?
        .install_recorder()
        .inspect(|_| helps::describe())
}

/// A record was put. The engine counts all of them; this says of which class.
pub(crate) fn put(class: &Class, bytes: u64) {
    let class = LABELS.iter().find(|label| **label == class.as_str()).unwrap_or(&"other");
    counter!("keyfall_class_puts_total", "class" => *class).increment(1);
    counter!("keyfall_class_put_bytes_total", "class" => *class).increment(bytes);
}

/// A record was opened for a purpose; `listed` says whether the credential names it.
pub(crate) fn opened(listed: bool) {
    let listed = if listed { "true" } else { "false" };
    counter!("keyfall_openings_total", "purpose_listed" => listed).increment(1);
}

/// A method as it is counted and logged: what a caller made up is neither.
pub(crate) fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.iter().find(|known| **known == method.as_str()).unwrap_or(&"_OTHER")
}

/// A request was answered.
pub(crate) fn answered(method: &'static str, route: &str, status: u16, took: Duration) {
    histogram!(
        "http_server_request_duration_seconds",
        "method" => method, "route" => route.to_owned(), "status" => status.to_string()
    )
    .record(took.as_secs_f64());
}

/// An answer that had begun ended broken. One that an erase or an owner cut, which the engine counts
/// among the readers that were closed, is not counted here.
pub(crate) fn broken(kind: ErrorKind) {
    if matches!(kind, ErrorKind::Corrupt | ErrorKind::Io) {
        counter!("keyfall_answers_broken_total").increment(1);
        tracing::error!(?kind, "an answer ended broken: the rest of it could not be read");
    }
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
            Some(Ok(bytes)) => {
                counter!("keyfall_read_bytes_total").increment(bytes.len() as u64);
            }
            Some(Err(e)) => {
                if let Some(own) = e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
                    broken(own.kind());
                }
            }
            None => {}
        }
        Poll::Ready(item)
    }
}
