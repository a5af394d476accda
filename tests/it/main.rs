//! One binary for all integration tests.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test: it panics, and nobody links it")]

mod support;

mod chunked;
mod engine;
mod histories;
mod ports;
