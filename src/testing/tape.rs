//! The archive adversary, who has every byte ever written to any store and what the cell holds now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::adversary::{
    Exposed, Labelled, inbox_keys_reachable, is_in_a_page, labels_reachable, note_keys,
    records_reachable,
};
use crate::catalogue::resolve::ContentRoots;
use crate::cell::{Contents, Durable, Owner, RootCell, RootKey};
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{BlobName, RecordId, StoreId};
use crate::promise::{Awaited, Dealt, Promise, Retirement, RootId, Statement};
use crate::store::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Packing, Published, Removed,
    Sparse, Store, Sweep, Swept, Usage, Waste,
};
use crate::testing::lock::locked;

/// Every byte ever written to the stores that record onto it.
#[derive(Debug, Default)]
pub struct Tape {
    blobs: Mutex<HashMap<BlobName, Vec<u8>>>,
    heads: Mutex<Vec<Head>>,
}

impl Tape {
    /// An empty tape; stores record onto it through [`RecordingStore`].
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn record(&self, blobs: &[Blob]) {
        let mut tape = locked(&self.blobs);
        for (name, bytes) in blobs {
            let there = tape.entry(*name).or_insert_with(|| bytes.clone());
            assert_eq!(there, bytes, "a name was used twice");
        }
    }

    /// Every record that somebody with this tape and `cell` can open now: the adversary tries every
    /// key of the cell on every head ever written, and follows every pointer.
    ///
    /// # Errors
    /// Those of the cell.
    pub fn exposed(self: &Arc<Self>, cell: &dyn RootCell) -> Result<BTreeMap<RecordId, Exposed>> {
        self.exposed_to(&cell.load()?.keys)
    }

    /// Every record that somebody with this tape and these root keys can open.
    ///
    /// # Errors
    /// None that a tape can make.
    pub fn exposed_to(self: &Arc<Self>, keys: &[RootKey]) -> Result<BTreeMap<RecordId, Exposed>> {
        let mut exposed: BTreeMap<RecordId, Exposed> = BTreeMap::new();
        let heads = locked(&self.heads).clone();
        let places: [Arc<dyn Store>; 1] = [Arc::clone(self) as Arc<dyn Store>];
        let mut known = ContentRoots::new();
        loop {
            let before = (exposed.len(), known.len());
            for head in &heads {
                for root in keys {
                    // A key of another epoch opens nothing here: the head's seal commits to its
                    // key.
                    if let Ok(records) = records_reachable(&places, head, &root.key, &mut known) {
                        exposed.extend(records.into_iter().map(|r| (r.id, r)));
                    }
                }
            }
            // What one head gave away may open more below another.
            if known.is_empty() || before == (exposed.len(), known.len()) {
                return Ok(exposed);
            }
        }
    }

    /// Every label, and every name in a tree of names, that somebody with this tape and these root
    /// keys can read.
    pub(super) fn labels(self: &Arc<Self>, keys: &[RootKey]) -> BTreeSet<Labelled> {
        let heads = locked(&self.heads).clone();
        let places: [Arc<dyn Store>; 1] = [Arc::clone(self) as Arc<dyn Store>];
        let mut found = BTreeSet::new();
        for (head, root) in heads.iter().flat_map(|head| keys.iter().map(move |root| (head, root)))
        {
            // A key of another epoch opens nothing here.
            found.extend(labels_reachable(&places, head, &root.key).unwrap_or_default());
        }
        found
    }

    /// Whether somebody with this tape and these root keys can open a page that has these bytes in
    /// it.
    pub fn is_readable(self: &Arc<Self>, keys: &[RootKey], needle: &[u8]) -> bool {
        let heads = locked(&self.heads).clone();
        let places: [Arc<dyn Store>; 1] = [Arc::clone(self) as Arc<dyn Store>];
        heads.iter().any(|head| {
            // A key of another epoch opens nothing here.
            let opens = |root: &RootKey| is_in_a_page(&places, head, &root.key, needle);
            keys.iter().any(|root| opens(root).unwrap_or(false))
        })
    }

    /// Every key that `roots` lead to, over all heads ever written, and the blobs that it opens. A
    /// key seals one plaintext: one that opens two blobs is named by the second.
    ///
    /// # Errors
    /// None that a tape can make.
    pub fn key_used_twice(self: &Arc<Self>, roots: &[RootKey]) -> Result<Option<BlobName>> {
        let heads = locked(&self.heads).clone();
        let places: [Arc<dyn Store>; 1] = [Arc::clone(self) as Arc<dyn Store>];
        let mut noted = HashMap::new();
        for head in &heads {
            for root in roots {
                // Most root keys do not belong to this head.
                let _ = note_keys(&places, head, &root.key, &mut noted);
            }
        }
        let mut seen = HashMap::new();
        Ok(noted
            .into_iter()
            .find(|(name, key)| seen.insert(*key, *name).is_some())
            .map(|(name, _)| name))
    }

    /// Which of these envelopes the holder of this tape and of `keys` can open.
    pub fn opened(self: &Arc<Self>, keys: &[RootKey], envelopes: &[Vec<u8>]) -> Vec<bool> {
        let heads = locked(&self.heads).clone();
        let places: [Arc<dyn Store>; 1] = [Arc::clone(self) as Arc<dyn Store>];
        let mut private = Vec::new();
        for (head, root) in heads.iter().flat_map(|head| keys.iter().map(move |root| (head, root)))
        {
            private.extend(inbox_keys_reachable(&places, head, &root.key).unwrap_or_default());
        }
        envelopes
            .iter()
            .map(|envelope| private.iter().any(|key| crate::sealed::opens(key, envelope)))
            .collect()
    }

    /// Whether `needle` occurs anywhere on the tape.
    pub fn contains_bytes(&self, needle: &[u8]) -> bool {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
        locked(&self.blobs).values().any(|b| has(b))
            || locked(&self.heads).iter().any(|h| has(&h.bytes))
    }
}

/// A tape reads like a store that has every blob.
impl Store for Tape {
    fn place(&self) -> String {
        "the tape".into()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        Ok(locked(&self.blobs).get(name).cloned())
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(locked(&self.blobs).contains_key(name))
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.record(blobs);
        Ok(())
    }
    fn head(&self) -> Result<Option<Head>> {
        Ok(locked(&self.heads).iter().max_by_key(|h| h.id).cloned())
    }
    fn commit(&self, blobs: &[Blob], _over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.record(blobs);
        locked(&self.heads).push(head.clone());
        Ok(Published::Done)
    }
    /// All names at once, whatever the limit.
    fn names(&self, _from: Cursor, _limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        Ok((locked(&self.blobs).keys().copied().collect(), None))
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        let blobs = locked(&self.blobs);
        let left =
            names.iter().filter_map(|name| blobs.get(name)).map(|blob| blob.len() as u64).sum();
        Ok(Removed { left, ..Removed::default() })
    }
    fn usage(&self) -> Result<Usage> {
        let blobs = locked(&self.blobs);
        Ok(Usage { blobs: blobs.len() as u64, bytes: blobs.values().map(|b| b.len() as u64).sum() })
    }
}

/// A store that also writes to a tape, also what the store itself then fails to write.
#[derive(Clone)]
pub struct RecordingStore {
    store: Arc<dyn Store>,
    tape: Arc<Tape>,
}

impl std::fmt::Debug for RecordingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordingStore({})", self.store.place())
    }
}

impl RecordingStore {
    /// Records onto `tape` whatever is written to `store`.
    pub fn new(store: Arc<dyn Store>, tape: Arc<Tape>) -> Self {
        RecordingStore { store, tape }
    }
}

impl Store for RecordingStore {
    fn place(&self) -> String {
        self.store.place()
    }
    fn segment_bytes(&self) -> usize {
        self.store.segment_bytes()
    }
    fn fan_bits(&self) -> u8 {
        self.store.fan_bits()
    }
    fn reads_first(&self, root: &BlobName) {
        self.store.reads_first(root);
    }
    fn claimed(&self) -> Result<Option<Claimed>> {
        self.store.claimed()
    }
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        self.store.claim(claimed)
    }
    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
    fn stands(&self) -> Result<()> {
        self.store.stands()
    }
    fn confirm(&self) -> Result<()> {
        self.store.confirm()
    }
    fn reopen(&self) -> Result<()> {
        self.store.reopen()
    }
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.store.name(drawn, ahead, len)
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.store.get(name)
    }
    fn damage(&self) -> Result<Vec<String>> {
        self.store.damage()
    }
    fn place_of(&self, name: &BlobName) -> Option<u128> {
        self.store.place_of(name)
    }
    fn get_along(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.store.get_along(name)
    }
    fn get_again(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.store.get_again(name)
    }
    fn put_over(&self, blobs: &[Blob]) -> Result<()> {
        self.store.put_over(blobs)
    }
    fn ask_medium(&self, on: bool) {
        self.store.ask_medium(on);
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.store.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.tape.put(blobs)?;
        self.store.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.store.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.tape.commit(blobs, over, head)?;
        self.store.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.store.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.store.remove(names)
    }
    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        self.store.sweep(how)
    }
    fn survey(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        self.store.survey(how)
    }
    fn give_back(&self) -> Result<Option<Swept>> {
        self.store.give_back()
    }
    fn recall(&self) -> Result<()> {
        self.store.recall()
    }
    fn keeps_versions(&self) -> bool {
        self.store.keeps_versions()
    }
    fn sparse(&self, packing: Option<Packing>) -> Result<Option<Box<dyn Sparse>>> {
        self.store.sparse(packing)
    }
    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        self.store.count_dead(names)
    }
    fn suspect(&self, bytes: u64) {
        self.store.suspect(bytes);
    }
    fn waste(&self) -> Result<Option<Waste>> {
        self.store.waste()
    }
    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        self.store.clean(most, packing)
    }
    fn usage(&self) -> Result<Usage> {
        self.store.usage()
    }
}

/// A cell that keeps a copy of every key it was ever given, like a medium that fails to destroy.
/// With these keys the adversary must succeed, or its failure without them would mean nothing.
pub struct HoardingCell {
    cell: Arc<dyn RootCell>,
    hoard: Mutex<Vec<RootKey>>,
}

impl std::fmt::Debug for HoardingCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HoardingCell")
    }
}

impl HoardingCell {
    /// Hoards the keys that are deposited in `cell`.
    pub fn new(cell: Arc<dyn RootCell>) -> Self {
        HoardingCell { cell, hoard: Mutex::default() }
    }

    /// Every key that was ever deposited.
    pub fn hoard(&self) -> Vec<RootKey> {
        locked(&self.hoard).iter().map(|k| RootKey { id: k.id, key: k.key.duplicate() }).collect()
    }
}

impl RootCell for HoardingCell {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }
    fn destroys(&self) -> Promise {
        self.cell.destroys()
    }
    fn wants_epoch(&self) -> bool {
        self.cell.wants_epoch()
    }
    fn look_every(&self) -> Duration {
        self.cell.look_every()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.cell.claim(store, owner, mark)
    }
    fn check_kept(&self, live: &RootId) -> Result<()> {
        self.cell.check_kept(live)
    }
    fn brand(&self, id: &mut RootId) {
        self.cell.brand(id);
    }
    fn mark(&self, store: StoreId, commit: u64) -> Result<()> {
        self.cell.mark(store, commit)
    }
    fn prepare(&self) {
        self.cell.prepare();
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.cell.ready(keep, next)
    }
    fn take_over(&self) {
        self.cell.take_over();
    }
    fn unfinished(&self) -> Vec<Dealt> {
        self.cell.unfinished()
    }
    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        self.cell.awaited(keep)
    }
    fn remembered(&self) -> Vec<Statement> {
        self.cell.remembered()
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        locked(&self.hoard).push(RootKey { id: *id, key: key.duplicate() });
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        self.cell.load()
    }
    fn load_for(&self, id: &RootId) -> Result<Contents> {
        self.cell.load_for(id)
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.cell.retire(keep, proof)
    }
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        let retired = self.cell.retire_for(keep, next, proof)?;
        if retired.is_some() {
            locked(&self.hoard).push(RootKey { id: next.id, key: next.key.duplicate() });
        }
        Ok(retired)
    }
}
