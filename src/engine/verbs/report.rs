//! What is kept about a user, whole: what the engine keeps and does not show here is a bug.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::copies::{Copies, CopyStatus};
use super::uploads::{Listed, UploadState};
use crate::catalogue::hold::needed;
use crate::catalogue::plan::plans_of;
use crate::catalogue::view::{View, policies_of, sets_of};
use crate::engine::core::{Core, State};
use crate::engine::run_due::run_due_first;
use crate::error::Result;
use crate::ids::{Class, Timestamp, UserId};
use crate::policy::{Policy, Rules};
use crate::promise::{Finality, Promise};
use crate::record::RecordInfo;
use crate::sealed::Live;
use crate::secret::WipeStack;
use crate::store::HeadId;
use crate::tree::facts::{Fact, facts};
use crate::tree::fences::Fenced;
use crate::tree::grants::Grant;
use crate::tree::holds::Hold;
use crate::tree::plans::Plan;

/// Everything about a user but the records themselves, which [`Engine::list`](crate::Engine::list)
/// and [`Engine::lineage`](crate::Engine::lineage) give.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The user whom the report is about.
    pub user: UserId,
    /// When the user was created.
    pub created: Timestamp,
    /// Which life of the name this is, from 1: one more than the times it was erased whole.
    pub life: u16,
    /// The classes, with the number of records in each.
    pub classes: Vec<(Class, u64)>,
    /// What was done beyond putting and erasing, when and why; oldest first.
    pub history: Vec<(Timestamp, Fact)>,
    /// The holds, with their numbers.
    pub holds: Vec<(u64, Hold)>,
    /// How many records cannot be erased because a held one, of any user, was derived from them.
    pub needed: u64,
    /// Erases to come, the next first.
    pub plans: Vec<Plan>,
    /// Policies set for this user.
    pub policies: Vec<Policy>,
    /// The store's policies, which hold if the user has none of their own.
    pub store_policies: Vec<Policy>,
    /// When something of this is erased automatically, at the earliest: a planned erase, a limit
    /// that passes.
    pub next_due: Option<Timestamp>,
    /// How far the erases up to now are: while they are pending, what they named cannot be read
    /// through the engine any more, but anyone who holds the cell and old blobs can read it.
    pub finality: Finality,
    /// Of that, the end of the window in which erases wait for others; `None` if none waits in
    /// one.
    pub pending: Option<Timestamp>,
    /// Uploads that are not finished yet.
    pub uploads: Vec<UploadState>,
    /// The grants under which third parties may open records, with their numbers.
    pub grants: Vec<(u64, Grant)>,
    /// The training sets that records are in, with their number.
    pub sets: Vec<(String, u64)>,
    /// When the inbox keys were made that still open envelopes.
    pub inbox_keys: Vec<Timestamp>,
    /// How many envelopes were accepted by them.
    pub accepted: u64,
    /// Parts of the user's records that were erased.
    pub erased: Vec<Erased>,
    /// The state that this was read from.
    pub head: HeadId,
    /// Where the copies are, and how they stand.
    pub copies: Vec<CopyStatus>,
    /// What the cell promises of a destroyed key.
    pub cell: Promise,
    live: Live,
}

impl Report {
    /// Until when it may be shown to anyone: until something of the user's is erased.
    /// [`Live::is_live`] before it is written out, or [`crate::sealed::Guarded`] within a parcel.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// When a record of this user's passes an age limit or a date of its own; a number, a planned
    /// erase, or the end of a record that it was derived from may take it sooner: [`Engine::until`]
    /// looks at those too.
    ///
    /// [`Engine::until`]: crate::Engine::until
    pub fn until(&self, record: &RecordInfo) -> Option<Timestamp> {
        let rules = Rules { own: self.policies.clone(), store: self.store_policies.clone() };
        rules.of(&record.class, &record.purpose)?.expiry(record.interaction.began())
    }
}

/// A part that was erased, as far as it is known: what it held fell with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Erased {
    /// Interactions that began in a span of time, both ends included.
    Span {
        /// Of one class only; its name fell if it holds nothing any more.
        class: Option<Option<Class>>,
        /// The first millisecond of the span.
        from: Timestamp,
        /// The last millisecond of the span.
        until: Timestamp,
        /// The epoch of the erase.
        epoch: u64,
    },
    /// Single interactions or records: which, only those know who kept their ids.
    Single {
        /// Number of interactions and records erased.
        number: u64,
        /// The epoch of the erase.
        epoch: u64,
    },
}

pub(super) fn report(inner: &Arc<Core>, user: &UserId) -> Result<Report> {
    let _wiped = WipeStack;
    inner.check_readable()?;
    run_due_first(inner)?;
    let copies = Copies { inner }.status();
    let (mut report, listed) = inner.look_at(|state, view| {
        let report = in_one_state(inner, state, view, user)?;
        Ok((report, Listed::of(inner, view, user)?))
    })?;
    report.copies = copies;
    report.uploads = listed.states()?;
    Ok(report)
}

/// All of it that is read in one state.
fn in_one_state(inner: &Core, state: &State, view: &View<'_>, user: &UserId) -> Result<Report> {
    let pages = view.pages;
    let (tag, page) = view.user(user)?;
    let (mut erased, mut singles) = (Vec::new(), BTreeMap::new());
    for fenced in page.fences.all(pages, tag)? {
        match fenced {
            Fenced::Span { class, from, until, epoch } => {
                let class = class.map(|tag| page.class(tag).map(|slot| slot.class.clone()));
                erased.push(Erased::Span { class, from, until, epoch });
            }
            Fenced::Single { epoch } => *singles.entry(epoch).or_insert(0) += 1,
        }
    }
    erased.extend(singles.into_iter().map(|(epoch, number)| Erased::Single { number, epoch }));
    let mut sets = Vec::new();
    for (set, about) in sets_of(&state.head).all(pages)? {
        let members = page.lineage.members(pages, tag, page.incarnation, &set)?.len() as u64;
        if members > 0 {
            sets.push((about.name, members));
        }
    }
    Ok(Report {
        user: user.clone(),
        created: page.created,
        life: page.incarnation,
        classes: page.counts().map(|(class, records)| (class.clone(), records)).collect(),
        history: facts(&page, pages, tag)?,
        holds: page.holds.all(pages, tag)?,
        needed: needed(view, tag, &page)?,
        plans: plans_of(pages, tag, &page)?,
        policies: page.policies.all(pages, Some(tag))?,
        store_policies: policies_of(&state.head).all(pages, None)?,
        next_due: page.due,
        finality: inner.finality_of(state),
        pending: state.head.pending,
        uploads: Vec::new(),
        grants: page.grants.all(pages, tag)?,
        sets,
        inbox_keys: page.inbox.keys(pages, tag)?.into_iter().map(|key| key.made).collect(),
        accepted: page.inbox.count(pages, tag)?,
        erased,
        head: state.stored.id,
        copies: Vec::new(),
        cell: inner.cell.describe(),
        live: inner.readers.live(tag, Arc::clone(&inner.options.env)),
    })
}

pub(super) fn live(inner: &Core, user: &UserId) -> Live {
    let (state, pages) = (inner.state(), inner.pages());
    let tag = inner.view(&state, &pages).tag(user);
    inner.readers.live(tag, Arc::clone(&inner.options.env))
}

pub(super) fn history(inner: &Core, user: &UserId) -> Result<Vec<(Timestamp, Fact)>> {
    inner.look(|view| {
        let (user, page) = view.user(user)?;
        facts(&page, view.pages, user)
    })
}
