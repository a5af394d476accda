//! Legal holds on a user's records.

use std::sync::Arc;

use crate::catalogue::hold::{self, Lift};
use crate::catalogue::plan::reckon;
use crate::catalogue::resolve::resolver;
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, Result};
use crate::ids::UserId;
use crate::limits::AUTHORITY_MAX_BYTES;
use crate::scope::check_reason;
use crate::tree::holds::Hold;

/// The legal holds on one user's records ([`Engine::holds`](crate::Engine::holds)).
#[derive(Clone, Copy, Debug)]
pub struct Holds<'e> {
    pub(super) inner: &'e Arc<Core>,
    pub(super) user: &'e UserId,
}

impl Holds<'_> {
    /// Adds a hold and returns its number. Until it is lifted, every erase that would touch what it
    /// covers, or what a covered record was derived from, is refused whole, as `Held`. Cost: each
    /// covered record is read once.
    ///
    /// # Errors
    /// `Invalid` without a reason or an authority; `Erased`, `Absent` for the user; `Limit` for
    /// more than 64; as [`Engine::put`](crate::Engine::put).
    pub fn add(&self, hold: Hold) -> Result<u64> {
        check_reason(&hold.reason)?;
        check_authority(&hold.authority)?;
        commit_edit(self.inner, |edit| {
            let (user, _) = edit.view.user(self.user)?;
            let (id, since) = (edit.means.number()?, edit.means.env.now());
            hold::add(edit, &resolver(&edit.view), user, id, &Hold { since, ..hold })?;
            Ok(id)
        })
    }

    /// Lifts the hold with this number.
    ///
    /// # Errors
    /// `Absent` if the user has no such hold; `Invalid` without a reason or an authority; as
    /// [`Holds::add`](crate::engine::Holds::add).
    pub fn lift(&self, id: u64, reason: &str, authority: &str) -> Result<()> {
        check_reason(reason)?;
        check_authority(authority)?;
        commit_edit(self.inner, |edit| {
            let (user, _) = edit.view.user(self.user)?;
            let lift = Lift { id, reason, authority, at: edit.means.env.now() };
            hold::lift(edit, &resolver(&edit.view), user, &lift)?;
            // What it kept from being done when it fell due is done now.
            reckon(edit, user)
        })
    }

    /// The holds, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<(u64, Hold)>> {
        self.inner.look(|view| {
            let (user, page) = view.user(self.user)?;
            page.holds.all(view.pages, user)
        })
    }
}

fn check_authority(authority: &str) -> Result<()> {
    if authority.trim().is_empty() || authority.len() > AUTHORITY_MAX_BYTES {
        return Err(Error::invalid(format!(
            "name who orders it, in 1 to {AUTHORITY_MAX_BYTES} bytes"
        )));
    }
    Ok(())
}
