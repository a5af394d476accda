//! What a record was derived from, which readers opened it, and how it is detached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records;
use crate::catalogue::detach::cut;
use crate::catalogue::resolve::{fell, look_up_whole, resolver};
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::engine::reader::Reader;
use crate::error::{Error, Result};
use crate::ids::{RecordId, Timestamp};
use crate::limits::PRINCIPAL_MAX_BYTES;
use crate::record;
use crate::record::upload::is_of_upload;
use crate::scope::check_reason;
use crate::tree::lineage::Access;

/// The sources of a record, and what was derived from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lineage {
    /// The records that it depends on: it falls with any of them.
    pub sources: Vec<RecordId>,
    /// The records that depend on it.
    pub derived: Vec<RecordId>,
    /// Whether it was detached from a record from which it had been derived.
    pub detached: bool,
}

pub(super) fn lineage(inner: &Core, id: &RecordId) -> Result<Lineage> {
    inner.look(|view| {
        let (page, entry) = look_up_whole(view, id)?;
        let sources = match entry.sources {
            0 => Vec::new(),
            _ => page.lineage.sources(view.pages, id)?,
        };
        let mut derived = page.lineage.derived(view.pages, id)?;
        derived.retain(|id| !is_of_upload(id.ordinal));
        Ok(Lineage { sources, derived, detached: entry.detached })
    })
}

/// A record on which another one hangs.
struct Tie {
    /// When it passes a limit of its own.
    end: Option<Timestamp>,
    /// Whether what was derived from it stays then, with the same user.
    keeps: bool,
    derived: Vec<RecordId>,
}

pub(super) fn until(inner: &Core, id: &RecordId) -> Result<Option<Timestamp>> {
    inner.look(|view| {
        let (mut ties, mut next) = (BTreeMap::<RecordId, Tie>::new(), vec![(*id, None)]);
        while let Some((source, derived)) = next.pop() {
            if let Some(tie) = ties.get_mut(&source) {
                tie.derived.extend(derived);
                continue;
            }
            let (page, entry) = look_up_whole(view, &source)?;
            let class = page.class(source.class).map(|slot| &slot.class);
            let rules = view.rules(source.user, &page)?;
            let rule = class.and_then(|class| rules.of(class, &entry.purpose));
            let end = rule.and_then(|rule| rule.expiry(source.interaction.began()));
            let keeps = rule.is_some_and(|rule| rule.keep_derived.is_some());
            ties.insert(source, Tie { end, keeps, derived: derived.into_iter().collect() });
            if entry.sources > 0 {
                let sources = page.lineage.sources(view.pages, &source)?;
                next.extend(sources.into_iter().map(|further| (further, Some(source))));
            }
        }
        Ok(falls(id, &ties))
    })
}

/// When a record falls, if all that it hangs on ends when it passes its limit.
fn falls(id: &RecordId, ties: &BTreeMap<RecordId, Tie>) -> Option<Timestamp> {
    let end = |(id, tie): (&RecordId, &Tie)| Some((tie.end?, *id));
    let mut ends: Vec<_> = ties.iter().filter_map(end).collect();
    ends.sort_unstable();
    let mut fallen = BTreeSet::new();
    for (at, first) in ends {
        let mut next = vec![first];
        while let Some(source) = next.pop() {
            if !fallen.insert(source) {
                continue;
            }
            if source == *id {
                return Some(at);
            }
            let Some(tie) = ties.get(&source) else { continue };
            let keeps = tie.keeps && source == first;
            let falls = |derived: &&RecordId| !(keeps && derived.user == source.user);
            next.extend(tie.derived.iter().filter(falls));
        }
    }
    None
}

pub(super) fn get_as(
    inner: &Arc<Core>,
    id: &RecordId,
    principal: &str,
    purpose: &str,
) -> Result<Reader> {
    note_access(inner, id, principal, purpose)?;
    records::open(inner, id, true)
}

/// Records, durably, who opens a record and what for.
pub(super) fn note_access(
    inner: &Core,
    id: &RecordId,
    principal: &str,
    purpose: &str,
) -> Result<()> {
    record::check_purpose(purpose)?;
    if principal.trim().is_empty()
        || principal.len() > PRINCIPAL_MAX_BYTES
        || purpose.trim().is_empty()
    {
        return Err(Error::invalid(format!(
            "say who opens it, in 1 to {PRINCIPAL_MAX_BYTES} bytes, and what for"
        )));
    }
    commit_edit(inner, |edit| {
        look_up_whole(&edit.view, id)?;
        let at = edit.means.env.now();
        let access = Access { principal: principal.to_owned(), purpose: purpose.to_owned(), at };
        match edit.page_for(id)? {
            Some((editor, page)) => {
                page.openings += 1;
                page.lineage.add_access(editor, id, &access)
            }
            None => Err(fell(id)),
        }
    })
}

pub(super) fn accesses(inner: &Core, id: &RecordId) -> Result<Vec<Access>> {
    inner.look(|view| {
        let (page, _) = look_up_whole(view, id)?;
        page.lineage.accesses(view.pages, id)
    })
}

pub(super) fn detach(inner: &Core, id: &RecordId, reason: &str) -> Result<()> {
    check_reason(reason)?;
    commit_edit(inner, |edit| {
        let view = edit.view;
        let (page, entry) = look_up_whole(&view, id)?;
        let sources = page.lineage.sources(view.pages, id)?;
        if entry.sources == 0 {
            return Err(Error::invalid(format!(
                "record {id} depends on no other; there is nothing to detach it from"
            )));
        }
        cut(edit, &mut resolver(&view), id, &sources)?;
        let now = edit.means.env.now();
        match edit.page_for(id)? {
            Some((editor, page)) => {
                page.lineage.add_detachment(editor, id, now, entry.sources, reason)
            }
            None => Err(fell(id)),
        }
    })
}
