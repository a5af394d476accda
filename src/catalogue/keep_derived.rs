//! Keeping what was derived: it outlasts the records that an erase takes, cut from these, with a
//! reason in its user's history. Only what lies with the user whose records fall is kept, for no
//! later erase of that user would reach the rest; and of that only what depends on nothing else
//! that falls.

use std::collections::BTreeMap;

use super::detach::cut;
use super::edit::Edit;
use super::fate::{Fate, Takes, cannot_stay};
use super::resolve::resolver;
use super::span::Span;
use crate::error::Result;
use crate::ids::{Class, RecordId};

/// Records of one class of a user that fall.
struct Falling {
    span: Span,
    incarnation: u16,
}

impl Takes for Falling {
    fn takes(&self, id: &RecordId) -> bool {
        self.is_cut(id) && self.span.takes(id)
    }

    fn is_cut(&self, id: &RecordId) -> bool {
        (id.user, id.incarnation) == (self.span.user, self.incarnation)
    }
}

/// Detaches what was derived directly from the records in a span of one class, before these fall;
/// gives the classes of what stays. All cuts are known before the first.
pub(crate) fn keep_derived(edit: &mut Edit<'_>, span: &Span, reason: &str) -> Result<Vec<Class>> {
    let (pages, now) = (edit.pages(), edit.moment.clock.now);
    let mut cuts: BTreeMap<RecordId, Vec<RecordId>> = BTreeMap::new();
    let Some((_, page)) = edit.page(span.user)? else {
        return Ok(Vec::new());
    };
    let (Span { user, low, high, .. }, incarnation) = (*span, page.incarnation);
    let falling = Falling { span: *span, incarnation };
    let Some(class) = span.class else {
        return Ok(Vec::new());
    };
    for (source, derived) in
        page.lineage.derived_in(pages, incarnation, (user, class), &low, &high)?
    {
        // An upload that is not finished falls.
        let unfinished = page.class(derived.class).is_some_and(|slot| slot.class.is_of_uploads());
        if falling.is_cut(&derived) && !falling.takes(&derived) && !unfinished {
            cuts.entry(derived).or_default().push(source);
        }
    }
    let mut fate = Fate::new(edit, &falling);
    let mut staying = Vec::with_capacity(cuts.len());
    for (id, sources) in cuts {
        let falls = |fate: &mut Fate<'_>| Ok(fate.fell_before(&id)? || fate.falls(&id)?);
        if !falls(&mut fate).map_err(|e| cannot_stay(&id, &e))? {
            staying.push((id, sources));
        }
    }
    let mut resolver = resolver(&edit.view);
    let mut classes = Vec::new();
    for (id, sources) in &staying {
        cut(edit, &mut resolver, id, sources).map_err(|e| cannot_stay(id, &e))?;
        let Some((editor, page)) = edit.page(user)? else { continue };
        page.lineage.add_detachment(editor, id, now, sources.len() as u16, reason)?;
        if let Some(slot) = page.class(id.class)
            && !classes.contains(&slot.class)
        {
            classes.push(slot.class.clone());
        }
    }
    Ok(classes)
}
