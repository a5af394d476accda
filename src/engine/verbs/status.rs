//! What the engine says of itself.

use std::sync::Arc;
use std::time::Duration;

use super::copies::{Copies, CopyStatus};
use crate::catalogue::next::{Due, kind_of_due, next_at};
use crate::engine::clock::doubts;
use crate::engine::core::Core;
use crate::engine::dying::Cleaned;
use crate::engine::ready::ready;
use crate::engine::run_due::overdue_now;
use crate::error::Result;
use crate::ids::{StoreId, Timestamp};
use crate::pages::CacheUse;
use crate::promise::{Awaited, Finality, Promise};
use crate::secret::WipeStack;
use crate::store::{HeadId, Usage};
use crate::tree::Geometry;

/// What an engine knows of itself ([`Engine::status`](crate::Engine::status)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Id of the store, shared by all its copies.
    pub store: StoreId,
    /// Path of the store, or what its adapter calls itself.
    pub place: String,
    /// Epoch and number of the last commit.
    pub head: HeadId,
    /// Users that are not erased.
    pub users: u64,
    /// Blobs in the store, and the bytes they take on its medium.
    pub usage: Usage,
    /// Page size, fan-out and segment size.
    pub geometry: Geometry,
    /// For how long the store lends its keys to readers on other machines; `None` if it lends none.
    pub lending: Option<Duration>,
    /// What the cell promises of a destroyed key.
    pub cell: Promise,
    /// How far the erases up to now are.
    pub finality: Finality,
    /// Of that, what the engine itself is busy with: a copy in step that is away, keyholders that
    /// have not answered; or, of a read-only one, what it saw. `None` if it has done its
    /// part.
    pub unsettled: Option<String>,
    /// Of that, the end of the window in which erases wait for others; `None` if none waits in
    /// one.
    pub pending: Option<Timestamp>,
    /// Why the clock is not believed, if it is not; scheduled work waits then.
    pub clock: Option<String>,
    /// What the clock shows.
    pub clock_shows: Timestamp,
    /// What the time is at least, as far as it is known: that of the last commit whose clock was
    /// believed, or, where that is later, what the clock showed when the engine was opened and what
    /// a clock that nobody sets has counted since. The clock was set, or is wrong, where it shows
    /// another.
    pub time_known: Timestamp,
    /// When the last commit was made whose clock was believed.
    pub last_commit: Timestamp,
    /// How long the oldest of what is due has been due, by the clocks that count for it; zero where
    /// nothing is. What a doubted clock makes due is not: it waits.
    pub overdue: Duration,
    /// When scheduled work is due.
    pub next_due: Option<Timestamp>,
    /// What is due then; `None` if nothing is.
    pub next_due_is: Option<Due>,
    /// State of each copy, in step or behind.
    pub copies: Vec<CopyStatus>,
    /// Why this engine is read-only; `None` for the owner.
    pub read_only: Option<String>,
    /// What this place is known to lack ([`Ownership::lacks`](crate::engine::Ownership::lacks)).
    pub lacks: Option<String>,
    /// Why the last attempt to give space back failed; `None` if it did not, or there was none.
    pub cleaner: Option<String>,
    /// What the cleaner has done since the engine was opened.
    pub cleaned: Cleaned,
    /// Whether the store's place keeps versions of what is deleted, as far as it says: then nobody
    /// knows how much of what was removed is still there. `None` where it was not asked, for it is
    /// asked by a probe, which an engine that only looks does not make.
    pub keeps_versions: Option<bool>,
    /// Memory for keys in this process, and how much of it could not be locked or left out of core
    /// dumps.
    pub memory: crate::secret::Usage,
    /// How often pages were found in the cache.
    pub cache: CacheUse,
}

pub(super) fn status(inner: &Arc<Core>) -> Result<Status> {
    let _wiped = WipeStack;
    inner.process.check()?;
    inner.check_watched()?;
    let read_only = inner.looks_only().map(str::to_owned);
    let unsettled = if read_only.is_some() {
        None
    } else {
        let mut writer = inner.writer();
        ready(inner, &mut writer).err().map(|e| e.to_string())
    };
    let mut awaited = inner.finality().awaited().to_vec();
    if let Some(why) = unsettled {
        // What was awaited before is asked for when this is done.
        awaited.retain(|awaited| matches!(awaited, Awaited::Window(_)));
        awaited.push(Awaited::Engine(why));
    }
    let pending = |awaited: &&Awaited| !matches!(awaited, Awaited::Window(_));
    let unsettled = awaited.iter().find(pending).map(|awaited| match awaited {
        Awaited::Engine(why) => why.clone(),
        Awaited::Unasked => awaited.to_string(),
        awaited => format!("the destruction of older root keys is pending: {awaited}"),
    });
    let copies = Copies { inner }.status();
    let (clock, overdue) = (doubts(inner), overdue_now(inner));
    let (next_due, next_due_is) = {
        let state = inner.state();
        let pages = inner.pages();
        // Not through `Core::look`: an engine that is not usable says why.
        let view = inner.view(&state, &pages);
        let next = next_at(&view)?;
        (next, next.map(|at| kind_of_due(&view, at)))
    };
    let lacks = inner.lacks();
    let state = inner.state();
    let reading = inner.reading(&state);
    Ok(Status {
        store: inner.id,
        place: inner.store().place(),
        head: state.stored.id,
        users: state.head.users,
        usage: inner.store().usage()?,
        geometry: state.head.geometry,
        lending: Some(state.head.lending).filter(|ms| *ms > 0).map(millis),
        cell: inner.cell.describe(),
        unsettled,
        pending: state.head.pending,
        finality: Finality::of(awaited),
        clock,
        clock_shows: reading.now,
        time_known: reading.known,
        last_commit: state.head.time,
        overdue,
        next_due,
        next_due_is,
        copies,
        read_only,
        lacks,
        cleaner: inner.cleaners.failed(),
        cleaned: inner.cleaners.done(),
        keeps_versions: (inner.looks_only().is_none() || !inner.store().is_shared())
            .then(|| inner.store().keeps_versions()),
        memory: crate::secret::usage(),
        cache: inner.cache.used(),
    })
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
