#![doc = include_str!("../README.md")]
//!
//! # Map of the code
//!
//! Data flows downward; a module imports only from those above it (a test over this table keeps it so).
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`], [`limits`], [`ids`], [`mod@env`], [`secret`], `codec`, `dir`, `disk` | what everything stands on |
//! | [`store`] | the port that may keep every byte for ever, and its adapters; it sees ciphertext only |
//! | [`crypto`] | the key schedule and the one sealing format |
//! | [`cell`] | the port that must forget, and its adapters |
//! | [`tree`] | the sealed tree, without I/O: radix over users, ordered within a class, fences, links, history, holds |
//! | `scope`, `policy` | what an erase names and when it is due; how long a class is kept |
//! | [`record`] | what a record is and how its payload is laid out |
//! | [`sealed`] | what is sealed to a public key, without a store: envelopes for an inbox |
//! | [`engine`] | joins them: commit, erase, lineage, holds, read, report, copies, discard, audit |
//! | `testing` | (feature `testing`) conformance suites, recording ports, the archive adversary |

pub mod cell;
mod codec;
pub mod crypto;
mod dir;
#[cfg_attr(
    not(any(feature = "sled", feature = "testing")),
    expect(dead_code, reason = "a part of it serves the blob log alone")
)]
mod disk;
pub mod engine;
pub mod env;
pub mod error;
pub mod ids;
pub mod limits;
mod policy;
pub mod record;
mod scope;
pub mod sealed;
pub mod secret;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;

pub use engine::{Engine, Erasure, Options, Put, Query, Reader, Scope};
pub use error::{Error, ErrorKind, Result};
pub use ids::{Class, InteractionId, RecordId, Timestamp, UserId};
