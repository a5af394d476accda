//! The id of an erase, in addresses. Nothing is kept for it: it says itself what it names.

use std::fmt;

use keyfall::UserHandle;

use crate::words::{number, read_number};

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The erases of an epoch: `e_` and its number.
    Epoch(u64),
    /// A planned erase of a user: `p_`, the handle and its number.
    Plan { handle: UserHandle, number: u64 },
}

impl Name {
    /// Reads an id.
    pub(super) fn read(text: &str) -> Option<Name> {
        if let Some(epoch) = text.strip_prefix("e_") {
            return read_number(epoch).map(Name::Epoch);
        }
        let (handle, number) = text.strip_prefix("p_")?.rsplit_once('_')?;
        Some(Name::Plan { handle: handle.parse().ok()?, number: read_number(number)? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Epoch(epoch) => write!(f, "e_{}", number(*epoch)),
            Name::Plan { handle, number: plan } => write!(f, "p_{handle}_{}", number(*plan)),
        }
    }
}
