//! What a record was derived from, which readers opened it, and how it is detached.

use std::sync::Arc;

use super::records;
use crate::catalogue::detach::cut;
use crate::catalogue::resolve::{fell, look_up_whole, resolver};
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::engine::reader::Reader;
use crate::error::{Error, Result};
use crate::ids::RecordId;
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
