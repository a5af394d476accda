//! Objects that are created once and never overwritten: the port that Keyfall's object log needs,
//! and its adapters.
//!
//! The one primitive is *create if absent*. A log of numbered objects, each created so, needs no
//! other condition: whoever creates number n + 1 has won it, and every engine that is worth the
//! name honours it (S3, Azure and their like by `If-None-Match: *`, Google Cloud Storage by
//! `x-goog-if-generation-match: 0`, a file system by a hard link, PostgreSQL by a primary key).
//!
//! | | |
//! |---|---|
//! | [`Objects`] | the port: six operations, each one request |
//! | [`create`] | creates an object and finds out what became of it, whatever the network did |
//! | [`probe()`] | whether a place keeps what the port promises |
//! | [`MemoryObjects`] | objects in memory |
//! | [`FaultyObjects`], [`CountedObjects`] | for tests: a network that loses, delays and repeats; a count of requests |
//! | `cloud` (feature) | S3, Google Cloud Storage, Azure and directories, through `object_store` |
//! | `postgres` (feature) | rows of PostgreSQL |

#[cfg(any(feature = "cloud", feature = "postgres"))]
mod causes;
#[cfg(feature = "cloud")]
pub mod cloud;
mod counted;
mod faulty;
mod memory;
mod port;
#[cfg(feature = "postgres")]
pub mod postgres;
mod probe;
mod settle;

pub use counted::{Counted, CountedObjects};
pub use faulty::{Faults, FaultyObjects};
pub use memory::MemoryObjects;
pub use port::{Created, Failure, FailureKind, Listed, Objects, Result};
pub use probe::{Probed, probe, probe_beside, race};
pub use settle::{Outcome, Patience, at_once, both, create, patiently, when_tried_for_long};
