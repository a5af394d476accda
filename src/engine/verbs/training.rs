//! Training sets: named sets of records of many users, opened together.

use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::edit::{Edit, page_of};
use crate::engine::grants::{check_name, check_why};
use crate::engine::sets::{granted, no_such_set};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp};
use crate::sealed::{Asked, PublicKey, Ticket};
use crate::secret::WipeStack;
use crate::tree::grants::Pace;
use crate::tree::sets::{TrainingSet, set_tag};

/// The training sets of the store ([`Engine::training`](crate::Engine::training)).
#[derive(Clone, Copy, Debug)]
pub struct Training<'e> {
    pub(super) inner: &'e Arc<Inner>,
}

impl Training<'_> {
    /// Makes an empty set for a grantee, and returns the ticket that it asks with.
    ///
    /// # Errors
    /// `Exists` where a set has this name; `Invalid` without a name or a purpose; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn make(&self, name: &str, to: &PublicKey, purpose: &str) -> Result<Ticket> {
        let _wiped = WipeStack;
        check_name(name)?;
        check_why(purpose)?;
        let inner = self.inner;
        let tag = set_tag(name);
        inner.commit_edit(|_, pages, edit| {
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
                made: inner.options.env.now(),
                last: Timestamp(0),
                runs: 0,
                members: 0,
                pace: Pace::default(),
            };
            edit.sets.set(&mut edit.editor, &tag, &set)?;
            Ok(Ticket { store: inner.id, what: Asked::Set(tag) })
        })
    }

    /// Adds records to a set, all or none, and returns how many were not in it. Each falls out when
    /// it is erased, or when its user's grant to the set's grantee ends.
    ///
    /// # Errors
    /// `Absent` for a set or record that is not here; `Erased`; `Refused` where a user gave the
    /// grantee no grant on the record for the set's purpose; as
    /// [`Engine::put`](crate::Engine::put).
    pub fn add(&self, name: &str, ids: &[RecordId]) -> Result<u64> {
        let _wiped = WipeStack;
        let inner = self.inner;
        let tag = set_tag(name);
        inner.commit_edit(|state, pages, edit| {
            let mut set = edit.sets.get(pages, &tag)?.ok_or_else(no_such_set)?;
            let now = inner.reading(state).latest();
            let mut added = 0;
            for id in ids {
                inner.look_up_whole(state, id)?;
                let (editor, root) = edit.parts()?;
                let Some(page) = page_of(editor, root, id.user)? else {
                    return Err(no_such_set());
                };
                if granted(pages, id.user, page, (&set.to, &set.purpose), id, now)?.is_empty() {
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

    /// Drops a set, even where it is being opened now; its records stay. What was opened stays in
    /// their users' reports.
    ///
    /// # Errors
    /// `Absent` for a set that is not here; as [`Engine::put`](crate::Engine::put).
    pub fn drop(&self, name: &str) -> Result<()> {
        let _wiped = WipeStack;
        let tag = set_tag(name);
        self.inner.check_usable()?;
        let dropped = self.inner.commit_edit(|_, pages, edit| {
            edit.sets.get(pages, &tag)?.ok_or_else(no_such_set)?;
            for user in edit.sets.users(pages, &tag)? {
                let (editor, root) = edit.parts()?;
                if let Some(page) = page_of(editor, root, user)? {
                    for id in page.lineage.members(pages, user, page.incarnation, &tag)? {
                        page.lineage.remove_member(editor, &id, &tag)?;
                    }
                }
            }
            edit.sets.remove(&mut edit.editor, &tag)
        });
        // Also where a copy did not take the commit: readers see it.
        let there = Edit::sets_of(&self.inner.state()).get(&self.inner.pages(), &tag);
        if !matches!(there, Ok(Some(_))) {
            self.inner.close_granted(|via| {
                if via.set == Some(tag) {
                    via.grants.clear();
                }
            });
        }
        dropped
    }

    /// All training sets.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<TrainingSet>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let sets = Edit::sets_of(&state).all(&self.inner.pages())?;
        Ok(sets.into_iter().map(|(_, set)| set).collect())
    }
}
