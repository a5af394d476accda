//! Where a page is in the store, and what it points to: for walks over every page.

use std::sync::Arc;

use super::keys::{OrderedKey, split_record_key};
use super::page::{PageKind, Ref};
use crate::error::Result;
#[cfg(feature = "testing")]
use crate::ids::UserId;
use crate::ids::{Class, ClassTag, RecordId, UserTag};
use crate::secret::Secret;

/// Whose records a class tree holds.
#[derive(Debug)]
pub(crate) struct ClassOf {
    #[cfg(feature = "testing")]
    pub(crate) user: UserId,
    pub(crate) owner: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) class: Class,
    pub(crate) tag: ClassTag,
}

impl ClassOf {
    /// The id of the record at `key`.
    pub(crate) fn record(&self, key: &OrderedKey) -> Result<RecordId> {
        let (interaction, ordinal) = split_record_key(key)?;
        Ok(RecordId {
            interaction,
            user: self.owner,
            incarnation: self.incarnation,
            class: self.tag,
            ordinal,
        })
    }
}

/// What a walk knows of a page before it reads it.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) kind: PageKind,
    pub(crate) owner: Option<UserTag>,
    pub(crate) class: Option<Arc<ClassOf>>,
}

impl Spot {
    /// Where the root page of the user tree is.
    pub(crate) const ROOT: Spot = Spot { kind: PageKind::Users, owner: None, class: None };
}

/// A pointer out of a stored page.
#[derive(Debug)]
pub(crate) enum Edge {
    /// A pointer to another page.
    Page { spot: Spot, at: Ref },
    /// A record of a class, whose entry points to its payload.
    Record { of: Arc<ClassOf>, key: OrderedKey, entry: Secret },
}
