//! Sealed ingest: a user's inbox keys, and what is accepted from envelopes.

use std::io::Read;

use super::edit::{Edit, change_page, user_of};
use super::{Engine, Inner, State};
use crate::crypto::{Fresh, hedge, kem};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserId};
use crate::limits::INBOX_AGE;
use crate::policy::millis;
use crate::sealed::{Address, Head, InboxKey, Kind, read_put};
use crate::secret::WipeStack;
use crate::tree::inbox::{EnvelopeName, Private};
use crate::tree::users::{Found, find};
use crate::tree::{Node, PageKind, Pages};

/// What became of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

fn destroyed() -> Error {
    Error::new(
        ErrorKind::Refused,
        "the inbox key of this envelope was destroyed, on schedule or by an erase: nothing opens it any more; fetch the user's \
         current key (`Engine::inbox`) and seal the record again, if it is to be kept",
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
    fn accepted_before(&self, state: &State, id: RecordId) -> Result<Accepted> {
        match self.look_up_whole(state, &id) {
            Err(e) if e.kind() == ErrorKind::Erased => Err(e),
            // What cannot be read was accepted all the same.
            _ => Ok(Accepted { id, again: true }),
        }
    }

    fn current_inbox(&self, user: &UserId) -> Result<Option<InboxKey>> {
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

impl Engine {
    /// The public key of a user's inbox, for producers to seal records to. A new one is given out after a week, and by the first call
    /// behind any erase of the user's; the one before goes on opening envelopes for a week more, but not behind an erase.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; as [`Engine::put`].
    pub fn inbox(&self, user: &UserId) -> Result<InboxKey> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        if let Some(key) = inner.current_inbox(user)? {
            return Ok(key);
        }
        inner.commit_edit(|state, _, edit| {
            let (tag, page) = inner.user_page(state, user)?;
            let env = &*inner.options.env;
            let made = inner.reading(state).due();
            let number = inner.new_number()?;
            let fresh =
                Fresh::new(env, hedge(&[user.as_str().as_bytes(), &number.to_be_bytes(), &made.0.to_be_bytes()]));
            let private = Private { number, made, key: fresh.key()? };
            let address = Address { store: inner.id, user: tag, incarnation: page.incarnation, number };
            let public = InboxKey { address, key: kem::public_key(&private.key)? };
            change_page(edit, tag, |editor, page| page.inbox.add(editor, tag, &private))?;
            edit.due_by(tag, end(made))?;
            Ok(public)
        })
    }

    /// Takes an envelope in, as a record; a second copy of one is recognised and gives the same record. Memory as [`Engine::put`].
    ///
    /// # Errors
    /// `Refused` where its inbox key was destroyed, or it is for another store: the error says what to do; `Erased` where the
    /// user, the interaction, or the record that it became was erased; `Corrupt` where it was changed or cut short; as [`Engine::put`].
    pub fn accept(&self, mut envelope: impl Read) -> Result<Accepted> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let head = Head::read(Kind::Envelope, &mut envelope)?;
        let address = Address::decode(&head.about)?;
        if address.store != inner.id {
            return Err(Error::new(ErrorKind::Refused, "this envelope is for another store"));
        }
        let mut name = (address.number, [0; 11]);
        name.1.copy_from_slice(&head.name()[..11]);
        let (user, opened) = {
            let state = inner.state();
            let pages = inner.pages();
            let tag = address.user;
            let page = match find(&pages, &state.head.roots.users, state.head.geometry, tag)? {
                Found::Live { page, incarnation, .. } if incarnation == address.incarnation => page,
                Found::Live { .. } | Found::Erased { .. } => {
                    return Err(Error::new(ErrorKind::Erased, "the user of this envelope was erased; drop it"));
                }
                Found::Absent | Found::Unborn { .. } => {
                    return Err(Error::new(ErrorKind::Absent, "this envelope is for a user who is not here"));
                }
            };
            let page = crate::tree::user::UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
            if let Some(id) = page.inbox.accepted(&pages, tag, name)? {
                return inner.accepted_before(&state, id);
            }
            let key = page.inbox.keys(&pages, tag)?.into_iter().find(|key| key.number == address.number);
            // The inbox's key stays within this look: what goes on is the envelope's own.
            (page.user, head.key(&key.ok_or_else(destroyed)?.key)?)
        };
        let mut content = head.open_with(&opened, envelope)?;
        drop(opened);
        let put = read_put(&mut content)?;
        if put.user != user {
            return Err(Error::new(
                ErrorKind::Refused,
                "this envelope was sealed to the inbox of another user than it names",
            ));
        }
        let mut batch = self.batch();
        batch.add(put, content)?;
        batch.came_in(name);
        match batch.commit() {
            Ok(ids) => match ids.first() {
                Some(id) => Ok(Accepted { id: *id, again: false }),
                None => unreachable!("one record was added"),
            },
            Err(e) if e.kind() == ErrorKind::Exists => {
                let state = inner.state();
                let (tag, page) = inner.user_page(&state, &user)?;
                let id = page.inbox.accepted(&inner.pages(), tag, name)?.ok_or_else(destroyed)?;
                inner.accepted_before(&state, id)
            }
            Err(e) => Err(e),
        }
    }
}
