//! The service as its callers see it: each test starts the program.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

#[path = "service/mod.rs"]
mod service;
