//! A user's inbox: its keys, and what was accepted from envelopes sealed to them.

use super::edit::Edit;
use super::resolve::look_up_whole;
use super::view::View;
use crate::crypto::kem;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserId};
use crate::limits::INBOX_AGE;
use crate::policy::millis;
use crate::sealed::{Address, InboxKey};
use crate::tree::inbox::EnvelopeName;

/// When an inbox key is destroyed.
pub(crate) fn end(made: Timestamp) -> Timestamp {
    Timestamp(made.0.saturating_add(2 * millis(INBOX_AGE)))
}

/// The source of the error for an envelope whose inbox key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDestroyed;

impl std::fmt::Display for KeyDestroyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("its inbox key was destroyed")
    }
}

impl std::error::Error for KeyDestroyed {}

/// The error for an envelope whose inbox key is gone.
pub(crate) fn destroyed() -> Error {
    Error::new(
        ErrorKind::Refused,
        "the inbox key of this envelope was destroyed, on schedule or by an erase: nothing opens it any more; fetch the user's \
         current key (`Inbox::key`) and seal the record again, if it is to be kept",
    )
    .with_source(KeyDestroyed)
}

/// The key that a user's producers are given now; `None` if it is time for a new one.
pub(crate) fn current(view: &View<'_>, user: &UserId, now: Timestamp) -> Result<Option<InboxKey>> {
    let (tag, page) = view.user(user)?;
    let mut keys = page.inbox.keys(view.pages, tag)?;
    match keys.pop().filter(|key| now.0 < key.made.0.saturating_add(millis(INBOX_AGE))) {
        None => Ok(None),
        Some(key) => {
            let (incarnation, number) = (page.incarnation, key.number);
            let address = Address { store: view.store, user: tag, incarnation, number };
            Ok(Some(InboxKey { address, key: kem::public_key(&key.key)? }))
        }
    }
}

/// Records that an envelope was accepted, in the commit of its record.
pub(crate) fn note_accepted(
    edit: &mut Edit<'_>,
    envelope: EnvelopeName,
    id: &RecordId,
) -> Result<()> {
    let pages = edit.pages();
    let Some((editor, page)) = edit.page_for(id)? else {
        return Err(destroyed());
    };
    if !page.inbox.keys(pages, id.user)?.iter().any(|key| key.number == envelope.0) {
        return Err(destroyed());
    }
    match page.inbox.accepted(pages, id.user, envelope)? {
        None => page.inbox.accept(editor, id.user, envelope, id),
        Some(_) => Err(Error::new(ErrorKind::Exists, "this envelope was accepted meanwhile")),
    }
}

/// Checks that the record of an envelope that was accepted before is not erased. It may have fallen
/// with a source, if the links are not followed yet; what cannot be read was accepted all the
/// same.
pub(crate) fn check_accepted(view: &View<'_>, id: &RecordId) -> Result<()> {
    match look_up_whole(view, id) {
        Err(e) if e.kind() == ErrorKind::Erased => Err(e),
        _ => Ok(()),
    }
}
