//! Whether everything that lives can be read, and is what was put: a restore drill on the running
//! engine, with the keys in hand and without a second cell; and what a restore has built. Nothing
//! is written.

use std::ops::ControlFlow;

use super::core::Core;
use super::heads::{OpenHead, is_over, open_seen};
use super::progress::Progress;
use super::replica;
use crate::catalogue::open_payload::Payload;
use crate::catalogue::resolve::Resolver;
use crate::catalogue::view::Users;
use crate::catalogue::walk::{Coming, Step, Walked, Walking, walk_ahead};
use crate::cell::{Contents, RootCell, RootKey};
use crate::crypto::Hashing;
use crate::env::{Env as _, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, StoreId};
use crate::pages::{PageSource, SharedStore};
use crate::secret::WipeStack;
use crate::store::{Head, HeadId};
use crate::tree::head::{HeadPage, Prefix};
use crate::tree::{Geometry, Ref};

/// Names of missing blobs are reported up to this many.
const SHOWN: usize = 100;

/// What a restore drill found, or a look at what was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The newest state that the copies restore.
    pub head: HeadId,
    /// The state of the store: what was committed after `head` would be lost.
    pub current: HeadId,
    /// The copy whose head that is.
    pub from: String,
    /// Blobs that were read from the copies and opened.
    pub blobs: u64,
    /// Records that were read to their ends, and differ from no digest that they were put with.
    pub records: u64,
    /// Blobs that no copy has, or that do not open, and records whose segments open and are not
    /// what was put, by their digests.
    pub lacking: u64,
    /// The first of them by name.
    pub missing: Vec<BlobName>,
}

impl Checked {
    fn begun(head: HeadId, current: HeadId, from: String) -> Self {
        Checked { head, current, from, blobs: 0, records: 0, lacking: 0, missing: Vec::new() }
    }

    /// Whether everything of that state can be restored.
    pub fn is_whole(&self) -> bool {
        self.lacking == 0
    }
}

struct Drill<'a> {
    pass: &'a Walking<'a>,
    geometry: Geometry,
    source: &'a PageSource<'a>,
    found: Checked,
    /// Which records are opened, if not all of them are.
    choice: Option<Choice>,
    progress: Progress<'a>,
}

/// Records drawn at random, so many of so many: each set of them is as likely as another.
struct Choice {
    /// Records still to be drawn.
    wanted: u64,
    /// Records that are still to come.
    left: u64,
}

impl Choice {
    /// Whether the next record is drawn.
    fn draws(&mut self) -> Result<bool> {
        let mut random = [0; 8];
        System.fill(&mut random)?;
        // A record that came meanwhile would be one too many.
        let among = self.left.max(1);
        self.left = among - 1;
        let drawn = u64::from_le_bytes(random) % among < self.wanted;
        self.wanted -= u64::from(drawn);
        Ok(drawn)
    }
}

impl Drill<'_> {
    fn count(&mut self, name: BlobName, opened: bool) {
        if opened {
            self.found.blobs += 1;
        } else {
            self.found.lacking += 1;
            if self.found.missing.len() < SHOWN {
                self.found.missing.push(name);
            }
        }
        (self.progress)(self.found.blobs);
    }

    /// Whether a page is there; what is below one that is not cannot be read.
    fn page(&mut self, at: &Ref, kind: u8) -> bool {
        let opened = opens(self.source, at, kind);
        self.count(at.name, opened);
        opened
    }

    /// A record that cannot be checked, because a page of a source is missing.
    fn lacks(&mut self, entry: &crate::record::Entry) {
        match entry.body.first() {
            Some(first) => self.count(first, false),
            None => self.found.lacking += 1,
        }
    }

    fn count_record(&mut self, whole: bool) {
        self.found.records += u64::from(whole);
        self.found.lacking += u64::from(!whole);
    }

    /// Opens every segment of a record, and sees that together they are what was put.
    fn record(&mut self, payload: &Payload, entry: &crate::record::Entry) -> ControlFlow<()> {
        if entry.body.first().is_none() {
            // The page around it was opened; what is sealed within has a key of its own.
            self.count_record(payload.within(entry).is_ok());
            return ControlFlow::Continue(());
        }
        let suite = payload.suite(self.source);
        let (mut found, mut left, mut whole) = (Hashing::default(), entry.length, true);
        for (number, name) in (0..).zip(entry.segment_names(self.geometry)) {
            if self.pass.must_stop() {
                return ControlFlow::Break(());
            }
            let open =
                |suite| self.source.fetch(&name, |blob| payload.open(suite, number, &blob)).ok();
            let opened = suite.as_ref().ok().and_then(open);
            if let Some(plain) = &opened {
                let n = left.min(plain.len() as u64);
                found.update(&plain[..n as usize]);
                left -= n;
            }
            whole &= opened.is_some();
            self.count(name, opened.is_some());
        }
        if whole {
            self.count_record(payload.fits(found.finish()));
        }
        ControlFlow::Continue(())
    }
}

/// A head that was opened, and the copy that holds it.
struct Opened {
    page: HeadPage,
    id: HeadId,
    place: String,
}

/// The newest of these heads that a root key of the store opens.
fn newest(places: &[SharedStore], store: StoreId, root: &RootKey) -> Result<Option<Opened>> {
    let mut best: Option<Opened> = None;
    for copy in places {
        let Some(stored) = copy.head()? else { continue };
        let prefix = Prefix::decode(&stored.bytes)?;
        if prefix.store != store {
            return Err(replica::another_store(&copy.place(), "name a copy of this one"));
        }
        if prefix.root_id() != root.id || best.as_ref().is_some_and(|best| best.id >= stored.id) {
            continue;
        }
        let page = HeadPage::open(&stored.bytes, &root.key)
            .map_err(|e| e.context(format!("the head of {}", copy.place())))?;
        best = Some(Opened { page, id: stored.id, place: copy.place() });
    }
    Ok(best)
}

/// Reads back what [`restore`](crate::engine::restore) built, before anybody relies on it: opens
/// everything below its head, and compares each record with the digest that it was put with. A
/// restore itself opens no payload of a single copy: one that was damaged there is damaged in what
/// was built, and here it is told.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, UserId, cell::MemoryCell, store::MemoryStore};
/// # use keyfall::{engine::{check_restored, restore}, store::Store};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell.clone(), Options::default())?;
/// engine.put(Put::new(UserId::new("ada")?, Class::audio()), &[7; 100_000][..])?;
/// # let backup = Arc::new(MemoryStore::new());
/// # engine.backup(&*backup, &mut |_| {})?;
/// let built: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// restore(&*cell, &[backup], &*built, &mut |_| {})?;
/// let checked = check_restored(&*cell, &built, &mut |_| {})?;
/// assert!(checked.is_whole() && checked.records == 1);
/// # Ok::<(), keyfall::Error>(())
/// ```
///
/// # Errors
/// `Corrupt` if nothing was restored there; `Changed` if an erase destroyed the root key of what
/// was restored meanwhile; `Mismatch` if the cell does not open it; `Io`.
pub fn check_restored(
    cell: &dyn RootCell,
    restored: &SharedStore,
    progress: Progress<'_>,
) -> Result<Checked> {
    read_back(cell, restored, None, progress)
}

/// The same as [`check_restored`], of so many records at random: opens every page, and no other
/// record. Those that are not drawn are not known to be whole.
///
/// # Errors
/// As [`check_restored`].
pub fn check_some_restored(
    cell: &dyn RootCell,
    restored: &SharedStore,
    records: u64,
    progress: Progress<'_>,
) -> Result<Checked> {
    read_back(cell, restored, Some(records), progress)
}

fn read_back(
    cell: &dyn RootCell,
    restored: &SharedStore,
    wanted: Option<u64>,
    progress: Progress<'_>,
) -> Result<Checked> {
    let _wiped = WipeStack;
    let stored = restored.head()?;
    let contents = cell.load()?;
    check_goes(&contents, restored, stored.as_ref())?;
    let OpenHead { stored, page, .. } = open_seen(&**restored, stored, contents)?;
    let source = PageSource::over(page.realm, std::slice::from_ref(restored));
    let begun = Checked::begun(stored.id, stored.id, restored.place());
    // Nothing stops it.
    let pass = Walking::unhindered();
    let choice = wanted.map(|wanted| {
        let left = count_records(&pass, &source, &page)?;
        Ok::<_, Error>(Choice { wanted, left })
    });
    let (checked, _) = open_all(&pass, &source, &page, begun, choice.transpose()?, progress)?;
    check_goes(&cell.load()?, restored, Some(&stored))?;
    Ok(checked)
}

/// Fails where an erase ended the state that was restored.
fn check_goes(contents: &Contents, restored: &SharedStore, head: Option<&Head>) -> Result<()> {
    let Some(head) = head else { return Ok(()) };
    if !is_over(contents, head)? {
        return Ok(());
    }
    let text = format!(
        "{} is at epoch {}, whose root key an erase in the store destroyed meanwhile; restore once more, into an empty place",
        restored.place(),
        head.id.epoch
    );
    Err(Error::new(ErrorKind::Changed, text))
}

/// How many records stand below a head, in the pages that open.
fn count_records(pass: &Walking<'_>, source: &PageSource<'_>, head: &HeadPage) -> Result<u64> {
    let mut records = 0;
    let wanted = |_: &BlobName, what: Coming| Ok(what == Coming::Page);
    walk_ahead(pass, source, &head.roots, &wanted, &mut |step| {
        Ok(match step {
            Step::Enter { kind, at } if !opens(source, at, kind.byte()) => ControlFlow::Break(()),
            Step::Record { .. } => {
                records += 1;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok(records)
}

/// Whether a page is there and opens.
fn opens(source: &PageSource<'_>, at: &Ref, kind: u8) -> bool {
    let context = crate::crypto::page_context(source.realm, kind, at.name);
    source.fetch(&at.name, |blob| crate::crypto::chunked::open(&at.key(), &context, &blob)).is_ok()
}

/// Whether any of these holds a later head than the one that was read.
fn went_on(copies: &[SharedStore], from: HeadId) -> Result<bool> {
    for copy in copies {
        if copy.head()?.is_some_and(|head| head.id > from) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The error if the root key opens no copy's head: the copies are older, or the store went on since
/// it was opened to look at.
fn none_opens(core: &Core, current: HeadId, copies: &[SharedStore]) -> Result<Error> {
    let head = |copy: &SharedStore| Ok((copy.place(), copy.head()?.map(|head| head.id)));
    let heads: Vec<(String, Option<HeadId>)> = copies.iter().map(head).collect::<Result<_>>()?;
    let held: Vec<String> = heads
        .iter()
        .map(|(place, head)| format!("{place} holds {}", replica::shown(*head)))
        .collect();
    let held = held.join(", ");
    if core.looks_only().is_some() && heads.iter().any(|(_, head)| *head > Some(current)) {
        let text = format!(
            "the store was at {current} when it was opened, and {held}: it went on meanwhile; open it again"
        );
        return Ok(Error::new(ErrorKind::Changed, text));
    }
    Ok(Error::new(
        ErrorKind::Refused,
        format!(
            "nothing could be restored: the store is at {current}, and {held}; bring a copy up to date with `Engine::backup` or `Copies::sync`, and keep one in step"
        ),
    ))
}

/// The error of a read-only engine whose state an erase ended: the one to open has the new one.
fn as_changed(core: &Core, e: Error) -> Error {
    let is_over = core.looks_only().is_some() && e.kind() == ErrorKind::Mismatch;
    if is_over { Error::new(ErrorKind::Changed, e.to_string()) } else { e }
}

pub(super) fn drill(
    core: &Core,
    copies: &[SharedStore],
    progress: Progress<'_>,
) -> Result<Option<Checked>> {
    core.check_usable().map_err(|e| as_changed(core, e))?;
    let (pass, root) = core.walk_with_root();
    let current = core.state().stored.id;
    let Some(Opened { page: head, id, place: from }) = newest(copies, core.id, &root)? else {
        return Err(none_opens(core, current, copies)?);
    };
    drop(root);
    let source = PageSource::over(core.realm, copies);
    let begun = Checked::begun(id, current, from);
    Ok(match open_all(&pass, &source, &head, begun, None, progress)? {
        // What a later commit replaced may be discarded there.
        (checked, Walked::Whole) if !checked.is_whole() && went_on(copies, id)? => {
            let text = format!(
                "{} went on from {id} while it was checked, and {} of that were not there any more; try again at a quiet time, and what is lacking still is damage",
                checked.from, checked.lacking
            );
            return Err(Error::new(ErrorKind::Changed, text));
        }
        (checked, Walked::Whole) => Some(checked),
        (_, Walked::Interrupted) => None,
    })
}

/// Opens everything below a head, or of the records those that are drawn, unless the pass is
/// stopped.
fn open_all(
    pass: &Walking<'_>,
    source: &PageSource<'_>,
    head: &HeadPage,
    found: Checked,
    choice: Option<Choice>,
    progress: Progress<'_>,
) -> Result<(Checked, Walked)> {
    let users = Users { pages: source, root: &head.roots.users, geometry: head.geometry };
    let mut resolver = Resolver::new(source.realm, users);
    let mut drill = Drill { pass, geometry: head.geometry, source, found, choice, progress };
    let all = drill.choice.is_none();
    let wanted = |_: &BlobName, what: Coming| Ok(all || what == Coming::Page);
    let walked = walk_ahead(pass, source, &head.roots, &wanted, &mut |step| {
        Ok(match step {
            Step::Enter { kind, at } if !drill.page(at, kind.byte()) => ControlFlow::Break(()),
            Step::Record { of, key, entry } => {
                if let Some(choice) = &mut drill.choice
                    && !choice.draws()?
                {
                    return Ok(ControlFlow::Continue(()));
                }
                match Payload::of(&mut resolver, pass, of, key, entry) {
                    Ok(Some(payload)) => drill.record(&payload, entry),
                    // It fell with a source, and its entry has not been taken out yet.
                    Ok(None) => ControlFlow::Continue(()),
                    // The page of a source is lacking, and counted where it stands.
                    Err(_) => {
                        drill.lacks(entry);
                        ControlFlow::Continue(())
                    }
                }
            }
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok((drill.found, walked))
}
