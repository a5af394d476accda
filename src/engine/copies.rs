//! Copies: other stores that hold the same blobs. After an erase a copy needs nothing for the
//! erased to be gone, and the few rekeyed pages for the living to be restorable from it.

use std::sync::Arc;

use super::heads::{OpenHead, TRIES, is_over, open_as_it_goes_on};
use super::lines::{self, Candidate, Choice, Parted};
use super::own;
use super::progress::Progress;
use super::replica::{Backup, Copied, copy_tree};
use crate::catalogue::walk::Walking;
use crate::cell::RootCell;
use crate::error::{Error, ErrorKind, Result};
use crate::pages::{PageSource, SharedStore};
use crate::secret::WipeStack;
use crate::store::{Head, HeadId, Store};
use crate::tree::head::Prefix;

/// What a restore brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Id of the state that was restored.
    pub head: HeadId,
    /// The copy whose head it was.
    pub from: String,
    /// Copies with heads of the same epoch that this state is not seen to go on from: what only
    /// they hold was not restored.
    pub others: Vec<Parted>,
    /// What the state is known to lack: the cell was told of a later commit
    /// ([`Ownership::lacks`](crate::engine::Ownership::lacks)).
    pub lacks: Option<String>,
    /// Number of blobs written to the restored store.
    pub blobs: u64,
    /// Total size of these blobs in bytes.
    pub bytes: u64,
}

/// Builds a store from copies and a cell: the newest head that the cell opens, and every blob below
/// it from a copy that has it intact. If heads of one epoch do not come one after the other,
/// that of the place that owns the cell, or else of one that never owned it before one that did.
///
/// Where an engine erases meanwhile, the state that comes of it is restored on top.
///
/// Digests of records are not compared here: that would open every payload of a single copy, whose
/// segments are copied as they are. [`check_restored`](crate::engine::check_restored) reads back
/// what was built, and compares;
/// [`Copies::check_restore`](crate::engine::Copies::check_restore) does so before anything is lost.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, UserId, cell::MemoryCell, store::MemoryStore};
/// # use keyfall::engine::{OpenAs, restore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// let engine = Engine::init(store, cell.clone(), Options::default())?;
/// let id = engine.put(Put::new(UserId::new("ada")?, Class::audio()), &b"RIFF...."[..])?;
/// let backup = Arc::new(MemoryStore::new());
/// engine.backup(&*backup, &mut |_| {})?;
///
/// drop(engine); // The store is lost; its cell is not.
/// let found = Arc::new(MemoryStore::new());
/// restore(&*cell, &[backup], &*found, &mut |_| {})?;
/// let options = Options::new().open_as(OpenAs::TakeOver);
/// let engine = Engine::open(found, cell, options)?;
/// assert_eq!(engine.info(&id)?.length, 8);
/// # Ok::<(), keyfall::Error>(())
/// ```
///
/// # Errors
/// `Mismatch` if every copy is of an older epoch than the cell, with the epochs named; `Corrupt`
/// if a blob is in none of them; `Exists` if `into` holds a store, but for
/// this one, in this state or in one whose root key is destroyed since; `Changed` if an engine
/// erases at each of ten tries; `Io`, `Full`.
pub fn restore(
    cell: &dyn RootCell,
    copies: &[Arc<dyn Store>],
    into: &dyn Store,
    progress: Progress<'_>,
) -> Result<Restored> {
    let _wiped = WipeStack;
    let mut done = Backup::default();
    for _ in 0..TRIES {
        let Choice { best: Candidate { head, page, store }, others } = newest_of(cell, copies)?;
        let before = check_into(cell, into, &head)?;
        let source = PageSource::over(page.realm, copies);
        let what = Copied { roots: &page.roots, geometry: page.geometry, head: &head };
        match copy_tree(&Walking::unhindered(), &source, what, into, &mut done, progress) {
            // Another restore built something else there meanwhile.
            Err(e) if e.kind() == ErrorKind::Refused && into.head()? != before => continue,
            // What a later commit replaced may be discarded there.
            Err(e) if e.kind() == ErrorKind::Corrupt && store.head()?.as_ref() != Some(&head) => {
                continue;
            }
            copied => copied?,
        };
        let told = cell.load()?;
        if is_over(&told, &head)? {
            continue;
        }
        return Ok(Restored {
            head: head.id,
            from: store.place(),
            others,
            lacks: own::lacking(&into.place(), head.id.commit, told.mark),
            blobs: done.blobs,
            bytes: done.bytes,
        });
    }
    Err(goes_on_always(copies))
}

/// The error if copies do not stand still for as long as a restore takes.
fn goes_on_always(copies: &[SharedStore]) -> Error {
    let places: Vec<String> = copies.iter().map(|copy| copy.place()).collect();
    let text = format!(
        "what {} hold went on each of {TRIES} times while it was restored; try again when less is erased",
        places.join(", ")
    );
    Error::new(ErrorKind::Changed, text)
}

/// The newest state that the cell opens, of these copies.
fn newest_of<'c>(cell: &dyn RootCell, copies: &'c [SharedStore]) -> Result<Choice<'c>> {
    let mut found = Vec::new();
    let mut failed = None;
    for copy in copies {
        let empty = copy.head().is_ok_and(|head| head.is_none());
        match open_as_it_goes_on(&**copy, cell) {
            Ok(OpenHead { stored: head, page, .. }) => {
                found.push(Candidate { head, page, store: copy });
            }
            // An old copy, or one that was never finished, may still have blobs to give.
            Err(e) if empty || matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::Refused) => {
                failed = Some(e)
            }
            // Perhaps it is the newest: passing over it could lose what it holds.
            Err(e) => {
                let leave_out = format!(
                    "{} cannot be read; leave it out to restore from the others",
                    copy.place()
                );
                return Err(e.context(leave_out));
            }
        }
    }
    let told = cell.load()?;
    let owner = told.owner.filter(|_| !told.doubted);
    lines::choose(found, copies, owner.as_ref())?.ok_or_else(|| {
        failed.unwrap_or_else(|| Error::invalid("name at least one copy to restore from"))
    })
}

/// Whether a state may be built at a place: nothing is there but what an earlier try left of this
/// store, the same state or one that an erase ended meanwhile. Gives its head.
fn check_into(cell: &dyn RootCell, into: &dyn Store, head: &Head) -> Result<Option<Head>> {
    let Some(there) = into.head()? else { return Ok(None) };
    if there.bytes == head.bytes {
        return Ok(Some(there));
    }
    let is_this_store = Prefix::decode(&there.bytes)?.store == Prefix::decode(&head.bytes)?.store;
    let is_earlier = is_this_store && there.id < head.id && is_over(&cell.load()?, &there)?;
    if is_earlier && into.claimed()?.is_none() {
        return Ok(Some(there));
    }
    Err(Error::new(
        ErrorKind::Exists,
        format!("{} holds a store already; name an empty place", into.place()),
    ))
}
