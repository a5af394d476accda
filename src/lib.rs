#![doc = include_str!("../README.md")]
//!
//! # Map of the code
//!
//! Data flows downward; a module imports only from those above it (a test over this table keeps it so).
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`], [`limits`], [`time`] | what everything stands on |
//! | [`promise`] | what a root cell says: how far its medium forgets, and that a key is destroyed |
//! | [`log`], [`certificate`] | the public log and the erasure certificate, and how they are checked: no engine, no cipher |
//! | [`ids`], [`mod@env`], [`secret`], `process`, `codec`, `dir`, `disk` | (feature `engine`, as all below) what the engine stands on |
//! | [`store`] | the port that may keep every byte for ever, and its adapters; it sees ciphertext only |
//! | [`crypto`] | the key schedule and the one sealing format |
//! | [`cell`] | the port that must forget, and its adapters |
//! | [`tree`] | the sealed tree, without I/O: radix over users, ordered within a class, fences, links, history, holds |
//! | `scope`, `policy` | what an erase names and when it is due; how long a class is kept |
//! | [`record`] | what a record is and how its payload is laid out |
//! | [`sealed`] | what is sealed to a public key, without a store: envelopes for an inbox |
//! | [`engine`] | joins them: commit, erase, lineage, holds, read, report, copies, discard, audit |
//! | `testing` | (feature `testing`) conformance suites, recording ports, the archive adversary |

#[cfg(feature = "engine")]
mod catalogue;
#[cfg(feature = "engine")]
pub mod cell;
pub mod certificate;
#[cfg(feature = "engine")]
mod codec;
#[cfg(feature = "engine")]
pub mod crypto;
#[cfg(feature = "engine")]
mod dir;
#[cfg(feature = "engine")]
#[cfg_attr(
    not(any(feature = "sled", feature = "testing")),
    expect(dead_code, reason = "a part of it serves the blob log alone")
)]
mod disk;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod env;
pub mod error;
#[cfg(feature = "engine")]
pub mod ids;
pub mod limits;
pub mod log;
#[cfg(feature = "engine")]
mod pages;
#[cfg(feature = "engine")]
mod policy;
#[cfg(feature = "engine")]
mod process;
pub mod promise;
#[cfg(feature = "keyholders")]
pub mod quorum;
#[cfg(feature = "engine")]
pub mod record;
#[cfg(feature = "engine")]
mod scope;
#[cfg(feature = "engine")]
pub mod sealed;
#[cfg(feature = "engine")]
pub mod secret;
#[cfg(feature = "engine")]
pub mod store;
#[cfg(feature = "engine")]
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg(feature = "engine")]
pub mod tree;

#[cfg(feature = "engine")]
pub use engine::paved::{Engine, Erasure, Options, Query, Reader};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "engine")]
pub use ids::{Class, InteractionId, RecordId, UserId};
#[cfg(feature = "engine")]
pub use policy::Policy;
#[cfg(feature = "engine")]
pub use record::{Put, RecordInfo, Source};
#[cfg(feature = "engine")]
pub use scope::{Erase, Scope, When};
pub use time::Timestamp;
