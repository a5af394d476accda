//! How a hold is made.

use crate::error::{Error, Result};
use crate::ids::{Class, InteractionId, Timestamp};
use crate::limits::AUTHORITY_MAX_BYTES;
use crate::tree::holds::Hold;

pub(super) fn check_authority(authority: &str) -> Result<()> {
    if authority.trim().is_empty() || authority.len() > AUTHORITY_MAX_BYTES {
        return Err(Error::invalid(format!(
            "name who orders it, in 1 to {AUTHORITY_MAX_BYTES} bytes"
        )));
    }
    Ok(())
}

impl Hold {
    /// A hold on everything of a user; `authority` is who orders it.
    pub fn new(reason: impl Into<String>, authority: impl Into<String>) -> Self {
        let (reason, authority) = (reason.into(), authority.into());
        Hold { class: None, interaction: None, reason, authority, since: Timestamp(0) }
    }

    /// On this class only.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Hold { class: Some(class), ..self }
    }

    /// On this interaction only.
    #[must_use]
    pub fn interaction(self, id: InteractionId) -> Self {
        Hold { interaction: Some(id), ..self }
    }
}
