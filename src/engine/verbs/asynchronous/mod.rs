//! The engine for callers that must not block (feature `tokio`).
//!
//! The engine itself is synchronous, for its media are. Work that reads, seals or opens runs on
//! the runtime's blocking threads, a bounded number at once: short puts by few of them, one after
//! another (`stager`), everything else by one for each call. A put or an erase that waits for its
//! commit is a callback in the queue of `group`, and costs no thread.

mod blocking;
mod engine;
mod opening;
mod payload;
mod reader;
mod stager;
mod uploads;

pub use engine::AsyncEngine;
pub use opening::AsyncOpening;
pub use reader::AsyncReader;
pub use uploads::AsyncUploads;
