//! A restore drill on the running engine: whether the copies give back everything that lives now, with the keys in hand. Nothing is
//! written, and no second cell is needed.

use std::ops::ControlFlow;

use super::audit::Payload;
use super::lineage::Resolver;
use super::pages::{PageSource, SharedStore};
use super::walk::{Step, Walked, Walking, walk};
use super::{Engine, Inner, copies};
use crate::cell::RootKey;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, StoreId};
use crate::record::segments;
use crate::secret::WipeStack;
use crate::store::HeadId;
use crate::tree::head::{CopyEntry, HeadPage, Prefix};
use crate::tree::{Geometry, Ref};

/// Names of blobs that are lacking are told up to this many.
const SHOWN: usize = 100;

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The newest state that the copies restore.
    pub head: HeadId,
    /// The state of the store: what was committed after `head` would be lost.
    pub current: HeadId,
    /// The copy whose head that is.
    pub from: String,
    /// Blobs that were read from the copies and opened.
    pub blobs: u64,
    /// Blobs that no copy has, or that do not open.
    pub lacking: u64,
    /// The first of them by name.
    pub missing: Vec<BlobName>,
}

impl Checked {
    /// Whether everything of that state can be restored.
    pub fn is_whole(&self) -> bool {
        self.lacking == 0
    }
}

struct Drill<'a> {
    leave: &'a Walking<'a>,
    geometry: Geometry,
    source: &'a PageSource<'a>,
    found: Checked,
    progress: super::Progress<'a>,
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

    /// Whether a page is there; what lies below one that is not cannot be looked at.
    fn page(&mut self, at: &Ref, kind: u8) -> bool {
        let context = crate::crypto::page_context(self.source.realm, kind, at.name);
        let opened =
            self.source.fetch(&at.name, |blob| crate::crypto::chunked::open(&at.key(), &context, &blob)).is_ok();
        self.count(at.name, opened);
        opened
    }

    /// Opens every segment of a record.
    fn record(&mut self, payload: &Payload, entry: &crate::record::Entry) -> ControlFlow<()> {
        let suite = payload.suite(self.source);
        for number in 0..segments(entry.length, self.geometry) {
            if self.leave.must_stop() {
                return ControlFlow::Break(());
            }
            let name = entry.segment_name(number);
            let opens = |suite| self.source.fetch(&name, |blob| payload.open(suite, number, &blob)).is_ok();
            let opened = suite.as_ref().is_ok_and(opens);
            self.count(name, opened);
        }
        ControlFlow::Continue(())
    }
}

/// The newest of these heads that a root key of the store opens.
fn newest(places: &[SharedStore], store: StoreId, root: &RootKey) -> Result<Option<(HeadPage, HeadId, String)>> {
    let mut best: Option<(HeadPage, HeadId, String)> = None;
    for copy in places {
        let Some(stored) = copy.head()? else { continue };
        let prefix = Prefix::decode(&stored.bytes)?;
        if prefix.store != store {
            return Err(copies::another_store(&copy.place(), "name a copy of this one"));
        }
        if prefix.root_id() != root.id || best.as_ref().is_some_and(|(_, id, _)| *id >= stored.id) {
            continue;
        }
        let page =
            HeadPage::open(&stored.bytes, &root.key).map_err(|e| e.context(format!("the head of {}", copy.place())))?;
        best = Some((page, stored.id, copy.place()));
    }
    Ok(best)
}

impl Inner {
    fn drill(&self, copies: &[SharedStore], progress: super::Progress<'_>) -> Result<Option<Checked>> {
        self.check_usable()?;
        let root = self.writer().root.duplicate();
        let current = self.state().stored.id;
        let Some((head, id, from)) = newest(copies, self.id, &root)? else {
            let held: Vec<String> = copies
                .iter()
                .map(|copy| Ok(format!("{} holds {}", copy.place(), copies::shown(copy.head()?.map(|head| head.id)))))
                .collect::<Result<_>>()?;
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "nothing could be restored: the store is at {current}, and {}; bring a copy up to date with `Engine::backup` or `Engine::copy_sync`, and keep one in step",
                    held.join(", ")
                ),
            ));
        };
        let leave = self.walking();
        let source = PageSource { realm: self.realm, stores: copies, cache: None };
        let mut resolver = Resolver::new(self.realm, &source, &head.roots.users, head.geometry);
        let found = Checked { head: id, current, from, blobs: 0, lacking: 0, missing: Vec::new() };
        let mut drill = Drill { leave: &leave, geometry: head.geometry, source: &source, found, progress };
        let walked = walk(&leave, &source, &head.roots, &mut |step| {
            Ok(match step {
                Step::Enter { kind, at } if !drill.page(at, kind.byte()) => ControlFlow::Break(()),
                Step::Record { of, key, entry } => {
                    match Payload::of(&mut resolver, &leave, (of, key, entry)) {
                        Ok(Some(payload)) => drill.record(&payload, entry),
                        // It fell with a source, and its entry has not been taken out yet.
                        Ok(None) => ControlFlow::Continue(()),
                        // The page of a source is lacking, and counted where it stands.
                        Err(_) => {
                            drill.count(entry.first, false);
                            ControlFlow::Continue(())
                        }
                    }
                }
                _ => ControlFlow::Continue(()),
            })
        })?;
        Ok(match walked {
            Walked::Whole => Some(drill.found),
            Walked::Interrupted => None,
        })
    }
}

impl Engine {
    /// The copies that the store knows of.
    pub fn copies(&self) -> Vec<CopyEntry> {
        self.inner.state().head.copies.clone()
    }

    /// The store of the copy at `place`, where this engine has it open: nobody else can open it then. Give it to
    /// [`Engine::check_restore`]; to write to it is the engine's.
    pub fn attached(&self, place: &str) -> Option<SharedStore> {
        let writer = self.inner.writer();
        writer.copies.iter().find(|copy| copy.entry.place == place).and_then(|copy| copy.store.clone())
    }

    /// Finds out what a restore from these copies would bring back: reads and opens everything below their newest head that the root key
    /// opens, without a second cell and while reads and writes go on. An erase stops it, and it begins again from what the copies hold then.
    /// A copy in step is open here already: [`Engine::attached`] gives it.
    ///
    /// # Errors
    /// `Refused` where no copy is of the store's epoch: nothing could be restored; or where one holds another store; `Corrupt`, `Io`.
    pub fn check_restore(&self, copies: &[SharedStore], progress: super::Progress<'_>) -> Result<Checked> {
        let _wiped = WipeStack;
        if copies.is_empty() {
            return Err(Error::invalid("name at least one copy to restore from"));
        }
        loop {
            if let Some(checked) = self.inner.drill(copies, progress)? {
                return Ok(checked);
            }
            crate::sync::yield_now();
        }
    }
}
