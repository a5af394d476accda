//! How a grant is made.

use crate::ids::{Class, Timestamp};
use crate::sealed::PublicKey;
use crate::tree::grants::{Grant, Pace};

impl Grant {
    /// A grant on all records of a user, without an end.
    pub fn new(to: &PublicKey, name: impl Into<String>, purpose: impl Into<String>) -> Self {
        Grant {
            to: to.signing,
            name: name.into(),
            class: None,
            purpose: purpose.into(),
            since: Timestamp(0),
            until: None,
            last: Timestamp(0),
            opened: 0,
            pace: Pace::default(),
        }
    }

    /// On this class only.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Grant { class: Some(class), ..self }
    }

    /// Until then.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Grant { until: Some(until), ..self }
    }

    pub(super) fn principal(&self, number: u64) -> String {
        format!("{}, grant {number:016x}", self.name)
    }
}
