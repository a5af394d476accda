//! The store on an object log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyfall_objects::{Objects, Patience};

use super::bucket::Bucket;
use super::cache::ObjectCache;
use super::claim::{claim, confirm, floors, read_back, refresh, stands};
use super::claims::recall;
use super::earlier::has_claim;
use super::find::{Caching, Finder, Reads};
use super::give::{GRACE, Giving};
use super::hints::hint_if_due;
use super::marker;
use super::named::MARKER;
use super::naming::{NAMING_KEY_BYTES, Naming};
use super::opening::{check_unused, learn, naming, probe_and_learn};
use super::remove::remove;
use super::room::Room;
use super::signs::{beat, beats, is_taken, pulse, rest};
use super::sparse::SparseObjects;
use super::state::{Root, State};
use super::survey::Survey;
use super::tables::{learn_all, learn_lists};
use super::windows::Windows;
use super::write::{SHORT_MAX, Writing};
use crate::env::{SharedEnv, System};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::{FAN_BITS_FAR, SEGMENT_MAX_BYTES};
use crate::store::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Newest, Packing, Published,
    Pulse, Removed, Sparse, Store, Sweep, Swept, Usage, Waste, fenced,
};
use crate::sync::{Mutex, locked};

/// A store on numbered objects, each created once: S3 and its like, or a directory that machines
/// share. Of several engines that write to it the one that claimed it last is the owner; what any
/// other one publishes after that is refused.
///
/// A handle is one writer. What is put waits in memory for the next commit, or until 8 MiB wait.
pub struct ObjectLog {
    bucket: Bucket,
    naming: Naming,
    /// Whether it was opened to look at.
    look: bool,
    /// Whether the place keeps versions of what is deleted.
    versioned: bool,
    /// For how long the cleaner leaves what died.
    grace: Duration,
    room: Room,
    /// What this machine keeps of the objects, if it was asked to.
    cache: Option<ObjectCache>,
    /// How many callers want reads to show what the place itself has.
    asks_medium: AtomicUsize,
    writers: Mutex<()>,
    state: Mutex<State>,
}

impl std::fmt::Debug for ObjectLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectLog({})", self.bucket.place())
    }
}

impl ObjectLog {
    /// Makes an empty log, after a probe of the place.
    ///
    /// # Errors
    /// `Exists` if a store is there; `Medium` for a place that overwrites what is there, or shows
    /// what is stale; `Io`.
    pub fn create(objects: Arc<dyn Objects>) -> Result<Self> {
        Self::create_with(objects, Arc::new(System), Patience::default())
    }

    /// Whether the marker of a log is seen at a place: not where one may not look.
    #[cfg(feature = "sled")]
    pub(crate) fn is_at(objects: Arc<dyn Objects>) -> Result<bool> {
        Bucket::new(objects, Arc::new(System), Patience::default()).is_seen(MARKER, marker::FORMATS)
    }

    /// Opens a log to write, after a probe of the place.
    ///
    /// # Errors
    /// `Absent` if there is none; `Refused` for an unknown format; `Corrupt`; `Medium` as
    /// [`ObjectLog::create`]; `Io`.
    pub fn open(objects: Arc<dyn Objects>) -> Result<Self> {
        Self::open_with(objects, Arc::new(System), Patience::default())
    }

    /// Opens a log to look at: nothing is written there, not even a probe. What writes is
    /// `Refused`.
    ///
    /// # Errors
    /// As [`ObjectLog::open`].
    pub fn look(objects: Arc<dyn Objects>) -> Result<Self> {
        Self::look_with(objects, Arc::new(System), Patience::default())
    }

    /// As [`ObjectLog::look`], with randomness of one's own, and a patience.
    ///
    /// # Errors
    /// As [`ObjectLog::look`].
    pub fn look_with(
        objects: Arc<dyn Objects>,
        env: SharedEnv,
        patience: Patience,
    ) -> Result<Self> {
        let (bucket, state) = (Bucket::new(objects, env, patience), Mutex::default());
        let naming = naming(&bucket).or_else(|e| {
            if e.kind() == ErrorKind::Absent {
                check_unused(&bucket)?;
            }
            Err(e)
        })?;
        learn(&bucket, &state, &floors(&bucket)?, false)?;
        Ok(Self::assembled(bucket, naming, state, true, false))
    }

    /// Opens the log at a place, or makes one if there is none.
    ///
    /// # Errors
    /// As [`ObjectLog::open`] and [`ObjectLog::create`].
    pub fn open_or_create(objects: Arc<dyn Objects>) -> Result<Self> {
        match Self::open(Arc::clone(&objects)) {
            Err(e) if e.kind() == ErrorKind::Absent => Self::create(objects),
            opened => opened,
        }
    }

    /// As [`ObjectLog::create`], with randomness of one's own, and a patience.
    ///
    /// # Errors
    /// As [`ObjectLog::create`].
    pub fn create_with(
        objects: Arc<dyn Objects>,
        env: SharedEnv,
        patience: Patience,
    ) -> Result<Self> {
        let (bucket, room) = (Bucket::new(objects, env, patience), Room::default());
        let versioned = bucket.probe()?;
        bucket.race()?;
        if bucket.get(MARKER)?.is_none() {
            check_unused(&bucket)?;
            let mut naming_key = [0; NAMING_KEY_BYTES];
            naming_key.copy_from_slice(&bucket.drawn()?);
            // If another one made the marker meanwhile, that one counts.
            bucket.create(MARKER, marker::text_of(&naming_key).as_bytes())?;
        }
        let (naming, state) = (naming(&bucket)?, Mutex::default());
        learn(&bucket, &state, &floors(&bucket)?, true)?;
        room.lay_in(&bucket);
        let log = ObjectLog { room, ..Self::assembled(bucket, naming, state, false, versioned) };
        if locked(&log.state).head.is_some() {
            let text = format!("{} is a store already; name an empty place", log.place());
            return Err(Error::new(ErrorKind::Exists, text));
        }
        Ok(log)
    }

    /// As [`ObjectLog::open`], with randomness of one's own, and a patience.
    ///
    /// # Errors
    /// As [`ObjectLog::open`].
    pub fn open_with(
        objects: Arc<dyn Objects>,
        env: SharedEnv,
        patience: Patience,
    ) -> Result<Self> {
        let (bucket, state) = (Bucket::new(objects, env, patience), Mutex::default());
        let room = Room::default();
        let naming = naming(&bucket).or_else(|e| {
            // A place that shows what is stale may hide it.
            if e.kind() == ErrorKind::Absent {
                if bucket.is_there(MARKER)? {
                    bucket.probe()?;
                }
                check_unused(&bucket)?;
            }
            Err(e)
        })?;
        let versioned = room.or_give(&bucket, || probe_and_learn(&bucket, &state))?;
        room.lay_in(&bucket);
        Ok(ObjectLog { room, ..Self::assembled(bucket, naming, state, false, versioned) })
    }

    fn assembled(
        bucket: Bucket,
        naming: Naming,
        state: Mutex<State>,
        look: bool,
        versioned: bool,
    ) -> Self {
        let (room, writers) = (Room::default(), Mutex::new(()));
        let (grace, cache, asks_medium) = (GRACE, None, AtomicUsize::new(0));
        ObjectLog {
            bucket,
            naming,
            look,
            versioned,
            grace,
            room,
            cache,
            asks_medium,
            writers,
            state,
        }
    }

    /// Keeps what is read of the objects in a directory of this machine, `most` bytes of it: the
    /// next process reads it from there. It is ciphertext, of which an erase needs nothing removed,
    /// and nothing is lost with it. Long blobs are not kept.
    ///
    /// # Errors
    /// `Refused` for a directory in which something else lies; `Medium` for a link; `Io`.
    pub fn cache(self, dir: &Path, most: u64) -> Result<Self> {
        let cache = ObjectCache::open(dir, most, &self.place(), &self.naming.identity())?;
        Ok(ObjectLog { cache: Some(cache), ..self })
    }

    /// How long the cleaner keeps an object after nothing in it lives, instead of 30 seconds: a
    /// read-only engine that borrows no key may still be at an older state. A discard keeps none.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        ObjectLog { grace, ..self }
    }

    /// With another patience from now on.
    #[must_use]
    pub fn patience(self, patience: Patience) -> Self {
        ObjectLog { bucket: self.bucket.patience(patience), ..self }
    }

    fn giving(&self) -> Giving<'_> {
        let ObjectLog { bucket, naming, state, writers, room, versioned, grace, .. } = self;
        let (versioned, grace) = (*versioned, *grace);
        Giving { bucket, naming, state, writers, room, versioned, grace }
    }

    fn finder(&self) -> Finder<'_> {
        let ObjectLog { bucket, naming, state, .. } = self;
        let cache = match &self.cache {
            Some(cache) if self.asks_medium.load(Ordering::Acquire) == 0 => Caching::Use(cache),
            _ => Caching::None,
        };
        Finder { bucket, naming, state, reads: Reads::Near, cache }
    }

    /// Reads the root page, unless it is at hand, so that the claim to come can repeat it. Whoever
    /// claims reads it anyway; if it cannot be read now, that one finds out.
    fn see_root(&self) {
        let name = {
            let state = locked(&self.state);
            state.reads_first.filter(|name| state.root.as_ref().is_none_or(|r| r.blob.0 != *name))
        };
        if let Some(name) = name
            && let Ok(Some(page)) = self.finder().get(&name)
        {
            locked(&self.state).root = Root::of((name, page), true);
        }
    }

    /// What writes, if this handle may.
    fn writing(&self) -> Result<Writing<'_>> {
        if self.look {
            let text = format!("{} was opened read-only; open it to write", self.place());
            return Err(Error::new(ErrorKind::Refused, text));
        }
        let writing = Writing { bucket: &self.bucket, naming: &self.naming, state: &self.state };
        writing.check()?;
        Ok(writing)
    }
}

impl Store for ObjectLog {
    fn place(&self) -> String {
        self.bucket.place()
    }

    /// A GiB is 128 objects.
    fn segment_bytes(&self) -> usize {
        SEGMENT_MAX_BYTES
    }

    /// A way of one page less, with a million users.
    fn fan_bits(&self) -> u8 {
        FAN_BITS_FAR
    }

    fn claimed(&self) -> Result<Option<Claimed>> {
        if !locked(&self.state).is_mine {
            refresh(&self.bucket, &self.state)?;
        }
        Ok(locked(&self.state).claimed)
    }

    fn has_claim(&self, instance: &[u8; 16], token: &[u8; 16]) -> Result<bool> {
        let last = locked(&self.state).last;
        has_claim(&self.bucket, last, instance, token)
    }

    fn newest(&self) -> Result<Newest> {
        let (is_earlier, is_mine) = {
            let state = locked(&self.state);
            (state.known, state.is_mine)
        };
        if is_mine {
            let claimed = locked(&self.state).claimed;
            return Ok(Newest { claimed, head: self.head()?, is_earlier: false });
        }
        if !is_earlier {
            refresh(&self.bucket, &self.state)?;
        }
        let state = locked(&self.state);
        Ok(Newest { claimed: state.claimed, head: state.head.clone(), is_earlier })
    }

    fn reopen(&self) -> Result<()> {
        let _alone = locked(&self.writers);
        if self.look {
            return Ok(());
        }
        // What stands above the gone would open, and lead to what is gone.
        stands(&self.bucket, &self.state)?;
        let fresh = Mutex::<State>::default();
        probe_and_learn(&self.bucket, &fresh)?;
        let (mut state, mut fresh) = (locked(&self.state), locked(&fresh));
        // Whoever claimed it meanwhile owns it: to take it back is for a handle that is opened.
        state.fenced |= fresh.claimed != state.claimed && fresh.claimed != state.tried;
        if state.fenced {
            return Err(fenced(&self.place()));
        }
        *state = std::mem::take(&mut *fresh);
        Ok(())
    }

    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        let _alone = locked(&self.writers);
        let writing = self.writing()?;
        self.see_root();
        let made =
            self.room.or_give(&self.bucket, || claim(&self.bucket, &self.state, Some(claimed)));
        match made {
            // Nothing of it counts: whoever was first is known, and can be claimed over.
            Err(e) if e.kind() == ErrorKind::Fenced => Err(e),
            made => writing.unknown_if_failed(made),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_far(&self) -> bool {
        self.bucket.is_far()
    }

    fn confirm(&self) -> Result<()> {
        confirm(&self.bucket, &self.state, &self.writers)
    }

    fn stands(&self) -> Result<()> {
        stands(&self.bucket, &self.state)
    }

    fn beat(&self, every: Duration) -> Result<()> {
        self.writing()?;
        if is_taken(&self.bucket, &self.state)? {
            self.confirm()?;
        }
        beat(&self.bucket, &self.state, every)
    }

    fn beats(&self) -> Option<Duration> {
        beats(&self.state)
    }

    fn rest(&self) {
        rest(&self.bucket, &self.state);
    }

    fn pulse(&self, last: Option<Pulse>) -> Result<Option<Pulse>> {
        pulse(&self.bucket, &self.state, last).map(Some)
    }

    fn reads_first(&self, name: &BlobName) {
        locked(&self.state).reads_first = Some(*name);
    }

    fn expect(&self, seen: &Pulse) {
        let mut state = locked(&self.state);
        state.expected = Some(seen.number);
        // It was looked for just now; what came since the claim finds out.
        state.known |= state.last == seen.number && !state.is_mine;
    }

    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        match locked(&self.state).place(ahead) {
            Some(place) if len <= SHORT_MAX => self.naming.name(place, len, drawn),
            _ => drawn,
        }
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.finder().get(name)
    }

    fn get_many(&self, names: &[BlobName]) -> Vec<Result<Option<Vec<u8>>>> {
        self.finder().get_many(names)
    }

    fn place_of(&self, name: &BlobName) -> Option<u128> {
        self.finder().place_of(name)
    }

    fn get_along(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        Finder { reads: Reads::Along, ..self.finder() }.get(name)
    }

    fn get_part(&self, name: &BlobName, from: usize, len: usize) -> Result<Option<Vec<u8>>> {
        self.finder().get_part(name, from, len)
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Finder { cache: Caching::None, ..self.finder() }.contains(name)
    }

    fn ask_medium(&self, on: bool) {
        if on {
            self.asks_medium.fetch_add(1, Ordering::AcqRel);
            locked(&self.state).windows = Windows::default();
        } else {
            self.asks_medium.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn get_again(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        match &self.cache {
            Some(cache) => Finder { cache: Caching::Renew(cache), ..self.finder() }.get(name),
            None => Ok(None),
        }
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        let _alone = locked(&self.writers);
        let writing = self.writing()?;
        let put = || writing.put(blobs);
        writing.unknown_if_failed(self.room.write(&self.bucket, false, put))
    }

    fn put_ahead(&self, blobs: &[Blob]) -> Result<bool> {
        let _alone = locked(&self.writers);
        let writing = self.writing()?;
        let put = || writing.put(blobs).and_then(|()| writing.flush());
        writing.unknown_if_failed(self.room.write(&self.bucket, false, put)).map(|()| true)
    }

    fn put_over(&self, blobs: &[Blob]) -> Result<()> {
        let _alone = locked(&self.writers);
        self.writing()?.put_over(blobs)
    }

    fn for_an_erase(&self, on: bool) {
        self.room.for_an_erase(on);
    }

    fn head(&self) -> Result<Option<Head>> {
        read_back(&self.bucket, &self.state)
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let _alone = locked(&self.writers);
        let writing = self.writing()?;
        let begins_epoch = over.is_some_and(|over| over.epoch < head.id.epoch);
        let commit = || writing.commit(blobs, over, head);
        writing.unknown_if_failed(self.room.write(&self.bucket, begins_epoch, commit))
    }

    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let waiting: Vec<BlobName> = {
            learn_all(&self.bucket, &self.state)?;
            locked(&self.state).waiting.iter().map(|(name, _)| *name).collect()
        };
        let state = locked(&self.state);
        let from = BlobName(from.0.to_be_bytes());
        let listed = state.catalogue.iter().flat_map(|all| all.blobs.range(from..));
        let mut names: Vec<BlobName> = listed.map(|(name, _)| *name).take(limit + 1).collect();
        names.extend(waiting.into_iter().filter(|name| *name >= from));
        names.sort_unstable();
        names.dedup();
        let next = names.get(limit).map(|name| Cursor(u128::from_be_bytes(name.0)));
        names.truncate(limit);
        Ok((names, next))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        if names.is_empty() {
            return Ok(Removed::default());
        }
        let _alone = locked(&self.writers);
        self.writing()?;
        remove(&self.bucket, &self.naming, &self.state, names, self.versioned)
    }

    fn keeps_versions(&self) -> bool {
        self.versioned
    }

    fn recall(&self) -> Result<()> {
        if self.look {
            return Ok(());
        }
        // Where nobody writes claims alone are above the last one.
        let last = locked(&self.state).last;
        hint_if_due(&self.bucket, &self.state, last);
        recall(&self.bucket, &self.state)
    }

    fn survey(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        self.writing()?;
        Ok(Some(Box::new(Survey::begin(self.giving(), how)?)))
    }

    fn give_back(&self) -> Result<Option<Swept>> {
        self.writing()?;
        self.giving().give_back()
    }

    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        self.giving().count_dead(names);
        Ok(())
    }

    fn suspect(&self, bytes: u64) {
        locked(&self.state).suspect(bytes);
    }

    fn waste(&self) -> Result<Option<Waste>> {
        Ok((!self.look).then(|| self.giving().waste()))
    }

    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        self.writing()?;
        self.giving().clean(most, packing)
    }

    fn damage(&self) -> Result<Vec<String>> {
        let told = |list: &String| {
            format!(
                "{}, a list of removed blobs, is damaged: what it named counts as there; the next \
                 discard replaces it",
                self.bucket.there(list)
            )
        };
        let of_objects = |name: &String| {
            format!(
                "{}, an object of the log, is damaged: what it holds cannot be told; restore the \
                 store from a copy if something in it lives",
                self.bucket.there(name)
            )
        };
        learn_lists(&self.bucket, &self.state)?;
        let state = locked(&self.state);
        let objects = state.catalogue.iter().flat_map(|all| &all.damaged);
        Ok(state.damaged.iter().map(told).chain(objects.map(of_objects)).collect())
    }

    fn sparse(&self, packing: Option<Packing>) -> Result<Option<Box<dyn Sparse>>> {
        // Of a cleaner on a full disk nothing is written once more.
        if packing.is_some() && !self.room.has_room(&self.bucket) {
            return Ok(None);
        }
        let found = SparseObjects::of(&locked(&self.state), &self.naming, packing);
        Ok(Some(Box::new(found)))
    }

    fn usage(&self) -> Result<Usage> {
        let state = locked(&self.state);
        Ok(state.catalogue.as_ref().map_or(state.usage, |all| all.usage()))
    }
}
