//! Records between their payloads and their commit, and what became of a batch of them.

use super::admit::Admitted;
use super::fell::Links;
use crate::crypto::Key;
use crate::ids::{Class, RecordId, UploadId, UserId};
use crate::record::{Entry, PutMode, Source};
use crate::tree::inbox::EnvelopeName;
use crate::tree::labels::Label;

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
    /// Whether it is a record in the tree.
    pub(crate) fn is_record(&self) -> bool {
        matches!(self, Joins::Record | Joins::Finished { .. })
    }

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
    /// What the application calls it, and says of it.
    pub(crate) label: Label,
    /// What becomes of it if another record has its name.
    pub(crate) mode: PutMode,
    /// SHA-256 of its payload.
    pub(crate) digest: [u8; 32],
    /// The record that was there already when it was staged: those of the batch that are derived
    /// from it are derived from that one.
    pub(crate) there: Option<RecordId>,
}

/// Records that became part of the tree.
#[derive(Default)]
pub(crate) struct Inserted {
    pub(crate) ids: Vec<RecordId>,
    /// Users that came to life with them.
    pub(crate) created: u64,
    /// Which of the batch were there already, by their numbers.
    pub(crate) same: Vec<usize>,
    /// How many records were erased for those that took their names.
    pub(crate) replaced: u64,
    /// Links of these.
    pub(crate) links: Vec<Links>,
}

impl Inserted {
    /// The records that were not there already; uploads and their parts are none.
    pub(crate) fn records(&self, staged: &[Staged]) -> impl Iterator<Item = RecordId> {
        let all = self.ids.iter().zip(staged).enumerate();
        let fresh = all.filter(|(n, _)| self.same.binary_search(n).is_err());
        fresh.filter(|(_, (_, staged))| staged.joins.is_record()).map(|(_, (id, _))| *id)
    }

    /// Whether something changed: a record that was there already may end an upload.
    pub(crate) fn changes(&self, staged: &[Staged]) -> bool {
        let ends = |n: &usize| matches!(staged[*n].joins, Joins::Finished { .. });
        self.same.len() < staged.len() || self.same.iter().any(ends)
    }
}
