//! Putting, under the writer's lock: staged records get their place in the tree and the links to
//! their sources. What `admit` and `origins` said before was early; what life, fences and sources
//! say here is binding.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::admit::{Admitted, former_life, interaction_erased, of_former_life, user_erased};
use super::defect::Defect;
use super::edit::Edit;
use super::hold::mark;
use super::hold_check::is_covered;
use super::inbox::note_accepted;
use super::life::come_to_life;
use super::name::take_name;
use super::record::is_there;
use super::resolve::resolver;
use super::staged::{Inserted, Joins, Staged};
use super::uploads;
use super::view::record_erased;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::policy::Rules;
use crate::record::Source;
use crate::tree::Pages;
use crate::tree::fences::Target;
use crate::tree::keys::{record_key, split_record_key};
use crate::tree::ordered::{Ordered, Place, Range};
use crate::tree::user::{UserPage, class_place};

/// Makes staged records part of the tree. Payloads were sealed once; each try to commit them takes
/// them along, under a name of its own. `look_again`: something was erased since their sources were
/// looked at.
pub(crate) fn insert_all(
    edit: &mut Edit<'_>,
    staged: &[Staged],
    look_again: bool,
) -> Result<Inserted> {
    // A source falls only with an erase, and one that may wait begins no epoch.
    let unseen = edit.means.planted.is(Defect::EpochForErase) && edit.view.head.pending.is_some();
    if look_again && !unseen {
        let mut resolver = resolver(&edit.view);
        for source in staged.iter().flat_map(|staged| &staged.sources) {
            if let Source::Record(id) = source {
                resolver.resolve(id)?;
            }
        }
    }
    let mut inserted = Inserted::default();
    let mut limited = Vec::new();
    for (n, record) in staged.iter().enumerate() {
        if let Some(id) = take_name(edit, staged, n, &mut inserted)? {
            end_upload(edit, record)?;
            inserted.same.push(n);
            inserted.ids.push(id);
            continue;
        }
        let waiting = record.entry.body.first().zip(record.waiting.as_ref());
        let first = waiting.map(|(drawn, sealed)| edit.take(drawn, sealed.clone()));
        inserted.created += u64::from(come_to_life(edit, record.to.user, &record.user)?);
        let (id, is_limited) = insert(edit, record, first)?;
        if is_limited {
            limited.push(n);
        }
        for source in &record.sources {
            let source = match source {
                Source::Record(id) => *id,
                Source::Added(n) => inserted.ids[*n],
            };
            link(edit, &id, &source, unseen)?;
        }
        end_upload(edit, record)?;
        inserted.ids.push(id);
        if !record.sources.is_empty() {
            mark_if_held(edit, staged, &inserted.ids)?;
        }
    }
    for (n, (staged, id)) in staged.iter().zip(&inserted.ids).enumerate() {
        if inserted.same.contains(&n) {
            continue;
        }
        if limited.binary_search(&n).is_ok() {
            note_limits(edit, staged, id)?;
        }
        if let Some(envelope) = staged.envelope {
            note_accepted(edit, envelope, id)?;
        }
    }
    Ok(inserted)
}

/// Gives a record its place; says whether a policy may limit it.
fn insert(
    edit: &mut Edit<'_>,
    staged: &Staged,
    first: Option<BlobName>,
) -> Result<(RecordId, bool)> {
    let Admitted { user, incarnation, interaction } = staged.to;
    let has_policies = edit.policies.tree.root.is_some();
    let (now, env) = (edit.moment.clock.now, edit.means.env);
    let page = edit.page(user)?.filter(|(_, page)| page.incarnation == incarnation);
    let Some((editor, page)) = page else {
        return Err(user_erased());
    };
    let class = page.class_tag(&staged.class);
    // Fences name what an upload is to become.
    let fenced = staged.class.to_become().map_or(class, |class| page.class_tag(&class));
    let target = Target { class: fenced, interaction, ordinal: None };
    if page.fences.refuse(editor.pages, user, &page.fence_key, target, now)? {
        return Err(interaction_erased());
    }
    if of_former_life(page, interaction) {
        return Err(former_life());
    }
    if page.fences.tree.root.is_some() {
        page.fences.clear_doubt(editor, user, fenced, interaction, now)?;
    }
    let ordinal = match &staged.joins {
        Joins::Record | Joins::Finished { .. } => {
            // Once, and not again to insert.
            page.load_class(editor, user, class)?;
            free_ordinal(editor.pages, page, class, target, user, now)?
        }
        Joins::Upload => uploads::begin(env, editor.pages, page, class, target, user)?,
        Joins::Part { of, at } => uploads::next_part(editor.pages, page, of, *at)?,
    };
    let is_limited =
        has_policies || page.policies.tree.root.is_some() || matches!(staged.joins, Joins::Upload);
    let slot = page.class_mut(class, &staged.class)?;
    let key = record_key(interaction, ordinal);
    slot.tree.insert(editor, class_place(user), key, staged.entry.encode_with(first))?;
    slot.records += 1;
    if !staged.label.is_empty() {
        slot.labels.add(editor, user, &key, &staged.label)?;
    }
    Ok((RecordId { interaction, user, incarnation, class, ordinal }, is_limited))
}

/// Ends the upload that a record stands in the place of, if there is one.
fn end_upload(edit: &mut Edit<'_>, staged: &Staged) -> Result<()> {
    match &staged.joins {
        Joins::Finished { upload, length } => uploads::end(edit, upload, *length),
        Joins::Record | Joins::Upload | Joins::Part { .. } => Ok(()),
    }
}

/// The next ordinal of a class and an interaction.
pub(super) fn free_ordinal(
    pages: &dyn Pages,
    page: &UserPage,
    class: ClassTag,
    target: Target,
    user: UserTag,
    now: Timestamp,
) -> Result<u32> {
    let mut ordinal = match page.class(class) {
        Some(slot) => next_ordinal(pages, class_place(user), &slot.tree, target.interaction)?,
        None => 0,
    };
    // An erased record's ordinal is never given again: its id must go on to say erased.
    let of = |ordinal| Target { ordinal: Some(ordinal), ..target };
    while page.fences.refuse(pages, user, &page.fence_key, of(ordinal), now)? {
        ordinal = ordinal.checked_add(1).ok_or_else(full)?;
    }
    Ok(ordinal)
}

/// Links a record to one that it was derived from, on both sides.
fn link(edit: &mut Edit<'_>, id: &RecordId, source: &RecordId, unseen: bool) -> Result<()> {
    // The source's entry as well as its user: a link on what is gone is never followed.
    let Some((editor, page)) = edit.page_for(source)? else {
        return Err(record_erased(source));
    };
    if !unseen && !is_there(editor.pages, page, source)? {
        return Err(record_erased(source));
    }
    page.lineage.add_derived(editor, source, id)?;
    match edit.page_for(id)? {
        Some((editor, page)) => page.lineage.add_source(editor, id, source),
        None => Err(user_erased()),
    }
}

/// Marks what the record put last depends on, if it is held.
fn mark_if_held(edit: &mut Edit<'_>, staged: &[Staged], ids: &[RecordId]) -> Result<()> {
    let Some((id, before)) = ids.split_last() else {
        return Ok(());
    };
    let pages = edit.pages();
    let is_held = match edit.page_for(id)? {
        Some((_, page)) => is_covered(pages, page, id)?,
        None => false,
    };
    if !is_held {
        return Ok(());
    }
    let resolver = resolver(&edit.view);
    let (mut all, mut next) = (BTreeSet::new(), vec![before.len()]);
    while let Some(n) = next.pop() {
        for source in &staged[n].sources {
            match source {
                Source::Record(id) => {
                    all.append(&mut resolver.ancestors(id)?);
                    all.insert(*id);
                }
                Source::Added(n) => {
                    if all.insert(ids[*n]) {
                        next.push(*n);
                    }
                }
            }
        }
    }
    mark(edit, id, &all)
}

/// Records when a record that was just put passes a limit.
fn note_limits(edit: &mut Edit<'_>, staged: &Staged, id: &RecordId) -> Result<()> {
    let pages = edit.pages();
    let store = if edit.policies.tree.root.is_some() {
        edit.policies.all(pages, None)?
    } else {
        Vec::new()
    };
    let Some((_, page)) = edit.page_for(id)? else {
        return Ok(());
    };
    let rules = Rules { own: page.policies.all(pages, Some(id.user))?, store };
    if let (Joins::Upload, Some(class)) = (staged.joins, staged.class.to_become()) {
        let ends = uploads::ends(&rules, &class, id.interaction, &staged.entry);
        return edit.due_by(id.user, ends.max(Timestamp(1)));
    }
    let policy = rules.of(&staged.class, &staged.entry.purpose);
    // If others of the class have another policy a look may come in vain.
    let most = policy.and_then(|policy| policy.max_records);
    let over =
        most.is_some_and(|most| page.class(id.class).is_some_and(|slot| slot.records > most));
    let expiry = policy.and_then(|policy| policy.expiry(id.interaction.began()));
    match over.then_some(Timestamp(1)).or(expiry) {
        Some(due) => edit.due_by(id.user, due.max(Timestamp(1))),
        None => Ok(()),
    }
}

pub(super) fn next_ordinal(
    pages: &dyn Pages,
    place: Place,
    tree: &Ordered,
    interaction: InteractionId,
) -> Result<u32> {
    let mut next = Ok(0);
    let (low, high) = (record_key(interaction, 0), record_key(interaction, u32::MAX));
    let newest_first = Range { low: &low, high: &high, descending: true };
    tree.scan(pages, place, newest_first, &mut |key, _| {
        next = split_record_key(key)?.1.checked_add(1).ok_or_else(full);
        Ok(ControlFlow::Break(()))
    })?;
    next
}

fn full() -> Error {
    Error::new(ErrorKind::Limit, "this interaction is full; begin another")
}
