//! Keeping: records of some classes stay while the rest of an erase's scope falls, cut from what
//! falls.

use std::collections::{BTreeSet, HashMap};

use super::change::Cuts;
use super::defect::Defect;
use super::detach::cut;
use super::edit::Edit;
use super::part::Part;
use super::resolve::resolver;
use super::span::Span;
use super::view::{Users, record_erased};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ClassTag, RecordId, UserTag};
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

/// Why a record cannot be kept: what a look at another one says is not what becomes of the erase.
fn cannot_stay(id: &RecordId, e: &Error) -> Error {
    let kind = match e.kind() {
        ErrorKind::Erased | ErrorKind::Absent => ErrorKind::Corrupt,
        kind => kind,
    };
    Error::new(
        kind,
        format!(
            "record {id} is to stay, and what it was derived from cannot be read, so nothing was erased; restore the store from a copy, or keep nothing: {e}"
        ),
    )
}

/// Which of the direct sources of each kept record fall, in the state before an erase and but for
/// what the commit did before it: those in the scope that are not kept, and those that depend on
/// one of these.
struct Fate<'a> {
    users: Users<'a>,
    part: &'a Part,
    /// What other erases of the same commit took before.
    fell: &'a HashMap<UserTag, Vec<Span>>,
    /// From what they cut what they kept: that one does not fall with it any more.
    cuts: &'a Cuts,
    sources: HashMap<RecordId, Option<Vec<RecordId>>>,
    falls: HashMap<RecordId, bool>,
    lost: HashMap<RecordId, bool>,
}

impl<'a> Fate<'a> {
    fn new(edit: &'a Edit<'_>, part: &'a Part) -> Self {
        Fate {
            users: edit.view.users(),
            part,
            fell: &edit.fell,
            cuts: &edit.cuts,
            sources: HashMap::new(),
            falls: HashMap::new(),
            lost: HashMap::new(),
        }
    }

    /// `None` for a record that is gone.
    fn sources(&mut self, id: &RecordId) -> Result<Option<&[RecordId]>> {
        if !self.sources.contains_key(id) {
            let gone =
                self.fell.get(&id.user).is_some_and(|all| all.iter().any(|fell| fell.takes(id)));
            let found = if gone { None } else { self.sources_left(id)? };
            self.sources.insert(*id, found);
        }
        Ok(self.sources.get(id).and_then(|sources| sources.as_deref()))
    }

    fn sources_left(&self, id: &RecordId) -> Result<Option<Vec<RecordId>>> {
        let (page, entry) = match self.users.look_up(id) {
            Ok(found) => found,
            Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut sources = match entry.sources {
            0 => Vec::new(),
            _ => page.lineage.sources(self.users.pages, id)?,
        };
        if let Some(cut) = self.cuts.get(id) {
            sources.retain(|source| !cut.contains(source));
        }
        Ok(Some(sources))
    }

    /// The sources of a kept record that fall; `None` if it fell with one of them before.
    fn falling_sources(&mut self, id: &RecordId) -> Result<Option<Vec<RecordId>>> {
        let mut known = std::mem::take(&mut self.lost);
        let lost = self.any_above(id, &mut known, &|_| None);
        self.lost = known;
        if lost? {
            return Ok(None);
        }
        let mut falling = Vec::new();
        let mut known = std::mem::take(&mut self.falls);
        let part = self.part;
        let decided = |at: &RecordId| {
            let taken = part.takes(at);
            (taken || part.keeps(at)).then_some(taken)
        };
        for source in self.sources(id)?.unwrap_or_default().to_vec() {
            if self.any_above(&source, &mut known, &decided)? {
                falling.push(source);
            }
        }
        self.falls = known;
        Ok(Some(falling))
    }

    /// Whether it is so of a record or of any that it depends on: it is if `decided` says so,
    /// and of what is gone.
    fn any_above(
        &mut self,
        id: &RecordId,
        known: &mut HashMap<RecordId, bool>,
        decided: &dyn Fn(&RecordId) -> Option<bool>,
    ) -> Result<bool> {
        let mut path = vec![*id];
        let mut looked: BTreeSet<RecordId> = BTreeSet::new();
        while let Some(&at) = path.last() {
            if known.contains_key(&at) {
                path.pop();
                continue;
            }
            let is = match decided(&at) {
                Some(is) => Some(is),
                None => match self.sources(&at)? {
                    None => Some(true),
                    Some(sources) => {
                        let unknown: Vec<RecordId> =
                            sources.iter().filter(|s| !known.contains_key(s)).copied().collect();
                        if unknown.is_empty() || !looked.insert(at) {
                            Some(sources.iter().any(|s| known.get(s).copied().unwrap_or(false)))
                        } else {
                            path.extend(unknown);
                            None
                        }
                    }
                },
            };
            if let Some(is) = is {
                known.insert(at, is);
                path.pop();
            }
        }
        Ok(known.get(id).copied().unwrap_or(false))
    }
}
