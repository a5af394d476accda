//! Legal holds: how one is added and lifted, and the marks on what a held record cannot be read
//! without. Whether something is held is asked in `hold_check`.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::edit::Edit;
use super::hold_check::{covers, is_covered};
use super::resolve::Resolver;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::limits::HOLDS_MAX;
use crate::record::Entry;
use crate::tree::Pages;
use crate::tree::history::StoredFact;
use crate::tree::holds::Hold;
use crate::tree::keys::{record_key, split_record_key, whose};
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{UserPage, class_place};

/// Adds a hold on a user's records, under a number.
pub(crate) fn add(
    edit: &mut Edit<'_>,
    resolver: &Resolver<'_>,
    user: UserTag,
    id: u64,
    hold: &Hold,
) -> Result<()> {
    let pages = edit.pages();
    let mut covered = Vec::new();
    if let Some((editor, page)) = edit.page(user)? {
        if page.holds.all(pages, user)?.len() >= HOLDS_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a user has at most {HOLDS_MAX} holds; widen one"),
            ));
        }
        covered = derived(pages, user, page, hold)?;
        page.holds.add(editor, user, id, hold)?;
        let note = StoredFact::Held {
            id,
            class: hold.class.as_ref().map(|class| page.class_tag(class)),
            interaction: hold.interaction.is_some(),
            reason: hold.reason.clone(),
            authority: hold.authority.clone(),
        };
        page.history.add(editor, user, hold.since, &note)?;
    }
    for id in &covered {
        mark(edit, id, &ancestors(resolver, id)?)?;
    }
    Ok(())
}

/// The lifting of a hold.
pub(crate) struct Lift<'a> {
    /// Number of the hold, as it was given out when the hold was added.
    pub(crate) id: u64,
    pub(crate) reason: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) at: Timestamp,
}

/// Lifts a hold on a user's records.
pub(crate) fn lift(
    edit: &mut Edit<'_>,
    resolver: &Resolver<'_>,
    user: UserTag,
    lift: &Lift<'_>,
) -> Result<()> {
    let pages = edit.pages();
    let mut free = Vec::new();
    if let Some((editor, page)) = edit.page(user)? {
        let all = page.holds.all(pages, user)?;
        let Some((_, hold)) = all.iter().find(|(there, _)| *there == lift.id) else {
            return Err(Error::new(
                ErrorKind::Absent,
                "this user has no such hold; `Holds::list` shows all",
            ));
        };
        free = derived(pages, user, page, hold)?;
        free.retain(|record| {
            !all.iter().any(|(other, hold)| *other != lift.id && covers(hold, page, record))
        });
        page.holds.remove(editor, user, lift.id)?;
        let (reason, authority) = (lift.reason.to_owned(), lift.authority.to_owned());
        page.history.add(
            editor,
            user,
            lift.at,
            &StoredFact::Lifted { id: lift.id, reason, authority },
        )?;
    }
    for id in &free {
        unmark(edit, id, &resolver.ancestors_left(id)?)?;
    }
    Ok(())
}

/// Whether a record of this user's is there and held: a mark for another one does not count.
fn is_held(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let Some(slot) = page.class(id.class).filter(|_| page.incarnation == id.incarnation) else {
        return Ok(false);
    };
    let entry =
        slot.tree.get(pages, class_place(id.user), &record_key(id.interaction, id.ordinal))?;
    Ok(entry.is_some() && is_covered(pages, page, id)?)
}

/// Which marks count; if the held record's user cannot be asked, the mark does.
fn counts(
    known: &mut HashMap<RecordId, bool>,
    held: &RecordId,
    ask: impl FnOnce() -> Result<bool>,
) -> Result<bool> {
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

/// Drops the marks on a user's records whose held record is gone, or held no more; says whether
/// there were any. A damaged page may have kept an erase or a lifting from finding them.
pub(crate) fn drop_idle_marks(edit: &mut Edit<'_>, user: UserTag) -> Result<bool> {
    let pages = edit.pages();
    let marks = match edit.page(user)? {
        Some((_, page)) => page.holds.all_marks(pages, user)?,
        None => Vec::new(),
    };
    let (mut known, mut idle) = (HashMap::new(), Vec::new());
    for (mark, held) in marks {
        let ask = || match edit.page_for(&held)? {
            Some((_, page)) => is_held(pages, page, &held),
            None => Ok(false),
        };
        if !counts(&mut known, &held, ask)? {
            idle.push(mark);
        }
    }
    if let Some((editor, page)) = edit.page(user)? {
        for mark in &idle {
            page.holds.drop_mark(editor, user, mark)?;
        }
    }
    Ok(!idle.is_empty())
}

/// How many of a user's records cannot be erased since a held one was derived from them.
pub(crate) fn needed(view: &View<'_>, user: UserTag, page: &UserPage) -> Result<u64> {
    let pages = view.pages;
    let (mut known, mut on) = (HashMap::new(), BTreeSet::new());
    for (mark, held) in page.holds.all_marks(pages, user)? {
        let ask = || match view.users().live(held.user)? {
            Some(page) => is_held(pages, &page, &held),
            None => Ok(false),
        };
        if counts(&mut known, &held, ask)? {
            on.insert(whose(&mark));
        }
    }
    Ok(on.len() as u64)
}

/// The derived records that a hold covers.
fn derived(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    hold: &Hold,
) -> Result<Vec<RecordId>> {
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
                let (incarnation, class) = (page.incarnation, slot.tag);
                ids.push(RecordId { interaction, user, incarnation, class, ordinal });
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(ids)
}

/// Marks everything that a held record depends on.
pub(crate) fn mark(
    edit: &mut Edit<'_>,
    held: &RecordId,
    ancestors: &BTreeSet<RecordId>,
) -> Result<()> {
    for on in ancestors {
        if let Some((editor, page)) = edit.page_for(on)? {
            page.holds.mark(editor, on, held)?;
        }
    }
    Ok(())
}

/// Takes the marks of a record back from what it depended on.
pub(crate) fn unmark(
    edit: &mut Edit<'_>,
    held: &RecordId,
    ancestors: &BTreeSet<RecordId>,
) -> Result<()> {
    for on in ancestors {
        let mut change = || match edit.page_for(on)? {
            Some((editor, page)) => page.holds.unmark(editor, on, held),
            None => Ok(()),
        };
        match change() {
            // It does not count any more, and goes when it is looked at.
            Err(e) if e.kind() == ErrorKind::Corrupt => {}
            done => done?,
        }
    }
    Ok(())
}

/// What a record depends on, near and far; nothing if it fell already.
fn ancestors(resolver: &Resolver<'_>, id: &RecordId) -> Result<BTreeSet<RecordId>> {
    match resolver.ancestors(id) {
        Err(e) if e.kind() == ErrorKind::Erased => Ok(BTreeSet::new()),
        found => found,
    }
}
