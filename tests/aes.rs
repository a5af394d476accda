//! The tests of `it` that seal and open, with the other provider of AES: the same bytes, and stores
//! that the other provider wrote. `cargo test --features aws-lc --test aes`: a crate of its own, so
//! that the rest of `it` need not be built again.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests: they panic, look at the clock, and nobody links them"
)]

#[path = "it/chunked.rs"]
mod chunked;
#[path = "it/common.rs"]
mod common;
#[path = "it/vectors.rs"]
mod vectors;
#[path = "it/wycheproof.rs"]
mod wycheproof;
