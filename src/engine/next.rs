//! What it is that is due next, for whoever asks how a store stands.

use super::edit::Edit;
use super::{Inner, State, inbox};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::tree::agenda::Agenda;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, find};
use crate::tree::{Node, PageKind, Pages};

/// What there is to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Due {
    /// A planned erase.
    Planned,
    /// Records pass a limit of age, date or number.
    Limit,
    /// An old inbox key is destroyed.
    InboxKey,
    /// Erases that wait in a window become final.
    Pending,
    /// What an erase or a change of policies left to be looked at.
    Following,
    /// Something that cannot be told: the pages of the user are damaged.
    Unknown,
}

impl Inner {
    /// What is due at this time, which is that of the next.
    pub(super) fn kind_of_due(&self, at: Timestamp) -> Due {
        let state = self.state();
        if state.head.roots.falling.is_some() {
            return Due::Following;
        }
        if state.head.pending == Some(at) {
            return Due::Pending;
        }
        self.due_in_agenda(&state, at).unwrap_or(Due::Unknown)
    }

    fn due_in_agenda(&self, state: &State, at: Timestamp) -> Result<Due> {
        let pages = self.pages();
        let Some((when, tag)) = Edit::agenda_of(state).due(&pages, at, 1)?.into_iter().next() else {
            return Ok(Due::Unknown);
        };
        if when == Agenda::SWEEP {
            return Ok(Due::Following);
        }
        let Found::Live { page, .. } = find(&pages, &state.head.roots.users, state.head.geometry, tag)? else {
            return Ok(Due::Unknown);
        };
        let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
        // What could not be done is tried again later than it was due.
        if page.plans.all(&pages, tag, &page.user)?.iter().any(|plan| plan.due <= at) {
            return Ok(Due::Planned);
        }
        let old = page.inbox.keys(&pages, tag)?.iter().any(|key| inbox::end(key.made) <= at);
        Ok(if old { Due::InboxKey } else { Due::Limit })
    }
}
