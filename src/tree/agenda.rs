//! When something is due for which user: a plan, a record that passed a limit. Each user page knows
//! its own entry.
//!
//! ```text
//! key = due 8 ‖ user tag 12   -> nothing
//! key = 0   8 ‖ user tag 12
//!       -> nothing: the store's policies changed; users from this tag on are looked at again
//! ```

use std::ops::ControlFlow;

use super::keys::{KEY_MAX, KEY_MIN, OrderedKey};
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::Decoder;
use crate::error::Result;
use crate::ids::{Timestamp, UserTag};
use crate::secret::Secret;

/// What is due, the next first.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    pub(crate) tree: Ordered,
}

fn key(due: Timestamp, user: UserTag) -> OrderedKey {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&due.0.to_be_bytes());
    key[8..].copy_from_slice(&user.0);
    key
}

impl Agenda {
    pub(crate) const PLACE: Place = Place { kind: PageKind::Agenda, owner: None };
    /// The time of an entry that has all users looked at again.
    pub(crate) const SWEEP: Timestamp = Timestamp(0);

    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        due: Timestamp,
        user: UserTag,
    ) -> Result<()> {
        self.tree.insert(editor, Self::PLACE, key(due, user), Secret::copied_from(&[]))
    }

    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        due: Timestamp,
        user: UserTag,
    ) -> Result<()> {
        let key = key(due, user);
        self.tree.remove(editor, Self::PLACE, &key).map(drop)
    }

    /// The first `most` entries that are due by `now`.
    pub(crate) fn due(
        &self,
        pages: &dyn Pages,
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<(Timestamp, UserTag)>> {
        let mut due = Vec::new();
        let range =
            Range { low: &KEY_MIN, high: &key(now, UserTag([0xFF; 12])), descending: false };
        self.tree.scan(pages, Self::PLACE, range, &mut |key, _| {
            let mut d = Decoder::new(key, "agenda");
            due.push((Timestamp(d.u64()?), UserTag(d.array()?)));
            Ok(if due.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(due)
    }

    /// When the next is due.
    pub(crate) fn next(&self, pages: &dyn Pages) -> Result<Option<Timestamp>> {
        let mut next = None;
        let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
        self.tree.scan(pages, Self::PLACE, all, &mut |key, _| {
            next = Some(Timestamp(Decoder::new(key, "agenda").u64()?));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(next)
    }
}
