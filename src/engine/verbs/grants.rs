//! Grants: a third party may open a user's records.

use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::edit::change_page;
use crate::engine::grants::{check_name, check_why};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Timestamp, UserId};
use crate::limits::GRANTS_MAX;
use crate::sealed::{Asked, Ticket};
use crate::secret::WipeStack;
use crate::tree::grants::{Grant, Pace};
use crate::tree::history::Note;

/// The grants on one user's records ([`Engine::grants`](crate::Engine::grants)).
#[derive(Clone, Copy, Debug)]
pub struct Grants<'e> {
    pub(super) inner: &'e Arc<Inner>,
    pub(super) user: &'e UserId,
}

impl Grants<'_> {
    /// Lets a third party open the user's records, and returns the ticket that it asks with. The
    /// ticket is no secret: requests are signed.
    ///
    /// # Errors
    /// `Invalid` without a name or a purpose; `Refused` beyond 64 for one user; `Erased`, `Absent`
    /// for the user; as [`Engine::put`](crate::Engine::put).
    pub fn add(&self, grant: Grant) -> Result<Ticket> {
        let _wiped = WipeStack;
        check_name(&grant.name)?;
        check_why(&grant.purpose)?;
        let inner = self.inner;
        let number = inner.new_number()?;
        inner.commit_edit(|state, pages, edit| {
            let (tag, _) = inner.user_page(state, self.user)?;
            let now = inner.options.env.now();
            let grant =
                Grant { since: now, last: Timestamp(0), opened: 0, pace: Pace::default(), ..grant };
            change_page(edit, tag, |editor, page| {
                if page.grants.all(pages, tag)?.len() >= GRANTS_MAX {
                    return Err(Error::new(
                        ErrorKind::Refused,
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
                    &Note::Granted { id: number, name, class, until, purpose },
                )?;
                Ok(Ticket {
                    store: inner.id,
                    what: Asked::Grant { user: tag, incarnation: page.incarnation, number },
                })
            })
        })
    }

    /// Takes a grant back: it opens nothing more, not even where it is being opened now. What was
    /// opened before is out of reach.
    ///
    /// # Errors
    /// `Absent` where the user has no such grant; as [`Grants::add`](crate::engine::Grants::add).
    pub fn revoke(&self, number: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = self.inner;
        inner.check_usable()?;
        let revoked = inner.commit_edit(|state, _, edit| {
            let (tag, _) = inner.user_page(state, self.user)?;
            change_page(edit, tag, |editor, page| {
                if !page.grants.remove(editor, tag, number)? {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such grant; `keyfall grant list STORE --user U` shows \
                         all",
                    ));
                }
                page.history.add(
                    editor,
                    tag,
                    inner.options.env.now(),
                    &Note::Revoked { id: number },
                )
            })
        });
        // Also where a copy did not take the commit: readers see it.
        let (tag, there) = {
            let state = inner.state();
            let tag = inner.user_tag(&state, self.user);
            let page = inner.page_at(&state, tag);
            (
                tag,
                page.and_then(|page| {
                    page.map_or(Ok(None), |page| page.grants.get(&inner.pages(), tag, number))
                }),
            )
        };
        if !matches!(there, Ok(Some(_))) {
            let hit = |(n, _): &(u64, Option<Timestamp>)| *n == number;
            inner.close_granted(|via| {
                if via.user == tag {
                    via.grants.retain(|grant| !hit(grant));
                }
            });
        }
        revoked
    }

    /// The grants, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<(u64, Grant)>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (tag, page) = self.inner.user_page(&state, self.user)?;
        page.grants.all(&self.inner.pages(), tag)
    }
}
