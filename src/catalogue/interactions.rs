//! Listing interactions, each with its records, a page at a time.

use super::list::{Room, collect};
use super::query::{Query, cut};
use super::view::View;
use crate::error::Result;
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserId};
use crate::limits::LIST_MAX;
use crate::record::RecordInfo;
use crate::time::{Day, Zone};

/// One page of interactions.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// use std::io::read_to_string;
///
/// use keyfall::time::Zone;
/// use keyfall::{Class, Engine, Options, Put, Query, UserId};
///
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let ada = UserId::new("ada")?;
/// # let turn = engine.new_interaction()?;
/// # for (class, text) in [(Class::transcript(), "wake me at six"), (Class::action(), "alarm")] {
/// #     engine.put(Put::new(ada.clone(), class).interaction(turn), text.as_bytes())?;
/// # }
/// let zone = Zone::utc(); // or "Europe/Berlin".parse()?
/// let page = engine.interactions(&Query::default().user(ada).newest_first(true).limit(30))?;
/// for (day, turns) in page.by_day(&zone) {
///     println!("{day}");
///     for turn in turns {
///         println!("{}: {} records", zone.local(turn.began()), turn.records.len());
///         for said in turn.of(&Class::transcript()) {
///             println!("{}", read_to_string(engine.get(&said.id)?)?);
///         }
///     }
/// }
/// assert_eq!(page.next, None); // else the next page: `query.after(page.next)`
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interactions {
    /// Interactions of this page, in the order that the query asks for.
    pub interactions: Vec<Interaction>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<RecordId>,
}

impl Interactions {
    /// The page cut into days: runs of interactions of one user that began on one day in `zone`. A
    /// day may go on in the next page.
    pub fn by_day(&self, zone: &Zone) -> impl Iterator<Item = (Day, &[Interaction])> {
        let day = move |of: &Interaction| zone.day(of.began());
        let of_one_day =
            move |a: &Interaction, b: &Interaction| a.user == b.user && day(a) == day(b);
        let runs = self.interactions.chunk_by(of_one_day);
        runs.filter_map(move |run| Some((day(run.first()?), run)))
    }
}

/// One exchange with an assistant: what was recorded, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interaction {
    /// Id of the interaction.
    pub id: InteractionId,
    /// The user it belongs to.
    pub user: UserId,
    /// Its records that the query asks for, in the order of [`RecordInfo::created`].
    pub records: Vec<RecordInfo>,
    /// Whether it has more of them than the 10,000 that one page holds. [`Engine::list`] with
    /// [`Query::interaction`] goes through all.
    ///
    /// [`Engine::list`]: crate::Engine::list
    pub more: bool,
}

impl Interaction {
    /// When it began.
    pub fn began(&self) -> Timestamp {
        self.id.began()
    }

    /// Its records of a class.
    pub fn of(&self, class: &Class) -> impl Iterator<Item = &RecordInfo> {
        self.records.iter().filter(move |record| record.class == *class)
    }
}

/// Lists interactions of one user, or of all, user after user. A page ends before its limit if
/// the next interaction would have too many records for it.
///
/// # Errors
/// As [`super::list::list`].
pub(crate) fn interactions(view: &View<'_>, query: &Query) -> Result<Interactions> {
    let limit = query.most();
    let query =
        Query { after: query.after.map(|at| past(at, query.newest_first)), ..query.clone() };
    let room = Room { records: LIST_MAX + 1, interactions: limit + 1 };
    let (mut records, left) = collect(view, &query, room)?;
    let more = left.records == 0;
    let ends: Vec<usize> = records.chunk_by(are_of_one).map(<[RecordInfo]>::len).collect();
    let fit = match (ends.len(), more) {
        // What follows the limit says only that there is more.
        (found, _) if found > limit => limit,
        // The last one may lack some records.
        (found, true) => found.saturating_sub(1).max(1),
        (found, false) => found,
    };
    let is_part = more && ends.len() == 1;
    cut(&mut records, ends.iter().take(fit).sum::<usize>().min(LIST_MAX));
    let next = records.last().map(|r| r.id).filter(|_| is_part || fit < ends.len());
    let lengths: Vec<usize> = records.chunk_by(are_of_one).map(<[RecordInfo]>::len).collect();
    let mut records = records.into_iter();
    // Moved, not copied: of what was told nothing stays behind.
    let of_one = |length: usize| {
        let mut records: Vec<RecordInfo> = records.by_ref().take(length).collect();
        let first = records.first()?;
        let (id, user) = (first.interaction, first.user.clone());
        records.sort_by(|a, b| order(a).cmp(&order(b)));
        Some(Interaction { id, user, records, more: is_part })
    };
    let interactions = lengths.into_iter().filter_map(of_one).collect();
    Ok(Interactions { interactions, next })
}

/// The place after the whole interaction of a record.
fn past(at: RecordId, newest_first: bool) -> RecordId {
    let (class, ordinal) =
        if newest_first { (ClassTag([0; 6]), 0) } else { (ClassTag([0xFF; 6]), u32::MAX) };
    RecordId { class, ordinal, ..at }
}

fn are_of_one(a: &RecordInfo, b: &RecordInfo) -> bool {
    a.interaction == b.interaction && a.id.user == b.id.user
}

/// In which order people see the records of an interaction.
fn order(record: &RecordInfo) -> (Timestamp, &Class, u32) {
    (record.created, &record.class, record.id.ordinal)
}
