//! Legal holds: nothing of what one covers is erased until it is lifted, nor what a held record cannot be read without.

use super::Engine;
use super::commit::change;
use crate::catalogue::hold::{self, Lift};
use crate::catalogue::resolve::resolver;
use crate::error::{Error, Result};
use crate::ids::{Class, InteractionId, Timestamp, UserId};
use crate::limits::AUTHORITY_MAX_BYTES;
use crate::scope::check_reason;
use crate::secret::WipeStack;
use crate::tree::holds::Hold;

fn check_authority(authority: &str) -> Result<()> {
    if authority.trim().is_empty() || authority.len() > AUTHORITY_MAX_BYTES {
        return Err(Error::invalid(format!("name who orders it, in 1 to {AUTHORITY_MAX_BYTES} bytes")));
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

impl Engine {
    /// Adds a hold on a user's records, and returns its number. Until it is lifted every erase that would touch what it
    /// covers, or what a covered record was derived from, is refused as held, whole. Cost: one look at each covered record.
    ///
    /// # Errors
    /// `Invalid` without a reason or an authority; `Erased`, `Absent` for the user; `Refused` for more than 64; as
    /// [`Engine::put`].
    pub fn hold(&self, user: &UserId, hold: Hold) -> Result<u64> {
        let _wiped = WipeStack;
        check_reason(&hold.reason)?;
        check_authority(&hold.authority)?;
        let id = self.inner.new_number()?;
        change(&self.inner, |edit| {
            let (user, _) = edit.view.user(user)?;
            let hold = Hold { since: edit.means.env.now(), ..hold };
            hold::add(edit, &resolver(&edit.view), user, id, &hold)?;
            Ok(id)
        })
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// `Absent` where the user has no such hold; `Invalid` without a reason or an authority; as [`Engine::hold`].
    pub fn lift(&self, user: &UserId, id: u64, reason: &str, authority: &str) -> Result<()> {
        let _wiped = WipeStack;
        check_reason(reason)?;
        check_authority(authority)?;
        change(&self.inner, |edit| {
            let (user, _) = edit.view.user(user)?;
            let lift = Lift { id, reason, authority, at: edit.means.env.now() };
            hold::lift(edit, &resolver(&edit.view), user, &lift)
        })
    }

    /// The holds on a user's records, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn holds(&self, user: &UserId) -> Result<Vec<(u64, Hold)>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let pages = inner.pages();
        let (tag, page) = inner.user_page(&state, user)?;
        page.holds.all(&pages, tag)
    }
}
