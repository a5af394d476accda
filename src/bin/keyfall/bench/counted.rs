//! A store and a cell that count what goes through them, so that each figure shows its cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyfall::Error;
use keyfall::cell::{Contents, Durable, Owner, RootCell, RootKey};
use keyfall::crypto::Key;
use keyfall::limits::SLOT_BYTES;
use keyfall::promise::{Awaited, Dealt, Promise, Retirement, RootId, Statement};
use keyfall::store::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Packing, Published, Removed,
    Sparse, Store, Sweep, Swept, Usage, Waste,
};
use keyfall::store::{BlobName, StoreId};

/// What went through since the process began.
#[derive(Default)]
pub(super) struct Counters {
    written: AtomicU64,
    syncs: AtomicU64,
    sealed: AtomicU64,
    opened: AtomicU64,
}

/// A reading of the counters, or the difference of two.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    /// Bytes handed to the store and the cell.
    pub(super) written: u64,
    /// Durable writes: commits, deposits, retirements.
    pub(super) syncs: u64,
    /// Bytes of blobs and heads that were sealed.
    pub(super) sealed: u64,
    /// Bytes of blobs that were fetched, to be opened or compared.
    pub(super) opened: u64,
}

impl Counters {
    pub(super) fn read(&self) -> Count {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Count {
            written: of(&self.written),
            syncs: of(&self.syncs),
            sealed: of(&self.sealed),
            opened: of(&self.opened),
        }
    }

    fn write(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.sealed.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cell(&self) {
        self.written.fetch_add(SLOT_BYTES as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    pub(super) fn since(self, before: Count) -> Count {
        Count {
            written: self.written - before.written,
            syncs: self.syncs - before.syncs,
            sealed: self.sealed - before.sealed,
            opened: self.opened - before.opened,
        }
    }

    /// Bytes for each of `erases`, and durable writes for each of `rounds`.
    pub(super) fn each(self, erases: u64, rounds: u64) -> Count {
        let (erases, rounds) = (erases.max(1), rounds.max(1));
        Count {
            written: self.written / erases,
            syncs: self.syncs / rounds,
            sealed: self.sealed / erases,
            opened: self.opened / erases,
        }
    }
}

pub(super) struct CountedStore<S> {
    pub(super) store: S,
    pub(super) counters: Arc<Counters>,
}

fn bytes(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|(_, blob)| blob.len() as u64).sum()
}

impl<S: Store> Store for CountedStore<S> {
    fn place(&self) -> String {
        self.store.place()
    }
    fn segment_bytes(&self) -> usize {
        self.store.segment_bytes()
    }
    fn fan_bits(&self) -> u8 {
        self.store.fan_bits()
    }
    fn claimed(&self) -> Result<Option<Claimed>, Error> {
        self.store.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>, Error> {
        self.store.claim(claimed)
    }
    fn reopen(&self) -> Result<(), Error> {
        self.store.reopen()
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>, Error> {
        let blob = self.store.get(name)?;
        let len = blob.as_ref().map_or(0, Vec::len) as u64;
        self.counters.opened.fetch_add(len, Ordering::Relaxed);
        Ok(blob)
    }
    fn contains(&self, name: &BlobName) -> Result<bool, Error> {
        self.store.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<(), Error> {
        self.counters.write(bytes(blobs));
        self.store.put(blobs)
    }
    fn for_an_erase(&self, on: bool) {
        self.store.for_an_erase(on);
    }
    fn head(&self) -> Result<Option<Head>, Error> {
        self.store.head()
    }
    fn commit(
        &self,
        blobs: &[Blob],
        over: Option<HeadId>,
        head: &Head,
    ) -> Result<Published, Error> {
        self.counters.write(bytes(blobs) + head.bytes.len() as u64);
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.store.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>), Error> {
        self.store.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed, Error> {
        self.store.remove(names)
    }
    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>, Error> {
        self.store.sweep(how)
    }
    fn survey(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>, Error> {
        self.store.survey(how)
    }
    fn give_back(&self) -> Result<Option<Swept>, Error> {
        self.store.give_back()
    }
    fn recall(&self) -> Result<(), Error> {
        self.store.recall()
    }
    fn keeps_versions(&self) -> bool {
        self.store.keeps_versions()
    }
    fn sparse(&self, packing: Option<Packing>) -> Result<Option<Box<dyn Sparse>>, Error> {
        self.store.sparse(packing)
    }
    fn count_dead(&self, names: &[BlobName]) -> Result<(), Error> {
        self.store.count_dead(names)
    }
    fn suspect(&self, bytes: u64) {
        self.store.suspect(bytes);
    }
    fn waste(&self) -> Result<Option<Waste>, Error> {
        self.store.waste()
    }
    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned, Error> {
        self.store.clean(most, packing)
    }
    fn usage(&self) -> Result<Usage, Error> {
        self.store.usage()
    }
}

pub(super) struct CountedCell {
    pub(super) cell: Box<dyn RootCell>,
    pub(super) counters: Arc<Counters>,
    /// The root key that is prepared: depositing it is no write.
    pub(super) ready: Mutex<Option<RootId>>,
}

impl CountedCell {
    fn ready(&self) -> MutexGuard<'_, Option<RootId>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootCell for CountedCell {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }
    fn wants_epoch(&self) -> bool {
        self.cell.wants_epoch()
    }
    fn look_every(&self) -> Duration {
        self.cell.look_every()
    }
    fn take_over(&self) {
        self.cell.take_over();
    }
    fn check_kept(&self, live: &RootId) -> Result<(), Error> {
        self.cell.check_kept(live)
    }
    fn brand(&self, id: &mut RootId) {
        self.cell.brand(id);
    }
    fn unfinished(&self) -> Vec<Dealt> {
        self.cell.unfinished()
    }
    fn remembered(&self) -> Vec<Statement> {
        self.cell.remembered()
    }
    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        self.cell.awaited(keep)
    }
    fn destroys(&self) -> Promise {
        self.cell.destroys()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<(), Error> {
        self.cell.claim(store, owner, mark)
    }
    fn mark(&self, store: StoreId, commit: u64) -> Result<(), Error> {
        self.cell.mark(store, commit)
    }
    fn prepare(&self) {
        self.cell.prepare();
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool, Error> {
        self.cell.ready(keep, next)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<(), Error> {
        if self.ready().take() != Some(*id) {
            self.counters.cell();
        }
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents, Error> {
        self.cell.load()
    }
    fn load_for(&self, id: &RootId) -> Result<Contents, Error> {
        self.cell.load_for(id)
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement, Error> {
        self.counters.cell();
        self.cell.retire(keep, proof)
    }
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>, Error> {
        let retired = self.cell.retire_for(keep, next, proof)?;
        if retired.is_some() {
            *self.ready() = Some(next.id);
            self.counters.cell();
        }
        Ok(retired)
    }
}
