//! Grants: a third party may open a user's records.

use std::sync::Arc;

use crate::catalogue::grant::{check_name, check_why};
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Timestamp, UserId};
use crate::limits::GRANTS_MAX;
use crate::observer::ClosedBy;
use crate::sealed::{Asked, Ticket};
use crate::secret::WipeStack;
use crate::tree::grants::{Grant, Pace};
use crate::tree::history::StoredFact;

/// The grants on one user's records ([`Engine::grants`](crate::Engine::grants)).
#[derive(Clone, Copy, Debug)]
pub struct Grants<'e> {
    pub(super) inner: &'e Arc<Core>,
    pub(super) user: &'e UserId,
}

impl Grants<'_> {
    /// Lets a third party open the user's records, and returns the ticket that it asks with. The
    /// ticket is not a secret: requests are signed.
    ///
    /// # Errors
    /// `Invalid` without a name or a purpose; `Limit` beyond 64 for one user; `Erased`, `Absent`
    /// for the user; as [`Engine::put`](crate::Engine::put).
    pub fn add(&self, grant: Grant) -> Result<Ticket> {
        let _wiped = WipeStack;
        check_name(&grant.name)?;
        check_why(&grant.purpose)?;
        commit_edit(self.inner, |edit| {
            let (tag, _) = edit.view.user(self.user)?;
            let (store, pages) = (edit.view.store, edit.pages());
            let (number, now) = (edit.means.number()?, edit.means.env.now());
            let grant =
                Grant { since: now, last: Timestamp(0), opened: 0, pace: Pace::default(), ..grant };
            edit.user(tag, |editor, page| {
                if page.grants.all(pages, tag)?.len() >= GRANTS_MAX {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("a user has at most {GRANTS_MAX} grants; revoke one"),
                    ));
                }
                page.grants.set(editor, tag, number, &grant)?;
                let Grant { name, class, purpose, until, .. } = grant;
                let class = class.map(|class| page.class_tag(&class));
                page.history.add(
                    editor,
                    tag,
                    now,
                    &StoredFact::Granted { id: number, name, class, until, purpose },
                )?;
                Ok(Ticket {
                    store,
                    what: Asked::Grant { user: tag, incarnation: page.incarnation, number },
                })
            })
        })
    }

    /// Revokes a grant: it opens nothing more, not even if it is being opened now. What was
    /// opened before is out of reach.
    ///
    /// # Errors
    /// `Absent` if the user has no such grant; as [`Grants::add`](crate::engine::Grants::add).
    pub fn revoke(&self, number: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
        inner.check_usable()?;
        let revoked = commit_edit(inner, |edit| {
            let (tag, _) = edit.view.user(self.user)?;
            let now = edit.means.env.now();
            edit.user(tag, |editor, page| {
                if !page.grants.remove(editor, tag, number)? {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such grant; `Grants::list` shows all",
                    ));
                }
                page.history.add(editor, tag, now, &StoredFact::Revoked { id: number })
            })
        });
        // Also if a copy did not take the commit: readers see it.
        if !matches!(self.get(number), Ok(Some(_))) {
            let hit = |(n, _): &(u64, Option<Timestamp>)| *n == number;
            let user = inner.view(&inner.state(), &inner.pages()).tag(self.user);
            let closed = inner.readers.close_granted(|via| {
                if via.user == user {
                    via.grants.retain(|grant| !hit(grant));
                }
            });
            inner.observing.readers_closed(closed, ClosedBy::Grant);
            inner.observing.deliver();
        }
        revoked
    }

    /// The grants, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<(u64, Grant)>> {
        self.inner.look(|view| {
            let (user, page) = view.user(self.user)?;
            page.grants.all(view.pages, user)
        })
    }

    /// The grant with this number, as readers see it.
    fn get(&self, number: u64) -> Result<Option<Grant>> {
        let state = self.inner.state();
        let pages = self.inner.pages();
        let view = self.inner.view(&state, &pages);
        let user = view.tag(self.user);
        match view.users().live(user)? {
            Some(page) => page.grants.get(view.pages, user, number),
            None => Ok(None),
        }
    }
}
