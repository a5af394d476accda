//! Keeping: records of some classes stay while the rest of an erase's scope falls, cut from what
//! falls.

use super::defect::Defect;
use super::detach::cut;
use super::edit::Edit;
use super::fate::{Fate, cannot_stay};
use super::part::Part;
use super::resolve::resolver;
use super::view::record_erased;
use crate::error::Result;
use crate::ids::{ClassTag, RecordId};
use crate::scope::Erase;
use crate::tree::history::StoredFact;

/// Records of one class that stay, and why.
struct Staying<'e> {
    class: ClassTag,
    reason: &'e str,
    ids: Vec<RecordId>,
}

/// Detaches the records that stay from those that fall, and records that they stay. What is to be
/// cut is known before the first cut. A record that fell with another one before stays no more than
/// it did.
pub(crate) fn keep(edit: &mut Edit<'_>, part: &Part, erase: &Erase) -> Result<()> {
    let (pages, user, now) = (edit.pages(), part.user(), edit.moment.clock.now);
    let mut staying = Vec::new();
    if let Some((_, page)) = edit.page(user)? {
        for ((_, reason), class) in erase.stays().zip(part.kept()) {
            let ids = part.records(pages, page, *class)?;
            staying.push(Staying { class: *class, reason, ids });
        }
    }
    let cuts = cuts_of(edit, part, &mut staying)?;
    let mut resolver = resolver(&edit.view);
    for (id, falling) in &cuts {
        cut(edit, &mut resolver, id, falling).map_err(|e| cannot_stay(id, &e))?;
    }
    for Staying { class, reason, ids } in
        staying.into_iter().filter(|staying| !staying.ids.is_empty())
    {
        let note = StoredFact::Kept { class, records: ids.len() as u64, reason: reason.to_owned() };
        if let Some((editor, page)) = edit.page(user)? {
            page.history.add(editor, user, now, &note)?;
        }
    }
    Ok(())
}

/// What is to be cut from what; leaves in `staying` the records that have not fallen before.
fn cuts_of(
    edit: &Edit<'_>,
    part: &Part,
    staying: &mut [Staying<'_>],
) -> Result<Vec<(RecordId, Vec<RecordId>)>> {
    let as_one = edit.means.planted.is(Defect::FailTogether);
    let mut fate = Fate::new(edit, part);
    let mut cuts = Vec::new();
    for staying in staying {
        let mut stay = Vec::with_capacity(staying.ids.len());
        for id in std::mem::take(&mut staying.ids) {
            if as_one && fate.falling_sources(&id).is_ok_and(|falling| falling.is_none()) {
                return Err(record_erased(&id));
            }
            if let Some(falling) = fate.falling_sources(&id).map_err(|e| cannot_stay(&id, &e))? {
                stay.push(id);
                if !falling.is_empty() {
                    cuts.push((id, falling));
                }
            }
        }
        staying.ids = stay;
    }
    Ok(cuts)
}
