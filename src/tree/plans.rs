//! Erases that are planned for a time to come, of one user.
//!
//! ```text
//! key   = due 8 ‖ number 8 ‖ zeros 4
//! value = planned 8 ‖ erase (scope.rs)
//! ```

use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{Timestamp, UserId, UserTag};
use crate::limits::{CLASS_MAX_BYTES, KEPT_MAX, REASON_MAX_BYTES};
use crate::scope::Erase;

/// An erase planned for a time to come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Number of the plan.
    pub id: u64,
    /// When the erase is carried out.
    pub due: Timestamp,
    /// When it was planned.
    pub planned: Timestamp,
    /// The erase that is planned.
    pub erase: Erase,
    /// Whether a hold covers some of it, or a held record depends on some of it, when the plan is
    /// read: it is refused when it is due, unless that is over by then. It is kept nowhere.
    pub held: bool,
}

/// The plans for one user's records.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) tree: Ordered,
}

fn key(due: Timestamp, id: u64) -> OrderedKey {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&due.0.to_be_bytes());
    key[8..16].copy_from_slice(&id.to_be_bytes());
    key
}

impl Plans {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Plans, owner: Some(owner) }
    }

    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        plan: &Plan,
    ) -> Result<()> {
        let mut e =
            Encoder::new(8 + 60 + (1 + KEPT_MAX) * (4 + CLASS_MAX_BYTES) + REASON_MAX_BYTES);
        e.u64(plan.planned.0);
        plan.erase.write(&mut e);
        self.tree.insert(editor, Self::place(owner), key(plan.due, plan.id), e.finish())
    }

    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        plan: &Plan,
    ) -> Result<()> {
        let key = key(plan.due, plan.id);
        self.tree.remove(editor, Self::place(owner), &key).map(drop)
    }

    /// Takes out what names only records that are gone: a plan must not go on naming them.
    pub(crate) fn forget(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        user: &UserId,
        gone: &dyn Fn(&Erase) -> bool,
    ) -> Result<()> {
        if self.tree.root.is_none() {
            return Ok(());
        }
        for plan in self.all(editor.pages, owner, user)?.iter().filter(|plan| gone(&plan.erase)) {
            self.remove(editor, owner, plan)?;
        }
        Ok(())
    }

    /// All of `user`, the next first.
    pub(crate) fn all(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        user: &UserId,
    ) -> Result<Vec<Plan>> {
        let mut plans = Vec::new();
        self.tree.all(pages, Self::place(owner), &mut |key, value| {
            let mut k = Decoder::new(key, "planned erase");
            let (due, id) = (Timestamp(k.u64()?), k.u64()?);
            let mut d = Decoder::new(value, "planned erase");
            let (planned, erase) = (Timestamp(d.u64()?), Erase::read(&mut d, user)?);
            plans.push(Plan { id, due, planned, erase, held: false });
            d.end()?;
            Ok(())
        })?;
        Ok(plans)
    }
}
