//! The engine for callers that must not block (feature `tokio`).
//!
//! The engine itself is synchronous, for its media are. Work that reads, seals or opens runs on
//! the runtime's blocking threads, a bounded number at once; a put or an erase that waits for its
//! commit is a callback in the queue of `group`, and costs no thread.

mod blocking;
mod engine;
mod payload;
mod reader;

pub use engine::AsyncEngine;
pub use reader::AsyncReader;
