//! One binary for all integration tests.
#![allow(unreachable_pub, missing_docs, reason = "nobody links a test")]

mod support;

mod chunked;
mod engine;
mod histories;
mod ports;
