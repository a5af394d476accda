//! Sealed ingest: a user's inbox keys, and what is accepted from envelopes.

use super::edit::{Edit, user_of};
use super::{Inner, State};
use crate::crypto::kem;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserId};
use crate::limits::INBOX_AGE;
use crate::policy::millis;
use crate::sealed::{Address, InboxKey};
use crate::tree::inbox::EnvelopeName;

/// What became of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The record.
    pub id: RecordId,
    /// Whether it had been accepted before.
    pub again: bool,
}

/// When an inbox key is destroyed.
pub(super) fn end(made: Timestamp) -> Timestamp {
    Timestamp(made.0.saturating_add(2 * millis(INBOX_AGE)))
}

pub(super) fn destroyed() -> Error {
    Error::new(
        ErrorKind::Refused,
        "the inbox key of this envelope was destroyed, on schedule or by an erase: nothing opens it any more; fetch the user's \
         current key (`keyfall inbox STORE --user U`) and seal the record again, if it is to be kept",
    )
}

/// Puts down that an envelope was accepted, in the commit of its record.
pub(super) fn note_accepted(edit: &mut Edit<'_>, envelope: EnvelopeName, id: &RecordId) -> Result<()> {
    let pages = edit.editor.pages;
    let (editor, root) = edit.parts()?;
    let Some(page) = user_of(editor, root, id)? else {
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

impl Inner {
    /// The answer to an envelope that was accepted before. Its record may have fallen with a source, where the links are not followed yet.
    pub(super) fn accepted_before(&self, state: &State, id: RecordId) -> Result<Accepted> {
        match self.look_up_whole(state, &id) {
            Err(e) if e.kind() == ErrorKind::Erased => Err(e),
            // What cannot be read was accepted all the same.
            _ => Ok(Accepted { id, again: true }),
        }
    }

    pub(super) fn current_inbox(&self, user: &UserId) -> Result<Option<InboxKey>> {
        let state = self.state();
        let pages = self.pages();
        let (tag, page) = self.user_page(&state, user)?;
        let mut keys = page.inbox.keys(&pages, tag)?;
        let now = self.reading(&state).due();
        match keys.pop().filter(|key| now.0 < key.made.0.saturating_add(millis(INBOX_AGE))) {
            None => Ok(None),
            Some(key) => {
                let address = Address { store: self.id, user: tag, incarnation: page.incarnation, number: key.number };
                Ok(Some(InboxKey { address, key: kem::public_key(&key.key)? }))
            }
        }
    }
}
