//! What an erase did.

use super::unsigned::Unsigned;
use crate::ids::Timestamp;
use crate::promise::{Finality, Retirement};

/// What an erase did. It is returned when the erase is complete, never before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erasure {
    /// The epoch that began with it, or begins when it is final.
    pub epoch: u64,
    /// Records of the scope that fell; `None` if damaged pages kept them from being counted.
    pub records: Option<u64>,
    /// Records derived from them, of any user, that fell with the erases of this commit and are out
    /// of every list.
    pub derived: u64,
    /// Whether more records derived from them fell, which stay in lists until
    /// [`Engine::run_due`](crate::Engine::run_due) has taken them out.
    pub following: bool,
    /// Whether the scope had been erased before, and nothing was left to do.
    pub already: bool,
    /// How final it is, as seen when it returned: the scope cannot be read through the engine
    /// any more, but while this is pending anyone who holds the cell and old blobs can read it.
    /// For a scope that had been erased before, how far the store is.
    pub finality: Finality,
    /// What the cell answered when it was asked to destroy the old root key; `None` if this
    /// erase had nothing to ask of it.
    pub retirement: Option<Retirement>,
    /// When it was complete.
    pub completed: Timestamp,
    /// The certificate, to be signed ([`Unsigned::sign`]), if the erase asked for one and
    /// something was erased.
    pub certificate: Option<Box<Unsigned>>,
}
