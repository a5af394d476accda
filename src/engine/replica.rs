//! Copies, one by one: a copy as the writer has it, and how blobs get into it.
//!
//! Invariant of every copy: where a page is, everything below it is. Pages go in after what they
//! point to, so a walk that brings a copy up to date passes over every page that the copy has. A
//! place that lost something breaks it, until the copy is repaired.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::options::Options;
use crate::catalogue::open_payload::Payload;
use crate::catalogue::resolve::Resolver;
use crate::catalogue::view::Users;
use crate::catalogue::walk::{Step, Walked, Walking, walk_ahead};
use crate::crypto::chunked;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::pages::{PageSource, SharedStore};
use crate::store::{Blob, Head, HeadId, Published, Store};
use crate::tree::Geometry;
use crate::tree::head::{CopyEntry, CopyMode, Prefix, Roots};

/// Bytes of blobs from which on a copy's `put` is called.
const BUFFER_BYTES: usize = 1 << 20;

/// A copy the engine knows of, with its store once it is reached.
pub(super) struct Attached {
    pub(super) entry: CopyEntry,
    pub(super) store: Option<SharedStore>,
    /// What became of giving it what the commit under way holds, if that was tried.
    pub(super) ahead: Option<Result<()>>,
}

impl Attached {
    /// Only an engine that writes opens the copies in step at once: what merely looks would keep
    /// others from them.
    pub(super) fn new(entry: CopyEntry, options: &Options, writes: bool) -> Self {
        let mut attached = Attached { entry, store: None, ahead: None };
        if writes && attached.entry.mode == CopyMode::InStep {
            // Out of reach is found out again, and told, when it matters.
            let _ = attached.reach(options);
        }
        attached
    }

    /// Closes the store of a failed copy: the next try opens it again, which finds out what it
    /// holds.
    pub(super) fn let_go(&mut self) {
        self.store = None;
    }

    /// The copy's store, opened if it is not open, before anything is changed.
    pub(super) fn reach(&mut self, options: &Options) -> Result<SharedStore> {
        self.open(options).map_err(|e| out_of_step(&self.entry.place, &e))
    }

    /// The same, with the error of whatever opens it.
    pub(super) fn open(&mut self, options: &Options) -> Result<SharedStore> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let store = (options.open_copy)(&self.entry.place, false)?;
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }
}

pub(super) fn out_of_step(place: &str, e: &Error) -> Error {
    if e.kind() == ErrorKind::Locked {
        return Error::new(
            ErrorKind::Copy,
            format!(
                "the copy {place} must be in step and is not: it is open already, in another process or as this very store; stop the process, or, if this store is that copy, give it up with `Copies::remove('{place}')`, and call again"
            ),
        )
        .with_source(e.copy());
    }
    Error::new(
        ErrorKind::Copy,
        format!(
            "the copy {place} must be in step and is not: {}; {}, and call again",
            why(e),
            remedy(place, e)
        ),
    )
}

/// What is wrong with a copy, without what helps a store of one's own.
fn why(e: &Error) -> String {
    match e.kind() {
        ErrorKind::Full => "no space is left there".to_owned(),
        ErrorKind::Absent => "no store is there".to_owned(),
        _ => e.to_string(),
    }
}

/// What to do about a copy. Of one that came back empty nothing can be brought up to date.
fn remedy(place: &str, e: &Error) -> String {
    let give_up = format!("give it up with `Copies::remove('{place}')`");
    match e.kind() {
        ErrorKind::Absent => format!(
            "bring it back, or, if it is lost, {give_up} and make it once more with `Copies::add('{place}')`"
        ),
        ErrorKind::Corrupt => format!("repair it with `Copies::repair`, or {give_up}"),
        ErrorKind::Full => format!("make room there, or {give_up}"),
        _ => format!("bring it back, or {give_up}"),
    }
}

/// Of a commit that the store holds and a copy in step did not take: what to do then is not to do
/// it again.
pub(super) fn not_taken(place: &str, e: &Error, erase: bool) -> Error {
    let what = if erase {
        "the new epoch is published and reads use it, but the old root key is not destroyed yet"
    } else {
        "what was written is in the store and must not be put again; it counts once every copy in step has it"
    };
    let text = format!(
        "{what}: the copy {place} must be in step and is not: {}; {}",
        why(e),
        remedy(place, e)
    );
    Error::new(ErrorKind::Copy, text)
}

/// A head's number, for a person.
pub(super) fn shown(head: Option<HeadId>) -> String {
    head.map_or_else(|| "no head".into(), |h| h.to_string())
}

pub(super) fn foreign(place: &str, there: Option<HeadId>) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!(
            "{place} has diverged, to {}: another engine wrote to it; restore from it to continue from there",
            shown(there)
        ),
    )
}

pub(super) fn another_store(place: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("{place} holds another store; {remedy}"))
}

/// What a backup or a sync copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The state that it now holds.
    pub head: Option<HeadId>,
    /// Number of blobs copied because the destination lacked them.
    pub blobs: u64,
    /// Total size of these blobs in bytes.
    pub bytes: u64,
    /// Blobs that the destination still does not give as they are after a repair.
    pub damaged: u64,
    /// Blobs that the store itself has and that do not open: a repair left what the destination has
    /// in their place, which may be whole.
    pub shut: u64,
}

impl Backup {
    /// This and a repair after it, taken together.
    pub(super) fn then(self, repaired: Backup) -> Backup {
        let (blobs, bytes) = (self.blobs + repaired.blobs, self.bytes + repaired.bytes);
        Backup { blobs, bytes, ..repaired }
    }
}

/// One state of a store, to be copied.
#[derive(Clone, Copy)]
pub(super) struct Copied<'a> {
    pub(super) roots: &'a Roots,
    pub(super) geometry: Geometry,
    pub(super) head: &'a Head,
}

/// Blobs on their way into a copy.
struct Outbox<'a> {
    to: &'a dyn Store,
    blobs: Vec<Blob>,
    held: usize,
    done: &'a mut Backup,
    progress: &'a mut dyn FnMut(u64),
    /// Which of what it is handed the copy is given.
    given: Given,
    /// How many blobs it was handed.
    looked: u64,
}

/// What a copy is given of a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Pages that it lacks, and what it lacks below them.
    Newer,
    /// All that it does not give as it is, wherever that is: it lost something.
    All,
}

impl<'a> Outbox<'a> {
    fn new(
        to: &'a dyn Store,
        done: &'a mut Backup,
        progress: &'a mut dyn FnMut(u64),
        given: Given,
    ) -> Self {
        Outbox { to, blobs: Vec::new(), held: 0, done, progress, given, looked: 0 }
    }

    fn push(&mut self, name: BlobName, bytes: Vec<u8>) -> Result<()> {
        self.held += bytes.len();
        self.blobs.push((name, bytes));
        if self.held >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Counts what it holds as copied.
    fn count(&mut self) {
        self.done.blobs += self.blobs.len() as u64;
        self.done.bytes += self.held as u64;
    }

    fn flush(&mut self) -> Result<()> {
        self.looked += self.blobs.len() as u64;
        if self.given == Given::All {
            self.keep_what_differs()?;
        }
        if !self.blobs.is_empty() {
            self.to.put(&self.blobs)?;
        }
        self.count();
        if self.given == Given::All {
            self.keep_what_differs()?;
            if !self.blobs.is_empty() {
                self.to.put_over(&self.blobs)?;
                self.keep_what_differs()?;
            }
            self.done.damaged += self.blobs.len() as u64;
        }
        self.blobs.clear();
        self.held = 0;
        (self.progress)(self.looked);
        Ok(())
    }

    /// Drops what the copy gives as it is.
    fn keep_what_differs(&mut self) -> Result<()> {
        let names: Vec<BlobName> = self.blobs.iter().map(|(name, _)| *name).collect();
        let mut differing = Vec::new();
        for (blob, there) in
            std::mem::take(&mut self.blobs).into_iter().zip(self.to.get_many(&names))
        {
            match there {
                Ok(there) if there.as_ref() == Some(&blob.1) => self.held -= blob.1.len(),
                Err(e) if e.kind() != ErrorKind::Corrupt => return Err(e),
                _ => differing.push(blob),
            }
        }
        self.blobs = differing;
        Ok(())
    }
}

/// Which blobs a copy lacks, as far as it is asked. What was asked ahead is not asked again.
struct Lacking<'a> {
    to: &'a dyn Store,
    given: Given,
    known: RefCell<HashSet<BlobName>>,
}

impl Lacking<'_> {
    /// Whether it lacks a blob, which it will be given if so.
    fn take(&self, name: &BlobName) -> Result<bool> {
        Ok(self.known.borrow_mut().remove(name)
            || self.given == Given::All
            || !self.to.contains(name)?)
    }

    /// Whether it lacks a blob that comes later.
    fn foresee(&self, name: &BlobName) -> Result<bool> {
        let lacks = self.take(name)?;
        if lacks {
            self.known.borrow_mut().insert(*name);
        }
        Ok(lacks)
    }
}

/// Whether a place holds this very head already. It must not hold a later one, nor another store's.
fn is_same_head(to: &dyn Store, there: &Head, head: &Head) -> Result<bool> {
    if Prefix::decode(&there.bytes)?.store != Prefix::decode(&head.bytes)?.store {
        return Err(another_store(&to.place(), "name an empty place, or a copy of this one"));
    }
    if there.id > head.id || there.id == head.id && there.bytes != head.bytes {
        return Err(foreign(&to.place(), Some(there.id)));
    }
    Ok(there.id == head.id)
}

/// Copies everything below `roots` that `to` lacks, from the first of `from`'s stores that gives it
/// whole, then the head. A segment that no store gives whole is copied as it is: its record is as
/// damaged in the copy as it was before, and no other record is. Adds what it copied to `done`,
/// also if it was interrupted and the head is still to come.
pub(super) fn copy_tree(
    pass: &Walking<'_>,
    from: &PageSource<'_>,
    what: Copied<'_>,
    to: &dyn Store,
    done: &mut Backup,
    progress: &mut dyn FnMut(u64),
) -> Result<Walked> {
    let head = what.head;
    let over = to.head()?;
    if let Some(there) = &over
        && is_same_head(to, there, head)?
    {
        done.head = Some(head.id);
        return Ok(Walked::Whole);
    }
    let mut out = Outbox::new(to, done, progress, Given::Newer);
    if let Walked::Interrupted = send(pass, from, what, &mut out)? {
        out.flush()?;
        return Ok(Walked::Interrupted);
    }
    match to.commit(&out.blobs, over.map(|h| h.id), head)? {
        Published::Done => {
            out.count();
            out.done.head = Some(head.id);
            Ok(Walked::Whole)
        }
        // Another one built the same there.
        Published::Conflict(_) if to.head()?.as_ref() == Some(head) => {
            out.done.head = Some(head.id);
            Ok(Walked::Whole)
        }
        Published::Conflict(there) => Err(foreign(&to.place(), there)),
    }
}

/// Gives `to` each blob of a state that it does not give as it is, and no head. Adds what it copied
/// to `done`.
pub(super) fn fill_up(
    pass: &Walking<'_>,
    from: &PageSource<'_>,
    what: Copied<'_>,
    to: &dyn Store,
    done: &mut Backup,
    progress: &mut dyn FnMut(u64),
) -> Result<Walked> {
    (done.damaged, done.shut) = (0, 0);
    let mut out = Outbox::new(to, done, progress, Given::All);
    let walked = send(pass, from, what, &mut out)?;
    out.flush()?;
    Ok(walked)
}

/// The segments of a record, as a copy gets them.
enum Segments {
    /// There are none to copy.
    None,
    /// As they are stored.
    Unopened,
    /// From the first place that has them whole.
    Opened(Box<(chunked::Suite, Payload)>),
}

impl Segments {
    fn of(payload: Payload, from: &PageSource<'_>) -> Self {
        match payload.suite(from) {
            Ok(suite) => Segments::Opened(Box::new((suite, payload))),
            Err(_) => Segments::Unopened,
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Segments::None)
    }

    /// A segment, and whether it is seen to open.
    fn get(&self, from: &PageSource<'_>, number: u64, name: &BlobName) -> Result<(Vec<u8>, bool)> {
        match self {
            Segments::Opened(opened) => {
                let (suite, payload) = &**opened;
                let blob = payload.sealed(from, suite, number, name)?;
                let opens = payload.open(suite, number, &blob).is_ok();
                Ok((blob, opens))
            }
            _ => from.fetch(name, |blob| Ok((blob, false))),
        }
    }
}

/// Puts what a copy is to be given on its way.
fn send(
    pass: &Walking<'_>,
    from: &PageSource<'_>,
    what: Copied<'_>,
    out: &mut Outbox<'_>,
) -> Result<Walked> {
    let Copied { roots, geometry, .. } = what;
    let users = Users { pages: from, root: &roots.users, geometry };
    let mut resolver = Resolver::new(from.realm, users);
    let lacking = Lacking { to: out.to, known: RefCell::default(), given: out.given };
    let wanted = |name: &BlobName, _| lacking.foresee(name);
    walk_ahead(pass, from, roots, &wanted, &mut |step| {
        match step {
            Step::Enter { at, .. } => {
                if !lacking.take(&at.name)? {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Step::Record { of, key, entry } => {
                let opens = match entry.body.first() {
                    None => Segments::None,
                    // One store has nothing to choose from.
                    Some(_) if out.given == Given::Newer && from.stores.len() == 1 => {
                        Segments::Unopened
                    }
                    Some(_) => match Payload::of(&mut resolver, pass, of, key, entry) {
                        Ok(Some(payload)) => Segments::of(payload, from),
                        // It fell with what it was derived from.
                        Ok(None) if out.given == Given::All => Segments::None,
                        _ => Segments::Unopened,
                    },
                };
                let names =
                    if opens.is_none() { None } else { Some(entry.segment_names(geometry)) };
                for (number, name) in (0..).zip(names.into_iter().flatten()) {
                    // A recording of hours must not hold an erase up.
                    if pass.must_stop() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if !lacking.take(&name)? {
                        continue;
                    }
                    match opens.get(from, number, &name)? {
                        // The copy may have it whole: what does not open must not go over that.
                        (_, false) if out.given == Given::All => out.done.shut += 1,
                        (blob, _) => out.push(name, blob)?,
                    }
                }
            }
            Step::Leave { kind, at } => out.push(at.name, from.sealed(kind, at)?)?,
        }
        Ok(ControlFlow::Continue(()))
    })
}
