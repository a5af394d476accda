//! What the engine tells of a record: from its entry, its label and, for the digest of a derived
//! one, its content root.

use super::resolve::resolver;
use super::view::{View, absent};
use crate::error::{Error, Result};
use crate::ids::{Class, RecordId, UserId, UserTag};
use crate::record::layout::payload_context;
use crate::record::{Entry, RecordInfo};
use crate::tree::Pages;
use crate::tree::keys::record_key;
use crate::tree::labels::Label;
use crate::tree::user::{ClassSlot, UserPage};

/// What a list shows of a record: all but the digest of one that does not stand alone.
pub(crate) fn listed(
    id: &RecordId,
    user: &UserId,
    class: &Class,
    entry: &Entry,
    label: Option<&Label>,
) -> Result<RecordInfo> {
    let digest = if entry.stands_alone() { entry.digest(&entry.secret, &[])? } else { None };
    Ok(RecordInfo {
        id: *id,
        user: user.clone(),
        interaction: id.interaction,
        class: class.clone(),
        media_type: entry.media_type.clone(),
        purpose: (*entry.purpose).clone(),
        created: entry.created(id.interaction),
        length: entry.length,
        sources: entry.sources,
        detached: entry.detached,
        name: label.and_then(Label::name).map(str::to_owned),
        meta: label.map(Label::meta).unwrap_or_default(),
        digest,
    })
}

/// All that is told of a record that was looked up, by its name or by its id.
///
/// # Errors
/// `Erased` if one that it depends on was erased; `Corrupt`, `Io`.
pub(crate) fn whole(
    view: &View<'_>,
    id: &RecordId,
    page: &UserPage,
    entry: &Entry,
    name: Option<&str>,
) -> Result<RecordInfo> {
    let slot = page.class(id.class).ok_or_else(|| absent(id))?;
    let label = match name {
        Some(name) => label_named(view.pages, slot, id, entry, name)?,
        None => label_of(view.pages, id.user, slot, id, entry)?,
    };
    let info = listed(id, &page.user, &slot.class, entry, label.as_ref())?;
    if entry.stands_alone() {
        return Ok(info);
    }
    let context =
        payload_context(view.head.realm, id.user, id.incarnation, &slot.class, id.interaction);
    let mut resolver = resolver(view);
    let (root, _) = resolver.resolve(id)?;
    Ok(RecordInfo { digest: entry.digest(root, &context)?, ..info })
}

/// A record's label, if it has one.
pub(crate) fn label_of(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    id: &RecordId,
    entry: &Entry,
) -> Result<Option<Label>> {
    if !entry.is_labelled() {
        return Ok(None);
    }
    let label = slot.labels.get(pages, user, &record_key(id.interaction, id.ordinal))?;
    label_fits(id, entry, label.as_ref())?;
    Ok(label)
}

/// The label of a record that was found by its name: it is read if there is more in it.
pub(crate) fn label_named(
    pages: &dyn Pages,
    slot: &ClassSlot,
    id: &RecordId,
    entry: &Entry,
    name: &str,
) -> Result<Option<Label>> {
    if entry.described {
        return label_of(pages, id.user, slot, id, entry);
    }
    let label = Label::named(name);
    label_fits(id, entry, Some(&label))?;
    Ok(Some(label))
}

/// The error for a name whose record is not in its class's tree.
pub(crate) fn nameless() -> Error {
    Error::corrupt("a name is that of no record; restore the store from a copy")
}

/// Whether a label is the one that an entry tells of.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn label_fits(id: &RecordId, entry: &Entry, label: Option<&Label>) -> Result<()> {
    let named = label.is_some_and(|label| label.name().is_some());
    let described = label.is_some_and(Label::has_meta);
    if (named, described) == (entry.named, entry.described) {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "the label of record {id} is not whole; restore the store from a copy"
    )))
}
