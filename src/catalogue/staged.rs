//! A record between its payload and its commit.

use super::admit::Admitted;
use crate::crypto::Key;
use crate::ids::{Class, UserId};
use crate::record::{Entry, Source};
use crate::tree::inbox::EnvelopeName;

/// A record that is on its way into the tree.
pub(crate) struct Staged {
    pub(crate) user: UserId,
    pub(crate) class: Class,
    /// Where it may come in.
    pub(crate) to: Admitted,
    pub(crate) entry: Entry,
    /// Its payload, if that goes into the store with the commit.
    pub(crate) waiting: Option<Vec<u8>>,
    pub(crate) sources: Vec<Source>,
    /// Its content root, for those of the batch that are derived from it.
    pub(crate) root: Key,
    /// The envelope that it came in.
    pub(crate) envelope: Option<EnvelopeName>,
}
