//! Sealed ingest: a user's inbox key, and the envelopes that were sealed to it.

use std::io::Read;
use std::sync::Arc;

use crate::catalogue::inbox::{check_accepted, current, destroyed, end};
use crate::catalogue::view::View;
use crate::crypto::{Fresh, hedge, kem};
use crate::engine::batch::put_one;
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, UserHandle, UserId};
use crate::record::{Put, Source};
use crate::sealed::{Address, Head, InboxKey, Kind, read_put};
use crate::secret::WipeStack;
use crate::tree::inbox::Private;
use crate::tree::users::Found;

/// Whether an envelope may concern a user, and then, with a class, whether it may become a record
/// of that class: as whoever accepts it says.
pub type May<'m> = &'m mut dyn FnMut(&UserHandle, Option<&Class>) -> Result<()>;

/// What became of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// Id of the record that the envelope became.
    pub id: RecordId,
    /// Whether it had been accepted before.
    pub again: bool,
}

/// A user's inbox ([`Engine::inbox`](crate::Engine::inbox)).
#[derive(Clone, Copy, Debug)]
pub struct Inbox<'e> {
    pub(super) inner: &'e Arc<Core>,
    pub(super) user: &'e UserId,
}

impl Inbox<'_> {
    /// The public key of the inbox, for producers to seal records to. A new one is given out after
    /// a week, and by the first call after any erase of the user's; the one before goes on opening
    /// envelopes for a week more, but not after an erase.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; as [`Engine::put`](crate::Engine::put).
    pub fn key(&self) -> Result<InboxKey> {
        let (inner, user) = (self.inner, self.user);
        let now = |view: &View<'_>| inner.reading_at(view.head).due();
        if let Some(key) = inner.look(|view| current(view, user, now(view)))? {
            return Ok(key);
        }
        commit_edit(inner, |edit| {
            let (tag, page) = edit.view.user(user)?;
            let made = edit.moment.clock.due();
            let number = edit.means.number()?;
            let drawn = [user.as_str().as_bytes(), &number.to_be_bytes(), &made.0.to_be_bytes()];
            let fresh = Fresh::new(edit.means.env, hedge(&drawn));
            let private = Private { number, made, key: fresh.key()? };
            let (store, incarnation) = (edit.view.store, page.incarnation);
            let address = Address { store, user: tag, incarnation, number };
            let public = InboxKey { address, key: kem::public_key(&private.key)? };
            edit.user(tag, |editor, page| page.inbox.add(editor, tag, &private))?;
            edit.due_by(tag, end(made))?;
            Ok(public)
        })
    }
}

/// Asks for the class and for the users of all sources.
fn may_put(may: May<'_>, addressee: &UserHandle, put: &Put) -> Result<()> {
    may(addressee, Some(&put.class))?;
    for source in &put.sources {
        if let Source::Record(id) = source {
            may(&id.handle(), None)?;
        }
    }
    Ok(())
}

pub(super) fn accept(inner: &Arc<Core>, mut envelope: impl Read, may: May<'_>) -> Result<Accepted> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    let head = Head::read(Kind::Envelope, &mut envelope)?;
    let address = Address::decode(&head.about)?;
    if address.store != inner.id {
        return Err(Error::new(ErrorKind::Refused, "this envelope is for another store"));
    }
    // Before anything is looked up: whoever may not is not told what is here.
    let addressee = UserHandle { user: address.user, incarnation: address.incarnation };
    may(&addressee, None)?;
    let mut name = (address.number, [0; 11]);
    name.1.copy_from_slice(&head.name()[..11]);
    let (user, opened) = {
        let state = inner.state();
        let pages = inner.pages();
        let (view, tag) = (inner.view(&state, &pages), address.user);
        let page = match view.users().find(tag)? {
            Found::Live { page, incarnation, .. } if incarnation == address.incarnation => page,
            Found::Live { .. } | Found::Erased { .. } => {
                return Err(Error::new(
                    ErrorKind::Erased,
                    "the user of this envelope was erased; drop it",
                ));
            }
            Found::Absent | Found::Unborn { .. } => {
                return Err(Error::new(
                    ErrorKind::Absent,
                    "this envelope is for a user who is not here",
                ));
            }
        };
        let page = view.users().page(tag, &page)?;
        if let Some(id) = page.inbox.accepted(&pages, tag, name)? {
            check_accepted(&view, &id)?;
            return Ok(Accepted { id, again: true });
        }
        let key =
            page.inbox.keys(&pages, tag)?.into_iter().find(|key| key.number == address.number);
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
    may_put(may, &addressee, &put)?;
    match put_one(inner, put, content, Some(name)) {
        Ok(id) => Ok(Accepted { id, again: false }),
        Err(e) if e.kind() == ErrorKind::Exists => {
            let state = inner.state();
            let pages = inner.pages();
            let view = inner.view(&state, &pages);
            let (tag, page) = view.user(&user)?;
            let id = page.inbox.accepted(&pages, tag, name)?.ok_or_else(destroyed)?;
            check_accepted(&view, &id)?;
            Ok(Accepted { id, again: true })
        }
        Err(e) => Err(e),
    }
}
