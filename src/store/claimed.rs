//! What a store remembers of its writers: their claims, and signs that one lives.

use crate::error::{Error, ErrorKind};

/// The claims that a store remembers: they tell the directory that an engine writes to from every
/// copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Drawn when this place was claimed for the first time. A backup and a restored store have
    /// none until they are claimed; a copy of the directory, byte for byte, has the same, and the
    /// tokens tell the two apart.
    pub instance: [u8; 16],
    /// Number of the last claim.
    pub claim: u64,
    /// The token that the root cell held when this claim was made.
    pub known: [u8; 16],
    /// The token of this claim. A crash may come before the root cell has it.
    pub next: [u8; 16],
}

/// What is to be seen of the writer of a store, by one that waits beside it. It is another one
/// whenever the writer has published, claimed, or left a sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Number of what was published or claimed last.
    pub number: u64,
    /// Number of the last claim.
    pub claim: u64,
    /// Number of the last sign that whoever made it has left; 0 for none.
    pub sign: u64,
    /// Whether writers of this store leave signs at all, as far as any are there.
    pub signs: bool,
}

/// The error of a claim that came too late.
pub(crate) fn fenced(place: &str) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!(
            "{place} has been claimed by another engine since; open it again to see how it stands"
        ),
    )
}
