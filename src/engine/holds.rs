//! Legal holds: nothing of what one covers is erased until it is lifted, nor what a held record cannot be read without.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::clock::Reading;
use super::edit::{Edit, page_of, user_of};
use super::erase::Applied;
use super::lineage::Resolver;
use super::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::AUTHORITY_MAX_BYTES;
use crate::record::Entry;
use crate::scope::Erase;
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
            "{what} is under a legal hold; nothing was erased; `keyfall hold list STORE --user U` shows the holds of a user (where this one has none, it is on a record of another user that was derived); only lifting it helps"
        ),
    )
}

pub(super) fn check_authority(authority: &str) -> Result<()> {
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

    pub(super) fn covers(&self, page: &UserPage, id: &RecordId) -> bool {
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
pub(super) fn derived(pages: &dyn Pages, user: UserTag, page: &UserPage, hold: &Hold) -> Result<Vec<RecordId>> {
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
pub(super) fn ancestors(resolver: &Resolver<'_>, id: &RecordId) -> Result<BTreeSet<RecordId>> {
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
    pub(super) fn change_holds<T>(
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
