//! A record between its payload and its commit.

use super::admit::Admitted;
use crate::crypto::Key;
use crate::ids::{Class, UploadId, UserId};
use crate::record::{Entry, Source};
use crate::tree::inbox::EnvelopeName;

/// How a record joins the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Joins {
    /// On its own.
    Record,
    /// As an upload that begins.
    Upload,
    /// As the part of an upload that begins at this byte.
    Part { of: UploadId, at: u64 },
    /// In place of an upload of so many bytes.
    Finished { upload: UploadId, length: u64 },
}

impl Joins {
    /// The class whose tree it is in, if it is put into this one.
    pub(crate) fn class(&self, put: Class) -> Class {
        match self {
            Joins::Record | Joins::Finished { .. } => put,
            Joins::Upload | Joins::Part { .. } => put.of_uploads(),
        }
    }
}

/// A record that is on its way into the tree.
pub(crate) struct Staged {
    pub(crate) user: UserId,
    pub(crate) class: Class,
    /// Where it may come in.
    pub(crate) to: Admitted,
    pub(crate) entry: Entry,
    pub(crate) joins: Joins,
    /// Its payload, if that goes into the store with the commit.
    pub(crate) waiting: Option<Vec<u8>>,
    pub(crate) sources: Vec<Source>,
    /// Its content root, for those of the batch that are derived from it.
    pub(crate) root: Key,
    /// The envelope that it came in.
    pub(crate) envelope: Option<EnvelopeName>,
}
