//! What a record was derived from, who opened it, and making it stand on its own.

use std::sync::Arc;

use super::records;
use crate::engine::edit::user_of;
use crate::engine::lineage::fell;
use crate::engine::{Inner, Reader};
use crate::error::{Error, Result};
use crate::ids::RecordId;
use crate::limits::PRINCIPAL_MAX_BYTES;
use crate::record;
use crate::scope::check_reason;
use crate::secret::WipeStack;
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

pub(super) fn lineage(inner: &Arc<Inner>, id: &RecordId) -> Result<Lineage> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    let state = inner.state();
    let pages = inner.pages();
    let (page, entry) = inner.look_up_whole(&state, id)?;
    let sources = if entry.sources == 0 { Vec::new() } else { page.lineage.sources(&pages, id)? };
    Ok(Lineage { sources, derived: page.lineage.derived(&pages, id)?, detached: entry.detached })
}

pub(super) fn get_as(
    inner: &Arc<Inner>,
    id: &RecordId,
    principal: &str,
    purpose: &str,
) -> Result<Reader> {
    let _wiped = WipeStack;
    record::check_purpose(purpose)?;
    if principal.trim().is_empty()
        || principal.len() > PRINCIPAL_MAX_BYTES
        || purpose.trim().is_empty()
    {
        return Err(Error::invalid(format!(
            "say who opens it, in 1 to {PRINCIPAL_MAX_BYTES} bytes, and what for"
        )));
    }
    inner.commit_edit(|state, _, edit| {
        inner.look_up_whole(state, id)?;
        let (editor, root) = edit.parts()?;
        let at = inner.options.env.now();
        let access = Access { principal: principal.to_owned(), purpose: purpose.to_owned(), at };
        match user_of(editor, root, id)? {
            Some(page) => {
                page.openings += 1;
                page.lineage.add_access(editor, id, &access)
            }
            None => Err(fell(id)),
        }
    })?;
    records::open(inner, id, true)
}

pub(super) fn accesses(inner: &Arc<Inner>, id: &RecordId) -> Result<Vec<Access>> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    let state = inner.state();
    let (page, _) = inner.look_up_whole(&state, id)?;
    page.lineage.accesses(&inner.pages(), id)
}

pub(super) fn detach(inner: &Arc<Inner>, id: &RecordId, reason: &str) -> Result<()> {
    let _wiped = WipeStack;
    check_reason(reason)?;
    inner.commit_edit(|state, pages, edit| {
        let (page, entry) = inner.look_up_whole(state, id)?;
        let sources = page.lineage.sources(pages, id)?;
        if entry.sources == 0 {
            return Err(Error::invalid(format!(
                "record {id} depends on no other; there is nothing to detach it from"
            )));
        }
        let mut resolver = inner.resolver(pages, state);
        inner.cut(edit, &mut resolver, (id, &sources))?;
        let now = inner.options.env.now();
        let (editor, root) = edit.parts()?;
        match user_of(editor, root, id)? {
            Some(page) => page.lineage.add_detachment(editor, id, now, (entry.sources, reason)),
            None => Err(fell(id)),
        }
    })
}
