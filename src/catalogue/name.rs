//! Names: which record of a user has one, and what a put does to the record whose name it takes.

use std::collections::BTreeSet;

use super::defect::Defect;
use super::edit::Edit;
use super::erase::apply;
use super::fell::Fell;
use super::hold_check::record_is_held;
use super::info::{label_of, nameless, whole};
use super::judge::note_refusal;
use super::record::erase_record;
use super::resolve::resolver;
use super::staged::{Inserted, Staged};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserId, UserTag};
use crate::record::layout::payload_context;
use crate::record::{Entry, PutMode, RecordInfo, Source};
use crate::scope::{Erase, Scope};
use crate::tree::Pages;
use crate::tree::keys::split_record_key;
use crate::tree::user::{UserPage, class_place};

/// The record of a user that has a name.
///
/// # Errors
/// `Absent` if none has it, also if the one that had it was erased: a name leaves nothing
/// behind. `Erased` for a user that was erased; `Corrupt`, `Io`.
pub(crate) fn find(view: &View<'_>, user: &UserId, name: &str) -> Result<RecordInfo> {
    let (tag, page) = view.user(user)?;
    let Some((id, entry)) = named(view.pages, tag, &page, name)? else {
        return Err(nobody());
    };
    match whole(view, &id, &page, &entry, Some(name)) {
        // It fell with a source, and is still in the tree.
        Err(e) if e.kind() == ErrorKind::Erased => Err(nobody()),
        found => found,
    }
}

fn changed() -> Error {
    Error::new(
        ErrorKind::Changed,
        "the record that this put would replace does not have the name any more; look at what has \
         it now with `Engine::find`, and decide again",
    )
}

fn nobody() -> Error {
    Error::new(
        ErrorKind::Absent,
        "no record of this user has this name; `Query::name_prefix` lists those that have one",
    )
}

/// The record of a user that has a name, and its entry.
fn named(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    name: &str,
) -> Result<Option<(RecordId, Entry)>> {
    for slot in &page.classes {
        let Some(key) = slot.labels.find(pages, user, name)? else { continue };
        let (interaction, ordinal) = split_record_key(&key)?;
        let (incarnation, class) = (page.incarnation, slot.tag);
        let entry = slot.tree.get(pages, class_place(user), &key)?.ok_or_else(nameless)?;
        let id = RecordId { interaction, user, incarnation, class, ordinal };
        return Ok(Some((id, Entry::decode(&entry)?)));
    }
    Ok(None)
}

/// What has the name of a put.
enum Standing {
    /// What is to be put.
    Same(RecordId),
    /// Another record.
    Other(RecordId),
    /// One that fell with a source, and is still in the tree.
    Fallen(RecordId),
    Nothing,
}

/// The record that a put with a name would put, if it is there already; looked up before
/// the put is committed.
pub(crate) fn standing_already(view: &View<'_>, staged: &Staged) -> Result<Option<RecordId>> {
    let mut sources = BTreeSet::new();
    for source in &staged.sources {
        match source {
            Source::Record(id) => sources.insert(*id),
            Source::Added(_) => return Ok(None),
        };
    }
    let Some(page) = view.users().live(staged.to.user)? else { return Ok(None) };
    Ok(match standing(view, view.pages, &page, staged, &sources)? {
        Standing::Same(id) => Some(id),
        Standing::Other(_) | Standing::Fallen(_) | Standing::Nothing => None,
    })
}

fn standing(
    view: &View<'_>,
    pages: &dyn Pages,
    page: &UserPage,
    staged: &Staged,
    sources: &BTreeSet<RecordId>,
) -> Result<Standing> {
    let Some(name) = staged.label.name() else { return Ok(Standing::Nothing) };
    let Some((id, entry)) = named(pages, staged.to.user, page, name)? else {
        return Ok(Standing::Nothing);
    };
    let has_fallen = view.is_falling() && entry.sources > 0;
    if has_fallen && resolver(view).resolve(&id).is_err_and(|e| e.kind() == ErrorKind::Erased) {
        return Ok(Standing::Fallen(id));
    }
    let is_same = is_same(view, pages, page, &id, &entry, staged, sources)?;
    Ok(if is_same { Standing::Same(id) } else { Standing::Other(id) })
}

/// Whether a record is what a put would put: content, class, media type, purpose, label, sources.
fn is_same(
    view: &View<'_>,
    pages: &dyn Pages,
    page: &UserPage,
    id: &RecordId,
    entry: &Entry,
    staged: &Staged,
    sources: &BTreeSet<RecordId>,
) -> Result<bool> {
    let Some(slot) = page.class(id.class).filter(|slot| slot.class == staged.class) else {
        return Ok(false);
    };
    let alike = entry.length == staged.entry.length
        && entry.media_type == staged.entry.media_type
        && entry.purpose == staged.entry.purpose
        && !entry.detached
        && usize::from(entry.sources) == sources.len();
    if !alike || label_of(pages, id.user, slot, id, entry)?.as_ref() != Some(&staged.label) {
        return Ok(false);
    }
    if entry.stands_alone() {
        return Ok(entry.digest(&entry.secret, &[])? == Some(staged.digest));
    }
    let there: BTreeSet<RecordId> = page.lineage.sources(pages, id)?.into_iter().collect();
    if there != *sources {
        return Ok(false);
    }
    let context =
        payload_context(view.head.realm, id.user, id.incarnation, &slot.class, id.interaction);
    let mut resolver = resolver(view);
    let (root, _) = resolver.resolve(id)?;
    Ok(entry.digest(root, &context)? == Some(staged.digest))
}

/// Makes way for a record that has a name: gives the id if the put is that of what is there,
/// and erases another record that has the name.
///
/// # Errors
/// `Exists` or `Changed` as the put's mode says; `Held`; `Refused` if the record would fall with
/// the one that it replaces.
pub(crate) fn take_name(
    edit: &mut Edit<'_>,
    staged: &[Staged],
    n: usize,
    inserted: &mut Inserted,
) -> Result<Option<RecordId>> {
    let record = &staged[n];
    if record.label.name().is_none() {
        return Ok(None);
    }
    let (view, pages) = (edit.view, edit.pages());
    let source_id = |source: &Source| match source {
        Source::Record(id) => *id,
        Source::Added(n) => inserted.ids[*n],
    };
    let sources: BTreeSet<RecordId> = record.sources.iter().map(source_id).collect();
    let standing = match edit.page(record.to.user)? {
        Some((_, page)) if page.incarnation == record.to.incarnation => {
            standing(&view, pages, page, record, &sources)?
        }
        _ => Standing::Nothing,
    };
    // What was sealed for records derived from this one depends on this one, and on no other.
    let is_source = staged[n + 1..].iter().any(|next| next.sources.contains(&Source::Added(n)));
    let (id, has_fallen) = match (standing, record.mode) {
        (Standing::Same(_), _) if edit.means.planted.is(Defect::PutTwice) => return Ok(None),
        (Standing::Same(id), _) if !is_source => return Ok(Some(id)),
        (Standing::Nothing | Standing::Fallen(_), PutMode::IfIs(_)) => return Err(changed()),
        (Standing::Nothing, _) => return Ok(None),
        (Standing::Fallen(id), _) => (id, true),
        (Standing::Same(id) | Standing::Other(id), PutMode::Replace) => (id, false),
        (Standing::Same(id) | Standing::Other(id), PutMode::IfIs(is)) if id == is => (id, false),
        (Standing::Same(_) | Standing::Other(_), PutMode::IfIs(_)) => return Err(changed()),
        (Standing::Same(_) | Standing::Other(_), PutMode::IfAbsent) => {
            return Err(Error::new(
                ErrorKind::Exists,
                "another record of this user has this name; look at it with `Engine::find`, and \
                 put in the place of that one, or under another name",
            ));
        }
    };
    let mut fell = replace(edit, &id, has_fallen, &sources)?;
    edit.note_fallen(&mut fell.spans);
    inserted.links.append(&mut fell.links);
    inserted.replaced += 1;
    Ok(None)
}

/// Erases a record for one that takes its name.
fn replace(
    edit: &mut Edit<'_>,
    id: &RecordId,
    has_fallen: bool,
    sources: &BTreeSet<RecordId>,
) -> Result<Fell> {
    let resolver = resolver(&edit.view);
    for source in sources {
        if source == id || resolver.ancestors_left(source)?.contains(id) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "this would be derived from record {id}, whose name it takes, and fall with it; put it under another name, and detach it before that one is erased"
                ),
            ));
        }
    }
    if edit.means.planted.is(Defect::KeepReplaced) {
        return Ok(Fell::already());
    }
    if !has_fallen {
        return apply(edit, &Erase::new(Scope::record(*id)));
    }
    let epoch = edit.moment.epoch;
    let fell = match edit.page_for(id)? {
        Some((editor, page)) => erase_record(editor, page, id, epoch)?,
        None => None,
    };
    Ok(fell.unwrap_or_else(Fell::already))
}

/// Writes down that a hold refused the erase of a record whose name a put would take; says whether
/// there was one.
pub(crate) fn note_held(edit: &mut Edit<'_>, staged: &[Staged]) -> Result<bool> {
    let pages = edit.pages();
    let mut noted = false;
    for record in staged {
        let Some(name) = record.label.name() else { continue };
        if standing_already(&edit.view, record)?.is_some() {
            // It would take nothing.
            continue;
        }
        let held = match edit.page(record.to.user)? {
            Some((_, page)) => match named(pages, record.to.user, page, name)? {
                Some((id, _)) if record_is_held(pages, page, &id)? => Some(id),
                _ => None,
            },
            None => None,
        };
        if let Some(id) = held {
            noted |= note_refusal(edit, &Erase::new(Scope::record(id)))?;
        }
    }
    Ok(noted)
}

/// Whether two records of different batches have one name.
pub(crate) fn share_a_name<'s>(batches: impl Iterator<Item = &'s [Staged]>) -> bool {
    let mut seen = BTreeSet::new();
    for staged in batches {
        let names: BTreeSet<(UserTag, &str)> =
            staged.iter().filter_map(|s| Some((s.to.user, s.label.name()?))).collect();
        if names.iter().any(|name| !seen.insert(*name)) {
            return true;
        }
    }
    false
}

/// Whether a staged record has the name of another one.
pub(crate) fn is_named_alike(staged: &[Staged], user: UserTag, name: &str) -> bool {
    staged.iter().any(|other| other.to.user == user && other.label.name() == Some(name))
}
