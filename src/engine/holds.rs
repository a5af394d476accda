//! Legal holds: nothing of what one covers is erased until it is lifted, nor what a held record cannot be read without.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::clock::Reading;
use super::edit::{Edit, page_of, user_of};
use super::erase::Applied;
use super::lineage::Resolver;
use super::{Engine, Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{AUTHORITY_MAX_BYTES, HOLDS_MAX};
use crate::record::Entry;
use crate::scope::{Erase, check_reason};
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::holds::Hold;
use crate::tree::lineage::whose;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{UserPage, class_place, record_key, split_record_key};
use crate::tree::users::UsersNode;
use crate::tree::{Editor, Pages};

/// The error for an erase that would touch what is held.
pub(super) fn held(what: &str) -> Error {
    Error::new(
        ErrorKind::Held,
        format!(
            "{what} is under a legal hold; nothing was erased; `Engine::holds` shows the holds of a user (where this one has none, it is on a record of another user that was derived); only lifting it helps"
        ),
    )
}

fn check_authority(authority: &str) -> Result<()> {
    if authority.trim().is_empty() || authority.len() > AUTHORITY_MAX_BYTES {
        return Err(Error::invalid(format!("name who orders it, in 1 to {AUTHORITY_MAX_BYTES} bytes")));
    }
    Ok(())
}

impl Hold {
    /// A hold on everything of a user; `authority` is who orders it.
    pub fn new(reason: impl Into<String>, authority: impl Into<String>) -> Self {
        let (reason, authority) = (reason.into(), authority.into());
        Hold { class: None, interaction: None, reason, authority, since: Timestamp(0) }
    }

    /// On this class only.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Hold { class: Some(class), ..self }
    }

    /// On this interaction only.
    #[must_use]
    pub fn interaction(self, id: InteractionId) -> Self {
        Hold { interaction: Some(id), ..self }
    }

    fn covers(&self, page: &UserPage, id: &RecordId) -> bool {
        self.class.as_ref().is_none_or(|class| page.class_tag(class) == id.class)
            && self.interaction.is_none_or(|i| i == id.interaction)
    }
}

/// Whether a record of this user's is held.
pub(super) fn covered(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    Ok(page.holds.tree.root.is_some() && page.holds.all(pages, id.user)?.iter().any(|(_, hold)| hold.covers(page, id)))
}

/// Whether a record of this user's is held, or a held one depends on it.
pub(super) fn protected(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let key = record_key(id.interaction, id.ordinal);
    Ok(covered(pages, page, id)? || page.holds.is_marked(pages, id.user, id.class, (&key, &key))?)
}

/// Whether a record of this user's is there and held: a mark for another one does not count.
fn is_held(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let Some(slot) = page.class(id.class).filter(|_| page.incarnation == id.incarnation) else {
        return Ok(false);
    };
    let entry = slot.tree.get(pages, class_place(id.user), &record_key(id.interaction, id.ordinal))?;
    Ok(entry.is_some() && covered(pages, page, id)?)
}

/// Which marks count; where the held record's user cannot be asked, the mark does.
fn counts(known: &mut HashMap<RecordId, bool>, held: &RecordId, ask: impl FnOnce() -> Result<bool>) -> Result<bool> {
    if let Some(counts) = known.get(held) {
        return Ok(*counts);
    }
    let counts = match ask() {
        Err(e) if e.kind() == ErrorKind::Corrupt => true,
        asked => asked?,
    };
    known.insert(*held, counts);
    Ok(counts)
}

/// Drops the marks on a user's records whose held record is gone, or held no more; says whether there were any. A page that was
/// damaged kept whoever erased or lifted from finding them.
pub(super) fn drop_idle_marks(edit: &mut Edit<'_>, user: UserTag) -> Result<bool> {
    let pages = edit.editor.pages;
    let (editor, root) = edit.parts()?;
    let marks = match page_of(editor, root, user)? {
        Some(page) => page.holds.all_marks(pages, user)?,
        None => Vec::new(),
    };
    let (mut known, mut idle) = (HashMap::new(), Vec::new());
    for (mark, held) in marks {
        let ask = || match user_of(editor, root, &held)? {
            Some(page) => is_held(pages, page, &held),
            None => Ok(false),
        };
        if !counts(&mut known, &held, ask)? {
            idle.push(mark);
        }
    }
    if let Some(page) = page_of(editor, root, user)? {
        for mark in &idle {
            page.holds.drop_mark(editor, user, mark)?;
        }
    }
    Ok(!idle.is_empty())
}

/// The derived records that a hold covers.
fn derived(pages: &dyn Pages, user: UserTag, page: &UserPage, hold: &Hold) -> Result<Vec<RecordId>> {
    let (low, high) = match hold.interaction {
        Some(id) => (record_key(id, 0), record_key(id, u32::MAX)),
        None => (KEY_MIN, KEY_MAX),
    };
    let wanted = hold.class.as_ref().map(|class| page.class_tag(class));
    let mut ids = Vec::new();
    for slot in page.classes.iter().filter(|slot| wanted.is_none_or(|w| w == slot.tag)) {
        let range = Range { low: &low, high: &high, descending: false };
        slot.tree.scan(pages, class_place(user), range, &mut |key, value| {
            if Entry::decode(value)?.sources > 0 {
                let (interaction, ordinal) = split_record_key(key)?;
                ids.push(RecordId { interaction, user, incarnation: page.incarnation, class: slot.tag, ordinal });
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(ids)
}

/// Marks, or unmarks, everything that a held record depends on.
pub(super) fn mark(
    editor: &mut Editor<'_>,
    root: &mut UsersNode,
    held: &RecordId,
    (ancestors, marked): (&BTreeSet<RecordId>, bool),
) -> Result<()> {
    for on in ancestors {
        let mut change = || match user_of(editor, root, on)? {
            Some(page) if marked => page.holds.mark(editor, on, held),
            Some(page) => page.holds.unmark(editor, on, held),
            None => Ok(()),
        };
        match change() {
            // It does not count any more, and goes when it is looked at.
            Err(e) if e.kind() == ErrorKind::Corrupt && !marked => {}
            done => done?,
        }
    }
    Ok(())
}

/// What a record depends on, near and far; nothing where it fell already.
fn ancestors(resolver: &Resolver<'_>, id: &RecordId) -> Result<BTreeSet<RecordId>> {
    match resolver.ancestors(id) {
        Err(e) if e.kind() == ErrorKind::Erased => Ok(BTreeSet::new()),
        found => found,
    }
}

impl Inner {
    /// Drops a scope's pointers in the tree and leaves its fence. Where a mark refuses that, it is looked whether it still counts.
    pub(super) fn apply(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        erase: &Erase,
        at: (u64, Reading),
    ) -> Result<Applied> {
        match self.drop_scope(state, edit, erase, at) {
            // Nothing was changed yet.
            Err(e) if e.kind() == ErrorKind::Held => {
                let user = erase.user(|user| self.user_tag(state, user));
                match drop_idle_marks(edit, user) {
                    Ok(true) => self.drop_scope(state, edit, erase, at),
                    Err(other) if other.kind() != ErrorKind::Corrupt => Err(other),
                    _ => Err(e),
                }
            }
            done => done,
        }
    }

    /// How many of a user's records cannot be erased since a held one was derived from them.
    pub(super) fn needed(&self, state: &State, user: UserTag, page: &UserPage) -> Result<u64> {
        let pages = self.pages();
        let (mut known, mut on) = (HashMap::new(), BTreeSet::new());
        for (mark, held) in page.holds.all_marks(&pages, user)? {
            let ask = || match self.page_at(state, held.user)? {
                Some(page) => is_held(&pages, &page, &held),
                None => Ok(false),
            };
            if counts(&mut known, &held, ask)? {
                on.insert(whose(&mark));
            }
        }
        Ok(on.len() as u64)
    }

    /// One commit that changes the holds of a live user.
    fn change_holds<T>(
        &self,
        user: &UserId,
        act: impl FnOnce(&mut Edit<'_>, &Resolver<'_>, UserTag, Timestamp) -> Result<T>,
    ) -> Result<T> {
        self.commit_edit(|state, pages, edit| {
            let (tag, _) = self.user_page(state, user)?;
            act(edit, &self.resolver(pages, state), tag, self.options.env.now())
        })
    }
}

impl Engine {
    /// Adds a hold on a user's records, and returns its number. Until it is lifted every erase that would touch what it
    /// covers, or what a covered record was derived from, is refused as held, whole. Cost: one look at each covered record.
    ///
    /// # Errors
    /// `Invalid` without a reason or an authority; `Erased`, `Absent` for the user; `Limit` for more than 64; as
    /// [`Engine::put`].
    pub fn hold(&self, user: &UserId, hold: Hold) -> Result<u64> {
        let _wiped = WipeStack;
        check_reason(&hold.reason)?;
        check_authority(&hold.authority)?;
        let id = self.inner.new_number()?;
        self.inner.change_holds(user, |edit, resolver, tag, now| {
            let hold = Hold { since: now, ..hold };
            let pages = edit.editor.pages;
            let (editor, root) = edit.parts()?;
            let mut covered = Vec::new();
            if let Some(page) = page_of(editor, root, tag)? {
                if page.holds.all(pages, tag)?.len() >= HOLDS_MAX {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("a user has at most {HOLDS_MAX} holds; widen one"),
                    ));
                }
                covered = derived(pages, tag, page, &hold)?;
                page.holds.add(editor, tag, id, &hold)?;
                let class = hold.class.as_ref().map(|class| page.class_tag(class));
                let Hold { interaction, reason, authority, .. } = hold;
                let note = Note::Held { id, class, interaction: interaction.is_some(), reason, authority };
                page.history.add(editor, tag, now, &note)?;
            }
            for id in &covered {
                mark(editor, root, id, (&ancestors(resolver, id)?, true))?;
            }
            Ok(id)
        })
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// `Absent` where the user has no such hold; `Invalid` without a reason or an authority; as [`Engine::hold`].
    pub fn lift(&self, user: &UserId, id: u64, reason: &str, authority: &str) -> Result<()> {
        let _wiped = WipeStack;
        check_reason(reason)?;
        check_authority(authority)?;
        self.inner.change_holds(user, |edit, resolver, tag, now| {
            let pages = edit.editor.pages;
            let (editor, root) = edit.parts()?;
            let mut free = Vec::new();
            if let Some(page) = page_of(editor, root, tag)? {
                let all = page.holds.all(pages, tag)?;
                let Some((_, hold)) = all.iter().find(|(there, _)| *there == id) else {
                    return Err(Error::new(ErrorKind::Absent, "this user has no such hold; `Engine::holds` shows all"));
                };
                free = derived(pages, tag, page, hold)?;
                free.retain(|record| !all.iter().any(|(other, hold)| *other != id && hold.covers(page, record)));
                page.holds.remove(editor, tag, id)?;
                let note = Note::Lifted { id, reason: reason.to_owned(), authority: authority.to_owned() };
                page.history.add(editor, tag, now, &note)?;
            }
            for id in &free {
                mark(editor, root, id, (&resolver.ancestors_left(id)?, false))?;
            }
            Ok(())
        })
    }

    /// The holds on a user's records, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn holds(&self, user: &UserId) -> Result<Vec<(u64, Hold)>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let pages = inner.pages();
        let (tag, page) = inner.user_page(&state, user)?;
        page.holds.all(&pages, tag)
    }
}
