//! A mark-and-sweep over a journal: one bit for each blob, and no list of names.
//!
//! A blob is marked where a reader of its name finds it. What lies elsewhere under the same name,
//! as after a blob was put twice, is swept and the one that is read stays. A name that is nowhere
//! to be found is remembered, and no blob of that name is swept: an index that points beside is no
//! reason to lose what a rebuilt one would find.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{Location, Position};
use super::give::{Places, count_at, remove_at};
use super::store::JournalStore;
use crate::error::{Error, Result};
use crate::ids::BlobName;
use crate::store::{Collect, Sweep, Swept};
use crate::sync::atomic::Ordering;

/// Names that are nowhere to be found, at most: with more of them a store is too damaged to be
/// swept.
const LOST_MAX: usize = 1 << 16;

/// A sweep of what a journal held when it began.
pub(super) struct JournalSweep<'s> {
    store: &'s JournalStore,
    how: Collect,
    /// Blobs from here on are newer.
    until: Position,
    /// A bit for each blob of a file, by its number.
    marks: BTreeMap<u32, Vec<u64>>,
    lost: BTreeSet<BlobName>,
    /// Up to where it was collected; `None` at the end.
    at: Option<Position>,
    /// What was suspected when it began.
    suspected: u64,
}

impl<'s> JournalSweep<'s> {
    /// Begins one: what the index has yet to learn of is learnt first.
    pub(super) fn begin(store: &'s JournalStore, how: Collect) -> Result<Self> {
        let suspected = store.suspected.load(Ordering::Relaxed);
        let until = store.learn()?;
        let at = Some(Position::default());
        Ok(JournalSweep {
            store,
            how,
            until,
            marks: BTreeMap::new(),
            lost: BTreeSet::new(),
            at,
            suspected,
        })
    }

    fn is_at(&self, at: Location) -> bool {
        let (word, bit) = place_of(at);
        self.marks.get(&at.file).and_then(|bits| bits.get(word)).is_some_and(|w| w & bit != 0)
    }

    fn is_older(&self, at: Location) -> bool {
        Position { file: at.file, offset: at.offset } < self.until
    }

    /// Ends it: what died before it began is counted now.
    fn end(&mut self) {
        let told = self.suspected;
        self.at = None;
        let less = |now: u64| Some(if told == u64::MAX { 0 } else { now.saturating_sub(told) });
        let _ = self.store.suspected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.suspected = 0;
    }
}

/// The word and the bit of a blob's mark.
fn place_of(at: Location) -> (usize, u64) {
    (at.number as usize / 64, 1 << (at.number % 64))
}

impl Sweep for JournalSweep<'_> {
    fn is_marked(&self, name: &BlobName) -> Result<bool> {
        Ok(self.store.locate(name)?.is_some_and(|at| self.is_at(at)))
    }

    fn mark(&mut self, name: &BlobName) -> Result<()> {
        let Some(at) = self.store.locate(name)? else {
            self.lost.insert(*name);
            if self.lost.len() > LOST_MAX {
                return Err(Error::corrupt(format!(
                    "{} lacks more than {LOST_MAX} live blobs; restore the store from its copies \
                     with `restore`",
                    self.store.dir.display()
                )));
            }
            return Ok(());
        };
        let (word, bit) = place_of(at);
        let bits = self.marks.entry(at.file).or_default();
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        bits[word] |= bit;
        Ok(())
    }

    fn collect(&mut self, most: usize, kept: &dyn Fn(&BlobName) -> bool) -> Result<Option<Swept>> {
        let Some(from) = self.at.filter(|at| *at < self.until) else {
            self.end();
            return Ok(None);
        };
        let (blobs, next) = self.store.journal.list(from, most)?;
        let looked = blobs.len() as u64;
        let dead: Places = {
            let tally = self.store.tally();
            let is_dead = |name: &BlobName, at: Location| {
                self.is_older(at)
                    && !self.is_at(at)
                    && !tally.is_dead(at)
                    && !self.lost.contains(name)
            };
            blobs.into_iter().filter(|(name, at)| is_dead(name, *at)).collect()
        };
        let dead: Places = dead.into_iter().filter(|(name, _)| !kept(name)).collect();
        let mut swept = Swept { looked, blobs: dead.len() as u64, ..Swept::default() };
        match self.how {
            Collect::Wipe if !dead.is_empty() => swept.removed = remove_at(self.store, &dead)?,
            Collect::Wipe => {}
            Collect::Count => swept.blobs = count_at(self.store, &dead)?,
        }
        // Only now: what failed is collected again.
        self.at = next;
        Ok(Some(swept))
    }
}
