//! Training sets: named sets of records of many users, opened together.

use std::sync::Arc;

use crate::catalogue::grant::{check_name, check_why};
use crate::catalogue::resolve::look_up_whole;
use crate::catalogue::set::{granted, no_such_set};
use crate::catalogue::view::sets_of;
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp};
use crate::observer::ClosedBy;
use crate::sealed::{Asked, PublicKey, Ticket};
use crate::tree::grants::Pace;
use crate::tree::keys::set_tag;
use crate::tree::sets::TrainingSet;

/// The training sets of the store ([`Engine::training`](crate::Engine::training)).
#[derive(Clone, Copy, Debug)]
pub struct Training<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Training<'_> {
    /// Makes an empty set for a grantee, and returns the ticket that it asks with.
    ///
    /// # Errors
    /// `Exists` if a set has this name; `Invalid` without a name or a purpose; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn make(&self, name: &str, to: &PublicKey, purpose: &str) -> Result<Ticket> {
        check_name(name)?;
        check_why(purpose)?;
        let tag = set_tag(name);
        commit_edit(self.inner, |edit| {
            let (pages, store) = (edit.pages(), edit.view.store);
            if edit.sets.get(pages, &tag)?.is_some() {
                return Err(Error::new(
                    ErrorKind::Exists,
                    format!("there is a training set {name} already"),
                ));
            }
            let set = TrainingSet {
                name: name.to_owned(),
                to: to.signing,
                purpose: purpose.to_owned(),
                made: edit.means.env.now(),
                last: Timestamp(0),
                runs: 0,
                members: 0,
                pace: Pace::default(),
            };
            edit.sets.set(&mut edit.editor, &tag, &set)?;
            Ok(Ticket { store, what: Asked::Set(tag) })
        })
    }

    /// Adds records to a set, all or none, and returns how many were not in it. Each falls out when
    /// it is erased, or when its user's grant to the set's grantee ends.
    ///
    /// # Errors
    /// `Absent` for a set or record that is not here; `Erased`; `Refused` if a user gave the
    /// grantee no grant on the record for the set's purpose; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn add(&self, name: &str, ids: &[RecordId]) -> Result<u64> {
        let tag = set_tag(name);
        commit_edit(self.inner, |edit| {
            let (view, pages) = (edit.view, edit.pages());
            let mut set = edit.sets.get(pages, &tag)?.ok_or_else(no_such_set)?;
            let now = edit.moment.clock.latest();
            let mut added = 0;
            for id in ids {
                look_up_whole(&view, id)?;
                let Some((editor, page)) = edit.page(id.user)? else {
                    return Err(no_such_set());
                };
                if granted(pages, page, &set, id, now)?.is_empty() {
                    let text = format!(
                        "the user of record {id} has given the grantee of {name} no grant on it \
                         for {:?}; nothing was added",
                        set.purpose
                    );
                    return Err(Error::new(ErrorKind::Refused, text));
                }
                if page.lineage.add_member(editor, id, &tag)? {
                    added += 1;
                    edit.sets.add_user(&mut edit.editor, &tag, id.user)?;
                }
            }
            set.members += added;
            edit.sets.set(&mut edit.editor, &tag, &set)?;
            Ok(added)
        })
    }

    /// Drops a set, even if it is being opened now; its records stay. What was opened stays in
    /// their users' reports.
    ///
    /// # Errors
    /// `Absent` for a set that is not here; as [`Engine::put`](crate::Engine::put).
    pub fn drop(&self, name: &str) -> Result<()> {
        let tag = set_tag(name);
        self.inner.check_usable()?;
        let dropped = commit_edit(self.inner, |edit| {
            let pages = edit.pages();
            edit.sets.get(pages, &tag)?.ok_or_else(no_such_set)?;
            for user in edit.sets.users(pages, &tag)? {
                if let Some((editor, page)) = edit.page(user)? {
                    for id in page.lineage.members(pages, user, page.incarnation, &tag)? {
                        page.lineage.remove_member(editor, &id, &tag)?;
                    }
                }
            }
            edit.sets.remove(&mut edit.editor, &tag)
        });
        // Also if a copy did not take the commit: readers see it.
        let there = sets_of(&self.inner.state().head).get(&self.inner.pages(), &tag);
        if !matches!(there, Ok(Some(_))) {
            let closed = self.inner.readers.close_granted(|via| {
                if via.set == Some(tag) {
                    via.grants.clear();
                }
            });
            self.inner.observing.readers_closed(closed, ClosedBy::Grant);
            self.inner.observing.deliver();
        }
        dropped
    }

    /// All training sets.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<TrainingSet>> {
        self.inner.look(|view| {
            let sets = sets_of(view.head).all(view.pages)?;
            Ok(sets.into_iter().map(|(_, set)| set).collect())
        })
    }
}
