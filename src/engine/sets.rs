//! Training sets: named sets of records of many users, opened together under the users' grants to one grantee.

use std::collections::BTreeMap;
use std::io::Write;

use super::edit::{Edit, page_of};
use super::grants::{Opened, check_name, check_why};
use super::reader::Via;
use super::{Engine, Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::sealed::{Asked, PublicKey, Request, Ticket};
use crate::secret::WipeStack;
use crate::tree::Pages;
use crate::tree::grants::Pace;
use crate::tree::lineage::Access;
use crate::tree::sets::{SetTag, TrainingSet, set_tag};
use crate::tree::user::UserPage;

fn no_such_set() -> Error {
    Error::new(ErrorKind::Absent, "there is no such training set; `Engine::sets` shows all")
}

/// Which of a user's grants let a set's grantee open a record now, for what the set is for; and their ends.
fn granted(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    (to, purpose): (&[u8; 32], &str),
    id: &RecordId,
    now: Timestamp,
) -> Result<Vec<(u64, Option<Timestamp>)>> {
    let Some(slot) = page.class(id.class) else {
        return Ok(Vec::new());
    };
    let mut grants = page.grants.all(pages, user)?;
    grants.retain(|(_, grant)| grant.to == *to && grant.purpose == purpose && grant.covers(&slot.class, now));
    Ok(grants.into_iter().map(|(number, grant)| (number, grant.until)).collect())
}

/// What is found of a set.
#[derive(Default)]
struct Members {
    /// By user, what can be read and is granted; a user may have nothing left.
    live: BTreeMap<UserTag, Vec<RecordId>>,
    /// What is there, and no more.
    dropped: Vec<RecordId>,
}

impl Inner {
    /// Every member of a set that can be read and is granted, and those that are there and are not.
    fn members(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        (tag, set, now): (&SetTag, &TrainingSet, Timestamp),
    ) -> Result<Members> {
        let pages = edit.editor.pages;
        let Members { mut live, mut dropped } = Members::default();
        for user in edit.sets.users(pages, tag)? {
            let of_user: &mut Vec<RecordId> = live.entry(user).or_default();
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                continue;
            };
            for id in page.lineage.members(pages, user, page.incarnation, tag)? {
                let whole = match self.look_up_whole(state, &id) {
                    Ok(_) => true,
                    Err(e) if e.kind() == ErrorKind::Erased => false,
                    Err(e) => return Err(e),
                };
                if whole && !granted(pages, user, page, (&set.to, &set.purpose), &id, now)?.is_empty() {
                    of_user.push(id);
                } else {
                    dropped.push(id);
                }
            }
        }
        Ok(Members { live, dropped })
    }
}

impl Engine {
    /// Makes a training set for a grantee, empty, and returns the ticket that it asks with.
    ///
    /// # Errors
    /// `Exists` where there is one of this name; `Invalid` without a name or a purpose; as [`Engine::put`].
    pub fn make_set(&self, name: &str, to: &PublicKey, purpose: &str) -> Result<Ticket> {
        let _wiped = WipeStack;
        check_name(name)?;
        check_why(purpose)?;
        let inner = &self.inner;
        let tag = set_tag(name);
        inner.commit_edit(|_, pages, edit| {
            if edit.sets.get(pages, &tag)?.is_some() {
                return Err(Error::new(ErrorKind::Exists, format!("there is a training set {name} already")));
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

    /// Adds records to a training set, all or none, and returns how many were not in it. Each falls out when it is erased, or when its user's grant to
    /// the set's grantee ends.
    ///
    /// # Errors
    /// `Absent` where there is no such set or record; `Erased`; `Refused` where a user gave the grantee no grant on the record for the set's purpose; as
    /// [`Engine::put`].
    pub fn add_to_set(&self, name: &str, ids: &[RecordId]) -> Result<u64> {
        let _wiped = WipeStack;
        let inner = &self.inner;
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
                        "the user of record {id} has given the grantee of {name} no grant on it for {:?}; nothing was added",
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

    /// Drops a training set, also where it is being opened; its records stay. What was opened stays in their users' reports.
    ///
    /// # Errors
    /// `Absent` where there is no such set; as [`Engine::put`].
    pub fn drop_set(&self, name: &str) -> Result<()> {
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
    pub fn sets(&self) -> Result<Vec<TrainingSet>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let sets = Edit::sets_of(&state).all(&self.inner.pages())?;
        Ok(sets.into_iter().map(|(_, set)| set).collect())
    }

    pub(super) fn open_set(&self, request: &Request, tag: &SetTag, out: impl Write) -> Result<Opened> {
        let inner = &self.inner;
        let (ids, fell, set) = inner.commit_edit(|state, pages, edit| {
            let set = edit.sets.get(pages, tag)?.ok_or_else(no_such_set)?;
            let pace = inner.check_request(request, &set.to, (set.last, set.pace))?;
            let now = inner.options.env.now();
            let clock = inner.reading(state);
            let Members { live, dropped } = inner.members(state, edit, (tag, &set, clock.latest()))?;
            // By a clock that may be wrong nothing is given out, and nothing is taken out for good.
            let believed = !clock.doubted;
            for id in dropped.iter().filter(|_| believed) {
                let (editor, root) = edit.parts()?;
                if let Some(page) = page_of(editor, root, id.user)? {
                    page.lineage.remove_member(editor, id, tag)?;
                }
            }
            for (user, _) in live.iter().filter(|(_, ids)| believed && ids.is_empty()) {
                edit.sets.remove_user(&mut edit.editor, tag, *user)?;
            }
            let ids: Vec<RecordId> = live.into_values().flatten().collect();
            let members = ids.len() as u64;
            let run = set.runs + 1;
            let principal = format!("training set {}, run {run}", set.name);
            inner.write_down(edit, &ids, &Access { principal, purpose: set.purpose.clone(), at: now })?;
            let fell = set.members.saturating_sub(members);
            let set = TrainingSet { last: request.made, runs: run, members, pace, ..set };
            edit.sets.set(&mut edit.editor, tag, &set)?;
            Ok((ids, fell, set))
        })?;
        let granted = |state: &State, id: &RecordId| {
            let (pages, clock) = (inner.pages(), inner.reading(state));
            let Some(page) = inner.page_at(state, id.user)?.filter(|page| page.incarnation == id.incarnation) else {
                return Ok(None);
            };
            // It may have been dropped, and another one made under its name.
            let is_it = |there: TrainingSet| {
                (there.made, there.to, &there.purpose) == (set.made, set.to, &set.purpose) && there.runs >= set.runs
            };
            if !Edit::sets_of(state).get(&pages, tag)?.is_some_and(is_it) || !page.lineage.is_member(&pages, id, tag)? {
                return Ok(None);
            }
            let grants = granted(&pages, id.user, &page, (&set.to, &set.purpose), id, clock.latest())?;
            let via = |grants| Via { user: id.user, grants, floor: inner.floor(clock), set: Some(*tag) };
            Ok(Some(grants).filter(|grants| !grants.is_empty()).map(via))
        };
        let opened = self.deliver(&ids, &granted, &request.to, out)?;
        Ok(Opened { fell: opened.fell + fell, ..opened })
    }
}
