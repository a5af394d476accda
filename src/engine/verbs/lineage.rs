//! What a record was derived from, who opened it, and making it stand on its own.

use crate::engine::edit::user_of;
use crate::engine::lineage::fell;
use crate::engine::{Engine, Reader};
use crate::error::{Error, Result};
use crate::ids::{RecordId, Timestamp, UserId};
use crate::limits::PRINCIPAL_MAX_BYTES;
use crate::record;
use crate::scope::check_reason;
use crate::secret::WipeStack;
use crate::tree::history::Fact;
use crate::tree::lineage::Access;

/// What a record was derived from, and what from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The records that it depends on: it falls with any of them.
    pub sources: Vec<RecordId>,
    /// The records that depend on it.
    pub derived: Vec<RecordId>,
    /// Whether it was detached from a record that it had been derived from.
    pub detached: bool,
}

impl Engine {
    /// What a record was derived from, and what from it.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn lineage(&self, id: &RecordId) -> Result<Lineage> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let pages = inner.pages();
        let (page, entry) = inner.look_up_whole(&state, id)?;
        let sources = if entry.sources == 0 { Vec::new() } else { page.lineage.sources(&pages, id)? };
        Ok(Lineage { sources, derived: page.lineage.derived(&pages, id)?, detached: entry.detached })
    }

    /// Opens a record as [`Engine::get`] does, having written down who opens it and what for, durably. What is written falls
    /// with the record.
    ///
    /// # Errors
    /// `Invalid` for an empty or too long name or purpose; as [`Engine::get`] and [`Engine::put`].
    pub fn get_as(&self, id: &RecordId, principal: &str, purpose: &str) -> Result<Reader> {
        let _wiped = WipeStack;
        record::check_purpose(purpose)?;
        if principal.trim().is_empty() || principal.len() > PRINCIPAL_MAX_BYTES || purpose.trim().is_empty() {
            return Err(Error::invalid(format!("say who opens it, in 1 to {PRINCIPAL_MAX_BYTES} bytes, and what for")));
        }
        let inner = &self.inner;
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
        self.open_record(id, true)
    }

    /// Who opened a record, what for and when, as far as the application said; oldest first.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn accesses(&self, id: &RecordId) -> Result<Vec<Access>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let (page, _) = inner.look_up_whole(&state, id)?;
        page.lineage.accesses(&inner.pages(), id)
    }

    /// Makes a derived record stand on its own: from now on it stays when its sources are erased. Its content is not
    /// encrypted anew. The act and its reason stand in the user's history.
    ///
    /// # Errors
    /// `Invalid` without a reason, or for a record that depends on no other; `Erased`, `Absent`; as [`Engine::put`].
    pub fn detach(&self, id: &RecordId, reason: &str) -> Result<()> {
        let _wiped = WipeStack;
        check_reason(reason)?;
        let inner = &self.inner;
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

    /// What was done to a user's records beyond putting and erasing, when and why; oldest first.
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user that was erased or never was here; `Corrupt`, `Io`.
    pub fn history(&self, user: &UserId) -> Result<Vec<(Timestamp, Fact)>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let pages = inner.pages();
        let (tag, page) = inner.user_page(&state, user)?;
        page.facts(&pages, tag)
    }
}
