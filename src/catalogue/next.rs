//! What falls due next, for the status of a store.

use super::inbox;
use super::view::{View, agenda_of};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::tree::agenda::Agenda;

/// What scheduled work there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Due {
    /// The delay of a planned erase is over.
    Planned,
    /// Records pass an age limit, a date or a number.
    Limit,
    /// An old inbox key is destroyed.
    InboxKey,
    /// Erases that wait in a window become final.
    Pending,
    /// Work that an erase or a change of policies left.
    Following,
    /// Something that cannot be told: the pages of the user are damaged.
    Unknown,
}

/// When there is something to do, at the earliest.
pub(crate) fn next_at(view: &View<'_>) -> Result<Option<Timestamp>> {
    if view.is_falling() {
        return Ok(Some(Timestamp(0)));
    }
    let next = agenda_of(view.head).next(view.pages)?;
    Ok(next.into_iter().chain(view.head.pending).min())
}

/// What is due at this time, which is that of the next.
pub(crate) fn kind_of_due(view: &View<'_>, at: Timestamp) -> Due {
    if view.is_falling() {
        return Due::Following;
    }
    if view.head.pending == Some(at) {
        return Due::Pending;
    }
    due_in_agenda(view, at).unwrap_or(Due::Unknown)
}

fn due_in_agenda(view: &View<'_>, at: Timestamp) -> Result<Due> {
    let pages = view.pages;
    let Some((when, user)) = agenda_of(view.head).due(pages, at, 1)?.into_iter().next() else {
        return Ok(Due::Unknown);
    };
    if when == Agenda::SWEEP {
        return Ok(Due::Following);
    }
    let Some(page) = view.users().live(user)? else {
        return Ok(Due::Unknown);
    };
    // What could not be done is tried again later than it was due.
    if page.plans.all(pages, user, &page.user)?.iter().any(|plan| plan.due <= at) {
        return Ok(Due::Planned);
    }
    let old = page.inbox.keys(pages, user)?.iter().any(|key| inbox::end(key.made) <= at);
    Ok(if old { Due::InboxKey } else { Due::Limit })
}
