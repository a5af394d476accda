//! A span of records: what an erase takes of one user.

use crate::ids::{ClassTag, RecordId, UserTag};
use crate::tree::keys::record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};

/// Records of one user whose keys lie between two, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) user: UserTag,
    /// Of one class, or of all.
    pub(crate) class: Option<ClassTag>,
    pub(crate) low: OrderedKey,
    pub(crate) high: OrderedKey,
}

impl Span {
    /// Everything of a user.
    pub(crate) fn all(user: UserTag) -> Self {
        Span { user, class: None, low: KEY_MIN, high: KEY_MAX }
    }

    /// The span that holds exactly one record.
    pub(crate) fn one(id: &RecordId) -> Self {
        let key = record_key(id.interaction, id.ordinal);
        Span { user: id.user, class: Some(id.class), low: key, high: key }
    }

    /// Whether a record lies in it.
    pub(crate) fn takes(&self, id: &RecordId) -> bool {
        self.user == id.user
            && self.class.is_none_or(|class| class == id.class)
            && self.spans(&record_key(id.interaction, id.ordinal))
    }

    /// Whether a key lies between its two.
    pub(crate) fn spans(&self, key: &OrderedKey) -> bool {
        (self.low..=self.high).contains(key)
    }

    /// Its keys, the oldest first.
    pub(crate) fn range(&self) -> Range<'_> {
        Range { low: &self.low, high: &self.high, descending: false }
    }
}
