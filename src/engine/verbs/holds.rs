//! Legal holds on a user's records.

use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::edit::page_of;
use crate::engine::holds::{ancestors, check_authority, derived, mark};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::UserId;
use crate::limits::HOLDS_MAX;
use crate::scope::check_reason;
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::holds::Hold;

/// The legal holds on one user's records ([`Engine::holds`](crate::Engine::holds)).
#[derive(Clone, Copy, Debug)]
pub struct Holds<'e> {
    pub(super) inner: &'e Arc<Inner>,
    pub(super) user: &'e UserId,
}

impl Holds<'_> {
    /// Adds a hold and returns its number. Until it is lifted, every erase that would touch what it
    /// covers, or what a covered record was derived from, is refused whole, as `Held`. Cost: one
    /// look at each covered record.
    ///
    /// # Errors
    /// `Invalid` without a reason or an authority; `Erased`, `Absent` for the user; `Refused` for
    /// more than 64; as [`Engine::put`](crate::Engine::put).
    pub fn add(&self, hold: Hold) -> Result<u64> {
        let _wiped = WipeStack;
        check_reason(&hold.reason)?;
        check_authority(&hold.authority)?;
        let id = self.inner.new_number()?;
        self.inner.change_holds(self.user, |edit, resolver, tag, now| {
            let hold = Hold { since: now, ..hold };
            let pages = edit.editor.pages;
            let (editor, root) = edit.parts()?;
            let mut covered = Vec::new();
            if let Some(page) = page_of(editor, root, tag)? {
                if page.holds.all(pages, tag)?.len() >= HOLDS_MAX {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!("a user has at most {HOLDS_MAX} holds; widen one"),
                    ));
                }
                covered = derived(pages, tag, page, &hold)?;
                page.holds.add(editor, tag, id, &hold)?;
                let class = hold.class.as_ref().map(|class| page.class_tag(class));
                let Hold { interaction, reason, authority, .. } = hold;
                let note =
                    Note::Held { id, class, interaction: interaction.is_some(), reason, authority };
                page.history.add(editor, tag, now, &note)?;
            }
            for id in &covered {
                mark(editor, root, id, (&ancestors(resolver, id)?, true))?;
            }
            Ok(id)
        })
    }

    /// Lifts the hold with this number.
    ///
    /// # Errors
    /// `Absent` where the user has no such hold; `Invalid` without a reason or an authority; as
    /// [`Holds::add`](crate::engine::Holds::add).
    pub fn lift(&self, id: u64, reason: &str, authority: &str) -> Result<()> {
        let _wiped = WipeStack;
        check_reason(reason)?;
        check_authority(authority)?;
        self.inner.change_holds(self.user, |edit, resolver, tag, now| {
            let pages = edit.editor.pages;
            let (editor, root) = edit.parts()?;
            let mut free = Vec::new();
            if let Some(page) = page_of(editor, root, tag)? {
                let all = page.holds.all(pages, tag)?;
                let Some((_, hold)) = all.iter().find(|(there, _)| *there == id) else {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such hold; `keyfall hold list STORE --user U` shows all",
                    ));
                };
                free = derived(pages, tag, page, hold)?;
                free.retain(|record| {
                    !all.iter().any(|(other, hold)| *other != id && hold.covers(page, record))
                });
                page.holds.remove(editor, tag, id)?;
                let note =
                    Note::Lifted { id, reason: reason.to_owned(), authority: authority.to_owned() };
                page.history.add(editor, tag, now, &note)?;
            }
            for id in &free {
                mark(editor, root, id, (&resolver.ancestors_left(id)?, false))?;
            }
            Ok(())
        })
    }

    /// The holds, with their numbers.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<(u64, Hold)>> {
        let _wiped = WipeStack;
        let inner = self.inner;
        inner.check_usable()?;
        let state = inner.state();
        let pages = inner.pages();
        let (tag, page) = inner.user_page(&state, self.user)?;
        page.holds.all(&pages, tag)
    }
}
