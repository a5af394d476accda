//! One record of a live user, and runs of them: whether it is there, and how it leaves the user's
//! trees.

use super::fell::{Fell, Links};
use super::span::Span;
use super::uploads;
use crate::error::Result;
use crate::ids::{Class, ClassTag, RecordId};
use crate::record::upload::whole;
use crate::scope::{Erase, Scope};
use crate::tree::fences::{Point, Target};
use crate::tree::inbox::Inbox;
use crate::tree::keys::record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN};
use crate::tree::user::{UserPage, class_place};
use crate::tree::{Editor, Pages};

/// Whether a user's page has a record.
pub(crate) fn is_there(pages: &dyn Pages, page: &UserPage, id: &RecordId) -> Result<bool> {
    let key = record_key(id.interaction, id.ordinal);
    match page.class(id.class).filter(|_| page.incarnation == id.incarnation) {
        Some(slot) => Ok(slot.tree.get(pages, class_place(id.user), &key)?.is_some()),
        None => Ok(false),
    }
}

/// Leaves the fence of a record of a live user that is not there: its id is never given, and says
/// erased.
pub(crate) fn fence_record(
    editor: &mut Editor<'_>,
    page: &mut UserPage,
    id: &RecordId,
    epoch: u64,
) -> Result<Fell> {
    let target = Target::record(id);
    if page.fences.cover_for_good(editor.pages, id.user, &page.fence_key, target)? {
        return Ok(Fell::already());
    }
    let point = Point::Record(id.class, id.interaction, id.ordinal);
    page.fences.add_point(editor, id.user, &page.fence_key, point, epoch)?;
    Ok(Fell::nothing())
}

/// Drops one record of a live user and leaves its fence; of an upload all, whichever part is named.
/// `None` if it is not there. Whether it is held was asked before, or it fell before it was held.
pub(crate) fn erase_record(
    editor: &mut Editor<'_>,
    page: &mut UserPage,
    id: &RecordId,
    epoch: u64,
) -> Result<Option<Fell>> {
    if !is_there(editor.pages, page, id)? {
        return Ok(None);
    }
    let (user, incarnation) = (id.user, page.incarnation);
    let upload = page.class(id.class).filter(|slot| slot.class.is_of_uploads());
    let (span, point) = match upload {
        None => (Span::one(id), Point::Record(id.class, id.interaction, id.ordinal)),
        Some(slot) => {
            let (low, high) = uploads::keys(id);
            let (class, first) = (page.fenced_as(slot), whole(id.ordinal).0);
            (Span { low, high, ..Span::one(id) }, Point::Record(class, id.interaction, first))
        }
    };
    if upload.is_none() {
        // A copy of it may lie in an envelope.
        page.inbox = Inbox::default();
        let is_it = |erase: &Erase| matches!(erase.scope(), Scope::Record(there) if there == id);
        page.plans.forget(editor, user, &page.user, &is_it)?;
    }
    let counts = remove(editor, page, &span, &[id.class])?;
    page.fences.add_point(editor, user, &page.fence_key, point, epoch)?;
    let (tree, count) = page.lineage.take(editor, user, id.class, &span.low, &span.high)?;
    let links = vec![Links { owner: user, incarnation, tree, count }];
    Ok(Some(Fell { spans: vec![span], links, ..Fell::of(counts) }))
}

/// Drops the records of some classes in a span, and counts them, but for unfinished uploads; a
/// class that is left empty goes with its name.
pub(crate) fn remove(
    editor: &mut Editor<'_>,
    page: &mut UserPage,
    span: &Span,
    classes: &[ClassTag],
) -> Result<Vec<(Class, u64)>> {
    let mut counts = Vec::with_capacity(classes.len());
    for slot in page.classes.iter_mut().filter(|slot| classes.contains(&slot.tag)) {
        if span.low == KEY_MIN && span.high == KEY_MAX {
            // The whole class: one pointer, whatever is below it.
            (slot.tree, slot.labels) = Default::default();
            counts.push((slot.class.clone(), std::mem::take(&mut slot.records)));
        } else {
            let n =
                slot.tree.remove_range(editor, class_place(span.user), &span.low, &span.high)?;
            slot.records -= n;
            slot.labels.remove_range(editor, span.user, &span.low, &span.high)?;
            counts.push((slot.class.clone(), n));
        }
    }
    page.classes.retain(|slot| slot.tree.root.is_some());
    counts.retain(|(class, _)| !class.is_of_uploads());
    Ok(counts)
}
